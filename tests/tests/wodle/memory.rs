//! How much memory a run takes, as the kernel counts it.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use crate::actor::Actor;
use crate::{Scene, sockets};

/// A run may not use more, in KiB.
const MOST_MEMORY: u64 = 16 * 1024;
/// Connections, each of which has two ends.
const PAIRS: usize = 5000;

/// The most memory that a run ever had, in KiB, and how many sockets it said.
/// Its last call waits for a moment, so that its process can be looked at.
fn peak(scene: &Scene, args: &[&str]) -> (u64, usize) {
    let delay = "inject=exit_group:delay_enter=700000";
    let words = ["strace", "-qqq", "-o", "/dev/null", "-e", "trace=exit_group", "-e", delay];
    let mut run = scene.start(&words, args);
    let parent = format!("PPid:\t{}\n", run.pid());
    let mut most = 0;
    while run.ends_within(Duration::from_millis(20)).is_none() {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let status = std::fs::read_to_string(process.path().join("status")).unwrap_or_default();
            if status.contains(&parent) && status.starts_with("Name:\tcustom-audit\n") {
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
                most = most.max(kib.unwrap_or(0));
            }
        }
    }
    let run = run.wait();
    assert_eq!(run.code, Some(0), "{}", run.text());
    (most, sockets(&run).len())
}

#[test]
fn ten_thousand_sockets_of_root_need_little_memory() {
    let Some(scene) = Scene::with(&["strace"]) else { return };
    let enough = getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(_, hard)| hard >= 20_000);
    if !harness::require(enough, "20,000 descriptors") {
        return;
    }
    let mut steps = vec!["l=listen 127.0.0.1:0".to_owned()];
    steps.extend((0..PAIRS).flat_map(|nth| [format!("c{nth}=connect l"), format!("d{nth}=accept l")]));
    let actor = Actor::large(&scene.room, &steps.iter().map(String::as_str).collect::<Vec<_>>());
    let all = actor.count();
    assert_eq!(all, 2 * PAIRS + 1);
    for (what, args, said) in [
        ("all, without a limit", &["--full", "--max-events", "0"][..], all),
        ("a first run", &["--wodle"], 500),
        ("a second run", &["--wodle"], 500),
        ("the rest", &["--max-events", "0"], all - 1000),
        ("nothing new", &["--wodle"], 0),
    ] {
        let (most, count) = peak(&scene, args);
        assert_eq!(count, said, "{what}");
        assert!((100..MOST_MEMORY).contains(&most), "{what}: {most} KiB");
    }
}
