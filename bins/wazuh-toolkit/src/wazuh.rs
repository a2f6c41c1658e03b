//! Which Wazuh is installed here.

use std::io;
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

/// Why [`find`] may have found nothing though there is something: Wazuh keeps its folder from all
/// but root and its own group, and what one may not see is not absent.
#[must_use]
pub fn is_hidden(installation: &Installation) -> Option<String> {
    let daemon = installation.home().join("bin").join(daemon::ANALYSISD);
    let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let hidden = std::fs::metadata(daemon).is_err_and(denied);
    hidden.then(|| format!("{} cannot be looked into: call it as root", installation.home().display()))
}

/// True when there is no `ossec.conf`: what cannot be looked at may be there, and
/// then root is asked for.
#[must_use]
pub fn is_gone(installation: &Installation) -> bool {
    installation.ossec_conf().try_exists().is_ok_and(|there| !there)
}

fn version(installation: &Installation) -> Option<String> {
    let control = installation.home().join("bin/wazuh-control");
    let mut command = Command::new(control);
    command.args(["info", "-v"]).current_dir(installation.home());
    let ended = process::run(&mut command, PATIENCE).ok().filter(process::Ended::is_good)?;
    Some(ended.words().trim().to_owned()).filter(|version| !version.is_empty() && version.len() <= 32)
}
