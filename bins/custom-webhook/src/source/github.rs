//! GitHub's webhooks.
//!
//! What is signed is the body, and nothing else: neither the event's name nor
//! the id of the delivery. So a delivery is known by its body too, whatever the
//! headers around it say.

mod field;

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ConfigError, Delivery, Door, Given, Id, Media, Outcome, Rate, Refusal, Source, media, secrets};
use crate::json::{Document, Picker, Shape, items, members, scalar, shape};
use crate::record::{Line, Record};
use crate::redact::Redact;
use crate::secret::SecretRef;
use crate::sign::{Algorithm, Encoding, Keys, SIGNATURE_INVALID, header};
use field::{Field, Take};

/// Its name.
const NAME: &str = "github";
/// Of a list of names, no more are written.
const MOST_NAMES: usize = 40;

/// `[github]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it is reached.
    pub paths: Vec<String>,
    /// The webhook's secret; while it is changed, the former one too.
    pub secret_files: Vec<SecretRef>,
    /// The largest body, in bytes. GitHub sends at most 25 MB.
    pub body_limit: usize,
    /// How many requests are taken in a minute; 0 is no limit.
    pub requests_per_minute: u32,
    /// The same of one address.
    pub requests_per_minute_per_peer: u32,
    /// Only these events are written, `event` or `event.action`; empty is all.
    pub allow: Vec<String>,
    /// These are not.
    pub deny: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            paths: vec!["/webhook/github".to_owned()],
            secret_files: Vec::new(),
            body_limit: 25 * 1024 * 1024,
            requests_per_minute: 6000,
            requests_per_minute_per_peer: 3000,
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }
}

impl Config {
    /// Checks it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn compile(&self, given: &Given<'_>) -> Result<Box<dyn Source>, ConfigError> {
        let rate = Rate {
            per_minute: self.requests_per_minute,
            per_minute_per_peer: self.requests_per_minute_per_peer,
        };
        for (key, list) in [("allow", &self.allow), ("deny", &self.deny)] {
            if let Some(entry) = list.iter().find(|entry| !entry.split('.').all(is_word)) {
                let why = format!("{entry:?} is neither an event nor event.action");
                return Err(ConfigError { source_name: NAME.to_owned(), key, why });
            }
        }
        Ok(Box::new(GitHub {
            door: Door::new(NAME, &self.paths, self.body_limit, rate)?,
            keys: Keys::new(Algorithm::Sha256, &secrets(given, NAME, "secret_files", &self.secret_files)?),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            known: field::EVENTS.iter().map(|event| (*event, Plan::new(event))).collect(),
            other: Plan::new(""),
        }))
    }
}

/// As GitHub's events and actions are named.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

struct GitHub {
    door: Door,
    keys: Keys,
    allow: Vec<String>,
    deny: Vec<String>,
    known: HashMap<&'static str, Plan>,
    other: Plan,
}

/// What is wanted of an event, to be found in one pass.
struct Plan {
    picker: Picker,
    fields: Vec<&'static Field>,
}

impl Plan {
    fn new(event: &str) -> Plan {
        let fields: Vec<&Field> = field::of(event).collect();
        let paths = fields.iter().flat_map(|field| field.paths.iter().copied());
        // Our own paths, which a test holds against this.
        let picker = Picker::new(paths).unwrap_or_default();
        Plan { picker, fields }
    }
}

impl Source for GitHub {
    fn door(&self) -> &Door {
        &self.door
    }

    fn doubts(&self) -> Vec<String> {
        let unknown = |list: &[String]| {
            let events = list.iter().filter(|entry| !entry.split('.').next().is_some_and(field::is_known));
            events.cloned().collect::<Vec<_>>()
        };
        let doubt = |(key, events): (&str, Vec<String>)| {
            (!events.is_empty()).then(|| {
                format!("github.{key} names {}, which is no event known here: misspelt?", events.join(", "))
            })
        };
        [("allow", unknown(&self.allow)), ("deny", unknown(&self.deny))]
            .into_iter()
            .filter_map(doubt)
            .collect()
    }

    fn receive(&self, delivery: &Delivery<'_>) -> Result<Outcome, Refusal> {
        let signature = header(delivery.headers, "x-hub-signature-256")
            .and_then(|value| value.strip_prefix("sha256="))
            .and_then(|digits| Encoding::Hex.decode(digits))
            .filter(|signature| self.keys.signed(delivery.body, signature))
            .ok_or(Refusal::Unauthorized(SIGNATURE_INVALID))?;
        let event = header(delivery.headers, "x-github-event")
            .filter(|event| is_word(event))
            .ok_or_else(|| Refusal::BadRequest("X-GitHub-Event names no event".to_owned()))?;
        let form;
        let payload = match media(delivery.headers) {
            Media::Json => delivery.body,
            Media::Form => {
                form = form_value(delivery.body, b"payload")
                    .ok_or_else(|| Refusal::BadRequest("the form has no payload".to_owned()))?;
                &form
            }
            _ => return Err(Refusal::UnsupportedMediaType),
        };
        let id = header(delivery.headers, "x-github-delivery").filter(|id| !id.is_empty() && id.len() <= 128);
        // Its own name first: what is known only by the body behind it is told.
        let mut ids: Vec<Id> = id.map(|id| Id::new(NAME, "delivery", id.as_bytes())).into_iter().collect();
        // A hash of the body: whoever has no secret has no other one of it.
        ids.push(Id::new(NAME, "body", &signature));
        // What is not wanted is known all the same: under the name of another
        // event, which is not signed, it would be wanted.
        let lines = self.line(delivery, event, id, payload)?.into_iter().collect();
        Ok(Outcome::Events { lines, ids })
    }
}

impl GitHub {
    /// The line of an event, if it is wanted.
    fn line(
        &self,
        delivery: &Delivery<'_>,
        event: &str,
        id: Option<&str>,
        payload: &[u8],
    ) -> Result<Option<Line>, Refusal> {
        if payload.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Refusal::BadRequest("not a JSON object".to_owned()));
        }
        let plan = self.known.get(event).unwrap_or(&self.other);
        let document;
        let found = match plan.picker.pick(payload) {
            Ok(found) => found,
            // The quick way is strict about what it passes.
            Err(_) => {
                document = Document::parse(payload).map_err(Refusal::BadRequest)?;
                plan.picker.pick_from(document.root())
            }
        };
        let mut at = 0;
        let mut values = Vec::with_capacity(plan.fields.len());
        for field in &plan.fields {
            let alternatives = &found[at..at + field.paths.len()];
            at += field.paths.len();
            let there = |raw: &&RawValue| !matches!(raw.get(), "null" | "\"\"" | "[]" | "{}");
            values.push((*field, alternatives.iter().copied().flatten().find(there)));
        }
        let action = values.first().and_then(|(_, raw)| raw.and_then(scalar)).unwrap_or_default();
        if !self.is_wanted(event, &action) {
            return Ok(None);
        }
        let mut record = Record::new(NAME, event, delivery.now);
        for (field, raw) in &values {
            if let Some(raw) = raw {
                write(&mut record, field, raw);
            }
        }
        // The event has no such member; a push that deletes a branch has it.
        let branch = |(field, raw): &(&Field, Option<&RawValue>)| {
            field.key == "ref_type" && raw.is_some_and(|raw| raw.get() == "\"branch\"")
        };
        if event == "delete" && !record.has("deleted") && values.iter().any(branch) {
            record.truth("deleted", true);
        }
        record.maybe("delivery", id);
        Ok(Some(record.finish()))
    }

    fn is_wanted(&self, event: &str, action: &str) -> bool {
        let names = |entry: &String| match entry.split_once('.') {
            Some((of, only)) => of == event && only == action,
            None => entry == event,
        };
        (self.allow.is_empty() || self.allow.iter().any(names)) && !self.deny.iter().any(names)
    }
}

fn write(record: &mut Record, field: &Field, raw: &RawValue) {
    match field.take {
        Take::Value => {
            record.value(field.key, raw, &Redact::nothing());
        }
        Take::Names => {
            let names: Vec<String> = match shape(raw) {
                Shape::Object => members(raw).into_iter().map(|(name, _)| name.into_owned()).collect(),
                Shape::List => items(raw).into_iter().filter_map(scalar).map(Into::into).collect(),
                _ => Vec::new(),
            };
            record.text(field.key, &names[..names.len().min(MOST_NAMES)].join(","));
        }
        Take::Count => {
            if shape(raw) == Shape::List {
                record.number(field.key, i64::try_from(items(raw).len()).unwrap_or(i64::MAX));
            }
        }
    }
}

/// The value of a form's field.
fn form_value(form: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let field = |pair: &[u8]| {
        let split = pair.iter().position(|byte| *byte == b'=')?;
        (decoded(&pair[..split]) == name).then(|| decoded(&pair[split + 1..]))
    };
    form.split(|byte| *byte == b'&').find_map(field)
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let digit =
        |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => match (digit(after.first()), digit(after.get(1))) {
                (Some(high), Some(low)) => {
                    rest = &after[2..];
                    high << 4 | low
                }
                _ => b'%',
            },
            other => *other,
        });
    }
    bytes
}

#[cfg(test)]
mod tests;
