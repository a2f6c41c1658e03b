//! Who may lift a block, and how a delete finds it.

use harness::execd::Answer;
use harness::line::Line;

use crate::Host;

const TARGET: &str = "203.0.113.50";

#[test]
fn a_delete_finds_its_block_by_the_first_alert_whatever_is_configured_since() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("ip_fields = [\"data.other\"]\n");
    let mut execd = host.execd();
    let line = Line::four()
        .replace("\"data\":{\"srcip\":\"203.0.113.50\",", "\"data\":{\"other\":\"198.51.100.7\",");
    assert_eq!(execd.request(&line, 600).keys().unwrap(), ["198.51.100.7"]);
    // A repeat has another id; execd keeps the alert of the first.
    assert_eq!(execd.request(&line.clone().id("1.1"), 600).answer, Some(Answer::Abort));
    host.wazuh.configure("ip_fields = []\n");
    execd.stop();
    assert!(host.blocks().is_empty());
    assert_eq!(host.wazuh.records().last().unwrap().command(), "delete");

    // Also when the alert names another address by now.
    host.wazuh.configure("ip_fields = [\"/data/other\"]\n");
    execd.request(&line.id("1.2"), 600);
    execd.request(&Line::four().id("1.3"), 600);
    host.wazuh.configure("");
    assert_eq!(host.targets(), ["198.51.100.7", TARGET]);
    execd.stop();
    assert!(host.blocks().is_empty());
}

#[test]
fn a_delete_of_what_is_not_known_lifts_it_by_address() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    execd.request(&Line::four(), 600);
    std::fs::remove_dir_all(host.wazuh.state_dir().join("custom-block")).unwrap();
    execd.stop();
    assert!(host.blocks().is_empty());
    // What is not blocked is lifted: that is no failure.
    execd.request(&Line::four(), 600);
    host.namespace.command("nft", &["flush", "ruleset"]);
    assert_eq!(execd.stop()[0].code(), Some(0));
    assert_eq!(host.wazuh.records().last().unwrap().command(), "delete");
}

#[test]
fn a_block_of_two_programs_is_lifted_when_the_last_lets_go() {
    let Some(host) = Host::new() else { return };
    host.wazuh.link("firewall-drop");
    for first in ["custom-block", "firewall-drop"] {
        let second = if first == "custom-block" { "firewall-drop" } else { "custom-block" };
        let (mut one, mut other) = (host.execd(), host.execd());
        one.request(&Line::four().program(first), 600);
        other.request(&Line::four().program(second).id("1.1"), 600);
        one.stop();
        assert_eq!(host.targets(), [TARGET], "{second} still wants it");
        assert_eq!(host.wazuh.records().last().unwrap().command(), "held");
        other.stop();
        assert!(host.blocks().is_empty());
        let records = host.wazuh.records();
        let last = records.last().unwrap();
        assert_eq!((last.command(), last.program.as_str()), ("delete", second));
    }
}

#[test]
fn wazuh_does_not_lift_what_an_administrator_blocked() {
    let Some(host) = Host::new() else { return };
    for manual_first in [true, false] {
        let mut execd = host.execd();
        if manual_first {
            assert!(host.wazuh.verb(&host.namespace, &["add", TARGET, "--ttl", "1d"]).status.success());
        }
        execd.request(&Line::four(), 600);
        if !manual_first {
            assert!(host.wazuh.verb(&host.namespace, &["add", TARGET, "--ttl", "1d"]).status.success());
        }
        execd.stop();
        assert_eq!(host.targets(), [TARGET]);
        assert!(host.blocks()[TARGET].timeout > Some(80_000), "{:?}", host.blocks());
        assert!(host.wazuh.verb(&host.namespace, &["remove", TARGET]).status.success());
        assert!(host.blocks().is_empty());
    }
}

#[test]
fn a_clean_stop_of_wazuh_lifts_all_that_it_blocked() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    let addresses: Vec<String> = (1..=100).map(|last| format!("198.51.100.{last}")).collect();
    for address in &addresses {
        execd.request(&Line::add(address), 600);
    }
    assert_eq!(host.blocks().len(), 100);
    assert!(execd.stop().iter().all(|run| run.code() == Some(0)));
    assert!(host.blocks().is_empty());
}

#[test]
fn the_next_generation_of_wazuh_is_obeyed_alike() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    let run = execd.request(&Line::five(), 3);
    assert_eq!((run.answer, run.keys().unwrap().len(), run.code()), (Some(Answer::Continue), 1, Some(0)));
    assert_eq!(host.targets(), [TARGET]);
    assert_eq!(execd.request(&Line::five(), 3).answer, Some(Answer::Abort));
    execd.pass(4);
    assert_eq!(execd.tick().len(), 1);
    assert!(host.blocks().is_empty());
    let commands: Vec<String> =
        host.wazuh.records().iter().map(|record| record.command().to_owned()).collect();
    assert_eq!(commands, ["add", "extended", "delete"]);
}

#[test]
fn under_the_name_of_a_stock_program_it_is_that_program_to_wazuh() {
    let Some(host) = Host::new() else { return };
    host.wazuh.link("firewall-drop");
    let mut execd = host.execd().own_session();
    let run = execd.request(&Line::four().program("firewall-drop"), 600);
    let said: serde_json::Value = serde_json::from_slice(&run.said).unwrap();
    assert_eq!(said["origin"]["name"], "firewall-drop");
    assert_eq!(execd.listed(), ["firewall-drop-203.0.113.50"]);
    execd.stop();
    let records = host.wazuh.records();
    assert_eq!(records.iter().map(|record| record.stock_rule()).collect::<Vec<_>>(), [651, 652]);
}
