//! Many in a row, and the most memory that one needs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::execd::{Execd, Run};
use harness::line::Line;
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{UsageWho, getrusage};

use crate::field::{self, Home};

/// A series of runs, the quickest of several: in so long a time this machine
/// has had other things to do, too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    /// From the first start to the last end.
    pub(super) wall: Duration,
    /// Of all its runs.
    pub(super) cpu: Duration,
}

/// Of custom-block, and of a program that does nothing.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) block: Option<Series>,
    pub(super) floor: Option<Series>,
}

fn keep(quickest: &mut Option<Series>, series: Series) {
    if quickest.is_none_or(|known| known.wall > series.wall) {
        *quickest = Some(series);
    }
}

fn enter(home: &Home) {
    let entrance = field::entrance(&home.namespace);
    setns(&entrance, CloneFlags::CLONE_NEWNET).expect("the right to enter a network namespace");
}

/// Lines about addresses that are not blocked yet.
fn lines(home: &Home, count: usize) -> Vec<Line> {
    (0..count).map(|_| home.line(&field::fresh())).collect()
}

fn clock(work: impl FnOnce() -> Vec<Run>) -> Series {
    let began = Instant::now();
    let runs = work();
    let wall = began.elapsed();
    assert!(runs.iter().all(|run| run.status.success()), "one of many fails");
    Series { wall, cpu: runs.iter().map(|run| run.cpu).sum() }
}

/// So many adds in a row, several times.
pub(super) fn adds(block: &Home, floor: &Home, count: usize, times: usize) -> Pair {
    let mut pair = Pair::default();
    for _ in 0..times {
        for (home, into) in [(floor, &mut pair.floor), (block, &mut pair.block)] {
            enter(home);
            let mut execd = home.execd();
            let lines = lines(home, count);
            keep(into, clock(|| lines.iter().map(|line| execd.request(line, 0)).collect()));
            for line in &lines {
                execd.request(&line.clone().command("delete"), 0);
            }
        }
    }
    pair
}

/// So many deletes in a row, as a stopping agent has them, several times.
/// `other` is custom-block, too: it fills execd's list without blocking, and
/// gives its name to the program that does nothing.
pub(super) fn deletes(block: &Home, other: &Home, floor: &Path, count: usize, times: usize) -> Pair {
    let fill = |home: &Home| -> Execd<'static> {
        let mut execd = home.execd();
        for line in lines(home, count) {
            assert!(execd.request(&line, 3600).status.success(), "one of many fails");
        }
        assert_eq!(execd.listed().len(), count);
        execd
    };
    let mut pair = Pair::default();
    let link = other.wazuh.home().join("active-response/bin").join(&other.name);
    let program = std::fs::read_link(&link).expect("a link");
    let relink = |to: &Path| {
        std::fs::remove_file(&link).expect("our own link");
        symlink(to, &link).expect("a new link");
    };
    for _ in 0..times {
        enter(other);
        let mut execd = fill(other);
        relink(floor);
        keep(&mut pair.floor, clock(|| execd.stop()));
        relink(&program);
        enter(block);
        let mut execd = fill(block);
        keep(&mut pair.block, clock(|| execd.stop()));
    }
    pair
}

/// The word by which this program is told to do what follows.
pub(super) const LAUNCH: &str = "--launch";

/// The most memory, in KiB, that one add occupies; and below what it cannot
/// be seen. A process counts what its parent occupied at its start, so it is
/// started by a process that has done nothing else: this program again.
pub(super) fn memory(home: &Home) -> (u64, u64) {
    let output = home.namespace.run(|| {
        Command::new(std::env::current_exe().expect("a path to ourselves"))
            .arg(LAUNCH)
            .args([home.wazuh.home(), home.wazuh.state_dir(), home.wazuh.config_dir()])
            .args([&home.name, &field::fresh()])
            .output()
    });
    let output = output.expect("we start");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace().map(|word| word.parse().unwrap_or(0));
    (words.next().unwrap_or(0), words.next().unwrap_or(0))
}

/// The other end of [`memory`].
pub(super) fn launch(words: &[String]) -> Option<String> {
    let [home, state, config, name, address] = words else { return None };
    let mut execd = Execd::new(Path::new(home))
        .with("WAZUH_TOOLKIT_STATE_DIR", state)
        .with("WAZUH_TOOLKIT_CONFIG_DIR", config);
    let run = execd.request(&Line::add(address).program(name), 3600);
    let most = |who| getrusage(who).map_or(0, |usage| usage.max_rss());
    let (child, own) = (most(UsageWho::RUSAGE_CHILDREN), most(UsageWho::RUSAGE_SELF));
    execd.stop();
    run.status.success().then(|| format!("{child} {own}\n"))
}
