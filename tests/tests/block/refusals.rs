//! What must not be blocked, on a host that really is so.

use std::time::Duration;

use harness::eventually;
use harness::execd::Execd;
use harness::line::Line;
use harness::network::{ATTACKER, ATTACKER6};
use harness::traffic::{Conversation, Echo, PATIENCE};

use crate::{Host, Scene, ready};

/// Refused: no keys (so that Wazuh schedules no delete), a record, no block.
fn is_refused(host: &Host, execd: &mut Execd<'_>, line: &Line, what: &str) {
    let run = execd.request(line, 600);
    assert_eq!((run.keys(), run.said.len(), run.code()), (None, 0, Some(0)), "{what}");
    assert!(execd.listed().is_empty(), "{what}");
    let record = host.wazuh.records().pop().unwrap();
    assert_eq!(record.command(), "refused", "{what}: {}", record.text);
    assert!(record.json["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{what}");
    assert!(host.blocks().is_empty(), "{what}");
}

#[test]
fn addresses_that_nobody_or_everybody_has_are_refused() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    for address in [
        "0.0.0.0",
        "127.0.0.1",
        "127.255.0.9",
        "169.254.1.1",
        "224.0.0.251",
        "239.1.2.3",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "127.0.0.0/24",
        "224.0.0.0/24",
        "fe80::/64",
        "ff00::/56",
    ] {
        is_refused(&host, &mut execd, &Line::add(address), address);
    }
}

#[test]
fn a_network_that_is_too_wide_is_refused_by_alert_and_by_hand() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    for network in ["0.0.0.0/0", "::/0", "198.51.100.0/23", "10.0.0.0/8", "2001:db8::/55", "2000::/3"] {
        is_refused(&host, &mut execd, &Line::add(network), network);
    }
    for network in ["198.51.100.0/24", "2001:db8::/56"] {
        assert_eq!(execd.request(&Line::add(network), 600).keys().unwrap(), [network]);
    }
    execd.stop();
    for (network, code) in
        [("10.1.0.0/16", 0), ("10.0.0.0/15", 3), ("2001:db8::/48", 0), ("2001:db8::/47", 3)]
    {
        assert_eq!(
            host.wazuh.verb(&host.namespace, &["add", network]).status.code(),
            Some(code),
            "{network}"
        );
    }
    assert_eq!(host.targets(), ["10.1.0.0/16", "2001:db8::/48"]);
}

#[test]
fn own_addresses_and_default_gateways_are_refused_and_networks_around_them() {
    let Some(host) = Host::new() else { return };
    host.namespace.ip("link add cable type veth peer name other
                       link set cable up
                       link set other up
                       addr add 198.51.100.5/24 dev cable
                       addr add 203.0.113.9/32 dev cable
                       addr add 2001:db8:1::5/64 dev cable nodad
                       route add default via 198.51.100.1
                       route add 192.0.2.0/24 via 198.51.100.99
                       route add default via 2001:db8:1::1");
    let mut execd = host.execd();
    for target in [
        "198.51.100.5",
        "203.0.113.9",
        "2001:db8:1::5",
        "198.51.100.1",
        "2001:db8:1::1",
        "203.0.113.0/24",
        "198.51.100.0/24",
        "198.51.100.0/28",
        "2001:db8:1::/64",
        "2001:db8:1::/56",
        "::ffff:198.51.100.5",
    ] {
        is_refused(&host, &mut execd, &Line::add(target), target);
    }
    // Their neighbours are not, nor is a gateway to somewhere only.
    for target in ["198.51.100.6", "198.51.100.99", "203.0.113.0/29", "2001:db8:1::6"] {
        assert_eq!(execd.request(&Line::add(target), 600).keys().unwrap(), [target]);
    }
}

#[test]
fn dns_servers_the_manager_and_the_allowlist_are_refused() {
    if !ready(&["unshare"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let scratch = host.wazuh.scratch();
    let resolv = scratch.join("resolv.conf");
    std::fs::write(&resolv, "search example.org\nnameserver 198.51.100.53\nnameserver 2001:db8:53::53\n")
        .unwrap();
    let list = scratch.join("allowed");
    std::fs::write(&list, "# partners\n203.0.113.128/25\n\n2001:db8:cafe::/48 # them too\n").unwrap();
    std::fs::set_permissions(scratch, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    host.wazuh.configure(&format!(
        "allowlist = [\"203.0.113.7\", \"192.0.2.0/24\"]\nallowlist_files = [{list:?}]\n"
    ));
    host.wazuh.ossec_conf(
        "<ossec_config><client><server><address>198.51.100.10</address><port>1514</port></server>
         <server><address>2001:db8:10::10</address></server></client></ossec_config>
         <ossec_config><cluster><nodes><node>198.51.100.20</node></nodes></cluster></ossec_config>",
    );
    let mut execd = host.execd();
    let script = "mount --bind \"$0\" \"$(readlink -f /etc/resolv.conf)\" && exec \"$1\"";
    execd.launcher(["unshare", "-m", "sh", "-c", script, resolv.to_str().unwrap()]);
    for (target, what) in [
        ("198.51.100.53", "a DNS server"),
        ("2001:db8:53::53", "a DNS server"),
        ("198.51.100.10", "the manager"),
        ("2001:db8:10::10", "the manager"),
        ("198.51.100.20", "a cluster node"),
        ("198.51.100.0/24", "a network around them"),
        ("203.0.113.7", "the allowlist"),
        ("192.0.2.77", "a network of the allowlist"),
        ("203.0.113.200", "a network of the allowlist's file"),
        ("203.0.113.0/24", "a network around one of the allowlist"),
        ("2001:db8:cafe:1::1", "a network of the allowlist's file"),
        ("2001:db8:cafe:1::/64", "a network in one of the allowlist"),
    ] {
        is_refused(&host, &mut execd, &Line::add(target), &format!("{target}, {what}"));
    }
    assert_eq!(execd.request(&Line::four(), 600).code(), Some(0));
    assert_eq!(host.targets(), ["203.0.113.50"]);
}

#[test]
fn a_manager_that_is_known_by_name_only_is_recognised_by_its_connection() {
    let Some(scene) = Scene::direct() else { return };
    // No name is ever looked up while Wazuh waits: here none could be.
    scene.wazuh.ossec_conf(
        "<ossec_config><client><server><address>manager.example.org</address><port>1514</port></server>
         </client></ossec_config>",
    );
    let manager = Echo::start_at(&scene.site.attacker, 1514);
    let mut execd = scene.execd();
    for (attacker, own) in [(ATTACKER, "192.0.2.1"), (ATTACKER6, "2001:db8:1::1")] {
        let line = Line::add(&attacker.to_string());
        let to = (attacker, manager.port()).into();
        let agent = Conversation::open(&scene.site.server, own.parse().unwrap(), to, PATIENCE).unwrap();
        let run = execd.request(&line, 600);
        assert_eq!((run.keys(), run.code()), (None, Some(0)));
        assert_eq!(scene.wazuh.records().pop().unwrap().command(), "refused");
        assert!(run.wall < Duration::from_secs(4), "{:?}", run.wall);
        drop(agent);
        assert!(eventually(PATIENCE, || execd.request(&line, 600).keys().is_some()));
    }
}

#[test]
fn too_many_new_blocks_in_a_minute_are_refused_but_repeats_and_deletes_never() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("max_blocks_per_minute = 3\n");
    let mut execd = host.execd();
    for _ in 0..2 {
        for address in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
            assert!(execd.request(&Line::add(address), 600).keys().is_some());
        }
    }
    assert_eq!(execd.request(&Line::add("198.51.100.4"), 600).keys(), None);
    let record = host.wazuh.records().pop().unwrap();
    assert_eq!(record.command(), "refused");
    assert!(record.text.contains("max_blocks_per_minute"), "{}", record.text);
    execd.stop();
    assert!(host.blocks().is_empty());
    // The minute is not over, although nothing is blocked.
    assert_eq!(execd.request(&Line::add("198.51.100.4"), 600).keys(), None);
    host.wazuh.configure("max_blocks_per_minute = 0\n");
    for last in 1..=20 {
        assert!(execd.request(&Line::add(&format!("198.51.100.{last}")), 600).keys().is_some());
    }
}

#[test]
fn ipv6_counts_by_the_network_that_one_customer_has() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("max_blocks_per_minute = 2\n");
    let mut execd = host.execd();
    for host in 1..=5 {
        assert!(execd.request(&Line::add(&format!("2001:db8:bad::{host}")), 600).keys().is_some());
    }
    assert!(execd.request(&Line::add("2001:db8:bad:1::1"), 600).keys().is_some());
    assert_eq!(execd.request(&Line::add("2001:db8:bad:2::1"), 600).keys(), None);
}

#[test]
fn no_more_than_so_many_are_blocked_at_a_time() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("max_blocks = 3\n");
    let mut execd = host.execd();
    for address in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
        assert!(execd.request(&Line::add(address), 600).keys().is_some());
    }
    assert_eq!(execd.request(&Line::add("198.51.100.4"), 600).keys(), None);
    assert!(host.wazuh.records().pop().unwrap().text.contains("max_blocks"));
    // One that is blocked already is not one more.
    assert!(execd.request(&Line::add("198.51.100.2").id("1.1"), 600).keys().is_some());
    assert_eq!(host.blocks().len(), 3);
    execd.stop();
    assert!(execd.request(&Line::add("198.51.100.4"), 600).keys().is_some());
    // What the kernel lifted by itself makes room as well, after a while.
    for address in ["198.51.100.5", "198.51.100.6"] {
        execd.request(&Line::add(address), 600);
    }
    host.namespace.command("nft", &["flush set inet wazuh_block hosts4"]);
    let room = || execd.request(&Line::add("198.51.100.7"), 600).keys().is_some();
    assert!(eventually(Duration::from_secs(15), room));
}

#[test]
fn the_eighth_host_of_an_ipv6_network_takes_the_network_with_it() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    for last in 1..=7 {
        let address = format!("2001:db8:bad::{last}");
        assert_eq!(execd.request(&Line::add(&address), 600).keys().unwrap(), [address]);
    }
    let eighth = execd.request(&Line::add("2001:db8:bad::8"), 600);
    assert_eq!(eighth.keys().unwrap(), ["2001:db8:bad::/64"]);
    assert!(host.targets().contains(&"2001:db8:bad::/64".to_owned()));
    assert_eq!(execd.request(&Line::add("2001:db8:bad::9"), 600).keys().unwrap(), ["2001:db8:bad::/64"]);
    check_srcip(&host, "2001:db8:bad::9");
    execd.stop();
    assert!(host.blocks().is_empty(), "{:?}", host.targets());
}

fn check_srcip(host: &Host, address: &str) {
    assert_eq!(host.wazuh.records().pop().unwrap().srcip(), Some(address));
}

#[test]
fn where_the_network_would_hit_something_of_ours_only_the_host_is_blocked() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("allowlist = [\"2001:db8:bad::ffff\"]\n");
    let mut execd = host.execd();
    for last in 1..=9 {
        let address = format!("2001:db8:bad::{last}");
        assert_eq!(execd.request(&Line::add(&address), 600).keys().unwrap(), [address]);
    }
    assert_eq!(host.blocks().len(), 9);
}
