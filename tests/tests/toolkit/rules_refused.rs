//! `rules install` and `remove`, whole or not at all.

use std::os::unix::fs::symlink;

use harness::stand_in::{StandIn, append};

use crate::rules::{an_id, list_path, lists, rule_path, rules};
use crate::{Untouched, changed, checks, manager, restarts, says};

#[test]
fn a_rule_of_somebody_else_with_our_id_is_named_before_anything_is_written() {
    let id = an_id();
    let of = |tag: &str| {
        format!("<group name=\"own,\">\n  {tag}\n    <description>x</description>\n  </rule>\n</group>\n")
    };
    for (place, tag) in [
        ("etc/rules/local_rules.xml", format!("<rule id=\"{id}\" level=\"5\">")),
        ("etc/rules/own.xml", format!("<rule level='5'\n\tid = '{id}' >")),
        ("ruleset/rules/0999-own.xml", format!("<rule id=\"{id}\" level=\"5\">")),
    ] {
        let Some(stand_in) = manager() else { return };
        stand_in.write(place, of(&tag));
        stand_in.forget_calls();
        let untouched = Untouched::now(&stand_in);
        let ran = stand_in.run(&["rules", "install", "--restart"]).with_code(1);
        says(&ran, &[&id, place.rsplit('/').next().unwrap()]);
        untouched.holds(&stand_in, place);
        assert_eq!((checks(&stand_in), restarts(&stand_in)), (vec![], 0), "nobody was asked");
    }
    // The same number where it is no rule's id, or one that changes ours on purpose.
    let Some(stand_in) = manager() else { return };
    stand_in.write(
        "etc/rules/own.xml",
        format!("<!-- <rule id=\"{id}\" level=\"5\"> -->\n<group name=\"own,\">\n  <rule id=\"119999\" level=\"3\">\n    <if_sid>{id}</if_sid>\n    <id>{id}</id>\n    <description>a &lt; {id}</description>\n  </rule>\n</group>\n"),
    );
    stand_in
        .write("etc/rules/local_rules.xml", of(&format!("<rule id=\"{id}\" level=\"9\" overwrite=\"yes\">")));
    stand_in.write("etc/rules/own.txt", of(&format!("<rule id=\"{id}\" level=\"5\">")));
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
}

#[test]
fn what_analysisd_refuses_is_taken_back() {
    let Some(stand_in) = manager() else { return };
    // Something that it refuses as soon as it reads the rules: in place, or as candidate.
    stand_in.daemon(
        "wazuh-analysisd",
        "for file in etc/rules/1000-wazuh-toolkit-*; do
            [ -e \"$file\" ] && { echo 'CRITICAL: (1220): Error loading the rules' >&2; exit 1; }
         done
         exit 0",
    );
    let untouched = Untouched::now(&stand_in);
    let ran = stand_in.run(&["rules", "install", "--restart"]).with_code(1);
    says(&ran, &["wazuh-analysisd", "(1220): Error loading the rules"]);
    untouched.holds(&stand_in, "analysisd refused");
    assert_eq!(restarts(&stand_in), 0);
    assert!(!changed(&stand_in.run(&["rules", "install", "--json"]).with_code(1)));
}

#[test]
fn a_fault_in_rules_of_others_is_told_and_ours_are_taken_back() {
    let Some(stand_in) = manager() else { return };
    append(&stand_in.path("etc/rules/local_rules.xml"), b"<group name=\"x,\">\n  <rule id=\"119000\" level=\"3\">\n    <field name=\"user\">x</field>\n    <description>x</description>\n  </rule>\n</group>\n");
    let untouched = Untouched::now(&stand_in);
    let ran = stand_in.run(&["rules", "install"]).with_code(1);
    says(&ran, &["local_rules.xml", "static"]);
    untouched.holds(&stand_in, "a fault of others");
}

#[test]
fn one_that_refuses_after_the_swap_takes_back_rules_lists_and_configuration() {
    for daemon in ["wazuh-modulesd", "wazuh-integratord", "wazuh-remoted"] {
        let Some(stand_in) = manager() else { return };
        stand_in.daemon(daemon, "file=${3:-etc/ossec.conf}; ! grep -q 'wazuh-toolkit: begin' \"$file\" || { echo refused >&2; exit 1; }");
        let before = stand_in.tree();
        let ran = stand_in.run(&["rules", "install"]).with_code(1);
        says(&ran, &[daemon]);
        let changes = stand_in.tree().changes_since(&before);
        assert!(changes.is_empty(), "{daemon}: {changes:?}");
    }
}

#[test]
fn when_remove_is_refused_everything_stays() {
    let Some(stand_in) = manager() else { return };
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    stand_in.daemon("wazuh-logcollector", "exit 1");
    let before = stand_in.tree();
    let _ = stand_in.run(&["rules", "remove"]).with_code(1);
    let changes = stand_in.tree().changes_since(&before);
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn a_rule_file_that_was_edited_is_not_written_over_unless_forced() {
    let Some(stand_in) = manager() else { return };
    let (name, text) = rules().remove(0);
    for first in [true, false] {
        if first {
            // Somebody's file of that name, before ours was ever there.
            stand_in.write(&rule_path(&name), "<group name=\"own,\">\n  <rule id=\"119997\" level=\"3\">\n    <description>x</description>\n  </rule>\n</group>\n");
        } else {
            append(&stand_in.path(&rule_path(&name)), b"<!-- by hand -->\n");
        }
        let untouched = Untouched::now(&stand_in);
        let ran = stand_in.run(&["rules", "install"]).with_code(3);
        says(&ran, &[&rule_path(&name), "--force"]);
        untouched.holds(&stand_in, "edited");
        let _ = stand_in.run(&["rules", "install", "--force"]).with_code(0);
        assert!(stand_in.read(&rule_path(&name)) == text, "{name}");
    }
    append(&stand_in.path(&rule_path(&name)), b"<!-- by hand -->\n");
    let untouched = Untouched::now(&stand_in);
    let _ = stand_in.run(&["rules", "remove"]).with_code(3);
    untouched.holds(&stand_in, "edited, remove");
    let _ = stand_in.run(&["rules", "remove", "--force"]).with_code(0);
    assert!(!stand_in.path(&rule_path(&name)).exists());
}

#[test]
fn a_ruleset_that_would_not_load_them_is_refused() {
    let Some(stand_in) = manager() else { return };
    let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
    let begin = conf.find("  <ruleset>").unwrap();
    let end = conf.find("</ruleset>\n").unwrap() + "</ruleset>\n".len();
    for (what, ruleset) in [
        ("etc/rules is not in it", conf[begin..end].replace("    <rule_dir>etc/rules</rule_dir>\n", "")),
        ("there is none", String::new()),
        (
            "it is in a comment",
            format!("<!--\n{}-->\n", conf[begin..end].replace("<!--", "").replace("-->", "")),
        ),
    ] {
        stand_in.write("etc/ossec.conf", format!("{}{ruleset}{}", &conf[..begin], &conf[end..]));
        let untouched = Untouched::now(&stand_in);
        let ran = stand_in.run(&["rules", "install"]);
        assert!(matches!(ran.code, Some(1 | 3)), "{what}: {:?}: {}", ran.code, ran.all());
        says(&ran, &["etc/rules"]);
        untouched.holds(&stand_in, what);
    }
}

#[test]
fn a_ruleset_in_one_line_and_one_with_carriage_returns_come_back_as_they_were() {
    let Some(stand_in) = manager() else { return };
    let inside = "<decoder_dir>ruleset/decoders</decoder_dir><rule_dir>ruleset/rules</rule_dir><rule_dir>etc/rules</rule_dir><list>etc/lists/audit-keys</list>";
    for conf in [
        format!("<ossec_config><ruleset>{inside}</ruleset></ossec_config>"),
        format!("<ossec_config>\r\n  <ruleset>\r\n    {inside}\r\n  </ruleset>\r\n</ossec_config>\r\n"),
        format!("<ossec_config>\n  <ruleset>{inside}\n  </ruleset   >\n</ossec_config>\n")
            .replace("   >", ">"),
        format!(
            "<ossec_config>\n<ruleset>\n{inside}\n</ruleset>\n</ossec_config>\n<!-- </ruleset> <ruleset> -->\n"
        ),
        format!(
            "<ossec_config>\n<ruleset>\n<rule_dir>ruleset/rules</rule_dir>\n</ruleset>\n<ruleset>\n{inside}\n</ruleset>\n</ossec_config>"
        ),
    ] {
        stand_in.write("etc/ossec.conf", &conf);
        let _ = stand_in.run(&["rules", "install"]).with_code(0);
        let new = String::from_utf8(stand_in.ossec_conf()).unwrap();
        for (name, _) in lists() {
            assert_eq!(new.matches(&format!("<list>{}</list>", list_path(&name))).count(), 1, "{new}");
        }
        // The daemon reads every list, the old one as well.
        let output =
            std::process::Command::new(stand_in.path("bin/wazuh-analysisd")).arg("-t").output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{new}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let _ = stand_in.run(&["rules", "check"]).with_code(0);
        let _ = stand_in.run(&["rules", "remove"]).with_code(0);
        assert_eq!(String::from_utf8(stand_in.ossec_conf()).unwrap(), conf);
    }
}

/// Whoever is in the group wazuh can put anything in these folders.
#[test]
fn what_lies_in_the_way_of_a_copy_is_not_followed() {
    let Some(stand_in) = manager() else { return };
    let secret = stand_in.scratch().join("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    harness::stand_in::mode(&secret, 0o600);
    let (rule, list) = (rule_path(&rules()[0].0), list_path(&lists()[0].0));
    let before = harness::stand_in::Tree::of(&secret);
    type Kind = (&'static str, fn(&std::path::Path, &std::path::Path));
    let kinds: [Kind; 4] = [
        ("a link", |path, secret| symlink(secret, path).unwrap()),
        ("a second name", |path, secret| std::fs::hard_link(secret, path).unwrap()),
        ("a pipe", |path, _| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a folder", |path, _| std::fs::create_dir(path).unwrap()),
    ];
    for place in [&rule, &list] {
        for (what, make) in kinds {
            let path = stand_in.path(place);
            make(&path, &secret);
            let tree = stand_in.tree();
            for verb in ["install", "remove"] {
                let ran = stand_in.run(&["rules", verb]);
                assert!(
                    matches!(ran.code, Some(1 | 3)),
                    "{what} at {place}, {verb}: {:?}: {}",
                    ran.code,
                    ran.all()
                );
                says(&ran, &[place]);
            }
            let changes = stand_in.tree().changes_since(&tree);
            assert!(changes.is_empty(), "{what} at {place}: {changes:?}");
            if path.is_dir() {
                std::fs::remove_dir(&path).unwrap();
            } else {
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
    assert_eq!(harness::stand_in::Tree::of(&secret), before);
    // The folder itself, as a link to another.
    let folder = stand_in.path("etc/rules");
    let elsewhere = stand_in.scratch().join("elsewhere");
    std::fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    let tree = harness::stand_in::Tree::of(&elsewhere);
    let ran = stand_in.run(&["rules", "install"]).with_code(1);
    says(&ran, &["etc/rules"]);
    assert_eq!(harness::stand_in::Tree::of(&elsewhere), tree);
}

#[test]
fn a_section_of_lists_that_was_edited_stays_unless_forced() {
    let Some(stand_in) = manager() else { return };
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
    let line = format!("<list>{}</list>", list_path(&lists()[0].0));
    assert!(conf.contains(&line));
    stand_in.write("etc/ossec.conf", conf.replace(&line, &format!("{line}<!-- mine -->")));
    let untouched = Untouched::now(&stand_in);
    for verb in ["install", "remove"] {
        let ran = stand_in.run(&["rules", verb]).with_code(3);
        says(&ran, &["--force"]);
    }
    untouched.holds(&stand_in, "an edited section");
    let _ = stand_in.run(&["rules", "install", "--force"]).with_code(0);
    assert_eq!(String::from_utf8(stand_in.ossec_conf()).unwrap(), conf);
}

#[test]
fn without_its_folders_a_manager_is_no_place_for_rules() {
    for folder in ["etc/rules", "etc/lists"] {
        let Some(stand_in): Option<StandIn> = manager() else { return };
        std::fs::remove_dir_all(stand_in.path(folder)).unwrap();
        let untouched = Untouched::now(&stand_in);
        let ran = stand_in.run(&["rules", "install"]);
        assert_eq!(ran.code, Some(1), "{folder}: {}", ran.all());
        untouched.holds(&stand_in, folder);
    }
}
