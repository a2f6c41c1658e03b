//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use common::config::parse_duration;
use common::places::Places;

use crate::call::{Call, Instead};
use crate::config::ProcessKey;

/// Says which processes of root have which network connections.
///
/// It is made for Wazuh's command wodle, which takes each line of its output
/// as an event: one JSON object for each connection, listener, raw or packet
/// socket that is new or gone since the last run, and a summary.
#[derive(Debug, Parser)]
#[command(name = "custom-audit", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Called by the wodle. Changes nothing; a wodle with verify_sha256 needs some argument
    #[arg(long)]
    pub wodle: bool,
    /// Say everything that is there, and keep no state
    #[arg(long)]
    pub full: bool,
    /// Look again and again for so long, as 50 (seconds) or 5m
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration)]
    pub watch: Option<Duration>,
    /// Append the lines to this file instead of printing them
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub output: Option<PathBuf>,
    /// The most events of one run; 0 is no limit [default: 500]
    #[arg(long, value_name = "NUMBER")]
    pub max_events: Option<usize>,
    /// Write `process` as an object with a name, or as a string [default: object]
    #[arg(long, value_name = "FORM")]
    pub process_key: Option<ProcessKey>,
    /// Put the other end of each connection into srcip
    #[arg(long)]
    pub geo_peer: bool,
    /// Print everything that is there as a table, for people
    #[arg(long, conflicts_with_all = ["output", "watch", "wodle", "full"])]
    pub table: bool,
    /// Check the configuration and say what is wrong with it (exit code 78)
    #[arg(long)]
    pub check_config: bool,
    /// Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]
    #[arg(long, value_name = "DIR", global = true)]
    pub home: Option<PathBuf>,
    /// Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]
    #[arg(long, value_name = "DIR", global = true)]
    pub state_dir: Option<PathBuf>,
    /// The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-audit.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What an administrator can ask for.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Tell what a key of an event means, and its values
    Explain {
        /// The key; without one all are listed
        key: Option<String>,
    },
    /// Look for everything that could keep events from coming (exit code 1:
    /// something was found)
    Doctor {
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let good = path.is_absolute() && path.file_name().is_some();
    if good { Ok(path) } else { Err("must be the absolute path of a file".to_owned()) }
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
        Call {
            full: self.full || self.table,
            watch: self.watch,
            instead: Instead {
                max_events: self.max_events,
                process_key: self.process_key,
                geo_peer: self.geo_peer,
                output: self.output.clone(),
            },
            ..Call::new(called_as, &places)
        }
    }
}
