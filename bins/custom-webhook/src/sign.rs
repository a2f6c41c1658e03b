//! How senders prove who they are. Everything is compared in constant time,
//! and with every secret, so that a rotation shows to nobody.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderName};
use ring::hmac;
use serde::Deserialize;

use crate::secret::{SHORTEST, Secret};
use crate::source::{Id, Refusal};

/// The word for a signature that is missing or wrong.
pub const SIGNATURE_INVALID: &str = "signature_invalid";
/// The word for a token or password that is missing or wrong.
pub const UNAUTHORIZED: &str = "unauthorized";
/// Of a list of signatures, no more are looked at.
const MOST_SIGNATURES: usize = 16;
/// The longest id of a delivery, in bytes.
const LONGEST_ID: usize = 256;

/// The value of a header that is there once and is plain text.
#[must_use]
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok().map(str::trim)
}

/// The id by which a sender says that it has sent this before.
#[must_use]
pub fn idempotency_key(headers: &HeaderMap) -> Option<&str> {
    header(headers, "idempotency-key").filter(|key| !key.is_empty() && key.len() <= LONGEST_ID)
}

/// Which secret it was: the same after a restart and wherever it stands in the
/// configuration, and nothing that leads back to it. Under it and the id of a
/// delivery a repeat is known, so that nobody can claim another sender's ids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mark([u8; 8]);

impl Mark {
    fn of(secret: &[u8]) -> Mark {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"custom-webhook: which secret");
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&tag.as_ref()[..8]);
        Mark(bytes)
    }

    /// The id of a delivery of this sender.
    #[must_use]
    pub fn id(self, source: &str, kind: &str, id: &[u8]) -> Id {
        Id::new(source, kind, &[&self.0, id].concat())
    }
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mark")
    }
}

/// Tokens or passwords, none of which is kept.
#[derive(Debug)]
pub struct Tokens {
    // With a key of this run only: what is compared tells nothing about them,
    // not even how long they are.
    key: hmac::Key,
    tags: Vec<(hmac::Tag, Mark)>,
}

impl Tokens {
    /// Any of these will do.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(tokens: impl IntoIterator<Item = String>) -> Result<Tokens, String> {
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| "no random numbers")?;
        let tags = tokens.into_iter().map(|token| token.into_bytes());
        let tags = tags.map(|token| (hmac::sign(&key, &token), Mark::of(&token))).collect();
        Ok(Tokens { key, tags })
    }

    /// Which of them it is.
    #[must_use]
    pub fn find(&self, presented: &[u8]) -> Option<Mark> {
        let check = |tag: &hmac::Tag| hmac::verify(&self.key, presented, tag.as_ref()).is_ok();
        self.tags.iter().fold(None, |found, (tag, mark)| if check(tag) { Some(*mark) } else { found })
    }
}

/// A proof that does not depend on the body.
#[derive(Debug)]
pub enum Proof {
    /// `Authorization: Bearer …`.
    Bearer(Tokens),
    /// `Authorization: Basic …`, name and password together.
    Basic(Tokens),
    /// A header of the sender's own.
    Header(HeaderName, Tokens),
}

impl Proof {
    /// Checks it; which of the secrets it was.
    ///
    /// # Errors
    /// When it is missing or wrong.
    pub fn check(&self, headers: &HeaderMap) -> Result<Mark, Refusal> {
        let found = match self {
            Proof::Bearer(tokens) => {
                credentials(headers, "bearer").and_then(|token| tokens.find(token.as_bytes()))
            }
            Proof::Basic(tokens) => credentials(headers, "basic")
                .and_then(|encoded| STANDARD.decode(encoded).ok())
                .and_then(|pair| tokens.find(&pair)),
            Proof::Header(name, tokens) => {
                header(headers, name.as_str()).and_then(|value| tokens.find(value.as_bytes()))
            }
        };
        found.ok_or(Refusal::Unauthorized(UNAUTHORIZED))
    }
}

/// What comes after the scheme in `Authorization`.
fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (found, rest) = header(headers, "authorization")?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// What a signature is made with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// HMAC-SHA-1, for senders that have nothing else.
    Sha1,
    /// HMAC-SHA-256.
    #[default]
    Sha256,
    /// HMAC-SHA-384.
    Sha384,
    /// HMAC-SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Two digits a byte.
    #[default]
    Hex,
    /// With or without padding.
    Base64,
}

impl Encoding {
    /// The bytes of a signature.
    #[must_use]
    pub fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Encoding::Hex => unhex(text),
            Encoding::Base64 => STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok(),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Keys of signatures, any of which will do.
#[derive(Debug)]
pub struct Keys(Vec<(hmac::Key, Mark)>);

impl Keys {
    /// The secrets as they are, as most senders use them.
    #[must_use]
    pub fn new(algorithm: Algorithm, secrets: &[Secret]) -> Keys {
        Keys::of_bytes(algorithm, secrets.iter().map(|secret| secret.expose().as_bytes()))
    }

    fn of_bytes<'k>(algorithm: Algorithm, keys: impl Iterator<Item = &'k [u8]>) -> Keys {
        let algorithm = match algorithm {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha384 => hmac::HMAC_SHA384,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        };
        Keys(keys.map(|key| (hmac::Key::new(algorithm, key), Mark::of(key))).collect())
    }

    /// True when one of them made this signature of these bytes.
    #[must_use]
    pub fn signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        !self.signers(bytes, &[signature]).is_empty()
    }

    /// All of them that made one of these signatures of these bytes, each once.
    /// The bytes are gone through once for each key, however many signatures
    /// there are.
    #[must_use]
    pub fn signers<S: AsRef<[u8]>>(&self, bytes: &[u8], signatures: &[S]) -> Vec<Mark> {
        let mut marks = Vec::new();
        for (key, mark) in &self.0 {
            // What is compared is made anew with the key of both, so that how
            // long it takes says nothing about either.
            let right = hmac::sign(key, bytes);
            let same =
                |signature: &[u8]| hmac::verify(key, signature, hmac::sign(key, right.as_ref()).as_ref());
            let made =
                signatures.iter().fold(false, |found, signature| found | same(signature.as_ref()).is_ok());
            if made && !marks.contains(mark) {
                marks.push(*mark);
            }
        }
        marks
    }
}

/// The signatures of Standard Webhooks: `webhook-id`, `webhook-timestamp` and
/// `webhook-signature`.
#[derive(Debug)]
pub struct StandardWebhooks {
    keys: Keys,
    tolerance: Duration,
}

impl StandardWebhooks {
    /// A secret that begins with `whsec_` is base64 behind it; any other one is
    /// the key itself.
    ///
    /// # Errors
    /// When one of them is not base64 where it should be, or short.
    pub fn new(secrets: &[Secret], tolerance: Duration) -> Result<StandardWebhooks, String> {
        let mut keys = Vec::new();
        for secret in secrets {
            keys.push(match secret.expose().strip_prefix("whsec_") {
                Some(encoded) => Encoding::Base64.decode(encoded).ok_or("behind whsec_ is no base64")?,
                None => secret.expose().as_bytes().to_vec(),
            });
        }
        if keys.iter().any(|key| key.len() < SHORTEST) {
            return Err(format!("behind whsec_ are fewer than {SHORTEST} bytes"));
        }
        let keys = Keys::of_bytes(Algorithm::Sha256, keys.iter().map(Vec::as_slice));
        Ok(StandardWebhooks { keys, tolerance })
    }

    /// True when a request claims to be signed so.
    #[must_use]
    pub fn is_claimed(headers: &HeaderMap) -> bool {
        headers.contains_key("webhook-signature")
    }

    /// Checks a request; the id that it was sent with, and whose signatures it
    /// has: of each of them it is to be known, because anybody can leave one out.
    ///
    /// # Errors
    /// When the signature is missing or wrong, or of another time.
    pub fn check<'a>(
        &self,
        headers: &'a HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(&'a str, Vec<Mark>), Refusal> {
        let wrong = Refusal::Unauthorized(SIGNATURE_INVALID);
        let parts = (|| {
            let id = header(headers, "webhook-id").filter(|id| !id.is_empty() && id.len() <= LONGEST_ID)?;
            let at = header(headers, "webhook-timestamp")?;
            Some((id, at, header(headers, "webhook-signature")?))
        })();
        let (id, at, signatures) = parts.ok_or(wrong.clone())?;
        let signed = [id.as_bytes(), b".", at.as_bytes(), b".", body].concat();
        let signatures: Vec<Vec<u8>> = signatures
            .split(' ')
            .filter_map(|signature| signature.strip_prefix("v1,"))
            .take(MOST_SIGNATURES)
            .filter_map(|signature| Encoding::Base64.decode(signature))
            .collect();
        let signers = self.keys.signers(&signed, &signatures);
        if signers.is_empty() {
            return Err(wrong);
        }
        // Only of who has the secret it is said that it was long ago.
        let at = at.parse().map_err(|_| wrong)?;
        if near(UNIX_EPOCH.checked_add(Duration::from_secs(at)), now, self.tolerance, self.tolerance) {
            Ok((id, signers))
        } else {
            Err(Refusal::Stale)
        }
    }
}

/// True of a time that is at most so long ago, or so far ahead.
#[must_use]
pub fn near(time: Option<SystemTime>, now: SystemTime, ago: Duration, ahead: Duration) -> bool {
    time.is_some_and(|time| match now.duration_since(time) {
        Ok(passed) => passed <= ago,
        Err(early) => early.duration() <= ahead,
    })
}

#[cfg(test)]
mod tests;
