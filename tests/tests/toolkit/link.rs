//! `link`: the programs' names in Wazuh's tree, before and after Wazuh is there.

use std::os::unix::fs::{MetadataExt, symlink};

use harness::stand_in::{StandIn, Tree};

use crate::{Untouched, agent, changed, identity, ready, says};

const PLACE: &str = "active-response/bin/custom-block";

#[test]
fn the_link_leads_to_the_program_and_is_made_once() {
    if !ready() {
        return;
    }
    for role in crate::ROLES {
        let stand_in = StandIn::new(role);
        let before = stand_in.tree();
        assert!(changed(&stand_in.run(&["link", "--json"]).with_code(0)));
        let place = stand_in.path(PLACE);
        assert_eq!(std::fs::read_link(&place).unwrap(), stand_in.program_dir().join("custom-block"));
        let metadata = std::fs::symlink_metadata(&place).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (0, 0));
        // The wodle is called where it lies: nothing else is linked.
        assert_eq!(stand_in.tree().changes_since(&before), [std::path::Path::new(PLACE)]);
        let made = identity(&place);
        std::thread::sleep(std::time::Duration::from_millis(20));
        for args in [&["link"][..], &["link", "--quiet"], &["link", "--json"]] {
            let _ = stand_in.run(args).with_code(0);
        }
        assert!(!changed(&stand_in.run(&["link", "--json"]).with_code(0)));
        assert_eq!(identity(&place), made, "a link that is right was touched");
        assert!(changed(&stand_in.run(&["link", "--remove", "--json"]).with_code(0)));
        assert_eq!(stand_in.tree(), before);
        assert!(!changed(&stand_in.run(&["link", "--remove", "--json"]).with_code(0)));
    }
}

#[test]
fn before_wazuh_is_installed_nothing_is_done_and_nothing_is_wrong() {
    if !ready() {
        return;
    }
    let stand_in = StandIn::without_wazuh();
    let before = Tree::of(stand_in.scratch());
    let quiet = stand_in.run(&["link", "--quiet"]).with_code(0);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    assert!(!changed(&stand_in.run(&["link", "--json"]).with_code(0)));
    let loud = stand_in.run(&["link"]).with_code(0);
    assert_eq!(loud.err, "");
    let _ = stand_in.run(&["link", "--remove"]).with_code(0);
    let _ = stand_in.run(&["link", "--remove", "--quiet"]).with_code(0);
    assert!(!stand_in.home().exists());
    let mut changes = Tree::of(stand_in.scratch()).changes_since(&before);
    // Its own lock is not Wazuh's business.
    changes.retain(|path| !path.starts_with("state"));
    assert!(changes.is_empty(), "{changes:?}");
    // A folder of Wazuh's that is left over is no installation.
    std::fs::create_dir_all(stand_in.path("etc")).unwrap();
    let _ = stand_in.run(&["link", "--quiet"]).with_code(0);
    assert!(!stand_in.path("active-response").exists());
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let Some(stand_in) = agent() else { return };
    for _ in 0..2 {
        let ran = stand_in.run(&["link", "--quiet"]).with_code(0);
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
        assert!(stand_in.path(PLACE).is_symlink());
    }
}

#[test]
fn a_link_that_leads_nowhere_is_mended() {
    let Some(stand_in) = agent() else { return };
    let target = stand_in.program_dir().join("custom-block");
    symlink("/nonexistent/of/an/earlier/version/custom-block", stand_in.path(PLACE)).unwrap();
    assert!(changed(&stand_in.run(&["link", "--json"]).with_code(0)));
    assert_eq!(std::fs::read_link(stand_in.path(PLACE)).unwrap(), target);
}

#[test]
fn a_file_of_that_name_is_not_ours_and_stays() {
    let Some(stand_in) = agent() else { return };
    for make in [
        (|path| std::fs::write(path, "#!/bin/sh\n# by hand\n").unwrap()) as fn(&std::path::Path),
        |path| {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("file"), "x").unwrap();
        },
        |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
    ] {
        let place = stand_in.path(PLACE);
        make(&place);
        let untouched = Untouched::now(&stand_in);
        let ran = stand_in.run(&["link"]).with_code(3);
        says(&ran, &[place.to_str().unwrap()]);
        assert!(!changed(&stand_in.run(&["link", "--json"]).with_code(3)));
        // Packages do not fail for it, but it is said.
        let quiet = stand_in.run(&["link", "--quiet"]).with_code(0);
        assert!(quiet.err.contains("custom-block"), "{}", quiet.all());
        let _ = stand_in.run(&["link", "--remove"]);
        untouched.holds(&stand_in, "a file in the way");
        if place.is_dir() {
            std::fs::remove_dir_all(&place).unwrap();
        } else {
            std::fs::remove_file(&place).unwrap();
        }
    }
}

#[test]
fn without_the_program_there_is_no_link_to_nothing() {
    let Some(stand_in) = agent() else { return };
    std::fs::remove_file(stand_in.program_dir().join("custom-block")).unwrap();
    let ran = stand_in.run(&["link"]);
    assert!(!stand_in.path(PLACE).is_symlink(), "{}", ran.all());
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let _ = stand_in.run(&["link", "--quiet"]).with_code(0);
}

#[test]
fn a_link_is_removed_also_after_the_program_is_gone() {
    let Some(stand_in) = agent() else { return };
    let before = stand_in.tree();
    let _ = stand_in.run(&["link"]).with_code(0);
    std::fs::remove_file(stand_in.program_dir().join("custom-block")).unwrap();
    let _ = stand_in.run(&["link", "--remove", "--quiet"]).with_code(0);
    assert_eq!(stand_in.tree(), before);
}

#[test]
fn a_link_of_somebody_else_is_not_removed() {
    let Some(stand_in) = agent() else { return };
    symlink("/usr/local/sbin/my-own-block", stand_in.path(PLACE)).unwrap();
    let before = stand_in.tree();
    let _ = stand_in.run(&["link", "--remove"]);
    assert_eq!(stand_in.tree(), before);
}

#[test]
fn wazuh_purged_and_installed_anew_is_linked_anew() {
    let Some(stand_in) = agent() else { return };
    let _ = stand_in.run(&["link"]).with_code(0);
    let fresh = StandIn::agent();
    std::fs::remove_dir_all(stand_in.home()).unwrap();
    let _ = stand_in.run(&["link", "--quiet"]).with_code(0);
    assert!(!stand_in.home().exists());
    std::fs::rename(fresh.home(), stand_in.home()).unwrap();
    let _ = stand_in.run(&["link", "--quiet"]).with_code(0);
    assert_eq!(
        std::fs::read_link(stand_in.path(PLACE)).unwrap(),
        stand_in.program_dir().join("custom-block")
    );
}
