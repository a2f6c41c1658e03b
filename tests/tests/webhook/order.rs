//! In which order things happen, as the kernel was asked for them.

use std::path::Path;
use std::time::Duration;

use harness::webhook::{Receiver, delivery, login};
use harness::{kernel, require};

use crate::receiver;

/// What a line of strace says, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Something was written to the spool.
    Spooled,
    /// All of it is on the disk.
    Synced,
    /// It could not be brought there.
    Failed,
    /// A sender was told that it is accepted.
    Accepted,
    /// A sender was told something else.
    Refused,
}

fn ready() -> bool {
    require(kernel::has("strace"), "strace")
}

/// The daemon's process is the first one; strace is another one beside it.
fn traced<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let calls = "trace=pwrite64,pwritev,pwritev2,fdatasync,fsync,write,writev,sendto,sendmsg";
    let mut words = vec!["strace", "-D", "-f", "-qqq", "-yy", "-s", "48", "-o", file, "-e", calls];
    for word in more {
        words.extend(["-e", word]);
    }
    words
}

/// The steps in the order in which they were done, not in which they were begun.
fn steps(trace: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(trace).unwrap();
    let mut open: std::collections::HashMap<&str, &str> = std::collections::HashMap::new();
    let mut steps = Vec::new();
    for line in text.lines() {
        let (thread, call) = line.trim_start().split_once(' ').unwrap();
        let call = call.trim_start();
        let (call, end) = if let Some(begun) = call.strip_suffix("<unfinished ...>") {
            open.insert(thread, begun);
            // What is written may be read by others before the call returns.
            if !begun.contains("sync(") && !begun.starts_with("pw") {
                steps.extend(sent(begun));
            }
            continue;
        } else if call.starts_with("<... ") {
            let begun = open.remove(thread).unwrap_or_default();
            if !begun.contains("sync(") && !begun.starts_with("pw") {
                continue;
            }
            (begun, call)
        } else {
            (call, call)
        };
        let failed = end.contains(" = -1 ");
        if call.contains(".spool>") && call.starts_with("pw") {
            steps.push(if failed { Step::Failed } else { Step::Spooled });
        } else if call.contains(".spool>") && call.contains("fdatasync(") {
            steps.push(if failed { Step::Failed } else { Step::Synced });
        } else {
            steps.extend(sent(call));
        }
    }
    steps
}

fn sent(call: &str) -> Option<Step> {
    let at = call.find("HTTP/1.1 ")?;
    Some(if call[at + 9..].starts_with("200") { Step::Accepted } else { Step::Refused })
}

/// The trace, once the daemon has ended and all of it is there.
fn stopped(receiver: &Receiver, daemon: harness::webhook::Daemon) -> Vec<Step> {
    daemon.stop();
    let trace = receiver.dir().join("trace");
    let mut before = u64::MAX;
    // strace writes on until it has seen the end.
    harness::eventually(Duration::from_secs(5), || {
        std::thread::sleep(Duration::from_millis(100));
        let length = std::fs::metadata(&trace).unwrap().len();
        std::mem::replace(&mut before, length) == length
    });
    steps(&trace)
}

#[test]
fn what_is_accepted_is_on_the_disk_before_it_is_answered() {
    if !ready() {
        return;
    }
    let receiver = receiver("metrics_listen = \"\"\n");
    let file = receiver.dir().join("trace").display().to_string();
    let daemon = receiver.started_silently(receiver.command(&traced(&file, &[])));
    let mut connection = daemon.connect();
    for n in 0..20 {
        assert_eq!(connection.ask(&delivery(n)).unwrap().status, 200);
    }
    // Several at a time.
    std::thread::scope(|scope| {
        for peer in 0..8 {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut connection = daemon.connect();
                for n in 0..10 {
                    assert_eq!(connection.ask(&login(&format!("u{peer}-{n}"))).unwrap().status, 200);
                }
            });
        }
    });
    drop(connection);
    let steps = stopped(&receiver, daemon);
    let count = |step: Step| steps.iter().filter(|known| **known == step).count();
    assert_eq!((count(Step::Accepted), count(Step::Refused), count(Step::Failed)), (100, 0, 0));
    // One at a time: written, synced, answered, twenty times.
    let alone: Vec<Step> =
        steps.iter().copied().take_while(|step| *step != Step::Refused).take(2 + 60).collect();
    assert_eq!(alone[..2], [Step::Spooled, Step::Synced], "what it says of its start");
    for three in alone[2..].chunks(3) {
        assert_eq!(three, [Step::Spooled, Step::Synced, Step::Accepted]);
    }
    // Whatever came together: nobody is answered between a write and its sync
    // who was not on the disk before.
    let (mut written, mut synced, mut answered) = (0, 0, 0);
    for step in &steps {
        match step {
            Step::Spooled => written += 1,
            Step::Synced => synced = written,
            Step::Accepted => answered += 1,
            _ => {}
        }
        assert!(synced <= written && (answered == 0 || synced > 0));
    }
    assert!(synced < 102, "several were synced together: {synced}");
}

#[test]
fn who_comes_together_waits_for_the_disk_together() {
    if !ready() {
        return;
    }
    let receiver = receiver("");
    let file = receiver.dir().join("trace").display().to_string();
    let slow = "inject=fdatasync:delay_exit=100000";
    let daemon = receiver.start_behind(&traced(&file, &[slow]));
    std::thread::scope(|scope| {
        for peer in 0..50 {
            let daemon = &daemon;
            scope.spawn(move || assert_eq!(daemon.ask(&delivery(peer)).status, 200));
        }
    });
    // One after the other they would be fifty.
    let commits = daemon.metric("commits_total").unwrap();
    assert!(commits < 40.0, "{commits}");
    daemon.lines("github", 50);
}

#[test]
fn what_the_disk_does_not_take_is_answered_503_and_is_no_repeat_then() {
    if !ready() {
        return;
    }
    // Of each thread the second one fails; the first is what it says of its start.
    for fault in ["inject=fdatasync:error=EIO:when=2", "inject=pwrite64:error=ENOSPC:when=2"] {
        let receiver = receiver("");
        let file = receiver.dir().join("trace").display().to_string();
        let daemon = receiver.start_behind(&traced(&file, &[fault]));
        daemon.lines("custom-webhook", 1);
        let mut refused = 0;
        for n in 0..8 {
            loop {
                let answer = daemon.ask(&delivery(n));
                if answer.status == 200 {
                    break;
                }
                assert_eq!(answer.status, 503);
                let after = answer.header("retry-after");
                assert!(after.is_some_and(|after| after.parse::<u64>().is_ok()), "{fault}");
                refused += 1;
            }
            daemon.expect(200, &delivery(n));
        }
        assert!((1..=2).contains(&refused), "{refused} of {fault}");
        daemon.lines("github", 8);
        // Nor is it there after a restart.
        daemon.kill();
        let daemon = receiver.start();
        (0..9).for_each(|n| _ = daemon.expect(200, &delivery(n)));
        daemon.drained();
        assert_eq!(receiver.output().of("github").len(), 9, "{fault}");
    }
}
