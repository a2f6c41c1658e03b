//! Every kind of socket.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use harness::eventually;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::holders::PAIR;
use crate::{Stage, assert_says, of_socket, one};

/// The record of one socket of an actor, which must have these values.
fn assert_socket(stage: &Stage, actor: &Actor, label: &str, expected: &[(&str, Value)]) {
    let run = stage.full();
    assert_says(one(&run, actor.pid(), &actor.inode(label)), expected);
}

#[test]
fn both_ends_of_a_connection_know_their_direction() {
    let Some(stage) = Stage::new() else { return };
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let listener = format!("listener=listen {at}");
        let actor = stage.actor(&[&listener, PAIR[1], PAIR[2]]);
        let (service, caller) = (actor.local("listener"), actor.local("client"));
        for run in [stage.full(), stage.changes()] {
            for (label, direction) in [("client", "outbound"), ("server", "inbound")] {
                let (local, remote) = (actor.local(label), actor.remote(label));
                assert_says(
                    one(&run, actor.pid(), &actor.inode(label)),
                    &[
                        ("protocol", json!("tcp")),
                        ("family", json!(if service.is_ipv4() { "ipv4" } else { "ipv6" })),
                        ("state", json!("established")),
                        ("direction", json!(direction)),
                        ("local_addr", json!(local.to_string())),
                        ("remote_addr", json!(remote.to_string())),
                        ("local_ip", json!(local.ip())),
                        ("local_port", json!(local.port())),
                        ("remote_ip", json!(remote.ip())),
                        ("remote_port", json!(remote.port())),
                        ("remote_scope", json!("loopback")),
                        // Of either end: from who asked to who answers.
                        ("srcip", json!(caller.ip())),
                        ("srcport", json!(caller.port())),
                        ("dstip", json!(service.ip())),
                        ("dstport", json!(service.port())),
                    ],
                );
            }
            assert_says(
                one(&run, actor.pid(), &actor.inode("listener")),
                &[
                    ("state", json!("listen")),
                    ("direction", json!("listen")),
                    ("local_addr", json!(service.to_string())),
                    ("remote_addr", json!(if service.is_ipv4() { "0.0.0.0:*" } else { "[::]:*" })),
                ],
            );
        }
    }
}

#[test]
fn the_direction_outlives_the_listener() {
    let Some(stage) = Stage::thorough() else { return };
    // A port that nobody is given by chance.
    let mut actor = stage.actor(&["listener=listen 127.0.0.1:2222", PAIR[1], PAIR[2]]);
    let (client, server) = (actor.inode("client"), actor.inode("server"));
    stage.changes();
    actor.tell("drop listener");
    let run = stage.full();
    assert_says(one(&run, actor.pid(), &client), &[("direction", json!("outbound"))]);
    assert_says(one(&run, actor.pid(), &server), &[("direction", json!("inbound"))]);
    // And the connection: what was said when it opened is said when it closes.
    for label in ["client", "server"] {
        actor.tell(&format!("drop {label}"));
    }
    let run = stage.changes();
    for (inode, direction) in [(client, "outbound"), (server, "inbound")] {
        let record = one(&run, actor.pid(), &inode);
        assert_says(record, &[("event", json!("conn_closed")), ("direction", json!(direction))]);
    }
}

#[test]
fn a_listener_of_another_user_gives_a_direction_too() {
    let Some(stage) = Stage::new() else { return };
    let mut actor = stage.actor(&PAIR);
    for step in ["plain=spawn listener ; uids 65534 65534 65534", "drop listener"] {
        actor.tell(step);
    }
    let run = stage.full();
    for (label, direction) in [("client", "outbound"), ("server", "inbound")] {
        assert_says(one(&run, actor.pid(), &actor.inode(label)), &[("direction", json!(direction))]);
    }
}

#[test]
fn a_socket_that_waits_before_it_connects_or_listens_is_noticed_then() {
    let Some(stage) = Stage::new() else { return };
    let mut actor =
        stage.actor(&["service=listen 127.0.0.1:0", "caller=bound 127.0.0.1:0", "door=bound 127.0.0.1:0"]);
    let service = actor.local("service");
    for _ in 0..3 {
        let run = stage.changes();
        for label in ["caller", "door"] {
            assert!(of_socket(&run, &actor.inode(label)).is_empty());
        }
    }
    for step in [&format!("turn caller {service}"), "open door"] {
        actor.tell(step);
    }
    let run = stage.changes();
    assert_says(
        one(&run, actor.pid(), &actor.inode("caller")),
        &[("event", json!("conn_new")), ("remote_addr", json!(service.to_string()))],
    );
    assert_says(one(&run, actor.pid(), &actor.inode("door")), &[("event", json!("listen_new"))]);
}

#[test]
fn a_datagram_socket_that_turns_to_another_peer_is_noticed() {
    let Some(stage) = Stage::new() else { return };
    let mut actor = stage.actor(&["udp=udp 127.0.0.1:0"]);
    let inode = actor.inode("udp");
    let run = stage.changes();
    assert_says(one(&run, actor.pid(), &inode), &[("event", json!("listen_new"))]);
    for peer in ["127.0.0.1:53", "127.0.0.9:54"] {
        actor.tell(&format!("turn udp {peer}"));
        let run = stage.changes();
        let records = of_socket(&run, &inode);
        let new: Vec<_> = records.iter().filter(|record| record["event"] == "conn_new").collect();
        assert_eq!(new.len(), 1, "{records:#?}");
        assert_says(new[0], &[("remote_addr", json!(peer))]);
    }
}

#[test]
fn a_connection_that_is_being_made_or_closed_is_a_connection() {
    let Some(stage) = Stage::new() else { return };
    // Nobody answers there.
    stage.namespace.ip("link add void type veth peer name end
                        link set void up
                        link set end up
                        addr add 10.9.9.1/24 dev void
                        neigh add 10.9.9.2 lladdr 02:00:00:00:00:01 dev void");
    let mut actor = stage.actor(&["calling=connecting 10.9.9.2:80"]);
    for step in PAIR {
        actor.tell(step);
    }
    assert_socket(
        &stage,
        &actor,
        "calling",
        &[
            ("state", json!("syn_sent")),
            ("direction", json!("outbound")),
            ("remote_addr", json!("10.9.9.2:80")),
            ("remote_scope", json!("private")),
        ],
    );
    actor.tell("shutdown client");
    // The kernel answers for its peer, when it comes to it.
    assert!(eventually(Duration::from_secs(5), || {
        let run = stage.full();
        one(&run, actor.pid(), &actor.inode("client"))["state"] == "fin_wait_2"
    }));
    assert_socket(
        &stage,
        &actor,
        "server",
        &[("state", json!("close_wait")), ("direction", json!("inbound"))],
    );
}

#[test]
fn a_socket_without_peer_that_does_not_listen_is_not_mentioned() {
    let Some(stage) = Stage::thorough() else { return };
    let mut actor = stage.actor(&PAIR);
    actor.tell("bound=bound 127.0.0.1:0");
    let run = stage.changes();
    assert_says(one(&run, actor.pid(), &actor.inode("client")), &[("event", json!("conn_new"))]);
    // Reset, because somebody closed it before he had read all.
    for step in ["write client", "drop server"] {
        actor.tell(step);
    }
    let run = stage.changes();
    assert_says(one(&run, actor.pid(), &actor.inode("client")), &[("event", json!("conn_closed"))]);
    for run in [run, stage.full()] {
        assert!(of_socket(&run, &actor.inode("bound")).is_empty());
    }
    assert!(of_socket(&stage.full(), &actor.inode("client")).is_empty());
}

#[test]
fn a_datagram_socket_listens_until_it_has_a_peer() {
    let Some(stage) = Stage::new() else { return };
    for ip in ["127.0.0.1", "[::1]"] {
        let open = format!("open=udp {ip}:0");
        let connected = format!("connected=udp {ip}:0 {ip}:53");
        let actor = stage.actor(&[&open, &connected]);
        let (open, connected) = (actor.local("open"), actor.local("connected"));
        for run in [stage.full(), stage.changes()] {
            assert_says(
                one(&run, actor.pid(), &actor.inode("open")),
                &[
                    ("protocol", json!("udp")),
                    ("direction", json!("listen")),
                    ("state", json!("unconnected")),
                    ("local_addr", json!(open.to_string())),
                    ("bind_scope", json!("loopback")),
                    ("remote_addr", json!(if open.is_ipv4() { "0.0.0.0:*" } else { "[::]:*" })),
                ],
            );
            assert_says(
                one(&run, actor.pid(), &actor.inode("connected")),
                &[
                    ("protocol", json!("udp")),
                    ("direction", json!("outbound")),
                    ("state", json!("established")),
                    ("local_addr", json!(connected.to_string())),
                    ("remote_addr", json!(format!("{ip}:53"))),
                ],
            );
        }
    }
}

#[test]
fn events_are_called_by_what_they_are_about() {
    let Some(stage) = Stage::new() else { return };
    let actor = stage.actor(&[
        PAIR[0],
        PAIR[1],
        PAIR[2],
        "open=udp 127.0.0.1:0",
        "connected=udp 127.0.0.1:0 127.0.0.1:53",
        "raw=raw 1",
        "packet=packet",
    ]);
    for (run, suffix) in [(stage.full(), "open"), (stage.changes(), "new")] {
        for (label, kind) in [
            ("listener", "listen"),
            ("client", "conn"),
            ("server", "conn"),
            ("open", "listen"),
            ("connected", "conn"),
            ("raw", "raw"),
            ("packet", "packet"),
        ] {
            let record = one(&run, actor.pid(), &actor.inode(label));
            assert_says(record, &[("event", json!(format!("{kind}_{suffix}")))]);
        }
    }
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_written_as_what_it_is() {
    let Some(stage) = Stage::new() else { return };
    let mut actor = stage.actor(&["listener=listen [::]:0"]);
    let port = actor.local("listener").port();
    actor.tell(&format!("client=connect [::ffff:127.0.0.1]:{port} [::ffff:127.0.0.2]:0"));
    actor.tell("server=accept listener");
    actor.tell("bound=listen [::ffff:127.0.0.3]:0");
    actor.tell(&format!("udp=udp [::ffff:127.0.0.4]:0 [::ffff:127.0.0.1]:{port}"));
    let four = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port()).to_string();
    for run in [stage.full(), stage.changes()] {
        for label in ["client", "server", "udp"] {
            let record = one(&run, actor.pid(), &actor.inode(label));
            let (local, remote) = (actor.local(label), actor.remote(label));
            assert_says(
                record,
                &[
                    ("family", json!("ipv6")),
                    ("local_addr", json!(four(local))),
                    ("remote_addr", json!(four(remote))),
                    ("local_ip", json!(local.ip().to_canonical())),
                    ("remote_ip", json!(remote.ip().to_canonical())),
                    ("remote_scope", json!("loopback")),
                ],
            );
            assert!(record["srcip"].as_str().unwrap().parse::<IpAddr>().unwrap().is_ipv4());
        }
        assert_says(
            one(&run, actor.pid(), &actor.inode("bound")),
            &[
                ("family", json!("ipv6")),
                ("local_addr", json!(four(actor.local("bound")))),
                ("bind_scope", json!("loopback")),
            ],
        );
    }
}

#[test]
fn raw_sockets_are_found() {
    let Some(stage) = Stage::new() else { return };
    let actor = stage.actor(&["icmp=raw 1", "udp=raw 17", "all=raw 255", "six=raw6 58"]);
    let run = stage.full();
    for (label, family, number) in
        [("icmp", "ipv4", 1), ("udp", "ipv4", 17), ("all", "ipv4", 255), ("six", "ipv6", 58)]
    {
        let nowhere = if family == "ipv4" { "0.0.0.0:*" } else { "[::]:*" };
        assert_says(
            one(&run, actor.pid(), &actor.inode(label)),
            &[
                ("event", json!("raw_open")),
                ("protocol", json!("raw")),
                ("family", json!(family)),
                ("local_addr", json!(nowhere)),
                ("remote_addr", json!(nowhere)),
                ("ip_protocol", json!(number)),
            ],
        );
    }
}

/// A packet socket of an interface, which only Python can bind without unsafe code.
const BOUND: &str = "import socket,sys,os
s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,0)
s.bind(('lo',int(sys.argv[1],0)))
print('{\"sockets\":{\"packet\":{\"inode\":\"%d\"}}}'%os.fstat(s.fileno()).st_ino,flush=True)
sys.stdin.read()";

#[test]
fn packet_sockets_are_found_with_their_interface() {
    let Some(stage) = Stage::new() else { return };
    let actor = stage.actor(&["packet=packet"]);
    let run = stage.full();
    let record = one(&run, actor.pid(), &actor.inode("packet"));
    assert_says(
        record,
        &[
            ("event", json!("packet_open")),
            ("protocol", json!("packet")),
            ("family", json!("packet")),
            ("local_addr", json!("*")),
            ("remote_addr", json!("*")),
        ],
    );
    if !harness::require(harness::kernel::has("python3"), "python3") {
        return;
    }
    for number in ["0x0003", "0x0806"] {
        let mut command = Command::new("python3");
        command.args(["-c", BOUND, number]);
        let python = Actor::from(Some(&stage.namespace), command);
        let run = stage.full();
        let record = one(&run, python.pid(), &python.inode("packet"));
        assert_says(record, &[("local_addr", json!("lo")), ("interface", json!("lo"))]);
        let ethertype = record["ethertype"].as_str().unwrap();
        let expected = if number == "0x0003" { &["all", "0x0003"] } else { &["arp", "0x0806"] };
        assert!(expected.contains(&ethertype), "{record:#}");
    }
}

/// Sockets of protocols for which there is no constant in Rust.
const RARE: &str = "import socket,sys,os
s=socket.socket(socket.AF_INET,int(sys.argv[1]),int(sys.argv[2]))
s.bind(('127.0.0.1',0))
if int(sys.argv[1])==socket.SOCK_STREAM: s.listen(1)
facts='\"inode\":\"%d\",\"local\":\"%s:%d\"'%((os.fstat(s.fileno()).st_ino,)+s.getsockname())
print('{\"sockets\":{\"rare\":{'+facts+'}}}',flush=True)
sys.stdin.read()";

#[test]
fn the_relatives_of_tcp_and_udp_are_found() {
    let Some(stage) = Stage::new() else { return };
    if !harness::require(harness::kernel::has("python3"), "python3") {
        return;
    }
    for (kind, number, name) in [("1", "262", "mptcp"), ("2", "136", "udplite")] {
        let mut probe = Command::new("python3");
        let text = format!("import socket;socket.socket(socket.AF_INET,{kind},{number})");
        let possible =
            probe.args(["-c", &text]).stderr(std::process::Stdio::null()).status().unwrap().success();
        if !harness::require(possible, name) {
            continue;
        }
        let mut command = Command::new("python3");
        command.args(["-c", RARE, kind, number]);
        let python = Actor::from(Some(&stage.namespace), command);
        let run = stage.full();
        let record = one(&run, python.pid(), &python.inode("rare"));
        assert_says(
            record,
            &[
                ("event", json!("listen_open")),
                ("protocol", json!(name)),
                ("local_addr", json!(python.local("rare").to_string())),
                ("bind_scope", json!("loopback")),
            ],
        );
    }
}
