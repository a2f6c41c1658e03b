use base64::Engine;
use serde_json::{Value, json};

use super::*;
use crate::sign::UNAUTHORIZED;
use crate::source::Line;
use crate::source::testing::{NOW, SECRET, config, given, line, lines, post, post_from};

const BEARER: (&str, &str) = ("authorization", "Bearer /run/token-of-the-shop");

fn application(toml: &str) -> Box<dyn Source> {
    let config: Config = config(toml);
    given(None, |given| config.compile(given)).unwrap_or_else(|why| panic!("{why}"))
}

fn usual() -> Box<dyn Source> {
    application(
        "secret_files = [\"/former-secret-of-ours\", \"/secret\"]\ntoken_files = [\"/run/token-of-the-shop\"]",
    )
}

fn sent(event: &Value) -> Value {
    line(post(usual().as_ref(), &[BEARER], event.to_string().as_bytes()))
}

/// The headers of Standard Webhooks.
fn signed(id: &str, at: u64, body: &[u8]) -> Vec<(String, String)> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = ring::hmac::sign(&key, &[format!("{id}.{at}.").as_bytes(), body].concat());
    let signature = base64::engine::general_purpose::STANDARD.encode(tag);
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn post_signed(id: &str, at: u64, body: &[u8]) -> Result<Outcome, Refusal> {
    let headers = signed(id, at, body);
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    post(usual().as_ref(), &headers, body)
}

fn ids(outcome: Result<Outcome, Refusal>) -> Vec<Id> {
    match outcome.unwrap() {
        Outcome::Events { ids, .. } => ids,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_of_the_brief_becomes_what_the_rules_ask_for() {
    let found = sent(&json!({
        "timestamp": "2026-11-21T18:00:00.000Z", "level": "warning", "location": "/auth", "user": "alice",
        "action": "auth_login_failed", "details": {"auth_action": "login_failed", "reason": "bad password", "attempt": 3},
        "ip_address": "203.0.113.7", "user_agent": "Mozilla/5.0"
    }));
    assert_eq!(
        found,
        json!({
            "toolkit": "custom-webhook", "source": "application", "event": "auth_login_failed",
            "received_at": "2026-11-21T18:00:10.000Z", "action": "auth_login_failed", "level": "warning",
            "dstuser": "alice", "srcip": "203.0.113.7", "user_agent": "Mozilla/5.0", "location_path": "/auth",
            "event_time": "2026-11-21T18:00:00.000Z", "auth_action": "login_failed", "reason": "bad password", "attempt": 3
        })
    );
}

#[test]
fn the_shapes_of_other_clients_are_understood() {
    let found = sent(&json!({"action": "auth_login", "userId": 42, "level": "info", "error": "none of it"}));
    assert_eq!((found["dstuser"].as_str(), found["error"].as_str()), (Some("42"), Some("none of it")));
    assert!(found.get("srcip").is_none() && found.get("user_id").is_none());
    let found = sent(
        &json!({"level": "Warn", "data": {"action": "qr_scan", "scan_status": "invalid", "qr_code_id": "q1"},
                             "srcip": "203.0.113.7", "rule": {"id": 5, "description": "x"}}),
    );
    assert_eq!((found["action"].as_str(), found["scan_status"].as_str()), (Some("qr_scan"), Some("invalid")));
    assert_eq!((found["level"].as_str(), found["rule_id"].as_i64()), (Some("warning"), Some(5)));
    assert!(found.get("action_").is_none());
    let found = sent(&json!({"action": "API_Get", "details": {"statusCode": 404}, "location": "/x"}));
    assert_eq!((found["event"].as_str(), found["status_code"].as_i64()), (Some("api_get"), Some(404)));
    assert_eq!(found["level"], "info");
}

#[test]
fn a_token_or_a_signature_admits_and_nothing_else() {
    let body = br#"{"action":"auth_login"}"#;
    assert_eq!(lines(post_signed("msg_1", NOW - 299, body)).len(), 1);
    assert_eq!(post_signed("msg_1", NOW - 301, body).unwrap_err(), Refusal::Stale);
    assert_eq!(post(usual().as_ref(), &[], body).unwrap_err(), Refusal::Unauthorized(UNAUTHORIZED));
    let wrong = [("authorization", "Bearer /run/token-of-the-shoq")];
    assert_eq!(post(usual().as_ref(), &wrong, body).unwrap_err(), Refusal::Unauthorized(UNAUTHORIZED));
    // A right token does not make up for a wrong signature.
    let both = [BEARER, ("webhook-id", "x"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,AAAA")];
    assert_eq!(post(usual().as_ref(), &both, body).unwrap_err(), Refusal::Unauthorized(SIGNATURE_INVALID));
    let only_signed = application("secret_files = [\"/secret\"]");
    assert_eq!(
        post(only_signed.as_ref(), &[BEARER], body).unwrap_err(),
        Refusal::Unauthorized(SIGNATURE_INVALID)
    );
    let only_token = application("token_files = [\"/run/token-of-the-shop\"]");
    assert_eq!(lines(post(only_token.as_ref(), &[BEARER], body)).len(), 1);
}

#[test]
fn only_who_says_so_sends_a_repeat() {
    let body = br#"{"action":"auth_login_failed"}"#;
    assert_eq!(ids(post_signed("msg_1", NOW, body)), ids(post_signed("msg_1", NOW - 60, body)));
    assert_ne!(ids(post_signed("msg_1", NOW, body)), ids(post_signed("msg_2", NOW, body)));
    assert!(ids(post(usual().as_ref(), &[BEARER], body)).is_empty());
    let keyed = |key| ids(post(usual().as_ref(), &[BEARER, ("idempotency-key", key)], body));
    assert_eq!(keyed("k"), keyed("k"));
    assert_ne!(keyed("k"), keyed("l"));
    // One application cannot claim what another one calls its own, wherever
    // their tokens stand in the configuration.
    let (one, other) = ("/run/token-of-the-shop", "/run/token-of-the-forum");
    let both = |files: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        ids(post(application(&format!("token_files = {files}")).as_ref(), &headers, body))
    };
    let (files, turned) = (format!("[{one:?}, {other:?}]"), format!("[{other:?}, {one:?}]"));
    assert_eq!(both(&files, one), keyed("k"));
    assert_eq!(both(&files, one), both(&turned, one));
    assert_ne!(both(&files, one), both(&files, other));
    // Nobody with a token can hide what comes signed.
    assert_ne!(keyed("msg_1"), ids(post_signed("msg_1", NOW, body)));
}

#[test]
fn who_signs_with_one_secret_cannot_hide_what_another_signs() {
    let body = br#"{"action":"auth_login_failed"}"#;
    let source = usual();
    let sign = |secret: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        let tag = ring::hmac::sign(&key, &[format!("msg_1.{NOW}.").as_bytes(), &body[..]].concat());
        format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(tag))
    };
    let known = |signatures: &str| {
        let at = NOW.to_string();
        let headers =
            [("webhook-id", "msg_1"), ("webhook-timestamp", at.as_str()), ("webhook-signature", signatures)];
        ids(post(source.as_ref(), &headers, body))
    };
    let (one, two) = (sign("/former-secret-of-ours"), sign(SECRET));
    assert_eq!((known(&one).len(), known(&two).len()), (1, 1));
    assert_ne!(known(&one), known(&two));
    // Signed with both it is known under both: a repeat may leave one out.
    let both = known(&format!("{two} {one}"));
    assert_eq!(both, [known(&one), known(&two)].concat());
}

#[test]
fn several_events_come_as_a_list_or_a_line_each() {
    let source = usual();
    let post = |body: &str| post(source.as_ref(), &[BEARER], body.as_bytes());
    let (one, two) = (r#"{"action":"a"}"#, r#"{"action":"b"}"#);
    for body in [
        format!("[{one},{two}]"),
        format!("{one}\n{two}\n"),
        format!("\r\n{one}\r\n\r\n{two}"),
        format!("{one} {two}"),
    ] {
        let found: Vec<Value> = lines(post(&body));
        assert_eq!(
            (found[0]["action"].as_str(), found[1]["action"].as_str()),
            (Some("a"), Some("b")),
            "{body}"
        );
    }
    for body in ["[]", "", "\n", "[ ]"] {
        assert!(matches!(post(body), Ok(Outcome::Nothing("empty"))), "{body:?}");
    }
    assert_eq!(lines(post(&format!("[{}]", [one; 1000].join(",")))).len(), 1000);
    assert!(matches!(post(&format!("[{}]", [one; 1001].join(","))), Err(Refusal::BadRequest(_))));
    assert!(matches!(post(&[one; 1001].join("\n")), Err(Refusal::BadRequest(_))));
}

#[test]
fn what_is_no_event_is_refused_with_its_place() {
    let source = usual();
    let why = |body: &str| match post(source.as_ref(), &[BEARER], body.as_bytes()) {
        Err(Refusal::BadRequest(why)) => why,
        other => panic!("{body}: {other:?}"),
    };
    for (body, expected) in [
        ("{\"action\":\"a\"}\n{\"level\":\"info\"}", "event 2: there is no action"),
        ("[{\"action\":\"a\"},7]", "event 2: not an object"),
        ("7", "event 1: not an object"),
        ("{\"action\":\"a\"} [1]", "event 2: not an object"),
        ("{\"action\":{}}", "event 1: there is no action"),
        ("{\"action\":\"  \"}", "event 1: its action is empty"),
        ("[{\"action\":\"a\"}] x", "not JSON"),
        ("{\"action\":\"a\"", "not JSON"),
        ("\u{0}", "not JSON"),
    ] {
        assert!(why(body).starts_with(expected), "{body}: {}", why(body));
    }
    let form = [BEARER, ("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(post(source.as_ref(), &form, b"a=b").unwrap_err(), Refusal::UnsupportedMediaType);
    let lines_of = [BEARER, ("content-type", "application/x-ndjson; charset=utf-8")];
    assert_eq!(lines(post(source.as_ref(), &lines_of, b"{\"action\":\"a\"}")).len(), 1);
}

#[test]
fn an_address_is_what_the_application_says_or_a_trusted_proxy() {
    let body = br#"{"action":"auth_login"}"#;
    let clients = application("token_files = [\"/run/token-of-the-shop\"]\nclient_address = true");
    let of = |source: &dyn Source, body: &str, peer: &str, forwarded: &str| {
        let headers = [BEARER, ("x-forwarded-for", forwarded)];
        line(post_from(peer.parse().unwrap(), source, &headers, body.as_bytes()))["srcip"].clone()
    };
    let from = |peer: &str, forwarded: &str| {
        of(clients.as_ref(), std::str::from_utf8(body).unwrap(), peer, forwarded)
    };
    // An application's server is no client, and whoever could not tell the
    // client's address does not mean its own.
    assert_eq!(of(usual().as_ref(), r#"{"action":"a"}"#, "10.0.0.5", "203.0.113.7"), Value::Null);
    for address in ["\"\"", "null", "\"unknown\"", "{}", "[]", "\"10.0.0.256\""] {
        for key in ["ip_address", "ipAddress", "ip", "srcip"] {
            let body = format!("{{\"action\":\"auth_login\",{key:?}:{address}}}");
            assert_eq!(of(clients.as_ref(), &body, "10.0.0.5", "203.0.113.7"), Value::Null, "{body}");
        }
    }
    assert_eq!(from("10.0.0.5", "203.0.113.7"), "203.0.113.7");
    assert_eq!(from("10.0.0.5", "9.9.9.9, 203.0.113.7, 10.1.1.1"), "203.0.113.7");
    assert_eq!(from("::ffff:10.0.0.5", "203.0.113.7"), "203.0.113.7");
    assert_eq!(from("192.0.2.1", "203.0.113.7"), Value::Null);
    assert_eq!(from("10.0.0.5", "unknown"), Value::Null);
    // What the application says is its word.
    let said = |address: &str| sent(&json!({"action": "auth_login", "ip_address": address}));
    for (address, srcip) in [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:1234", "203.0.113.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("10.0.0.9", "10.0.0.9"),
        ("9.9.9.9, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
    ] {
        assert_eq!(said(address)["srcip"], srcip, "{address}");
    }
    let odd = said("unknown; drop table");
    assert_eq!((&odd["srcip"], odd["ip_address"].as_str()), (&Value::Null, Some("unknown; drop table")));
    let forged = line(post_from(
        "10.0.0.5".parse().unwrap(),
        usual().as_ref(),
        &[BEARER, ("x-forwarded-for", "203.0.113.9")],
        br#"{"action":"a","ip_address":"203.0.113.7"}"#,
    ));
    assert_eq!(forged["srcip"], "203.0.113.7");
}

#[test]
fn no_login_name_keeps_an_attacker_from_being_blocked() {
    let user = |name: &str| sent(&json!({"action": "auth_login_failed", "user": name}));
    assert_eq!(user("alice@example.com")["dstuser"], "alice@example.com");
    let odd = user("x+y\u{202e}'; --");
    assert!(odd["dstuser"].as_str().unwrap().starts_with("x?y???"), "{odd}");
    assert_eq!(odd["login"], "x+y\u{fffd}'; --");
    assert_ne!(user("x+y")["dstuser"], user("x*y")["dstuser"]);
    let long = user(&"a".repeat(5000));
    assert!(long["dstuser"].as_str().unwrap().len() <= 64);
    assert!(long["login"].as_str().unwrap().ends_with("…[cut]"));
}

#[test]
fn keys_of_details_take_nothing_over() {
    let found = sent(
        &json!({"action": "auth_login", "ip_address": "203.0.113.7", "user": "alice", "details": {
            "srcip": "1.1.1.1", "dstuser": "root", "user": "root", "toolkit": "x", "source": "github", "event": "y", "action": "z",
            "level": "critical", "integration": "aws", "timestamp": "t", "event_type": "e", "status": 1, "id": 2, "location_path": "/x"
        }}),
    );
    for (key, value) in [
        ("srcip", "203.0.113.7"),
        ("dstuser", "alice"),
        ("source", "application"),
        ("action", "auth_login"),
        ("level", "info"),
    ] {
        assert_eq!(found[key], value, "{found}");
    }
    for key in ["user", "integration", "timestamp", "event_type", "status", "id"] {
        assert!(found.get(key).is_none(), "{key}");
    }
    assert_eq!((found["srcip_"].as_str(), found["level_2"].as_str()), (Some("1.1.1.1"), Some("critical")));
}

#[test]
fn secrets_in_details_are_redacted_at_any_depth() {
    let toml = "token_files = [\"/run/token-of-the-shop\"]\nredact = [\"iban\"]";
    let body = json!({"action": "admin_x", "details": {"password": "p1", "a": {"b": {"accessToken": "p2"}},
        "list": [{"client_secret": "p3"}], "IBAN": "p4", "headers": {"Authorization": "Bearer p5", "Cookie": "p6"}}, "token": "p7", "location": "/x?token=p8",
        "name": "password", "value": "p9"});
    let found = line(post(application(toml).as_ref(), &[BEARER], body.to_string().as_bytes()));
    let text = found.to_string();
    for number in 1..10 {
        assert!(!text.contains(&format!("p{number}")), "{text}");
    }
    assert_eq!(found["iban"], "[redacted]");
}

#[test]
fn a_long_event_does_not_push_out_what_rules_ask_for() {
    let junk = "\"'\\ <".repeat(2000);
    let found = sent(
        &json!({"action": "api_get", "user": junk, "user_agent": junk, "ip_address": "203.0.113.7",
        "location": format!("/{}/../../etc/passwd", "a".repeat(3000)),
        "details": {"a": junk, "b": junk, "c": junk, "endpoint": junk, "method": "GET", "status_code": 403}}),
    );
    assert_eq!((found["status_code"].as_i64(), found["method"].as_str()), (Some(403), Some("GET")));
    let path = found["location_path"].as_str().unwrap();
    assert!(
        path.starts_with("/aaa") && path.ends_with("/../../etc/passwd") && path.contains("[cut]"),
        "{path}"
    );
    assert!(found["fields_cut"].as_i64().unwrap() > 0);
    let length = |action: &str| {
        let body = json!({"action": action, "details": {"a": "x".repeat(7000)}}).to_string();
        match post(usual().as_ref(), &[BEARER], body.as_bytes()).unwrap() {
            Outcome::Events { lines, .. } => Line::as_bytes(&lines[0]).len(),
            other => panic!("{other:?}"),
        }
    };
    assert!(length("auth_x") < 800 && length("security_x") < 800 && length("admin_x") > 7000);
}

#[test]
fn what_rules_ask_for_comes_first_and_from_the_application_itself() {
    let many: serde_json::Map<_, _> = (0..250).map(|n| (format!("k{n}"), json!("v"))).collect();
    let with = |key: &str, value: Value| {
        let mut many = many.clone();
        many.insert(key.to_owned(), value);
        many
    };
    for event in [
        json!({"action": "api_request", "status_code": 403, "details": many}),
        json!({"action": "api_request", "details": with("statusCode", json!(403))}),
        json!({"action": "api_request", "statusCode": 403, "details": {"status_code": "200"}}),
        json!({"action": "api_request", "details": {"statusCode": "200"}, "statusCode": 403}),
    ] {
        assert_eq!(sent(&event)["status_code"], 403, "{event}");
    }
    let found = sent(&json!({"action": "qr_scan", "details": with("scan_status", json!("invalid"))}));
    assert_eq!(found["scan_status"], "invalid");
}

#[test]
fn malformed_text_does_no_harm() {
    let source = usual();
    let post = |body: &[u8]| line(post(source.as_ref(), &[BEARER], body));
    assert_eq!(post(b"{\"action\":\"a\",\"user\":\"\xff\xfe\"}")["login"], "\u{fffd}\u{fffd}");
    assert!(post(br#"{"action":"a\ud800b","user":"\udfff"}"#)["dstuser"].as_str().unwrap().starts_with('?'));
    assert_eq!(post(br#"{"action":"a","action":"b"}"#)["action"], "b");
    assert_eq!(
        post(br#"{"action":"a","details":{"n":1e999,"m":-123456789012345678901234567890}}"#)["n"],
        "1e999"
    );
    assert_eq!(
        post(b"{\"action\":\"a\nb\\u0000\"}".map(|b| if b == b'\n' { b' ' } else { b }).as_slice())["action"],
        "a_b_"
    );
    let deep =
        format!("{{\"action\":\"a\",\"details\":{}1{}}}", "{\"x\":".repeat(100_000), "}".repeat(100_000));
    assert_eq!(post(deep.as_bytes()).as_object().unwrap().len(), 7);
    let wide: String = (0..100_000).map(|number| format!("\"k{number}\":1,")).collect();
    assert_eq!(
        post(format!("{{\"action\":\"a\",\"details\":{{{wide}\"z\":1}}}}").as_bytes())
            .as_object()
            .unwrap()
            .len(),
        199
    );
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    for (text, key) in [
        ("", "secret_files"),
        ("token_files = [\"/missing\"]", "token_files"),
        ("secret_files = [\"credential:whsec_***\"]", "secret_files"),
        ("token_files = [\"/secret\"]\ntolerance = 0", "tolerance"),
        ("token_files = [\"/secret\"]\npaths = [\"/a b\"]", "paths"),
    ] {
        let config: Config = config(text);
        let why = given(None, |given| config.compile(given)).err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(why.key, key, "{text}");
    }
}
