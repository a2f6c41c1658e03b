//! Wazuh's own daemons decide whether a configuration is right: before it is in
//! place, and those that look only there after it.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use harness::stand_in::{self, StandIn, Tree, WAZUH};

use crate::{
    PROGRAMS, Untouched, agent, backups, changed, checks, identity, inside, manager, ready, restarts, says,
};

#[test]
fn each_daemon_is_asked_once_those_that_can_before_the_new_file_is_in_place() {
    if !ready() {
        return;
    }
    let expected = [
        (
            "agent",
            &[
                "wazuh-agentd -t -c CANDIDATE",
                "wazuh-logcollector -t -c CANDIDATE",
                "wazuh-syscheckd -t -c CANDIDATE",
                "wazuh-execd -t -c CANDIDATE",
                "wazuh-modulesd -t",
            ][..],
        ),
        (
            "manager",
            &[
                "wazuh-logcollector -t -c CANDIDATE",
                "wazuh-syscheckd -t -c CANDIDATE",
                "wazuh-execd -t -c CANDIDATE",
                "wazuh-analysisd -t -c CANDIDATE",
                "wazuh-remoted -t -c CANDIDATE",
                "wazuh-modulesd -t",
                "wazuh-integratord -t",
            ],
        ),
    ];
    for (role, expected) in expected {
        let stand_in = StandIn::new(role);
        for program in PROGRAMS {
            for verb in ["enable", "disable"] {
                stand_in.forget_calls();
                let _ = stand_in.run(&[verb, program]).with_code(0);
                assert_eq!(checks(&stand_in), expected, "{verb} {program}");
            }
        }
    }
}

#[test]
fn a_candidate_lies_beside_with_the_old_ones_owner_and_mode_and_goes_again() {
    let Some(stand_in) = agent() else { return };
    let conf = stand_in.path("etc/ossec.conf");
    std::os::unix::fs::chown(&conf, Some(WAZUH), Some(WAZUH)).unwrap();
    stand_in::mode(&conf, 0o640);
    let seen = stand_in.scratch().join("seen");
    let copy = stand_in.scratch().join("copy");
    stand_in.daemon(
        "wazuh-agentd",
        &format!(
            "stat -c '%u %g %a %d' \"$3\" etc/ossec.conf >'{0}'; dirname \"$3\" >>'{0}'; pwd >>'{0}'; cp \"$3\" '{1}'",
            seen.display(),
            copy.display()
        ),
    );
    let before = Tree::of(&stand_in.path("etc"));
    let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
    let seen = std::fs::read_to_string(seen).unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    assert!(lines[0].starts_with(&format!("{WAZUH} {WAZUH} 640 ")), "{seen}");
    assert_eq!(lines[0], lines[1], "owner, mode and file system");
    let folder = std::path::Path::new(lines[3]).join(lines[2]);
    assert_eq!(std::fs::canonicalize(folder).unwrap(), std::fs::canonicalize(stand_in.path("etc")).unwrap());
    assert_eq!(std::path::Path::new(lines[3]), std::fs::canonicalize(stand_in.home()).unwrap());
    assert_eq!(std::fs::read(copy).unwrap(), stand_in.ossec_conf(), "what was checked is what was written");
    let changes = Tree::of(&stand_in.path("etc")).changes_since(&before);
    assert_eq!(changes, [std::path::Path::new("ossec.conf")]);
}

#[test]
fn ar_conf_knows_custom_block_as_soon_as_it_is_enabled_on_a_manager() {
    let Some(stand_in) = manager() else { return };
    let _ = stand_in.run(&["enable", "custom-block"]).with_code(0);
    let table = String::from_utf8(stand_in.read("etc/shared/ar.conf")).unwrap();
    assert!(table.lines().any(|line| line == "custom-block600 - custom-block - 600"), "{table}");
    let metadata = std::fs::metadata(stand_in.path("etc/shared/ar.conf")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (0, WAZUH, 0o640));
}

#[test]
fn a_daemon_that_refuses_the_candidate_is_quoted_and_nothing_changes() {
    let daemons =
        ["wazuh-logcollector", "wazuh-syscheckd", "wazuh-execd", "wazuh-analysisd", "wazuh-remoted"];
    for daemon in daemons {
        let Some(stand_in) = manager() else { return };
        let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
        let kept = backups(&stand_in);
        // As the real one: it has written the table by then.
        let own = if daemon == "wazuh-analysisd" { "echo broken >etc/shared/ar.conf; " } else { "" };
        stand_in.daemon(
            daemon,
            &format!("{own}case $3 in ''|etc/ossec.conf|*/etc/ossec.conf) cat \"$0.table\" >etc/shared/ar.conf; exit 0;; esac
                      printf 'ERROR: (1230): Invalid element, \\033[2Jsaid {daemon}\\n' >&2; exit 1"),
        );
        std::fs::copy(
            stand_in.path("etc/shared/ar.conf"),
            stand_in.path("bin").join(format!("{daemon}.table")),
        )
        .unwrap();
        stand_in.forget_calls();
        let untouched = Untouched::now(&stand_in);
        let ran = stand_in.run(&["enable", "custom-block", "--restart"]).with_code(1);
        says(&ran, &[daemon, "(1230): Invalid element", &format!("said {daemon}")]);
        assert!(!ran.all().contains('\u{1b}'));
        untouched.holds(&stand_in, daemon);
        assert_eq!((backups(&stand_in), restarts(&stand_in)), (kept, 0));
        // Nobody asked those that would have looked at the file in place.
        assert!(!checks(&stand_in).contains(&"wazuh-modulesd -t".to_owned()));
        let json = stand_in.run(&["enable", "custom-block", "--json"]).with_code(1);
        assert!(!changed(&json) && json.out.contains("said"));
    }
}

#[test]
fn what_analysisd_made_of_a_refused_candidate_is_made_again_from_the_old_file() {
    let Some(stand_in) = manager() else { return };
    // It takes the candidate and writes its table; the next one refuses.
    stand_in.daemon("wazuh-remoted", "echo 'no, thank you' >&2; exit 1");
    let untouched = Untouched::now(&stand_in);
    let _ = stand_in.run(&["enable", "custom-block"]).with_code(1);
    untouched.holds(&stand_in, "remoted refused");
    let checks = checks(&stand_in);
    let last = checks.iter().rev().find(|call| call.starts_with("wazuh-analysisd")).unwrap();
    assert!(!last.contains("CANDIDATE"), "{checks:?}");
}

#[test]
fn one_that_refuses_the_file_in_place_gets_the_old_one_back_byte_for_byte() {
    for (daemon, role) in
        [("wazuh-modulesd", "agent"), ("wazuh-modulesd", "manager"), ("wazuh-integratord", "manager")]
    {
        if !ready() {
            return;
        }
        let stand_in = StandIn::new(role);
        let conf = stand_in.path("etc/ossec.conf");
        for (program, owner, bits) in [("custom-block", 0, 0o660), ("custom-audit", WAZUH, 0o640)] {
            std::os::unix::fs::chown(&conf, Some(owner), Some(WAZUH)).unwrap();
            stand_in::mode(&conf, bits);
            stand_in.forget_calls();
            stand_in.daemon(
                daemon,
                "if grep -q 'wazuh-toolkit: begin' etc/ossec.conf; then echo 'ERROR: No such tag' >&2; exit 1; fi",
            );
            let before = stand_in.tree();
            let ran = stand_in.run(&["enable", program, "--restart"]).with_code(1);
            says(&ran, &[daemon, "No such tag"]);
            let changes = stand_in.tree().changes_since(&before);
            assert!(changes.is_empty(), "{daemon} on the {role}, {program}: {changes:?}");
            assert_eq!(restarts(&stand_in), 0);
            let checks = checks(&stand_in);
            assert!(checks.contains(&format!("{daemon} -t")), "{checks:?}");
            if role == "manager" {
                // ar.conf is as before because analysisd was asked again.
                let last = checks.iter().rposition(|call| call == "wazuh-analysisd -t");
                let refused = checks.iter().position(|call| *call == format!("{daemon} -t"));
                assert!(last > refused, "{checks:?}");
            }
        }
    }
}

#[test]
fn real_faults_of_a_wodle_are_found_by_modulesd_and_undone() {
    let Some(stand_in) = agent() else { return };
    // The file is wrong already, where only modulesd looks.
    let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
    stand_in.write(
        "etc/ossec.conf",
        conf.replace("<wodle name=\"cis-cat\">", "<wodle name=\"command\">\n    <tagg>x</tagg>"),
    );
    let before = stand_in.tree();
    let ran = stand_in.run(&["enable", "custom-audit"]).with_code(1);
    says(&ran, &["wazuh-modulesd", "tagg"]);
    assert_eq!(stand_in.tree(), before);
}

#[test]
fn a_daemon_that_does_not_end_is_ended_and_counts_as_refusal() {
    for (daemon, in_place) in [("wazuh-agentd", false), ("wazuh-modulesd", true)] {
        let Some(stand_in) = agent() else { return };
        let ids = stand_in.scratch().join("ids");
        stand_in.daemon(
            daemon,
            &format!("trap '' TERM; sleep 300 & echo $$ $! >'{}'; wait; wait", ids.display()),
        );
        let before = stand_in.tree();
        let ran = stand_in.run(&["enable", "custom-audit", "--check-timeout", "3s"]).with_code(1);
        assert!(ran.took < Duration::from_secs(60), "{:?}", ran.took);
        says(&ran, &[daemon]);
        assert!(stand_in.tree() == before, "in place: {in_place}");
        for id in std::fs::read_to_string(ids).unwrap().split_whitespace() {
            let gone = || {
                let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
                state.is_empty() || state.contains(") Z ")
            };
            assert!(harness::eventually(Duration::from_secs(5), gone), "process {id} is left behind");
        }
    }
}

#[test]
fn a_daemon_that_leaves_a_child_behind_is_not_waited_for() {
    let Some(stand_in) = agent() else { return };
    stand_in.daemon("wazuh-agentd", "sleep 20 &");
    let ran = stand_in.run(&["enable", "custom-audit"]).with_code(0);
    assert!(ran.took < Duration::from_secs(15), "{:?}", ran.took);
}

#[test]
fn a_daemon_that_says_very_much_is_quoted_in_part() {
    let Some(stand_in) = agent() else { return };
    stand_in.daemon(
        "wazuh-agentd",
        "head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; echo; echo 'the end of it'; exit 1",
    );
    let ran = stand_in.run(&["enable", "custom-audit"]).with_code(1);
    assert!(ran.all().len() < 100_000, "{} bytes", ran.all().len());
    says(&ran, &["the end of it"]);
}

#[test]
fn a_daemon_that_cannot_be_run_counts_as_refusal() {
    let Some(stand_in) = agent() else { return };
    let execd = stand_in.path("bin/wazuh-execd");
    for text in ["#!/nonexistent/interpreter\n", "\x7fELF but not really"] {
        std::fs::write(&execd, text).unwrap();
        let before = stand_in.tree();
        let ran = stand_in.run(&["enable", "custom-audit"]).with_code(1);
        says(&ran, &["wazuh-execd"]);
        assert!(stand_in.tree() == before);
    }
    // One that is not there is not asked.
    std::fs::remove_file(&execd).unwrap();
    let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
    assert!(inside(&stand_in.ossec_conf(), "custom-audit").is_some());
}

#[test]
fn wazuh_is_restarted_once_when_asked_and_only_after_success() {
    let Some(stand_in) = agent() else { return };
    for (args, expected) in [
        (&["enable", "custom-audit"][..], 0),
        (&["disable", "custom-audit", "--restart"], 1),
        (&["enable", "custom-audit", "--restart"], 1),
        (&["enable", "custom-audit", "--restart"], 0),
        (&["disable", "--all", "--restart"], 1),
    ] {
        stand_in.forget_calls();
        let ran = stand_in.run(args).with_code(0);
        assert_eq!(restarts(&stand_in), expected, "{args:?}");
        if expected == 1 {
            let calls = stand_in.calls();
            let at = calls.iter().position(|call| call == "wazuh-control restart").unwrap();
            assert!(calls[..at].contains(&"wazuh-modulesd -t".to_owned()), "{args:?}: {calls:?}");
        } else if args.len() == 2 {
            // The command to type is told instead.
            says(&ran, &["wazuh-control restart"]);
        }
    }
}

#[test]
fn a_restart_that_fails_is_told_and_the_change_stays() {
    let Some(stand_in) = agent() else { return };
    stand_in.daemon("wazuh-control", "[ \"$1\" != restart ] || { echo 'it will not'; exit 1; }");
    let ran = stand_in.run(&["enable", "custom-audit", "--restart"]).with_code(1);
    says(&ran, &["it will not", "restart"]);
    assert!(inside(&stand_in.ossec_conf(), "custom-audit").is_some());
    let json = stand_in.run(&["disable", "custom-audit", "--restart", "--json"]).with_code(1);
    assert!(changed(&json), "it is disabled: {}", json.all());
    assert!(inside(&stand_in.ossec_conf(), "custom-audit").is_none());
    let before = identity(&stand_in.path("etc/ossec.conf"));
    let _ = stand_in.run(&["disable", "custom-audit", "--restart"]).with_code(0);
    assert_eq!(identity(&stand_in.path("etc/ossec.conf")), before);
}
