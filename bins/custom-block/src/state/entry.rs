//! What is known of one blocked target.

use common::address::Target;
use serde::{Deserialize, Serialize};

use crate::firewall::Backend;
use crate::lifetime;

/// The owner of blocks that a person made: Wazuh never lifts them.
pub const ADMINISTRATOR: &str = "administrator";

/// One who wants a target blocked: a program name that Wazuh calls us by, or
/// an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The program name, or [`ADMINISTRATOR`].
    pub name: String,
    /// When it first asked, in seconds since 1970.
    pub since: u64,
    /// Until when it wants it: the last add or abort plus the time to live.
    /// `None` is for ever.
    pub until: Option<u64>,
    /// The id of the first alert, by which its delete finds the block.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alert: String,
    /// The rule that fired.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// Why, in a person's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who has it: exactly these are told to lift it.
    pub backends: Vec<Backend>,
    /// Made longer because of earlier offences.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub escalated: bool,
}

impl Owner {
    /// True while its time is not over.
    #[must_use]
    pub fn is_active(&self, now: u64) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// A target, those who want it blocked, and how often it offended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose traffic ends.
    pub target: Target,
    /// Who wants it. Empty when the block was lifted.
    pub owners: Vec<Owner>,
    /// New blocks so far, within the decay time of each other.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offences: u32,
    /// When the last of them was, in seconds since 1970.
    #[serde(default, skip_serializing_if = "is_never")]
    pub offended: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_never(time: &u64) -> bool {
    *time == 0
}

impl Entry {
    /// Nobody's entry yet.
    #[must_use]
    pub fn new(target: Target) -> Entry {
        Entry { target, owners: Vec::new(), offences: 0, offended: 0 }
    }

    /// The key it is found by.
    #[must_use]
    pub fn key(target: Target) -> String {
        format!("block {target}")
    }

    /// The owner of that name.
    #[must_use]
    pub fn owner(&self, name: &str) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.name == name)
    }

    /// Puts an owner in the place of the one with its name.
    pub fn set_owner(&mut self, owner: Owner) {
        self.owners.retain(|known| known.name != owner.name);
        self.owners.push(owner);
    }

    /// True while any owner's time is not over.
    #[must_use]
    pub fn is_active(&self, now: u64) -> bool {
        self.owners.iter().any(|owner| owner.is_active(now))
    }

    /// Seconds until the last owner's time is over; `None` is never.
    #[must_use]
    pub fn left(&self, now: u64) -> Option<u64> {
        self.owners
            .iter()
            .map(|owner| owner.until)
            .try_fold(0, |longest, until| until.map(|until| longest.max(until.saturating_sub(now))))
    }

    /// Everybody who has it, for any owner.
    #[must_use]
    pub fn backends(&self) -> Vec<Backend> {
        let mut backends: Vec<Backend> =
            self.owners.iter().flat_map(|owner| owner.backends.iter().copied()).collect();
        backends.sort_unstable();
        backends.dedup();
        backends
    }

    /// Until when it is worth remembering: as long as its block stands in the
    /// kernel and, after that, its offences.
    #[must_use]
    pub fn remember_until(&self, decay: u64) -> u64 {
        let stands = |owner: &Owner| match owner.until {
            None => u64::MAX,
            // Until it was lifted.
            Some(_) if owner.backends.iter().any(|backend| backend.is_lasting()) => u64::MAX,
            Some(until) => {
                let timeout = lifetime::kernel_timeout(until.saturating_sub(owner.since));
                owner.since.saturating_add(timeout.as_secs())
            }
        };
        let blocked = self.owners.iter().map(stands).max().unwrap_or(0);
        let offended = if self.offences > 0 { self.offended.saturating_add(decay) } else { 0 };
        blocked.max(offended)
    }
}

/// The hosts of one IPv6 network that were blocked one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours {
    /// Each with the time until when.
    pub hosts: Vec<(Target, u64)>,
}

impl Neighbours {
    /// The key they are found by.
    #[must_use]
    pub fn key(network: Target) -> String {
        format!("hosts of {network}")
    }

    /// How many others than this one are blocked now.
    #[must_use]
    pub fn others(&self, host: Target, now: u64) -> usize {
        self.hosts.iter().filter(|&&(known, until)| known != host && until > now).count()
    }

    /// Notes a host, and forgets those whose time is over.
    pub fn note(&mut self, host: Target, until: u64, now: u64, most: usize) {
        self.hosts.retain(|&(known, until)| known != host && until > now);
        self.hosts.push((host, until));
        let surplus = self.hosts.len().saturating_sub(most);
        self.hosts.drain(..surplus);
    }

    /// Until when it is worth remembering.
    #[must_use]
    pub fn remember_until(&self) -> u64 {
        self.hosts.iter().map(|&(_, until)| until).max().unwrap_or(0)
    }
}
