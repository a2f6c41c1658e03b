//! Real packets: a service that echoes, and clients that ask it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt, socket, sockopt,
};

use crate::network::Namespace;

/// What is not answered in this time was stopped: in here an answer takes
/// microseconds.
pub const SILENCE: Duration = Duration::from_millis(400);
/// Within this time an answer must come, also where a connection that was
/// stopped for a while has to send again what was lost.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How often threads look whether they should end.
const STEP: Duration = Duration::from_millis(100);

/// A service that sends back what it gets, by TCP and UDP, IPv4 and IPv6,
/// on one port.
#[derive(Debug)]
pub struct Echo {
    port: u16,
    over: Arc<AtomicBool>,
    datagrams: Arc<AtomicUsize>,
}

impl Echo {
    /// Starts one at a free port.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(namespace: &Namespace) -> Echo {
        Echo::start_at(namespace, 0)
    }

    /// Starts one at this port.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start_at(namespace: &Namespace, port: u16) -> Echo {
        let over = Arc::new(AtomicBool::new(false));
        let (tcp, udp) = namespace.run(|| {
            let tcp = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("a free port");
            let port = tcp.local_addr().expect("a bound socket").port();
            (tcp, UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).expect("the same port for UDP"))
        });
        let port = tcp.local_addr().expect("a bound socket").port();
        let flag = Arc::clone(&over);
        std::thread::spawn(move || accept(&tcp, &flag));
        let (flag, datagrams) = (Arc::clone(&over), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&datagrams);
        std::thread::spawn(move || echo_datagrams(&udp, &flag, &count));
        Echo { port, over, datagrams }
    }

    /// How many datagrams have arrived, answered or not.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.datagrams.load(Ordering::Relaxed)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn accept(listener: &TcpListener, over: &Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        if readable(listener, STEP)
            && let Ok((stream, _)) = listener.accept()
        {
            let over = Arc::clone(over);
            std::thread::spawn(move || echo_stream(stream, &over));
        }
    }
}

fn echo_stream(mut stream: TcpStream, over: &AtomicBool) {
    let mut bytes = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        if readable(&stream, STEP) {
            match stream.read(&mut bytes) {
                Ok(length) if length > 0 && stream.write_all(&bytes[..length]).is_ok() => {}
                _ => return,
            }
        }
    }
}

fn echo_datagrams(socket: &UdpSocket, over: &AtomicBool, count: &AtomicUsize) {
    let mut bytes = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        if readable(socket, STEP)
            && let Ok((length, from)) = socket.recv_from(&mut bytes)
        {
            count.fetch_add(1, Ordering::Relaxed);
            // Whoever asked may be unreachable by now.
            let _ = socket.send_to(&bytes[..length], from);
        }
    }
}

fn readable(socket: &impl AsFd, wait: Duration) -> bool {
    ready(socket, PollFlags::POLLIN, wait)
}

fn ready(socket: &impl AsFd, what: PollFlags, wait: Duration) -> bool {
    let end = Instant::now() + wait;
    loop {
        let left =
            PollTimeout::try_from(end.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket.as_fd(), what)], left) {
            Err(Errno::EINTR) => {}
            answer => return answer.is_ok_and(|count| count > 0),
        }
    }
}

/// A connection that stays open and can be asked whether data still moves.
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
    sent: u64,
}

impl Conversation {
    /// Connects from this address of the namespace.
    ///
    /// # Errors
    /// `TimedOut` when nobody answers, `ConnectionRefused` when somebody says no.
    ///
    /// # Panics
    /// When the address is not the namespace's own.
    pub fn open(
        namespace: &Namespace,
        from: IpAddr,
        to: SocketAddr,
        limit: Duration,
    ) -> io::Result<Conversation> {
        namespace.run(|| Conversation::open_here(from, to, limit))
    }

    /// Connects from this address of the namespace we are in.
    ///
    /// # Errors
    /// As [`Conversation::open`].
    ///
    /// # Panics
    /// When the address is not ours.
    pub fn open_here(from: IpAddr, to: SocketAddr, limit: Duration) -> io::Result<Conversation> {
        let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(family, SockType::Stream, flags, None)?;
        let own = SockaddrStorage::from(SocketAddr::new(from, 0));
        bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &own).expect("an address of this namespace");
        match connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(to)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        if !ready(&socket, PollFlags::POLLOUT, limit) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match getsockopt(&socket, sockopt::SocketError)? {
            0 => Ok(Conversation { stream: TcpStream::from(socket), sent: 0 }),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Sends something new and waits until it comes back.
    ///
    /// # Errors
    /// `TimedOut` when it does not; what the kernel says when the connection
    /// has ended.
    pub fn exchange(&mut self, limit: Duration) -> io::Result<()> {
        let end = Instant::now() + limit;
        self.sent += 1;
        self.stream.write_all(&self.sent.to_be_bytes())?;
        let mut answer = [0; 8];
        let mut have = 0;
        // Answers to earlier questions may come first.
        while u64::from_be_bytes(answer) != self.sent || have != answer.len() {
            if have == answer.len() {
                have = 0;
            }
            if !readable(&self.stream, end.saturating_duration_since(Instant::now())) {
                // What came in part is lost: whoever asks again reads on from
                // a boundary only because eight bytes never come in two.
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.stream.read(&mut answer[have..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => have += length,
            }
        }
        Ok(())
    }

    /// True when data moves in both directions.
    pub fn flows(&mut self) -> bool {
        self.exchange(PATIENCE).is_ok()
    }

    /// True when data does not move.
    pub fn is_stopped(&mut self) -> bool {
        self.exchange(SILENCE).is_err()
    }
}

/// True when a new connection is answered.
#[must_use]
pub fn connects(namespace: &Namespace, from: IpAddr, to: SocketAddr) -> bool {
    // A first SYN that was lost is sent again after one second.
    Conversation::open(namespace, from, to, Duration::from_secs(5))
        .and_then(|mut conversation| conversation.exchange(PATIENCE))
        .is_ok()
}

/// True when nobody answers a new connection.
#[must_use]
pub fn is_refused(namespace: &Namespace, from: IpAddr, to: SocketAddr) -> bool {
    Conversation::open(namespace, from, to, SILENCE).is_err()
}

/// Sends a datagram that nobody need answer.
///
/// # Panics
/// When the address is not the namespace's own.
pub fn send_datagram(namespace: &Namespace, from: IpAddr, to: SocketAddr) {
    let socket = namespace.run(|| UdpSocket::bind((from, 0))).expect("an address of this namespace");
    // A firewall may say no: then it does not arrive, which is what is asked.
    let _ = socket.send_to(b"?", to);
}

/// True when a datagram comes back.
///
/// # Panics
/// When the address is not the namespace's own.
#[must_use]
pub fn datagram_returns(namespace: &Namespace, from: IpAddr, to: SocketAddr) -> bool {
    let socket = namespace.run(|| UdpSocket::bind((from, 0))).expect("an address of this namespace");
    socket.send_to(b"?", to).is_ok()
        && readable(&socket, SILENCE)
        && socket.recv_from(&mut [0; 8]).is_ok_and(|(length, _)| length == 1)
}
