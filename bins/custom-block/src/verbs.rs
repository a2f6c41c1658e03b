//! What an administrator can ask for.

use std::io::Write;
use std::time::Duration;

use common::address::Target;
use common::text::printable;

use crate::call::{Call, Run};
use crate::cli::Verb;
use crate::{iptables, worker};

pub mod change;
pub mod check;
pub mod deliver;
pub mod doctor;
pub mod list;
pub mod restore;

/// Done.
pub const DONE: u8 = 0;
/// The effect failed, `doctor` found something, or `why` of what is not blocked.
pub const FAILED: u8 = 1;
/// Not an address, or not a command.
pub const BAD_INPUT: u8 = 2;
/// It must not be blocked.
pub const REFUSED: u8 = 3;
/// The configuration is broken.
pub const BAD_CONFIG: u8 = 78;

/// A person, or a timer, waits longer than Wazuh may.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does what the verb says, and returns the exit code.
#[must_use]
pub fn serve(call: Call, verb: Verb) -> u8 {
    if matches!(verb, Verb::IptablesWorker) {
        return if iptables::work().is_ok() { DONE } else { FAILED };
    }
    let run = Run::new(call).patient(PATIENCE);
    if let Verb::Restore { detached: true } | Verb::Deliver { detached: true } = verb
        && worker::detach(&run.state).is_err()
    {
        return FAILED;
    }
    if let Some(broken) = &run.broken {
        warn(&format!("the configuration is ignored: {broken}"));
    }
    match verb {
        Verb::List { json } => list::list(&run, json),
        Verb::Why { address } => with_target(&address, |target| list::why(&run, target)),
        Verb::Add { address, ttl, reason, force } => {
            with_target(&address, |target| change::add(&run, target, ttl, &reason, force))
        }
        Verb::Remove { address } => with_target(&address, |target| change::remove(&run, target)),
        Verb::Flush { yes } => change::flush(&run, yes),
        Verb::Restore { .. } => restore::restore(&run),
        Verb::Deliver { .. } => deliver::deliver(&run),
        Verb::Doctor { json } => doctor::doctor(&run, json),
        Verb::IptablesWorker => DONE,
    }
}

fn with_target(text: &str, then: impl FnOnce(Target) -> u8) -> u8 {
    if let Ok(target) = text.parse() {
        then(target)
    } else {
        warn(&format!("{text:?} is no IP address or network"));
        BAD_INPUT
    }
}

/// A line for the person at the terminal. A reader who has gone is no error.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line about what is wrong: on standard error, and in a worker's log.
fn warn(line: &str) {
    tracing::warn!("{line}");
    let _ = writeln!(std::io::stderr().lock(), "custom-block: {line}");
}

/// `24h`, `1m 30s`; `never` of `None`.
fn duration(seconds: Option<u64>) -> String {
    seconds.map_or_else(
        || "never".to_owned(),
        |seconds| humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    )
}

/// Local time, as people read it.
fn time(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0))
        .map(|time| time.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}
