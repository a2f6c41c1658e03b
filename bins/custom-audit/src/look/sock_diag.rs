//! The sockets of a network namespace, asked of the kernel by sock_diag.
//!
//! Layout of messages: `include/uapi/linux/inet_diag.h` (Linux 6.18).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use common::netlink::{self, ACK, Attributes, DUMP, Messages, Refusal};
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use crate::socket::{CLOSE, ESTABLISHED, LISTEN, Protocol, Socket, canonical, nowhere};

const BY_FAMILY: u16 = 20;
/// The older question, for TCP only, which is answered for both families in
/// one walk over the table (`inet_diag_dump_compat` in Linux).
const TCP_OF_ALL_FAMILIES: u16 = 18;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// `struct inet_diag_req_v2`, in bytes.
const REQUEST: usize = 56;
/// The bit of `INET_DIAG_INFO`, which brings `INET_DIAG_ULP_INFO`, too.
const INFO: u8 = 1 << 1;
/// `INET_DIAG_ULP_INFO`: what is spoken over TCP, as far as the kernel knows.
const ULP_INFO: u16 = 19;
/// `INET_ULP_INFO_NAME` in it.
const ULP_NAME: u16 = 1;
/// `struct inet_diag_req`, in bytes.
const OLDER_REQUEST: usize = 60;
/// Where it has its states.
const OLDER_STATES: usize = 52;
/// `struct inet_diag_msg`, in bytes.
const MESSAGE: usize = 72;

/// Which sockets are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// TCP that listens: a table of its own, and a small one.
    Listening,
    /// All other TCP that a process can hold.
    Connected,
    /// UDP.
    Udp,
}

impl Part {
    /// What is quickly told.
    pub const SMALL: [Part; 2] = [Part::Listening, Part::Udp];
    /// Everything.
    pub const ALL: [Part; 3] = [Part::Listening, Part::Udp, Part::Connected];

    fn protocol(self) -> u8 {
        if self == Part::Udp { UDP } else { TCP }
    }

    /// One bit for each state. What is left out has no process any more
    /// (TIME-WAIT), or not yet (a request to connect).
    fn states(self) -> u32 {
        match self {
            Part::Listening => 1 << LISTEN,
            // ESTABLISHED, SYN-SENT, SYN-RECV, FIN-WAIT-1 and 2, CLOSE,
            // CLOSE-WAIT, LAST-ACK, CLOSING.
            Part::Connected => {
                1 << ESTABLISHED | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << CLOSE | 1 << 8 | 1 << 9 | 1 << 11
            }
            Part::Udp => u32::MAX,
        }
    }
}

/// One socket as the kernel sent it. Of most of them only who made it and its
/// number are of interest.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    message: &'a [u8; MESSAGE],
    attributes: Attributes<'a>,
    part: Part,
    netns: u64,
}

impl<'a> Entry<'a> {
    fn new(message: &'a [u8], part: Part, netns: u64) -> Option<Entry<'a>> {
        let (message, rest) = message.split_first_chunk()?;
        Some(Entry { message, attributes: Attributes(rest), part, netns })
    }

    fn word(&self, at: usize) -> u32 {
        self.message[at..at + 4].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    /// The inode of its file.
    #[must_use]
    pub fn inode(&self) -> u64 {
        u64::from(self.word(68))
    }

    /// Its cookie.
    #[must_use]
    pub fn cookie(&self) -> u64 {
        u64::from(self.word(44)) | u64::from(self.word(48)) << 32
    }

    /// Who made it.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.word(64)
    }

    /// True of one that nobody else can be the other end of: what listens.
    #[must_use]
    pub fn may_listen(&self) -> bool {
        self.part != Part::Connected
    }

    /// All of it; `None` of a family that we do not know.
    #[must_use]
    pub fn socket(&self) -> Option<Socket> {
        let state = self.message[1];
        let remote = self.address(6, 24)?;
        Some(Socket {
            protocol: match self.part {
                Part::Udp => Protocol::Udp,
                _ if self.attributes.inside(ULP_INFO).text(ULP_NAME) == Some("mptcp") => Protocol::Mptcp,
                _ => Protocol::Tcp,
            },
            ipv6: self.message[0] == AF_INET6,
            state,
            local: self.address(4, 8)?,
            remote: if remote.port() == 0 && remote.ip().is_unspecified() { nowhere() } else { remote },
            interface: 0,
            uid: self.uid(),
            inode: self.inode(),
            cookie: self.cookie(),
            netns: self.netns,
        })
    }

    fn address(&self, port: usize, ip: usize) -> Option<SocketAddr> {
        let port = u16::from_be_bytes([self.message[port], self.message[port + 1]]);
        let bytes: &[u8; 16] = self.message[ip..ip + 16].first_chunk()?;
        let ip = match self.message[0] {
            AF_INET => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
            AF_INET6 => IpAddr::from(Ipv6Addr::from(*bytes)),
            _ => return None,
        };
        Some(canonical(SocketAddr::new(ip, port)))
    }
}

/// Hands each socket of this part to `each`: those of the network namespace
/// that this thread is in.
///
/// # Errors
/// When the kernel has no sock_diag, broke off, or the deadline has passed.
/// What was handed over before that is not all.
pub fn dump(part: Part, netns: u64, deadline: Instant, each: &mut dyn FnMut(Entry<'_>)) -> io::Result<()> {
    if part == Part::Connected {
        let mut request = [0; OLDER_REQUEST];
        request[0] = AF_INET;
        request[OLDER_STATES..OLDER_STATES + 4].copy_from_slice(&part.states().to_ne_bytes());
        return ask(TCP_OF_ALL_FAMILIES, &request, part, netns, deadline, each).map_err(io::Error::from);
    }
    for family in [AF_INET, AF_INET6] {
        // What is spoken over TCP comes only with much that costs time: it is
        // asked of listeners, which are few.
        let more = if part == Part::Listening { INFO } else { 0 };
        let mut request = vec![family, part.protocol(), more, 0];
        request.extend_from_slice(&part.states().to_ne_bytes());
        request.resize(REQUEST, 0);
        match ask(BY_FAMILY, &request, part, netns, deadline, each) {
            // A kernel without IPv6.
            Err(refusal) if family == AF_INET6 && refusal.errno() == Errno::ENOENT => {}
            asked => asked?,
        }
    }
    Ok(())
}

fn ask(
    kind: u16,
    request: &[u8],
    part: Part,
    netns: u64,
    deadline: Instant,
    each: &mut dyn FnMut(Entry<'_>),
) -> Result<(), Refusal> {
    let opened = netlink::Socket::open(SockProtocol::NetlinkSockDiag, deadline);
    let mut socket = opened.map_err(|error| Refusal { message: 0, error })?;
    let mut messages = Messages::new();
    messages.begin(kind, DUMP, request).finish();
    let told = socket.talk(&mut messages, 1, &mut |reply| {
        if let Some(entry) = Entry::new(reply.payload, part, netns) {
            each(entry);
        }
    });
    match told {
        // Sockets came and went meanwhile.
        Err(refusal) if refusal.is_interrupted() => Ok(()),
        told => told,
    }
}

/// A socket of this thread's network namespace, by its ends and its cookie;
/// `None` when it is there no more.
///
/// # Errors
/// When the kernel has no sock_diag, or the deadline has passed.
pub fn find(socket: &Socket, deadline: Instant) -> io::Result<Option<Socket>> {
    let protocol = if socket.protocol.is_tcp() { TCP } else { UDP };
    let family = if socket.ipv6 { AF_INET6 } else { AF_INET };
    let mut request = vec![family, protocol, 0, 0];
    request.extend_from_slice(&u32::MAX.to_ne_bytes());
    // Of UDP the ends are the other way round (`udp_dump_one` in Linux: "for
    // historical reasons").
    let mut ends = [socket.local, socket.remote];
    if protocol == UDP {
        ends.reverse();
    }
    for end in ends {
        request.extend_from_slice(&end.port().to_be_bytes());
    }
    for end in ends {
        request.extend_from_slice(&match (end.ip(), socket.ipv6) {
            (IpAddr::V6(ip), _) => ip.octets(),
            // What has no other end was given one of IPv4.
            (IpAddr::V4(ip), true) if ip.is_unspecified() => [0; 16],
            (IpAddr::V4(ip), true) => ip.to_ipv6_mapped().octets(),
            (IpAddr::V4(ip), false) => {
                let mut octets = [0; 16];
                octets[..4].copy_from_slice(&ip.octets());
                octets
            }
        });
    }
    request.extend_from_slice(&[0; 4]);
    request.extend_from_slice(&socket.cookie.to_ne_bytes());
    let mut asked = netlink::Socket::open(SockProtocol::NetlinkSockDiag, deadline)?;
    let mut messages = Messages::new();
    messages.begin(BY_FAMILY, ACK, &request).finish();
    let mut found = None;
    let part = if protocol == UDP { Part::Udp } else { Part::Connected };
    match asked.talk(&mut messages, 1, &mut |reply| {
        let entry = Entry::new(reply.payload, part, socket.netns);
        found = entry.filter(|entry| entry.inode() == socket.inode).and_then(|entry| entry.socket());
    }) {
        Ok(()) => Ok(found),
        Err(refusal) if matches!(refusal.errno(), Errno::ENOENT | Errno::ESTALE) => Ok(None),
        Err(refusal) => Err(refusal.error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    fn found(part: Part) -> Vec<Socket> {
        let mut sockets = Vec::new();
        dump(part, 0, Instant::now() + Duration::from_secs(10), &mut |entry| {
            sockets.extend(entry.socket());
        })
        .unwrap();
        sockets
    }

    fn of(sockets: &[Socket], file: impl AsFd) -> Socket {
        let inode = nix::sys::stat::fstat(file).unwrap().st_ino;
        sockets.iter().find(|socket| socket.inode == inode).expect("the kernel has it").clone()
    }

    #[test]
    fn a_listener_and_both_ends_of_a_connection_are_found() {
        for (listen, connect) in [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            let listener = TcpListener::bind(listen).unwrap();
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect((connect, port)).unwrap();
            let (server, _) = listener.accept().unwrap();
            let socket = of(&found(Part::Listening), &listener);
            assert_eq!((socket.state, socket.local.port(), socket.remote), (LISTEN, port, nowhere()));
            let connected = found(Part::Connected);
            let (here, there) = (of(&connected, &server), of(&connected, &client));
            assert_eq!((here.local, here.remote), (there.remote, there.local));
            assert_eq!(here.remote, client.local_addr().map(canonical).unwrap());
            assert!(here.cookie != 0 && here.cookie != there.cookie);
            assert_eq!(here.uid, nix::unistd::geteuid().as_raw());
        }
    }

    #[test]
    fn udp_is_found_with_and_without_a_peer() {
        let (one, two) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap());
        one.connect("127.0.0.1:9").unwrap();
        let sockets = found(Part::Udp);
        assert_eq!(of(&sockets, &one).remote, "127.0.0.1:9".parse().unwrap());
        assert_eq!(of(&sockets, &two).remote, nowhere());
        assert_eq!(of(&sockets, &two).local, two.local_addr().unwrap());
    }

    #[test]
    fn a_socket_is_there_until_it_is_closed() {
        let soon = Instant::now() + Duration::from_secs(10);
        for (listen, connect) in [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            let listener = TcpListener::bind(listen).unwrap();
            let client = TcpStream::connect((connect, listener.local_addr().unwrap().port())).unwrap();
            let (server, _) = listener.accept().unwrap();
            let waiting = of(&found(Part::Listening), &listener);
            let connected = of(&found(Part::Connected), &server);
            for socket in [&waiting, &connected] {
                assert_eq!(find(socket, soon).unwrap().as_ref(), Some(socket));
                let other = Socket { cookie: socket.cookie + 1, ..socket.clone() };
                assert_eq!(find(&other, soon).unwrap(), None, "another one with the same ends");
            }
            drop((listener, client, server));
            assert_eq!((find(&waiting, soon).unwrap(), find(&connected, soon).unwrap()), (None, None));
        }
        for bound in ["127.0.0.1:0", "[::]:0"] {
            let udp = UdpSocket::bind(bound).unwrap();
            let socket = of(&found(Part::Udp), &udp);
            assert_eq!(find(&socket, soon).unwrap(), Some(socket.clone()));
            drop(udp);
            assert_eq!(find(&socket, soon).unwrap(), None);
        }
    }

    #[test]
    fn a_message_that_is_too_short_is_none() {
        for length in 0..MESSAGE {
            assert!(Entry::new(&vec![2; length], Part::Udp, 0).is_none());
        }
        let unknown = [7; MESSAGE];
        assert!(Entry::new(&unknown, Part::Udp, 0).unwrap().socket().is_none(), "of no family that we know");
    }
}
