//! What an administrator can ask for.

use std::io::Write;

use crate::call::Call;
use crate::config::Settings;

pub mod doctor;
pub mod explain;
pub mod table;

/// Done.
pub const DONE: u8 = 0;
/// It could not be done, or `doctor` found something.
pub const FAILED: u8 = 1;
/// There is no such key.
pub const BAD_INPUT: u8 = 2;
/// The configuration is broken.
pub const BAD_CONFIG: u8 = 78;

/// `--check-config`: reads the configuration as strictly as can be, and says
/// what is wrong.
#[must_use]
pub fn check(call: &Call) -> u8 {
    match Settings::load(&call.config) {
        Ok(_) if call.config.exists() => say(&format!("{}: in order", call.config.display())),
        Ok(_) => say(&format!("{}: there is none, the defaults apply", call.config.display())),
        Err(error) => {
            warn(&error.to_string());
            return BAD_CONFIG;
        }
    }
    DONE
}

/// A line for the person at the terminal. A reader who has gone is no error.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line about what is wrong.
fn warn(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "custom-audit: {line}");
}
