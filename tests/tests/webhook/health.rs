//! The second listener.

use std::collections::{BTreeMap, BTreeSet};

use harness::webhook::client::{Connection, Request};
use harness::webhook::{Daemon, delivery, github, login};

use crate::receiver;

/// What Prometheus makes of it: names with labels, and values. Whatever it
/// would not take fails the test.
fn scraped(daemon: &Daemon) -> BTreeMap<String, f64> {
    let answer = daemon.get("/metrics").unwrap();
    assert_eq!(answer.status, 200);
    assert!(
        answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")),
        "{}",
        answer.head
    );
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.ends_with('\n'));
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
            && !name.starts_with(|first: char| first.is_ascii_digit())
    };
    let (mut helped, mut typed, mut values) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    let mut last = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "summary", "histogram"].contains(&kind), "{line}");
            assert!(
                helped.contains(name) && typed.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{line}"
            );
            name.clone_into(&mut last);
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            assert!(is_name(name) && name == last, "{line} stands below {last}");
            if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
                for label in labels.split("\",") {
                    let (label, value) = label.split_once("=\"").unwrap();
                    assert!(is_name(label) && !value.trim_end_matches('"').contains('"'), "{line}");
                }
            }
            assert!(
                typed[name] != "counter"
                    || name.ends_with("_total")
                    || name.ends_with("_sum")
                    || name.ends_with("_count"),
                "{line}"
            );
            assert!(values.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    assert!(typed.keys().all(|name| name.starts_with("custom_webhook_")));
    values
}

#[test]
fn metrics_are_what_prometheus_reads_and_count_what_happened() {
    let receiver = receiver("");
    let daemon = receiver.start();
    scraped(&daemon);
    for n in 0..3 {
        daemon.expect(200, &delivery(n));
    }
    daemon.expect(200, &delivery(0));
    daemon.expect(401, &delivery(4).without("X-Hub-Signature-256"));
    daemon.expect(400, &github("push", "d-1", "{"));
    daemon.expect(200, &login("alice"));
    // Nothing that a sender writes becomes a label.
    daemon.expect(404, &delivery(5).path("/made-up-by-a-stranger"));
    daemon.expect(200, &github("made_up_by_a_sender", "d-2", "{}"));
    daemon.drained();
    let values = scraped(&daemon);
    let count = |source: &str, outcome: &str| {
        values
            .get(&format!("custom_webhook_requests_total{{source=\"{source}\",outcome=\"{outcome}\"}}"))
            .copied()
    };
    assert_eq!(count("github", "accepted"), Some(4.0), "{values:#?}");
    assert_eq!(count("github", "repeat"), Some(1.0));
    assert_eq!(count("github", "unauthorized"), Some(1.0));
    assert_eq!(count("github", "bad_request"), Some(1.0));
    assert_eq!(count("application", "accepted"), Some(1.0));
    // Five events, its start, and the wrong signature.
    daemon.lines("custom-webhook", 2);
    daemon.drained();
    let values = scraped(&daemon);
    let value = |name: &str| values[&format!("custom_webhook_{name}")];
    assert_eq!((value("lines_total"), value("spool_lines")), (7.0, 0.0));
    assert!(value("commits_total") >= 2.0 && value("commit_seconds_sum") > 0.0);
    assert!(!values.keys().any(|name| name.contains("made")), "{values:#?}");
}

#[test]
fn it_says_whether_it_lives_and_whether_it_is_ready_and_nothing_else() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for (path, text) in [("/healthz", "alive"), ("/readyz", "ready")] {
        let answer = daemon.get(path).unwrap();
        assert_eq!((answer.status, answer.text().trim_end()), (200, text));
    }
    for path in ["/", "/metrics/", "/webhook/github", "/../etc/passwd"] {
        assert_eq!(daemon.get(path).unwrap().status, 404, "{path}");
    }
    let ask = |request: Request| Connection::to(receiver.metrics()).unwrap().ask(&request).unwrap().status;
    assert!([404, 405].contains(&ask(Request::new("POST", "/metrics", "x"))));
    // Senders do not see it, and it takes nothing from them.
    assert!([404, 405].contains(&ask(delivery(1))));
    assert_eq!(daemon.ask(&Request::new("GET", "/metrics", "")).status, 404);
    // Whoever holds it open keeps nobody from being answered.
    let _held: Vec<Connection> = (0..20).map(|_| Connection::to(receiver.metrics()).unwrap()).collect();
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
}
