//! What custom-webhook writes, held against the rules: requests as senders make
//! them go in, and the lines that come out go through the engine.
//!
//! * [`replay`]: each sample of `tests/fixtures/rules`, as its sender would have
//!   sent it. With `RULES_SAMPLES=write` the lines are stored as samples;
//! * [`real`]: payloads that were really sent, and all of GitHub's examples.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

mod real;
mod replay;
mod sender;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use custom_webhook::secret::Secret;
use custom_webhook::source::{
    Delivery, Given, Line, NoCertificates, Outcome, Refusal, Source, application, aws, github, supabase,
};
use harness::rules::Ruleset;
use harness::webhook::sign;
use http::{HeaderMap, HeaderName, HeaderValue};

/// What every sender has.
const SECRET: &str = "It's a Secret to Everybody";
/// Where Wazuh reads these lines.
const LOG: &str = "/var/log/wazuh-toolkit/custom-webhook/events.json";

/// Loaded once.
fn rules() -> &'static Ruleset {
    static RULES: OnceLock<Ruleset> = OnceLock::new();
    RULES.get_or_init(Ruleset::shipped)
}

/// A source with what its table has by default, and the secret.
fn source(name: &str) -> Box<dyn Source> {
    let secrets = |_: &_| Ok(Secret::new(SECRET.to_owned()));
    let given = Given { secrets: &secrets, proxies: &[], certificates: Arc::new(NoCertificates) };
    let file = vec![custom_webhook::secret::SecretRef::parse("/secret").unwrap()];
    let compiled = match name {
        "github" => github::Config { secret_files: file, ..Default::default() }.compile(&given),
        "application" => application::Config { token_files: file, ..Default::default() }.compile(&given),
        "supabase" => supabase::Config { secret_files: file, ..Default::default() }.compile(&given),
        _ => aws::Config { secret_files: file, ..Default::default() }.compile(&given),
    };
    compiled.unwrap_or_else(|why| panic!("{why}"))
}

/// The headers by which a sender of that name proves who it is.
fn proof(name: &str, event: &str, body: &[u8]) -> HeaderMap {
    let pairs = match name {
        "github" => vec![
            ("x-hub-signature-256", sign::github(SECRET, body)),
            ("x-github-event", event.to_owned()),
            ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned()),
        ],
        "application" => vec![("authorization", format!("Bearer {SECRET}"))],
        "supabase" => vec![("x-webhook-secret", SECRET.to_owned())],
        _ => vec![("x-api-key", SECRET.to_owned())],
    };
    let pair = |(name, value): (&'static str, String)| {
        (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap())
    };
    pairs.into_iter().map(pair).collect()
}

/// The time of all samples.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_284_000)
}

/// Posts a body; the lines that come of it.
fn lines_of(name: &str, event: &str, body: &[u8]) -> Result<Vec<Line>, Refusal> {
    let headers = proof(name, event, body);
    let delivery = Delivery { headers: &headers, body, peer: [127, 0, 0, 1].into(), now: now() };
    match source(name).receive(&delivery)? {
        Outcome::Events { lines, .. } => Ok(lines),
        other => panic!("{other:?}"),
    }
}

/// The same as texts.
fn written(name: &str, event: &str, body: &[u8]) -> Result<Vec<String>, Refusal> {
    let text = |line: &Line| String::from_utf8(line.as_bytes().to_vec()).unwrap();
    Ok(lines_of(name, event, body)?.iter().map(text).collect())
}
