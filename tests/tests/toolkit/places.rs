//! An `ossec.conf` that is not what it should be, and people who may not change
//! it. Whoever is in the group `wazuh` can put anything in `etc`.

use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use harness::stand_in::{Ran, StandIn, Tree, executable, mode};
use harness::{kernel, program};

use crate::{Untouched, agent, backups, changed, manager, ready, says};

const LINES: [&[&str]; 4] = [
    &["enable", "custom-block"],
    &["enable", "custom-audit", "--force", "--restart"],
    &["disable", "custom-audit"],
    &["disable", "--all", "--force"],
];

/// Every verb that writes refuses what lies there, at once, and leaves it.
fn refused(stand_in: &StandIn, what: &str, word: &str) {
    let before = stand_in.tree();
    for args in LINES {
        let ran = stand_in.run(args);
        assert!(matches!(ran.code, Some(1 | 3)), "{what}, {args:?}: {:?}: {}", ran.code, ran.all());
        assert!(ran.took < Duration::from_secs(10), "{what} took {:?}", ran.took);
        assert!(ran.err.contains("ossec.conf") && ran.err.contains(word), "{what}: {}", ran.all());
    }
    let changes = stand_in.tree().changes_since(&before);
    assert!(changes.is_empty(), "{what}: {changes:?}");
    assert!(backups(stand_in).is_empty(), "{what}");
}

#[test]
fn what_is_no_regular_file_with_one_name_is_refused_and_untouched() {
    let Some(stand_in) = manager() else { return };
    let conf = stand_in.path("etc/ossec.conf");
    let aside = stand_in.scratch().join("aside.conf");
    std::fs::rename(&conf, &aside).unwrap();
    let secret = stand_in.scratch().join("secret");
    std::fs::write(&secret, "root:$6$secret\n").unwrap();
    mode(&secret, 0o600);
    let before = Tree::of(&secret);

    let ran = stand_in.run(&["enable", "custom-audit"]).with_code(1);
    says(&ran, &[conf.to_str().unwrap()]);
    for target in [&aside, &secret] {
        symlink(target, &conf).unwrap();
        refused(&stand_in, "a symbolic link", "link");
        std::fs::remove_file(&conf).unwrap();
    }
    std::fs::hard_link(&secret, &conf).unwrap();
    refused(&stand_in, "a second name of another file", "link");
    std::fs::remove_file(&conf).unwrap();
    nix::unistd::mkfifo(&conf, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&stand_in, "a pipe", "regular");
    std::fs::remove_file(&conf).unwrap();
    std::fs::create_dir(&conf).unwrap();
    refused(&stand_in, "a directory", "regular");
    std::fs::remove_dir(&conf).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(&conf).unwrap();
    refused(&stand_in, "a socket", "ossec.conf");
    drop(socket);
    std::fs::remove_file(&conf).unwrap();
    std::fs::File::create(&conf).unwrap().set_len(9 << 20).unwrap();
    refused(&stand_in, "more than eight megabytes", "8 M");
    std::fs::File::create(&conf).unwrap().set_len(1 << 42).unwrap();
    let huge = stand_in.run(&["enable", "custom-audit"]);
    assert!(matches!(huge.code, Some(1 | 3)) && huge.took < Duration::from_secs(10), "{}", huge.all());
    assert_eq!(std::fs::metadata(&conf).unwrap().len(), 1 << 42);
    assert_eq!(Tree::of(&secret), before);
}

/// Runs the program as this user, in a copy that anybody may start.
fn run_as<'a>(stand_in: &'a StandIn, id: &'a str) -> impl Fn(&[&str]) -> Ran + 'a {
    let copy = stand_in.program_dir().join("wazuh-toolkit");
    executable(&copy, &std::fs::read(program::wazuh_toolkit()).unwrap());
    mode(&copy, 0o755);
    move |args| {
        let launcher = ["setpriv", "--reuid", id, "--regid", id, "--clear-groups"];
        Ran::of(stand_in.launched(&launcher, &copy, args))
    }
}

#[test]
fn only_root_changes_things_and_others_are_told_so() {
    if !ready() || !harness::require(kernel::has("setpriv"), "setpriv") {
        return;
    }
    let stand_in = StandIn::manager();
    let as_wazuh = run_as(&stand_in, "4711");
    // The state directory is open to all: that it cannot be written is not why.
    mode(&stand_in.state_dir(), 0o777);
    let untouched = Untouched::now(&stand_in);
    for args in [
        &["enable", "custom-block"][..],
        &["enable", "custom-audit", "--restart"],
        &["disable", "--all"],
        &["link"],
        &["link", "--replace", "firewall-drop"],
        &["link", "--remove"],
        &["rules", "install"],
        &["rules", "remove"],
    ] {
        let ran = as_wazuh(args);
        assert_eq!(ran.code, Some(1), "{args:?}: {}", ran.all());
        assert!(ran.err.contains("root"), "{args:?}: {}", ran.all());
    }
    for args in [&["status"][..], &["doctor"], &["rules", "check"]] {
        let ran = as_wazuh(args);
        assert!(matches!(ran.code, Some(0 | 1)), "{args:?}: {:?}: {}", ran.code, ran.all());
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
    }
    let printed = as_wazuh(&["enable", "custom-block", "--print"]).with_code(0);
    assert!(printed.out.contains("<command>custom-block</command>"));
    untouched.holds(&stand_in, "somebody else");
    assert!(backups(&stand_in).is_empty());
}

#[test]
fn a_wazuh_that_one_may_not_look_into_is_not_said_to_be_absent() {
    if !ready() || !harness::require(kernel::has("setpriv"), "setpriv") {
        return;
    }
    let stand_in = StandIn::manager();
    let as_stranger = run_as(&stand_in, "4712");
    // As Wazuh's packages leave it, and somebody who is not in its group.
    mode(&stand_in.home(), 0o750);
    let untouched = Untouched::now(&stand_in);
    for args in [
        &["status"][..],
        &["enable", "custom-block"],
        &["disable", "--all"],
        &["doctor"],
        &["rules", "check"],
        &["rules", "remove"],
    ] {
        let ran = as_stranger(args);
        assert_eq!(ran.code, Some(i32::from(args != ["status"])), "{args:?}: {}", ran.all());
        assert!(ran.all().contains("root"), "{args:?}: {}", ran.all());
        for word in ["no Wazuh", "there is none", "is not there"] {
            assert!(!ran.all().contains(word), "{args:?}: {}", ran.all());
        }
    }
    untouched.holds(&stand_in, "somebody who sees nothing");
}

#[test]
fn a_folder_with_odd_letters_is_as_good_as_any() {
    if !ready() {
        return;
    }
    let stand_in = StandIn::agent();
    let odd = stand_in.scratch().join("it's a \"home\" & more");
    std::fs::rename(stand_in.home(), &odd).unwrap();
    std::fs::create_dir(stand_in.home()).unwrap();
    let old = std::fs::read(odd.join("etc/ossec.conf")).unwrap();
    let home = odd.to_str().unwrap();
    let _ = stand_in.run(&["--home", home, "enable", "custom-block"]).with_code(0);
    let _ = stand_in.run(&["--home", home, "link"]).with_code(0);
    assert!(odd.join("active-response/bin/custom-block").is_symlink());
    let _ = stand_in.run(&["--home", home, "disable", "custom-block"]).with_code(0);
    assert_eq!(std::fs::read(odd.join("etc/ossec.conf")).unwrap(), old);
}

#[test]
fn a_relative_home_means_the_same_file() {
    let Some(stand_in) = agent() else { return };
    let mut command = stand_in.command(&["--home", "ossec", "enable", "custom-audit", "--json"]);
    command.current_dir(stand_in.scratch());
    assert!(changed(&Ran::of(command).with_code(0)));
    assert!(String::from_utf8(stand_in.ossec_conf()).unwrap().contains("begin custom-audit"));
    assert!(!changed(&stand_in.run(&["enable", "custom-audit", "--json"]).with_code(0)));
}

#[test]
fn a_slash_at_the_end_makes_no_other_home() {
    let Some(stand_in) = agent() else { return };
    // Nothing reads the record: its path comes into the section.
    stand_in.write("etc/ossec.conf", "<ossec_config>\n</ossec_config>\n");
    let home = format!("{}/", stand_in.home().display());
    let _ = stand_in.run(&["--home", &home, "enable", "custom-block"]).with_code(0);
    assert!(!changed(&stand_in.run(&["enable", "custom-block", "--json"]).with_code(0)));
}

#[test]
fn without_room_for_a_backup_nothing_is_changed() {
    let Some(stand_in) = manager() else { return };
    // Where the backup would have to lie, for the next minutes, lies something.
    let folder = stand_in.state_dir().join("wazuh-toolkit");
    let untouched = Untouched::now(&stand_in);
    let now = harness::webhook::sign::now();
    for second in now..now + 100 {
        let date = std::process::Command::new("date")
            .args(["-d", &format!("@{second}"), "+%Y-%m-%dT%H-%M-%S"])
            .output()
            .unwrap();
        let name = format!("ossec.conf.{}", String::from_utf8(date.stdout).unwrap().trim());
        std::fs::create_dir_all(folder.join(name).join("full")).unwrap();
    }
    let ran = stand_in.run(&["enable", "custom-block", "--restart"]).with_code(1);
    says(&ran, &[folder.to_str().unwrap()]);
    // ar.conf included, which analysisd has written from the candidate by then.
    untouched.holds(&stand_in, "no backup");
}

#[test]
fn the_state_is_for_root_only() {
    let Some(stand_in) = agent() else { return };
    std::fs::remove_dir(stand_in.state_dir()).unwrap();
    let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
    let metadata = std::fs::metadata(stand_in.state_dir().join("wazuh-toolkit")).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o700));
    assert_eq!(backups(&stand_in).len(), 1);
}

#[test]
fn a_narrow_umask_makes_no_difference() {
    let Some(stand_in) = agent() else { return };
    for umask in ["0", "077", "0777"] {
        let old = std::fs::metadata(stand_in.path("etc/ossec.conf")).unwrap();
        let mut command = stand_in.launched(
            &["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"],
            program::wazuh_toolkit(),
            &[],
        );
        command.args(["enable", "custom-audit"]);
        let _ = Ran::of(command).with_code(0);
        let new = std::fs::metadata(stand_in.path("etc/ossec.conf")).unwrap();
        assert_eq!(new.mode(), old.mode(), "umask {umask}");
        assert_eq!(backups(&stand_in)[0].1, 0o600, "umask {umask}");
        let _ = stand_in.run(&["disable", "custom-audit"]).with_code(0);
    }
}
