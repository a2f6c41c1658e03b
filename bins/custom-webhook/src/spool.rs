//! What was accepted, on the disk before it is answered: files of frames, each
//! frame one delivery with its lines and the ids under which a repeat of it is
//! known.
//!
//! A frame is `length, checksum, payload` (little endian, 4 bytes each), its
//! payload `receipt u64, time u32, ids u8, lines u16, ids of 16 bytes, lines of
//! u32 and bytes`. Receipts count lines, and never begin anew. What a crash left
//! of a last frame is left out: nobody was told that it had been accepted.
//!
//! A file grows by a step of zeros at a time, so that most frames only overwrite
//! what is there: the disk has half the work with it. Zeros behind the last frame
//! are its end; when it is whole, they are cut off.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::state::OWN_FILE;

use crate::source::{Id, Line};

/// The longest payload: 25 MB of body become less than that many bytes of lines.
const LONGEST: usize = 64 * 1024 * 1024;
/// What comes before the payload.
const HEAD: usize = 8;
/// A file is followed by another one when it has this size, or a quarter of what
/// the spool may hold.
const SEGMENT: u64 = 8 * 1024 * 1024;
/// By how much a file grows.
const STEP: u64 = 256 * 1024;
/// Behind damage, the next frame has a receipt that is not much larger.
const NEAR: u64 = 10_000_000;

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The receipt of its first line; the others follow.
    pub receipt: u64,
    /// When it was accepted, in seconds since 1970.
    pub at: u32,
    /// Under which it is known.
    pub ids: Vec<Id>,
    /// Each ends with its receipt and a newline.
    pub lines: Vec<Vec<u8>>,
}

/// Gives a line its receipt: by it the output knows, also after a crash, what
/// it has written already.
#[must_use]
pub fn stamped(line: &Line, receipt: u64) -> Vec<u8> {
    let object = line.as_bytes();
    let mut stamped = Vec::with_capacity(object.len() + 40);
    stamped.extend_from_slice(object.strip_suffix(b"}").unwrap_or(object));
    stamped.extend_from_slice(format!(",\"receipt\":\"{receipt}\"}}\n").as_bytes());
    stamped
}

/// The receipt of a line that [`stamped`] made.
#[must_use]
pub fn receipt_of(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\"}")?;
    let at = line.iter().rposition(|&byte| byte == b'"')?;
    line[..at].ends_with(b",\"receipt\":").then_some(())?;
    std::str::from_utf8(&line[at + 1..]).ok()?.parse().ok()
}

impl Frame {
    /// Appends it to a buffer.
    pub fn write(&self, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        buffer.extend_from_slice(&[0; HEAD]);
        buffer.extend_from_slice(&self.receipt.to_le_bytes());
        buffer.extend_from_slice(&self.at.to_le_bytes());
        // More than these a source never makes.
        buffer.push(u8::try_from(self.ids.len()).unwrap_or(u8::MAX));
        buffer.extend_from_slice(&u16::try_from(self.lines.len()).unwrap_or(u16::MAX).to_le_bytes());
        for id in self.ids.iter().take(u8::MAX.into()) {
            buffer.extend_from_slice(id.as_bytes());
        }
        for line in self.lines.iter().take(u16::MAX.into()) {
            buffer.extend_from_slice(&u32::try_from(line.len()).unwrap_or(u32::MAX).to_le_bytes());
            buffer.extend_from_slice(line);
        }
        let payload = &buffer[start + HEAD..];
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        let sum = crc32fast::hash(payload).to_le_bytes();
        buffer[start..start + 4].copy_from_slice(&length);
        buffer[start + 4..start + HEAD].copy_from_slice(&sum);
    }

    /// Reads one from the beginning of these bytes, and how long it is. `None`
    /// when there is no whole, undamaged frame.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<(Frame, usize)> {
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let length = usize::try_from(number(0)?).ok().filter(|length| *length <= LONGEST)?;
        let payload = bytes.get(HEAD..HEAD + length)?;
        if crc32fast::hash(payload) != number(4)? {
            return None;
        }
        let mut rest = Rest(payload);
        let receipt = u64::from_le_bytes(rest.take()?);
        let at = u32::from_le_bytes(rest.take()?);
        let [ids] = rest.take()?;
        let lines = u16::from_le_bytes(rest.take()?);
        let ids = (0..ids).map(|_| rest.take().map(Id::from_bytes)).collect::<Option<Vec<_>>>()?;
        let line = |rest: &mut Rest<'_>| {
            let length = usize::try_from(u32::from_le_bytes(rest.take()?)).ok()?;
            rest.slice(length).map(<[u8]>::to_vec)
        };
        let lines = (0..lines).map(|_| line(&mut rest)).collect::<Option<Vec<_>>>()?;
        Some((Frame { receipt, at, ids, lines }, HEAD + length))
    }

    /// Whether these bytes end before the frame does that they begin.
    fn is_cut_off(bytes: &[u8]) -> bool {
        let Some((head, _)) = bytes.split_first_chunk() else { return true };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        length <= LONGEST && bytes.len() < HEAD + length
    }

    /// The receipt that follows it.
    #[must_use]
    pub fn next_receipt(&self) -> u64 {
        self.receipt.saturating_add(self.lines.len() as u64)
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }
}

/// One file of frames: its name is the first receipt in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment(u64);

impl Segment {
    /// No frame in it has a smaller receipt.
    #[must_use]
    pub fn first_receipt(&self) -> u64 {
        self.0
    }

    /// Its path.
    #[must_use]
    pub fn path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{:020}.spool", self.0))
    }

    /// All that are there, the oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(folder: &Path) -> io::Result<Vec<Segment>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_suffix(".spool")).and_then(|n| n.parse().ok());
            all.extend(number.map(Segment));
        }
        all.sort_unstable();
        Ok(all)
    }
}

/// Reads frames one after the other, of a file that may grow meanwhile.
#[derive(Debug)]
pub struct Reader {
    file: File,
    /// Where the buffer begins in the file.
    offset: u64,
    buffer: Vec<u8>,
    /// What of the buffer is done with.
    used: usize,
    block: Box<[u8]>,
    least_receipt: u64,
    skipped: u64,
}

/// How much is read at a time.
const BLOCK: usize = 128 * 1024;

impl Reader {
    /// From the beginning of a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(segment: &Segment, folder: &Path) -> io::Result<Reader> {
        Ok(Reader {
            file: open(OpenOptions::new().read(true), &segment.path(folder))?,
            offset: 0,
            buffer: Vec::new(),
            used: 0,
            block: vec![0; BLOCK].into(),
            least_receipt: segment.0,
            skipped: 0,
        })
    }

    /// The next whole frame, if its receipt is a smaller one than `before`;
    /// `None` when there is none (yet).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn frame(&mut self, before: u64) -> io::Result<Option<Frame>> {
        if let Some(frame) = self.read_ahead(before) {
            return Ok(Some(frame));
        }
        // What was read ahead may be older than what is there now.
        self.buffer.truncate(self.used);
        while self.more()? {
            if let Some(frame) = self.read_ahead(before) {
                return Ok(Some(frame));
            }
            if !Frame::is_cut_off(&self.buffer) {
                break;
            }
        }
        Ok(None)
    }

    fn read_ahead(&mut self, before: u64) -> Option<Frame> {
        let (frame, length) =
            Frame::read(&self.buffer[self.used..]).filter(|(frame, _)| frame.receipt < before)?;
        self.used += length;
        Some(frame)
    }

    /// Reads on; false at the end of the file.
    fn more(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.used);
        self.offset += self.used as u64;
        self.used = 0;
        let read = self.file.read_at(&mut self.block, self.offset + self.buffer.len() as u64)?;
        self.buffer.extend_from_slice(&self.block[..read]);
        Ok(read > 0)
    }

    /// As [`Reader::frame`], of a file that is not written any more: what is
    /// damaged in it is skipped.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn frame_behind_damage(&mut self) -> io::Result<Option<Frame>> {
        if let Some(frame) = self.frame(u64::MAX)? {
            return Ok(Some(frame));
        }
        while self.more()? {}
        let rest = &self.buffer[self.used..];
        let found =
            (1..rest.len()).find(|at| self.is_likely(&rest[*at..]) && Frame::read(&rest[*at..]).is_some());
        // Without another one it is the end, where a crash leaves half a frame.
        let Some(at) = found else { return Ok(None) };
        self.skipped += at as u64;
        self.used += at;
        self.frame(u64::MAX)
    }

    /// Whether a frame may begin here; cheaper than its checksum.
    fn is_likely(&self, bytes: &[u8]) -> bool {
        let receipt =
            bytes.get(HEAD..HEAD + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        receipt.is_some_and(|receipt| (self.least_receipt..self.least_receipt + NEAR).contains(&receipt))
    }

    /// Whether there are only zeros behind the last frame, once
    /// [`Reader::frame_behind_damage`] has found no other.
    fn is_blank(&self) -> bool {
        let rest = &self.buffer[self.used..];
        !rest.is_empty() && rest.iter().all(|&byte| byte == 0)
    }

    /// How far it came.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.offset + self.used as u64
    }

    /// Bytes that were damaged.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// The end of the spool, at which frames are appended.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    file: File,
    segment: Segment,
    /// Bytes of frames in it.
    length: u64,
    /// Bytes in it: behind the frames there are zeros.
    room: u64,
    /// The others that are still there, and how many bytes of frames are in them.
    older: BTreeMap<Segment, u64>,
    next_receipt: u64,
    /// The size at which another file follows.
    most: u64,
}

impl Writer {
    /// Opens a new file behind all that are there. `each` sees every frame that
    /// is in them; `least` is the smallest receipt that may be given next, and
    /// `limit` what all files may hold.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(folder: &Path, least: u64, limit: u64, mut each: impl FnMut(&Frame)) -> io::Result<Writer> {
        let mut next_receipt = least.max(1);
        let mut older = BTreeMap::new();
        for segment in Segment::all(folder)? {
            let mut reader = Reader::open(&segment, folder)?;
            while let Some(frame) = reader.frame_behind_damage()? {
                next_receipt = next_receipt.max(frame.next_receipt());
                each(&frame);
            }
            if reader.skipped() > 0 {
                let path = segment.path(folder);
                tracing::error!("{}: {} bytes are damaged and left out", path.display(), reader.skipped());
            }
            if reader.is_blank() {
                // Whoever wrote it was killed.
                open(OpenOptions::new().write(true), &segment.path(folder))?.set_len(reader.position())?;
            }
            // One that is empty has this name already.
            next_receipt = next_receipt.max(segment.0 + u64::from(reader.position() > 0));
            older.insert(segment, reader.position());
        }
        let segment = Segment(next_receipt);
        older.remove(&segment);
        let most = SEGMENT.min(limit / 4).max(1);
        let file = create(&segment.path(folder))?;
        Ok(Writer { folder: folder.to_owned(), file, segment, length: 0, room: 0, older, next_receipt, most })
    }

    /// The receipt of the next line.
    #[must_use]
    pub fn next_receipt(&self) -> u64 {
        self.next_receipt
    }

    /// Appends frames (as [`Frame::write`] made them) with one write, and
    /// returns when they are on the disk. On an error none of them is there.
    ///
    /// # Errors
    /// When the disk is full or broken.
    pub fn append(&mut self, frames: &[u8], next_receipt: u64) -> io::Result<()> {
        if self.is_whole() {
            self.follow()?;
        }
        self.put(frames)?;
        self.length += frames.len() as u64;
        self.next_receipt = next_receipt;
        Ok(())
    }

    /// On the disk, or not there at all.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.write(bytes).and_then(|room| self.file.sync_data().map(|()| room)) {
            Ok(room) => self.room = room,
            Err(error) => {
                // The next one begins where this one began; and nobody finds half of it.
                self.end();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes them, with zeros behind them where the file ends; returns where it
    /// ends then.
    fn write(&self, frames: &[u8]) -> io::Result<u64> {
        let end = self.length + frames.len() as u64;
        if end <= self.room {
            self.file.write_all_at(frames, self.length)?;
            return Ok(self.room);
        }
        let room = end.next_multiple_of(STEP.min(self.most));
        let mut grown = frames.to_vec();
        grown.resize(usize::try_from(room - self.length).unwrap_or(frames.len()), 0);
        if self.file.write_all_at(&grown, self.length).is_ok() {
            return Ok(room);
        }
        // A disk that is nearly full may have room for the frames alone.
        self.file.write_all_at(frames, self.length)?;
        Ok(end)
    }

    /// Tries whether there is room for so much, without anything to say.
    ///
    /// # Errors
    /// When the disk is full or broken.
    pub fn probe(&mut self, bytes: usize) -> io::Result<()> {
        self.put(&vec![0; bytes])
    }

    /// Whether another file should follow.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.length >= self.most
    }

    /// Goes on in a new file, so that this one can go when it is put out. Not
    /// between the making of frames and their [`Writer::append`].
    ///
    /// # Errors
    /// When there is no room for another; then this one goes on.
    pub fn turn(&mut self) -> io::Result<()> {
        if self.length > 0 && self.next_receipt == self.segment.0 {
            // Deliveries without a line: a receipt is left out, or the next one
            // would have the name of this one, and this one would never go.
            self.next_receipt += 1;
        }
        self.follow()
    }

    fn follow(&mut self) -> io::Result<()> {
        // Without a line in it, the next one would have its name.
        if self.next_receipt > self.segment.0 {
            let segment = Segment(self.next_receipt);
            let file = create(&segment.path(&self.folder))?;
            self.end();
            (self.file, self.room) = (file, 0);
            let whole = std::mem::replace(&mut self.segment, segment);
            self.older.insert(whole, std::mem::take(&mut self.length));
        }
        Ok(())
    }

    /// Cuts off what is behind the frames.
    pub fn end(&mut self) {
        self.room = self.length;
        if let Err(error) = self.file.set_len(self.length) {
            tracing::debug!("{}: {error}", self.segment.path(&self.folder).display());
        }
    }

    /// One of the others is not there any more.
    pub fn forget(&mut self, segment: &Segment) {
        self.older.remove(segment);
    }

    /// Bytes of frames, in all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.length + self.older.values().sum::<u64>()
    }

    /// The file that is being written: all others are whole.
    #[must_use]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }
}

/// A link, or what one could wait at, is no file of ours.
fn open(how: &mut OpenOptions, path: &Path) -> io::Result<File> {
    how.custom_flags(OWN_FILE).open(path)
}

/// A new file, or an empty one that was never used.
fn create(path: &Path) -> io::Result<File> {
    let file = open(OpenOptions::new().write(true).create(true).truncate(true).mode(0o600), path)?;
    // The name is on the disk before anything in it is promised.
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
