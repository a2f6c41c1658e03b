//! Links in `active-response/bin`, which only root can write.
//!
//! Wazuh's packages never touch what they do not know there, and delete
//! everything when they are purged: so nothing of ours lies there but links,
//! which are made again whenever Wazuh is installed or upgraded.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::state;
use common::text::glance;
use common::wazuh::paths::ACTIVE_RESPONSE_BIN;

use crate::call::Call;
use crate::change::state_folder;
use crate::program::Program;
use crate::tell::Failure;

/// Wazuh's own programs that block addresses, for which custom-block can stand.
pub const REPLACEABLE: [&str; 4] = ["firewall-drop", "firewalld-drop", "host-deny", "route-null"];
/// Behind the name of a program of Wazuh's that was moved aside.
pub const STOCK: &str = ".wazuh-stock";
/// The file that holds the names of those which are replaced.
const REPLACED: &str = "replaced";

/// What is found where a link should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The link, and what it leads to is there.
    Right,
    /// The link, but it leads to nothing.
    Dangling,
    /// Nothing.
    Nothing,
    /// A link to something else.
    Elsewhere(PathBuf),
    /// A file or a directory.
    File,
}

/// Looks at one place.
///
/// # Errors
/// When it cannot be seen.
pub fn look(place: &Path, target: &Path) -> io::Result<Found> {
    match std::fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_symlink() => {
            let leads = std::fs::read_link(place)?;
            Ok(match (leads == target, target.exists()) {
                (true, true) => Found::Right,
                (true, false) => Found::Dangling,
                (false, _) => Found::Elsewhere(leads),
            })
        }
        Ok(_) => Ok(Found::File),
    }
}

/// Where execd looks for programs.
#[must_use]
pub fn folder(call: &Call) -> PathBuf {
    call.installation.home().join(ACTIVE_RESPONSE_BIN)
}

/// The names of Wazuh's programs that custom-block stands for.
#[must_use]
pub fn replaced(call: &Call) -> Vec<String> {
    let text = glance(&call.state.join(REPLACED)).unwrap_or_default();
    text.lines().filter(|name| REPLACEABLE.contains(name)).map(str::to_owned).collect()
}

fn remember(call: &Call, names: &[String]) -> io::Result<()> {
    let path = state_folder(call)?.join(REPLACED);
    if names.is_empty() {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    state::replace(&path, (names.join("\n") + "\n").as_bytes(), 0o600, state::Durability::Synced)
}

/// Makes a link in the place of whatever is there, which is never missing.
fn put(target: &Path, place: &Path) -> io::Result<()> {
    let mut name = place.as_os_str().to_owned();
    name.push(".wazuh-toolkit");
    let temporary = PathBuf::from(name);
    let _ = std::fs::remove_file(&temporary);
    symlink(target, &temporary)?;
    std::fs::rename(&temporary, place)
}

/// Whether a link elsewhere leads to a program of this toolkit, or to nothing.
fn is_ours(leads: &Path) -> bool {
    let folder = leads.parent().and_then(Path::file_name);
    !leads.exists() || folder.is_some_and(|folder| folder == "wazuh-toolkit")
}

fn failed(place: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::Failed(format!("{}: {error}", place.display()))
}

/// Makes every link that is missing. True when one was.
///
/// # Errors
/// When a file that is not ours is in the way, or it cannot be made.
pub fn make(call: &Call) -> Result<bool, Failure> {
    let folder = folder(call);
    if !folder.is_dir() {
        call.tell.say(format!("{} is not there: Wazuh is not installed, nothing to link.", folder.display()));
        return Ok(false);
    }
    let target = call.path_of(Program::CustomBlock);
    if !target.exists() {
        return Err(Failure::Failed(format!("{} is not there: nothing to link", target.display())));
    }
    let mut changed = false;
    let place = folder.join(Program::CustomBlock.name());
    match look(&place, &target).map_err(failed(&place))? {
        Found::Right => call.tell.say(format!("{} is linked already.", place.display())),
        Found::Elsewhere(leads) if !is_ours(&leads) => {
            return Err(Failure::Refused(format!(
                "{} is a link to {}, which is not ours: remove it, then call `wazuh-toolkit link` again",
                place.display(),
                leads.display()
            )));
        }
        // Ours from an earlier version that lay elsewhere.
        Found::Nothing | Found::Dangling | Found::Elsewhere(_) => {
            put(&target, &place).map_err(failed(&place))?;
            call.tell.say(format!("{} -> {}", place.display(), target.display()));
            changed = true;
        }
        Found::File => {
            return Err(Failure::Refused(format!(
                "{} is a file, not our link. If it is a copy of custom-block made by hand, remove it and call \
                 `wazuh-toolkit link` again",
                place.display()
            )));
        }
    }
    for name in replaced(call) {
        changed |= stand_for(call, &name)?;
    }
    Ok(changed)
}

/// Puts custom-block in the place of a program of Wazuh's.
///
/// # Errors
/// When there is no such program, or it cannot be done.
pub fn replace(call: &Call, name: &str) -> Result<bool, Failure> {
    if !REPLACEABLE.contains(&name) {
        return Err(Failure::BadInput(format!(
            "custom-block can stand for {}, not for {name}",
            REPLACEABLE.join(", ")
        )));
    }
    if !folder(call).is_dir() {
        return Err(Failure::Failed(format!("{} is not there", folder(call).display())));
    }
    let before = replaced(call);
    if before.iter().any(|known| known == name) {
        let made = make(call)?;
        call.tell.say(format!("custom-block stands for {name} already."));
        return Ok(made);
    }
    // Known before it is done: whatever ends this run, it can be undone.
    let names: Vec<String> = before.iter().cloned().chain([name.to_owned()]).collect();
    remember(call, &names).map_err(failed(&call.state))?;
    make(call).inspect_err(|_| {
        // What could not be done is not done at the next opportunity.
        let _ = remember(call, &before);
    })
}

/// Moves the file aside and links. An upgrade of Wazuh puts its file back, and
/// the next call moves that one aside.
fn stand_for(call: &Call, name: &str) -> Result<bool, Failure> {
    let (place, target) = (folder(call).join(name), call.path_of(Program::CustomBlock));
    let aside = folder(call).join(format!("{name}{STOCK}"));
    match look(&place, &target).map_err(failed(&place))? {
        Found::Right => return Ok(false),
        Found::File => {
            // Two names for a moment: whoever starts it finds one or the other.
            let _ = std::fs::remove_file(&aside);
            std::fs::hard_link(&place, &aside).map_err(failed(&aside))?;
        }
        Found::Nothing | Found::Dangling => {}
        Found::Elsewhere(leads) => {
            return Err(Failure::Refused(format!(
                "{} is a link to {}: not ours to replace",
                place.display(),
                leads.display()
            )));
        }
    }
    put(&target, &place).map_err(failed(&place))?;
    call.tell.say(format!("{} -> {}", place.display(), target.display()));
    Ok(true)
}

/// Puts a program of Wazuh's back.
///
/// # Errors
/// When it is not replaced, or it cannot be done.
pub fn restore(call: &Call, name: &str) -> Result<bool, Failure> {
    let mut names = replaced(call);
    let Some(at) = names.iter().position(|known| known == name) else {
        call.tell.say(format!("custom-block does not stand for {name}."));
        return Ok(false);
    };
    let (place, target) = (folder(call).join(name), call.path_of(Program::CustomBlock));
    let aside = folder(call).join(format!("{name}{STOCK}"));
    match look(&place, &target).map_err(failed(&place))? {
        Found::Right | Found::Dangling if aside.exists() => {
            std::fs::rename(&aside, &place).map_err(failed(&place))?;
        }
        // Wazuh was removed and installed again, and had no such program.
        Found::Right | Found::Dangling => std::fs::remove_file(&place).map_err(failed(&place))?,
        // An upgrade has put a newer one there.
        Found::File | Found::Elsewhere(_) => {
            let _ = std::fs::remove_file(&aside);
        }
        Found::Nothing if aside.exists() => std::fs::rename(&aside, &place).map_err(failed(&place))?,
        Found::Nothing => {}
    }
    names.remove(at);
    remember(call, &names).map_err(failed(&call.state))?;
    call.tell.say(format!("{} is Wazuh's own again.", place.display()));
    Ok(true)
}

/// Takes every link away.
///
/// # Errors
/// When one cannot be removed.
pub fn remove(call: &Call) -> Result<bool, Failure> {
    let mut changed = false;
    for name in replaced(call) {
        changed |= restore(call, &name)?;
    }
    let target = call.path_of(Program::CustomBlock);
    let place = folder(call).join(Program::CustomBlock.name());
    if let Found::Right | Found::Dangling = look(&place, &target).map_err(failed(&place))? {
        std::fs::remove_file(&place).map_err(failed(&place))?;
        call.tell.say(format!("{} is removed.", place.display()));
        changed = true;
    }
    Ok(changed)
}
