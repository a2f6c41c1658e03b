//! Answering Wazuh: request, decision, effect, record.

use std::time::Duration;

use common::address::Target;
use common::alert::{Alert, FieldPath};
use common::wazuh::active_response::{Action, Answer, Request, Session, SessionError};
use serde::{Deserialize, Serialize};

use crate::backends::Backends;
use crate::block::{self, Done, Lifted, Order};
use crate::call::Run;
use crate::decide::{self, Asker, Decision, Facts, IPV6_NETWORK};
use crate::extra_args::ExtraArgs;
use crate::firewall::Backend;
use crate::host::{self, Families, WazuhConf};
use crate::lifetime::{self, Wanted};
use crate::metrics;
use crate::report::{Command, Origin, Report};
use crate::state::counters;
use crate::state::entry::{Entry, Neighbours};
use crate::state::journal::{self, Change};
use crate::state::ledger::Ledger;

/// Equal records of one target are written once in this time.
const ONCE_IN: u64 = 60;
/// When `max_blocks` seems reached, the kernel is asked at most this often:
/// it lifts blocks without telling us.
const RECOUNT: u64 = 10;

/// Done, refused, aborted, held: nothing is wrong.
pub const DONE: u8 = 0;
/// The effect failed, or its record.
pub const FAILED: u8 = 1;
/// The input was no request.
pub const BAD_INPUT: u8 = 2;

/// Answers one request, and returns the exit code.
#[must_use]
pub fn respond(run: &Run) -> u8 {
    let (input, output) = (std::io::stdin(), std::io::stdout());
    let mut session = Session::new(&input, &output, run.deadline);
    let (mut report, code) = match session.request() {
        Err(error) => {
            let code = if matches!(error, SessionError::Request(_)) { BAD_INPUT } else { FAILED };
            (failed(run, error.to_string()), code)
        }
        Ok(request) => match request.action {
            Action::Add => add(run, &request, &mut session),
            Action::Delete => delete(run, &request),
        },
    };
    if let Some(broken) = &run.broken {
        let rest = if report.fault.is_empty() { String::new() } else { format!("; {}", report.fault) };
        report.fault = format!("configuration ignored: {broken}{rest}");
    }
    let recorded = record(run, &mut report);
    metrics::count(run, report.command);
    if recorded { code } else { code.max(FAILED) }
}

fn failed(run: &Run, reason: String) -> Report {
    Report { reason, ..Report::new(Command::Failed, &run.call.program) }
}

/// The address of an alert: the first of the places where one stands.
fn address_of(alert: &Alert, first: &[FieldPath], last: &[FieldPath]) -> Result<Target, String> {
    let usual = ["data.srcip", "data.win.eventdata.ipAddress", "source.ip"];
    let usual: Vec<FieldPath> = usual.iter().filter_map(|path| FieldPath::parse(path).ok()).collect();
    let mut wrong = None;
    for path in first.iter().chain(&usual).chain(last) {
        let Some(value) = alert.get(path) else { continue };
        let text = value.text();
        match text.as_deref().map(str::parse::<Target>) {
            Some(Ok(target)) => return Ok(target),
            _ => {
                wrong = wrong
                    .or(Some(format!("{path} holds no IP or network: {:.60?}", text.unwrap_or_default())))
            }
        }
    }
    Err(wrong.unwrap_or_else(|| "no IP in the alert".to_owned()))
}

fn add(run: &Run, request: &Request, session: &mut Session<'_>) -> (Report, u8) {
    let args = ExtraArgs::parse(&request.extra_args, &run.settings.backends);
    let mut report = Report {
        origin: Origin::of(&request.alert),
        ignored: args.ignored.join(" "),
        ..Report::new(Command::Refused, &run.call.program)
    };
    let named = match address_of(&request.alert, &args.ip_fields, &run.settings.ip_fields) {
        Ok(named) => named,
        Err(reason) => return (Report { command: Command::Failed, reason, ..report }, BAD_INPUT),
    };
    report.srcip = Some(named);
    let wazuh = WazuhConf::read(&run.call.installation, &run.state);
    let mut faults = Vec::new();
    let facts = gather(run, named, &wazuh, &mut faults);
    let granted = match decide::decide(named, Asker::Wazuh, &facts, &run.settings) {
        Decision::Block(granted) => granted,
        Decision::Refuse(refusal) => {
            report.reason = refusal.to_string();
            report.fault = faults.join("; ");
            return (report, DONE);
        }
    };
    report.target = Some(granted.target);
    let answer = match session.check_keys(&run.call.program, &[&granted.target.to_string()]) {
        Ok(answer) => answer,
        Err(error) => {
            return (Report { command: Command::Failed, reason: error.to_string(), ..report }, FAILED);
        }
    };
    let backends = run.backends(&args.backends);
    let ttl = ttl(run, request, &args, &wazuh);
    if args.dry_run || backends == [Backend::DryRun] {
        let report = Report {
            command: Command::Observed,
            backend: Backend::DryRun.name().to_owned(),
            reason: args.reason,
            ttl: Some(ttl),
            fault: faults.join("; "),
            ..report
        };
        return (report, DONE);
    }
    let did = if answer == Answer::Abort { "extended" } else { "add" };
    let order = Order {
        granted,
        named,
        owner: run.call.program.clone(),
        origin: report.origin.clone(),
        reason: args.reason.clone(),
        ttl: Some(ttl),
        backends,
        repeated: answer == Answer::Abort,
        did,
    };
    let mut done = block::block(run, &order);
    faults.append(&mut done.faults);
    conclude(&mut report, &done, if answer == Answer::Abort { Command::Extended } else { Command::Add });
    if report.reason.is_empty() {
        report.reason = if done.escalated { "repeat offender".to_owned() } else { args.reason };
    }
    report.ttl = done.ttl;
    report.fault = faults.join("; ");
    let code = if report.command == Command::Failed { FAILED } else { DONE };
    (report, code)
}

/// The time to live that Wazuh or the configuration gives.
fn ttl(run: &Run, request: &Request, args: &ExtraArgs, wazuh: &WazuhConf) -> u64 {
    // `!program` of the API has no entry in the table, or a timeout of 0.
    let wanted = Wanted {
        stateful_timeout: request.stateful_timeout,
        extra_args: args.ttl,
        command_table: wazuh.largest_timeout(&run.call.program),
    };
    lifetime::ttl(&wanted, run.settings.ttl.as_secs(), run.settings.max_ttl.as_secs())
}

/// Everything the decision wants to know.
pub(crate) fn gather(run: &Run, target: Target, wazuh: &WazuhConf, faults: &mut Vec<String>) -> Facts {
    let ledger = Ledger::new(&run.state, run.patience());
    let numbers = counters::read(&run.state);
    let families = if target.is_ipv6() { Families::All } else { Families::Ipv4 };
    let mut facts = Facts {
        now: run.now,
        protected: host::protected(&run.settings, wazuh, &run.state, families, run.deadline, faults),
        entry: ledger.get(&Entry::key(target)),
        network_entry: None,
        neighbours: Neighbours::default(),
        recent: numbers.recent(run.now),
        standing: numbers.standing(),
    };
    if target.is_host() && target.is_ipv6() {
        let network = target.widened(IPV6_NETWORK);
        facts.network_entry = ledger.get(&Entry::key(network));
        facts.neighbours = ledger.get(&Neighbours::key(network)).unwrap_or_default();
    }
    if facts.standing >= u64::from(run.settings.max_blocks) && numbers.counted() + RECOUNT <= run.now {
        let backends = Backends::new(&run.settings, &run.state, run.deadline);
        let standing = backends.count(&run.backends(&[])).unwrap_or(facts.standing);
        if counters::update(&run.state, run.patience(), |counters| counters.recount(standing, run.now))
            .is_ok()
        {
            facts.standing = standing;
        }
    }
    facts
}

/// Puts into words what the backends did.
fn conclude(report: &mut Report, done: &Done, success: Command) {
    let mut did: Vec<String> =
        done.outcomes.iter().filter(|o| o.result.is_ok()).map(|o| o.backend.name().to_owned()).collect();
    let failures: Vec<String> = done
        .outcomes
        .iter()
        .filter_map(|outcome| {
            outcome.result.as_ref().err().map(|fault| format!("{}: {fault}", outcome.backend))
        })
        .collect();
    report.command = if !failures.is_empty() {
        Command::Failed
    } else if !did.is_empty() {
        success
    } else if done.queued.is_empty() {
        Command::Failed
    } else {
        Command::Queued
    };
    if report.command == Command::Failed && failures.is_empty() {
        report.reason = "no backend is available here".to_owned();
    } else if !failures.is_empty() {
        report.reason = failures.join("; ");
    }
    did.extend(done.queued.iter().map(|name| format!("api {name} (queued)")));
    report.backend = did.join(", ");
}

fn delete(run: &Run, request: &Request) -> (Report, u8) {
    let args = ExtraArgs::parse(&request.extra_args, &run.settings.backends);
    let mut report = Report {
        origin: Origin::of(&request.alert),
        ignored: args.ignored.join(" "),
        ..Report::new(Command::Failed, &run.call.program)
    };
    let named = address_of(&request.alert, &args.ip_fields, &run.settings.ip_fields);
    report.srcip = named.as_ref().ok().copied();
    let target = block::target_of_delete(run, &run.call.program, &report.origin.alert, report.srcip);
    let Some(target) = target else {
        return (Report { reason: named.err().unwrap_or_default(), ..report }, BAD_INPUT);
    };
    report.srcip = report.srcip.or(Some(target));
    report.target = Some(target);
    // What was blocked in earnest is lifted in earnest, whatever the
    // configuration says now.
    let ledger = Ledger::new(&run.state, run.patience());
    let blocked = ledger
        .get::<Entry>(&Entry::key(target))
        .is_some_and(|entry| entry.owner(&run.call.program).is_some_and(|owner| !owner.backends.is_empty()));
    let dry = args.dry_run || run.backends(&args.backends) == [Backend::DryRun];
    if run.call.dry_run || (dry && !blocked) {
        report.command = Command::Observed;
        report.backend = Backend::DryRun.name().to_owned();
        return (report, DONE);
    }
    match block::unblock(run, target, &run.call.program, &report.origin) {
        Lifted::Everywhere(done) => {
            conclude(&mut report, &done, Command::Delete);
            report.fault = done.faults.join("; ");
        }
        Lifted::StillOwned(names, done) => {
            conclude(&mut report, &done, Command::Held);
            if report.command != Command::Failed || done.outcomes.is_empty() {
                report.command = Command::Held;
                report.reason = format!("still wanted by {}", names.join(", "));
            }
            report.fault = done.faults.join("; ");
        }
        Lifted::Held(until) => {
            report.command = Command::Held;
            report.reason = "it stays until its own time is over".to_owned();
            report.ttl = Some(until.map_or(0, |until| until.saturating_sub(run.now)));
        }
    }
    let code = if report.command == Command::Failed { FAILED } else { DONE };
    (report, code)
}

/// How often a record was left out since it was last written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Said {
    at: u64,
    count: u64,
}

/// Writes the record, unless an equal one of this target was written within
/// the last minute. False when it could not be written, which the journal
/// tells then.
fn record(run: &Run, report: &mut Report) -> bool {
    let repeats = matches!(report.command, Command::Refused | Command::Failed | Command::Extended);
    if repeats && let Some(srcip) = report.srcip {
        let key = format!("said {} {srcip} {} {}", report.command.word(), run.call.program, report.reason);
        let key: String = key.chars().take(300).collect();
        let ledger = Ledger::new(&run.state, run.patience());
        if let Ok(mut bucket) = ledger.lock(&key) {
            let said: Said = bucket.get(&key).unwrap_or_default();
            let quiet = run.now < said.at.saturating_add(ONCE_IN) && run.now >= said.at;
            let next = if quiet {
                Said { at: said.at, count: said.count.saturating_add(1) }
            } else {
                report.repeated = said.count;
                Said { at: run.now, count: 0 }
            };
            // Kept for a while longer, so that the next one knows the count.
            let kept = bucket.put(&key, run.now.saturating_add(10 * ONCE_IN), &next, run.now);
            if quiet && kept.is_ok() {
                return true;
            }
        }
    }
    report.took = run.started.elapsed().max(Duration::from_micros(1));
    let Err(error) = report.append(&run.call.installation.logs()) else { return true };
    let change = Change {
        at: run.now,
        did: "unrecorded".to_owned(),
        by: run.call.program.clone(),
        reason: format!("active-responses.log: {error}; {}", report.json()),
        entry: None,
    };
    // Nothing is left to tell it to: the exit code still does.
    let _ = journal::append(&run.state, run.patience(), &change);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(json: &str, first: &[&str], last: &[&str]) -> Result<String, String> {
        let paths =
            |texts: &[&str]| texts.iter().map(|text| FieldPath::parse(text).unwrap()).collect::<Vec<_>>();
        let alert = Alert::parse(json.as_bytes()).unwrap();
        address_of(&alert, &paths(first), &paths(last)).map(|target| target.to_string())
    }

    #[test]
    fn the_first_place_with_an_address_wins() {
        for (json, expected) in [
            (r#"{"data":{"srcip":"::ffff:192.0.2.1"}}"#, "192.0.2.1"),
            (r#"{"data":{"win":{"eventdata":{"ipAddress":"192.0.2.2"}}}}"#, "192.0.2.2"),
            (r#"{"source":{"ip":"2001:db8::1"}}"#, "2001:db8::1"),
            (r#"{"data":{"srcip":"-","win":{"eventdata":{"ipAddress":"192.0.2.2"}}}}"#, "192.0.2.2"),
            (r#"{"data":{"srcip":"192.0.2.1","x":"192.0.2.9"}}"#, "192.0.2.1"),
            (r#"{"data":{"x":"192.0.2.9"}}"#, "192.0.2.9"),
            (r#"{"data":{"srcip":"192.0.2.77/24"}}"#, "192.0.2.0/24"),
        ] {
            assert_eq!(address(json, &[], &["data.x"]).as_deref(), Ok(expected), "{json}");
        }
        let both = r#"{"data":{"srcip":"192.0.2.1","x":"192.0.2.9"}}"#;
        assert_eq!(address(both, &["/data/x"], &[]).as_deref(), Ok("192.0.2.9"));
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (json, expected) in [
            ("{}", "no IP in the alert"),
            (r#"{"data":{"srcip":"host.example"}}"#, r#"data.srcip holds no IP or network: "host.example""#),
            (r#"{"data":{"srcip":3232235777}}"#, r#"data.srcip holds no IP or network: """#),
            (r#"{"data":{"srcip":["192.0.2.1"]}}"#, r#"data.srcip holds no IP or network: """#),
            (r#"{"data":{"srcip":"fe80::1%eth0"}}"#, r#"data.srcip holds no IP or network: "fe80::1%eth0""#),
        ] {
            assert_eq!(address(json, &[], &[]), Err(expected.to_owned()), "{json}");
        }
    }
}
