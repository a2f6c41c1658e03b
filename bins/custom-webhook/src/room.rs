//! Room for bodies: what is small has its own, what is larger shares a bounded
//! one, of which nobody has more than a part, and of the largest there is one at
//! a time. So no number of senders takes more memory than that, and a stranger
//! keeps nobody out who has an event of the usual size.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::limit::party;

/// What each body may have without asking, in bytes: most have no more.
const SMALL: usize = 16 * 1024;
const MEGABYTE: usize = 1024 * 1024;
/// Those that can be larger than this are the largest, in bytes.
const LARGE: usize = MEGABYTE;
/// What all others have together, in bytes.
const SHARED: usize = 12 * MEGABYTE;
/// What those of one peer have of it.
const OF_EACH: usize = 6 * MEGABYTE;
/// How long a body waits for room, unless it is the one that has waited longest.
const WAIT: Duration = Duration::from_secs(8);
/// How often a body looks whether it keeps others waiting.
const LOOK: Duration = Duration::from_millis(250);

/// Why a body was not collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncollected {
    /// It is larger than it may be.
    TooLarge,
    /// Its sender has gone.
    BrokenOff,
    /// It came too slowly for the room that it took.
    TooSlow,
    /// Others have all of it.
    NoRoom,
}

/// The shared room.
#[derive(Debug)]
pub struct Rooms {
    taken: Mutex<Taken>,
    /// Somebody has given some back.
    changed: Notify,
    /// For one of the largest.
    hall: Arc<Semaphore>,
    before_hall: AtomicUsize,
}

impl Default for Rooms {
    fn default() -> Rooms {
        Rooms {
            taken: Mutex::default(),
            changed: Notify::new(),
            hall: Arc::new(Semaphore::new(1)),
            before_hall: AtomicUsize::new(0),
        }
    }
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    each: HashMap<IpAddr, usize>,
    /// Who waits, by the order in which they came.
    waiting: BTreeSet<u64>,
    came: u64,
}

/// What one body has of it; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    rooms: Arc<Rooms>,
    peer: IpAddr,
    number: u64,
    bytes: usize,
    hall: Option<OwnedSemaphorePermit>,
}

impl Rooms {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = self.rooms.taken();
        taken.waiting.remove(&self.number);
        taken.all -= self.bytes;
        if let Some(each) = taken.each.get_mut(&self.peer) {
            *each -= self.bytes;
            if *each == 0 {
                taken.each.remove(&self.peer);
            }
        }
        drop(taken);
        self.rooms.changed.notify_waiters();
    }
}

impl Room {
    fn of(rooms: &Arc<Rooms>, peer: IpAddr) -> Room {
        let mut taken = rooms.taken();
        taken.came += 1;
        Room { rooms: Arc::clone(rooms), peer: party(peer), number: taken.came, bytes: 0, hall: None }
    }

    /// Takes so many bytes more, if there are so many.
    fn take(&mut self, more: usize) -> bool {
        let mut taken = self.rooms.taken();
        let each = taken.each.get(&self.peer).copied().unwrap_or_default();
        let free = taken.all + more <= SHARED && each + more <= OF_EACH;
        if free {
            taken.all += more;
            *taken.each.entry(self.peer).or_default() += more;
            taken.waiting.remove(&self.number);
            self.bytes += more;
        } else {
            taken.waiting.insert(self.number);
        }
        free
    }

    /// Waits for so many bytes more. Several that each had a part and waited for
    /// the rest would wait for each other: all but the first of them give up.
    async fn grow(&mut self, more: usize) -> Result<(), Uncollected> {
        if self.bytes + more > OF_EACH {
            return Err(Uncollected::TooLarge);
        }
        let began = Instant::now();
        loop {
            let rooms = Arc::clone(&self.rooms);
            let changed = rooms.changed.notified();
            if self.take(more) {
                return Ok(());
            }
            let is_first = self.rooms.taken().waiting.first() == Some(&self.number);
            if began.elapsed() > WAIT && !is_first {
                return Err(Uncollected::NoRoom);
            }
            let _ = tokio::time::timeout(LOOK, changed).await;
        }
    }

    /// Waits for its turn among the largest.
    async fn enter_hall(&mut self) -> Result<(), Uncollected> {
        let _waits = Waits::at(&self.rooms.before_hall);
        let hall = Arc::clone(&self.rooms.hall).acquire_owned().await;
        self.hall = Some(hall.map_err(|_| Uncollected::NoRoom)?);
        Ok(())
    }

    fn others_wait(&self) -> bool {
        match self.hall {
            Some(_) => self.rooms.before_hall.load(Ordering::Relaxed) > 0,
            None => !self.rooms.taken().waiting.is_empty(),
        }
    }
}

/// One who waits there.
struct Waits<'a>(&'a AtomicUsize);

impl Waits<'_> {
    fn at(place: &AtomicUsize) -> Waits<'_> {
        place.fetch_add(1, Ordering::Relaxed);
        Waits(place)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body, as it comes.
struct Collecting<'a> {
    body: &'a mut Incoming,
    collected: Vec<u8>,
    /// How long its sender has kept us waiting.
    waited: Duration,
}

/// Reads a body, waiting where there is no room: its sender waits, too. The room
/// is given back with what is returned.
///
/// # Errors
/// When it is too large, breaks off, finds no room, or comes so slowly that it
/// keeps others from theirs.
pub async fn collect(
    rooms: &Arc<Rooms>,
    body: &mut Incoming,
    limit: usize,
    peer: IpAddr,
) -> Result<(Bytes, Option<Room>), Uncollected> {
    let announced = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let most = announced.unwrap_or(limit).min(limit);
    let collected = Vec::with_capacity(most.min(SMALL));
    let mut collecting = Collecting { body, collected, waited: Duration::ZERO };
    let mut room: Option<Room> = None;
    while let Some(data) = collecting.next(room.as_ref(), most).await? {
        let length = collecting.collected.len() + data.len();
        if length > limit {
            return Err(Uncollected::TooLarge);
        }
        if length > SMALL {
            if room.is_none() {
                let room = room.insert(Room::of(rooms, peer));
                if most > LARGE {
                    room.enter_hall().await?;
                }
                // Memory that is not written to is none.
                collecting.collected.reserve_exact(most.saturating_sub(collecting.collected.len()));
            }
            if let Some(room) = room.as_mut().filter(|room| room.hall.is_none()) {
                room.grow(length - room.bytes).await?;
            }
        }
        collecting.collected.extend_from_slice(&data);
    }
    Ok((Bytes::from(collecting.collected), room))
}

impl Collecting<'_> {
    /// The next piece. Who has room is given so much time, and less of it while
    /// others wait for theirs.
    async fn next(&mut self, room: Option<&Room>, most: usize) -> Result<Option<Bytes>, Uncollected> {
        let began = Instant::now();
        loop {
            let frame = match room {
                None => self.body.frame().await,
                Some(room) => match tokio::time::timeout(LOOK, self.body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) => {
                        let patience = match room.others_wait() {
                            true => patience(1, self.collected.len()),
                            false => patience(5, most),
                        };
                        if self.waited + began.elapsed() > patience {
                            return Err(Uncollected::TooSlow);
                        }
                        continue;
                    }
                },
            };
            let Some(frame) = frame else { return Ok(None) };
            // Trailers say nothing to us.
            if let Ok(data) = frame.map_err(|_| Uncollected::BrokenOff)?.into_data() {
                self.waited += began.elapsed();
                return Ok(Some(data));
            }
        }
    }
}

/// So many seconds, and one for each megabyte.
fn patience(seconds: u64, bytes: usize) -> Duration {
    Duration::from_secs(seconds) + Duration::from_millis((bytes / (MEGABYTE / 1000)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn one_peer_has_a_part_and_the_others_have_the_rest() {
        let rooms = Arc::new(Rooms::default());
        let mut one = Room::of(&rooms, peer(1));
        let mut again = Room::of(&rooms, peer(1));
        assert!(one.take(5 * MEGABYTE) && !again.take(2 * MEGABYTE));
        let mut other = Room::of(&rooms, peer(2));
        assert!(other.take(6 * MEGABYTE) && !other.take(1), "it has its part");
        let mut third = Room::of(&rooms, peer(3));
        assert!(third.take(MEGABYTE) && !third.take(1), "all is taken");
        assert!(one.others_wait());
        drop((other, one, third));
        assert!(again.take(2 * MEGABYTE) && !again.others_wait());
        drop(again);
        let taken = rooms.taken();
        assert!(taken.all == 0 && taken.each.is_empty() && taken.waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_that_wait_for_each_other_the_first_gets_its_room() {
        let rooms = Arc::new(Rooms::default());
        let (mut one, mut other) = (Room::of(&rooms, peer(1)), Room::of(&rooms, peer(1)));
        assert!(one.take(3 * MEGABYTE) && other.take(3 * MEGABYTE));
        let late = tokio::spawn(async move { other.grow(MEGABYTE).await });
        one.grow(MEGABYTE).await.unwrap();
        assert_eq!(late.await.unwrap(), Err(Uncollected::NoRoom));
    }
}
