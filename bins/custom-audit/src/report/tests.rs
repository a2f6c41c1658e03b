use std::rc::Rc;

use common::text::legible;
use common::wazuh::wodle::LONGEST;

use super::*;
use crate::detail::cgroup::Container;
use crate::event::{join, join_written};
use crate::look::process::Reason;

fn context() -> Context<'static> {
    Context {
        timestamp: "2026-11-21T16:00:00.000Z".to_owned(),
        now: u64::from(u32::MAX),
        scan_id: "ffffffff-3fffff",
        run: u32::MAX,
        full: false,
        baseline: false,
        process_key: ProcessKey::Object,
        geo_peer: false,
        host_netns: 1,
    }
}

fn socket_of(local: &str, remote: &str) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        ipv6: true,
        state: 8,
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        interface: 0,
        uid: 2_147_483_647,
        inode: u64::MAX,
        cookie: u64::MAX,
        netns: u64::MAX,
    }
}

/// Each text as long as the one who reads it lets it be.
fn longest(byte: u8) -> Detail {
    let text = |most| legible(&[byte; 5000], most);
    Detail {
        brief: Rc::new(Brief {
            exe: text(400),
            location: Location::Container,
            deleted: true,
            cgroup: text(250),
            unit: text(128),
            container: Some(Container { id: text(80), runtime: "systemd-nspawn" }),
        }),
        uids: Some((2_147_483_647, 2_147_483_647)),
        caps: Some(text(400)),
        loginuid: Some(u32::MAX - 1),
        replaced: true,
        mode: Some("7777".to_owned()),
        sha256: Some([0xff; 32]),
        command_line: text(900),
        parent: Some(text(64)),
        parent_exe: Some(text(250)),
        ancestry: text(250),
        tty: Some("4095:1048575".to_owned()),
        start_time: Some("2026-11-21T16:00:00Z".to_owned()),
    }
}

#[test]
fn the_longest_event_fits_into_a_line_when_it_is_shortened() {
    let address = "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535";
    let socket = socket_of(address, address);
    let fds: Vec<Held> = (0..100).map(|at| Held { inode: u64::MAX, process: 0, fd: u32::MAX - at }).collect();
    let pids = [i32::MAX; 100];
    let context = context();
    for byte in [b'"', b'\n', 0xff, b'x'] {
        let detail = longest(byte).shortened();
        let process = Process {
            pid: i32::MAX,
            start: u64::MAX,
            name: legible(&[byte; 15], 128),
            ppid: i32::MAX,
            tty: 0,
            euid: 2_147_483_647,
            reason: Reason::Capabilities(u64::MAX),
            netns: 1,
            descriptors: 0,
            threads: false,
        };
        let present = Present { socket: &socket, fds: &fds, holding: Holding::default() };
        let news = News {
            direction: Some(Direction::Outbound),
            new_remote: Some(false),
            hint: Some("unreadable"),
            ..News::default()
        };
        let user = legible(&[byte; 100], 64);
        let mut line = serde_json::to_vec(&present_head(&context, &present, &process, &news, &user)).unwrap();
        let addresses = addresses(&socket);
        join(&mut line, &super::socket(&context, &socket, &addresses, &present.holding, &news)).unwrap();
        join(&mut line, &held(&present, &process, &pids)).unwrap();
        join_written(
            &mut line,
            &serde_json::to_vec(&super::process(&process, Some(&detail), Some(false))).unwrap(),
        );
        assert!(line.len() < LONGEST, "{} bytes of {byte:#x}", line.len());
        let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(event["cmdline"], detail.command_line.as_str());
        assert_eq!(event["inode"], u64::MAX.to_string());
    }
}

#[test]
fn where_a_connection_came_from_decides_who_is_the_source() {
    let socket = socket_of("192.0.2.1:22", "[2001:db8::9]:40000");
    let addresses = addresses(&socket);
    let part = |direction, geo_peer| {
        let context = Context { geo_peer, ..context() };
        let news = News { direction: Some(direction), ..News::default() };
        let part = super::socket(&context, &socket, &addresses, &Holding::default(), &news);
        (part.srcip.unwrap().to_owned(), part.dstport.unwrap())
    };
    assert_eq!(part(Direction::Inbound, false), ("2001:db8::9".to_owned(), 22));
    assert_eq!(part(Direction::Outbound, false), ("192.0.2.1".to_owned(), 40000));
    assert_eq!(part(Direction::Outbound, true), ("2001:db8::9".to_owned(), 22));
}

#[test]
fn who_nobody_is_is_guessed_by_the_port() {
    let of =
        |protocol, local: &str, remote: &str| hint(&Socket { protocol, ..socket_of(local, remote) }, false);
    assert_eq!(of(Protocol::Tcp, "192.0.2.1:700", "192.0.2.2:2049"), "nfs");
    assert_eq!(of(Protocol::Udp, "0.0.0.0:4789", "0.0.0.0:0"), "vxlan");
    assert_eq!(of(Protocol::Udp, "0.0.0.0:51820", "0.0.0.0:0"), "wireguard");
    assert_eq!(of(Protocol::Tcp, "192.0.2.1:4444", "192.0.2.2:443"), "unknown");
    assert_eq!(hint(&socket_of("192.0.2.1:4444", "192.0.2.2:443"), true), "unreadable");
}
