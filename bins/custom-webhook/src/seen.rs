//! What was accepted lately, so that a repeat is known: in memory, rebuilt from
//! the spool and from a file of those that have left it.

use std::collections::{HashMap, VecDeque};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::state::{Durability, OWN_FILE, replace};

use crate::source::Id;

/// An id and its time, as they lie in the file: 16 bytes, 4 bytes of seconds
/// since 1970, 4 bytes of CRC-32 of both.
const ENTRY: usize = 24;

/// Of more sources than anybody has, none is spared: looking for one that has
/// more than its share would take too long.
const MOST_SOURCES: usize = 256;

/// For so many there is room from the start.
const MOST_AT_ONCE: usize = 450_000;

/// The ids of a bounded number of deliveries, for a bounded time.
#[derive(Debug)]
pub struct Seen {
    /// The time of each: when it comes again much later, it is news.
    known: HashMap<Id, u32>,
    /// In the order in which they came; those that were spared came again.
    order: VecDeque<(Id, u32)>,
    /// How many of them each source has brought.
    brought: HashMap<u32, usize>,
    most: usize,
    window: u32,
}

impl Seen {
    /// At most so many, for so long.
    #[must_use]
    pub fn new(most: usize, window: Duration) -> Seen {
        let window = u32::try_from(window.as_secs()).unwrap_or(u32::MAX);
        // To grow later would take as much again for a moment, and not give it
        // back; memory that is not written to is none.
        let room = most.min(MOST_AT_ONCE);
        let (known, order) = (HashMap::with_capacity(room), VecDeque::with_capacity(room + 16));
        Seen { known, order, brought: HashMap::new(), most, window }
    }

    /// Whether it is known.
    #[must_use]
    pub fn has(&self, id: &Id, now: u32) -> bool {
        self.known.get(id).is_some_and(|at| now.saturating_sub(*at) <= self.window)
    }

    /// They are known from now on.
    pub fn add(&mut self, ids: &[Id], at: u32) {
        for id in ids {
            self.known.insert(*id, at);
            self.order.push_back((*id, at));
            *self.brought.entry(id.source()).or_default() += 1;
        }
        while let Some((id, then)) = self.order.front().copied() {
            if at.saturating_sub(then) > self.window {
                self.forget_first();
            } else if self.order.len() <= self.most {
                break;
            } else if self.has_more_than_its_share(id) {
                self.forget_first();
            } else {
                // Else a sender could have those of another forgotten, and
                // send them again. One source always has more than its share.
                self.order.rotate_left(1);
            }
        }
    }

    fn has_more_than_its_share(&self, id: Id) -> bool {
        let brought = self.brought.get(&id.source()).copied().unwrap_or_default();
        self.brought.len() > MOST_SOURCES || brought > self.most / self.brought.len().max(1)
    }

    fn forget_first(&mut self) {
        let Some((id, at)) = self.order.pop_front() else { return };
        if self.known.get(&id) == Some(&at) {
            self.known.remove(&id);
        }
        if let Some(brought) = self.brought.get_mut(&id.source()) {
            *brought -= 1;
            if *brought == 0 {
                self.brought.remove(&id.source());
            }
        }
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// The file of those whose deliveries have left the spool.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    entries: usize,
}

fn entry(id: Id, at: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..16].copy_from_slice(id.as_bytes());
    entry[16..20].copy_from_slice(&at.to_le_bytes());
    let sum = crc32fast::hash(&entry[..20]);
    entry[20..].copy_from_slice(&sum.to_le_bytes());
    entry
}

impl Archive {
    /// Reads the file into `seen`. What a crash has damaged is left out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path, seen: &mut Seen) -> io::Result<Archive> {
        let mut archive = Archive { path: path.to_owned(), entries: 0 };
        // What is no plain file is none of ours, and must not keep us waiting.
        let mut file = match OpenOptions::new().read(true).custom_flags(OWN_FILE).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(archive),
            file => io::BufReader::new(file?),
        };
        let mut bytes = [0; ENTRY];
        loop {
            match file.read_exact(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                read => read?,
            }
            archive.entries += 1;
            let (mut id, mut at) = ([0; 16], [0; 4]);
            id.copy_from_slice(&bytes[..16]);
            at.copy_from_slice(&bytes[16..20]);
            let (id, at) = (Id::from_bytes(id), u32::from_le_bytes(at));
            if bytes == entry(id, at) {
                seen.add(&[id], at);
            }
        }
        Ok(archive)
    }

    /// Keeps these, on the disk when this returns: what they came with may go.
    /// When the file has grown to twice what is still of use (`live`, all that
    /// must stay known), it is written anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&mut self, ids: &[(Id, u32)], live: &Seen) -> io::Result<()> {
        if self.entries + ids.len() > 2 * live.len().max(4096) {
            let all: Vec<u8> = live.order.iter().flat_map(|(id, at)| entry(*id, *at)).collect();
            replace(&self.path, &all, 0o600, Durability::Synced)?;
            self.entries = live.order.len();
            return Ok(());
        }
        let bytes: Vec<u8> = ids.iter().flat_map(|(id, at)| entry(*id, *at)).collect();
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(OWN_FILE)
            .open(&self.path)?;
        // What a crash left of a last entry would shift all that follow.
        let length = file.metadata()?.len();
        file.set_len(length - length % ENTRY as u64)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        self.entries += ids.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> Id {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Id::from_bytes(bytes)
    }

    #[test]
    fn a_repeat_is_known_for_a_while_and_never_more_than_so_many() {
        let mut seen = Seen::new(3, Duration::from_secs(100));
        seen.add(&[id(1), id(2)], 1000);
        assert!(!seen.has(&id(9), 1100) && seen.has(&id(2), 1100) && !seen.has(&id(2), 1101));
        seen.add(&[id(3)], 1050);
        seen.add(&[id(4)], 1060);
        assert!(!seen.has(&id(1), 1060) && seen.has(&id(2), 1060), "the oldest has gone");
        seen.add(&[id(5)], 1200);
        assert_eq!(seen.len(), 1, "the time of the others is over");
    }

    #[test]
    fn what_one_source_brings_does_not_have_that_of_others_forgotten() {
        let of = |source: &str, number: u32| Id::new(source, "id", &number.to_le_bytes());
        let mut seen = Seen::new(100, Duration::from_secs(1000));
        let quiet: Vec<_> = (0..50).map(|number| of("quiet", number)).collect();
        seen.add(&quiet, 1000);
        for number in 0..10_000 {
            seen.add(&[of("loud", number)], 1001);
        }
        assert!(quiet.iter().all(|id| seen.has(id, 1001)));
        let loud = (0..10_000).filter(|number| seen.has(&of("loud", *number), 1001)).collect::<Vec<_>>();
        assert_eq!(loud, (9950..10_000).collect::<Vec<_>>(), "the last ones");
        // Whoever is alone again has all.
        seen.add(&(0..150).map(|number| of("loud", number)).collect::<Vec<_>>(), 2002);
        assert_eq!((seen.len(), seen.brought.len()), (100, 1));
    }

    #[test]
    fn very_many_sources_take_no_time() {
        let mut seen = Seen::new(100_000, Duration::from_secs(1000));
        for number in 0..300_000 {
            seen.add(&[id(number)], 1);
        }
        assert_eq!(seen.len(), 100_000);
        assert!(seen.has(&id(299_999), 1) && seen.has(&id(200_000), 1) && !seen.has(&id(199_999), 1));
    }

    #[test]
    fn what_has_left_the_spool_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen");
        let mut seen = Seen::new(100, Duration::from_secs(1000));
        let mut archive = Archive::open(&path, &mut seen).unwrap();
        archive.keep(&[(id(1), 5), (id(2), 6)], &seen).unwrap();
        // A crash in the middle of an entry.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"torn").unwrap();
        archive.keep(&[(id(3), 7)], &seen).unwrap();
        let mut again = Seen::new(100, Duration::from_secs(1000));
        Archive::open(&path, &mut again).unwrap();
        assert!([1, 2, 3].iter().all(|number| again.has(&id(*number), 7)) && again.len() == 3);
    }

    #[test]
    fn the_file_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen");
        let mut seen = Seen::new(50, Duration::from_secs(1000));
        let mut archive = Archive::open(&path, &mut seen).unwrap();
        for number in 0..20_000 {
            seen.add(&[id(number)], 1);
            if number % 100 == 0 {
                archive.keep(&[(id(number), 1); 100], &seen).unwrap();
            }
        }
        assert!(std::fs::metadata(&path).unwrap().len() <= 2 * 4096 * ENTRY as u64);
    }
}
