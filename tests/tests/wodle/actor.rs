//! Processes in a room that have the sockets a test needs, made by the
//! harness's `actor`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::room::Room;

/// The program that is every actor.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_actor");

/// One of them; ended when dropped, and with its room.
pub(crate) struct Actor {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    facts: Value,
}

impl Actor {
    /// One that has done these steps.
    pub(crate) fn new(room: &Room, steps: &[&str]) -> Actor {
        Actor::of(room, Path::new(PROGRAM), steps)
    }

    /// One whose executable lies where executables belong, and not where the
    /// sources may: what runs from /tmp is graver.
    pub(crate) fn installed(room: &Room, steps: &[&str]) -> Actor {
        room.sh(&format!(
            "mountpoint -q /opt || mount -t tmpfs -o mode=755 actors /opt
            [ -e /opt/actor ] || cp '{PROGRAM}' /opt/actor"
        ));
        Actor::of(room, Path::new("/opt/actor"), steps)
    }

    /// One whose executable is a copy that lies here.
    pub(crate) fn of(room: &Room, program: &Path, steps: &[&str]) -> Actor {
        let mut command = Command::new(program);
        command.args(steps);
        Actor::started(room, command)
    }

    /// One that has very many sockets.
    pub(crate) fn large(room: &Room, steps: &[&str]) -> Actor {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 20000 && exec \"$@\"", "sh", PROGRAM]).args(steps);
        Actor::started(room, command)
    }

    fn started(room: &Room, mut command: Command) -> Actor {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = room.inside(|| command.spawn()).unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut actor = Actor { child, input, output, facts: Value::Null };
        actor.listen();
        actor
    }

    fn listen(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        self.facts = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!(self.facts["error"], Value::Null, "the actor cannot");
    }

    /// One more step.
    pub(crate) fn tell(&mut self, step: &str) {
        writeln!(self.input, "{step}").unwrap();
        self.listen();
    }

    /// Its process, as the room sees it.
    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.facts["pid"].as_u64().unwrap()).unwrap()
    }

    /// A child's process.
    pub(crate) fn child(&self, label: &str) -> u32 {
        u32::try_from(self.facts["children"][label]["pid"].as_u64().unwrap()).unwrap()
    }

    /// Where a socket of it is bound, as the kernel told it.
    pub(crate) fn local(&self, label: &str) -> String {
        self.facts["sockets"][label]["local"]
            .as_str()
            .unwrap_or_else(|| panic!("no socket {label}"))
            .to_owned()
    }

    /// How many sockets it has.
    pub(crate) fn count(&self) -> usize {
        self.facts["sockets"].as_object().unwrap().len()
    }

    /// What an event of this name says of a socket: what can be told from here.
    pub(crate) fn heard(&self, event: &str, label: &str) -> Heard {
        let socket = &self.facts["sockets"][label];
        let local = self.local(label);
        let any = if local.starts_with('[') { "[::]:*" } else { "0.0.0.0:*" };
        let remote = socket["remote"].as_str().unwrap_or(any).to_owned();
        (event.to_owned(), self.pid(), local, remote)
    }

    /// Ends it at once, and waits until it has gone.
    pub(crate) fn end(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An event's name, its process, and its two addresses.
pub(crate) type Heard = (String, u32, String, String);

/// One with so many UDP sockets, each at a port of its own.
pub(crate) fn crowd(room: &Room, label: &str, count: usize) -> Actor {
    // Of each label others: two crowds are apart.
    let first = 10_000 + 5_000 * usize::from(label.as_bytes()[0] % 8);
    let steps: Vec<String> =
        (0..count).map(|nth| format!("{label}{nth}=udp 127.0.0.1:{}", first + nth)).collect();
    Actor::installed(room, &steps.iter().map(String::as_str).collect::<Vec<_>>())
}
