//! `enable`: what it writes, what it shows first, and what it leaves alone.

use std::os::unix::fs::MetadataExt;

use harness::stand_in::{Tree, WAZUH, mode};

use crate::{
    PROGRAMS, ROLES, Untouched, agent, backups, changed, checks, edit_inside, identity, inside, manager,
    ready, restarts, says, section,
};

#[test]
fn the_second_time_nothing_is_changed() {
    let Some(stand_in) = manager() else { return };
    for program in PROGRAMS {
        assert!(changed(&stand_in.run(&["enable", program, "--json"]).with_code(0)));
    }
    let (untouched, kept) = (Untouched::now(&stand_in), backups(&stand_in));
    let state = Tree::of(&stand_in.state_dir());
    for program in PROGRAMS {
        assert!(!changed(&stand_in.run(&["enable", program, "--json"]).with_code(0)), "{program}");
        let _ = stand_in.run(&["enable", program]).with_code(0);
        let _ = stand_in.run(&["enable", program, "--force", "--restart"]).with_code(0);
    }
    untouched.holds(&stand_in, "the second time");
    assert_eq!(backups(&stand_in), kept);
    assert_eq!(Tree::of(&stand_in.state_dir()), state);
    assert_eq!(restarts(&stand_in), 0, "there was nothing to restart for");
}

#[test]
fn owner_group_and_mode_stay_and_the_file_is_replaced_not_written_over() {
    let Some(stand_in) = agent() else { return };
    let conf = stand_in.path("etc/ossec.conf");
    for (uid, gid, bits) in [(WAZUH, WAZUH, 0o660), (0, WAZUH, 0o660), (0, 0, 0o600), (1234, 5678, 0o4646)] {
        std::os::unix::fs::chown(&conf, Some(uid), Some(gid)).unwrap();
        mode(&conf, bits);
        for verb in ["enable", "disable"] {
            let before = Tree::of(&stand_in.path("etc"));
            let inode = identity(&conf).0;
            // Whoever reads it meanwhile goes on to read the old one.
            let reader = std::fs::File::open(&conf).unwrap();
            let _ = stand_in.run(&[verb, "custom-audit"]).with_code(0);
            let metadata = std::fs::metadata(&conf).unwrap();
            let owner = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
            assert_eq!(owner, (uid, gid, bits), "{verb}");
            assert_ne!(metadata.ino(), inode, "{verb} wrote over the file");
            assert_eq!(reader.metadata().unwrap().len(), u64::try_from(before_length(&before)).unwrap());
            let changes = Tree::of(&stand_in.path("etc")).changes_since(&before);
            assert_eq!(changes, [std::path::Path::new("ossec.conf")], "{verb} left something behind");
        }
    }
}

fn before_length(before: &Tree) -> usize {
    let content = &before.0[std::path::Path::new("ossec.conf")].content;
    content.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn one_backup_is_kept_with_its_date_and_only_for_root() {
    let Some(stand_in) = manager() else { return };
    let mut earlier = Vec::new();
    for (verb, program) in [
        ("enable", "custom-block"),
        ("enable", "custom-audit"),
        ("disable", "custom-block"),
        ("disable", "custom-audit"),
    ] {
        let old = stand_in.ossec_conf();
        let _ = stand_in.run(&[verb, program]).with_code(0);
        let kept = backups(&stand_in);
        assert_eq!(kept.len(), 1, "{verb} {program}: {kept:?}");
        let (name, bits) = &kept[0];
        assert_eq!(*bits, 0o600);
        let date = name.strip_prefix("ossec.conf.").unwrap();
        let form: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00T00-00-00");
        let path = stand_in.state_dir().join("wazuh-toolkit").join(name);
        assert_eq!(std::fs::read(&path).unwrap(), old, "{verb} {program}");
        assert_eq!(std::fs::metadata(&path).unwrap().uid(), 0);
        earlier.push(old);
    }
    // A backup of the same second would have been written over; here it was not needed.
    assert_eq!(earlier.len(), 4);
}

#[test]
fn the_difference_is_shown_before_anything_is_asked() {
    let Some(stand_in) = manager() else { return };
    for program in PROGRAMS {
        // The first daemon refuses: what was shown was shown before.
        stand_in.daemon("wazuh-logcollector", "exit 1");
        let dry = stand_in.run(&["enable", program, "--dry-run"]).with_code(0);
        for ran in [stand_in.run(&["enable", program]).with_code(1), dry] {
            let begin = format!("+<!-- wazuh-toolkit: begin {program} manager sha256=");
            for start in ["--- ", "+++ ", "@@ ", " </ossec_config>", "+<ossec_config>", &begin] {
                assert!(
                    ran.out.lines().any(|line| line.starts_with(start)),
                    "no line {start}: {}",
                    ran.all()
                );
            }
        }
    }
}

#[test]
fn a_difference_holds_nothing_that_a_terminal_would_obey() {
    let Some(stand_in) = agent() else { return };
    stand_in.write(
        "etc/ossec.conf",
        "<ossec_config>\n</ossec_config>\n<!-- \u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J -->\n",
    );
    let ran = stand_in.run(&["enable", "custom-audit"]).with_code(0);
    assert!(!ran.all().contains(['\u{1b}', '\u{7}', '\u{9b}']), "{:?}", ran.all());
}

#[test]
fn a_dry_run_and_print_touch_nothing() {
    if !ready() {
        return;
    }
    for role in ROLES {
        let stand_in = harness::stand_in::StandIn::new(role);
        let (untouched, state) = (Untouched::now(&stand_in), Tree::of(&stand_in.state_dir()));
        for program in PROGRAMS {
            let _ = stand_in.run(&["enable", program, "--dry-run"]).with_code(0);
            let _ = stand_in.run(&["enable", program, "--dry-run", "--json", "--restart"]).with_code(0);
            let _ = stand_in.run(&["enable", program, "--print"]).with_code(0);
            let _ = stand_in.run(&["enable", program, "--print", "--role", "manager"]).with_code(0);
        }
        let _ = stand_in.run(&["disable", "--all", "--dry-run"]).with_code(0);
        untouched.holds(&stand_in, role);
        assert_eq!(Tree::of(&stand_in.state_dir()), state);
        assert_eq!((checks(&stand_in), restarts(&stand_in)), (vec![], 0));
        // Also of a section that is there.
        let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
        let (untouched, state) = (Untouched::now(&stand_in), Tree::of(&stand_in.state_dir()));
        let ran = stand_in.run(&["disable", "custom-audit", "--dry-run"]).with_code(0);
        assert!(ran.out.contains("-<!-- wazuh-toolkit: end custom-audit -->"), "{}", ran.all());
        untouched.holds(&stand_in, role);
        assert_eq!(Tree::of(&stand_in.state_dir()), state);
    }
}

#[test]
fn print_needs_no_wazuh_and_prints_only_the_snippet() {
    let Some(stand_in) = manager() else { return };
    let nowhere = harness::stand_in::StandIn::without_wazuh();
    for program in PROGRAMS {
        for role in ROLES {
            let ran = nowhere.run(&["enable", program, "--role", role, "--print"]).with_code(0);
            assert_eq!(ran.err, "");
            assert!(ran.out.starts_with("<!--") && ran.out.ends_with("</ossec_config>\n"), "{}", ran.out);
            assert!(!ran.out.contains("wazuh-toolkit: begin"), "{}", ran.out);
            assert!(!nowhere.home().exists());
        }
        let ran = nowhere.run(&["enable", program, "--print"]).with_code(2);
        says(&ran, &["--role"]);
        let written = stand_in.run(&["enable", program, "--print"]).with_code(0).out;
        let _ = stand_in.run(&["enable", program]).with_code(0);
        assert_eq!(inside(&stand_in.ossec_conf(), program).unwrap(), written, "{program}");
    }
}

#[test]
fn the_section_of_an_older_version_is_replaced_where_it_stands() {
    let Some(stand_in) = agent() else { return };
    let older = "<ossec_config>\n  <!-- as it was once -->\n</ossec_config>\n";
    for newline_added in [false, true] {
        let before = if newline_added { "<ossec_config/>" } else { "<ossec_config/>\n" };
        let behind = "<ossec_config>\n  <!-- behind -->\n</ossec_config>\n";
        for program in PROGRAMS {
            let old = section(program, "agent", older, newline_added);
            stand_in.write("etc/ossec.conf", format!("{before}{old}{behind}"));
            let ran = stand_in.run(&["enable", program, "--json"]).with_code(0);
            assert!(changed(&ran));
            let conf = stand_in.ossec_conf();
            let new = section(program, "agent", &inside(&conf, program).unwrap(), newline_added);
            assert_ne!(new, old);
            assert_eq!(String::from_utf8(conf).unwrap(), format!("{before}{new}{behind}"));
            let _ = stand_in.run(&["disable", program]).with_code(0);
            assert_eq!(stand_in.ossec_conf(), format!("{before}{behind}").as_bytes());
        }
    }
}

#[test]
fn a_section_of_the_other_role_is_replaced_by_the_one_that_fits() {
    let Some(stand_in) = manager() else { return };
    let old = stand_in.ossec_conf();
    let _ = stand_in.run(&["enable", "custom-block", "--role", "agent"]).with_code(0);
    assert!(String::from_utf8(stand_in.ossec_conf()).unwrap().contains("begin custom-block agent "));
    assert!(changed(&stand_in.run(&["enable", "custom-block", "--json"]).with_code(0)));
    let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
    assert!(conf.contains("begin custom-block manager ") && !conf.contains("begin custom-block agent "));
    let _ = stand_in.run(&["disable", "custom-block"]).with_code(0);
    assert_eq!(stand_in.ossec_conf(), old);
}

#[test]
fn what_was_edited_inside_stays_unless_forced() {
    let Some(stand_in) = manager() else { return };
    let old = stand_in.ossec_conf();
    for program in PROGRAMS {
        let _ = stand_in.run(&["enable", program]).with_code(0);
        let whole = stand_in.ossec_conf();
        edit_inside(&stand_in, program);
        let (untouched, kept) = (Untouched::now(&stand_in), backups(&stand_in));
        stand_in.forget_calls();
        for args in [
            &["enable", program][..],
            &["enable", program, "--restart"],
            &["disable", program],
            &["disable", "--all"],
        ] {
            let ran = stand_in.run(args).with_code(3);
            says(&ran, &["--force"]);
            assert!(!changed(&stand_in.run(&[args, &["--json"]].concat()).with_code(3)));
        }
        untouched.holds(&stand_in, program);
        assert_eq!((checks(&stand_in), restarts(&stand_in), backups(&stand_in)), (vec![], 0, kept));
        assert!(changed(&stand_in.run(&["enable", program, "--force", "--json"]).with_code(0)));
        assert_eq!(stand_in.ossec_conf(), whole, "the edit is gone");
        edit_inside(&stand_in, program);
        let _ = stand_in.run(&["disable", program, "--force"]).with_code(0);
        assert_eq!(stand_in.ossec_conf(), old);
    }
}

#[test]
fn a_section_that_is_torn_or_there_twice_is_refused_and_untouched() {
    let Some(stand_in) = agent() else { return };
    let old = String::from_utf8(stand_in.ossec_conf()).unwrap();
    let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
    let whole = String::from_utf8(stand_in.ossec_conf()).unwrap();
    let section = whole.strip_prefix(&old).unwrap();
    let end = "<!-- wazuh-toolkit: end custom-audit -->\n";
    let begin = &section[..=section.find('\n').unwrap()];
    for (what, conf) in [
        ("twice", format!("{whole}{section}")),
        ("no end", whole.replace(end, "")),
        ("no beginning", whole.replace(begin, "")),
        ("the wrong end", whole.replace(end, "<!-- wazuh-toolkit: end custom-block -->\n")),
        ("one in another", whole.replace(end, &format!("{begin}{end}{end}"))),
    ] {
        stand_in.write("etc/ossec.conf", &conf);
        let untouched = Untouched::now(&stand_in);
        for args in [
            &["enable", "custom-audit"][..],
            &["enable", "custom-block", "--force"],
            &["disable", "custom-audit", "--force"],
            &["disable", "--all"],
        ] {
            let ran = stand_in.run(args);
            assert!(matches!(ran.code, Some(1 | 3)), "{what}, {args:?}: {:?}: {}", ran.code, ran.all());
            says(&ran, &["custom-audit"]);
        }
        untouched.holds(&stand_in, what);
    }
}

#[test]
fn a_comment_without_an_end_is_refused() {
    let Some(stand_in) = agent() else { return };
    // Wazuh ends such a comment where ours begins, and would read the section.
    for tail in ["<!-- open", "<!-- open\n", "<!--", "<!-- a -- b\n<!-- wazuh", "<!-- open --\n"] {
        stand_in.write("etc/ossec.conf", format!("<ossec_config>\n</ossec_config>\n{tail}"));
        let untouched = Untouched::now(&stand_in);
        let ran = stand_in.run(&["enable", "custom-audit"]);
        assert!(matches!(ran.code, Some(1 | 3)), "{tail:?}: {:?}: {}", ran.code, ran.all());
        says(&ran, &["comment"]);
        untouched.holds(&stand_in, tail);
    }
}

#[test]
fn what_somebody_wrote_by_hand_is_not_done_twice() {
    if !ready() {
        return;
    }
    for (program, snippet) in
        [("custom-audit", "custom-audit.agent.xml"), ("custom-block", "custom-block.manager.xml")]
    {
        let stand_in = harness::stand_in::StandIn::manager();
        let pasted =
            std::fs::read_to_string(harness::program::source_tree().join("ossec-snippets").join(snippet));
        let conf = String::from_utf8(stand_in.ossec_conf()).unwrap() + &pasted.unwrap();
        stand_in.write("etc/ossec.conf", &conf);
        let ran = stand_in.run(&["enable", program]).with_code(3);
        says(&ran, &[program, "--force"]);
        assert_eq!(stand_in.ossec_conf(), conf.as_bytes());
        let _ = stand_in.run(&["enable", program, "--force"]).with_code(0);
        assert!(inside(&stand_in.ossec_conf(), program).is_some());
    }
}
