//! A line as Wazuh reads it: one flat JSON object.
//!
//! The decoder of Wazuh lifts some keys to fields of its own, loses what comes
//! after 256 of them, prints large numbers as `1716897300123.000000`, and a
//! line of 65,279 bytes takes a later one with it. So a line is built member by
//! member, and whatever others chose (names as well as values) comes through
//! [`Record::hoist`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::value::RawValue;

use crate::json::{self, DEEPEST, Shape, members, shape};
use crate::redact::{Redact, called, told};

/// The longest line, its newline included.
pub const LONGEST: usize = 60_000;
/// What the writer adds to a line behind our back: `,"receipt":"N"`, and the newline.
const ADDED: usize = 41;
/// For `,"fields_cut":N}`.
const ENDING: usize = 32;
/// `fields_cut`, and the writer's `receipt`.
const ADDED_FIELDS: usize = 2;
/// With less than this left, not even a large number has room.
const LEAST_ROOM: usize = 72;
/// The longest name of a field, in bytes.
const LONGEST_KEY: usize = 64;
/// Of names that are the same when they are spelt as keys, so many are kept.
const MOST_ALIKE: usize = 20;
/// At the end of a text that was cut.
const CUT: &str = "…[cut]";

/// Keys that Wazuh lifts to fields of its own, and so gives a meaning.
const FIXED: [&str; 15] = [
    "srcip",
    "dstip",
    "srcport",
    "dstport",
    "protocol",
    "action",
    "srcuser",
    "dstuser",
    "user",
    "id",
    "status",
    "url",
    "data",
    "extra_data",
    "systemname",
];
/// Keys of ours, on which rules rely.
const OURS: [&str; 6] = ["toolkit", "source", "event", "received_at", "receipt", "fields_cut"];
/// Keys by which silent rules of Wazuh take an event away from ours.
const TAKEN: [&str; 11] = [
    "timestamp",
    "event_type",
    "subtype",
    "integration",
    "vulnerability",
    "vuls",
    "activity_id",
    "category_uid",
    "wafaction",
    "mysql_audit_log",
    "scan_id",
];

/// One JSON object on one line, at most [`LONGEST`] bytes with its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(Vec<u8>);

impl Line {
    /// The object, without a newline.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A line of an object that is known to be in order; for tests.
    ///
    /// # Panics
    /// When it is no object.
    #[must_use]
    pub fn from_json(value: &serde_json::Value) -> Line {
        assert!(value.is_object(), "{value}");
        Line(value.to_string().into_bytes())
    }

    /// Of bytes that this crate has put together.
    pub(crate) fn made(bytes: Vec<u8>) -> Line {
        debug_assert!(bytes.len() + ADDED <= LONGEST && bytes.ends_with(b"}") && !bytes.contains(&b'\n'));
        Line(bytes)
    }
}

/// How much there may be of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the line, with all that is added to it.
    pub line: usize,
    /// Bytes of a text, as it stands in the line.
    pub text: usize,
    /// Members of the object, with all that is added to it.
    pub fields: usize,
}

impl Limits {
    /// What an agent and a manager take.
    pub const WIDE: Limits = Limits { line: LONGEST, text: 8_000, fields: 200 };
    /// What can lead to an active response. Its message holds the alert, and
    /// that holds this line and up to eleven earlier ones, with each quotation
    /// mark escaped once more; Wazuh cuts it at 65,536 bytes, and what was cut
    /// blocks nobody.
    pub const NARROW: Limits = Limits { line: 2_400, text: 400, fields: 60 };
}

/// Bytes of a line that are left when its own end is taken off.
pub(crate) const fn room(limits: Limits) -> usize {
    limits.line - ADDED - ENDING
}

/// A line that is being put together.
#[derive(Debug)]
pub struct Record {
    out: Vec<u8>,
    keys: Vec<String>,
    /// Of names that are alike, the first number that may be free.
    alike: HashMap<String, usize>,
    limits: Limits,
    cut: usize,
}

/// What sources write before what is longer, in bytes of JSON: what is long may be
/// an attacker's, and may not push anything else out of the line.
pub const SHORT: usize = 80;

impl Record {
    /// Begins a line: what of the toolkit wrote it, where it comes from, what
    /// it is, and when it was received.
    #[must_use]
    pub fn new(source: &str, event: &str, now: SystemTime) -> Record {
        Record::within(Limits::WIDE, source, event, now)
    }

    /// The same with other limits.
    #[must_use]
    pub fn within(limits: Limits, source: &str, event: &str, now: SystemTime) -> Record {
        let mut record = Record {
            out: Vec::with_capacity(512),
            keys: Vec::with_capacity(16),
            alike: HashMap::new(),
            limits,
            cut: 0,
        };
        record.out.push(b'{');
        record.text("toolkit", "custom-webhook");
        record.text("source", source);
        record.text("event", event);
        record.text("received_at", &timestamp(now));
        record
    }

    /// A text under a key that we chose; none when it is empty.
    pub fn text(&mut self, key: &str, value: &str) -> &mut Record {
        if !value.is_empty() {
            self.push(key, |out, most| quote(value, most, out));
        }
        self
    }

    /// A text that may have another length than all others.
    pub fn text_within(&mut self, key: &str, value: &str, most: usize) -> &mut Record {
        let usual = std::mem::replace(&mut self.limits.text, most);
        self.text(key, value);
        self.limits.text = usual;
        self
    }

    /// The same, if it is there.
    pub fn maybe(&mut self, key: &str, value: Option<&str>) -> &mut Record {
        self.text(key, value.unwrap_or_default())
    }

    /// A number under a key that we chose; a large one as text.
    pub fn number(&mut self, key: &str, value: i64) -> &mut Record {
        self.push(key, |out, _| number(&value.to_string(), out));
        self
    }

    /// Whether something is so, under a key that we chose.
    pub fn truth(&mut self, key: &str, value: bool) -> &mut Record {
        self.push(key, |out, _| out.extend_from_slice(if value { b"true" } else { b"false" }));
        self
    }

    /// An address under a key that we chose, as Wazuh compares it.
    pub fn address(&mut self, key: &str, value: IpAddr) -> &mut Record {
        self.text(key, &value.to_canonical().to_string())
    }

    /// What others sent, under a key that we chose: a scalar as it is, a list
    /// or object as text.
    pub fn value(&mut self, key: &str, raw: &RawValue, redact: &Redact) -> &mut Record {
        match shape(raw) {
            Shape::Null => {}
            Shape::Truth(value) => {
                self.truth(key, value);
            }
            Shape::Number(text) => self.push(key, |out, _| number(text, out)),
            Shape::Text(text) => {
                self.text(key, &json::clean(&text, redact, self.limits.text));
            }
            Shape::List | Shape::Object => {
                let text = json::compact(raw, redact, self.limits.text);
                if text.len() > 2 {
                    self.text(key, &text);
                }
            }
        }
        self
    }

    /// What others sent under a name that they chose: objects become one field
    /// for each of their members, lists become text, secrets go.
    pub fn hoist(&mut self, prefix: &str, name: &str, raw: &RawValue, redact: &Redact) -> &mut Record {
        self.hoist_called(prefix, name, name, raw, redact)
    }

    /// The same of what is a secret, or none, by another name than its own.
    pub fn hoist_called(
        &mut self,
        prefix: &str,
        name: &str,
        called: &str,
        raw: &RawValue,
        redact: &Redact,
    ) -> &mut Record {
        self.walk(&spelt(prefix, name), called, raw, redact, DEEPEST);
        self
    }

    /// All members of an object that has no name.
    pub fn hoist_all(&mut self, raw: &RawValue, redact: &Redact) -> &mut Record {
        self.walk("", "", raw, redact, DEEPEST + 1);
        self
    }

    /// The same, but an object stays one field.
    pub fn column(&mut self, prefix: &str, name: &str, raw: &RawValue, redact: &Redact) -> &mut Record {
        self.walk(&spelt(prefix, name), name, raw, redact, 0);
        self
    }

    /// A text of ours under a name that others chose.
    pub fn named(&mut self, prefix: &str, name: &str, value: &str) -> &mut Record {
        match self.free(&spelt(prefix, name)) {
            Some(key) => _ = self.text(&key, value),
            None => self.cut += 1,
        }
        self
    }

    /// No more fields have room.
    fn is_full(&self) -> bool {
        self.keys.len() + ADDED_FIELDS >= self.limits.fields
    }

    fn walk(&mut self, key: &str, name: &str, raw: &RawValue, redact: &Redact, depth: usize) {
        if let Some(instead) = redact.replaces(name, raw) {
            match self.free(key) {
                Some(key) => _ = self.text(&key, instead),
                None => self.cut += 1,
            }
        } else if depth > 0 && shape(raw) == Shape::Object {
            let members = members(raw);
            let told = told(&members);
            for (name, value) in &members {
                // Those that come now only count.
                if self.is_full() && shape(value) != Shape::Null {
                    self.cut += 1;
                    continue;
                }
                let called = called(told.as_deref(), name);
                self.walk(&spelt(key, name), called, value, redact, depth - 1);
            }
        } else {
            match self.free(key) {
                Some(key) => _ = self.value(&key, raw, redact),
                None => self.cut += 1,
            }
        }
    }

    /// True when a field of this name is there.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known == key)
    }

    /// A key like this one that nobody else has and that means nothing; none
    /// where there are many like it.
    fn free(&mut self, key: &str) -> Option<String> {
        let mut key = if key.is_empty() { "field".to_owned() } else { key.to_owned() };
        if is_taken(&key) {
            key.push('_');
        }
        if !self.has(&key) {
            return Some(key);
        }
        key.truncate(LONGEST_KEY - 3);
        // Those before it stay taken: nobody tries them again.
        let first = self.alike.get(&key).copied().unwrap_or(2);
        let number = (first..=MOST_ALIKE).find(|number| !self.has(&format!("{key}_{number}")));
        let free = number.map(|number| format!("{key}_{number}"));
        self.alike.insert(key, number.unwrap_or(MOST_ALIKE + 1));
        free
    }

    /// Adds a member, or counts it among those for which there is no room.
    fn push(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>, usize)) {
        debug_assert!(!self.has(key), "{key} twice");
        let room = room(self.limits).saturating_sub(self.out.len() + key.len() + 6);
        if self.is_full() || room < LEAST_ROOM {
            self.cut += 1;
            return;
        }
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        write(&mut self.out, self.limits.text.min(room));
        self.keys.push(key.to_owned());
    }

    /// Ends the line.
    #[must_use]
    pub fn finish(mut self) -> Line {
        if self.cut > 0 {
            self.out.extend_from_slice(format!(",\"fields_cut\":{}", self.cut).as_bytes());
        }
        self.out.push(b'}');
        Line::made(self.out)
    }
}

/// True of a key that means something, to Wazuh or to us.
#[must_use]
pub fn is_taken(key: &str) -> bool {
    [&FIXED[..], &OURS, &TAKEN].iter().any(|names| names.contains(&key))
}

/// True of a key that Wazuh lifts to a field of its own.
#[must_use]
pub fn is_fixed(key: &str) -> bool {
    FIXED.contains(&key)
}

/// A point in time, in milliseconds and UTC.
#[must_use]
pub fn timestamp(now: SystemTime) -> String {
    humantime::format_rfc3339_millis(now).to_string()
}

/// A name as keys are: lower case, digits and underscores, at most 64 bytes.
#[must_use]
pub fn spelt(prefix: &str, name: &str) -> String {
    let mut key = String::with_capacity(prefix.len() + name.len() + 4);
    key.push_str(prefix);
    if !key.is_empty() && !key.ends_with('_') {
        key.push('_');
    }
    let mut small_before = false;
    for c in name.chars() {
        if key.len() >= LONGEST_KEY {
            break;
        }
        // statusCode and status_code are the same to whoever writes a rule.
        if c.is_ascii_uppercase() && small_before {
            key.push('_');
        }
        small_before = c.is_ascii_lowercase() || c.is_ascii_digit();
        if c.is_ascii_alphanumeric() {
            key.push(c.to_ascii_lowercase());
        } else if !key.is_empty() && !key.ends_with('_') {
            key.push('_');
        }
    }
    key.truncate(LONGEST_KEY);
    key.truncate(key.trim_end_matches('_').len());
    key
}

/// A number that Wazuh prints as it is, or else its text.
pub(crate) fn number(text: &str, out: &mut Vec<u8>) {
    let plain = text.parse::<i32>().is_ok_and(|value| value.to_string() == text);
    if plain {
        out.extend_from_slice(text.as_bytes());
    } else {
        quote(text, 64, out);
    }
}

/// Writes a text within quotation marks, in at most so many bytes between them.
pub(crate) fn quote(value: &str, most: usize, out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    // Where it has to end for the mark of a cut to have room, and where it would.
    let last = start + most.saturating_sub(CUT.len());
    let mut end = start;
    let mut rest = value;
    loop {
        // Nearly everything is as it shall be.
        let (run, behind) =
            rest.split_at(rest.bytes().position(|byte| !is_plain(byte)).unwrap_or(rest.len()));
        if out.len() <= last {
            end = last.min(out.len() + run.len());
        }
        out.extend_from_slice(&run.as_bytes()[..run.len().min(most + 1)]);
        let mut chars = behind.chars();
        let next = chars.next();
        if let Some(c) = next {
            escape(c, out);
        }
        if out.len() - start > most {
            out.truncate(end);
            out.extend_from_slice(CUT.as_bytes());
            break;
        }
        if out.len() <= last {
            end = out.len();
        }
        if next.is_none() {
            break;
        }
        rest = chars.as_str();
    }
    out.push(b'"');
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~')
}

/// Writes one that is not plain.
fn escape(c: char, out: &mut Vec<u8>) {
    let short = match c {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{1}'..='\u{1f}' => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let code = u32::from(c) as usize;
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', DIGITS[code >> 4], DIGITS[code & 15]]);
        }
        _ => {
            let shown = if misleads(c) { char::REPLACEMENT_CHARACTER } else { c };
            return out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// True of what no decoder keeps, or what makes a text read otherwise than it
/// is: NUL, the second control characters, and those that only format.
fn misleads(c: char) -> bool {
    matches!(c,
        '\0' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests;
