//! From a line to fields.

use harness::rules::{Event, Outcome, Session};
use serde_json::json;

use crate::{outcome, ruleset};

fn decode(line: &str) -> Outcome {
    Session::new(&ruleset("")).feed(&Event::new(line))
}

#[test]
fn every_value_becomes_text() {
    let members = "\"i\":-7,\"big\":4294967296,\"half\":1.50,\"none\":null,\"yes\":true,\"empty\":\"\",\"o\":{},\
                   \"l\":[1,\"a\",{\"k\":[]}],\"e\":[],\"n\":{\"a\":{\"b\":1}}";
    let found = outcome(&ruleset(""), members);
    let text = |name: &str| found.fields.get(name).map(String::as_str);
    assert_eq!(
        (text("i"), text("big"), text("half")),
        (Some("-7"), Some("4294967296.000000"), Some("1.500000"))
    );
    assert_eq!(
        (text("none"), text("yes"), text("empty"), text("o")),
        (Some("null"), Some("true"), Some(""), None)
    );
    assert_eq!((text("l"), text("e")), (Some("[1, \"a\", {\n\t\t\"k\":\t[]\n\t}]"), Some("[]")));
    assert_eq!((text("n.a.b"), text("n")), (Some("1"), None));
    assert_eq!(found.data["l"], json!([1, "a", {"k": []}]));
    assert_eq!((&found.data["e"], &found.data["empty"]), (&json!([]), &json!(null)));
}

#[test]
fn only_keys_at_the_top_are_lifted() {
    let members = "\"srcip\":\"1\",\"systemname\":\"s\",\"system_name\":\"d\",\"Url\":\"x\",\
                   \"data\":{\"srcip\":\"2\"},\"location\":\"l\"";
    let found = outcome(&ruleset(""), members);
    let expected = [
        ("Url", "x"),
        ("data.srcip", "2"),
        ("location", "l"),
        ("m", "t"),
        ("srcip", "1"),
        // The static one hides the dynamic one of this name.
        ("system_name", "s"),
    ];
    let fields: Vec<(&str, &str)> =
        found.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(fields, expected);
    assert_eq!(found.data["system_name"], "s");
}

#[test]
fn user_is_dstuser_unless_there_is_one() {
    for (members, dstuser, user) in [
        ("\"user\":\"u\"", "u", None),
        ("\"user\":\"u\",\"dstuser\":\"d\"", "d", None),
        ("\"dstuser\":\"d\",\"user\":\"u\"", "d", Some("u")),
        ("\"dstuser\":\"\",\"user\":\"u\"", "u", None),
    ] {
        let found = outcome(&ruleset(""), members);
        let text = |name: &str| found.fields.get(name).map(String::as_str);
        assert_eq!((text("dstuser"), text("user")), (Some(dstuser), user), "{members}");
    }
}

#[test]
fn of_names_that_differ_in_capitals_only_the_first_stays() {
    let found =
        outcome(&ruleset(""), "\"Foo\":1,\"foo\":2,\"a\":\"text\",\"a.b\":3,\"C\":{\"d\":4},\"c.e\":5");
    assert_eq!(found.data, json!({"m": "t", "Foo": "1", "a": "text", "C": {"d": "4", "e": "5"}}));
}

#[test]
fn a_text_that_is_a_list_is_one_in_the_alert() {
    let found = outcome(&ruleset(""), "\"a\":\"[1, 2]\",\"b\":\"[x]\"");
    assert_eq!(found.data, json!({"m": "t", "a": [1, 2], "b": "[x]"}));
}

#[test]
fn what_begins_otherwise_is_not_decoded() {
    for (line, decoder) in [
        ("{\"m\":\"t\"}", Some("json")),
        ("{  \"m\":\"t\"} and more", Some("json")),
        ("{\"broken", Some("json")),
        ("{}", None),
        (" {\"m\":\"t\"}", None),
        ("[{\"m\":\"t\"}]", None),
        ("text", None),
    ] {
        let found = decode(line);
        assert_eq!(found.decoder, decoder, "{line}");
        assert_eq!(found.rule.is_some(), line.contains("\"t\"") && decoder.is_some(), "{line}");
    }
}

#[test]
fn a_record_of_an_active_response_has_its_header_taken_off() {
    let good = "2026/11/21 10:12:43 active-response/bin/x: {\"command\":\"add\",\"n\":{\"a\":1}}";
    let found = decode(good);
    assert_eq!(found.decoder, Some("ar_log_json"));
    assert_eq!((found.fields["command"].as_str(), found.fields["n.a"].as_str()), ("add", "1"));
    // Decoded, but not an object: no field.
    let other = decode("2026/11/21 10:12:43 active-response/bin/x: Starting");
    assert_eq!((other.decoder, other.fields.len()), (Some("ar_log_json"), 0));
    for (from, to) in [
        ("2026/11/21 ", "2026.11.21 "),
        (" active-response", " /var/ossec/active-response"),
        ("x: ", "x:"),
        ("x: ", ": "),
        ("2026", " 2026"),
    ] {
        assert_eq!(decode(&good.replacen(from, to, 1)).decoder, None, "{to}");
    }
}

#[test]
fn address_and_user_of_a_record_come_from_its_text() {
    let line = |alert: &str| {
        format!("2026/11/21 10:12:43 active-response/bin/x: {{\"srcip\":\"::1\",\"p\":{alert}}}")
    };
    let lifted = |alert: &str| {
        let fields = decode(&line(alert)).fields;
        (fields.get("srcip").cloned().unwrap(), fields.get("dstuser").cloned())
    };
    assert_eq!(lifted("{\"data\":{\"srcip\":\"192.0.2.1\"}}"), ("192.0.2.1".to_owned(), None));
    // Not the first of its object, so not seen.
    let second = "{\"data\":{\"action\":\"x\",\"srcip\":\"192.0.2.1\",\"dstuser\":\"u\"}}";
    assert_eq!(lifted(second), ("::1".to_owned(), Some("u".to_owned())));
}

#[test]
#[should_panic(expected = "f256 is lost")]
fn a_field_too_many_is_no_silent_loss() {
    let members: Vec<String> = (0..=256).map(|number| format!("\"f{number}\":1")).collect();
    let _ = decode(&format!("{{{}}}", members.join(",")));
}

#[test]
#[should_panic(expected = "syslog header")]
fn a_line_with_a_header_is_not_guessed_at() {
    let _ = decode("Nov 21 10:12:43 host program: {\"m\":\"t\"}");
}

#[test]
#[should_panic(expected = "another decoder")]
fn a_line_for_another_decoder_is_not_guessed_at() {
    let _ = decode("{\"integration\":\"ms-graph\"}");
}
