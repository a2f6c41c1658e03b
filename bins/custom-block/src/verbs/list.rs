//! `list` and `why`: the kernel says what is blocked, the journal who wanted it.

use std::collections::BTreeMap;

use comfy_table::Table;
use common::address::Target;
use serde::Serialize;

use crate::backends::Backends;
use crate::call::Run;
use crate::decide::{self, Asker, Decision};
use crate::firewall::Backend;
use crate::host::WazuhConf;
use crate::respond;
use crate::state::entry::{Entry, Owner};
use crate::state::journal;

use super::{DONE, FAILED, duration, printable, say, time, warn};

/// One blocked target.
#[derive(Debug, Serialize)]
struct Row {
    target: Target,
    /// In seconds since 1970; absent where nobody knows any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    /// Seconds until the block ends by itself; absent is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    rule: String,
    owners: Vec<Owner>,
    backends: Vec<Backend>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    comment: String,
}

fn rows(run: &Run) -> (Vec<Row>, bool) {
    let entries = journal::entries(&run.state).unwrap_or_else(|error| {
        warn(&format!("the journal cannot be read: {error}"));
        BTreeMap::new()
    });
    let (standing, faults) = Backends::new(&run.settings, &run.state, run.deadline).standing();
    for fault in &faults {
        if let Err(error) = &fault.result {
            warn(&format!("{}: {error}", fault.backend));
        }
    }
    let mut rows: BTreeMap<Target, Row> = BTreeMap::new();
    for block in standing {
        let left = block.left.map(|left| left.as_secs());
        let row = rows
            .entry(block.target)
            .or_insert_with(|| Row { expires_in: left, ..row(block.target, &entries) });
        row.backends.push(block.backend);
        row.expires_in = row.expires_in.and_then(|longest| left.map(|left| longest.max(left)));
        row.packets = sum(row.packets, block.packets);
        row.bytes = sum(row.bytes, block.bytes);
        if row.comment.is_empty() {
            row.comment = printable(&block.comment);
        }
    }
    // A firewall behind an API cannot be asked: what it was told counts.
    for entry in entries.values().filter(|entry| entry.is_active(run.now)) {
        if entry.backends().contains(&Backend::Api) {
            let row = rows
                .entry(entry.target)
                .or_insert_with(|| Row { expires_in: entry.left(run.now), ..row(entry.target, &entries) });
            row.backends.push(Backend::Api);
        }
    }
    (rows.into_values().collect(), faults.is_empty())
}

fn row(target: Target, entries: &BTreeMap<Target, Entry>) -> Row {
    let mut owners = entries.get(&target).map(|entry| entry.owners.clone()).unwrap_or_default();
    for owner in &mut owners {
        for text in [&mut owner.name, &mut owner.alert, &mut owner.rule, &mut owner.reason] {
            *text = printable(text);
        }
    }
    Row {
        target,
        since: owners.iter().map(|owner| owner.since).min(),
        expires_in: None,
        rule: owners.iter().map(|owner| owner.rule.clone()).find(|rule| !rule.is_empty()).unwrap_or_default(),
        owners,
        backends: Vec::new(),
        packets: None,
        bytes: None,
        comment: String::new(),
    }
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn owners(row: &Row) -> String {
    joined(row.owners.iter().map(|owner| printable(&owner.name)))
}

/// Shows everything that is blocked.
#[must_use]
pub fn list(run: &Run, json: bool) -> u8 {
    let (rows, whole) = rows(run);
    if json {
        match serde_json::to_string_pretty(&rows) {
            Ok(json) => say(&json),
            Err(error) => warn(&error.to_string()),
        }
    } else if rows.is_empty() {
        say("Nothing is blocked.");
    } else {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["TARGET", "SINCE", "EXPIRES IN", "RULE", "OWNER", "BACKEND", "PACKETS", "BYTES"]);
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        for row in &rows {
            table.add_row([
                row.target.to_string(),
                row.since.map_or_else(|| "?".to_owned(), time),
                duration(row.expires_in),
                printable(&row.rule),
                owners(row),
                joined(&row.backends),
                number(row.packets),
                number(row.bytes),
            ]);
        }
        say(&table.trim_fmt());
    }
    let _ = journal::compact(&run.state, run.patience(), run.now, run.decay());
    if whole { DONE } else { FAILED }
}

/// Tells why a target is blocked, or what an alert about it would come to.
#[must_use]
pub fn why(run: &Run, target: Target) -> u8 {
    let (rows, _) = rows(run);
    let blocking: Vec<&Row> = rows.iter().filter(|row| row.target.contains(target)).collect();
    for row in &blocking {
        if row.target == target {
            say(&format!("{target} is blocked by {}.", joined(&row.backends)));
        } else {
            say(&format!("{target} lies in {}, which is blocked by {}.", row.target, joined(&row.backends)));
        }
        say(&format!("  ends in     {}", duration(row.expires_in)));
        if let (Some(packets), Some(bytes)) = (row.packets, row.bytes) {
            say(&format!("  dropped     {packets} packets, {bytes} bytes"));
        }
        for owner in &row.owners {
            say(&format!("  wanted by   {} since {}", printable(&owner.name), time(owner.since)));
            let left = owner.until.map(|until| until.saturating_sub(run.now));
            say(&format!(
                "    for       {} more",
                if left.is_none() { "ever, not".to_owned() } else { duration(left) }
            ));
            for (label, value) in [("rule", &owner.rule), ("alert", &owner.alert), ("reason", &owner.reason)]
            {
                if !value.is_empty() {
                    say(&format!("    {label:<9} {}", printable(value)));
                }
            }
            if owner.escalated {
                say("    escalated a repeat offender: an early delete is ignored");
            }
        }
        if row.owners.is_empty() && !row.comment.is_empty() {
            say(&format!("  noted       {}", row.comment));
        }
    }
    if !blocking.is_empty() {
        return DONE;
    }
    let inside = rows.iter().filter(|row| target.contains(row.target)).count();
    say(&format!("{target} is not blocked."));
    if inside > 0 {
        say(&format!("  {inside} blocked targets lie in it; `custom-block list` shows them."));
    }
    let wazuh = WazuhConf::read(&run.call.installation, &run.state);
    let facts = respond::gather(run, target, &wazuh, &mut Vec::new());
    match decide::decide(target, Asker::Wazuh, &facts, &run.settings) {
        Decision::Block(granted) => say(&format!("  An alert about it would block {}.", granted.target)),
        Decision::Refuse(refusal) => say(&format!("  An alert about it would be refused: {refusal}.")),
    }
    FAILED
}
