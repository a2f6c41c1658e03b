//! Sockets of root that no process of root was seen to hold: who holds them,
//! or that nobody does.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::descriptor::{self, Buffer};
use super::namespace::Namespaces;
use super::process::{Proc, Reason};
use super::{Look, proc_net, sock_diag};
use crate::known::{Elsewhere, Known};
use crate::socket::{Protocol, Socket};

/// How long holders are looked for.
const RESCAN: Duration = Duration::from_millis(500);
/// A process that ends is done with it by then.
const ENDING: Duration = Duration::from_millis(30);

impl Look {
    /// Looks for the holders of root's sockets that no process of root held.
    /// Many come into being while we look; others belong to a service that
    /// was root when it made them.
    pub(super) fn attribute(
        &mut self,
        proc: &Proc,
        known: &Known,
        namespaces: &Namespaces,
        strays: Vec<Socket>,
        stop: &dyn Fn() -> bool,
    ) {
        let mut strays: HashMap<u64, Vec<Socket>> =
            strays.into_iter().fold(HashMap::new(), |mut all, stray| {
                all.entry(stray.inode).or_default().push(stray);
                all
            });
        for elsewhere in &known.elsewhere {
            let link = std::fs::read_link(format!("/proc/{}/fd/{}", elsewhere.pid, elsewhere.fd));
            let expected = format!("socket:[{}]", elsewhere.inode);
            if link.is_ok_and(|link| link == Path::new(&expected))
                && strays.remove(&elsewhere.inode).is_some()
            {
                self.elsewhere.push(*elsewhere);
            }
        }
        // What nobody held last time is not looked for again.
        let mut wanted: HashSet<u64> = strays
            .iter()
            .filter(|(_, sockets)| !sockets.iter().all(|socket| known.unheld(socket).is_some()))
            .map(|(&inode, _)| inode)
            .collect();
        if !wanted.is_empty() && !self.rescan(proc, &mut wanted, stop) {
            // Whoever makes the search long must not hide anything by that.
            self.degraded.insert("rescan");
        }
        let held: HashSet<u64> = self.scan.held.iter().map(|held| held.inode).collect();
        let elsewhere: HashSet<u64> = self.elsewhere.iter().map(|elsewhere| elsewhere.inode).collect();
        for (inode, sockets) in strays {
            if held.contains(&inode) {
                self.sockets.extend(sockets);
            } else if !elsewhere.contains(&inode) {
                self.unattributed.extend(sockets);
            }
        }
        self.keep_what_is_there(known, namespaces);
        self.unattributed.sort_unstable_by_key(|socket| (socket.inode, socket.cookie));
    }

    /// Of what nobody holds, the sockets that are there still: others were
    /// closed by a process that ended while we looked.
    fn keep_what_is_there(&mut self, known: &Known, namespaces: &Namespaces) {
        let (new, old): (Vec<Socket>, Vec<Socket>) = std::mem::take(&mut self.unattributed)
            .into_iter()
            .partition(|socket| known.unheld(socket).is_none());
        self.unattributed = old;
        if !new.is_empty() {
            // A process that ends lets go of its descriptors before the kernel
            // closes what they led to; on a busy host somebody else runs between.
            std::thread::sleep(ENDING);
        }
        let wanted: BTreeSet<u64> = new.iter().map(|socket| socket.netns).collect();
        let wanted: Vec<u64> = wanted.into_iter().collect();
        let deadline = self.deadline();
        let mut there = Vec::new();
        let closed = namespaces.visit(&wanted, |netns| {
            let mut tables = HashSet::new();
            let mut each = |socket: Socket| {
                tables.insert(socket.inode);
            };
            let folder = Path::new("/proc/thread-self/net");
            let _ = proc_net::datagram(folder, true, netns, &mut each);
            let _ = proc_net::packet(folder, netns, &mut each);
            for socket in new.iter().filter(|socket| socket.netns == netns) {
                let is_there = match socket.protocol {
                    Protocol::Raw | Protocol::Packet => tables.contains(&socket.inode),
                    // Without sock_diag it must be believed.
                    _ => {
                        socket.cookie == 0
                            || sock_diag::find(socket, deadline).map_or(true, |found| found.is_some())
                    }
                };
                if is_there {
                    there.push(socket.clone());
                }
            }
        });
        there.extend(new.iter().filter(|socket| closed.contains(&socket.netns)).cloned());
        self.scan.races += u32::try_from(new.len() - there.len()).unwrap_or(0);
        self.unattributed.extend(there);
    }

    /// Looks into all processes, root or not, until each of these inodes has a
    /// holder. False when there was no time to look everywhere.
    fn rescan(&mut self, proc: &Proc, wanted: &mut HashSet<u64>, stop: &dyn Fn() -> bool) -> bool {
        let end = Instant::now() + RESCAN;
        let mut buffer = Buffer::default();
        let Ok(mut pids) = proc.pids() else { return false };
        // Root's first, and of them the youngest, which are the likeliest to
        // hold what is new.
        pids.sort_by_cached_key(|&pid| {
            let is_root = proc.stat(pid, "").is_ok_and(|stat| stat.st_uid == 0);
            (!is_root, std::cmp::Reverse(pid))
        });
        for pid in pids {
            if wanted.is_empty() {
                break;
            }
            if stop() || Instant::now() >= end {
                return false;
            }
            let Ok(process) = proc.process(pid) else { continue };
            let mut found = Vec::new();
            let looked = descriptor::sockets(&process, None, &mut buffer, Some(end), |inode, fd| {
                if wanted.contains(&inode) {
                    found.push((inode, fd));
                }
            });
            if looked.is_err() || found.is_empty() {
                continue;
            }
            let reason = match process.owner() {
                Ok(0) => Some(Reason::Effective),
                _ => process.hidden_root().unwrap_or(None),
            };
            for &(inode, fd) in &found {
                wanted.remove(&inode);
                if reason.is_none() {
                    self.elsewhere.push(Elsewhere { inode, pid, fd });
                }
            }
            if let Some(reason) = reason {
                self.scan.retake(&process, reason, &mut buffer);
            }
        }
        self.scan.held.sort_unstable();
        self.scan.held.dedup();
        true
    }
}
