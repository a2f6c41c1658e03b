//! The evaluator of rules against what the engine itself said and what its
//! source says, the lint, and the tool that asks a running manager.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

mod correlation;
mod decoding;
mod lint;
mod manager;
mod matching;
mod pattern;
mod recorded;
mod refused;
mod sample;

use harness::rules::{Event, Outcome, RuleError, Ruleset, Session};

/// A file of rules, or a list, under a name.
fn file(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

/// Under a gate of level 0 that takes every object with `"m":"t"`.
fn load(rules: &str) -> Result<Ruleset, RuleError> {
    let text = format!(
        "<group name=\"t,\">\n<rule id=\"100000\" level=\"0\"><decoded_as>json</decoded_as>\
         <field name=\"m\">^t$</field><description>gate</description></rule>\n{rules}\n</group>\n"
    );
    let list = "198.51.100.7:one\n10.1.:net\n2001:db8::1:no\n\"::1\":yes\nroot:user\n".to_owned();
    Ruleset::load(&[("t.xml".to_owned(), text)], &[("etc/lists/known".to_owned(), list)])
}

fn ruleset(rules: &str) -> Ruleset {
    load(rules).unwrap_or_else(|problem| panic!("{problem}"))
}

/// A rule below the gate.
fn rule(id: u32, level: u8, inside: &str) -> String {
    format!(
        "<rule id=\"{id}\" level=\"{level}\"><if_sid>100000</if_sid>{inside}<description>d</description></rule>"
    )
}

/// An object for the gate, with these members too.
fn event(members: &str) -> Event {
    let comma = if members.is_empty() { "" } else { "," };
    Event::new(format!("{{\"m\":\"t\"{comma}{members}}}"))
}

/// What one event becomes, in a session of its own.
fn outcome(ruleset: &Ruleset, members: &str) -> Outcome {
    Session::new(ruleset).feed(&event(members))
}

/// The rule that one event ends at, in a session of its own.
fn fired(ruleset: &Ruleset, members: &str) -> u32 {
    outcome(ruleset, members).rule.expect("the gate takes it")
}
