//! `custom-webhook`: events from outside, authenticated, become lines that a
//! Wazuh agent reads.
//!
//! The way of every request, each stage knowing nothing of those behind it:
//!
//! 1. [`serve`], [`visit`], [`limit`], [`descriptors`], [`tls`]: who may come in, and how often
//! 2. [`receive`], with [`room`]: from a request's head to its answer
//! 3. [`source`], with [`sign`], [`json`], [`redact`] and [`record`]: is it
//!    authentic, and what does it become (pure)
//! 4. [`writer`], with [`seen`] and [`spool`]: is it new; then it is on the disk
//!    before it is answered
//! 5. [`output`], with [`pace`] and [`progress`]: from the spool into the file that Wazuh follows
//! 6. [`metrics`], [`faults`], [`complaint`], [`health`]: what was done, and what went wrong
//!
//! [`config`], [`call`] and [`cli`] say how it was called and configured,
//! [`verbs`] serve an administrator.

#![forbid(unsafe_code)]

use std::process::ExitCode;

pub mod call;
pub mod cli;
pub mod complaint;
pub mod config;
pub mod descriptors;
pub mod faults;
pub mod fetch;
pub mod health;
pub mod json;
pub mod limit;
pub mod metrics;
pub mod output;
pub mod pace;
pub mod progress;
pub mod receive;
pub mod record;
pub mod redact;
pub mod room;
pub mod secret;
pub mod seen;
pub mod serve;
pub mod sign;
pub mod source;
pub mod spool;
pub mod tls;
pub mod verbs;
pub mod visit;
pub mod writer;

/// The whole program.
#[must_use]
pub fn run() -> ExitCode {
    let cli = <cli::Cli as clap::Parser>::parse();
    let call = cli.call();
    ExitCode::from(match cli.verb {
        _ if cli.check_config => verbs::check::check(&call),
        Some(verb) => verbs::serve(&call, verb),
        None => verbs::daemon(call),
    })
}
