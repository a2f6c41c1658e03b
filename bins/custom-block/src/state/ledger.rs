//! Small records, each found by its key without reading any other's journal.
//!
//! 1,024 files ("buckets") of JSON lines; a key's hash names its file, and the
//! last line of a key counts. A record is one appended write. A file that has
//! grown is written anew, without what was replaced or is past its time, and
//! renamed. So neither a kill at any byte nor 100,000 records make finding one
//! slower or wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Instant;

use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{State, lock};

/// A bucket below this size, in bytes, is not written anew.
const SMALL: usize = 32 * 1024;
/// Above it, each time it grows by this much.
const STEP: usize = 8 * 1024;
/// `restore` makes them all: to make a file may cost more than all else that
/// an add does.
const BUCKETS: u64 = 1024;
/// The most of a bucket that is read: far more than 100,000 records spread
/// over all buckets can fill.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The small records of a state directory.
#[derive(Debug)]
pub struct Ledger {
    state: State,
    patience: Instant,
}

#[derive(Serialize, Deserialize)]
struct Line<V> {
    key: String,
    /// In seconds since 1970; afterwards it may be forgotten.
    until: u64,
    value: V,
}

/// Makes all files that are still missing, so that no add has to.
///
/// # Errors
/// When one cannot be made.
pub fn create(state: &State) -> io::Result<()> {
    state.create()?;
    for bucket in 0..BUCKETS {
        let path = state.path(&format!("ledger/{bucket:03x}"));
        File::options().append(true).create(true).mode(0o600).open(path)?;
    }
    Ok(())
}

/// The first so many bytes of a bucket, in one go.
fn read(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size.min(LARGEST)).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            length => filled += length,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

impl Ledger {
    /// The records of this state; a lock is waited for until `patience`.
    #[must_use]
    pub fn new(state: &State, patience: Instant) -> Ledger {
        Ledger { state: state.clone(), patience }
    }

    fn path(&self, key: &str) -> PathBuf {
        // FNV-1a: stable across builds, as a name on disk must be.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        self.state.path(&format!("ledger/{:03x}", (hash ^ (hash >> 32)) % BUCKETS))
    }

    /// The record of a key, as it is at this moment.
    #[must_use]
    pub fn get<V: DeserializeOwned>(&self, key: &str) -> Option<V> {
        let file = File::open(self.path(key)).ok()?;
        let size = file.metadata().ok()?.len();
        find(&read(&file, size).ok()?, key)
    }

    /// Locks the bucket of a key, so that what is read stays true until it is
    /// written. Never lock a second one meanwhile.
    ///
    /// # Errors
    /// `TimedOut` when another run keeps it; whatever the file system says.
    pub fn lock(&self, key: &str) -> io::Result<Bucket> {
        let path = self.path(key);
        loop {
            let mut options = File::options();
            options.read(true).append(true).create(true).mode(0o600);
            let file = match options.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.state.create()?;
                    options.open(&path)?
                }
                opened => opened?,
            };
            let file = lock(file, FlockArg::LockExclusiveNonblock, self.patience)?;
            // It may have been written anew while we waited.
            let ours = file.metadata()?;
            if !std::fs::metadata(&path).is_ok_and(|now| ours.ino() == now.ino()) {
                continue;
            }
            let bytes = read(&file, ours.len())?;
            return Ok(Bucket { file, path, bytes });
        }
    }
}

/// The records that share a file with one key, locked.
#[derive(Debug)]
pub struct Bucket {
    file: Flock<File>,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Bucket {
    /// The record of a key.
    #[must_use]
    pub fn get<V: DeserializeOwned>(&self, key: &str) -> Option<V> {
        find(&self.bytes, key)
    }

    /// Writes the record of a key, to be kept until that time.
    ///
    /// # Errors
    /// When it is not whole on the file; the former one counts then.
    pub fn put<V: Serialize>(&mut self, key: &str, until: u64, value: &V, now: u64) -> io::Result<()> {
        let mut line = Vec::with_capacity(512);
        if self.bytes.last().is_some_and(|&byte| byte != b'\n') {
            line.push(b'\n'); // somebody was killed, or the disk was full
        }
        serde_json::to_writer(&mut line, &Line { key: key.to_owned(), until, value })?;
        line.push(b'\n');
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&line);
        if before >= SMALL && before / STEP != self.bytes.len() / STEP {
            return self.write_anew(now);
        }
        match (&*self.file).write(&line)? {
            length if length == line.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn write_anew(&mut self, now: u64) -> io::Result<()> {
        let mut kept: BTreeMap<String, Line<&RawValue>> = BTreeMap::new();
        for line in self.bytes.split(|&byte| byte == b'\n') {
            if let Ok(line) = serde_json::from_slice::<Line<&RawValue>>(line) {
                kept.insert(line.key.clone(), line);
            }
        }
        kept.retain(|_, line| line.until > now);
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for line in kept.values() {
            serde_json::to_writer(&mut bytes, line)?;
            bytes.push(b'\n');
        }
        super::replace(&self.path, &bytes, 0o600)?;
        self.bytes = bytes;
        Ok(())
    }
}

/// The last whole line of a key.
fn find<V: DeserializeOwned>(bytes: &[u8], key: &str) -> Option<V> {
    let start = format!("{{\"key\":{},", serde_json::to_string(key).ok()?);
    bytes
        .split(|&byte| byte == b'\n')
        .rev()
        .filter(|line| line.starts_with(start.as_bytes()))
        .find_map(|line| serde_json::from_slice::<Line<V>>(line).ok())
        .map(|line| line.value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(&State::below(dir.path()), Instant::now() + Duration::from_secs(10));
        (dir, ledger)
    }

    fn put(ledger: &Ledger, key: &str, until: u64, value: u64) {
        ledger.lock(key).unwrap().put(key, until, &value, 100).unwrap();
    }

    #[test]
    fn the_last_record_of_a_key_counts() {
        let (_dir, ledger) = ledger();
        assert_eq!(ledger.get::<u64>("a"), None);
        put(&ledger, "a", 200, 1);
        put(&ledger, "a", 200, 2);
        assert_eq!(ledger.get::<u64>("a"), Some(2));
        assert_eq!(ledger.get::<u64>("a\",\"x"), None);
    }

    #[test]
    fn a_line_cut_anywhere_loses_nothing_but_itself() {
        let (_dir, ledger) = ledger();
        put(&ledger, "a", 200, 1);
        let whole = std::fs::read(ledger.path("a")).unwrap();
        for length in 0..whole.len() {
            let mut torn = whole.clone();
            torn.extend_from_slice(&whole[..length]);
            std::fs::write(ledger.path("a"), &torn).unwrap();
            assert_eq!(ledger.get::<u64>("a"), Some(1), "{length}");
            put(&ledger, "a", 200, 2);
            assert_eq!(ledger.get::<u64>("a"), Some(2), "{length}");
        }
    }

    #[test]
    fn a_bucket_that_grows_forgets_what_was_replaced_and_what_is_over() {
        let (_dir, ledger) = ledger();
        put(&ledger, "a", 200, 0);
        let file = ledger.path("a");
        let mut bucket = ledger.lock("a").unwrap();
        bucket.put("past", 50, &7, 100).unwrap();
        drop(bucket);
        for value in 1..2000 {
            put(&ledger, "a", 200, value);
        }
        assert!(std::fs::metadata(&file).unwrap().len() < 48 * 1024);
        assert_eq!(ledger.get::<u64>("a"), Some(1999));
        assert!(!std::fs::read_to_string(&file).unwrap().contains("past"));
    }

    #[test]
    fn a_lock_that_is_held_is_waited_for_until_patience_ends() {
        let (dir, ledger) = ledger();
        let _held = ledger.lock("a").unwrap();
        let hasty = Ledger::new(&State::below(dir.path()), Instant::now() + Duration::from_millis(5));
        assert_eq!(hasty.lock("a").unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn many_writers_of_one_bucket_lose_nothing() {
        let (_dir, ledger) = ledger();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let mut bucket = ledger.lock("n").unwrap();
                        let n = bucket.get::<u64>("n").unwrap_or(0);
                        bucket.put("n", 200, &(n + 1), 100).unwrap();
                    }
                });
            }
        });
        assert_eq!(ledger.get::<u64>("n"), Some(800));
    }
}
