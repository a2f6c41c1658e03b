//! A netlink socket: framing, sequence numbers, attributes, bounds.
//!
//! What is said over it (nf_tables, ipset, sock_diag, routes) belongs to the
//! programs. Nothing here waits past the deadline it was given, and no reply
//! is believed before its lengths were checked.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{Ioctl, ioctl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// Length of a netlink message's own header, in bytes.
const HEADER: usize = 16;
/// The kernel fits its dumps into what we offer (`netlink_dump` in Linux), and
/// our messages, which a refusal repeats, are far smaller.
const DATAGRAM: usize = 16 * 1024;

/// `NLM_F_REQUEST`: every message to the kernel carries it.
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer also when all went well.
pub const ACK: u16 = 0x4;
/// `NLM_F_EXCL`: fail with `EEXIST` when it is there.
pub const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: make it when it is absent.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: at the end of its list.
pub const APPEND: u16 = 0x800;
/// `NLM_F_DUMP`: answer with all there is.
pub const DUMP: u16 = 0x300;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NESTED: u16 = 0x8000;
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// Messages to be sent as one datagram, in order.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    /// Where the message under construction began.
    start: usize,
}

/// An attribute that holds others and is still open; [`Messages::end`] closes it.
#[derive(Debug)]
#[must_use = "an attribute that is not ended has no length"]
pub struct Nest(usize);

impl Messages {
    /// No message yet.
    #[must_use]
    pub fn new() -> Messages {
        Messages { bytes: Vec::with_capacity(1024), start: 0 }
    }

    /// Begins a message of this type with the fixed header that its family
    /// puts before the attributes. The sequence number is set when it is sent.
    pub fn begin(&mut self, kind: u16, flags: u16, family_header: &[u8]) -> &mut Messages {
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(family_header);
        self.pad();
        self
    }

    /// Adds an attribute. Payloads are at most a few hundred bytes; what does
    /// not fit a 16-bit length is cut.
    pub fn attribute(&mut self, kind: u16, payload: &[u8]) -> &mut Messages {
        let payload = &payload[..payload.len().min(usize::from(u16::MAX) - 8)];
        let length = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(payload);
        self.pad();
        self
    }

    /// Adds a text with the NUL that the kernel expects behind it.
    pub fn text(&mut self, kind: u16, text: &str) -> &mut Messages {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Adds a number in network byte order, as netfilter wants its numbers.
    pub fn be32(&mut self, kind: u16, number: u32) -> &mut Messages {
        self.attribute(kind, &number.to_be_bytes())
    }

    /// Adds a 64-bit number in network byte order.
    pub fn be64(&mut self, kind: u16, number: u64) -> &mut Messages {
        self.attribute(kind, &number.to_be_bytes())
    }

    /// Opens an attribute that holds others.
    pub fn nest(&mut self, kind: u16) -> Nest {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        Nest(at)
    }

    /// Closes an attribute that holds others.
    pub fn end(&mut self, nest: Nest) -> &mut Messages {
        let length = u16::try_from(self.bytes.len() - nest.0).unwrap_or(u16::MAX);
        self.bytes[nest.0..nest.0 + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Ends the message under construction: its length is now known.
    pub fn finish(&mut self) -> &mut Messages {
        let length = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True before the first message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    /// Numbers the messages and returns how many there are.
    fn number(&mut self, first: u32) -> u32 {
        let (mut at, mut count) = (0, 0);
        while at + HEADER <= self.bytes.len() {
            let length = self.bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes) as usize;
            self.bytes[at + 8..at + 12].copy_from_slice(&first.wrapping_add(count).to_ne_bytes());
            count += 1;
            at += length.max(HEADER).next_multiple_of(4);
        }
        count
    }
}

/// A message from the kernel that is neither an acknowledgement nor the end of a dump.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Its type.
    pub kind: u16,
    /// What stands behind its netlink header: the family's header, then attributes.
    pub payload: &'a [u8],
}

impl<'a> Reply<'a> {
    /// The attributes behind a family header of `header` bytes.
    #[must_use]
    pub fn attributes(&self, header: usize) -> Attributes<'a> {
        Attributes(self.payload.get(header.next_multiple_of(4)..).unwrap_or_default())
    }
}

/// Attributes one after the other; a length that points outside ends them.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// The payload of the first attribute of this type.
    #[must_use]
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        let mut rest = self;
        rest.find(|&(found, _)| found == kind).map(|(_, payload)| payload)
    }

    /// The attributes inside the first attribute of this type.
    #[must_use]
    pub fn inside(self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or_default())
    }

    /// A number in network byte order.
    #[must_use]
    pub fn be32(self, kind: u16) -> Option<u32> {
        self.get(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A 64-bit number in network byte order.
    #[must_use]
    pub fn be64(self, kind: u16) -> Option<u64> {
        self.get(kind)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// A text, without its NUL; anything but UTF-8 is absent.
    #[must_use]
    pub fn text(self, kind: u16) -> Option<&'a str> {
        let bytes = self.get(kind)?;
        std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?) & ATTRIBUTE_TYPE;
        let payload = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    }
}

/// A netlink conversation with the kernel, each wait of which ends at the deadline.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    deadline: Instant,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket of this netlink family.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` when the kernel does not have that family.
    pub fn open(protocol: SockProtocol, deadline: Instant) -> io::Result<Socket> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        Ok(Socket { fd, sequence: 1, deadline, buffer: vec![0; DATAGRAM] })
    }

    /// Sends the messages as one datagram and hands each reply to `each`,
    /// until the kernel has acknowledged the last message that asked for it,
    /// or ended its dump.
    ///
    /// The result names the first message (counted from 0) that the kernel
    /// refused, and why; messages behind it are not waited for, because a
    /// refused batch is undone as a whole. `answers` is the number of
    /// acknowledgements (or ends of a dump) that are due.
    ///
    /// # Errors
    /// The kernel's refusal, a send or receive that failed, or `TimedOut` at
    /// the deadline. A dump that changed under our eyes is `Interrupted`.
    pub fn talk(
        &mut self,
        messages: &mut Messages,
        answers: u32,
        each: &mut dyn FnMut(Reply<'_>),
    ) -> Result<(), Refusal> {
        self.talk_until(messages, answers, &mut |reply| {
            each(reply);
            ControlFlow::Continue(())
        })
    }

    /// As [`Socket::talk`], until `each` has heard enough. The socket is of no
    /// use after a break: what it was being told is still to come.
    ///
    /// # Errors
    /// As [`Socket::talk`].
    pub fn talk_until(
        &mut self,
        messages: &mut Messages,
        answers: u32,
        each: &mut dyn FnMut(Reply<'_>) -> ControlFlow<()>,
    ) -> Result<(), Refusal> {
        let first = self.sequence;
        let count = messages.number(first);
        self.sequence = self.sequence.wrapping_add(count.max(1));
        self.send(&messages.bytes).map_err(Refusal::local)?;
        let mut due = answers;
        let mut torn = false;
        while due > 0 {
            // The kernel's answers are there at once: waiting alone would
            // never see the deadline of a long dump.
            if Instant::now() >= self.deadline {
                return Err(Refusal::local(io::ErrorKind::TimedOut.into()));
            }
            let length = self.receive().map_err(Refusal::local)?;
            let mut at = 0;
            while at + HEADER <= length {
                let field = |from: usize| {
                    self.buffer[at + from..at + from + 4].try_into().map_or(0, u32::from_ne_bytes)
                };
                let size = field(0) as usize;
                if size < HEADER || at + size > length {
                    break;
                }
                let kind = (field(4) & 0xffff) as u16;
                let flags = (field(4) >> 16) as u16;
                let index = field(8).wrapping_sub(first);
                let payload = &self.buffer[at + HEADER..at + size];
                at += size.next_multiple_of(4);
                if index >= count {
                    continue; // an answer to something we gave up on
                }
                torn |= flags & NLM_F_DUMP_INTR != 0;
                match kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        let code =
                            payload.get(0..4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
                        if code < 0 {
                            return Err(Refusal {
                                message: index,
                                error: io::Error::from_raw_os_error(code.saturating_neg()),
                            });
                        }
                        due = due.saturating_sub(1);
                    }
                    NLMSG_OVERRUN => torn = true,
                    kind => {
                        if each(Reply { kind, payload }).is_break() {
                            return Ok(());
                        }
                    }
                }
            }
        }
        if torn {
            return Err(Refusal::local(io::ErrorKind::Interrupted.into()));
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // By MSG_TRUNC the length is the datagram's, not what was kept of it.
                Ok(length) if length > self.buffer.len() => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply larger than our buffer"));
                }
                Ok(length) => return Ok(length),
                Err(Errno::EINTR) if Instant::now() < self.deadline => {}
                Err(Errno::EINTR) => return Err(io::ErrorKind::TimedOut.into()),
                Err(Errno::EAGAIN) => wait(self.fd.as_fd(), PollFlags::POLLIN, self.deadline)?,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A message that the kernel refused, or a conversation that broke off.
#[derive(Debug)]
pub struct Refusal {
    /// Which message of those sent, counted from 0.
    pub message: u32,
    /// Why.
    pub error: io::Error,
}

impl Refusal {
    fn local(error: io::Error) -> Refusal {
        Refusal { message: 0, error }
    }

    /// True of a dump that was whole but for changes made meanwhile.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.error.kind() == io::ErrorKind::Interrupted
    }

    /// The kernel's error number, where it was the kernel's.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        refusal.error
    }
}

/// The network namespace of a socket, which need not be that of its process.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` in it; `ENOTTY` of what is no socket.
#[expect(unsafe_code, reason = "the kernel answers this question in no other way")]
pub fn namespace_of(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    /// `include/uapi/linux/sockios.h`
    const SIOCGSKNS: Ioctl = 0x894c;
    // SAFETY: it takes no argument, so no memory is touched.
    let fd = Errno::result(unsafe { ioctl(socket.as_raw_fd(), SIOCGSKNS) })?;
    // SAFETY: a new descriptor, which the kernel gave to nobody but us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until the descriptor is ready.
///
/// # Errors
/// `TimedOut` at the deadline.
pub fn wait(fd: BorrowedFd<'_>, event: PollFlags, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Rounded up: poll counts whole milliseconds, and must not spin in the last one.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, event)], timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_their_length_and_a_number_each() {
        let mut messages = Messages::new();
        messages.begin(7, ACK, &[1, 2, 3, 4]).text(1, "abc").finish();
        messages.begin(8, 0, &[]);
        let nest = messages.nest(2);
        messages.be32(3, 9).end(nest).finish();
        assert_eq!(messages.number(40), 2);
        assert_eq!(u32::from_ne_bytes(messages.bytes[0..4].try_into().unwrap()), 28);
        assert_eq!(u32::from_ne_bytes(messages.bytes[36..40].try_into().unwrap()), 41);
        let reply = Reply { kind: 7, payload: &messages.bytes[16..28] };
        assert_eq!(reply.attributes(4).text(1), Some("abc"));
        let second = Attributes(&messages.bytes[44..]);
        assert_eq!(second.inside(2).be32(3), Some(9));
    }

    #[test]
    fn an_attribute_that_points_outside_ends_the_walk() {
        for bytes in [&[0u8][..], &[3, 0, 1, 0], &[0, 0, 0, 0], &[200, 0, 1, 0, 5], &[4, 0, 1]] {
            assert!(Attributes(bytes).count() <= 1, "{bytes:?}");
        }
        assert_eq!(Attributes(&[8, 0, 1, 0, 0, 0, 0, 5, 9, 0, 2, 0]).count(), 1);
    }

    #[test]
    fn the_kernel_answers_a_request_for_links() {
        let mut socket =
            Socket::open(SockProtocol::NetlinkRoute, Instant::now() + Duration::from_secs(5)).unwrap();
        let mut messages = Messages::new();
        messages.begin(18, DUMP, &[0; 16]).finish(); // RTM_GETLINK
        let mut names = Vec::new();
        socket
            .talk(&mut messages, 1, &mut |reply| {
                names.extend(reply.attributes(16).text(3).map(str::to_owned))
            })
            .unwrap();
        assert!(names.iter().any(|name| name == "lo"), "{names:?}");
    }
}
