//! `--check-config`

use crate::call::Call;
use crate::config::Settings;

use super::{BAD_CONFIG, DONE, say, warn};

/// Reads the configuration as strictly as can be, and says what is wrong.
#[must_use]
pub fn check(call: &Call) -> u8 {
    match Settings::load(&call.config) {
        Ok(_) if call.config.exists() => {
            say(&format!("{}: in order", call.config.display()));
            DONE
        }
        Ok(_) => {
            say(&format!("{}: there is none, the defaults apply", call.config.display()));
            DONE
        }
        Err(error) => {
            warn(&error.to_string());
            BAD_CONFIG
        }
    }
}
