//! What an administrator can ask for.

use std::io::Write;

use common::text::printable;

use crate::call::Call;
use crate::cli::Verb;
use crate::serve;

pub mod check;
pub mod doctor;
pub mod send;
pub mod tail;
mod user;

/// Done.
pub const DONE: u8 = 0;
/// It failed, or `doctor` found something.
pub const FAILED: u8 = 1;
/// The configuration is broken.
pub const BAD_CONFIG: u8 = 78;

/// Runs until SIGTERM; the exit code.
#[must_use]
pub fn daemon(call: Call) -> u8 {
    // The journal adds the time.
    let log = tracing_subscriber::fmt().without_time().with_target(false).with_writer(std::io::stderr);
    log.with_ansi(false).init();
    match serve::run(call) {
        Ok(()) => DONE,
        Err(error @ serve::Fault::Config(_)) => {
            warn(&error.to_string());
            BAD_CONFIG
        }
        Err(error) => {
            warn(&error.to_string());
            FAILED
        }
    }
}

/// Does what the verb says, and returns the exit code.
#[must_use]
pub fn serve(call: &Call, verb: Verb) -> u8 {
    let done = match verb {
        Verb::Doctor { json } => return doctor::doctor(call, json),
        Verb::Send { source, event, url, ca_file, file } => {
            send::send(call, &send::Sample { source, event, url, ca_file, file })
        }
        Verb::Tail { lines, raw, once } => tail::tail(call, lines, raw, once),
    };
    match done {
        Ok(()) => DONE,
        Err(error) => {
            warn(&error);
            FAILED
        }
    }
}

/// A line for the person at the terminal. A reader who has gone is no error.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", printable(line));
}

/// For a program: as it is, in several lines.
fn say_json(object: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{object}");
}

/// A line about what is wrong.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "custom-webhook: {}", printable(line));
}
