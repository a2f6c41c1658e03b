//! The stand-in is like what it stands for, as far as tests rely on it.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::{StandIn, WAZUH, append, available};

fn made(role: &str) -> Option<StandIn> {
    crate::require(available(), "root, for files with owners").then(|| StandIn::new(role))
}

/// What a daemon says of the configuration in place, and its exit code.
fn check(stand_in: &StandIn, daemon: &str) -> (Option<i32>, String) {
    let output = Command::new(stand_in.path("bin").join(daemon)).arg("-t").output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn owners_and_modes_are_those_of_the_real_one() {
    for role in ["agent", "manager"] {
        let Some(stand_in) = made(role) else { return };
        for (path, uid, gid, bits) in [
            ("", 0, WAZUH, 0o750),
            ("active-response/bin", 0, WAZUH, 0o750),
            ("active-response/bin/firewall-drop", 0, WAZUH, 0o750),
            ("bin/wazuh-execd", 0, 0, 0o750),
            ("etc", WAZUH, WAZUH, 0o770),
            ("etc/ossec.conf", 0, WAZUH, 0o660),
            ("etc/local_internal_options.conf", 0, WAZUH, 0o640),
            ("etc/shared", 0, WAZUH, 0o770),
            ("etc/shared/ar.conf", 0, WAZUH, 0o640),
            ("logs", WAZUH, WAZUH, 0o770),
            ("logs/active-responses.log", WAZUH, WAZUH, 0o660),
            ("var/run", 0, WAZUH, 0o770),
            ("tmp", 0, WAZUH, 0o1770),
        ] {
            let metadata = std::fs::symlink_metadata(stand_in.path(path)).unwrap();
            let owner = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
            assert_eq!(owner, (uid, gid, bits), "{path} of the {role}");
        }
    }
}

#[test]
fn daemons_take_the_shipped_configuration_and_refuse_what_wazuh_refuses() {
    let Some(stand_in) = made("manager") else { return };
    let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
    for daemon in ["wazuh-analysisd", "wazuh-modulesd", "wazuh-logcollector", "wazuh-execd", "wazuh-remoted"]
    {
        assert_eq!(check(&stand_in, daemon), (Some(0), String::new()), "{daemon}");
    }
    for (daemon, added, words) in [
        ("wazuh-logcollector", "<ossec_config><nonsense>x</nonsense></ossec_config>", "(1230)"),
        ("wazuh-logcollector", "<wazuh_config></wazuh_config>", "(1230)"),
        (
            "wazuh-logcollector",
            "<ossec_config><localfile><nonsense>x</nonsense></localfile></ossec_config>",
            "(1230)",
        ),
        (
            "wazuh-analysisd",
            "<ossec_config><command><nonsense>x</nonsense></command></ossec_config>",
            "(1230)",
        ),
        (
            "wazuh-analysisd",
            "<ossec_config><active-response><command>none</command><location>local</location></active-response></ossec_config>",
            "(1284)",
        ),
        (
            "wazuh-modulesd",
            "<ossec_config><wodle name=\"command\"><nonsense>x</nonsense></wodle></ossec_config>",
            "No such tag",
        ),
        ("wazuh-execd", "<ossec_config><a></b></ossec_config>", "(1226)"),
        ("wazuh-execd", "<ossec_config></ossec_config><!-- open", "Comment not closed"),
        ("wazuh-execd", "<ossec_config>", "not closed"),
    ] {
        stand_in.write("etc/ossec.conf", format!("{conf}{added}"));
        let (code, said) = check(&stand_in, daemon);
        assert_eq!(code, Some(1), "{daemon}, {added}: {said}");
        assert!(said.contains(words), "{daemon}, {added}: {said}");
    }
    // Wazuh's reader ends a comment earlier than XML does.
    stand_in.write("etc/ossec.conf", format!("{conf}<!-- a !> <ossec_config></ossec_config>"));
    assert_eq!(check(&stand_in, "wazuh-execd").0, Some(0));
}

#[test]
fn analysisd_writes_its_table_also_when_it_refuses() {
    let Some(stand_in) = made("manager") else { return };
    append(
        &stand_in.path("etc/ossec.conf"),
        b"<ossec_config><active-response><command>host-deny</command><location>local</location><timeout>60</timeout></active-response></ossec_config>",
    );
    stand_in.write(
        "etc/rules/own.xml",
        "<group name=\"own,\"><rule id=\"119999\" level=\"3\"><field name=\"user\">x</field><description>x</description></rule></group>",
    );
    let (code, said) = check(&stand_in, "wazuh-analysisd");
    assert!(code == Some(1) && said.contains("static") && said.contains("own.xml"), "{said}");
    let table = String::from_utf8(stand_in.read("etc/shared/ar.conf")).unwrap();
    assert_eq!(table.lines().last(), Some("host-deny60 - host-deny - 60"));
    assert!(table.contains("restart-wazuh0 - restart-wazuh - 0"));
}

#[test]
fn a_daemon_runs_under_its_name_until_it_is_ended_and_calls_are_noted() {
    let Some(stand_in) = made("agent") else { return };
    let execd = stand_in.start("wazuh-execd");
    let name = std::fs::read_to_string(format!("/proc/{}/comm", execd.id())).unwrap();
    assert_eq!(name.trim(), "wazuh-execd");
    assert_eq!(std::fs::read_link(format!("/proc/{}/cwd", execd.id())).unwrap(), stand_in.home());
    let _ = check(&stand_in, "wazuh-modulesd");
    assert_eq!(stand_in.calls(), ["wazuh-execd", "wazuh-modulesd -t"]);
    drop(execd);
    assert_eq!(std::fs::read_dir(stand_in.path("var/run")).unwrap().count(), 0);
}
