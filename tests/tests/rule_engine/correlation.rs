//! Rules that count earlier events.

use std::time::Duration;

use harness::rules::{Event, Ruleset, Session};

use crate::{event, rule, ruleset};

const BASE: u32 = 100_001;

/// A rule on `a` and one that counts it.
fn counting(frequency: u32, level: u8, inside: &str) -> Ruleset {
    ruleset(&(rule(BASE, 3, "<field name=\"a\">^x$</field>") + &counter(100_002, frequency, level, inside)))
}

fn counter(id: u32, frequency: u32, level: u8, inside: &str) -> String {
    format!(
        "<rule id=\"{id}\" level=\"{level}\" frequency=\"{frequency}\" timeframe=\"60\">\
         <if_matched_sid>{BASE}</if_matched_sid>{inside}<description>d</description></rule>"
    )
}

/// The rules that events end at in one session, as their last digits.
fn ends(ruleset: &Ruleset, events: &[Event]) -> String {
    let mut session = Session::new(ruleset);
    let last = |event: &Event| session.feed(event).rule.unwrap_or_default() % 10;
    events.iter().map(last).map(|digit| digit.to_string()).collect()
}

fn hit(members: &str) -> Event {
    event(&format!("\"a\":\"x\"{}{members}", if members.is_empty() { "" } else { "," }))
}

#[test]
fn it_fires_at_the_nth_event_and_counts_anew() {
    let three = counting(3, 10, "");
    assert_eq!(ends(&three, &vec![hit(""); 7]), "1121121");
    // With two, the one it counted is not used up: nor does the engine do so.
    assert_eq!(ends(&counting(2, 10, ""), &vec![hit(""); 4]), "1222");
    // Other events in between are not counted and do not matter.
    assert_eq!(ends(&three, &[hit(""), event(""), hit(""), event(""), hit("")]), "10102");
}

#[test]
fn a_higher_rule_counts_what_a_lower_one_has_used() {
    let rules = rule(BASE, 3, "<field name=\"a\">^x$</field>")
        + &counter(100_002, 3, 10, "")
        + &counter(100_003, 5, 12, "");
    assert_eq!(ends(&ruleset(&rules), &vec![hit(""); 9]), "112113112");
}

#[test]
fn only_events_within_the_timeframe_count() {
    let ruleset = counting(3, 10, "");
    let mut session = Session::new(&ruleset);
    let mut feed = |seconds: u64| {
        session.advance(Duration::from_secs(seconds));
        session.feed(&hit("")).rule
    };
    assert_eq!([feed(0), feed(30), feed(31)], [Some(BASE); 3]);
    // The second one is 60 seconds old by now, and that is not too old.
    assert_eq!(feed(29), Some(100_002));
}

#[test]
fn only_events_that_ended_at_the_very_rule_count() {
    let rules = rule(BASE, 3, "<field name=\"a\">^x$</field>")
        + "<rule id=\"100004\" level=\"3\"><if_sid>100001</if_sid><field name=\"b\">.</field>\
           <description>d</description></rule>"
        + &counter(100_002, 3, 10, "");
    let ruleset = ruleset(&rules);
    let other = hit("\"b\":\".\"");
    // The counting rule itself is tried on any event that reaches its parent.
    assert_eq!(ends(&ruleset, &[other.clone(), other.clone(), other.clone(), other.clone()]), "4444");
    assert_eq!(ends(&ruleset, &[hit(""), other.clone(), hit(""), other]), "1412");
}

#[test]
fn an_event_of_a_silent_rule_is_never_counted() {
    let rules = rule(BASE, 0, "<field name=\"a\">^x$</field>") + &counter(100_002, 2, 10, "");
    assert_eq!(ends(&ruleset(&rules), &vec![hit(""); 4]), "1111");
}

#[test]
fn each_agent_is_counted_by_itself_unless_all_are() {
    let events: Vec<Event> =
        ["001", "002", "001", "002", "001"].into_iter().map(|agent| hit("").from_agent(agent)).collect();
    assert_eq!(ends(&counting(3, 10, ""), &events), "11112");
    assert_eq!(ends(&counting(3, 10, "<global_frequency />"), &events), "11211");
}

#[test]
fn what_must_be_the_same_must_be_there_on_both_sides() {
    for (element, key) in [
        ("<same_srcip />", "srcip"),
        ("<same_user />", "dstuser"),
        ("<same_srcuser />", "srcuser"),
        ("<same_url />", "url"),
        ("<same_action />", "action"),
        ("<same_field>k.l</same_field>", "k.l"),
    ] {
        let ruleset = counting(3, 10, element);
        let (one, other) = (hit(&format!("\"{key}\":\"1\"")), hit(&format!("\"{key}\":\"2\"")));
        assert_eq!(ends(&ruleset, &[one.clone(), other.clone(), one.clone(), one]), "1112", "{element}");
        assert_eq!(ends(&ruleset, &vec![hit(""); 4]), "1111", "{element}");
        assert_eq!(ends(&ruleset, &[hit(""), hit(""), other]), "111", "{element}");
    }
}

#[test]
fn what_must_differ_differs_from_what_is_not_there() {
    for (element, key) in [
        ("<different_srcip />", "srcip"),
        ("<different_user />", "dstuser"),
        ("<different_field>k</different_field>", "k"),
    ] {
        let ruleset = counting(3, 10, element);
        let with = |value: u32| hit(&format!("\"{key}\":\"{value}\""));
        assert_eq!(ends(&ruleset, &vec![with(1); 4]), "1111", "{element}");
        // Only the new one is compared with each of the others.
        assert_eq!(ends(&ruleset, &[with(1), with(1), with(2)]), "112", "{element}");
        assert_eq!(ends(&ruleset, &vec![hit(""); 3]), "112", "{element}");
        assert_eq!(ends(&ruleset, &[hit(""), hit(""), with(1)]), "112", "{element}");
    }
}

#[test]
fn a_rule_that_counts_another_may_stand_elsewhere() {
    // Two failures, then a success: the success is what fires.
    let rules = rule(BASE, 5, "<field name=\"a\">^x$</field>")
        + "<rule id=\"100003\" level=\"3\"><if_sid>100000</if_sid><field name=\"a\">^ok$</field>\
           <description>d</description></rule>\
           <rule id=\"100002\" level=\"12\" frequency=\"3\" timeframe=\"60\"><if_sid>100003</if_sid>\
           <if_matched_sid>100001</if_matched_sid><same_srcip /><description>d</description></rule>";
    let ruleset = ruleset(&rules);
    let (bad, good) = (hit("\"srcip\":\"1\""), event("\"a\":\"ok\",\"srcip\":\"1\""));
    assert_eq!(ends(&ruleset, &[bad.clone(), good.clone(), bad, good]), "1312");
}

#[test]
fn while_a_rule_ignores_its_parent_speaks() {
    let rules = rule(BASE, 3, "<field name=\"a\">^x$</field>")
        + "<rule id=\"100002\" level=\"7\" ignore=\"60\"><if_sid>100001</if_sid><field name=\"b\">y</field>\
           <description>d</description></rule>";
    let ruleset = ruleset(&rules);
    let mut session = Session::new(&ruleset);
    let both = hit("\"b\":\"y\"");
    let mut feed = |seconds: u64| {
        session.advance(Duration::from_secs(seconds));
        let outcome = session.feed(&both);
        (outcome.rule, outcome.ignored)
    };
    let spoken = (Some(100_002), None);
    let ignored = (Some(BASE), Some(100_002));
    assert_eq!([feed(0), feed(30), feed(29), feed(1), feed(59)], [spoken, ignored, ignored, spoken, ignored]);
}
