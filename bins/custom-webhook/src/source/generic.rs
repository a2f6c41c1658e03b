//! Any other sender that posts JSON: Wazuh's own notifications, monitors, other
//! products. What it is called, how it proves who it is, and which of its values
//! become which fields is configured.

use std::collections::BTreeMap;

use http::HeaderName;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::origin::{account, parse};
use super::{
    ConfigError, Delivery, Door, Given, Id, Media, Outcome, Rate, Refusal, Source, media, secrets, several,
};
use crate::json::{Picker, Shape, clean, scalar, shape};
use crate::record::{LONGEST, Line, Record, is_fixed, is_taken, spelt};
use crate::redact::Redact;
use crate::secret::SecretRef;
use crate::sign::{
    Algorithm, Encoding, Keys, Mark, Proof, SIGNATURE_INVALID, Tokens, header, idempotency_key,
};

/// Names that rules know as something else.
const RESERVED: [&str; 5] = ["github", "application", "supabase", "aws", "custom-webhook"];
/// The longest name, in bytes.
const LONGEST_NAME: usize = 40;
/// The most fields that can be chosen.
const MOST_FIELDS: usize = 190;

/// How a sender proves who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// `Authorization: Bearer` and the secret.
    #[default]
    Bearer,
    /// `Authorization: Basic`, with `user` and the secret.
    Basic,
    /// The secret in `header`.
    Header,
    /// A signature of the body in `header`.
    Hmac,
}

/// `[[generic]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Stands in each line as `source`.
    pub name: String,
    /// Where it is reached.
    pub paths: Vec<String>,
    /// How the sender proves who it is.
    pub auth: Auth,
    /// For `basic`.
    pub user: String,
    /// For `header` and `hmac`.
    pub header: String,
    /// What stands before the signature: `sha256=`.
    pub prefix: String,
    /// What the signature is made with.
    pub algorithm: Algorithm,
    /// How it is written.
    pub encoding: Encoding,
    /// The secret; while it is changed, the former one too.
    pub secret_files: Vec<SecretRef>,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// How many requests are taken in a minute; 0 is no limit.
    pub requests_per_minute: u32,
    /// The same of one address.
    pub requests_per_minute_per_peer: u32,
    /// Stands in each line as `event`, unless one of the next two has something.
    pub event: String,
    /// Where the event's name is in the body.
    pub event_path: String,
    /// The header that has it.
    pub event_header: String,
    /// The header that has an id, under which a repeat is known.
    pub id_header: String,
    /// The same body once more is a repeat; with `hmac` it always is, because
    /// nothing else is signed.
    pub equal_is_repeat: bool,
    /// Fields and the paths of their values; empty is everything, flat.
    pub fields: BTreeMap<String, String>,
    /// The same for the fields that have a meaning for Wazuh.
    #[serde(rename = "static")]
    pub fixed: BTreeMap<String, String>,
    /// A body that is no JSON becomes the field `message`.
    pub plain_text: bool,
    /// More names of secrets; what has one is written as `[redacted]`.
    pub redact: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            name: String::new(),
            paths: Vec::new(),
            auth: Auth::Bearer,
            user: String::new(),
            header: String::new(),
            prefix: String::new(),
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            secret_files: Vec::new(),
            body_limit: 1024 * 1024,
            requests_per_minute: 6000,
            requests_per_minute_per_peer: 6000,
            event: "event".to_owned(),
            event_path: String::new(),
            event_header: String::new(),
            id_header: String::new(),
            equal_is_repeat: false,
            fields: BTreeMap::new(),
            fixed: BTreeMap::new(),
            plain_text: false,
            redact: Vec::new(),
        }
    }
}

impl Config {
    fn error(&self, key: &'static str, why: impl Into<String>) -> ConfigError {
        let name = if self.name.is_empty() { "generic" } else { &self.name };
        ConfigError { source_name: name.to_owned(), key, why: why.into() }
    }

    /// Checks it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn compile(&self, given: &Given<'_>) -> Result<Box<dyn Source>, ConfigError> {
        let good =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if self.name.is_empty() || self.name.len() > LONGEST_NAME || !self.name.bytes().all(good) {
            return Err(self.error("name", "must be of a-z, 0-9, - and _"));
        }
        if RESERVED.contains(&self.name.as_str()) {
            return Err(self.error("name", "is another source's"));
        }
        self.check_fields()?;
        let rate = Rate {
            per_minute: self.requests_per_minute,
            per_minute_per_peer: self.requests_per_minute_per_peer,
        };
        let paths = self.fields.values().chain(self.fixed.values()).chain([&self.event_path]);
        let paths = paths.map(|path| if path.is_empty() { "event" } else { path.as_str() });
        Ok(Box::new(Generic {
            door: Door::new(&self.name, &self.paths, self.body_limit, rate)?,
            check: self.check(given)?,
            redact: Redact::new(&self.redact),
            picker: Picker::new(paths).map_err(|why| self.error("fields", why))?,
            config: self.clone(),
        }))
    }

    fn check_fields(&self) -> Result<(), ConfigError> {
        if self.fields.len() + self.fixed.len() > MOST_FIELDS {
            return Err(self.error("fields", format!("more than {MOST_FIELDS}")));
        }
        for key in self.fields.keys() {
            if is_fixed(key) {
                return Err(
                    self.error("fields", format!("{key} has a meaning for Wazuh: it belongs into static"))
                );
            }
            if is_taken(key) || spelt("", key) != *key {
                return Err(self.error("fields", format!("{key:?} is no name of a field, or another's")));
            }
        }
        if let Some(key) = self.fixed.keys().find(|key| !is_fixed(key)) {
            return Err(
                self.error("static", format!("{key:?} has no meaning for Wazuh: it belongs into fields"))
            );
        }
        if self.fixed.contains_key("user") && self.fixed.contains_key("dstuser") {
            return Err(self.error("static", "user and dstuser are one field"));
        }
        if spelt("", &self.event).is_empty() {
            return Err(self.error("event", "is empty"));
        }
        Ok(())
    }

    fn check(&self, given: &Given<'_>) -> Result<Check, ConfigError> {
        let secrets = secrets(given, &self.name, "secret_files", &self.secret_files)?;
        let header = || -> Result<HeaderName, ConfigError> {
            self.header
                .parse()
                .map_err(|_| self.error("header", format!("{:?} is no header's name", self.header)))
        };
        let tokens = |before: &str| {
            Tokens::new(secrets.iter().map(|secret| format!("{before}{}", secret.expose())))
                .map_err(|why| self.error("secret_files", why))
        };
        Ok(match self.auth {
            Auth::Bearer => Check::Proof(Proof::Bearer(tokens("")?)),
            Auth::Basic if self.user.is_empty() || self.user.contains(':') => {
                return Err(self.error("user", "is empty or has a colon"));
            }
            Auth::Basic => Check::Proof(Proof::Basic(tokens(&format!("{}:", self.user))?)),
            Auth::Header => Check::Proof(Proof::Header(header()?, tokens("")?)),
            Auth::Hmac => Check::Signature(header()?, Keys::new(self.algorithm, &secrets)),
        })
    }
}

enum Check {
    Proof(Proof),
    Signature(HeaderName, Keys),
}

struct Generic {
    door: Door,
    check: Check,
    redact: Redact,
    /// The fields, then the static ones, then the event's name.
    picker: Picker,
    config: Config,
}

impl Source for Generic {
    fn door(&self) -> &Door {
        &self.door
    }

    fn receive(&self, delivery: &Delivery<'_>) -> Result<Outcome, Refusal> {
        let mark = self.admit(delivery)?;
        if !matches!(media(delivery.headers), Media::Json | Media::Lines | Media::Text) {
            return Err(Refusal::UnsupportedMediaType);
        }
        let text = String::from_utf8_lossy(delivery.body);
        let lines: Vec<Line> = match several(&text) {
            Ok(events) => events.iter().map(|raw| self.line(delivery, raw)).collect(),
            Err(_) if self.config.plain_text && !text.trim().is_empty() => {
                let mut record = Record::new(&self.config.name, &self.event(delivery, None), delivery.now);
                record.text("message", &clean(text.trim(), &self.redact, LONGEST));
                vec![record.finish()]
            }
            Err(why) => return Err(why),
        };
        if lines.is_empty() {
            return Ok(Outcome::Nothing("empty"));
        }
        Ok(Outcome::Events { lines, ids: self.ids(delivery, mark) })
    }
}

impl Generic {
    /// Checks the sender; which of the secrets it has.
    fn admit(&self, delivery: &Delivery<'_>) -> Result<Mark, Refusal> {
        match &self.check {
            Check::Proof(proof) => proof.check(delivery.headers),
            Check::Signature(name, keys) => {
                let signature = header(delivery.headers, name.as_str())
                    .and_then(|value| value.strip_prefix(self.config.prefix.as_str()))
                    .and_then(|text| self.config.encoding.decode(text));
                let signer = signature.and_then(|signature| keys.signers(delivery.body, &[signature]).pop());
                signer.ok_or(Refusal::Unauthorized(SIGNATURE_INVALID))
            }
        }
    }

    fn ids(&self, delivery: &Delivery<'_>, mark: Mark) -> Vec<Id> {
        let mut ids = Vec::new();
        let name = &self.config.name;
        let mut known_by = |kind, id: &[u8]| ids.push(mark.id(name, kind, id));
        // Who sends a signed body once more can put any id before it.
        if self.config.equal_is_repeat || matches!(self.check, Check::Signature(..)) {
            let body = ring::digest::digest(&ring::digest::SHA256, delivery.body);
            known_by("body", body.as_ref());
        }
        if let Some(key) = idempotency_key(delivery.headers) {
            known_by("key", key.as_bytes());
        }
        if !self.config.id_header.is_empty()
            && let Some(id) = header(delivery.headers, &self.config.id_header).filter(|id| !id.is_empty())
        {
            known_by("id", id.as_bytes());
        }
        ids
    }

    fn event(&self, delivery: &Delivery<'_>, found: Option<&RawValue>) -> String {
        let sent = found.filter(|_| !self.config.event_path.is_empty()).and_then(scalar);
        let sent = sent.map(|name| spelt("", &name)).filter(|name| !name.is_empty());
        let header = || {
            let name = Some(&self.config.event_header).filter(|name| !name.is_empty())?;
            Some(spelt("", header(delivery.headers, name)?)).filter(|name| !name.is_empty())
        };
        sent.or_else(header).unwrap_or_else(|| spelt("", &self.config.event))
    }

    fn line(&self, delivery: &Delivery<'_>, raw: &RawValue) -> Line {
        let config = &self.config;
        let found = self.picker.pick_from(raw);
        let event = self.event(delivery, found.last().copied().flatten());
        let mut record = Record::new(&config.name, &event, delivery.now);
        let fixed = config.fixed.keys().zip(&found[config.fields.len()..]);
        for (key, raw) in fixed {
            let text = raw.and_then(scalar).unwrap_or_default();
            match key.as_str() {
                // Active responses compare and block these.
                "srcip" | "dstip" => {
                    if let Some(address) = parse(&text) {
                        record.address(key, address);
                    }
                }
                "srcuser" | "dstuser" | "user" => _ = record.text(key, &account(&text)),
                _ => _ = record.text(key, &clean(&text, &self.redact, LONGEST)),
            }
        }
        for (key, raw) in config.fields.keys().zip(&found) {
            if let Some(raw) = raw {
                record.value(key, raw, &self.redact);
            }
        }
        if config.fields.is_empty() {
            match shape(raw) {
                Shape::Object => _ = record.hoist_all(raw, &self.redact),
                _ => _ = record.hoist("", "value", raw, &self.redact),
            }
        }
        record.finish()
    }
}

#[cfg(test)]
mod tests;
