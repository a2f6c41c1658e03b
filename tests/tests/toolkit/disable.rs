//! `disable`, where there is nothing to disable, and the command line.

use harness::stand_in::StandIn;

use crate::{PROGRAMS, Untouched, agent, changed, checks, ready, restarts, says};

#[test]
fn what_is_not_enabled_is_disabled_already() {
    let Some(stand_in) = agent() else { return };
    let untouched = Untouched::now(&stand_in);
    for args in
        [&["disable", "custom-block"][..], &["disable", "custom-audit", "--restart"], &["disable", "--all"]]
    {
        let ran = stand_in.run(&[args, &["--json"]].concat()).with_code(0);
        assert!(!changed(&ran));
        let _ = stand_in.run(args).with_code(0);
    }
    untouched.holds(&stand_in, "nothing was enabled");
    assert_eq!((checks(&stand_in), restarts(&stand_in)), (vec![], 0));
}

#[test]
fn disable_asks_the_daemons_as_enable_does_and_ar_conf_follows() {
    if !ready() {
        return;
    }
    let stand_in = StandIn::manager();
    let table = stand_in.read("etc/shared/ar.conf");
    let _ = stand_in.run(&["enable", "custom-block"]).with_code(0);
    assert_ne!(stand_in.read("etc/shared/ar.conf"), table);
    stand_in.forget_calls();
    let _ = stand_in.run(&["disable", "custom-block"]).with_code(0);
    assert!(checks(&stand_in).contains(&"wazuh-analysisd -t -c CANDIDATE".to_owned()));
    assert_eq!(stand_in.read("etc/shared/ar.conf"), table);
}

#[test]
fn disable_puts_no_backup_back() {
    let Some(stand_in) = agent() else { return };
    let _ = stand_in.run(&["enable", "custom-block"]).with_code(0);
    let old = String::from_utf8(stand_in.ossec_conf()).unwrap();
    let edited = old.replace("<queue_size>5000</queue_size>", "<queue_size>9000</queue_size>");
    assert_ne!(edited, old);
    stand_in.write("etc/ossec.conf", &edited);
    let _ = stand_in.run(&["disable", "custom-block"]).with_code(0);
    let left = String::from_utf8(stand_in.ossec_conf()).unwrap();
    assert!(left.contains("<queue_size>9000</queue_size>") && !left.contains("wazuh-toolkit:"));
}

#[test]
fn a_bad_command_line_is_refused_and_changes_nothing() {
    let Some(stand_in) = agent() else { return };
    let untouched = Untouched::now(&stand_in);
    for args in [
        &[][..],
        &["enable"],
        &["disable"],
        &["enable", "custom-else"],
        &["enable", "custom-block", "custom-audit"],
        &["enable", "--all"],
        &["disable", "--all", "custom-block"],
        &["enable", "custom-block", "--role", "server"],
        &["enable", "custom-block", "--frobnicate"],
        &["frobnicate"],
        &["rules"],
        &["rules", "update"],
        &["link", "--replace"],
        &["link", "--replace", "disable-account"],
        &["link", "--replace", "../../bin/wazuh-execd"],
        &["link", "--replace", ""],
        &["--home"],
    ] {
        let ran = stand_in.run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.all());
        assert!(!ran.err.is_empty(), "{args:?} says nothing");
    }
    untouched.holds(&stand_in, "bad command lines");
    assert!(!stand_in.state_dir().join("wazuh-toolkit/replaced").exists(), "a wish is kept");
}

#[test]
fn where_no_wazuh_is_installed_that_is_said() {
    if !ready() {
        return;
    }
    let nowhere = StandIn::without_wazuh();
    for program in PROGRAMS {
        let ran = nowhere.run(&["enable", program]).with_code(2);
        assert!(ran.err.contains("--role") || ran.err.contains("--home"), "{}", ran.all());
        let ran = nowhere.run(&["enable", program, "--role", "agent"]).with_code(1);
        says(&ran, &[nowhere.home().to_str().unwrap()]);
    }
    assert!(!nowhere.home().exists());
    // Wazuh is there, but neither an agent nor a manager.
    std::fs::create_dir_all(nowhere.path("etc")).unwrap();
    std::fs::write(nowhere.path("etc/ossec.conf"), "<ossec_config/>\n").unwrap();
    let _ = nowhere.run(&["enable", "custom-audit"]).with_code(2);
    let ran = nowhere.run(&["enable", "custom-audit", "--role", "agent"]).with_code(0);
    // Nobody could check it.
    assert!(!ran.err.is_empty(), "{}", ran.all());
}

#[test]
fn the_command_line_comes_before_the_environment() {
    if !ready() {
        return;
    }
    let (here, there) = (StandIn::agent(), StandIn::agent());
    let untouched = Untouched::now(&here);
    let (home, state) = (there.home(), there.state_dir());
    let (home, state) = (home.to_str().unwrap(), state.to_str().unwrap());
    for args in [
        ["--home", home, "--state-dir", state, "enable", "custom-audit"],
        ["enable", "custom-audit", "--home", home, "--state-dir", state],
    ] {
        let _ = here.run(&args).with_code(0);
    }
    assert!(String::from_utf8(there.ossec_conf()).unwrap().contains("begin custom-audit"));
    assert_eq!(crate::backups(&there).len(), 1);
    untouched.holds(&here, "the other one was meant");
    assert!(crate::backups(&here).is_empty());
}
