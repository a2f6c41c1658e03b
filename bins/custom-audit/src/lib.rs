//! `custom-audit`: a command of Wazuh's wodle that says which processes of
//! root talk to whom.
//!
//! The way of every run, each stage knowing nothing of those behind it:
//!
//! 1. [`call`], [`config`], [`cli`]: how we were called and configured
//! 2. [`state`], [`known`]: what the last run left
//! 3. [`look`]: which process of root holds which [`socket`] now
//! 4. [`change`], [`allow`], [`order`]: what is new, what is expected, what
//!    comes first (pure)
//! 5. [`detail`], [`host`]: what is known of those that will be named
//! 6. [`report`], [`event`], [`output`]: the lines
//!
//! [`tell`] draws that line for one look, [`audit`] for a run of Wazuh's,
//! [`verbs`] serve an administrator.

#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

pub mod allow;
pub mod audit;
pub mod call;
pub mod change;
pub mod cli;
pub mod config;
pub mod detail;
pub mod event;
pub mod host;
pub mod key;
pub mod known;
pub mod look;
pub mod order;
pub mod output;
pub mod report;
pub mod socket;
pub mod state;
pub mod tell;
pub mod verbs;

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The whole program.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match <cli::Cli as clap::Parser>::try_parse() {
        Ok(cli) => cli,
        // Where nobody reads it at a terminal, what clap would print may
        // become events.
        Err(error) if error.use_stderr() && !std::io::stderr().is_terminal() => {
            return ExitCode::from(audit::misused(&error.to_string()));
        }
        Err(error) => error.exit(),
    };
    let call = cli.call(&std::env::args_os().next().unwrap_or_default());
    ExitCode::from(match cli.verb {
        _ if cli.check_config => verbs::check(&call),
        _ if cli.table => verbs::table::table(&call),
        None => audit::audit(&call),
        Some(cli::Verb::Explain { key }) => verbs::explain::explain(key.as_deref()),
        Some(cli::Verb::Doctor { json }) => verbs::doctor::doctor(&call, json),
    })
}
