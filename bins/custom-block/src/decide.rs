//! May this target be blocked, and as what? May this block be lifted?
//!
//! Pure: facts come in, a value goes out. A refusal is a decision with a
//! reason, not an error. Reasons avoid the words by which stock rules of
//! Wazuh recognise a block that was made or lifted.

use common::address::{Scope, Target};

use crate::config::{Settings, Widths};
use crate::state::entry::{ADMINISTRATOR, Entry, Neighbours, Owner};

/// How early a delete may come for an escalated or held block: execd counts
/// whole seconds, and is itself a second or two late.
const PUNCTUAL: u64 = 5;
/// The IPv6 network that one customer commonly has.
pub const IPV6_NETWORK: u8 = 64;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Wazuh, with an alert.
    Wazuh,
    /// A person at the command line.
    Administrator {
        /// Block also what is protected.
        force: bool,
    },
}

/// An address or network that must not be cut off, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// The address or network.
    pub target: Target,
    /// In words: `own IP`, `default gateway`, …
    pub what: &'static str,
}

/// What is the case on this host at this moment.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Seconds since 1970.
    pub now: u64,
    /// Everything that must stay reachable.
    pub protected: Vec<Protected>,
    /// What is known of the target.
    pub entry: Option<Entry>,
    /// What is known of the IPv6 network around the target.
    pub network_entry: Option<Entry>,
    /// The hosts of that network that were blocked one by one.
    pub neighbours: Neighbours,
    /// New blocks in the last 60 seconds.
    pub recent: u64,
    /// Blocks that stand.
    pub standing: u64,
}

/// A decision about an add.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Block it.
    Block(Granted),
    /// Leave it, for this reason.
    Refuse(Refusal),
}

/// A block that may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// What to block: the target, or the network around it.
    pub target: Target,
    /// True when nobody blocks it yet.
    pub new: bool,
    /// True when it counts against the limit of new blocks in a minute.
    pub limited: bool,
}

/// Why a target is not blocked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody's traffic comes from there, or everybody's.
    #[error("{0} targets are never blocked")]
    Scope(Scope),
    /// Wider than configured.
    #[error("a network wider than /{0} is not blocked")]
    TooWide(u8),
    /// It overlaps what must stay reachable.
    #[error("overlaps {what} {protected}")]
    Protected {
        /// What that is.
        what: &'static str,
        /// Which one.
        protected: Target,
    },
    /// Too many new blocks in a minute.
    #[error("more than {0} new blocks in a minute (max_blocks_per_minute)")]
    TooFast(u64),
    /// Too many blocks at a time.
    #[error("{0} blocks stand already (max_blocks)")]
    TooMany(u32),
}

/// Decides about an add.
pub fn decide(target: Target, asker: Asker, facts: &Facts, settings: &Settings) -> Decision {
    match grant(target, asker, facts, settings) {
        Ok(granted) => Decision::Block(granted),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

fn grant(target: Target, asker: Asker, facts: &Facts, settings: &Settings) -> Result<Granted, Refusal> {
    let widest = match asker {
        Asker::Wazuh => settings.widest,
        Asker::Administrator { .. } => settings.widest_administrator,
    };
    possible(target, widest)?;
    let forced = asker == Asker::Administrator { force: true };
    if !forced {
        reachable(target, facts)?;
    }
    let target = match aggregated(target, asker, facts, settings) {
        Some(network) if possible(network, widest).is_ok() && reachable(network, facts).is_ok() => network,
        _ => target,
    };
    let entry = if facts.network_entry.as_ref().is_some_and(|entry| entry.target == target) {
        &facts.network_entry
    } else {
        &facts.entry
    };
    let new = !entry.as_ref().is_some_and(|entry| entry.is_active(facts.now));
    // An IPv6 attacker has 2^64 addresses: each network counts once.
    let counted = target.is_ipv6() && facts.neighbours.others(target, facts.now) > 0;
    let limited = new && asker == Asker::Wazuh && !counted;
    if limited && settings.max_blocks_per_minute > 0 && facts.recent >= settings.max_blocks_per_minute {
        return Err(Refusal::TooFast(settings.max_blocks_per_minute));
    }
    if new && facts.standing >= u64::from(settings.max_blocks) {
        return Err(Refusal::TooMany(settings.max_blocks));
    }
    Ok(Granted { target, new, limited })
}

fn possible(target: Target, widest: Widths) -> Result<(), Refusal> {
    match target.scope() {
        Scope::Private | Scope::CarrierGrade | Scope::Documentation | Scope::Public => {}
        scope => return Err(Refusal::Scope(scope)),
    }
    let widest = if target.is_ipv6() { widest.ipv6 } else { widest.ipv4 };
    if target.prefix_len() < widest { Err(Refusal::TooWide(widest)) } else { Ok(()) }
}

fn reachable(target: Target, facts: &Facts) -> Result<(), Refusal> {
    match facts.protected.iter().find(|protected| protected.target.overlaps(target)) {
        Some(protected) => Err(Refusal::Protected { what: protected.what, protected: protected.target }),
        None => Ok(()),
    }
}

/// The network to block instead of one more of its hosts.
fn aggregated(target: Target, asker: Asker, facts: &Facts, settings: &Settings) -> Option<Target> {
    let most = settings.ipv6_hosts_per_network;
    if asker != Asker::Wazuh || most == 0 || !target.is_host() || !target.is_ipv6() {
        return None;
    }
    (facts.neighbours.others(target, facts.now) + 1 >= most).then(|| target.widened(IPV6_NETWORK))
}

/// A decision about a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Release {
    /// Nobody else wants it: lift it, and keep this entry.
    Lift(Entry),
    /// This owner lets go, the others do not: keep this entry.
    StillOwned(Entry),
    /// Too early for a block that lasts until its own time is over.
    Held {
        /// When that is, in seconds since 1970; `None` is never.
        until: Option<u64>,
    },
    /// Nothing is known of it, or not of this owner.
    Unknown,
}

/// Decides about a delete by the owner of that name.
pub fn release(entry: Option<&Entry>, name: &str, now: u64, hold: bool) -> Release {
    let Some(entry) = entry else { return Release::Unknown };
    let others = |owner: &&Owner| owner.name != name && owner.is_active(now);
    let Some(owner) = entry.owner(name) else {
        // Only somebody else's: not ours to lift.
        return if entry.owners.iter().any(|owner| owner.is_active(now)) {
            Release::StillOwned(entry.clone())
        } else {
            Release::Unknown
        };
    };
    let early = owner.until.is_none_or(|until| until > now.saturating_add(PUNCTUAL));
    if (hold || owner.escalated) && early && name != ADMINISTRATOR {
        return Release::Held { until: owner.until };
    }
    let mut left = entry.clone();
    left.owners = entry.owners.iter().filter(others).cloned().collect();
    if left.owners.is_empty() { Release::Lift(left) } else { Release::StillOwned(left) }
}

#[cfg(test)]
mod tests;
