//! The journal `blocks.jsonl`: every change, one line each, appended.
//!
//! Runs append under a shared lock that nobody holds for longer than a write.
//! To compact, what stands in the file is folded into a new one without any
//! lock; then, under the exclusive lock, the few lines that came meanwhile are
//! copied behind it and the new file takes the name. Who opened the old file
//! before that notices, once it has the lock, and opens the new one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::time::Instant;

use common::address::Target;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::{State, lock};

const NAME: &str = "blocks.jsonl";
/// No line of ours is longer; what is, is skipped.
const LONGEST_LINE: u64 = 64 * 1024;
/// A journal below this size, in bytes, is not worth compacting.
const SMALL: u64 = 256 * 1024;
/// Lines that tell of failures are kept for `doctor`: this many, for a week.
const FAILURES: usize = 100;
const FAILURES_FOR: u64 = 7 * 24 * 3600;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What was done: add, extended, delete, held and failed as in the record;
    /// manual (an administrator's add), expired, unrecorded.
    pub did: String,
    /// The program or person that asked.
    pub by: String,
    /// Why, or what went wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What is known of the target after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
}

fn open(state: &State, patience: Instant, how: FlockArg) -> io::Result<Flock<File>> {
    let path = state.path(NAME);
    loop {
        let mut options = File::options();
        options.read(true).append(true).create(true).mode(0o600);
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                state.create()?;
                options.open(&path)?
            }
            opened => opened?,
        };
        let file = lock(file, how, patience)?;
        if std::fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|ours| ours.ino() == now.ino()))
        {
            return Ok(file);
        }
    }
}

/// Appends a change, whole or not at all (a torn line counts as none).
///
/// # Errors
/// `TimedOut` when a compaction holds the journal; whatever the file system says.
pub fn append(state: &State, patience: Instant, change: &Change) -> io::Result<()> {
    let file = open(state, patience, FlockArg::LockSharedNonblock)?;
    let size = file.metadata()?.len();
    let mut line = Vec::with_capacity(512);
    let mut last = [b'\n'];
    if size > 0 && file.read_at(&mut last, size - 1).is_ok() && last != [b'\n'] {
        line.push(b'\n'); // somebody was killed, or the disk was full
    }
    serde_json::to_writer(&mut line, change)?;
    line.push(b'\n');
    match (&*file).write(&line)? {
        length if length == line.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// True when there is something to read: blocks were made on this host.
#[must_use]
pub fn has_history(state: &State) -> bool {
    std::fs::metadata(state.path(NAME)).is_ok_and(|journal| journal.len() > 0)
}

/// Hands each whole line to `each`, oldest first.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(state: &State, mut each: impl FnMut(Change)) -> io::Result<()> {
    match File::open(state.path(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) => read_from(file, &mut each).map(drop),
    }
}

/// Returns how many bytes the lines that have an end make up.
fn read_from(file: impl Read, each: &mut dyn FnMut(Change)) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let (mut line, mut read, mut whole) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        match (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line)? {
            0 => return Ok(whole),
            length => read += length as u64,
        }
        if line.last() == Some(&b'\n') {
            whole = read;
        }
        if let Ok(change) = serde_json::from_slice(&line) {
            each(change);
        }
    }
}

/// What is known of each target: the last line of each.
///
/// # Errors
/// When the journal cannot be read.
pub fn entries(state: &State) -> io::Result<BTreeMap<Target, Entry>> {
    let mut entries = BTreeMap::new();
    read(state, |change| {
        if let Some(entry) = change.entry {
            entries.insert(entry.target, entry);
        }
    })?;
    Ok(entries)
}

/// The target that this owner still blocks because of this alert, searched
/// for until `patience` without keeping more than one line.
#[must_use]
pub fn target_of_alert(state: &State, owner: &str, alert: &str, patience: Instant) -> Option<Target> {
    let mut reader = BufReader::with_capacity(256 * 1024, File::open(state.path(NAME)).ok()?);
    let (mut line, mut found, mut lines) = (Vec::new(), None::<Target>, 0_u64);
    loop {
        line.clear();
        if (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).ok()? == 0 {
            return found;
        }
        lines += 1;
        if lines.is_multiple_of(4096) && Instant::now() >= patience {
            return found;
        }
        // Nearly no line is about it: most are not understood at all.
        let text = String::from_utf8_lossy(&line);
        let about = text.contains(alert) || found.is_some_and(|target| text.contains(&target.to_string()));
        let change = about.then(|| serde_json::from_slice::<Change>(&line).ok()).flatten();
        let Some(entry) = change.and_then(|change| change.entry) else { continue };
        if entry.owner(owner).is_some_and(|owner| owner.alert == alert) {
            found = Some(entry.target);
        } else if found == Some(entry.target) {
            found = None;
        }
    }
}

/// Folds the journal to the last line of each target that is worth
/// remembering, and the latest failures, when that makes it much smaller.
///
/// # Errors
/// When it cannot be written anew; the old one is untouched then. A
/// compaction that goes on already is no error.
pub fn compact(state: &State, patience: Instant, now: u64, decay: u64) -> io::Result<()> {
    let path = state.path(NAME);
    if std::fs::metadata(&path).map_or(0, |journal| journal.len()) < SMALL {
        return Ok(());
    }
    let only = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(state.path("compacting"))?;
    let Ok(_only) = Flock::lock(only, FlockArg::LockExclusiveNonblock) else { return Ok(()) };

    let mut journal = File::open(&path)?;
    let (mut lines, mut failures, mut last) = (0_usize, Vec::new(), BTreeMap::new());
    // A line that is being written at this moment has no end yet: it is left
    // for the copy of the rest.
    let folded = read_from(&journal, &mut |change| {
        lines += 1;
        if change.did == "failed" && change.at + FAILURES_FOR > now {
            // Its entry is not the last word on its target.
            let target = change.entry.as_ref().map(|entry| format!("{}: ", entry.target)).unwrap_or_default();
            failures.push(Change {
                reason: format!("{target}{}", change.reason),
                entry: None,
                ..change.clone()
            });
        }
        if let Some(target) = change.entry.as_ref().map(|entry| entry.target) {
            last.insert(target, change);
        }
    })?;
    last.retain(|_, change| change.entry.as_ref().is_some_and(|entry| entry.remember_until(decay) > now));
    failures.drain(..failures.len().saturating_sub(FAILURES));
    if lines < 2 * (last.len() + failures.len()) {
        return Ok(());
    }

    let temporary = state.path("blocks.jsonl.tmp");
    let mut new = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let mut bytes = Vec::new();
    for change in failures.iter().chain(last.values()) {
        serde_json::to_writer(&mut bytes, change)?;
        bytes.push(b'\n');
        if bytes.len() > 1024 * 1024 {
            new.write_all(&bytes)?;
            bytes.clear();
        }
    }
    new.write_all(&bytes)?;
    new.sync_data()?;

    let _exclusive = open(state, patience, FlockArg::LockExclusiveNonblock)?;
    journal.seek(SeekFrom::Start(folded))?;
    io::copy(&mut journal, &mut new)?;
    std::fs::rename(&temporary, &path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::firewall::Backend;
    use crate::state::entry::Owner;

    fn change(target: &str, until: u64) -> Change {
        let mut entry = Entry::new(target.parse().unwrap());
        entry.set_owner(Owner {
            name: "custom-block".into(),
            since: 1,
            until: Some(until),
            alert: String::new(),
            rule: "5760".into(),
            reason: String::new(),
            backends: vec![Backend::Nftables],
            escalated: false,
        });
        Change {
            at: 1,
            did: "add".into(),
            by: "custom-block".into(),
            reason: String::new(),
            entry: Some(entry),
        }
    }

    fn state() -> (tempfile::TempDir, State, Instant) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::below(dir.path());
        (dir, state, Instant::now() + Duration::from_secs(30))
    }

    #[test]
    fn a_torn_line_is_none_and_the_next_one_is_whole() {
        let (_dir, state, soon) = state();
        append(&state, soon, &change("192.0.2.1", 100)).unwrap();
        let whole = std::fs::read(state.path(NAME)).unwrap();
        for length in 1..whole.len() {
            let mut torn = whole.clone();
            torn.extend_from_slice(&whole[..length]);
            std::fs::write(state.path(NAME), torn).unwrap();
            append(&state, soon, &change("192.0.2.2", 100)).unwrap();
            assert_eq!(entries(&state).unwrap().len(), 2, "{length}");
        }
    }

    #[test]
    fn compaction_keeps_what_lives_and_loses_nothing_that_comes_meanwhile() {
        let (_dir, state, soon) = state();
        for round in 0..20 {
            for host in 0..100 {
                append(
                    &state,
                    soon,
                    &change(&format!("192.0.2.{host}"), if host < 50 { 10 } else { 1000 + round }),
                )
                .unwrap();
            }
        }
        let before = std::fs::metadata(state.path(NAME)).unwrap().len();
        assert!(before > SMALL);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let state = &state;
                scope.spawn(move || {
                    for host in 0..50 {
                        append(state, soon, &change(&format!("198.51.{writer}.{host}"), 1000)).unwrap();
                    }
                });
            }
            for _ in 0..3 {
                compact(&state, soon, 100, 0).unwrap();
            }
        });
        let entries = entries(&state).unwrap();
        assert_eq!(entries.len(), 250);
        assert_eq!(entries[&"192.0.2.50".parse().unwrap()].owners[0].until, Some(1019));
        assert!(std::fs::metadata(state.path(NAME)).unwrap().len() < before / 4);
    }
}
