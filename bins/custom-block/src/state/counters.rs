//! New blocks of the last minute, and how many stand: one small file.
//!
//! 62 numbers of 64 bits, little endian: how many stand (an upper bound, as
//! the kernel lifts blocks without telling), when they were last counted in
//! the kernel, and for each second of a minute the second (upper half) and
//! its new blocks (lower half). It is written in place with one write that
//! lies within a page, so a kill leaves the old or the new numbers.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;

use nix::fcntl::{Flock, FlockArg};

use super::{State, lock};

const WORDS: usize = 62;

/// The numbers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters([u64; WORDS]);

impl Default for Counters {
    fn default() -> Counters {
        Counters([0; WORDS])
    }
}

impl Counters {
    fn decode(bytes: &[u8]) -> Counters {
        let mut counters = Counters::default();
        for (word, bytes) in counters.0.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        counters
    }

    fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// New blocks in the 60 seconds up to `now`.
    #[must_use]
    pub fn recent(&self, now: u64) -> u64 {
        self.0[2..]
            .iter()
            .map(|word| (word >> 32, word & 0xffff_ffff))
            .filter(|&(second, _)| second <= now && second + 60 > now)
            .map(|(_, count)| count)
            .sum()
    }

    /// How many blocks stand, at most.
    #[must_use]
    pub fn standing(&self) -> u64 {
        self.0[0]
    }

    /// When the kernel was last asked how many stand, in seconds since 1970.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.0[1]
    }

    /// Counts one new block. One that is not `limited` fills no quota: an
    /// IPv6 host whose neighbours are blocked, or an administrator's.
    pub fn block(&mut self, now: u64, limited: bool) {
        self.0[0] = self.0[0].saturating_add(1);
        if limited {
            let slot = &mut self.0[2 + usize::try_from(now % 60).unwrap_or(0)];
            let count = if *slot >> 32 == now { (*slot & 0xffff_ffff) + 1 } else { 1 };
            *slot = now << 32 | count.min(0xffff_ffff);
        }
    }

    /// Counts one that was lifted.
    pub fn lift(&mut self) {
        self.0[0] = self.0[0].saturating_sub(1);
    }

    /// Takes the kernel's own number.
    pub fn recount(&mut self, standing: u64, now: u64) {
        self.0[0] = standing;
        self.0[1] = now;
    }
}

/// The numbers as they are; zeros when there are none.
#[must_use]
pub fn read(state: &State) -> Counters {
    let mut bytes = [0; WORDS * 8];
    match File::open(state.path("counters")).and_then(|file| file.read_at(&mut bytes, 0)) {
        Ok(length) => Counters::decode(&bytes[..length]),
        Err(_) => Counters::default(),
    }
}

/// Changes the numbers while nobody else does.
///
/// # Errors
/// `TimedOut` when another run keeps them; whatever the file system says.
pub fn update(state: &State, patience: Instant, change: impl FnOnce(&mut Counters)) -> io::Result<()> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let path = state.path("counters");
    let file = match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            state.create()?;
            options.open(&path)?
        }
        opened => opened?,
    };
    let file: Flock<File> = lock(file, FlockArg::LockExclusiveNonblock, patience)?;
    let mut bytes = [0; WORDS * 8];
    let length = file.read_at(&mut bytes, 0)?;
    let mut counters = Counters::decode(&bytes[..length]);
    change(&mut counters);
    file.write_all_at(&counters.encode(), 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_minute_is_a_sliding_one() {
        let mut counters = Counters::default();
        for second in 1000..1100 {
            counters.block(second, true);
            counters.block(second, true);
            counters.block(second, false);
        }
        assert_eq!(counters.recent(1099), 120);
        assert_eq!(counters.recent(1128), 62);
        assert_eq!(counters.recent(1159), 0);
        assert_eq!(counters.standing(), 300);
    }

    #[test]
    fn numbers_survive_and_a_short_file_is_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::below(dir.path());
        let soon = Instant::now() + Duration::from_secs(5);
        assert_eq!(read(&state), Counters::default());
        update(&state, soon, |counters| counters.block(1000, true)).unwrap();
        update(&state, soon, |counters| counters.block(1000, true)).unwrap();
        assert_eq!(read(&state).recent(1000), 2);
        std::fs::write(state.path("counters"), [1, 2, 3]).unwrap();
        assert_eq!(read(&state), Counters::default());
    }
}
