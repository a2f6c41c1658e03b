//! AWS: EventBridge by an API destination, and SNS.
//!
//! A record of CloudTrail comes out as Wazuh's own module writes it, so that the
//! rules that Wazuh ships fire; any other event flat, with `source` aws.

mod cloudtrail;
pub mod sns;

use http::HeaderName;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ConfigError, Delivery, Door, Given, Id, MOST_EVENTS, Media, Outcome, Rate, Refusal, Source, media,
    secrets,
};
use crate::json::{Document, Shape, items, member, scalar, shape};
use crate::record::{Line, Record, spelt};
use crate::redact::Redact;
use crate::secret::SecretRef;
use crate::sign::{Proof, SIGNATURE_INVALID, Tokens, UNAUTHORIZED, idempotency_key};
use sns::Sns;

/// Its name.
const NAME: &str = "aws";

/// How an API destination proves who it is: what its connection is set to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// An API key: the secret in `header`.
    #[default]
    Header,
    /// Basic: `user` and the secret.
    Basic,
    /// `Authorization: Bearer` and the secret.
    Bearer,
}

/// `[aws]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it is reached, by both.
    pub paths: Vec<String>,
    /// How EventBridge proves who it is.
    pub auth: Auth,
    /// For `header`.
    pub header: String,
    /// For `basic`.
    pub user: String,
    /// EventBridge's secret; while it is changed, the former one too. With
    /// none, there is only SNS.
    pub secret_files: Vec<SecretRef>,
    /// The ARNs of the SNS topics that are taken. With none, there is only
    /// EventBridge.
    pub topics: Vec<String>,
    /// A message of SNS is good for so many seconds.
    pub sns_max_age: u64,
    /// The authorities that may vouch for SNS; empty is those of the system.
    pub sns_ca_file: String,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// How many requests are taken in a minute; 0 is no limit.
    pub requests_per_minute: u32,
    /// The same of one address.
    pub requests_per_minute_per_peer: u32,
    /// More names of secrets; what has one is written as `[redacted]`.
    pub redact: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            paths: vec!["/webhook/aws".to_owned()],
            auth: Auth::Header,
            header: "x-api-key".to_owned(),
            user: String::new(),
            secret_files: Vec::new(),
            topics: Vec::new(),
            sns_max_age: 3600,
            sns_ca_file: String::new(),
            body_limit: 1024 * 1024,
            requests_per_minute: 30_000,
            requests_per_minute_per_peer: 30_000,
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
        let error = |key, why: &str| ConfigError { source_name: NAME.to_owned(), key, why: why.to_owned() };
        let rate = Rate {
            per_minute: self.requests_per_minute,
            per_minute_per_peer: self.requests_per_minute_per_peer,
        };
        if self.secret_files.is_empty() && self.topics.is_empty() {
            return Err(error(
                "secret_files",
                "there is neither a secret for EventBridge nor a topic of SNS",
            ));
        }
        let proof = if self.secret_files.is_empty() { None } else { Some(self.proof(given)?) };
        let sns = if self.topics.is_empty() {
            None
        } else {
            let sns = Sns::new(&self.topics, self.sns_max_age, &self.sns_ca_file, given.certificates.clone());
            Some(sns.map_err(|(key, why)| error(key, &why))?)
        };
        Ok(Box::new(Aws {
            door: Door::new(NAME, &self.paths, self.body_limit, rate)?,
            proof,
            sns,
            redact: Redact::new(&self.redact),
        }))
    }

    fn proof(&self, given: &Given<'_>) -> Result<Proof, ConfigError> {
        let error = |key, why: String| ConfigError { source_name: NAME.to_owned(), key, why };
        let secrets = secrets(given, NAME, "secret_files", &self.secret_files)?;
        let tokens = |before: &str| {
            Tokens::new(secrets.iter().map(|secret| format!("{before}{}", secret.expose())))
                .map_err(|why| error("secret_files", why))
        };
        Ok(match self.auth {
            Auth::Header => {
                let header: HeaderName = self
                    .header
                    .parse()
                    .map_err(|_| error("header", format!("{:?} is no name of a header", self.header)))?;
                Proof::Header(header, tokens("")?)
            }
            Auth::Basic if self.user.is_empty() || self.user.contains(':') => {
                return Err(error("user", "is empty or has a colon".to_owned()));
            }
            Auth::Basic => Proof::Basic(tokens(&format!("{}:", self.user))?),
            Auth::Bearer => Proof::Bearer(tokens("")?),
        })
    }
}

struct Aws {
    door: Door,
    proof: Option<Proof>,
    sns: Option<Sns>,
    redact: Redact,
}

impl Source for Aws {
    fn door(&self) -> &Door {
        &self.door
    }

    fn may_wait(&self, delivery: &Delivery<'_>) -> bool {
        self.sns.is_some() && Sns::is_claimed(delivery.headers)
    }

    fn receive(&self, delivery: &Delivery<'_>) -> Result<Outcome, Refusal> {
        if Sns::is_claimed(delivery.headers) {
            let Some(sns) = &self.sns else { return Err(Refusal::Unauthorized(SIGNATURE_INVALID)) };
            return sns.receive(self, delivery);
        }
        let Some(proof) = &self.proof else { return Err(Refusal::Unauthorized(UNAUTHORIZED)) };
        proof.check(delivery.headers)?;
        if media(delivery.headers) != Media::Json {
            return Err(Refusal::UnsupportedMediaType);
        }
        let document = Document::parse(delivery.body).map_err(Refusal::BadRequest)?;
        let found = self.events(delivery, document.root(), "eventbridge")?;
        let Found { lines, mut ids } = found;
        if lines.is_empty() {
            return Ok(Outcome::Nothing("empty"));
        }
        // Each event of several has a name of its own, but they are written or
        // not written together.
        if lines.len() > 1 {
            let body = ring::digest::digest(&ring::digest::SHA256, delivery.body);
            ids = vec![Id::new(NAME, "body", body.as_ref())];
        }
        ids.extend(idempotency_key(delivery.headers).map(|key| Id::new(NAME, "key", key.as_bytes())));
        Ok(Outcome::Events { lines, ids })
    }
}

/// The lines of a body, and what its events are known by.
struct Found {
    lines: Vec<Line>,
    ids: Vec<Id>,
}

impl Aws {
    /// The events of a body: one, a list of them, or a file of CloudTrail.
    fn events(&self, delivery: &Delivery<'_>, root: &RawValue, via: &str) -> Result<Found, Refusal> {
        let mut found = Found { lines: Vec::new(), ids: Vec::new() };
        let records = member(root, "Records").filter(|records| shape(records) == Shape::List);
        let list = match shape(root) {
            Shape::List => items(root),
            Shape::Object => match records {
                Some(records) => items(records),
                None => vec![root],
            },
            _ => return Err(Refusal::BadRequest("not a JSON object".to_owned())),
        };
        if list.len() > MOST_EVENTS {
            return Err(Refusal::BadRequest(format!("more than {MOST_EVENTS} events")));
        }
        for (index, raw) in list.into_iter().enumerate() {
            if shape(raw) != Shape::Object {
                return Err(Refusal::BadRequest(format!("event {}: not an object", index + 1)));
            }
            self.event(delivery, raw, via, &mut found);
        }
        Ok(found)
    }

    fn event(&self, delivery: &Delivery<'_>, raw: &RawValue, via: &str, found: &mut Found) {
        let text = |name| member(raw, name).and_then(scalar);
        let detail = member(raw, "detail").filter(|detail| shape(detail) == Shape::Object);
        let id = text("id").unwrap_or_default();
        let mut known_by = |kind, id: &str| {
            if !id.is_empty() && id.len() <= 256 {
                found.ids.push(Id::new(NAME, kind, id.as_bytes()));
            }
        };
        if let (Some(kind), Some(detail)) = (text("detail-type"), detail) {
            known_by("event", &id);
            // The console's is spelt in more than one way before that.
            if kind.ends_with("via CloudTrail") {
                let event_id = member(detail, "eventID").and_then(scalar).unwrap_or_default();
                known_by("cloudtrail", &event_id);
                found.lines.push(cloudtrail::line(detail, delivery.now, via, &id, &self.redact));
                return;
            }
            let event = spelt("", &kind);
            let event = if event.is_empty() { "event" } else { event.as_str() };
            let mut record = Record::new(NAME, event, delivery.now);
            record.text("detail_type", &kind);
            for (key, name) in [
                ("aws_service", "source"),
                ("aws_account", "account"),
                ("aws_region", "region"),
                ("event_time", "time"),
                ("event_id", "id"),
            ] {
                record.maybe(key, text(name).as_deref());
            }
            if let Some(resources) = member(raw, "resources") {
                record.value("resources", resources, &self.redact);
            }
            record.hoist("", "detail", detail, &self.redact);
            found.lines.push(record.finish());
        } else if is_cloudtrail(raw) {
            let event_id = text("eventID").unwrap_or_default();
            known_by("cloudtrail", &event_id);
            found.lines.push(cloudtrail::line(raw, delivery.now, via, &id, &self.redact));
        } else {
            let mut record = Record::new(NAME, "event", delivery.now);
            record.hoist_all(raw, &self.redact);
            found.lines.push(record.finish());
        }
    }
}

/// A record as the files of a trail have it. What S3 and others put into
/// `Records` names a service differently.
fn is_cloudtrail(raw: &RawValue) -> bool {
    let text = |name| member(raw, name).and_then(scalar).unwrap_or_default();
    text("eventSource").ends_with(".amazonaws.com")
        && !text("eventName").is_empty()
        && !text("eventVersion").is_empty()
}

#[cfg(test)]
mod tests;
