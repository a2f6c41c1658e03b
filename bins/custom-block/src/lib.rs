//! `custom-block`: a Wazuh active response that blocks and unblocks addresses.
//!
//! The way of every request, each stage knowing nothing of those behind it:
//!
//! 1. [`call`], [`config`], [`cli`]: how we were called and configured
//! 2. `common::wazuh::active_response`: the line, and the `check_keys` exchange
//! 3. [`host`], [`state`]: the facts of this host, and what is known of a target
//! 4. [`decide`], [`lifetime`], [`extra_args`]: may it be blocked, and for how
//!    long (pure)
//! 5. [`block`]: state and backends, in an order that survives a kill:
//!    [`nftables`], [`ipset`], [`iptables`], [`blocklist`], and [`api`] through
//!    the [`outbox`]; then [`sockets`]
//! 6. [`report`], [`metrics`]: what was done
//!
//! [`respond`] draws that line for Wazuh, [`verbs`] for an administrator.
//! [`worker`] is for what must not be done while Wazuh waits.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

pub mod api;
pub mod backends;
pub mod block;
pub mod blocklist;
pub mod call;
pub mod cli;
pub mod config;
pub mod decide;
pub mod extra_args;
pub mod firewall;
pub mod host;
pub mod ipset;
pub mod iptables;
pub mod lifetime;
pub mod metrics;
pub mod names;
pub mod nftables;
pub mod outbox;
pub mod report;
pub mod respond;
pub mod sockets;
pub mod state;
pub mod verbs;
pub mod worker;

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The whole program.
#[must_use]
pub fn run() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called_as = arguments.next().unwrap_or_default();
    // Wazuh gives no arguments, and waits: the command line is not even built.
    if arguments.next().is_none() {
        let call = call::Call::new(&called_as, &common::places::Places::default());
        return ExitCode::from(respond::respond(&call::Run::new(call)));
    }
    let cli = <cli::Cli as clap::Parser>::parse();
    let call = cli.call(&called_as);
    ExitCode::from(match cli.verb {
        _ if cli.check_config => verbs::check::check(&call),
        None => respond::respond(&call::Run::new(call)),
        Some(verb) => verbs::serve(call, verb),
    })
}
