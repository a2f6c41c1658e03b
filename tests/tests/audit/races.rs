//! What comes and goes while the program looks: it may be counted, it is never
//! told wrongly.

use std::process::Command;
use std::time::{Duration, Instant};

use harness::wodle::Run;
use serde_json::{Value, json};

use crate::actor::{self, Actor};
use crate::holders::PAIR;
use crate::{Stage, assert_says, of_socket, one};

/// How long it is looked at again and again.
const WHILE: Duration = Duration::from_secs(4);
/// And as long as nothing was seen of it on a machine that is busy.
const AT_MOST: Duration = Duration::from_secs(60);
/// Children at a time, milliseconds of their lives, and what root and nobody do.
const ROOT: &str = "churn 3 4 name rooty ; listener=listen 127.0.0.1:0 ; client=connect listener";
const PLAIN: &str = "churn 4 2 uids 65534 65534 65534 ; name plain ; listener=listen 127.0.0.2:0";

/// In this namespace there are only processes that are root, are called
/// `rooty` and have sockets at 127.0.0.1, and others that are nobody and have
/// sockets at 127.0.0.2.
fn assert_never_wrong(run: &Run, netns: &str) -> usize {
    assert_eq!(run.code, Some(0), "{}", run.text());
    assert!(run.summary()["looks"].as_i64() > Some(0));
    let own: Vec<&Value> = run.events.iter().filter(|event| event["netns"] == netns).collect();
    for record in &own {
        let inner = |key: &str| record[key].as_str().unwrap_or_default();
        assert!(inner("local_addr").starts_with("127.0.0.1:"), "{record:#}");
        assert_ne!(inner("event"), "unattributed", "{record:#}");
        assert_eq!(inner("process_name"), "rooty", "{record:#}");
        if !inner("event").ends_with("_closed") {
            assert_says(record, &[("euid", json!(0)), ("root_reason", json!("euid0"))]);
            // What it was told, or at least nothing else.
            let line = record.get("cmdline").and_then(Value::as_str);
            assert!(line.is_none_or(|line| line.contains("rooty")), "{record:#}");
        }
    }
    own.len()
}

#[test]
fn processes_that_end_meanwhile_are_never_told_wrongly() {
    let Some(stage) = Stage::new() else { return };
    let actor = stage.actor(&[ROOT, PLAIN]);
    let (begin, mut runs, mut seen) = (Instant::now(), 0, 0);
    while begin.elapsed() < WHILE || (seen == 0 && begin.elapsed() < AT_MOST) {
        seen += assert_never_wrong(&stage.full(), &actor.netns());
        seen += assert_never_wrong(&stage.changes(), &actor.netns());
        runs += 2;
    }
    assert!(seen > 0, "{runs} runs have seen nothing of it");
}

/// A process namespace of its own, with an actor as its first process.
struct Small {
    stage: Stage,
    first: Actor,
}

impl Small {
    fn new(steps: &[&str]) -> Option<Small> {
        let stage = Stage::new()?;
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(actor::program()).args(steps);
        let first = Actor::from(Some(&stage.namespace), command);
        Some(Small { stage, first })
    }

    /// Words by which a command runs inside.
    fn enter(&self) -> Vec<String> {
        let children = format!("/proc/{0}/task/{0}/children", self.first.pid());
        let first = std::fs::read_to_string(children).unwrap();
        ["nsenter", "--pid", "--mount", "--target", first.trim()].map(str::to_owned).to_vec()
    }

    fn run(&self, args: &[&str]) -> Run {
        let run = self.stage.wodle.call(args).through(self.enter()).run();
        assert_eq!(run.code, Some(0), "{}", run.text());
        run
    }

    fn write(&self, file: &str, text: &str) -> bool {
        let words = self.enter();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["sh", "-c", "echo \"$1\" >\"$2\"", "sh", text, file]);
        command.status().unwrap().success()
    }
}

#[test]
fn a_process_id_that_is_used_again_is_another_process() {
    let Some(mut small) = Small::new(&PAIR) else { return };
    small.first.tell("child=spawn client");
    let inode = small.first.inode("client");
    let pid = small.first.child("child");
    let changes = ["--wodle", "--max-events", "0"];
    let run = small.run(&changes);
    let before = one(&run, pid, &inode).clone();
    assert_says(&before, &[("event", json!("conn_new")), ("holders", json!(2))]);
    assert!(of_socket(&small.run(&changes), &inode).is_empty(), "nothing has changed");

    small.first.tell("kill child");
    // Times of start are told apart by the hundredth of a second.
    std::thread::sleep(Duration::from_millis(1100));
    let possible = small.write("/proc/sys/kernel/ns_last_pid", &(pid - 1).to_string());
    if !harness::require(possible, "a kernel that lets the next process id be chosen") {
        return;
    }
    small.first.tell("child=spawn client");
    assert_eq!(small.first.child("child"), pid);
    let run = small.run(&changes);
    let records: Vec<&Value> = of_socket(&run, &inode).into_iter().filter(|r| r["pid"] == pid).collect();
    let of = |event: &str| records.iter().copied().find(|record| record["event"] == event);
    let (new, closed) = (of("conn_new"), of("conn_closed"));
    assert_eq!(records.len(), 2, "{records:#?}");
    assert_ne!(new.unwrap()["start_time"], before["start_time"], "{records:#?}");
    assert!(closed.is_some_and(|closed| closed.get("start_time").is_none_or(|t| *t == before["start_time"])));
}

#[test]
fn process_ids_that_are_used_again_meanwhile_are_never_told_wrongly() {
    let Some(mut small) = Small::new(&[]) else { return };
    // So few that they come around many times a second.
    if !harness::require(
        small.write("/proc/sys/kernel/pid_max", "350"),
        "a limit of process ids for each namespace",
    ) {
        return;
    }
    for churn in [ROOT, PLAIN] {
        small.first.tell(churn);
    }
    let (begin, mut seen) = (Instant::now(), 0);
    while begin.elapsed() < WHILE || (seen == 0 && begin.elapsed() < AT_MOST) {
        for args in [&["--wodle", "--full", "--max-events", "0"][..], &["--wodle", "--max-events", "0"]] {
            seen += assert_never_wrong(&small.run(args), &small.first.netns());
        }
    }
    assert!(seen > 0, "nothing was seen of it");
}

#[test]
fn where_there_is_no_socket_only_the_summary_is_said() {
    let Some(stage) = Stage::thorough() else { return };
    for args in [&["--wodle", "--full"][..], &["--wodle"]] {
        let run = stage
            .wodle
            .call(args)
            .through(["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .run();
        assert_eq!(run.code, Some(0));
        assert_eq!(run.events.len(), 1, "{}", run.text());
        assert_says(run.summary(), &[("root_sockets", json!(0)), ("emitted", json!(0)), ("new", json!(0))]);
    }
}
