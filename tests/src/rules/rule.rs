//! One rule: what it asks of an event, and of those before.

mod read;

use super::decode::{Decoded, Static};
use super::list::Lookup;
use super::pattern::{Pattern, Type};

/// A rule that was read without objection.
#[derive(Debug)]
pub struct Rule {
    /// Its number.
    pub id: u32,
    /// 0 to 16; 0 is silent.
    pub level: u8,
    /// The file it stands in.
    pub file: String,
    /// With its `$(field)` as written.
    pub description: String,
    /// As in an alert: without those that name a clause of a standard.
    pub groups: Vec<String>,
    /// Techniques of MITRE ATT&CK.
    pub mitre: Vec<String>,
    /// The rules that must have matched before, one of them.
    pub parents: Vec<u32>,
    /// How many events it needs, this one included.
    pub frequency: Option<u32>,
    /// Within how many seconds.
    pub timeframe: u32,
    /// For how many seconds after an alert its parent speaks in its place.
    pub ignore: u32,
    /// No active response.
    pub no_ar: bool,
    /// The alert is without the line.
    pub no_full_log: bool,
    /// No alert is written.
    pub no_log: bool,
    pub(super) decoder: Option<String>,
    pub(super) tests: Vec<Test>,
    pub(super) searches: Vec<Search>,
    pub(super) correlation: Option<Correlation>,
}

/// A field and what it is compared with.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) subject: Subject,
    pub(super) pattern: Pattern,
}

/// A field that is looked up in a list.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) subject: Subject,
    pub(super) lookup: Lookup,
    pub(super) list: String,
}

/// Earlier events that must have been.
#[derive(Debug)]
pub(super) struct Correlation {
    pub(super) sid: u32,
    pub(super) same: Vec<Subject>,
    pub(super) different: Vec<Subject>,
    /// Those of all agents count together.
    pub(super) global: bool,
}

/// What of an event is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    Fixed(Static),
    /// The first of two that is there.
    Either(Static, Static),
    Dynamic(String),
    Line,
    Location,
}

impl Subject {
    /// What a static element tests.
    fn of_element(name: &str) -> Option<(Subject, Type)> {
        Some(match name {
            "match" => (Subject::Line, Type::OsMatch),
            "regex" => (Subject::Line, Type::OsRegex),
            "location" => (Subject::Location, Type::OsMatch),
            "user" => (Subject::Either(Static::Dstuser, Static::Srcuser), Type::OsMatch),
            "action" => (Subject::Fixed(Static::Action), Type::Exact),
            "srcport" | "dstport" | "id" | "url" | "data" | "extra_data" | "status" | "protocol"
            | "system_name" => (Subject::Fixed(Static::named(name)?), Type::OsMatch),
            _ => return None,
        })
    }

    /// What a list looks up, by the name in its `field`.
    fn of_list(name: &str) -> Result<Subject, String> {
        match name {
            "user" => Ok(Subject::Either(Static::Srcuser, Static::Dstuser)),
            "srcuser" | "dstuser" => {
                Err(format!("<list field=\"{name}\"> would be a dynamic field, so never there"))
            }
            "hostname" | "program_name" => Err(format!("<list field=\"{name}\"> is not modelled")),
            _ => Ok(Static::named(name).map_or_else(|| Subject::Dynamic(name.to_owned()), Subject::Fixed)),
        }
    }

    /// What `same_…` and `different_…` compare.
    fn of_comparison(name: &str) -> Option<Subject> {
        match name {
            "user" => Some(Subject::Fixed(Static::Dstuser)),
            "location" => Some(Subject::Location),
            "dstuser" => None,
            _ => Static::named(name).map(Subject::Fixed),
        }
    }

    /// True when an event may be without it.
    pub(super) fn may_be_absent(&self) -> bool {
        !matches!(self, Subject::Line | Subject::Location)
    }

    /// Its value in an event.
    pub(super) fn of<'e>(&self, event: &'e Decoded, line: &'e str, location: &'e str) -> Option<&'e str> {
        match self {
            Subject::Fixed(field) => event.fixed(*field),
            Subject::Either(first, second) => event.fixed(*first).or_else(|| event.fixed(*second)),
            Subject::Dynamic(name) => event.dynamic(name),
            Subject::Line => Some(line),
            Subject::Location => Some(location),
        }
    }
}
