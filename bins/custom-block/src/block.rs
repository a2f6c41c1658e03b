//! Blocking and unblocking: the state and the backends, in the order that
//! leaves nothing behind when it is cut short.
//!
//! An entry stands from before its block until after it. So blocking writes
//! the entry first and the kernel then; lifting asks the kernel first. The
//! lock on the entry is held over both, so that two runs about one target do
//! one after the other.

use std::io;

use common::address::Target;

use crate::backends::{Backends, Outcome};
use crate::call::Run;
use crate::decide::{self, Granted, IPV6_NETWORK, Release};
use crate::firewall::{Backend, Block};
use crate::lifetime;
use crate::outbox::{self, Item, Want};
use crate::report::Origin;
use crate::sockets;
use crate::state::counters;
use crate::state::entry::{ADMINISTRATOR, Entry, Neighbours, Owner};
use crate::state::journal::{self, Change};
use crate::state::ledger::{Bucket, Ledger};
use crate::worker;

/// What a block is made with.
#[derive(Debug, Clone)]
pub struct Order {
    /// What was granted.
    pub granted: Granted,
    /// The address that the alert named.
    pub named: Target,
    /// On whose behalf: a program name, or the administrator.
    pub owner: String,
    /// The alert.
    pub origin: Origin,
    /// Why, in words.
    pub reason: String,
    /// The time to live in seconds, before escalation; `None` is for ever.
    pub ttl: Option<u64>,
    /// The backends to use.
    pub backends: Vec<Backend>,
    /// True when Wazuh says that its first alert's clock was set anew.
    pub repeated: bool,
    /// The word for the journal.
    pub did: &'static str,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Done {
    /// Of each local backend.
    pub outcomes: Vec<Outcome>,
    /// The firewalls whose outbox has it.
    pub queued: Vec<String>,
    /// The time to live in seconds; `None` is for ever.
    pub ttl: Option<u64>,
    /// Made longer because of earlier offences.
    pub escalated: bool,
    /// What did not prevent it but should be known.
    pub faults: Vec<String>,
}

impl Done {
    fn note(&mut self, what: &str, result: io::Result<()>) {
        if let Err(error) = result {
            self.faults.push(format!("{what}: {error}"));
        }
    }

    /// True when every local backend did its part and none failed to be told.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.result.is_ok())
    }
}

/// Blocks what was granted.
#[must_use]
pub fn block(run: &Run, order: &Order) -> Done {
    let mut done = Done::default();
    if order.backends.iter().all(|&backend| backend == Backend::Api) && run.settings.api.is_empty() {
        return done;
    }
    let target = order.granted.target;
    let ledger = Ledger::new(&run.state, run.patience());
    let had_history = journal::has_history(&run.state);

    if order.named.is_host() && order.named.is_ipv6() {
        let until = order.ttl.map_or(u64::MAX, |ttl| run.now.saturating_add(ttl));
        let noted = note_neighbour(run, &ledger, order.named, until);
        done.note("state", noted);
    }
    if order.granted.new {
        let counted = counters::update(&run.state, run.patience(), |counters| {
            counters.block(run.now, order.granted.limited);
        });
        done.note("counters", counted);
    }

    let key = Entry::key(target);
    let mut bucket = match ledger.lock(&key) {
        Ok(bucket) => Some(bucket),
        Err(error) => {
            // Without state the block still stands: it only is less known.
            done.faults.push(format!("state: {error}"));
            None
        }
    };
    let known: Option<Entry> = bucket.as_ref().and_then(|bucket| bucket.get(&key));
    let fresh = bucket.is_some() && known.is_none() && !order.repeated;
    let mut entry = known.unwrap_or_else(|| Entry::new(target));
    let decay = run.decay();
    if !entry.is_active(run.now) {
        let forgotten = entry.offended.saturating_add(decay) <= run.now;
        entry.offences = if forgotten { 1 } else { entry.offences.saturating_add(1) };
        entry.offended = run.now;
    }
    if let Some(ttl) = order.ttl {
        let max = run.settings.max_ttl.as_secs();
        let factors: &[u32] = if order.did == MANUAL { &[] } else { &run.settings.escalation.factors };
        let (ttl, escalated) = lifetime::escalate(ttl, factors, entry.offences, max);
        (done.ttl, done.escalated) = (Some(ttl), escalated);
    }
    // Wazuh's delete comes a second or two late: until then its first alert counts.
    // What does not lapse by itself, and was not lifted when its time was over.
    let lasting: Vec<Backend> = entry
        .owners
        .iter()
        .filter(|owner| !owner.is_active(run.now))
        .flat_map(|owner| owner.backends.iter().copied())
        .filter(|backend| backend.is_lasting())
        .collect();
    let former =
        entry.owner(&order.owner).filter(|owner| order.repeated || owner.is_active(run.now)).cloned();
    let mut owner = Owner {
        name: order.owner.clone(),
        since: former.as_ref().map_or(run.now, |former| former.since),
        until: done.ttl.map(|ttl| run.now.saturating_add(ttl)),
        // Wazuh's delete will carry the alert that its clock began with.
        alert: former
            .as_ref()
            .filter(|_| order.repeated)
            .map_or_else(|| order.origin.alert.clone(), |former| former.alert.clone()),
        rule: order.origin.rule.clone(),
        reason: order.reason.clone(),
        backends: with(
            with(former.map(|former| former.backends).unwrap_or_default(), &lasting),
            &likely(&order.backends),
        ),
        escalated: done.escalated,
    };
    entry.owners.retain(|owner| owner.is_active(run.now));
    entry.set_owner(owner.clone());
    write(run, bucket.as_mut(), &entry, order.did, &order.owner, "", &mut done);

    let block = Block {
        target,
        timeout: entry.left(run.now).map(lifetime::kernel_timeout),
        comment: comment(&order.origin, &order.owner),
        fresh,
    };
    let backends = Backends::new(&run.settings, &run.state, run.deadline);
    done.outcomes = backends.put(&order.backends, &block);

    // Correct what was written ahead: what failed has it not, and `auto` may
    // have become something else.
    let failed: Vec<String> = done
        .outcomes
        .iter()
        .filter_map(|outcome| {
            outcome.result.as_ref().err().map(|fault| format!("{}: {fault}", outcome.backend))
        })
        .collect();
    let mut real = owner.backends.clone();
    real.retain(|backend| !likely(&order.backends).contains(backend) || *backend == Backend::Api);
    let real =
        with(real, &done.outcomes.iter().filter(|o| o.result.is_ok()).map(|o| o.backend).collect::<Vec<_>>());
    if real != owner.backends || !failed.is_empty() {
        owner.backends = real;
        entry.owners.retain(|known| known.name != order.owner);
        if !owner.backends.is_empty() {
            entry.set_owner(owner);
        }
        let did = if failed.is_empty() { order.did } else { "failed" };
        write(run, bucket.as_mut(), &entry, did, &order.owner, &failed.join("; "), &mut done);
    }
    drop(bucket);

    if order.backends.contains(&Backend::Api) {
        // As long as any owner wants it.
        let until = entry.left(run.now).map(|left| run.now.saturating_add(left));
        queue(run, target, Want::Add, until, &order.owner, &order.origin, &order.reason, &mut done);
    }
    if had_history && done.outcomes.iter().any(|outcome| matches!(outcome.result, Ok(true))) {
        // Somebody flushed the ruleset: this target stands again, the others
        // are put back outside of Wazuh's time.
        done.note("restore", worker::spawn(&run.call, "restore"));
    }
    if run.settings.close_connections && done.is_whole() {
        let budget = (std::time::Instant::now() + run.settings.close_budget).min(run.deadline);
        if let Err(error) = sockets::close(target, budget)
            && error.kind() != io::ErrorKind::TimedOut
        {
            done.faults.push(format!("closing connections: {error}"));
        }
    }
    done
}

/// The journal's word for an administrator's block, which knows no escalation.
pub const MANUAL: &str = "manual";

/// What is written ahead for `auto`: what it is nearly everywhere.
fn likely(wanted: &[Backend]) -> Vec<Backend> {
    wanted.iter().map(|&backend| if backend == Backend::Auto { Backend::Nftables } else { backend }).collect()
}

fn with(mut backends: Vec<Backend>, more: &[Backend]) -> Vec<Backend> {
    backends.extend(more.iter().filter(|&&backend| !matches!(backend, Backend::DryRun | Backend::Auto)));
    backends.sort_unstable();
    backends.dedup();
    backends
}

/// What a person reads beside the element in the kernel.
fn comment(origin: &Origin, owner: &str) -> String {
    let plain =
        |text: &str| text.chars().filter(|c| c.is_ascii_graphic() && *c != '"').take(40).collect::<String>();
    match (origin.rule.as_str(), origin.alert.as_str()) {
        ("", "") => plain(owner),
        (rule, "") => format!("{} rule {}", plain(owner), plain(rule)),
        (rule, alert) => format!("{} rule {} alert {}", plain(owner), plain(rule), plain(alert)),
    }
}

fn note_neighbour(run: &Run, ledger: &Ledger, host: Target, until: u64) -> io::Result<()> {
    // Also where networks are never blocked: each counts once a minute.
    let most = run.settings.ipv6_hosts_per_network.max(1);
    let key = Neighbours::key(host.widened(IPV6_NETWORK));
    let mut bucket = ledger.lock(&key)?;
    let mut neighbours: Neighbours = bucket.get(&key).unwrap_or_default();
    neighbours.note(host, until, run.now, most);
    bucket.put(&key, neighbours.remember_until(), &neighbours, run.now)
}

/// A host that is not blocked any more counts no longer for its network.
fn forget_neighbour(run: &Run, ledger: &Ledger, host: Target) -> io::Result<()> {
    let key = Neighbours::key(host.widened(IPV6_NETWORK));
    let mut bucket = ledger.lock(&key)?;
    let Some(mut neighbours) = bucket.get::<Neighbours>(&key) else { return Ok(()) };
    neighbours.hosts.retain(|&(known, _)| known != host);
    bucket.put(&key, neighbours.remember_until(), &neighbours, run.now)
}

fn write(
    run: &Run,
    bucket: Option<&mut Bucket>,
    entry: &Entry,
    did: &str,
    by: &str,
    reason: &str,
    done: &mut Done,
) {
    if let Some(bucket) = bucket {
        let kept = bucket.put(&Entry::key(entry.target), entry.remember_until(run.decay()), entry, run.now);
        done.note("state", kept);
    }
    let change = Change {
        at: run.now,
        did: did.to_owned(),
        by: by.to_owned(),
        reason: reason.to_owned(),
        entry: Some(entry.clone()),
    };
    done.note("journal", journal::append(&run.state, run.patience(), &change));
}

#[expect(clippy::too_many_arguments, reason = "each becomes one field of the item")]
fn queue(
    run: &Run,
    target: Target,
    want: Want,
    until: Option<u64>,
    owner: &str,
    origin: &Origin,
    reason: &str,
    done: &mut Done,
) {
    for api in &run.settings.api {
        let item = Item {
            api: api.name.clone(),
            target,
            want,
            until,
            program: owner.to_owned(),
            rule: origin.rule.clone(),
            alert: origin.alert.clone(),
            agent: origin.agent.clone(),
            reason: reason.to_owned(),
            queued_at: run.now,
            attempts: 0,
            not_before: 0,
        };
        match outbox::put(&run.state.path("outbox"), &item) {
            Ok(()) => done.queued.push(api.name.clone()),
            Err(error) => {
                let fault = crate::firewall::Fault::Failed(format!("outbox: {error}"));
                done.outcomes.push(Outcome { backend: Backend::Api, result: Err(fault) });
            }
        }
    }
    if !done.queued.is_empty() {
        done.note("worker", worker::spawn(&run.call, "deliver"));
    }
}

/// What became of a wish to lift.
#[derive(Debug)]
pub enum Lifted {
    /// Nobody wants it any more: each backend was told.
    Everywhere(Done),
    /// It stays, because of other owners.
    StillOwned(Vec<String>, Done),
    /// It stays until its own time is over.
    Held(Option<u64>),
}

/// The target that a delete is about: what its first alert had blocked, else
/// the address it names now, or the IPv6 network that was blocked in its stead.
///
/// Nearly always the two agree. Only where they do not (the configuration of
/// fields has changed since) is the journal searched for the alert.
#[must_use]
pub fn target_of_delete(run: &Run, owner: &str, alert: &str, named: Option<Target>) -> Option<Target> {
    let ledger = Ledger::new(&run.state, run.patience());
    let alert_of = |target: Target| {
        let entry = ledger.get::<Entry>(&Entry::key(target))?;
        Some(entry.owner(owner)?.alert.clone())
    };
    let mut candidates: Vec<Target> = named.into_iter().collect();
    candidates.extend(
        named.filter(|named| named.is_host() && named.is_ipv6()).map(|named| named.widened(IPV6_NETWORK)),
    );
    let owned: Vec<(Target, String)> =
        candidates.iter().filter_map(|&target| Some((target, alert_of(target)?))).collect();
    if let Some(&(target, _)) = owned.iter().find(|(_, first)| first == alert) {
        return Some(target);
    }
    // What was lifted already (by an administrator, or by its time) is known,
    // too, and needs no search.
    let lifted = |target: Target| {
        ledger.get::<Entry>(&Entry::key(target)).is_some_and(|entry| entry.owners.is_empty())
    };
    if alert.is_empty() || named.is_some_and(lifted) {
        return named;
    }
    journal::target_of_alert(&run.state, owner, alert, run.patience()).or(named)
}

/// Lets go of a target, and lifts it when that was the last owner.
#[must_use]
pub fn unblock(run: &Run, target: Target, owner: &str, origin: &Origin) -> Lifted {
    let hold = run.settings.hold;
    release(run, target, owner, origin, "delete", |entry| decide::release(entry, owner, run.now, hold))
}

/// Lifts a target, whoever wants it: an administrator's word.
#[must_use]
pub fn forget(run: &Run, target: Target) -> Lifted {
    release(run, target, ADMINISTRATOR, &Origin::default(), "delete", |entry| match entry {
        Some(entry) if !entry.owners.is_empty() => {
            Release::Lift(Entry { owners: Vec::new(), ..entry.clone() })
        }
        _ => Release::Unknown,
    })
}

/// Lifts a target whose time is over, where that does not happen by itself.
#[must_use]
pub fn expire(run: &Run, target: Target) -> Lifted {
    release(run, target, "timer", &Origin::default(), "expired", |entry| match entry {
        // Somebody may have wanted it again since the journal was read.
        Some(entry) if !entry.owners.is_empty() && !entry.is_active(run.now) => {
            Release::Lift(Entry { owners: Vec::new(), ..entry.clone() })
        }
        entry => Release::StillOwned(entry.cloned().unwrap_or_else(|| Entry::new(target))),
    })
}

fn release(
    run: &Run,
    target: Target,
    owner: &str,
    origin: &Origin,
    did: &str,
    decide: impl FnOnce(Option<&Entry>) -> Release,
) -> Lifted {
    let mut done = Done::default();
    let ledger = Ledger::new(&run.state, run.patience());
    let key = Entry::key(target);
    let mut bucket = match ledger.lock(&key) {
        Ok(bucket) => Some(bucket),
        Err(error) => {
            done.faults.push(format!("state: {error}"));
            None
        }
    };
    let known: Option<Entry> = match &bucket {
        Some(bucket) => bucket.get(&key),
        None => ledger.get(&key),
    };
    let backends = Backends::new(&run.settings, &run.state, run.deadline);
    let (left, from) = match decide(known.as_ref()) {
        Release::Held { until } => return Lifted::Held(until),
        Release::StillOwned(left) => {
            let names = left.owners.iter().map(|owner| owner.name.clone()).collect();
            if known.as_ref() != Some(&left) {
                write(run, bucket.as_mut(), &left, "held", owner, "", &mut done);
                // The time that the others gave it, not the longer one of
                // the owner that has gone.
                let timeout = left.left(run.now).map(lifetime::kernel_timeout);
                let block = Block { target, timeout, comment: comment(origin, owner), fresh: false };
                done.outcomes = backends.put(&left.backends(), &block);
                // Who had it for the leaving owner alone lifts it.
                let all = known.map(|entry| entry.backends()).unwrap_or_default();
                let alone: Vec<Backend> =
                    all.into_iter().filter(|backend| !left.backends().contains(backend)).collect();
                done.outcomes.extend(backends.lift(&alone, target));
                drop(bucket);
                if alone.contains(&Backend::Api) {
                    queue(run, target, Want::Delete, None, owner, origin, "", &mut done);
                } else if left.backends().contains(&Backend::Api) {
                    let until = left.left(run.now).map(|left| run.now.saturating_add(left));
                    queue(run, target, Want::Add, until, owner, origin, "", &mut done);
                }
            }
            return Lifted::StillOwned(names, done);
        }
        Release::Lift(left) => (left, known.map(|entry| entry.backends()).unwrap_or_default()),
        Release::Unknown => (Entry::new(target), run.backends(&[])),
    };
    done.outcomes = backends.lift(&from, target);
    let offences = bucket.as_ref().and_then(|bucket| bucket.get::<Entry>(&key));
    let left = Entry {
        offences: offences.as_ref().map_or(0, |entry| entry.offences),
        offended: offences.as_ref().map_or(0, |entry| entry.offended),
        ..left
    };
    if done.is_whole() {
        write(run, bucket.as_mut(), &left, did, owner, "", &mut done);
    } else if let Some(mut entry) = offences {
        // What did lift it is not asked again; what failed still has it.
        let failed: Vec<&Outcome> = done.outcomes.iter().filter(|outcome| outcome.result.is_err()).collect();
        for owner in &mut entry.owners {
            owner.backends.retain(|backend| failed.iter().any(|outcome| outcome.backend == *backend));
        }
        let reason = failed
            .iter()
            .filter_map(|o| o.result.as_ref().err().map(ToString::to_string))
            .collect::<Vec<_>>();
        write(run, bucket.as_mut(), &entry, "failed", owner, &reason.join("; "), &mut done);
    }
    drop(bucket);
    if target.is_host() && target.is_ipv6() {
        let forgotten = forget_neighbour(run, &ledger, target);
        done.note("state", forgotten);
    }
    let counted = counters::update(&run.state, run.patience(), counters::Counters::lift);
    done.note("counters", counted);
    if from.contains(&Backend::Api) {
        queue(run, target, Want::Delete, None, owner, origin, "", &mut done);
    }
    Lifted::Everywhere(done)
}
