//! A finding becomes an event (pure, but for the names of users and interfaces).

use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::change::{Gone, Present};
use crate::config::ProcessKey;
use crate::detail::exe::Location;
use crate::detail::{Brief, Detail, root_reason};
use crate::event::{Body, Head, SocketEvent};
use crate::host::Names;
use crate::known::{Holding, Unheld};
use crate::look::descriptor::{Held, Process};
use crate::order::Class;
use crate::socket::{Direction, Endpoint, Kind, Protocol, Socket, scope};

/// Descriptors and pids that are listed in one event.
const MOST_LISTED: usize = 16;

/// What all events of one run have in common.
#[derive(Debug)]
pub struct Context<'a> {
    /// Now, as it is written.
    pub timestamp: &'a str,
    /// Seconds since 1970.
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
    /// Ours.
    pub own_netns: u64,
}

/// What is said of a socket beside the socket itself.
#[derive(Debug, Default)]
pub struct News<'a> {
    /// Where it came from.
    pub direction: Option<Direction>,
    /// A remote address that this executable never talked to.
    pub new_remote: Option<bool>,
    /// An executable that was never seen.
    pub new_exe: Option<bool>,
    /// The processes of root that hold it, the interface's name.
    pub holders: &'a str,
    /// How many they are.
    pub holder_count: u32,
    /// Of a packet socket.
    pub interface: &'a str,
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

/// A socket that is there.
#[must_use]
pub fn present<'a>(
    context: &Context<'a>,
    present: &Present<'_>,
    process: &Process,
    detail: Option<&'a Detail>,
    news: &News<'a>,
    names: &mut Names,
) -> SocketEvent<'a> {
    let event = present_event(present.socket.kind(), context.full);
    let head = Head::new(context.timestamp, event, &process.name, context.process_key);
    let mut body = of_socket(context, present.socket, news);
    body.fd = present.fds.first().map(|held| held.fd);
    body.fds = Some(list(present.fds.iter().map(|held| i64::from(held.fd))));
    body.stdio_socket = Some(is_stdio(present.fds));
    body.holders = Some(news.holder_count);
    body.holder_pids = filled(news.holders);
    body.euid = small(process.euid);
    body.socket_uid_mismatch = Some(is_mismatch(present.socket, process.euid));
    body.root_reason = Some(root_reason(process.reason));
    body.ppid = Some(process.ppid);
    body.new_exe = news.new_exe;
    if let Some(detail) = detail {
        of_process(&mut body, detail);
    }
    remember(&mut body, context, &present.holding);
    let head = head.of(process.pid, &names.user(process.euid));
    SocketEvent { head: ends(head, present.socket, news), body }
}

/// A socket that no process holds, of those that could be looked into.
#[must_use]
pub fn unheld<'a>(
    context: &Context<'a>,
    unheld: &Unheld,
    unreadable: bool,
    news: &News<'a>,
) -> SocketEvent<'a> {
    let head = Head::new(context.timestamp, "unattributed", "none", context.process_key);
    let mut body = of_socket(context, &unheld.socket, news);
    body.hint = Some(match hint(&unheld.socket) {
        "unknown" if unreadable => "unreadable",
        hint => hint,
    });
    remember(&mut body, context, &unheld.holding);
    SocketEvent { head: ends(head, &unheld.socket, news), body }
}

/// A socket that is gone.
#[must_use]
pub fn gone<'a>(
    context: &Context<'a>,
    gone: &Gone<'a>,
    news: &News<'a>,
    names: &mut Names,
) -> SocketEvent<'a> {
    let listener = gone.socket.kind() == Some(Kind::Listener);
    let event = if listener { "listen_closed" } else { "conn_closed" };
    let head = Head::new(context.timestamp, event, &gone.process.name, context.process_key);
    let mut body = of_socket(context, gone.socket, news);
    body.state = None;
    body.euid = small(gone.process.euid);
    body.exe = filled(&gone.process.exe);
    remember(&mut body, context, &gone.holding);
    // It was not there in this run.
    body.seen_count = body.seen_count.map(|count| count.saturating_sub(1).max(1));
    let head = head.of(gone.process.pid, &names.user(gone.process.euid));
    SocketEvent { head: ends(head, gone.socket, news), body }
}

fn ends<'a>(head: Head<'a>, socket: &Socket, news: &News<'a>) -> Head<'a> {
    match socket.protocol {
        Protocol::Packet => head.between(news.interface.to_owned(), "*".to_owned()),
        // The port of a raw socket is a protocol's number.
        Protocol::Raw => {
            let bare = |address: std::net::SocketAddr| {
                Endpoint(std::net::SocketAddr::new(address.ip(), 0)).to_string()
            };
            head.between(bare(socket.local), bare(socket.remote))
        }
        _ => head.between(Endpoint(socket.local).to_string(), Endpoint(other_end(socket)).to_string()),
    }
}

/// The other end; where there is none, none of the socket's own family.
fn other_end(socket: &Socket) -> std::net::SocketAddr {
    if socket.remote.port() == 0 && socket.remote.ip().is_unspecified() && socket.local.is_ipv6() {
        return std::net::SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 0);
    }
    socket.remote
}

fn of_socket<'a>(context: &Context<'a>, socket: &Socket, news: &News<'a>) -> Body<'a> {
    let mut body = Body {
        protocol: Some(socket.protocol.name()),
        inode: Some(socket.inode.to_string()),
        cookie: (socket.cookie != 0).then(|| socket.cookie.to_string()),
        socket_uid: small(socket.uid),
        netns: (socket.netns != 0).then(|| socket.netns.to_string()),
        netns_host: (socket.netns != 0).then_some(socket.netns == context.host_netns),
        direction: news.direction.map(Direction::name),
        scan_id: Some(context.scan_id),
        ..Body::default()
    };
    body.family = Some(match socket.protocol {
        Protocol::Packet => "packet",
        _ if socket.ipv6 => "ipv6",
        _ => "ipv4",
    });
    if socket.protocol == Protocol::Packet {
        body.interface = filled(news.interface);
        body.ethertype = Some(format!("0x{:04x}", socket.local.port()));
        return body;
    }
    body.state = Some(socket.state_name());
    body.local_ip = Some(socket.local.ip().to_string());
    if socket.protocol == Protocol::Raw {
        body.ip_protocol = Some(socket.local.port());
    } else {
        body.local_port = Some(socket.local.port());
    }
    let connected = !socket.remote.ip().is_unspecified();
    if connected {
        body.remote_ip = Some(socket.remote.ip().to_string());
        body.remote_port = (socket.remote.port() != 0).then_some(socket.remote.port());
        body.remote_scope = Some(scope(socket.remote.ip()));
        body.new_remote = news.new_remote;
    } else {
        body.bind_scope = Some(scope(socket.local.ip()));
    }
    match news.direction {
        Some(Direction::Listen) => {
            (body.dstip, body.dstport) = (body.local_ip.clone(), body.local_port);
        }
        Some(direction) => {
            let (local, remote) =
                ((body.local_ip.clone(), body.local_port), (body.remote_ip.clone(), body.remote_port));
            let peer_first = direction == Direction::Inbound || context.geo_peer;
            let (from, to) = if peer_first { (remote, local) } else { (local, remote) };
            (body.srcip, body.srcport) = from;
            (body.dstip, body.dstport) = to;
        }
        None => {}
    }
    body
}

fn of_process<'a>(body: &mut Body<'a>, detail: &'a Detail) {
    let brief = &detail.brief;
    body.ruid = detail.uids.and_then(|(real, _)| small(real));
    body.suid = detail.uids.and_then(|(_, saved)| small(saved));
    body.loginuid = detail.loginuid.map(|uid| uid.to_string());
    body.caps = detail.caps.as_deref().and_then(filled);
    body.exe = filled(&brief.exe);
    if !brief.exe.is_empty() {
        body.exe_deleted = Some(brief.deleted);
        body.exe_replaced = brief.deleted.then_some(detail.replaced);
        body.exe_location = Some(brief.location.name());
    }
    body.exe_mode = detail.mode.as_deref();
    body.exe_sha256 = detail.sha256.map(|hash| {
        hash.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    });
    body.cmdline = filled(&detail.command_line);
    body.parent_process = detail.parent.as_deref().and_then(filled);
    body.parent_exe = detail.parent_exe.as_deref();
    body.ancestry = filled(&detail.ancestry);
    body.tty = detail.tty.as_deref();
    body.start_time = detail.start_time.as_deref();
    body.container_id = brief.container.as_ref().and_then(|container| filled(&container.id));
    body.container_runtime = brief.container.as_ref().map(|container| container.runtime);
    body.unit = filled(&brief.unit);
    body.cgroup = filled(&brief.cgroup);
}

fn remember(body: &mut Body<'_>, context: &Context<'_>, holding: &Holding) {
    if context.full {
        return;
    }
    let first = SystemTime::UNIX_EPOCH + Duration::from_secs(holding.first_seen);
    body.first_seen = Some(humantime::format_rfc3339_seconds(first).to_string());
    body.age_s = Some(i32::try_from(context.now.saturating_sub(holding.first_seen)).unwrap_or(i32::MAX));
    body.seen_count = Some(context.run.saturating_sub(holding.first_run).saturating_add(1));
    body.baseline = Some(context.baseline);
}

/// Whose a socket may be that no process holds, by its ports.
fn hint(socket: &Socket) -> &'static str {
    let (local, remote) = (socket.local.port(), socket.remote.port());
    match socket.protocol {
        Protocol::Tcp if [2049, 20048, 111].contains(&remote) || [2049, 20048].contains(&local) => "nfs",
        Protocol::Udp if [4789, 8472].contains(&local) => "vxlan",
        Protocol::Udp if local == 6081 => "geneve",
        Protocol::Udp if (51820..=51829).contains(&local) => "wireguard",
        _ => "unknown",
    }
}

/// Numbers, separated by commas; more than some are cut.
#[must_use]
pub fn list(numbers: impl Iterator<Item = i64>) -> String {
    let mut text = String::new();
    for (at, number) in numbers.enumerate() {
        if at == MOST_LISTED {
            text.push_str(",…");
            break;
        }
        let _ = write!(text, "{}{number}", if at == 0 { "" } else { "," });
    }
    text
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A number that Wazuh's decoder can keep.
fn small(number: u32) -> Option<u32> {
    i32::try_from(number).is_ok().then_some(number)
}
