//! What is known from the last run: the sockets that were there, whom they
//! belonged to, and what was seen before at all.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::socket::Socket;

/// No more pairs of an executable and a remote address are remembered.
pub const MOST_REMOTES: usize = 65_536;
/// No more executables are remembered.
pub const MOST_EXECUTABLES: usize = 8_192;
/// No more hashes of files are remembered.
pub const MOST_HASHES: usize = 4_096;
/// No more vanished sockets wait to be said.
pub const MOST_LOST: usize = 100_000;
/// No more sockets of others are remembered: where there are more, looking at
/// all of them is not what saves time.
pub const MOST_STRANGERS: usize = 65_536;
/// No more sockets are remembered; beyond them each run is a first one.
pub const MOST_SOCKETS: usize = 1_000_000;

/// What a run leaves for the next one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Known {
    /// This boot of the host: after another one no socket is the same.
    pub boot: String,
    /// How many runs there were.
    pub run: u32,
    /// When everything was looked at, in seconds since 1970.
    pub full_look: u64,
    /// The processes that held sockets.
    pub processes: Vec<KnownProcess>,
    /// The sockets, by inode and cookie.
    pub sockets: Vec<Socket>,
    /// Who held which.
    pub holdings: Vec<Holding>,
    /// Sockets of root that nobody held, by inode and cookie.
    pub unheld: Vec<Unheld>,
    /// What is gone and was not said yet.
    pub lost: Vec<Lost>,
    /// Sockets that nobody of root held, when all connections were looked at: see
    /// [`Known::is_stranger`].
    pub strangers: Vec<u64>,
    /// True while nothing new is to be expected, and nothing waits to be said.
    pub calm: bool,
    /// How often in a row that was wrong.
    pub surprises: u32,
    /// For so many runs nobody expects it again.
    pub wait: u32,
    /// Inodes of sockets that are none of ours, in order.
    pub others: Vec<u64>,
    /// Inodes of sockets that were not in use yet, in order.
    pub idle: Vec<u64>,
    /// Sockets of root that only processes held which are not root.
    pub elsewhere: Vec<Elsewhere>,
    /// Executables and remote addresses seen together, and in which run last.
    pub remotes: Seen,
    /// Executables that were seen, and in which run last.
    pub executables: Seen,
    /// SHA-256 of files.
    pub hashes: Vec<Hashed>,
}

/// A process as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownProcess {
    /// Its number.
    pub pid: i32,
    /// Clock ticks between the boot and its start.
    pub start: u64,
    /// Its effective uid.
    pub euid: u32,
    /// Its name.
    pub name: String,
    /// Its executable; empty where nothing was ever said of it.
    pub exe: String,
    /// How many descriptors it had; 0 where the kernel does not count them.
    pub descriptors: u32,
    /// True when it takes a look at its threads to know it.
    pub threads: bool,
}

/// A socket held by a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Index of the socket.
    pub socket: u32,
    /// Index of the process.
    pub process: u32,
    /// When it was first seen, in seconds since 1970.
    pub first_seen: u64,
    /// The run in which it was first seen; it was there in each since.
    pub first_run: u32,
    /// False while it waits to be said.
    pub said: bool,
    /// True when the allowlist took it, and so will take its end.
    pub quiet: bool,
    /// True of a connection that came from outside.
    pub inbound: bool,
    /// True of one that was standard input, output or error.
    pub stdio: bool,
    /// True of what was there at the first look of all.
    pub baseline: bool,
}

/// A socket of root that no process holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheld {
    /// The socket.
    pub socket: Socket,
    /// What is remembered of it; its indices mean nothing.
    pub holding: Holding,
}

/// A socket that is gone, and waits to be said so.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lost {
    /// The socket.
    pub socket: Socket,
    /// Who held it.
    pub process: KnownProcess,
    /// What is remembered of it.
    pub holding: Holding,
}

/// A socket that only a process holds which is not root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Of the socket.
    pub inode: u64,
    /// Who holds it.
    pub pid: i32,
    /// Under which number.
    pub fd: u32,
}

/// The hash of a file, and by what it is known to be the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashed {
    /// The file.
    pub file: FileIdentity,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// The run that needed it last.
    pub run: u32,
}

/// A file's place and the times of its last changes: what writing to it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device that its file system lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// When its content changed, in nanoseconds since 1970.
    pub modified: i128,
    /// When anything of it changed, in nanoseconds since 1970.
    pub changed: i128,
}

/// Things that were seen, by their hash, and the run that saw them last. The
/// longest unseen are forgotten first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Seen(HashMap<u64, u32>);

impl Seen {
    /// True when it is seen for the first time.
    #[must_use]
    pub fn is_new(&self, thing: &impl Hash) -> bool {
        !self.0.contains_key(&hash(thing))
    }

    /// Remembers it.
    pub fn note(&mut self, thing: &impl Hash, run: u32) {
        self.0.insert(hash(thing), run);
    }

    /// Forgets the oldest beyond this many.
    pub fn shrink(&mut self, most: usize) {
        if self.0.len() > most {
            let mut runs: Vec<u32> = self.0.values().copied().collect();
            runs.sort_unstable_by_key(|&run| std::cmp::Reverse(run));
            let oldest = runs[most];
            // Those of one run are as old as each other.
            self.0.retain(|_, run| *run > oldest);
        }
    }
}

/// What tells a socket from all others: its cookie, or its inode where the
/// kernel gives no cookie.
#[must_use]
pub fn identity(socket: &Socket) -> u64 {
    if socket.cookie == 0 { socket.inode | 1 << 63 } else { socket.cookie }
}

/// Unseeded on purpose: it must be the same in the next run. Two things with
/// one hash would hide that one of them is new: with 64 bits, not by chance.
fn hash(thing: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    thing.hash(&mut hasher);
    hasher.finish()
}

impl Known {
    /// True before the first run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.run == 0
    }

    /// Forgets what another boot left: no socket outlives it.
    #[must_use]
    pub fn after_boot(self, boot: &str) -> Known {
        if self.boot == boot {
            return self;
        }
        Known {
            boot: boot.to_owned(),
            run: self.run,
            remotes: self.remotes,
            executables: self.executables,
            hashes: self.hashes,
            ..Known::default()
        }
    }

    /// True of a socket that is none of ours.
    #[must_use]
    pub fn is_other(&self, inode: u64) -> bool {
        self.others.binary_search(&inode).is_ok()
    }

    /// True of a socket that was there already and that nobody of root held.
    #[must_use]
    pub fn is_stranger(&self, socket: &Socket) -> bool {
        self.strangers.binary_search(&identity(socket)).is_ok()
    }

    /// What is remembered of a socket that nobody held last time.
    #[must_use]
    pub fn unheld(&self, socket: &Socket) -> Option<&Unheld> {
        let start = self.unheld.partition_point(|unheld| unheld.socket.inode < socket.inode);
        let same = self.unheld[start..].iter().take_while(|unheld| unheld.socket.inode == socket.inode);
        { same }.find(|unheld| unheld.socket.is_same(socket))
    }

    /// True when every index points to something.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let (sockets, processes) = (self.sockets.len(), self.processes.len());
        self.holdings
            .iter()
            .all(|holding| (holding.socket as usize) < sockets && (holding.process as usize) < processes)
            && self.unheld.is_sorted_by_key(|unheld| (unheld.socket.inode, unheld.socket.cookie))
            && self.sockets.is_sorted_by_key(|socket| (socket.inode, socket.cookie))
            && self.others.is_sorted()
            && self.strangers.is_sorted()
            && self.idle.is_sorted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unseen_are_forgotten_first() {
        let mut seen = Seen::default();
        for number in 0..100_u32 {
            assert!(seen.is_new(&number));
            seen.note(&number, number / 10);
        }
        seen.shrink(100);
        assert!(!seen.is_new(&0_u32));
        seen.shrink(50);
        assert!(seen.is_new(&49_u32) && !seen.is_new(&50_u32) && !seen.is_new(&99_u32));
    }

    #[test]
    fn another_boot_keeps_what_is_not_about_sockets() {
        let mut known = Known { boot: "one".into(), run: 3, others: vec![1], ..Known::default() };
        known.executables.note(&"/bin/sh", 3);
        let same = known.clone().after_boot("one");
        assert_eq!(same.others, [1]);
        let other = known.after_boot("two");
        assert!(other.others.is_empty() && other.run == 3 && !other.executables.is_new(&"/bin/sh"));
        assert_eq!(other.boot, "two");
    }
}
