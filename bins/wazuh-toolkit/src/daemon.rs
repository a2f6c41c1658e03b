//! Wazuh's own programs: asked whether they take a configuration, told to
//! restart, looked for among the processes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::wazuh::paths::Installation;

use crate::process::run;

/// Those that check a file which they are told (`-t -c FILE`; 4.14.7, the
/// `main.c` of each).
pub const CHECK_A_CANDIDATE: [&str; 6] = [
    "wazuh-agentd",
    "wazuh-logcollector",
    "wazuh-syscheckd",
    "wazuh-execd",
    "wazuh-analysisd",
    "wazuh-remoted",
];
/// Those that check only the file that is in place (`-t`).
pub const CHECK_IN_PLACE: [&str; 2] = ["wazuh-modulesd", "wazuh-integratord"];
/// The one whose check is not without effect: it writes `etc/shared/ar.conf`
/// anew (4.14.7, `src/config/active-response.c`).
pub const ANALYSISD: &str = "wazuh-analysisd";

/// A daemon that does not take the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{daemon} refuses the configuration:\n{words}")]
pub struct Refusal {
    /// Which one.
    pub daemon: &'static str,
    /// What it says.
    pub words: String,
}

/// Whether a daemon is installed here.
#[must_use]
pub fn is_installed(installation: &Installation, daemon: &str) -> bool {
    installation.home().join("bin").join(daemon).is_file()
}

/// Asks a daemon, if it is installed, whether it takes a file, or the one in
/// place. True when it was asked.
///
/// # Errors
/// When it does not take it, or does not answer in time.
pub fn check(
    installation: &Installation,
    daemon: &'static str,
    candidate: Option<&Path>,
    limit: Duration,
) -> Result<bool, Refusal> {
    if !is_installed(installation, daemon) {
        return Ok(false);
    }
    let mut command = Command::new(installation.home().join("bin").join(daemon));
    command.arg("-t").current_dir(installation.home());
    if let Some(candidate) = candidate {
        command.arg("-c").arg(candidate);
    }
    let refused = |words: String| Err(Refusal { daemon, words });
    match run(&mut command, limit) {
        Ok(ended) if ended.is_good() => Ok(true),
        Ok(ended) => refused(match ended.status {
            Some(status) => format!("{}\n({status})", ended.words()),
            None => {
                let seconds = limit.as_secs_f32();
                format!(
                    "{}\n(it did not end within {seconds} s, or said too much, and was killed)",
                    ended.words()
                )
            }
        }),
        Err(error) => refused(error.to_string()),
    }
}

/// Restarts Wazuh with its own script.
///
/// # Errors
/// What it says.
pub fn restart(installation: &Installation) -> Result<(), String> {
    /// Its daemons may take half a minute to stop, and it checks them first.
    const LIMIT: Duration = Duration::from_secs(300);
    let control = installation.home().join("bin/wazuh-control");
    match run(Command::new(control).arg("restart").current_dir(installation.home()), LIMIT) {
        Ok(ended) if ended.is_good() => Ok(()),
        Ok(ended) => Err(ended.words()),
        Err(error) => Err(error.to_string()),
    }
}

/// When a daemon of this installation was started, in seconds since 1970;
/// `None` when it does not run.
#[must_use]
pub fn started_at(installation: &Installation, daemon: &str) -> Option<u64> {
    let here = std::fs::metadata(installation.home()).ok()?;
    let boot = procfs::boot_time_secs().ok()?;
    procfs::process::all_processes().ok()?.flatten().find_map(|process| {
        let stat = process.stat().ok()?;
        // The kernel keeps fifteen bytes of a name.
        if !daemon.starts_with(&stat.comm) || stat.comm.len() < daemon.len().min(15) {
            return None;
        }
        // Its working directory is the installation, also where several run.
        let working = std::fs::metadata(format!("/proc/{}/cwd", process.pid)).ok()?;
        let ours = (working.dev(), working.ino()) == (here.dev(), here.ino());
        ours.then(|| boot + stat.starttime / procfs::ticks_per_second())
    })
}
