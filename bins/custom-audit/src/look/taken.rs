//! A socket that no table of the kernel shows us: of a protocol that we do
//! not know, not in use yet, or of a network namespace that nobody is in any
//! more and no file holds.
//!
//! Its protocol is an extended attribute of the descriptor. Only when that
//! leaves a doubt is the descriptor itself duplicated (`pidfd_getfd`) and
//! asked, for some microseconds, in which the other side would not see it
//! close.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use common::netlink;
use nix::sys::stat::fstat;
use rustix::fs::getxattr;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, getpeername, getsockname, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::socket::{CLOSE, ESTABLISHED, LISTEN, Protocol, SYN_SENT, Socket, canonical, nowhere};

/// `IPPROTO_MPTCP`
const MPTCP: u32 = 262;
/// `IPPROTO_UDPLITE`
const UDP_LITE: u32 = 136;

/// What a descriptor turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// No socket that we are after, and never will be.
    Other,
    /// One that is not in use yet.
    Idle,
    /// One in use.
    Socket(Box<Socket>),
    /// It could not be found out.
    Unknown,
}

/// The name of a socket's protocol, as the kernel calls it (`sockfs_xattr_get`).
fn protocol_name(pid: i32, fd: u32) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = [MaybeUninit::uninit(); 64];
    let (name, _) = getxattr(format!("/proc/{pid}/fd/{fd}"), c"system.sockprotoname", &mut buffer[..])?;
    Ok(name.strip_suffix(&[0]).unwrap_or(name).to_vec())
}

/// True of a protocol whose sockets we are after. Of the others (`UNIX`,
/// `NETLINK`, …) a socket never becomes one.
fn is_ours(name: &[u8]) -> bool {
    [&b"TCP"[..], b"UDP", b"MPTCP", b"RAW", b"PACKET"].iter().any(|ours| name.starts_with(ours))
}

/// True when the descriptor is a socket that we are not after.
#[must_use]
pub fn is_other(pid: i32, fd: u32) -> bool {
    protocol_name(pid, fd).is_ok_and(|name| !is_ours(&name))
}

/// What the descriptor of another process is, if it is still that socket.
#[must_use]
pub fn take(pid: i32, fd: u32, inode: u64) -> Taken {
    if is_other(pid, fd) {
        return Taken::Other;
    }
    duplicate(pid, fd)
        .and_then(|socket| {
            let stat = fstat(&socket).map_err(|error| Errno::from_raw_os_error(error as i32))?;
            if stat.st_ino == inode { describe(&socket, stat.st_uid, inode) } else { Err(Errno::NOENT) }
        })
        .unwrap_or(Taken::Unknown)
}

fn duplicate(pid: i32, fd: u32) -> rustix::io::Result<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(pid).ok_or(Errno::INVAL)?, PidfdFlags::empty())?;
    let number = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    pidfd_getfd(&process, number, PidfdGetfdFlags::empty())
}

fn describe(socket: &OwnedFd, uid: u32, inode: u64) -> rustix::io::Result<Taken> {
    use rustix::net::SocketType;
    let domain = sockopt::socket_domain(socket)?;
    let kind = sockopt::socket_type(socket)?;
    let number = sockopt::socket_protocol(socket)?.map_or(0, |protocol| protocol.as_raw().get());
    let protocol = match (domain, kind) {
        (AddressFamily::PACKET, _) => Protocol::Packet,
        (_, SocketType::STREAM) if number == MPTCP => Protocol::Mptcp,
        (_, SocketType::STREAM) => Protocol::Tcp,
        (_, SocketType::DGRAM) if number == UDP_LITE => Protocol::UdpLite,
        (_, SocketType::DGRAM) => Protocol::Udp,
        (_, SocketType::RAW) => Protocol::Raw,
        _ => return Ok(Taken::Other),
    };
    let ip = |address: SocketAddrAny| SocketAddr::try_from(address).map(canonical).ok();
    let mut local = getsockname(socket).ok().and_then(ip).unwrap_or_else(nowhere);
    let remote = getpeername(socket).ok().and_then(|address| ip(address?));
    if protocol == Protocol::Raw {
        local.set_port(u16::try_from(number).unwrap_or(0));
    }
    let listens = protocol.is_tcp() && sockopt::socket_acceptconn(socket)?;
    let state = match (protocol, remote) {
        _ if listens => LISTEN,
        (_, Some(_)) => ESTABLISHED,
        // Bound, and not connected: on its way there, or idle.
        (protocol, None) if protocol.is_tcp() && local.port() != 0 => SYN_SENT,
        _ => CLOSE,
    };
    let found = Socket {
        protocol,
        ipv6: domain == AddressFamily::INET6,
        state,
        local,
        remote: remote.unwrap_or_else(nowhere),
        interface: 0,
        uid,
        inode,
        cookie: sockopt::socket_cookie(socket).unwrap_or(0),
        netns: netlink::namespace_of(socket.as_fd())
            .ok()
            .and_then(|namespace| fstat(&namespace).ok())
            .map_or(0, |stat| stat.st_ino),
    };
    Ok(if found.kind().is_some() { Taken::Socket(Box::new(found)) } else { Taken::Idle })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn own(file: &impl AsRawFd, inode: u64) -> Taken {
        take(std::process::id().cast_signed(), file.as_raw_fd().cast_unsigned(), inode)
    }

    fn inode(file: impl AsFd) -> u64 {
        fstat(file).unwrap().st_ino
    }

    #[test]
    fn sockets_tell_what_they_are() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let Taken::Socket(socket) = own(&client, inode(&client)) else { panic!("it is in use") };
        assert_eq!((socket.protocol, socket.state, socket.remote.port()), (Protocol::Tcp, ESTABLISHED, port));
        if nix::unistd::geteuid().is_root() {
            assert_eq!(Some(socket.netns), crate::look::namespace::own());
        }
        let Taken::Socket(socket) = own(&listener, inode(&listener)) else { panic!("it is in use") };
        assert_eq!((socket.state, socket.local.port(), socket.ipv6), (LISTEN, port, true));
        let (one, _two) = UnixStream::pair().unwrap();
        assert_eq!(own(&one, inode(&one)), Taken::Other);
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(own(&udp, inode(&udp)), Taken::Socket(socket) if socket.protocol == Protocol::Udp));
        assert_eq!(own(&udp, 1), Taken::Unknown, "another socket by now");
    }

    #[test]
    fn a_socket_without_ends_is_idle() {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        for kind in [SockType::Stream, SockType::Datagram] {
            let idle = socket(AddressFamily::Inet, kind, SockFlag::empty(), None).unwrap();
            assert_eq!(own(&idle, inode(&idle)), Taken::Idle);
        }
    }
}
