//! `deliver`: what firewalls behind an API have not been told yet.

use std::time::Duration;

use crate::api::{self, Api};
use crate::call::Run;
use crate::outbox::{self, Item, Limits, Outcome, SystemClock, Want};
use crate::report::{Command, Origin, Report};
use crate::state::entry::ADMINISTRATOR;

use super::{DONE, FAILED, say, warn};

/// How long one worker waits for a firewall that does not answer, before it
/// leaves the rest to the next run.
const BUDGET: Duration = Duration::from_secs(60);

/// Sends what is in the outbox.
#[must_use]
pub fn deliver(run: &Run) -> u8 {
    let outbox = run.state.path("outbox");
    if run.settings.api.is_empty() && outbox::pending(&outbox).map_or(0, |items| items.len()) == 0 {
        return DONE;
    }
    let mut apis = Vec::new();
    for config in &run.settings.api {
        match Api::compile(config) {
            Ok(api) => apis.push(api),
            // The configuration was checked: only a change in between gets here.
            Err(error) => warn(&error.to_string()),
        }
    }
    let limits = Limits { budget: BUDGET, ..Limits::default() };
    let delivered = api::deliver(&outbox, &apis, &limits, &SystemClock::new(), &mut |item, outcome| {
        tracing::info!(api = item.api, target = %item.target, want = ?item.want, ?outcome, "delivery");
        tell(run, item, outcome);
    });
    match delivered {
        Ok(sent) if sent.busy => say("Another worker is sending already."),
        Ok(sent) if sent.delivered > 0 || sent.left > 0 => {
            say(&format!("{} delivered, {} still to be delivered.", sent.delivered, sent.left));
        }
        Ok(_) => {}
        Err(error) => {
            warn(&format!("the outbox: {error}"));
            return FAILED;
        }
    }
    DONE
}

/// The record of one delivery. An attempt that will be repeated is none.
fn tell(run: &Run, item: &Item, outcome: &Outcome) {
    let (command, reason) = match outcome {
        Outcome::Delivered { already } => {
            let command = if item.want == Want::Add { Command::Add } else { Command::Delete };
            (command, if *already { "it was so before".to_owned() } else { item.reason.clone() })
        }
        Outcome::Expired => (Command::Failed, "its time was over before it could be delivered".to_owned()),
        Outcome::Rejected { reason } => (Command::Failed, reason.clone()),
        Outcome::Retry { reason, .. } | Outcome::Superseded { reason } => {
            warn(&format!("api {}: {}: {reason}", item.api, item.target));
            return;
        }
    };
    let report = Report {
        srcip: Some(item.target),
        origin: Origin {
            alert: item.alert.clone(),
            rule: item.rule.clone(),
            level: None,
            agent: item.agent.clone(),
        },
        backend: format!("api {}", item.api),
        reason,
        took: run.started.elapsed(),
        ..Report::new(command, if item.program == ADMINISTRATOR { &run.call.program } else { &item.program })
    };
    if let Err(error) = report.append(&run.call.installation.logs()) {
        warn(&format!("active-responses.log: {error}"));
    }
}
