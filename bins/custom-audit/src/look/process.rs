//! The processes of `/proc`, and which of them are root.
//!
//! Whose a process is, is told by the owner of its directory: the effective
//! uid, also of one that is not dumpable (`proc_pid_make_inode` in Linux
//! gives such a process's *other* files to root, so this is asked of the
//! directory alone). What a process may become again is in its `status`.
//!
//! Everything about one process is read below one open directory: when its
//! pid is given to another, that directory answers `ESRCH`.

use std::ffi::CStr;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, fstat, openat, readlinkat_raw, statat};
use rustix::io::{Errno, read};
use rustix::process::Pid;
use rustix::thread::capabilities;

/// Bytes of directory entries that are read at once.
pub const ENTRIES: usize = 32 * 1024;
/// So much of a `status` or `stat` is read at once.
const PIECE: usize = 4 * 1024;
/// The most that is read of one: a `status` with the largest number of groups
/// (65,536) is smaller.
const LARGEST: usize = 1024 * 1024;

/// No more threads of one process are looked at.
const MOST_THREADS: usize = 256;

/// Why a process counts as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its effective uid is 0.
    Effective,
    /// It can be again: its saved uid is 0.
    Saved,
    /// It can be again: its real uid is 0.
    Real,
    /// It may use these capabilities in the initial user namespace.
    Capabilities(u64),
    /// One of its threads is root.
    Thread,
}

/// Capabilities by which a process can do what root can (numbers and names of
/// `include/uapi/linux/capability.h`): any of them is enough to become root.
pub const LIKE_ROOT: [(u8, &str); 10] = [
    (0, "chown"),
    (1, "dac_override"),
    (3, "fowner"),
    (7, "setuid"),
    (16, "sys_module"),
    (17, "sys_rawio"),
    (19, "sys_ptrace"),
    (21, "sys_admin"),
    (27, "mknod"),
    (31, "setfcap"),
];

/// The initial user namespace (`PROC_USER_INIT_INO` in Linux).
const INITIAL_USER_NAMESPACE: &[u8] = b"user:[4026531837]";

/// `/proc`, open.
#[derive(Debug)]
pub struct Proc {
    dir: OwnedFd,
}

/// One process, its directory open.
#[derive(Debug)]
pub struct Opened {
    /// Its number.
    pub pid: i32,
    /// `/proc/PID`.
    pub dir: OwnedFd,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The kernel's name for it, of 15 bytes at most, which it can choose.
    pub name: Vec<u8>,
    /// The process that waits for it.
    pub ppid: i32,
    /// The terminal's device number; 0 without one.
    pub tty: i32,
    /// Clock ticks between the boot and its start.
    pub start: u64,
}

/// What `/proc/PID/status` says of its credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The real uid.
    pub real: u32,
    /// The saved uid.
    pub saved: u32,
    /// The capabilities that it may have, one bit each.
    pub permitted_caps: u64,
    /// Those that it has.
    pub effective_caps: u64,
}

impl Proc {
    /// Opens `/proc`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open() -> io::Result<Proc> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Proc { dir: openat(CWD, "/proc", flags, Mode::empty())? })
    }

    /// All processes' numbers.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn pids(&self) -> io::Result<Vec<i32>> {
        // An open directory has one position: each look takes its own.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(&self.dir, c".", flags, Mode::empty())?;
        numbers(dir)
    }

    /// What is known of `/proc/PID` or of a file in it, without opening it.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` when it has ended.
    pub fn stat(&self, pid: i32, file: &str) -> rustix::io::Result<rustix::fs::Stat> {
        let mut path = [0; 32];
        statat(&self.dir, path_of(&mut path, "", pid, file)?, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The threads of a process but the first one, when it has others; of very
    /// many only some.
    #[must_use]
    pub fn threads(&self, pid: i32) -> Vec<i32> {
        // The directory has a link for itself, one for its parent, and one for each.
        if self.stat(pid, "/task").map_or(0, |stat| stat.st_nlink) <= 3 {
            return Vec::new();
        }
        let mut path = [0; 32];
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = path_of(&mut path, "", pid, "/task")
            .and_then(|path| openat(&self.dir, path, flags, Mode::empty()));
        let numbers = opened.map_err(io::Error::from).and_then(numbers).unwrap_or_default();
        numbers.into_iter().filter(|&thread| thread != pid).take(MOST_THREADS).collect()
    }

    /// What may make root of a process whose effective uid is not 0, in one
    /// quick question: whether any capability is left to it. Who has none can
    /// be root again only by a real or saved uid of 0, and that is rare.
    #[must_use]
    pub fn has_capabilities(&self, pid: i32) -> bool {
        let caps = Pid::from_raw(pid).map(|pid| capabilities(Some(pid)));
        // Whoever cannot be asked is looked at more closely.
        caps.is_none_or(|caps| caps.map_or(true, |caps| !caps.permitted.is_empty()))
    }

    /// What `/proc/PID/status` says of its credentials.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` when it has ended.
    pub fn status(&self, pid: i32) -> rustix::io::Result<Status> {
        let mut path = [0; 32];
        parse_status(&read_file(&self.dir, path_of(&mut path, "", pid, "/status")?)?).ok_or(Errno::INVAL)
    }

    /// True when the size of a directory of descriptors is their number, as
    /// from Linux 6.2 on.
    #[must_use]
    pub fn counts_descriptors(&self) -> bool {
        self.stat(std::process::id().cast_signed(), "/fd").is_ok_and(|stat| stat.st_size > 0)
    }

    /// Opens a process.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` when it has ended.
    pub fn process(&self, pid: i32) -> rustix::io::Result<Opened> {
        let mut path = [0; 32];
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(&self.dir, path_of(&mut path, "", pid, "")?, flags, Mode::empty())?;
        Ok(Opened { pid, dir })
    }

    /// The inode of a process's network namespace.
    ///
    /// # Errors
    /// When it has ended, or must not be asked.
    pub fn network_namespace(&self, pid: i32) -> rustix::io::Result<u64> {
        let mut path = [0; 32];
        namespace(&self.dir, path_of(&mut path, "", pid, "/ns/net")?)
    }
}

/// The entries of a directory that are numbers.
fn numbers(dir: OwnedFd) -> io::Result<Vec<i32>> {
    let mut buffer = vec![MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut numbers = Vec::with_capacity(512);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.first().is_some_and(u8::is_ascii_digit) {
            numbers.extend(std::str::from_utf8(name).ok().and_then(|name| name.parse::<i32>().ok()));
        }
    }
    Ok(numbers)
}

fn descriptors_of(buffer: &mut [u8; 32], thread: Option<i32>) -> rustix::io::Result<&CStr> {
    match thread {
        None => Ok(c"fd"),
        Some(thread) => path_of(buffer, "task/", thread, "/fd"),
    }
}

fn path_of<'a>(
    buffer: &'a mut [u8; 32],
    folder: &str,
    number: i32,
    file: &str,
) -> rustix::io::Result<&'a CStr> {
    let mut rest = &mut buffer[..];
    write!(rest, "{folder}{number}{file}\0").map_err(|_| Errno::NAMETOOLONG)?;
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::INVAL)
}

fn namespace(dir: &OwnedFd, path: &CStr) -> rustix::io::Result<u64> {
    let mut buffer = [MaybeUninit::uninit(); 64];
    let (link, _) = readlinkat_raw(dir, path, &mut buffer[..])?;
    bracketed(link, b"net:[").ok_or(Errno::INVAL)
}

/// The number in `socket:[4711]`, when it is such a link.
#[must_use]
pub fn bracketed(link: &[u8], prefix: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(prefix)?.strip_suffix(b"]")?;
    digits.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?
    })
}

impl Opened {
    /// Opens its directory of descriptors, or that of one of its threads.
    ///
    /// # Errors
    /// `EACCES` when it must not be looked into; `ENOENT` or `ESRCH` when it has ended.
    pub fn descriptors(&self, thread: Option<i32>) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.dir, descriptors_of(&mut [0; 32], thread)?, flags, Mode::empty())
    }

    /// How many descriptors it has, or one of its threads; `None` of one that has ended.
    #[must_use]
    pub fn counted(&self, thread: Option<i32>) -> Option<i64> {
        let mut path = [0; 32];
        let path = descriptors_of(&mut path, thread).ok()?;
        statat(&self.dir, path, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_size)
    }

    /// Why it counts as root although its effective uid is not 0, with these threads.
    ///
    /// # Errors
    /// When it has ended.
    pub fn any_root(&self, threads: &[i32]) -> rustix::io::Result<Option<Reason>> {
        if let Some(reason) = self.hidden_root()? {
            return Ok(Some(reason));
        }
        let is_root = |&thread: &i32| {
            let mut path = [0; 32];
            let found = path_of(&mut path, "task/", thread, "")
                .and_then(|path| statat(&self.dir, path, AtFlags::SYMLINK_NOFOLLOW));
            found.is_ok_and(|stat| stat.st_uid == 0)
        };
        Ok(threads.iter().any(is_root).then_some(Reason::Thread))
    }

    /// The inode of the socket that this descriptor is, if it is one.
    #[must_use]
    pub fn socket(&self, fd: u32) -> Option<u64> {
        let mut path = [0; 32];
        let mut rest = &mut path[..];
        write!(rest, "fd/{fd}\0").ok()?;
        let mut link = [MaybeUninit::uninit(); 40];
        let (link, _) =
            readlinkat_raw(&self.dir, CStr::from_bytes_until_nul(&path).ok()?, &mut link[..]).ok()?;
        bracketed(link, b"socket:[")
    }

    /// Its effective uid.
    ///
    /// # Errors
    /// When it has ended.
    pub fn owner(&self) -> rustix::io::Result<u32> {
        fstat(&self.dir).map(|stat| stat.st_uid)
    }

    /// The inode of its network namespace.
    ///
    /// # Errors
    /// When it has ended, or must not be asked.
    pub fn network_namespace(&self) -> rustix::io::Result<u64> {
        namespace(&self.dir, c"ns/net")
    }

    /// What `stat` says.
    ///
    /// # Errors
    /// When it has ended.
    pub fn stat(&self) -> rustix::io::Result<Stat> {
        parse_stat(&read_file(&self.dir, c"stat")?).ok_or(Errno::INVAL)
    }

    /// Why it counts as root although its effective uid is not 0.
    ///
    /// # Errors
    /// When it has ended.
    pub fn hidden_root(&self) -> rustix::io::Result<Option<Reason>> {
        let reason = self.status()?.hidden_root();
        if matches!(reason, Some(Reason::Capabilities(_))) {
            let mut buffer = [MaybeUninit::uninit(); 64];
            let (link, _) = readlinkat_raw(&self.dir, c"ns/user", &mut buffer[..])?;
            return Ok(reason.filter(|_| link == INITIAL_USER_NAMESPACE));
        }
        Ok(reason)
    }

    /// What `status` says of its credentials.
    ///
    /// # Errors
    /// When it has ended.
    pub fn status(&self) -> rustix::io::Result<Status> {
        parse_status(&read_file(&self.dir, c"status")?).ok_or(Errno::INVAL)
    }
}

fn read_file(dir: &OwnedFd, name: &CStr) -> rustix::io::Result<Vec<u8>> {
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = vec![0; PIECE];
    let mut length = 0;
    loop {
        length += read(&file, &mut text[length..])?;
        // A file of /proc fills what it is offered, or has ended.
        if length < text.len() || length >= LARGEST {
            text.truncate(length);
            return Ok(text);
        }
        text.resize(length + PIECE * 16, 0);
    }
}

/// `pid (name) state ppid …`, where the name may hold anything, brackets and
/// newlines included: it ends at the last one (proc_pid_stat(5)).
#[must_use]
pub fn parse_stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let name = text.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    // Counted from 3, the state, as in the manual.
    let mut fields = rest.split_ascii_whitespace();
    let mut field = |skipped| fields.nth(skipped);
    let ppid = field(1)?.parse().ok()?;
    let tty = field(2)?.parse().ok()?;
    let start = field(14)?.parse().ok()?;
    Some(Stat { name, ppid, tty, start })
}

/// The credentials in a `status` (proc_pid_status(5)).
#[must_use]
pub fn parse_status(text: &[u8]) -> Option<Status> {
    let line = |key: &[u8]| {
        let mut lines = text.split(|&byte| byte == b'\n');
        // The name of the process, which could imitate any of them, is
        // escaped here and stands on the first line (`proc_task_name`).
        lines.find_map(|line| line.strip_prefix(key)).and_then(|value| std::str::from_utf8(value).ok())
    };
    let mut uids = line(b"Uid:")?.split_ascii_whitespace().map(str::parse::<u32>);
    let (real, _, saved) = (uids.next()?.ok()?, uids.next()?.ok()?, uids.next()?.ok()?);
    let caps = |key: &[u8]| u64::from_str_radix(line(key)?.trim(), 16).ok();
    Some(Status { real, saved, permitted_caps: caps(b"CapPrm:")?, effective_caps: caps(b"CapEff:")? })
}

impl Status {
    /// Why it counts as root although its effective uid is not 0.
    #[must_use]
    pub fn hidden_root(&self) -> Option<Reason> {
        let like_root = self.permitted_caps & LIKE_ROOT.iter().fold(0, |all, (number, _)| all | 1 << number);
        match () {
            () if self.saved == 0 => Some(Reason::Saved),
            () if self.real == 0 => Some(Reason::Real),
            () => (like_root != 0).then_some(Reason::Capabilities(like_root)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_whatever_it_likes() {
        let stat = "12 (a) S 1 (b\nc)) S 7 12 12 34816 12 4194560 0 0 0 0 1 2 0 0 20 0 1 0 987654 1 2";
        let parsed = parse_stat(stat.as_bytes()).unwrap();
        assert_eq!(parsed, Stat { name: b"a) S 1 (b\nc)".to_vec(), ppid: 7, tty: 34816, start: 987_654 });
        for length in 0..stat.len() - 5 {
            // Cut anywhere it is nothing, or a number cut short by its end.
            let _ = parse_stat(&stat.as_bytes()[..length]);
        }
        assert_eq!(parse_stat(b"12 (a"), None);
        assert_eq!(parse_stat(b")("), None);
    }

    #[test]
    fn what_can_become_root_is_root() {
        let status = |uids: &str, caps: &str| {
            let text = format!("Name:\tUid:\t0\nUid:\t{uids}\nGid:\t0\nCapPrm:\t{caps}\nCapEff:\t0\n");
            parse_status(text.as_bytes()).unwrap().hidden_root()
        };
        assert_eq!(status("65534 65534 0 65534", "0000000000000000"), Some(Reason::Saved));
        assert_eq!(status("0 65534 65534 65534", "0000000000000000"), Some(Reason::Real));
        assert_eq!(status("1 1 1 1", "0000000000200000"), Some(Reason::Capabilities(1 << 21)));
        assert_eq!(status("1 1 1 1", "0000000000003400"), None);
        assert_eq!(parse_status(b"Name:\tx\n"), None);
    }

    #[test]
    fn numbers_in_links_are_read_whole_or_not_at_all() {
        for (link, expected) in [
            ("socket:[4711]", Some(4711)),
            ("socket:[]", Some(0)),
            ("socket:[18446744073709551616]", None),
            ("socket:[1", None),
            ("socket:[1x]", None),
            ("pipe:[1]", None),
        ] {
            assert_eq!(bracketed(link.as_bytes(), b"socket:["), expected, "{link}");
        }
    }

    #[test]
    fn this_process_is_found() {
        let proc = Proc::open().unwrap();
        let own = std::process::id().cast_signed();
        assert!(proc.pids().unwrap().contains(&own));
        let process = proc.process(own).unwrap();
        assert_eq!(process.owner().unwrap(), nix::unistd::geteuid().as_raw());
        assert!(process.stat().unwrap().start > 0);
        assert_eq!(process.network_namespace().unwrap(), proc.network_namespace(own).unwrap());
    }
}
