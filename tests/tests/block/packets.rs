//! What a block does to real traffic.

use std::io::ErrorKind;
use std::net::IpAddr;

use harness::eventually;
use harness::execd::Answer;
use harness::line::Line;
use harness::network::{ATTACKER, ATTACKER6, BYSTANDER, BYSTANDER6, NEIGHBOUR, NEIGHBOUR6};
use harness::traffic::{Conversation, Echo, PATIENCE, SILENCE, send_datagram};

use crate::Scene;

/// New connections, an established one and datagrams stop with the add and
/// flow again after the delete; those of others are not touched.
fn stops_and_flows_again(scene: &Scene, attacker: IpAddr, bystander: IpAddr, line: &Line) {
    let mut execd = scene.execd();
    let mut established = scene.open(attacker);
    let mut other = scene.open(bystander);
    assert!(eventually(PATIENCE, || scene.datagram_returns(attacker)));

    let run = execd.request(line, 600);
    assert_eq!((run.answer, run.code()), (Some(Answer::Continue), Some(0)));
    assert_eq!(run.keys().unwrap(), [attacker.to_string()]);
    assert!(established.is_stopped(), "the established connection still moves data");
    assert!(scene.is_refused(attacker), "a new connection is still answered");
    assert!(!scene.datagram_returns(attacker), "datagrams still arrive");
    assert!(other.flows() && scene.connects(bystander), "somebody else was stopped");

    execd.pass(601);
    assert_eq!(execd.tick().iter().map(|run| run.code()).collect::<Vec<_>>(), [Some(0)]);
    assert!(scene.connects(attacker), "a new connection is not answered after the delete");
    let returns = eventually(PATIENCE, || scene.datagram_returns(attacker));
    assert!(returns, "datagrams do not arrive after the delete");
    assert!(established.flows(), "the established connection is still silent after the delete");
    assert!(other.flows());
    assert!(scene.blocks().is_empty());
}

#[test]
fn traffic_to_the_host_stops_and_flows_again_after_the_delete() {
    let Some(scene) = Scene::direct() else { return };
    stops_and_flows_again(&scene, ATTACKER, NEIGHBOUR, &Line::four());
}

#[test]
fn traffic_over_ipv6_stops_and_flows_again_after_the_delete() {
    let Some(scene) = Scene::direct() else { return };
    stops_and_flows_again(&scene, ATTACKER6, NEIGHBOUR6, &Line::add(&ATTACKER6.to_string()));
}

#[test]
fn forwarded_traffic_stops_and_flows_again_after_the_delete() {
    let Some(scene) = Scene::routed() else { return };
    stops_and_flows_again(&scene, ATTACKER, BYSTANDER, &Line::four());
    stops_and_flows_again(&scene, ATTACKER6, BYSTANDER6, &Line::add(&ATTACKER6.to_string()));
}

#[test]
fn traffic_that_other_rules_accept_first_stops_all_the_same() {
    let Some(scene) = Scene::direct() else { return };
    scene.site.server.command(
        "nft",
        &["add table inet mine
        add chain inet mine input { type filter hook input priority -500; policy accept; }
        add rule inet mine input ct state established,related accept
        add chain inet mine raw { type filter hook prerouting priority -301; policy accept; }
        add rule inet mine raw accept"],
    );
    stops_and_flows_again(&scene, ATTACKER, NEIGHBOUR, &Line::four());
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_blocked_as_what_it_is() {
    let Some(scene) = Scene::direct() else { return };
    for written in ["::ffff:203.0.113.50", "::FFFF:cb00:7132"] {
        stops_and_flows_again(&scene, ATTACKER, NEIGHBOUR, &Line::four().srcip(written));
    }
}

#[test]
fn a_network_is_blocked_whole_and_its_host_bits_do_not_matter() {
    let Some(scene) = Scene::direct() else { return };
    for (written, key, inside, outside) in [
        ("203.0.113.77/24", "203.0.113.0/24", [ATTACKER, NEIGHBOUR], BYSTANDER),
        ("2001:db8:bad::ff/64", "2001:db8:bad::/64", [ATTACKER6, NEIGHBOUR6], BYSTANDER6),
    ] {
        let mut execd = scene.execd();
        let mut established = scene.open(inside[0]);
        let run = execd.request(&Line::add(written), 600);
        assert_eq!(run.keys().unwrap(), [key]);
        assert!(established.is_stopped());
        assert!(inside.iter().all(|&address| scene.is_refused(address)));
        assert!(scene.connects(outside));
        execd.stop();
        assert!(established.flows());
        assert!(inside.iter().all(|&address| scene.connects(address)));
    }
}

#[test]
fn the_kernel_counts_what_it_drops() {
    let Some(scene) = Scene::direct() else { return };
    scene.execd().request(&Line::four(), 600);
    assert_eq!(scene.blocks()[&ATTACKER.to_string()].packets, Some(0));
    assert!(scene.is_refused(ATTACKER));
    assert!(scene.blocks()[&ATTACKER.to_string()].packets > Some(0));
}

#[test]
fn a_rejected_attacker_is_told_at_once() {
    let Some(scene) = Scene::direct() else { return };
    scene.wazuh.configure("[nftables]\nreject = true\n");
    for attacker in [ATTACKER, ATTACKER6] {
        let mut execd = scene.execd();
        let mut established = scene.open(attacker);
        execd.request(&Line::add(&attacker.to_string()), 600);
        let to = scene.site.service(attacker, scene.echo.port());
        let new = Conversation::open(&scene.site.attacker, attacker, to, PATIENCE).map(drop);
        assert_eq!(new.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(established.exchange(PATIENCE).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(!scene.datagram_returns(attacker));
        execd.stop();
        lapse(&scene);
        assert!(scene.connects(attacker));
    }
}

/// A lifted element is given a millisecond to live, which the kernel rounds up
/// to its ticks. A dropped packet is sent again later; these are not.
fn lapse(scene: &Scene) {
    assert!(eventually(PATIENCE, || scene.blocks().is_empty()));
}

#[test]
fn packets_to_a_blocked_address_are_dropped_only_where_that_is_configured() {
    let Some(scene) = Scene::direct() else { return };
    let elsewhere = Echo::start(&scene.site.attacker);
    for (attacker, own) in [(ATTACKER, "192.0.2.1"), (ATTACKER6, "2001:db8:1::1")] {
        let arrives = || {
            let before = elsewhere.datagrams();
            let to = (attacker, elsewhere.port()).into();
            send_datagram(&scene.site.server, own.parse().unwrap(), to);
            eventually(SILENCE, || elsewhere.datagrams() > before)
        };
        for outbound in [false, true] {
            scene.wazuh.configure(&format!("[nftables]\noutbound = {outbound}\n"));
            let mut execd = scene.execd();
            execd.request(&Line::add(&attacker.to_string()), 600);
            assert!(scene.is_refused(attacker));
            if outbound {
                assert!(!arrives(), "{attacker}");
            } else if attacker.is_ipv4() {
                // (Of IPv6 the neighbour's answers to discovery are dropped
                // with all else that it sends, so nothing finds the way.)
                assert!(eventually(PATIENCE, arrives), "{attacker}");
            }
            execd.stop();
            lapse(&scene);
            assert!(eventually(PATIENCE, arrives), "{attacker}, outbound = {outbound}");
        }
    }
}

#[test]
fn established_connections_are_closed_where_that_is_configured() {
    let Some(scene) = Scene::direct() else { return };
    scene.wazuh.configure("close_connections = true\n");
    for (attacker, other) in [(ATTACKER, NEIGHBOUR), (ATTACKER6, NEIGHBOUR6)] {
        let mut execd = scene.execd();
        let (mut established, mut bystander) = (scene.open(attacker), scene.open(other));
        execd.request(&Line::add(&attacker.to_string()), 600);
        assert!(established.is_stopped());
        execd.stop();
        // It does not come back: the server has forgotten it.
        assert!(established.exchange(PATIENCE).is_err_and(|error| error.kind() != ErrorKind::TimedOut));
        assert!(scene.connects(attacker));
        assert!(bystander.exchange(PATIENCE).is_ok());
    }
}
