//! Where it cannot see all: it says so, and finds what can be found otherwise.

use harness::wodle::Run;

use crate::actor::{Actor, crowd};
use crate::{Scene, errors, of_sockets, sockets, sorted};

const SOME: [&str; 8] = [
    "l=listen 127.0.0.1:0",
    "a=connect l",
    "b=accept l",
    "m=listen [::1]:0",
    "c=connect m",
    "u=udp 127.0.0.1:0",
    "v=udp [::1]:0",
    "w=udp 127.0.0.1:0 127.0.0.1:9",
];

fn degraded(run: &Run) -> Vec<&str> {
    run.summary()["degraded"].as_str().unwrap().split(',').collect()
}

#[test]
fn without_root_it_says_what_it_could_not_see_and_pretends_nothing() {
    let Some(scene) = Scene::with(&["setpriv"]) else { return };
    let _actor = Actor::new(&scene.room, &SOME);
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    for args in [&["--wodle"][..], &["--full"]] {
        let run = scene.start(&nobody, args).wait();
        assert_eq!((run.code, run.signal), (Some(1), None), "{}", run.text());
        assert!(errors(&run).contains(&"not_root"), "{}", run.text());
        if !run.named("summary").is_empty() {
            assert!(degraded(&run).contains(&"not_root"), "{}", run.text());
        }
        // It cannot tell whose they are: that is no reason to say that they are nobody's.
        assert_eq!(sockets(&run), [], "{}", run.text());
    }
    assert!(!scene.wodle.state_file().exists());
    // Afterwards root sees all, and as new.
    assert_eq!(sockets(&scene.run(&[])).len(), 8);
}

/// The words that make each call of this kind fail.
fn failing(what: &str) -> Vec<String> {
    ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", what].map(str::to_owned).to_vec()
}

/// A run of which these calls fail, in a state of its own.
fn without(scene: &Scene, what: &str, args: &[&str]) -> Run {
    let words = failing(what);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let run = scene.start(&words, args).wait();
    assert_eq!((run.code, run.signal), (Some(0), None), "{}", run.text());
    run
}

/// The same sockets with the same values but for those that only sock_diag has.
fn agrees(what: &str, plain: &Run, other: &Run) {
    assert_eq!(sockets(other), sockets(plain), "{what}");
    for event in of_sockets(other) {
        let of_plain = of_sockets(plain).find(|plain| {
            plain["inode"] == event["inode"] && plain["pid"] == event["pid"] && plain["fd"] == event["fd"]
        });
        let of_plain = of_plain.unwrap_or_else(|| panic!("{what}: {event}"));
        for key in [
            "protocol",
            "family",
            "state",
            "direction",
            "remote_scope",
            "bind_scope",
            "srcip",
            "dstport",
            "socket_uid",
            "socket_uid_mismatch",
            "holders",
            "netns",
            "exe",
            "ip_protocol",
            "interface",
        ] {
            assert_eq!(event[key], of_plain[key], "{what}: {key} of {event}");
        }
    }
}

#[test]
fn without_sock_diag_the_same_sockets_are_found() {
    let Some(scene) = Scene::with(&["strace"]) else { return };
    let _actor = Actor::new(&scene.room, &SOME);
    let _others = Actor::new(&scene.room, &["r=raw 1", "s=raw6 58", "p=packet"]);
    let plain = scene.run(&["--full"]);
    assert_eq!(sockets(&plain).len(), 11, "{}", plain.text());
    for error in ["EPROTONOSUPPORT", "EAFNOSUPPORT", "EPERM"] {
        let run = without(&scene, &format!("inject=socket:error={error}"), &["--full"]);
        agrees(error, &plain, &run);
        assert!(degraded(&run).contains(&"sock_diag"), "{}", run.summary());
        assert!(run.summary()["strategy"].as_str().unwrap().contains("proc_net"), "{}", run.summary());
    }
}

#[test]
fn without_sock_diag_differences_are_told_too() {
    let Some(scene) = Scene::with(&["strace"]) else { return };
    let mut actor = Actor::new(&scene.room, &SOME);
    let no_diag = |scene: &Scene| without(scene, "inject=socket:error=EPROTONOSUPPORT", &["--wodle"]);
    assert_eq!(sockets(&no_diag(&scene)).len(), 8);
    assert_eq!(sockets(&no_diag(&scene)), []);
    let gone = actor.heard("conn_closed", "a");
    for step in ["drop a", "n=connect l"] {
        actor.tell(step);
    }
    assert_eq!(sockets(&no_diag(&scene)), sorted([gone, actor.heard("conn_new", "n")]));
    // When it comes back, nothing has changed: they are the same sockets.
    assert_eq!(sockets(&scene.run(&[])), []);
    assert_eq!(sockets(&no_diag(&scene)), []);
}

#[test]
fn errors_in_the_middle_of_a_dump_lose_nothing() {
    let Some(scene) = Scene::with(&["strace"]) else { return };
    let _actor = Actor::new(&scene.room, &SOME);
    let _many = crowd(&scene.room, "u", 300);
    let plain = scene.run(&["--full", "--max-events", "0"]);
    assert_eq!(sockets(&plain).len(), 308);
    for call in ["recvfrom", "recvmsg"] {
        for error in ["ENOBUFS", "EINTR", "EIO"] {
            for when in ["1", "2", "4", "2+", "1+"] {
                if error == "EINTR" && when.ends_with('+') {
                    // No kernel does that for ever.
                    continue;
                }
                let what = format!("inject={call}:error={error}:when={when}");
                let run = without(&scene, &what, &["--full", "--max-events", "0"]);
                agrees(&what, &plain, &run);
            }
        }
    }
}

#[test]
fn a_dump_that_never_answers_is_not_waited_for_for_ever() {
    let Some(scene) = Scene::with(&["strace"]) else { return };
    let _actor = Actor::new(&scene.room, &SOME);
    let plain = scene.run(&["--full"]);
    // The question is lost: it looks sent, and is not.
    for call in ["sendto", "sendmsg"] {
        let run = without(&scene, &format!("inject={call}:retval=72"), &["--full"]);
        agrees(call, &plain, &run);
        assert!(run.took.as_secs() < 45, "{:?}", run.took);
    }
}

#[test]
fn without_names_of_network_namespaces_the_own_one_is_seen() {
    let Some(scene) = Scene::with(&["strace"]) else { return };
    let mut actor = Actor::new(&scene.room, &SOME);
    actor.tell("k=spawn ;netns new;l=listen 127.0.0.1:0");
    let plain = scene.run(&["--full"]);
    assert_eq!(sockets(&plain).len(), 9, "{}", plain.text());
    let run = without(&scene, "inject=setns:error=EPERM", &["--full"]);
    let own: Vec<_> = of_sockets(&run).filter(|event| event["pid"] == actor.pid()).collect();
    assert_eq!(own.len(), 8, "{}", run.text());
    if sockets(&run).len() < 9 {
        assert_ne!(degraded(&run), ["none"], "it says nothing of what it could not see");
    }
}

#[test]
fn a_process_that_something_is_mounted_over_is_missed_and_missing_is_said() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &["l=listen 127.0.0.1:0"]);
    assert!(!degraded(&scene.run(&[])).contains(&"proc_mounted"));
    scene.room.sh(&format!("mount -t tmpfs over /proc/{}", actor.pid()));
    assert!(degraded(&scene.run(&[])).contains(&"proc_mounted"));
}
