//! Senders that are slow, idle or many, and those who come beside them.

use std::time::{Duration, Instant};

use harness::webhook::client::Connection;
use harness::webhook::{Daemon, delivery, login};

use crate::receiver;

const STEP: Duration = Duration::from_millis(100);
/// What passes on a machine that is busy.
const GRACE: Duration = Duration::from_secs(4);

/// Writes byte by byte until the other end has had enough of it; how long that
/// took, and the number of its answer, if there was one.
fn trickle(connection: &mut Connection, bytes: &[u8]) -> (Duration, Option<u16>) {
    let began = Instant::now();
    let patience = connection.stream().try_clone().unwrap();
    patience.set_read_timeout(Some(STEP)).unwrap();
    for byte in bytes.iter().cycle() {
        if connection.send(&[*byte]).is_err() {
            break;
        }
        match connection.answer() {
            Ok(answer) => return (began.elapsed(), Some(answer.status)),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it waits for ever");
    }
    (began.elapsed(), connection.answer().ok().map(|answer| answer.status))
}

fn is_near(took: Duration, limit: Duration) -> bool {
    (limit.saturating_sub(2 * STEP)..limit + GRACE).contains(&took)
}

#[test]
fn a_head_that_comes_byte_by_byte_has_its_time_and_no_more() {
    let receiver = receiver("header_timeout = \"2s\"\n");
    let daemon = receiver.start();
    let (took, status) =
        trickle(&mut daemon.connect(), format!("{}X-Slow: ", login("alice").head()).as_bytes());
    assert!(is_near(took, Duration::from_secs(2)), "{took:?}");
    assert!(status.is_none_or(|status| status == 408), "{status:?}");
}

#[test]
fn a_body_that_comes_byte_by_byte_is_answered_408_and_not_written() {
    let receiver = receiver("request_timeout = \"2s\"\n");
    let daemon = receiver.start();
    let request = delivery(1);
    let mut connection = daemon.connect();
    connection
        .send(format!("{}Content-Length: {}\r\n\r\n", request.head(), request.body().len()).as_bytes())
        .unwrap();
    let (took, status) = trickle(&mut connection, request.body());
    assert!(is_near(took, Duration::from_secs(2)), "{took:?}");
    assert_eq!(status, Some(408));
    assert!(connection.is_closed_within(GRACE));
    assert!(daemon.lines("github", 0).is_empty());
}

#[test]
fn whoever_says_nothing_is_sent_away_also_after_a_request() {
    let receiver = receiver("header_timeout = \"5s\"\n");
    let daemon = receiver.start();
    let (mut silent, mut idle) = (daemon.connect(), daemon.connect());
    assert_eq!(idle.ask(&delivery(1)).unwrap().status, 200);
    let began = Instant::now();
    assert!(!idle.is_closed_within(Duration::from_millis(1500)), "it may be used again");
    assert_eq!(idle.ask(&delivery(2)).unwrap().status, 200);
    assert!(silent.is_closed_within(Duration::from_secs(5) + GRACE), "after {:?}", began.elapsed());
    assert!(idle.is_closed_within(Duration::from_secs(5) + GRACE));
}

#[test]
fn one_peer_has_so_many_connections_and_others_have_theirs() {
    let receiver = receiver("connections = 12\nconnections_per_peer = 5\n");
    let daemon = receiver.start();
    let open = |peer: &str| {
        let mut connection = daemon.connect_from(peer);
        connection.ask(&login("alice")).is_ok_and(|answer| answer.status == 200).then_some(connection)
    };
    let mut first: Vec<Connection> = (0..5).map(|_| open("127.0.0.2").unwrap()).collect();
    assert!((0..5).all(|_| open("127.0.0.2").is_none()), "a sixth one");
    let second: Vec<Connection> = (0..5).map(|_| open("127.0.0.3").unwrap()).collect();
    let third: Vec<Connection> = (0..2).map(|_| open("127.0.0.4").unwrap()).collect();
    assert!(open("127.0.0.5").is_none(), "a thirteenth one");
    assert_eq!(daemon.metric("connections"), Some(12.0));
    assert!(daemon.metric("connections_refused_total") >= Some(6.0));
    // Those who are in do not notice.
    assert!(first.iter_mut().all(|connection| connection.ask(&login("bob")).is_ok()));
    // Who goes makes room.
    drop(first.pop());
    let mut late = None;
    assert!(harness::eventually(GRACE, || {
        late = open("127.0.0.5");
        late.is_some()
    }));
    drop((first, second, third, late));
    assert!(
        harness::eventually(GRACE, || daemon.metric("connections") == Some(0.0)),
        "{:?}",
        daemon.metric("connections")
    );
}

#[test]
fn a_slow_loris_keeps_nobody_else_out() {
    let receiver = receiver("header_timeout = \"30s\"\n");
    let daemon = receiver.start();
    // As many as it gets, each in the middle of a head or of a body.
    let mut held = Vec::new();
    for n in 0..400 {
        let mut connection = daemon.connect_from("127.0.0.2");
        let request = delivery(n);
        let begun = match n % 3 {
            0 => "POST /events HT".to_owned(),
            1 => request.head(),
            _ => format!("{}Content-Length: 20000000\r\n\r\n{{", request.head()),
        };
        let _ = connection.send(begun.as_bytes());
        held.push(connection);
    }
    assert!(daemon.metric("connections") <= Some(64.0), "{:?}", daemon.metric("connections"));
    let began = Instant::now();
    for n in 0..20 {
        let answer = daemon.connect_from("127.0.0.3").ask(&delivery(1000 + n)).unwrap();
        assert_eq!(answer.status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
}

#[test]
fn strangers_with_large_bodies_keep_no_event_of_a_usual_size_out() {
    let receiver = receiver("");
    let daemon = receiver.start();
    // Three that would be GitHub's largest, and as many that would be others', as
    // far as one address gets.
    let mut held = Vec::new();
    for n in 0..40 {
        let mut connection = daemon.connect_from("127.0.0.2");
        let (request, begun) = match n % 2 {
            0 => (delivery(n), 67_000),
            _ => (login("mallory"), 1_000_000),
        };
        let head = format!("{}Transfer-Encoding: chunked\r\n\r\n{begun:x}\r\n", request.head());
        connection.stream().set_write_timeout(Some(STEP)).unwrap();
        let _ = connection.send(head.as_bytes());
        let _ = connection.send(&vec![b'x'; begun]);
        held.push(connection);
    }
    let alarm = harness::webhook::alarm(&"x".repeat(300_000));
    for n in 0..5 {
        let began = Instant::now();
        assert_eq!(daemon.connect_from("127.0.0.3").ask(&delivery(n)).unwrap().status, 200);
        assert_eq!(daemon.connect_from("127.0.0.3").ask(&alarm).unwrap().status, 200);
        assert!(began.elapsed() < GRACE, "{:?}", began.elapsed());
    }
    // Those that are slow give their room to one that comes.
    let began = Instant::now();
    let push = format!("{{\"ref\":\"x\",\"before\":\"{}\"}}", "y".repeat(3_000_000));
    let large = harness::webhook::github("push", "large", &push);
    assert_eq!(daemon.connect_from("127.0.0.3").ask(&large).unwrap().status, 200);
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

#[test]
fn whoever_brings_nothing_makes_room_when_all_connections_are_taken() {
    let receiver = receiver("connections = 20\nconnections_per_peer = 5\nheader_timeout = \"60s\"\n");
    let daemon = receiver.start();
    let mut inside = daemon.connect_from("127.0.0.9");
    assert_eq!(inside.ask(&login("alice")).unwrap().status, 200);
    let held: Vec<Connection> =
        (0..30).map(|n| daemon.connect_from(&format!("127.0.0.{}", 20 + n / 5))).collect();
    std::thread::sleep(Duration::from_millis(2500));
    for n in 0..10 {
        let answer = daemon.connect_from("127.0.0.3").ask(&delivery(n));
        assert!(answer.is_ok_and(|answer| answer.status == 200), "{n}");
    }
    assert_eq!(inside.ask(&login("bob")).unwrap().status, 200, "who was of use stays");
    assert!(daemon.metric("connections_closed_total") >= Some(1.0));
    drop(held);
}

#[test]
fn whoever_breaks_off_leaves_nothing_behind() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let whole = delivery(1).bytes();
    for at in (1..whole.len()).step_by(97) {
        let mut connection = daemon.connect();
        connection.send(&whole[..at]).unwrap();
        drop(connection);
    }
    closes_all(&daemon);
    // All sent, and gone without waiting for the answer: written, or not.
    for n in 0..50 {
        let mut connection = daemon.connect();
        connection.send(&delivery(100 + n).bytes()).unwrap();
    }
    closes_all(&daemon);
    daemon.drained();
    let lines = receiver.output().of("github");
    assert!(lines.len() <= 50 && lines.iter().all(|line| line["cve_id"] != "CVE-2026-1"), "{lines:#?}");
    // Whoever sends it once more has it written once.
    for n in 0..50 {
        daemon.expect(200, &delivery(100 + n));
    }
    daemon.lines("github", 50);
}

fn closes_all(daemon: &Daemon) {
    let none = harness::eventually(GRACE, || daemon.metric("connections") == Some(0.0));
    assert!(none, "{:?} connections are open", daemon.metric("connections"));
}
