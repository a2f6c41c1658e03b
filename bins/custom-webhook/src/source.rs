//! Where events come from: whether a request is authentic, and what it becomes.
//!
//! A source is pure: headers, a body and the time in, lines out. It opens no
//! connection and writes nothing; the one exception is a certificate of Amazon
//! SNS, for which it asks [`Certificates`].

pub mod application;
pub mod aws;
pub mod generic;
pub mod github;
pub(crate) mod origin;
pub mod supabase;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use ipnet::IpNet;
use serde_json::value::RawValue;

use crate::json::{Shape, shape};
pub use crate::record::Line;
use crate::secret::{Secret, SecretError, SecretRef};

/// The most events of one delivery.
pub const MOST_EVENTS: usize = 1000;
/// The most names under which one delivery is known.
pub const MOST_IDS: usize = 8;

/// No source takes more than this, in bytes.
pub const LARGEST_BODY: usize = 64 * 1024 * 1024;
/// Two are enough for a rotation.
const MOST_SECRETS: usize = 8;

/// A request, its body whole and within the source's limit.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// All of them.
    pub headers: &'a HeaderMap,
    /// As it came, which is what is signed.
    pub body: &'a [u8],
    /// Who is at the other end of the connection.
    pub peer: IpAddr,
    /// When it was received.
    pub now: SystemTime,
}

/// Under it a repeat is known: it is made of what kind it is, the source's name,
/// and the id that the sender gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// The id that a sender gave its delivery.
    #[must_use]
    pub fn new(source: &str, kind: &str, id: &[u8]) -> Id {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        // With their lengths, so that no two of them run into one.
        for part in [kind.as_bytes(), source.as_bytes(), id] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finish().as_ref()[..16]);
        bytes[..4].copy_from_slice(&crc32fast::hash(source.as_bytes()).to_le_bytes());
        Id(bytes)
    }

    /// What all ids of one source begin with: who has brought how many.
    #[must_use]
    pub fn source(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }

    /// As they are kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// As they were kept.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Id {
        Id(bytes)
    }
}

/// What becomes of an authentic request.
#[derive(Debug)]
pub enum Outcome {
    /// All lines are written before the answer; if one of the ids is known, it
    /// is a repeat, which is answered alike and not written.
    Events {
        /// At most [`MOST_EVENTS`]; none where the delivery is not wanted, and
        /// only has to be known from now on.
        lines: Vec<Line>,
        /// At most [`MOST_IDS`].
        ids: Vec<Id>,
    },
    /// Authentic, but nothing to write; counted under this word.
    Nothing(&'static str),
    /// A subscription that is wanted: a GET of the URL, which was checked,
    /// confirms it. Then the lines are written.
    Confirm {
        /// At `sns.<region>.amazonaws.com`.
        url: String,
        /// As of events.
        lines: Vec<Line>,
        /// As of events.
        ids: Vec<Id>,
    },
}

/// Why nothing is taken of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 401, without detail: `signature_invalid` or `unauthorized`, the event
    /// that is written of it.
    Unauthorized(&'static str),
    /// 401: signed properly, but at another time.
    Stale,
    /// 400. The text is for the sender, who is authentic.
    BadRequest(String),
    /// 415.
    UnsupportedMediaType,
    /// 403.
    Forbidden(&'static str),
    /// 503: come again.
    Unavailable(String),
}

/// How many requests are taken in a minute; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Of everybody together.
    pub per_minute: u32,
    /// Of one address.
    pub per_minute_per_peer: u32,
}

/// What all sources have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// In metrics, in the ids, and in the lines of generic sources.
    pub name: String,
    /// Each begins with a slash.
    pub paths: Vec<String>,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// How many requests.
    pub rate: Rate,
}

impl Door {
    /// Checks what all sources have in their tables.
    pub(crate) fn new(
        name: &str,
        paths: &[String],
        body_limit: usize,
        rate: Rate,
    ) -> Result<Door, ConfigError> {
        let error = |key, why: String| Err(ConfigError { source_name: name.to_owned(), key, why });
        let plain = |path: &str| {
            path.starts_with('/')
                && path.len() <= 200
                && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\"<>\\{}|^`".contains(&byte))
        };
        if paths.is_empty() {
            return error("paths", "there is none".to_owned());
        }
        if let Some(path) = paths.iter().find(|path| !plain(path)) {
            return error("paths", format!("{path:?} is no path such as /webhook/{name}"));
        }
        if body_limit == 0 || body_limit > LARGEST_BODY {
            return error("body_limit", format!("must be between 1 and {LARGEST_BODY}"));
        }
        Ok(Door { name: name.to_owned(), paths: paths.to_vec(), body_limit, rate })
    }
}

/// Reads secrets; there is at least one.
pub(crate) fn secrets(
    given: &Given<'_>,
    name: &str,
    key: &'static str,
    references: &[SecretRef],
) -> Result<Vec<Secret>, ConfigError> {
    let error = |why: String| ConfigError { source_name: name.to_owned(), key, why };
    if references.is_empty() || references.len() > MOST_SECRETS {
        return Err(error(format!("must name between 1 and {MOST_SECRETS} secrets")));
    }
    references
        .iter()
        .map(|reference| (given.secrets)(reference).map_err(|why| error(why.to_string())))
        .collect()
}

/// What a body is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// JSON of some kind, or nothing was said.
    Json,
    /// One JSON value a line.
    Lines,
    /// A form.
    Form,
    /// Plain text.
    Text,
    /// Anything else.
    Other,
}

pub(crate) fn media(headers: &HeaderMap) -> Media {
    let Some(value) = headers.get(http::header::CONTENT_TYPE) else { return Media::Json };
    let value = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default();
    match value.trim().to_ascii_lowercase().as_str() {
        "application/json" | "text/json" | "" => Media::Json,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Media::Lines
        }
        "application/x-www-form-urlencoded" => Media::Form,
        "text/plain" => Media::Text,
        other if other.starts_with("application/") && other.ends_with("+json") => Media::Json,
        _ => Media::Other,
    }
}

/// The events of a body: one, a list of them, or one a line.
pub(crate) fn several(text: &str) -> Result<Vec<&RawValue>, Refusal> {
    let many = || Refusal::BadRequest(format!("more than {MOST_EVENTS} events"));
    let mut events = Vec::new();
    for (index, value) in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>().enumerate() {
        let raw = value.map_err(|why| Refusal::BadRequest(format!("not JSON: {why}")))?;
        match shape(raw) {
            Shape::Object => events.push(raw),
            // A list is the whole body.
            Shape::List if index == 0 => {
                let list: Vec<&RawValue> = serde_json::from_str(text)
                    .map_err(|why| Refusal::BadRequest(format!("not JSON: {why}")))?;
                if list.len() > MOST_EVENTS {
                    return Err(many());
                }
                return Ok(list);
            }
            _ => return Err(Refusal::BadRequest(format!("event {}: not an object", index + 1))),
        }
        if events.len() > MOST_EVENTS {
            return Err(many());
        }
    }
    Ok(events)
}

/// One kind of sender.
pub trait Source: Send + Sync {
    /// What all sources have.
    fn door(&self) -> &Door;

    /// Says whether it is authentic, and what becomes of it. Only POST requests
    /// are handed in.
    ///
    /// # Errors
    /// When nothing is taken.
    fn receive(&self, delivery: &Delivery<'_>) -> Result<Outcome, Refusal>;

    /// True when [`Source::receive`] may wait for somebody else.
    fn may_wait(&self, _delivery: &Delivery<'_>) -> bool {
        false
    }

    /// What in its configuration is allowed, and will hardly be meant.
    fn doubts(&self) -> Vec<String> {
        Vec::new()
    }

    /// In metrics, in the ids, and in the lines of generic sources.
    fn name(&self) -> &str {
        &self.door().name
    }

    /// Where it is reached.
    fn paths(&self) -> &[String] {
        &self.door().paths
    }

    /// The largest body, in bytes.
    fn body_limit(&self) -> usize {
        self.door().body_limit
    }

    /// How many requests.
    fn rate(&self) -> Rate {
        self.door().rate
    }
}

/// Certificates that are on the web.
pub trait Certificates: Send + Sync {
    /// The body of a URL that was checked: PEM of `https://sns.<region>.amazonaws.com/….pem`,
    /// or DER of an issuer at `http://….amazontrust.com/….cer`. At most 64 KiB
    /// are worth having, and no redirect.
    ///
    /// # Errors
    /// When it cannot be had.
    fn get(&self, url: &str) -> Result<Arc<[u8]>, String>;
}

/// Where there are none.
#[derive(Debug, Clone, Copy)]
pub struct NoCertificates;

impl Certificates for NoCertificates {
    fn get(&self, url: &str) -> Result<Arc<[u8]>, String> {
        Err(format!("{url}: nothing is fetched"))
    }
}

/// What a source is made with, besides its own configuration.
#[derive(Clone)]
pub struct Given<'a> {
    /// Reads a secret.
    pub secrets: &'a dyn Fn(&SecretRef) -> Result<Secret, SecretError>,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub proxies: &'a [IpNet],
    /// For Amazon SNS.
    pub certificates: Arc<dyn Certificates>,
}

impl fmt::Debug for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

/// What is wrong with the configuration of a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}: {key}: {why}")]
pub struct ConfigError {
    /// The table.
    pub source_name: String,
    /// In it.
    pub key: &'static str,
    /// In words.
    pub why: String,
}
