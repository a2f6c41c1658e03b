//! Supabase's database webhooks: a row that was inserted, updated or deleted.
//!
//! They are not signed. What proves the sender is a header that is set where
//! the webhook is made, so it must come over TLS. They are sent once, by a
//! database that waits a second or a few: nothing here takes long.

use std::collections::HashSet;

use http::HeaderName;
use ring::hmac;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ConfigError, Delivery, Door, Given, Id, Media, Outcome, Rate, Refusal, Source, media, secrets};
use crate::json::{Document, Picker, Shape, members, scalar, shape};
use crate::record::{Record, SHORT, spelt};
use crate::redact::Redact;
use crate::secret::SecretRef;
use crate::sign::{Proof, Tokens, idempotency_key};

/// Its name.
const NAME: &str = "supabase";
/// Of a hash, in bytes: nobody meets another's by chance.
const HASH: usize = 16;

/// `[supabase]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it is reached.
    pub paths: Vec<String>,
    /// The header that holds the secret; `authorization` holds `Bearer` and it.
    pub header: String,
    /// The secret; while it is changed, the former one too.
    pub secret_files: Vec<SecretRef>,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// How many requests are taken in a minute; 0 is no limit.
    pub requests_per_minute: u32,
    /// The same of one address.
    pub requests_per_minute_per_peer: u32,
    /// Only rows of these tables are written, `table` or `schema.table`; empty
    /// is all.
    pub allow: Vec<String>,
    /// Rows of these are not.
    pub deny: Vec<String>,
    /// Columns that are not written: `column`, `table.column` or
    /// `schema.table.column`.
    pub drop_columns: Vec<String>,
    /// Columns of which only a hash is written, equal for equal values.
    pub hash_columns: Vec<String>,
    /// The key of those hashes.
    pub hash_key_file: Option<SecretRef>,
    /// More names of secrets; what has one is written as `[redacted]`.
    pub redact: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            paths: vec!["/webhook/supabase".to_owned()],
            header: "x-webhook-secret".to_owned(),
            secret_files: Vec::new(),
            body_limit: 1024 * 1024,
            requests_per_minute: 30_000,
            requests_per_minute_per_peer: 30_000,
            allow: Vec::new(),
            deny: Vec::new(),
            drop_columns: Vec::new(),
            hash_columns: Vec::new(),
            hash_key_file: None,
            redact: Vec::new(),
        }
    }
}

impl Config {
    /// Checks it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn compile(&self, given: &Given<'_>) -> Result<Box<dyn Source>, ConfigError> {
        let error = |key, why: String| ConfigError { source_name: NAME.to_owned(), key, why };
        let rate = Rate {
            per_minute: self.requests_per_minute,
            per_minute_per_peer: self.requests_per_minute_per_peer,
        };
        for (key, list, most) in [
            ("allow", &self.allow, 2),
            ("deny", &self.deny, 2),
            ("drop_columns", &self.drop_columns, 3),
            ("hash_columns", &self.hash_columns, 3),
        ] {
            let wrong =
                |entry: &&String| entry.split('.').any(str::is_empty) || entry.split('.').count() > most;
            if let Some(entry) = list.iter().find(wrong) {
                return Err(error(key, format!("{entry:?} is no name")));
            }
        }
        let header: HeaderName = self
            .header
            .parse()
            .map_err(|_| error("header", format!("{:?} is no name of a header", self.header)))?;
        let tokens = secrets(given, NAME, "secret_files", &self.secret_files)?;
        let tokens = Tokens::new(tokens.iter().map(|token| token.expose().to_owned()))
            .map_err(|why| error("secret_files", why))?;
        let hash_key = match &self.hash_key_file {
            Some(file) => {
                let secret = (given.secrets)(file).map_err(|why| error("hash_key_file", why.to_string()))?;
                Some(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
            }
            None if self.hash_columns.is_empty() => None,
            None => {
                return Err(error(
                    "hash_key_file",
                    "hash_columns needs it: anybody can hash a name".to_owned(),
                ));
            }
        };
        Ok(Box::new(Supabase {
            door: Door::new(NAME, &self.paths, self.body_limit, rate)?,
            proof: if header == http::header::AUTHORIZATION {
                Proof::Bearer(tokens)
            } else {
                Proof::Header(header, tokens)
            },
            hash_key,
            redact: Redact::new(&self.redact),
            picker: Picker::new(["type", "schema", "table", "record", "old_record"])
                .map_err(|why| error("paths", why))?,
            config: self.clone(),
        }))
    }
}

struct Supabase {
    door: Door,
    proof: Proof,
    hash_key: Option<hmac::Key>,
    redact: Redact,
    picker: Picker,
    config: Config,
}

impl Source for Supabase {
    fn door(&self) -> &Door {
        &self.door
    }

    fn receive(&self, delivery: &Delivery<'_>) -> Result<Outcome, Refusal> {
        self.proof.check(delivery.headers)?;
        if media(delivery.headers) != Media::Json {
            return Err(Refusal::UnsupportedMediaType);
        }
        let document = Document::parse(delivery.body).map_err(Refusal::BadRequest)?;
        let found = self.picker.pick_from(document.root());
        let text = |index: usize| found[index].and_then(scalar);
        let event = match text(0).as_deref() {
            Some("INSERT") => "insert",
            Some("UPDATE") => "update",
            Some("DELETE") => "delete",
            _ => return Err(Refusal::BadRequest("type is not INSERT, UPDATE or DELETE".to_owned())),
        };
        let schema = text(1).unwrap_or_default();
        let Some(table) = text(2).filter(|table| !table.is_empty()) else {
            return Err(Refusal::BadRequest("there is no table".to_owned()));
        };
        let table = Table { schema: &schema, name: &table };
        let config = &self.config;
        if !config.allow.is_empty() && !config.allow.iter().any(|entry| table.is(entry))
            || config.deny.iter().any(|entry| table.is(entry))
        {
            return Ok(Outcome::Nothing("not_wanted"));
        }
        let (new, old) = (found[3].map(members), found[4].map(members));
        let mut record = Record::new(NAME, event, delivery.now);
        record.text("schema", table.schema).text("table", table.name);
        if let (Some(new), Some(old), "update") = (&new, &old, event) {
            let old: HashSet<(&str, &str)> =
                old.iter().map(|(name, before)| (name.as_ref(), before.get())).collect();
            let differs = |(name, value): &(&str, &str)| !old.contains(&(*name, *value));
            let new = new.iter().map(|(name, value)| (name.as_ref(), value.get()));
            let changed: Vec<&str> = new.filter(differs).map(|(name, _)| name).collect();
            record.text("changed", &changed.join(","));
        }
        for short in [true, false] {
            for (prefix, columns) in [("record", &new), ("old", &old)] {
                for (name, value) in columns.iter().flatten() {
                    if (value.get().len() <= SHORT) == short {
                        self.column(&mut record, &table, prefix, name, value);
                    }
                }
            }
        }
        let ids = idempotency_key(delivery.headers).map(|key| Id::new(NAME, "key", key.as_bytes()));
        Ok(Outcome::Events { lines: vec![record.finish()], ids: ids.into_iter().collect() })
    }
}

impl Supabase {
    fn column(&self, record: &mut Record, table: &Table<'_>, prefix: &str, name: &str, value: &RawValue) {
        let listed = |list: &[String]| list.iter().any(|entry| table.has(entry, name));
        if shape(value) == Shape::Null || listed(&self.config.drop_columns) {
            return;
        }
        match &self.hash_key {
            Some(key) if listed(&self.config.hash_columns) => {
                let text = scalar(value).unwrap_or_else(|| value.get().into());
                let tag = hmac::sign(key, text.as_bytes());
                let hex: String = tag.as_ref()[..HASH].iter().map(|byte| format!("{byte:02x}")).collect();
                record.named(prefix, name, &hex);
            }
            _ => _ = record.column(prefix, name, value, &self.redact),
        }
    }
}

struct Table<'a> {
    schema: &'a str,
    name: &'a str,
}

impl Table<'_> {
    /// Whether `table` or `schema.table` is this one.
    fn is(&self, entry: &str) -> bool {
        match entry.split_once('.') {
            Some((schema, name)) => schema == self.schema && name == self.name,
            None => entry == self.name,
        }
    }

    /// Whether `column`, with or without a table, is this column of it; also as
    /// it is spelt in the line, which is what whoever configures it has seen.
    fn has(&self, entry: &str, column: &str) -> bool {
        let (table, name) = entry.rsplit_once('.').map_or((None, entry), |(table, name)| (Some(table), name));
        (name == column || spelt("", name) == spelt("", column)) && table.is_none_or(|table| self.is(table))
    }
}

#[cfg(test)]
mod tests;
