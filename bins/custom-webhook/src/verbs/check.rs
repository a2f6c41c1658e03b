//! `--check-config`: reads it as the daemon would, secrets included.

use std::sync::Arc;
use std::time::SystemTime;

use crate::call::Call;
use crate::config::Settings;
use crate::source::NoCertificates;
use crate::tls;

use super::user::{HAND_OVER, as_daemon};
use super::{BAD_CONFIG, DONE, say, warn};

/// Says whether the daemon would start with it; the exit code.
#[must_use]
pub fn check(call: &Call) -> u8 {
    match as_daemon(call, HAND_OVER, || look(call)) {
        Ok(Checked { settings, sources, doubts }) => {
            doubts.iter().for_each(|doubt| warn(doubt));
            let tls = if settings.tls.is_some() { "https" } else { "http" };
            let sources = if sources.is_empty() { "no source yet".to_owned() } else { sources.join(", ") };
            say(&format!("{}: {tls}://{}, {sources}", call.config.display(), settings.listen));
            DONE
        }
        Err(error) => {
            warn(&error);
            BAD_CONFIG
        }
    }
}

/// What the daemon would start with.
struct Checked {
    settings: Settings,
    /// Their names.
    sources: Vec<String>,
    /// What keeps no daemon from starting: a certificate that senders refuse, a
    /// name that is none.
    doubts: Vec<String>,
}

fn look(call: &Call) -> Result<Checked, String> {
    let settings = Settings::load(&call.config).map_err(|error| error.to_string())?;
    let sources =
        settings.sources(&call.config, Arc::new(NoCertificates)).map_err(|error| error.to_string())?;
    let identity = settings.tls.as_ref().map(|files| tls::read(files, SystemTime::now())).transpose()?;
    let flaws = identity.into_iter().flat_map(|identity| identity.flaws).map(|flaw| flaw.text);
    let doubts = flaws.chain(sources.iter().flat_map(|source| source.doubts())).collect();
    let sources = sources.iter().map(|source| source.name().to_owned()).collect();
    Ok(Checked { settings, sources, doubts })
}
