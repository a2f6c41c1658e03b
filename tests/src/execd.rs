//! A fake wazuh-execd, which behaves as 4.14.7 was seen to behave, and the
//! execd of 5.x likewise (`src/os_execd/execd.c` of either).
//!
//! It runs one program at a time, waits for its `check_keys` line and then for
//! its exit without any limit of its own, knows what it will have to undo from
//! memory only, and throws away exit codes and stderr. Because a test must
//! end, there is a limit here: who outstays it is killed and reported so.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::line::{Generation, Line};
use crate::network::Namespace;
use crate::watchdog::Watchdog;

mod process;

use process::Started;
pub use process::{Stdout, Then};

/// What execd told a program to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The key is new.
    Continue,
    /// The key is listed already; its clock has just been restarted.
    Abort,
}

/// One run of a program.
#[derive(Debug)]
pub struct Run {
    /// From before the start to after the exit.
    pub wall: Duration,
    /// User and system time. Right only where this process runs one program
    /// at a time.
    pub cpu: Duration,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout, up to the first newline (or all there was).
    pub said: Vec<u8>,
    /// What it was told, if it said anything.
    pub answer: Option<Answer>,
    /// True when it had to be killed because its time was over.
    pub outstayed: bool,
}

impl Run {
    /// Its exit code; `None` when a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The keys of its `check_keys` line, as execd finds them; `None` when
    /// it said nothing, or no valid line.
    #[must_use]
    pub fn keys(&self) -> Option<Vec<String>> {
        keys(&self.said)
    }
}

/// What stands in the list of what will be undone.
#[derive(Debug)]
struct Pending {
    key: String,
    added: Instant,
    timeout: Duration,
    delete: Line,
}

/// A wazuh-execd.
#[derive(Debug)]
pub struct Execd<'a> {
    home: PathBuf,
    namespace: Option<&'a Namespace>,
    environment: Vec<(OsString, OsString)>,
    launcher: Vec<OsString>,
    own_session: bool,
    limit: Duration,
    list: Vec<Pending>,
    watchdog: Watchdog,
}

impl<'a> Execd<'a> {
    /// An execd of the installation at `home`, with an empty list. It knows a
    /// PATH without the directories of the administrator, as init's is.
    #[must_use]
    pub fn new(home: &Path) -> Execd<'a> {
        Execd {
            home: home.to_owned(),
            namespace: None,
            environment: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
            launcher: Vec::new(),
            own_session: false,
            limit: Duration::from_secs(30),
            list: Vec::new(),
            watchdog: Watchdog::new(),
        }
    }

    /// Runs programs in this network namespace.
    #[must_use]
    pub fn inside(mut self, namespace: &'a Namespace) -> Execd<'a> {
        self.namespace = Some(namespace);
        self
    }

    /// With one more variable in the programs' environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Execd<'a> {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Kills what runs longer than that.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Execd<'a> {
        self.limit = limit;
        self
    }

    /// Starts programs in a session of their own, as execd does, at the price
    /// of one more `exec`; otherwise they get a process group of their own.
    #[must_use]
    pub fn own_session(mut self) -> Execd<'a> {
        self.own_session = true;
        self
    }

    /// Starts programs through these words (`strace …`), which are followed
    /// by the program's relative path.
    pub fn launcher<S: Into<OsString>>(&mut self, words: impl IntoIterator<Item = S>) {
        self.launcher = words.into_iter().map(Into::into).collect();
    }

    /// An alert: runs the program that the line names. With a timeout of 0
    /// nothing is listed, and nothing will be undone.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn request(&mut self, line: &Line, timeout: u64) -> Run {
        let name = line.program_name().to_owned();
        let mut process = Started::new(self, &name, Stdout::Read);
        process.write_line(line);
        process.read_line();
        if !process.said.is_empty() {
            let answer = self.answer(&name, line, timeout, &process.said);
            process.answer = Some(answer);
            let command = if answer == Answer::Continue { "continue" } else { "abort" };
            process.write_line(&line.clone().command(command));
        }
        process.wait(&self.watchdog)
    }

    fn answer(&mut self, name: &str, line: &Line, timeout: u64, said: &[u8]) -> Answer {
        if timeout == 0 {
            return Answer::Continue;
        }
        // What is no check_keys line makes a key of the program alone.
        let key = std::iter::once(name.to_owned()).chain(keys(said).unwrap_or_default());
        let key = key.collect::<Vec<_>>().join("-");
        let (added, timeout) = (Instant::now(), Duration::from_secs(timeout));
        if let Some(pending) = self.list.iter_mut().find(|pending| pending.key == key) {
            (pending.added, pending.timeout) = (added, timeout);
            return Answer::Abort;
        }
        let undo = if line.generation() == Generation::Four { "delete" } else { "disable" };
        self.list.push(Pending { key, added, timeout, delete: line.clone().command(undo) });
        Answer::Continue
    }

    /// The keys that will be undone, oldest first.
    #[must_use]
    pub fn listed(&self) -> Vec<&str> {
        self.list.iter().map(|pending| pending.key.as_str()).collect()
    }

    /// Lets time pass on execd's clock without waiting for it.
    ///
    /// # Panics
    /// When there is not that much past.
    pub fn pass(&mut self, seconds: u64) {
        for pending in &mut self.list {
            pending.added = pending
                .added
                .checked_sub(Duration::from_secs(seconds))
                .expect("the machine has been up longer");
        }
    }

    /// What execd does once a second: undoes what is over, which is when more
    /// than the timeout has passed, in whole seconds.
    pub fn tick(&mut self) -> Vec<Run> {
        let over = |pending: &mut Pending| pending.added.elapsed().as_secs() > pending.timeout.as_secs();
        let due: Vec<Pending> = self.list.extract_if(.., over).collect();
        due.iter().map(|pending| self.undo(pending)).collect()
    }

    /// A clean stop: every pending delete runs, one after the other.
    pub fn stop(&mut self) -> Vec<Run> {
        let all = std::mem::take(&mut self.list);
        all.iter().map(|pending| self.undo(pending)).collect()
    }

    /// A crash or `kill -9`: the list is gone.
    pub fn crash(&mut self) {
        self.list.clear();
    }

    /// One line, no handshake, stdout thrown away.
    fn undo(&self, pending: &Pending) -> Run {
        let mut process = Started::new(self, pending.delete.program_name(), Stdout::Discard);
        process.write_line(&pending.delete);
        process.wait(&self.watchdog)
    }

    /// A peer that is no execd: writes these bytes, and then closes stdin or
    /// keeps it open and says nothing more.
    pub fn feed(&self, name: &str, bytes: &[u8], then: Then, stdout: Stdout) -> Run {
        let mut process = Started::new(self, name, stdout);
        let input = process.input.take();
        // The program may write before it has read all: read meanwhile.
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let mut input = input.expect("stdin is a pipe");
                // Who does not read on has decided already.
                let _ = input.write_all(bytes);
                (then == Then::Silence).then_some(input)
            });
            process.read_line();
            process.output = None;
            // A writer that is stuck gets free when the program ends.
            let status = process.child.wait();
            drop(writer.join());
            drop(status);
        });
        process.wait(&self.watchdog)
    }

    fn command(&self, name: &str) -> Command {
        let relative = format!("active-response/bin/{name}");
        let session = if self.own_session { vec![OsString::from("setsid")] } else { Vec::new() };
        let mut words = session.iter().chain(&self.launcher);
        let mut command = match words.next() {
            // An absolute path lets the standard library spawn without fork;
            // the program sees the name that execd gives it all the same.
            None => {
                let mut command = Command::new(self.home.join(&relative));
                command.arg0(&relative);
                command
            }
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(&relative);
                command
            }
        };
        if !self.own_session {
            command.process_group(0);
        }
        command.current_dir(&self.home).env_clear().envs(self.environment.iter().map(|(n, v)| (n, v)));
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        command
    }
}

/// What execd takes for a `check_keys` line: a number `version`, an object
/// `origin`, the command, and an object `parameters`; keys that are no
/// strings are skipped.
fn keys(said: &[u8]) -> Option<Vec<String>> {
    let json: serde_json::Value = serde_json::from_slice(said).ok()?;
    let valid = json["version"].is_number()
        && json["origin"].is_object()
        && json["command"] == "check_keys"
        && json["parameters"].is_object();
    if !valid {
        return None;
    }
    let keys = json["parameters"]["keys"].as_array()?;
    Some(keys.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests;
