use serde_json::{Value, json};

use super::*;
use crate::sign::UNAUTHORIZED;
use crate::source::testing::{SECRET, config, github_signature, given, line, lines, post};

fn generic(extra: &str) -> Box<dyn Source> {
    let config: Config =
        config(&format!("name = \"other\"\npaths = [\"/other\"]\nsecret_files = [\"/secret\"]\n{extra}"));
    given(None, |given| config.compile(given)).unwrap_or_else(|why| panic!("{why}"))
}

const BEARER: (&str, &str) = ("authorization", "Bearer It's a Secret to Everybody");

fn sent(extra: &str, body: &Value) -> Value {
    line(post(generic(extra).as_ref(), &[BEARER], body.to_string().as_bytes()))
}

/// A monitor of Wazuh 5.x's dashboard, through a channel of Notifications: the
/// body is what the monitor's action says.
#[test]
fn notifications_of_wazuh_become_lines() {
    let extra = "event_path = \"trigger.name\"\nplain_text = true\n\
        [fields]\nmonitor = \"monitor.name\"\nseverity = \"trigger.severity\"\nperiod_start = \"periodStart\"\nhits = \"results.0.hits.total.value\"";
    let body = json!({"monitor": {"name": "Failed logins"}, "trigger": {"name": "More than 50", "severity": "1"},
        "periodStart": "2026-11-21T17:59:00Z", "results": [{"hits": {"total": {"value": 57}}}], "_id": "x"});
    assert_eq!(
        sent(extra, &body),
        json!({"toolkit": "custom-webhook", "source": "other", "event": "more_than_50", "received_at": "2026-11-21T18:00:10.000Z",
               "monitor": "Failed logins", "severity": "1", "period_start": "2026-11-21T17:59:00Z", "hits": 57})
    );
    // The button that sends a test message.
    let test =
        line(post(generic(extra).as_ref(), &[BEARER], b"Test message content body for config id abc\n"));
    assert_eq!(
        (test["message"].as_str(), test["event"].as_str()),
        (Some("Test message content body for config id abc"), Some("event"))
    );
    assert!(matches!(post(generic("").as_ref(), &[BEARER], b"no JSON"), Err(Refusal::BadRequest(_))));
}

#[test]
fn without_fields_everything_is_kept_flat() {
    assert_eq!(
        sent("", &json!({"a": {"b": 1}, "srcip": "1.1.1.1", "list": [1, 2], "password": "x"})),
        json!({"toolkit": "custom-webhook", "source": "other", "event": "event", "received_at": "2026-11-21T18:00:10.000Z",
               "a_b": 1, "srcip_": "1.1.1.1", "list": "[1,2]", "password": "[redacted]"})
    );
}

#[test]
fn fields_that_mean_something_are_set_on_purpose_only() {
    let extra = "[static]\nsrcip = \"peer.ip\"\ndstuser = \"who\"\nurl = \"u\"\n[fields]\nraw = \"who\"";
    let found = sent(
        extra,
        &json!({"peer": {"ip": "[::ffff:203.0.113.7]:80"}, "who": "a+b", "u": "http://x", "srcip": "1.1.1.1"}),
    );
    assert_eq!((found["srcip"].as_str(), found["url"].as_str()), (Some("203.0.113.7"), Some("http://x")));
    assert!(found["dstuser"].as_str().unwrap().starts_with("a?b-") && found["raw"] == "a+b");
    let found = sent(extra, &json!({"peer": {"ip": "nobody"}, "who": null}));
    assert!(found.get("srcip").is_none() && found.get("dstuser").is_none());
}

#[test]
fn the_event_is_named_by_the_body_or_a_header_or_the_configuration() {
    let extra = "event = \"Fallback\"\nevent_path = \"kind\"\nevent_header = \"x-event\"";
    let event = |pairs: &[(&str, &str)], body: &str| {
        let pairs = [&[BEARER], pairs].concat();
        line(post(generic(extra).as_ref(), &pairs, body.as_bytes()))["event"].clone()
    };
    assert_eq!(event(&[("x-event", "from header")], "{\"kind\":\"FromBody\"}"), "from_body");
    assert_eq!(event(&[("x-event", "from header")], "{\"kind\":{}}"), "from_header");
    assert_eq!(event(&[("x-event", "***")], "{}"), "fallback");
}

#[test]
fn senders_prove_who_they_are_in_four_ways() {
    let body = b"{\"a\":1}";
    let check = |extra: &str, pairs: &[(&str, &str)]| post(generic(extra).as_ref(), pairs, body).map(|_| ());
    let signature = github_signature(body);
    let hex = signature.trim_start_matches("sha256=");
    let base64 = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(Encoding::Hex.decode(hex).unwrap())
    };
    let hmac = "auth = \"hmac\"\nheader = \"X-Signature\"";
    for (extra, pairs) in [
        ("", [BEARER]),
        (
            "auth = \"basic\"\nuser = \"u\"",
            [("authorization", "Basic dTpJdCdzIGEgU2VjcmV0IHRvIEV2ZXJ5Ym9keQ==")],
        ),
        ("auth = \"header\"\nheader = \"X-Token\"", [("x-token", SECRET)]),
        (hmac, [("x-signature", hex)]),
        (&format!("{hmac}\nprefix = \"sha256=\""), [("x-signature", signature.as_str())]),
        (&format!("{hmac}\nencoding = \"base64\""), [("x-signature", base64.as_str())]),
    ] {
        assert_eq!(check(extra, &pairs), Ok(()), "{extra}");
        assert!(check(extra, &[]).is_err());
        let wrong = pairs[0].1.replacen('5', "6", 1).replacen('S', "T", 1);
        let refusal = check(extra, &[(pairs[0].0, &wrong)]).unwrap_err();
        let word = if extra.contains("hmac") { SIGNATURE_INVALID } else { UNAUTHORIZED };
        assert_eq!(refusal, Refusal::Unauthorized(word), "{extra}");
    }
    assert!(check(&format!("{hmac}\nalgorithm = \"sha512\""), &[("x-signature", hex)]).is_err());
    assert!(check(&format!("{hmac}\nprefix = \"sha1=\""), &[("x-signature", &signature)]).is_err());
}

#[test]
fn repeats_are_known_as_configured() {
    let ids = |extra: &str, pairs: &[(&str, &str)], body: &[u8]| {
        let pairs = [&[BEARER], pairs].concat();
        match post(generic(extra).as_ref(), &pairs, body).unwrap() {
            Outcome::Events { ids, .. } => ids,
            other => panic!("{other:?}"),
        }
    };
    assert!(ids("", &[("x-id", "1")], b"{}").is_empty());
    assert_eq!(ids("id_header = \"X-Id\"", &[("x-id", "1")], b"{}").len(), 1);
    assert_eq!(ids("equal_is_repeat = true", &[("idempotency-key", "1")], b"{}").len(), 2);
    assert_eq!(ids("equal_is_repeat = true", &[], b"{}"), ids("equal_is_repeat = true", &[], b"{}"));
    assert_ne!(ids("equal_is_repeat = true", &[], b"{}"), ids("equal_is_repeat = true", &[], b"{\"a\":1}"));
    // One sender cannot claim another's.
    let two = "equal_is_repeat = true\nid_header = \"x-id\"";
    let known = |token: &str| {
        let base = "name = \"other\"\npaths = [\"/other\"]\nsecret_files = [\"/one-of-two-secrets\", \"/two-of-two-secrets\"]";
        let source: Config = config(&format!("{base}\n{two}"));
        let source = given(None, |given| source.compile(given)).unwrap();
        let bearer = format!("Bearer {token}");
        let pairs = [("authorization", bearer.as_str()), ("idempotency-key", "1"), ("x-id", "1")];
        match post(source.as_ref(), &pairs, b"{}").unwrap() {
            Outcome::Events { ids, .. } => ids,
            other => panic!("{other:?}"),
        }
    };
    let (one, other) = (known("/one-of-two-secrets"), known("/two-of-two-secrets"));
    assert_eq!((one.len(), other.len()), (3, 3));
    assert!(one.iter().all(|id| !other.contains(id)));
}

#[test]
fn a_signed_body_is_known_whatever_is_said_around_it() {
    let body = b"{\"a\":1}";
    let signature = github_signature(body);
    let ids = |extra: &str, pairs: &[(&str, &str)]| {
        let extra = format!("auth = \"hmac\"\nheader = \"X-Signature\"\nprefix = \"sha256=\"\n{extra}");
        let pairs = [&[("x-signature", signature.as_str())], pairs].concat();
        match post(generic(&extra).as_ref(), &pairs, body).unwrap() {
            Outcome::Events { ids, .. } => ids,
            other => panic!("{other:?}"),
        }
    };
    let first = ids("id_header = \"X-Id\"", &[("x-id", "1"), ("idempotency-key", "k")]);
    assert_eq!(first.len(), 3);
    for pairs in [&[][..], &[("x-id", "2")], &[("idempotency-key", "l")]] {
        assert_eq!(ids("id_header = \"X-Id\"", pairs)[0], first[0], "{pairs:?}");
    }
    assert_eq!(ids("", &[]), first[..1]);
    assert_eq!(ids("equal_is_repeat = true", &[]), first[..1]);
}

#[test]
fn several_events_and_odd_ones_are_taken() {
    assert_eq!(lines(post(generic("").as_ref(), &[BEARER], b"[{\"a\":1},{\"a\":2}]")).len(), 2);
    let found = lines(post(generic("").as_ref(), &[BEARER], b"[1,\"x\",null,[2]]"));
    assert_eq!((found[0]["value"].as_i64(), found[1]["value"].as_str()), (Some(1), Some("x")));
    let text = [BEARER, ("content-type", "text/plain")];
    assert_eq!(line(post(generic("").as_ref(), &text, b"{\"a\":1}"))["a"], 1);
    let form = [BEARER, ("content-type", "multipart/form-data; boundary=x")];
    assert_eq!(post(generic("").as_ref(), &form, b"x").unwrap_err(), Refusal::UnsupportedMediaType);
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let base = "name = \"other\"\npaths = [\"/x\"]\nsecret_files = [\"/secret\"]\n";
    for (text, key) in [
        ("".to_owned(), "name"),
        ("name = \"A\"".to_owned(), "name"),
        (base.replace("other", "github"), "name"),
        (base.replace("\"/x\"", ""), "paths"),
        (format!("{base}auth = \"basic\""), "user"),
        (format!("{base}auth = \"hmac\""), "header"),
        (format!("{base}auth = \"header\"\nheader = \"\""), "header"),
        (format!("{base}event = \"-\""), "event"),
        (format!("{base}[fields]\nsrcip = \"a\""), "fields"),
        (format!("{base}[fields]\nsource = \"a\""), "fields"),
        (format!("{base}[fields]\nA = \"a\""), "fields"),
        (format!("{base}[fields]\na = \"b..c\""), "fields"),
        (format!("{base}[static]\nfoo = \"a\""), "static"),
        (format!("{base}[static]\nuser = \"a\"\ndstuser = \"b\""), "static"),
    ] {
        let config: Config = config(&text);
        let why = given(None, |given| config.compile(given)).err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(why.key, key, "{text}");
    }
    assert!(toml::from_str::<Config>("auth = \"none\"").is_err());
}
