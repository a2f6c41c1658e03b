//! Sockets as the kernel shows them, sorted while they come: of most of them
//! nothing is kept but what tells them from new ones.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{namespace, sock_diag};
use crate::known::{self, Known, MOST_STRANGERS};
use crate::socket::{Kind, Place, Socket};

/// Sockets as the kernel shows them, sorted into what is of interest.
pub(super) struct Census<'a> {
    sorter: Sorter<'a>,
    /// Of the known sockets: what is looked through so often should be small.
    inodes: Vec<u64>,
    /// Held by processes of root, as far as is known.
    pub(super) sockets: Vec<Socket>,
    /// Made by root, and held by nobody so far.
    pub(super) strays: Vec<Socket>,
    /// New, when it is not known yet who holds what.
    pub(super) fresh: Vec<Socket>,
    /// All others.
    pub(super) strangers: Vec<u64>,
    pub(super) listeners: HashSet<Place>,
    pub(super) interfaces: HashMap<(u64, u32), String>,
    pub(super) total: u32,
}

/// By what sockets are sorted.
#[derive(Clone, Copy)]
pub(super) enum Sorter<'a> {
    /// Who holds what now.
    Held(&'a HashSet<u64>),
    /// Who held what last time.
    Known(&'a Known),
}

impl<'a> Census<'a> {
    pub(super) fn new(sorter: Sorter<'a>) -> Census<'a> {
        Census {
            inodes: match sorter {
                Sorter::Held(_) => Vec::new(),
                Sorter::Known(known) => known.sockets.iter().map(|socket| socket.inode).collect(),
            },
            sorter,
            sockets: Vec::new(),
            strays: Vec::new(),
            fresh: Vec::new(),
            strangers: Vec::new(),
            listeners: HashSet::new(),
            interfaces: HashMap::new(),
            total: 0,
        }
    }

    /// Names the interfaces of packet sockets of the namespace that this
    /// thread is in.
    pub(super) fn name_interfaces(&mut self, netns: u64) {
        let bound = |socket: &&Socket| socket.netns == netns && socket.interface != 0;
        let indices: BTreeSet<u32> =
            self.sockets.iter().chain(&self.strays).filter(bound).map(|socket| socket.interface).collect();
        for index in indices {
            if let Some(name) = namespace::interface(index) {
                self.interfaces.insert((netns, index), name);
            }
        }
    }

    pub(super) fn add(&mut self, socket: Socket) {
        self.total = self.total.saturating_add(1);
        if socket.kind() == Some(Kind::Listener) {
            self.listeners.insert(socket.place());
        }
        self.sort(socket);
    }

    /// As [`Census::add`], without making more of a stranger than is needed.
    pub(super) fn add_entry(&mut self, entry: sock_diag::Entry<'_>) {
        if let Sorter::Held(held) = self.sorter
            && entry.uid() != 0
            && !entry.may_listen()
            && !held.contains(&entry.inode())
        {
            self.total = self.total.saturating_add(1);
            self.strange(entry.cookie());
        } else if let Some(socket) = entry.socket() {
            self.add(socket);
        }
    }

    fn strange(&mut self, identity: u64) {
        if self.strangers.len() <= MOST_STRANGERS {
            self.strangers.push(identity);
        }
    }

    /// The inodes of the sockets that are held.
    pub(super) fn inodes(&self) -> HashSet<u64> {
        self.sockets.iter().map(|socket| socket.inode).collect()
    }

    /// How far it has come, to come back to.
    pub(super) fn mark(&self) -> [usize; 5] {
        [self.sockets.len(), self.strays.len(), self.fresh.len(), self.strangers.len(), self.total as usize]
    }

    /// Forgets what came after a mark: it was not all.
    pub(super) fn back_to(&mut self, [sockets, strays, fresh, strangers, total]: [usize; 5]) {
        self.sockets.truncate(sockets);
        self.strays.truncate(strays);
        self.fresh.truncate(fresh);
        self.strangers.truncate(strangers);
        self.total = u32::try_from(total).unwrap_or(u32::MAX);
    }

    /// The sockets that were known by this inode.
    fn before<'b>(&self, known: &'b Known, inode: u64) -> &'b [Socket] {
        let start = self.inodes.partition_point(|&known| known < inode);
        let length = self.inodes[start..].iter().take_while(|&&known| known == inode).count();
        &known.sockets[start..start + length]
    }

    fn sort(&mut self, socket: Socket) {
        let is_held = match self.sorter {
            Sorter::Held(held) => held.contains(&socket.inode),
            Sorter::Known(known) => {
                let before = self.before(known, socket.inode);
                if before.is_empty() && socket.inode != 0 && !known.is_stranger(&socket)
                    || !before.is_empty() && !before.iter().any(|before| before.is_same(&socket))
                {
                    return self.fresh.push(socket);
                }
                !before.is_empty()
            }
        };
        if is_held {
            self.sockets.push(socket);
        } else {
            self.strange(known::identity(&socket));
            if socket.uid == 0 && socket.inode != 0 && socket.kind().is_some() {
                self.strays.push(socket);
            }
        }
    }

    /// Sorts anew, now that it is known who holds what.
    pub(super) fn resort<'b>(self, held: &'b HashSet<u64>) -> Census<'b> {
        let mut census = Census {
            listeners: self.listeners,
            interfaces: self.interfaces,
            total: self.total,
            strangers: self.strangers,
            strays: self.strays,
            ..Census::new(Sorter::Held(held))
        };
        self.sockets.into_iter().chain(self.fresh).for_each(|socket| census.sort(socket));
        // What was nobody's may be somebody's by now.
        let (held_now, strays) = census.strays.into_iter().partition(|stray| held.contains(&stray.inode));
        census.strays = strays;
        let held_now: Vec<Socket> = held_now;
        census.sockets.extend(held_now);
        census
    }
}
