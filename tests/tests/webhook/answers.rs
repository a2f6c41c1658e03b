//! What is answered, and what of it is written.

use std::time::Duration;

use harness::webhook::client::Request;
use harness::webhook::{SOURCES, alarm, delivery, event, github, login, row, signed_event};
use serde_json::json;

use crate::receiver;

const MEGABYTE: usize = 1024 * 1024;

/// One good request for each source.
fn good() -> [Request; 4] {
    [delivery(1), login("alice"), row(1), alarm("the roof is on fire")]
}

#[test]
fn what_is_authentic_is_answered_200_and_is_a_line() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for (source, request) in SOURCES.into_iter().zip(good()) {
        let answer = daemon.expect(200, &request);
        assert!(!answer.closes(), "{source}: the connection can be used again");
        let line = &daemon.lines(source, 1)[0];
        assert_eq!(line["toolkit"], "custom-webhook");
        assert!(line["event"].is_string(), "{line:#}");
    }
    let line = &daemon.lines("github", 1)[0];
    assert_eq!((&line["event"], &line["severity"]), (&json!("security_advisory"), &json!("critical")));
    let line = &daemon.lines("application", 1)[0];
    assert_eq!((&line["srcip"], &line["dstuser"]), (&json!("203.0.113.7"), &json!("alice")));
    daemon.stop();
}

#[test]
fn many_events_of_one_request_are_many_lines() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let one = |n: usize| json!({"action": "api_call", "level": "info", "user": format!("u{n}")}).to_string();
    let list = format!("[{}]", (0..300).map(one).collect::<Vec<_>>().join(","));
    daemon.expect(200, &event(&list));
    let lines = (300..500).map(one).collect::<Vec<_>>().join("\n");
    daemon.expect(200, &event(&lines).with("Content-Type", "application/x-ndjson"));
    let users: Vec<_> = daemon.lines("application", 500).iter().map(|line| line["dstuser"].clone()).collect();
    assert_eq!(users, (0..500).map(|n| json!(format!("u{n}"))).collect::<Vec<_>>());
}

#[test]
fn what_is_not_authentic_is_answered_401_without_detail_and_not_written() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let mut texts = Vec::new();
    let [github, login, row, alarm] = good();
    let signed = signed_event("msg_1", "{\"action\":\"auth_login\"}");
    let requests = [
        github.clone().without("X-Hub-Signature-256"),
        github.clone().with("X-Hub-Signature-256", &format!("sha256={}", "0".repeat(64))),
        github.clone().with("X-Hub-Signature-256", "sha256="),
        github.clone().with("X-Hub-Signature-256", "sha1=0123456789abcdef0123456789abcdef01234567"),
        // Of another body.
        delivery(2).with(
            "X-Hub-Signature-256",
            &harness::webhook::sign::github(harness::webhook::GITHUB, github.body()),
        ),
        login.clone().without("Authorization"),
        login.clone().with("Authorization", "Bearer "),
        login.clone().with("Authorization", "Bearer a-token-of-nobody-at-all"),
        login.clone().with("Authorization", &format!("Basic {}", harness::webhook::TOKEN)),
        signed.clone().with("webhook-id", "msg_2"),
        signed.clone().with("webhook-timestamp", &(harness::webhook::sign::now() - 100).to_string()),
        signed.clone().with("webhook-signature", "v1,AAAA"),
        stale(),
        row.clone().without("X-Webhook-Secret"),
        row.clone().with("X-Webhook-Secret", "x"),
        alarm.without("Authorization"),
        // Another source's secret is none here.
        row.with("X-Webhook-Secret", harness::webhook::TOKEN),
    ];
    for request in &requests {
        let answer = daemon.expect(401, request);
        texts.push((answer.text(), answer.header("www-authenticate").map(str::to_owned)));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "whoever it is, and why, it is the same answer: {texts:?}");
    assert!(texts[0].0.len() < 40, "{texts:?}");
    daemon.drained();
    for source in SOURCES {
        assert!(receiver.output().of(source).is_empty(), "{source}");
    }
}

/// Signed properly, an hour ago.
fn stale() -> Request {
    use harness::webhook::{SIGNING, sign};
    let (at, body) = (sign::now() - 3600, "{\"action\":\"auth_login\"}");
    signed_event("msg_9", body)
        .with("webhook-timestamp", &at.to_string())
        .with("webhook-signature", &sign::standard(SIGNING, "msg_9", at, body.as_bytes()))
}

#[test]
fn what_is_authentic_and_broken_is_answered_400_and_not_written() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for body in ["", "{", "[1]", "\"x\"", "nonsense", "{\"action\":\"auth_login\"", "\u{feff}{}"] {
        assert_eq!(daemon.ask(&github("push", "d-1", body)).status, 400, "{body:?}");
    }
    for body in ["{", "[1]", "\"x\"", "{\"level\":\"info\"}", "{\"action\":\"auth_login\"} {", "nonsense"] {
        assert_eq!(daemon.ask(&event(body)).status, 400, "{body:?}");
    }
    daemon.expect(400, &delivery(1).without("X-GitHub-Event"));
    daemon.expect(400, &delivery(1).with("X-GitHub-Event", "../../etc/passwd"));
    daemon.drained();
    for source in SOURCES {
        assert!(receiver.output().of(source).is_empty(), "{source}");
    }
    // One event that is broken: none of that delivery.
    let events = "[{\"action\":\"auth_login\"},{\"level\":\"info\"},{\"action\":\"auth_logout\"}]";
    daemon.expect(400, &event(events));
    daemon.expect(200, &login("alice"));
    assert_eq!(daemon.lines("application", 1)[0]["dstuser"], "alice");
}

#[test]
fn other_paths_and_methods_are_answered_404_and_405() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for path in [
        "/",
        "/webhook",
        "/webhook/github/",
        "/webhook/githu",
        "//webhook/github",
        "/metrics",
        "/healthz",
        "/events/1",
    ] {
        daemon.expect(404, &delivery(1).path(path));
        daemon.expect(404, &Request::new("GET", path, ""));
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "POSTX", "post"] {
        let answer = daemon.expect(405, &delivery(1).method(method));
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
    // What a proxy or a curious person adds does not matter.
    daemon.expect(200, &delivery(1).path("/webhook/github?from=a-proxy"));
    daemon.expect(200, &login("alice").path("/api/wazuh/log"));
    assert_eq!(daemon.lines("github", 1).len() + daemon.lines("application", 1).len(), 2);
}

#[test]
fn a_name_that_is_no_event_of_githubs_is_told_and_keeps_nobody_from_starting() {
    let receiver = receiver("");
    let tables = |lists: &str| receiver.sources("").replace("[github]\n", &format!("[github]\n{lists}\n"));
    let judged = |lists: &str| {
        receiver.configure("", &tables(lists));
        let checked = receiver.verb(&["--check-config"]);
        assert_eq!(checked.status.code(), Some(0), "{lists}");
        let doctor = String::from_utf8(receiver.verb(&["doctor"]).stdout).unwrap();
        [String::from_utf8(checked.stderr).unwrap(), doctor]
    };
    let misspelt = "allow = [\"dependabot_alerts\", \"push\"]\ndeny = [\"pushes.opened\", \"issues.opened\"]";
    for said in judged(misspelt) {
        assert!(said.contains("github.allow names dependabot_alerts,"), "{said}");
        assert!(said.contains("github.deny names pushes.opened,"), "{said}");
    }
    for said in judged("allow = [\"dependabot_alert.created\", \"push\", \"star\"]") {
        assert!(!said.contains("misspelt"), "{said}");
    }
    // GitHub may have it tomorrow: then it is taken.
    receiver.configure("", &tables("allow = [\"the_next_event\"]"));
    let daemon = receiver.start();
    assert!(harness::eventually(Duration::from_secs(5), || daemon.log().contains("names the_next_event,")));
    receiver.configure("", &tables("deny = [\"pushes\"]\nallow = [\"the_next_event\"]"));
    daemon.hang_up();
    assert!(daemon.log().contains("github.deny names pushes,"), "{}", daemon.log());
    daemon.expect(200, &delivery(1));
    daemon.expect(200, &github("the_next_event", "next", "{}"));
    assert_eq!(daemon.lines("github", 1)[0]["event"], "the_next_event");
}

#[test]
fn a_body_that_is_too_large_is_answered_413_by_its_length_and_by_its_pieces() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let large = event(&format!("{{\"action\":\"auth_login\",\"x\":\"{}\"}}", "y".repeat(MEGABYTE)));
    // By what is announced: nothing of it need be sent.
    let mut connection = daemon.connect();
    connection.send(format!("{}Content-Length: 1048577\r\n\r\n", large.head()).as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 413);
    // With "Expect", as curl does it: it must not be told to go on.
    let mut connection = daemon.connect();
    connection
        .send(format!("{}Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n", large.head()).as_bytes())
        .unwrap();
    assert_eq!(connection.answer().unwrap().status, 413);
    // A length beyond every number.
    let mut connection = daemon.connect();
    connection
        .send(format!("{}Content-Length: 99999999999999999999\r\n\r\n", large.head()).as_bytes())
        .unwrap();
    assert!([400, 413].contains(&connection.answer().unwrap().status));
    // In pieces, none of which says how many will come.
    let mut connection = daemon.connect();
    connection.send(&large.chunked(10_000)).unwrap();
    assert_eq!(connection.answer().unwrap().status, 413);
    assert!(daemon.lines("application", 0).is_empty());
    // As much as may be.
    let body = format!("{{\"action\":\"auth_login\",\"x\":\"{}\"}}", "y".repeat(MEGABYTE - 30));
    assert_eq!(body.len(), MEGABYTE);
    daemon.expect(200, &event(&body));
    let mut connection = daemon.connect();
    connection.send(&event(&body).chunked(65_536)).unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
    assert_eq!(daemon.lines("application", 2).len(), 2);
}

#[test]
fn a_sender_that_writes_all_before_it_reads_is_told_that_it_was_too_much() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for request in [
        event(&"x".repeat(4 * MEGABYTE)),
        event(&"x".repeat(30 * MEGABYTE)),
        Request::new("POST", "/webhook/github", "x".repeat(30 * MEGABYTE)),
        delivery(1).path("/nowhere").method("PUT"),
        Request::new("PUT", "/events", "x".repeat(200_000)),
        Request::new("POST", "/nowhere", "x".repeat(200_000)),
    ] {
        let mut connection = daemon.connect();
        let sent = connection.send(&request.bytes());
        let answer = connection.answer();
        // A reset instead of the answer would look like an accident, to be tried again.
        let status = answer.as_ref().map(|answer| answer.status);
        assert!(
            status.is_ok_and(|status| [404, 405, 413].contains(&status)),
            "{sent:?}, {answer:?}: {}",
            request.head()
        );
    }
}

#[test]
fn a_body_of_an_unknown_kind_is_answered_415() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for kind in
        ["text/html", "application/xml", "multipart/form-data; boundary=x", "application/octet-stream"]
    {
        for request in good() {
            daemon.expect(415, &request.with("Content-Type", kind));
        }
    }
    let form = github("push", "d-2", "payload=%7B%22ref%22%3A+%22refs%2Fheads%2Fmain%22%7D");
    daemon.expect(200, &form.with("Content-Type", "application/x-www-form-urlencoded"));
    assert_eq!(daemon.lines("github", 1)[0]["event"], "push");
}

#[test]
fn whoever_asks_whether_to_go_on_is_told_so() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let request = delivery(1);
    let mut connection = daemon.connect();
    let head =
        format!("{}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", request.head(), request.body().len());
    connection.send(head.as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 100);
    connection.send(request.body()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
    assert_eq!(daemon.lines("github", 1).len(), 1);
}

#[test]
fn old_clients_and_a_ping_are_answered() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let mut connection = daemon.connect();
    let old = String::from_utf8(delivery(1).bytes()).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    connection.send(old.as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
    assert!(connection.is_closed_within(Duration::from_secs(5)));
    assert_eq!(daemon.lines("github", 1).len(), 1);
    daemon.expect(200, &github("ping", "d-3", "{\"zen\":\"Keep it logically awesome.\",\"hook_id\":1}"));
}

#[test]
fn a_sample_is_sent_as_its_sender_would() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let alarm = alarm("disk full");
    for (source, event, body) in [
        ("github", "security_advisory", delivery(1).body().to_vec()),
        ("application", "", login("alice").body().to_vec()),
        ("supabase", "", row(1).body().to_vec()),
        ("monitor", "", alarm.body().to_vec()),
    ] {
        let file = receiver.dir().join("sample.json");
        std::fs::write(&file, body).unwrap();
        let mut words = vec!["send", "--source", source];
        if !event.is_empty() {
            words.extend(["--event", event]);
        }
        words.push(file.to_str().unwrap());
        let ended = receiver.verb(&words);
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success() && said.contains("200"), "{source}: {said} {ended:?}");
        daemon.lines(source, 1);
    }
    let ended = receiver.verb(&["send", "--source", "nobody", receiver.config().to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(1));
}
