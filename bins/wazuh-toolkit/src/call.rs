//! What a run works with.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::places::Places;
use common::text::glance;
use common::wazuh::paths::Installation;
use sha2::{Digest, Sha256};

use crate::cli::Cli;
use crate::program::{PROGRAM_DIR, Program};
use crate::tell::Tell;

/// The command line and the environment, understood.
#[derive(Debug)]
pub struct Call {
    /// The installation of Wazuh.
    pub installation: Installation,
    /// What the command line said about places.
    pub places: Places,
    /// Our own state.
    pub state: PathBuf,
    /// Where the programs lie.
    pub program_dir: PathBuf,
    /// Who listens.
    pub tell: Tell,
}

/// How long a program of ours, or `wazuh-control info`, may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Daemons are started in the installation, where a relative path would mean
/// another place; and paths are compared as texts.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.components().collect()
}

/// In our state: whose it is.
pub const HOME: &str = "home";

/// The state of an installation: the folder itself of the first one that had
/// any, a folder in it of each other. What was wished for one is not done to
/// another.
fn state_of(folder: &Path, home: &Path) -> PathBuf {
    let owner = glance(&folder.join(HOME)).unwrap_or_default();
    let name = home.as_os_str().as_encoded_bytes();
    if owner.is_empty() || owner.trim_end_matches('\n').as_bytes() == name {
        return folder.to_owned();
    }
    let sum = Sha256::digest(name);
    folder.join(sum.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>())
}

impl Call {
    /// As typed.
    #[must_use]
    pub fn new(cli: &Cli, quiet: bool) -> Call {
        let places = Places { home: cli.home.clone(), state_dir: cli.state_dir.clone(), config: None };
        let program_dir = std::env::var_os("WAZUH_TOOLKIT_PROGRAM_DIR").filter(|dir| !dir.is_empty());
        let installation = places.installation(OsStr::new("wazuh-toolkit"));
        let home = absolute(installation.home());
        Call {
            state: state_of(&absolute(&places.state_dir()).join("wazuh-toolkit"), &home),
            installation: Installation::at(home),
            places,
            program_dir: absolute(program_dir.as_ref().map_or(Path::new(PROGRAM_DIR), Path::new)),
            tell: Tell::new(cli.json, quiet),
        }
    }

    /// Where this program lies.
    #[must_use]
    pub fn path_of(&self, program: Program) -> PathBuf {
        self.program_dir.join(program.name())
    }
}
