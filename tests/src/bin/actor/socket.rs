//! Sockets, and what the kernel tells their owner of them.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    self, AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag,
    SockProtocol, SockType, SockaddrStorage, setsockopt, sockopt,
};
use nix::unistd;
use serde_json::{Value, json};

use crate::Result;

/// A socket of this process.
pub(crate) enum Held {
    /// One that it made.
    Made(OwnedFd),
    /// One that was left or sent to it: known by its number only.
    Number(RawFd),
    /// One that only another thread has, and what that thread says of it.
    Elsewhere(Value),
}

pub(crate) fn listen(at: SocketAddr) -> Result<Held> {
    let made = bound(at, SockType::Stream)?;
    let made = Held::Made(made);
    made.open()?;
    Ok(made)
}

pub(crate) fn connect(to: SocketAddr, from: Option<SocketAddr>) -> Result<Held> {
    let made = match from {
        Some(from) => bound(from, SockType::Stream)?,
        None => socket::socket(family(to), SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?,
    };
    socket::connect(made.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(Held::Made(made))
}

/// Many connections, with both their ends.
pub(crate) fn crowd(count: usize) -> Result<Vec<Held>> {
    let listener = listen("127.0.0.1:0".parse()?)?;
    let at = listener.local().ok_or("no address")?;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(connect(at, None)?);
        all.push(listener.accept()?);
    }
    all.push(listener);
    Ok(all)
}

/// A connection that nobody has answered yet.
pub(crate) fn connecting(to: SocketAddr, from: Option<SocketAddr>) -> Result<Held> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket::socket(family(to), SockType::Stream, flags, None)?;
    if let Some(from) = from {
        socket::bind(made.as_raw_fd(), &SockaddrStorage::from(from))?;
    }
    match socket::connect(made.as_raw_fd(), &SockaddrStorage::from(to)) {
        Err(Errno::EINPROGRESS) => Ok(Held::Made(made)),
        other => Err(format!("{to} was answered: {other:?}").into()),
    }
}

pub(crate) fn udp(at: SocketAddr, peer: Option<SocketAddr>) -> Result<Held> {
    let made = bound(at, SockType::Datagram)?;
    // So that a peer may be everybody.
    setsockopt(&made, sockopt::Broadcast, &true)?;
    if let Some(peer) = peer {
        socket::connect(made.as_raw_fd(), &SockaddrStorage::from(peer))?;
    }
    Ok(Held::Made(made))
}

/// A listener in the table of descriptors that one thread has for itself.
pub(crate) fn hidden(at: SocketAddr) -> Result<Held> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let made = unshare(CloneFlags::CLONE_FILES).map_err(Into::into).and_then(|()| listen(at));
        // Errors cannot be sent to another thread as they are.
        let facts = made.as_ref().map(Held::facts).map_err(ToString::to_string);
        if sender.send(facts).is_ok() {
            loop {
                std::thread::park();
            }
        }
    });
    Ok(Held::Elsewhere(receiver.recv()??))
}

pub(crate) fn raw(six: bool, protocol: u8) -> Result<Held> {
    let protocol = match protocol {
        1 => SockProtocol::Icmp,
        6 => SockProtocol::Tcp,
        17 => SockProtocol::Udp,
        58 => SockProtocol::IcmpV6,
        255 => SockProtocol::Raw,
        other => return Err(format!("no name for protocol {other}").into()),
    };
    let family = if six { AddressFamily::Inet6 } else { AddressFamily::Inet };
    Ok(Held::Made(socket::socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?))
}

pub(crate) fn packet() -> Result<Held> {
    let (family, flags) = (AddressFamily::Packet, SockFlag::SOCK_CLOEXEC);
    Ok(Held::Made(socket::socket(family, SockType::Raw, flags, SockProtocol::EthAll)?))
}

pub(crate) fn pair() -> Result<(Held, Held)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (one, other) = socket::socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
    Ok((Held::Made(one), Held::Made(other)))
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

pub(crate) fn bound(at: SocketAddr, kind: SockType) -> Result<OwnedFd> {
    let made = socket::socket(family(at), kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&made, sockopt::ReuseAddr, &true)?;
    socket::bind(made.as_raw_fd(), &SockaddrStorage::from(at))?;
    Ok(made)
}

impl Held {
    pub(crate) fn number(&self) -> RawFd {
        match self {
            Held::Made(made) => made.as_raw_fd(),
            Held::Number(number) => *number,
            Held::Elsewhere(_) => -1,
        }
    }

    /// A second descriptor.
    pub(crate) fn again(&self) -> Result<Held> {
        Ok(Held::Made(self.made()?.try_clone()?))
    }

    fn made(&self) -> Result<&OwnedFd> {
        match self {
            Held::Made(made) => Ok(made),
            _ => Err("only with a socket of its own".into()),
        }
    }

    /// Says whether programs that this process starts have it too.
    pub(crate) fn outlives_exec(&self, outlives: bool) -> Result<()> {
        let flags = if outlives { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
        fcntl(self.made()?, FcntlArg::F_SETFD(flags))?;
        Ok(())
    }

    pub(crate) fn close(self) -> Result<()> {
        match self {
            Held::Made(made) => drop(made),
            Held::Number(number) => unistd::close(number)?,
            Held::Elsewhere(_) => return Err("only its thread can".into()),
        }
        Ok(())
    }

    pub(crate) fn accept(&self) -> Result<Held> {
        let listener = TcpListener::from(self.made()?.try_clone()?);
        Ok(Held::Made(listener.accept()?.0.into()))
    }

    pub(crate) fn open(&self) -> Result<()> {
        Ok(socket::listen(self.made()?, Backlog::new(16)?)?)
    }

    pub(crate) fn turn(&self, to: SocketAddr) -> Result<()> {
        Ok(socket::connect(self.number(), &SockaddrStorage::from(to))?)
    }

    pub(crate) fn write(&self) -> Result<()> {
        socket::send(self.number(), b"!", MsgFlags::MSG_NOSIGNAL)?;
        Ok(())
    }

    pub(crate) fn shutdown(&self) -> Result<()> {
        Ok(socket::shutdown(self.number(), Shutdown::Write)?)
    }

    /// Makes it one or more of the first three descriptors too.
    pub(crate) fn becomes(&self, which: &str) -> Result<()> {
        let made = self.made()?;
        for number in which.chars() {
            match number {
                '0' => unistd::dup2_stdin(made.as_fd())?,
                '1' => unistd::dup2_stdout(made.as_fd())?,
                '2' => unistd::dup2_stderr(made.as_fd())?,
                _ => return Err(format!("{number} is none of the first three").into()),
            }
        }
        Ok(())
    }

    /// Sends another one over this unix socket. Who receives it then has it
    /// too; until then it is on its way.
    pub(crate) fn send(&self, other: &Held) -> Result<()> {
        let numbers = [other.number()];
        let message = [ControlMessage::ScmRights(&numbers)];
        let word = [IoSlice::new(b"!")];
        socket::sendmsg::<()>(self.number(), &word, &message, MsgFlags::empty(), None)?;
        Ok(())
    }

    pub(crate) fn receive(&self) -> Result<Held> {
        let (mut byte, mut space) = ([0], nix::cmsg_space!([RawFd; 1]));
        let mut word = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = socket::recvmsg::<()>(self.number(), &mut word, Some(&mut space), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = control {
                return Ok(Held::Number(*numbers.first().ok_or("nothing was sent")?));
            }
        }
        Err("nothing was sent".into())
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        inet(socket::getsockname(self.number()))
    }

    /// What its owner may know of it.
    pub(crate) fn facts(&self) -> Value {
        if let Held::Elsewhere(facts) = self {
            return facts.clone();
        }
        let number = self.number();
        let inode = std::fs::metadata(format!("/proc/thread-self/fd/{number}")).map(|file| file.ino());
        let mut facts = json!({ "fd": number, "inode": inode.unwrap_or(0).to_string() });
        let remote = inet(socket::getpeername(number));
        for (key, address) in [("local", self.local()), ("remote", remote)] {
            if let Some(address) = address {
                facts[key] = address.to_string().into();
            }
        }
        facts
    }
}

fn inet(name: nix::Result<SockaddrStorage>) -> Option<SocketAddr> {
    let name = name.ok()?;
    let four = name.as_sockaddr_in().map(|four| SocketAddr::V4((*four).into()));
    four.or_else(|| name.as_sockaddr_in6().map(|six| SocketAddr::V6((*six).into())))
}
