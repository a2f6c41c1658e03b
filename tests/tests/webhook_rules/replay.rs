//! The samples of the rules, sent instead of told.

use std::collections::VecDeque;
use std::fmt::Write;

use custom_webhook::source::Line;
use custom_webhook::source::aws::sns::subscription;
use custom_webhook::{faults, spool};
use harness::rules::sample::{self, Samples, Step};
use harness::rules::{Event, Session};
use serde_json::{Map, Value, json};

use crate::{LOG, lines_of, now, rules, sender};

/// What it says of whoever comes to its door.
const FAULTS: [&str; 6] =
    ["signature_invalid", "unauthorized", "replayed", "rate_limited", "spool_full", "body_too_large"];

/// The line that custom-webhook writes in place of a sample's; none where the
/// sample is not one of its lines.
fn sent(topic: &str, sample: &str) -> Option<String> {
    let line: Map<String, Value> = serde_json::from_str(sample).unwrap();
    let own = line.get("toolkit").is_some_and(|toolkit| toolkit == "custom-webhook")
        && line.get("source").is_some_and(|source| source == topic);
    let cloudtrail = line.get("aws").is_some_and(|aws| aws["source"] == "cloudtrail");
    if own && topic == "custom-webhook" {
        return of_its_own(&line);
    }
    if !own && !cloudtrail {
        return None;
    }
    let (event, body) = sender::body(topic, &line);
    let mut lines = lines_of(topic, &event, body.to_string().as_bytes()).unwrap();
    assert_eq!(lines.len(), 1, "{body}");
    Some(in_the_file(&lines.pop().unwrap()))
}

/// What the program itself has to say.
fn of_its_own(line: &Map<String, Value>) -> Option<String> {
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    let named = |event: &&&str| text("event") == Some(**event);
    let written = if let Some(event) = ["started", "stopped", "reload_failed"].iter().find(named) {
        faults::note(event, now())
    } else if let Some(topic) = text("topic") {
        subscription(text("event")?, topic, text("message_id")?, now())
    } else {
        let fault = faults::Fault {
            event: FAULTS.iter().find(named)?,
            source: text("for_source").unwrap_or("github").to_owned(),
            peer: text("srcip").map(|peer| peer.parse().unwrap()),
            count: line["count"].as_u64().unwrap(),
        };
        fault.line(now())
    };
    Some(in_the_file(&written))
}

/// As it stands in the file that Wazuh follows.
fn in_the_file(line: &Line) -> String {
    String::from_utf8(spool::stamped(line, 1)).unwrap().trim_end().to_owned()
}

/// Sends each of the topic's samples and judges what was written instead: the
/// same line, and the same rule.
fn replay(topic: &str) {
    let writes = std::env::var("RULES_SAMPLES").as_deref() == Ok("write");
    let mut wrong = String::new();
    let mut count = 0;
    for samples in sample::all().iter().filter(|samples| samples.name.starts_with(topic)) {
        let mut session = Session::new(rules());
        let mut steps = VecDeque::new();
        for step in &samples.steps {
            match step {
                Step::Reset => {
                    session = Session::new(rules());
                    steps.push_back("{\"reset\": true}".to_owned());
                }
                Step::Advance(time) => {
                    session.advance(*time);
                    steps.push_back(format!("{{\"advance\": {}}}", time.as_secs()));
                }
                Step::Event { number, event, rule, why } => {
                    let line = sent(topic, &event.line);
                    count += usize::from(line.is_some());
                    let line = line.unwrap_or_else(|| event.line.clone());
                    if line != event.line && !writes {
                        let name = &samples.name;
                        writeln!(wrong, "{name}:{number}: {why}: now it is written so: {line}").unwrap();
                    }
                    let found = session.feed(&Event::new(line.as_str()).at(LOG).from_agent("001")).rule;
                    if found != *rule {
                        let name = &samples.name;
                        writeln!(wrong, "{name}:{number}: {why}: expected {rule:?}, got {found:?}: {line}")
                            .unwrap();
                    }
                    let (rule, why) = (json!(rule.map(|rule| rule.to_string())), json!(why));
                    steps.push_back(format!(
                        "{{\"rule\": {rule}, \"why\": {why}, \"location\": \"{LOG}\", \"agent\": \"001\", \"line\": {line}}}"
                    ));
                }
            }
        }
        if writes {
            write(samples, steps);
        }
    }
    assert!(count > 20, "only {count} samples of {topic} are its own lines");
    assert!(wrong.is_empty(), "{wrong}");
}

/// In place of the samples that they were made from, with their comments.
fn write(samples: &Samples, mut steps: VecDeque<String>) {
    let old = std::fs::read_to_string(&samples.path).unwrap();
    let mut new = "# Written by custom-webhook; RULES_SAMPLES=write makes this file anew.\n".to_owned();
    for line in old.lines().filter(|line| !line.starts_with("# Written by")) {
        let comment = line.trim().is_empty() || line.starts_with('#');
        let line = if comment { line.to_owned() } else { steps.pop_front().unwrap() };
        writeln!(new, "{line}").unwrap();
    }
    assert!(steps.is_empty());
    std::fs::write(&samples.path, new).unwrap();
}

#[test]
fn what_it_says_of_itself_ends_at_the_rule_for_it() {
    replay("custom-webhook");
}

/// The events that the rules were first asked for stay as they were told; sent,
/// they end where they should as well.
#[test]
fn what_was_first_asked_for_ends_at_its_rule_when_it_is_sent() {
    let all = sample::all();
    let brief = all.iter().find(|samples| samples.name.starts_with("brief")).unwrap();
    let mut session = Session::new(rules());
    let mut count = 0;
    for step in &brief.steps {
        let Step::Event { event, rule, why, .. } = step else { continue };
        // GitHub has no event of this name, though it was asked for.
        if event.line.contains("\"event\":\"vulnerability_alert\"") {
            continue;
        }
        let sent = ["application", "github"].iter().find_map(|topic| sent(topic, &event.line));
        let Some(line) = sent else { continue };
        count += 1;
        let found = session.feed(&Event::new(line.as_str()).at(LOG).from_agent("001")).rule;
        assert_eq!(found, *rule, "{why}: {line}");
    }
    assert!(count > 10, "only {count} of them are its own lines");
}

#[test]
fn what_github_sends_ends_at_the_rule_for_it() {
    replay("github");
}

#[test]
fn what_applications_send_ends_at_the_rule_for_it() {
    replay("application");
}

#[test]
fn what_supabase_sends_ends_at_the_rule_for_it() {
    replay("supabase");
}

#[test]
fn what_cloudtrail_sends_ends_at_the_rule_for_it() {
    replay("cloudtrail");
}
