//! `wazuh-toolkit`: wires the programs of the toolkit into Wazuh, says whether
//! they are wired right, and takes everything away again.
//!
//! The way of every verb:
//!
//! 1. [`cli`], [`call`]: what was typed, and what it works with
//! 2. [`wazuh`], [`conf`], [`program`], [`webhook`]: what is installed, what its
//!    `ossec.conf` says, and what we would write into it
//! 3. [`section`], [`ids`]: what the new text is, and whose a rule's id is (pure)
//! 4. [`file`](mod@file), [`folder`], [`change`], [`link`], [`rules`]: the effects. Each is whole or not
//!    at all: [`daemon`] (through [`process`]) asks Wazuh's own programs whether they take it
//! 5. [`tell`]: what was done, for people or as JSON
//!
//! [`verbs`] draws that line for each verb. Nothing is restarted unasked, and
//! nothing is touched that is not ours: what a person edited stays.

#![forbid(unsafe_code)]

use std::process::ExitCode;

pub mod call;
pub mod change;
pub mod cli;
pub mod conf;
pub mod daemon;
pub mod file;
pub mod folder;
pub mod ids;
pub mod link;
pub mod process;
pub mod program;
pub mod rules;
pub mod section;
pub mod tell;
pub mod verbs;
pub mod wazuh;
pub mod webhook;

/// The version of the toolkit.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The whole program.
#[must_use]
pub fn run() -> ExitCode {
    let cli = <cli::Cli as clap::Parser>::parse();
    ExitCode::from(verbs::serve(&cli))
}
