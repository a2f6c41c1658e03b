use super::*;
use crate::firewall::Backend;

const NOW: u64 = 1_000_000;

fn target(text: &str) -> Target {
    text.parse().expect(text)
}

fn owner(name: &str, until: Option<u64>) -> Owner {
    Owner {
        name: name.into(),
        since: NOW - 10,
        until,
        alert: String::new(),
        rule: String::new(),
        reason: String::new(),
        backends: vec![Backend::Nftables],
        escalated: false,
    }
}

fn entry(text: &str, owners: Vec<Owner>) -> Entry {
    Entry { owners, ..Entry::new(target(text)) }
}

fn facts() -> Facts {
    let protected = |text, what| Protected { target: target(text), what };
    Facts {
        now: NOW,
        protected: vec![
            protected("198.51.100.2", "own IP"),
            protected("198.51.100.1", "default gateway"),
            protected("10.1.0.0/16", "allowlist"),
            protected("2001:db8:1::7", "allowlist"),
        ],
        ..Facts::default()
    }
}

fn asked(text: &str, facts: &Facts, settings: &Settings) -> String {
    match decide(target(text), Asker::Wazuh, facts, settings) {
        Decision::Block(granted) => format!("{} {} {}", granted.target, granted.new, granted.limited),
        Decision::Refuse(refusal) => refusal.to_string(),
    }
}

#[test]
fn what_must_stay_reachable_is_refused_with_a_reason() {
    let settings = Settings::default();
    for (text, expected) in [
        ("203.0.113.50", "203.0.113.50 true true"),
        ("203.0.113.0/24", "203.0.113.0/24 true true"),
        ("203.0.112.0/23", "a network wider than /24 is not blocked"),
        ("2001:db8::/55", "a network wider than /56 is not blocked"),
        ("2001:db8::/56", "2001:db8::/56 true true"),
        ("0.0.0.0", "unspecified targets are never blocked"),
        ("::", "unspecified targets are never blocked"),
        ("0.0.0.0/0", "unspecified targets are never blocked"),
        ("127.0.0.53", "loopback targets are never blocked"),
        ("::ffff:127.0.0.1", "loopback targets are never blocked"),
        ("169.254.169.254", "link-local targets are never blocked"),
        ("fe80::1", "link-local targets are never blocked"),
        ("224.0.0.1", "multicast targets are never blocked"),
        ("255.255.255.255", "broadcast targets are never blocked"),
        ("198.51.100.2", "overlaps own IP 198.51.100.2"),
        ("::ffff:198.51.100.2", "overlaps own IP 198.51.100.2"),
        ("198.51.100.0/24", "overlaps own IP 198.51.100.2"),
        ("10.1.2.3", "overlaps allowlist 10.1.0.0/16"),
        ("10.1.2.0/24", "overlaps allowlist 10.1.0.0/16"),
    ] {
        assert_eq!(asked(text, &facts(), &settings), expected, "{text}");
    }
}

#[test]
fn an_administrator_may_block_wider_networks_and_force_what_is_protected() {
    let settings = Settings::default();
    let decide = |text, force| decide(target(text), Asker::Administrator { force }, &facts(), &settings);
    assert!(matches!(decide("203.0.0.0/16", false), Decision::Block(_)));
    assert!(matches!(decide("203.0.0.0/15", true), Decision::Refuse(Refusal::TooWide(16))));
    assert!(matches!(decide("10.1.2.3", false), Decision::Refuse(Refusal::Protected { .. })));
    assert!(matches!(decide("10.1.2.3", true), Decision::Block(_)));
    assert!(matches!(decide("127.0.0.1", true), Decision::Refuse(Refusal::Scope(_))));
}

#[test]
fn repeats_never_count_against_the_limits() {
    let settings = Settings::default();
    let full = Facts { recent: 1000, standing: 100_000, ..facts() };
    assert_eq!(
        asked("203.0.113.50", &full, &settings),
        "more than 1000 new blocks in a minute (max_blocks_per_minute)"
    );
    let many = Facts { standing: 100_000, ..facts() };
    assert_eq!(asked("203.0.113.50", &many, &settings), "100000 blocks stand already (max_blocks)");
    let repeat =
        Facts { entry: Some(entry("203.0.113.50", vec![owner("x", Some(NOW + 5))])), ..full.clone() };
    assert_eq!(asked("203.0.113.50", &repeat, &settings), "203.0.113.50 false false");
    let over = Facts { entry: Some(entry("203.0.113.50", vec![owner("x", Some(NOW))])), ..full.clone() };
    assert!(asked("203.0.113.50", &over, &settings).starts_with("more than"));
    let unlimited = Settings { max_blocks_per_minute: 0, ..Settings::default() };
    assert_eq!(asked("203.0.113.50", &Facts { standing: 0, ..full }, &unlimited), "203.0.113.50 true true");
}

fn neighbours(count: u64) -> Neighbours {
    Neighbours { hosts: (0..count).map(|n| (target(&format!("2001:db8:5::{n:x}")), NOW + 60)).collect() }
}

#[test]
fn the_eighth_host_of_a_network_blocks_the_network() {
    let settings = Settings::default();
    let with = |count| Facts { neighbours: neighbours(count), ..facts() };
    assert_eq!(asked("2001:db8:5::ff", &with(0), &settings), "2001:db8:5::ff true true");
    assert_eq!(asked("2001:db8:5::ff", &with(6), &settings), "2001:db8:5::ff true false");
    assert_eq!(asked("2001:db8:5::ff", &with(7), &settings), "2001:db8:5::/64 true false");
    let never = Settings { ipv6_hosts_per_network: 0, ..Settings::default() };
    assert_eq!(asked("2001:db8:5::ff", &with(40), &never), "2001:db8:5::ff true false");
    let blocked =
        Facts { network_entry: Some(entry("2001:db8:5::/64", vec![owner("x", Some(NOW + 60))])), ..facts() };
    assert_eq!(asked("2001:db8:5::ff", &blocked, &settings), "2001:db8:5::ff true true");
    let both = Facts { neighbours: neighbours(9), ..blocked };
    assert_eq!(asked("2001:db8:5::ff", &both, &settings), "2001:db8:5::/64 false false");
    assert_eq!(asked("203.0.113.50", &with(40), &settings), "203.0.113.50 true true");
}

#[test]
fn a_network_that_overlaps_what_is_protected_is_not_blocked_for_one_host() {
    let mut facts = facts();
    facts.neighbours.hosts = (1..20).map(|n| (target(&format!("2001:db8:1::1{n:02}")), NOW + 60)).collect();
    assert_eq!(asked("2001:db8:1::ff", &facts, &Settings::default()), "2001:db8:1::ff true false");
}

#[test]
fn the_last_owner_lifts() {
    let two = entry("203.0.113.50", vec![owner("a", Some(NOW + 50)), owner("b", Some(NOW + 60))]);
    let Release::StillOwned(one) = release(Some(&two), "a", NOW, false) else { panic!("b still wants it") };
    assert_eq!(one.owners, [owner("b", Some(NOW + 60))]);
    let Release::Lift(none) = release(Some(&one), "b", NOW, false) else { panic!("nobody wants it") };
    assert!(none.owners.is_empty());
}

#[test]
fn wazuh_never_lifts_an_administrators_block() {
    let manual = entry("203.0.113.50", vec![owner(ADMINISTRATOR, None)]);
    assert_eq!(release(Some(&manual), "custom-block", NOW, false), Release::StillOwned(manual.clone()));
    assert!(matches!(release(Some(&manual), ADMINISTRATOR, NOW, true), Release::Lift(_)));
}

#[test]
fn an_owner_whose_time_is_over_keeps_nothing() {
    let stale = entry("203.0.113.50", vec![owner("a", Some(NOW + 50)), owner("b", Some(NOW - 60))]);
    assert!(matches!(release(Some(&stale), "a", NOW, false), Release::Lift(_)));
    assert_eq!(release(Some(&stale), "c", NOW + 60, false), Release::Unknown);
    assert_eq!(release(None, "a", NOW, true), Release::Unknown);
}

#[test]
fn a_held_or_escalated_block_ignores_an_early_delete() {
    let held = |until, escalated, hold| {
        let entry = entry("203.0.113.50", vec![Owner { escalated, ..owner("a", Some(until)) }]);
        matches!(release(Some(&entry), "a", NOW, hold), Release::Held { .. })
    };
    assert!(held(NOW + 6, false, true));
    assert!(held(NOW + 6, true, false));
    assert!(!held(NOW + 5, true, true));
    assert!(!held(NOW + 600, false, false));
}
