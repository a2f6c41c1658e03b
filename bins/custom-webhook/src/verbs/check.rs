//! `--check-config`: reads it as the daemon would, secrets included.

use std::sync::Arc;
use std::time::SystemTime;

use crate::call::Call;
use crate::config::Settings;
use crate::source::NoCertificates;
use crate::tls::{self, Flaw};

use super::user::{HAND_OVER, as_daemon};
use super::{BAD_CONFIG, DONE, say, warn};

/// Says whether the daemon would start with it; the exit code.
#[must_use]
pub fn check(call: &Call) -> u8 {
    match as_daemon(call, HAND_OVER, || look(call)) {
        Ok((settings, sources, flaws)) => {
            flaws.iter().for_each(|flaw| warn(&flaw.text));
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

/// The configuration, the names of its sources, and what is wrong with its
/// certificate, which keeps no daemon from starting.
fn look(call: &Call) -> Result<(Settings, Vec<String>, Vec<Flaw>), String> {
    let settings = Settings::load(&call.config).map_err(|error| error.to_string())?;
    let sources =
        settings.sources(&call.config, Arc::new(NoCertificates)).map_err(|error| error.to_string())?;
    let identity = settings.tls.as_ref().map(|files| tls::read(files, SystemTime::now())).transpose()?;
    let names = sources.iter().map(|source| source.name().to_owned()).collect();
    Ok((settings, names, identity.map(|identity| identity.flaws).unwrap_or_default()))
}
