use super::*;
use crate::source::testing::cpu;
use serde_json::{Value, json};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_795_284_010_042)
}

fn record() -> Record {
    Record::new("test", "it", now())
}

fn shown(record: Record) -> String {
    String::from_utf8(record.finish().as_bytes().to_vec()).unwrap()
}

fn hoisted(text: &str) -> Value {
    let mut record = record();
    let raw: &RawValue = serde_json::from_str(text).unwrap();
    for (name, value) in members(raw) {
        record.hoist("", &name, value, &Redact::default());
    }
    let mut value: Value = serde_json::from_str(&shown(record)).unwrap();
    let object = value.as_object_mut().unwrap();
    for key in ["toolkit", "source", "event", "received_at"] {
        object.remove(key);
    }
    value
}

#[test]
fn a_line_begins_with_what_it_is() {
    let mut record = record();
    record.text("a", "x").text("empty", "").number("n", -5).truth("yes", true);
    record.address("srcip", "::ffff:203.0.113.7".parse().unwrap()).maybe("none", None);
    assert_eq!(
        shown(record),
        "{\"toolkit\":\"custom-webhook\",\"source\":\"test\",\"event\":\"it\",\
         \"received_at\":\"2026-11-21T18:00:10.042Z\",\"a\":\"x\",\"n\":-5,\"yes\":true,\"srcip\":\"203.0.113.7\"}"
    );
}

#[test]
fn numbers_that_wazuh_would_print_otherwise_are_text() {
    let found = hoisted(
        r#"{"a":1,"b":-2147483648,"c":2147483648,"d":1716897300123,"e":1.0,"f":1e3,"g":-0,"h":0.5,"i":12345678901234567890123}"#,
    );
    assert_eq!(
        found,
        json!({"a":1,"b":-2147483648_i64,"c":"2147483648","d":"1716897300123","e":"1.0","f":"1e3","g":"-0","h":"0.5",
               "i":"12345678901234567890123"})
    );
    let digits = hoisted(&format!("{{\"n\":{}}}", "9".repeat(5000)));
    assert!(digits["n"].as_str().unwrap().ends_with("…[cut]"));
}

#[test]
fn nothing_is_written_of_what_is_nothing() {
    assert_eq!(
        hoisted(r#"{"a":null,"b":"","c":[],"d":{},"e":{"f":null},"g":0,"h":false}"#),
        json!({"g":0,"h":false})
    );
}

#[test]
fn objects_become_fields_and_lists_become_text() {
    assert_eq!(
        hoisted(r#"{"a":{"b":{"c":1},"d":[1,{"e":"x"}]},"userAgent":"y","HTTPStatus":2}"#),
        json!({"a_b_c":1,"a_d":"[1,{\"e\":\"x\"}]","user_agent":"y","httpstatus":2})
    );
}

#[test]
fn names_that_mean_something_are_not_taken_from_others() {
    let keys = FIXED.iter().chain(&OURS).chain(&TAKEN);
    let object: Value =
        keys.clone().map(|key| ((*key).to_owned(), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    let found = hoisted(&object.to_string());
    for key in keys {
        assert!(
            found.get(key).is_none() && found.get(format!("{key}_")) == Some(&json!("x")),
            "{key}: {found}"
        );
    }
    assert_eq!(
        hoisted(r#"{"@source":"x","Source":"y","WAFAction":"z"}"#),
        json!({"source_":"x","source__2":"y","wafaction_":"z"})
    );
    // Below something of the sender's own they mean nothing.
    assert_eq!(
        hoisted(r#"{"x":{"srcip":"1.2.3.4","action":"a"}}"#),
        json!({"x_srcip":"1.2.3.4","x_action":"a"})
    );
}

#[test]
fn no_two_fields_have_one_name() {
    assert_eq!(hoisted(r#"{"a":1,"A":2,"a ":3,"a":4}"#), json!({"a":1,"a_2":2,"a_3":3,"a_4":4}));
    assert_eq!(hoisted(r#"{"":1,"-":2,"é":3}"#), json!({"field":1,"field_2":2,"field_3":3}));
    let many: String = (0..30).map(|number| format!("\"a\":{number},")).collect();
    let found = hoisted(&format!("{{{many}\"b\":1}}"));
    assert_eq!(
        (found["a_20"].clone(), found["fields_cut"].clone(), found["b"].clone()),
        (json!(19), json!(10), json!(1))
    );
    let long = "x".repeat(500);
    let found = hoisted(&format!("{{\"{long}\":1,\"{long}y\":2}}"));
    assert!(found.as_object().unwrap().keys().all(|key| key.len() <= LONGEST_KEY), "{found}");
    assert_eq!(found.as_object().unwrap().len(), 2);
}

#[test]
fn control_characters_are_escaped_and_what_misleads_is_replaced() {
    let mut record = record();
    record.text(
        "t",
        "a\u{1b}[2J\n\r\t\u{1}\u{1f}\"\\b\0\u{7f}\u{85}\u{202e}\u{200b}\u{feff}\u{2028}\u{e0041}é😀",
    );
    let text = shown(record);
    assert!(
        text.ends_with(
            "\"t\":\"a\\u001b[2J\\n\\r\\t\\u0001\\u001f\\\"\\\\b\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}é😀\"}"
        ),
        "{text}"
    );
    assert!(serde_json::from_str::<Value>(&text).is_ok());
}

#[test]
fn what_is_long_is_cut_and_says_so() {
    for c in ["x", "\"", "é", "😀", "\u{1}", "\\"] {
        for most in [50, 51, 52, 53, 54, 55, 56] {
            let mut out = Vec::new();
            quote(&c.repeat(100), most, &mut out);
            let text: String = serde_json::from_slice(&out).unwrap();
            assert!(
                text.ends_with(CUT) && out.len() <= most + 2 && out.len() + 9 > most,
                "{c} {most}: {text}"
            );
        }
    }
    let mut out = Vec::new();
    quote(&"x".repeat(50), 50, &mut out);
    assert_eq!(out.len(), 52);
}

#[test]
fn a_line_keeps_within_its_limits_and_counts_what_is_left_out() {
    let fields: String = (0..500).map(|number| format!("\"k{number}\":{number},")).collect();
    let found = hoisted(&format!("{{{fields}\"z\":1}}"));
    // With the four before it, and the receipt that comes to it.
    assert_eq!(found.as_object().unwrap().len() + 4 + 1, 200);
    assert_eq!(found["fields_cut"], 501 - 194);
    for c in ["x", "\\u0001", "\\\"", "é"] {
        let long: String =
            (0..100).map(|number| format!("\"k{number}\":\"{}\",", c.repeat(20_000))).collect();
        let mut record = record();
        let text = format!("{{{long}\"z\":1}}");
        let raw: &RawValue = serde_json::from_str(&text).unwrap();
        record.hoist("", "all", raw, &Redact::default());
        let line = record.finish();
        assert!(line.as_bytes().len() + ADDED <= LONGEST && line.as_bytes().len() > LONGEST - 300);
        let value: Value = serde_json::from_slice(line.as_bytes()).unwrap();
        assert!(value["fields_cut"].as_u64().unwrap() > 80);
    }
}

#[test]
fn a_line_that_may_block_somebody_leaves_room_for_the_alert() {
    let mut record = Record::within(Limits::NARROW, "application", "auth_login_failed", now());
    let text = format!(
        "{{\"a\":\"{0}\",\"b\":\"{0}\",\"c\":\"{0}\",\"d\":\"{0}\",\"e\":\"{0}\",\"f\":\"{0}\"}}",
        "\\\"".repeat(900)
    );
    let raw: &RawValue = serde_json::from_str(&text).unwrap();
    record.hoist("", "details", raw, &Redact::default());
    let line = record.finish();
    // The alert has the fields, the line, and eleven lines before it.
    let quoted = serde_json::to_string(std::str::from_utf8(line.as_bytes()).unwrap()).unwrap().len();
    let alert = line.as_bytes().len() + 12 * quoted;
    assert!(alert < 62_000, "{alert}");
}

#[test]
fn secrets_do_not_come_through() {
    assert_eq!(
        hoisted(
            r#"{"password":"x","ok":{"apiKey":"y","list":[{"token":"z"}]},"cookie":{"a":"b"},"has_password":true}"#
        ),
        json!({"password":"[redacted]","ok_api_key":"[redacted]","ok_list":"[{\"token\":\"[redacted]\"}]",
               "cookie":"[redacted]","has_password":true})
    );
}

#[test]
fn secrets_in_pairs_and_in_texts_do_not_come_through() {
    assert_eq!(
        hoisted(
            r#"{"x":{"name":"X-Api-Key","value":"s1","n":1},"url":"/a?token=s2&b=c","json":"{\"password\":\"s3\"}",
                "headers":[{"name":"Cookie","value":"s4"}],"db":"postgres://u:s5@h/d"}"#
        ),
        json!({"x_name":"X-Api-Key","x_value":"[redacted]","x_n":1,"url_":"/a?token=[redacted]&b=c",
               "json":"{\"password\":\"[redacted]\"}","headers":"[{\"name\":\"Cookie\",\"value\":\"[redacted]\"}]",
               "db":"postgres://u:[redacted]@h/d"})
    );
}

#[test]
fn names_that_are_alike_are_not_tried_again_and_again() {
    let object = |count: usize| {
        let alike: String = (0..count).map(|number| format!("\"a\":{number},")).collect();
        format!("{{{alike}\"b\":1}}")
    };
    let text = object(4000);
    let all: &RawValue = serde_json::from_str(&text).unwrap();
    let before = cpu();
    for _ in 0..50 {
        let mut record = record();
        for (name, value) in members(all) {
            record.hoist("", &name, value, &Redact::default());
        }
        assert_eq!((record.keys.len(), record.cut), (4 + 20 + 1, 4000 - 20));
    }
    // 200,000 members; each tried twenty names before.
    let took = cpu() - before;
    assert!(took < std::time::Duration::from_secs(3), "{took:?}");
}

#[test]
fn very_deep_objects_end_somewhere() {
    let deep = format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(5000), "}".repeat(5000));
    let found = hoisted(&deep);
    assert_eq!(found.as_object().unwrap().len(), 1);
    assert!(found.to_string().contains("too deep"), "{found}");
}

#[test]
fn names_are_spelt_as_rules_write_them() {
    for (prefix, name, key) in [
        ("", "statusCode", "status_code"),
        ("", "Status-Code", "status_code"),
        ("record", "id", "record_id"),
        ("record", "", "record"),
        ("", "__x__", "x"),
        ("", "a.b[0]", "a_b_0"),
        ("", "EC2 Instance State-change Notification", "ec2_instance_state_change_notification"),
        ("", "ip4Address", "ip4_address"),
    ] {
        assert_eq!(spelt(prefix, name), key, "{name}");
    }
}

/// As [`quote`], a character at a time.
fn quoted_slowly(value: &str, most: usize) -> String {
    let (mut out, mut end) = (Vec::new(), 0);
    for c in value.chars() {
        let mut one = Vec::new();
        escape(c, &mut one);
        if out.len() + one.len() > most {
            out.truncate(end);
            out.extend_from_slice(CUT.as_bytes());
            break;
        }
        out.extend(one);
        if out.len() + CUT.len() <= most {
            end = out.len();
        }
    }
    format!("\"{}\"", String::from_utf8(out).unwrap())
}

#[test]
fn a_text_is_cut_at_the_same_place_however_it_is_copied() {
    let texts = [
        "",
        "plain text of some length",
        "a\u{1}b\"\\c\n",
        "\u{1f4a3}é\u{202e}x",
        "aé",
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ];
    for (one, other) in texts.iter().flat_map(|one| texts.iter().map(move |other| (one, other))) {
        let text = format!("{one}{other}{one}");
        for most in CUT.len()..text.len() * 3 + CUT.len() {
            let mut out = Vec::new();
            quote(&text, most, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), quoted_slowly(&text, most), "{text:?} in {most}");
        }
    }
}
