//! So many events in one run and no more: the gravest first, the others later,
//! and each of them once.

use std::collections::BTreeMap;
use std::path::Path;

use harness::wodle::Run;
use nix::sys::resource::{Resource, getrlimit};
use serde_json::Value;

use crate::actor::{Actor, Heard, PROGRAM, crowd};
use crate::{Scene, errors, heard, of_sockets, sockets, sorted};

/// The places in the documented order.
const ORDER: [&str; 9] = [
    "a socket as stdin",
    "made by another uid",
    "an executable in memory, gone or in /tmp",
    "raw or packet",
    "held by nobody",
    "public and new",
    "a listener",
    "any other",
    "closed",
];

/// Which of them an event has.
fn place(event: &Value) -> usize {
    let (name, is) = (event["event"].as_str().unwrap(), |key: &str| event[key] == true);
    let place = if name.ends_with("_closed") {
        8
    } else if is("stdio_socket") {
        0
    } else if is("socket_uid_mismatch") {
        1
    } else if ["memfd", "tmp"].contains(&event["exe_location"].as_str().unwrap_or_default())
        || (is("exe_deleted") && !is("exe_replaced"))
    {
        2
    } else if name.starts_with("raw_") || name.starts_with("packet_") {
        3
    } else if name == "unattributed" {
        4
    } else if event["remote_scope"] == "public" && is("new_remote") {
        5
    } else if name.starts_with("listen_") {
        6
    } else {
        7
    };
    assert!(place < ORDER.len());
    place
}

/// How many events a run has in each place.
fn counts(run: &Run) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for event in of_sockets(run) {
        *counts.entry(place(event)).or_default() += 1;
    }
    counts
}

fn number(run: &Run, key: &str) -> u64 {
    run.summary()[key].as_u64().unwrap()
}

#[test]
fn what_is_cut_comes_in_the_following_runs_until_each_was_said_once() {
    let Some(scene) = Scene::new() else { return };
    let actor = crowd(&scene.room, "u", 25);
    let all = sorted((0..25).map(|nth| actor.heard("listen_new", &format!("u{nth}"))));
    let mut said: Vec<Heard> = Vec::new();
    for (count, left) in [(10, 15), (10, 5), (5, 0), (0, 0)] {
        let run = scene.run(&["--max-events", "10"]);
        assert_eq!((sockets(&run).len(), number(&run, "deferred")), (count, left), "{}", run.text());
        assert_eq!(number(&run, "emitted"), count as u64);
        said.extend(sockets(&run));
    }
    assert_eq!(sorted(said), all);
}

#[test]
fn the_limit_of_the_configuration_holds_and_that_of_the_command_line_holds_more() {
    let Some(scene) = Scene::new() else { return };
    let _actor = crowd(&scene.room, "u", 620);
    let said = |config: &str, args: &[&str]| {
        scene.forget();
        scene.wodle.configure(config);
        let run = scene.run(args);
        assert_eq!(number(&run, "deferred") + sockets(&run).len() as u64, 620, "{config} {args:?}");
        sockets(&run).len()
    };
    assert_eq!(said("", &[]), 500);
    assert_eq!(said("max_events = 3\n", &[]), 3);
    assert_eq!(said("max_events = 3\n", &["--max-events", "7"]), 7);
    assert_eq!(said("max_events = 3\n", &["--max-events", "0"]), 620);
    assert_eq!(said("max_events = 0\n", &[]), 620);
    assert_eq!(said("max_events = 3\n", &["--full"]), 3);
    assert_eq!(said("max_events = 3\n", &["--full", "--max-events", "0"]), 620);
}

/// One of each place but the last, by several processes, and more of some.
fn one_of_each(scene: &Scene) -> Vec<Actor> {
    let room = &scene.room;
    room.sh("ip addr add 8.8.8.8/32 dev lo; mount -t tmpfs tmpfs /dev/shm");
    room.install(PROGRAM, "/dev/shm/actor");
    let start = |steps: &[&str]| Actor::installed(room, steps);
    vec![
        start(&[
            "l=listen 127.0.0.1:7000",
            "m=listen 127.0.0.1:7001",
            "r=connect l",
            "s=accept l",
            "t=connect l",
        ]),
        start(&["l=listen 8.8.8.8:443", "p=connect l", "q=connect l"]),
        start(&["a,b=unix", "u=udp 127.0.0.1:0", "send u a", "drop u"]),
        start(&["k=packet", "r=raw 1"]),
        Actor::of(room, Path::new("/dev/shm/actor"), &["c=connect 127.0.0.1:7000", "l=listen 127.0.0.1:0"]),
        start(&["uids 0 65534 0", "m=connect 127.0.0.1:7000", "n=udp 127.0.0.1:0", "uids 0 0 0"]),
        start(&["c=connect 127.0.0.1:7000", "stdio c 02"]),
        start(&["c=connect 127.0.0.1:7001", "stdio c 1"]),
    ]
}

#[test]
fn the_gravest_come_first() {
    let Some(scene) = Scene::new() else { return };
    let mut actors = one_of_each(&scene);
    let run = scene.run(&["--max-events", "0"]);
    let places: Vec<usize> = of_sockets(&run).map(place).collect();
    assert!(places.is_sorted(), "{places:?}: {}", run.text());
    let found: Vec<usize> = counts(&run).into_keys().collect();
    assert_eq!(found, [0, 1, 2, 3, 4, 5, 6, 7], "{}", run.text());
    actors.remove(0).end();
    actors[1].tell("w=udp 127.0.0.1:0");
    let run = scene.run(&["--max-events", "0"]);
    let places: Vec<usize> = of_sockets(&run).map(place).collect();
    assert!(places.len() >= 5 && places.is_sorted() && places.ends_with(&[8]), "{places:?}");
}

#[test]
fn with_room_for_few_the_gravest_still_come_first_and_all_come_once() {
    let Some(scene) = Scene::new() else { return };
    let _actors = one_of_each(&scene);
    let all = sorted(sockets(&scene.run(&["--full", "--max-events", "0"])));
    let (mut said, mut first) = (Vec::new(), Vec::new());
    for _ in 0..all.len() {
        let run = scene.run(&["--max-events", "4"]);
        assert!(sockets(&run).len() <= 4, "{}", run.text());
        let places: Vec<usize> = of_sockets(&run).map(place).collect();
        assert!(places.is_sorted(), "{places:?}");
        first = if first.is_empty() { places } else { first };
        said.extend(of_sockets(&run).map(|event| {
            let (name, pid, local, remote) = heard(event);
            (name.replace("_new", "_open"), pid, local, remote)
        }));
        if number(&run, "deferred") == 0 {
            break;
        }
    }
    assert_eq!(first, [0, 0, 1, 1]);
    assert_eq!(sorted(said), all);
}

#[test]
fn no_kind_takes_over_half_while_another_waits() {
    let Some(scene) = Scene::new() else { return };
    let mut many = crowd(&scene.room, "u", 20);
    many.tell("l=listen 127.0.0.1:0");
    for nth in 0..12 {
        many.tell(&format!("c{nth}=connect l"));
        many.tell(&format!("d{nth}=accept l"));
    }
    let _few: Vec<Actor> = (0..3)
        .map(|nth| {
            Actor::installed(
                &scene.room,
                &[&format!("l=listen 127.0.0.1:{}", 7000 + nth), "c=connect l", "stdio c 0"],
            )
        })
        .collect();
    // Three of the gravest, 24 listeners, 24 others.
    let mut left = BTreeMap::from([(0, 3), (6, 24), (7, 24)]);
    let mut runs = 0;
    while left.values().sum::<usize>() > 0 {
        let run = scene.run(&["--max-events", "10"]);
        let (counts, waited) = (counts(&run), left.clone());
        for (place, count) in &counts {
            let others = waited.iter().any(|(other, &left)| {
                other != place && left > counts.get(other).copied().unwrap_or_default()
            });
            assert!(*count <= 5 || !others, "{}: {counts:?} while {waited:?} wait", ORDER[*place]);
            *left.get_mut(place).unwrap() -= count;
        }
        assert_eq!(counts.values().sum::<usize>(), 10.min(waited.values().sum()), "room is left unused");
        if runs == 0 {
            assert_eq!(counts, BTreeMap::from([(0, 3), (6, 5), (7, 2)]), "the gravest first");
        }
        runs += 1;
    }
    assert_eq!(runs, 6);
    assert_eq!(sockets(&scene.run(&["--max-events", "10"])), []);
}

#[test]
fn what_ended_before_it_could_be_said_is_said_at_most_once_and_disturbs_nothing() {
    let Some(scene) = Scene::new() else { return };
    let mut actor = crowd(&scene.room, "u", 6);
    let first = sockets(&scene.run(&["--max-events", "3"]));
    let labels: Vec<String> = (0..6).map(|nth| format!("u{nth}")).collect();
    let was_said = |label: &&String| first.contains(&actor.heard("listen_new", label));
    let (said, unsaid): (Vec<_>, Vec<_>) = labels.iter().partition(was_said);
    assert_eq!((said.len(), unsaid.len()), (3, 3));
    let expected = sorted([
        actor.heard("listen_closed", said[0]),
        actor.heard("listen_new", unsaid[1]),
        actor.heard("listen_new", unsaid[2]),
    ]);
    // Nobody heard of it, and all that there is to say is that it has gone.
    let gone = actor.heard("listen_closed", unsaid[0]);
    for label in [said[0], unsaid[0]] {
        actor.tell(&format!("drop {label}"));
    }
    let mut heard = sockets(&scene.run(&["--max-events", "3"]));
    heard.extend(sockets(&scene.run(&["--max-events", "3"])));
    assert!(heard.iter().filter(|heard| **heard == gone).count() <= 1, "{heard:?}");
    heard.retain(|heard| *heard != gone);
    assert_eq!(sorted(heard), expected);
    assert_eq!(sockets(&scene.run(&[])), []);
}

#[test]
fn ends_wait_for_their_turn_and_are_not_lost() {
    let Some(scene) = Scene::new() else { return };
    let mut actor = crowd(&scene.room, "u", 8);
    scene.run(&[]);
    let mut all: Vec<Heard> = Vec::new();
    for nth in 0..8 {
        all.push(actor.heard("listen_closed", &format!("u{nth}")));
        actor.tell(&format!("drop u{nth}"));
        actor.tell(&format!("n{nth}=udp 127.0.0.1:0"));
        all.push(actor.heard("listen_new", &format!("n{nth}")));
    }
    let mut said = Vec::new();
    for _ in 0..4 {
        let run = scene.run(&["--max-events", "4"]);
        assert_eq!(sockets(&run).len(), 4, "{}", run.text());
        said.extend(sockets(&run));
    }
    assert_eq!(sorted(said), sorted(all));
    assert_eq!(sockets(&scene.run(&[])), []);
}

#[test]
fn the_ends_of_very_many_are_all_said() {
    let Some(scene) = Scene::new() else { return };
    let open_files = getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(_, hard)| hard >= 20_000);
    if !harness::require(open_files, "20,000 descriptors") {
        return;
    }
    let steps: Vec<String> =
        (0..12_000).map(|nth| format!("u{nth}=udp 127.0.0.1:{}", 10_000 + nth)).collect();
    let actor = Actor::large(&scene.room, &steps.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(sockets(&scene.run(&["--max-events", "0"])).len(), 12_000);
    actor.end();
    let few = scene.run(&["--max-events", "500"]);
    assert_eq!((sockets(&few).len(), number(&few, "deferred")), (500, 11_500), "{}", few.summary());
    assert_eq!(sockets(&scene.run(&["--max-events", "0"])).len(), 11_500);
}

#[test]
fn neither_the_summary_nor_an_error_takes_a_place() {
    let Some(scene) = Scene::new() else { return };
    let _actor = crowd(&scene.room, "u", 3);
    scene.wodle.configure("max_evnts = 1\n");
    let run = scene.run(&["--max-events", "3"]);
    assert_eq!((sockets(&run).len(), errors(&run).len(), number(&run, "emitted")), (3, 1, 3));
}
