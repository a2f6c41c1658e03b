//! A disk without room, and a spool that has as much as it may have.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use harness::webhook::client::Answer;
use harness::webhook::lines::Output;
use harness::webhook::{Daemon, Receiver, event, github};
use harness::{eventually, network, require};

use crate::receiver;

const PATIENCE: Duration = Duration::from_secs(15);

/// Mounts that nobody else sees, and that go with the process that holds them.
struct Mounts {
    holder: Child,
    _life: ChildStdin,
}

impl Mounts {
    /// Runs these commands, and keeps what they have mounted.
    fn new(script: &str) -> Option<Mounts> {
        if !require(network::available(), "root, for mounts of its own") {
            return None;
        }
        let script = format!("mount --make-rprivate / && {script} && echo up && exec cat");
        let mut holder = Command::new("unshare")
            .args(["-m", "sh", "-euc", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "up\n", "{script}");
        let life = holder.stdin.take().unwrap();
        Some(Mounts { holder, _life: life })
    }

    /// A small file system there.
    fn small(at: &Path, kib: u32) -> Option<Mounts> {
        Mounts::new(&format!("mount -t tmpfs -o size={kib}k,mode=0755 small '{}'", at.display()))
    }

    fn start(&self, receiver: &Receiver) -> Daemon {
        let inside = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        receiver.start_behind(&["nsenter", &inside, "--"])
    }

    /// A file as it is inside.
    fn path(&self, path: &Path) -> PathBuf {
        Path::new("/proc")
            .join(self.holder.id().to_string())
            .join("root")
            .join(path.strip_prefix("/").unwrap())
    }

    fn output(&self, receiver: &Receiver) -> Output {
        Output::new(self.path(receiver.output().path()))
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Fills a file system to its last byte.
fn fill(file: &Path) {
    let mut file = std::fs::File::create(file).unwrap();
    for size in [65_536, 4096, 64, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

/// Requests, numbered, each answered before the next one.
struct Sender {
    number: u64,
    accepted: Vec<String>,
}

impl Sender {
    fn new() -> Sender {
        Sender { number: 0, accepted: Vec::new() }
    }

    /// Another one.
    fn send(&mut self, daemon: &Daemon) -> Answer {
        self.number += 1;
        let user = format!("u{}", self.number);
        let body =
            serde_json::json!({"action": "api_call", "user": user, "details": {"note": "n".repeat(400)}});
        let answer = daemon.ask(&event(&body.to_string()));
        match answer.status {
            200 => self.accepted.push(user),
            503 => assert!(
                answer.header("retry-after").is_some_and(|after| after.parse::<u64>().is_ok()),
                "{}",
                answer.head
            ),
            other => panic!("{other}: {}", answer.head),
        }
        answer
    }

    /// Until one is refused.
    fn until_full(&mut self, daemon: &Daemon) {
        assert!((0..20_000).any(|_| self.send(daemon).status == 503), "it is never full");
    }

    /// Until one is accepted again.
    #[track_caller]
    fn until_accepted(&mut self, daemon: &Daemon) {
        let accepted = eventually(PATIENCE, || self.send(daemon).status == 200);
        assert!(accepted, "there is room again, and nothing is taken\n{}", daemon.log());
    }

    /// All that was accepted is there once, and nothing that was refused.
    #[track_caller]
    fn all_are_there(&self, daemon: &Daemon, output: &Output) {
        daemon.drained();
        let written: Vec<String> = output
            .of("application")
            .iter()
            .map(|line| line["dstuser"].as_str().unwrap().to_owned())
            .collect();
        assert!(written == self.accepted, "{} accepted, {} written", self.accepted.len(), written.len());
    }
}

fn ready(daemon: &Daemon) -> u16 {
    daemon.get("/readyz").unwrap().status
}

#[test]
fn a_full_disk_of_the_spool_is_answered_503_and_when_there_is_room_it_goes_on() {
    let receiver = receiver("events_per_second = 0\n");
    let Some(mounts) = Mounts::small(&receiver.dir().join("state"), 3072) else { return };
    let daemon = mounts.start(&receiver);
    let mut sender = Sender::new();
    (0..100).for_each(|_| assert_eq!(sender.send(&daemon).status, 200));
    let filler = mounts.path(&receiver.dir().join("state/filler"));
    fill(&filler);
    sender.until_full(&daemon);
    assert!(eventually(PATIENCE, || ready(&daemon) == 503));
    let before = daemon.log().lines().count();
    // Nobody's log is flooded by it. (Every five seconds it makes some room.)
    let mut refused = 0;
    while refused < 300 {
        refused += u32::from(sender.send(&daemon).status == 503);
    }
    let said = daemon.log().lines().count() - before;
    assert!(said < 20, "{said} lines of log\n{}", daemon.log());
    assert_eq!(daemon.get("/healthz").unwrap().status, 200, "it lives");
    std::fs::remove_file(&filler).unwrap();
    // Who asks whether it is ready sends nothing until it is.
    assert!(eventually(PATIENCE, || ready(&daemon) == 200), "there is room, and it is not ready");
    sender.until_accepted(&daemon);
    (0..100).for_each(|_| assert_eq!(sender.send(&daemon).status, 200));
    sender.all_are_there(&daemon, &receiver.output());
    // And a crash in between changes nothing.
    fill(&filler);
    sender.until_full(&daemon);
    daemon.kill();
    std::fs::remove_file(&filler).unwrap();
    let daemon = mounts.start(&receiver);
    (0..100).for_each(|_| assert_eq!(sender.send(&daemon).status, 200));
    sender.all_are_there(&daemon, &receiver.output());
}

#[test]
fn a_spool_that_has_filled_its_disk_makes_room_by_itself() {
    // Smaller than a file of the spool usually is.
    let receiver = receiver("events_per_second = 0\n");
    let Some(mounts) = Mounts::small(&receiver.dir().join("state"), 1024) else { return };
    let daemon = mounts.start(&receiver);
    let mut sender = Sender::new();
    let began = Instant::now();
    while sender.accepted.len() < 8000 {
        if sender.send(&daemon).status == 503 {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(began.elapsed() < 20 * PATIENCE, "{} accepted\n{}", sender.accepted.len(), daemon.log());
    }
    sender.all_are_there(&daemon, &receiver.output());
}

#[test]
fn it_starts_on_a_full_disk_or_says_why_not_and_loses_nothing() {
    let receiver = receiver("events_per_second = 1\n");
    let Some(mounts) = Mounts::small(&receiver.dir().join("state"), 2048) else { return };
    let daemon = mounts.start(&receiver);
    let mut sender = Sender::new();
    (0..50).for_each(|_| assert_eq!(sender.send(&daemon).status, 200));
    daemon.kill();
    let filler = mounts.path(&receiver.dir().join("state/filler"));
    fill(&filler);
    // Started, or ended with a reason: systemd starts it again.
    let inside = format!("--mount=/proc/{}/ns/mnt", mounts.holder.id());
    let output = receiver.command(&["timeout", "3", "nsenter", &inside, "--"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(0) || said.contains("No space left"), "{:?}: {said}", output.status);
    std::fs::remove_file(&filler).unwrap();
    receiver.configure(
        "events_per_second = 0\n",
        &receiver.sources("requests_per_minute = 0\nrequests_per_minute_per_peer = 0\n"),
    );
    let daemon = mounts.start(&receiver);
    (0..50).for_each(|_| assert_eq!(sender.send(&daemon).status, 200));
    sender.all_are_there(&daemon, &receiver.output());
}

#[test]
fn a_full_disk_of_the_output_keeps_the_lines_in_the_spool() {
    let receiver = receiver("events_per_second = 0\n");
    let Some(mounts) = Mounts::small(&receiver.dir().join("log"), 256) else { return };
    let daemon = mounts.start(&receiver);
    let output = mounts.output(&receiver);
    let mut sender = Sender::new();
    // Twice as much as fits.
    for _ in 0..1000 {
        assert_eq!(sender.send(&daemon).status, 200, "the spool has room");
    }
    assert!(eventually(PATIENCE, || ready(&daemon) == 503), "nothing more can be put out");
    let waiting = daemon.metric("spool_lines").unwrap();
    assert!((300.0..1000.0).contains(&waiting), "{waiting}");
    std::thread::sleep(Duration::from_secs(3));
    let said = daemon.log().lines().count();
    assert!(said < 10, "{said} lines of log\n{}", daemon.log());
    // A line that did not fit is finished, also by the one who comes after a crash.
    daemon.kill();
    let daemon = mounts.start(&receiver);
    (0..10).for_each(|_| assert_eq!(sender.send(&daemon).status, 200));
    let bigger = format!("mount -o remount,size=8m '{}'", receiver.dir().join("log").display());
    let inside = format!("--mount=/proc/{}/ns/mnt", mounts.holder.id());
    assert!(Command::new("nsenter").args([&inside, "--", "sh", "-c", &bigger]).status().unwrap().success());
    sender.all_are_there(&daemon, &output);
    assert!(eventually(PATIENCE, || ready(&daemon) == 200));
}

#[test]
fn one_disk_for_both_that_is_full_again_and_again_tears_no_line() {
    let receiver = receiver("events_per_second = 0\nrotate_megabytes = 0\n");
    let [state, log] = ["state", "log"].map(|name| receiver.dir().join(name).display().to_string());
    let script = format!(
        "mkdir '{log}/both' && mount -t tmpfs -o size=2048k,mode=0755 small '{log}/both' && \
         mkdir '{log}/both/state' '{log}/both/log' && mount --bind '{log}/both/state' '{state}' && \
         mount --bind '{log}/both/log' '{log}'"
    );
    let Some(mounts) = Mounts::new(&script) else { return };
    let mut daemon = mounts.start(&receiver);
    let output = mounts.output(&receiver);
    let mut sender = Sender::new();
    let filler = mounts.path(&receiver.dir().join("state/filler"));
    for round in 0..4 {
        (0..30).for_each(|_| _ = sender.send(&daemon));
        fill(&filler);
        for _ in 0..100 {
            sender.send(&daemon);
        }
        if round % 2 == 1 {
            daemon.kill();
            std::fs::remove_file(&filler).unwrap();
            daemon = mounts.start(&receiver);
        } else {
            std::fs::remove_file(&filler).unwrap();
        }
        sender.until_accepted(&daemon);
    }
    sender.all_are_there(&daemon, &output);
}

#[test]
fn a_spool_at_its_limit_is_answered_503_until_its_lines_are_put_out() {
    let receiver = receiver("spool_megabytes = 1\nevents_per_second = 50\n");
    let daemon = receiver.start();
    let mut sender = Sender::new();
    // A file of the spool may go between the two.
    let is_full = |sender: &mut Sender| {
        sender.until_full(&daemon);
        ready(&daemon) == 503
    };
    assert!((0..5).any(|_| is_full(&mut sender)), "the next one would be refused");
    assert!(daemon.metric("spool_lines").unwrap() > 100.0);
    assert!(daemon.metric("spool_bytes").unwrap() <= 1024.0 * 1024.0);
    // All of it is put out in half a minute, and takes no room then.
    daemon.drained();
    assert!(eventually(PATIENCE, || ready(&daemon) == 200));
    sender.until_accepted(&daemon);
    (0..500).for_each(|_| _ = sender.send(&daemon));
    sender.all_are_there(&daemon, &receiver.output());
    // At once, and how often it was in a minute.
    let said = daemon.log().matches("spool_full at application").count();
    assert!((1..=3).contains(&said), "{}", daemon.log());
    // There is room for that however full it is.
    let full = |line: &serde_json::Value| line["event"] == "spool_full";
    assert_eq!(receiver.output().of("custom-webhook").iter().filter(|line| full(line)).count(), said);
}

#[test]
fn deliveries_without_a_line_leave_the_spool_too() {
    let receiver = receiver("");
    let unlimited = "requests_per_minute = 0\nrequests_per_minute_per_peer = 0\n";
    let tables = receiver.sources(unlimited).replace("[github]\n", "[github]\ndeny = [\"push\"]\n");
    receiver.configure("spool_megabytes = 1\n", &tables);
    let daemon = receiver.start();
    // What is not wanted is known all the same; of more than there is room for.
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let mut connection = daemon.connect();
            scope.spawn(move || {
                for number in 0..7000 {
                    let name = format!("{sender}-{number}");
                    let body = format!("{{\"ref\":\"{name}\"}}");
                    let answered = eventually(PATIENCE, || {
                        connection.ask(&github("push", &name, &body)).unwrap().status == 200
                    });
                    assert!(answered, "{name}: the spool is full for ever");
                }
            });
        }
    });
    assert!(eventually(PATIENCE, || daemon.metric("spool_bytes") < Some(500_000.0)), "they never go");
    assert_eq!(daemon.metric("spool_lines"), Some(0.0));
    daemon.expect(200, &github("member", "wanted", "{\"action\":\"added\"}"));
    assert_eq!(daemon.lines("github", 1)[0]["event"], "member");
    daemon.drained();
}
