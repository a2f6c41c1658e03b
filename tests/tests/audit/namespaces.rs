//! Sockets of every network namespace, also of one that nobody is in.

use std::os::unix::fs::MetadataExt;

use harness::network::Namespace;
use serde_json::json;

use crate::actor::Actor;
use crate::holders::PAIR;
use crate::{Stage, assert_says, of_socket, one};

/// That of the first process; or ours, where we may not look at that one.
fn host() -> String {
    let first = std::fs::metadata("/proc/1/ns/net").or_else(|_| std::fs::metadata("/proc/self/ns/net"));
    first.unwrap().ino().to_string()
}

#[test]
fn the_namespace_of_the_host_is_told_from_others() {
    let Some(stage) = Stage::new() else { return };
    let (here, there) = (Actor::new(None, &["listener=listen 127.0.0.1:0"]), stage.actor(&PAIR));
    // In a container, the tests' own namespace is nobody's idea of a host.
    let own = here.netns();
    let run = stage.full();
    for (actor, netns) in [(&here, own), (&there, there.netns())] {
        let record = one(&run, actor.pid(), &actor.inode("listener"));
        assert_says(record, &[("netns", json!(netns)), ("netns_host", json!(netns == host()))]);
    }
    assert!(run.summary()["netns_count"].as_i64() >= Some(2));
}

#[test]
fn equal_addresses_in_two_namespaces_are_two_sockets() {
    let Some(stage) = Stage::new() else { return };
    let other = Namespace::new();
    let steps = ["listener=listen 127.0.0.1:2222", "client=connect listener 127.0.0.1:40000", PAIR[2]];
    let actors = [stage.actor(&steps), Actor::new(Some(&other), &steps)];
    for run in [stage.full(), stage.changes()] {
        for actor in &actors {
            for label in ["listener", "client", "server"] {
                let inode = actor.inode(label);
                assert_eq!(of_socket(&run, &inode).len(), 1);
                let record = one(&run, actor.pid(), &inode);
                assert_says(
                    record,
                    &[("netns", json!(actor.netns())), ("local_addr", json!(actor.local(label).to_string()))],
                );
            }
        }
    }
}

#[test]
fn a_listener_of_another_namespace_does_not_change_a_direction() {
    let Some(stage) = Stage::new() else { return };
    let other = Namespace::new();
    let _listens = Actor::new(Some(&other), &["listener=listen 0.0.0.0:42222"]);
    let actor =
        stage.actor(&["listener=listen 127.0.0.1:42223", "client=connect listener 127.0.0.1:42222", PAIR[2]]);
    let run = stage.full();
    for (label, direction) in [("client", "outbound"), ("server", "inbound")] {
        assert_says(one(&run, actor.pid(), &actor.inode(label)), &[("direction", json!(direction))]);
    }
}

/// What must be said of three sockets of one process.
fn assert_pair(stage: &Stage, actor: &Actor, netns: Option<&str>) {
    for run in [stage.full(), stage.changes()] {
        for (label, direction) in [("listener", "listen"), ("client", "outbound"), ("server", "inbound")] {
            let inode = actor.inode(label);
            assert_eq!(of_socket(&run, &inode).len(), 1, "{label}");
            let record = one(&run, actor.pid(), &inode);
            let local = actor.local(label).to_string();
            assert_says(record, &[("local_addr", json!(local)), ("direction", json!(direction))]);
            if let Some(netns) = netns {
                assert_says(record, &[("netns", json!(netns)), ("netns_host", json!(netns == host()))]);
            }
        }
    }
}

#[test]
fn a_process_that_has_left_the_namespace_of_its_socket_is_found() {
    let Some(stage) = Stage::new() else { return };
    let inhabitant = stage.actor(&[]);
    let enter = format!("netns {}", stage.namespace.path());
    let actor = Actor::new(None, &[&enter, PAIR[0], PAIR[1], PAIR[2], "netns home", "own=udp 127.0.0.1:0"]);
    assert_ne!(actor.netns(), inhabitant.netns());
    assert_pair(&stage, &actor, Some(&inhabitant.netns()));
    let run = stage.full();
    assert_says(one(&run, actor.pid(), &actor.inode("own")), &[("netns", json!(actor.netns()))]);
}

#[test]
fn a_socket_of_a_namespace_that_everybody_has_left_is_found() {
    let Some(stage) = Stage::new() else { return };
    let actor = Actor::new(None, &["netns new", PAIR[0], PAIR[1], PAIR[2], "netns home"]);
    assert_pair(&stage, &actor, None);
}

#[test]
fn a_namespace_that_everybody_has_left_is_named() {
    let Some(stage) = Stage::new() else { return };
    let mut actor = Actor::new(None, &["netns new", PAIR[0]]);
    let netns = actor.netns();
    actor.tell("netns home");
    assert_ne!(actor.netns(), netns);
    let run = stage.full();
    let record = one(&run, actor.pid(), &actor.inode("listener"));
    assert_says(record, &[("netns", json!(netns)), ("netns_host", json!(false))]);
}

#[test]
fn namespaces_that_everybody_has_left_are_not_confused() {
    let Some(stage) = Stage::new() else { return };
    // A port that is a listener's in the one is a client's in the other.
    let _listens = Actor::new(None, &["netns new", "listener=listen 0.0.0.0:42222", "netns home"]);
    let actor = Actor::new(
        None,
        &[
            "netns new",
            "listener=listen 127.0.0.1:42223",
            "client=connect listener 127.0.0.1:42222",
            PAIR[2],
            "netns home",
        ],
    );
    assert_pair(&stage, &actor, None);
}

#[test]
fn a_socket_of_a_namespace_that_everybody_has_left_is_found_when_several_hold_it() {
    let Some(stage) = Stage::new() else { return };
    let mut actor = Actor::new(None, &["netns new", PAIR[0], PAIR[1], PAIR[2], "netns home"]);
    actor.tell("heir=spawn client");
    let run = stage.full();
    for pid in [actor.pid(), actor.child("heir")] {
        let record = one(&run, pid, &actor.inode("client"));
        assert_says(
            record,
            &[("holders", json!(2)), ("remote_addr", json!(actor.remote("client").to_string()))],
        );
    }
}

#[test]
fn sockets_of_every_kind_are_found_in_a_namespace_that_everybody_has_left() {
    let Some(stage) = Stage::new() else { return };
    let actor = Actor::new(
        None,
        &["netns new", "open=udp 127.0.0.1:0", "connected=udp 127.0.0.1:0 127.0.0.1:53", "netns home"],
    );
    let run = stage.full();
    assert_says(
        one(&run, actor.pid(), &actor.inode("open")),
        &[("event", json!("listen_open")), ("local_addr", json!(actor.local("open").to_string()))],
    );
    assert_says(
        one(&run, actor.pid(), &actor.inode("connected")),
        &[("event", json!("conn_open")), ("remote_addr", json!("127.0.0.1:53"))],
    );
}

#[test]
fn raw_and_packet_sockets_are_found_in_a_namespace_that_everybody_has_left() {
    let Some(stage) = Stage::new() else { return };
    let actor = Actor::new(None, &["netns new", "raw=raw 1", "packet=packet", "netns home"]);
    let run = stage.full();
    for (label, event) in [("raw", "raw_open"), ("packet", "packet_open")] {
        assert_says(one(&run, actor.pid(), &actor.inode(label)), &[("event", json!(event))]);
    }
}

#[test]
fn a_program_in_a_namespace_of_its_own_sees_the_others() {
    let Some(stage) = Stage::new() else { return };
    let other = Namespace::new();
    let actor = stage.actor(&PAIR);
    let run = stage.wodle.call(&["--wodle", "--full", "--max-events", "0"]).inside(&other).run();
    assert_eq!(run.code, Some(0));
    for label in ["listener", "client", "server"] {
        let record = one(&run, actor.pid(), &actor.inode(label));
        assert_says(record, &[("netns", json!(actor.netns()))]);
    }
}
