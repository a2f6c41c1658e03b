//! `add`, `remove` and `flush`: blocks in an administrator's hand.

use std::io::{BufRead, Write};
use std::time::Duration;

use common::address::Target;

use crate::backends::Backends;
use crate::block::{self, Done, Lifted, MANUAL, Order};
use crate::call::Run;
use crate::decide::{self, Asker, Decision};
use crate::firewall::{Backend, Fault};
use crate::host::{self, WazuhConf};
use crate::report::{Command, Origin, Report};
use crate::respond;
use crate::state::entry::ADMINISTRATOR;
use crate::state::{counters, journal};

use super::{DONE, FAILED, REFUSED, duration, say, warn};

/// Records what a person did, where Wazuh is installed to read it.
fn record(run: &Run, command: Command, target: Target, backend: &str, reason: &str) {
    if !run.call.installation.logs().is_dir() {
        return;
    }
    let report = Report {
        srcip: Some(target),
        backend: backend.to_owned(),
        reason: if reason.is_empty() {
            "by an administrator".to_owned()
        } else {
            format!("by an administrator: {reason}")
        },
        took: run.started.elapsed(),
        ..Report::new(command, &run.call.program)
    };
    if let Err(error) = report.append(&run.call.installation.logs()) {
        warn(&format!("active-responses.log: {error}"));
    }
}

/// Says what each backend did; true when all did.
fn tell(done: &Done) -> bool {
    for fault in &done.faults {
        warn(fault);
    }
    for outcome in &done.outcomes {
        if let Err(fault) = &outcome.result {
            warn(&format!("{}: {fault}", outcome.backend));
        }
    }
    if !done.queued.is_empty() {
        say(&format!("Queued for {}; `custom-block deliver` sends it now.", done.queued.join(", ")));
    }
    done.is_whole()
}

/// What it may be called: only what was done here and now is done.
fn command(done: &Done, whole: bool, success: Command) -> Command {
    if !whole {
        Command::Failed
    } else if done.outcomes.is_empty() && !done.queued.is_empty() {
        Command::Queued
    } else {
        success
    }
}

fn names(done: &Done) -> String {
    done.outcomes.iter().filter(|o| o.result.is_ok()).map(|o| o.backend.name()).collect::<Vec<_>>().join(", ")
}

/// Blocks a target on behalf of a person.
#[must_use]
pub fn add(run: &Run, target: Target, ttl: Option<Duration>, reason: &str, force: bool) -> u8 {
    if !force && let Some(client) = host::ssh_client().filter(|client| client.overlaps(target)) {
        warn(&format!("{client} is where your own SSH session comes from; --force blocks it all the same"));
        return REFUSED;
    }
    let wazuh = WazuhConf::read(&run.call.installation, &run.state);
    let mut faults = Vec::new();
    let facts = respond::gather(run, target, &wazuh, &mut faults);
    let granted = match decide::decide(target, Asker::Administrator { force }, &facts, &run.settings) {
        Decision::Block(granted) => granted,
        Decision::Refuse(refusal) => {
            warn(&format!("{target} is not blocked: {refusal}"));
            return REFUSED;
        }
    };
    faults.iter().for_each(|fault| warn(fault));
    let ttl = match ttl.map(|ttl| ttl.as_secs()) {
        Some(0) => None,
        Some(seconds) => Some(seconds),
        None => Some(run.settings.ttl.as_secs()),
    };
    let backends = run.backends(&[]);
    if backends == [Backend::DryRun] {
        say(&format!("{target} would be blocked; nothing was done."));
        return DONE;
    }
    let order = Order {
        granted,
        named: target,
        owner: ADMINISTRATOR.to_owned(),
        origin: Origin::default(),
        reason: reason.chars().take(200).collect(),
        ttl,
        backends,
        repeated: false,
        did: MANUAL,
    };
    let done = block::block(run, &order);
    let whole = tell(&done) && !(done.outcomes.is_empty() && done.queued.is_empty());
    record(run, command(&done, whole, Command::Add), target, &names(&done), reason);
    if !whole {
        warn(&format!("{target} is not blocked everywhere"));
        return FAILED;
    }
    if done.outcomes.is_empty() {
        return DONE;
    }
    let until = if ttl.is_none() { "for ever".to_owned() } else { format!("for {}", duration(ttl)) };
    say(&format!("{target} is blocked {until} by {}.", names(&done)));
    DONE
}

/// Lifts a block, whoever wanted it.
#[must_use]
pub fn remove(run: &Run, target: Target) -> u8 {
    if run.backends(&[]) == [Backend::DryRun] {
        say(&format!("{target} would be unblocked; nothing was done."));
        return DONE;
    }
    let done = match block::forget(run, target) {
        Lifted::Everywhere(done) | Lifted::StillOwned(_, done) => done,
        // An administrator is never held; see `decide::release`.
        Lifted::Held(_) => Done::default(),
    };
    let whole = tell(&done);
    record(run, command(&done, whole, Command::Delete), target, &names(&done), "");
    if !whole {
        warn(&format!("{target} may still be blocked"));
        return FAILED;
    }
    if done.outcomes.is_empty() && !done.queued.is_empty() {
        return DONE;
    }
    say(&format!("{target} is not blocked any more."));
    let (standing, _) = Backends::new(&run.settings, &run.state, run.deadline).standing();
    for wider in standing.iter().filter(|wider| wider.target != target && wider.target.contains(target)) {
        say(&format!("But it lies in {}, which is blocked by {}.", wider.target, wider.backend));
    }
    DONE
}

fn confirmed(question: &str) -> bool {
    let _ = write!(std::io::stdout().lock(), "{question} [y/N] ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok()
        && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Lifts everything.
#[must_use]
pub fn flush(run: &Run, yes: bool) -> u8 {
    let backends = Backends::new(&run.settings, &run.state, run.deadline);
    let count = backends.standing().0.len();
    if !yes && !confirmed(&format!("Lift all {count} blocks, administrators' included?")) {
        say("Nothing was done.");
        return FAILED;
    }
    // The time that a person took to answer is not the program's.
    let run = &Run::new(run.call.clone()).patient(super::PATIENCE);
    let backends = Backends::new(&run.settings, &run.state, run.deadline);
    let mut whole = true;
    // What is known first, one by one: firewalls behind an API must be told of each.
    let entries = match journal::entries(&run.state) {
        Ok(entries) => entries,
        Err(error) => {
            warn(&format!("the journal cannot be read: {error}"));
            return FAILED;
        }
    };
    for entry in entries.values().filter(|entry| !entry.owners.is_empty()) {
        if let Lifted::Everywhere(done) = block::forget(run, entry.target) {
            whole &= tell(&done);
        }
    }
    for backend in [Backend::Nftables, Backend::Ipset, Backend::Iptables, Backend::File] {
        let flushed = match backends.open(backend) {
            Ok(Some(mut firewall)) => firewall.flush(),
            Ok(None) | Err(Fault::Absent(_)) => Ok(()),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = flushed
            && !matches!(fault, Fault::Absent(_))
        {
            warn(&format!("{backend}: {fault}"));
            whole = false;
        }
    }
    let _ = counters::update(&run.state, run.patience(), |counters| counters.recount(0, run.now));
    say(if whole { "Nothing is blocked any more." } else { "Not everything could be lifted." });
    if whole { DONE } else { FAILED }
}
