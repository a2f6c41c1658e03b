//! From the spool into the file that Wazuh's agent follows: whole lines, no
//! faster than an agent takes them, rotated so that none is missed.
//!
//! The agent looks every two seconds, and after a rename it reads the old file
//! on until it notices the new one (4.14.7, `src/logcollector/logcollector.c`).
//! So output pauses before each rename until the agent has read everything.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Local, NaiveDate};
use common::record::open_log;
use tokio::sync::mpsc;

use crate::complaint::Complaint;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::spool::{Frame, Reader, Segment, receipt_of};
use crate::writer::{Depth, Job};

/// Two looks of the agent, and a little more.
const READ_BY_THEN: Duration = Duration::from_secs(5);
/// The agent notices a new file within 64 s, and one that was begun and renamed
/// in between it never sees: two such looks, and a little more.
const APART: Duration = Duration::from_secs(150);
/// After so long without anything to do, the file of the spool may end.
const QUIET: Duration = Duration::from_secs(60);
/// Between two writes lines are gathered for so long; the agent looks every two
/// seconds.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is looked whether the file is still where it belongs.
const LOOK: Duration = Duration::from_secs(1);
/// What is put out after the end was announced, at most.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How much is read ahead, in lines and bytes.
const AHEAD: usize = 1000;
const MOST_BYTES: usize = 1024 * 1024;
/// The end of a file, in which its last line is looked for first.
const TAIL: u64 = 256 * 1024;
/// No further back is a line looked for.
const FURTHEST: u64 = 64 * 1024 * 1024;

/// When and how often the file is replaced.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// When it has this size; 0 is never.
    pub size: u64,
    /// At midnight, local time.
    pub daily: bool,
    /// How many old ones are kept.
    pub keep: usize,
}

/// What the thread is started with.
#[derive(Debug)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// The folder of the spool.
    pub spool: PathBuf,
    /// Where it is kept how far it came.
    pub progress: Progress,
    /// What the spool may hold, in bytes.
    pub spool_limit: u64,
    /// Lines in a second; 0 is no limit.
    pub per_second: u32,
    /// See there.
    pub rotation: Rotation,
}

/// Wakes the thread: there is something new, or it shall end.
#[derive(Debug, Default)]
pub struct Signal {
    bell: Mutex<Bell>,
    rings: Condvar,
}

#[derive(Debug, Default)]
struct Bell {
    rung: bool,
    /// Somebody wants to hear it: waking who sleeps costs more than ringing.
    heard: bool,
    over: bool,
}

impl Signal {
    fn bell(&self) -> MutexGuard<'_, Bell> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something new.
    pub fn ring(&self) {
        let mut bell = self.bell();
        bell.rung = true;
        if bell.heard {
            self.rings.notify_all();
        }
    }

    /// It shall end, as soon as everything is put out that the pace allows.
    pub fn end(&self) {
        self.bell().over = true;
        self.rings.notify_all();
    }

    fn is_over(&self) -> bool {
        self.bell().over
    }

    /// Until it rings, at most so long.
    fn wait(&self, limit: Duration) {
        let mut bell = self.bell();
        bell.heard = true;
        let waited = self.rings.wait_timeout_while(bell, limit, |bell| !bell.rung && !bell.over);
        let mut bell = waited.unwrap_or_else(PoisonError::into_inner).0;
        (bell.rung, bell.heard) = (false, false);
    }

    /// So long, whatever rings. False when it shall end.
    fn sleep(&self, time: Duration) -> bool {
        let waited = self.rings.wait_timeout_while(self.bell(), time, |bell| !bell.over);
        !waited.unwrap_or_else(PoisonError::into_inner).0.over
    }
}

/// The output as it was left.
#[derive(Debug)]
pub struct Left {
    file: File,
    /// The receipt of the last whole line in it or in an older one.
    pub last: u64,
    /// The beginning of a line without an end.
    torn: Vec<u8>,
}

fn split(path: &Path) -> io::Result<(&Path, &std::ffi::OsStr)> {
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file");
    Ok((path.parent().ok_or_else(bad)?, path.file_name().ok_or_else(bad)?))
}

/// Opens the file as it is. What `progress` has kept counts where the file
/// says less.
///
/// # Errors
/// When it is no regular file with one name, or cannot be made.
pub fn open(path: &Path, progress: &Progress) -> io::Result<Left> {
    let (folder, name) = split(path)?;
    let file = open_log(folder, name)?;
    let (mut last, torn) = tail(&file)?;
    if last.is_none() {
        last = rotated(path)?.last().and_then(|old| tail(&File::open(old).ok()?).ok()?.0);
    }
    Ok(Left { file, last: last.unwrap_or_default().max(progress.read()), torn })
}

/// The receipt of the last whole line, and what stands behind it.
fn tail(file: &File) -> io::Result<(Option<u64>, Vec<u8>)> {
    let length = file.metadata()?.len();
    let mut size = TAIL;
    loop {
        let start = length.saturating_sub(size);
        let mut bytes = vec![0; usize::try_from(length - start).unwrap_or_default()];
        file.read_exact_at(&mut bytes, start)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1);
        let last =
            whole.and_then(|whole| bytes[..whole].split(|&byte| byte == b'\n').rev().find_map(receipt_of));
        // A power failure may leave much behind it that is none of ours.
        if last.is_some() || start == 0 || size >= FURTHEST {
            return Ok((last, bytes.split_off(whole.unwrap_or_default())));
        }
        size *= 8;
    }
}

/// Where an old one goes.
fn old_name(path: &Path, now: DateTime<Local>) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(now.format(".%Y-%m-%dT%H-%M-%S").to_string());
    PathBuf::from(name)
}

/// When it was renamed.
fn date_of(old: &Path) -> Option<DateTime<Local>> {
    let name = old.to_str()?;
    let date = name.get(name.len().checked_sub(19)?..)?;
    let date = chrono::NaiveDateTime::parse_from_str(date, "%Y-%m-%dT%H-%M-%S").ok()?;
    date.and_local_timezone(Local).earliest()
}

/// The old ones, the oldest first.
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (folder, name) = split(path)?;
    let prefix = [name.as_encoded_bytes(), b"."].concat();
    let dated = |name: &[u8]| {
        let date = name.strip_prefix(prefix.as_slice());
        date.is_some_and(|date| {
            date.len() == 19 && date.iter().all(|b| b.is_ascii_digit() || b"-T".contains(b))
        })
    };
    let entries = std::fs::read_dir(folder)?.flatten();
    let mut old: Vec<PathBuf> = entries
        .filter(|entry| dated(entry.file_name().as_encoded_bytes()))
        .map(|entry| entry.path())
        .collect();
    old.sort();
    Ok(old)
}

/// Starts the thread.
///
/// # Errors
/// When it cannot be started.
pub fn start(
    settings: Settings,
    left: Left,
    depth: Arc<Depth>,
    metrics: Arc<Metrics>,
    signal: Arc<Signal>,
    writer: mpsc::Sender<Job>,
) -> io::Result<std::thread::JoinHandle<()>> {
    depth.put_out.store(left.last.saturating_add(1), Ordering::Release);
    let begun = left.file.metadata()?;
    let day = DateTime::from_timestamp(begun.mtime(), 0).map(|time| time.with_timezone(&Local).date_naive());
    let rotated_at = rotated(&settings.path)?.last().and_then(|old| date_of(old));
    let now = Instant::now();
    let thread = Thread {
        pace: Pace::new(f64::from(settings.per_second), f64::from(settings.per_second), now),
        file: left.file,
        length: begun.len(),
        day: day.filter(|_| begun.len() > 0).unwrap_or_else(|| Local::now().date_naive()),
        last: left.last,
        rest: Vec::new(),
        torn: left.torn,
        begin_anew: false,
        rotated_at,
        looked: now,
        busy: now,
        ahead: VecDeque::new(),
        reading: None,
        complaint: Complaint::default(),
        settings,
        depth,
        metrics,
        signal,
        writer,
    };
    std::thread::Builder::new().name("output".into()).spawn(move || thread.run())
}

struct Thread {
    settings: Settings,
    pace: Pace,
    file: File,
    length: u64,
    day: NaiveDate,
    /// The receipt of the last line that was begun.
    last: u64,
    /// What of it could not be written yet.
    rest: Vec<u8>,
    /// What a crash left of a line.
    torn: Vec<u8>,
    /// The file ends within a line that nobody has the end of.
    begin_anew: bool,
    /// When a file was last renamed.
    rotated_at: Option<DateTime<Local>>,
    /// When it was last looked whether the file is in its place.
    looked: Instant,
    /// When there was last something to do.
    busy: Instant,
    /// What is read of the spool, with receipts.
    ahead: VecDeque<(u64, Vec<u8>)>,
    reading: Option<(Segment, Reader)>,
    complaint: Complaint,
    depth: Arc<Depth>,
    metrics: Arc<Metrics>,
    signal: Arc<Signal>,
    writer: mpsc::Sender<Job>,
}

impl Thread {
    fn run(mut self) {
        while !self.signal.is_over() {
            self.step_or_complain();
        }
        let end = Instant::now() + LAST_LINES;
        while Instant::now() < end && self.depth.lines() > 0 && self.step_or_complain() {}
        // What is left waits in the spool.
        if let Err(error) = self.keep_progress() {
            self.complaint.say(&format!("{}: {error}", self.settings.path.display()));
        }
    }

    /// On the disk, and known to be.
    fn keep_progress(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let begun = u64::from(!self.rest.is_empty());
        // Where the state has no room, the file of the spool that goes next makes
        // some; and the end of the output says the same.
        if let Err(error) = self.settings.progress.keep(self.last.saturating_sub(begun)) {
            self.complaint.say(&format!("the state cannot be written: {error}"));
        }
        Ok(())
    }

    fn step_or_complain(&mut self) -> bool {
        let done = self.step();
        if let Err(error) = &done {
            self.metrics.output_ok.store(false, Ordering::Relaxed);
            self.complaint.say(&format!("{}: {error}", self.settings.path.display()));
            self.signal.sleep(Duration::from_secs(1));
        }
        done.is_ok()
    }

    fn step(&mut self) -> io::Result<()> {
        self.look_ahead()?;
        self.look_for_the_file()?;
        self.end_torn_line()?;
        if self.rotation_is_due() {
            self.rotate()?;
        }
        if self.begin_anew || (self.ahead.is_empty() && self.rest.is_empty()) {
            return self.rest();
        }
        self.busy = Instant::now();
        let allowed = self.pace.take(self.ahead.len(), Instant::now());
        if allowed == 0 && self.rest.is_empty() {
            self.signal.sleep(Duration::from_millis(50));
            return Ok(());
        }
        self.put(allowed)?;
        if self.ahead.is_empty() {
            // Of what comes now, more goes with one write.
            self.signal.sleep(GATHER);
        }
        Ok(())
    }

    /// Nothing to do: the file of the spool ends, when there is something in it
    /// and it is quiet or room is wanted.
    fn rest(&mut self) -> io::Result<()> {
        let bytes = self.depth.bytes.load(Ordering::Acquire);
        let wanted = bytes >= self.settings.spool_limit / 4;
        if !self.begin_anew && bytes > 0 && (wanted || self.busy.elapsed() > QUIET) {
            self.busy = Instant::now();
            let _ = self.writer.try_send(Job::Turn);
        }
        self.signal.wait(Duration::from_secs(1));
        Ok(())
    }

    /// Reads on, as far as there is something, and room for it. What is not
    /// known to be on the disk is not looked at: should it get lost, its sender
    /// sends it again.
    fn look_ahead(&mut self) -> io::Result<()> {
        let folder = self.settings.spool.clone();
        while self.ahead.len() < AHEAD {
            if self.reading.is_none() {
                let Some(first) = Segment::all(&folder)?.into_iter().next() else { return Ok(()) };
                let reader = Reader::open(&first, &folder)?;
                self.reading = Some((first, reader));
            }
            let Some((segment, reader)) = &mut self.reading else { return Ok(()) };
            if let Some(frame) = reader.frame(self.depth.next.load(Ordering::Acquire))? {
                self.take(frame);
                continue;
            }
            let Some(next) = Segment::all(&folder)?.into_iter().find(|other| *other > *segment) else {
                return Ok(());
            };
            // There is another one, so nothing is appended to this one any more.
            if let Some(frame) = reader.frame_behind_damage()? {
                self.take(frame);
                continue;
            }
            if !self.ahead.is_empty() || !self.rest.is_empty() {
                return Ok(());
            }
            // All of it is put out: on the disk, before it goes.
            let done = segment.clone();
            self.keep_progress()?;
            let reader = Reader::open(&next, &folder)?;
            // A receipt may have been left out.
            self.depth.put_out.fetch_max(next.first_receipt(), Ordering::AcqRel);
            self.reading = Some((next, reader));
            // The writer has gone: we shall soon end, too.
            let _ = self.writer.blocking_send(Job::Retire(done));
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame) {
        let lines = (frame.receipt..).zip(frame.lines);
        self.ahead.extend(lines.filter(|(receipt, _)| *receipt > self.last));
    }

    /// Somebody may have moved or removed the file: then a new one is begun. What
    /// goes into one without a name nobody ever reads, so that is looked for
    /// before each write.
    fn look_for_the_file(&mut self) -> io::Result<()> {
        let is_removed = self.file.metadata()?.nlink() == 0;
        let is_due = self.looked.elapsed() >= LOOK;
        if is_due {
            self.looked = Instant::now();
        }
        if is_removed || is_due && !self.is_in_place() { self.open_anew() } else { Ok(()) }
    }

    fn is_in_place(&self) -> bool {
        let there = std::fs::symlink_metadata(&self.settings.path).map(|meta| (meta.dev(), meta.ino()));
        let ours = self.file.metadata().map(|meta| (meta.dev(), meta.ino()));
        there.is_ok_and(|there| ours.is_ok_and(|ours| ours == there))
    }

    fn open_anew(&mut self) -> io::Result<()> {
        let (folder, name) = split(&self.settings.path)?;
        self.file = open_log(folder, name)?;
        self.length = self.file.metadata()?.len();
        self.day = Local::now().date_naive();
        self.begin_anew = false;
        Ok(())
    }

    /// After a crash the file may end within a line. When the spool has the
    /// line, its rest is written; else a new file is begun.
    fn end_torn_line(&mut self) -> io::Result<()> {
        if self.torn.is_empty() {
            return Ok(());
        }
        let torn = std::mem::take(&mut self.torn);
        match self.ahead.front() {
            Some((receipt, line)) if line.starts_with(&torn) => {
                self.rest = line[torn.len()..].to_vec();
                self.last = *receipt;
                self.ahead.pop_front();
                self.put(0)
            }
            _ => {
                self.begin_anew = true;
                Ok(())
            }
        }
    }

    /// Writes what is left of a line, and so many more, with one write.
    fn put(&mut self, lines: usize) -> io::Result<()> {
        if self.length == 0 {
            // However long it was empty: it is of the day of its first line.
            self.day = Local::now().date_naive();
        }
        let mut bytes = std::mem::take(&mut self.rest);
        for _ in 0..lines {
            if bytes.len() > MOST_BYTES {
                break;
            }
            let Some((receipt, line)) = self.ahead.pop_front() else { break };
            bytes.extend_from_slice(&line);
            self.last = receipt;
        }
        let written = self.file.write(&bytes);
        let done = written.as_ref().copied().unwrap_or_default();
        self.length += done as u64;
        self.rest = bytes.split_off(done);
        let ends = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.metrics.put_out.fetch_add(ends(&bytes), Ordering::Relaxed);
        // What is begun counts as put out when its end is written, too.
        self.depth
            .put_out
            .store(self.last.saturating_add(1).saturating_sub(ends(&self.rest)), Ordering::Release);
        written?;
        if self.rest.is_empty() {
            self.metrics.output_ok.store(true, Ordering::Relaxed);
            return Ok(());
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    fn rotation_is_due(&self) -> bool {
        let rotation = &self.settings.rotation;
        let full = rotation.size > 0 && self.length >= rotation.size;
        let old = rotation.daily && self.length > 0 && Local::now().date_naive() != self.day;
        let since = self.rotated_at.map(|at| Local::now().signed_duration_since(at).to_std());
        // A clock that was set back must not keep it from ever happening again.
        let apart = since.is_none_or(|since| since.is_err() || since.is_ok_and(|since| since >= APART));
        self.rest.is_empty() && (full || old || self.begin_anew) && apart
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.signal.sleep(READ_BY_THEN) { self.replace() } else { Ok(()) }
    }

    /// Renames the file and begins a new one; removes the oldest.
    fn replace(&mut self) -> io::Result<()> {
        self.keep_progress()?;
        let path = self.settings.path.clone();
        if self.is_in_place() {
            let mut now = Local::now();
            while old_name(&path, now).exists() {
                now += chrono::TimeDelta::seconds(1);
            }
            std::fs::rename(&path, old_name(&path, now))?;
            self.rotated_at = Some(now);
        }
        self.open_anew()?;
        let all = rotated(&path)?;
        for gone in all.iter().take(all.len().saturating_sub(self.settings.rotation.keep)) {
            std::fs::remove_file(gone)?;
        }
        File::open(split(&path)?.0)?.sync_all()
    }
}
