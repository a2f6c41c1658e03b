//! Changes that a firewall's API has yet to hear of.
//!
//! One file for each API and target holds the newest want and replaces an
//! older one, so an add and a delete of one address meet here and not at the
//! firewall. Whoever decides only writes that file ([`put`]: no lock, no
//! network, no wait); a worker ([`deliver`]) sends what is there. It claims a
//! file by renaming it into `sending/` and puts it back by a link that never
//! replaces a newer want. The program may die between any two of those steps:
//! a request is then sent twice, never lost, and every API is asked in a way
//! that makes the second time harmless.

mod clock;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::time::Duration;

use common::address::Target;
use serde::{Deserialize, Serialize};

pub use clock::{Clock, SystemClock};
use store::{Claim, Store, Stored};

/// How often a waiting worker looks for items that came meanwhile.
const POLL: Duration = Duration::from_secs(1);
/// First and longest wait, in seconds, after a failure that passes by itself.
const RETRY: (u64, u64) = (2, 15 * 60);
/// First and longest wait, in seconds, after an API said no.
const REFUSED: (u64, u64) = (60, 60 * 60);
/// The longest wait, in seconds, that a `Retry-After` may ask for.
const LONGEST_RETRY_AFTER: u64 = 60 * 60;
/// An item that says to wait longer than any wait above, jitter included, was
/// written while the clock was wrong.
const LONGEST_WAIT: u64 = 2 * 60 * 60;

/// What shall become of the target at the API.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// Block it.
    Add,
    /// Unblock it.
    Delete,
}

/// One undelivered change.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Item {
    /// The `name` of the API: 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub api: String,
    /// Which address or network.
    pub target: Target,
    /// Block or unblock.
    pub want: Want,
    /// When the block ends, in seconds since 1970; `None` for never.
    pub until: Option<u64>,
    /// The program that asked.
    pub program: String,
    /// The id of the Wazuh rule.
    pub rule: String,
    /// The id of the alert.
    pub alert: String,
    /// The id of the agent.
    pub agent: String,
    /// Why, as a person reads it.
    pub reason: String,
    /// When this was decided, in seconds since 1970.
    pub queued_at: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Not to be tried before this second since 1970.
    pub not_before: u64,
}

/// What became of one attempt to send an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The API has it; `already` when it needed no change.
    Done {
        /// It was so before.
        already: bool,
    },
    /// It failed in a way that passes by itself: no connection, 429, 5xx.
    Later {
        /// What happened.
        reason: String,
        /// How many seconds the API asked us to wait.
        retry_after: Option<u64>,
    },
    /// The API, or our own setup, said no: a person has to change something.
    Refused {
        /// What happened.
        reason: String,
        /// Every other item of this API would hear the same (401, 403, an
        /// unreadable secret).
        all: bool,
    },
    /// This item can never be sent to this API.
    Never {
        /// Why.
        reason: String,
    },
}

/// What became of an item, as far as is known now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The API has it; `already` when it needed no change.
    Delivered {
        /// It was so before.
        already: bool,
    },
    /// Dropped: the block would have ended, or nothing helped for
    /// [`Limits::give_up_after`].
    Expired,
    /// It will be tried again.
    Retry {
        /// When, in seconds since 1970.
        at: u64,
        /// What went wrong.
        reason: String,
    },
    /// It failed, and a newer want for the same target takes its place.
    Superseded {
        /// What went wrong.
        reason: String,
    },
    /// Dropped: the API refuses it for good.
    Rejected {
        /// What went wrong.
        reason: String,
    },
}

/// How long a worker works and how long it hopes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long one worker stays before it leaves the rest to the next one.
    /// An item that was begun is finished, within its API's own timeout.
    pub budget: Duration,
    /// How long an item is retried at all.
    pub give_up_after: Duration,
    /// How often an API may refuse an add before it is dropped. A delete is
    /// never dropped for that: a block that nobody lifts is worse than an
    /// hourly request.
    pub refusals: u32,
}

impl Default for Limits {
    /// 60 seconds, 7 days, 8 refusals (about two and a half hours).
    fn default() -> Limits {
        Limits {
            budget: Duration::from_secs(60),
            give_up_after: Duration::from_secs(7 * 24 * 60 * 60),
            refusals: 8,
        }
    }
}

/// What a call of [`deliver`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Items that an API now has.
    pub delivered: usize,
    /// Items still in the outbox when the worker left.
    pub left: usize,
    /// Another worker is at it; nothing was done.
    pub busy: bool,
}

/// Writes what is wanted now, in place of what was wanted before for the same
/// API and target.
///
/// Creates the directory (0700). Texts longer than 1,024 bytes are cut.
/// Nothing is flushed to the disk: what a power cut takes away, the block on
/// this host included, Wazuh does not bring back either.
///
/// # Errors
///
/// The name of the API is not a name, the directory belongs to or can be
/// written by somebody else, or the file cannot be written.
pub fn put(dir: &Path, item: &Item) -> io::Result<()> {
    Store::create(dir)?.put(item)
}

/// Everything undelivered, in no particular order; damaged files are left out.
///
/// # Errors
///
/// The directory cannot be read. That it does not exist is no error.
pub fn pending(dir: &Path) -> io::Result<Vec<Item>> {
    match Store::open(dir)? {
        Some(store) => store.pending(),
        None => Ok(Vec::new()),
    }
}

/// Sends what is in the outbox, until it is empty or the budget is used up.
///
/// `send` sends one item, now, and waits for the answer. `report` hears of
/// every attempt and of every item that is dropped. When another worker is
/// there, this one leaves at once: the other looks again before it goes.
///
/// # Errors
///
/// The outbox cannot be read or written. Nothing is lost by it.
pub fn deliver(
    dir: &Path,
    limits: &Limits,
    clock: &dyn Clock,
    send: &mut dyn FnMut(&Item) -> Sent,
    report: &mut dyn FnMut(&Item, &Outcome),
) -> io::Result<Run> {
    let Some(store) = Store::open(dir)? else { return Ok(Run::default()) };
    let deadline = clock.elapsed() + limits.budget;
    let gates = HashMap::new();
    let mut worker = Worker { store, limits, clock, deadline, send, report, gates, run: Run::default() };
    loop {
        let Some(lock) = worker.store.lock()? else {
            worker.run.busy = worker.run == Run::default();
            return Ok(worker.run);
        };
        worker.store.recover()?;
        worker.work()?;
        drop(lock);
        // An item put after the last look, by somebody whose own worker found
        // the lock taken, would otherwise wait for the next alert.
        let left = worker.store.load()?;
        worker.run.left = left.len();
        if worker.is_late() || !left.iter().any(|stored| worker.due(&stored.item) <= clock.now()) {
            return Ok(worker.run);
        }
    }
}

/// An API that failed is left alone for a while, whichever item it failed on.
#[derive(Default)]
struct Gate {
    failures: u32,
    until: u64,
}

struct Worker<'a> {
    store: Store,
    limits: &'a Limits,
    clock: &'a dyn Clock,
    deadline: Duration,
    send: &'a mut dyn FnMut(&Item) -> Sent,
    report: &'a mut dyn FnMut(&Item, &Outcome),
    gates: HashMap<String, Gate>,
    run: Run,
}

impl Worker<'_> {
    fn is_late(&self) -> bool {
        self.clock.elapsed() >= self.deadline
    }

    /// When this item's turn is, in seconds since 1970.
    fn due(&self, item: &Item) -> u64 {
        let now = self.clock.now();
        if self.is_expired(item, now) {
            return now;
        }
        let own = if item.not_before > now + LONGEST_WAIT { now } else { item.not_before };
        own.max(self.gates.get(&item.api).map_or(0, |gate| gate.until))
    }

    fn is_expired(&self, item: &Item, now: u64) -> bool {
        let over = item.want == Want::Add && item.until.is_some_and(|until| until <= now);
        over || now >= item.queued_at.saturating_add(self.limits.give_up_after.as_secs())
    }

    /// Passes over the outbox until nothing is left that can still be sent
    /// within the budget.
    fn work(&mut self) -> io::Result<()> {
        loop {
            let mut items = self.store.load()?;
            items.sort_by_key(|stored| stored.item.queued_at);
            let mut next = None;
            for Stored { item, .. } in items {
                if self.is_late() {
                    return Ok(());
                }
                let mut due = self.due(&item);
                if due <= self.clock.now() {
                    let Some(claim) = self.store.claim(&item)? else { continue };
                    match self.one(claim)? {
                        Some(at) => due = at,
                        None => continue,
                    }
                }
                next = Some(next.map_or(due, |at: u64| at.min(due)));
            }
            let Some(next) = next else { return Ok(()) };
            let wait = Duration::from_secs(next.saturating_sub(self.clock.now()));
            if self.clock.elapsed() + wait >= self.deadline {
                return Ok(());
            }
            self.clock.sleep(wait.min(POLL));
        }
    }

    /// Sends one claimed item. Returns when it comes back, if it does.
    fn one(&mut self, mut claim: Claim) -> io::Result<Option<u64>> {
        let item = &mut claim.stored.item;
        if self.is_expired(item, self.clock.now()) {
            return self.finish(&claim, &Outcome::Expired);
        }
        let sent = (self.send)(item);
        let now = self.clock.now();
        item.attempts = item.attempts.saturating_add(1);
        let (reason, at) = match sent {
            Sent::Done { already } => {
                self.gates.remove(&item.api);
                self.run.delivered += 1;
                return self.finish(&claim, &Outcome::Delivered { already });
            }
            Sent::Never { reason } => return self.finish(&claim, &Outcome::Rejected { reason }),
            Sent::Later { reason, retry_after } => {
                let asked = now + retry_after.unwrap_or(0).min(LONGEST_RETRY_AFTER);
                self.shut(&item.api, asked);
                (reason, asked.max(now + backoff(RETRY, item.attempts)))
            }
            Sent::Refused { reason, all } => {
                if all {
                    self.shut(&item.api, now);
                }
                claim.stored.refused = claim.stored.refused.saturating_add(1);
                if item.want == Want::Add && claim.stored.refused >= self.limits.refusals {
                    return self.finish(&claim, &Outcome::Rejected { reason });
                }
                (reason, now + backoff(REFUSED, claim.stored.refused))
            }
        };
        item.not_before = at;
        if self.store.put_back(&claim)? {
            (self.report)(&claim.stored.item, &Outcome::Retry { at, reason });
            return Ok(Some(at));
        }
        (self.report)(&claim.stored.item, &Outcome::Superseded { reason });
        // The newer want is due now, but for the gate.
        Ok(Some(self.gates.get(&claim.stored.item.api).map_or(now, |gate| gate.until)))
    }

    fn finish(&mut self, claim: &Claim, outcome: &Outcome) -> io::Result<Option<u64>> {
        self.store.drop_claim(claim)?;
        (self.report)(&claim.stored.item, outcome);
        Ok(None)
    }

    /// Leaves an API alone until `asked`, and longer the more often it failed.
    fn shut(&mut self, api: &str, asked: u64) {
        let gate = self.gates.entry(api.to_owned()).or_default();
        gate.failures = gate.failures.saturating_add(1);
        gate.until = asked.max(self.clock.now() + backoff(RETRY, gate.failures));
    }
}

/// The wait in seconds after the `nth` failure: doubling up to a cap, and up
/// to a quarter more, so that hosts that failed together do not return together.
fn backoff((first, cap): (u64, u64), nth: u32) -> u64 {
    let doubled = first.saturating_mul(1 << nth.saturating_sub(1).min(32)).min(cap);
    doubled + RandomState::new().hash_one(nth) % (doubled / 4 + 1)
}
