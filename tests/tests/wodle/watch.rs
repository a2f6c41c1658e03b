//! Several looks in one run, for connections that do not live from one run to
//! the next.

use std::time::Duration;

use crate::actor::{Actor, crowd};
use crate::{Scene, errors, of_sockets, sockets, sorted};

#[test]
fn a_connection_that_is_shorter_than_the_run_is_caught_with_its_end() {
    let Some(scene) = Scene::new() else { return };
    scene.wodle.configure("watch_pause = \"200ms\"\n");
    let mut actor = Actor::new(&scene.room, &["l=listen 127.0.0.1:0", "a=connect l"]);
    scene.run(&[]);
    let run = scene.start(&[], &["--watch", "4"]);
    std::thread::sleep(Duration::from_millis(800));
    actor.tell("n=connect l");
    let (new, closed) = (actor.heard("conn_new", "n"), actor.heard("conn_closed", "n"));
    std::thread::sleep(Duration::from_millis(1200));
    actor.tell("drop n");
    let run = run.wait();
    assert_eq!(run.code, Some(0));
    assert_eq!(sockets(&run), sorted([new, closed]));
    let names: Vec<&str> = of_sockets(&run).filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(names, ["conn_new", "conn_closed"], "its end comes after its beginning");
    let summary = run.summary();
    assert!((5..=40).contains(&summary["looks"].as_u64().unwrap()), "{summary}");
    assert_eq!((&summary["new"], &summary["closed"]), (&1.into(), &1.into()));
    assert!((3500..8000).contains(&run.took.as_millis()), "{:?}", run.took);
    assert_eq!(scene.run(&[]).events.len(), 1);
}

#[test]
fn a_first_run_that_watches_has_one_baseline_and_one_summary() {
    let Some(scene) = Scene::new() else { return };
    scene.wodle.configure("watch_pause = \"100ms\"\n");
    let mut actor = Actor::new(&scene.room, &["l=listen 127.0.0.1:0", "a=connect l"]);
    let run = scene.start(&[], &["--watch", "5"]);
    std::thread::sleep(Duration::from_millis(1000));
    actor.tell("n=connect l");
    let run = run.wait();
    let all = [actor.heard("listen_new", "l"), actor.heard("conn_new", "a"), actor.heard("conn_new", "n")];
    assert_eq!((sockets(&run), errors(&run)), (sorted(all), vec![]));
    assert_eq!(run.summary()["root_sockets"], 3, "{}", run.summary());
    assert_eq!(scene.run(&[]).events.len(), 1);
}

#[test]
fn a_limit_holds_for_the_whole_run_and_not_for_each_look() {
    let Some(scene) = Scene::new() else { return };
    scene.wodle.configure("watch_pause = \"100ms\"\nmax_events = 5\n");
    let actor = crowd(&scene.room, "u", 20);
    let run = scene.run(&["--watch", "1"]);
    assert_eq!((sockets(&run).len(), &run.summary()["deferred"]), (5, &15.into()), "{}", run.summary());
    let rest = scene.run(&["--max-events", "0"]);
    assert_eq!(sockets(&rest).len(), 15);
    drop(actor);
}

#[test]
fn each_short_connection_of_many_is_said_once_new_and_once_closed() {
    let Some(scene) = Scene::new() else { return };
    scene.wodle.configure("watch_pause = \"100ms\"\n");
    let mut actor = Actor::new(&scene.room, &["l=listen 127.0.0.1:0"]);
    scene.run(&[]);
    let run = scene.start(&[], &["--watch", "9"]);
    std::thread::sleep(Duration::from_millis(500));
    let mut all = Vec::new();
    for _ in 0..3 {
        actor.tell("n=connect l");
        all.extend(["conn_new", "conn_closed"].map(|event| actor.heard(event, "n")));
        std::thread::sleep(Duration::from_millis(1500));
        actor.tell("drop n");
    }
    assert_eq!(sockets(&run.wait()), sorted(all));
}

#[test]
fn watching_and_a_full_look_go_together_or_are_refused() {
    let Some(scene) = Scene::new() else { return };
    scene.wodle.configure("watch_pause = \"100ms\"\n");
    let actor = Actor::new(&scene.room, &["l=listen 127.0.0.1:0"]);
    let run = scene.start(&[], &["--full", "--watch", "1"]).wait();
    if run.code == Some(0) {
        assert_eq!(sockets(&run), [actor.heard("listen_open", "l")]);
        let _ = run.summary();
    } else {
        assert_eq!(run.code, Some(2), "{}", run.text());
    }
}
