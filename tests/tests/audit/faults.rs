//! What the kernel refuses at any point, as it does where a process ends while
//! it is looked at, costs records and makes none wrong.

use std::collections::HashMap;

use harness::wodle::Run;
use serde_json::Value;

use crate::Stage;
use crate::actor::Actor;
use crate::holders::PAIR;

/// Processes that each hold sockets of their own.
fn actors(stage: &Stage) -> Vec<Actor> {
    (0..4).map(|_| stage.actor(&PAIR)).collect()
}

/// Of each of these sockets only its own process may be said to hold it, and
/// only with its own address.
fn assert_right(run: &Run, actors: &[Actor], fault: &str) -> usize {
    assert!(run.signal.is_none() && run.code <= Some(1), "{fault}: {:?} {:?}", run.code, run.signal);
    let mut own = HashMap::new();
    for actor in actors {
        for label in ["listener", "client", "server"] {
            own.insert(actor.inode(label), (actor.pid(), actor.local(label).to_string(), actor.fd(label)));
        }
    }
    let mut seen = 0;
    for record in &run.events {
        let inode = record["inode"].as_str().unwrap_or_default();
        let is_ours = actors.iter().any(|actor| record["pid"] == actor.pid());
        let Some((pid, address, fd)) = own.get(inode) else {
            assert!(!is_ours, "{fault}: a socket of somebody else: {record:#}");
            continue;
        };
        seen += 1;
        assert_eq!(record["local_addr"], **address, "{fault}: {record:#}");
        if record["event"] != "unattributed" {
            assert_eq!(record["pid"], *pid, "{fault}: {record:#}");
            let said = record.get("fd").and_then(Value::as_u64);
            assert!(said.is_none_or(|said| said == u64::from(*fd)), "{fault}: {record:#}");
        }
    }
    seen
}

/// Runs it with one system call failing now and again, in many rhythms.
fn assert_survives(calls: &[&str], error: &str) {
    let Some(stage) = Stage::new() else { return };
    if !harness::require(harness::kernel::has("strace"), "strace") {
        return;
    }
    let actors = actors(&stage);
    let mut seen = 0;
    for call in calls {
        for (first, step) in [(2, 2), (3, 2), (9, 3), (10, 3), (11, 3), (20, 7), (40, 5), (60, 1)] {
            let fault = format!("inject={call}:error={error}:when={first}+{step}");
            for args in [&["--wodle", "--full", "--max-events", "0"][..], &["--wodle", "--max-events", "0"]] {
                let strace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "signal=none", "-e", &fault];
                let run = stage.wodle.call(args).through(strace).run();
                seen += assert_right(&run, &actors, &fault);
            }
        }
    }
    assert!(seen > 0, "nothing was seen of it");
    // What went wrong then is not remembered.
    assert!(assert_right(&stage.full(), &actors, "none") >= 12);
}

#[test]
fn a_directory_that_vanishes_while_it_is_read_makes_no_record_wrong() {
    assert_survives(&["getdents64"], "ENOENT");
}

#[test]
fn a_link_that_vanishes_makes_no_record_wrong() {
    assert_survives(&["/^readlink"], "ENOENT");
}

#[test]
fn a_process_that_vanishes_makes_no_record_wrong() {
    assert_survives(&["/^read$|^pread64$", "/^open"], "ESRCH");
}

#[test]
fn a_table_that_cannot_be_read_makes_no_record_wrong() {
    assert_survives(&["/^recv", "setns", "/^send"], "EPERM");
}
