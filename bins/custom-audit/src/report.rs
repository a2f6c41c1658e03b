//! A finding becomes an event (pure).

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use crate::change::{Gone, Present};
use crate::config::ProcessKey;
use crate::detail::exe::Location;
use crate::detail::{Brief, Detail, root_reason};
use crate::event::{End, Head, HeldPart, IpText, Listed, ProcessPart, SocketPart, Text};
use crate::known::{Holding, KnownProcess, Unheld};
use crate::look::Look;
use crate::look::descriptor::{Held, Process};
use crate::order::Class;
use crate::socket::{Direction, Kind, Protocol, Socket, scope};

/// What all events of one run have in common.
#[derive(Debug)]
pub struct Context<'a> {
    /// When it was looked, as it is written.
    pub timestamp: String,
    /// When it was looked, in seconds since 1970.
    pub now: u64,
    /// Which run says so.
    pub scan_id: &'a str,
    /// How many runs there were, with this one.
    pub run: u32,
    /// Everything each time, without a state.
    pub full: bool,
    /// Nothing was known before.
    pub baseline: bool,
    /// How `process` is written.
    pub process_key: ProcessKey,
    /// The other end in `srcip`.
    pub geo_peer: bool,
    /// The host's own network namespace.
    pub host_netns: u64,
}

/// What is said of a socket beside the socket itself.
#[derive(Debug, Default, Clone, Copy)]
pub struct News<'a> {
    /// Where it came from.
    pub direction: Option<Direction>,
    /// Whether a listener tells so.
    pub by_listener: Option<bool>,
    /// A remote address that this executable never talked to.
    pub new_remote: Option<bool>,
    /// Of a packet socket.
    pub interface: &'a str,
    /// Who it may be that nobody holds.
    pub hint: Option<&'static str>,
    /// It is there no more.
    pub gone: bool,
}

/// True of a socket that somebody else made than root and the process's user.
#[must_use]
pub fn is_mismatch(socket: &Socket, euid: u32) -> bool {
    socket.uid != 0 && socket.uid != euid
}

/// True when a socket is standard input, output or error.
#[must_use]
pub fn is_stdio(fds: &[Held]) -> bool {
    fds.iter().any(|held| held.fd <= 2)
}

/// True of what is suspicious by itself, whatever else may be expected of it.
#[must_use]
pub fn is_suspicious(class: Class) -> bool {
    class <= Class::Executable
}

/// What a socket that is there is, first things first.
#[must_use]
pub fn class(present: &Present<'_>, process: &Process, brief: Option<&Brief>, new_remote: bool) -> Class {
    let odd = |brief: &Brief| brief.deleted || matches!(brief.location, Location::Tmp | Location::Memfd);
    let public = || scope(present.socket.remote.ip()) == "public";
    match present.socket.kind() {
        _ if is_stdio(present.fds) => Class::Stdio,
        _ if is_mismatch(present.socket, process.euid) => Class::Mismatch,
        _ if brief.is_some_and(odd) => Class::Executable,
        Some(Kind::Raw | Kind::Packet) => Class::Raw,
        Some(Kind::Connection) if new_remote && public() => Class::NewRemote,
        Some(Kind::Listener) => Class::Listener,
        _ => Class::Rest,
    }
}

/// The name of the event about a socket that is there.
fn present_event(kind: Option<Kind>, full: bool) -> &'static str {
    match (kind, full) {
        (Some(Kind::Listener), false) => "listen_new",
        (Some(Kind::Listener), true) => "listen_open",
        (Some(Kind::Raw), false) => "raw_new",
        (Some(Kind::Raw), true) => "raw_open",
        (Some(Kind::Packet), false) => "packet_new",
        (Some(Kind::Packet), true) => "packet_open",
        (_, false) => "conn_new",
        (_, true) => "conn_open",
    }
}

/// The first part of an event about a socket that is there.
#[must_use]
pub fn present_head<'a>(
    context: &'a Context<'_>,
    present: &Present<'_>,
    process: &'a Process,
    news: &News<'a>,
    user: &'a str,
) -> Head<'a> {
    let event = present_event(present.socket.kind(), context.full);
    let head = Head::new(&context.timestamp, event, &process.name, context.process_key);
    head.of(process.pid, user).between(ends(present.socket, news.interface))
}

/// How a socket is held.
#[must_use]
pub fn held<'a>(present: &Present<'a>, process: &Process, holders: &'a [i32]) -> HeldPart<'a> {
    HeldPart {
        fd: present.fds.first().map(|held| held.fd),
        fds: Some(Text(Listed(present.fds))),
        stdio_socket: Some(is_stdio(present.fds)),
        holders: Some(u32::try_from(holders.len()).unwrap_or(u32::MAX)),
        holder_pids: Some(Text(Listed(holders))),
        socket_uid_mismatch: Some(is_mismatch(present.socket, process.euid)),
    }
}

/// The first part of an event about a socket that no process holds, of those
/// that could be looked into.
#[must_use]
pub fn unheld_head<'a>(context: &'a Context<'_>, unheld: &Unheld, news: &News<'a>) -> Head<'a> {
    let head = Head::new(&context.timestamp, "unattributed", "none", context.process_key);
    head.between(ends(&unheld.socket, news.interface))
}

/// The first part of an event about a socket that is gone.
#[must_use]
pub fn gone_head<'a>(context: &'a Context<'_>, gone: &Gone<'a>, news: &News<'a>, user: &'a str) -> Head<'a> {
    let listener = gone.socket.kind() == Some(Kind::Listener);
    let event = if listener { "listen_closed" } else { "conn_closed" };
    let head = Head::new(&context.timestamp, event, &gone.process.name, context.process_key);
    head.of(gone.process.pid, user).between(ends(gone.socket, news.interface))
}

/// The name of the interface that a packet socket is bound to; `*` is all.
#[must_use]
pub fn interface(socket: &Socket, look: &Look) -> String {
    match (socket.protocol, socket.interface) {
        (Protocol::Packet, 0) => "*".to_owned(),
        (Protocol::Packet, index) => {
            look.interfaces.get(&(socket.netns, index)).cloned().unwrap_or_else(|| format!("if{index}"))
        }
        _ => String::new(),
    }
}

/// Both ends, as they are shown.
#[must_use]
pub fn ends<'a>(socket: &Socket, interface: &'a str) -> [End<'a>; 2] {
    match socket.protocol {
        Protocol::Packet => [End::Word(interface), End::Word("*")],
        // The port of a raw socket is a protocol's number.
        Protocol::Raw => {
            let bare = |address: SocketAddr| End::Address(SocketAddr::new(address.ip(), 0));
            [bare(socket.local), bare(other_end(socket))]
        }
        _ => [End::Address(socket.local), End::Address(other_end(socket))],
    }
}

/// The other end; where there is none, none of the socket's own family.
fn other_end(socket: &Socket) -> SocketAddr {
    if socket.remote.port() == 0 && socket.remote.ip().is_unspecified() && socket.local.is_ipv6() {
        return SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    }
    socket.remote
}

/// The addresses of a socket, as text.
#[must_use]
pub fn addresses(socket: &Socket) -> [IpText; 2] {
    [IpText::new(socket.local.ip()), IpText::new(socket.remote.ip())]
}

/// What is said of a socket, whoever holds it.
#[must_use]
pub fn socket<'a>(
    context: &'a Context<'_>,
    socket: &Socket,
    [local, remote]: &'a [IpText; 2],
    holding: &Holding,
    news: &News<'a>,
) -> SocketPart<'a> {
    let mut part = SocketPart {
        protocol: Some(socket.protocol.name()),
        inode: Some(Text(socket.inode)),
        cookie: (socket.cookie != 0).then_some(Text(socket.cookie)),
        socket_uid: small(socket.uid),
        netns: (socket.netns != 0).then_some(Text(socket.netns)),
        netns_host: (socket.netns != 0).then_some(socket.netns == context.host_netns),
        direction: news.direction.map(Direction::name),
        direction_by: news.by_listener.map(|by_listener| if by_listener { "listener" } else { "ports" }),
        hint: news.hint,
        scan_id: Some(context.scan_id),
        ..SocketPart::default()
    };
    if !context.full {
        let first = SystemTime::UNIX_EPOCH + Duration::from_secs(holding.first_seen);
        part.first_seen = Some(Text(humantime::format_rfc3339_seconds(first)));
        part.age_s = i32::try_from(context.now.saturating_sub(holding.first_seen)).ok();
        let runs = context.run.saturating_sub(holding.first_run).saturating_add(1);
        // What is gone was not there in this run.
        part.seen_count = Some(if news.gone { runs.saturating_sub(1).max(1) } else { runs });
        part.baseline = Some(!news.gone && holding.baseline);
    }
    part.family = Some(match socket.protocol {
        Protocol::Packet => "packet",
        _ if socket.ipv6 => "ipv6",
        _ => "ipv4",
    });
    if socket.protocol == Protocol::Packet {
        part.interface = filled(news.interface);
        part.ethertype = Some(format!("0x{:04x}", socket.local.port()));
        return part;
    }
    part.state = (!news.gone).then(|| socket.state_name());
    part.local_ip = Some(local.as_str());
    if socket.protocol == Protocol::Raw {
        part.ip_protocol = Some(socket.local.port());
    } else {
        part.local_port = Some(socket.local.port());
    }
    if socket.remote.ip().is_unspecified() {
        part.bind_scope = Some(scope(socket.local.ip()));
    } else {
        part.remote_ip = Some(remote.as_str());
        part.remote_port = (socket.remote.port() != 0).then_some(socket.remote.port());
        part.remote_scope = Some(scope(socket.remote.ip()));
        part.new_remote = news.new_remote;
    }
    match news.direction {
        Some(Direction::Listen) => (part.dstip, part.dstport) = (part.local_ip, part.local_port),
        Some(direction) => {
            let (local, remote) = ((part.local_ip, part.local_port), (part.remote_ip, part.remote_port));
            let peer_first = direction == Direction::Inbound || context.geo_peer;
            let (from, to) = if peer_first { (remote, local) } else { (local, remote) };
            (part.srcip, part.srcport) = from;
            (part.dstip, part.dstport) = to;
        }
        None => {}
    }
    part
}

/// What is said of a process.
#[must_use]
pub fn process<'a>(process: &Process, detail: Option<&'a Detail>, new_exe: Option<bool>) -> ProcessPart<'a> {
    let mut part = ProcessPart {
        euid: small(process.euid),
        root_reason: Some(root_reason(process.reason)),
        ppid: Some(process.ppid),
        new_exe,
        ..ProcessPart::default()
    };
    let Some(detail) = detail else { return part };
    let brief = &detail.brief;
    part.ruid = detail.uids.and_then(|(real, _)| small(real));
    part.suid = detail.uids.and_then(|(_, saved)| small(saved));
    part.loginuid = detail.loginuid.map(Text);
    part.caps = detail.caps.as_deref().and_then(filled);
    part.exe = filled(&brief.exe);
    if !brief.exe.is_empty() {
        part.exe_deleted = Some(brief.deleted);
        part.exe_replaced = brief.deleted.then_some(detail.replaced);
        part.exe_location = Some(brief.location.name());
    }
    part.exe_mode = detail.mode.as_deref();
    part.exe_sha256 = detail.sha256.map(|hash| {
        hash.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    });
    part.cmdline = filled(&detail.command_line);
    part.parent_process = detail.parent.as_deref().and_then(filled);
    part.parent_exe = detail.parent_exe.as_deref();
    part.ancestry = filled(&detail.ancestry);
    part.tty = detail.tty.as_deref();
    part.start_time = detail.start_time.as_deref();
    part.container_id = brief.container.as_ref().and_then(|container| filled(&container.id));
    part.container_runtime = brief.container.as_ref().map(|container| container.runtime);
    part.unit = filled(&brief.unit);
    part.cgroup = filled(&brief.cgroup);
    part
}

/// What is still known of a process that may have ended.
#[must_use]
pub fn former(process: &KnownProcess) -> ProcessPart<'_> {
    ProcessPart { euid: small(process.euid), exe: filled(&process.exe), ..ProcessPart::default() }
}

/// Whose a socket may be that no process holds, by its ports.
#[must_use]
pub fn hint(socket: &Socket, unreadable: bool) -> &'static str {
    let (local, remote) = (socket.local.port(), socket.remote.port());
    match socket.protocol {
        Protocol::Tcp if [2049, 20048, 111].contains(&remote) || [2049, 20048].contains(&local) => "nfs",
        Protocol::Udp if [4789, 8472].contains(&local) => "vxlan",
        Protocol::Udp if local == 6081 => "geneve",
        Protocol::Udp if (51820..=51829).contains(&local) => "wireguard",
        _ if unreadable => "unreadable",
        _ => "unknown",
    }
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A number that Wazuh's decoder can keep.
fn small(number: u32) -> Option<u32> {
    i32::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests;
