//! An event as it is written: one flat JSON object.
//!
//! The order of the keys matters once: `dstuser` before `user`, because the
//! decoder of Wazuh from 4.14.1 on takes `user` for `dstuser` unless that is
//! there, and older ones never do. No number is larger than 31 bits, which is
//! what that decoder can keep; nothing is empty, null or an array.

use std::fmt::{self, Write};
use std::io;
use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};

use crate::config::ProcessKey;
use crate::look::descriptor::Held;
use crate::socket::Endpoint;

/// The version of the keys below.
const SCHEMA: &str = "1";
/// Every event says so, and rules begin with it.
const WODLE: &str = "system-audit";
/// Descriptors and pids that are listed in one event.
const MOST_LISTED: usize = 16;

/// Written as text, whatever it is.
#[derive(Debug, Clone, Copy)]
pub struct Text<T>(pub T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Numbers, separated by commas; more than some are cut.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a, T>(pub &'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().enumerate() {
            match at {
                0 => item.fmt(f)?,
                MOST_LISTED => return f.write_str(",…"),
                _ => write!(f, ",{item}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fd.fmt(f)
    }
}

/// An end as it is shown.
#[derive(Debug, Clone, Copy)]
pub enum End<'a> {
    /// An address and port.
    Address(SocketAddr),
    /// Of what has no address.
    Word(&'a str),
}

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Address(address) => Endpoint(*address).fmt(f),
            End::Word(word) => f.write_str(word),
        }
    }
}

impl Serialize for End<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `process`, which is an object in Wazuh's index template.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
enum Process<'a> {
    /// `{"name":"sshd"}`
    Object { name: &'a str },
    /// `"sshd"`
    Text(&'a str),
}

/// What stands in every event, first.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Head<'a> {
    timestamp: &'a str,
    wodle: &'static str,
    schema: &'static str,
    event: &'static str,
    process: Process<'a>,
    process_name: &'a str,
    pid: i32,
    dstuser: &'a str,
    user: &'a str,
    local_addr: End<'a>,
    remote_addr: End<'a>,
}

impl<'a> Head<'a> {
    /// Of an event about this process.
    #[must_use]
    pub fn new(timestamp: &'a str, event: &'static str, name: &'a str, key: ProcessKey) -> Head<'a> {
        let name = if name.is_empty() { "unknown" } else { name };
        Head {
            timestamp,
            wodle: WODLE,
            schema: SCHEMA,
            event,
            process: match key {
                ProcessKey::Object => Process::Object { name },
                ProcessKey::String => Process::Text(name),
            },
            process_name: name,
            pid: 0,
            dstuser: "root",
            user: "root",
            local_addr: End::Word("-"),
            remote_addr: End::Word("-"),
        }
    }

    /// With this pid and user.
    #[must_use]
    pub fn of(mut self, pid: i32, user: &'a str) -> Head<'a> {
        self.pid = pid;
        self.dstuser = user;
        self.user = user;
        self
    }

    /// With these ends.
    #[must_use]
    pub fn between(mut self, [local, remote]: [End<'a>; 2]) -> Head<'a> {
        self.local_addr = local;
        self.remote_addr = remote;
        self
    }
}

/// Joins a part of an event to those before it: each is written as an object
/// of its own, so that what is the same in many events is written once.
///
/// # Errors
/// When it cannot be written.
pub fn join(line: &mut Vec<u8>, part: &impl Serialize) -> io::Result<()> {
    line.pop();
    let start = line.len();
    serde_json::to_writer(&mut *line, part)?;
    if line[start..] == *b"{}" {
        line.truncate(start);
        line.push(b'}');
    } else {
        line[start] = b',';
    }
    Ok(())
}

/// Joins a part that was written before.
pub fn join_written(line: &mut Vec<u8>, part: &[u8]) {
    if part.len() > 2 {
        line.pop();
        line.push(b',');
        line.extend_from_slice(&part[1..]);
    }
}

/// An address as text, made once and written several times.
#[derive(Debug, Clone, Copy)]
pub struct IpText {
    bytes: [u8; 48],
    length: usize,
}

impl IpText {
    /// The text of this address.
    #[must_use]
    pub fn new(ip: IpAddr) -> IpText {
        let mut text = IpText { bytes: [0; 48], length: 0 };
        // The longest text of an address has 45 bytes.
        let _ = write!(text, "{ip}");
        text
    }

    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for IpText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

macro_rules! part {
    ($(#[$about:meta])* $part:ident: $($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, Serialize)]
        pub struct $part<'a> {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$type>,)*
        }
    };
}

part! {
    /// What an event says of the socket.
    SocketPart:
    /// Our address.
    local_ip: &'a str,
    /// Our port.
    local_port: u16,
    /// The other address.
    remote_ip: &'a str,
    /// The other port.
    remote_port: u16,
    /// tcp, udp, raw, packet.
    protocol: &'static str,
    /// The socket's family.
    family: &'static str,
    /// The state of TCP.
    state: &'static str,
    /// Where it came from.
    direction: &'static str,
    /// What tells so.
    direction_by: &'static str,
    /// What kind of place the other end is.
    remote_scope: &'static str,
    /// From where a listener can be reached.
    bind_scope: &'static str,
    /// Who began the connection.
    srcip: &'a str,
    /// From which port.
    srcport: u16,
    /// Where to.
    dstip: &'a str,
    /// To which port.
    dstport: u16,
    /// Of a raw socket.
    ip_protocol: u16,
    /// Of a packet socket.
    interface: &'a str,
    /// Of a packet socket.
    ethertype: String,
    /// Of the socket.
    inode: Text<u64>,
    /// Of the socket.
    cookie: Text<u64>,
    /// Who made the socket.
    socket_uid: u32,
    /// The network namespace.
    netns: Text<u64>,
    /// Whether it is the host's.
    netns_host: bool,
    /// Who it may be that nobody holds.
    hint: &'static str,
    /// When the socket was first seen.
    first_seen: Text<humantime::Rfc3339Timestamp>,
    /// Seconds since then.
    age_s: i32,
    /// In how many runs it was seen.
    seen_count: u32,
    /// Whether this executable never talked to this address before.
    new_remote: bool,
    /// Whether nothing was known before this run.
    baseline: bool,
    /// Which run says so.
    scan_id: &'a str,
}

part! {
    /// What an event says of the holding.
    HeldPart:
    /// The first descriptor.
    fd: u32,
    /// All descriptors.
    fds: Text<Listed<'a, Held>>,
    /// Whether it is standard input, output or error.
    stdio_socket: bool,
    /// How many processes of root hold it.
    holders: u32,
    /// Which.
    holder_pids: Text<Listed<'a, i32>>,
    /// Whether that was neither root nor the process's user.
    socket_uid_mismatch: bool,
}

part! {
    /// What an event says of the process: the same in all events about it.
    ProcessPart:
    /// The effective uid.
    euid: u32,
    /// The real uid.
    ruid: u32,
    /// The saved uid.
    suid: u32,
    /// Who logged in.
    loginuid: Text<u32>,
    /// Why the process counts as root.
    root_reason: String,
    /// Its effective capabilities.
    caps: &'a str,
    /// The executable's path.
    exe: &'a str,
    /// Whether it has no name any more.
    exe_deleted: bool,
    /// Whether another file has that name now.
    exe_replaced: bool,
    /// Where it lies.
    exe_location: &'static str,
    /// Its content.
    exe_sha256: String,
    /// Its permissions.
    exe_mode: &'a str,
    /// The arguments.
    cmdline: &'a str,
    /// The process that waits for it.
    ppid: i32,
    /// That one's name.
    parent_process: &'a str,
    /// That one's executable.
    parent_exe: &'a str,
    /// All ancestors' names.
    ancestry: &'a str,
    /// The terminal.
    tty: &'a str,
    /// When the process began.
    start_time: &'a str,
    /// The container.
    container_id: &'a str,
    /// What runs it.
    container_runtime: &'static str,
    /// The systemd unit.
    unit: &'a str,
    /// The control group.
    cgroup: &'a str,
    /// Whether this executable was never seen before.
    new_exe: bool,
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct Summary<'a> {
    /// What stands in every event.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// Sockets that the kernel showed.
    pub sockets_total: u32,
    /// Those that processes of root hold.
    pub root_sockets: u32,
    /// Processes of root that were looked into.
    pub root_processes: u32,
    /// All processes.
    pub scanned_pids: u32,
    /// Descriptors that were read.
    pub scanned_fds: u32,
    /// What began since the last run, the unsaid included.
    pub new: u32,
    /// What ended since then.
    pub closed: u32,
    /// Sockets of root that no process holds.
    pub unattributed: u32,
    /// Events that were said.
    pub emitted: u32,
    /// Those that the allowlist took.
    pub suppressed: u32,
    /// Those that wait for the next run.
    pub deferred: u32,
    /// What vanished while it was looked at.
    pub races: u32,
    /// Network namespaces that were visited.
    pub netns_count: u32,
    /// How it was looked.
    pub strategy: String,
    /// What could not be done as it should.
    pub degraded: String,
    /// How often it was looked.
    pub looks: u32,
    /// Milliseconds of the clock.
    pub duration_ms: u32,
    /// Milliseconds of the processor.
    pub cpu_ms: u32,
    /// Whether nothing was known before this run.
    pub baseline: bool,
    /// Of this program.
    pub version: &'static str,
    /// Of this host.
    pub hostname: &'a str,
    /// Of this host.
    pub kernel: &'a str,
    /// When this host was started.
    pub boot_time: Text<humantime::Rfc3339Timestamp>,
    /// Seconds since then.
    pub uptime_s: u32,
    /// Which run says so.
    pub scan_id: &'a str,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Fault<'a> {
    /// What stands in every event.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// What kind it is, for rules.
    pub error_kind: &'static str,
    /// What happened.
    pub error: String,
    /// Which run says so.
    pub scan_id: &'a str,
}
