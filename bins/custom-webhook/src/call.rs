//! How this run was called.

use std::ffi::OsStr;
use std::path::PathBuf;

use common::places::Places;
use common::wazuh::paths::Installation;

use crate::config;

/// The command line and the environment, understood.
#[derive(Debug, Clone)]
pub struct Call {
    /// The installation of Wazuh.
    pub installation: Installation,
    /// Our own state.
    pub state: PathBuf,
    /// Our configuration file.
    pub config: PathBuf,
}

impl Call {
    /// With these places on the command line.
    #[must_use]
    pub fn new(places: &Places) -> Call {
        Call {
            installation: places.installation(OsStr::new("custom-webhook")),
            state: places.state_dir().join("custom-webhook"),
            config: places.config(config::FILE),
        }
    }
}
