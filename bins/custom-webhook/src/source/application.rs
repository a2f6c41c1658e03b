//! Events of applications: logins, requests, scans, what administrators do, and
//! what the application itself takes for an attack.
//!
//! An application that has proved who it is is believed: where its user came
//! from (`ip_address`) and who that was (`user`) become `srcip` and `dstuser`,
//! on which rules count and an active response may block.

mod event;

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::origin::{client, is_in};
use super::{
    ConfigError, Delivery, Door, Given, Id, Media, Outcome, Rate, Refusal, Source, media, secrets, several,
};
use crate::redact::Redact;
use crate::secret::SecretRef;
use crate::sign::{Proof, SIGNATURE_INVALID, StandardWebhooks, Tokens, idempotency_key};

/// Its name.
const NAME: &str = "application";

/// `[application]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it is reached.
    pub paths: Vec<String>,
    /// Secrets of Standard Webhooks' signatures; while one is changed, the
    /// former one too. With none, nobody can sign.
    pub secret_files: Vec<SecretRef>,
    /// Bearer tokens, one of each application. With none, nobody can use one.
    pub token_files: Vec<SecretRef>,
    /// A signature is good for so many seconds, and that long ahead.
    pub tolerance: u64,
    /// Whoever sends is the client itself, as a browser is: an event that has
    /// no address member at all has the address that a trusted proxy names.
    pub client_address: bool,
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
            paths: vec!["/events".to_owned(), "/api/wazuh/log".to_owned()],
            secret_files: Vec::new(),
            token_files: Vec::new(),
            tolerance: 300,
            client_address: false,
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
        let error = |key, why: String| ConfigError { source_name: NAME.to_owned(), key, why };
        let rate = Rate {
            per_minute: self.requests_per_minute,
            per_minute_per_peer: self.requests_per_minute_per_peer,
        };
        if self.tolerance == 0 || self.tolerance > 3600 {
            return Err(error("tolerance", "must be between 1 and 3600 seconds".to_owned()));
        }
        let signatures = if self.secret_files.is_empty() {
            None
        } else {
            let secrets = secrets(given, NAME, "secret_files", &self.secret_files)?;
            let scheme = StandardWebhooks::new(&secrets, Duration::from_secs(self.tolerance));
            Some(scheme.map_err(|why| error("secret_files", why))?)
        };
        let tokens = if self.token_files.is_empty() {
            None
        } else {
            let tokens = secrets(given, NAME, "token_files", &self.token_files)?;
            let tokens = Tokens::new(tokens.iter().map(|token| token.expose().to_owned()));
            Some(Proof::Bearer(tokens.map_err(|why| error("token_files", why))?))
        };
        if signatures.is_none() && tokens.is_none() {
            return Err(error("secret_files", "there is neither a secret nor a token".to_owned()));
        }
        Ok(Box::new(Application {
            door: Door::new(NAME, &self.paths, self.body_limit, rate)?,
            signatures,
            tokens,
            client_address: self.client_address,
            proxies: given.proxies.to_vec(),
            redact: Redact::new(&self.redact),
        }))
    }
}

struct Application {
    door: Door,
    signatures: Option<StandardWebhooks>,
    tokens: Option<Proof>,
    client_address: bool,
    proxies: Vec<IpNet>,
    redact: Redact,
}

impl Application {
    /// Checks the sender; the ids under which a repeat is known. They are its
    /// own: what one application calls its events says nothing of another's.
    fn admit(&self, delivery: &Delivery<'_>) -> Result<Vec<Id>, Refusal> {
        if let Some(signatures) = &self.signatures
            && StandardWebhooks::is_claimed(delivery.headers)
        {
            let (id, signers) = signatures.check(delivery.headers, delivery.body, delivery.now)?;
            return Ok(signers.iter().map(|mark| mark.id(NAME, "webhook-id", id.as_bytes())).collect());
        }
        let Some(tokens) = &self.tokens else { return Err(Refusal::Unauthorized(SIGNATURE_INVALID)) };
        let mark = tokens.check(delivery.headers)?;
        let key = idempotency_key(delivery.headers);
        Ok(key.map(|key| mark.id(NAME, "key", key.as_bytes())).into_iter().collect())
    }
}

impl Source for Application {
    fn door(&self) -> &Door {
        &self.door
    }

    fn receive(&self, delivery: &Delivery<'_>) -> Result<Outcome, Refusal> {
        let ids = self.admit(delivery)?;
        if !matches!(media(delivery.headers), Media::Json | Media::Lines) {
            return Err(Refusal::UnsupportedMediaType);
        }
        let text: Cow<'_, str> = String::from_utf8_lossy(delivery.body);
        let events = several(&text)?;
        let client = self.client(delivery);
        let mut lines = Vec::with_capacity(events.len());
        for (index, raw) in events.iter().enumerate() {
            let wrong = |why: &str| Refusal::BadRequest(format!("event {}: {why}", index + 1));
            let event = event::Event::read(raw).map_err(wrong)?;
            lines.push(event.line(delivery.now, client, &self.proxies, &self.redact));
        }
        if lines.is_empty() {
            return Ok(Outcome::Nothing("empty"));
        }
        Ok(Outcome::Events { lines, ids })
    }
}

impl Application {
    /// Where the request came from, as proxies that we trust say, if that is
    /// the client; nobody, when there is none between us. Of an application's
    /// server it would be the server, which no attacker shall have blocked.
    fn client(&self, delivery: &Delivery<'_>) -> Option<IpAddr> {
        if !self.client_address || !is_in(&self.proxies, delivery.peer) {
            return None;
        }
        let client = client(delivery.peer, delivery.headers, &self.proxies);
        (!is_in(&self.proxies, client)).then_some(client)
    }
}

#[cfg(test)]
mod tests;
