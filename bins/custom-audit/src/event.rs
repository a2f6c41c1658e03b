//! An event as it is written: one flat JSON object.
//!
//! The order of the keys matters once: `dstuser` before `user`, because the
//! decoder of Wazuh from 4.14.1 on takes `user` for `dstuser` unless that is
//! there, and older ones never do. No number is larger than 31 bits, which is
//! what that decoder can keep; nothing is empty, null or an array.

use serde::Serialize;

use crate::config::ProcessKey;

/// The version of the keys below.
const SCHEMA: &str = "1";
/// Every event says so, and rules begin with it.
const WODLE: &str = "system-audit";

/// `process`, which is an object in Wazuh's index template.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum ProcessValue {
    /// `{"name":"sshd"}`
    Object {
        /// The process's name.
        name: String,
    },
    /// `"sshd"`
    Text(String),
}

impl ProcessValue {
    /// This name in this form.
    #[must_use]
    pub fn new(name: &str, key: ProcessKey) -> ProcessValue {
        let name = if name.is_empty() { "unknown" } else { name }.to_owned();
        match key {
            ProcessKey::Object => ProcessValue::Object { name },
            ProcessKey::String => ProcessValue::Text(name),
        }
    }
}

/// What stands in every event.
#[derive(Debug, Clone, Serialize)]
pub struct Head<'a> {
    timestamp: &'a str,
    wodle: &'static str,
    schema: &'static str,
    event: &'static str,
    process: ProcessValue,
    process_name: String,
    pid: i32,
    dstuser: String,
    user: String,
    local_addr: String,
    remote_addr: String,
}

impl<'a> Head<'a> {
    /// Of an event about this process.
    #[must_use]
    pub fn new(timestamp: &'a str, event: &'static str, name: &str, key: ProcessKey) -> Head<'a> {
        let process = ProcessValue::new(name, key);
        let process_name = if name.is_empty() { "unknown" } else { name }.to_owned();
        Head {
            timestamp,
            wodle: WODLE,
            schema: SCHEMA,
            event,
            process,
            process_name,
            pid: 0,
            dstuser: "root".to_owned(),
            user: "root".to_owned(),
            local_addr: "-".to_owned(),
            remote_addr: "-".to_owned(),
        }
    }

    /// With this pid and user.
    #[must_use]
    pub fn of(mut self, pid: i32, user: &str) -> Head<'a> {
        self.pid = pid;
        self.dstuser = user.to_owned();
        self.user = user.to_owned();
        self
    }

    /// With these ends.
    #[must_use]
    pub fn between(mut self, local: String, remote: String) -> Head<'a> {
        self.local_addr = local;
        self.remote_addr = remote;
        self
    }
}

/// A socket and its holder. What is not known is left out.
#[derive(Debug, Clone, Serialize)]
#[serde(bound = "")]
pub struct SocketEvent<'a> {
    /// What stands in every event.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// The rest of it.
    #[serde(flatten)]
    pub body: Body<'a>,
}

macro_rules! body {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// The keys of an event about a socket.
        #[derive(Debug, Clone, Default, Serialize)]
        pub struct Body<'a> {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$type>,)*
        }
    };
}

body! {
    /// Our address.
    local_ip: String,
    /// Our port.
    local_port: u16,
    /// The other address.
    remote_ip: String,
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
    /// What kind of place the other end is.
    remote_scope: &'static str,
    /// From where a listener can be reached.
    bind_scope: &'static str,
    /// Who began the connection.
    srcip: String,
    /// From which port.
    srcport: u16,
    /// Where to.
    dstip: String,
    /// To which port.
    dstport: u16,
    /// Of a raw socket.
    ip_protocol: u16,
    /// Of a packet socket.
    interface: &'a str,
    /// Of a packet socket.
    ethertype: String,
    /// The first descriptor.
    fd: u32,
    /// All descriptors.
    fds: String,
    /// Whether it is standard input, output or error.
    stdio_socket: bool,
    /// Of the socket.
    inode: String,
    /// Of the socket.
    cookie: String,
    /// How many processes of root hold it.
    holders: u32,
    /// Which.
    holder_pids: &'a str,
    /// The effective uid.
    euid: u32,
    /// The real uid.
    ruid: u32,
    /// The saved uid.
    suid: u32,
    /// Who logged in.
    loginuid: String,
    /// Who made the socket.
    socket_uid: u32,
    /// Whether that was neither root nor the process's user.
    socket_uid_mismatch: bool,
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
    /// The network namespace.
    netns: String,
    /// Whether it is the host's.
    netns_host: bool,
    /// The container.
    container_id: &'a str,
    /// What runs it.
    container_runtime: &'static str,
    /// The systemd unit.
    unit: &'a str,
    /// The control group.
    cgroup: &'a str,
    /// When the socket was first seen.
    first_seen: String,
    /// Seconds since then.
    age_s: i32,
    /// Whether this executable never talked to this address before.
    new_remote: bool,
    /// Whether this executable was never seen before.
    new_exe: bool,
    /// In how many runs it was seen.
    seen_count: u32,
    /// Who it may be that nobody holds.
    hint: &'static str,
    /// Whether nothing was known before this run.
    baseline: bool,
    /// Which run says so.
    scan_id: &'a str,
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
    pub hostname: String,
    /// Of this host.
    pub kernel: String,
    /// When this host was started.
    pub boot_time: String,
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
