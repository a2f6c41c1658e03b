//! The state file: `<state-dir>/custom-audit/state`, 0600 in a folder of 0700.
//!
//! A line of text that says what it is, then what is [`Known`] in postcard's
//! format, then a CRC-32 over all of it. It is written whole beside the old
//! one, synced and renamed, so that a run that is killed leaves the old one or
//! the new one. A second file, `lock`, keeps two runs apart.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::state::{Durability, OWN_FILE, lock, replace};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

use crate::known::{Known, MOST_SOCKETS};

/// Which file it is, and how it is written.
const HEADER: &[u8] = b"custom-audit state 1\n";
/// Of the checksum, in bytes.
const CHECKSUM: usize = 4;
/// A larger file is none of ours: a million sockets take less.
const LARGEST: u64 = 256 * 1024 * 1024;
/// The file's name.
pub const FILE: &str = "state";

/// The folder of the state, and the right to change it.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    /// Kept until the run is over.
    held: Option<Flock<File>>,
}

/// Why there is no state to work with.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another run has it.
    #[error("another run is not over yet")]
    Busy,
    /// The folder belongs to somebody else, or others may write to it.
    #[error("{}: {reason}", path.display())]
    Untrusted {
        /// The folder or file.
        path: PathBuf,
        /// What makes it so.
        reason: &'static str,
    },
    /// The system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

/// What a state file turned out to be.
#[derive(Debug)]
pub enum Contents {
    /// There is none yet.
    Absent,
    /// As it was written.
    Good(Box<Known>),
    /// Not what it should be, and where it lies now.
    Bad(&'static str, PathBuf),
}

impl State {
    /// The state below this directory (all programs' one), made when absent,
    /// for this run alone. Another run is waited for until `patience`.
    ///
    /// # Errors
    /// When another run has it, or it cannot be trusted, made or locked.
    pub fn open(state_dir: &Path, patience: Instant) -> Result<State, StateError> {
        let dir = state_dir.join("custom-audit");
        let io = |error| StateError::Io { path: dir.clone(), error };
        DirBuilder::new().recursive(true).mode(0o755).create(state_dir).map_err(io)?;
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
            _ => {}
        }
        let found = std::fs::symlink_metadata(&dir).map_err(io)?;
        let untrusted = |reason| Err(StateError::Untrusted { path: dir.clone(), reason });
        if !found.is_dir() {
            return untrusted("not a directory");
        }
        if found.uid() != geteuid().as_raw() && found.uid() != 0 {
            return untrusted("belongs to another user");
        }
        if found.mode() & 0o022 != 0 {
            return untrusted("others may write to it");
        }
        let own = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OWN_FILE)
            .open(dir.join("lock"))
            .map_err(io)?;
        match lock(own, FlockArg::LockExclusiveNonblock, patience) {
            Ok(own) => {
                remove_leftovers(&dir);
                Ok(State { dir, held: Some(own) })
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(StateError::Busy),
            Err(error) => Err(io(error)),
        }
    }

    /// The state below this directory, to be read and left as it is.
    #[must_use]
    pub fn peek(state_dir: &Path) -> State {
        State { dir: state_dir.join("custom-audit"), held: None }
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Reads the file. A bad one is set aside under another name, unless we
    /// are only peeking.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> Result<Contents, StateError> {
        let path = self.path();
        let io = |error| StateError::Io { path: path.clone(), error };
        let opened = OpenOptions::new().read(true).custom_flags(OWN_FILE).open(&path);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::Absent),
            Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
                return Ok(self.set_aside("a link"));
            }
            opened => opened.map_err(io)?,
        };
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Ok(self.set_aside("not a regular file"));
        }
        let ours = metadata.uid() == geteuid().as_raw() || metadata.uid() == 0;
        if !ours || metadata.mode() & 0o022 != 0 {
            return Ok(self.set_aside("somebody else may have written it"));
        }
        if metadata.len() > LARGEST {
            return Ok(self.set_aside("too large"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(io)?;
        match decode(&bytes) {
            Ok(known) => Ok(Contents::Good(Box::new(known))),
            Err(reason) => Ok(self.set_aside(reason)),
        }
    }

    fn set_aside(&self, reason: &'static str) -> Contents {
        let (path, bad) = (self.path(), self.dir.join("state.bad"));
        if self.held.is_some() {
            let _ = std::fs::remove_file(&bad);
            let _ = std::fs::rename(&path, &bad);
        }
        Contents::Bad(reason, bad)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it is not whole on the disk; the former one counts then.
    pub fn write(&self, known: &Known) -> Result<(), StateError> {
        let path = self.path();
        encode(known)
            .and_then(|bytes| replace(&path, &bytes, 0o600, Durability::Synced))
            .map_err(|error| StateError::Io { path, error })
    }
}

/// What a run left that was killed while it wrote.
fn remove_leftovers(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b"state.") && name.ends_with(b".tmp") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A state file with this in it.
///
/// # Errors
/// When it cannot be made.
pub fn encode(known: &Known) -> io::Result<Vec<u8>> {
    let room = HEADER.len() + known.sockets.len() * 64 + known.holdings.len() * 16 + 4096;
    let mut bytes = Vec::with_capacity(room);
    bytes.extend_from_slice(HEADER);
    let mut bytes = postcard::to_extend(known, bytes).map_err(io::Error::other)?;
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// What stands in a state file.
///
/// # Errors
/// Why it is not believed.
pub fn decode(bytes: &[u8]) -> Result<Known, &'static str> {
    if bytes.len() as u64 > LARGEST {
        return Err("too large");
    }
    if !bytes.starts_with(HEADER) {
        return Err("not a state file of this version");
    }
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or("too short")?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err("its checksum is wrong");
    }
    let body = content.get(HEADER.len()..).ok_or("too short")?;
    let known: Known = postcard::from_bytes(body).map_err(|_| "it cannot be understood")?;
    if known.sockets.len() > MOST_SOCKETS || !known.is_sound() {
        return Err("it contradicts itself");
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::known::{Holding, KnownProcess};

    fn known() -> Known {
        let mut known = Known { boot: "b".into(), run: 7, others: vec![1, 2, 3], ..Known::default() };
        known.processes.push(KnownProcess {
            pid: 1,
            start: 2,
            euid: 0,
            name: "a\"b".into(),
            exe: "/bin/a".into(),
            descriptors: 7,
            threads: false,
        });
        known.sockets.push(crate::socket::Socket {
            protocol: crate::socket::Protocol::Tcp,
            ipv6: true,
            state: 1,
            local: "[2001:db8::1]:22".parse().unwrap(),
            remote: "192.0.2.1:4711".parse().unwrap(),
            interface: 0,
            uid: 0,
            inode: 4711,
            cookie: u64::MAX,
            netns: 4_026_531_833,
        });
        known.holdings.push(Holding { first_seen: 5, first_run: 6, said: true, ..Holding::default() });
        known.executables.note(&"/bin/a", 7);
        known
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path(), Instant::now()).unwrap();
        assert!(matches!(state.read().unwrap(), Contents::Absent));
        state.write(&known()).unwrap();
        let Contents::Good(read) = state.read().unwrap() else { panic!("it was written just now") };
        assert_eq!(format!("{read:?}"), format!("{:?}", known()));
        let mode = std::fs::metadata(state.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_damaged_anywhere_is_set_aside() {
        let whole = encode(&known()).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            assert!(decode(&damaged).is_err(), "{at}");
            assert!(decode(&whole[..at]).is_err(), "cut at {at}");
        }
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path(), Instant::now()).unwrap();
        std::fs::write(state.path(), b"rubbish").unwrap();
        assert!(matches!(State::peek(dir.path()).read().unwrap(), Contents::Bad(..)));
        assert!(state.path().exists(), "who only peeks changes nothing");
        let Contents::Bad(_, aside) = state.read().unwrap() else { panic!("it is rubbish") };
        assert_eq!(std::fs::read(aside).unwrap(), b"rubbish");
        assert!(matches!(state.read().unwrap(), Contents::Absent));
    }

    #[test]
    fn an_index_that_points_nowhere_is_not_believed() {
        let mut wrong = known();
        wrong.holdings[0].socket = 1;
        assert!(decode(&encode(&wrong).unwrap()).is_err());
    }

    #[test]
    fn a_second_run_waits_and_then_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let _first = State::open(dir.path(), Instant::now()).unwrap();
        let second = State::open(dir.path(), Instant::now() + Duration::from_millis(5));
        assert!(matches!(second, Err(StateError::Busy)));
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("custom-audit");
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(State::open(dir.path(), Instant::now()), Err(StateError::Untrusted { .. })));
        std::fs::remove_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/tmp", &folder).unwrap();
        assert!(matches!(State::open(dir.path(), Instant::now()), Err(StateError::Untrusted { .. })));
    }
}
