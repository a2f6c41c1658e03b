//! Whom the daemon runs as, for what root asks about it: a secret that root can
//! read and the daemon cannot is none.

use std::path::Path;

use common::places::{CONFIG_DIR, WEBHOOK_USER};
use nix::unistd::{Gid, Uid, User, getegid, geteuid, getgroups, setegid, seteuid, setgroups};

use crate::call::Call;
use crate::config::FILE;

/// What to do with a file that it cannot read.
pub(super) const HAND_OVER: &str =
    "chown wazuh-webhook that file, or let systemd hand it over (LoadCredential= in the unit)";

/// That user, where root asks about the configuration of that unit.
fn user(call: &Call) -> Option<User> {
    let shipped = call.config == Path::new(CONFIG_DIR).join(FILE);
    if shipped && geteuid().is_root() { User::from_name(WEBHOOK_USER).ok().flatten() } else { None }
}

/// Does something as the daemon would, with its rights. An error says whose
/// they were, where they are what is missing; and then what to do.
pub(super) fn as_daemon<T, E: ToString>(
    call: &Call,
    to_do: &str,
    look: impl FnOnce() -> Result<T, E>,
) -> Result<T, String> {
    let Some(user) = user(call) else { return look().map_err(|error| error.to_string()) };
    let before = Rights { uid: geteuid(), gid: getegid(), groups: getgroups().unwrap_or_default() };
    // Where that is not possible (in a container without that user's number),
    // root's own look is better than none.
    let _ = Rights { uid: user.uid, gid: user.gid, groups: vec![user.gid] }.take();
    let seen = look();
    let _ = before.take();
    seen.map_err(|error| {
        let mut text = error.to_string();
        if text.contains("Permission denied") {
            text.push_str(&format!("; the daemon runs as the user {WEBHOOK_USER}: {to_do}"));
        }
        text
    })
}

/// Who one is to the file system.
struct Rights {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Rights {
    fn take(&self) -> nix::Result<()> {
        // Only root may change the groups: it is that first, or again.
        seteuid(Uid::from_raw(0))?;
        setgroups(&self.groups)?;
        setegid(self.gid)?;
        seteuid(self.uid)
    }
}
