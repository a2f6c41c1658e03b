use super::*;
use crate::source::testing::cpu;

fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_is_wanted_is_found_in_one_pass_and_step_by_step() {
    let body =
        br#"{"a":{"b":[{"c":1},{"c":"two"}],"x.y/z~":true},"skip":[[[{"a":{"b":9}}]]],"n":1e999,"e":{}}"#;
    let paths =
        ["a.b.0.c", "a.b.1.c", "a.b", "/a/x.y~1z~0", "n", "a.b.7.c", "nothing.at.all", "n.below", "e"];
    let picker = Picker::new(paths).unwrap();
    let expected = [
        Some("1"),
        Some("\"two\""),
        Some(r#"[{"c":1},{"c":"two"}]"#),
        Some("true"),
        Some("1e999"),
        None,
        None,
        None,
        Some("{}"),
    ];
    let found = picker.pick(body).unwrap();
    assert_eq!(found.iter().map(|raw| raw.map(RawValue::get)).collect::<Vec<_>>(), expected);
    let document = Document::parse(body).unwrap();
    let found = picker.pick_from(document.root());
    assert_eq!(found.iter().map(|raw| raw.map(RawValue::get)).collect::<Vec<_>>(), expected);
}

#[test]
fn of_two_members_of_one_name_the_last_counts() {
    let picker = Picker::new(["a"]).unwrap();
    let found = picker.pick(br#"{"a":1,"a":2}"#).unwrap();
    assert_eq!(found[0].unwrap().get(), "2");
    assert_eq!(member(raw(r#"{"a":1,"a":2}"#), "a").unwrap().get(), "2");
    assert_eq!(members(raw(r#"{"a":1,"a":2}"#)).len(), 2);
}

#[test]
fn paths_that_are_none_are_refused() {
    for path in ["", ".", "a..b", "a.", ".a", "/", "/a//b", &"a.".repeat(40)] {
        assert!(Picker::new([path]).is_err(), "{path}");
    }
}

#[test]
fn half_surrogates_and_wrong_bytes_are_no_reason_to_refuse() {
    for text in [r#"{"a":"x\ud800y","b\udc00":1}"#, r#"{"a":"x\ud800\u0041y","b":"\udfff"}"#] {
        let document = Document::parse(text.as_bytes()).unwrap();
        let found = members(document.root());
        assert_eq!(found.len(), 2);
        let text = scalar(found[0].1).unwrap();
        assert!(text.starts_with('x') && text.ends_with('y') && text.contains('\u{fffd}'), "{text}");
    }
    let document = Document::parse(b"{\"a\":\"\xff\xfe\",\"\xc3\":\"\xf0\x9f\x98\x80\"}").unwrap();
    assert!(matches!(document, Document::Mended(_)));
    let found = members(document.root());
    assert_eq!(scalar(found[0].1).unwrap(), "\u{fffd}\u{fffd}");
    assert_eq!(scalar(found[1].1).unwrap(), "😀");
}

#[test]
fn what_is_no_json_is_refused_and_nothing_is_too_deep() {
    let deep = format!("{}1{}", "[".repeat(500_000), "]".repeat(500_000));
    let nested = format!("{}1{}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
    for text in ["", " ", "{", "{\"a\":}", "[1,]", "nul", "{\"a\":1}x", "\"a", "{'a':1}", "{\"a\":01}"] {
        assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        assert!(Picker::new(["a"]).unwrap().pick(text.as_bytes()).is_err(), "{text}");
    }
    for text in [&deep, &nested] {
        let document = Document::parse(text.as_bytes()).unwrap();
        let text = compact(document.root(), &Redact::default(), 1000);
        assert!(text.contains("[too deep]") && text.len() < 2000, "{text}");
        let _ = Picker::new(["a.a.a.a", "0.0.0"]).unwrap().pick_from(document.root());
    }
    let skipped = format!("{{\"b\":{deep},\"a\":2}}");
    assert_eq!(Picker::new(["a"]).unwrap().pick(skipped.as_bytes()).unwrap()[0].unwrap().get(), "2");
}

#[test]
fn shapes_are_what_was_written() {
    for (text, expected) in [
        ("null", Shape::Null),
        ("true", Shape::Truth(true)),
        ("false", Shape::Truth(false)),
        ("-1.50e3", Shape::Number("-1.50e3")),
        ("\"\"", Shape::Text("".into())),
        ("\"a\\n\\\"b\\\\\"", Shape::Text("a\n\"b\\".into())),
        ("[ ]", Shape::List),
        ("{ }", Shape::Object),
    ] {
        assert_eq!(shape(raw(text)), expected, "{text}");
    }
}

#[test]
fn a_compact_text_has_no_secrets_and_an_end() {
    let text = compact(
        raw(r#" { "user" : "x" , "auth" : [ { "Password" : "y", "n" : 1.0 } ], "token": {"a": 1} } "#),
        &Redact::default(),
        1000,
    );
    assert_eq!(text, r#"{"user":"x","auth":[{"Password":"[redacted]","n":1.0}],"token":"[redacted]"}"#);
    let long = format!("[{}0]", "{\"k\":\"v\"},".repeat(10_000));
    let text = compact(raw(&long), &Redact::default(), 100);
    assert!(text.len() < 100 + 2 * MOST_MEMBERS, "{}", text.len());
}

#[test]
fn names_and_values_of_headers_may_take_turns_in_a_list() {
    for (list, clean) in [
        (
            r#"["Host","a","Cookie","sid","X-Api-Key","S","Accept","b"]"#,
            r#"["Host","a","Cookie","[redacted]","X-Api-Key","[redacted]","Accept","b"]"#,
        ),
        (r#"[["Authorization","S"],["Host","a"]]"#, r#"[["Authorization","[redacted]"],["Host","a"]]"#),
        (r#"["Cookie",1,"a"]"#, r#"["Cookie",1,"a"]"#),
        (r#"["token","read"]"#, r#"["token","read"]"#),
    ] {
        assert_eq!(compact(raw(list), &Redact::default(), 1000), clean);
    }
}

#[test]
fn very_many_members_are_not_all_looked_at() {
    let object = format!("{{{}\"last\":1}}", "\"a\":0,".repeat(MOST_MEMBERS + 10));
    assert_eq!(members(raw(&object)).len(), MOST_MEMBERS);
    let list = format!("[{}0]", "0,".repeat(MOST_MEMBERS + 10));
    assert_eq!(items(raw(&list)).len(), MOST_MEMBERS);
    assert!(members(raw(&list)).is_empty() && items(raw(&object)).is_empty());
}

#[test]
fn what_is_said_with_a_name_and_json_in_a_text_hold_no_secrets() {
    let redact = Redact::default();
    let shown = |text: &str| compact(raw(text), &redact, 8000);
    assert_eq!(
        shown(r#"[{"name":"Authorization","value":"Bearer s1"},{"key":"page","value":"2"}]"#),
        r#"[{"name":"Authorization","value":"[redacted]"},{"key":"page","value":"2"}]"#
    );
    assert_eq!(shown(r#"["/x?token=s1&a=b"]"#), r#"["/x?token=[redacted]&a=b"]"#);
    let text = |text: &str| clean(text, &redact, 8000).into_owned();
    assert_eq!(text(r#" {"a": 1, "password": "s1"}"#), r#"{"a":1,"password":"[redacted]"}"#);
    assert_eq!(text(r#"[{"u":"https://a:s1@h"}]"#), r#"[{"u":"https://a:[redacted]@h"}]"#);
    // As it was, where there is none; and no JSON.
    for same in [r#"{"a": [1,  2]}"#, r#"{"password":"#, "[x]", "{", "a=b"] {
        assert_eq!(text(same), same);
    }
    // Once: what is in a text of a text stays.
    let within = serde_json::to_string(r#"{"password":"s1"}"#).unwrap();
    assert!(!shown(&format!("[{within}]")).contains("s1"));
    assert_eq!(clean("{\"password\":1}", &Redact::nothing(), 8000), "{\"password\":1}");
}

#[test]
fn however_many_paths_there_are_each_value_is_gone_through_once() {
    let names: Vec<String> = (0..150).map(|number| format!("k{number}.a")).collect();
    let members: String = (0..150).map(|number| format!("\"k{number}\":{{\"a\":{number}}},")).collect();
    let body = format!("{{{members}\"large\":\"{}\"}}", "x".repeat(4_000_000));
    let document = Document::parse(body.as_bytes()).unwrap();
    let took = |names: &[String]| {
        let picker = Picker::new(names.iter().map(String::as_str)).unwrap();
        let before = cpu();
        assert!(picker.pick_from(document.root()).iter().all(Option::is_some));
        cpu() - before
    };
    let (one, all) = (took(&names[..1]), took(&names));
    assert!(all < one * 20, "{one:?} for one, {all:?} for all");
}
