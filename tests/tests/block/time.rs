//! How long a block lasts, and what ends it when Wazuh does not.

use std::time::Duration;

use harness::eventually;
use harness::execd::Answer;
use harness::kernel::Element;
use harness::line::Line;
use harness::network::ATTACKER;

use crate::{Host, Scene};

const TARGET: &str = "203.0.113.50";

fn lasts(block: &Element, seconds: u64) -> bool {
    block.timeout == Some(seconds) && block.expires.is_some_and(|left| left <= seconds && left + 10 > seconds)
}

#[test]
fn the_kernel_waits_longer_than_wazuh_whoever_says_how_long() {
    let Some(host) = Host::new() else { return };
    host.wazuh.ar_conf("a600 - custom-block - 600\nb60 - custom-block - 60\nc9000 - other - 9000\n");
    for (line, config, seconds) in [
        // The largest of ar.conf, and a margin of a minute or a tenth.
        (Line::four(), "", 660),
        (Line::four().extra_args(&["--ttl", "3600"]), "", 3960),
        (Line::four().extra_args(&["--ttl=1h"]), "", 3960),
        (Line::four().extra_args(&["--ttl", "900d"]), "max_ttl = \"100000s\"", 110_000),
        (Line::four().extra_args(&["--ttl", "0"]), "", 660),
        (Line::five(), "", 63),
        (Line::five().stateful_timeout(7200), "", 7920),
        // Not in ar.conf, as `!program` of the API: what is configured.
        (Line::four().program("firewall-drop"), "", 95_040),
        (Line::four().program("firewall-drop"), "ttl = \"2h\"", 7920),
        (Line::five().stateful_timeout(0), "", 660),
    ] {
        host.wazuh.configure(config);
        if line.program_name() == "firewall-drop"
            && !host.wazuh.home().join("active-response/bin/firewall-drop").exists()
        {
            host.wazuh.link("firewall-drop");
        }
        let mut execd = host.execd();
        assert_eq!(execd.request(&line, 600).code(), Some(0));
        let block = &host.blocks()[TARGET];
        assert!(lasts(block, seconds), "{}: {block:?}", String::from_utf8_lossy(line.bytes()));
        execd.stop();
        assert!(host.blocks().is_empty());
    }
}

#[test]
fn repeated_offenders_count_towards_the_time() {
    let Some(host) = Host::new() else { return };
    host.wazuh.ossec_conf(
        "<ossec_config><active-response><disabled>no</disabled>\
         <repeated_offenders>10,100,50</repeated_offenders></active-response></ossec_config>",
    );
    host.execd().request(&Line::four(), 600);
    assert!(lasts(&host.blocks()[TARGET], 6600), "{:?}", host.blocks());
}

#[test]
fn a_block_without_a_timeout_of_wazuh_ends_all_the_same() {
    let Some(host) = Host::new() else { return };
    host.wazuh.ar_conf("custom-block0 - custom-block - 0\n");
    let mut execd = host.execd();
    for _ in 0..2 {
        assert_eq!(execd.request(&Line::four(), 0).answer, Some(Answer::Continue));
    }
    assert!(lasts(&host.blocks()[TARGET], 95_040));
}

#[test]
fn the_kernel_lifts_a_block_by_itself_when_wazuh_is_gone() {
    let Some(scene) = Scene::direct() else { return };
    let mut execd = scene.execd();
    execd.request(&Line::four(), 600);
    execd.crash();
    assert!(scene.is_refused(ATTACKER));
    // The same element with little time left: a minute is too long for a test.
    scene.site.guard().command(
        "nft",
        &["delete element inet wazuh_block hosts4 { 203.0.113.50 }
           add element inet wazuh_block hosts4 { 203.0.113.50 timeout 3s }"],
    );
    assert!(scene.is_refused(ATTACKER));
    assert!(eventually(Duration::from_secs(15), || scene.blocks().is_empty()));
    assert!(scene.connects(ATTACKER));
    // And the verbs say what the kernel says.
    assert!(crate::listed(&scene.wazuh, scene.site.guard()).is_empty());
}

#[test]
fn an_abort_gives_the_full_time_again() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    execd.request(&Line::four(), 600);
    host.namespace.command(
        "nft",
        &["delete element inet wazuh_block hosts4 { 203.0.113.50 }
           add element inet wazuh_block hosts4 { 203.0.113.50 timeout 660s expires 30s }"],
    );
    assert!(host.blocks()[TARGET].expires <= Some(30));
    let run = execd.request(&Line::four().id("1.1"), 600);
    assert_eq!((run.answer, run.code()), (Some(Answer::Abort), Some(0)));
    assert!(lasts(&host.blocks()[TARGET], 660), "{:?}", host.blocks());
    assert_eq!(host.wazuh.records().last().unwrap().command(), "extended");
}

#[test]
fn an_abort_of_a_block_that_is_missing_puts_it_back() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    execd.request(&Line::four(), 600);
    host.namespace.command("nft", &["delete element inet wazuh_block hosts4 { 203.0.113.50 }"]);
    assert_eq!(execd.request(&Line::four().id("1.1"), 600).answer, Some(Answer::Abort));
    assert!(lasts(&host.blocks()[TARGET], 660));
}

#[test]
fn repeat_offenders_are_blocked_for_longer_and_stay_so() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("[escalation]\nfactors = [1, 10]\ndecay = \"1d\"\n");
    let mut execd = host.execd();
    execd.request(&Line::four(), 600);
    assert!(lasts(&host.blocks()[TARGET], 660));
    execd.stop();
    assert!(host.blocks().is_empty());
    execd.request(&Line::four().id("1.1"), 600);
    assert!(lasts(&host.blocks()[TARGET], 6600), "{:?}", host.blocks());
    execd.stop();
    assert!(lasts(&host.blocks()[TARGET], 6600));
    assert_eq!(host.wazuh.records().last().unwrap().command(), "held");
}

#[test]
fn a_held_block_ignores_a_delete_that_comes_too_early_and_obeys_a_punctual_one() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("hold = true\n");
    let mut execd = host.execd();
    execd.request(&Line::four(), 600);
    assert_eq!(execd.stop()[0].code(), Some(0));
    assert_eq!(host.wazuh.records().last().unwrap().command(), "held");
    assert_eq!(host.targets(), [TARGET]);
    // Its time is nearly over: execd is late by a second or two, never early by five.
    execd.request(&Line::add("198.51.100.7").extra_args(&["--ttl", "3"]), 3);
    execd.stop();
    assert_eq!(host.wazuh.records().last().unwrap().command(), "delete");
    assert_eq!(host.targets(), [TARGET]);
}
