//! What is known of a process beyond its sockets. It is read only for what
//! will be said, once for each process and run.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use common::text::legible;
use procfs::process::Process as Procfs;

use crate::look::descriptor::Process;
use crate::look::process::{LIKE_ROOT, Proc, Reason};

pub mod cgroup;
pub mod exe;

use cgroup::Container;
use exe::{Executable, Hashes, Location, Mounts};

/// Ancestors that are named.
const MOST_ANCESTORS: usize = 8;
/// Bytes of a command line that are read.
const COMMAND_LINE: u64 = 4096;
/// `loginuid` of a process that belongs to no login.
const NO_LOGIN: u32 = u32::MAX;

/// What policy asks of a process, cheap to have.
#[derive(Debug, Clone)]
pub struct Brief {
    /// The executable's path, legible; empty when it has none.
    pub exe: String,
    /// Where that is.
    pub location: Location,
    /// True when the file has no name any more.
    pub deleted: bool,
    /// The control group; empty in the root of all.
    pub cgroup: String,
    /// The systemd unit; empty without one.
    pub unit: String,
    /// The container.
    pub container: Option<Container>,
}

/// All that is said of a process.
#[derive(Debug, Clone)]
pub struct Detail {
    /// What was known already.
    pub brief: Rc<Brief>,
    /// Its real and saved uid.
    pub uids: Option<(u32, u32)>,
    /// Its effective capabilities, as text.
    pub caps: Option<String>,
    /// Who logged in to start it.
    pub loginuid: Option<u32>,
    /// True when the executable's name is another file's now.
    pub replaced: bool,
    /// The executable's permissions.
    pub mode: Option<String>,
    /// The executable's content.
    pub sha256: Option<[u8; 32]>,
    /// Its arguments.
    pub command_line: String,
    /// The name of the process that waits for it.
    pub parent: Option<String>,
    /// That one's executable.
    pub parent_exe: Option<String>,
    /// All its ancestors' names, the eldest first, and its own.
    pub ancestry: String,
    /// Its terminal.
    pub tty: Option<String>,
    /// When it began.
    pub start_time: Option<String>,
}

impl Detail {
    /// The same with texts so short that an event about it fits into a line,
    /// whatever they are made of.
    #[must_use]
    pub fn shortened(&self) -> Detail {
        let cut = |text: &str, most| legible(text.as_bytes(), most);
        Detail {
            brief: Rc::new(Brief {
                exe: cut(&self.brief.exe, 300),
                cgroup: cut(&self.brief.cgroup, 120),
                unit: cut(&self.brief.unit, 80),
                ..Brief::clone(&self.brief)
            }),
            command_line: cut(&self.command_line, 200),
            parent_exe: self.parent_exe.as_deref().map(|path| cut(path, 120)),
            ancestry: cut(&self.ancestry, 120),
            ..self.clone()
        }
    }
}

/// Reads details, and keeps those of this run.
#[derive(Debug)]
pub struct Details {
    proc: Proc,
    /// Hashes of executables.
    pub hashes: Hashes,
    briefs: HashMap<u32, Option<Rc<Brief>>>,
    details: HashMap<u32, Option<Rc<Detail>>>,
    mounts: HashMap<u64, Rc<Mounts>>,
    ancestors: HashMap<i32, Option<(String, i32)>>,
    all_caps: u64,
    boot: u64,
    ticks: u64,
}

impl Details {
    /// None yet, of a host that was started at this second since 1970.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn new(hashes: Hashes, boot: u64) -> std::io::Result<Details> {
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
        let last: u32 = last.and_then(|text| text.trim().parse().ok()).unwrap_or(40);
        Ok(Details {
            proc: Proc::open()?,
            hashes,
            briefs: HashMap::new(),
            details: HashMap::new(),
            mounts: HashMap::new(),
            ancestors: HashMap::new(),
            all_caps: u64::MAX >> (63 - last.min(63)),
            boot,
            ticks: procfs::ticks_per_second(),
        })
    }

    /// Forgets the processes, which have other indices in another look.
    pub fn forget(&mut self) {
        self.briefs.clear();
        self.details.clear();
        self.ancestors.clear();
    }

    /// The executable of a process of which it was asked before.
    #[must_use]
    pub fn known_exe(&self, at: u32) -> Option<&str> {
        self.briefs.get(&at)?.as_ref().map(|brief| brief.exe.as_str())
    }

    /// What policy asks of a process; `None` of one that has ended.
    pub fn brief(&mut self, at: u32, process: &Process) -> Option<Rc<Brief>> {
        let proc = &self.proc;
        let read = || {
            let found = brief(&Procfs::new(process.pid).ok()?);
            is_still(proc, process).then(|| Rc::new(found))
        };
        self.briefs.entry(at).or_insert_with(read).clone()
    }

    /// All that is said of a process; `None` of one that has ended.
    pub fn detail(&mut self, at: u32, process: &Process) -> Option<Rc<Detail>> {
        if let Some(known) = self.details.get(&at) {
            return known.clone();
        }
        let detail = self.read(at, process).map(Rc::new);
        self.details.insert(at, detail.clone());
        detail
    }

    fn read(&mut self, at: u32, process: &Process) -> Option<Detail> {
        let known = self.brief(at, process)?;
        let found = Procfs::new(process.pid).ok()?;
        let status = self.proc.process(process.pid).and_then(|process| process.status()).ok();
        let executable = self.executable(&found);
        let command_line = command_line(&found);
        let parent = self.ancestor(process.ppid);
        let parent_exe = parent.as_ref().and_then(|_| Procfs::new(process.ppid).ok()).and_then(|parent| {
            let (path, _) = exe::path(&parent).ok()?;
            Some(legible(&path, 250)).filter(|path| !path.is_empty())
        });
        let ancestry = self.ancestry(process);
        let brief = match &executable {
            // Looked at again: a name may end in what the kernel appends.
            Some(executable) if executable.deleted != known.deleted => Rc::new(Brief {
                exe: legible(&executable.path, 400),
                deleted: executable.deleted,
                ..Brief::clone(&known)
            }),
            _ => known,
        };
        let detail = Detail {
            brief,
            uids: status.as_ref().map(|status| (status.real, status.saved)),
            caps: status.as_ref().map(|status| self.caps(status.effective_caps)),
            loginuid: found.loginuid().ok().filter(|&uid| uid != NO_LOGIN),
            replaced: executable.as_ref().is_some_and(|executable| executable.replaced),
            mode: executable
                .as_ref()
                .and_then(|executable| executable.mode)
                .map(|mode| format!("{mode:04o}")),
            sha256: executable
                .and_then(|executable| executable.identity)
                .and_then(|identity| self.hashes.of(process.pid, identity)),
            command_line,
            parent: parent.map(|(name, _)| name),
            parent_exe,
            ancestry,
            tty: terminal(process.tty),
            start_time: self.start_time(process),
        };
        is_still(&self.proc, process).then_some(detail)
    }

    /// The hash of a process's executable, if it can be had.
    pub fn sha256(&mut self, process: &Process) -> Option<[u8; 32]> {
        let found = Procfs::new(process.pid).ok()?;
        let identity = self.executable(&found)?.identity?;
        let hash = self.hashes.of(process.pid, identity);
        hash.filter(|_| is_still(&self.proc, process))
    }

    fn executable(&mut self, process: &Procfs) -> Option<Executable> {
        let namespace = std::fs::metadata(format!("/proc/{}/ns/mnt", process.pid())).map_or(0, |ns| ns.ino());
        let mounts = match self.mounts.get(&namespace) {
            Some(known) if namespace != 0 => Rc::clone(known),
            _ => {
                let mounts = Rc::new(Mounts::of(process));
                self.mounts.insert(namespace, Rc::clone(&mounts));
                mounts
            }
        };
        exe::examine(process, &mounts).ok()
    }

    fn ancestor(&mut self, pid: i32) -> Option<(String, i32)> {
        if pid <= 0 {
            return None;
        }
        let proc = &self.proc;
        let read = || {
            let stat = proc.process(pid).and_then(|process| process.stat()).ok()?;
            Some((legible(&stat.name, 64), stat.ppid))
        };
        self.ancestors.entry(pid).or_insert_with(read).clone()
    }

    fn ancestry(&mut self, process: &Process) -> String {
        let mut names = vec![process.name.clone()];
        let mut next = process.ppid;
        while names.len() <= MOST_ANCESTORS
            && let Some((name, ppid)) = self.ancestor(next)
        {
            names.push(name);
            next = ppid;
        }
        names.reverse();
        legible(names.join(">").as_bytes(), 250)
    }

    fn caps(&self, effective: u64) -> String {
        match effective & self.all_caps {
            0 => "none".to_owned(),
            all if all == self.all_caps => "all".to_owned(),
            some => {
                let names = |caps: u64| (0..64).filter(move |number| caps & 1 << number != 0).map(capability);
                let missing = self.all_caps & !some;
                // Of a container's or a hardened service's root some are gone.
                if missing.count_ones() <= 8 {
                    return names(missing).fold("all".to_owned(), |text, name| text + ",-" + name);
                }
                legible(names(some).collect::<Vec<_>>().join(",").as_bytes(), 400)
            }
        }
    }

    fn start_time(&self, process: &Process) -> Option<String> {
        let hundredths = process.start.checked_mul(100)?.checked_div(self.ticks)?;
        let since = Duration::from_secs(self.boot).checked_add(Duration::from_millis(hundredths * 10))?;
        let time = SystemTime::UNIX_EPOCH.checked_add(since)?;
        Some(humantime::format_rfc3339_seconds(time).to_string())
    }
}

/// True while the process is the one that was looked at. Asked after the last
/// thing was read of it: then all of it was this one's.
fn is_still(proc: &Proc, process: &Process) -> bool {
    proc.process(process.pid).and_then(|found| found.stat()).is_ok_and(|stat| stat.start == process.start)
}

fn brief(process: &Procfs) -> Brief {
    let (path, deleted) = exe::path(process).unwrap_or_default();
    let groups = process.cgroups().map(|groups| groups.0).unwrap_or_default();
    let group = cgroup::path(&groups).filter(|path| *path != "/").unwrap_or_default();
    let container = cgroup::container(group);
    Brief {
        exe: legible(&path, 400),
        location: Location::of(&path, container.is_some()),
        deleted,
        cgroup: legible(group.as_bytes(), 250),
        unit: legible(cgroup::unit(group).unwrap_or_default().as_bytes(), 128),
        container: container
            .map(|container| Container { id: legible(container.id.as_bytes(), 80), ..container }),
    }
}

fn command_line(process: &Procfs) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = process.open_relative("cmdline") {
        let _ = file.take(COMMAND_LINE).read_to_end(&mut bytes);
    }
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    for byte in bytes.iter_mut().filter(|byte| **byte == 0) {
        *byte = b' ';
    }
    legible(&bytes, 900)
}

/// A terminal by its device number (`Documentation/admin-guide/devices.txt`).
fn terminal(number: i32) -> Option<String> {
    let number = number.cast_unsigned();
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | (number >> 12 & 0xfff00));
    match major {
        0 => None,
        4 if minor < 64 => Some(format!("tty{minor}")),
        4 => Some(format!("ttyS{}", minor - 64)),
        136..=143 => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        _ => Some(format!("{major}:{minor}")),
    }
}

/// Why a process counts as root, as it is written in a record.
#[must_use]
pub fn root_reason(reason: Reason) -> String {
    match reason {
        Reason::Effective => "euid0".to_owned(),
        Reason::Saved => "suid0".to_owned(),
        Reason::Real => "ruid0".to_owned(),
        Reason::Thread => "thread".to_owned(),
        Reason::Capabilities(caps) => {
            let names = LIKE_ROOT.iter().filter(|(number, _)| caps & 1 << number != 0).map(|(_, name)| *name);
            format!("cap:{}", names.collect::<Vec<_>>().join(","))
        }
    }
}

/// A capability's name (`include/uapi/linux/capability.h`, Linux 6.18).
fn capability(number: u32) -> &'static str {
    const NAMES: [&str; 41] = [
        "chown",
        "dac_override",
        "dac_read_search",
        "fowner",
        "fsetid",
        "kill",
        "setgid",
        "setuid",
        "setpcap",
        "linux_immutable",
        "net_bind_service",
        "net_broadcast",
        "net_admin",
        "net_raw",
        "ipc_lock",
        "ipc_owner",
        "sys_module",
        "sys_rawio",
        "sys_chroot",
        "sys_ptrace",
        "sys_pacct",
        "sys_admin",
        "sys_boot",
        "sys_nice",
        "sys_resource",
        "sys_time",
        "sys_tty_config",
        "mknod",
        "lease",
        "audit_write",
        "audit_control",
        "setfcap",
        "mac_override",
        "mac_admin",
        "syslog",
        "wake_alarm",
        "block_suspend",
        "audit_read",
        "perfmon",
        "bpf",
        "checkpoint_restore",
    ];
    NAMES.get(number as usize).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_have_their_names() {
        for (number, expected) in [
            (0, None),
            (0x8803, Some("pts/3")),
            (0x0401, Some("tty1")),
            (0x0440, Some("ttyS0")),
            (0x8901, Some("pts/257")),
        ] {
            assert_eq!(terminal(number).as_deref(), expected, "{number:x}");
        }
    }

    #[test]
    fn the_reason_names_the_capabilities() {
        assert_eq!(root_reason(Reason::Effective), "euid0");
        assert_eq!(root_reason(Reason::Capabilities(1 << 21 | 1 << 7)), "cap:setuid,sys_admin");
        for (number, name) in LIKE_ROOT {
            assert_eq!(capability(u32::from(number)), name);
        }
    }

    #[test]
    fn this_process_has_details() {
        let proc = Proc::open().unwrap();
        let own = proc.process(std::process::id().cast_signed()).unwrap();
        let stat = own.stat().unwrap();
        let mut process = Process {
            pid: own.pid,
            start: stat.start,
            name: legible(&stat.name, 64),
            ppid: stat.ppid,
            tty: stat.tty,
            euid: own.owner().unwrap(),
            reason: Reason::Effective,
            netns: 0,
            descriptors: 0,
            threads: false,
        };
        let mut details = Details::new(
            Hashes::new(Vec::new(), crate::config::Hash::default(), 1),
            sysinfo::System::boot_time(),
        )
        .unwrap();
        let detail = details.detail(0, &process).unwrap();
        assert_eq!(detail.brief.exe, std::env::current_exe().unwrap().display().to_string());
        assert!(detail.ancestry.ends_with(&process.name) && detail.ancestry.contains('>'));
        assert_eq!(detail.uids.unwrap().0, nix::unistd::getuid().as_raw());
        let began = humantime::parse_rfc3339(detail.start_time.as_ref().unwrap()).unwrap();
        assert!(began.elapsed().unwrap() < Duration::from_secs(3600));
        process.start += 1;
        assert!(details.detail(1, &process).is_none(), "another process with the same number");
    }
}
