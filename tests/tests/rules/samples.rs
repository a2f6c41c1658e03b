//! The samples below `tests/fixtures/rules`. The reason of one that must not
//! fire a rule says so: `…; not 100301, 100320`.

use std::collections::{BTreeMap, BTreeSet};

use harness::rules::sample::{self, Samples, Step};
use harness::rules::{Event, Session};

use crate::rules;

/// Each event of all files with the rule that it must end at, and why.
fn events(all: &[Samples]) -> impl Iterator<Item = (&Event, Option<u32>, &str)> {
    all.iter().flat_map(|samples| &samples.steps).filter_map(|step| match step {
        Step::Event { event, rule, why, .. } => Some((event, *rule, why.as_str())),
        _ => None,
    })
}

/// The rules that a reason says must not fire.
fn avoided(why: &str) -> BTreeSet<u32> {
    let Some((_, ids)) = why.split_once("; not ") else { return BTreeSet::new() };
    ids.split(',').map(|id| id.trim().parse().unwrap_or_else(|_| panic!("{why:?} names no rules"))).collect()
}

/// Rules of ours and of Wazuh on the way to this one, and itself.
fn ancestors(id: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(rules().rule(id).map(|rule| rule.parents.clone()).unwrap_or_default());
        }
    }
    found
}

/// Our own rules, without the stand-ins.
fn own() -> impl Iterator<Item = &'static harness::rules::Rule> {
    rules().rules().filter(|rule| rule.file != "stand-ins.xml")
}

#[test]
fn every_sample_comes_out_as_it_says() {
    let wrong: Vec<String> =
        sample::all().iter().flat_map(|samples| sample::check(rules(), samples)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A silent rule is there for its children: what fires one of them will do.
#[test]
fn every_rule_has_a_sample_that_fires_it() {
    let all = sample::all();
    let mut fired: BTreeSet<u32> = events(&all).filter_map(|(_, rule, _)| rule).collect();
    let through: BTreeSet<u32> = fired.iter().copied().flat_map(ancestors).collect();
    fired.extend(through.into_iter().filter(|id| rules().rule(*id).is_some_and(|rule| rule.level == 0)));
    let missing: Vec<u32> = own().map(|rule| rule.id).filter(|id| !fired.contains(id)).collect();
    assert!(missing.is_empty(), "nothing fires {missing:?}");
}

/// Such a sample comes near: it reaches a parent of the rule, and ends elsewhere.
#[test]
fn every_rule_has_a_sample_that_nearly_fires_it() {
    let all = sample::all();
    let (mut near, mut far) = (BTreeSet::new(), Vec::new());
    for (_, rule, why) in events(&all) {
        let reached = rule.map(ancestors).unwrap_or_default();
        for id in avoided(why) {
            let avoided = rules().rule(id).unwrap_or_else(|| panic!("{why:?}: there is no {id}"));
            if !avoided.parents.is_empty() && avoided.parents.iter().all(|parent| !reached.contains(parent)) {
                far.push(format!("{why:?} never came near {id}"));
            }
            if rule == Some(id) {
                far.push(format!("{why:?}, and {id} is what it fires"));
            }
            near.insert(id);
        }
    }
    assert!(far.is_empty(), "{}", far.join("\n"));
    let missing: Vec<u32> = own().map(|rule| rule.id).filter(|id| !near.contains(id)).collect();
    assert!(missing.is_empty(), "no sample comes near {missing:?}");
}

/// Whatever an event says besides: its marks decide which rules it can reach.
#[test]
fn no_event_reaches_the_rules_of_another_topic() {
    let all = sample::all();
    let mut files: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for samples in &all {
        let topic = samples.name.split('.').next().unwrap_or_default();
        for (_, rule, _) in events(std::slice::from_ref(samples)) {
            let file = rule.and_then(|id| rules().rule(id)).map(|rule| rule.file.clone());
            files.entry(topic).or_default().extend(file.filter(|file| file != "stand-ins.xml"));
        }
    }
    for (topic, files) in files {
        assert!(files.len() <= 1 || topic == "brief", "{topic} reaches {files:?}");
    }
    // Each with the mark of another.
    let sources = ["github", "application", "supabase", "custom-webhook", "else"];
    for (event, rule, _) in events(&all) {
        let Some(own) = sources.iter().find(|source| event.line.contains(&mark(source))) else { continue };
        let Some(rule) = rule.and_then(|id| rules().rule(id)) else { continue };
        for other in sources.iter().filter(|other| *other != own) {
            let line = event.line.replace(&mark(own), &mark(other));
            let found = Session::new(rules()).feed(&Event { line, ..event.clone() }).rule;
            let found = found.and_then(|id| rules().rule(id)).map(|rule| rule.file.clone());
            assert_ne!(found, Some(rule.file.clone()), "as {other}: {}", event.line);
        }
        let line = event.line.replace("\"toolkit\":\"custom-webhook\"", "\"toolkit\":\"x\"");
        assert_eq!(Session::new(rules()).feed(&Event { line, ..event.clone() }).rule, None, "{}", event.line);
    }
}

fn mark(source: &str) -> String {
    format!("\"toolkit\":\"custom-webhook\",\"source\":\"{source}\"")
}
