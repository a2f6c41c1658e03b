//! Others who change `ossec.conf` at the same time: whoever is in the group
//! `wazuh`, an editor, configuration management, a second run of ours.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::stand_in::{Ran, append};

use crate::{PROGRAMS, agent, backups, changed, checks, inside, manager, says};

const EDIT: &str = "<!-- an edit that came in between -->\n";

#[test]
fn an_edit_while_the_daemons_are_asked_is_not_lost() {
    // Written over, replaced as an editor does, and of the same length and time.
    for edit in [
        format!("printf '%s\\n' '{}' >>etc/ossec.conf", EDIT.trim_end()),
        format!("{{ cat etc/ossec.conf; printf '%s\\n' '{}'; }} >etc/x && mv etc/x etc/ossec.conf", EDIT.trim_end()),
        "touch -r etc/ossec.conf etc/stamp; sed -i 's/5000/5001/' etc/ossec.conf; touch -r etc/stamp etc/ossec.conf; rm etc/stamp".to_owned(),
    ] {
        let Some(stand_in) = agent() else { return };
        stand_in.daemon("wazuh-execd", &edit);
        let ran = stand_in.run(&["enable", "custom-audit"]).with_code(1);
        says(&ran, &["ossec.conf"]);
        let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
        assert!(conf.ends_with(EDIT) || conf.contains("5001"), "{edit}: the edit is lost");
        assert!(!conf.contains("wazuh-toolkit:"), "{edit}");
        let left: Vec<_> = std::fs::read_dir(stand_in.path("etc")).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("toolkit")), "{left:?}");
        // The next one finds the edit in its old text.
        stand_in.daemon("wazuh-execd", "exit 0");
        let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
        let _ = stand_in.run(&["disable", "custom-audit"]).with_code(0);
        assert_eq!(String::from_utf8(stand_in.ossec_conf()).unwrap(), conf);
    }
}

#[test]
fn what_analysisd_made_of_the_candidate_is_undone_when_an_edit_came_in_between() {
    let Some(stand_in) = manager() else { return };
    let table = stand_in.read("etc/shared/ar.conf");
    stand_in.daemon("wazuh-remoted", &format!("printf '%s\\n' '{}' >>etc/ossec.conf", EDIT.trim_end()));
    let _ = stand_in.run(&["enable", "custom-block"]).with_code(1);
    assert_eq!(stand_in.read("etc/shared/ar.conf"), table, "{:?}", checks(&stand_in));
}

#[test]
fn an_edit_while_the_file_in_place_is_refused_is_not_lost() {
    let Some(stand_in) = agent() else { return };
    let old = stand_in.ossec_conf();
    stand_in
        .daemon("wazuh-modulesd", &format!("printf '%s\\n' '{}' >>etc/ossec.conf; exit 1", EDIT.trim_end()));
    let ran = stand_in.run(&["enable", "custom-audit"]).with_code(1);
    says(&ran, &["wazuh-modulesd", "ossec.conf"]);
    let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
    assert!(conf.contains(EDIT.trim_end()), "the edit is lost");
    // What was there before is kept, so that a person can mend it.
    let kept = stand_in.state_dir().join("wazuh-toolkit").join(&backups(&stand_in)[0].0);
    assert_eq!(std::fs::read(kept).unwrap(), old);
}

#[test]
fn an_edit_in_the_last_moment_before_the_rename_is_not_lost() {
    // The backup is the last that is made before the file is put in place.
    let mut met = 0;
    for round in 0..20 {
        let Some(stand_in) = agent() else { return };
        let over = AtomicBool::new(false);
        let conf = stand_in.path("etc/ossec.conf");
        let state = stand_in.state_dir().join("wazuh-toolkit");
        let edited = std::thread::scope(|scope| {
            let editor = scope.spawn(|| {
                let end = Instant::now() + Duration::from_secs(30);
                while !over.load(Ordering::Relaxed) && Instant::now() < end {
                    let begun = std::fs::read_dir(&state).into_iter().flatten().flatten();
                    if begun.into_iter().any(|entry| entry.file_name() != "lock") {
                        // In one write, to whatever has the name now.
                        let began = Instant::now();
                        append(&conf, EDIT.as_bytes());
                        // One that was interrupted writes to what had the name before:
                        // nobody can save that.
                        return began.elapsed() < Duration::from_millis(1);
                    }
                }
                false
            });
            let _ = stand_in.run(&["enable", "custom-audit"]);
            over.store(true, Ordering::Relaxed);
            editor.join().unwrap()
        });
        if !edited {
            continue;
        }
        met += 1;
        let text = String::from_utf8(stand_in.ossec_conf()).unwrap();
        let mut kept = backups(&stand_in)
            .into_iter()
            .map(|(name, _)| std::fs::read_to_string(state.join(name)).unwrap());
        assert!(
            text.contains(EDIT) || kept.any(|text| text.contains(EDIT)),
            "round {round}: the edit is lost"
        );
    }
    assert!(met > 0, "the moment was never met");
}

#[test]
fn two_runs_at_once_do_both() {
    let Some(stand_in) = agent() else { return };
    let old = stand_in.ossec_conf();
    for round in 0..5 {
        std::thread::scope(|scope| {
            let runs = PROGRAMS.map(|program| {
                let stand_in = &stand_in;
                scope.spawn(move || stand_in.run(&["enable", program, "--json"]))
            });
            for run in runs {
                assert!(changed(&run.join().unwrap().with_code(0)), "round {round}");
            }
        });
        let conf = stand_in.ossec_conf();
        assert!(PROGRAMS.iter().all(|program| inside(&conf, program).is_some()), "round {round}");
        let _ = stand_in.run(&["disable", "--all"]).with_code(0);
        assert_eq!(stand_in.ossec_conf(), old);
    }
}

#[test]
fn a_run_that_is_killed_leaves_the_old_file_or_the_new_one() {
    let Some(stand_in) = agent() else { return };
    let old = stand_in.ossec_conf();
    let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
    let new = stand_in.ossec_conf();
    let _ = stand_in.run(&["disable", "custom-audit"]).with_code(0);
    for step in 0..40_u64 {
        let mut child = stand_in
            .command(&["enable", "custom-audit"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(step * 6));
        let _ = child.kill();
        child.wait().unwrap();
        let conf = stand_in.ossec_conf();
        assert!(conf == old || conf == new, "after {} ms: {}", step * 6, String::from_utf8_lossy(&conf));
        // The next run is not kept from its work by what the killed one left.
        let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
        assert_eq!(stand_in.ossec_conf(), new);
        let _ = stand_in.run(&["disable", "custom-audit"]).with_code(0);
        assert_eq!(stand_in.ossec_conf(), old);
        let left = std::fs::read_dir(stand_in.path("etc")).unwrap().flatten();
        let left: Vec<_> =
            left.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_reader_who_goes_away_does_not_end_it() {
    let Some(stand_in) = agent() else { return };
    let mut command =
        stand_in.launched(&["sh", "-c", "\"$@\" | :", "sh"], harness::program::wazuh_toolkit(), &[]);
    command.args(["enable", "custom-audit"]);
    let _ = Ran::of(command).with_code(0);
    assert!(harness::eventually(Duration::from_secs(10), || inside(&stand_in.ossec_conf(), "custom-audit")
        .is_some()));
}
