//! What went wrong at the door: said of each peer and in all at a bounded rate,
//! and none of it is lost.

use std::time::{Duration, Instant};

use harness::eventually;
use harness::webhook::{Daemon, delivery};
use serde_json::Value;

use crate::receiver;

const MINUTE: Duration = Duration::from_secs(60);

fn wrong(daemon: &Daemon, peer: &str, count: usize) {
    let request = delivery(1).with("X-Hub-Signature-256", &format!("sha256={}", "0".repeat(64)));
    for _ in 0..count {
        assert_eq!(daemon.connect_from(peer).ask(&request).unwrap().status, 401);
    }
}

fn said(daemon: &Daemon, output: &harness::webhook::lines::Output) -> Vec<Value> {
    daemon.drained();
    output.of("custom-webhook").into_iter().filter(|line| line["event"] == "signature_invalid").collect()
}

fn count(lines: &[Value]) -> i64 {
    lines.iter().map(|line| line["count"].as_i64().unwrap()).sum()
}

#[test]
fn a_thousand_wrong_signatures_are_a_few_events_and_lines_of_log_and_their_number() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let began = Instant::now();
    wrong(&daemon, "127.0.0.2", 500);
    for last in 10..110 {
        wrong(&daemon, &format!("127.0.0.{last}"), 5);
    }
    let lines = said(&daemon, &receiver.output());
    assert!(began.elapsed() < MINUTE, "too slow to tell");
    assert!((2..=30).contains(&lines.len()), "{}", lines.len());
    assert_eq!(
        (&lines[0]["srcip"], &lines[0]["for_source"]),
        (&"127.0.0.2".into(), &"github".into()),
        "{:#}",
        lines[0]
    );
    assert_eq!(lines.iter().filter(|line| line["srcip"] == "127.0.0.2").count(), 1, "once for each peer");
    assert!(daemon.log().lines().count() < 40, "{}", daemon.log());
    // A minute later the rest is one number.
    let all = eventually(MINUTE + Duration::from_secs(15), || {
        std::thread::sleep(Duration::from_millis(500));
        count(&said(&daemon, &receiver.output())) == 1000
    });
    let lines = said(&daemon, &receiver.output());
    assert!(all, "{} of 1000 in {lines:#?}", count(&lines));
    assert!(lines.len() <= 32 && daemon.log().lines().count() < 45);
    assert!(lines.last().unwrap()["srcip"].is_null(), "many peers are not one address");
    // And then it is said anew, a minute after the first.
    let anew = eventually(Duration::from_secs(10), || {
        std::thread::sleep(Duration::from_millis(500));
        wrong(&daemon, "127.0.0.2", 1);
        said(&daemon, &receiver.output()).last().unwrap()["srcip"] == "127.0.0.2"
    });
    assert!(anew, "{:#?}", said(&daemon, &receiver.output()));
}

#[test]
fn what_was_not_said_yet_is_said_at_the_end() {
    let receiver = receiver("");
    let daemon = receiver.start();
    wrong(&daemon, "127.0.0.2", 100);
    daemon.stop();
    let daemon = receiver.start();
    assert_eq!(count(&said(&daemon, &receiver.output())), 100);
}

#[test]
fn an_event_of_a_stranger_has_nothing_of_what_the_stranger_wrote() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let request = delivery(1)
        .with("X-Hub-Signature-256", "sha256=made-up")
        .with("X-GitHub-Event", "made-up")
        .with("User-Agent", "made-up\" } \\n")
        .with("X-Forwarded-For", "203.0.113.66");
    daemon.expect(401, &request);
    daemon.drained();
    let text = std::fs::read_to_string(receiver.output().path()).unwrap() + &daemon.log();
    assert!(!text.contains("made-up") && !text.contains("203.0.113.66"), "{text}");
}
