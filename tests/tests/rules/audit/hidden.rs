//! Sockets that nobody holds, and runs that cannot see.

use serde_json::Value;

use super::{Host, PUBLIC, line, lines, story};

/// Steps after which nobody holds a connection to there: it is on its way to a
/// process that does not take it.
fn lost(from: &str, at: &str) -> [String; 6] {
    [
        format!("s=listen {at}"),
        format!("c=connect s {from}"),
        "t=accept s".to_owned(),
        "near,far=unix".to_owned(),
        "send c near".to_owned(),
        "drop c".to_owned(),
    ]
}

fn unattributed(line: &Value) -> bool {
    line["event"] == "unattributed"
}

#[test]
fn a_socket_that_nobody_holds_is_told_by_its_ends() {
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/unattributed");
    for (at, from, rule, why) in [
        ("10.1.2.3:9000", "10.1.2.4:0", 100_342, "of nobody; not 100309, 100343, 100344, 100301"),
        ("8.8.4.4:9000", "9.9.9.9:0", 100_343, "of nobody, to a public address; not 100342"),
        ("10.1.2.3:3260", "10.1.2.4:0", 100_309, "of the kernel, by its port (iSCSI): silent; not 100342"),
        (
            "10.1.2.3:2049",
            "10.1.2.4:0",
            100_309,
            "of the kernel, by its hint (NFS): silent; not 100342, 100344",
        ),
    ] {
        let steps = lost(from, at);
        let holder = host.actor("/usr/local/sbin/holder", &steps.each_ref().map(String::as_str));
        let run = host.look(&[]);
        told.line(&line(&run, unattributed), rule, why);
        drop(holder);
        host.look(&[]);
    }
    told.end();
    let Some(host) = Host::new() else { return };
    let mut told = story("custom-audit/unattributed-baseline");
    let steps = lost("9.9.9.9:0", &format!("{PUBLIC}:9000"));
    let holder = host.actor("/usr/local/sbin/holder", &steps.each_ref().map(String::as_str));
    let run = host.look(&[]);
    told.line(&line(&run, unattributed), 100_344, "of nobody, at the first look; not 100342");
    drop(holder);
    told.end();
}

#[test]
fn a_run_that_cannot_see_says_so() {
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/faults");
    let summary = |line: &Value| line["event"] == "summary";
    let run = host.look(&[]);
    told.line(
        &line(&run, summary),
        100_307,
        "all was seen: silent; not 100347, 100348, 100308, 100309, 100305",
    );
    // The state is a directory: it can be neither read nor replaced.
    let state = host.wodle.state_file();
    host.room.sh(&format!("rm -r '{0}' && mkdir -p '{0}/x'", state.display()));
    let run = host.look(&[]);
    told.line(&line(&run, summary), 100_348, "the state is not to be had; not 100307, 100347");
    for text in lines(&run, |line| line["event"] == "error") {
        let kind = serde_json::from_str::<Value>(&text).unwrap()["error_kind"].clone();
        let (rule, why) = match kind.as_str().unwrap() {
            "state_reset" => (100_345, "all that was known is forgotten; not 100308, 100346"),
            _ => (100_308, "the state cannot be written; not 100345, 100346"),
        };
        told.line(&text, rule, why);
    }
    host.room.sh(&format!("rm -r '{}'", state.display()));
    host.look(&[]);
    let error = |line: &Value| line["event"] == "error";
    let run = host.start(&["--wodle", "--no-such-option"]).wait();
    told.line(&line(&run, error), 100_345, "a bad command line: nothing was looked at; not 100308");
    host.wodle.configure("no_such_key = 1\n");
    let run = host.look(&[]);
    told.line(
        &line(&run, error),
        100_308,
        "a broken configuration: the defaults apply; not 100345, 100346, 100300",
    );
    host.wodle.configure("");
    let lock = state.with_file_name("lock");
    let held = host.process(
        "flock",
        &["--no-fork", &lock.to_string_lossy(), "sleep", "60"],
        std::process::Stdio::null(),
        std::process::Stdio::null(),
    );
    let taken = || {
        let run = host.start(&[]).wait();
        let busy = lines(&run, |line| line["error_kind"] == "busy");
        busy.into_iter().next()
    };
    let mut busy = None;
    assert!(harness::eventually(std::time::Duration::from_secs(10), || {
        busy = taken();
        busy.is_some()
    }));
    told.line(&busy.unwrap(), 100_346, "another run is not over; not 100308, 100345");
    drop(held);

    let actor = host.actor("/usr/local/sbin/tool", &["l=listen 127.0.0.1:0"]);
    host.room.sh(&format!("mount -t tmpfs over /proc/{}", actor.pid()));
    let run = host.look(&[]);
    told.line(&line(&run, summary), 100_347, "something lies over a process; not 100307, 100348");
    drop(actor);
    told.end();
}
