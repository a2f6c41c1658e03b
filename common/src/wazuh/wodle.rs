//! What the `command` wodle reads from us: each line is an event.
//!
//! Wazuh 4.14.7 (`src/wazuh_modules/wm_command.c`, `src/shared/wm_exec.c`)
//! merges standard error into the same pipe, and sends what it got when the
//! program has ended, also when it ended it by SIGTERM. So this is the only
//! writer of a wodle's standard output: whole lines, each of which a pipe
//! takes as a whole or not at all, and nothing else.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use nix::sys::stat::{SFlag, fstat};

use crate::netlink::wait;

/// No line is longer, its newline included: `PIPE_BUF` of Linux, which a pipe
/// that has room takes at once. Far below what Wazuh can carry.
pub const LONGEST: usize = 4096;
/// So much is gathered before it is written.
const BLOCK: usize = 64 * 1024;
/// Between two looks at the deadline, which may have been moved.
const STEP: Duration = Duration::from_millis(50);

/// Lines on their way out.
#[derive(Debug)]
pub struct Lines<W, D> {
    out: W,
    deadline: D,
    in_pieces: bool,
    waiting: Vec<u8>,
    waiting_lines: usize,
    written: usize,
}

impl<W: Write + AsFd, D: Fn() -> Instant> Lines<W, D> {
    /// Lines to this output. A reader who does not read is waited for until
    /// the deadline, which is asked for again and again.
    #[must_use]
    pub fn new(out: W, deadline: D) -> Lines<W, D> {
        let kind = fstat(&out).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
        // Neither a file nor /dev/null makes anybody wait.
        let in_pieces = kind.is_ok_and(|kind| kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK);
        Lines { out, deadline, in_pieces, waiting: Vec::with_capacity(BLOCK), waiting_lines: 0, written: 0 }
    }

    /// Says one line, which `write` appends without its newline. False when
    /// it was too long, or was more than one: then nothing of it is said.
    ///
    /// # Errors
    /// When it, or what waited before it, cannot be written.
    pub fn say(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<bool> {
        if self.waiting.len() + LONGEST > BLOCK {
            self.flush()?;
        }
        let start = self.waiting.len();
        let written = write(&mut self.waiting);
        let line = &self.waiting[start..];
        let good = written.is_ok() && line.len() < LONGEST && !line.contains(&b'\n');
        if good {
            self.waiting.push(b'\n');
            self.waiting_lines += 1;
        } else {
            self.waiting.truncate(start);
        }
        written.map(|()| good)
    }

    /// How many lines have left us as a whole.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// When it cannot be written, `TimedOut` when nobody reads it; what was
    /// not written is forgotten, and [`Lines::written`] tells how far it came.
    pub fn flush(&mut self) -> io::Result<()> {
        let waiting = std::mem::replace(&mut self.waiting, Vec::with_capacity(BLOCK));
        let lines = std::mem::take(&mut self.waiting_lines);
        if !self.in_pieces {
            self.out.write_all(&waiting)?;
            self.written += lines;
            return self.out.flush();
        }
        let mut rest = waiting.as_slice();
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(whole_lines(rest));
            self.wait()?;
            self.out.write_all(piece)?;
            self.written += piece.iter().filter(|&&byte| byte == b'\n').count();
            rest = others;
        }
        self.out.flush()
    }

    fn wait(&self) -> io::Result<()> {
        loop {
            let (now, end) = (Instant::now(), (self.deadline)());
            match wait(self.out.as_fd(), PollFlags::POLLOUT, end.min(now + STEP)) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut && now < end => {}
                waited => return waited,
            }
        }
    }
}

/// The length of as many whole lines as a pipe takes at once.
fn whole_lines(bytes: &[u8]) -> usize {
    let first = &bytes[..bytes.len().min(LONGEST)];
    first.iter().rposition(|&byte| byte == b'\n').map_or(first.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    fn pipe() -> (File, File) {
        let (read, write) = nix::unistd::pipe().unwrap();
        (File::from(read), File::from(write))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn text(text: &[u8]) -> impl FnOnce(&mut Vec<u8>) -> io::Result<()> {
        move |line| line.write_all(text)
    }

    #[test]
    fn what_is_no_single_short_line_is_not_said() {
        let (mut read, write) = pipe();
        let mut lines = Lines::new(write, soon);
        assert!(lines.say(text(b"{}")).unwrap());
        assert!(!lines.say(text(b"{}\n{}")).unwrap());
        assert!(!lines.say(text(&[b'x'; LONGEST])).unwrap());
        assert!(lines.say(text(&[b'x'; LONGEST - 1])).unwrap());
        lines.say(|_| Err(io::ErrorKind::Other.into())).unwrap_err();
        lines.flush().unwrap();
        assert_eq!(lines.written(), 2);
        drop(lines);
        let mut said = Vec::new();
        read.read_to_end(&mut said).unwrap();
        assert_eq!(said.len(), 3 + LONGEST);
    }

    #[test]
    fn a_reader_who_does_not_read_gets_whole_lines_and_no_more_time() {
        let (mut read, write) = pipe();
        let end = Instant::now() + Duration::from_secs(2);
        let mut lines = Lines::new(write, || end);
        let line = [b'x'; 999];
        let error = (0..1000).find_map(|_| lines.say(text(&line)).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let written = lines.written();
        drop(lines);
        let mut said = Vec::new();
        read.read_to_end(&mut said).unwrap();
        assert_eq!(said.len(), written * 1000);
        assert!(written >= 60, "a pipe holds 64 KiB: {written}");
    }

    #[test]
    fn a_reader_who_has_gone_is_an_error() {
        let (read, write) = pipe();
        drop(read);
        let mut lines = Lines::new(write, soon);
        assert!(lines.say(text(b"{}")).unwrap());
        assert_eq!(lines.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(lines.written(), 0);
    }
}
