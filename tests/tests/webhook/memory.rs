//! How much memory it takes, as the kernel counts it, whatever is sent.

use std::time::Duration;

use harness::webhook::client::Connection;
use harness::webhook::{Daemon, advisory, alarm, delivery, github};

use crate::receiver;

/// It never has more, in KiB.
const MOST: u64 = 64 * 1024;
const MEGABYTE: usize = 1024 * 1024;

#[track_caller]
fn is_small(daemon: &Daemon, what: &str) {
    let peak = daemon.peak();
    assert!(peak < MOST, "{what}: {} MiB", peak / 1024);
}

/// A push that is almost as large as GitHub's largest.
fn large(number: usize) -> String {
    format!(
        "{{\"ref\":\"refs/heads/{number}\",\"commits\":[{{\"message\":\"{}\"}}]}}",
        "m".repeat(24 * MEGABYTE)
    )
}

#[test]
fn load_takes_little_memory() {
    let receiver = receiver("events_per_second = 0\n");
    let daemon = receiver.start();
    std::thread::scope(|scope| {
        for peer in 0..32 {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut connection = daemon.connect();
                for n in 0..150 {
                    assert_eq!(connection.ask(&delivery(peer * 1000 + n)).unwrap().status, 200);
                }
            });
        }
    });
    is_small(&daemon, "32 connections");
    daemon.drained();
    daemon.lines("github", 32 * 150);
    // What waits to be put out waits on the disk.
    receiver.configure(
        "events_per_second = 1\n",
        &receiver.sources("requests_per_minute = 0\nrequests_per_minute_per_peer = 0\n"),
    );
    daemon.stop();
    let daemon = receiver.start();
    let mut connection = daemon.connect();
    for n in 100_000..103_000 {
        assert_eq!(connection.ask(&delivery(n)).unwrap().status, 200);
    }
    assert!(daemon.metric("spool_lines") > Some(2000.0));
    is_small(&daemon, "a long queue");
}

#[test]
fn the_largest_bodies_on_several_connections_are_all_taken_and_take_little_memory() {
    let receiver = receiver("");
    let daemon = receiver.start();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let daemon = &daemon;
            scope.spawn(move || {
                let body = large(number);
                let request = github("push", &format!("large-{number}"), &body);
                let mut connection = daemon.connect();
                let bytes = if number % 2 == 0 { request.bytes() } else { request.chunked(100_000) };
                connection.send(&bytes).unwrap();
                assert_eq!(connection.answer().unwrap().status, 200, "{number}");
            });
        }
    });
    daemon.lines("github", 6);
    is_small(&daemon, "six bodies of 24 MB");
}

#[test]
fn bodies_that_never_end_take_little_memory_and_keep_no_event_out() {
    let receiver = receiver("request_timeout = \"8s\"\n");
    let daemon = receiver.start();
    // Of strangers: who they are is known when all of it is there.
    let body = large(0);
    let head = delivery(1).without("X-Hub-Signature-256").head();
    let mut held: Vec<Connection> = Vec::new();
    for n in 0..40 {
        let mut connection = daemon.connect_from(&format!("127.0.0.{}", 2 + n % 2));
        connection.stream().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let length = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        let _ = connection.send(length.as_bytes());
        // As much as is taken.
        let _ = connection.send(&body.as_bytes()[..20 * MEGABYTE]);
        held.push(connection);
    }
    let alarm = alarm(&"x".repeat(900_000));
    let all = alarm.bytes();
    for _ in 0..60 {
        let mut connection = daemon.connect_from("127.0.0.4");
        connection.stream().set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        let _ = connection.send(&all[..all.len() - 1]);
        held.push(connection);
    }
    is_small(&daemon, "a hundred bodies without an end");
    // An event is small, and passes them all.
    let began = std::time::Instant::now();
    for n in 0..20 {
        assert_eq!(daemon.connect_from("127.0.0.5").ask(&delivery(n)).unwrap().status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop(held);
    // When their time is over there is room for large ones again.
    let answer = harness::eventually(Duration::from_secs(20), || {
        daemon.connect().ask(&github("push", "large-1", &large(1))).is_ok_and(|answer| answer.status == 200)
    });
    assert!(answer, "{}", daemon.log());
    is_small(&daemon, "and one more");
}

#[test]
fn bodies_that_unfold_take_little_memory() {
    let receiver = receiver("");
    let daemon = receiver.start();
    // Deep, wide, long, and in a form, where every byte is three.
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500_000), "]".repeat(500_000));
    let wide = format!(
        "{{\"ref\":\"x\",{}\"z\":1}}",
        (0..400_000).map(|n| format!("\"k{n}\":{n},")).collect::<String>()
    );
    let list = format!("{{\"commits\":[{}1]}}", "{},".repeat(2_000_000));
    let escaped = format!("{{\"ref\":\"{}\"}}", "\\u0041".repeat(3_000_000));
    let form = format!("payload={}", "%7B".repeat(5_000_000));
    for (what, body) in [("deep", &deep), ("wide", &wide), ("a list", &list), ("escaped", &escaped)] {
        let status = daemon.ask(&github("push", what, body)).status;
        assert!([200, 400].contains(&status), "{what}: {status}");
    }
    let request = github("push", "form", &form).with("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(daemon.ask(&request).status, 400);
    is_small(&daemon, "bodies that unfold");
    assert_eq!(daemon.ask(&github("push", "an-advisory", &advisory(1))).status, 200);
}

/// CRC-32 as zlib has it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

#[test]
fn as_many_deliveries_as_are_remembered_take_little_memory() {
    let receiver = receiver("");
    receiver.start().stop();
    // As it keeps them: 16 bytes of a name, of which 4 are the source's, 4 of its
    // time, 4 of a checksum. Of GitHub's deliveries each has two, and 200,000 are
    // remembered.
    let now = u32::try_from(harness::webhook::sign::now()).unwrap() - 3600;
    let mut bytes = Vec::new();
    for number in 0..400_000_u32 {
        let mut entry = crc32(b"github").to_le_bytes().to_vec();
        entry.extend(number.wrapping_mul(0x9e37_79b1).to_le_bytes().repeat(3));
        entry.extend(now.to_le_bytes());
        entry.extend(crc32(&entry).to_le_bytes());
        bytes.extend(entry);
    }
    std::fs::write(receiver.state().join("seen"), bytes).unwrap();
    let daemon = receiver.start();
    assert!(daemon.metric("known_deliveries") >= Some(190_000.0), "{:?}", daemon.metric("known_deliveries"));
    is_small(&daemon, "when it starts");
    // The oldest make room, and their file is written anew now and then.
    let mut connection = daemon.connect();
    for n in 0..3000 {
        assert_eq!(connection.ask(&delivery(n)).unwrap().status, 200);
    }
    daemon.drained();
    daemon.kill();
    let daemon = receiver.start();
    assert_eq!(daemon.ask(&delivery(0)).status, 200);
    daemon.drained();
    daemon.lines("github", 3000);
    is_small(&daemon, "and once more");
    let peak = daemon.peak();
    assert!(peak < MOST * 3 / 4, "there must be room for bodies beside it: {} MiB", peak / 1024);
}
