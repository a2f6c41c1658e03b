//! Files in a directory that the user `wazuh` can write: read without following
//! links, replaced as a whole, with the owner and the mode of the old one.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use common::state::OWN_FILE;
use nix::unistd::{Gid, Uid, fchown};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempPath;

/// The largest file that is read, in bytes.
pub const LARGEST: u64 = 8 * 1024 * 1024;

/// The end of the name of what is about to take the place of another file.
const SUFFIX: &str = ".wazuh-toolkit";

/// A file as it was found.
#[derive(Debug)]
pub struct Original {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub bytes: Vec<u8>,
    metadata: Metadata,
}

/// To whom a file belongs, and who may read and write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permissions.
    pub mode: u32,
}

/// Reads a regular file that is no link and has one name.
///
/// # Errors
/// When it is none, larger than [`LARGEST`], or cannot be read.
pub fn read(path: &Path) -> io::Result<Original> {
    let file = OpenOptions::new().read(true).custom_flags(OWN_FILE).open(path).map_err(|error| {
        // The system says "too many levels of symbolic links".
        let link = error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32);
        if link { io::Error::other("is a symbolic link, which is not followed") } else { error }
    })?;
    read_open(file, path)
}

/// The same of a file that was opened without following links.
///
/// # Errors
/// As [`read`].
pub fn read_open(file: File, path: &Path) -> io::Result<Original> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    if metadata.nlink() != 1 {
        return Err(io::Error::other("has several names (hard links)"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("is larger than 8 MiB"));
    }
    Ok(Original { path: path.to_owned(), bytes, metadata })
}

/// As [`read`], but `None` where there is none.
///
/// # Errors
/// As [`read`].
pub fn read_if_there(path: &Path) -> io::Result<Option<Original>> {
    match read(path) {
        Ok(original) => Ok(Some(original)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Original {
    /// Its owner and mode.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let metadata = &self.metadata;
        Owner { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 }
    }

    /// True when nobody has changed it since.
    #[must_use]
    pub fn is_still_so(&self) -> bool {
        let key =
            |m: &Metadata| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
        std::fs::symlink_metadata(&self.path).is_ok_and(|now| key(&now) == key(&self.metadata))
    }

    /// Its text, whatever its encoding.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Writes a file beside another, with a name that nobody can foresee; on the
/// disk when this returns. It is removed when dropped.
///
/// # Errors
/// When it cannot be written.
pub fn beside(path: &Path, bytes: &[u8], owner: Owner) -> io::Result<TempPath> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prefix = format!(".{name}.");
    remove_leftovers(folder, &prefix);
    let mut file = tempfile::Builder::new().prefix(&prefix).suffix(SUFFIX).tempfile_in(folder)?;
    file.write_all(bytes)?;
    fchown(&file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    file.as_file().set_permissions(Permissions::from_mode(owner.mode))?;
    file.as_file().sync_all()?;
    Ok(file.into_temp_path())
}

/// What a run that was killed has left: nobody else is at work, see
/// [`crate::change::alone`].
fn remove_leftovers(folder: &Path, prefix: &str) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) && name.ends_with(SUFFIX) {
            // What cannot be removed does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Puts a file written by [`beside`] in the place of another: whoever opens it
/// finds the old one or the new one.
///
/// # Errors
/// When it cannot; the old one is untouched then.
pub fn put(written: TempPath, path: &Path) -> io::Result<()> {
    written.persist(path).map_err(|error| error.error)?;
    sync_folder(path);
    Ok(())
}

/// The name is on the disk, too.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
}

/// Puts a file written by [`beside`] in the place of one that was read, unless
/// that was changed since: false, and nothing is done then. Also an edit of the
/// last moment is seen, where the file system can exchange two names.
///
/// # Errors
/// When it cannot; the old one is untouched then.
pub fn put_instead(written: TempPath, old: &Original) -> io::Result<bool> {
    if !old.is_still_so() {
        return Ok(false);
    }
    let exchange = || renameat_with(CWD, &*written, CWD, &old.path, RenameFlags::EXCHANGE);
    match exchange() {
        // What was in place lies beside now, and goes when `written` does.
        Ok(()) if read(&written).is_ok_and(|found| found.bytes == old.bytes) => {
            sync_folder(&old.path);
            Ok(true)
        }
        Ok(()) => {
            exchange()?;
            Ok(false)
        }
        Err(Errno::INVAL | Errno::NOSYS) => put(written, &old.path).map(|()| true),
        Err(error) => Err(error.into()),
    }
}

/// Replaces or makes a file.
///
/// # Errors
/// When it cannot be written; the old one is untouched then.
pub fn replace(path: &Path, bytes: &[u8], owner: Owner) -> io::Result<()> {
    put(beside(path, bytes, owner)?, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_with_one_name_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        assert_eq!(read(&at("file")).unwrap().bytes, b"text");
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        assert!(read(&at("link")).unwrap_err().to_string().contains("symbolic link"));
        assert!(read(dir.path()).is_err());
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&at("fifo")).is_err());
        std::fs::hard_link(at("file"), at("second")).unwrap();
        assert!(read(&at("file")).is_err());
        assert!(read_if_there(&at("nothing")).unwrap().is_none());
    }

    #[test]
    fn a_file_is_replaced_whole_and_an_edit_in_between_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "old").unwrap();
        let old = read(&path).unwrap();
        assert!(old.is_still_so());
        let owner = Owner { mode: 0o640, ..old.owner() };
        replace(&path, b"new", owner).unwrap();
        assert!(!old.is_still_so());
        let new = read(&path).unwrap();
        assert_eq!((new.bytes.as_slice(), new.owner()), (&b"new"[..], owner));
        let newer = || beside(&path, b"newer", owner).unwrap();
        std::fs::write(dir.path().join(".file.killed.wazuh-toolkit"), "left of a run that was killed")
            .unwrap();
        assert!(!put_instead(newer(), &old).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"new", "an edit in between stays");
        assert!(put_instead(newer(), &new).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }
}
