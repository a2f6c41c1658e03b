//! Connections: how many at a time, and who goes when there are too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::limit::party;

/// So long nobody is sent away who has just come.
const GRACE: Duration = Duration::from_secs(2);
/// And so long nobody who was welcome just now.
const WELCOME: Duration = Duration::from_secs(10);

/// One connection.
#[derive(Debug)]
pub struct Visit {
    peer: IpAddr,
    began: Instant,
    /// When it last brought something authentic, in milliseconds since it began;
    /// nought is never.
    welcome: AtomicU64,
    leave: Notify,
}

impl Visit {
    fn new(peer: IpAddr, now: Instant) -> Visit {
        Visit { peer, began: now, welcome: AtomicU64::new(0), leave: Notify::new() }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// It has brought something authentic.
    pub fn is_welcome(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.welcome.store(since.max(1), Ordering::Relaxed);
    }

    /// Until others need its place more.
    pub async fn has_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Since when it is of no use, and whether it ever was of any.
    fn idle(&self) -> (bool, Instant) {
        let welcome = self.welcome.load(Ordering::Relaxed);
        (welcome > 0, self.began + Duration::from_millis(welcome))
    }
}

/// All of them.
#[derive(Debug)]
pub struct Guests {
    most: usize,
    most_each: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    came: u64,
    all: HashMap<u64, Arc<Visit>>,
    each: HashMap<IpAddr, usize>,
}

impl Inside {
    fn remove(&mut self, number: u64) -> Option<Arc<Visit>> {
        let visit = self.all.remove(&number)?;
        let peer = party(visit.peer);
        if let Some(each) = self.each.get_mut(&peer) {
            *each -= 1;
            if *each == 0 {
                self.each.remove(&peer);
            }
        }
        Some(visit)
    }

    /// Whoever has brought nothing for the longest time; before all, who never
    /// has brought anything.
    fn least_welcome(&self, now: Instant) -> Option<u64> {
        let idle = self.all.iter().map(|(number, visit)| (visit.idle(), *number));
        let long = idle.filter(|((welcome, since), _)| {
            now.saturating_duration_since(*since) >= if *welcome { WELCOME } else { GRACE }
        });
        long.min().map(|(_, number)| number)
    }
}

impl Guests {
    /// At most so many, and so many of each.
    #[must_use]
    pub fn new(most: usize, most_each: usize) -> Arc<Guests> {
        Arc::new(Guests { most, most_each, inside: Mutex::default() })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more; none when there is no room, and nobody who could make some. A
    /// proxy that is trusted counts for many and has no limit of its own.
    pub fn enter(self: &Arc<Guests>, peer: IpAddr, trusted: bool, now: Instant) -> Option<Guest> {
        let mut inside = self.inside();
        let each = inside.each.get(&party(peer)).copied().unwrap_or_default();
        if !trusted && each >= self.most_each {
            return None;
        }
        if inside.all.len() >= self.most {
            let number = inside.least_welcome(now)?;
            if let Some(visit) = inside.remove(number) {
                visit.leave.notify_one();
            }
        }
        inside.came += 1;
        let (number, visit) = (inside.came, Arc::new(Visit::new(peer, now)));
        inside.all.insert(number, Arc::clone(&visit));
        *inside.each.entry(party(peer)).or_default() += 1;
        Some(Guest { visit, number, guests: Arc::clone(self) })
    }
}

/// The place of a connection; free when it is gone.
#[derive(Debug)]
pub struct Guest {
    /// The connection.
    pub visit: Arc<Visit>,
    number: u64,
    guests: Arc<Guests>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.inside().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn there_is_room_for_so_many_at_a_time() {
        let (guests, now) = (Guests::new(3, 2), Instant::now());
        let one = guests.enter(peer(1), false, now).unwrap();
        let _other = guests.enter(peer(1), false, now).unwrap();
        assert!(guests.enter(peer(1), false, now).is_none());
        let _proxy = guests.enter(peer(1), true, now).expect("a trusted proxy");
        assert!(guests.enter(peer(2), false, now).is_none(), "full, and all have just come");
        drop(one);
        assert!(guests.enter(peer(2), false, now).is_some());
    }

    #[test]
    fn when_there_is_no_room_whoever_brings_nothing_makes_some() {
        let guests = Guests::new(3, 3);
        let begin = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let welcome = guests.enter(peer(1), false, begin).unwrap();
        let silent = guests.enter(peer(2), false, begin + Duration::from_secs(50)).unwrap();
        let oldest = guests.enter(peer(3), false, begin + Duration::from_secs(40)).unwrap();
        welcome.visit.is_welcome();
        let now = Instant::now() + Duration::from_secs(11);
        let fourth = guests.enter(peer(4), false, now).unwrap();
        assert_eq!(guests.inside().all.len(), 3);
        assert!(!guests.inside().all.contains_key(&oldest.number));
        let fifth = guests.enter(peer(5), false, now).unwrap();
        assert!(!guests.inside().all.contains_key(&silent.number));
        // Then those that were welcome longest ago.
        let sixth = guests.enter(peer(6), false, now).unwrap();
        assert!(!guests.inside().all.contains_key(&welcome.number));
        assert!(guests.enter(peer(7), false, now).is_none());
        drop((welcome, silent, oldest, fourth, fifth, sixth));
        assert!(guests.inside().all.is_empty() && guests.inside().each.is_empty());
    }
}
