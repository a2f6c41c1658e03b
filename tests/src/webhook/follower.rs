//! The one who reads the output: logcollector of Wazuh's agent, as far as its
//! way of following a file goes (4.14.7, `src/logcollector/logcollector.c`).
//!
//! Every so often it reads what is there, whole lines only. Less often it looks
//! whether the file is still the same one; if it is not, it closes the old one
//! **without reading what is left**, and begins the new one at its beginning.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lines;

/// Between two reads (`logcollector.loop_timeout`).
pub const READ: Duration = Duration::from_secs(2);
/// Between two looks at the inode (`logcollector.vcheck_files`).
pub const LOOK: Duration = Duration::from_secs(64);

/// Follows a file until it is asked what it has read.
#[derive(Debug)]
pub struct Follower {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Followed>,
}

/// What it has read.
#[derive(Debug, Default)]
pub struct Followed {
    /// All lines, in their order.
    pub lines: Vec<Value>,
    /// How often the file was another one.
    pub rotations: usize,
    /// How often it was smaller than before, which is an alert.
    pub truncations: usize,
}

impl Follower {
    /// Reads and looks this often.
    ///
    /// # Panics
    /// When there can be no thread.
    #[must_use]
    pub fn start(path: &Path, read: Duration, look: Duration) -> Follower {
        let over = Arc::new(AtomicBool::new(false));
        let (path, ended) = (path.to_owned(), Arc::clone(&over));
        let thread =
            std::thread::spawn(move || follow(&path, read, look, &ended).expect("a file that can be read"));
        Follower { over, thread }
    }

    /// What it has read; at its end it reads and looks once more.
    ///
    /// # Panics
    /// When it met a line that an agent does not take.
    #[must_use]
    pub fn stop(self) -> Followed {
        self.over.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

struct Open {
    file: File,
    path: PathBuf,
    inode: u64,
    at: u64,
}

impl Open {
    fn new(path: &Path) -> io::Result<Open> {
        let file = File::open(path)?;
        Ok(Open { inode: file.metadata()?.ino(), file, path: path.to_owned(), at: 0 })
    }

    /// Whole lines; what is only begun is read again.
    fn read(&mut self) -> io::Result<Vec<Value>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.at))?;
        self.file.read_to_end(&mut bytes)?;
        let whole = lines::whole(&bytes);
        self.at += whole.len() as u64;
        Ok(lines::read(whole, &self.path.display().to_string()))
    }
}

fn follow(path: &Path, read: Duration, look: Duration, over: &AtomicBool) -> io::Result<Followed> {
    let mut all = Followed::default();
    let mut open: Option<Open> = None;
    let (mut next_read, mut next_look) = (Instant::now(), Instant::now());
    loop {
        let last = over.load(Ordering::Acquire);
        if last || Instant::now() >= next_read {
            next_read = Instant::now() + read;
            if let Some(open) = &mut open {
                all.lines.extend(open.read()?);
            }
        }
        if last || Instant::now() >= next_look {
            next_look = Instant::now() + look;
            match (&mut open, std::fs::metadata(path)) {
                (Some(known), Ok(found)) if found.ino() != known.inode => {
                    all.rotations += 1;
                    open = Some(Open::new(path)?);
                }
                (Some(known), Ok(found)) if found.len() < known.at => {
                    all.truncations += 1;
                    known.at = 0;
                }
                (None, Ok(_)) => open = Some(Open::new(path)?),
                _ => {}
            }
            if last {
                if let Some(open) = &mut open {
                    all.lines.extend(open.read()?);
                }
                return Ok(all);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
