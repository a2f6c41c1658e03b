//! custom-block in the place of one of Wazuh's own programs: moved aside whole,
//! again after an upgrade, and put back.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use harness::stand_in::{StandIn, Tree, WAZUH, mode};

use crate::{Untouched, agent, changed, identity, manager, ready, says};

const STOCK: [&str; 4] = ["firewall-drop", "firewalld-drop", "host-deny", "route-null"];

fn place(stand_in: &StandIn, name: &str) -> PathBuf {
    stand_in.path("active-response/bin").join(name)
}

fn aside(stand_in: &StandIn, name: &str) -> PathBuf {
    place(stand_in, &format!("{name}.wazuh-stock"))
}

#[track_caller]
fn stands_for(stand_in: &StandIn, name: &str) {
    let target = std::fs::read_link(place(stand_in, name)).unwrap_or_else(|_| panic!("{name} is no link"));
    assert_eq!(target, stand_in.program_dir().join("custom-block"), "{name}");
}

/// As dpkg does: a new file takes the name of what is there.
fn upgrade(stand_in: &StandIn, name: &str, text: &str) {
    let new = place(stand_in, &format!("{name}.dpkg-new"));
    std::fs::write(&new, text).unwrap();
    mode(&new, 0o750);
    std::os::unix::fs::chown(&new, Some(0), Some(WAZUH)).unwrap();
    std::fs::rename(new, place(stand_in, name)).unwrap();
}

#[test]
fn the_stock_program_is_moved_aside_whole_and_comes_back_whole() {
    let Some(stand_in) = agent() else { return };
    let before = stand_in.tree();
    for name in STOCK {
        let (inode, entry) = (identity(&place(&stand_in, name)).0, Tree::of(&place(&stand_in, name)));
        assert!(changed(&stand_in.run(&["link", "--replace", name, "--json"]).with_code(0)));
        stands_for(&stand_in, name);
        stands_for(&stand_in, "custom-block");
        assert_eq!(Tree::of(&aside(&stand_in, name)), entry, "owner, mode and content");
        assert_eq!(identity(&aside(&stand_in, name)).0, inode, "it is the file itself");
        assert_eq!(std::fs::metadata(aside(&stand_in, name)).unwrap().nlink(), 1);
        let linked = identity(&place(&stand_in, name));
        assert!(!changed(&stand_in.run(&["link", "--replace", name, "--json"]).with_code(0)), "twice");
        assert!(!changed(&stand_in.run(&["link", "--json"]).with_code(0)));
        assert_eq!(identity(&place(&stand_in, name)), linked);
        let _ = stand_in.run(&["link", "--restore", name]).with_code(0);
        assert_eq!(identity(&place(&stand_in, name)).0, inode);
        assert!(!changed(&stand_in.run(&["link", "--restore", name, "--json"]).with_code(0)), "twice");
        // The wish is forgotten, too.
        let _ = stand_in.run(&["link"]).with_code(0);
        assert!(!place(&stand_in, name).is_symlink());
        let _ = stand_in.run(&["link", "--remove"]).with_code(0);
        assert_eq!(stand_in.tree(), before, "{name}");
    }
}

#[test]
fn link_alone_never_replaces_anything_of_wazuh() {
    let Some(stand_in) = manager() else { return };
    let _ = stand_in.run(&["link"]).with_code(0);
    let _ = stand_in.run(&["enable", "custom-block"]).with_code(0);
    for name in STOCK {
        assert!(!place(&stand_in, name).is_symlink() && !aside(&stand_in, name).exists(), "{name}");
    }
}

#[test]
fn an_upgrade_of_wazuh_puts_its_file_back_and_link_moves_the_new_one_aside() {
    let Some(stand_in) = agent() else { return };
    let _ = stand_in.run(&["link", "--replace", "firewall-drop"]).with_code(0);
    for version in ["4.14.8", "4.15.0"] {
        let newer = format!("#!/bin/sh\n# of {version}\n");
        upgrade(&stand_in, "firewall-drop", &newer);
        assert!(changed(&stand_in.run(&["link", "--json"]).with_code(0)));
        stands_for(&stand_in, "firewall-drop");
        assert_eq!(std::fs::read_to_string(aside(&stand_in, "firewall-drop")).unwrap(), newer);
    }
    let _ = stand_in.run(&["link", "--restore", "firewall-drop"]).with_code(0);
    assert_eq!(
        std::fs::read_to_string(place(&stand_in, "firewall-drop")).unwrap(),
        "#!/bin/sh\n# of 4.15.0\n"
    );
    assert!(!aside(&stand_in, "firewall-drop").exists());
    let metadata = std::fs::metadata(place(&stand_in, "firewall-drop")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (0, WAZUH, 0o750));
}

#[test]
fn a_newer_stock_program_that_link_has_not_seen_is_the_one_that_stays() {
    let Some(stand_in) = agent() else { return };
    for undo in [&["link", "--restore", "firewall-drop"][..], &["link", "--remove"]] {
        let _ = stand_in.run(&["link", "--replace", "firewall-drop"]).with_code(0);
        upgrade(&stand_in, "firewall-drop", "#!/bin/sh\n# newer\n");
        let _ = stand_in.run(undo).with_code(0);
        assert_eq!(
            std::fs::read_to_string(place(&stand_in, "firewall-drop")).unwrap(),
            "#!/bin/sh\n# newer\n"
        );
        assert!(!aside(&stand_in, "firewall-drop").exists());
    }
}

#[test]
fn remove_undoes_all_of_it() {
    let Some(stand_in) = manager() else { return };
    let before = stand_in.tree();
    for name in STOCK {
        let _ = stand_in.run(&["link", "--replace", name]).with_code(0);
    }
    let _ = stand_in.run(&["link", "--remove"]).with_code(0);
    assert_eq!(stand_in.tree(), before);
    // And it is not made again.
    let _ = stand_in.run(&["link"]).with_code(0);
    let _ = stand_in.run(&["link", "--remove"]).with_code(0);
    assert_eq!(stand_in.tree(), before);
}

#[test]
fn what_was_interrupted_is_finished_or_undone() {
    let Some(stand_in) = agent() else { return };
    let stock = std::fs::read(place(&stand_in, "host-deny")).unwrap();
    type Moment = (&'static str, fn(&Path, &Path));
    let moments: [Moment; 3] = [
        ("moved, not yet linked", |place, aside| {
            std::fs::remove_file(place).unwrap();
            assert!(aside.exists());
        }),
        ("two names", |place, aside| {
            std::fs::remove_file(place).unwrap();
            std::fs::hard_link(aside, place).unwrap();
        }),
        ("a link begun", |place, _| symlink("/x", format!("{}.wazuh-toolkit", place.display())).unwrap()),
    ];
    for (what, interrupt) in moments {
        for verb in [&["link"][..], &["link", "--replace", "host-deny"], &["link", "--restore", "host-deny"]]
        {
            let _ = stand_in.run(&["link", "--replace", "host-deny"]).with_code(0);
            interrupt(&place(&stand_in, "host-deny"), &aside(&stand_in, "host-deny"));
            let ran = stand_in.run(verb);
            assert_eq!(ran.code, Some(0), "{what}, {verb:?}: {}", ran.all());
            let restored = verb.contains(&"--restore");
            if !restored {
                stands_for(&stand_in, "host-deny");
                assert_eq!(std::fs::read(aside(&stand_in, "host-deny")).unwrap(), stock, "{what}");
                let _ = stand_in.run(&["link", "--restore", "host-deny"]).with_code(0);
            }
            assert!(!place(&stand_in, "host-deny").is_symlink(), "{what}, {verb:?}");
            assert_eq!(std::fs::read(place(&stand_in, "host-deny")).unwrap(), stock, "{what}, {verb:?}");
            assert!(!aside(&stand_in, "host-deny").exists(), "{what}, {verb:?}");
            let _ = std::fs::remove_file(place(&stand_in, "host-deny.wazuh-toolkit"));
        }
    }
}

#[test]
fn after_a_purge_of_wazuh_the_wish_is_still_known() {
    let Some(stand_in) = agent() else { return };
    let _ = stand_in.run(&["link", "--replace", "firewall-drop"]).with_code(0);
    std::fs::remove_dir_all(stand_in.home()).unwrap();
    let quiet = stand_in.run(&["link", "--quiet"]).with_code(0);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    let fresh = StandIn::agent();
    std::fs::rename(fresh.home(), stand_in.home()).unwrap();
    let _ = stand_in.run(&["link", "--quiet"]).with_code(0);
    stands_for(&stand_in, "firewall-drop");
    // Undone while Wazuh is away: it does not come back with it.
    std::fs::remove_dir_all(stand_in.home()).unwrap();
    let _ = stand_in.run(&["link", "--remove", "--quiet"]).with_code(0);
    let fresh = StandIn::agent();
    std::fs::rename(fresh.home(), stand_in.home()).unwrap();
    let before = stand_in.tree();
    let _ = stand_in.run(&["link"]).with_code(0);
    let _ = stand_in.run(&["link", "--remove"]).with_code(0);
    assert_eq!(stand_in.tree(), before);
}

#[test]
fn what_cannot_be_replaced_is_refused_and_not_wished_for() {
    let Some(stand_in) = agent() else { return };
    // A link of the administrator's own has the name.
    let own = place(&stand_in, "firewall-drop");
    std::fs::remove_file(&own).unwrap();
    symlink("/usr/local/sbin/own-drop", &own).unwrap();
    let untouched = Untouched::now(&stand_in);
    let ran = stand_in.run(&["link", "--replace", "firewall-drop"]).with_code(3);
    says(&ran, &["firewall-drop"]);
    assert_eq!(std::fs::read_link(&own).unwrap(), Path::new("/usr/local/sbin/own-drop"));
    let _ = stand_in.run(&["link", "--remove"]).with_code(0);
    untouched.holds(&stand_in, "a link of somebody else");

    // And custom-block itself cannot be linked.
    std::fs::write(place(&stand_in, "custom-block"), "mine").unwrap();
    let untouched = Untouched::now(&stand_in);
    let _ = stand_in.run(&["link", "--replace", "host-deny"]).with_code(3);
    untouched.holds(&stand_in, "a file in the way");
    std::fs::remove_file(place(&stand_in, "custom-block")).unwrap();
    let _ = stand_in.run(&["link"]).with_code(0);
    assert!(!place(&stand_in, "host-deny").is_symlink(), "a wish that was refused came true later");
}

#[test]
fn a_program_that_wazuh_does_not_have_comes_and_goes_without_a_trace() {
    let Some(stand_in) = agent() else { return };
    std::fs::remove_file(place(&stand_in, "route-null")).unwrap();
    let before = stand_in.tree();
    let _ = stand_in.run(&["link", "--replace", "route-null"]);
    let _ = stand_in.run(&["link", "--restore", "route-null"]).with_code(0);
    let _ = stand_in.run(&["link", "--remove"]).with_code(0);
    assert_eq!(stand_in.tree(), before);
}

#[test]
fn wishes_that_nobody_can_have_are_not_followed() {
    if !ready() {
        return;
    }
    let stand_in = StandIn::agent();
    let _ = stand_in.run(&["link", "--replace", "firewall-drop"]).with_code(0);
    let wishes = stand_in.state_dir().join("wazuh-toolkit/replaced");
    assert_eq!(std::fs::read_to_string(&wishes).unwrap().trim(), "firewall-drop");
    let execd = std::fs::read(stand_in.path("bin/wazuh-execd")).unwrap();
    std::fs::write(&wishes, "../../bin/wazuh-execd\ndisable-account\n\n/etc/passwd\nfirewall-drop\n")
        .unwrap();
    let _ = stand_in.run(&["link"]).with_code(0);
    assert_eq!(std::fs::read(stand_in.path("bin/wazuh-execd")).unwrap(), execd);
    assert!(!place(&stand_in, "disable-account").is_symlink());
    stands_for(&stand_in, "firewall-drop");
}
