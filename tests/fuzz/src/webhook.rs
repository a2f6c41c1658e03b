//! What may be posted to custom-webhook, by who has the secret and by who has
//! not: each source, from the body to the line.
//!
//! The first byte of an input says how it is sent; the rest is the body. For a
//! message of SNS it is the certificate, and for every third of those the
//! message too.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use custom_webhook::secret::{Secret, SecretError, SecretRef};
use custom_webhook::source::{
    Certificates, Delivery, Given, MOST_EVENTS, MOST_IDS, Outcome, Refusal, Source, application, aws, generic, github,
    supabase,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use serde_json::Value;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The longest line, and what is added to it.
const LONGEST: usize = 60_000 - 41;
/// What Wazuh gives a meaning.
const FIXED: [&str; 15] = [
    "srcip", "dstip", "srcport", "dstport", "protocol", "action", "srcuser", "dstuser", "user", "id", "status", "url", "data",
    "extra_data", "systemname",
];
/// By these, silent rules take an event away.
const TAKEN: [&str; 9] = [
    "event_type", "subtype", "vulnerability", "vuls", "activity_id", "category_uid", "wafaction", "mysql_audit_log", "timestamp",
];
const MESSAGE: &str = include_str!("../../fixtures/webhook/sns/notification-2.json");

/// What libFuzzer and the driver put in, for all of them.
pub const WORDS: &[&str] = &[
    "{\"action\":\"", "\"repository\":{\"full_name\":\"", "\"sender\":{\"login\":\"", "\"alert\":{", "\"security_advisory\":{",
    "\"vulnerabilities\":[{", "\"changes\":{", "payload=%7B", "\"details\":{", "\"user\":\"", "\"ip_address\":\"", "\"level\":\"",
    "\"location\":\"", "\"type\":\"UPDATE\"", "\"schema\":\"", "\"table\":\"", "\"record\":{", "\"old_record\":{", "\"detail-type\":\"",
    "via CloudTrail", "\"detail\":{", "\"Records\":[", "\"requestParameters\":{", "\"policyDocument\":{", "\"integration\":\"ms-graph\"",
    "\"password\":\"", "\"srcip\":\"", "\"timestamp\":\"", "\"event_type\":\"", "\\ud800", "\\udc00", "\\u0000", "\\u202e", "\u{202e}",
    "\u{fffd}", "1e999", "-0", "2147483648", "null", "{", "}", "[", "]", "\"", ",", ":", "\n", "%", "203.0.113.7, 10.0.0.1",
    "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n",
];

fn secret(_: &SecretRef) -> Result<Secret, SecretError> {
    Ok(Secret::new(SECRET.to_owned()))
}

/// One that has what the input says.
struct Web;

thread_local! {
    static CERTIFICATE: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Certificates for Web {
    fn get(&self, _: &str) -> Result<Arc<[u8]>, String> {
        CERTIFICATE.with_borrow(|bytes| Ok(bytes.as_slice().into()))
    }
}

/// Compiled once.
struct Sources {
    github: Box<dyn Source>,
    application: Box<dyn Source>,
    supabase: Box<dyn Source>,
    aws: Box<dyn Source>,
    generic: [Box<dyn Source>; 2],
}

static SOURCES: LazyLock<Sources> = LazyLock::new(|| {
    let proxies = ["10.0.0.0/8".parse().expect("a network")];
    let given = Given { secrets: &secret, proxies: &proxies, certificates: Arc::new(Web) };
    let file = || vec![SecretRef::parse("/secret").expect("a path")];
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let other = || generic::Config {
        name: "other".to_owned(),
        paths: texts(&["/other"]),
        secret_files: file(),
        equal_is_repeat: true,
        ..Default::default()
    };
    let chosen = generic::Config {
        plain_text: true,
        event_path: "kind".to_owned(),
        fields: pairs(&[("a", "a"), ("b", "list.0.b"), ("c", "a.c"), ("deep", "/x~1y/z")]),
        fixed: pairs(&[("srcip", "peer.ip"), ("dstuser", "who"), ("url", "a")]),
        ..other()
    };
    let roots = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/webhook/sns/root.pem");
    let aws = aws::Config {
        secret_files: file(),
        topics: texts(&["arn:aws:sns:eu-central-1:123456789012:security"]),
        sns_ca_file: roots.to_owned(),
        ..Default::default()
    };
    let supabase = supabase::Config {
        secret_files: file(),
        drop_columns: texts(&["phone", "users.note"]),
        hash_columns: texts(&["email"]),
        hash_key_file: Some(SecretRef::parse("/key").expect("a path")),
        ..Default::default()
    };
    let application =
        application::Config { secret_files: file(), token_files: file(), redact: texts(&["iban"]), ..Default::default() };
    Sources {
        github: github::Config { secret_files: file(), ..Default::default() }.compile(&given).expect("github"),
        application: application.compile(&given).expect("application"),
        supabase: supabase.compile(&given).expect("supabase"),
        aws: aws.compile(&given).expect("aws"),
        generic: [other().compile(&given).expect("all"), chosen.compile(&given).expect("chosen")],
    }
});

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_284_010)
}

fn post(source: &dyn Source, pairs: &[(&str, &str)], body: &[u8]) -> Result<Outcome, Refusal> {
    let pair = |(name, value): &(&str, &str)| {
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let headers: HeaderMap = pairs.iter().filter_map(pair).collect();
    let delivery = Delivery { headers: &headers, body, peer: [10, 0, 0, 9].into(), now: now() };
    let first = source.receive(&delivery);
    // What comes of it depends on nothing else.
    let second = source.receive(&delivery);
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
    first
}

/// How and what, of an input.
fn parts(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(how, body)| (*how, body))
}

/// What is true of every line.
fn assert_lines(data: &[u8], outcome: Result<Outcome, Refusal>, source: &str, allowed: &[&str]) {
    // Unless the sender says it himself.
    let tells = |text: &str| text.contains(SECRET) && !String::from_utf8_lossy(data).contains(SECRET);
    let (lines, ids) = match outcome {
        Ok(Outcome::Events { lines, ids } | Outcome::Confirm { lines, ids, .. }) => (lines, ids),
        Ok(Outcome::Nothing(_)) => return,
        Err(Refusal::BadRequest(why)) => {
            assert!(why.len() < 400 && !tells(&why), "{why}");
            return;
        }
        Err(_) => return,
    };
    assert!((1..=MOST_EVENTS).contains(&lines.len()) && ids.len() <= MOST_IDS);
    let start = format!("{{\"toolkit\":\"custom-webhook\",\"source\":\"{source}\",\"event\":\"");
    for line in lines {
        let text = std::str::from_utf8(line.as_bytes()).expect("UTF-8");
        assert!(text.len() <= LONGEST && text.starts_with(&start) && text.ends_with('}'), "{text}");
        assert!(!text.bytes().any(|byte| byte < b' ' || byte == 0x7f), "{text}");
        assert!(!tells(text) && !text.contains("\"integration\":\"ms-graph\""), "{text}");
        let value: Value = serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"));
        let object = value.as_object().expect("an object");
        assert_eq!(object["received_at"], "2026-11-21T18:00:10.000Z");
        // The receipt comes to it.
        assert!(leaves(&value) < 200, "{} fields: {text}", leaves(&value));
        // A name that is there twice would be lost in the object.
        let top: usize = object.iter().map(|(key, value)| key.len() + value.to_string().len() + 4).sum();
        assert!(top + 1 >= text.len() - escapes(text), "{text}");
        for (key, value) in object {
            assert!(!value.is_null() && (!value.is_object() || key == "aws"), "{key}: {text}");
            assert!(!FIXED.contains(&key.as_str()) || allowed.contains(&key.as_str()), "{key}: {text}");
            assert!(!TAKEN.contains(&key.as_str()) && (key != "integration" || object.contains_key("aws")), "{key}: {text}");
            assert!(key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{key}");
        }
        if let Some(address) = object.get("srcip") {
            address.as_str().and_then(|address| address.parse::<IpAddr>().ok()).expect("an address");
        }
        if let Some(user) = object.get("dstuser").and_then(Value::as_str) {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@?".contains(&byte);
            assert!(user.bytes().all(plain) && (1..=64).contains(&user.len()), "{user}");
        }
    }
}

fn leaves(value: &Value) -> usize {
    match value {
        Value::Object(object) => {
            let names: BTreeSet<String> = object.keys().map(|key| key.to_ascii_lowercase()).collect();
            assert_eq!(names.len(), object.len(), "names that are one for Wazuh");
            object.values().map(leaves).sum()
        }
        _ => 1,
    }
}

/// Characters are escaped in other ways when they are written anew.
fn escapes(text: &str) -> usize {
    text.matches("\\u").count() * 6
}

/// GitHub: signed, as JSON or as a form, under different names.
pub fn github(data: &[u8]) {
    let (how, body) = parts(data);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let events = [
        "security_advisory", "dependabot_alert", "repository_vulnerability_alert", "secret_scanning_alert", "code_scanning_alert",
        "branch_protection_rule", "member", "organization", "push", "delete", "installation", "repository", "ping", "issues",
        "security_and_analysis", "personal_access_token_request",
    ];
    let event = events[usize::from(how & 15)];
    let kind = if how & 16 == 0 { "application/json" } else { "application/x-www-form-urlencoded" };
    let signature = format!("sha256={}", if how & 224 == 224 { "00" } else { &hex });
    let pairs =
        [("x-hub-signature-256", signature.as_str()), ("x-github-event", event), ("x-github-delivery", "1"), ("content-type", kind)];
    let outcome = post(SOURCES.github.as_ref(), &pairs, body);
    assert_eq!(matches!(outcome, Err(Refusal::Unauthorized(_))), how & 224 == 224);
    assert_lines(data, outcome, "github", &["action"]);
}

/// Events of applications, and what proxies and signatures say of them.
pub fn application(data: &[u8]) {
    let (how, body) = parts(data);
    let source = SOURCES.application.as_ref();
    let bearer = format!("Bearer {SECRET}");
    let outcome = match how & 3 {
        // The headers are the input.
        3 => {
            let text = String::from_utf8_lossy(body);
            let mut rest = text.splitn(4, '\n');
            let mut next = || rest.next().unwrap_or_default();
            let (id, at, signature) = (next(), next(), next());
            let pairs = [("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)];
            let outcome = post(source, &pairs, next().as_bytes());
            assert!(outcome.is_err());
            outcome
        }
        2 => {
            let forwarded = String::from_utf8_lossy(&body[..body.len().min(60)]).replace(['\n', '\r'], " ");
            let pairs = [("authorization", bearer.as_str()), ("x-forwarded-for", &forwarded)];
            post(source, &pairs, br#"{"action":"auth_login"}"#)
        }
        1 => post(source, &[("authorization", &bearer), ("content-type", "application/x-ndjson")], body),
        _ => post(source, &[("authorization", &bearer)], body),
    };
    assert_lines(data, outcome, "application", &["action", "srcip", "dstuser"]);
}

/// Rows.
pub fn supabase(data: &[u8]) {
    let outcome = post(SOURCES.supabase.as_ref(), &[("x-webhook-secret", SECRET)], data);
    assert_lines(data, outcome, "supabase", &[]);
}

/// EventBridge, and messages of SNS with certificates of anybody.
pub fn aws(data: &[u8]) {
    let (how, body) = parts(data);
    let outcome = if how < 192 {
        post(SOURCES.aws.as_ref(), &[("x-api-key", SECRET)], body)
    } else {
        CERTIFICATE.with_borrow_mut(|bytes| bytes.splice(.., body.iter().copied()).for_each(drop));
        let message = if how % 3 == 0 { body } else { MESSAGE.as_bytes() };
        let outcome = post(SOURCES.aws.as_ref(), &[("x-amz-sns-message-type", "Notification")], message);
        assert!(outcome.is_err(), "{outcome:?}");
        outcome
    };
    assert_lines(data, outcome, "aws", &[]);
}

/// Other senders: everything that is there, or chosen fields.
pub fn generic(data: &[u8]) {
    let (how, body) = parts(data);
    let bearer = format!("Bearer {SECRET}");
    let outcome = post(SOURCES.generic[usize::from(how & 1)].as_ref(), &[("authorization", &bearer)], body);
    assert_lines(data, outcome, "other", if how & 1 == 0 { &[] } else { &["srcip", "dstuser", "url"] });
}

fn seeds(how: &[u8], bodies: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        bodies.iter().zip(how.iter().cycle()).map(|(body, how)| [&[*how], *body].concat()).collect();
    let odd: [&[u8]; 5] = [b"", b"{}", b"[]", br#"{"a":"\ud800","b":1e999,"a":[{"password":"x"}]}"#, b"{\"\xff\":\"\xfe\"}"];
    seeds.extend(odd.iter().map(|body| [&how[..1], *body].concat()));
    let deep = format!("{{\"action\":\"a\",\"detail-type\":\"via CloudTrail\",\"detail\":{}1{}}}", "{\"a\":[".repeat(9000), "]}".repeat(9000));
    seeds.push([&how[..1], deep.as_bytes()].concat());
    let wide: String = (0..3000).map(|number| format!("\"k{number}\":{number},")).collect();
    seeds.push([&how[..1], format!("{{\"action\":\"a\",{wide}\"details\":{{{wide}\"z\":1}}}}").as_bytes()].concat());
    seeds
}

/// Where to begin.
pub fn github_seeds() -> Vec<Vec<u8>> {
    let mut all = seeds(
        &[1, 0, 4, 5, 6, 8, 16],
        &[
            include_bytes!("../../fixtures/webhook/github/dependabot_alert.created.json"),
            include_bytes!("../../fixtures/webhook/github/security_advisory.withdrawn.json"),
            include_bytes!("../../fixtures/webhook/github/code_scanning_alert.created.json"),
            include_bytes!("../../fixtures/webhook/github/branch_protection_rule.deleted.json"),
            include_bytes!("../../fixtures/webhook/github/member.added.json"),
            include_bytes!("../../fixtures/webhook/github/push.json"),
        ],
    );
    all.push(b"\x10payload=%7B%22action%22%3A%22a+b%22%7D&x=%".to_vec());
    all
}

/// Where to begin.
pub fn application_seeds() -> Vec<Vec<u8>> {
    seeds(
        &[0, 1, 0, 2, 3],
        &[
            br#"{"timestamp":"2026-11-21T18:00:00.000Z","level":"warning","location":"/auth","user":"alice","action":"auth_login_failed","details":{"reason":"bad password","token":"x"},"ip_address":"203.0.113.7","user_agent":"Mozilla/5.0"}"#,
            b"{\"action\":\"qr_scan\",\"details\":{\"scan_status\":\"valid\"}}\n{\"action\":\"api_get\",\"location\":\"/x\",\"details\":{\"status_code\":404}}\n",
            br#"[{"action":"a","userId":7,"data":{"srcip":"1.1.1.1"}},{"data":{"action":"b"}}]"#,
            b"9.9.9.9, [2001:db8::1]:80, 10.0.0.1",
            b"msg_1\n1795284010\nv1,AAAA v1,BBBB\n{}",
        ],
    )
}

/// Where to begin.
pub fn supabase_seeds() -> Vec<Vec<u8>> {
    let bodies: [&[u8]; 3] = [
        br#"{"type":"UPDATE","table":"users","schema":"public","record":{"id":1,"email":"a","phone":"b","meta":{"token":"x"}},"old_record":{"id":1,"email":"c"}}"#,
        br#"{"type":"INSERT","table":"t","schema":"s","record":{"A":1,"a":2,"":3,"user":4},"old_record":null}"#,
        br#"{"type":"DELETE","table":"t","schema":"s","record":null,"old_record":{"n":12345678901234567890}}"#,
    ];
    let mut all: Vec<Vec<u8>> = bodies.iter().map(|body| body.to_vec()).collect();
    all.extend(seeds(b" ", &[]));
    all
}

/// Where to begin.
pub fn aws_seeds() -> Vec<Vec<u8>> {
    seeds(
        &[0, 0, 0, 193, 192, 194],
        &[
            br#"{"id":"7","detail-type":"AWS API Call via CloudTrail","source":"aws.iam","detail":{"eventName":"x","requestParameters":{"policyDocument":{"a":[1,2]},"one":[{"b":1}],"disableApiTermination":true},"responseElements":"t","sourceIPAddress":"203.0.113.7"}}"#,
            br#"{"Records":[{"eventVersion":"1","eventSource":"iam.amazonaws.com","eventName":"y","additionalEventData":[1]},{"eventSource":"aws:s3"}]}"#,
            br#"{"id":"7","detail-type":"EC2 State","detail":{"instance-id":"i"},"resources":["a"]}"#,
            include_bytes!("../../fixtures/webhook/sns/leaf.pem"),
            MESSAGE.as_bytes(),
            include_bytes!("../../fixtures/webhook/sns/issuer.cer"),
        ],
    )
}

/// Where to begin.
pub fn generic_seeds() -> Vec<Vec<u8>> {
    seeds(
        &[0, 1, 1],
        &[
            br#"{"a":{"b":[1,{"c":2}]},"srcip":"1.1.1.1","Password":"x","list":[]}"#,
            br#"[{"kind":"K","a":{"c":1},"list":[{"b":true}],"x/y":{"z":2},"peer":{"ip":"[::1]:80"},"who":"a+b"},7]"#,
            b"Test message content body",
        ],
    )
}
