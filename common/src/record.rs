//! Appending one line to a log whose directory belongs to somebody else.
//!
//! `logs/active-responses.log` lies in a directory that the user `wazuh` may
//! write to. Root must not be led from there to another file: not by a
//! symbolic link, not by a hard link, not to a device, and not into waiting
//! for the reader of a named pipe.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};

/// Whoever is writing a line is done with it after so long.
const WRITING: Duration = Duration::from_millis(10);
/// How often the end of a log is looked at, at most.
const MOST_LOOKS: usize = 5;

/// Appends the line (its newline included) with one write. What a former
/// writer could not finish is ended first, so that it spoils no other line.
///
/// An absent file is made with mode 0660 and the directory's owner and group,
/// as Wazuh itself makes it.
///
/// # Errors
/// When the file is anything but a regular file with one link, or cannot be
/// written. A line that was cut short (a full disk) is `WriteZero`.
pub fn append(directory: &Path, name: &str, line: &[u8]) -> io::Result<()> {
    let mut file = open_log(directory, name.as_ref())?;
    let written = if is_torn(&file)? {
        let line = [b"\n", line].concat();
        file.write(&line)? == line.len()
    } else {
        file.write(line)? == line.len()
    };
    if written { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Opens a log for appending; see [`append`].
///
/// # Errors
/// When the file is anything but a regular file with one link, or cannot be
/// opened or made.
pub fn open_log(directory: &Path, name: &OsStr) -> io::Result<File> {
    let folder = open(directory, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())?;
    let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match openat(&folder, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => {
            let made = flags | OFlag::O_CREAT | OFlag::O_EXCL;
            match openat(&folder, name, made, Mode::from_bits_truncate(0o600)) {
                // Somebody else made it in between.
                Err(Errno::EEXIST) => openat(&folder, name, flags, Mode::empty())?,
                Err(error) => return Err(error.into()),
                Ok(made) => {
                    let owner = fstat(&folder)?;
                    // Without the right to give it away it stays ours.
                    match fchown(&made, Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)))
                    {
                        Ok(()) | Err(Errno::EPERM) => {}
                        Err(error) => return Err(error.into()),
                    }
                    fchmod(&made, Mode::from_bits_truncate(0o660))?;
                    made
                }
            }
        }
        opened => opened?,
    };
    if !is_plain(&fstat(&file)?) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file with one link"));
    }
    Ok(File::from(file))
}

/// True of a log whose last line has no end, and gets none: while a line is
/// being written by somebody else, the kernel shows the first pages of it.
///
/// # Errors
/// When it cannot be read.
pub fn is_torn(file: &File) -> io::Result<bool> {
    let mut seen = None;
    for _ in 0..MOST_LOOKS {
        let mut last = [0];
        let length = file.metadata()?.len();
        if length == 0 || file.read_at(&mut last, length - 1)? != 1 || last == *b"\n" {
            return Ok(false);
        }
        if seen.replace(length) == Some(length) {
            return Ok(true);
        }
        std::thread::sleep(WRITING);
    }
    // Others write all the time: whoever is torn, it is not the last one.
    Ok(false)
}

/// True of a regular file that has no second name.
#[must_use]
pub fn is_plain(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG && stat.st_nlink == 1
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn lines_are_appended_and_the_file_is_made_when_absent() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), "x.log", b"one\n").unwrap();
        append(dir.path(), "x.log", b"two\n").unwrap();
        assert_eq!(std::fs::read(dir.path().join("x.log")).unwrap(), b"one\ntwo\n");
        let mode = std::fs::metadata(dir.path().join("x.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
    }

    #[test]
    fn what_another_writer_left_unfinished_spoils_no_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.log"), b"{\"torn\":").unwrap();
        append(dir.path(), "x.log", b"one\n").unwrap();
        append(dir.path(), "x.log", b"two\n").unwrap();
        assert_eq!(std::fs::read(dir.path().join("x.log")).unwrap(), b"{\"torn\":\none\ntwo\n");
    }

    #[test]
    fn many_writers_of_long_lines_leave_no_empty_ones() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let dir = dir.path();
                scope.spawn(move || {
                    // Over several pages, which the kernel shows one by one.
                    let line = [vec![b'a' + writer; 20_000], b"\n".to_vec()].concat();
                    (0..50).for_each(|_| append(dir, "x.log", &line).unwrap());
                });
            }
        });
        let text = std::fs::read_to_string(dir.path().join("x.log")).unwrap();
        assert_eq!(text.lines().filter(|line| line.len() == 20_000).count(), 400);
        assert_eq!(text.lines().count(), 400);
    }

    #[test]
    fn nothing_but_a_plain_file_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, b"").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("symlink")).unwrap();
        std::os::unix::fs::symlink("/nonexistent/x", dir.path().join("dangling")).unwrap();
        std::fs::hard_link(&victim, dir.path().join("hardlink")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), Mode::S_IRWXU).unwrap();
        std::fs::create_dir(dir.path().join("directory")).unwrap();
        for name in ["symlink", "dangling", "hardlink", "pipe", "directory"] {
            assert!(append(dir.path(), name, b"x\n").is_err(), "{name}");
        }
        // A pipe that somebody reads from opens at once, and is still no file.
        let _reader =
            std::fs::OpenOptions::new().read(true).write(true).open(dir.path().join("pipe")).unwrap();
        assert!(append(dir.path(), "pipe", b"x\n").is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("folder")).unwrap();
        assert!(append(&dir.path().join("folder"), "y", b"x\n").is_err());
    }
}
