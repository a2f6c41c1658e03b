//! The other local backends, by packets and by what the kernel has.

use std::net::IpAddr;
use std::time::Duration;

use harness::eventually;
use harness::kernel;
use harness::line::Line;
use harness::network::{ATTACKER, ATTACKER6, BYSTANDER, NEIGHBOUR, NEIGHBOUR6};
use harness::traffic::PATIENCE;

use crate::{Host, Scene, ready};

/// As [`Scene`]s go: blocked, then lifted; the neighbour is not touched.
fn stops_and_flows_again(scene: &Scene, attacker: IpAddr, neighbour: IpAddr, established_too: bool) {
    let mut execd = scene.execd();
    let mut established = scene.open(attacker);
    let run = execd.request(&Line::add(&attacker.to_string()), 600);
    assert_eq!(run.code(), Some(0));
    assert_eq!(scene.wazuh.records().last().unwrap().command(), "add");
    assert!(scene.is_refused(attacker) && !scene.datagram_returns(attacker));
    assert!(scene.connects(neighbour));
    assert!(!established_too || established.is_stopped());
    // Twice the same: still one block, one rule.
    execd.request(&Line::add(&attacker.to_string()), 600);
    execd.stop();
    assert!(scene.connects(attacker) && eventually(PATIENCE, || scene.datagram_returns(attacker)));
    assert!(established.flows());
}

#[test]
fn ipset_stops_traffic_to_the_host_and_forwarded_traffic() {
    if !ready(&["ipset", "iptables"]) {
        return;
    }
    for scene in [Scene::direct(), Scene::routed()].into_iter().flatten() {
        scene.wazuh.configure("backends = [\"ipset\"]\n");
        stops_and_flows_again(&scene, ATTACKER, NEIGHBOUR, true);
        stops_and_flows_again(&scene, ATTACKER6, NEIGHBOUR6, true);
        assert!(scene.blocks().is_empty(), "nftables was asked as well");
    }
}

#[test]
fn ipset_has_one_rule_a_family_and_lets_each_entry_lapse() {
    if !ready(&["ipset", "iptables"]) {
        return;
    }
    let Some(scene) = Scene::direct() else { return };
    scene.wazuh.configure("backends = [\"ipset\"]\n");
    let mut execd = scene.execd();
    for target in
        ["203.0.113.50", "203.0.113.51", "198.51.100.0/24", "2001:db8:bad::50", "2001:db8:bad:1::/64"]
    {
        execd.request(&Line::add(target), 600);
    }
    let blocks = kernel::ipset(scene.site.guard());
    assert_eq!(blocks.len(), 5);
    for (target, block) in &blocks {
        assert!(block.expires.is_some_and(|left| (650..=660).contains(&left)), "{target}: {block:?}");
    }
    for ipv6 in [false, true] {
        let rules = kernel::iptables(scene.site.guard(), ipv6, "raw");
        let mut prerouting = rules.iter().filter(|rule| rule.starts_with("-A PREROUTING"));
        assert!(prerouting.next().unwrap().contains("--match-set wazuh_block"), "not the first: {rules:?}");
        assert_eq!(prerouting.count(), 0);
    }
    assert!(scene.is_refused(BYSTANDER));
    // Somebody flushes the rules, or destroys the sets too: the next run heals.
    // A worker that is still at it would do so, too.
    assert!(scene.wazuh.is_quiet(PATIENCE));
    scene.site.guard().command("iptables", &["-w", "-t", "raw", "-F"]);
    assert!(scene.connects(ATTACKER));
    execd.request(&Line::add("203.0.113.50").id("1.1"), 600);
    assert!(scene.is_refused(ATTACKER));
    assert!(scene.wazuh.is_quiet(PATIENCE));
    scene.site.guard().command("iptables", &["-w", "-t", "raw", "-F"]);
    scene.site.guard().command("ipset", &["destroy", "wazuh_block4"]);
    execd.request(&Line::add("203.0.113.50").id("1.2"), 600);
    assert!(scene.is_refused(ATTACKER));
    let healed = || kernel::ipset(scene.site.guard()).len() == 5;
    assert!(eventually(Duration::from_secs(5), healed), "the others are not put back");
    execd.stop();
    assert!(kernel::ipset(scene.site.guard()).is_empty());
}

#[test]
fn iptables_stops_traffic_to_the_host_and_forwarded_traffic() {
    if !ready(&["iptables"]) {
        return;
    }
    for scene in [Scene::direct(), Scene::routed()].into_iter().flatten() {
        scene.wazuh.configure("backends = [\"iptables\"]\n");
        for (attacker, neighbour) in [(ATTACKER, NEIGHBOUR), (ATTACKER6, NEIGHBOUR6)] {
            stops_and_flows_again(&scene, attacker, neighbour, true);
        }
    }
}

#[test]
fn iptables_has_one_rule_an_address_and_hooks_its_chain_once() {
    if !ready(&["iptables"]) {
        return;
    }
    let Some(scene) = Scene::direct() else { return };
    scene.wazuh.configure("backends = [\"iptables\"]\n");
    // Whatever the administrator has, ours comes first.
    scene.site.guard().command("iptables", &["-w", "-A", "INPUT", "-j", "ACCEPT"]);
    let mut execd = scene.execd();
    for _ in 0..3 {
        for target in ["203.0.113.50", "198.51.100.0/24", "2001:db8:bad::50"] {
            execd.request(&Line::add(target), 600);
        }
    }
    let mut sources = kernel::iptables_sources(scene.site.guard(), false);
    sources.sort();
    assert_eq!(sources, ["198.51.100.0/24", "203.0.113.50"]);
    assert_eq!(kernel::iptables_sources(scene.site.guard(), true), ["2001:db8:bad::50"]);
    let rules = kernel::iptables(scene.site.guard(), false, "filter");
    for chain in ["INPUT", "FORWARD"] {
        let hooks: Vec<&String> =
            rules.iter().filter(|rule| rule.starts_with(&format!("-A {chain} "))).collect();
        assert!(hooks[0].ends_with("-j WAZUH_BLOCK"), "{rules:?}");
        assert_eq!(hooks.iter().filter(|rule| rule.contains("WAZUH_BLOCK")).count(), 1);
    }
    // Somebody flushes: the next run heals.
    assert!(scene.wazuh.is_quiet(PATIENCE));
    scene.site.guard().command("iptables", &["-w", "-F"]);
    assert!(scene.connects(ATTACKER));
    execd.request(&Line::add("203.0.113.50"), 600);
    assert!(scene.is_refused(ATTACKER));
    execd.stop();
    assert!(kernel::iptables_sources(scene.site.guard(), false).is_empty());
}

#[test]
fn an_iptables_that_waits_for_ever_is_killed_and_reaped_at_the_deadline() {
    if !ready(&["iptables", "unshare"]) {
        return;
    }
    let Some(scene) = Scene::direct() else { return };
    scene.wazuh.configure("backends = [\"iptables\"]\ndeadline = \"1s\"\n");
    // Stands in for one that waits for its lock; the odd number finds it again.
    let hanging = scene.wazuh.scratch().join("iptables");
    let odd = format!("71.{}", std::process::id());
    std::fs::write(&hanging, format!("#!/bin/sh\nsleep {odd}\n")).unwrap();
    std::fs::set_permissions(&hanging, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut execd = scene.execd();
    let script =
        "mount --bind \"$0\" \"$(PATH=$PATH:/usr/sbin:/sbin; readlink -f \"$(command -v iptables)\")\"
                  exec \"$1\"";
    execd.launcher(["unshare", "-m", "sh", "-c", script, hanging.to_str().unwrap()]);
    let run = execd.request(&Line::four(), 600);
    assert_eq!((run.code(), run.outstayed), (Some(1), false));
    assert!(run.wall < Duration::from_secs(4), "{:?}", run.wall);
    assert_eq!(scene.wazuh.records().last().unwrap().command(), "failed");
    assert!(eventually(PATIENCE, || !is_running(&odd)), "a child outlived the run");
}

/// True when a process has this word on its command line.
fn is_running(word: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|argument| argument == word.as_bytes())
    })
}

#[test]
fn several_backends_block_and_lift_together() {
    if !ready(&["ipset", "iptables"]) {
        return;
    }
    let Some(scene) = Scene::direct() else { return };
    scene.wazuh.configure("backends = [\"nftables\", \"ipset\", \"iptables\"]\n");
    let mut execd = scene.execd();
    execd.request(&Line::four(), 600);
    let guard = scene.site.guard();
    let all = |wanted: usize| {
        (
            kernel::nftables(guard).len(),
            kernel::ipset(guard).len(),
            kernel::iptables_sources(guard, false).len(),
        ) == (wanted, wanted, wanted)
    };
    assert!(all(1));
    // What the configuration says now does not matter to the delete.
    scene.wazuh.configure("backends = [\"nftables\"]\n");
    execd.stop();
    assert!(all(0));
}

#[test]
fn a_blocklist_file_holds_what_is_blocked_and_is_replaced_as_a_whole() {
    let Some(host) = Host::new() else { return };
    let list = host.wazuh.scratch().join("blocklist");
    host.wazuh.configure(&format!("backends = [\"nftables\", \"file\"]\n[file]\npath = {list:?}\n"));
    let lines = || {
        let text = std::fs::read_to_string(&list).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let mut execd = host.execd();
    let targets = ["198.51.100.0/24", "2001:db8:bad::50", "203.0.113.50"];
    for target in targets {
        assert_eq!(execd.request(&Line::add(target), 600).code(), Some(0));
    }
    assert_eq!(lines(), targets);
    assert_eq!(host.targets(), targets);
    execd.stop();
    assert!(lines().is_empty() && host.blocks().is_empty());
    // Nothing half written lies around.
    let left = std::fs::read_dir(host.wazuh.scratch()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| *name != "blocklist").collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("blocklist")), "{left:?}");
}
