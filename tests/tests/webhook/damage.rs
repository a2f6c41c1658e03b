//! Files of its own that are not as it left them, and descriptors that run out.

use std::path::PathBuf;
use std::time::Duration;

use harness::webhook::client::Connection;
use harness::webhook::{Daemon, Receiver, delivery, login};
use harness::{eventually, kernel, require};

use crate::receiver;

/// Some fifty events of which next to none is put out, and then a crash.
fn waiting() -> Receiver {
    let receiver = receiver("events_per_second = 1\n");
    let daemon = receiver.start();
    let mut connection = daemon.connect();
    for n in 0..50 {
        assert_eq!(connection.ask(&delivery(n)).unwrap().status, 200);
    }
    daemon.kill();
    receiver.configure("events_per_second = 0\n", &receiver.sources("requests_per_minute_per_peer = 0\n"));
    receiver
}

/// The file of the spool that has most in it.
fn spool(receiver: &Receiver) -> PathBuf {
    let files = std::fs::read_dir(receiver.state().join("spool")).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap()
}

/// Which of them were put out.
fn put_out(receiver: &Receiver, daemon: &Daemon) -> Vec<u64> {
    daemon.drained();
    let lines = receiver.output().of("github");
    let number = |line: &serde_json::Value| {
        line["cve_id"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap()
    };
    lines.iter().map(number).collect()
}

#[test]
fn damage_to_one_event_in_the_spool_costs_that_one_and_is_said() {
    let receiver = waiting();
    let file = spool(&receiver);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(12).position(|window| window == b"CVE-2026-25\"").unwrap();
    bytes[at + 3] ^= 0x20;
    std::fs::write(&file, &bytes).unwrap();
    let daemon = receiver.start();
    let expected: Vec<u64> = (0..50).filter(|n| *n != 25).collect();
    assert_eq!(put_out(&receiver, &daemon), expected);
    assert!(daemon.log().contains(".spool"), "nothing is said of it: {}", daemon.log());
    // Repeats of the others are known, and the lost one can be sent again.
    for n in 0..50 {
        daemon.expect(200, &delivery(n));
    }
    daemon.expect(200, &delivery(50));
    let mut numbers = put_out(&receiver, &daemon);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..51).collect::<Vec<_>>());
}

#[test]
fn what_was_only_begun_in_the_spool_was_not_promised() {
    // Half a frame, noise, zeros as some file systems leave them, a length beyond all bounds.
    let zeros = vec![0; 100_000];
    for end in [
        &b"\x40\0\0\0\x12\x34\x56\x78half of it"[..],
        b"\x07\x01",
        &zeros,
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let receiver = waiting();
        let file = spool(&receiver);
        let mut bytes = std::fs::read(&file).unwrap();
        // Behind the last line is only room.
        bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1);
        std::fs::write(&file, [&bytes, end].concat()).unwrap();
        let daemon = receiver.start();
        daemon.expect(200, &delivery(49));
        daemon.expect(200, &delivery(50));
        assert_eq!(put_out(&receiver, &daemon), (0..51).collect::<Vec<_>>());
        daemon.kill();
        let daemon = receiver.start();
        daemon.expect(200, &delivery(50));
        assert_eq!(put_out(&receiver, &daemon), (0..51).collect::<Vec<_>>());
    }
}

#[test]
fn other_files_in_its_state_are_not_touched() {
    let receiver = waiting();
    let folder = receiver.state().join("spool");
    std::fs::write(folder.join("README"), "somebody's").unwrap();
    std::fs::write(folder.join("x.spool"), "somebody's").unwrap();
    std::fs::create_dir(folder.join("lost+found")).unwrap();
    let daemon = receiver.start();
    assert_eq!(put_out(&receiver, &daemon).len(), 50);
    daemon.stop();
    for name in ["README", "x.spool"] {
        assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), "somebody's");
    }
}

#[test]
fn damage_to_what_it_remembers_of_old_deliveries_does_not_stop_it() {
    let receiver = receiver("");
    let daemon = receiver.start();
    (0..30).for_each(|n| _ = daemon.expect(200, &delivery(n)));
    daemon.drained();
    daemon.kill();
    // Their file goes, and they are kept elsewhere.
    let daemon = receiver.start();
    daemon.expect(200, &delivery(30));
    let seen = receiver.state().join("seen");
    assert!(eventually(Duration::from_secs(10), || std::fs::metadata(&seen)
        .is_ok_and(|meta| meta.len() >= 30 * 24)));
    daemon.kill();
    let mut bytes = std::fs::read(&seen).unwrap();
    bytes[24 * 7 + 3] ^= 1;
    bytes.extend(b"torn");
    std::fs::write(&seen, bytes).unwrap();
    let daemon = receiver.start();
    (0..31).for_each(|n| _ = daemon.expect(200, &delivery(n)));
    daemon.drained();
    // Each is known by two names, of which one delivery has lost one.
    assert_eq!(receiver.output().of("github").len(), 31);
}

#[test]
fn whoever_takes_all_descriptors_stops_it_only_as_long_as_he_has_them() {
    if !require(kernel::has("prlimit"), "prlimit") {
        return;
    }
    let receiver = receiver("connections = 500\nconnections_per_peer = 500\nheader_timeout = \"60s\"\n");
    let daemon = receiver.start_behind(&["prlimit", "--nofile=40:40"]);
    (0..10).for_each(|n| _ = daemon.expect(200, &login(&format!("u{n}"))));
    let mut inside = daemon.connect();
    assert_eq!(inside.ask(&login("u10")).unwrap().status, 200);
    let held: Vec<Connection> = (0..100).map(|_| daemon.connect()).collect();
    std::thread::sleep(Duration::from_secs(1));
    // Who is in is served, and what is accepted is not lost.
    for n in 11..40 {
        assert_eq!(inside.ask(&login(&format!("u{n}"))).unwrap().status, 200);
    }
    assert!(daemon.log().lines().count() < 10, "{}", daemon.log());
    drop(held);
    let accepted = eventually(Duration::from_secs(10), || {
        Connection::to(receiver.address())
            .unwrap()
            .ask(&login("u40"))
            .is_ok_and(|answer| answer.status == 200)
    });
    assert!(accepted, "{}", daemon.log());
    daemon.drained();
    assert!(receiver.output().of("application").len() >= 41);
}

#[test]
fn it_listens_at_addresses_of_ipv6_too() {
    let receiver = receiver("");
    let port = match receiver.address().ip() {
        std::net::IpAddr::V4(address) => {
            20_000 + u16::from(address.octets()[3]) + 256 * u16::from(address.octets()[2] % 40)
        }
        std::net::IpAddr::V6(_) => unreachable!(),
    };
    receiver.configure(
        &format!("listen = \"[::1]:{port}\"\n"),
        &receiver.sources("requests_per_minute_per_peer = 0\n"),
    );
    let daemon = receiver.start();
    let address = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
    assert_eq!(Connection::to(address).unwrap().ask(&delivery(1)).unwrap().status, 200);
    let wrong = delivery(2).without("X-Hub-Signature-256");
    assert_eq!(Connection::to(address).unwrap().ask(&wrong).unwrap().status, 401);
    assert_eq!(daemon.lines("custom-webhook", 2)[1]["srcip"], "::1");
}
