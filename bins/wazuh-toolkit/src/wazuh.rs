//! Which Wazuh is installed here.

use std::process::Command;

use common::wazuh::paths::Installation;

use crate::call::PATIENCE;
use crate::program::Role;
use crate::{daemon, process};

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wazuh {
    /// Manager or agent, by its daemons.
    pub role: Role,
    /// As `wazuh-control info` says it: `v4.14.7`.
    pub version: Option<String>,
}

/// Looks for an installation. `None` where there is none.
#[must_use]
pub fn find(installation: &Installation) -> Option<Wazuh> {
    let has = |daemon| daemon::is_installed(installation, daemon);
    let role = match (has(daemon::ANALYSISD), has("wazuh-agentd")) {
        (true, _) => Role::Manager,
        (false, true) => Role::Agent,
        (false, false) => return None,
    };
    Some(Wazuh { role, version: version(installation) })
}

fn version(installation: &Installation) -> Option<String> {
    let control = installation.home().join("bin/wazuh-control");
    let mut command = Command::new(control);
    command.args(["info", "-v"]).current_dir(installation.home());
    let ended = process::run(&mut command, PATIENCE).ok().filter(process::Ended::is_good)?;
    Some(ended.words().trim().to_owned()).filter(|version| !version.is_empty() && version.len() <= 32)
}
