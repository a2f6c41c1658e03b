//! The installation directory, and what lies where in it.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where every stock package installs Wazuh (4.x manager and agent, 5.x agent).
pub const DEFAULT_HOME: &str = "/var/ossec";
/// How execd names a program: relative to the installation directory, which
/// is also its working directory (4.14.7, `src/os_execd/execd.c`).
pub const ACTIVE_RESPONSE_BIN: &str = "active-response/bin/";

/// An installation of Wazuh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation(PathBuf);

impl Installation {
    /// The installation at this directory.
    #[must_use]
    pub fn at(home: impl Into<PathBuf>) -> Installation {
        Installation(home.into())
    }

    /// Finds the installation as Wazuh starts us: the working directory, but
    /// only when we were called as `active-response/bin/…` and that directory
    /// is root's; else [`DEFAULT_HOME`].
    #[must_use]
    pub fn find(called_as: &OsStr) -> Installation {
        let by_execd = called_as.as_encoded_bytes().starts_with(ACTIVE_RESPONSE_BIN.as_bytes());
        if by_execd
            && let Ok(here) = std::env::current_dir()
            && let Ok(metadata) = std::fs::metadata(&here)
            && metadata.uid() == 0
        {
            return Installation(here);
        }
        Installation(DEFAULT_HOME.into())
    }

    /// The directory itself.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.0
    }

    /// The main configuration.
    #[must_use]
    pub fn ossec_conf(&self) -> PathBuf {
        self.0.join("etc/ossec.conf")
    }

    /// The table of commands that the manager hands to its agents.
    #[must_use]
    pub fn ar_conf(&self) -> PathBuf {
        self.0.join("etc/shared/ar.conf")
    }

    /// What the manager gives to all agents of a group.
    #[must_use]
    pub fn agent_conf(&self) -> PathBuf {
        self.0.join("etc/shared/agent.conf")
    }

    /// What this host changes of Wazuh's internal options.
    #[must_use]
    pub fn local_internal_options(&self) -> PathBuf {
        self.0.join("etc/local_internal_options.conf")
    }

    /// Where the log of active responses lies; see [`ACTIVE_RESPONSES_LOG`].
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
}

/// The log of active responses, in [`Installation::logs`].
pub const ACTIVE_RESPONSES_LOG: &str = "active-responses.log";

/// The last part of the path that we were called by: the name under which
/// Wazuh knows us, a link's name included.
#[must_use]
pub fn program_name(called_as: &OsStr, otherwise: &str) -> String {
    Path::new(called_as)
        .file_name()
        .and_then(OsStr::to_str)
        .filter(|name| {
            name.len() <= 64 && name.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        })
        .unwrap_or(otherwise)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_called_as_its_link() {
        let name = |path: &str| program_name(OsStr::new(path), "custom-block");
        assert_eq!(name("active-response/bin/firewall-drop"), "firewall-drop");
        assert_eq!(name("/usr/bin/custom-block"), "custom-block");
        assert_eq!(name(""), "custom-block");
        assert_eq!(name("bin/evil name\n"), "custom-block");
    }

    #[test]
    fn any_other_way_of_calling_means_the_default_installation() {
        for called_as in ["custom-block", "./custom-block", "/x/active-response/bin/custom-block"] {
            assert_eq!(Installation::find(OsStr::new(called_as)).home(), Path::new(DEFAULT_HOME));
        }
    }
}
