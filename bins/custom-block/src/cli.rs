//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use common::config::parse_duration;
use common::places::Places;

use crate::call::Call;
use crate::firewall::Backend;

/// Blocks and unblocks addresses for Wazuh.
///
/// Without a verb it answers Wazuh: it reads one JSON line from standard
/// input, asks whether its key is new, blocks or unblocks, and records what it
/// did in logs/active-responses.log. With a verb it serves the administrator.
#[derive(Debug, Parser)]
#[command(name = "custom-block", version)]
pub struct Cli {
    /// Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-block.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use these instead of the configured backends
    #[arg(long, global = true, value_name = "NAME", value_delimiter = ',')]
    pub backend: Vec<Backend>,
    /// Decide and record, but block and unblock nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Check the configuration and say what is wrong with it (exit code 78)
    #[arg(long)]
    pub check_config: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What an administrator can ask for.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show what is blocked: what the kernel says, and who wanted it
    List {
        /// One JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Tell why an address is blocked (exit code 1: it is not)
    Why {
        /// An address or network
        address: String,
    },
    /// Block an address or network; Wazuh will not lift it
    Add {
        /// An address or network
        address: String,
        /// For how long, as 90s, 24h or 7d; 0 is for ever [default: `ttl` of the configuration]
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Option<std::time::Duration>,
        /// Why, for whoever finds it later
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
        /// Block also what is protected, and the client of this SSH session
        #[arg(long)]
        force: bool,
    },
    /// Lift a block, whoever wanted it
    Remove {
        /// An address or network, as `list` shows it
        address: String,
    },
    /// Lift all blocks and remove what was built for them
    Flush {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Put back what has not expired, after a reboot or when others flushed
    /// the firewall; lift what has; resolve host names
    Restore {
        /// Nobody waits for it
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Tell firewalls with an HTTP API what they have not been told yet
    Deliver {
        /// Nobody waits for it
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Look for everything that could keep a block from working (exit code 1:
    /// something was found)
    Doctor {
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Carries out one order of another run
    #[command(name = crate::iptables::WORKER, hide = true)]
    IptablesWorker,
}

impl Cli {
    /// What it says about this run.
    #[must_use]
    pub fn call(&self, called_as: &OsStr) -> Call {
        let places = Places {
            home: self.home.clone(),
            state_dir: self.state_dir.clone(),
            config: self.config.clone(),
        };
        let mut call = Call::new(called_as, &places);
        call.backends.clone_from(&self.backend);
        call.dry_run = self.dry_run;
        call
    }
}
