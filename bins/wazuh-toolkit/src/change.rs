//! Changing `ossec.conf`: whole or not at all.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::Local;
use common::state;
use nix::fcntl::{Flock, FlockArg};
use similar::TextDiff;

use crate::call::{Call, HOME};
use crate::daemon::{self, ANALYSISD, Refusal};
use crate::file::{self, Original};
use crate::tell::Failure;

/// How long another run of this program is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const BACKUP: &str = "ossec.conf.";

/// The difference between two texts, as `diff -u` shows it.
#[must_use]
pub fn difference(path: &Path, old: &[u8], new: &[u8]) -> String {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let name = path.display().to_string();
    TextDiff::from_lines(old.as_ref(), new.as_ref()).unified_diff().header(&name, &name).to_string()
}

/// Our own folder in the state directory.
///
/// # Errors
/// When it cannot be made.
pub fn state_folder(call: &Call) -> io::Result<&Path> {
    let mut builder = std::fs::DirBuilder::new();
    if let Some(parent) = call.state.parent() {
        builder.recursive(true).mode(0o755).create(parent)?;
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&call.state)?;
    let owner = call.state.join(HOME);
    if !owner.exists() {
        let home = [call.installation.home().as_os_str().as_encoded_bytes(), b"\n"].concat();
        state::replace(&owner, &home, 0o600, state::Durability::Synced)?;
    }
    Ok(&call.state)
}

/// Only one run changes things at a time; one that only looks changes nothing,
/// not even this.
///
/// # Errors
/// When another one does not end.
pub fn alone(call: &Call, dry_run: bool) -> Result<Option<Flock<std::fs::File>>, Failure> {
    if dry_run {
        return Ok(None);
    }
    let lock = || -> io::Result<_> {
        let path = state_folder(call)?.join("lock");
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        state::lock(file, FlockArg::LockExclusiveNonblock, Instant::now() + LOCK_PATIENCE)
    };
    lock().map(Some).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Failure::Failed("another wazuh-toolkit is at work".to_owned()),
        _ => Failure::Failed(format!("{}: {error}", call.state.display())),
    })
}

/// Only root may change what Wazuh does.
///
/// # Errors
/// When somebody else tries.
pub fn as_root() -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err(Failure::Failed("only root may change this: call it again with sudo".to_owned()))
    }
}

/// Reads `ossec.conf`.
///
/// # Errors
/// When it is not there, is no regular file, or cannot be read.
pub fn ossec_conf(call: &Call) -> Result<Original, Failure> {
    let path = call.installation.ossec_conf();
    file::read(&path).map_err(|error| {
        let there = call.installation.home().is_dir();
        let hint = if there { "" } else { ": Wazuh is not installed there; --home names another place" };
        Failure::Failed(format!("{}: {error}{hint}", path.display()))
    })
}

/// Puts a new `ossec.conf` in the place of the old one, when Wazuh's daemons
/// take it. Nothing is changed when this fails.
///
/// # Errors
/// When it cannot be written, was changed by others meanwhile, or is refused.
pub fn put(call: &Call, old: &Original, new: &[u8], limit: Duration) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", old.path.display()));
    let candidate = file::beside(&old.path, new, old.owner()).map_err(failed)?;
    let asked = check_candidate(call, &candidate, old, limit)?;
    let changed_meanwhile = || {
        check_again(call, limit);
        Failure::Failed(format!(
            "{} was changed by somebody else meanwhile: nothing was done, call it again",
            old.path.display()
        ))
    };
    if !old.is_still_so() {
        return Err(changed_meanwhile());
    }
    let backup = keep(call, old).map_err(|error| {
        check_again(call, limit);
        Failure::Failed(format!("{}: {error}\nNothing was changed.", call.state.display()))
    })?;
    match file::put_instead(candidate, old) {
        Ok(true) => {}
        Ok(false) => return Err(changed_meanwhile()),
        Err(error) => {
            check_again(call, limit);
            return Err(Failure::Failed(format!(
                "{}: {error}: it cannot be replaced (is it mounted by itself, as in a container, or immutable?).\nNothing was changed.",
                old.path.display()
            )));
        }
    }
    let asked = asked + check_in_place(call, old, new, limit)?;
    if asked == 0 {
        call.tell.warn(format!(
            "none of Wazuh's daemons is in {}: nobody has checked the new configuration",
            call.installation.home().join("bin").display()
        ));
    } else {
        call.tell.say(format!("{asked} of Wazuh's daemons have checked the new configuration."));
    }
    call.tell.say(format!("The old one is kept as {}.", backup.display()));
    Ok(())
}

/// Asks those that take the name of a file.
fn check_candidate(call: &Call, candidate: &Path, old: &Original, limit: Duration) -> Result<usize, Failure> {
    let mut asked = 0;
    for daemon in daemon::CHECK_A_CANDIDATE {
        match daemon::check(&call.installation, daemon, Some(candidate), limit) {
            Ok(was) => asked += usize::from(was),
            Err(refusal) => {
                check_again(call, limit);
                let before = daemon::check(&call.installation, daemon, Some(&old.path), limit);
                return Err(refused(&refusal, before.is_err()));
            }
        }
    }
    Ok(asked)
}

/// Asks those that only look at the file in place, and puts the old one back
/// when one of them refuses the new one.
fn check_in_place(call: &Call, old: &Original, new: &[u8], limit: Duration) -> Result<usize, Failure> {
    let mut asked = 0;
    for daemon in daemon::CHECK_IN_PLACE {
        match daemon::check(&call.installation, daemon, None, limit) {
            Ok(was) => asked += usize::from(was),
            Err(refusal) => {
                put_back(old, new).map_err(|error| {
                    Failure::Failed(format!(
                        "{refusal}\nand the old {} could not be put back: {error}",
                        old.path.display()
                    ))
                })?;
                check_again(call, limit);
                let before = daemon::check(&call.installation, daemon, None, limit);
                return Err(refused(&refusal, before.is_err()));
            }
        }
    }
    Ok(asked)
}

fn put_back(old: &Original, new: &[u8]) -> io::Result<()> {
    if file::read(&old.path)?.bytes != new {
        return Err(io::Error::other("somebody else has changed it meanwhile"));
    }
    file::replace(&old.path, &old.bytes, old.owner())
}

/// The check of analysisd writes ar.conf, from the file that it checks.
pub fn check_again(call: &Call, limit: Duration) {
    if let Err(refusal) = daemon::check(&call.installation, ANALYSISD, None, limit) {
        call.tell.warn(refusal.to_string());
    }
}

fn refused(refusal: &Refusal, before_too: bool) -> Failure {
    let hint =
        if before_too { "\nIt refuses the present configuration as well: mend that first." } else { "" };
    Failure::Failed(format!("{refusal}\nNothing was changed.{hint}"))
}

/// Keeps the old text, with the time in its name, and no older one. It may
/// hold secrets: only root reads it.
fn keep(call: &Call, old: &Original) -> io::Result<PathBuf> {
    let folder = state_folder(call)?;
    let path = folder.join(format!("{BACKUP}{}", Local::now().format("%Y-%m-%dT%H-%M-%S")));
    state::replace(&path, &old.bytes, 0o600, state::Durability::Synced)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    for entry in std::fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(BACKUP.as_bytes()) && entry.path() != path {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(path)
}

/// What is left for the administrator to do: or does it.
///
/// # Errors
/// When Wazuh does not restart; the change stays.
pub fn restart(call: &Call, wanted: bool) -> Result<(), Failure> {
    let control = call.installation.home().join("bin/wazuh-control");
    if !wanted {
        call.tell.say(format!("Wazuh does not know yet. To tell it: {} restart", control.display()));
        return Ok(());
    }
    daemon::restart(&call.installation).map_err(|words| {
        Failure::Unfinished(format!("the change is made, but {} restart failed:\n{words}", control.display()))
    })?;
    call.tell.say("Wazuh was restarted.");
    Ok(())
}
