//! Messages of Amazon SNS, which are signed with a certificate that is on the
//! web. Who sends them could name any certificate, so where it is, what it is
//! called and who vouches for it is checked; and anybody has topics of SNS, so
//! only those that are configured are taken.

mod certificate;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};

use super::{Aws, Found, NAME};
use crate::faults::OURSELVES;
use crate::json::{Document, Picker, Shape, clean, scalar, shape};
use crate::record::{LONGEST, Line, Record};
use crate::sign::{SIGNATURE_INVALID, header, near};
use crate::source::{Certificates, Delivery, Id, Outcome, Refusal};
use certificate::Trust;

/// The header that every message has.
const KIND: &str = "x-amz-sns-message-type";
/// The members of a message, in the order of [`Message`].
const MEMBERS: [&str; 11] = [
    "Type",
    "MessageId",
    "TopicArn",
    "Subject",
    "Message",
    "Timestamp",
    "SignatureVersion",
    "Signature",
    "SigningCertURL",
    "SubscribeURL",
    "Token",
];
/// The longest message, in bytes: SNS takes 256 KiB, which are twice as many where
/// each is a quotation mark, and its own members.
const LARGEST: usize = 560_000;
/// The clocks of two hosts may differ by this.
const AHEAD: Duration = Duration::from_secs(300);

/// What is needed to believe a message.
pub(super) struct Sns {
    topics: BTreeSet<String>,
    max_age: Duration,
    trust: Trust,
    certificates: Arc<dyn Certificates>,
    picker: Picker,
}

/// A message as it came.
struct Message {
    kind: String,
    id: String,
    topic: String,
    subject: Option<String>,
    text: String,
    time: String,
    version: String,
    signature: String,
    certificate: String,
    subscribe: Option<String>,
    token: Option<String>,
}

impl Message {
    /// Reads one, in one pass where nothing is odd about it.
    fn read(picker: &Picker, body: &[u8]) -> Option<Message> {
        let document;
        let found = match picker.pick(body) {
            Ok(found) => found,
            Err(_) => {
                document = Document::parse(body).ok()?;
                picker.pick_from(document.root())
            }
        };
        let mut found = found.into_iter().map(|raw| raw.and_then(scalar).map(String::from));
        let mut next = || found.next().flatten();
        Some(Message {
            kind: next()?,
            id: next()?,
            topic: next()?,
            subject: next(),
            text: next()?,
            time: next()?,
            version: next()?,
            signature: next()?,
            certificate: next()?,
            subscribe: next(),
            token: next(),
        })
    }

    /// What is signed: names and values, a line each, in the order of bytes.
    fn signed(&self) -> Option<String> {
        let mut pairs = vec![("Message", self.text.as_str()), ("MessageId", &self.id)];
        match self.kind.as_str() {
            "Notification" => pairs.extend(self.subject.as_deref().map(|subject| ("Subject", subject))),
            _ => pairs.push(("SubscribeURL", self.subscribe.as_deref()?)),
        }
        pairs.push(("Timestamp", &self.time));
        if self.kind != "Notification" {
            pairs.push(("Token", self.token.as_deref()?));
        }
        pairs.extend([("TopicArn", self.topic.as_str()), ("Type", &self.kind)]);
        Some(pairs.into_iter().flat_map(|(name, value)| [name, "\n", value, "\n"]).collect())
    }
}

impl Sns {
    /// For these topics.
    pub(super) fn new(
        topics: &[String],
        max_age: u64,
        ca_file: &str,
        certificates: Arc<dyn Certificates>,
    ) -> Result<Sns, (&'static str, String)> {
        if let Some(topic) = topics.iter().find(|topic| region_of(topic).is_none()) {
            return Err(("topics", format!("{topic:?} is no ARN of a topic")));
        }
        if max_age == 0 || max_age > 24 * 3600 {
            return Err(("sns_max_age", "must be between 1 and 86400 seconds".to_owned()));
        }
        Ok(Sns {
            topics: topics.iter().cloned().collect(),
            max_age: Duration::from_secs(max_age),
            trust: Trust::load(ca_file).map_err(|why| ("sns_ca_file", why))?,
            certificates,
            picker: Picker::new(MEMBERS).map_err(|why| ("topics", why))?,
        })
    }

    /// True of a request that says it comes from SNS.
    pub(super) fn is_claimed(headers: &HeaderMap) -> bool {
        headers.contains_key(KIND)
    }

    /// Checks a message, and says what becomes of it.
    pub(super) fn receive(&self, aws: &Aws, delivery: &Delivery<'_>) -> Result<Outcome, Refusal> {
        let wrong = || Refusal::Unauthorized(SIGNATURE_INVALID);
        // Then the envelope is missing, and the signature with it.
        if header(delivery.headers, "x-amz-sns-rawdelivery")
            .is_some_and(|raw| raw.eq_ignore_ascii_case("true"))
        {
            return Err(Refusal::Forbidden("raw_delivery"));
        }
        if delivery.body.len() > LARGEST {
            return Err(wrong());
        }
        let message = Message::read(&self.picker, delivery.body).ok_or_else(wrong)?;
        // First what costs nothing: only messages of our topics have us fetch
        // anything. Which those are is nobody's business.
        if !matches!(
            message.kind.as_str(),
            "Notification" | "SubscriptionConfirmation" | "UnsubscribeConfirmation"
        ) {
            return Err(wrong());
        }
        if !self.topics.contains(&message.topic) {
            return Err(wrong());
        }
        let signed = message.signed().ok_or_else(wrong)?;
        let signature = STANDARD.decode(&message.signature).map_err(|_| wrong())?;
        let algorithm = match message.version.as_str() {
            "1" => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "2" => &RSA_PKCS1_2048_8192_SHA256,
            _ => return Err(wrong()),
        };
        let place = Place::of_certificate(&message.certificate).ok_or_else(wrong)?;
        let key = self.trust.key(&message.certificate, &place, delivery.now, self.certificates.as_ref())?;
        UnparsedPublicKey::new(algorithm, key).verify(signed.as_bytes(), &signature).map_err(|_| wrong())?;
        let time = humantime::parse_rfc3339(&message.time).ok();
        if !near(time, delivery.now, self.max_age, AHEAD) {
            return Err(Refusal::Stale);
        }
        self.outcome(aws, delivery, &message)
    }

    fn outcome(&self, aws: &Aws, delivery: &Delivery<'_>, message: &Message) -> Result<Outcome, Refusal> {
        let id = Id::new(NAME, "sns", message.id.as_bytes());
        let subscription = |event| subscription(event, &message.topic, &message.id, delivery.now);
        match message.kind.as_str() {
            "SubscriptionConfirmation" => {
                let url = message.subscribe.as_deref().unwrap_or_default();
                let token = message.token.as_deref().unwrap_or_default();
                if !confirms(url, &message.topic, token) {
                    return Err(Refusal::Forbidden("subscribe_url"));
                }
                let lines = vec![subscription("sns_subscribed")];
                Ok(Outcome::Confirm { url: url.to_owned(), lines, ids: vec![id] })
            }
            "UnsubscribeConfirmation" => {
                Ok(Outcome::Events { lines: vec![subscription("sns_unsubscribed")], ids: vec![id] })
            }
            _ => {
                let Found { lines, mut ids } = match events(aws, delivery, &message.text) {
                    Some(found) => found?,
                    None => {
                        let mut record = Record::new(NAME, "sns_notification", delivery.now);
                        record.text("topic", &message.topic).text("message_id", &message.id);
                        record.text("event_time", &message.time);
                        record.maybe("subject", message.subject.as_deref());
                        // What it holds is often JSON: an alarm for example.
                        match Document::parse(message.text.as_bytes()) {
                            Ok(json) if shape(json.root()) == Shape::Object => {
                                record.hoist("", "message", json.root(), &aws.redact);
                            }
                            _ => _ = record.text("message", &clean(&message.text, &aws.redact, LONGEST)),
                        }
                        Found { lines: vec![record.finish()], ids: Vec::new() }
                    }
                };
                // Several are written or not written together, under its own name.
                if lines.len() != 1 {
                    ids.clear();
                }
                ids.push(id);
                Ok(Outcome::Events { lines, ids })
            }
        }
    }
}

/// A topic begins or ends to send here: whether anything comes is about us, and
/// no event of the topic's.
#[must_use]
pub fn subscription(event: &str, topic: &str, message_id: &str, now: SystemTime) -> Line {
    let mut record = Record::new(OURSELVES, event, now);
    record.text("for_source", NAME).text("topic", topic).text("message_id", message_id);
    record.finish()
}

/// The events of EventBridge or of CloudTrail that a message holds.
fn events(aws: &Aws, delivery: &Delivery<'_>, text: &str) -> Option<Result<Found, Refusal>> {
    let json = Document::parse(text.as_bytes()).ok()?;
    let root = json.root();
    let is_event = crate::json::member(root, "detail-type").is_some() || super::is_cloudtrail(root);
    let records = crate::json::member(root, "Records").map(crate::json::items).unwrap_or_default();
    let are_records = !records.is_empty() && records.iter().all(|record| super::is_cloudtrail(record));
    (is_event || are_records).then(|| aws.events(delivery, root, "sns"))
}

/// Where something of SNS is.
pub(super) struct Place {
    /// `sns.<region>.amazonaws.com` or the same of China.
    pub(super) host: String,
    /// The region in it.
    pub(super) region: String,
    /// What follows it, from the slash on.
    rest: String,
}

impl Place {
    /// Takes a URL apart; none of anybody else's.
    fn of(url: &str) -> Option<Place> {
        let rest = url.strip_prefix("https://")?;
        if url.len() > 2000 || !rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        // No name or port: then the host would have other characters.
        let (host, rest) = rest.split_at(rest.find('/')?);
        let region = host.strip_prefix("sns.")?;
        let china = region.strip_suffix(".amazonaws.com.cn");
        let region = china.or_else(|| region.strip_suffix(".amazonaws.com"))?;
        (is_region(region) && china.is_some() == region.starts_with("cn-")).then(|| Place {
            host: host.to_owned(),
            region: region.to_owned(),
            rest: rest.to_owned(),
        })
    }

    /// That of a certificate.
    fn of_certificate(url: &str) -> Option<Place> {
        let place = Place::of(url)?;
        let name = place.rest.strip_prefix('/')?.strip_suffix(".pem")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (!name.is_empty() && name.bytes().all(plain)).then_some(place)
    }
}

/// As AWS names them: us-east-1, us-gov-west-1. Buckets of anybody are at
/// `sns.s3.amazonaws.com` and `sns.s3-us-west-2.amazonaws.com`.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return false };
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    text.len() <= 30
        && letters(first)
        && !middle.is_empty()
        && middle.iter().all(|part| letters(part))
        && !last.is_empty()
        && last.bytes().all(|byte| byte.is_ascii_digit())
}

/// The region of a topic, by its ARN.
fn region_of(topic: &str) -> Option<&str> {
    let parts: Vec<&str> = topic.split(':').collect();
    let ["arn", partition, "sns", region, account, name] = parts.as_slice() else { return None };
    let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let named = !name.is_empty() && name.len() <= 256 && name.bytes().all(plain);
    (partition.starts_with("aws") && is_region(region) && digits && named).then_some(region)
}

/// Whether this URL does nothing but confirm the subscription of that topic.
fn confirms(url: &str, topic: &str, token: &str) -> bool {
    let Some(place) = Place::of(url) else { return false };
    let Some(query) = place.rest.strip_prefix("/?") else { return false };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace("%3A", ":").replace("%3a", ":")))
        .collect();
    pairs.sort();
    let wanted = [("Action", "ConfirmSubscription"), ("Token", token), ("TopicArn", topic)];
    let same = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(wanted);
    same && query.split('&').count() == wanted.len()
        && !token.is_empty()
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && region_of(topic) == Some(place.region.as_str())
}

#[cfg(test)]
mod tests;
