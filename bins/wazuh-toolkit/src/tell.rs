//! What is said: lines for a person as things happen, or one JSON object at
//! the end.

use std::cell::RefCell;
use std::io::Write;

use common::text::printable;
use serde_json::json;

/// Why a verb did not do what it was asked for, and its exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It failed, and nothing is changed.
    #[error("{0}")]
    Failed(String),
    /// The command line asks for something that does not exist here.
    #[error("{0}")]
    BadInput(String),
    /// It would undo what somebody did on purpose.
    #[error("{0}")]
    Refused(String),
    /// The change is made, but something behind it failed.
    #[error("{0}")]
    Unfinished(String),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) | Failure::Unfinished(_) => 1,
            Failure::BadInput(_) => 2,
            Failure::Refused(_) => 3,
        }
    }
}

/// Who listens.
#[derive(Debug, Default)]
pub struct Tell {
    json: bool,
    quiet: bool,
    said: RefCell<Vec<String>>,
    warned: RefCell<Vec<String>>,
}

impl Tell {
    /// For a person, or for a program with `json`; `quiet` says only warnings.
    #[must_use]
    pub fn new(json: bool, quiet: bool) -> Tell {
        Tell { json, quiet, ..Tell::default() }
    }

    /// What is done, in one line or several. A reader who has gone is no error.
    pub fn say(&self, line: impl AsRef<str>) {
        if self.json {
            self.said.borrow_mut().push(line.as_ref().to_owned());
        } else if !self.quiet {
            for line in line.as_ref().lines() {
                let _ = writeln!(std::io::stdout().lock(), "{}", printable(line));
            }
        }
    }

    /// What should not be so.
    pub fn warn(&self, line: impl AsRef<str>) {
        if self.json {
            self.warned.borrow_mut().push(line.as_ref().to_owned());
        } else {
            for line in line.as_ref().lines() {
                let _ = writeln!(std::io::stderr().lock(), "wazuh-toolkit: {}", printable(line));
            }
        }
    }

    /// Text for a person that is also for a file: exactly as it is.
    pub fn print(&self, text: &str) {
        if self.json {
            self.said.borrow_mut().push(text.to_owned());
        } else {
            let _ = write!(std::io::stdout().lock(), "{text}");
        }
    }

    /// An object for a program.
    pub fn print_json(&self, object: &serde_json::Value) {
        self.print_line(&format!("{object:#}"));
    }

    /// The only thing that a program is told.
    pub fn print_line(&self, text: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// The end of a verb that changes things; its exit code.
    #[must_use]
    pub fn end(&self, outcome: Result<bool, Failure>) -> u8 {
        let (changed, code, error) = match outcome {
            Ok(changed) => (changed, 0, None),
            Err(failure) => {
                (matches!(failure, Failure::Unfinished(_)), failure.code(), Some(failure.to_string()))
            }
        };
        if self.json {
            let mut object = json!({ "changed": changed, "messages": *self.said.borrow(), "warnings": *self.warned.borrow() });
            if let Some(error) = error {
                object["error"] = error.into();
            }
            self.print_json(&object);
        } else if let Some(error) = error {
            self.warn(error);
        }
        if self.quiet { 0 } else { code }
    }
}
