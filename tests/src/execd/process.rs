//! One run of a program: its pipes, its time, and how it ended.

use std::io::{PipeReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{Pid, read};

use super::{Answer, Execd, Run};
use crate::line::Line;
use crate::watchdog::Watchdog;

/// execd reads the reply with `fgets` into a buffer of 8,192 bytes.
const LONGEST_REPLY: usize = 8191;

/// After a program's time is over: by then the watchdog has killed it, and its
/// stdin was open until then. Only a process that it left behind can still
/// hold its stdout.
const GRACE: Duration = Duration::from_millis(500);

/// What a peer that is no execd does once it has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Closes stdin, as `echo '{…}' |` does.
    Close,
    /// Keeps it open and says nothing.
    Silence,
}

/// What becomes of a program's stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdout {
    /// The first line is read.
    Read,
    /// It is `/dev/null`.
    Discard,
    /// It is a pipe whose reader has gone.
    Vanished,
    /// It is a pipe that is full and that nobody reads.
    Full,
}

pub(super) struct Started {
    began: Instant,
    cpu_before: Duration,
    end: Instant,
    pub(super) child: Child,
    pub(super) input: Option<ChildStdin>,
    pub(super) output: Option<PipeReader>,
    /// Kept so that a full pipe has a reader.
    _idle: Option<PipeReader>,
    pub(super) said: Vec<u8>,
    pub(super) answer: Option<Answer>,
}

impl Started {
    pub(super) fn new(execd: &Execd<'_>, name: &str, stdout: Stdout) -> Started {
        let mut command = execd.command(name);
        let (mut output, mut idle) = (None, None);
        if stdout == Stdout::Discard {
            command.stdout(Stdio::null());
        } else {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            match stdout {
                Stdout::Full => {
                    fill(&writer);
                    idle = Some(reader);
                }
                Stdout::Vanished => drop(reader),
                _ => output = Some(reader),
            }
            command.stdout(writer);
        }
        let (began, cpu_before) = (Instant::now(), children_cpu());
        let spawned = match execd.namespace {
            None => spawn(&mut command),
            Some(namespace) => namespace.run(|| spawn(&mut command)),
        };
        // The command holds our copy of the write end of its stdout.
        drop(command);
        let mut child = spawned.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let end = began + execd.limit;
        execd.watchdog.watch(pid(&child), end);
        let input = child.stdin.take();
        Started { began, cpu_before, end, child, input, output, _idle: idle, said: Vec::new(), answer: None }
    }

    pub(super) fn write_line(&mut self, line: &Line) {
        let mut bytes = line.bytes().to_vec();
        bytes.push(b'\n');
        if let Some(input) = &mut self.input {
            // execd does not mind a program that has gone already.
            let _ = input.write_all(&bytes);
        }
    }

    /// One line, or what there is at the end of output, or when time is over.
    pub(super) fn read_line(&mut self) {
        let Some(output) = &self.output else { return };
        let mut bytes = [0; 4096];
        while self.said.len() < LONGEST_REPLY && !self.said.contains(&b'\n') {
            let left = (self.end + GRACE).saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(output.as_fd(), PollFlags::POLLIN)], left) {
                Err(Errno::EINTR) => continue,
                Ok(1) => {}
                _ => break,
            }
            match read(output, &mut bytes) {
                Ok(length) if length > 0 => self.said.extend_from_slice(&bytes[..length]),
                Err(Errno::EINTR) => {}
                _ => break,
            }
        }
        let line = self.said.iter().position(|&byte| byte == b'\n').map_or(self.said.len(), |end| end + 1);
        self.said.truncate(line.min(LONGEST_REPLY));
    }

    /// Closes both pipes at once and waits for the exit.
    pub(super) fn wait(mut self, watchdog: &Watchdog) -> Run {
        self.input = None;
        self.output = None;
        let status = self.child.wait().expect("our own child");
        Run {
            wall: self.began.elapsed(),
            outstayed: watchdog.done(),
            cpu: children_cpu().saturating_sub(self.cpu_before),
            status,
            said: self.said,
            answer: self.answer,
        }
    }
}

fn spawn(command: &mut Command) -> std::io::Result<Child> {
    loop {
        match command.spawn() {
            // A child of another thread has, until its own exec, a copy of
            // the descriptor that a test wrote this script by.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            spawned => return spawned,
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

fn children_cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let time = usage.user_time() + usage.system_time();
    let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or_default())
}

fn fill(pipe: &std::io::PipeWriter) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL).expect("an open pipe"));
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).expect("an open pipe");
    while nix::unistd::write(pipe, &[b'.'; 4096]).is_ok() {}
    while nix::unistd::write(pipe, b".").is_ok() {}
    fcntl(pipe, FcntlArg::F_SETFL(flags)).expect("an open pipe");
}
