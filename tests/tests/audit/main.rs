//! What custom-audit finds: processes that are just so, made for the purpose,
//! and what it says of them. Inodes, addresses and process ids are those that
//! the processes know of themselves.
//!
//! Other tests have sockets on the same host at the same time: each looks only
//! at records of its own processes and namespaces.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

mod actor;
mod executables;
mod faults;
mod holders;
mod large;
mod namespaces;
mod owners;
mod processes;
mod races;
mod scopes;
mod sockets;
mod texts;
mod units;

use std::path::PathBuf;
use std::time::Duration;

use harness::network::{self, Namespace};
use harness::program;
use harness::wodle::{Run, Wodle};
use serde_json::Value;

use actor::Actor;

/// Who nobody is.
const NOBODY: u32 = 65534;

/// An installation, and a namespace in which all ports are free.
struct Stage {
    wodle: Wodle,
    namespace: Namespace,
}

impl Stage {
    /// One where a run has been before, so that the next ones save themselves
    /// what they think they can.
    fn new() -> Option<Stage> {
        let stage = Stage::with("")?;
        stage.changes();
        Some(stage)
    }

    /// One where every run looks at everything, whatever it costs.
    fn thorough() -> Option<Stage> {
        Stage::with("full_look = \"0s\"\n")
    }

    fn with(settings: &str) -> Option<Stage> {
        let possible = harness::require(network::available(), "root, for network namespaces");
        possible.then(|| {
            let wodle = Wodle::new(program::custom_audit());
            // Hashes take as long as they take where many tests run at once.
            wodle.configure(&format!("{settings}[hash]\nbudget = \"20s\"\n"));
            Stage { wodle, namespace: Namespace::new() }
        })
    }

    /// A process in the namespace.
    fn actor(&self, steps: &[&str]) -> Actor {
        Actor::new(Some(&self.namespace), steps)
    }

    /// Everything that is there.
    fn full(&self) -> Run {
        self.run(&["--wodle", "--full", "--max-events", "0"])
    }

    /// What is not as it was.
    fn changes(&self) -> Run {
        self.run(&["--wodle", "--max-events", "0"])
    }

    /// The same two, each with a whole search for holders of what nobody seems
    /// to hold: on a host that is busy with other tests it may run out of time.
    fn both_searched(&self) -> [Run; 2] {
        [&["--wodle", "--full", "--max-events", "0"][..], &["--wodle", "--max-events", "0"]].map(|args| {
            let mut run = self.run(args);
            harness::eventually(Duration::from_secs(60), || {
                let degraded = run.summary()["degraded"].as_str().unwrap().to_owned();
                let searched = !degraded.split(',').any(|word| word == "rescan");
                if !searched {
                    run = self.run(args);
                }
                searched
            });
            run
        })
    }

    fn run(&self, args: &[&str]) -> Run {
        let run = self.wodle.run(args);
        assert_eq!(run.code, Some(0), "{}", run.text());
        assert!(run.named("error").is_empty(), "{:?}", run.named("error"));
        assert!(run.summary()["looks"].as_i64() > Some(0));
        run
    }

    /// A directory of the test's own, removed with the installation.
    fn scratch(&self, name: &str) -> PathBuf {
        let path = self.wodle.dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}

/// All records of this socket, whoever holds it.
fn of_socket<'a>(run: &'a Run, inode: &str) -> Vec<&'a Value> {
    run.events.iter().filter(|event| event["inode"] == inode).collect()
}

/// The one record of this socket in this process.
fn one<'a>(run: &'a Run, pid: u32, inode: &str) -> &'a Value {
    let records: Vec<&Value> =
        of_socket(run, inode).into_iter().filter(|event| event["pid"] == pid).collect();
    assert_eq!(records.len(), 1, "of socket {inode} in process {pid} it says {records:#?}");
    records[0]
}

/// Bytes as texts of a record are written: no byte of it acts on a terminal.
fn written(bytes: &[u8]) -> String {
    let mut text = String::new();
    for letter in String::from_utf8_lossy(bytes).chars() {
        if letter.is_control() {
            text.push_str(&format!("\\x{:02x}", u32::from(letter)));
        } else {
            text.push(letter);
        }
    }
    text
}

/// Fails with the whole record where one of its values is another.
fn assert_says(record: &Value, expected: &[(&str, Value)]) {
    for (key, value) in expected {
        assert_eq!(&record[*key], value, "{key} of {record:#}");
    }
}
