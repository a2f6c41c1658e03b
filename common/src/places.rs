//! Where the toolkit's own things lie: what the command line says comes before
//! the environment, which comes before the defaults.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::wazuh::paths::Installation;

/// Where state lies unless told otherwise; each program has a folder there.
pub const STATE_DIR: &str = "/var/lib/wazuh-toolkit";
/// Where configuration lies unless told otherwise.
pub const CONFIG_DIR: &str = "/etc/wazuh-toolkit";
/// The user that the packages make for custom-webhook, and its unit names.
pub const WEBHOOK_USER: &str = "wazuh-webhook";

/// What the command line says about places.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `--home`, before `WAZUH_HOME`.
    pub home: Option<PathBuf>,
    /// `--state-dir`, before `WAZUH_TOOLKIT_STATE_DIR`.
    pub state_dir: Option<PathBuf>,
    /// `--config`, before a file in `WAZUH_TOOLKIT_CONFIG_DIR`.
    pub config: Option<PathBuf>,
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Places {
    /// The installation of Wazuh that this run belongs to.
    #[must_use]
    pub fn installation(&self, called_as: &OsStr) -> Installation {
        let home = self.home.clone().or_else(|| variable("WAZUH_HOME"));
        home.map_or_else(|| Installation::find(called_as), Installation::at)
    }

    /// The state directory of all programs.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        let said = self.state_dir.clone().or_else(|| variable("WAZUH_TOOLKIT_STATE_DIR"));
        said.unwrap_or_else(|| STATE_DIR.into())
    }

    /// The configuration file, which has this name unless one was named.
    #[must_use]
    pub fn config(&self, name: &str) -> PathBuf {
        let folder = || variable("WAZUH_TOOLKIT_CONFIG_DIR").unwrap_or_else(|| CONFIG_DIR.into());
        self.config.clone().unwrap_or_else(|| folder().join(name))
    }
}
