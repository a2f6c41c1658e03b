//! The files as they are shipped.

use std::collections::{BTreeMap, BTreeSet};

use harness::program::source_tree;
use harness::rules::{Rule, lint_shipped};

use crate::rules;

fn own() -> impl Iterator<Item = &'static Rule> {
    rules().rules().filter(|rule| rule.file != "stand-ins.xml")
}

fn readme() -> String {
    std::fs::read_to_string(source_tree().join("rules/README.md")).unwrap()
}

/// The cells of each row of a table whose first cell is a number.
fn rows(readme: &str) -> impl Iterator<Item = Vec<&str>> {
    readme
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .map(|line| line.trim_end_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn the_lint_finds_nothing() {
    let problems: Vec<String> = lint_shipped().iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_table_has_every_rule_with_its_file_its_level_and_whether_it_may_be_answered() {
    let readme = readme();
    let mut told = BTreeMap::new();
    for row in rows(&readme) {
        let [id, file, level, answered, meaning, todo] = row[..] else { panic!("{row:?}") };
        let row = (file.trim_matches('`').to_owned(), level.parse::<u8>().unwrap(), answered == "yes");
        assert!(["yes", "no"].contains(&answered), "{id}: {answered}");
        assert!(!meaning.is_empty() && !todo.is_empty(), "{id}");
        assert!(told.insert(id.parse::<u32>().unwrap(), row).is_none(), "{id} twice");
    }
    let there: BTreeMap<u32, (String, u8, bool)> =
        own().map(|rule| (rule.id, (rule.file.clone(), rule.level, !rule.no_ar))).collect();
    for (id, rule) in &there {
        assert_eq!(told.get(id), Some(rule), "{id}");
    }
    let unknown: Vec<&u32> = told.keys().filter(|id| !there.contains_key(id)).collect();
    assert!(unknown.is_empty(), "no rule has {unknown:?}");
}

/// Brute force and attacks on the web, and no single failed login.
#[test]
fn active_responses_may_be_bound_to_few_rules() {
    let answered: BTreeSet<u32> = own().filter(|rule| !rule.no_ar).map(|rule| rule.id).collect();
    let meant = [100_102, 100_103, 100_154, 100_155, 100_158, 100_402, 100_410, 100_411];
    assert_eq!(answered, BTreeSet::from(meant));
    // The host's own address, a proxy's or a service's: never.
    for rule in own().filter(|rule| rule.file != "application-events.xml") {
        assert!(rule.no_ar, "{}", rule.id);
    }
}

#[test]
fn large_lines_are_not_kept_twice() {
    for file in ["custom-audit.xml", "github.xml", "cloudtrail.xml", "supabase.xml"] {
        for rule in own().filter(|rule| rule.file == file) {
            assert!(rule.no_full_log, "{}", rule.id);
        }
    }
}

#[test]
fn every_file_has_one_gate_and_its_own_group() {
    let files: BTreeSet<&str> = own().map(|rule| rule.file.as_str()).collect();
    assert_eq!(files.len(), 7);
    for file in files {
        let gates: Vec<u32> = own()
            .filter(|rule| rule.file == file && rule.level == 0)
            .filter(|rule| rule.parents.iter().all(|parent| rules().rule(*parent).unwrap().file != file))
            .map(|rule| rule.id)
            .collect();
        assert_eq!(gates.len(), 1, "{file}: {gates:?}");
        for rule in own().filter(|rule| rule.file == file) {
            assert!(rule.groups.iter().any(|group| group == "wazuh-toolkit"), "{}", rule.id);
        }
    }
}

/// Who is called out of bed, and by what mails are sent.
#[test]
fn levels_from_twelve_on_are_few() {
    let loud = own().filter(|rule| rule.level >= 12).count();
    assert!(loud * 6 <= own().count(), "{loud} of {}", own().count());
    assert!(own().all(|rule| rule.level <= 15));
}

#[test]
fn the_names_that_the_gate_of_cloudtrail_takes_are_not_in_the_stock_list() {
    let stock = std::fs::read_to_string(source_tree().join("tests/fixtures/rules/aws-eventnames")).unwrap();
    let stock: BTreeSet<&str> =
        stock.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let text = std::fs::read_to_string(source_tree().join("rules/cloudtrail.xml")).unwrap();
    let gate = text.split_once("<rule id=\"100800\"").unwrap().1.split_once("</rule>").unwrap().0;
    let names = gate.split_once("^(?:").unwrap().1.split_once(")$").unwrap().0;
    for name in names.split('|') {
        assert!(!stock.contains(name), "{name}");
    }
}
