//! One look at the host: which process of root holds which socket.
//!
//! The dear part is reading descriptors, so only those of root's processes
//! are read; then come the tables of the kernel, of which the one of TCP
//! connections can be large. It is left out while every socket that a process
//! of root holds is known from before, and the small ones (what listens, UDP,
//! raw, packet) are always read. What no table has is asked one by one.
//!
//! Where most sockets of the host are root's, it is the other way round: the
//! tables cost less than the descriptors. They are read first, and while they
//! show no new socket and a process has as many descriptors as it had, it is
//! believed to hold what it held. Only a socket that was there before and is
//! handed to a process that closes another one for it can be missed by that,
//! until the next complete look.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::known::{self, Elsewhere, Known, MOST_STRANGERS};
use crate::socket::{Kind, Place, Socket};

mod attribute;
mod census;
pub mod descriptor;
pub mod mount;
pub mod namespace;
pub mod proc_net;
pub mod process;
pub mod sock_diag;
pub mod taken;

use census::{Census, Sorter};
use descriptor::{Believed, Scan, Trust};
use namespace::Namespaces;
use process::Proc;
use sock_diag::Part;
use taken::Taken;

/// Of so many TCP sockets on the whole host, all are asked for each time: it
/// costs less than to think about it.
const SMALL_TABLE: u64 = 256;
/// So many TCP sockets are read before anybody is asked.
const LARGE_TABLE: u64 = 4096;
/// To take a socket and ask for it costs as much as so many lines of a table.
const TAKING: u64 = 32;
/// To ask a socket for its family costs as much as so many lines of a table.
const ASKING: u64 = 5;
/// How many sockets that no table has are asked one by one.
const MOST_TAKEN: usize = 4096;
/// Until then the kernel's tables are read by sock_diag.
const DUMP: Duration = Duration::from_secs(20);

/// What is asked of a look.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// Everything, whether it is needed or not.
    pub everything: bool,
    /// Seconds since 1970.
    pub now: u64,
    /// After so many seconds without it, everything is looked at again.
    pub full_look: u64,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Look {
    /// Processes of root, and the descriptors that are sockets.
    pub scan: Scan,
    /// The sockets that they hold, by inode; one inode may have several.
    pub sockets: Vec<Socket>,
    /// Sockets of root that no process holds.
    pub unattributed: Vec<Socket>,
    /// Names of interfaces that packet sockets are bound to, by namespace and index.
    pub interfaces: HashMap<(u64, u32), String>,
    /// Where somebody takes connections.
    pub listeners: HashSet<Place>,
    /// Inodes of sockets that are none of ours.
    pub others: Vec<u64>,
    /// Inodes of sockets that are not in use yet.
    pub idle: Vec<u64>,
    /// Sockets that only processes hold which are not root.
    pub elsewhere: Vec<Elsewhere>,
    /// How it was done.
    pub strategy: BTreeSet<&'static str>,
    /// What could not be done as it should.
    pub degraded: BTreeSet<&'static str>,
    /// Sockets that the kernel showed.
    pub total: u32,
    /// Network namespaces that were visited.
    pub namespaces: u32,
    /// True when all connections of all namespaces were looked at.
    pub everything: bool,
    /// True when also every process and thread was, whatever it seems to be.
    pub complete: bool,
    /// Sockets that nobody of root holds, as [`known::identity`] knows them.
    pub strangers: Vec<u64>,
    /// Whether the tables were read first, and nothing in them was new.
    pub calm: Option<bool>,
    /// True when [`Look::strangers`] are all there are.
    pub has_strangers: bool,
    /// The namespaces that were looked at.
    pub visited: Visited,
    /// How many TCP sockets the host had when it began.
    pub table: Option<u64>,
    /// Until when the kernel is waited for.
    pub deadline: Option<Instant>,
}

/// Network namespaces of which the sockets were looked at.
#[derive(Debug, Default)]
pub struct Visited {
    /// All that is quickly told: what listens, UDP, raw, packet.
    pub small: HashSet<u64>,
    /// TCP connections.
    pub connected: HashSet<u64>,
}

impl Look {
    /// True when this socket would have been seen if it were still there.
    #[must_use]
    pub fn would_see(&self, socket: &Socket) -> bool {
        let part = if is_connected_tcp(socket) { &self.visited.connected } else { &self.visited.small };
        part.contains(&socket.netns)
    }

    fn deadline(&self) -> Instant {
        self.deadline.unwrap_or_else(|| Instant::now() + DUMP)
    }

    /// Looks. `None` when told to stop before there was anything to tell.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn new(known: &Known, want: Want, stop: &dyn Fn() -> bool) -> io::Result<Option<Look>> {
        let proc = Proc::open()?;
        let pids = proc.pids()?;
        let mut look = Look { deadline: Some(Instant::now() + DUMP), ..Look::default() };
        let mut namespaces = Namespaces::default();
        let table = tcp_sockets();
        look.table = table;
        let due = want.everything || known.full_look.saturating_add(want.full_look) <= want.now;
        let hidden = (!due).then(|| {
            let hidden = known.processes.iter().filter(|process| process.euid != 0);
            hidden.map(|process| process.pid).collect()
        });
        let threads =
            known.processes.iter().filter(|process| process.threads).map(|process| process.pid).collect();
        look.complete = due;
        let held: HashSet<u64>;
        let mut census;
        if !due && is_settled(known, table) && proc.counts_descriptors() {
            // --- the tables first ---
            look.everything = true;
            namespaces.add_all(&proc, &pids);
            let mut all = Census::new(Sorter::Known(known));
            look.visit(&namespaces, &namespaces.inodes().collect::<Vec<_>>(), &Part::ALL, &mut all);
            let calm = all.fresh.is_empty() && look.degraded.is_empty();
            look.calm = Some(calm);
            let believed = if calm {
                let open: HashSet<u64> = all.sockets.iter().map(known::identity).collect();
                Believed::new(known, |socket| open.contains(&known::identity(socket)))
            } else {
                Believed::default()
            };
            let trust = Trust { believed, hidden, threads };
            let Some(scan) = Scan::new(&proc, pids, &trust, stop)? else { return Ok(None) };
            held = scan.held.iter().map(|held| held.inode).collect();
            look.scan = scan;
            if look.scan.believed {
                look.strategy.insert("believed");
            }
            census = all.resort(&held);
        } else {
            // --- the descriptors first ---
            let trust = Trust { hidden, threads, ..Trust::default() };
            let Some(scan) = Scan::new(&proc, pids, &trust, stop)? else { return Ok(None) };
            look.scan = scan;
            held = look.scan.held.iter().map(|held| held.inode).collect();
            for process in &look.scan.processes {
                namespaces.add(process.netns, process.pid);
            }
            look.everything = due || table.is_none_or(|count| count <= SMALL_TABLE);
            if look.everything {
                namespaces.add_all(&proc, &look.scan.pids);
            }
            let parts = if look.everything { &Part::ALL[..] } else { &Part::SMALL[..] };
            census = Census::new(Sorter::Held(&held));
            look.visit(&namespaces, &namespaces.inodes().collect::<Vec<_>>(), parts, &mut census);
        }
        if stop() {
            return Ok(None);
        }
        look.note_limits();
        look.find_the_rest(&proc, known, &mut namespaces, &mut census);
        look.carry(known, &held, &mut census);
        let Census { sockets, mut strays, strangers, listeners, interfaces, total, .. } = census;
        look.interfaces = interfaces;
        (look.sockets, look.listeners, look.total) = (sockets, listeners, total);
        look.has_strangers = !look.visited.connected.is_empty()
            && look.visited.small.is_subset(&look.visited.connected)
            && strangers.len() <= MOST_STRANGERS;
        look.strangers = strangers;
        if look.everything {
            strays.sort_unstable_by_key(|stray| (stray.inode, stray.cookie));
            strays.dedup();
            // Who may look into none of root's processes cannot tell who holds what.
            if look.scan.unreadable == 0 || look.scan.unreadable < look.scan.root {
                look.attribute(&proc, known, &namespaces, strays, stop);
            }
        }
        look.sockets.sort_unstable_by_key(|socket| (socket.inode, socket.cookie));
        look.sockets.dedup();
        look.namespaces = u32::try_from(look.visited.small.len()).unwrap_or(u32::MAX);
        Ok(Some(look))
    }

    fn note_limits(&mut self) {
        if !nix::unistd::geteuid().is_root() {
            self.degraded.insert("not_root");
        }
        if self.scan.unreadable > 0 {
            self.degraded.insert("unreadable");
        }
        // Whoever mounts something over a process in /proc hides it from all
        // who look there.
        let mut hidden = false;
        if self.everything {
            let _ = mount::each("self", |mount| hidden |= mount.is_over_a_process());
        }
        if hidden {
            self.degraded.insert("proc_mounted");
        }
        // The initial one (PROC_PID_INIT_INO in Linux): from any other, the
        // processes outside cannot be seen.
        if std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link != Path::new("pid:[4026531836]")) {
            self.degraded.insert("pid_namespace");
        }
    }

    /// Takes these parts of these namespaces into the census.
    fn visit(&mut self, namespaces: &Namespaces, wanted: &[u64], parts: &[Part], census: &mut Census<'_>) {
        let deadline = self.deadline();
        let mut faults = BTreeSet::new();
        let mut ways = BTreeSet::new();
        let mut seen = Vec::new();
        let small = parts.contains(&Part::Udp);
        let closed = namespaces.visit(wanted, |netns| {
            let folder = Path::new("/proc/thread-self/net");
            let mut whole = true;
            for &part in parts {
                ways.insert(if part == Part::Connected { "dump" } else { "listeners" });
                let mark = census.mark();
                if sock_diag::dump(part, netns, deadline, &mut |entry| census.add_entry(entry)).is_err() {
                    faults.insert("sock_diag");
                    ways.insert("proc_net");
                    census.back_to(mark);
                    // Whoever makes very many namespaces must not make it last.
                    whole &= Instant::now() < deadline
                        && table(folder, part, netns, &mut |socket| census.add(socket)).is_ok();
                }
            }
            if small {
                whole &= proc_net::datagram(folder, true, netns, &mut |socket| census.add(socket)).is_ok();
                whole &= proc_net::packet(folder, netns, &mut |socket| census.add(socket)).is_ok();
                census.name_interfaces(netns);
            }
            seen.push((netns, whole));
        });
        // Who may not enter a namespace may still read its tables.
        for netns in closed {
            faults.insert("namespaces");
            ways.insert("proc_net");
            let whole = namespaces.tables(netns).is_some_and(|folder| {
                let mut each = |socket| census.add(socket);
                parts.iter().all(|&part| table(&folder, part, netns, &mut each).is_ok())
                    && (!small
                        || (proc_net::datagram(&folder, true, netns, &mut each).is_ok()
                            && proc_net::packet(&folder, netns, &mut each).is_ok()))
            });
            seen.push((netns, whole));
        }
        for (netns, whole) in seen {
            if !whole {
                faults.insert("tables");
                continue;
            }
            if small {
                self.visited.small.insert(netns);
            }
            if parts.contains(&Part::Connected) {
                self.visited.connected.insert(netns);
            }
        }
        self.degraded.extend(faults);
        self.strategy.extend(ways);
    }

    /// Finds the sockets that are held and that nothing showed so far.
    fn find_the_rest(
        &mut self,
        proc: &Proc,
        known: &Known,
        namespaces: &mut Namespaces,
        census: &mut Census<'_>,
    ) {
        if self.scan.believed {
            self.others.extend_from_slice(&known.others);
            self.idle.extend_from_slice(&known.idle);
        }
        let mut missing = self.missing(known, census);
        if missing.is_empty() {
            return;
        }
        // Of most sockets the family alone says that they are none of ours, and
        // to ask a few for it costs less than a large table does.
        let large = self.table.is_none_or(|count| count > LARGE_TABLE.max(missing.len() as u64 * ASKING));
        if large {
            self.set_apart(known, &mut missing);
        }
        if !self.everything && self.table.is_some_and(|count| count > missing.len() as u64 * TAKING) {
            self.take(namespaces, &mut missing, census);
        }
        if !missing.is_empty() && !self.everything {
            let near: BTreeSet<u64> =
                missing.values().map(|&(process, _)| self.scan.processes[process as usize].netns).collect();
            let near: Vec<u64> = near.into_iter().filter(|&netns| netns != 0).collect();
            self.visit(namespaces, &near, &[Part::Connected], census);
            let found = census.inodes();
            missing.retain(|inode, _| !found.contains(inode));
        }
        if !large && !missing.is_empty() {
            self.set_apart(known, &mut missing);
        }
        if !missing.is_empty() && !self.everything {
            // Of a namespace that its holder is not in.
            namespaces.add_all(proc, &self.scan.pids);
            let far: Vec<u64> =
                namespaces.inodes().filter(|netns| !self.visited.connected.contains(netns)).collect();
            self.visit(namespaces, &far, &[Part::Listening, Part::Udp, Part::Connected], census);
            let found = census.inodes();
            missing.retain(|inode, _| !found.contains(inode));
        }
        self.take(namespaces, &mut missing, census);
    }

    /// Asks sockets themselves what they are, and the kernel about those that
    /// are in use. What is left is not to be had.
    fn take(
        &mut self,
        namespaces: &Namespaces,
        missing: &mut HashMap<u64, (u32, u32)>,
        census: &mut Census<'_>,
    ) {
        if missing.len() > MOST_TAKEN {
            self.degraded.insert("too_many_unknown");
        }
        let mut found: Vec<Socket> = Vec::new();
        for (inode, (process, fd)) in missing.drain().take(MOST_TAKEN) {
            match taken::take(self.scan.processes[process as usize].pid, fd, inode) {
                Taken::Socket(socket) => found.push(*socket),
                Taken::Other => self.others.push(inode),
                Taken::Idle => self.idle.push(inode),
                // It was closed meanwhile, most likely.
                Taken::Unknown => self.scan.races += 1,
            }
        }
        if found.is_empty() {
            return;
        }
        self.strategy.insert("taken");
        // Only the kernel knows the state of a connection.
        let wanted: BTreeSet<u64> = found.iter().map(|socket| socket.netns).collect();
        let wanted: Vec<u64> = wanted.into_iter().collect();
        let deadline = self.deadline();
        namespaces.visit(&wanted, |netns| {
            for socket in found.iter_mut().filter(|socket| socket.netns == netns && socket.cookie != 0) {
                if let Ok(Some(exact)) = sock_diag::find(socket, deadline) {
                    let protocol = socket.protocol;
                    *socket = Socket { protocol, ..exact };
                }
            }
        });
        for socket in found {
            if socket.kind() == Some(Kind::Listener) {
                census.listeners.insert(socket.place());
            }
            census.sockets.push(socket);
        }
    }

    /// Held inodes that neither the census nor our memory has, with one holder each.
    fn missing(&mut self, known: &Known, census: &Census<'_>) -> HashMap<u64, (u32, u32)> {
        let found = census.inodes();
        let mut missing = HashMap::new();
        let mut last = None;
        for held in &self.scan.held {
            if last.replace(held.inode) == Some(held.inode) {
                continue;
            }
            if known.is_other(held.inode) {
                self.others.push(held.inode);
            } else if !found.contains(&held.inode)
                && !of_inode(&known.sockets, held.inode).iter().any(|socket| !self.would_see(socket))
            {
                missing.insert(held.inode, (held.process, held.fd));
            }
        }
        missing
    }

    /// Leaves out what is none of ours, and what is as idle as it was.
    fn set_apart(&mut self, known: &Known, missing: &mut HashMap<u64, (u32, u32)>) {
        let Look { scan, others, idle, .. } = self;
        missing.retain(|&inode, &mut (process, fd)| {
            let pid = scan.processes[process as usize].pid;
            if taken::is_other(pid, fd) {
                others.push(inode);
                return false;
            }
            if known.idle.binary_search(&inode).is_ok() && taken::take(pid, fd, inode) == Taken::Idle {
                idle.push(inode);
                return false;
            }
            true
        });
    }

    /// Takes from memory what was not looked at this time.
    fn carry(&self, known: &Known, held: &HashSet<u64>, census: &mut Census<'_>) {
        let found = census.inodes();
        census.sockets.extend(
            known
                .sockets
                .iter()
                .filter(|socket| {
                    held.contains(&socket.inode) && !found.contains(&socket.inode) && !self.would_see(socket)
                })
                .cloned(),
        );
    }
}

/// The sockets of an inode among sockets in the order of inodes.
fn of_inode(sockets: &[Socket], inode: u64) -> &[Socket] {
    let start = sockets.partition_point(|socket| socket.inode < inode);
    let length = sockets[start..].iter().take_while(|socket| socket.inode == inode).count();
    &sockets[start..start + length]
}

/// True when it is likely that nothing is new, and the tables, which tell so,
/// cost less to read than the descriptors do.
fn is_settled(known: &Known, table: Option<u64>) -> bool {
    let ours = known.sockets.len() as u64;
    known.calm && ours >= SMALL_TABLE && table.is_some_and(|all| all <= ours + ours / 2)
}

fn is_connected_tcp(socket: &Socket) -> bool {
    socket.protocol.is_tcp() && socket.kind() != Some(Kind::Listener)
}

fn table(folder: &Path, part: Part, netns: u64, each: &mut dyn FnMut(Socket)) -> io::Result<()> {
    match part {
        Part::Udp => proc_net::datagram(folder, false, netns, each),
        Part::Listening => proc_net::tcp(folder, netns, &mut |socket| {
            if socket.kind() == Some(Kind::Listener) {
                each(socket);
            }
        }),
        Part::Connected => proc_net::tcp(folder, netns, &mut |socket| {
            if socket.kind() != Some(Kind::Listener) {
                each(socket);
            }
        }),
    }
}

/// How many TCP sockets the host has, in all namespaces (`alloc` of
/// `/proc/net/sockstat`, `sockstat_seq_show` in Linux).
fn tcp_sockets() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|&word| word == "alloc")?;
    words.next()?.parse().ok()
}
