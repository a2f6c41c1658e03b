//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use common::places::Places;

use crate::call::Call;

/// Receives events over HTTP and writes them as lines that a Wazuh agent reads.
///
/// Without a verb it is the daemon: it takes what GitHub, your applications,
/// Supabase, AWS and others send, checks that it is authentic and new, and
/// answers when it is on the disk.
#[derive(Debug, Parser)]
#[command(name = "custom-webhook", version)]
pub struct Cli {
    /// Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-webhook.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
    /// Look for everything that could keep events from coming (exit code 1:
    /// something was found)
    Doctor {
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Sign a sample as its sender would, and post it to the running daemon
    Send {
        /// As which source, by its name in the configuration
        #[arg(long, value_name = "NAME")]
        source: String,
        /// The event's kind, where a header says it [default: of GitHub, guessed from the file's name]
        #[arg(long, value_name = "WORD")]
        event: Option<String>,
        /// Where to [default: what the configuration says]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// The certificate authority of the daemon, as PEM
        #[arg(long, value_name = "FILE")]
        ca_file: Option<PathBuf>,
        /// The body; - is standard input
        file: PathBuf,
    },
    /// Show what arrives, as it arrives
    Tail {
        /// Begin with so many of the last lines
        #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 10)]
        lines: usize,
        /// The lines as they are
        #[arg(long)]
        raw: bool,
        /// End after these lines instead of waiting for more
        #[arg(long)]
        once: bool,
    },
}

impl Cli {
    /// What it says about this run.
    #[must_use]
    pub fn call(&self) -> Call {
        Call::new(&Places {
            home: self.home.clone(),
            state_dir: self.state_dir.clone(),
            config: self.config.clone(),
        })
    }
}
