//! Running a program to its end, for no longer than it may take.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::text::legible;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The last part of what a program says, in bytes.
const MOST: u64 = 256 * 1024;
/// Whoever says more than this is ended.
const MOST_SAID: u64 = 64 * 1024 * 1024;
/// The last part of what is shown of it, in bytes.
const MOST_WORDS: usize = 4096;
const PAUSE: Duration = Duration::from_millis(5);

/// What became of a program.
#[derive(Debug)]
pub struct Ended {
    /// `None` when it was ended: its time was over, or it said too much.
    pub status: Option<ExitStatus>,
    /// The end of what it said, on standard output and standard error.
    pub said: Vec<u8>,
}

impl Ended {
    /// True when it ended by itself, with success.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The end of what it said, for a person: without empty lines, harmless.
    #[must_use]
    pub fn words(&self) -> String {
        let end = &self.said[self.said.len().saturating_sub(MOST_WORDS)..];
        let lines = end.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| legible(line, 1000)).collect::<Vec<_>>().join("\n")
    }
}

/// Runs a program to its end, with everything it says, and no longer than this.
///
/// # Errors
/// When it cannot be started.
pub fn run(command: &mut Command, limit: Duration) -> io::Result<Ended> {
    // A file, not a pipe: a child that it leaves behind cannot make us wait.
    let mut said: File = tempfile::tempfile()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said.try_clone()?)
        .process_group(0)
        .spawn()?;
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= end || said.metadata()?.len() > MOST_SAID {
            if let Ok(id) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
            }
            child.wait()?;
            break None;
        }
        std::thread::sleep(PAUSE);
    };
    let length = said.metadata()?.len();
    said.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
    let mut bytes = Vec::new();
    said.take(MOST).read_to_end(&mut bytes)?;
    Ok(Ended { status, said: bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_ended_with_all_it_started() {
        let start = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; sleep 60 & sleep 60"]);
        let ended = run(&mut command, Duration::from_secs(2)).unwrap();
        assert!(ended.status.is_none() && start.elapsed() < Duration::from_secs(20));
        assert_eq!(ended.words(), "begun");
    }

    #[test]
    fn a_child_left_behind_is_not_waited_for() {
        let start = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "(sleep 30) & printf 'a\\033[2Jb\\n\\nc' >&2; exit 7"]);
        let ended = run(&mut command, Duration::from_secs(30)).unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(ended.status.and_then(|status| status.code()), Some(7));
        assert!(!ended.words().contains('\u{1b}') && ended.words().ends_with("\nc"));
    }
}
