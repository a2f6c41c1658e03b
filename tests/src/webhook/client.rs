//! HTTP/1.1 as bytes: what a well-behaved sender writes, and what a slow, a
//! broken or a malicious one does.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};

/// Nothing that is asked for takes longer.
const LIMIT: Duration = Duration::from_secs(30);

/// A request that is not sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request with this body.
    #[must_use]
    pub fn new(method: &str, path: &str, body: impl Into<Vec<u8>>) -> Request {
        Request { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: body.into() }
    }

    /// With this header, in place of others of that name.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Request {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Request {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// With another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Request {
        method.clone_into(&mut self.method);
        self
    }

    /// To another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Request {
        path.clone_into(&mut self.path);
        self
    }

    /// What it carries.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The request line and these headers, without the empty line.
    #[must_use]
    pub fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: receiver.test\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head
    }

    /// The whole request, its length announced.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let head = format!("{}Content-Length: {}\r\n\r\n", self.head(), self.body.len());
        [head.as_bytes(), &self.body].concat()
    }

    /// The whole request, its body in pieces of this size.
    #[must_use]
    pub fn chunked(&self, size: usize) -> Vec<u8> {
        let mut bytes = format!("{}Transfer-Encoding: chunked\r\n\r\n", self.head()).into_bytes();
        for chunk in self.body.chunks(size) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its number.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// What it carries.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// What it carries, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// True when the connection ends with it.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A connection, over TCP or over something on top of it.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    stream: S,
    /// Read, and not yet part of an answer.
    rest: Vec<u8>,
}

impl Connection<TcpStream> {
    /// To this address.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn to(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        Connection::prepared(stream)
    }

    /// From one of our own addresses: every one of 127.0.0.0/8 is another peer.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn from(local: IpAddr, address: SocketAddr) -> io::Result<Connection> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let made = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(made.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(local, 0)))?;
        connect(made.as_raw_fd(), &SockaddrStorage::from(address))?;
        Connection::prepared(TcpStream::from(made))
    }

    fn prepared(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Connection::over(stream))
    }

    /// True when the other end closes it within this time, without an answer.
    ///
    /// # Panics
    /// When the socket cannot be asked.
    #[must_use]
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let closed = loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break false;
            }
            self.stream.set_read_timeout(Some(left)).expect("our own socket");
            match self.fill() {
                Ok(0) => break self.rest.is_empty(),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => break false,
                Err(_) => break true,
            }
        };
        self.stream.set_read_timeout(Some(LIMIT)).expect("our own socket");
        closed
    }

    /// The address at our end.
    ///
    /// # Panics
    /// When the socket cannot be asked.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("our own socket")
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl<S: Read + Write> Connection<S> {
    /// Over a stream of whatever kind.
    pub fn over(stream: S) -> Connection<S> {
        Connection { stream, rest: Vec::new() }
    }

    /// The stream itself.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Writes these bytes, whatever they are.
    ///
    /// # Errors
    /// When the other end has closed it.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends a request, and reads its answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        self.send(&request.bytes())?;
        self.answer()
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        let length = self.stream.read(&mut bytes)?;
        self.rest.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    /// Reads one answer; those before the last one (`100 Continue`) are such, too.
    ///
    /// # Errors
    /// When the connection ends before it does, or it is none.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head =
            String::from_utf8(self.rest[..end].to_vec()).map_err(|_| broken("a head that is no text"))?;
        self.rest.drain(..end + 4);
        let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "));
        let status =
            status.and_then(|rest| rest.get(..3)?.parse().ok()).ok_or_else(|| broken("no status"))?;
        let mut answer = Answer { status, head, body: Vec::new() };
        if answer.header("transfer-encoding").is_some() {
            return Err(broken("the program answers in one piece"));
        }
        let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.rest.len() < length {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        answer.body = self.rest.drain(..length).collect();
        Ok(answer)
    }
}
