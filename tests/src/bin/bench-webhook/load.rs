//! Senders: each has a connection, and sends the next event when the last one
//! is answered.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::webhook::{GITHUB, advisory, sign};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::Outcome;

/// Stands for a number wherever it is one of the event's own.
const NUMBER: u64 = 111_111_111_111;
/// More threads would take the processors from those who are measured.
const THREADS: usize = 2;
/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes events, none of them twice.
#[derive(Debug)]
pub(super) struct Maker {
    body: String,
    next: AtomicU64,
}

impl Maker {
    pub(super) fn new() -> Maker {
        Maker { body: advisory(NUMBER), next: AtomicU64::new(200_000_000_000) }
    }

    /// Of one event, in bytes.
    pub(super) fn size(&self) -> usize {
        self.body.len()
    }

    /// The next request.
    fn request(&self, keep_alive: bool) -> Vec<u8> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let body = self.body.replace(&NUMBER.to_string(), &number.to_string());
        let signature = sign::github(GITHUB, body.as_bytes());
        let close = if keep_alive { "" } else { "Connection: close\r\n" };
        format!(
            "POST /webhook/github HTTP/1.1\r\nHost: receiver.test\r\nUser-Agent: GitHub-Hookshot/044aadd\r\n\
             Accept: */*\r\nContent-Type: application/json\r\nX-GitHub-Event: security_advisory\r\n\
             X-GitHub-Delivery: 00000000-0000-4000-8000-{number}\r\nX-GitHub-Hook-ID: 109948940\r\n\
             X-Hub-Signature-256: {signature}\r\n{close}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// From the first byte of a request (of its connection, where it has one of
    /// its own) to the last one of its answer, in microseconds, in order.
    pub(super) latencies: Vec<u32>,
    /// How long it took in all.
    pub(super) took: Duration,
}

impl Sent {
    pub(super) fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Milliseconds, below which so many of a thousand are.
    pub(super) fn percentile(&self, thousandth: usize) -> f64 {
        let at = (self.latencies.len() * thousandth / 1000).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(f64::NAN, |latency| f64::from(*latency) / 1000.0)
    }
}

/// Sends over so many connections for this time.
pub(super) fn send(
    address: SocketAddr,
    connections: usize,
    keep_alive: bool,
    time: Duration,
    maker: &Maker,
) -> Outcome<Sent> {
    let began = Instant::now();
    let end = began + time;
    let threads = THREADS.min(connections);
    let outcomes: Vec<Outcome<Vec<u32>>> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|thread| {
                let own = connections / threads + usize::from(thread < connections % threads);
                scope.spawn(move || drive(address, own, keep_alive, end, maker))
            })
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a sender broke".into())))
            .collect()
    });
    let mut sent = Sent { latencies: Vec::new(), took: began.elapsed() };
    for latencies in outcomes {
        sent.latencies.extend(latencies?);
    }
    sent.latencies.sort_unstable();
    Ok(sent)
}

/// One connection, and what it is doing.
struct Sender {
    stream: TcpStream,
    request: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
    began: Instant,
    /// It was answered when no more was wanted.
    done: bool,
}

impl Sender {
    fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    fn new(address: SocketAddr, request: Vec<u8>) -> io::Result<Sender> {
        let began = Instant::now();
        let stream = Sender::connect(address)?;
        Ok(Sender { stream, request, written: 0, answer: Vec::new(), began, done: false })
    }

    fn write(&mut self) -> io::Result<()> {
        while self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the whole answer is here, and whether the connection ends with it.
    fn read(&mut self) -> Outcome<Option<bool>> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err("a connection was closed before its answer".into()),
            Ok(length) => self.answer.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let Some(head) = self.answer.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&self.answer[..head])?.to_ascii_lowercase();
        if text.get(9..12) != Some("200") {
            return Err(format!("it was answered: {}", text.lines().next().unwrap_or_default()).into());
        }
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length: usize = value("content-length:").ok_or("an answer without a length")?.parse()?;
        Ok((self.answer.len() >= head + 4 + length).then(|| value("connection:") == Some("close")))
    }
}

/// Several connections on one thread.
fn drive(
    address: SocketAddr,
    count: usize,
    keep_alive: bool,
    end: Instant,
    maker: &Maker,
) -> Outcome<Vec<u32>> {
    let mut latencies = Vec::new();
    let mut senders = Vec::with_capacity(count);
    for _ in 0..count {
        let mut sender = Sender::new(address, maker.request(keep_alive))?;
        sender.write()?;
        senders.push(sender);
    }
    let mut last = Instant::now();
    while senders.iter().any(|sender| !sender.done) {
        let ready: Vec<bool> = {
            let wants = |sender: &Sender| match (sender.done, sender.written < sender.request.len()) {
                (true, _) => PollFlags::empty(),
                (false, true) => PollFlags::POLLOUT | PollFlags::POLLIN,
                (false, false) => PollFlags::POLLIN,
            };
            let mut asked: Vec<PollFd<'_>> =
                senders.iter().map(|sender| PollFd::new(sender.stream.as_fd(), wants(sender))).collect();
            poll(&mut asked, PollTimeout::from(1000_u16))?;
            asked.iter().map(|one| one.any().unwrap_or(true)).collect()
        };
        if last.elapsed() > PATIENCE {
            return Err("nobody is answered any more".into());
        }
        for (sender, _) in senders.iter_mut().zip(ready).filter(|(sender, ready)| *ready && !sender.done) {
            sender.write()?;
            let Some(closes) = sender.read()? else { continue };
            last = Instant::now();
            latencies.push(u32::try_from(sender.began.elapsed().as_micros()).unwrap_or(u32::MAX));
            if last >= end {
                // A server may wait for that before it serves the next one.
                let _ = sender.stream.shutdown(Shutdown::Both);
                sender.done = true;
                continue;
            }
            let request = maker.request(keep_alive);
            if closes {
                let _ = sender.stream.shutdown(Shutdown::Both);
                *sender = Sender::new(address, request)?;
            } else {
                sender.request = request;
                sender.written = 0;
                sender.answer.clear();
                sender.began = Instant::now();
            }
            sender.write()?;
        }
    }
    Ok(latencies)
}
