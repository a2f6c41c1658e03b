//! Others change the firewall too; and many runs come at once.

use std::time::Duration;

use harness::eventually;
use harness::execd::{Stdout, Then};
use harness::kernel;
use harness::line::Line;
use harness::network::{ATTACKER, BYSTANDER, NEIGHBOUR, Namespace};
use harness::traffic::PATIENCE;

use crate::{Host, Scene};

const SOON: Duration = Duration::from_secs(8);

#[test]
fn a_flushed_ruleset_heals_at_the_next_add_or_abort_and_the_others_follow() {
    let Some(scene) = Scene::direct() else { return };
    // The healing alert is of a new address, or of one that execd has listed.
    for healer in ["203.0.113.51", "203.0.113.50"] {
        for flush in ["flush ruleset", "delete table inet wazuh_block"] {
            let mut execd = scene.execd();
            execd.request(&Line::four(), 600);
            execd.request(&Line::add("198.51.100.7"), 600);
            execd.request(&Line::add("198.51.100.128/25"), 600);
            assert!(scene.wazuh.is_quiet(SOON));
            scene.site.server.command("nft", &[flush]);
            assert!(scene.connects(ATTACKER));
            execd.request(&Line::add(healer).id("1.1"), 600);
            // Asked of the kernel at once: the packets that follow give the worker time.
            assert!(scene.blocks().contains_key(healer), "{healer} is not blocked at once");
            assert!(scene.is_refused(healer.parse().unwrap()));
            let expected = if healer == "203.0.113.50" { 3 } else { 4 };
            assert!(eventually(SOON, || scene.blocks().len() == expected), "{flush}: {:?}", scene.blocks());
            for attacker in [ATTACKER, BYSTANDER, "198.51.100.200".parse().unwrap()] {
                assert!(scene.is_refused(attacker), "{flush}: {attacker}");
            }
            for block in scene.blocks().values() {
                assert!(block.timeout.is_some_and(|timeout| (600..=660).contains(&timeout)), "{block:?}");
            }
            execd.stop();
            assert!(eventually(SOON, || scene.blocks().is_empty()));
        }
    }
}

#[test]
fn what_is_lifted_while_others_are_put_back_stays_lifted() {
    let Some(host) = Host::new() else { return };
    for _ in 0..5 {
        let mut execd = host.execd();
        for last in 1..=100 {
            execd.request(&Line::add(&format!("198.51.100.{last}")), 600);
        }
        host.namespace.command("nft", &["flush", "ruleset"]);
        // Starts the worker that puts the others back, while Wazuh stops.
        execd.request(&Line::four(), 600);
        assert!(execd.stop().iter().all(|run| run.code() == Some(0)));
        assert!(host.wazuh.is_quiet(SOON), "a worker does not end");
        assert!(host.blocks().is_empty(), "{} are back although Wazuh lifted them", host.blocks().len());
    }
}

#[test]
fn flushed_rules_heal_although_the_sets_still_stand() {
    let Some(scene) = Scene::direct() else { return };
    let mut execd = scene.execd();
    execd.request(&Line::four(), 600);
    execd.request(&Line::add("198.51.100.0/24"), 600);
    for round in ["1.1", "1.2"] {
        // A worker would mend it.
        assert!(scene.wazuh.is_quiet(PATIENCE));
        scene.site.server.command("nft", &["flush chain inet wazuh_block incoming"]);
        assert!(scene.connects(ATTACKER) && scene.connects(BYSTANDER));
        execd.request(&Line::four().id(round), 600);
        assert!(scene.is_refused(ATTACKER) && scene.is_refused(BYSTANDER));
        assert!(scene.connects(NEIGHBOUR));
        assert_eq!(kernel::nftables_rules(&scene.site.server)["incoming"].len(), 2);
    }
}

/// Two hundred at once wait for each other at the kernel, longer than the five
/// seconds that one has.
const AT_LENGTH: &str = "deadline = \"60s\"\n";

/// As many runs at the same time as there are lines.
fn all_at_once(host: &Host, lines: &[Line]) {
    std::thread::scope(|scope| {
        let runs: Vec<_> = lines
            .iter()
            .map(|line| {
                // Each with a watchdog of its own: they overlap.
                let execd = host.execd().limit(Duration::from_secs(120));
                scope.spawn(move || {
                    execd.feed("custom-block", &[line.bytes(), b"\n"].concat(), Then::Close, Stdout::Read)
                })
            })
            .collect();
        let failed = runs.into_iter().map(|run| run.join().unwrap());
        let failed = failed.filter(|run| run.code() != Some(0)).count();
        let told: Vec<String> = host.wazuh.records().iter().map(|record| record.text.clone()).collect();
        let told: Vec<&String> = told.iter().filter(|text| text.contains("failed")).collect();
        assert_eq!((failed, told), (0, vec![]));
    });
}

#[test]
fn two_hundred_first_blocks_at_once_are_two_hundred_blocks() {
    for _ in 0..3 {
        let Some(host) = Host::new() else { return };
        host.wazuh.configure(AT_LENGTH);
        let lines: Vec<Line> = (0..200)
            .map(|n| match n % 4 {
                0 => Line::add(&format!("2001:db8:{n:x}::1")),
                1 => Line::add(&format!("198.51.{n}.0/24")),
                _ => Line::add(&format!("198.51.{n}.7")),
            })
            .collect();
        all_at_once(&host, &lines);
        assert_eq!(host.blocks().len(), 200);
        let rules = kernel::nftables_rules(&host.namespace);
        assert_eq!(rules["incoming"].len(), 3, "one rule a set: {rules:?}");
        assert_eq!(host.wazuh.records().iter().filter(|record| record.command() == "add").count(), 200);
        assert_eq!(host.listed(), host.targets());
    }
}

#[test]
fn two_hundred_blocks_during_a_compaction_are_not_lost() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure(AT_LENGTH);
    host.execd().request(&Line::four(), 600);
    // A journal that is worth compacting: what was written, many times over.
    let journal = host.wazuh.state_dir().join("custom-block/blocks.jsonl");
    let line = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, line.repeat(8000)).unwrap();
    let before = std::fs::metadata(&journal).unwrap().len();
    let lines: Vec<Line> = (0..200).map(|n| Line::add(&format!("198.51.{n}.7"))).collect();
    std::thread::scope(|scope| {
        let verbs = scope.spawn(|| (0..20).for_each(|_| drop(host.listed())));
        all_at_once(&host, &lines);
        verbs.join().unwrap();
    });
    assert!(eventually(SOON, || {
        host.listed();
        std::fs::metadata(&journal).unwrap().len() < before / 4
    }));
    assert_eq!(host.blocks().len(), 201);
    assert_eq!(host.listed(), host.targets());
    // What the journal knows is what comes back after a reboot.
    let rebooted = Namespace::new();
    assert!(host.wazuh.verb(&rebooted, &["restore"]).status.success());
    assert_eq!(kernel::nftables(&rebooted).len(), 201);
}

#[test]
fn after_a_reboot_what_has_not_expired_comes_back_with_the_time_that_is_left() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    for target in ["203.0.113.50", "198.51.100.0/24", "2001:db8:bad::50"] {
        execd.request(&Line::add(target), 600);
    }
    execd.request(&Line::add("198.51.100.7").extra_args(&["--ttl", "1"]), 600);
    execd.request(&Line::add("198.51.101.7"), 600);
    // This one was lifted before.
    let mut lifted = host.execd();
    lifted.request(&Line::add("198.51.102.7"), 600);
    lifted.stop();
    std::thread::sleep(Duration::from_secs(2));
    let rebooted = Namespace::new();
    assert!(host.wazuh.verb(&rebooted, &["restore"]).status.success());
    let blocks = kernel::nftables(&rebooted);
    let targets: Vec<&String> = blocks.keys().collect();
    assert_eq!(targets, ["198.51.100.0/24", "198.51.101.7", "2001:db8:bad::50", "203.0.113.50"]);
    for block in blocks.values() {
        assert!(block.timeout.is_some_and(|timeout| (640..660).contains(&timeout)), "{block:?}");
    }
    assert_eq!(kernel::nftables_rules(&rebooted)["incoming"].len(), 3);
}
