//! What the tests of all sources need.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use ring::hmac;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Certificates, Delivery, Given, Line, NoCertificates, Outcome, Refusal, Source};
use crate::record::LONGEST;
use crate::secret::{Secret, SecretError, SecretRef};

/// What stands in the file of that name.
pub(crate) const SECRET: &str = "It's a Secret to Everybody";
/// 2026-11-21T18:00:10Z.
pub(crate) const NOW: u64 = 1_795_284_010;
/// The network whose proxies are trusted.
const PROXIES: &str = "10.0.0.0/8";

/// Files whose name is the secret, with `/secret` for [`SECRET`].
fn secret(reference: &SecretRef) -> Result<Secret, SecretError> {
    match reference {
        SecretRef::File(path) if path.as_os_str() == "/secret" => Ok(Secret::new(SECRET.to_owned())),
        SecretRef::File(path) if path.as_os_str() == "/missing" => {
            Err(SecretError("/missing: no".to_owned()))
        }
        SecretRef::File(path) => Ok(Secret::new(path.display().to_string())),
        SecretRef::Credential(name) => Ok(Secret::new(name.clone())),
    }
}

/// Does something with what a source is made with.
pub(crate) fn given<T>(certificates: Option<Arc<dyn Certificates>>, then: impl FnOnce(&Given<'_>) -> T) -> T {
    let proxies: [IpNet; 1] = [PROXIES.parse().unwrap()];
    let certificates = certificates.unwrap_or_else(|| Arc::new(NoCertificates));
    then(&Given { secrets: &secret, proxies: &proxies, certificates })
}

/// A configuration.
pub(crate) fn config<T: DeserializeOwned>(toml: &str) -> T {
    toml::from_str(toml).unwrap_or_else(|why| panic!("{why}: {toml}"))
}

/// Headers.
pub(crate) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// When it is.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// Posts a body.
pub(crate) fn post(source: &dyn Source, pairs: &[(&str, &str)], body: &[u8]) -> Result<Outcome, Refusal> {
    post_from(IpAddr::V4(Ipv4Addr::LOCALHOST), source, pairs, body)
}

/// The same from elsewhere.
pub(crate) fn post_from(
    peer: IpAddr,
    source: &dyn Source,
    pairs: &[(&str, &str)],
    body: &[u8],
) -> Result<Outcome, Refusal> {
    source.receive(&Delivery { headers: &headers(pairs), body, peer, now: now() })
}

/// The lines of an outcome, each held against what is true of all lines.
pub(crate) fn lines(outcome: Result<Outcome, Refusal>) -> Vec<Value> {
    match outcome.unwrap() {
        Outcome::Events { lines, .. } | Outcome::Confirm { lines, .. } => lines.iter().map(checked).collect(),
        Outcome::Nothing(why) => panic!("nothing: {why}"),
    }
}

/// The only line.
pub(crate) fn line(outcome: Result<Outcome, Refusal>) -> Value {
    let mut lines = lines(outcome);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

/// A line as JSON.
pub(crate) fn checked(line: &Line) -> Value {
    let text = std::str::from_utf8(line.as_bytes()).unwrap();
    assert!(text.len() + 41 <= LONGEST, "{} bytes", text.len());
    assert!(
        text.starts_with("{\"toolkit\":\"custom-webhook\",\"source\":\"") && text.ends_with('}'),
        "{text}"
    );
    assert!(!text.contains(['\n', '\0']), "{text}");
    let value: Value = serde_json::from_str(text).unwrap();
    let object = value.as_object().unwrap();
    // The receipt comes to it.
    assert!(object.len() < 200, "{} fields", object.len());
    assert_eq!(object["received_at"], "2026-11-21T18:00:10.000Z");
    for (key, value) in object {
        let flat = !value.is_object() && !value.is_array();
        assert!(flat || key == "aws", "{key}: {value}");
        assert!(
            !value.is_null() && value.as_f64().is_none_or(|number| number.abs() <= 2_147_483_648.0),
            "{key}"
        );
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(key.len() <= 67 && key.bytes().all(plain), "{key}");
    }
    // Each name once, also for those that read the first or the last of two.
    let names = text.split("\":").count();
    assert!(names > object.len());
    value
}

/// The signature of GitHub with [`SECRET`].
pub(crate) fn github_signature(body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// A file of `tests/fixtures/webhook`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/webhook").join(name);
    std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// The processor time of this thread: what is measured with it takes no longer
/// because others work, too.
pub(crate) fn cpu() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let used = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let microseconds = used.user_time().num_microseconds() + used.system_time().num_microseconds();
    Duration::from_micros(microseconds.try_into().unwrap())
}
