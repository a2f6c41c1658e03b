//! How it ends, and that there is only one of it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use harness::eventually;
use harness::webhook::client::Connection;
use harness::webhook::{delivery, login};
use nix::sys::signal::Signal;

use crate::receiver;

/// It promises so much.
const LIMIT: Duration = Duration::from_secs(10);
/// What a busy machine may add to it; systemd waits for fifteen seconds.
const GRACE: Duration = Duration::from_secs(4);

#[test]
fn at_sigterm_nobody_comes_in_and_who_is_in_is_answered() {
    let receiver = receiver("");
    let mut daemon = receiver.start();
    let mut idle = daemon.connect();
    assert_eq!(idle.ask(&delivery(0)).unwrap().status, 200);
    // In the middle of a body, and not one byte of the next request.
    let request = delivery(1);
    let (head, body) = (request.head(), request.body());
    let mut late = daemon.connect();
    let expects = format!("{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());
    late.send(expects.as_bytes()).unwrap();
    assert_eq!(late.answer().unwrap().status, 100, "the head is read");
    let (begun, rest) = body.split_at(body.len() - 2000);
    late.send(begun).unwrap();
    daemon.signal(Signal::SIGTERM);
    let closed = eventually(LIMIT, || Connection::to(receiver.address()).is_err());
    assert!(closed, "it still listens");
    assert!(idle.is_closed_within(Duration::from_secs(4)));
    std::thread::sleep(Duration::from_secs(1));
    late.send(rest).unwrap();
    let answer = late.answer().unwrap();
    assert_eq!(answer.status, 200);
    assert!(late.is_closed_within(Duration::from_secs(4)));
    let ended = daemon.wait(LIMIT).expect("it ends");
    assert_eq!((ended.code, ended.signal), (Some(0), None), "{}", ended.log);
    let daemon = receiver.start();
    assert_eq!(daemon.lines("github", 2).len(), 2);
}

#[test]
fn it_ends_within_ten_seconds_whoever_is_slow() {
    let receiver = receiver("header_timeout = \"60s\"\nrequest_timeout = \"60s\"\nevents_per_second = 1\n");
    let daemon = receiver.start();
    let mut slow: Vec<Connection> = (0..20).map(|_| daemon.connect()).collect();
    for (n, connection) in slow.iter_mut().enumerate() {
        let bytes = delivery(n as u64).bytes();
        connection.send(&bytes[..[0, 10, 300, bytes.len() - 1][n % 4]]).unwrap();
    }
    (0..50).for_each(|n| _ = daemon.expect(200, &login(&format!("u{n}"))));
    std::thread::sleep(Duration::from_millis(200));
    let ended = daemon.terminate();
    assert_eq!((ended.code, ended.signal), (Some(0), None), "{}", ended.log);
    assert!(ended.took < LIMIT + GRACE, "{:?}", ended.took);
    receiver.configure("events_per_second = 0\n", &receiver.sources(""));
    let daemon = receiver.start();
    assert_eq!(daemon.lines("application", 50).len(), 50);
    assert!(receiver.output().of("github").is_empty());
}

#[test]
fn its_start_and_its_end_are_written_when_they_happen() {
    let receiver = receiver("");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = receiver.start();
        daemon.expect(200, &login("alice"));
        daemon.signal(signal);
        let ended = daemon.wait(LIMIT).expect("it ends");
        assert_eq!(ended.code, Some(0), "{signal}: {}", ended.log);
        assert!(ended.took < Duration::from_secs(5), "nobody is waited for: {:?}", ended.took);
        let words: Vec<_> = receiver.output().lines().iter().map(|line| line["event"].clone()).collect();
        assert_eq!(words[words.len() - 3..], ["started", "auth_login_failed", "stopped"], "{signal}");
    }
}

#[test]
fn everything_that_was_answered_is_there_after_a_stop_under_load() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let began = Instant::now();
    let answered: Vec<String> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8)
            .map(|peer| {
                let daemon = &daemon;
                scope.spawn(move || {
                    let mut answered = Vec::new();
                    let mut connection = daemon.connect();
                    for n in 0.. {
                        let user = format!("u{peer}-{n}");
                        match connection.ask(&login(&user)) {
                            Ok(answer) if answer.status == 200 => answered.push(user),
                            _ => break,
                        }
                        if began.elapsed() > Duration::from_secs(10) {
                            break;
                        }
                    }
                    answered
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(1));
        daemon.signal(Signal::SIGTERM);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    assert!(began.elapsed() < Duration::from_secs(10) && answered.len() > 20, "{}", answered.len());
    drop(daemon);
    // At its usual pace a fast machine's second takes more than a minute.
    receiver.configure("events_per_second = 0\n", &receiver.sources(""));
    let daemon = receiver.start();
    daemon.drained();
    let written = receiver.output().of("application");
    let users: HashSet<&str> = written.iter().filter_map(|line| line["dstuser"].as_str()).collect();
    let missing: Vec<_> = answered.iter().filter(|user| !users.contains(user.as_str())).collect();
    assert!(missing.is_empty(), "answered, and not written: {missing:?}");
    // Whoever was not answered may have been written.
    assert!(written.len() <= answered.len() + 8);
}

#[test]
fn a_second_one_on_the_same_state_does_not_start_and_does_no_harm() {
    let receiver = receiver("");
    let daemon = receiver.start();
    (0..20).for_each(|n| _ = daemon.expect(200, &login(&format!("u{n}"))));
    let first = std::fs::read_to_string(receiver.config()).unwrap();
    // At the same address, and at another one.
    for port in ["8787", "8788"] {
        receiver.configure_as(
            &first.replace(":8787", &format!(":{port}")).replace(":9787", &format!(":9{}", &port[1..])),
        );
        let before = names(&receiver);
        let ended = receiver.refused();
        assert_eq!((ended.code, ended.signal), (Some(1), None), "{port}: {}", ended.log);
        assert_eq!(names(&receiver), before, "{port}");
    }
    receiver.configure_as(&first);
    (20..40).for_each(|n| _ = daemon.expect(200, &login(&format!("u{n}"))));
    daemon.lines("application", 40);
    daemon.lines("custom-webhook", 1);
    // What the first one held is free when it is gone, however it went.
    daemon.kill();
    receiver.start().stop();
}

fn names(receiver: &harness::webhook::Receiver) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(receiver.state().join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}

#[test]
fn an_address_that_is_taken_is_an_error_that_names_it() {
    let receiver = receiver("");
    let _other = std::net::TcpListener::bind(receiver.address()).unwrap();
    let ended = receiver.refused();
    assert_eq!((ended.code, ended.signal), (Some(1), None), "{}", ended.log);
    assert!(ended.log.contains(&receiver.address().to_string()), "{}", ended.log);
}
