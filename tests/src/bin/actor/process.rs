//! What becomes of the process itself, and its children.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Uid, fexecve, setresuid};
use serde_json::Value;

use crate::Result;
use crate::socket::Held;

/// Itself, also when its file has gone.
const SELF: &str = "/proc/self/exe";

pub(crate) fn name(name: &[u8]) -> Result<()> {
    Ok(nix::sys::prctl::set_name(&CString::new(name)?)?)
}

pub(crate) fn uids(real: &str, effective: &str, saved: &str) -> Result<()> {
    let uid = |text: &str| text.parse().map(Uid::from_raw);
    Ok(setresuid(uid(real)?, uid(effective)?, uid(saved)?)?)
}

/// Enters a network namespace; a new one has its loopback up.
pub(crate) fn netns(which: &str, home: &File) -> Result<()> {
    match which {
        "new" => {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).stdin(Stdio::null()).status()?;
            if !up.success() {
                return Err("ip link set lo up".into());
            }
        }
        "home" => setns(home, CloneFlags::CLONE_NEWNET)?,
        path => setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?,
    }
    Ok(())
}

/// Goes on with the steps that are left, as a program that lies nowhere.
pub(crate) fn become_memfd(name: &OsStr, after: &[Vec<u8>]) -> Result<()> {
    let memory = memfd_create(name, MFdFlags::MFD_CLOEXEC)?;
    let mut file = File::from(memory);
    std::io::copy(&mut File::open(SELF)?, &mut file)?;
    let mut words = vec![CString::new("actor")?];
    for step in after {
        words.push(CString::new(step.as_slice())?);
    }
    let mut variables = Vec::new();
    for (key, value) in std::env::vars_os() {
        variables.push(CString::new([key.as_bytes(), b"=", value.as_bytes()].concat())?);
    }
    let never = fexecve(&file, &words, &variables)?;
    match never {}
}

/// Another actor, with sockets of ours.
pub(crate) struct Child {
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What it said last.
    pub(crate) facts: Value,
}

impl Child {
    pub(crate) fn spawn(shared: &[(&str, &Held)], steps: &str) -> Result<Child> {
        let mut command = Command::new(SELF);
        command.arg0("actor").stdin(Stdio::piped()).stdout(Stdio::piped());
        for (label, socket) in shared {
            socket.outlives_exec(true)?;
            command.arg(format!("{label}=adopt {}", socket.number()));
        }
        let spawned = command.args(words(steps)).spawn();
        for (_, socket) in shared {
            socket.outlives_exec(false)?;
        }
        let mut process = spawned?;
        let input = process.stdin.take().ok_or("no stdin")?;
        let output = BufReader::new(process.stdout.take().ok_or("no stdout")?);
        let mut child = Child { process, input, output, facts: Value::Null };
        child.listen()?;
        Ok(child)
    }

    fn listen(&mut self) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        self.facts = serde_json::from_str(&line)?;
        self.facts["error"].as_str().map_or(Ok(()), |error| Err(error.into()))
    }

    pub(crate) fn tell(&mut self, order: &str) -> Result<()> {
        writeln!(self.input, "{order}")?;
        self.listen()
    }

    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

fn words(steps: &str) -> impl Iterator<Item = &str> {
    steps.split(';').map(str::trim).filter(|step| !step.is_empty())
}

/// From now on there are so many short-lived children, one after the other.
pub(crate) fn churn(count: usize, life: u64, steps: &str) {
    let words: Vec<String> = words(steps).map(str::to_owned).chain([format!("sleep {life}")]).collect();
    std::thread::spawn(move || {
        let mut living = VecDeque::new();
        loop {
            let mut command = Command::new(SELF);
            command.arg0("actor").args(&words).stdin(Stdio::null()).stdout(Stdio::null());
            living.extend(command.spawn());
            if living.len() >= count
                && let Some(mut eldest) = living.pop_front()
            {
                // It ends by itself.
                let _ = eldest.wait();
            }
        }
    });
}
