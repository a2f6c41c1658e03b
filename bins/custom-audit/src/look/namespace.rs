//! The network namespaces of this host, and entering them.
//!
//! A namespace is known by its inode and reached through a process in it, or
//! through a file that holds it (as `ip netns` and container runtimes make).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use common::text::legible;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::fstat;
use rustix::net::netdevice::index_to_name;

use super::mount;
use super::process::{Proc, bracketed};

/// So many ways into one namespace are remembered, because the first process
/// may have ended.
const MOST_WAYS: usize = 4;

/// The network namespaces that are known, each with ways into it.
#[derive(Debug, Clone, Default)]
pub struct Namespaces(BTreeMap<u64, Vec<PathBuf>>);

impl Namespaces {
    /// Adds the namespace that a process is in.
    pub fn add(&mut self, inode: u64, pid: i32) {
        if inode != 0 {
            let ways = self.0.entry(inode).or_default();
            if ways.len() < MOST_WAYS {
                ways.push(format!("/proc/{pid}/ns/net").into());
            }
        }
    }

    /// Adds those of all processes, and those that only a file holds.
    pub fn add_all(&mut self, proc: &Proc, pids: &[i32]) {
        for &pid in pids {
            // A thread of the kernel says none, and who has ended neither.
            if let Ok(inode) = proc.network_namespace(pid) {
                self.add(inode, pid);
            }
        }
        // Without them some are missing, and their sockets are asked one by one.
        let _ = mount::each("self", |mount| {
            if mount.kind == b"nsfs"
                && let Some(inode) = bracketed(mount.root, b"net:[")
            {
                let ways = self.0.entry(inode).or_default();
                if ways.len() < MOST_WAYS {
                    ways.push(mount.point());
                }
            }
        });
    }

    /// The folder with the tables of a namespace, of a process that is in it.
    #[must_use]
    pub fn tables(&self, inode: u64) -> Option<PathBuf> {
        let ways = self.0.get(&inode)?;
        let way = ways.iter().find(|way| way.starts_with("/proc"))?;
        // /proc/PID/ns/net and /proc/PID/net
        way.parent()?.parent().map(|process| process.join("net"))
    }

    /// Their inodes.
    pub fn inodes(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True before any is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does `work` in each of these namespaces, on a thread of its own unless
    /// there is but our own one. Returns those that could not be entered.
    pub fn visit(&self, wanted: &[u64], mut work: impl FnMut(u64) + Send) -> Vec<u64> {
        let here = own();
        if wanted.iter().all(|&inode| Some(inode) == here) {
            wanted.iter().for_each(|&inode| work(inode));
            return Vec::new();
        }
        let visit = || {
            let mut closed = Vec::new();
            for &inode in wanted {
                let ways = self.0.get(&inode).map(Vec::as_slice).unwrap_or_default();
                if ways.iter().any(|way| enter(way, inode).is_ok()) {
                    work(inode);
                } else {
                    closed.push(inode);
                }
            }
            closed
        };
        // The thread stays where it went last, and ends there.
        std::thread::scope(|scope| scope.spawn(visit).join()).unwrap_or_else(|_| wanted.to_vec())
    }
}

/// The inode of the network namespace that this thread is in.
#[must_use]
pub fn own() -> Option<u64> {
    let link = std::fs::read_link("/proc/thread-self/ns/net").ok()?;
    bracketed(link.as_os_str().as_bytes(), b"net:[")
}

/// The name of an interface of the network namespace that this thread is in.
#[must_use]
pub fn interface(index: u32) -> Option<String> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()?;
    index_to_name(&socket, index).ok().map(|name| legible(name.as_bytes(), 64))
}

fn enter(way: &Path, inode: u64) -> io::Result<()> {
    // Something else may be mounted there: a pipe must not be waited for.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(way)?;
    if fstat(&file)?.st_ino != inode {
        // The process has moved, or its number is another's now.
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(setns(file, CloneFlags::CLONE_NEWNET)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_visited_without_leaving_it() {
        let here = own().unwrap();
        let mut namespaces = Namespaces::default();
        namespaces.add(here, std::process::id().cast_signed());
        namespaces.add(0, 1);
        assert_eq!((namespaces.len(), namespaces.is_empty()), (1, false));
        let mut visited = Vec::new();
        assert!(namespaces.visit(&[here], |inode| visited.push(inode)).is_empty());
        assert_eq!(visited, [here]);
        assert_eq!(namespaces.visit(&[here, 1], |_| {}), [1], "nobody knows a way there");
    }
}
