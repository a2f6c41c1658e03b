//! What is said of one look, and what is remembered of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::time::Instant;

use common::wazuh::wodle::Lines;
use serde::Serialize;

use crate::allow::Facts;
use crate::call::Stop;
use crate::change::{self, Changes, Listeners, Present};
use crate::config::Settings;
use crate::detail::{Brief, Detail, Details};
use crate::event::{join, join_written};
use crate::host::{self, Names};
use crate::known::{
    Holding, Known, KnownProcess, Lost, MOST_EXECUTABLES, MOST_LOST, MOST_REMOTES, MOST_SOCKETS,
};
use crate::look::Look;
use crate::order::{self, Class};
use crate::output::Output;
use crate::report::{self, Context, News};
use crate::socket::{Direction, Kind};

/// Where lines go.
pub type Out<'a> = Lines<Output, Box<dyn Fn() -> Instant + 'a>>;

/// What a run is counted by.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// Events that were said.
    pub emitted: usize,
    /// What the allowlist took.
    pub suppressed: usize,
    /// What waits for the next run.
    pub deferred: usize,
    /// What began.
    pub new: usize,
    /// What ended.
    pub closed: usize,
}

/// Says what is found.
#[derive(Debug)]
pub struct Teller<'a> {
    /// What is configured.
    pub settings: &'a Settings,
    /// Being told to stop.
    pub stop: &'a Stop,
    /// What all events have in common.
    pub context: Context<'a>,
    /// What is known of processes.
    pub details: Details,
    /// What was said so far.
    pub counts: Counts,
    /// Why not all could be said.
    pub failed: Option<io::Error>,
    /// True when there was more than can be remembered.
    pub forgot: bool,
    /// Names of users.
    pub names: Names,
    /// What is said of each process of this look.
    pub processes: HashMap<u32, Vec<u8>>,
}

/// One finding, by its place in the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Present(usize),
    Unheld(usize),
    Gone(usize),
}

/// A look in its circumstances.
struct Scene<'a> {
    known: &'a Known,
    look: &'a Look,
    changes: &'a Changes<'a>,
    listeners: &'a Listeners,
}

/// Writes one event. False when it was no line.
///
/// # Errors
/// When it cannot be written.
pub fn line(lines: &mut Out<'_>, event: &impl Serialize) -> io::Result<bool> {
    lines.say(|line| serde_json::to_writer(line, event).map_err(io::Error::from))
}

impl<'a> Teller<'a> {
    /// One who said nothing yet.
    #[must_use]
    pub fn new(settings: &'a Settings, stop: &'a Stop, context: Context<'a>, details: Details) -> Teller<'a> {
        Teller {
            settings,
            stop,
            context,
            details,
            counts: Counts::default(),
            failed: None,
            forgot: false,
            names: Names::default(),
            processes: HashMap::new(),
        }
    }

    /// Says what is to be said of a look, and returns what is known then.
    pub fn tell(&mut self, known: Known, look: &Look, now: u64, lines: &mut Out<'_>) -> Known {
        self.processes.clear();
        let mut changes = change::compare(&known, look, self.context.run, now);
        let listeners = Listeners::new(look, &known, host::ephemeral_ports());
        let former = former_executables(&known);
        if look.complete && !self.context.full {
            self.notice_other_executables(look, &former, &mut changes);
        }
        for present in changes.present.iter_mut().filter(|present| !present.holding.said) {
            present.holding.inbound = listeners.direction(present.socket) == Some(Direction::Inbound);
        }
        let quiet = self.suppressed(&known, look, &changes, &listeners);
        for &at in &quiet {
            let holding = &mut changes.present[at].holding;
            (holding.said, holding.quiet) = (true, true);
        }
        self.suppress_unheld(&mut changes, &listeners);
        let scene = Scene { known: &known, look, changes: &changes, listeners: &listeners };
        let findings = self.findings(&scene);
        let said = self.say(&scene, &findings, lines);
        self.counts.deferred = findings.len() - said.len();
        for subject in &said {
            match *subject {
                Subject::Present(at) => changes.present[at].holding.said = true,
                Subject::Unheld(at) => changes.unheld[at].holding.said = true,
                Subject::Gone(_) => {}
            }
        }
        let still: Vec<Lost> = (0..changes.gone.len())
            .filter(|&at| !changes.gone[at].holding.quiet && !said.contains(&Subject::Gone(at)))
            .take(MOST_LOST)
            .map(|at| {
                let gone = &changes.gone[at];
                Lost { socket: gone.socket.clone(), process: gone.process.clone(), holding: gone.holding }
            })
            .collect();
        let shown: Vec<usize> = quiet
            .into_iter()
            .chain(said.iter().filter_map(|subject| match subject {
                Subject::Present(at) => Some(*at),
                _ => None,
            }))
            .collect();
        let (present, unheld) = (changes.present, changes.unheld);
        let met: Vec<(String, Option<std::net::IpAddr>)> =
            shown.into_iter().map(|at| self.met(look, &present[at])).collect();
        let processes = self.known_processes(&former, look);
        let holdings = present.iter().map(|present| present.holding).collect::<Vec<Holding>>();
        drop(present);
        // Where new sockets are common, they are expected ever more rarely not to be.
        let (surprises, wait) = match look.calm {
            Some(true) => (0, 0),
            Some(false) => (known.surprises.saturating_add(1), 1 << known.surprises.min(6)),
            None => (known.surprises, known.wait.saturating_sub(1)),
        };
        let mut next = Known {
            boot: known.boot,
            run: self.context.run,
            full_look: if look.complete { now } else { known.full_look },
            strangers: if look.has_strangers { sorted(look.strangers.clone()) } else { known.strangers },
            calm: wait == 0 && self.counts.deferred == 0,
            surprises,
            wait,
            processes,
            holdings,
            unheld,
            lost: still,
            others: sorted(look.others.clone()),
            idle: sorted(look.idle.clone()),
            elsewhere: look.elsewhere.clone(),
            sockets: look.sockets.clone(),
            remotes: known.remotes,
            executables: known.executables,
            hashes: known.hashes,
        };
        for (exe, remote) in met {
            next.executables.note(&exe.as_str(), self.context.run);
            if let Some(remote) = remote {
                next.remotes.note(&(exe.as_str(), remote), self.context.run);
            }
        }
        next.remotes.shrink(MOST_REMOTES);
        next.executables.shrink(MOST_EXECUTABLES);
        self.forgot |= next.sockets.len() > MOST_SOCKETS || next.lost.len() == MOST_LOST;
        if next.sockets.len() > MOST_SOCKETS {
            // A state of any size would be read in each run: better none.
            (next.sockets, next.holdings) = (Vec::new(), Vec::new());
        }
        next
    }

    /// A process can become another program with its sockets in its hands:
    /// then they are news, whatever was said or allowed before.
    fn notice_other_executables(&mut self, look: &Look, former: &Former<'_>, changes: &mut Changes<'_>) {
        for present in changes.present.iter_mut().filter(|present| present.holding.said) {
            let process = &look.scan.processes[present.holding.process as usize];
            let Some(before) = former.get(&(process.pid, process.start)).filter(|exe| !exe.is_empty()) else {
                continue;
            };
            let brief = self.details.brief(present.holding.process, process);
            if brief.is_some_and(|brief| brief.exe != **before) {
                (present.holding.said, present.holding.quiet) = (false, false);
            }
        }
    }

    /// What is there, was not said, and needs not be.
    fn suppressed(
        &mut self,
        known: &Known,
        look: &Look,
        changes: &Changes<'_>,
        listeners: &Listeners,
    ) -> Vec<usize> {
        if self.settings.allow.is_empty() {
            return Vec::new();
        }
        let mut quiet = Vec::new();
        for (at, present) in changes.present.iter().enumerate().filter(|(_, present)| !present.holding.said) {
            let process = &look.scan.processes[present.holding.process as usize];
            let brief = self.details.brief(present.holding.process, process);
            let brief = brief.as_deref();
            let class = report::class(present, process, brief, is_new_remote(known, present, brief));
            let direction = listeners.direction(present.socket);
            let exe = brief.map_or("", |brief| brief.exe.as_str());
            let pins =
                |allow: &crate::allow::Allow| allow.sha256.is_some() && allow.exe.as_deref() == Some(exe);
            let pinned = self.settings.allow.iter().any(pins);
            let socket = present.socket;
            let service = if direction == Some(Direction::Outbound) { socket.remote } else { socket.local };
            let facts = Facts {
                exe,
                sha256: if pinned { self.details.sha256(process) } else { None },
                remote: (!socket.remote.ip().is_unspecified()).then_some(socket.remote.ip()),
                port: direction.is_some().then_some(service.port()),
                // A user may call a unit of theirs whatever they like.
                unit: brief
                    .filter(|brief| brief.cgroup.starts_with("/system.slice/"))
                    .map_or("", |brief| brief.unit.as_str()),
                direction,
                in_container: brief.is_some_and(|brief| brief.container.is_some()),
                suspicious: report::is_suspicious(class),
            };
            if self.settings.allow.iter().any(|allow| allow.takes(&facts)) {
                quiet.push(at);
            }
        }
        self.counts.suppressed += quiet.len();
        quiet
    }

    /// What nobody holds and needs not be said: only its ends can tell.
    fn suppress_unheld(&mut self, changes: &mut Changes<'_>, listeners: &Listeners) {
        for unheld in changes.unheld.iter_mut().filter(|unheld| !unheld.holding.said) {
            let socket = &unheld.socket;
            let direction = listeners.direction(socket);
            let service = if direction == Some(Direction::Outbound) { socket.remote } else { socket.local };
            let facts = Facts {
                exe: "",
                sha256: None,
                remote: (!socket.remote.ip().is_unspecified()).then_some(socket.remote.ip()),
                port: direction.is_some().then_some(service.port()),
                unit: "",
                direction,
                in_container: false,
                suspicious: false,
            };
            if self.settings.allow.iter().any(|allow| allow.takes(&facts)) {
                (unheld.holding.said, unheld.holding.quiet) = (true, true);
                self.counts.suppressed += 1;
            }
        }
    }

    /// What would be said if there were room for all.
    fn findings(&mut self, scene: &Scene<'_>) -> Vec<(Subject, Class)> {
        let mut findings = Vec::new();
        let changes = scene.changes;
        self.counts.new += changes.new;
        for (at, present) in changes.present.iter().enumerate().filter(|(_, present)| !present.holding.said) {
            let process = &scene.look.scan.processes[present.holding.process as usize];
            let brief = self.details.brief(present.holding.process, process);
            let new_remote = is_new_remote(scene.known, present, brief.as_deref());
            findings
                .push((Subject::Present(at), report::class(present, process, brief.as_deref(), new_remote)));
        }
        for (at, _) in changes.unheld.iter().enumerate().filter(|(_, unheld)| !unheld.holding.said) {
            findings.push((Subject::Unheld(at), Class::Unattributed));
        }
        if self.context.full {
            return findings;
        }
        let waited = scene.known.lost.len();
        self.counts.closed += changes.gone.len().saturating_sub(waited);
        self.counts.suppressed += changes.gone.iter().filter(|gone| gone.holding.quiet).count();
        for (at, _) in changes.gone.iter().enumerate().filter(|(_, gone)| !gone.holding.quiet) {
            findings.push((Subject::Gone(at), Class::Closed));
        }
        findings
    }

    /// Says as much as there is room for; returns what was surely said.
    fn say(
        &mut self,
        scene: &Scene<'_>,
        findings: &[(Subject, Class)],
        lines: &mut Out<'_>,
    ) -> std::collections::HashSet<Subject> {
        let room = match self.settings.max_events {
            0 => 0,
            most if most <= self.counts.emitted => return std::collections::HashSet::new(),
            most => most - self.counts.emitted,
        };
        let classes: Vec<Class> = findings.iter().map(|&(_, class)| class).collect();
        let holders = Holders::of(scene.look);
        let before = lines.written();
        let mut handed = 0;
        let mut said = Vec::new();
        for at in order::choose(&classes, room) {
            if self.stop.is_told() {
                break;
            }
            let subject = findings[at].0;
            match self.event(scene, &holders, subject, lines) {
                Ok(written) => {
                    // What is no line will never be one: it must not wait.
                    handed += usize::from(written);
                    said.push((handed, subject));
                }
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        if let Err(error) = lines.flush() {
            self.failed = Some(error);
        }
        let written = lines.written() - before;
        self.counts.emitted += written;
        said.into_iter().filter(|&(line, _)| line <= written).map(|(_, subject)| subject).collect()
    }

    /// Writes the event about one finding. False when it was no line.
    fn event(
        &mut self,
        scene: &Scene<'_>,
        holders: &Holders,
        subject: Subject,
        lines: &mut Out<'_>,
    ) -> io::Result<bool> {
        match subject {
            Subject::Present(at) => self.present_event(scene, holders, &scene.changes.present[at], lines),
            Subject::Unheld(at) => {
                let unheld = &scene.changes.unheld[at];
                let news = News {
                    direction: scene.listeners.direction(&unheld.socket),
                    interface: &report::interface(&unheld.socket, scene.look),
                    hint: Some(report::hint(&unheld.socket, scene.look.scan.unreadable > 0)),
                    ..News::default()
                };
                let (context, addresses) = (&self.context, report::addresses(&unheld.socket));
                lines.say(|line| {
                    serde_json::to_writer(&mut *line, &report::unheld_head(context, unheld, &news))?;
                    join(line, &report::socket(context, &unheld.socket, &addresses, &unheld.holding, &news))
                })
            }
            Subject::Gone(at) => {
                let gone = &scene.changes.gone[at];
                let direction = match gone.socket.kind() {
                    Some(Kind::Connection) if gone.holding.inbound => Direction::Inbound,
                    Some(Kind::Connection) => Direction::Outbound,
                    _ => Direction::Listen,
                };
                let news = News { direction: Some(direction), gone: true, ..News::default() };
                let addresses = report::addresses(gone.socket);
                let Teller { context, names, .. } = self;
                lines.say(|line| {
                    let user = names.user(gone.process.euid);
                    serde_json::to_writer(&mut *line, &report::gone_head(context, gone, &news, user))?;
                    join(line, &report::socket(context, gone.socket, &addresses, &gone.holding, &news))?;
                    join(line, &report::former(gone.process))
                })
            }
        }
    }

    fn present_event(
        &mut self,
        scene: &Scene<'_>,
        holders: &Holders,
        present: &Present<'_>,
        lines: &mut Out<'_>,
    ) -> io::Result<bool> {
        let (index, socket) = (present.holding.process, present.socket);
        let process = &scene.look.scan.processes[index as usize];
        let full = self.context.full;
        let detail = self.details.detail(index, process);
        let exe = detail.as_ref().map_or("", |detail| detail.brief.exe.as_str());
        let new_exe = (!full).then(|| scene.known.executables.is_new(&exe));
        if let Entry::Vacant(unknown) = self.processes.entry(index) {
            unknown.insert(serde_json::to_vec(&report::process(process, detail.as_deref(), new_exe))?);
        }
        let brief = self.details.brief(index, process);
        let connection = socket.kind() == Some(Kind::Connection);
        let news = News {
            direction: scene.listeners.direction(socket),
            by_listener: connection.then(|| scene.listeners.is_listened_at(socket)),
            new_remote: (!full).then(|| is_new_remote(scene.known, present, brief.as_deref())),
            interface: &report::interface(socket, scene.look),
            ..News::default()
        };
        let one = [process.pid];
        let pids = holders.0.get(&socket.inode).map_or(&one[..], Vec::as_slice);
        let addresses = report::addresses(socket);
        let Teller { context, names, processes, .. } = self;
        let mut write = |line: &mut Vec<u8>, about: &[u8]| {
            let user = names.user(process.euid);
            serde_json::to_writer(&mut *line, &report::present_head(context, present, process, &news, user))?;
            join(line, &report::socket(context, socket, &addresses, &present.holding, &news))?;
            join(line, &report::held(present, process, pids))?;
            join_written(line, about);
            Ok(())
        };
        if lines.say(|line| write(line, processes.get(&index).map_or(&[][..], Vec::as_slice)))? {
            return Ok(true);
        }
        // Somebody gave long names to everything that has one.
        let short = detail.as_deref().map(Detail::shortened);
        let about = serde_json::to_vec(&report::process(process, short.as_ref(), new_exe))?;
        lines.say(|line| write(line, &about))
    }

    /// The executable of what was said, and whom it talked to.
    fn met(&mut self, look: &Look, present: &Present<'_>) -> (String, Option<std::net::IpAddr>) {
        let process = &look.scan.processes[present.holding.process as usize];
        let brief = self.details.brief(present.holding.process, process);
        let remote = (present.socket.kind() == Some(Kind::Connection)).then(|| present.socket.remote.ip());
        (brief.map(|brief| brief.exe.clone()).unwrap_or_default(), remote)
    }

    /// The processes of a look, with what was found out about them now or before.
    fn known_processes(&mut self, former: &Former<'_>, look: &Look) -> Vec<KnownProcess> {
        let processes = (0..).zip(&look.scan.processes).map(|(at, process)| KnownProcess {
            pid: process.pid,
            start: process.start,
            euid: process.euid,
            name: process.name.clone(),
            descriptors: process.descriptors,
            threads: process.threads,
            exe: self
                .details
                .known_exe(at)
                .or_else(|| former.get(&(process.pid, process.start)).copied())
                .unwrap_or_default()
                .to_owned(),
        });
        processes.collect()
    }
}

/// The executables of processes, as far as they were known.
type Former<'a> = HashMap<(i32, u64), &'a str>;

fn former_executables(known: &Known) -> Former<'_> {
    let former = known.processes.iter().map(|process| ((process.pid, process.start), process.exe.as_str()));
    former.collect()
}

fn is_new_remote(known: &Known, present: &Present<'_>, brief: Option<&Brief>) -> bool {
    let exe = brief.map_or("", |brief| brief.exe.as_str());
    present.socket.kind() == Some(Kind::Connection)
        && known.remotes.is_new(&(exe, present.socket.remote.ip()))
}

fn sorted(mut inodes: Vec<u64>) -> Vec<u64> {
    inodes.sort_unstable();
    inodes.dedup();
    inodes
}

/// Who holds a socket that several processes share.
struct Holders(HashMap<u64, Vec<i32>>);

impl Holders {
    fn of(look: &Look) -> Holders {
        let mut shared: HashMap<u64, Vec<i32>> = HashMap::new();
        for held in look.scan.held.chunk_by(|one, other| one.inode == other.inode) {
            let mut processes: Vec<u32> = held.iter().map(|held| held.process).collect();
            processes.dedup();
            if let (Some(first), true) = (held.first(), processes.len() > 1) {
                let pids = processes.iter().map(|&process| look.scan.processes[process as usize].pid);
                shared.insert(first.inode, pids.collect());
            }
        }
        Holders(shared)
    }
}
