//! TCP sockets of this network namespace, by sock_diag: who is connected to
//! the manager's port, and closing what a blocked address still has open.
//!
//! Layout of messages: `include/uapi/linux/inet_diag.h` (Linux 6.18).

use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::Instant;

use common::address::Target;
use common::netlink::{ACK, DUMP, Messages, Reply, Socket};
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
const ESTABLISHED: u32 = 1 << 1;
/// Established, SYN-RECV, FIN-WAIT-1 and 2, CLOSE-WAIT, LAST-ACK, CLOSING.
const CONNECTED: u32 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// `struct inet_diag_sockid` within a reply's `struct inet_diag_msg`.
const ID: std::ops::Range<usize> = 4..52;
/// Peers at one port that are looked at.
const MOST_PEERS: usize = 4096;

fn request(family: u8, states: u32, id: &[u8]) -> Vec<u8> {
    let mut request = vec![family, TCP, 0, 0];
    request.extend_from_slice(&states.to_ne_bytes());
    request.extend_from_slice(id);
    request.resize(56, 0);
    request
}

fn peer(reply: Reply<'_>) -> Option<Target> {
    let id = reply.payload.get(ID)?;
    let address = match reply.payload.first()? {
        &AF_INET => IpAddr::from(<[u8; 4]>::try_from(id.get(20..24)?).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(id.get(20..36)?).ok()?),
    };
    Some(Target::host(address))
}

/// The remote ends of established connections to these ports.
///
/// # Errors
/// When the kernel has no sock_diag, or the deadline has passed.
pub fn peers_at_ports(ports: &[u16], deadline: Instant) -> io::Result<Vec<Target>> {
    let mut peers = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut socket = Socket::open(SockProtocol::NetlinkSockDiag, deadline)?;
        let mut messages = Messages::new();
        messages.begin(BY_FAMILY, DUMP, &request(family, ESTABLISHED, &[])).finish();
        socket
            .talk_until(&mut messages, 1, &mut |reply| {
                let port =
                    reply.payload.get(6..8).and_then(|port| port.try_into().ok()).map(u16::from_be_bytes);
                if port.is_some_and(|port| ports.contains(&port)) {
                    peers.extend(peer(reply));
                }
                if peers.len() < MOST_PEERS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .or_else(changed_meanwhile)?;
    }
    peers.sort_unstable();
    peers.dedup();
    Ok(peers)
}

fn changed_meanwhile(refusal: common::netlink::Refusal) -> io::Result<()> {
    match refusal.error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        _ => Err(refusal.error),
    }
}

/// Closes the TCP connections whose other end is the target, those of
/// dual-stack servers included, and returns how many. What the budget leaves
/// is cut off by the block anyhow.
///
/// # Errors
/// When the kernel has no sock_diag or cannot destroy sockets.
pub fn close(target: Target, budget: Instant) -> io::Result<usize> {
    let families: &[u8] = if target.is_ipv6() { &[AF_INET6] } else { &[AF_INET, AF_INET6] };
    let mut closed = 0;
    for &family in families {
        let mut found = Vec::new();
        let mut socket = Socket::open(SockProtocol::NetlinkSockDiag, budget)?;
        let mut messages = Messages::new();
        messages.begin(BY_FAMILY, DUMP, &request(family, CONNECTED, &[]));
        messages.attribute(1, &peer_filter(target)).finish();
        socket
            .talk(&mut messages, 1, &mut |reply| {
                if peer(reply).is_some_and(|peer| target.contains(peer)) {
                    found.extend(reply.payload.get(ID).map(<[u8]>::to_vec));
                }
            })
            .or_else(changed_meanwhile)?;
        for id in found {
            if Instant::now() >= budget {
                return Ok(closed);
            }
            let mut messages = Messages::new();
            messages.begin(DESTROY, ACK, &request(family, CONNECTED, &id)).finish();
            match socket.talk(&mut messages, 1, &mut |_| {}) {
                Ok(()) => closed += 1,
                Err(refusal) if refusal.errno() == Errno::ENOENT => {} // closed meanwhile
                Err(refusal) => return Err(refusal.error),
            }
        }
    }
    Ok(closed)
}

/// The kernel's own filter, so that only sockets of that peer are handed out:
/// one condition, then acceptance at the end, rejection beyond it.
fn peer_filter(target: Target) -> Vec<u8> {
    const DESTINATION: u8 = 8;
    const OPERATION: u8 = 4;
    const CONDITION: u8 = 8;
    let (family, address) = match target.address() {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    };
    let length = OPERATION + CONDITION + if family == AF_INET { 4 } else { 16 };
    let mut filter = vec![DESTINATION, length];
    filter.extend_from_slice(&u16::from(length + OPERATION).to_ne_bytes());
    filter.extend_from_slice(&[family, target.prefix_len(), 0, 0]);
    filter.extend_from_slice(&(-1_i32).to_ne_bytes()); // any port
    filter.extend_from_slice(&address);
    filter
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    fn connected(listen: &str, connect: &str) -> (TcpStream, TcpStream, u16) {
        let server = TcpListener::bind(listen).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = TcpStream::connect((connect, port)).unwrap();
        (server.accept().unwrap().0, client, port)
    }

    /// A dual-stack server's IPv4 client is v4-mapped there.
    const PAIRS: [(&str, &str); 3] =
        [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::1]:0", "::1")];

    #[test]
    fn connections_to_a_port_are_found() {
        let soon = Instant::now() + Duration::from_secs(10);
        for (listen, connect) in PAIRS {
            let (_accepted, _client, port) = connected(listen, connect);
            assert_eq!(peers_at_ports(&[port], soon).unwrap(), [connect.parse().unwrap()], "{listen}");
        }
    }

    /// In a network namespace of its own: on this host's loopback it would
    /// close the connections of everybody.
    #[test]
    fn connections_of_a_peer_are_closed() {
        let alone = std::thread::spawn(|| {
            if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
                assert!(std::env::var_os("REQUIRE_ALL").is_none(), "no network namespace: {error}");
                return;
            }
            let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.unwrap().success());
            let soon = Instant::now() + Duration::from_secs(10);
            for (listen, connect) in PAIRS {
                let (mut accepted, mut client, _) = connected(listen, connect);
                // The end that is closed resets the other one.
                assert!(close(connect.parse().unwrap(), soon).unwrap() >= 1, "{listen}");
                for end in [&mut accepted, &mut client] {
                    end.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    let error = end.read(&mut [0]).unwrap_err();
                    assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "{listen}: still open");
                }
            }
        });
        alone.join().unwrap();
    }
}
