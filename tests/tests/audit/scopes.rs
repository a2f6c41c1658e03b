//! How far an address reaches.

use std::net::SocketAddr;

use serde_json::json;

use crate::{Stage, assert_says, one};

/// Addresses, and what they are.
const ADDRESSES: [(&str, &str); 28] = [
    ("127.0.0.1", "loopback"),
    ("127.9.8.7", "loopback"),
    ("::1", "loopback"),
    ("10.1.2.3", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.254", "private"),
    ("192.168.1.1", "private"),
    ("fd00::1", "private"),
    ("169.254.1.1", "linklocal"),
    ("fe80::5", "linklocal"),
    ("100.64.0.1", "cgnat"),
    ("100.127.255.254", "cgnat"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.9", "documentation"),
    ("2001:db8::1", "documentation"),
    ("8.8.4.4", "public"),
    ("9.255.255.254", "public"),
    ("100.63.255.1", "public"),
    ("100.128.0.1", "public"),
    ("172.15.0.1", "public"),
    ("172.32.0.1", "public"),
    ("192.167.0.1", "public"),
    ("2620:fe::fe", "public"),
    ("2001:db9::1", "public"),
    ("224.0.0.251", "multicast"),
    ("ff02::fb", "multicast"),
    ("255.255.255.255", "broadcast"),
];

/// A namespace that has all of these addresses, and reaches all others.
fn stage() -> Option<Stage> {
    let stage = Stage::new()?;
    stage.namespace.ip("link add wide index 77 type veth peer name end\nlink set wide up\nlink set end up");
    for (address, _) in ADDRESSES.iter().filter(|(_, scope)| !["multicast", "broadcast"].contains(scope)) {
        let length = if address.contains(':') { "128 nodad" } else { "32" };
        if !address.starts_with("127.") && *address != "::1" {
            let (length, nodad) = length.split_once(' ').unwrap_or((length, ""));
            stage.namespace.ip(&format!("addr add {address}/{length} dev wide {nodad}"));
        }
    }
    stage.namespace.ip("route add default dev wide src 8.8.4.4\nroute add default dev wide src 2620:fe::fe");
    Some(stage)
}

/// With the interface where an address has no meaning without one.
fn at(address: &str, port: u16) -> String {
    let scoped = address.starts_with("fe80") || address.starts_with("ff02");
    match (address.contains(':'), scoped) {
        (false, _) => format!("{address}:{port}"),
        (true, false) => format!("[{address}]:{port}"),
        (true, true) => format!("[{address}%77]:{port}"),
    }
}

#[test]
fn a_listener_says_who_can_reach_it() {
    let Some(stage) = stage() else { return };
    let mut actor = stage.actor(&[]);
    let others = [("0.0.0.0", "any"), ("::", "any")];
    let all: Vec<(&str, &str)> = ADDRESSES.iter().copied().chain(others).collect();
    let of = |scope: &str| !["multicast", "broadcast"].contains(&scope);
    for (number, (address, scope)) in all.iter().enumerate() {
        if of(scope) {
            actor.tell(&format!("tcp{number}=listen {}", at(address, 0)));
        }
        actor.tell(&format!("udp{number}=udp {}", at(address, 0)));
    }
    let run = stage.full();
    for (number, (address, scope)) in all.iter().enumerate() {
        for protocol in ["tcp", "udp"] {
            if protocol == "udp" || of(scope) {
                let label = format!("{protocol}{number}");
                let port = actor.local(&label).port();
                let record = one(&run, actor.pid(), &actor.inode(&label));
                let whole = SocketAddr::new(address.parse().unwrap(), port).to_string();
                assert_says(
                    record,
                    &[
                        ("bind_scope", json!(scope)),
                        ("local_ip", json!(address)),
                        ("local_addr", json!(whole)),
                        ("local_port", json!(port)),
                        ("protocol", json!(protocol)),
                    ],
                );
            }
        }
    }
}

#[test]
fn a_connection_says_how_far_its_peer_is() {
    let Some(stage) = stage() else { return };
    let mut actor = stage.actor(&[]);
    for (number, (address, _)) in ADDRESSES.iter().enumerate() {
        let own = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        actor.tell(&format!("udp{number}=udp {own} {}", at(address, 53)));
    }
    let run = stage.full();
    for (number, (address, scope)) in ADDRESSES.iter().enumerate() {
        let record = one(&run, actor.pid(), &actor.inode(&format!("udp{number}")));
        assert_says(
            record,
            &[
                ("event", json!("conn_open")),
                ("remote_scope", json!(scope)),
                ("remote_ip", json!(address)),
                ("direction", json!("outbound")),
                ("dstip", json!(address)),
                ("dstport", json!(53)),
            ],
        );
    }
}

#[test]
fn a_public_client_of_ours_is_the_source() {
    let Some(stage) = stage() else { return };
    let actor = stage.actor(&[
        "listener=listen 0.0.0.0:8443",
        "client=connect 10.1.2.3:8443 8.8.4.4:0",
        "server=accept listener",
    ]);
    let run = stage.full();
    let client = actor.local("client").to_string();
    assert_says(
        one(&run, actor.pid(), &actor.inode("server")),
        &[
            ("direction", json!("inbound")),
            ("remote_scope", json!("public")),
            ("remote_addr", json!(client)),
            ("srcip", json!("8.8.4.4")),
            ("dstip", json!("10.1.2.3")),
            ("dstport", json!(8443)),
        ],
    );
    assert_says(
        one(&run, actor.pid(), &actor.inode("client")),
        &[("direction", json!("outbound")), ("remote_scope", json!("private")), ("srcip", json!("8.8.4.4"))],
    );
    // Who asks for it gets the peer as the source of everything.
    let run = stage.run(&["--wodle", "--full", "--max-events", "0", "--geo-peer"]);
    assert_says(one(&run, actor.pid(), &actor.inode("server")), &[("srcip", json!("8.8.4.4"))]);
    assert_says(one(&run, actor.pid(), &actor.inode("client")), &[("srcip", json!("10.1.2.3"))]);
}
