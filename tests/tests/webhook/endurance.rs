//! kill -9 at random moments, under load from senders who send again what was
//! not answered: in the end every event is there once.
//!
//! `WEBHOOK_ENDURANCE_SECONDS` makes it longer.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::eventually;
use harness::webhook::client::{Answer, Connection, Request};
use harness::webhook::follower::Follower;
use harness::webhook::{Daemon, Receiver, advisory, github, login, signed_event};
use serde_json::json;

use crate::receiver;

const USUAL: u64 = 60;
/// Senders of each kind.
const SENDERS: usize = 4;

/// Numbers that are as good as random, and the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The next event of a sender, and how it is known again.
fn made(sender: usize, number: u64) -> (String, Request) {
    let name = format!("e{sender}-{number}");
    let request = match sender % 3 {
        0 => github("security_advisory", &name, &advisory(sender as u64 * 10_000_000 + number)),
        1 => signed_event(&name, &json!({"action": "api_call", "user": name}).to_string()),
        _ => {
            // Several at once are written all or not at all.
            let one = |part| json!({"action": "api_call", "user": format!("{name}-{part}")}).to_string();
            signed_event(&name, &format!("[{},{},{}]", one(0), one(1), one(2)))
        }
    };
    (name, request)
}

/// Sends one event after the other, each until it is accepted.
fn sender(receiver: &Receiver, sender: usize, over: &AtomicBool) -> Vec<String> {
    let mut connection: Option<Connection> = None;
    let mut accepted = Vec::new();
    let mut ask = |request: &Request| -> Option<Answer> {
        if connection.is_none() {
            connection = Connection::to(receiver.address()).ok();
        }
        let answer = connection.as_mut()?.ask(request).ok();
        if answer.as_ref().is_none_or(Answer::closes) {
            connection = None;
        }
        answer
    };
    for number in 0.. {
        if over.load(Ordering::Acquire) {
            return accepted;
        }
        let (name, request) = made(sender, number);
        let began = Instant::now();
        loop {
            // Of now, when it has its time in its signature.
            let request = if sender.is_multiple_of(3) { request.clone() } else { made(sender, number).1 };
            match ask(&request) {
                Some(answer) if answer.status == 200 => break,
                Some(answer) => {
                    assert!([503, 429].contains(&answer.status), "{}: {}", answer.status, answer.text())
                }
                None => {}
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{name} is never accepted");
            std::thread::sleep(Duration::from_millis(5));
        }
        accepted.push(name);
        // More of them fill the disk and the memory of this test, and nothing else.
        std::thread::sleep(Duration::from_millis(1).saturating_sub(began.elapsed()));
    }
    accepted
}

/// Every event of every sender once, in the order in which each has sent them.
fn all_are_there(receiver: &Receiver, accepted: &[(usize, Vec<String>)]) -> usize {
    let lines = receiver.output().lines();
    let mut written: HashMap<String, usize> = HashMap::new();
    let mut order: HashMap<String, u64> = HashMap::new();
    for line in &lines {
        let name = line["delivery"].as_str().or_else(|| line["dstuser"].as_str());
        let Some(name) = name.filter(|name| name.starts_with('e')) else { continue };
        *written.entry(name.to_owned()).or_default() += 1;
        let (who, number) = name.split_once('-').unwrap();
        let number: u64 = number.split('-').next().unwrap().parse().unwrap();
        let before = order.insert(who.to_owned(), number);
        assert!(before.is_none_or(|before| before <= number), "{who} sent {before:?} before {number}");
    }
    let mut expected = 0;
    for (sender, names) in accepted {
        for name in names {
            let parts: Vec<String> = if sender % 3 == 2 {
                (0..3).map(|part| format!("{name}-{part}")).collect()
            } else {
                vec![name.clone()]
            };
            for part in parts {
                expected += 1;
                assert_eq!(written.get(&part), Some(&1), "{part} is there so often");
            }
        }
    }
    // The last one of each sender was accepted too: there is nothing else.
    assert_eq!(written.values().sum::<usize>(), expected);
    expected
}

/// How one round is run.
struct Round {
    settings: &'static str,
    seconds: u64,
    seed: u64,
}

/// The first ones must still be known in the end.
const KNOWN: &str = "replay_entries = 2000000\n";

fn endure(round: &Round) -> (usize, usize) {
    let receiver = receiver(&format!("{}{KNOWN}", round.settings));
    let over = AtomicBool::new(false);
    let mut dice = Dice(round.seed);
    let accepted = Mutex::new(Vec::new());
    let mut kills = 0;
    let mut daemon: Option<Daemon> = Some(receiver.start());
    let follower =
        Follower::start(receiver.output().path(), Duration::from_millis(500), Duration::from_secs(5));
    std::thread::scope(|scope| {
        for number in 0..SENDERS * 3 {
            let (receiver, over, accepted) = (&receiver, &over, &accepted);
            scope.spawn(move || {
                let names = sender(receiver, number, over);
                accepted.lock().unwrap().push((number, names));
            });
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(round.seconds) {
            // Often before it has read all that the one before it has left, and
            // once long enough for a rotation.
            let life = match kills {
                6 => 7000,
                _ if dice.below(4) == 0 => dice.below(60),
                _ => dice.below(1500),
            };
            std::thread::sleep(Duration::from_millis(life));
            daemon.take().unwrap().kill();
            kills += 1;
            if dice.below(5) == 0 {
                // It is killed while it starts.
                let mut early = receiver.command(&[]).spawn().unwrap();
                std::thread::sleep(Duration::from_millis(dice.below(30)));
                early.kill().unwrap();
                early.wait().unwrap();
                kills += 1;
            }
            daemon = Some(receiver.start());
        }
        over.store(true, Ordering::Release);
    });
    let mut daemon = daemon.unwrap();
    if daemon.metric("spool_lines") > Some(5000.0) {
        // What is left would take its time at that pace.
        daemon.kill();
        receiver.configure(
            // Nor may a file go before its reader is through with it.
            &format!("events_per_second = 0\nrotate_megabytes = 0\n{KNOWN}"),
            &receiver.sources("requests_per_minute = 0\nrequests_per_minute_per_peer = 0\n"),
        );
        daemon = receiver.start();
    }
    assert!(
        eventually(Duration::from_secs(120), || daemon.metric("spool_lines") == Some(0.0)),
        "{:?}",
        daemon.metric("spool_lines")
    );
    let accepted = accepted.into_inner().unwrap();
    let count = all_are_there(&receiver, &accepted);
    // Nor is any of them news.
    for (sender, names) in &accepted {
        for number in [0, names.len() as u64 / 2, names.len() as u64 - 1] {
            assert_eq!(daemon.ask(&made(*sender, number).1).status, 200);
        }
    }
    daemon.expect(200, &login("the-last-one"));
    daemon.drained();
    assert_eq!(all_are_there(&receiver, &accepted), count);
    // Whoever follows it has had each line once, or, where a file was begun
    // anew, at least every line.
    let read = follower.stop();
    let mut seen: HashMap<u64, usize> = HashMap::new();
    read.lines.iter().for_each(|line| *seen.entry(harness::webhook::lines::receipt(line)).or_default() += 1);
    assert!(seen.values().all(|count| *count == 1), "a line was read twice");
    assert_eq!(seen.len(), receiver.output().lines().len(), "a line was not read");
    daemon.stop();
    (kills, count)
}

#[test]
fn after_any_number_of_crashes_every_event_is_there_once() {
    let seconds =
        std::env::var("WEBHOOK_ENDURANCE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(USUAL);
    let seed = std::env::var("WEBHOOK_ENDURANCE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0x2545_f491);
    for (number, settings) in [
        // As fast as it can, with a rotation; at the usual pace, so that much waits; with
        // little room, so that it is full now and then.
        "events_per_second = 0\nrotate_megabytes = 1\n",
        "events_per_second = 400\n",
        "events_per_second = 2000\nspool_megabytes = 1\n",
    ]
    .into_iter()
    .enumerate()
    {
        let (kills, count) = endure(&Round { settings, seconds: seconds / 3, seed: seed + number as u64 });
        assert!(kills > 5 && count > 1000, "{kills} crashes, {count} events");
        // Past the test runner's capture: how much was tried differs from run to run.
        writeln!(
            std::io::stderr(),
            "{kills} crashes, {count} lines: {}",
            settings.trim_end().replace('\n', ", ")
        )
        .unwrap();
    }
}
