//! `rules`: copied into a manager's tree, declared in its `<ruleset>`, and taken
//! away again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use harness::program::source_tree;
use harness::stand_in::{StandIn, WAZUH, append};

use crate::{Untouched, agent, backups, changed, checks, manager, restarts, says};

/// What is shipped: names, and what they say.
fn shipped(folder: &str, extension: Option<&str>) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = std::fs::read_dir(source_tree().join(folder))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && path.extension().and_then(|found| found.to_str()) == extension)
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .filter(|(name, _)| name != "README.md")
        .collect();
    found.sort();
    found
}

pub(crate) fn rules() -> Vec<(String, Vec<u8>)> {
    let rules = shipped("rules", Some("xml"));
    assert!(!rules.is_empty());
    rules
}

pub(crate) fn lists() -> Vec<(String, Vec<u8>)> {
    let lists = shipped("rules/lists", None);
    assert!(!lists.is_empty());
    lists
}

pub(crate) fn rule_path(name: &str) -> String {
    format!("etc/rules/1000-wazuh-toolkit-{name}")
}

pub(crate) fn list_path(name: &str) -> String {
    format!("etc/lists/wazuh-toolkit-{name}")
}

/// An id of the first rule that is shipped.
pub(crate) fn an_id() -> String {
    let text = String::from_utf8(rules().remove(0).1).unwrap();
    let at = text.find("<rule id=\"").unwrap() + "<rule id=\"".len();
    text[at..].chars().take_while(char::is_ascii_digit).collect()
}

fn owner(stand_in: &StandIn, relative: &str) -> (u32, u32, u32) {
    let metadata = std::fs::symlink_metadata(stand_in.path(relative)).unwrap();
    assert!(metadata.is_file(), "{relative}");
    (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
}

/// The lines of the lists, between their comments, and where they stand.
fn declared(stand_in: &StandIn) -> Vec<String> {
    let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
    let mut inside = false;
    let mut found = Vec::new();
    for line in conf.lines() {
        if line.contains("<!-- wazuh-toolkit: begin ") {
            inside = true;
        } else if line.contains("<!-- wazuh-toolkit: end ") {
            inside = false;
        } else if inside && line.contains("<list>") {
            found.push(line.trim().to_owned());
        }
    }
    found
}

#[test]
fn rules_and_lists_are_copied_byte_for_byte_and_belong_as_wazuhs_own() {
    let Some(stand_in) = manager() else { return };
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    for (name, text) in rules() {
        assert!(stand_in.read(&rule_path(&name)) == text, "{name}");
        assert_eq!(owner(&stand_in, &rule_path(&name)), (WAZUH, WAZUH, 0o660), "{name}");
    }
    for (name, text) in lists() {
        assert!(stand_in.read(&list_path(&name)) == text, "{name}");
        assert_eq!(owner(&stand_in, &list_path(&name)), (WAZUH, WAZUH, 0o660), "{name}");
    }
    let mut found = declared(&stand_in);
    found.sort();
    let mut expected: Vec<String> =
        lists().iter().map(|(name, _)| format!("<list>{}</list>", list_path(name))).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(restarts(&stand_in), 0);
}

#[test]
fn lists_are_declared_in_the_ruleset_that_is_there_and_nowhere_else() {
    let Some(stand_in) = manager() else { return };
    let old = String::from_utf8(stand_in.ossec_conf()).unwrap();
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    let new = String::from_utf8(stand_in.ossec_conf()).unwrap();
    assert_eq!(new.matches("<ruleset>").count(), 1);
    // Directly before its end: Wazuh reads one ruleset, and its old lists first.
    let end = new.find("  </ruleset>").unwrap();
    let begin = new.find("<!-- wazuh-toolkit: begin").unwrap();
    assert!(begin < end && new.find("<ruleset>").unwrap() < begin);
    let line = new[..begin].rfind('\n').unwrap() + 1;
    assert_eq!(format!("{}{}", &new[..line], &new[end..]), old, "the rest is as it was");
    // The daemon that reads them finds the rules, and says nothing against them.
    let output = std::process::Command::new(stand_in.path("bin/wazuh-analysisd")).arg("-t").output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn twice_is_once_and_remove_takes_everything_away() {
    let Some(stand_in) = manager() else { return };
    let before = stand_in.tree();
    assert!(changed(&stand_in.run(&["rules", "install", "--json"]).with_code(0)));
    let (untouched, kept) = (Untouched::now(&stand_in), backups(&stand_in));
    assert!(!changed(&stand_in.run(&["rules", "install", "--json"]).with_code(0)));
    let _ = stand_in.run(&["rules", "install", "--restart"]).with_code(0);
    untouched.holds(&stand_in, "the second time");
    assert_eq!((backups(&stand_in), restarts(&stand_in)), (kept, 0));
    assert!(changed(&stand_in.run(&["rules", "remove", "--json"]).with_code(0)));
    // What analysisd made of the lists included.
    let changes = stand_in.tree().changes_since(&before);
    assert!(changes.is_empty(), "{changes:?}");
    assert!(!changed(&stand_in.run(&["rules", "remove", "--json"]).with_code(0)));
}

#[test]
fn programs_and_rules_are_enabled_and_removed_in_any_order() {
    let Some(stand_in) = manager() else { return };
    let old = stand_in.ossec_conf();
    let steps = [["enable", "custom-block"], ["enable", "custom-audit"], ["rules", "install"]];
    let back = [["disable", "custom-block"], ["disable", "custom-audit"], ["rules", "remove"]];
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        for step in order {
            let _ = stand_in.run(&steps[step]).with_code(0);
        }
        let _ = stand_in.run(&["rules", "check"]).with_code(0);
        for step in [order[1], order[0], order[2]] {
            let _ = stand_in.run(&back[step]).with_code(0);
        }
        assert_eq!(stand_in.ossec_conf(), old, "{order:?}");
    }
    // Disabling the programs leaves the lists.
    for step in steps {
        let _ = stand_in.run(&step).with_code(0);
    }
    let _ = stand_in.run(&["disable", "--all"]).with_code(0);
    assert_eq!(declared(&stand_in).len(), lists().len());
}

#[test]
fn a_dry_run_touches_nothing_and_a_restart_comes_only_when_asked() {
    let Some(stand_in) = manager() else { return };
    let (untouched, kept) = (Untouched::now(&stand_in), backups(&stand_in));
    let ran = stand_in.run(&["rules", "install", "--dry-run", "--restart"]).with_code(0);
    says(&ran, &[&rule_path(&rules()[0].0), &list_path(&lists()[0].0)]);
    untouched.holds(&stand_in, "--dry-run");
    assert_eq!((backups(&stand_in), checks(&stand_in), restarts(&stand_in)), (kept, vec![], 0));
    let ran = stand_in.run(&["rules", "install"]).with_code(0);
    says(&ran, &["wazuh-control restart"]);
    let untouched = Untouched::now(&stand_in);
    let _ = stand_in.run(&["rules", "remove", "--dry-run"]).with_code(0);
    untouched.holds(&stand_in, "remove --dry-run");
    let _ = stand_in.run(&["rules", "remove", "--restart"]).with_code(0);
    assert_eq!(restarts(&stand_in), 1);
}

#[test]
fn a_list_of_the_administrator_is_never_written_over_and_stays_when_all_else_goes() {
    let Some(stand_in) = manager() else { return };
    let before = stand_in.tree();
    let (name, _) = lists().remove(0);
    let path = list_path(&name);
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    append(&stand_in.path(&path), b"198.51.100.99:ours\n");
    let edited = stand_in.read(&path);
    assert!(!changed(&stand_in.run(&["rules", "install", "--json"]).with_code(0)));
    assert_eq!(stand_in.read(&path), edited);
    let _ = stand_in.run(&["rules", "check"]).with_code(0);
    let ran = stand_in.run(&["rules", "remove"]).with_code(0);
    says(&ran, &[&path]);
    assert_eq!(stand_in.read(&path), edited);
    let changes: Vec<PathBuf> = stand_in.tree().changes_since(&before);
    let kept =
        |change: &&PathBuf| !change.starts_with(&path) && **change != Path::new(&format!("{path}.cdb"));
    assert_eq!(changes.iter().filter(kept).count(), 0, "{changes:?}");
    // It is taken up again, as it is.
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    assert_eq!(stand_in.read(&path), edited);
    assert_eq!(declared(&stand_in).len(), lists().len());
}

#[test]
fn a_list_that_the_administrator_has_declared_is_not_declared_again() {
    let Some(stand_in) = manager() else { return };
    let (name, _) = lists().remove(0);
    let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
    let line = format!("<list>{}</list>", list_path(&name));
    let conf = conf.replace(
        "<list>etc/lists/audit-keys</list>",
        &format!("<list>etc/lists/audit-keys</list>\n    {line}"),
    );
    stand_in.write("etc/ossec.conf", &conf);
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    let new = String::from_utf8(stand_in.ossec_conf()).unwrap();
    assert_eq!(new.matches(&line).count(), 1);
    let _ = stand_in.run(&["rules", "check"]).with_code(0);
    let _ = stand_in.run(&["rules", "remove"]).with_code(0);
    assert_eq!(String::from_utf8(stand_in.ossec_conf()).unwrap(), conf);
}

#[test]
fn rules_of_an_older_version_are_renewed_and_those_of_none_are_removed() {
    let Some(stand_in) = manager() else { return };
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    let current = stand_in.tree();
    let (name, _) = rules().remove(0);
    // As an older version would have installed it, by its own record of that.
    let older = b"<group name=\"older,\">\n  <rule id=\"119998\" level=\"3\">\n    <decoded_as>json</decoded_as>\n    <description>Older.</description>\n  </rule>\n</group>\n";
    stand_in.write(&rule_path(&name), older);
    let copied = stand_in.state_dir().join("wazuh-toolkit/copied.json");
    let text = std::fs::read_to_string(&copied).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let output =
        std::process::Command::new("sha256sum").arg(stand_in.path(&rule_path(&name))).output().unwrap();
    let sum = String::from_utf8(output.stdout).unwrap()[..64].to_owned();
    record[format!("1000-wazuh-toolkit-{name}")] = sum.into();
    std::fs::write(&copied, record.to_string()).unwrap();
    let ran = stand_in.run(&["rules", "check"]).with_code(1);
    says(&ran, &[&rule_path(&name), "wazuh-toolkit rules install"]);
    assert!(changed(&stand_in.run(&["rules", "install", "--json"]).with_code(0)));
    assert_eq!(stand_in.tree(), current);
}

#[test]
fn check_finds_what_is_missing_edited_or_not_loaded() {
    type Way = (&'static str, fn(&StandIn), &'static [&'static str]);
    let ways: [Way; 6] = [
        (
            "a rule file is gone",
            |s| std::fs::remove_file(s.path(&rule_path(&rules()[0].0))).unwrap(),
            &["missing", "rules install"],
        ),
        (
            "a list is gone",
            |s| std::fs::remove_file(s.path(&list_path(&lists()[0].0))).unwrap(),
            &["missing", "rules install"],
        ),
        (
            "a rule file was edited",
            |s| append(&s.path(&rule_path(&rules()[0].0)), b"<!-- x -->\n"),
            &["edited"],
        ),
        (
            "a rule of somebody else has our id",
            |s| {
                let text = format!(
                    "<group name=\"own,\">\n  <rule level=\"3\"\n   id = '{}'>\n    <description>x</description>\n  </rule>\n</group>\n",
                    an_id()
                );
                s.write("etc/rules/own.xml", text);
            },
            &["own.xml"],
        ),
        (
            "etc/rules is not loaded",
            |s| {
                let conf = String::from_utf8(s.ossec_conf()).unwrap();
                s.write("etc/ossec.conf", conf.replace("    <rule_dir>etc/rules</rule_dir>\n", ""));
            },
            &["rule_dir", "etc/rules"],
        ),
        (
            "a second ruleset hides the first",
            |s| {
                append(&s.path("etc/ossec.conf"), b"<ossec_config>\n  <ruleset>\n    <rule_dir>ruleset/rules</rule_dir>\n  </ruleset>\n</ossec_config>\n")
            },
            &["rule_dir", "etc/rules"],
        ),
    ];
    for (what, break_it, words) in ways {
        let Some(stand_in) = manager() else { return };
        let _ = stand_in.run(&["rules", "install"]).with_code(0);
        let _ = stand_in.run(&["rules", "check"]).with_code(0);
        break_it(&stand_in);
        let untouched = Untouched::now(&stand_in);
        let ran = stand_in.run(&["rules", "check"]);
        assert_eq!(ran.code, Some(1), "{what}: {}", ran.all());
        says(&ran, words);
        let json = stand_in.run(&["rules", "check", "--json"]).with_code(1);
        assert!(json.json().is_object(), "{what}");
        // doctor says the same.
        let doctor = stand_in.run(&["doctor"]).with_code(1);
        says(&doctor, words);
        untouched.holds(&stand_in, what);
    }
}

#[test]
fn an_agent_has_no_rules() {
    let Some(stand_in) = agent() else { return };
    let untouched = Untouched::now(&stand_in);
    for verb in ["install", "check"] {
        let ran = stand_in.run(&["rules", verb]).with_code(2);
        says(&ran, &["manager"]);
    }
    let ran = stand_in.run(&["rules", "remove"]);
    assert!(matches!(ran.code, Some(0 | 2)), "{}", ran.all());
    untouched.holds(&stand_in, "an agent");
}
