//! A stand-in for a whole installation of Wazuh 4.14, for what changes one:
//! `tests/stand-in/make` lays it out, with the owners and modes of the real one
//! and with daemons that check a configuration much as the real ones do.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::program;

mod ran;
#[cfg(test)]
mod tests;
mod tree;

pub use ran::Ran;
pub use tree::{Entry, Tree};

/// The user and the group `wazuh` of a stand-in: numbers that nobody has.
pub const WAZUH: u32 = 4711;

/// True when a stand-in can be made: its files have owners.
#[must_use]
pub fn available() -> bool {
    geteuid().is_root()
}

/// An installation with all that belongs to it, removed when dropped.
#[derive(Debug)]
pub struct StandIn {
    dir: TempDir,
}

impl StandIn {
    /// An agent.
    #[must_use]
    pub fn agent() -> StandIn {
        StandIn::new("agent")
    }

    /// A manager.
    #[must_use]
    pub fn manager() -> StandIn {
        StandIn::new("manager")
    }

    /// An agent or a manager.
    ///
    /// # Panics
    /// When it cannot be made; ask [`available`] first.
    #[must_use]
    pub fn new(role: &str) -> StandIn {
        let stand_in = StandIn::without_wazuh();
        let output = Command::new("sh")
            .arg(program::source_tree().join("tests/stand-in/make"))
            .arg(stand_in.home())
            .args([role, &WAZUH.to_string(), &WAZUH.to_string()])
            .output();
        let output = output.expect("there is a shell");
        assert!(output.status.success(), "make: {}", String::from_utf8_lossy(&output.stderr));
        stand_in
    }

    /// A host on which only the toolkit is installed.
    ///
    /// # Panics
    /// When there is no room for it.
    #[must_use]
    pub fn without_wazuh() -> StandIn {
        let dir = tempfile::Builder::new().prefix("wazuh-toolkit-").tempdir().expect("a temporary directory");
        let stand_in = StandIn { dir };
        mode(stand_in.scratch(), 0o755);
        for folder in [stand_in.state_dir(), stand_in.config_dir(), stand_in.program_dir()] {
            std::fs::create_dir(&folder).expect("a new directory");
            mode(&folder, 0o755);
        }
        for (name, built) in [
            ("custom-block", program::custom_block()),
            ("custom-audit", program::custom_audit()),
            ("custom-webhook", program::custom_webhook()),
        ] {
            let copy = stand_in.program_dir().join(name);
            std::fs::copy(built, &copy).expect("room for a copy");
            mode(&copy, 0o755);
        }
        stand_in.forget_calls();
        stand_in
    }

    /// The installation directory: `/var/ossec`.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.scratch().join("ossec")
    }

    /// A path in the installation.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.home().join(relative)
    }

    /// `/var/lib/wazuh-toolkit`.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.scratch().join("state")
    }

    /// `/etc/wazuh-toolkit`.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.scratch().join("config")
    }

    /// `/usr/lib/wazuh-toolkit`, with copies of the programs.
    #[must_use]
    pub fn program_dir(&self) -> PathBuf {
        self.scratch().join("programs")
    }

    /// The folder that all of it is in; others may lie there, too.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// `wazuh-toolkit`, as an administrator of this host types it.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        self.launched(&[], program::wazuh_toolkit(), args)
    }

    /// Any program of the toolkit, behind these words.
    #[must_use]
    pub fn launched(&self, launcher: &[&str], program: &Path, args: &[&str]) -> Command {
        let mut command = match launcher.split_first() {
            Some((first, more)) => {
                let mut command = Command::new(first);
                command.args(more).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(args)
            .env_remove("SSH_CONNECTION")
            .env_remove("SSH_CLIENT")
            .env("WAZUH_HOME", self.home())
            .env("WAZUH_TOOLKIT_STATE_DIR", self.state_dir())
            .env("WAZUH_TOOLKIT_CONFIG_DIR", self.config_dir())
            .env("WAZUH_TOOLKIT_PROGRAM_DIR", self.program_dir());
        command
    }

    /// Runs `wazuh-toolkit` with these words to its end.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args))
    }

    /// `etc/ossec.conf` as it is.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn ossec_conf(&self) -> Vec<u8> {
        self.read("etc/ossec.conf")
    }

    /// A file of the installation.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn read(&self, relative: &str) -> Vec<u8> {
        let path = self.path(relative);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Writes a file of the installation; one that is there keeps its owner and
    /// mode, a new one belongs to the user `wazuh`.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(relative);
        let new = !path.exists();
        std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if new {
            std::os::unix::fs::chown(&path, Some(WAZUH), Some(WAZUH)).expect("we are root");
            mode(&path, 0o660);
        }
    }

    /// Puts a shell script in the place of a daemon, which is noted among the
    /// [`StandIn::calls`] as the stand-in's own.
    pub fn daemon(&self, name: &str, script: &str) {
        let calls = self.calls_file();
        let text = format!(
            "#!/bin/sh\ncd '{}' || exit 9\necho \"{name}${{*:+ $*}}\" >>'{}'\n{script}\n",
            self.home().display(),
            calls.display()
        );
        let path = self.path("bin").join(name);
        executable(&path, text.as_bytes());
        mode(&path, 0o750);
    }

    fn calls_file(&self) -> PathBuf {
        self.scratch().join("calls")
    }

    /// The command lines of Wazuh's daemons so far, in order; the candidate that
    /// `-c` names is only `CANDIDATE`.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.calls_file()).expect("our own file");
        let word = |line: &str| match line.split_once(" -c ") {
            Some((start, path)) if Path::new(path) != self.path("etc/ossec.conf") => {
                format!("{start} -c CANDIDATE")
            }
            Some((start, _)) => format!("{start} -c ossec.conf"),
            None => line.to_owned(),
        };
        text.lines().map(word).collect()
    }

    /// From now on [`StandIn::calls`] begins anew.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn forget_calls(&self) {
        std::fs::write(self.calls_file(), "").expect("our own file");
        mode(&self.calls_file(), 0o666);
    }

    /// Starts a daemon as `wazuh-control` does, and waits until it runs.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(&self, daemon: &str) -> Daemon {
        let child = Command::new(self.path("bin").join(daemon))
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a daemon that starts");
        let pid_file = self.path("var/run").join(format!("{daemon}-{}.pid", child.id()));
        let running = Daemon { child, pid_file };
        let up = || running.pid_file.exists();
        assert!(crate::eventually(Duration::from_secs(20), up), "{daemon} does not start");
        running
    }

    /// Every file of the installation, but for Wazuh's own log.
    #[must_use]
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::of(&self.home());
        tree.0.remove(Path::new("logs/ossec.log"));
        tree
    }

    /// The processes that belong to the installation, by its pid files.
    fn processes(&self) -> Vec<Pid> {
        let files = std::fs::read_dir(self.path("var/run")).into_iter().flatten().flatten();
        let ours = |pid: &i32| {
            std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|working| working == self.home())
        };
        files
            .filter_map(|file| std::fs::read_to_string(file.path()).ok()?.trim().parse().ok())
            .filter(ours)
            .map(Pid::from_raw)
            .collect()
    }
}

impl Drop for StandIn {
    /// What `wazuh-control restart` has started still runs.
    fn drop(&mut self) {
        for process in self.processes() {
            let _ = kill(process, Signal::SIGKILL);
        }
    }
}

/// A daemon that runs until dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    pid_file: PathBuf,
}

impl Daemon {
    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.pid_file);
    }
}

/// Writes a program, in another process: what one of ours is writing, a child of
/// another thread has open until its exec, and nobody can start it meanwhile.
///
/// # Panics
/// When it cannot.
pub fn executable(path: &Path, bytes: &[u8]) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec cat >\"$1\"", "sh"]).arg(path).stdin(Stdio::piped());
    let mut shell = shell.spawn().expect("a shell");
    shell.stdin.take().expect("a pipe").write_all(bytes).expect("somebody who reads it");
    assert!(shell.wait().expect("our child").success(), "{}", path.display());
}

/// Sets the permissions of a file.
///
/// # Panics
/// When it cannot.
pub fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Appends to a file.
///
/// # Panics
/// When it cannot.
pub fn append(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
