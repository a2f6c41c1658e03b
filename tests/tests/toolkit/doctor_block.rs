//! `doctor`: what keeps active responses and the wodle from working.

use std::os::unix::fs::symlink;
use std::process::Command;

use harness::kernel;
use harness::stand_in::append;

use crate::healthy::{Healthy, each_is_found};

fn replace(healthy: &Healthy, relative: &str, old: &str, new: &str) {
    let text = String::from_utf8(healthy.stand_in.read(relative)).unwrap();
    let edited = text.replace(old, new);
    assert_ne!(edited, text, "{relative} has no {old}");
    healthy.stand_in.write(relative, edited);
}

#[test]
fn an_execd_that_would_not_start_custom_block_is_found() {
    each_is_found(
        Healthy::agent,
        &[
            ("it does not run", |h| h.execd = None, &["execd", "does not run", "wazuh-control"]),
            (
                "one of another installation runs",
                |h| {
                    let other = harness::stand_in::StandIn::agent();
                    h.execd = Some(other.start("wazuh-execd"));
                    h.other = Some(other);
                },
                &["execd", "does not run"],
            ),
            (
                "it is older than the link",
                |h| {
                    std::fs::remove_file(h.stand_in.path("active-response/bin/custom-block")).unwrap();
                    h.restart_execd();
                    std::thread::sleep(std::time::Duration::from_secs(3));
                    let _ = h.stand_in.run(&["link"]).with_code(0);
                },
                &["execd", "active-response/bin/custom-block", "restart"],
            ),
            (
                "it is older than the link of a program that is replaced",
                |h| {
                    std::thread::sleep(std::time::Duration::from_secs(3));
                    let _ = h.stand_in.run(&["link", "--replace", "host-deny"]).with_code(0);
                },
                &["execd", "host-deny", "restart"],
            ),
            (
                "active responses are switched off",
                |h| {
                    replace(
                        h,
                        "etc/ossec.conf",
                        "<disabled>no</disabled>\n    <ca_store>",
                        "<disabled>yes</disabled>\n    <ca_store>",
                    )
                },
                &["active", "off", "disabled"],
            ),
        ],
    );
}

#[test]
fn a_process_of_that_name_is_no_execd_of_this_installation() {
    let Some(mut healthy) = Healthy::agent() else { return };
    healthy.execd = None;
    // Anybody can start a program of this name, in this folder even.
    let fake = healthy.stand_in.scratch().join("wazuh-execd");
    harness::stand_in::executable(&fake, b"#!/bin/sh\nsleep 30\n");
    harness::stand_in::mode(&fake, 0o755);
    let mut child = Command::new(&fake).current_dir("/").spawn().unwrap();
    let report = healthy.doctor();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        report.problems().iter().any(|text| text.contains("execd") && text.contains("does not run")),
        "{}",
        report.ran.all()
    );
}

#[test]
fn a_table_of_commands_that_would_not_work_is_found() {
    fn lines(healthy: &Healthy, count: usize) {
        let text: String =
            (0..count).map(|number| format!("command{number} - firewall-drop - {number}\n")).collect();
        append(&healthy.stand_in.path("etc/shared/ar.conf"), text.as_bytes());
    }
    each_is_found(
        Healthy::agent,
        &[
            // Six are Wazuh's own, one is ours.
            ("sixty lines", |h| lines(h, 53), &["ar.conf", "60", "64"]),
            ("seventy lines", |h| lines(h, 63), &["ar.conf", "70"]),
            (
                "a program that is not here",
                |h| append(&h.stand_in.path("etc/shared/ar.conf"), b"custom-else30 - custom-else - 30\n"),
                &["ar.conf", "custom-else", "active-response/bin"],
            ),
        ],
    );
    each_is_found(
        Healthy::manager,
        &[(
            "it does not know the command",
            |h| replace(h, "etc/shared/ar.conf", "custom-block600 - custom-block - 600\n", ""),
            &["ar.conf", "custom-block", "restart"],
        )],
    );
    // So many are not too many.
    let Some(healthy) = Healthy::agent() else { return };
    lines(&healthy, 40);
    let report = healthy.doctor();
    assert_eq!(report.ran.code, Some(0), "{}", report.ran.all());
}

#[test]
fn an_agent_whose_manager_does_not_know_the_command_is_told() {
    let Some(healthy) = Healthy::agent() else { return };
    replace(&healthy, "etc/shared/ar.conf", "custom-block600 - custom-block - 600\n", "");
    let report = healthy.doctor();
    let told = |text: &&str| text.contains("custom-block") && text.contains("manager");
    assert!(report.remarks().iter().any(told), "{}", report.ran.all());
}

#[test]
fn a_record_that_cannot_be_written_or_is_not_read_is_found() {
    const LOG: &str = "logs/active-responses.log";
    each_is_found(
        Healthy::agent,
        &[
            (
                "a link",
                |h| {
                    std::fs::rename(h.stand_in.path(LOG), h.stand_in.path("logs/other.log")).unwrap();
                    symlink("other.log", h.stand_in.path(LOG)).unwrap();
                },
                &["active-responses.log", "remove"],
            ),
            (
                "two names",
                |h| std::fs::hard_link(h.stand_in.path(LOG), h.stand_in.path("logs/other.log")).unwrap(),
                &["active-responses.log", "remove"],
            ),
            (
                "a folder",
                |h| {
                    std::fs::remove_file(h.stand_in.path(LOG)).unwrap();
                    std::fs::create_dir(h.stand_in.path(LOG)).unwrap();
                },
                &["active-responses.log", "remove"],
            ),
            (
                "nobody reads it",
                |h| {
                    let location = format!("<location>{}/{LOG}</location>", h.stand_in.home().display());
                    replace(h, "etc/ossec.conf", &location, "<location>/var/log/else</location>");
                },
                &["localfile", "wazuh-toolkit enable custom-block"],
            ),
            (
                "no folder",
                |h| std::fs::rename(h.stand_in.path("logs"), h.stand_in.path("gone")).unwrap(),
                &["active-responses.log"],
            ),
        ],
    );
    if !harness::require(kernel::has("chattr"), "chattr") {
        return;
    }
    let Some(healthy) = Healthy::agent() else { return };
    let log = healthy.stand_in.path(LOG);
    let attribute = |word: &str| Command::new("chattr").arg(word).arg(&log).status().unwrap().success();
    if !attribute("+i") {
        harness::require(false, "a file system with attributes");
        return;
    }
    let report = healthy.doctor();
    assert!(attribute("-i"));
    let told = |text: &&str| text.contains("active-responses.log") && text.contains("lsattr");
    assert!(report.problems().iter().any(told), "{}", report.ran.all());
}

#[test]
fn sections_that_would_not_do_what_they_should_are_found() {
    fn section(healthy: &Healthy, program: &str) -> String {
        let conf = String::from_utf8(healthy.stand_in.ossec_conf()).unwrap();
        let begin = conf.find(&format!("<!-- wazuh-toolkit: begin {program} ")).unwrap();
        let end = format!("<!-- wazuh-toolkit: end {program} -->\n");
        conf[begin..begin + conf[begin..].find(&end).unwrap() + end.len()].to_owned()
    }
    each_is_found(
        Healthy::agent,
        &[
            (
                "twice",
                |h| append(&h.stand_in.path("etc/ossec.conf"), section(h, "custom-block").as_bytes()),
                &["custom-block", "twice", "remove"],
            ),
            (
                "no end",
                |h| replace(h, "etc/ossec.conf", "<!-- wazuh-toolkit: end custom-audit -->\n", ""),
                &["custom-audit", "end"],
            ),
            (
                "of another version",
                |h| {
                    let old = crate::section(
                        "custom-audit",
                        "agent",
                        "<ossec_config>\n  <!-- once -->\n</ossec_config>\n",
                        false,
                    );
                    let new = section(h, "custom-audit");
                    replace(h, "etc/ossec.conf", &new, &old);
                },
                &["custom-audit", "version", "wazuh-toolkit enable custom-audit"],
            ),
            (
                "of the other role",
                |h| {
                    let _ = h.stand_in.run(&["enable", "custom-block", "--role", "manager"]).with_code(0);
                },
                &["custom-block", "manager", "agent", "wazuh-toolkit"],
            ),
        ],
    );
}

#[test]
fn a_wodle_that_would_not_be_heard_is_found() {
    const WODLE: &str = "<agent_config>\n  <wodle name=\"command\">\n    <disabled>no</disabled>\n    <tag>system-audit</tag>\n    \
                         <command>/usr/lib/wazuh-toolkit/custom-audit --wodle</command>\n    <interval>5m</interval>\n  </wodle>\n</agent_config>\n";
    each_is_found(
        Healthy::agent,
        &[
            (
                "the manager may not give commands",
                |h| {
                    let _ = h.stand_in.run(&["disable", "custom-audit"]).with_code(0);
                    h.stand_in.write("etc/shared/agent.conf", WODLE);
                },
                &["agent.conf", "wazuh_command.remote_commands=1", "local_internal_options.conf"],
            ),
            (
                "it is written as not allowed",
                |h| {
                    let _ = h.stand_in.run(&["disable", "custom-audit"]).with_code(0);
                    h.stand_in.write("etc/shared/agent.conf", WODLE);
                    append(
                        &h.stand_in.path("etc/local_internal_options.conf"),
                        b"# wazuh_command.remote_commands=1\nwazuh_command.remote_commands=0\nlogcollector.remote_commands=1\n",
                    );
                },
                &["agent.conf", "wazuh_command.remote_commands=1"],
            ),
            (
                "it comes from both",
                |h| {
                    h.stand_in.write("etc/shared/agent.conf", WODLE);
                    append(
                        &h.stand_in.path("etc/local_internal_options.conf"),
                        b"wazuh_command.remote_commands=1\n",
                    );
                },
                &["agent.conf", "twice"],
            ),
            (
                "a second one",
                |h| {
                    let other = WODLE.replace("agent_config", "ossec_config");
                    append(&h.stand_in.path("etc/ossec.conf"), other.as_bytes());
                },
                &["custom-audit", "2"],
            ),
            (
                "it is switched off",
                |h| inside_wodle(h, "<disabled>no</disabled>", "<disabled>yes</disabled>"),
                &["disabled"],
            ),
            (
                "nobody hears it",
                |h| inside_wodle(h, "<ignore_output>no", "<ignore_output>yes"),
                &["ignore_output"],
            ),
            (
                "it runs what is not there",
                |h| inside_wodle(h, "/programs/custom-audit", "/elsewhere/custom-audit"),
                &["/elsewhere/custom-audit", "not there"],
            ),
        ],
    );
    // And what is allowed is no problem.
    let Some(healthy) = Healthy::agent() else { return };
    let _ = healthy.stand_in.run(&["disable", "custom-audit"]).with_code(0);
    healthy.stand_in.write("etc/shared/agent.conf", WODLE);
    append(&healthy.stand_in.path("etc/local_internal_options.conf"), b"wazuh_command.remote_commands = 1\n");
    let report = healthy.doctor();
    assert!(!report.problems().iter().any(|text| text.contains("remote_commands")), "{}", report.ran.all());
}

/// Something in the section of custom-audit is written otherwise.
fn inside_wodle(healthy: &Healthy, old: &str, new: &str) {
    let conf = String::from_utf8(healthy.stand_in.ossec_conf()).unwrap();
    let (before, section) = conf.split_at(conf.find("<!-- wazuh-toolkit: begin custom-audit").unwrap());
    let edited = section.replace(old, new);
    assert_ne!(edited, section);
    healthy.stand_in.write("etc/ossec.conf", format!("{before}{edited}"));
}

#[test]
fn who_could_lock_themselves_out_is_warned_here_too() {
    let Some(healthy) = Healthy::agent() else { return };
    let mut command = healthy.stand_in.command(&["doctor"]);
    command.env("SSH_CONNECTION", "198.51.100.7 50000 192.0.2.1 22");
    let ran = harness::stand_in::Ran::of(command).with_code(1);
    assert!(ran.out.contains("198.51.100.7") && ran.out.contains("allowlist"), "{}", ran.all());
}
