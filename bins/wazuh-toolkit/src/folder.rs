//! A folder that the user `wazuh` could put a link in the place of: opened once,
//! and everything in it is done by that descriptor.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, fchown};
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, open, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::file::{Original, Owner, read_open};

/// What becomes of a file's permissions, whatever they were: nobody runs it.
const NO_PROGRAM: u32 = 0o666;

/// A folder, as it was when it was opened.
#[derive(Debug)]
pub struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens it, unless it is a link. `None` where there is none.
    ///
    /// # Errors
    /// When it is no folder, or cannot be opened.
    pub fn open(path: &Path) -> io::Result<Option<Folder>> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        match open(path, flags, Mode::empty()) {
            Ok(descriptor) => Ok(Some(Folder { descriptor, path: path.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                Err(io::Error::other(format!("{} is no folder, or a link to one", path.display())))
            }
            Err(error) => {
                Err(io::Error::new(io::Error::from(error).kind(), format!("{}: {error}", path.display())))
            }
        }
    }

    /// Where a file of it is, for people.
    #[must_use]
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a file, as [`crate::file::read`]. `None` where there is none.
    ///
    /// # Errors
    /// When it is no regular file with one name, or cannot be read.
    pub fn read(&self, name: &str) -> io::Result<Option<Original>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = self.path_of(name);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        match openat(&self.descriptor, name, flags, Mode::empty()) {
            Ok(file) => read_open(File::from(file), &path).map(Some).map_err(named),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(named(io::Error::other("is a symbolic link, which is not followed"))),
            Err(error) => Err(named(error.into())),
        }
    }

    /// Replaces or makes a file, as a whole.
    ///
    /// # Errors
    /// When it cannot be written; the old one is untouched then.
    pub fn replace(&self, name: &str, bytes: &[u8], owner: Owner) -> io::Result<()> {
        let temporary = format!(".{name}.wazuh-toolkit");
        // What a run that was killed has left, or somebody has put there.
        self.remove(&temporary)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = openat(&self.descriptor, &*temporary, flags, Mode::RUSR | Mode::WUSR)
            .map_err(io::Error::from)
            .and_then(|file| {
                let mut file = File::from(file);
                file.write_all(bytes)?;
                fchown(&file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
                fchmod(&file, Mode::from_raw_mode(owner.mode & NO_PROGRAM))?;
                file.sync_all()?;
                Ok(renameat(&self.descriptor, &*temporary, &self.descriptor, name)?)
            });
        if written.is_err() {
            let _ = self.remove(&temporary);
        }
        written
    }

    /// Removes a file; one that is not there is removed already.
    ///
    /// # Errors
    /// When it cannot.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Err(error) if error != Errno::NOENT => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_place_of_the_folder_changes_nothing_of_what_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("rules"), dir.path().join("victim"));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("old"), "stays").unwrap();
        let folder = Folder::open(&path).unwrap().unwrap();
        std::fs::rename(&path, dir.path().join("aside")).unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let owner = Owner { uid: 0, gid: 0, mode: 0o4755 };
        let us = nix::unistd::geteuid().as_raw();
        folder
            .replace("x.xml", b"ours", Owner { uid: us, gid: nix::unistd::getegid().as_raw(), ..owner })
            .unwrap();
        folder.remove("old").unwrap();
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 1);
        let written = folder.read("x.xml").unwrap().unwrap();
        assert_eq!((written.bytes.as_slice(), written.owner().mode), (&b"ours"[..], 0o644));
        assert!(Folder::open(&path).unwrap_err().to_string().contains("no folder"));
        assert!(Folder::open(&dir.path().join("nothing")).unwrap().is_none());
    }
}
