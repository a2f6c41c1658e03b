//! Decides what is new and puts it on the disk: everything that waits for it
//! goes with one write and one fdatasync, and only then is any of it answered.
//!
//! A thread does that, so that a disk may be slow without anybody noticing who
//! waits for something else. To hand one delivery over and back costs as much as
//! all the rest of it, so what comes alone, at a disk that was quick until now,
//! is written where it is.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use crate::complaint::Complaint;
use crate::metrics::Metrics;
use crate::output::Signal;
use crate::seen::{Archive, Seen};
use crate::source::{Id, Line};
use crate::spool::{self, Frame, Reader, Segment, stamped};

/// What may wait at a time: the senders of more wait for room.
const QUEUE: usize = 1024;
/// What goes with one write, in deliveries and bytes of lines.
const MOST_JOBS: usize = 512;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The room that the next delivery may need, in bytes.
pub const ONE_MORE: usize = 64 * 1024;
/// Room that is left for what is said of ourselves, in bytes: that the spool is
/// full is worth a line.
const OWN_WORDS: u64 = 16 * 1024;
/// A disk that takes longer is not waited for where requests are served.
const QUICK: Duration = Duration::from_millis(2);

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// On the disk; the receipt of its first line.
    New(u64),
    /// It was accepted before.
    Repeat,
    /// It comes under a name of its own, and holds what was accepted before.
    Alike,
    /// There is no room for it.
    Full,
}

/// Work for the thread.
#[derive(Debug)]
pub enum Job {
    /// A delivery, and who waits for it. Nobody waits for what we say ourselves.
    Write {
        /// What is to be written.
        lines: Vec<Line>,
        /// Under which it is known.
        ids: Vec<Id>,
        /// Who waits.
        answer: Option<oneshot::Sender<Written>>,
    },
    /// All lines of a file of the spool are in the output, and on the disk.
    Retire(Segment),
    /// Everything is put out: the file that is being written may end.
    Turn,
    /// Look whether what could not be done can be done now.
    TryAgain,
}

/// How much is in the spool, for everybody to see.
#[derive(Debug, Default)]
pub struct Depth {
    /// The next receipt that is given.
    pub next: AtomicU64,
    /// The next receipt that is put out.
    pub put_out: AtomicU64,
    /// Bytes of deliveries, in all files of the spool.
    pub bytes: AtomicU64,
}

impl Depth {
    /// Lines that wait to be put out.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.next.load(Ordering::Acquire).saturating_sub(self.put_out.load(Ordering::Acquire))
    }
}

/// What the thread is started with.
#[derive(Debug)]
pub struct Settings {
    /// The folder of the state.
    pub state: PathBuf,
    /// The most that the spool may hold, in bytes.
    pub limit: u64,
    /// Repeats: how many are known, and for how long.
    pub most_known: usize,
    /// See there.
    pub window: Duration,
    /// The smallest receipt that may be given: behind what the output has.
    pub least_receipt: u64,
}

/// Where deliveries are handed in.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    keeper: Arc<Mutex<Keeper>>,
    /// How many wait.
    waiting: Arc<AtomicUsize>,
}

/// One who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Writer {
    /// On the disk when this returns, known already, or refused. `None` when
    /// everything has ended.
    pub async fn write(&self, lines: Vec<Line>, ids: Vec<Id>) -> Option<Written> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _one = Waiting(&self.waiting);
        // Whoever else has something now gets as far as we are.
        tokio::task::yield_now().await;
        if self.waiting.load(Ordering::Relaxed) == 1
            && let Ok(mut keeper) = self.keeper.try_lock()
            && keeper.is_quick
        {
            return Some(keeper.write_one(&lines, ids));
        }
        let (sender, written) = oneshot::channel();
        self.jobs.send(Job::Write { lines, ids, answer: Some(sender) }).await.ok()?;
        written.await.ok()
    }

    /// Hands in what nobody waits for; false when there is no room for it.
    pub fn hand_in(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// For one who has other work for the thread.
    #[must_use]
    pub fn jobs(&self) -> mpsc::Sender<Job> {
        self.jobs.clone()
    }
}

/// Starts it; it ends when all that is returned is gone.
///
/// # Errors
/// When the spool cannot be read or written.
pub fn start(
    settings: Settings,
    depth: Arc<Depth>,
    metrics: Arc<Metrics>,
    signal: Arc<Signal>,
) -> io::Result<(Writer, std::thread::JoinHandle<()>)> {
    let folder = folder(&settings.state);
    std::fs::create_dir_all(&folder)?;
    let mut seen = Seen::new(settings.most_known, settings.window);
    let archive = Archive::open(&settings.state.join("seen"), &mut seen)?;
    let spool = spool::Writer::open(&folder, settings.least_receipt, settings.limit, |frame| {
        seen.add(&frame.ids, frame.at)
    })?;
    depth.next.store(spool.next_receipt(), Ordering::Release);
    depth.bytes.store(spool.bytes(), Ordering::Release);
    let (jobs, receiver) = mpsc::channel(QUEUE);
    let keeper = Keeper {
        limit: settings.limit,
        folder,
        seen,
        archive,
        spool,
        retired: Vec::new(),
        complaint: Complaint::default(),
        is_quick: true,
        refused: 0,
        depth,
        metrics,
        signal,
    };
    let keeper = Arc::new(Mutex::new(keeper));
    let writer = Writer { jobs, keeper: Arc::clone(&keeper), waiting: Arc::default() };
    let handle = std::thread::Builder::new().name("writer".into()).spawn(move || run(&keeper, receiver))?;
    Ok((writer, handle))
}

/// Where the spool lies in the state.
#[must_use]
pub fn folder(state: &Path) -> PathBuf {
    state.join("spool")
}

fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// What is known and written. Whoever has it decides.
struct Keeper {
    limit: u64,
    folder: PathBuf,
    seen: Seen,
    archive: Archive,
    spool: spool::Writer,
    /// Those that are put out and could not be removed yet.
    retired: Vec<Segment>,
    complaint: Complaint,
    /// The disk was quick, the last time.
    is_quick: bool,
    /// What it did not take, in bytes: that something smaller goes says nothing.
    refused: usize,
    depth: Arc<Depth>,
    metrics: Arc<Metrics>,
    signal: Arc<Signal>,
}

/// What goes with one write.
#[derive(Default)]
struct Batch {
    frames: Vec<u8>,
    next: u64,
    ids: HashSet<Id>,
    known: Vec<(Vec<Id>, u32)>,
    answers: Vec<(oneshot::Sender<Written>, Written)>,
}

fn run(keeper: &Mutex<Keeper>, mut jobs: mpsc::Receiver<Job>) {
    let keeper = || keeper.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(first) = jobs.blocking_recv() {
        keeper().work(first, &mut jobs);
    }
    keeper().spool.end();
}

impl Keeper {
    /// This, and what has come meanwhile.
    fn work(&mut self, first: Job, jobs: &mut mpsc::Receiver<Job>) {
        let mut batch = self.batch();
        let mut later = Vec::new();
        let mut taken = 0;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            taken += 1;
            match job {
                Job::Write { lines, ids, answer } => {
                    // Nobody waits for what is said of ourselves.
                    let limit = if answer.is_some() { self.for_senders() } else { self.limit };
                    let written = self.take(&mut batch, &lines, ids, limit);
                    batch.answers.extend(answer.map(|answer| (answer, written)));
                }
                Job::Retire(segment) => {
                    self.retired.push(segment);
                    self.retire();
                }
                // The frames that are made already are of this file.
                Job::Turn | Job::TryAgain => later.push(job),
            }
            if taken < MOST_JOBS && batch.frames.len() < MOST_BYTES {
                next = jobs.try_recv().ok();
            }
        }
        let done = self.commit(&batch);
        for (answer, written) in batch.answers {
            // A repeat of what could not be written is none.
            let _ = answer.send(if done { written } else { Written::Full });
        }
        for job in later {
            if matches!(job, Job::Turn) { self.turn() } else { self.try_again() }
        }
    }

    fn turn(&mut self) {
        if let Err(error) = self.spool.turn() {
            self.complaint.say(&format!("the spool cannot be written: {error}"));
        }
        self.signal.ring();
    }

    fn write_one(&mut self, lines: &[Line], ids: Vec<Id>) -> Written {
        let mut batch = self.batch();
        let written = self.take(&mut batch, lines, ids, self.for_senders());
        if self.commit(&batch) { written } else { Written::Full }
    }

    /// What deliveries may fill.
    fn for_senders(&self) -> u64 {
        self.limit - OWN_WORDS.min(self.limit / 16)
    }

    fn batch(&mut self) -> Batch {
        if self.spool.is_whole() {
            self.turn();
        }
        Batch { next: self.spool.next_receipt(), ..Batch::default() }
    }

    fn take(&self, batch: &mut Batch, lines: &[Line], ids: Vec<Id>, limit: u64) -> Written {
        let at = now();
        // Of one in this batch, too: it is answered when that is on the disk.
        let known = |id: &Id| self.seen.has(id, at) || batch.ids.contains(id);
        if ids.first().is_some_and(known) {
            Written::Repeat
        } else if ids.iter().any(known) {
            Written::Alike
        } else {
            let receipt = batch.next;
            let stamped: Vec<Vec<u8>> =
                (receipt..).zip(lines).map(|(receipt, line)| stamped(line, receipt)).collect();
            let frame = Frame { receipt, at, ids, lines: stamped };
            let before = batch.frames.len();
            frame.write(&mut batch.frames);
            let standing = self.depth.bytes.load(Ordering::Acquire);
            if standing + batch.frames.len() as u64 > limit {
                batch.frames.truncate(before);
                self.metrics.room.store(false, Ordering::Relaxed);
                Written::Full
            } else {
                self.metrics.room.store(true, Ordering::Relaxed);
                batch.next = frame.next_receipt();
                batch.ids.extend(&frame.ids);
                batch.known.push((frame.ids, at));
                Written::New(receipt)
            }
        }
    }

    /// True when all of it is on the disk.
    fn commit(&mut self, batch: &Batch) -> bool {
        if batch.frames.is_empty() {
            return true;
        }
        let start = Instant::now();
        let done = self.spool.append(&batch.frames, batch.next);
        self.is_quick = start.elapsed() < QUICK;
        let size = batch.frames.len().min(ONE_MORE);
        match &done {
            Ok(()) => {
                self.refused = if size < self.refused { self.refused } else { 0 };
                for (ids, at) in &batch.known {
                    self.seen.add(ids, *at);
                }
                self.depth.bytes.store(self.spool.bytes(), Ordering::Release);
                self.depth.next.store(batch.next, Ordering::Release);
                self.metrics.commits.fetch_add(1, Ordering::Relaxed);
                let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.metrics.commit_us.fetch_add(took, Ordering::Relaxed);
                self.metrics.known.store(self.seen.len() as u64, Ordering::Relaxed);
                self.signal.ring();
            }
            Err(error) => {
                self.refused = size.max(self.refused);
                self.complaint.say(&format!("the spool cannot be written: {error}"));
            }
        }
        self.metrics.disk_ok.store(self.refused == 0, Ordering::Relaxed);
        done.is_ok()
    }

    /// Tries again what failed: whoever asks whether we are ready sends nothing.
    fn try_again(&mut self) {
        self.retire();
        if self.refused > 0 {
            // What fills the disk may be this file, which is put out long since.
            if self.spool.turn().is_ok() {
                self.signal.ring();
            }
            if self.spool.probe(self.refused).is_ok() {
                self.refused = 0;
                self.metrics.disk_ok.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Of all that are put out the ids are kept, then they are removed.
    fn retire(&mut self) {
        let waiting = std::mem::take(&mut self.retired);
        for segment in waiting {
            if segment == *self.spool.segment() {
                continue;
            }
            match self.remove(&segment) {
                Ok(()) => {
                    self.spool.forget(&segment);
                    self.depth.bytes.store(self.spool.bytes(), Ordering::Release);
                    self.metrics.room.store(true, Ordering::Relaxed);
                }
                Err(error) => {
                    self.complaint.say(&format!("{}: {error}", segment.path(&self.folder).display()));
                    self.retired.push(segment);
                }
            }
        }
    }

    fn remove(&mut self, segment: &Segment) -> io::Result<()> {
        let path = segment.path(&self.folder);
        let mut reader = match Reader::open(segment, &self.folder) {
            // Somebody was faster: nothing is left to keep or to remove.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let mut ids = Vec::new();
        while let Some(frame) = reader.frame_behind_damage()? {
            ids.extend(frame.ids.iter().map(|id| (*id, frame.at)));
        }
        match self.archive.keep(&ids, &self.seen) {
            // This file may be what the disk is full of: then it goes first.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                std::fs::remove_file(&path)?;
                if let Err(error) = self.archive.keep(&ids, &self.seen) {
                    self.complaint.say(&format!("repeats will not be known after a restart: {error}"));
                }
            }
            kept => {
                kept?;
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}
