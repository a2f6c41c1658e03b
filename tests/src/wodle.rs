//! A fake wazuh-modulesd, as far as its `command` wodle goes: it starts a
//! program as 4.14.7 does, and takes what the program says as Wazuh takes it,
//! only less patiently: whatever is no event of the schema fails the test.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::event;
use crate::network::Namespace;
use crate::watchdog::Watchdog;

/// Variables by which every program of the toolkit is told where things lie.
const HOME: &str = "WAZUH_HOME";
const STATE: &str = "WAZUH_TOOLKIT_STATE_DIR";
const CONFIG: &str = "WAZUH_TOOLKIT_CONFIG_DIR";
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a run may take unless a test says otherwise.
const LIMIT: Duration = Duration::from_secs(300);
/// How long its pipe may stay open after it has ended.
const GRACE: Duration = Duration::from_secs(5);

/// A throw-away installation with one program as its wodle; removed when dropped.
#[derive(Debug)]
pub struct Wodle {
    dir: TempDir,
    program: PathBuf,
}

impl Wodle {
    /// One for `program`, without state and without configuration.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(program: &Path) -> Wodle {
        let dir = tempfile::Builder::new().prefix("wazuh-toolkit-").tempdir().expect("a temporary directory");
        let wodle = Wodle { dir, program: program.to_owned() };
        let (etc, logs) = (wodle.home().join("etc"), wodle.home().join("logs"));
        for folder in [&etc, &logs, &wodle.state_dir(), &wodle.config_dir()] {
            std::fs::create_dir_all(folder).expect("a new directory");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(folder, mode).expect("our own directory");
        }
        wodle.ossec_conf("<ossec_config>\n</ossec_config>\n");
        wodle
    }

    /// Everything is below this directory, which goes with the installation.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The installation directory of Wazuh.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("ossec")
    }

    /// Where programs keep their state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Where programs look for their configuration.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// The program's state.
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.state_dir().join("custom-audit/state")
    }

    /// Writes the program's configuration, where only its owner may write.
    ///
    /// # Panics
    /// When it cannot.
    pub fn configure(&self, toml: &str) {
        let path = self.config_dir().join("custom-audit.toml");
        std::fs::write(&path, toml).expect("our own directory");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("our own file");
    }

    /// Writes `etc/ossec.conf`.
    ///
    /// # Panics
    /// When it cannot.
    pub fn ossec_conf(&self, text: &str) {
        std::fs::write(self.home().join("etc/ossec.conf"), text).expect("our own directory");
    }

    /// The program as modulesd starts it: in the installation directory, with
    /// nothing on stdin, in a session of its own, with niceness 10. Where its
    /// output goes is the caller's choice; [`Wodle::run`] reads it as modulesd
    /// does. Without arguments it gets `--wodle`.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        self.prepared(&[], args)
    }

    fn prepared(&self, launcher: &[OsString], args: &[&str]) -> Command {
        // Each of these becomes the next one: the process stays the same.
        let mut command = Command::new("setsid");
        command.args(["nice", "-n", "10"]).args(launcher).arg(&self.program);
        command.args(if args.is_empty() { &["--wodle"] } else { args });
        self.place(&mut command);
        command
    }

    /// The program as an administrator types it, run to its end: what a person
    /// reads (`--table`, `explain`, `doctor`, complaints) is no event.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn verb(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(args);
        self.place(&mut command);
        command.output().expect("the program starts")
    }

    fn place(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", SEARCH)
            .env(HOME, self.home())
            .env(STATE, self.state_dir())
            .env(CONFIG, self.config_dir())
            .current_dir(self.home())
            .stdin(Stdio::null());
    }

    /// One run to its end.
    ///
    /// # Panics
    /// When it outstays its time, and when it says anything but events.
    pub fn run(&self, args: &[&str]) -> Run {
        self.call(args).run()
    }

    /// A run that the test will signal, kill or overtake.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self, args: &[&str]) -> Started {
        self.call(args).start()
    }

    /// A run that is not quite as usual.
    pub fn call<'a>(&'a self, args: &'a [&'a str]) -> Call<'a> {
        let (launcher, variables) = (Vec::new(), Vec::new());
        Call { wodle: self, args, namespace: None, launcher, variables, limit: LIMIT }
    }
}

/// How a run is started.
#[derive(Debug)]
#[must_use]
pub struct Call<'a> {
    wodle: &'a Wodle,
    args: &'a [&'a str],
    namespace: Option<&'a Namespace>,
    launcher: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    limit: Duration,
}

impl<'a> Call<'a> {
    /// In this network namespace.
    pub fn inside(mut self, namespace: &'a Namespace) -> Call<'a> {
        self.namespace = Some(namespace);
        self
    }

    /// Through these words (`strace …`, `setpriv …`), which are followed by the
    /// program and its arguments. Its output is still read as the program's.
    pub fn through<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Call<'a> {
        self.launcher.extend(words.into_iter().map(Into::into));
        self
    }

    /// With one more variable in the environment.
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Call<'a> {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Fails when it takes longer than that.
    pub fn limit(mut self, limit: Duration) -> Call<'a> {
        self.limit = limit;
        self
    }

    /// Starts it: stdout and stderr are one pipe.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(self) -> Started {
        let mut command = self.wodle.prepared(&self.launcher, self.args);
        command.envs(self.variables);
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        command.stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
        let began = Instant::now();
        let child = match self.namespace {
            None => command.spawn(),
            Some(namespace) => namespace.run(|| command.spawn()),
        };
        // The command holds our copies of the pipe's other end.
        drop(command);
        let child = child.expect("setsid is installed");
        let group = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        let watchdog = Watchdog::new();
        watchdog.watch(group, began + self.limit);
        let output = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).expect("a pipe can be read");
            bytes
        });
        Started { began, child, group, watchdog, output: Some(output), ended: false }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it outstays its time, and when it says anything but events.
    pub fn run(self) -> Run {
        self.start().wait()
    }
}

/// A run that has not ended yet; ended when dropped.
#[derive(Debug)]
pub struct Started {
    began: Instant,
    child: Child,
    group: Pid,
    watchdog: Watchdog,
    output: Option<JoinHandle<Vec<u8>>>,
    ended: bool,
}

impl Started {
    /// Its process, or that of what it runs through.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to its process group, as modulesd does when time is over.
    pub fn signal(&self, signal: Signal) {
        // It may not have a group of its own yet; or have ended just now.
        if killpg(self.group, signal).is_err() {
            let _ = kill(self.group, signal);
        }
    }

    /// True as soon as it has ended.
    ///
    /// # Panics
    /// When it is not our child.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }

    /// Waits for its end. Only what SIGKILL ended may leave a line unfinished.
    ///
    /// # Panics
    /// When it outstays its time, and when it says anything but events.
    pub fn wait(mut self) -> Run {
        let status = self.child.wait().expect("our own child");
        let took = self.began.elapsed();
        let outstayed = self.watchdog.done();
        self.ended = true;
        let output = self.output.take().expect("waited for once");
        let closed = crate::eventually(GRACE, || output.is_finished());
        assert!(closed, "something that it left behind holds its stdout");
        let raw = output.join().expect("a pipe can be read");
        let text = String::from_utf8_lossy(&raw);
        assert!(!outstayed, "it took longer than {took:?}, and has said:\n{text}");
        let (code, signal) = (status.code(), status.signal());
        let whole = match raw.iter().rposition(|&byte| byte == b'\n') {
            Some(last) if signal == Some(Signal::SIGKILL as i32) => &raw[..=last],
            None if signal == Some(Signal::SIGKILL as i32) => &[],
            _ => raw.as_slice(),
        };
        let events = event::read(whole);
        Run { code, signal, took, events, raw }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
            self.watchdog.done();
        }
    }
}

/// A run that has ended, and all of whose lines were events of the schema.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// All that it wrote to stdout and stderr.
    pub raw: Vec<u8>,
    /// The same, line by line.
    pub events: Vec<Value>,
    /// From its start to its end.
    pub took: Duration,
}

impl Run {
    /// The one summary.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[must_use]
    pub fn summary(&self) -> &Value {
        let summaries = self.named("summary");
        assert_eq!(summaries.len(), 1, "not one summary:\n{}", self.text());
        summaries[0]
    }

    /// All that is said of this process.
    #[must_use]
    pub fn of(&self, pid: u32) -> Vec<&Value> {
        self.events.iter().filter(|event| event["pid"] == pid).collect()
    }

    /// All events of this name.
    #[must_use]
    pub fn named(&self, event: &str) -> Vec<&Value> {
        self.events.iter().filter(|line| line["event"] == event).collect()
    }

    /// What it wrote, for the message of a failed test.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

#[cfg(test)]
mod tests;
