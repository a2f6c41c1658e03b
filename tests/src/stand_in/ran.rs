//! A program that runs to its end, whatever it does.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// No run of a program takes longer, unless it hangs.
const LIMIT: Duration = Duration::from_secs(100);

/// What became of a run.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// Runs a command to its end, and ends it when it hangs.
    ///
    /// # Panics
    /// When it cannot be started, or hangs.
    #[must_use]
    pub fn of(mut command: Command) -> Ran {
        let temporary = || tempfile::tempfile().expect("a temporary file");
        let (mut out, mut err) = (temporary(), temporary());
        let handle = |file: &File| file.try_clone().expect("a descriptor");
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(handle(&out))
            .stderr(handle(&err))
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut ended = None;
        crate::eventually(LIMIT, || {
            ended = child.try_wait().expect("our own child");
            ended.is_some()
        });
        if ended.is_none() {
            if let Ok(id) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
            }
            let _ = child.wait();
        }
        let took = start.elapsed();
        let (out, err) = (text(&mut out), text(&mut err));
        let ended = ended.unwrap_or_else(|| panic!("{command:?} does not end: {out}{err}"));
        Ran { code: ended.code(), out, err, took }
    }

    /// Everything it said.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// What it printed, as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.all()))
    }

    /// The same run, which has ended with this code.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    #[must_use]
    pub fn with_code(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}", self.all());
        self
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().expect("a file");
    file.read_to_end(&mut bytes).expect("our own file");
    String::from_utf8_lossy(&bytes).into_owned()
}
