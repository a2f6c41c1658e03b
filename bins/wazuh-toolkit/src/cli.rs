//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use common::config::parse_duration;

use crate::program::{Program, Role};

/// Wires the programs of wazuh-toolkit into Wazuh, checks and removes them.
///
/// It writes one marked section into ossec.conf for each program, asks Wazuh's
/// own daemons whether they take it, and never restarts them unasked.
#[derive(Debug, Parser)]
#[command(name = "wazuh-toolkit", version)]
pub struct Cli {
    /// Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What is common to everything that changes Wazuh's configuration.
#[derive(Debug, Args)]
pub struct Caution {
    /// Show what would be changed, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Restart Wazuh when something was changed
    #[arg(long)]
    pub restart: bool,
    /// Replace or remove also what was edited by hand
    #[arg(long)]
    pub force: bool,
    /// How long each of Wazuh's daemons may check the configuration
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub check_timeout: Duration,
}

/// What an administrator can ask for.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a program's section into ossec.conf
    Enable {
        /// Which program
        program: Program,
        /// What this host is [default: what is installed]
        #[arg(long)]
        role: Option<Role>,
        /// Print the section instead of writing it
        #[arg(long)]
        print: bool,
        /// How careful to be
        #[command(flatten)]
        caution: Caution,
    },
    /// Take a program's section out of ossec.conf
    Disable {
        /// Which program
        #[arg(required_unless_present = "all")]
        program: Option<Program>,
        /// All of them
        #[arg(long, conflicts_with = "program")]
        all: bool,
        /// How careful to be
        #[command(flatten)]
        caution: Caution,
    },
    /// Show what is installed, linked and enabled
    Status,
    /// Look for everything that could keep the toolkit from working (exit
    /// code 1: something was found)
    Doctor,
    /// Link the programs into Wazuh's tree, as far as they are not
    Link {
        /// Take all links away, and put Wazuh's own programs back
        #[arg(long, conflicts_with_all = ["replace", "restore"])]
        remove: bool,
        /// Put custom-block in the place of one of Wazuh's own programs
        #[arg(long, value_name = "NAME")]
        replace: Option<String>,
        /// Put Wazuh's own program back
        #[arg(long, value_name = "NAME", conflicts_with = "replace")]
        restore: Option<String>,
        /// Say only what is wrong, and do not fail because of it (for packages)
        #[arg(long)]
        quiet: bool,
    },
    /// Let the installed programs do their work once, without an effect
    Selftest,
    /// The detection rules, on a manager
    #[command(subcommand)]
    Rules(Rules),
}

/// What can be done with the rules.
#[derive(Debug, Subcommand)]
pub enum Rules {
    /// Copy rules and lists to the manager, and declare the lists
    Install {
        /// How careful to be
        #[command(flatten)]
        caution: Caution,
    },
    /// Take them away
    Remove {
        /// How careful to be
        #[command(flatten)]
        caution: Caution,
    },
    /// Compare them with the installed ones, and look for other rules with
    /// their ids (exit code 1: something was found)
    Check,
}
