//! The least that any receiver has to do for one event: read the request,
//! append a line, sync it, answer. It checks nothing, and serves one connection
//! at a time without asking whether there is something to read.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::{LINE, Outcome};

/// The file grows by so many zeros at a time, as a spool does: what only takes
/// the place of others has no length to sync.
const STEP: usize = 16 * 1024 * 1024;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

/// Serves until it is ended.
pub(super) fn serve(address: SocketAddr, path: &Path) -> Outcome<()> {
    let mut lines = Lines::open(path)?;
    for stream in TcpListener::bind(address)?.incoming() {
        answer(&mut stream?, &mut lines)?;
    }
    Ok(())
}

fn answer(stream: &mut TcpStream, lines: &mut Lines) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut bytes = vec![0; 64 * 1024];
    let mut filled = 0;
    loop {
        let length = stream.read(&mut bytes[filled..])?;
        if length == 0 {
            return Ok(());
        }
        filled += length;
        if whole(&bytes[..filled])? {
            filled = 0;
            lines.append()?;
            stream.write_all(ANSWER)?;
        }
    }
}

/// Whether these are a request to the end of its body.
fn whole(bytes: &[u8]) -> Outcome<bool> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let text = std::str::from_utf8(&bytes[..head])?;
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    Ok(bytes.len() >= head + 4 + length.ok_or("a request without a length")?.parse::<usize>()?)
}

struct Lines {
    file: File,
    line: Vec<u8>,
    at: u64,
    end: u64,
}

impl Lines {
    fn open(path: &Path) -> Outcome<Lines> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        let line = format!("{:<width$}\n", "{\"event\":\"security_advisory\"}", width = LINE - 1);
        let mut lines = Lines { file, line: line.into_bytes(), at: 0, end: 0 };
        lines.grow()?;
        Ok(lines)
    }

    fn grow(&mut self) -> Outcome<()> {
        self.file.write_all_at(&vec![0; STEP], self.end)?;
        self.file.sync_all()?;
        self.end += STEP as u64;
        Ok(())
    }

    fn append(&mut self) -> Outcome<()> {
        if self.at + LINE as u64 > self.end {
            self.grow()?;
        }
        self.file.write_all_at(&self.line, self.at)?;
        self.at += LINE as u64;
        Ok(self.file.sync_data()?)
    }
}
