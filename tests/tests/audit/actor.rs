//! The processes of a test: each of them does what it is told, see
//! `src/bin/actor`.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use harness::network::Namespace;
use serde_json::Value;

/// The program, where cargo has built it.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_actor"))
}

/// Copies a program. Not with a descriptor of our own: another test's process
/// may inherit it for a moment, and what somebody writes to cannot be run.
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--").args([from, to]).status();
    assert!(status.expect("coreutils are installed").success(), "{}", to.display());
}

/// A process that has done its steps, and waits; ended when dropped.
pub(crate) struct Actor {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    facts: Value,
}

impl Actor {
    pub(crate) fn new(namespace: Option<&Namespace>, steps: &[&str]) -> Actor {
        let mut command = Command::new(program());
        command.args(steps);
        Actor::from(namespace, command)
    }

    /// One that is started in another way, or lies elsewhere.
    pub(crate) fn from(namespace: Option<&Namespace>, mut command: Command) -> Actor {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let spawned = match namespace {
            None => command.spawn(),
            Some(namespace) => namespace.run(|| command.spawn()),
        };
        let mut process = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut actor = Actor { process, input, output, facts: Value::Null };
        actor.listen(&format!("{command:?}"));
        actor
    }

    fn listen(&mut self, to: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        self.facts = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{to}: {error}: {line}"));
        assert!(self.facts["error"].is_null(), "{to}: {}", self.facts["error"]);
    }

    /// One more step.
    pub(crate) fn tell(&mut self, step: &str) {
        writeln!(self.input.as_mut().unwrap(), "{step}").unwrap();
        self.listen(step);
    }

    /// Its process id, as it is here.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The process id of a child, as the child knows it.
    pub(crate) fn child(&self, name: &str) -> u32 {
        number(&self.facts["children"][name]["pid"])
    }

    /// What a child knows of one of its sockets.
    pub(crate) fn of_child(&self, name: &str, label: &str, fact: &str) -> String {
        text(&self.facts["children"][name]["sockets"][label][fact])
    }

    /// The namespace it is in.
    pub(crate) fn netns(&self) -> String {
        text(&self.facts["netns"])
    }

    pub(crate) fn inode(&self, label: &str) -> String {
        text(&self.facts["sockets"][label]["inode"])
    }

    pub(crate) fn fd(&self, label: &str) -> u32 {
        number(&self.facts["sockets"][label]["fd"])
    }

    pub(crate) fn local(&self, label: &str) -> SocketAddr {
        text(&self.facts["sockets"][label]["local"]).parse().unwrap()
    }

    pub(crate) fn remote(&self, label: &str) -> SocketAddr {
        text(&self.facts["sockets"][label]["remote"]).parse().unwrap()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("nothing is known of it: {value}")).to_owned()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

impl Drop for Actor {
    fn drop(&mut self) {
        drop(self.input.take());
        let ended = harness::eventually(Duration::from_secs(5), || {
            self.process.try_wait().is_ok_and(|status| status.is_some())
        });
        if !ended {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}
