//! Files that outlive a run: locked without waiting for ever, replaced whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

/// How a file of a program's own is opened: what lies in its place, a link or a
/// pipe that nobody writes to, is neither followed nor waited for.
pub const OWN_FILE: i32 = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).bits();

/// Between two attempts at a lock that another run holds for microseconds.
const LOCK_PAUSE: Duration = Duration::from_micros(200);

/// Locks a file, trying until `patience`; never sleeps in the kernel.
///
/// # Errors
/// `TimedOut` when another run holds it all that time.
pub fn lock(file: File, how: FlockArg, patience: Instant) -> io::Result<Flock<File>> {
    let mut file = file;
    loop {
        match Flock::lock(file, how) {
            Ok(locked) => return Ok(locked),
            Err((returned, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < patience => {
                file = returned;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => return Err(io::ErrorKind::TimedOut.into()),
            Err((_, error)) => return Err(error.into()),
        }
    }
}

/// Whether a file that was replaced must be there after a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The kernel writes it when it likes: after a power failure it may be
    /// the old one, or empty.
    Cached,
    /// It is on the disk before the old one is gone.
    Synced,
}

/// Replaces a file as a whole: readers see the old one or the new one.
///
/// # Errors
/// When it cannot be written; the old one is untouched then.
pub fn replace(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    // The directory may be somebody else's: what lies there under this name,
    // a link above all, is removed and never written through.
    let _ = std::fs::remove_file(&temporary);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            if durability == Durability::Synced { file.sync_data() } else { Ok(()) }
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("x"), dir.path().join("victim"));
        std::fs::write(&victim, "untouched").unwrap();
        let temporary = dir.path().join(format!("x.{}.tmp", std::process::id()));
        for durability in [Durability::Cached, Durability::Synced] {
            std::os::unix::fs::symlink(&victim, &temporary).unwrap();
            replace(&path, b"new", 0o600, durability).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"new");
            assert!(!temporary.exists());
        }
        assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
        assert!(replace(&dir.path().join("no/x"), b"", 0o600, Durability::Cached).is_err());
    }
}
