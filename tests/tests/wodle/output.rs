//! Where the events go: to stdout, or to a file that logcollector follows.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::event;
use harness::wodle::Run;
use nix::sys::stat::Mode;
use serde_json::Value;

use crate::actor::{Actor, Heard, crowd};
use crate::{Scene, errors, heard, sockets, sorted};

const SOME: [&str; 4] = ["l=listen 127.0.0.1:0", "a=connect l", "b=accept l", "u=udp [::1]:0"];

/// A file, and runs that write to it.
struct Follow<'a> {
    scene: &'a Scene,
    file: PathBuf,
}

impl<'a> Follow<'a> {
    fn new(scene: &'a Scene) -> Follow<'a> {
        let folder = scene.wodle.dir().join("log");
        std::fs::create_dir(&folder).unwrap();
        Follow { scene, file: folder.join("audit.json") }
    }

    fn run(&self, args: &[&str]) -> Run {
        let file = self.file.to_str().unwrap();
        self.scene.run(&[&["--wodle", "--output", file], args].concat())
    }

    /// All events in the file, as it is in the room.
    fn events(&self) -> Vec<Value> {
        event::read(&std::fs::read(self.scene.room.path(&self.file)).unwrap_or_default())
    }

    fn sockets(&self) -> Vec<Heard> {
        told(&self.events())
    }
}

fn told(events: &[Value]) -> Vec<Heard> {
    let of_sockets = events.iter().filter(|event| event["event"] != "summary" && event["event"] != "error");
    sorted(of_sockets.map(heard))
}

/// Without what differs from run to run.
fn lasting(events: &[Value]) -> Vec<Value> {
    let mut events = events.to_vec();
    for event in &mut events {
        let mut passing =
            vec!["timestamp", "scan_id", "duration_ms", "cpu_ms", "uptime_s", "first_seen", "scanned_fds"];
        if event["event"] == "summary" {
            passing.push("pid");
        }
        for key in passing {
            event.as_object_mut().unwrap().remove(key);
        }
    }
    events
}

#[test]
fn a_file_gets_the_same_lines_instead_of_stdout_and_keeps_what_it_had() {
    let Some(scene) = Scene::new() else { return };
    let _actor = Actor::new(&scene.room, &SOME);
    let stdout = scene.run(&[]);
    scene.forget();
    let follow = Follow::new(&scene);
    let run = follow.run(&[]);
    assert_eq!(run.text(), "", "nothing on stdout");
    assert_eq!(lasting(&follow.events()), lasting(&stdout.events));
    let first = std::fs::read(&follow.file).unwrap();
    assert_eq!(follow.run(&[]).text(), "");
    let both = std::fs::read(&follow.file).unwrap();
    assert!(both.starts_with(&first) && both.len() > first.len());
    assert_eq!(follow.events().len(), stdout.events.len() + 1);
    // Whoever collects it is root: what is in it is for nobody else.
    let mode = std::fs::metadata(&follow.file).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
}

#[test]
fn the_configuration_can_name_the_file() {
    let Some(scene) = Scene::new() else { return };
    let _actor = Actor::new(&scene.room, &SOME);
    let follow = Follow::new(&scene);
    scene.wodle.configure(&format!("output = {:?}\n", follow.file));
    assert_eq!(scene.run(&[]).text(), "");
    assert_eq!((follow.sockets().len(), follow.events().len()), (4, 5));
}

#[test]
fn a_file_that_was_renamed_is_left_and_a_new_one_begins() {
    let Some(scene) = Scene::new() else { return };
    let mut actor = Actor::new(&scene.room, &SOME);
    let follow = Follow::new(&scene);
    follow.run(&[]);
    let old = follow.file.with_extension("json.1");
    std::fs::rename(&follow.file, &old).unwrap();
    let before = std::fs::read(&old).unwrap();
    actor.tell("n=udp 127.0.0.1:0");
    follow.run(&[]);
    assert_eq!(std::fs::read(&old).unwrap(), before);
    assert_eq!(follow.sockets(), [actor.heard("listen_new", "n")]);
    assert_eq!(follow.events().len(), 2);
}

#[test]
fn a_file_that_is_renamed_while_a_run_watches_loses_nothing() {
    let Some(scene) = Scene::new() else { return };
    scene.wodle.configure("watch_pause = \"100ms\"\n");
    let mut actor = Actor::new(&scene.room, &SOME);
    let follow = Follow::new(&scene);
    follow.run(&[]);
    let file = follow.file.to_str().unwrap();
    let running = scene.start(&[], &["--watch", "3", "--output", file]);
    std::thread::sleep(Duration::from_millis(500));
    actor.tell("m=udp 127.0.0.1:0");
    std::thread::sleep(Duration::from_millis(700));
    let old = follow.file.with_extension("json.1");
    std::fs::rename(&follow.file, &old).unwrap();
    actor.tell("n=udp 127.0.0.1:0");
    assert_eq!(running.wait().code, Some(0));
    let mut all = event::read(&std::fs::read(&old).unwrap());
    all.extend(follow.events());
    let told = told(&all);
    for label in ["m", "n"] {
        let new = actor.heard("listen_new", label);
        assert_eq!(told.iter().filter(|heard| **heard == new).count(), 1, "{label}: {told:?}");
    }
}

/// What must not be written to, and what must not be reached by it.
fn traps(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let victim = folder.join("victim");
    std::fs::write(&victim, "untouched\n").unwrap();
    symlink(&victim, folder.join("symlink")).unwrap();
    symlink(folder.join("nowhere"), folder.join("dangling")).unwrap();
    std::fs::hard_link(&victim, folder.join("hardlink")).unwrap();
    nix::unistd::mkfifo(&folder.join("fifo"), Mode::S_IRWXU).unwrap();
    std::fs::create_dir(folder.join("directory")).unwrap();
    let mut traps: Vec<_> = ["symlink", "dangling", "hardlink", "fifo", "directory"]
        .map(|name| (name, folder.join(name)))
        .to_vec();
    traps.push(("a device", "/dev/null".into()));
    traps.push(("no folder", folder.join("no/file")));
    traps
}

#[test]
fn only_a_plain_file_is_written_and_what_could_not_be_said_comes_next_time() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    let all = sockets(&scene.run(&[]));
    assert_eq!(all.len(), actor.count());
    let mut follow = Follow::new(&scene);
    let folder = follow.file.parent().unwrap().to_owned();
    let good = follow.file.clone();
    for (what, trap) in traps(&folder) {
        scene.forget();
        let before = std::fs::symlink_metadata(&trap).map(|file| (file.mode(), file.ino())).ok();
        follow.file = trap;
        let run = follow.run(&[]);
        assert!(errors(&run).contains(&"output"), "{what}: {}", run.text());
        assert_eq!(std::fs::read(folder.join("victim")).unwrap(), b"untouched\n", "{what}");
        assert!(!folder.join("nowhere").exists() && !folder.join("no").exists(), "{what}");
        let after = std::fs::symlink_metadata(&follow.file).map(|file| (file.mode(), file.ino())).ok();
        assert_eq!(after, before, "{what}");
        // Said on stdout at once or in the file later, but said.
        let mut said = sockets(&run);
        follow.file = good.clone();
        assert_eq!(follow.run(&[]).text(), "", "{what}");
        said.extend(follow.sockets());
        said.sort();
        assert_eq!(said, all, "{what}");
        std::fs::remove_file(&good).unwrap();
    }
}

#[test]
fn a_line_that_somebody_left_unfinished_spoils_no_other() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    let follow = Follow::new(&scene);
    let torn = "{\"timestamp\":\"2026-11-21T00:00:00.000Z\",\"wodle\":\"system-au";
    std::fs::write(&follow.file, torn).unwrap();
    follow.run(&[]);
    let text = std::fs::read_to_string(&follow.file).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    assert_eq!(first, torn);
    assert_eq!(told(&event::read(rest.as_bytes())).len(), actor.count());
}

#[test]
fn a_full_disk_leaves_no_half_line_and_what_was_not_written_comes_later() {
    let Some(scene) = Scene::new() else { return };
    let actor = crowd(&scene.room, "u", 120);
    let all = sorted((0..120).map(|nth| actor.heard("listen_new", &format!("u{nth}"))));
    let follow = Follow::new(&scene);
    let folder = follow.file.parent().unwrap();
    // Room for some of what there is to say, and then for less than a page.
    scene.room.small_disk(folder, 64);
    let run = follow.run(&[]);
    assert!(errors(&run).contains(&"output"), "{}", run.text());
    let (said, before) = (sockets(&run), follow.sockets());
    assert!(before.len() < 120, "it was not full");
    // Still full, and nothing new is torn.
    let again = follow.run(&[]);
    assert!(errors(&again).contains(&"output"), "{}", again.text());
    follow.events();
    scene.room.sh(&format!("mount -o remount,size=8m '{}'", folder.display()));
    assert_eq!(follow.run(&[]).text(), "");
    let union = sorted([said, sockets(&again), follow.sockets()].concat());
    let mut once = union.clone();
    once.dedup();
    assert_eq!(once, all, "something was never said");
    assert!(union.len() <= 240, "more than one run was repeated: {}", union.len());
    assert_eq!(follow.run(&[]).text(), "");
    assert_eq!(
        follow.sockets().len() + sockets(&run).len() + sockets(&again).len(),
        union.len(),
        "said again"
    );
}

#[test]
fn a_disk_that_is_full_from_the_start_gets_nothing_and_loses_nothing() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    let follow = Follow::new(&scene);
    let folder = follow.file.parent().unwrap();
    scene.room.small_disk(folder, 16);
    let filler = scene.room.path(&folder.join("filler"));
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
    drop(file);
    let run = follow.run(&[]);
    assert!(errors(&run).contains(&"output"), "{}", run.text());
    assert_eq!(follow.events().len(), 0);
    std::fs::remove_file(&filler).unwrap();
    follow.run(&[]);
    assert_eq!(follow.sockets().len() + sockets(&run).len(), actor.count());
}

#[test]
fn a_reader_that_has_gone_is_no_reason_to_crash_or_to_forget() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    let mut command = scene.command(&[], &["--wodle"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = scene.room.inside(|| command.spawn()).unwrap();
    let status = child.wait().unwrap();
    // A signal would be a crash: Rust programs ignore the one of closed pipes.
    assert!(status.code().is_some(), "{status:?}");
    assert_eq!(sockets(&scene.run(&[])).len(), actor.count(), "what nobody read is said again");
}

#[test]
fn a_reader_that_rests_gets_all_in_the_end() {
    let Some(scene) = Scene::new() else { return };
    let _actor = crowd(&scene.room, "u", 200);
    let mut command = scene.command(&[], &["--wodle"]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = scene.room.inside(|| command.spawn()).unwrap();
    drop(command);
    std::thread::sleep(Duration::from_secs(3));
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(bytes.len() > 100_000, "more than a pipe holds");
    assert_eq!(told(&event::read(&bytes)).len(), 200);
    assert_eq!(scene.run(&[]).events.len(), 1);
}
