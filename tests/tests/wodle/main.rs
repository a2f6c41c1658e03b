//! custom-audit as the `command` wodle runs it: what it says, when, and how
//! that survives whatever happens to it. Each test has a host of its own, so
//! that all that must be said is known.
//!
//! One binary, so that the harness is linked once.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

mod actor;
mod allowlist;
mod blind;
mod config;
mod diff;
mod doctor;
mod ends;
mod hang;
mod limit;
mod memory;
mod output;
mod room;
mod state;
#[cfg(target_arch = "x86_64")]
mod threads;
mod verbs;
mod watch;

use std::path::Path;
use std::process::Command;

use harness::wodle::{Run, Wodle};
use harness::{kernel, network, program};
use serde_json::Value;

use actor::Heard;
use room::{Room, Started};

/// True when a test can run that needs a host of its own and these tools.
fn ready(tools: &[&str]) -> bool {
    harness::require(network::available(), "root, for namespaces")
        && tools.iter().all(|tool| harness::require(kernel::has(tool), tool))
}

/// A host, and an installation that looks at it.
struct Scene {
    // Dropped first, so that nothing is left of what lies below the installation.
    room: Room,
    wodle: Wodle,
}

impl Scene {
    fn new() -> Option<Scene> {
        Scene::with(&[])
    }

    fn with(tools: &[&str]) -> Option<Scene> {
        ready(tools).then(|| Scene { room: Room::new(), wodle: Wodle::new(program::custom_audit()) })
    }

    /// A run of the wodle that has looked.
    fn run(&self, args: &[&str]) -> Run {
        let run = self.start(&[], args).wait();
        assert_eq!((run.code, run.signal), (Some(0), None), "{}", run.text());
        run
    }

    /// What earlier runs remembered is gone.
    fn forget(&self) {
        let state = self.wodle.state_file();
        let _ = std::fs::remove_dir_all(state.parent().unwrap());
    }

    /// A run behind these words that has not ended yet.
    fn start(&self, launcher: &[&str], args: &[&str]) -> Started {
        let args = if args.is_empty() { &["--wodle"] } else { args };
        self.room.start(self.command(launcher, args))
    }

    fn command(&self, launcher: &[&str], args: &[&str]) -> Command {
        self.room.command(&self.wodle, launcher, program::custom_audit(), args)
    }
}

/// What an event says, as far as a test can know it.
fn heard(event: &Value) -> Heard {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let pid = u32::try_from(event["pid"].as_u64().unwrap_or_default()).unwrap_or_default();
    (text("event"), pid, text("local_addr"), text("remote_addr"))
}

/// What a run says of sockets, in the order of text: with summaries and errors
/// left out.
fn sockets(run: &Run) -> Vec<Heard> {
    let mut all: Vec<Heard> = of_sockets(run).map(heard).collect();
    all.sort();
    all
}

fn of_sockets(run: &Run) -> impl Iterator<Item = &Value> {
    run.events.iter().filter(|event| event["event"] != "summary" && event["event"] != "error")
}

/// The only event of this name.
fn only<'a>(run: &'a Run, event: &str) -> &'a Value {
    let named = run.named(event);
    assert_eq!(named.len(), 1, "{event}: {}", run.text());
    named[0]
}

/// The kinds of the errors that a run says.
fn errors(run: &Run) -> Vec<&str> {
    run.named("error").iter().map(|error| error["error_kind"].as_str().unwrap_or_default()).collect()
}

fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    items
}

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}
