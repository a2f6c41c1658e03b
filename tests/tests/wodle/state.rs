//! What is remembered from run to run: private, whole, and believed only when
//! it is what was written.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use harness::wodle::Run;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::actor::{Actor, Heard, crowd};
use crate::{Scene, errors, of_sockets, permit, sockets, sorted};

const SOME: [&str; 6] = [
    "l=listen 127.0.0.1:0",
    "a=connect l",
    "b=accept l",
    "c=connect l",
    "u=udp 127.0.0.1:0",
    "v=udp [::1]:0",
];

fn folder(scene: &Scene) -> PathBuf {
    scene.wodle.state_file().parent().unwrap().to_owned()
}

/// All that lies in the state's folder, in the order of text.
fn names(scene: &Scene) -> Vec<String> {
    let entries = std::fs::read_dir(folder(scene)).unwrap().flatten();
    sorted(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()))
}

/// A host, what it has, and the state of one that has seen all of it.
fn seen() -> Option<(Scene, Actor, Vec<Heard>, Vec<u8>)> {
    let scene = Scene::new()?;
    let actor = Actor::new(&scene.room, &SOME);
    let all = sockets(&scene.run(&[]));
    assert_eq!(all.len(), actor.count());
    assert_eq!(sockets(&scene.run(&[])), []);
    let good = std::fs::read(scene.wodle.state_file()).unwrap();
    Some((scene, actor, all, good))
}

#[test]
fn the_state_is_for_root_alone() {
    let Some((scene, ..)) = seen() else { return };
    for (path, mode) in [(scene.wodle.state_file(), 0o600), (folder(&scene), 0o700)] {
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!((found.permissions().mode() & 0o7777, found.uid()), (mode, 0), "{}", path.display());
    }
    for name in names(&scene) {
        let found = std::fs::metadata(folder(&scene).join(&name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o077, 0, "{name}");
    }
    // Neither does it depend on who has called: this umask takes nothing away.
    scene.forget();
    let mut command = scene.command(&["sh", "-c", "umask 0; exec \"$@\"", "sh"], &["--wodle"]);
    assert!(scene.room.inside(|| command.output()).unwrap().status.success());
    assert_eq!(std::fs::metadata(scene.wodle.state_file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(folder(&scene)).unwrap().permissions().mode() & 0o777, 0o700);
}

/// A run that finds this as its state: says that it was reset, and all anew.
fn resets(scene: &Scene, what: &str, bad: &[u8], all: &[Heard]) {
    std::fs::write(scene.wodle.state_file(), bad).unwrap();
    let run = scene.run(&[]);
    assert_eq!(errors(&run), ["state_reset"], "{what}");
    assert_eq!(sockets(&run), all, "{what}");
    assert!(of_sockets(&run).all(|event| event["baseline"] == true), "{what}: {}", run.text());
    let _ = run.summary();
    let aside = names(scene).into_iter().filter(|name| name != "state");
    let kept = aside.filter(|name| std::fs::read(folder(scene).join(name)).is_ok_and(|kept| kept == bad));
    assert!(bad.is_empty() || kept.count() == 1, "{what}: it is not set aside: {:?}", names(scene));
    let run = scene.run(&[]);
    assert_eq!((run.events.len(), errors(&run).len()), (1, 0), "{what}: {}", run.text());
}

#[test]
fn a_state_that_somebody_has_changed_is_set_aside_and_all_is_said_anew() {
    let Some((scene, _actor, all, good)) = seen() else { return };
    let step = (good.len() / 40).max(1);
    // The beginning says what it is: each of its bytes.
    for at in (0..16.min(good.len())).chain((16..good.len()).step_by(step)).chain([good.len() - 1]) {
        for flip in [0x01, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            resets(&scene, &format!("byte {at} of {} flipped by {flip}", good.len()), &bad, &all);
        }
    }
    assert!(names(&scene).len() < 8, "what is set aside piles up: {:?}", names(&scene));
}

#[test]
fn a_state_of_any_other_length_is_set_aside() {
    let Some((scene, _actor, all, good)) = seen() else { return };
    let step = (good.len() / 20).max(1);
    for length in (0..8).chain((8..good.len()).step_by(step)).chain([good.len() - 1]) {
        resets(&scene, &format!("cut to {length} of {}", good.len()), &good[..length], &all);
    }
    resets(&scene, "one byte more", &[&good[..], b"\0"].concat(), &all);
    resets(&scene, "twice", &[&good[..], &good[..]].concat(), &all);
}

#[test]
fn what_was_never_a_state_is_set_aside() {
    let Some((scene, _actor, all, good)) = seen() else { return };
    for (what, bad) in [
        ("empty", Vec::new()),
        ("text", b"hello\n".to_vec()),
        ("JSON", b"{\"version\":1}\n".to_vec()),
        ("zeros", vec![0; good.len()]),
        ("ones", vec![0xff; good.len()]),
        ("a megabyte of ones", vec![0xff; 1 << 20]),
        ("reversed", good.iter().rev().copied().collect()),
    ] {
        resets(&scene, what, &bad, &all);
    }
}

#[test]
fn a_giant_state_is_not_read_into_memory() {
    let Some((scene, _actor, all, _)) = seen() else { return };
    // Sparse: it costs nothing to make.
    std::fs::File::create(scene.wodle.state_file()).unwrap().set_len(1 << 40).unwrap();
    // 128 MiB for all that a run has.
    let run = scene.start(&["sh", "-c", "ulimit -v 131072; exec \"$@\"", "sh"], &[]).wait();
    assert_eq!((run.code, run.signal), (Some(0), None), "{}", run.text());
    assert_eq!((errors(&run), sockets(&run)), (vec!["state_reset"], all));
    assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
    assert_eq!(scene.run(&[]).events.len(), 1);
}

#[test]
fn a_state_that_is_no_plain_file_harms_nobody() {
    let Some((scene, _actor, all, good)) = seen() else { return };
    let (state, victim) = (scene.wodle.state_file(), scene.wodle.dir().join("victim"));
    std::fs::write(&victim, &good).unwrap();
    permit(&victim, 0o644);
    let lay = |what: &str| match what {
        "a link" => symlink(&victim, &state).unwrap(),
        "a link to nothing" => symlink("/nonexistent/state", &state).unwrap(),
        "a pipe" => nix::unistd::mkfifo(&state, Mode::S_IRWXU).unwrap(),
        "a second name" => std::fs::hard_link(&victim, &state).unwrap(),
        "a directory" => std::fs::create_dir(&state).unwrap(),
        other => panic!("{other}"),
    };
    for what in ["a link", "a link to nothing", "a pipe", "a second name", "a directory"] {
        let _ = std::fs::remove_file(&state);
        lay(what);
        let run = scene.run(&[]);
        assert!(run.took < Duration::from_secs(20), "{what}: {:?}", run.took);
        // Only root can give it a second name: that is still what was written.
        let (heard, expected) = if what == "a second name" { (0, vec![]) } else { (1, all.clone()) };
        assert_eq!(errors(&run).len().min(1), heard, "{what}: {}", run.text());
        assert_eq!(sockets(&run), expected, "{what}");
        assert_eq!(std::fs::read(&victim).unwrap(), good, "{what}");
        assert_eq!(std::fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o644, "{what}");
        if state.is_dir() && !state.is_symlink() {
            std::fs::remove_dir(&state).unwrap();
        }
    }
}

/// The state cannot be written: said each time, and so is all the rest.
fn cannot_be_written(scene: &Scene, what: &str, all: &[Heard]) {
    for _ in 0..2 {
        let run = scene.run(&["--max-events", "0"]);
        assert_eq!(errors(&run), ["state_unwritable"], "{what}: {}", run.text());
        assert_eq!(sockets(&run), all, "{what}");
        assert!(run.summary()["degraded"].as_str().unwrap().contains("state"), "{what}: {}", run.summary());
    }
}

#[test]
fn with_a_state_that_cannot_be_written_all_is_said_each_time() {
    let Some((scene, mut actor, all, _)) = seen() else { return };
    actor.tell("n=udp 127.0.0.1:0");
    let new = [actor.heard("listen_new", "n")];
    let state = scene.wodle.state_dir();
    scene.room.sh(&format!("mount --bind '{0}' '{0}'; mount -o remount,bind,ro '{0}'", state.display()));
    cannot_be_written(&scene, "read-only", &new);
    scene.room.sh(&format!("umount '{}'", state.display()));
    let run = scene.run(&[]);
    assert_eq!((errors(&run), sockets(&run)), (vec![], new.to_vec()), "it can be written again");
    assert_eq!(scene.run(&[]).events.len(), 1);
    // No state at all yet.
    scene.forget();
    let all = sorted(all.into_iter().chain(new));
    scene.room.sh(&format!("mount --bind '{0}' '{0}'; mount -o remount,bind,ro '{0}'", state.display()));
    cannot_be_written(&scene, "read-only and empty", &all);
}

#[test]
fn a_full_disk_keeps_the_old_state() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    let disk = scene.wodle.state_dir();
    scene.room.small_disk(&disk, 64);
    assert_eq!(sockets(&scene.run(&[])).len(), actor.count());
    let filler = scene.room.path(&disk.join("filler"));
    scene.room.sh(&format!("cat /dev/zero >'{}' 2>/dev/null || true", disk.join("filler").display()));
    // So many that the state needs another page.
    let more = crowd(&scene.room, "n", 2000);
    let new = sorted((0..2000).map(|nth| more.heard("listen_new", &format!("n{nth}"))));
    cannot_be_written(&scene, "full", &new);
    std::fs::remove_file(filler).unwrap();
    scene.room.sh(&format!("mount -o remount,size=8m '{}'", disk.display()));
    let run = scene.run(&["--max-events", "0"]);
    assert_eq!((errors(&run), sockets(&run)), (vec![], new), "there is room again");
    assert_eq!(scene.run(&[]).events.len(), 1);
}

#[test]
fn a_folder_that_others_can_write_to_or_that_is_a_link_is_not_used_as_it_is() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    let all = |run: &Run| assert_eq!(sockets(run).len(), actor.count(), "{}", run.text());
    for mode in [0o777, 0o770, 0o1777] {
        std::fs::create_dir_all(folder(&scene)).unwrap();
        permit(&folder(&scene), mode);
        let run = scene.run(&[]);
        all(&run);
        let now = std::fs::metadata(folder(&scene)).unwrap().permissions().mode() & 0o7777;
        let refused = !errors(&run).is_empty() && !scene.wodle.state_file().exists();
        assert!(now == 0o700 || refused, "{mode:o}: now {now:o}, {:?}", errors(&run));
        scene.forget();
    }
    // Somebody else's folder.
    std::fs::create_dir_all(folder(&scene)).unwrap();
    std::os::unix::fs::chown(folder(&scene), Some(65534), Some(65534)).unwrap();
    let run = scene.run(&[]);
    all(&run);
    let mine = std::fs::metadata(folder(&scene)).unwrap().uid() == 0;
    assert!(mine || (!errors(&run).is_empty() && !scene.wodle.state_file().exists()), "{}", run.text());
    scene.forget();
    // A link to somebody else's.
    let victim = scene.wodle.dir().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::os::unix::fs::chown(&victim, Some(65534), Some(65534)).unwrap();
    symlink(&victim, folder(&scene)).unwrap();
    let run = scene.run(&[]);
    all(&run);
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0, "it writes where the link leads");
    assert!(!errors(&run).is_empty(), "{}", run.text());
    assert_eq!(std::fs::metadata(&victim).unwrap().uid(), 65534);
}

#[test]
fn of_two_runs_at_once_one_works_and_the_other_says_that_it_does_not() {
    let Some((scene, mut actor, ..)) = seen() else { return };
    scene.wodle.configure("watch_pause = \"100ms\"\n");
    let long = scene.start(&[], &["--watch", "60"]);
    let busy = || errors(&scene.run(&[])) == ["busy"];
    assert!(harness::eventually(Duration::from_secs(20), busy), "it does not begin to watch");
    actor.tell("n=udp 127.0.0.1:0");
    for _ in 0..2 {
        let second = scene.run(&[]);
        assert_eq!((errors(&second), second.events.len()), (vec!["busy"], 1), "{}", second.text());
    }
    // Who keeps no state disturbs nobody.
    let full = scene.run(&["--full"]);
    assert_eq!((errors(&full), sockets(&full).len()), (vec![], 7));
    // A few more looks, of which one has seen what is new.
    std::thread::sleep(Duration::from_secs(1));
    long.signal(Signal::SIGTERM);
    let long = long.wait();
    assert_eq!((long.code, errors(&long)), (Some(0), vec![]));
    assert_eq!(sockets(&long), [actor.heard("listen_new", "n")]);
    assert_eq!(scene.run(&[]).events.len(), 1);
}

#[test]
fn of_many_runs_at_once_each_event_is_said_by_one() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    let started: Vec<_> = (0..8).map(|_| scene.start(&[], &[])).collect();
    let mut said = Vec::new();
    for run in started.into_iter().map(|started| started.wait()) {
        assert_eq!(run.code, Some(0));
        let busy = errors(&run) == ["busy"];
        assert_eq!(busy, run.named("summary").is_empty(), "{}", run.text());
        said.extend(sockets(&run));
    }
    assert_eq!(said.len(), actor.count(), "{said:?}");
    assert_eq!(scene.run(&[]).events.len(), 1);
}

#[test]
fn after_a_reboot_all_sockets_are_others_but_old_remotes_are_known() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &SOME);
    let boot = "/proc/sys/kernel/random/boot_id";
    let reboot = |id: &str| {
        let file = scene.wodle.dir().join(format!("boot-{}", &id[..8]));
        std::fs::write(&file, format!("{id}\n")).unwrap();
        scene.room.sh(&format!("mount --bind '{}' {boot}", file.display()));
    };
    reboot("11111111-1111-4111-8111-111111111111");
    let before = scene.run(&[]);
    assert_eq!(scene.run(&[]).events.len(), 1);
    reboot("22222222-2222-4222-8222-222222222222");
    let after = scene.run(&[]);
    let new: Vec<Heard> =
        sockets(&after).into_iter().filter(|(event, ..)| !event.ends_with("_closed")).collect();
    assert_eq!((new, errors(&after)), (sockets(&before), vec![]));
    assert_eq!(after.named("conn_new").len(), 3);
    for event in after.named("conn_new") {
        assert_eq!(event["new_remote"], false, "{event}");
    }
    assert_eq!(scene.run(&[]).events.len(), 1);
    drop(actor);
}

#[test]
fn a_state_does_not_grow_with_what_has_gone() {
    let Some(scene) = Scene::new() else { return };
    let mut actor = Actor::new(&scene.room, &["l=listen 127.0.0.1:0"]);
    let mut sizes = Vec::new();
    for _ in 0..40 {
        for step in ["a=connect l", "b=accept l"] {
            actor.tell(step);
        }
        scene.run(&[]);
        for step in ["drop a", "drop b"] {
            actor.tell(step);
        }
        scene.run(&[]);
        sizes.push(std::fs::metadata(scene.wodle.state_file()).unwrap().len());
    }
    assert!(sizes[39] <= sizes[4] + 2048, "{sizes:?}");
    assert!(names(&scene).len() < 8, "{:?}", names(&scene));
}

#[test]
fn nothing_is_left_below_the_state_but_the_state() {
    let Some((scene, ..)) = seen() else { return };
    let all = std::fs::read_dir(scene.wodle.state_dir()).unwrap().flatten();
    let all: Vec<PathBuf> = all.map(|entry| entry.path()).collect();
    assert_eq!(all, [folder(&scene)]);
    assert!(names(&scene).len() <= 4 && names(&scene).contains(&"state".to_owned()), "{:?}", names(&scene));
}
