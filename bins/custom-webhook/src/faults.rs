//! What went wrong at the door, as events: each kind at a bounded rate for each
//! peer and in all, and what is left out is counted and said once a minute.
//! (Pure: the time is an argument.)

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::limit::party;
use crate::record::{Line, Record};

/// The source of events about ourselves.
pub const OURSELVES: &str = "custom-webhook";

/// Said of one peer at most once in this time.
const PAUSE: Duration = Duration::from_secs(60);
/// Said of one kind at one source in this time: what happens there must not keep
/// what happens elsewhere from being said.
const MOST_IN_PAUSE: usize = 10;

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The event: `signature_invalid`, `rate_limited`, ….
    pub event: &'static str,
    /// At which source.
    pub source: String,
    /// Of whom; nobody where many are meant.
    pub peer: Option<IpAddr>,
    /// How often since it was said last.
    pub count: u64,
}

impl Fault {
    /// As it is written.
    #[must_use]
    pub fn line(&self, now: SystemTime) -> Line {
        let mut record = Record::new(OURSELVES, self.event, now);
        record.text("for_source", &self.source);
        if let Some(peer) = self.peer {
            record.address("srcip", peer);
        }
        record.number("count", i64::try_from(self.count).unwrap_or(i64::MAX));
        record.finish()
    }
}

/// Something about ourselves that is no fault: that we have started, or stop.
#[must_use]
pub fn note(event: &'static str, now: SystemTime) -> Line {
    let mut record = Record::new(OURSELVES, event, now);
    record.text("version", env!("CARGO_PKG_VERSION"));
    record.finish()
}

type Key = (&'static str, String);

#[derive(Debug, Default)]
struct Kind {
    /// When each peer was last said something of.
    peers: HashMap<IpAddr, Instant>,
    /// How many were said in this pause.
    said: usize,
    /// What was not said.
    silent: u64,
}

/// What is said and what not.
#[derive(Debug)]
pub struct Faults {
    kinds: HashMap<Key, Kind>,
    since: Instant,
}

impl Faults {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(now: Instant) -> Faults {
        Faults { kinds: HashMap::new(), since: now }
    }

    /// It happened: returned when it is to be said now.
    pub fn happened(
        &mut self,
        event: &'static str,
        source: &str,
        peer: IpAddr,
        now: Instant,
    ) -> Option<Fault> {
        let kind = self.kinds.entry((event, source.to_owned())).or_default();
        let lately = kind.peers.get(&party(peer)).is_some_and(|at| now.duration_since(*at) < PAUSE);
        if lately || kind.said >= MOST_IN_PAUSE {
            kind.silent += 1;
            return None;
        }
        kind.peers.insert(party(peer), now);
        kind.said += 1;
        Some(Fault { event, source: source.to_owned(), peer: Some(peer), count: 1 })
    }

    /// Once a minute: what was left out. Call it as often as you like.
    pub fn due(&mut self, now: Instant) -> Vec<Fault> {
        if now.duration_since(self.since) < PAUSE { Vec::new() } else { self.all(now) }
    }

    /// What was left out, whenever it was said last: at the end.
    pub fn all(&mut self, now: Instant) -> Vec<Fault> {
        self.since = now;
        let mut due = Vec::new();
        for ((event, source), kind) in &mut self.kinds {
            kind.said = 0;
            kind.peers.retain(|_, at| now.duration_since(*at) < PAUSE);
            if kind.silent > 0 {
                due.push(Fault { event, source: source.clone(), peer: None, count: kind.silent });
                kind.silent = 0;
            }
        }
        self.kinds.retain(|_, kind| !kind.peers.is_empty());
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_is_named_once_a_minute_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut faults = Faults::new(start);
        let peer = |last: u8| IpAddr::from([192, 0, 2, last]);
        let first = faults.happened("signature_invalid", "github", peer(1), start).unwrap();
        assert_eq!((first.peer, first.count), (Some(peer(1)), 1));
        for _ in 0..99 {
            assert_eq!(faults.happened("signature_invalid", "github", peer(1), start), None);
        }
        assert!(faults.happened("signature_invalid", "github", peer(2), start).is_some());
        assert!(faults.due(start + Duration::from_secs(59)).is_empty());
        let due = faults.due(start + Duration::from_secs(60));
        assert_eq!((due.len(), due[0].count, due[0].peer), (1, 99, None));
        assert!(faults.due(start + Duration::from_secs(120)).is_empty());
        assert!(
            faults
                .happened("signature_invalid", "github", peer(1), start + Duration::from_secs(121))
                .is_some()
        );
    }

    #[test]
    fn a_flood_of_peers_is_a_bounded_number_of_events_and_none_is_lost() {
        let start = Instant::now();
        let mut faults = Faults::new(start);
        let flood = 0..5000_u32;
        let said = flood.filter(|n| {
            faults.happened("unauthorized", "x", std::net::Ipv4Addr::from_bits(*n).into(), start).is_some()
        });
        let said = said.count();
        assert_eq!(said, MOST_IN_PAUSE);
        let elsewhere = faults.happened("unauthorized", "y", IpAddr::from([192, 0, 2, 1]), start);
        assert!(elsewhere.is_some(), "a flood at one source silences no other");
        let due = faults.due(start + PAUSE);
        assert_eq!(due[0].count, 5000 - MOST_IN_PAUSE as u64);
    }
}
