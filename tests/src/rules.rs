//! Wazuh's rules without Wazuh: what fires on a line, and what is wrong with a
//! rule file.
//!
//! It knows the syntax that our rules use and what wazuh-analysisd 4.14.7 makes
//! of it, and refuses all else by name: a rule that is half understood would
//! pass its test here and fail on a manager. `tests/fixtures/logtest` has what
//! the engine itself said of some seventy events, and all of them come out the
//! same here.
//!
//! * [`Ruleset`] loads rules and lists, [`Session`] feeds [`Event`]s to them;
//! * [`sample`] reads the events that each shipped rule is tried with;
//! * [`lint()`] finds what loads but does not do what its author means;
//! * [`mod@logtest`] asks a running manager the same.

mod decode;
mod lint;
mod list;
pub mod logtest;
mod osregex;
mod pattern;
mod rule;
mod ruleset;
pub mod sample;
mod session;
mod xml;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

pub use lint::{lint, lint_shipped};
pub use rule::Rule;
pub use ruleset::Ruleset;
pub use session::Session;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The name of the file.
    pub file: String,
    /// The rule, where it is one's.
    pub rule: Option<u32>,
    /// In words.
    pub what: String,
}

/// Why rules do not load.
pub type RuleError = Problem;

impl Problem {
    fn new(file: &str, rule: Option<u32>, what: impl Into<String>) -> Problem {
        Problem { file: file.to_owned(), rule, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Some(rule) => write!(formatter, "{}: rule {rule}: {}", self.file, self.what),
            None => write!(formatter, "{}: {}", self.file, self.what),
        }
    }
}

impl std::error::Error for Problem {}

/// What analysisd is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The line.
    pub line: String,
    /// The file or command that it came from.
    pub location: String,
    /// The number of the agent; "000" is the manager.
    pub agent: String,
}

impl Event {
    /// A line of the manager's own, from nowhere in particular.
    pub fn new(line: impl Into<String>) -> Event {
        Event { line: line.into(), location: "test".to_owned(), agent: "000".to_owned() }
    }

    /// The same from a file or command.
    #[must_use]
    pub fn at(self, location: &str) -> Event {
        Event { location: location.to_owned(), ..self }
    }

    /// The same from an agent.
    #[must_use]
    pub fn from_agent(self, agent: &str) -> Event {
        Event { agent: agent.to_owned(), ..self }
    }
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Its name, or none took the line.
    pub decoder: Option<&'static str>,
    /// The rule that it ended at, silent ones included.
    pub rule: Option<u32>,
    /// The rule that would have fired, were it not for its `ignore`.
    pub ignored: Option<u32>,
    /// Of the rule.
    pub level: Option<u8>,
    /// With its fields filled in.
    pub description: Option<String>,
    /// Of the rule, without those that name a clause of a standard.
    pub groups: Vec<String>,
    /// Of the rule.
    pub mitre: Vec<String>,
    /// Whether an alert is written, with the configuration that Wazuh ships.
    pub alert: bool,
    /// `data` of the alert.
    pub data: Value,
    /// What rules see: static fields by the names that alerts have for them,
    /// dynamic ones by their paths.
    pub fields: BTreeMap<String, String>,
    /// Of the rule.
    pub no_ar: bool,
    /// Of the rule.
    pub no_full_log: bool,
}
