//! What a run says that others have gone before: only what has changed.

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::wodle::Run;
use serde_json::{Value, json};

use crate::actor::{Actor, PROGRAM};
use crate::{Scene, heard, of_sockets, only, sockets, sorted};

/// A listener, two connections to it, one of which is accepted, and a UDP socket.
const SOME: [&str; 6] = [
    "l=listen 127.0.0.1:0",
    "a=connect l",
    "b=accept l",
    "c=connect l",
    "u=udp 127.0.0.1:0",
    "s=listen [::1]:0",
];

fn all_new(actor: &Actor) -> Vec<crate::actor::Heard> {
    let new = |label| if ["a", "b", "c"].contains(&label) { "conn_new" } else { "listen_new" };
    sorted(["l", "a", "b", "c", "u", "s"].map(|label| actor.heard(new(label), label)))
}

#[test]
fn the_first_run_says_all_as_a_baseline_and_the_second_only_that_it_ran() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    let first = scene.run(&[]);
    assert_eq!(sockets(&first), all_new(&actor));
    for event in of_sockets(&first) {
        assert_eq!((&event["baseline"], &event["seen_count"]), (&true.into(), &1.into()), "{event}");
        assert_eq!(event["age_s"], 0, "{event}");
    }
    let summary = first.summary();
    assert_eq!((&summary["emitted"], &summary["new"], &summary["closed"]), (&6.into(), &6.into(), &0.into()));
    assert_eq!((&summary["root_sockets"], &summary["deferred"]), (&6.into(), &0.into()));
    // A host of its own is one inside another.
    assert_eq!(
        (&summary["degraded"], &summary["netns_count"]),
        (&"pid_namespace".into(), &1.into()),
        "{summary}"
    );
    for _ in 0..3 {
        let later = scene.run(&[]);
        assert_eq!(later.events.len(), 1, "{}", later.text());
        let summary = later.summary();
        for none in ["emitted", "new", "closed", "suppressed", "deferred", "unattributed"] {
            assert_eq!(summary[none], 0, "{none}: {summary}");
        }
        assert_eq!(summary["root_sockets"], 6, "{summary}");
    }
}

#[test]
fn without_any_socket_the_summary_is_all() {
    let Some(scene) = Scene::new() else { return };
    for _ in 0..2 {
        let run = scene.run(&[]);
        assert_eq!(run.events.len(), 1, "{}", run.text());
        assert_eq!(run.summary()["root_sockets"], 0);
        assert_eq!(run.summary()["root_processes"].as_u64().map(|count| count > 0), Some(true));
    }
}

#[test]
fn a_connection_is_said_once_when_it_is_new_and_once_when_it_has_gone() {
    let Some(scene) = Scene::new() else { return };
    let mut actor = Actor::new(&scene.room, &SOME);
    scene.run(&[]);
    actor.tell("n=connect l");
    let new = scene.run(&[]);
    assert_eq!(sockets(&new), [actor.heard("conn_new", "n")]);
    let event = only(&new, "conn_new");
    assert_eq!((&event["baseline"], &event["seen_count"]), (&false.into(), &1.into()), "{event}");
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(sockets(&scene.run(&[])), []);
    let gone = actor.heard("conn_closed", "n");
    actor.tell("drop n");
    let closed = scene.run(&[]);
    assert_eq!(sockets(&closed), [gone]);
    let last = only(&closed, "conn_closed");
    // What is known of it is what was said of it.
    for key in ["first_seen", "inode", "cookie", "process_name", "exe", "direction", "remote_scope", "netns"]
    {
        assert_eq!(last[key], event[key], "{key}: {last}");
    }
    let age = last["age_s"].as_u64().unwrap();
    assert!((2..60).contains(&age), "{last}");
    assert_eq!(last["seen_count"], 2, "{last}");
    assert_eq!((&closed.summary()["closed"], &closed.summary()["new"]), (&1.into(), &0.into()));
    assert_eq!(sockets(&scene.run(&[])), []);
}

#[test]
fn a_listener_that_has_gone_is_said_once() {
    let Some(scene) = Scene::new() else { return };
    let mut actor = Actor::new(&scene.room, &SOME);
    scene.run(&[]);
    let gone = sorted(["u", "s"].map(|label| actor.heard("listen_closed", label)));
    actor.tell("drop u");
    actor.tell("drop s");
    assert_eq!(sockets(&scene.run(&[])), gone);
    assert_eq!(sockets(&scene.run(&[])), []);
}

#[test]
fn all_that_a_process_had_is_closed_with_it() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    scene.run(&[]);
    let gone = sorted(
        all_new(&actor)
            .into_iter()
            .map(|(event, pid, local, remote)| (event.replace("_new", "_closed"), pid, local, remote)),
    );
    actor.end();
    assert_eq!(sockets(&scene.run(&[])), gone);
    assert_eq!(sockets(&scene.run(&[])), []);
}

#[test]
fn raw_and_packet_sockets_vanish_without_a_word() {
    let Some(scene) = Scene::new() else { return };
    let mut actor = Actor::new(&scene.room, &["r=raw 1", "p=packet"]);
    let first = scene.run(&[]);
    assert_eq!((first.named("raw_new").len(), first.named("packet_new").len()), (1, 1), "{}", first.text());
    assert_eq!(scene.run(&[]).events.len(), 1);
    actor.tell("drop r");
    actor.tell("drop p");
    assert_eq!(scene.run(&[]).events.len(), 1);
    actor.tell("r=raw 1");
    assert_eq!(scene.run(&[]).named("raw_new").len(), 1, "it is another one");
}

#[test]
fn a_reconnect_of_the_same_process_is_new_even_with_the_same_addresses() {
    let Some(scene) = Scene::new() else { return };
    let mut actor = Actor::new(&scene.room, &["l=listen 127.0.0.1:0", "a=connect l"]);
    actor.tell("u=udp 127.0.0.1:5000 127.0.0.1:5001");
    scene.run(&[]);
    let before = ["a", "u"].map(|label| actor.heard("conn_closed", label));
    for step in ["drop a", "a=connect l", "drop u", "u=udp 127.0.0.1:5000 127.0.0.1:5001"] {
        actor.tell(step);
    }
    let after = ["a", "u"].map(|label| actor.heard("conn_new", label));
    assert_eq!(sockets(&scene.run(&[])), sorted(before.into_iter().chain(after)));
}

#[test]
fn a_socket_that_is_given_another_peer_is_another_connection() {
    let Some(scene) = Scene::new() else { return };
    let socket = scene.room.inside(|| UdpSocket::bind("127.0.0.1:5000")).unwrap();
    let mut command = Command::new("sleep");
    command.arg("600").stdin(OwnedFd::from(socket.try_clone().unwrap())).stdout(Stdio::null());
    let mut holder = scene.room.inside(|| command.spawn()).unwrap();
    drop(command);
    let said = |expected: &[(&str, &str)]| {
        let run = scene.run(&[]);
        let all: Vec<_> = sockets(&run).into_iter().map(|(event, _, _, remote)| (event, remote)).collect();
        let expected: Vec<_> =
            expected.iter().map(|&(one, other)| (one.to_owned(), other.to_owned())).collect();
        assert_eq!(all, expected, "{}", run.text());
    };
    said(&[("listen_new", "0.0.0.0:*")]);
    scene.room.inside(|| socket.connect("127.0.0.1:6000")).unwrap();
    said(&[("conn_new", "127.0.0.1:6000"), ("listen_closed", "0.0.0.0:*")]);
    said(&[]);
    scene.room.inside(|| socket.connect("127.0.0.2:6000")).unwrap();
    said(&[("conn_closed", "127.0.0.1:6000"), ("conn_new", "127.0.0.2:6000")]);
    said(&[]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    drop(socket);
    // A process that another test was starting may have had it for a moment.
    assert!(harness::eventually(Duration::from_secs(5), || !scene
        .room
        .sh("cat /proc/net/udp")
        .contains(":1388 ")));
    said(&[("conn_closed", "127.0.0.2:6000")]);
}

#[test]
fn a_second_holder_is_new_and_its_end_is_not_the_end_of_the_first() {
    let Some(scene) = Scene::new() else { return };
    let mut actor = Actor::new(&scene.room, &["l=listen 127.0.0.1:0", "a=connect l"]);
    assert_eq!(scene.run(&[]).named("conn_new")[0]["holders"], 1);
    actor.tell("k=spawn a");
    let second = scene.run(&[]);
    let (_, _, local, remote) = actor.heard("", "a");
    let of_child = |event: &str| (event.to_owned(), actor.child("k"), local.clone(), remote.clone());
    assert_eq!(sockets(&second), [of_child("conn_new")]);
    assert_eq!(only(&second, "conn_new")["holders"], 2);
    let gone = of_child("conn_closed");
    actor.tell("kill k");
    assert_eq!(sockets(&scene.run(&[])), [gone]);
}

#[test]
fn a_remote_is_new_once_for_each_executable() {
    let Some(scene) = Scene::new() else { return };
    let room = &scene.room;
    room.sh("ip addr add 203.0.113.9/32 dev lo; ip addr add 203.0.113.10/32 dev lo");
    let _server = Actor::new(room, &["a=listen 203.0.113.9:80", "b=listen 203.0.113.10:80"]);
    scene.run(&[]);
    let mut client = Actor::new(room, &[]);
    let look = |step: &str, client: &mut Actor| {
        client.tell(step);
        let run = scene.run(&[]);
        let event = only(&run, "conn_new");
        (event["new_remote"].as_bool().unwrap(), event["new_exe"].as_bool().unwrap_or(false))
    };
    assert_eq!(look("a=connect 203.0.113.9:80", &mut client), (true, false));
    assert_eq!(look("b=connect 203.0.113.9:80", &mut client), (false, false), "while the first one lasts");
    assert_eq!(look("c=connect 203.0.113.10:80", &mut client), (true, false), "another remote");
    for label in ["a", "b", "c"] {
        client.tell(&format!("drop {label}"));
    }
    scene.run(&[]);
    scene.run(&[]);
    assert_eq!(look("a=connect 203.0.113.9:80", &mut client), (false, false), "after all have gone");
    client.end();
    let mut client = Actor::new(room, &[]);
    assert_eq!(
        look("a=connect 203.0.113.10:80", &mut client),
        (false, false),
        "another process, same program"
    );
    client.end();
    room.sh("mount -t tmpfs tmpfs /srv");
    room.install(PROGRAM, "/srv/other");
    let mut other = Actor::of(room, Path::new("/srv/other"), &[]);
    assert_eq!(look("a=connect 203.0.113.9:80", &mut other), (true, true), "another program");
    assert_eq!(look("b=connect 203.0.113.9:80", &mut other), (false, false));
}

#[test]
fn full_says_all_each_time_and_remembers_nothing() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    let all = sorted(
        all_new(&actor)
            .into_iter()
            .map(|(event, pid, local, remote)| (event.replace("_new", "_open"), pid, local, remote)),
    );
    for _ in 0..2 {
        let run = scene.run(&["--full"]);
        assert_eq!(sockets(&run), all);
        assert_eq!(run.summary()["emitted"], 6);
        assert!(!scene.wodle.state_file().exists());
    }
    // Neither does it disturb what others remember.
    scene.run(&[]);
    let before = std::fs::read(scene.wodle.state_file()).unwrap();
    assert_eq!(sockets(&scene.run(&["--full"])), all);
    assert_eq!(std::fs::read(scene.wodle.state_file()).unwrap(), before);
    assert_eq!(sockets(&scene.run(&[])), []);
}

#[test]
fn all_events_of_a_run_have_its_id_and_no_two_runs_have_the_same() {
    let Some(scene) = Scene::new() else { return };
    let _actor = Actor::new(&scene.room, &SOME);
    let ids: Vec<String> = (0..3)
        .map(|_| {
            let run = scene.run(&["--full"]);
            let mut ids = sorted(run.events.iter().map(|event| event["scan_id"].to_string()));
            ids.dedup();
            assert_eq!(ids.len(), 1, "{}", run.text());
            ids.remove(0)
        })
        .collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
    let run = scene.run(&[]);
    assert!(of_sockets(&run).all(|event| !heard(event).2.is_empty()));
}

#[test]
fn a_process_that_becomes_another_program_with_its_sockets_is_news() {
    let Some(scene) = Scene::with(&["bash", "sleep"]) else { return };
    scene
        .wodle
        .configure("full_look = \"0s\"\n[[allow]]\nremotes = [\"127.0.0.0/8\"]\ndirection = \"outbound\"\n");
    let listener = Actor::new(&scene.room, &["l=listen 127.0.0.1:0"]);
    let port = listener.local("l").rsplit(':').next().unwrap().to_owned();
    // Allowed while it is a shell, it becomes something that is odd in itself.
    let script = format!("exec 8<>/dev/tcp/127.0.0.1/{port}; echo $$; read; exec /dev/shm/became 600");
    scene.room.sh("mount -t tmpfs own /dev/shm && cp \"$(command -v sleep)\" /dev/shm/became");
    let mut command = Command::new("bash");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = scene.room.inside(|| command.spawn()).unwrap();
    let mut pid = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    let pid: u64 = pid.trim().parse().unwrap();
    let of_it = |run: &Run| -> Vec<Value> {
        of_sockets(run).filter(|event| event["pid"] == json!(pid)).cloned().collect()
    };
    assert_eq!(of_it(&scene.run(&[])), Vec::<Value>::new(), "it is allowed");
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let said = harness::eventually(Duration::from_secs(10), || {
        let run = scene.run(&[]);
        let said = of_it(&run);
        said.len() == 1 && said[0]["event"] == "conn_new" && said[0]["exe"] == "/dev/shm/became"
    });
    assert!(said, "the same connection in the hands of another program");
    assert_eq!(of_it(&scene.run(&[])), Vec::<Value>::new(), "once");
    let _ = child.kill();
    let _ = child.wait();
}
