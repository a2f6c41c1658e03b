//! Facts of this host: what must stay reachable, and what is known of a target.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use common::address::Target;
use common::config::read_trusted;
use common::netlink::{Attributes, DUMP, Messages, Reply, Socket};
use common::wazuh::config::OssecConf;
use common::wazuh::paths::Installation;
use nix::fcntl::OFlag;
use nix::sys::socket::SockProtocol;

use crate::config::{Allowed, Settings, parse_allowed};
use crate::decide::Protected;
use crate::names::Names;
use crate::sockets;
use crate::state::State;
use crate::state::cache::{self, Stamp};

/// The file that names this host's DNS servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The servers behind systemd-resolved's stub.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// Where logind keeps its sessions.
const SESSIONS: &str = "/run/systemd/sessions";
/// Default routes come first in each table; on a router with the whole
/// internet's the rest is not read.
const MOST_ROUTES: usize = 16 * 1024;
/// More of these text files is not read.
const LARGEST_TEXT: u64 = 256 * 1024;
/// The largest ossec.conf or ar.conf that is read.
const LARGEST_CONF: u64 = 4 * 1024 * 1024;

/// Under this name the meaning of ossec.conf is kept.
const CACHE: &str = "ossec.json";

/// What Wazuh is configured to do on this host.
#[derive(Debug, Default)]
pub struct WazuhConf {
    /// Of ossec.conf.
    pub ossec: OssecConf,
    /// The text of ar.conf.
    pub ar_conf: String,
}

impl WazuhConf {
    /// Reads both files; one that is absent or unreadable says nothing.
    #[must_use]
    pub fn read(installation: &Installation, state: &State) -> WazuhConf {
        let path = installation.ossec_conf();
        let ossec = std::fs::metadata(&path).ok().map(|metadata| {
            let stamp = Stamp::of(&metadata);
            cache::get(state, CACHE, &stamp).unwrap_or_else(|| {
                let conf = OssecConf::parse(&text_of(&path, LARGEST_CONF));
                cache::put(state, CACHE, &stamp, &conf);
                conf
            })
        });
        WazuhConf {
            ossec: ossec.unwrap_or_default(),
            ar_conf: text_of(&installation.ar_conf(), LARGEST_CONF),
        }
    }

    /// The largest time after which Wazuh may undo what this executable did,
    /// in seconds, repeated offenders included.
    #[must_use]
    pub fn largest_timeout(&self, executable: &str) -> Option<u64> {
        let listed = common::wazuh::config::largest_timeout(&self.ar_conf, executable)?;
        // Repeated offenders apply to commands with a timeout only.
        let repeated = if listed > 0 { self.ossec.repeated_offenders.iter().copied().max() } else { None };
        Some(listed.max(repeated.unwrap_or(0)))
    }
}

/// The text of a regular file; empty of anything else. The user `wazuh` may
/// replace some of these files: a named pipe must not make us wait.
fn text_of(path: &Path, most: u64) -> String {
    let mut bytes = Vec::with_capacity(8192);
    let opened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let regular = opened.and_then(|file| {
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    });
    if regular.and_then(|file| file.take(most).read_to_end(&mut bytes)).is_err() {
        return String::new();
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Everything that must stay reachable. What cannot be read is left out and
/// named in `faults`.
#[must_use]
pub fn protected(
    settings: &Settings,
    wazuh: &WazuhConf,
    state: &State,
    families: Families,
    deadline: Instant,
    faults: &mut Vec<String>,
) -> Vec<Protected> {
    let mut all = Vec::with_capacity(16);
    if let Err(error) = interfaces_and_routes(families, deadline, &mut all) {
        faults.push(format!("own interfaces: {error}"));
    }
    all.extend(dns_servers().into_iter().map(|target| Protected { target, what: "DNS server" }));

    let mut names: Option<Names> = None;
    let mut unresolved = false;
    for peer in &wazuh.ossec.peers {
        if let Ok(target) = peer.parse() {
            all.push(Protected { target, what: "Wazuh manager" });
            continue;
        }
        let known = names.get_or_insert_with(|| Names::read(state)).of(peer);
        unresolved |= known.is_empty();
        all.extend(known.iter().map(|&target| Protected { target, what: "Wazuh manager" }));
    }
    if unresolved {
        match sockets::peers_at_ports(&wazuh.ossec.ports, deadline) {
            Ok(peers) => {
                all.extend(peers.into_iter().map(|target| Protected { target, what: "Wazuh manager" }))
            }
            Err(error) => faults.push(format!("peers at the manager's port: {error}")),
        }
    }

    for allowed in allowlist(settings, faults) {
        match allowed {
            Allowed::Target(target) => all.push(Protected { target, what: "allowlist" }),
            Allowed::Name(name) => {
                let known = names.get_or_insert_with(|| Names::read(state)).of(&name);
                all.extend(known.iter().map(|&target| Protected { target, what: "allowlist" }));
            }
        }
    }
    if settings.protect_sessions {
        all.extend(sessions().into_iter().map(|target| Protected { target, what: "logged-in session" }));
    }
    all
}

/// The allowlist: of the configuration, then of its files.
#[must_use]
pub fn allowlist(settings: &Settings, faults: &mut Vec<String>) -> Vec<Allowed> {
    let mut all = settings.allowlist.clone();
    for path in &settings.allowlist_files {
        match read_trusted(path) {
            Ok(Some(text)) => {
                for (number, line) in text.lines().enumerate() {
                    let line = line.split('#').next().unwrap_or_default().trim();
                    match parse_allowed(line) {
                        Some(allowed) => all.push(allowed),
                        None if line.is_empty() => {}
                        None => {
                            faults.push(format!("{}:{}: no IP, network or name", path.display(), number + 1))
                        }
                    }
                }
            }
            Ok(None) => faults.push(format!("{}: there is no such file", path.display())),
            Err(error) => faults.push(error.to_string()),
        }
    }
    all
}

/// Whose addresses and routes are asked for. An IPv4 route may lead to an
/// IPv6 gateway, never the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4 only: all that an IPv4 target can overlap.
    Ipv4,
    /// Both.
    All,
}

/// The addresses of all interfaces of this network namespace, and its
/// default gateways.
fn interfaces_and_routes(families: Families, deadline: Instant, all: &mut Vec<Protected>) -> io::Result<()> {
    const GET_ROUTE: u16 = 26;
    const HEADER: usize = 12;
    /// The type of a route that leads to this host itself: it stands in the
    /// table `local` for each own address.
    const LOCAL: u8 = 2;
    /// The broadcast address of a network that this host is in.
    const BROADCAST: u8 = 3;
    let mut socket = Socket::open(SockProtocol::NetlinkRoute, deadline)?;
    let families: &[u8] = match families {
        Families::Ipv4 => &[2],
        Families::All => &[2, 10],
    };
    for &family in families {
        let mut header = [0; HEADER];
        header[0] = family;
        let mut messages = Messages::new();
        messages.begin(GET_ROUTE, DUMP, &header).finish();
        let mut seen = 0;
        let told = socket.talk_until(&mut messages, 1, &mut |reply| {
            default_gateways(reply, HEADER, &mut |target| {
                all.push(Protected { target, what: "default gateway" });
            });
            let what = match reply.payload.get(7) {
                Some(&LOCAL) => Some("own IP"),
                Some(&BROADCAST) => Some("broadcast IP"),
                _ => None,
            };
            let network = reply.attributes(HEADER).get(1).and_then(address).zip(reply.payload.get(1));
            if let (Some(what), Some((target, &bits))) = (what, network) {
                all.push(Protected { target: target.widened(bits), what });
            }
            seen += 1;
            if seen < MOST_ROUTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match told {
            // Routes come and go; all that is told of is protected.
            Err(refusal) if !refusal.is_interrupted() => return Err(refusal.error),
            _ => {}
        }
        if seen >= MOST_ROUTES {
            socket = Socket::open(SockProtocol::NetlinkRoute, deadline)?;
            own_addresses(&mut socket, family, all)?;
        }
    }
    Ok(())
}

/// The addresses of all interfaces, where there are too many routes to find
/// them among those.
fn own_addresses(socket: &mut Socket, family: u8, all: &mut Vec<Protected>) -> io::Result<()> {
    const GET_ADDRESS: u16 = 22;
    const HEADER: usize = 8;
    let mut messages = Messages::new();
    messages.begin(GET_ADDRESS, DUMP, &[family, 0, 0, 0, 0, 0, 0, 0]).finish();
    socket.talk(&mut messages, 1, &mut |reply| {
        let attributes = reply.attributes(HEADER);
        // IFA_LOCAL is ours where IFA_ADDRESS is the other end of a tunnel.
        if let Some(target) = attributes.get(2).or(attributes.get(1)).and_then(address) {
            all.push(Protected { target, what: "own IP" });
        }
    })?;
    Ok(())
}

fn default_gateways(route: Reply<'_>, header: usize, each: &mut dyn FnMut(Target)) {
    let destination_bits = route.payload.get(1).copied().unwrap_or(1);
    if destination_bits != 0 {
        return;
    }
    let attributes = route.attributes(header);
    let mut gateway = |attributes: Attributes<'_>| {
        // RTA_GATEWAY, or RTA_VIA: a gateway of the other family behind its number.
        let direct = attributes.get(5).and_then(address);
        let via = attributes.get(18).and_then(|via| address(via.get(2..)?));
        direct.into_iter().chain(via).for_each(&mut *each);
    };
    gateway(attributes);
    // RTA_MULTIPATH: next hops, each with its length, 6 more bytes and attributes.
    let mut hops = attributes.get(9).unwrap_or_default();
    while let Some(length) = hops.get(0..2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes) {
        let length = usize::from(length);
        let Some(hop) = hops.get(8..length) else { return };
        gateway(Attributes(hop));
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn address(bytes: &[u8]) -> Option<Target> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(Target::host(address))
}

fn dns_servers() -> Vec<Target> {
    let servers = name_servers(&text_of(Path::new(RESOLV_CONF), LARGEST_TEXT));
    let stub = servers.iter().any(|server| server.to_string().starts_with("127.0.0.5"));
    if !stub {
        return servers;
    }
    let mut all = servers;
    all.extend(name_servers(&text_of(Path::new(BEHIND_STUB), LARGEST_TEXT)));
    all
}

fn name_servers(resolv_conf: &str) -> Vec<Target> {
    resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then(|| words.next())?
        })
        // A link-local server carries its zone.
        .filter_map(|server| server.split('%').next()?.parse().ok())
        .collect()
}

/// The remote hosts of the sessions that logind knows.
#[must_use]
pub fn sessions() -> Vec<Target> {
    let Ok(folder) = std::fs::read_dir(SESSIONS) else { return Vec::new() };
    folder
        .take(4096)
        .filter_map(|file| Some(text_of(&file.ok()?.path(), 4096)))
        .filter_map(|session| {
            let host = session.lines().find_map(|line| line.strip_prefix("REMOTE_HOST="))?;
            host.parse().ok()
        })
        .collect()
}

/// The other end of the SSH connection that an administrator works over. sudo
/// takes the variable from us, but not from the shell that we were called from.
#[must_use]
pub fn ssh_client() -> Option<Target> {
    let client = |connection: &str| connection.split(' ').next()?.parse().ok();
    if let Ok(connection) = std::env::var("SSH_CONNECTION") {
        return client(&connection);
    }
    let mut process = nix::unistd::getppid().as_raw();
    for _ in 0..MOST_PARENTS {
        if process <= 1 {
            return None;
        }
        let environment = text_of(Path::new(&format!("/proc/{process}/environ")), LARGEST_TEXT);
        let connection =
            environment.split('\0').find_map(|variable| variable.strip_prefix("SSH_CONNECTION="));
        if let Some(client) = connection.and_then(client) {
            return Some(client);
        }
        let status = text_of(Path::new(&format!("/proc/{process}/status")), 8192);
        process = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())?;
    }
    None
}

/// Processes between us and the shell of an SSH session that are looked at.
const MOST_PARENTS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_resolver_reads_them() {
        let servers = name_servers(
            "# nameserver 192.0.2.9\nnameserver 192.0.2.1 # first\n\tnameserver\t2001:db8::1\n\
             nameserver fe80::1%eth0\nnameserver\nnameserver bogus\noptions edns0\n",
        );
        let texts: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.0.2.1", "2001:db8::1", "fe80::1"]);
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_says_nothing_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("ossec.conf");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(text_of(&pipe, 100), "");
        // Also when somebody holds its other end open.
        let _writer = File::options().read(true).write(true).open(&pipe).unwrap();
        assert_eq!(text_of(&pipe, 100), "");
    }

    #[test]
    fn gateways_are_found_in_every_form_of_a_default_route() {
        let mut payload = vec![0; 12];
        payload.extend([8, 0, 5, 0, 192, 0, 2, 1]); // RTA_GATEWAY
        payload.extend([10, 0, 18, 0, 2, 0, 192, 0, 2, 2, 0, 0]); // RTA_VIA
        payload.extend([20, 0, 9, 0, 16, 0, 0, 0, 1, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 3]); // RTA_MULTIPATH
        let mut found = Vec::new();
        default_gateways(Reply { kind: 24, payload: &payload }, 12, &mut |target| {
            found.push(target.to_string())
        });
        assert_eq!(found, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        payload[1] = 24;
        default_gateways(Reply { kind: 24, payload: &payload }, 12, &mut |_| panic!("not a default route"));
    }
}
