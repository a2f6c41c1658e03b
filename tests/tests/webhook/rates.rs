//! How often somebody may come.

use std::time::Duration;

use harness::webhook::client::Request;
use harness::webhook::{Receiver, SOURCES, delivery, login};

use crate::receiver;

/// With these limits for each source: a tenth of a minute's worth at once.
fn limited(all: u32, each: u32) -> Receiver {
    let receiver = receiver("");
    let rates = format!("requests_per_minute = {all}\nrequests_per_minute_per_peer = {each}\n");
    receiver.configure("", &receiver.sources(&rates));
    receiver
}

#[test]
fn a_peer_that_comes_too_often_is_answered_429_and_when_to_come_again() {
    let receiver = limited(0, 20);
    let daemon = receiver.start();
    let ask = |peer: &str, n| daemon.connect_from(peer).ask(&delivery(n)).unwrap();
    assert!((0..2).all(|n| ask("127.0.0.2", n).status == 200));
    let refused = ask("127.0.0.2", 6);
    let after: u64 = refused.header("retry-after").expect("Retry-After").parse().unwrap();
    assert_eq!((refused.status, (1..=3).contains(&after)), (429, true), "{after}");
    // Others, and other sources, have limits of their own.
    assert_eq!(ask("127.0.0.3", 7).status, 200);
    assert_eq!(daemon.connect_from("127.0.0.2").ask(&login("alice")).unwrap().status, 200);
    std::thread::sleep(Duration::from_secs(after) + Duration::from_millis(100));
    assert_eq!(ask("127.0.0.2", 6).status, 200, "who waits as long as it was told is let in");
    assert_eq!(daemon.lines("github", 4).len(), 4);
}

#[test]
fn a_source_that_is_used_too_often_is_answered_429_and_when_to_come_again() {
    let receiver = limited(30, 0);
    let daemon = receiver.start();
    let ask = |last: u32, n| daemon.connect_from(&format!("127.0.0.{last}")).ask(&delivery(n)).unwrap();
    assert!((0..3).all(|n| ask(2 + u32::try_from(n).unwrap(), n).status == 200));
    let refused = ask(9, 9);
    let after: u64 = refused.header("retry-after").expect("Retry-After").parse().unwrap();
    assert_eq!((refused.status, (1..=2).contains(&after)), (429, true), "{after}");
    daemon.expect(200, &login("alice"));
    std::thread::sleep(Duration::from_secs(after) + Duration::from_millis(100));
    assert_eq!(ask(9, 9).status, 200);
    let words: Vec<_> = daemon.lines("custom-webhook", 2).iter().map(|line| line["event"].clone()).collect();
    assert_eq!(words, ["started", "rate_limited"]);
}

#[test]
fn strangers_cannot_use_up_what_the_real_sender_may_send() {
    let receiver = limited(60, 30);
    let daemon = receiver.start();
    let wrong = delivery(1).with("X-Hub-Signature-256", &format!("sha256={}", "0".repeat(64)));
    for last in 10..40 {
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(daemon.connect_from(&format!("127.0.0.{last}")).ask(&wrong).unwrap().status);
        }
        assert!(answers.iter().all(|status| [401, 429].contains(status)), "{answers:?}");
    }
    // GitHub does not come again by itself.
    let answer = daemon.connect_from("127.0.0.2").ask(&delivery(1)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.head);
}

#[test]
fn a_sender_that_shares_its_address_with_strangers_is_let_in() {
    let receiver = limited(0, 10);
    let daemon = receiver.start();
    let large = Request::new("POST", "/webhook/github", "x".repeat(20 * 1024 * 1024));
    let wrong = delivery(1).with("X-Hub-Signature-256", &format!("sha256={}", "0".repeat(64)));
    let answers: Vec<u16> = (0..20).map(|_| daemon.ask(&wrong).status).collect();
    assert_eq!((answers[0], answers[19]), (401, 429), "{answers:?}");
    // Nor is more looked at than costs little; also who writes all before it reads is told so.
    assert_eq!(daemon.ask(&large).status, 429);
    assert_eq!(daemon.ask(&delivery(1)).status, 200, "behind the same proxy");
}

#[test]
fn a_limit_of_nought_is_none() {
    let receiver = limited(0, 0);
    let daemon = receiver.start();
    let mut connection = daemon.connect();
    for n in 0..1000 {
        assert_eq!(connection.ask(&login(&format!("u{n}"))).unwrap().status, 200);
    }
    assert_eq!(SOURCES.len(), 4);
    daemon.lines("application", 1000);
}
