//! `tests/fixtures/logtest`: rules made for the purpose, and what wazuh-logtest
//! of 4.14.7 answered, event by event in one session.

use harness::program::source_tree;
use harness::rules::{Event, Ruleset, Session};
use serde_json::{Value, json};

use crate::file;

#[test]
fn every_recorded_event_comes_out_as_the_engine_had_it() {
    let folder = source_tree().join("tests/fixtures/logtest");
    let rules = std::fs::read_to_string(folder.join("rules.xml")).unwrap();
    let ruleset = Ruleset::load(&[file("rules.xml", &rules)], &[]).unwrap();
    let results = std::fs::read_to_string(folder.join("results.jsonl")).unwrap();
    let mut session = Session::new(&ruleset);
    let mut count = 0;
    for line in results.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let outcome = session.feed(&Event::new(recorded["event"].as_str().unwrap()));
        let ours = json!({
            "event": recorded["event"],
            "decoder": outcome.decoder,
            "rule": outcome.rule.map(|rule| rule.to_string()),
            "level": outcome.level,
            "description": outcome.description,
            "alert": outcome.alert,
            "data": outcome.data,
        });
        assert_eq!(ours, recorded);
        count += 1;
    }
    assert_eq!(count, 69);
}
