//! The active response protocol: one line in, one `check_keys` line out, one
//! answer in.
//!
//! Contract of 4.x: `src/os_execd/execd.c` and
//! `src/active-response/active_responses.c` of Wazuh 4.14.7, and lines
//! recorded from its running execd. Contract of 5.x: `src/os_execd/src/execd.c`
//! of 5.1 alpha, likewise recorded. execd keeps our stdin open until it has
//! our `check_keys` line, so reading to the end of input would hang it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::{read, write};
use serde::Serialize;

use crate::alert::{Alert, NotJson};
use crate::netlink::wait;

/// The longest line we take, in bytes. execd 4.x sends at most 65,595.
pub const LONGEST_LINE: usize = 1024 * 1024;
/// The longest `check_keys` line that execd reads, in bytes (its buffer is 8,192).
pub const LONGEST_CHECK_KEYS: usize = 8190;
/// At most this many of an administrator's extra arguments are looked at.
const MOST_EXTRA_ARGS: usize = 64;

/// Which Wazuh is talking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// `add`/`delete`, the alert under `parameters.alert`.
    Four,
    /// `enable`/`disable`, the event at the root.
    Five,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// 4.x `add`, 5.x `enable`.
    Add,
    /// 4.x `delete`, 5.x `disable`.
    Delete,
}

/// The first line on stdin.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which Wazuh wrote it.
    pub generation: Generation,
    /// What it wants.
    pub action: Action,
    /// The alert (4.x) or the whole event (5.x).
    pub alert: Alert,
    /// `parameters.extra_args`, or `wazuh.active_response.extra_arguments`
    /// split on blanks.
    pub extra_args: Vec<String>,
    /// `parameters.program`, as 4.x names us.
    pub program: Option<String>,
    /// Seconds until Wazuh will undo it. Known in 5.x only, and only for a
    /// stateful response; 0 is none.
    pub stateful_timeout: Option<u64>,
}

/// Why a line is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// End of input before the first byte, or nothing but blanks.
    #[error("empty input")]
    Empty,
    /// More than [`LONGEST_LINE`] bytes without an end.
    #[error("the line is longer than {LONGEST_LINE} bytes")]
    TooLong,
    /// Not JSON.
    #[error(transparent)]
    NotJson(#[from] NotJson),
    /// JSON, but not an object with a command.
    #[error("no command")]
    NoCommand,
    /// A command of another protocol.
    #[error("unknown command {0:?}")]
    UnknownCommand(String),
    /// 4.x without `parameters.alert`.
    #[error("no alert under parameters")]
    NoAlert,
}

impl Request {
    /// Reads a line, with or without its newline.
    ///
    /// # Errors
    /// When it is not a request of either generation.
    pub fn parse(line: &[u8]) -> Result<Request, BadRequest> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Err(BadRequest::Empty);
        }
        let document = Alert::parse(line)?;
        let command = document.member("command").and_then(|c| c.text()).ok_or(BadRequest::NoCommand)?;
        let (generation, action) = match command.as_str() {
            "add" => (Generation::Four, Action::Add),
            "delete" => (Generation::Four, Action::Delete),
            "enable" => (Generation::Five, Action::Add),
            "disable" => (Generation::Five, Action::Delete),
            _ => return Err(BadRequest::UnknownCommand(command.chars().take(32).collect())),
        };
        match generation {
            Generation::Four => Request::four(action, &document),
            Generation::Five => Ok(Request::five(action, document)),
        }
    }

    fn four(action: Action, document: &Alert) -> Result<Request, BadRequest> {
        // As a document of its own: its three members are found in one pass.
        let parameters = document.member("parameters").ok_or(BadRequest::NoAlert)?.to_alert()?;
        let alert =
            parameters.member("alert").filter(|a| a.is_object()).ok_or(BadRequest::NoAlert)?.to_alert()?;
        let extra_args = parameters
            .member("extra_args")
            .and_then(|args| args.elements())
            .unwrap_or_default()
            .into_iter()
            .take(MOST_EXTRA_ARGS)
            .filter_map(|arg| arg.text())
            .collect();
        let program = parameters.member("program").and_then(|program| program.text());
        Ok(Request {
            generation: Generation::Four,
            action,
            alert,
            extra_args,
            program,
            stateful_timeout: None,
        })
    }

    fn five(action: Action, document: Alert) -> Request {
        let response = document.member("wazuh").and_then(|wazuh| wazuh.member("active_response"));
        let field = |name: &str| response.and_then(|response| response.member(name));
        let extra_args = field("extra_arguments")
            .and_then(|args| args.text())
            .map(|args| args.split_ascii_whitespace().take(MOST_EXTRA_ARGS).map(str::to_owned).collect())
            .unwrap_or_default();
        // The migration guide puts it at the root of `disable`, the code under
        // active_response.
        let timeout = field("stateful_timeout").or_else(|| document.member("stateful_timeout"));
        let stateless = field("type").and_then(|kind| kind.text()).is_some_and(|kind| kind == "stateless");
        let stateful_timeout = timeout.and_then(|seconds| seconds.number()).filter(|_| !stateless);
        let program = field("executable").and_then(|name| name.text());
        Request {
            generation: Generation::Five,
            action,
            extra_args,
            program,
            stateful_timeout,
            alert: document,
        }
    }
}

/// What Wazuh says to our keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The keys are new to it: act.
    Continue,
    /// They are on its list, and their clock was set anew.
    Abort,
}

/// Why the conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Nothing more came in time.
    #[error("no complete line before the deadline")]
    Deadline,
    /// A request that is none.
    #[error(transparent)]
    Request(#[from] BadRequest),
    /// An answer that is none.
    #[error("the answer to check_keys is neither continue nor abort")]
    Answer,
    /// The descriptor itself failed.
    #[error("standard input: {0}")]
    Io(io::Error),
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> SessionError {
        if error.kind() == io::ErrorKind::TimedOut { SessionError::Deadline } else { SessionError::Io(error) }
    }
}

/// Both directions of the conversation with execd.
#[derive(Debug)]
pub struct Session<'a> {
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    deadline: Instant,
    /// What was read behind the last line.
    pending: Vec<u8>,
}

impl<'a> Session<'a> {
    /// A conversation over these descriptors that is over at the deadline.
    pub fn new(input: &'a impl AsFd, output: &'a impl AsFd, deadline: Instant) -> Session<'a> {
        Session { input: input.as_fd(), output: output.as_fd(), deadline, pending: Vec::new() }
    }

    /// Ends the conversation at another time than first said.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Reads the request: exactly one line, never to the end of input.
    ///
    /// # Errors
    /// When there is none, or none in time.
    pub fn request(&mut self) -> Result<Request, SessionError> {
        let line = self.read_line()?;
        Ok(Request::parse(&line)?)
    }

    /// Says which keys the block is filed under and reads the answer. End of
    /// input, or a reader that has gone, counts as `continue`: a line piped in
    /// by hand has nobody behind it.
    ///
    /// # Errors
    /// When the answer is something else or does not come in time.
    pub fn check_keys(&mut self, program: &str, keys: &[&str]) -> Result<Answer, SessionError> {
        let mut line = check_keys_line(program, keys);
        line.push('\n');
        match self.write_all(line.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Answer::Continue),
            written => written?,
        }
        let line = self.read_line()?;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(Answer::Continue);
        }
        let command = Alert::parse(&line).ok().and_then(|answer| answer.member("command")?.text());
        match command.as_deref() {
            Some("continue") => Ok(Answer::Continue),
            Some("abort") => Ok(Answer::Abort),
            _ => Err(SessionError::Answer),
        }
    }

    /// One line without its newline; at the end of input, what there is.
    fn read_line(&mut self) -> Result<Vec<u8>, SessionError> {
        let mut searched = 0;
        let mut chunk = [0; 4096];
        loop {
            if let Some(end) = self.pending[searched..].iter().position(|&byte| byte == b'\n') {
                let rest = self.pending.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.pop();
                return Ok(line);
            }
            searched = self.pending.len();
            if searched > LONGEST_LINE {
                return Err(BadRequest::TooLong.into());
            }
            wait(self.input, PollFlags::POLLIN, self.deadline)?;
            match read(self.input, &mut chunk) {
                Ok(0) => return Ok(std::mem::take(&mut self.pending)),
                Ok(length) => self.pending.extend_from_slice(&chunk[..length]),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            wait(self.output, PollFlags::POLLOUT, self.deadline)?;
            match write(self.output, bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The line that asks Wazuh whether these keys are new (both generations take
/// the form of 4.x), without its newline.
#[must_use]
pub fn check_keys_line(program: &str, keys: &[&str]) -> String {
    #[derive(Serialize)]
    struct CheckKeys<'a> {
        version: u8,
        origin: Origin<'a>,
        command: &'static str,
        parameters: Parameters<'a>,
    }
    #[derive(Serialize)]
    struct Origin<'a> {
        name: &'a str,
        module: &'static str,
    }
    #[derive(Serialize)]
    struct Parameters<'a> {
        keys: &'a [&'a str],
    }
    let line = CheckKeys {
        version: 1,
        origin: Origin { name: program, module: "active-response" },
        command: "check_keys",
        parameters: Parameters { keys },
    };
    // Only texts and a number: this cannot fail.
    serde_json::to_string(&line).unwrap_or_default()
}

#[cfg(test)]
mod tests;
