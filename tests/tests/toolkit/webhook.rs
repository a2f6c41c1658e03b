//! custom-webhook, as wazuh-toolkit knows it: the file that Wazuh follows is the
//! one that it writes, and what keeps events from coming is found.

use std::path::Path;

use harness::stand_in::{StandIn, executable, mode};

use crate::healthy::{Healthy, Report, each_is_found};
use crate::{agent, changed, inside, ready, says};

const USUAL: &str = "/var/log/wazuh-toolkit/custom-webhook/events.json";

/// Where Wazuh is told that the lines are.
fn location(stand_in: &StandIn) -> String {
    let section = inside(&stand_in.ossec_conf(), "custom-webhook").unwrap();
    let (_, rest) = section.split_once("<location>").unwrap();
    rest.split_once("</location>").unwrap().0.to_owned()
}

fn configure(stand_in: &StandIn, text: &str) {
    let path = stand_in.config_dir().join("custom-webhook.toml");
    std::fs::write(&path, text).unwrap();
    mode(&path, 0o644);
}

#[test]
fn the_section_follows_the_file_that_is_configured() {
    let Some(stand_in) = agent() else { return };
    let old = stand_in.ossec_conf();
    let _ = stand_in.run(&["enable", "custom-webhook"]).with_code(0);
    assert_eq!(location(&stand_in), USUAL);
    // A configuration that says nothing of it changes nothing.
    configure(&stand_in, "listen = \"127.0.0.1:1\"\n");
    assert!(!changed(&stand_in.run(&["enable", "custom-webhook", "--json"]).with_code(0)));
    configure(&stand_in, "output = \"/srv/a-b/c_d.json\"\n[github]\n");
    says(&stand_in.run(&["status"]).with_code(0), &["older"]);
    assert!(changed(&stand_in.run(&["enable", "custom-webhook", "--json"]).with_code(0)));
    assert_eq!(location(&stand_in), "/srv/a-b/c_d.json");
    let _ = stand_in.run(&["disable", "custom-webhook"]).with_code(0);
    assert_eq!(stand_in.ossec_conf(), old);
}

#[test]
fn a_file_whose_name_wazuh_would_not_take_as_it_is_is_refused() {
    let Some(stand_in) = agent() else { return };
    let old = stand_in.ossec_conf();
    for (output, words) in [
        ("output = \"/srv/*.json\"\n", ["output", "characters"]),
        ("output = \"/srv/</location>\"\n", ["output", "characters"]),
        ("output = \"/srv/%Y.json\"\n", ["output", "characters"]),
        ("output = \"events.json\"\n", ["output", "characters"]),
        ("output = \n", ["custom-webhook.toml", ":1:"]),
    ] {
        configure(&stand_in, output);
        says(&stand_in.run(&["enable", "custom-webhook"]).with_code(1), &words);
        assert_eq!(stand_in.ossec_conf(), old, "{output}");
        // It is nobody else's trouble, and what is there can be taken away.
        let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
        let _ = stand_in.run(&["disable", "--all"]).with_code(0);
    }
}

#[test]
fn a_file_that_is_followed_already_is_not_followed_twice() {
    let Some(stand_in) = agent() else { return };
    let follows = |path: &str| {
        format!(
            "<ossec_config>\n  <localfile>\n    <log_format>json</log_format>\n    <location>{path}</location>\n  </localfile>\n</ossec_config>\n"
        )
    };
    stand_in.write("etc/ossec.conf", follows(USUAL));
    says(&stand_in.run(&["enable", "custom-webhook"]).with_code(3), &[USUAL, "twice"]);
    let _ = stand_in.run(&["enable", "custom-webhook", "--force"]).with_code(0);
    let _ = stand_in.run(&["disable", "custom-webhook"]).with_code(0);
    assert_eq!(stand_in.ossec_conf(), follows(USUAL).as_bytes());
    stand_in.write("etc/ossec.conf", follows("/var/log/other.json"));
    let _ = stand_in.run(&["enable", "custom-webhook"]).with_code(0);
}

#[test]
fn without_a_source_it_is_said_what_comes_next() {
    let Some(stand_in) = agent() else { return };
    let next = ["no source", "custom-webhook.toml", "systemctl enable --now custom-webhook"];
    says(&stand_in.run(&["enable", "custom-webhook"]).with_code(0), &next);
    let report = Report::of(&stand_in);
    let told =
        |text: &&str| text.starts_with("custom-webhook: ") && next.iter().all(|word| text.contains(word));
    assert!(report.problems().iter().any(told), "{}", report.ran.all());
    configure(&stand_in, "[[generic]]\nname = \"x\"\n");
    let ran = stand_in.run(&["enable", "custom-webhook"]).with_code(0);
    assert!(!ran.all().contains("no source"), "{}", ran.all());
}

#[test]
fn a_host_that_has_no_use_for_it_hears_nothing_of_it() {
    let Some(healthy) = Healthy::agent() else { return };
    // As it is shipped: without a source.
    let shipped = harness::program::source_tree().join("packaging/config/custom-webhook.toml");
    std::fs::copy(shipped, healthy.config()).unwrap();
    let report = healthy.doctor();
    assert_eq!(report.ran.code, Some(0), "{}", report.ran.all());
    assert!(!report.remarks().iter().any(|text| text.contains("webhook")), "{}", report.ran.all());
    // Nor where the program is not there at all.
    std::fs::remove_file(healthy.stand_in.program_dir().join("custom-webhook")).unwrap();
    let report = healthy.doctor();
    assert!(report.ran.code == Some(0) && !report.ran.out.contains("webhook"), "{}", report.ran.all());
}

#[test]
fn one_that_runs_and_is_followed_is_found_to_be_well() {
    let Some(healthy) = Healthy::receiver() else { return };
    let report = healthy.doctor();
    assert_eq!(report.ran.code, Some(0), "{}", report.ran.all());
    for word in ["and is ready", "it follows the output", "github at /webhook/github"] {
        assert!(report.ran.out.contains(word), "{word}: {}", report.ran.all());
    }
    // What it is given to know is told to nobody.
    for secret in harness::webhook::SECRETS {
        assert!(!report.ran.all().contains(secret));
    }
    // Also one that is configured and not followed yet is looked at.
    let _ = healthy.stand_in.run(&["disable", "custom-webhook"]).with_code(0);
    let report = healthy.doctor();
    let told = report.problems().iter().any(|text| text.contains("wazuh-toolkit enable custom-webhook"));
    assert!(told && report.ran.code == Some(1), "{}", report.ran.all());
}

#[test]
fn what_keeps_events_from_coming_is_found() {
    if !ready() {
        return;
    }
    each_is_found(
        Healthy::receiver,
        &[
            (
                "the program is gone",
                |h| std::fs::remove_file(h.stand_in.program_dir().join("custom-webhook")).unwrap(),
                &["custom-webhook", "not there", "install"],
            ),
            (
                "another version",
                |h| {
                    let path = h.stand_in.program_dir().join("custom-webhook");
                    executable(&path, b"#!/bin/sh\necho custom-webhook 99.7.3\n");
                },
                &["custom-webhook", "99.7.3", "install"],
            ),
            (
                "it finds nothing to say",
                |h| {
                    let path = h.stand_in.program_dir().join("custom-webhook");
                    executable(&path, b"#!/bin/sh\nexit 7\n");
                },
                &["custom-webhook doctor", "no findings", "7"],
            ),
            (
                "no source",
                |h| std::fs::write(h.config(), "keep = 3\n").unwrap(),
                &["custom-webhook", "no source", "systemctl enable --now"],
            ),
            (
                "a key that nobody knows",
                |h| h.configure(|text| format!("lisen = 1\n{text}")),
                &["custom-webhook", "configuration", "custom-webhook.toml:1", "lisen"],
            ),
            (
                "no TOML",
                |h| std::fs::write(h.config(), "[github\n").unwrap(),
                &["custom-webhook", "configuration", "custom-webhook.toml:1"],
            ),
            (
                "others can write it",
                |h| mode(&h.config(), 0o666),
                &["custom-webhook", "configuration", "custom-webhook.toml"],
            ),
            (
                "a secret that is gone",
                |h| std::fs::remove_file(h.receiver.as_ref().unwrap().dir().join("secret/github")).unwrap(),
                &["custom-webhook", "source", "secret/github"],
            ),
            (
                "a secret that others can read",
                |h| mode(&h.receiver.as_ref().unwrap().dir().join("secret/github"), 0o644),
                &["custom-webhook", "source", "secret/github", "chmod 600"],
            ),
            (
                "it does not run",
                |h| h.daemon = None,
                &["custom-webhook", "nobody listens", "systemctl start custom-webhook"],
            ),
            (
                "its folder is gone",
                |h| h.configure(|text| text.replace("/log/events.json", "/logs/events.json")),
                &["custom-webhook", "output", "/logs/events.json", "not there"],
            ),
            (
                "everybody may write in its folder",
                |h| mode(h.receiver.as_ref().unwrap().output().path().parent().unwrap(), 0o777),
                &["custom-webhook", "output", "chmod o-w"],
            ),
            (
                "it writes elsewhere since",
                |h| h.configure(|text| text.replace("/log/events.json", "/log/others.json")),
                &["custom-webhook", "wazuh", "/log/others.json", "wazuh-toolkit enable custom-webhook"],
            ),
            (
                "the section is of the file before",
                |h| h.configure(|text| text.replace("/log/events.json", "/log/others.json")),
                &["custom-webhook", "another version or place", "wazuh-toolkit enable custom-webhook"],
            ),
            (
                "followed as another kind",
                |h| {
                    let conf = String::from_utf8(h.stand_in.ossec_conf()).unwrap();
                    let (before, section) = conf.split_once("begin custom-webhook").unwrap();
                    let section = section.replacen(">json<", ">syslog<", 1);
                    h.stand_in.write("etc/ossec.conf", format!("{before}begin custom-webhook{section}"));
                },
                &["custom-webhook", "wazuh", "log_format must be json"],
            ),
            (
                "its section is for a manager",
                |h| {
                    let _ = h.stand_in.run(&["disable", "custom-webhook"]).with_code(0);
                    let _ = h.stand_in.run(&["enable", "custom-webhook", "--role", "manager"]).with_code(0);
                },
                &["custom-webhook", "manager", "wazuh-toolkit disable custom-webhook"],
            ),
        ],
    );
}

#[test]
fn a_selftest_beside_one_that_runs_does_not_touch_it() {
    let Some(healthy) = Healthy::receiver() else { return };
    let receiver = healthy.receiver.as_ref().unwrap();
    let daemon = healthy.daemon.as_ref().unwrap();
    // That it has started is an event, too.
    daemon.drained();
    let seen = || (std::fs::read(receiver.output().path()).unwrap(), daemon.metric("commits_total"));
    let before = seen();
    let ran = healthy.stand_in.run(&["selftest"]);
    assert!(ran.out.contains("took an event, wrote it and ended"), "{}", ran.all());
    assert_eq!(seen(), before);
    assert!(!Path::new(USUAL).exists() || !std::fs::read_to_string(USUAL).unwrap().contains("selftest"));
}
