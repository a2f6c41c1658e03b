//! The events that the shipped rules are tried with:
//! `tests/fixtures/rules/**/*.jsonl`.
//!
//! One object a line, blank lines and those that begin with `#` left out:
//!
//! * `{"line": …, "rule": "100301", "why": …}`, perhaps with `location` and
//!   `agent`: the line (text, or an object that is sent compact) and the rule
//!   that it must end at, `null` for none;
//! * `{"reset": true}`: a new session; `{"advance": 301}`: seconds go by;
//! * `{"provisional": true, "from": …}`, first: composed by hand from a
//!   description, not what a program printed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Event, Outcome, Ruleset, Session};
use crate::program::source_tree;

/// A file.
#[derive(Debug)]
pub struct Samples {
    /// The file's name without its ending.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Composed by hand.
    pub provisional: bool,
    /// In order.
    pub steps: Vec<Step>,
}

/// A line of it.
#[derive(Debug)]
pub enum Step {
    /// An event, and what is expected of it.
    Event {
        /// The line in the file.
        number: usize,
        /// What is sent.
        event: Event,
        /// The rule at its end.
        rule: Option<u32>,
        /// What it shows.
        why: String,
    },
    /// A new session.
    Reset,
    /// The clock moves.
    Advance(Duration),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    line: Option<Box<RawValue>>,
    /// There, even when it is null.
    #[serde(default, deserialize_with = "present")]
    rule: Option<Option<String>>,
    why: Option<String>,
    location: Option<String>,
    agent: Option<String>,
    reset: Option<bool>,
    advance: Option<u64>,
    provisional: Option<bool>,
    from: Option<String>,
}

#[expect(clippy::option_option, reason = "absent is not null")]
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads a file.
///
/// # Panics
/// On a line that is none of these, with its place.
#[must_use]
pub fn read(path: &Path) -> Samples {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut samples = Samples { name, path: path.to_owned(), provisional: false, steps: Vec::new() };
    for (index, text) in text.lines().enumerate() {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        let number = index + 1;
        let wrong = |what: &str| -> ! { panic!("{}:{number}: {what}", path.display()) };
        let line: Line = serde_json::from_str(text).unwrap_or_else(|error| wrong(&error.to_string()));
        samples.provisional |= line.provisional == Some(true);
        samples.steps.extend(step(number, line).unwrap_or_else(|what| wrong(what)));
    }
    samples
}

/// No step where the line is about the file.
fn step(number: usize, line: Line) -> Result<Option<Step>, &'static str> {
    match line {
        Line {
            line: Some(raw),
            rule: Some(rule),
            why: Some(why),
            location,
            agent,
            reset: None,
            advance: None,
            provisional: None,
            from: None,
        } => {
            // Either a text, or an object as it stands but compact.
            let text = match serde_json::from_str::<String>(raw.get()) {
                Ok(text) => text,
                Err(_) if raw.get().starts_with('{') => compact(raw.get()),
                Err(_) => return Err("a line that is neither text nor object"),
            };
            let rule = match rule {
                None => None,
                Some(id) => Some(id.parse().map_err(|_| "a rule that is no number")?),
            };
            if text.is_empty() || why.trim().is_empty() {
                return Err("no line or no reason");
            }
            let mut event = Event::new(text);
            event.location = location.unwrap_or(event.location);
            event.agent = agent.unwrap_or(event.agent);
            Ok(Some(Step::Event { number, event, rule, why }))
        }
        Line {
            line: None,
            rule: None,
            why: None,
            location: None,
            agent: None,
            reset,
            advance,
            provisional,
            from,
        } => match (reset, advance, provisional, from) {
            (Some(true), None, None, None) => Ok(Some(Step::Reset)),
            (None, Some(seconds), None, None) => Ok(Some(Step::Advance(Duration::from_secs(seconds)))),
            (None, None, Some(true), Some(_)) => Ok(None),
            _ => Err("not a sample"),
        },
        _ => Err("not a sample"),
    }
}

/// Without the blanks between its parts; the order of members stays.
fn compact(json: &str) -> String {
    let mut out = String::new();
    let (mut within, mut escaped) = (false, false);
    for c in json.chars() {
        if within || !c.is_ascii_whitespace() {
            out.push(c);
        }
        within ^= c == '"' && !escaped;
        escaped = within && c == '\\' && !escaped;
    }
    out
}

/// All of `tests/fixtures/rules`, sorted by path.
///
/// # Panics
/// As [`read`], and where there is no such folder.
#[must_use]
pub fn all() -> Vec<Samples> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("the folder of samples").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "jsonl") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&source_tree().join("tests/fixtures/rules"), &mut found);
    found.sort();
    found.iter().map(|path| read(path)).collect()
}

/// Each event of a file with its line, what is expected, why, and what came of it.
pub fn outcomes<'s>(ruleset: &Ruleset, samples: &'s Samples) -> Vec<(&'s Step, Outcome)> {
    let mut session = Session::new(ruleset);
    let mut all = Vec::new();
    for step in &samples.steps {
        match step {
            Step::Reset => session = Session::new(ruleset),
            Step::Advance(time) => session.advance(*time),
            Step::Event { event, .. } => all.push((step, session.feed(event))),
        }
    }
    all
}

/// What did not come out as its sample says.
#[must_use]
pub fn check(ruleset: &Ruleset, samples: &Samples) -> Vec<String> {
    let shown = |rule: Option<u32>| rule.map_or_else(|| "none".to_owned(), |rule| rule.to_string());
    let mut wrong = Vec::new();
    for (step, outcome) in outcomes(ruleset, samples) {
        if let Step::Event { number, rule, why, .. } = step
            && *rule != outcome.rule
        {
            let (expected, found) = (shown(*rule), shown(outcome.rule));
            let name = &samples.name;
            wrong.push(format!("{name}.jsonl:{number}: {why}: expected {expected}, got {found}"));
        }
    }
    wrong
}
