//! Requests that are no proper HTTP, or two requests to one and one to another.

use std::time::Duration;

use harness::webhook::client::Request;
use harness::webhook::{Daemon, delivery, login};

use crate::receiver;

/// What could hide a second request from a proxy, or from us.
const SMUGGLED: &str = "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";

/// Sends bytes; the number of each answer until the connection ends.
fn answers(daemon: &Daemon, bytes: &[u8]) -> Vec<u16> {
    let mut connection = daemon.connect();
    let _ = connection.send(bytes);
    let mut all = Vec::new();
    connection.stream().set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    while let Ok(answer) = connection.answer() {
        all.push(answer.status);
    }
    all
}

/// With these lines instead of the length.
fn framed(request: &Request, lines: &str, body: &str) -> Vec<u8> {
    format!("{}{lines}\r\n{body}", request.head()).into_bytes()
}

#[test]
fn a_request_that_ends_in_two_ways_is_not_taken_for_two() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let request = login("alice");
    let body = String::from_utf8(request.body().to_vec()).unwrap();
    let (length, chunk) = (body.len(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    let inside = format!("0\r\n\r\n{SMUGGLED}");
    for (what, lines, after) in [
        (
            "a length, then pieces",
            format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", inside.len()),
            inside.clone(),
        ),
        (
            "pieces, then a length",
            format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", inside.len()),
            inside.clone(),
        ),
        (
            "pieces, a length of 4",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n".to_owned(),
            chunk.clone() + SMUGGLED,
        ),
    ] {
        // Whoever takes one of them for the end must not go on behind it.
        let got = answers(&daemon, &framed(&request, &lines, &after));
        assert!(got.len() <= 1, "{what}: {got:?}");
    }
    for (what, lines, after) in [
        (
            "two lengths",
            format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
            body.clone() + SMUGGLED,
        ),
        ("two lengths in one", format!("Content-Length: {length}, 0\r\n"), body.clone() + SMUGGLED),
        ("a length with a sign", format!("Content-Length: +{length}\r\n"), body.clone() + SMUGGLED),
        ("a negative one", "Content-Length: -1\r\n".to_owned(), body.clone()),
        ("one in other digits", format!("Content-Length: 0x{length:x}\r\n"), body.clone()),
        ("a folded line", format!("X-Folded: a\r\n b\r\nContent-Length: {length}\r\n"), body.clone()),
        ("a folded length", format!("Content-Length:\r\n {length}\r\n"), body.clone()),
        ("a space before the colon", format!("Content-Length : {length}\r\n"), body.clone()),
        ("pieces and something else", "Transfer-Encoding: chunked, identity\r\n".to_owned(), chunk.clone()),
        ("something else", "Transfer-Encoding: gzip\r\n".to_owned(), chunk.clone()),
        ("pieces with a tab before", "Transfer-Encoding:\x0bchunked\r\n".to_owned(), chunk.clone()),
        ("a header without a name", format!(": x\r\nContent-Length: {length}\r\n"), body.clone()),
        ("a NUL", format!("X-Nul: a\0b\r\nContent-Length: {length}\r\n"), body.clone()),
        ("a bare return", format!("X-Bare: a\rb\r\nContent-Length: {length}\r\n"), body.clone()),
    ] {
        let got = answers(&daemon, &framed(&request, &lines, &after));
        assert!(got.len() == 1 && (400..500).contains(&got[0]) || got == [501], "{what}: {got:?}");
    }
    for (what, chunks) in [
        ("a size with a sign", format!("+{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("a size with a prefix", format!("0x{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("a size beyond all numbers", format!("1{}\r\n{body}\r\n0\r\n\r\n", "0".repeat(20))),
        ("a size that is none", format!("g\r\n{body}\r\n0\r\n\r\n")),
        ("no end of a piece", format!("{length:x}\r\n{body}0\r\n\r\n")),
        ("less than it says", format!("{:x}\r\n{body}\r\n0\r\n\r\n", length - 1)),
    ] {
        let got = answers(&daemon, &framed(&request, "Transfer-Encoding: chunked\r\n", &(chunks + SMUGGLED)));
        assert!(got.len() <= 1 && got.iter().all(|status| (400..500).contains(status)), "{what}: {got:?}");
    }
    daemon.drained();
    let written = receiver.output().of("application");
    assert!(written.len() <= 3, "only what was whole by one of its two ends: {written:#?}");
    // It goes on.
    daemon.expect(200, &delivery(1));
}

#[test]
fn what_is_no_http_is_refused_and_does_no_harm() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let random: Vec<u8> = (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let long = format!("POST /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000));
    for (what, bytes) in [
        ("nothing but lines", "\r\n\r\n\r\n\r\n".repeat(1000).as_bytes()),
        ("noise", &random),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ("HTTP/0.9", b"GET /\r\n\r\n"),
        ("another version", b"POST /events HTTP/3.7\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("a long path", long.as_bytes()),
        ("no path", b"POST HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a path in other bytes", b"POST /\xff\xfe\x00 HTTP/1.1\r\nHost: x\r\n\r\n"),
    ] {
        let got = answers(&daemon, bytes);
        assert!(got.iter().all(|status| *status >= 400), "{what}: {got:?}");
    }
    daemon.expect(200, &delivery(1));
    assert_eq!(daemon.lines("github", 1).len(), 1);
}

#[test]
fn a_head_that_is_too_large_is_refused_before_it_is_whole() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let (kilo, before) = ("x".repeat(1000), daemon.peak());
    let line = |n: usize| format!("X-{n}: {kilo}\r\n");
    // Never an end of it.
    let mut connection = daemon.connect();
    connection.send(login("alice").head().as_bytes()).unwrap();
    let sent = (0..10_000).take_while(|n| connection.send(line(*n).as_bytes()).is_ok()).count();
    assert!(sent < 9_000, "ten megabytes of a head are taken");
    let status = connection.answer().map(|answer| answer.status);
    assert!(status.as_ref().is_ok_and(|status| *status == 431) || status.is_err(), "{status:?}");
    // Many small ones.
    let many: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let got = answers(&daemon, format!("{}{many}\r\n", login("alice").head()).as_bytes());
    assert_eq!(got, [431]);
    assert!(daemon.peak() < before + 4096, "{} KiB and then {}", before, daemon.peak());
    // What proxies add is little.
    let some: String = (0..20).map(|n| format!("X-{n}: {}\r\n", "z".repeat(500))).collect();
    let request = login("alice");
    let head = format!("{}{some}Content-Length: {}\r\n\r\n", request.head(), request.body().len());
    let bytes = [head.as_bytes(), request.body()].concat();
    let mut connection = daemon.connect();
    connection.send(&bytes).unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
}

#[test]
fn requests_that_come_at_once_are_answered_in_their_order() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let mut connection = daemon.connect();
    let mut all = Vec::new();
    for number in 0..50 {
        all.extend(delivery(number).bytes());
        all.extend(login(&format!("u{number}")).chunked(7));
        // Authentic, and no event: it is not the end of the connection.
        all.extend(login("x").with("Content-Type", "text/html").bytes());
    }
    // The last one comes later.
    let (most, last) = all.split_at(all.len() - 100);
    connection.send(most).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    connection.send(last).unwrap();
    for _ in 0..50 {
        let got = [(); 3].map(|()| connection.answer().unwrap().status);
        assert_eq!(got, [200, 200, 415]);
    }
    daemon.lines("github", 50);
    let users: Vec<String> = daemon
        .lines("application", 50)
        .iter()
        .map(|line| line["dstuser"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(users, (0..50).map(|number| format!("u{number}")).collect::<Vec<_>>());
}
