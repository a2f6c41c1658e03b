//! What changed since the last run (pure): who holds which socket now, and
//! who held one that is gone.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use crate::known::{Holding, Known, KnownProcess, Unheld};
use crate::look::Look;
use crate::look::descriptor::Held;
use crate::socket::{Direction, Kind, Place, Socket};

/// A socket and who holds it.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    /// The socket.
    pub socket: &'a Socket,
    /// Its descriptors in one process; never empty.
    pub fds: &'a [Held],
    /// What is remembered of it; its indices are those of the look.
    pub holding: Holding,
}

/// A socket that is gone, and who held it.
#[derive(Debug, Clone, Copy)]
pub struct Gone<'a> {
    /// The socket.
    pub socket: &'a Socket,
    /// Who held it.
    pub process: &'a KnownProcess,
    /// What is remembered of it.
    pub holding: Holding,
}

/// What is there and what is gone.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// All that is there.
    pub present: Vec<Present<'a>>,
    /// What nobody holds.
    pub unheld: Vec<Unheld>,
    /// All that is gone, and is worth saying.
    pub gone: Vec<Gone<'a>>,
    /// How many of what is there were not there before.
    pub new: usize,
}

/// Compares a look with what was known.
#[must_use]
pub fn compare<'a>(known: &'a Known, look: &'a Look, run: u32, now: u64) -> Changes<'a> {
    let mut changes = Changes { present: Vec::with_capacity(look.sockets.len()), ..Changes::default() };
    let before = by_inode(known);
    // Held, sockets and holdings are all in the order of inodes.
    let (mut sockets_at, mut before_at) = (0, 0);
    let mut matched = vec![false; known.holdings.len()];
    let fresh = Holding { first_seen: now, first_run: run, baseline: known.run == 0, ..Holding::default() };
    for fds in look.scan.held.chunk_by(|one, other| (one.inode, one.process) == (other.inode, other.process))
    {
        let Some(held) = fds.first() else { continue };
        let Some(process) = look.scan.processes.get(held.process as usize) else { continue };
        advance(&mut sockets_at, &look.sockets, |socket| socket.inode < held.inode);
        advance(&mut before_at, &before, |&(inode, _)| inode < held.inode);
        let sockets = look.sockets[sockets_at..].iter().take_while(|socket| socket.inode == held.inode);
        let start = u32::try_from(sockets_at).unwrap_or(u32::MAX);
        for (at, socket) in (start..).zip(sockets).filter(|(_, socket)| socket.kind().is_some()) {
            let candidates = before[before_at..].iter().take_while(|(inode, _)| *inode == held.inode);
            let old = { candidates }.find_map(|&(_, at)| {
                let holding = &known.holdings[at as usize];
                let holder = &known.processes[holding.process as usize];
                let same = (holder.pid, holder.start) == (process.pid, process.start)
                    && known.sockets[holding.socket as usize].is_same(socket);
                same.then_some(at as usize)
            });
            let remembered = old.map_or(fresh, |at| {
                matched[at] = true;
                known.holdings[at]
            });
            changes.new += usize::from(old.is_none());
            let mut holding = Holding { socket: at, process: held.process, ..remembered };
            // Who makes standard input or output of what was known is news.
            let stdio = fds.iter().any(|held| held.fd <= 2);
            if stdio && !holding.stdio {
                (holding.said, holding.quiet) = (false, false);
            }
            holding.stdio |= stdio;
            changes.present.push(Present { socket, fds, holding });
        }
    }
    changes.unheld.extend(look.unattributed.iter().map(|socket| {
        let holding = known.unheld(socket).map_or(fresh, |unheld| unheld.holding);
        Unheld { socket: socket.clone(), holding }
    }));
    if !look.everything {
        // Nobody looked for it, so it is still there as far as we know.
        changes.unheld.clone_from(&known.unheld);
    }
    for (holding, _) in known.holdings.iter().zip(&matched).filter(|&(_, &matched)| !matched) {
        let socket = &known.sockets[holding.socket as usize];
        if matches!(socket.kind(), Some(Kind::Connection | Kind::Listener)) {
            let process = &known.processes[holding.process as usize];
            changes.gone.push(Gone { socket, process, holding: *holding });
        }
    }
    let waiting = known.lost.iter();
    let waiting =
        waiting.map(|lost| Gone { socket: &lost.socket, process: &lost.process, holding: lost.holding });
    changes.gone.splice(0..0, waiting);
    changes
}

/// The holdings that were known: the inode and the index of each, in order.
fn by_inode(known: &Known) -> Vec<(u64, u32)> {
    let inode = |holding: &Holding| known.sockets[holding.socket as usize].inode;
    let mut all: Vec<(u64, u32)> = known.holdings.iter().map(inode).zip(0..).collect();
    all.sort_unstable();
    all
}

fn advance<T>(at: &mut usize, items: &[T], is_before: impl Fn(&T) -> bool) {
    while items.get(*at).is_some_and(&is_before) {
        *at += 1;
    }
}

/// Where somebody takes connections, or did last time.
#[derive(Debug)]
pub struct Listeners {
    places: HashSet<Place>,
    /// Ports that the kernel gives to who asks for none.
    ephemeral: RangeInclusive<u16>,
}

impl Listeners {
    /// Those of a look and of the last run.
    #[must_use]
    pub fn new(look: &Look, known: &Known, ephemeral: RangeInclusive<u16>) -> Listeners {
        let before = known.sockets.iter().filter(|socket| socket.kind() == Some(Kind::Listener));
        let before = before.map(Socket::place);
        Listeners { places: look.listeners.iter().copied().chain(before).collect(), ephemeral }
    }

    /// True when somebody takes connections where this one has our end.
    #[must_use]
    pub fn is_listened_at(&self, socket: &Socket) -> bool {
        let place = socket.place();
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let at = |ip| Place { local: SocketAddr::new(ip, place.local.port()), ..place };
        self.places.contains(&place) || any.into_iter().any(|ip| self.places.contains(&at(ip)))
    }

    /// Where a connection came from: to a place where somebody takes
    /// connections at it came from outside. Of a listener that is gone, the
    /// ports tell: who connects is given an ephemeral one.
    #[must_use]
    pub fn direction(&self, socket: &Socket) -> Option<Direction> {
        match socket.kind()? {
            Kind::Raw | Kind::Packet => None,
            Kind::Listener => Some(Direction::Listen),
            Kind::Connection => {
                let (local, remote) = (socket.local.port(), socket.remote.port());
                let known = self.is_listened_at(socket);
                let by_ports = !self.ephemeral.contains(&local) && self.ephemeral.contains(&remote);
                Some(if known || by_ports { Direction::Inbound } else { Direction::Outbound })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::descriptor::{Process, Scan};
    use crate::look::process::Reason;
    use crate::socket::{ESTABLISHED, LISTEN, Protocol, nowhere};

    fn socket(inode: u64, local: &str, remote: &str) -> Socket {
        let remote = if remote.is_empty() { nowhere() } else { remote.parse().unwrap() };
        Socket {
            protocol: Protocol::Tcp,
            ipv6: false,
            state: if remote.port() == 0 { LISTEN } else { ESTABLISHED },
            local: local.parse().unwrap(),
            remote,
            interface: 0,
            uid: 0,
            inode,
            cookie: inode + 1000,
            netns: 1,
        }
    }

    fn process(pid: i32) -> Process {
        Process {
            pid,
            start: 5,
            name: "p".into(),
            ppid: 1,
            tty: 0,
            euid: 0,
            reason: Reason::Effective,
            netns: 1,
            descriptors: 0,
            threads: false,
        }
    }

    /// A look in which each process holds these sockets.
    fn look(held: &[(i32, u64, u32)], sockets: Vec<Socket>) -> Look {
        let mut scan = Scan::default();
        for &(pid, inode, fd) in held {
            let found = scan.processes.iter().position(|process| process.pid == pid);
            let at = found.unwrap_or_else(|| {
                scan.processes.push(process(pid));
                scan.processes.len() - 1
            });
            scan.held.push(Held { inode, process: u32::try_from(at).unwrap(), fd });
        }
        scan.held.sort_unstable();
        Look { scan, sockets, everything: true, ..Look::default() }
    }

    fn remember(look: &Look) -> Known {
        let nothing = Known::default();
        let changes = compare(&nothing, look, 1, 100);
        let said = |holding: Holding| Holding { said: true, ..holding };
        let unheld = |unheld: &Unheld| Unheld { holding: said(unheld.holding), ..unheld.clone() };
        let process = |process: &Process| KnownProcess {
            pid: process.pid,
            start: process.start,
            euid: 0,
            name: "p".into(),
            exe: String::new(),
            descriptors: 0,
            threads: false,
        };
        Known {
            run: 1,
            sockets: look.sockets.clone(),
            processes: look.scan.processes.iter().map(process).collect(),
            holdings: changes.present.iter().map(|present| said(present.holding)).collect(),
            unheld: changes.unheld.iter().map(unheld).collect(),
            ..Known::default()
        }
    }

    #[test]
    fn every_holder_of_a_socket_is_one_of_its_own() {
        let look = look(&[(7, 1, 3), (7, 1, 4), (8, 1, 3)], vec![socket(1, "10.0.0.1:22", "10.0.0.2:4000")]);
        let nothing = Known::default();
        let changes = compare(&nothing, &look, 1, 100);
        assert_eq!(changes.present.len(), 2);
        assert_eq!(changes.present[0].fds.len(), 2);
        assert!(changes.present.iter().all(|present| !present.holding.said));
    }

    #[test]
    fn what_was_there_is_not_new_and_what_is_missing_is_gone() {
        let both = vec![socket(1, "10.0.0.1:22", "10.0.0.2:4000"), socket(2, "10.0.0.1:80", "")];
        let known = remember(&look(&[(7, 1, 3), (7, 2, 4)], both.clone()));
        let now = look(&[(7, 1, 3)], both[..1].to_vec());
        let changes = compare(&known, &now, 2, 200);
        assert!(changes.present[0].holding.said && changes.present[0].holding.first_seen == 100);
        assert_eq!(changes.gone.len(), 1);
        assert_eq!(changes.gone[0].socket.local.port(), 80);
    }

    #[test]
    fn a_pid_or_an_inode_that_was_given_again_is_somebody_else() {
        let before = vec![socket(1, "10.0.0.1:22", "10.0.0.2:4000")];
        let known = remember(&look(&[(7, 1, 3)], before.clone()));
        let mut other_process = look(&[(7, 1, 3)], before.clone());
        other_process.scan.processes[0].start = 6;
        let changes = compare(&known, &other_process, 2, 200);
        assert!(!changes.present[0].holding.said && changes.gone.len() == 1);
        let other_socket = look(&[(7, 1, 3)], vec![Socket { cookie: 5, ..before[0].clone() }]);
        let changes = compare(&known, &other_socket, 2, 200);
        assert!(!changes.present[0].holding.said && changes.gone.len() == 1);
    }

    #[test]
    fn what_nobody_held_stays_until_it_was_looked_for() {
        let mut first = look(&[], Vec::new());
        first.unattributed.push(socket(9, "10.0.0.1:700", "10.0.0.2:2049"));
        let known = remember(&first);
        let mut second = look(&[], Vec::new());
        second.everything = false;
        assert_eq!(compare(&known, &second, 2, 200).unheld, known.unheld);
        second.everything = true;
        second.unattributed.clone_from(&first.unattributed);
        assert!(compare(&known, &second, 2, 200).unheld[0].holding.said);
        second.unattributed.clear();
        let changes = compare(&known, &second, 2, 200);
        assert!(changes.unheld.is_empty() && changes.gone.is_empty());
    }

    #[test]
    fn a_connection_comes_from_where_nobody_listens() {
        let listening = look(&[], Vec::new());
        let mut known = Known::default();
        known.sockets.push(socket(1, "0.0.0.0:50000", ""));
        let mut there = Look { scan: listening.scan, ..Look::default() };
        there.listeners.insert(socket(2, "0.0.0.0:22", "").place());
        there.listeners.insert(socket(3, "127.0.0.1:40022", "").place());
        let listeners = Listeners::new(&there, &known, 32768..=60999);
        for (local, remote, expected) in [
            ("10.0.0.1:22", "10.0.0.2:50001", Direction::Inbound),
            ("10.0.0.1:50000", "10.0.0.2:50001", Direction::Inbound),
            ("10.0.0.1:50001", "10.0.0.2:22", Direction::Outbound),
            ("10.0.0.1:50001", "10.0.0.2:50000", Direction::Outbound),
            ("10.0.0.1:4444", "10.0.0.2:50002", Direction::Inbound),
            ("10.0.0.1:700", "10.0.0.2:2049", Direction::Outbound),
            ("10.0.0.1:40022", "10.0.0.2:40000", Direction::Outbound),
            ("127.0.0.1:40022", "127.0.0.1:40000", Direction::Inbound),
        ] {
            assert_eq!(listeners.direction(&socket(3, local, remote)), Some(expected), "{local} {remote}");
        }
        let elsewhere = Socket { netns: 2, ..socket(3, "10.0.0.1:50000", "10.0.0.2:50001") };
        assert_eq!(listeners.direction(&elsewhere), Some(Direction::Outbound));
    }
}
