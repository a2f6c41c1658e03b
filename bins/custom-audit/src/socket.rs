//! A socket, as the kernel describes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::address::{self, Target};
use serde::{Deserialize, Serialize};

/// What is spoken over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// Several TCP connections as one.
    Mptcp,
    /// UDP.
    Udp,
    /// UDP with part of a checksum.
    UdpLite,
    /// Any protocol of IP by its number.
    Raw,
    /// Frames of an interface.
    Packet,
}

impl Protocol {
    /// As it is written in a record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Mptcp => "mptcp",
            Protocol::Udp => "udp",
            Protocol::UdpLite => "udplite",
            Protocol::Raw => "raw",
            Protocol::Packet => "packet",
        }
    }
}

impl Protocol {
    /// True of TCP and of what is made of it: they share their ports.
    #[must_use]
    pub fn is_tcp(self) -> bool {
        matches!(self, Protocol::Tcp | Protocol::Mptcp)
    }

    /// The protocol whose ports it uses.
    #[must_use]
    pub fn ports(self) -> Protocol {
        if self.is_tcp() { Protocol::Tcp } else { self }
    }
}

/// The states of TCP (`include/net/tcp_states.h`), which UDP borrows.
pub const ESTABLISHED: u8 = 1;
/// Waits for the other side's answer.
pub const SYN_SENT: u8 = 2;
/// Unconnected UDP; TCP that is closed.
pub const CLOSE: u8 = 7;
/// Takes connections.
pub const LISTEN: u8 = 10;

/// A socket of one network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// What is spoken over it.
    pub protocol: Protocol,
    /// True of `AF_INET6`, also when it carries IPv4.
    pub ipv6: bool,
    /// The state of TCP, and [`ESTABLISHED`] or [`CLOSE`] of the others.
    pub state: u8,
    /// Our end; IPv4-mapped is IPv4. The port of a raw socket is its IP
    /// protocol, of a packet socket its ethertype.
    pub local: SocketAddr,
    /// The other end, unspecified where there is none.
    pub remote: SocketAddr,
    /// Of a packet socket: the interface it is bound to, 0 for all.
    pub interface: u32,
    /// Who made it, by the kernel.
    pub uid: u32,
    /// Of its file: what links a descriptor to it. 0 when it has none.
    pub inode: u64,
    /// Never used twice until a reboot; 0 where the kernel does not say.
    pub cookie: u64,
    /// The network namespace's inode; 0 when it could not be found out.
    pub netns: u64,
}

/// Where a socket is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The network namespace.
    pub netns: u64,
    /// Whose ports they are.
    pub protocol: Protocol,
    /// The address and port.
    pub local: SocketAddr,
}

/// What becomes of a socket in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Has another end.
    Connection,
    /// Takes from anybody: TCP that listens, UDP without a peer.
    Listener,
    /// Sees and makes IP packets.
    Raw,
    /// Sees and makes frames.
    Packet,
}

/// Where a connection came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The other end began it.
    Inbound,
    /// We began it.
    Outbound,
    /// None yet.
    Listen,
}

impl Direction {
    /// As it is written in a record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
            Direction::Listen => "listen",
        }
    }
}

impl Socket {
    /// Where it is bound.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { netns: self.netns, protocol: self.protocol.ports(), local: self.local }
    }

    /// What becomes of it in a record; `None` of one that is not in use yet.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self.protocol {
            Protocol::Raw => Some(Kind::Raw),
            Protocol::Packet => Some(Kind::Packet),
            _ if self.protocol.is_tcp() && self.state == LISTEN => Some(Kind::Listener),
            _ if self.remote.port() != 0 => Some(Kind::Connection),
            Protocol::Udp | Protocol::UdpLite if self.local.port() != 0 => Some(Kind::Listener),
            _ => None,
        }
    }

    /// True when it is the same socket with the same ends. A connected UDP
    /// socket may be given another peer, and is news then.
    #[must_use]
    pub fn is_same(&self, other: &Socket) -> bool {
        self.inode == other.inode
            && (self.cookie == other.cookie || self.cookie == 0 || other.cookie == 0)
            && self.protocol.ports() == other.protocol.ports()
            && self.remote == other.remote
            // A socket that is bound first has no local address before it connects.
            && self.local.port() == other.local.port()
            && self.kind() == other.kind()
    }

    /// The state's name: of `ss`, in snake case.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match (self.protocol.ports(), self.state) {
            (_, ESTABLISHED) => "established",
            (Protocol::Tcp, SYN_SENT) => "syn_sent",
            (Protocol::Tcp, 3 | 12) => "syn_recv",
            (Protocol::Tcp, 4) => "fin_wait_1",
            (Protocol::Tcp, 5) => "fin_wait_2",
            (Protocol::Tcp, 6) => "time_wait",
            (Protocol::Tcp, 8) => "close_wait",
            (Protocol::Tcp, 9) => "last_ack",
            (Protocol::Tcp, LISTEN) => "listen",
            (Protocol::Tcp, 11) => "closing",
            (Protocol::Tcp, _) => "closed",
            _ => "unconnected",
        }
    }
}

/// An address without what IPv6 dressed it in.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// No address: of the other end that is not there.
#[must_use]
pub fn nowhere() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
}

/// An address and port as people read them, `*` for no port.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint(pub SocketAddr);

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.ip(), self.0.port()) {
            (IpAddr::V4(ip), 0) => write!(f, "{ip}:*"),
            (IpAddr::V6(ip), 0) => write!(f, "[{ip}]:*"),
            (IpAddr::V4(ip), port) => write!(f, "{ip}:{port}"),
            (IpAddr::V6(ip), port) => write!(f, "[{ip}]:{port}"),
        }
    }
}

/// The kind of place that an address is; `any` of an unspecified one.
#[must_use]
pub fn scope(address: IpAddr) -> &'static str {
    match Target::host(address).scope() {
        _ if address.is_unspecified() => "any",
        address::Scope::Loopback => "loopback",
        address::Scope::LinkLocal => "linklocal",
        address::Scope::Multicast => "multicast",
        address::Scope::Broadcast => "broadcast",
        address::Scope::Private => "private",
        address::Scope::CarrierGrade => "cgnat",
        address::Scope::Documentation => "documentation",
        // 0.0.0.0/8 is this network (RFC 791): nothing outside it.
        address::Scope::Unspecified => "private",
        address::Scope::Public => "public",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_written_as_people_read_them() {
        for (address, text) in [
            ("10.0.0.5:22", "10.0.0.5:22"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("0.0.0.0:0", "0.0.0.0:*"),
            ("[::]:0", "[::]:*"),
        ] {
            assert_eq!(Endpoint(address.parse().unwrap()).to_string(), text);
        }
        let mapped = canonical("[::ffff:192.0.2.1]:80".parse().unwrap());
        assert_eq!(Endpoint(mapped).to_string(), "192.0.2.1:80");
    }

    #[test]
    fn every_address_has_a_scope() {
        for (address, expected) in [
            ("0.0.0.0", "any"),
            ("::", "any"),
            ("0.1.2.3", "private"),
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("10.1.2.3", "private"),
            ("fd00::1", "private"),
            ("169.254.1.1", "linklocal"),
            ("fe80::1", "linklocal"),
            ("100.64.0.1", "cgnat"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("203.0.113.9", "documentation"),
            ("8.8.8.8", "public"),
            ("2606:4700::1111", "public"),
        ] {
            assert_eq!(scope(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_udp_socket_with_another_peer_is_another_connection() {
        let socket = Socket {
            protocol: Protocol::Udp,
            ipv6: false,
            state: ESTABLISHED,
            local: "10.0.0.1:5000".parse().unwrap(),
            remote: "10.0.0.2:53".parse().unwrap(),
            interface: 0,
            uid: 0,
            inode: 7,
            cookie: 9,
            netns: 1,
        };
        assert_eq!(socket.kind(), Some(Kind::Connection));
        let other = Socket { remote: "10.0.0.3:53".parse().unwrap(), ..socket.clone() };
        assert!(!socket.is_same(&other));
        let reused = Socket { cookie: 10, ..socket.clone() };
        assert!(!socket.is_same(&reused));
        let unconnected = Socket { remote: nowhere(), state: CLOSE, ..socket.clone() };
        assert_eq!(unconnected.kind(), Some(Kind::Listener));
        let unbound = Socket { local: nowhere(), ..unconnected };
        assert_eq!(unbound.kind(), None);
    }
}
