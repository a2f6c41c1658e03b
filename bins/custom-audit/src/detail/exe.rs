//! A process's executable: where it is, whether it is still there, and what
//! is in it.
//!
//! A file on a file system of another machine, or of a program, can make
//! whoever touches it wait for ever. Which file systems those are is read from
//! the process's own table of mounts, before anything is touched.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use procfs::process::Process;
use rustix::fs::{
    AtFlags, CWD, FileType, MemfdFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, StatxTimestamp,
    memfd_create, openat, openat2, statx,
};
use sha2::{Digest, Sha256};

use crate::config::Hash;
use crate::known::{FileIdentity, Hashed, MOST_HASHES};
use crate::look::mount;

/// What the kernel appends to the name of a file that has none any more.
const DELETED: &[u8] = b" (deleted)";
/// File systems that somebody else answers for.
const REMOTE: [&str; 15] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "9p",
    "afs",
    "glusterfs",
    "lustre",
    "gpfs",
    "ocfs2",
    "coda",
    "beegfs",
    "autofs",
];

/// Where an executable lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// Where packages put programs.
    System,
    /// Where anybody may write.
    Tmp,
    /// A user's home.
    Home,
    /// Nowhere: it was only ever in memory.
    Memfd,
    /// In a container.
    Container,
    /// Anywhere else.
    Other,
}

impl Location {
    /// As it is written in a record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Location::System => "system",
            Location::Tmp => "tmp",
            Location::Home => "home",
            Location::Memfd => "memfd",
            Location::Container => "container",
            Location::Other => "other",
        }
    }

    /// That of this path.
    #[must_use]
    pub fn of(path: &[u8], in_container: bool) -> Location {
        let below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder.as_bytes()));
        if path.starts_with(b"/memfd:") {
            Location::Memfd
        } else if below(&["/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/", "/run/shm/", "/run/lock/"]) {
            Location::Tmp
        } else if in_container {
            Location::Container
        } else if below(&["/home/", "/root/"]) {
            Location::Home
        } else if below(&[
            "/usr/",
            "/bin/",
            "/sbin/",
            "/lib/",
            "/lib64/",
            "/opt/",
            "/nix/store/",
            "/snap/",
            "/var/lib/",
            "/var/ossec/",
        ]) {
            Location::System
        } else {
            Location::Other
        }
    }
}

/// What is known of an executable.
#[derive(Debug, Clone, Default)]
pub struct Executable {
    /// Its path in its process's eyes, without what the kernel appends.
    pub path: Vec<u8>,
    /// True when it has no name any more.
    pub deleted: bool,
    /// True when another file has its name now, as after an upgrade.
    pub replaced: bool,
    /// Its permissions.
    pub mode: Option<u32>,
    /// Which file it is; `None` of one that must not be touched.
    pub identity: Option<FileIdentity>,
}

/// The path alone, and whether the kernel says that it is gone. Nothing is
/// touched for it.
///
/// # Errors
/// When the process has ended, or has none.
pub fn path(process: &Process) -> io::Result<(Vec<u8>, bool)> {
    let link = process.exe().map_err(|_| io::ErrorKind::NotFound)?;
    let bytes = link.as_os_str().as_bytes();
    Ok(match bytes.strip_suffix(DELETED) {
        Some(path) => (path.to_vec(), true),
        None => (bytes.to_vec(), false),
    })
}

/// Looks at a process's executable.
///
/// # Errors
/// When the process has ended, or has none.
pub fn examine(process: &Process, mounts: &Mounts) -> io::Result<Executable> {
    let (path, says_deleted) = path(process)?;
    let mut found = Executable { path, deleted: says_deleted, ..Executable::default() };
    if !mounts.is_local(&found.path) {
        return Ok(found);
    }
    // What is known of it already: a file system that has been unmounted, and
    // so is in no table, is not asked for it.
    let link = format!("/proc/{}/exe", process.pid());
    let Ok(stat) = statx(CWD, link, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS) else {
        return Ok(found);
    };
    // A file may be called "x (deleted)": one that has a name is not deleted.
    if says_deleted && stat.stx_nlink > 0 && !found.path.starts_with(b"/memfd:") {
        found.path.extend_from_slice(DELETED);
        found.deleted = false;
    }
    found.mode = Some(u32::from(stat.stx_mode) & 0o7777);
    let is_file = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile;
    // What is in no table, or was unmounted under a running process, may be
    // anybody's. What was only ever in memory is in the kernel's hands.
    let is_ours = mounts.local.contains(&stat.stx_mnt_id) || memory_device() == Some(device(&stat));
    found.identity = (is_file && is_ours).then(|| identity(&stat));
    found.replaced = found.deleted && is_replaced(process.pid(), &found.path);
    Ok(found)
}

/// True when another file has the name of a deleted one, as its process sees
/// it. Its owner may have put a link there that leads anywhere: none is
/// followed. (The name itself is what is left when all links were followed.)
fn is_replaced(pid: i32, path: &[u8]) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Ok(root) = openat(CWD, format!("/proc/{pid}/root"), flags | OFlags::DIRECTORY, Mode::empty()) else {
        return false;
    };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    path.starts_with(b"/") && openat2(root, path, flags, Mode::empty(), resolve).is_ok()
}

fn device(stat: &Statx) -> u64 {
    u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor)
}

/// The device that files in memory lie on (`memfd_create`).
fn memory_device() -> Option<u64> {
    static DEVICE: OnceLock<Option<u64>> = OnceLock::new();
    *DEVICE.get_or_init(|| {
        let file = memfd_create(c"custom-audit", MemfdFlags::CLOEXEC).ok()?;
        statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).ok().map(|stat| device(&stat))
    })
}

fn identity(stat: &Statx) -> FileIdentity {
    let nanoseconds =
        |time: StatxTimestamp| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    FileIdentity {
        device: device(stat),
        inode: stat.stx_ino,
        size: stat.stx_size,
        modified: nanoseconds(stat.stx_mtime),
        changed: nanoseconds(stat.stx_ctime),
    }
}

/// The places in a mount namespace that must not be touched.
#[derive(Debug, Clone, Default)]
pub struct Mounts {
    /// Where file systems are that somebody else answers for.
    remote: Vec<PathBuf>,
    /// The numbers of all others.
    local: HashSet<u64>,
}

impl Mounts {
    /// Those that this process sees.
    #[must_use]
    pub fn of(process: &Process) -> Mounts {
        // A program that answers for a file system may take its time, too;
        // those on a block device ("fuseblk") are as local as any.
        let is_remote = |kind: &[u8]| {
            REMOTE.iter().any(|remote| kind == remote.as_bytes())
                || kind == b"fuse"
                || kind.starts_with(b"fuse.")
        };
        let (mut remote, mut local) = (Vec::new(), HashSet::new());
        let read = mount::each(&process.pid().to_string(), |mount| {
            if is_remote(mount.kind) {
                remote.push(mount.point());
            } else {
                local.insert(mount.id);
            }
        });
        if read.is_err() {
            local.clear();
        }
        Mounts { remote, local }
    }

    fn is_local(&self, path: &[u8]) -> bool {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        !self.local.is_empty() && !self.remote.iter().any(|mount| path.starts_with(mount))
    }
}

/// Computes hashes, and remembers them.
#[derive(Debug)]
pub struct Hashes {
    known: Vec<Hashed>,
    settings: Hash,
    run: u32,
    spent: Duration,
    /// True when a file had to be left for the next run.
    pub exhausted: bool,
}

impl Hashes {
    /// With these known from before.
    #[must_use]
    pub fn new(known: Vec<Hashed>, settings: Hash, run: u32) -> Hashes {
        Hashes { known, settings, run, spent: Duration::ZERO, exhausted: false }
    }

    /// The hash of a process's executable, if it can be had.
    pub fn of(&mut self, pid: i32, file: FileIdentity) -> Option<[u8; 32]> {
        if let Some(known) = self.known.iter_mut().find(|known| known.file == file) {
            known.run = self.run;
            return Some(known.sha256);
        }
        if !self.settings.enabled || file.size > self.settings.largest {
            return None;
        }
        if self.spent >= self.settings.budget {
            self.exhausted = true;
            return None;
        }
        let began = Instant::now();
        let hash = compute(pid, file, self.settings.largest);
        self.spent += began.elapsed();
        let sha256 = hash.ok()?;
        self.known.push(Hashed { file, sha256, run: self.run });
        Some(sha256)
    }

    /// What is to be remembered: the latest.
    #[must_use]
    pub fn into_known(mut self) -> Vec<Hashed> {
        self.known.sort_by_key(|known| std::cmp::Reverse(known.run));
        self.known.truncate(MOST_HASHES);
        self.known
    }
}

fn compute(pid: i32, expected: FileIdentity, largest: u64) -> io::Result<[u8; 32]> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let link = format!("/proc/{pid}/exe");
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(link)?;
    if of_open(&file)? != expected {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let hash = hash(&file, largest)?;
    // Written to while it was read: of neither content.
    if of_open(&file)? == expected { Ok(hash) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn of_open(file: &File) -> io::Result<FileIdentity> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Ok(identity(&statx(file, c"", flags, StatxFlags::BASIC_STATS)?))
}

fn hash(file: &File, largest: u64) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut rest = file.take(largest);
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_location() {
        for (path, in_container, expected) in [
            ("/usr/sbin/sshd", false, Location::System),
            ("/usr/sbin/sshd", true, Location::Container),
            ("/tmp/x", true, Location::Tmp),
            ("/dev/shm/x", false, Location::Tmp),
            ("/memfd:x", true, Location::Memfd),
            ("/root/x", false, Location::Home),
            ("/srv/x", false, Location::Other),
            ("/tmpx", false, Location::Other),
        ] {
            assert_eq!(Location::of(path.as_bytes(), in_container), expected, "{path}");
        }
    }

    #[test]
    fn what_lies_on_another_machine_is_not_touched() {
        let mounts = Mounts { remote: vec!["/net".into()], local: [1].into() };
        assert!(mounts.is_local(b"/usr/bin/x") && mounts.is_local(b"/network/x"));
        assert!(!mounts.is_local(b"/net/x"));
        assert!(!Mounts::default().is_local(b"/usr/bin/x"), "nothing is known");
    }

    #[test]
    fn the_hash_of_this_process_is_that_of_its_file() {
        let process = Process::myself().unwrap();
        let found = examine(&process, &Mounts::of(&process)).unwrap();
        let own = std::env::current_exe().unwrap();
        assert_eq!(found.path, own.as_os_str().as_bytes());
        assert!(!found.deleted && found.mode.is_some());
        let mut hashes = Hashes::new(Vec::new(), Hash::default(), 1);
        let hash = hashes.of(process.pid(), found.identity.unwrap()).unwrap();
        assert_eq!(hash, <[u8; 32]>::from(Sha256::digest(std::fs::read(own).unwrap())));
        let known = hashes.into_known();
        let never = Hash { budget: Duration::ZERO, ..Hash::default() };
        let mut again = Hashes::new(known, never, 2);
        assert_eq!(again.of(process.pid(), found.identity.unwrap()), Some(hash));
        let other = FileIdentity { size: 1, ..found.identity.unwrap() };
        assert_eq!(again.of(process.pid(), other), None);
        assert!(again.exhausted);
    }
}
