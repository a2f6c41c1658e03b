//! Runs that are ended: by modulesd when their time is over, and by anything
//! else at any point.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::wodle::Run;
use nix::sys::signal::Signal;

use crate::actor::{Actor, Heard, crowd};
use crate::{Scene, errors, room, sockets, sorted};

/// Enough that a pipe does not hold all that is said of them.
const COUNT: usize = 300;
/// Within this time a run that was told to end has ended: three seconds, and what
/// a busy machine takes. What it would go on with takes thirty and more.
const SOON: Duration = Duration::from_secs(10);

fn many(scene: &Scene, label: &str, count: usize) -> (Actor, Vec<Heard>) {
    let actor = crowd(&scene.room, label, count);
    let all = sorted((0..count).map(|nth| actor.heard("listen_new", &format!("{label}{nth}"))));
    (actor, all)
}

/// The state as it was, to go back to.
struct Before {
    folder: PathBuf,
    copy: PathBuf,
}

impl Before {
    fn of(scene: &Scene) -> Before {
        let folder = scene.wodle.state_dir();
        let copy = scene.wodle.dir().join("before");
        copy_all(&folder, &copy);
        Before { folder, copy }
    }

    fn again(&self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
        copy_all(&self.copy, &self.folder);
    }
}

fn copy_all(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// After a run that was ended: nothing is lost, at most that run is repeated,
/// and the state is a good one.
fn goes_on(scene: &Scene, what: &str, ended: &Run, all: &[Heard]) {
    let said = sockets(ended);
    let mut once = said.clone();
    once.dedup();
    assert_eq!(once.len(), said.len(), "{what}: said twice in one run");
    let next = scene.run(&["--max-events", "0"]);
    assert_eq!(errors(&next), Vec::<&str>::new(), "{what}");
    let mut union = sorted([said, sockets(&next)].concat());
    union.dedup();
    let lost: Vec<&Heard> = all.iter().filter(|heard| !union.contains(heard)).collect();
    assert!(lost.is_empty(), "{what}: {} of {} lost: {:?}", lost.len(), all.len(), lost[0]);
    assert_eq!(union.len(), all.len(), "{what}: more was said than there is");
    let third = scene.run(&[]);
    assert_eq!(third.events.len(), 1, "{what}: more than one run is repeated: {}", third.text());
}

/// How long a run takes when nobody disturbs it.
fn usual(scene: &Scene, before: &Before) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        best = best.min(scene.run(&["--max-events", "0"]).took);
        before.again();
    }
    best
}

#[test]
fn at_sigterm_it_ends_with_whole_lines_and_loses_nothing() {
    let Some(scene) = Scene::new() else { return };
    let (_first, mut all) = many(&scene, "u", COUNT);
    for first in [true, false] {
        if !first {
            assert_eq!(sockets(&scene.run(&["--max-events", "0"])), all);
        }
        let more = (!first).then(|| many(&scene, "v", COUNT));
        all = more.as_ref().map_or(all, |(_, new)| new.clone());
        let before = Before::of(&scene);
        let usual = usual(&scene, &before);
        for part in 0..30 {
            let mut run = scene.start(&[], &["--max-events", "0"]);
            std::thread::sleep(usual * part / 25);
            let told = Instant::now();
            run.signal(Signal::SIGTERM);
            let status = run.ends_within(SOON);
            let what = format!("first run: {first}, ended after {part}/25 of {usual:?}");
            assert!(status.is_some(), "{what}: still there after {:?}", told.elapsed());
            let run = run.wait();
            let fine = matches!((run.code, run.signal), (Some(_), None) | (None, Some(15)));
            assert!(fine, "{what}: {:?} {:?}", run.code, run.signal);
            goes_on(&scene, &what, &run, &all);
            before.again();
        }
        std::fs::remove_dir_all(&before.copy).unwrap();
    }
}

#[test]
fn at_sigterm_a_run_that_watches_says_what_it_has_seen() {
    let Some(scene) = Scene::new() else { return };
    scene.wodle.configure("watch_pause = \"100ms\"\n");
    let mut actor = Actor::new(&scene.room, &["a=udp 127.0.0.1:0"]);
    scene.run(&[]);
    let mut run = scene.start(&[], &["--watch", "30"]);
    std::thread::sleep(Duration::from_millis(600));
    actor.tell("b=udp 127.0.0.1:0");
    std::thread::sleep(Duration::from_millis(600));
    run.signal(Signal::SIGTERM);
    assert!(run.ends_within(SOON).is_some(), "it goes on watching");
    goes_on(&scene, "watching", &run.wait(), &[actor.heard("listen_new", "b")]);
}

#[test]
fn a_reader_that_does_not_read_cannot_keep_it_from_ending_nor_get_half_a_line() {
    let Some(scene) = Scene::new() else { return };
    let (_actor, all) = many(&scene, "u", COUNT);
    for wait in [300, 50, 1500] {
        scene.forget();
        let mut command = scene.command(&[], &["--max-events", "0"]);
        let (mut reader, writer) = std::io::pipe().unwrap();
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let began = Instant::now();
        let mut child = scene.room.inside(|| command.spawn()).unwrap();
        drop(command);
        std::thread::sleep(Duration::from_millis(wait));
        assert!(child.try_wait().unwrap().is_none() || wait < 100, "all of it fits into a pipe");
        room::signal(&child, Signal::SIGTERM);
        let told = Instant::now();
        let ended = harness::eventually(SOON, || child.try_wait().unwrap().is_some());
        assert!(ended, "after {wait} ms: it waits for its reader");
        assert!(told.elapsed() < SOON);
        let status = child.wait().unwrap();
        let mut raw = Vec::new();
        reader.read_to_end(&mut raw).unwrap();
        let run = room::said(status, raw, began.elapsed());
        goes_on(&scene, &format!("full pipe, after {wait} ms"), &run, &all);
    }
}

/// One system call of a run: its name, and how many of that name its thread
/// has made. strace counts for each thread and each name.
type Call = (String, usize);

/// The calls that a run makes, in all its threads.
fn calls(scene: &Scene, before: &Before) -> Vec<Call> {
    let trace = scene.wodle.dir().join("trace");
    let words = ["strace", "-f", "-qqq", "-o", trace.to_str().unwrap()];
    let run = scene.start(&words, &["--max-events", "0"]).wait();
    assert_eq!(run.code, Some(0), "{}", run.text());
    before.again();
    let trace = std::fs::read_to_string(trace).unwrap();
    let (mut calls, mut counts) = (Vec::<Call>::new(), BTreeMap::<(&str, &str), usize>::new());
    for line in trace.lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        let Some((thread, name)) = name.split_once(char::is_whitespace) else { continue };
        let name = name.trim_start();
        // Nothing comes after the exit.
        let of_interest = name != "exit_group" && name != "exit";
        if of_interest && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let nth = counts.entry((thread, name)).or_default();
            *nth += 1;
            let call = (name.to_owned(), *nth);
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
    }
    assert!(calls.len() > 30, "strace saw only {} calls", calls.len());
    calls
}

/// Whether what a call does can be seen from outside: then each is tried.
fn matters(name: &str) -> bool {
    let quiet =
        ["readlinkat", "readlink", "read", "statx", "newfstatat", "getdents64", "mmap", "munmap", "brk"];
    !quiet.contains(&name)
}

/// Kills a run at its system calls, from the same start each time.
fn kill_everywhere(scene: &Scene, all: &[Heard]) {
    let before = Before::of(scene);
    let calls = calls(scene, &before);
    let (mut tried, mut killed, mut unlike) = (0, 0, BTreeSet::new());
    let last = calls.len().saturating_sub(60);
    for (index, (name, nth)) in calls.iter().enumerate() {
        // Those at the end are about what was said and what is remembered.
        if index % 9 != 0 && index < last && !(matters(name) && index % 3 == 0) {
            continue;
        }
        let inject = format!("inject={name}:signal=SIGKILL:when={nth}");
        let words = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &inject];
        let run = scene.start(&words, &["--max-events", "0"]).wait();
        tried += 1;
        killed += usize::from(run.signal == Some(Signal::SIGKILL as i32));
        unlike.insert((sockets(&run).len(), run.events.len()));
        goes_on(scene, &format!("killed at system call {index} of {}, {name} {nth}", calls.len()), &run, all);
        before.again();
    }
    assert!(killed * 10 >= tried * 9, "killed {killed} of {tried} only");
    assert!(unlike.len() > 1, "always the same was said");
    std::fs::remove_dir_all(&before.copy).unwrap();
}

const SOME: [&str; 5] = ["l=listen 127.0.0.1:0", "a=connect l", "b=accept l", "u=udp 127.0.0.1:0", "r=raw 1"];

#[test]
fn a_first_run_killed_anywhere_loses_nothing_and_is_repeated_at_most_once() {
    let Some(scene) = Scene::with(&["strace"]) else { return };
    let _actor = Actor::new(&scene.room, &SOME);
    let before = Before::of(&scene);
    let all = sockets(&scene.run(&[]));
    assert_eq!(all.len(), 5);
    before.again();
    std::fs::remove_dir_all(&before.copy).unwrap();
    kill_everywhere(&scene, &all);
}

#[test]
fn a_later_run_killed_anywhere_loses_nothing_and_is_repeated_at_most_once() {
    let Some(scene) = Scene::with(&["strace"]) else { return };
    let mut actor = Actor::new(&scene.room, &SOME);
    scene.run(&[]);
    let gone = ["a", "u"]
        .map(|label| actor.heard(if label == "a" { "conn_closed" } else { "listen_closed" }, label));
    for step in ["drop a", "drop u", "c=connect l", "v=udp [::1]:0"] {
        actor.tell(step);
    }
    let new = [actor.heard("conn_new", "c"), actor.heard("listen_new", "v")];
    kill_everywhere(&scene, &sorted(gone.into_iter().chain(new)));
}

#[test]
fn runs_that_are_killed_leave_nothing_that_piles_up() {
    let Some(scene) = Scene::with(&["strace"]) else { return };
    let mut actor = Actor::new(&scene.room, &SOME);
    scene.run(&[]);
    for nth in 0..12 {
        actor.tell(&format!("n{nth}=udp 127.0.0.1:0"));
        for call in ["rename", "renameat", "renameat2"] {
            let inject = format!("inject={call}:signal=SIGKILL:when=1");
            let run = scene.start(&["strace", "-qqq", "-o", "/dev/null", "-e", &inject], &[]).wait();
            if run.signal.is_some() {
                break;
            }
        }
    }
    scene.run(&[]);
    let folder = scene.wodle.state_file().parent().unwrap().to_owned();
    let names: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(names.len() <= 4, "{names:?}");
}
