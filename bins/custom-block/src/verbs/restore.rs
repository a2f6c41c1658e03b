//! `restore`: what should stand, stands; what is over, is lifted.
//!
//! After a reboot, after somebody flushed the firewall, and on a timer. Here
//! nobody of Wazuh waits: names are resolved and the journal is folded.

use std::collections::BTreeSet;

use common::address::Target;

use crate::backends::Backends;
use crate::block::{self, Lifted};
use crate::call::Run;
use crate::firewall::{Backend, Block, Fault};
use crate::host::{self, WazuhConf};
use crate::lifetime;
use crate::names::{self, Names};
use crate::state::entry::Entry;
use crate::state::ledger::{self, Ledger};
use crate::state::{counters, journal};

use super::{FAILED, deliver, say, warn};

/// Wazuh's own delete comes within this many seconds after the end.
const LATE: u64 = 5;

/// Restores, reaps, resolves, compacts, delivers.
#[must_use]
pub fn restore(run: &Run) -> u8 {
    let mut whole = true;
    let mut problem = |what: String| {
        warn(&what);
        whole = false;
    };
    if let Err(error) = ledger::create(&run.state) {
        problem(format!("the ledger cannot be made: {error}"));
    }
    let wazuh = WazuhConf::read(&run.call.installation, &run.state);
    let mut faults = Vec::new();
    let allowlist = host::allowlist(&run.settings, &mut faults);
    faults.into_iter().for_each(&mut problem);
    let entries = match journal::entries(&run.state) {
        Ok(entries) => entries,
        Err(error) => {
            warn(&format!("the journal cannot be read: {error}"));
            return FAILED;
        }
    };

    let over = |until: Option<u64>| until.is_some_and(|until| until.saturating_add(LATE) < run.now);
    let mut lifted = 0;
    for entry in entries.values() {
        if !entry.owners.is_empty() && entry.owners.iter().all(|owner| over(owner.until)) {
            if let Lifted::Everywhere(done) = block::expire(run, entry.target) {
                for fault in &done.faults {
                    problem(fault.clone());
                }
            }
            lifted += 1;
        }
    }

    let backends = Backends::new(&run.settings, &run.state, run.deadline);
    let mut put = 0;
    for backend in [Backend::Nftables, Backend::Ipset, Backend::Iptables, Backend::File] {
        let wanted: Vec<Target> = entries
            .values()
            .filter(|entry| entry.is_active(run.now) && entry.backends().contains(&backend))
            .map(|entry| entry.target)
            .collect();
        if wanted.is_empty() {
            continue;
        }
        match put_back(run, &backends, backend, &wanted) {
            Ok(count) => put += count,
            Err(Fault::Absent(_)) => {}
            Err(fault) => problem(format!("{backend}: {fault}")),
        }
    }
    // Those put back first: a name server may take its time.
    match Names::refresh(&run.state, names::wanted(&wazuh.ossec.peers, &allowlist)) {
        Ok(unresolved) => unresolved.iter().for_each(|name| warn(&format!("{name} cannot be resolved now"))),
        Err(error) => problem(format!("the resolved names cannot be kept: {error}")),
    }
    if let Some(standing) = backends.count(&run.backends(&[]))
        && let Err(error) =
            counters::update(&run.state, run.patience(), |counters| counters.recount(standing, run.now))
    {
        problem(format!("counters: {error}"));
    }
    if let Err(error) = journal::compact(&run.state, run.patience(), run.now, run.decay()) {
        problem(format!("the journal cannot be compacted: {error}"));
    }
    tracing::info!(put, lifted, "restored");
    say(&format!("{put} put back, {lifted} lifted because their time is over."));
    let delivered = deliver::deliver(run);
    if whole { delivered } else { FAILED.max(delivered) }
}

/// Puts what is missing in one backend, and returns how many. Each under the
/// lock of its entry: what Wazuh lifts at this moment stays lifted.
fn put_back(run: &Run, backends: &Backends<'_>, backend: Backend, wanted: &[Target]) -> Result<usize, Fault> {
    let Some(mut firewall) = backends.open(backend)? else { return Ok(0) };
    let there: BTreeSet<Target> = firewall.standing()?.into_iter().map(|standing| standing.target).collect();
    // Also when nothing is missing: the rules around may be gone.
    firewall.mend()?;
    let mut count = 0;
    for &target in wanted.iter().filter(|target| !there.contains(target)) {
        let key = Entry::key(target);
        let ledger = Ledger::new(&run.state, run.deadline);
        let bucket = ledger.lock(&key)?;
        let entry: Option<Entry> = bucket.get(&key);
        let Some(entry) =
            entry.filter(|entry| entry.is_active(run.now) && entry.backends().contains(&backend))
        else {
            continue;
        };
        let owner = entry.owners.first().map(|owner| format!("{} rule {}", owner.name, owner.rule));
        firewall.put(&Block {
            target,
            timeout: entry.left(run.now).map(lifetime::kernel_timeout),
            comment: owner.unwrap_or_default(),
            fresh: false,
        })?;
        count += 1;
    }
    Ok(count)
}
