//! custom-webhook while it runs: what it is asked, what it says, how it ends.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::client::{Answer, Connection, Request};
use super::lines::Output;
use super::{PATIENCE, Receiver};
use crate::eventually;

/// One that runs; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    address: SocketAddr,
    metrics: SocketAddr,
    output: Output,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, or none.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// How long that took.
    pub took: Duration,
    /// All that it said.
    pub log: String,
}

impl Daemon {
    /// Starts it, and hears what it says.
    pub(super) fn spawn(receiver: &Receiver, mut command: Command) -> Daemon {
        let mut child = command.spawn().expect("the program starts");
        let log = Arc::new(Mutex::new(String::new()));
        let mut readers = Vec::new();
        let streams: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|it| Box::new(it) as Box<_>),
            child.stderr.take().map(|it| Box::new(it) as Box<_>),
        ];
        for stream in streams.into_iter().flatten() {
            let log = Arc::clone(&log);
            readers.push(std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                    log.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push_str(&String::from_utf8_lossy(&line));
                    line.clear();
                }
            }));
        }
        Daemon {
            child,
            log,
            readers,
            address: receiver.address(),
            metrics: receiver.metrics(),
            output: receiver.output(),
        }
    }

    /// Whether it has not ended yet.
    pub(super) fn runs(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said up to now.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new connection.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::to(self.address).expect("it listens")
    }

    /// A new connection of another peer: one of 127.0.0.0/8.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn connect_from(&self, peer: &str) -> Connection {
        let peer: IpAddr = peer.parse().expect("an address");
        Connection::from(peer, self.address).expect("it listens")
    }

    /// One request on a connection of its own.
    ///
    /// # Panics
    /// When it is not answered.
    #[track_caller]
    #[must_use]
    pub fn ask(&self, request: &Request) -> Answer {
        self.connect().ask(request).unwrap_or_else(|error| panic!("no answer: {error}\n{}", self.log()))
    }

    /// One request, which must be answered so.
    ///
    /// # Panics
    /// When it is answered otherwise.
    #[track_caller]
    pub fn expect(&self, status: u16, request: &Request) -> Answer {
        let answer = self.ask(request);
        assert_eq!(answer.status, status, "{}\n{}\n{}", answer.head, answer.text(), self.log());
        answer
    }

    /// Asks the second listener.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> std::io::Result<Answer> {
        Connection::to(self.metrics)?.ask(&Request::new("GET", path, ""))
    }

    /// A metric's value, with its labels, if there is one.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").expect("metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("custom_webhook_{name} ")));
        line.and_then(|value| value.parse().ok())
    }

    /// Waits until nothing is left in the spool that is not in the output.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn drained(&self) {
        let drained = eventually(Duration::from_secs(60), || self.metric("spool_lines") == Some(0.0));
        assert!(drained, "{:?} lines wait\n{}", self.metric("spool_lines"), self.log());
    }

    /// Its lines, once there are so many of this source.
    ///
    /// # Panics
    /// When there are not, or more.
    #[track_caller]
    pub fn lines(&self, source: &str, count: usize) -> Vec<serde_json::Value> {
        let mut lines = Vec::new();
        eventually(PATIENCE, || {
            lines = self.output.of(source);
            lines.len() >= count
        });
        assert_eq!(lines.len(), count, "of {source}: {lines:#?}\n{}", self.log());
        lines
    }

    /// The most memory that it ever had, in KiB.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a figure of its memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process id"));
        kill(pid, signal).expect("it runs");
    }

    /// SIGHUP; returns when it has said what it makes of it.
    ///
    /// # Panics
    /// When it says nothing.
    pub fn hang_up(&self) {
        let reloads = || {
            let log = self.log();
            log.matches("read anew").count() + log.matches("the old configuration stays").count()
        };
        let before = reloads();
        self.signal(Signal::SIGHUP);
        let said = eventually(PATIENCE, || reloads() > before);
        assert!(said, "nothing is said of SIGHUP");
    }

    /// SIGTERM, and its end.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn terminate(mut self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.wait(PATIENCE).unwrap_or_else(|| panic!("it does not end: {}", self.log()))
    }

    /// SIGTERM, and its end, which is as it should be.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn stop(self) {
        let ended = self.terminate();
        assert_eq!((ended.code, ended.signal), (Some(0), None), "{}", ended.log);
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When it does not end.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        assert!(self.wait(PATIENCE).is_some());
    }

    /// Its end, if it comes within this time.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn wait(&mut self, limit: Duration) -> Option<Ended> {
        let began = Instant::now();
        let mut status: Option<ExitStatus> = None;
        eventually(limit, || {
            status = self.child.try_wait().expect("our own process");
            status.is_some()
        });
        let took = began.elapsed();
        let status = status?;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        Some(Ended { code: status.code(), signal: status.signal(), took, log: self.log() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
