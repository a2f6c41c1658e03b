//! Which process holds which socket: the links in `/proc/PID/fd`.

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::time::Instant;

use common::text::legible;
use rustix::fs::{RawDir, readlinkat_raw};
use rustix::io::Errno;

use super::process::{ENTRIES, Opened, Proc, Reason, Stat, bracketed};
use crate::known::Known;
use crate::socket::Socket;

/// A process that counts as root and holds sockets.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Clock ticks between the boot and its start: with the pid, who it is.
    pub start: u64,
    /// The name it gives itself, legible.
    pub name: String,
    /// The process that waits for it.
    pub ppid: i32,
    /// Its terminal's device number.
    pub tty: i32,
    /// Its effective uid.
    pub euid: u32,
    /// Why it counts as root.
    pub reason: Reason,
    /// Its network namespace, which need not be that of its sockets; 0 when unknown.
    pub netns: u64,
    /// How many descriptors it has; 0 where the kernel does not count them.
    pub descriptors: u32,
    /// True when it takes a look at its threads to know it.
    pub threads: bool,
}

impl Process {
    /// What is known of it, now that its descriptors were read.
    fn new(opened: &Opened, stat: &Stat, reason: Reason, descriptors: u32) -> Result<Process, Looked> {
        let euid = opened.owner()?;
        Ok(Process {
            pid: opened.pid,
            start: stat.start,
            name: legible(&stat.name, 128),
            ppid: stat.ppid,
            tty: stat.tty,
            euid,
            // It may have become root since it was chosen, or ceased to be.
            reason: match reason {
                _ if euid == 0 => Reason::Effective,
                Reason::Effective => opened.hidden_root()?.ok_or(Looked::Gone)?,
                hidden => hidden,
            },
            netns: opened.network_namespace().unwrap_or(0),
            descriptors,
            threads: false,
        })
    }
}

/// The number of a descriptor that was not read.
const NUMBER_UNKNOWN: u32 = u32::MAX;

/// One descriptor that is a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The socket's inode.
    pub inode: u64,
    /// Whose it is: an index into the processes.
    pub process: u32,
    /// The descriptor's number.
    pub fd: u32,
}

/// What came of looking at all processes.
#[derive(Debug, Default)]
pub struct Scan {
    /// Those of root that hold sockets.
    pub processes: Vec<Process>,
    /// Their sockets, in order.
    pub held: Vec<Held>,
    /// Processes of root that were looked into, with or without sockets.
    pub root: u32,
    /// All processes.
    pub pids: Vec<i32>,
    /// Descriptors that were read.
    pub descriptors: u32,
    /// Processes and descriptors that vanished while they were looked at.
    pub races: u32,
    /// Processes of root that must not be looked into.
    pub unreadable: u32,
    /// True when processes were believed to hold what they held last time.
    pub believed: bool,
}

/// What a look need not look at again.
#[derive(Debug, Default)]
pub struct Trust {
    /// Processes that are believed to hold what they held.
    pub believed: Believed,
    /// The processes that were root last time, though not by their effective
    /// uid. `None` when each process must be looked at as if it were one.
    pub hidden: Option<HashSet<i32>>,
    /// The processes that had sockets in their threads' hands alone.
    pub threads: HashSet<i32>,
}

impl Trust {
    /// True of a process whose threads must be looked at one by one.
    fn asks_threads(&self, pid: i32) -> bool {
        self.hidden.is_none() || self.threads.contains(&pid)
    }

    /// True of a process that needs capabilities to be root.
    fn is_harmless(&self, pid: i32) -> bool {
        self.hidden.as_ref().is_some_and(|hidden| !hidden.contains(&pid))
    }
}

/// Processes that are believed to hold what they held, as long as they have
/// as many descriptors: while no socket of the host is new, and none of
/// theirs is missing, nothing else can be in them than was there already.
#[derive(Debug, Default)]
pub struct Believed(HashMap<(i32, u64), (u32, Vec<u64>)>);

impl Believed {
    /// Those with so many descriptors that not reading them saves time. What
    /// is closed is left out.
    #[must_use]
    pub fn new(known: &Known, is_open: impl Fn(&Socket) -> bool) -> Believed {
        let mut inodes: Vec<Vec<u64>> = vec![Vec::new(); known.processes.len()];
        for holding in &known.holdings {
            let socket = &known.sockets[holding.socket as usize];
            if is_open(socket) {
                inodes[holding.process as usize].push(socket.inode);
            }
        }
        let many = known.processes.iter().zip(inodes).filter(|(process, _)| process.descriptors >= MANY);
        Believed(
            many.map(|(process, inodes)| ((process.pid, process.start), (process.descriptors, inodes)))
                .collect(),
        )
    }
}

/// From so many descriptors on, a process may be believed.
const MANY: u32 = 64;

/// Room for directory entries, used again and again.
#[derive(Debug)]
pub struct Buffer(Vec<MaybeUninit<u8>>);

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer(vec![MaybeUninit::uninit(); ENTRIES])
    }
}

/// What came of looking into one process.
enum Looked {
    /// Not root, or without sockets, or a thread of the kernel.
    Nothing,
    /// Vanished.
    Gone,
    /// Must not be looked into.
    Denied,
}

impl From<Errno> for Looked {
    fn from(errno: Errno) -> Looked {
        match errno {
            Errno::ACCESS | Errno::PERM => Looked::Denied,
            _ => Looked::Gone,
        }
    }
}

impl Scan {
    /// Looks into every process of root that is not believed, until told to
    /// stop. `None` when it was.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn new(
        proc: &Proc,
        pids: Vec<i32>,
        trust: &Trust,
        stop: &dyn Fn() -> bool,
    ) -> std::io::Result<Option<Scan>> {
        let mut scan = Scan { pids, ..Scan::default() };
        let mut buffer = Buffer::default();
        // From Linux 6.2 on the size of the directory is the number of
        // descriptors, so that threads of the kernel need not be opened.
        let counted = proc.counts_descriptors();
        for at in 0..scan.pids.len() {
            if stop() {
                return Ok(None);
            }
            let pid = scan.pids[at];
            match scan.look_into(proc, pid, counted, trust, &mut buffer) {
                Ok(()) | Err(Looked::Nothing) => {}
                Err(Looked::Gone) => scan.races += 1,
                Err(Looked::Denied) => scan.unreadable += 1,
            }
        }
        scan.held.sort_unstable();
        // Threads with descriptors of their own may share some.
        scan.held.dedup();
        Ok(Some(scan))
    }

    fn look_into(
        &mut self,
        proc: &Proc,
        pid: i32,
        counted: bool,
        trust: &Trust,
        buffer: &mut Buffer,
    ) -> Result<(), Looked> {
        let effective = proc.stat(pid, "")?.st_uid == 0;
        let mut descriptors = 0;
        let mut threads = Vec::new();
        if effective && counted {
            descriptors = u32::try_from(proc.stat(pid, "/fd")?.st_size).unwrap_or(u32::MAX);
            if descriptors == 0 {
                // A thread of the kernel; or a process whose first thread has ended.
                threads = proc.threads(pid);
                if threads.is_empty() {
                    return Err(Looked::Nothing);
                }
            }
        }
        if threads.is_empty() && trust.asks_threads(pid) {
            threads = proc.threads(pid);
        }
        let mut process = None;
        let reason = if effective {
            Reason::Effective
        } else {
            if threads.is_empty() && trust.is_harmless(pid) && !proc.has_capabilities(pid) {
                return Err(Looked::Nothing);
            }
            let seems = match proc.status(pid) {
                // Whoever may not read this is not root, and said so already.
                Err(Errno::ACCESS | Errno::PERM) => return Err(Looked::Nothing),
                status => status?.hidden_root(),
            };
            let is_root = |&thread: &i32| proc.stat(thread, "").is_ok_and(|stat| stat.st_uid == 0);
            if seems.is_none() && !threads.iter().any(is_root) {
                return Err(Looked::Nothing);
            }
            // It may be another process by now: what counts is asked below one
            // open directory.
            process.insert(proc.process(pid)?).any_root(&threads)?.ok_or(Looked::Nothing)?
        };
        let process = match process {
            Some(process) => process,
            None => proc.process(pid)?,
        };
        self.root += 1;
        if threads.is_empty() && self.believe(&process, reason, descriptors, &trust.believed)? {
            return Ok(());
        }
        // Those that share the first one's descriptors have as many.
        let own = |&thread: &i32| process.counted(Some(thread)) != process.counted(None);
        threads.retain(own);
        self.take(&process, &threads, reason, descriptors, buffer).map(drop)
    }

    /// Takes what a process held last time, if it is believed to hold it still.
    fn believe(
        &mut self,
        opened: &Opened,
        reason: Reason,
        descriptors: u32,
        believed: &Believed,
    ) -> Result<bool, Looked> {
        if believed.0.is_empty() || descriptors < MANY {
            return Ok(false);
        }
        let stat = opened.stat()?;
        let Some((_, inodes)) =
            believed.0.get(&(opened.pid, stat.start)).filter(|(count, _)| *count == descriptors)
        else {
            return Ok(false);
        };
        let found = Process::new(opened, &stat, reason, descriptors)?;
        let process = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        // Their numbers are of no account, but for those that make a shell of it.
        self.held.extend(inodes.iter().map(|&inode| Held { inode, process, fd: NUMBER_UNKNOWN }));
        let stdio = (0..3).filter_map(|fd| Some(Held { inode: opened.socket(fd)?, process, fd }));
        self.held.extend(stdio);
        self.processes.push(found);
        self.believed = true;
        Ok(true)
    }

    /// Adds a process and its sockets; how many descriptors it had.
    fn take(
        &mut self,
        opened: &Opened,
        threads: &[i32],
        reason: Reason,
        descriptors: u32,
        buffer: &mut Buffer,
    ) -> Result<u32, Looked> {
        let start = self.held.len();
        let process = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        let held = &mut self.held;
        let mut each = |inode, fd| held.push(Held { inode, process, fd });
        let mut looked = sockets(opened, None, buffer, None, &mut each);
        for &thread in threads {
            // One that has ended held nothing more than the others.
            if let (Ok(all), Ok(more)) = (&mut looked, sockets(opened, Some(thread), buffer, None, &mut each))
            {
                (all.0, all.1) = (all.0.saturating_add(more.0), all.1.saturating_add(more.1));
            }
        }
        let known = looked.map_err(Looked::from).and_then(|(read, vanished)| {
            self.descriptors = self.descriptors.saturating_add(read);
            self.races = self.races.saturating_add(vanished);
            if self.held.len() == start {
                return Ok((read, None));
            }
            let stat = opened.stat()?;
            let mut found = Process::new(opened, &stat, reason, descriptors)?;
            found.threads = !threads.is_empty() || reason == Reason::Thread;
            Ok((read, Some(found)))
        });
        let (read, found) = known.inspect_err(|_| self.held.truncate(start))?;
        self.processes.extend(found);
        Ok(read)
    }

    /// Takes a process anew, when it was not there or held less before.
    pub(super) fn retake(&mut self, opened: &Opened, reason: Reason, buffer: &mut Buffer) {
        let old = self.processes.iter().position(|process| process.pid == opened.pid);
        let before = self.processes.len();
        if self.take(opened, &[], reason, 0, buffer).is_err() || self.processes.len() == before {
            return;
        }
        if let Some(old) = old {
            let (old, new) =
                (u32::try_from(old).unwrap_or(u32::MAX), u32::try_from(before).unwrap_or(u32::MAX));
            self.held.retain(|held| held.process != old);
            for held in &mut self.held {
                if held.process == new {
                    held.process = old;
                }
            }
            let last = self.processes.swap_remove(before);
            self.processes[old as usize] = last;
        }
    }
}

/// Hands each socket of a process, or of one of its threads, to `each`, until
/// this moment. Returns how many descriptors there were, and how many vanished
/// meanwhile.
pub(super) fn sockets(
    process: &Opened,
    thread: Option<i32>,
    buffer: &mut Buffer,
    end: Option<Instant>,
    mut each: impl FnMut(u64, u32),
) -> rustix::io::Result<(u32, u32)> {
    let dir = process.descriptors(thread)?;
    let (mut read, mut vanished) = (0, 0);
    let mut entries = RawDir::new(&dir, &mut buffer.0);
    // Longer links are paths, which are none of ours.
    let mut link = [MaybeUninit::uninit(); 40];
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        read += 1;
        if read % 1024 == 0 && end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        match readlinkat_raw(&dir, name, &mut link[..]) {
            Ok((link, _)) => {
                if let Some(inode) = bracketed(link, b"socket:[")
                    && let Some(fd) = std::str::from_utf8(name.to_bytes()).ok().and_then(|fd| fd.parse().ok())
                {
                    each(inode, fd);
                }
            }
            Err(Errno::NOENT | Errno::SRCH) => vanished += 1,
            Err(error) => return Err(error),
        }
    }
    Ok((read, vanished))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_sockets_of_this_process_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = nix::sys::stat::fstat(&listener).unwrap().st_ino;
        let process = Proc::open().unwrap().process(std::process::id().cast_signed()).unwrap();
        let mut found = Vec::new();
        let (read, _) =
            sockets(&process, None, &mut Buffer::default(), None, |inode, fd| found.push((inode, fd)))
                .unwrap();
        assert!(found.contains(&(inode, listener.as_raw_fd().cast_unsigned())), "{found:?}");
        assert!(read as usize >= found.len());
    }

    #[test]
    fn a_process_that_is_taken_anew_is_there_once() {
        let own = std::process::id().cast_signed();
        let opened = Proc::open().unwrap().process(own).unwrap();
        let _first = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut scan, mut buffer) = (Scan::default(), Buffer::default());
        scan.retake(&opened, Reason::Effective, &mut buffer);
        let second = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = nix::sys::stat::fstat(&second).unwrap().st_ino;
        assert!(!scan.held.iter().any(|held| held.inode == inode));
        scan.retake(&opened, Reason::Effective, &mut buffer);
        assert!(scan.held.iter().any(|held| held.inode == inode && held.process == 0));
        assert_eq!(scan.processes.len(), 1);
        let mut once: Vec<Held> = scan.held.clone();
        once.dedup();
        assert_eq!(once.len(), scan.held.len());
    }
}
