use super::*;

fn names() -> Names {
    let mut names = Names::default();
    names.declare("text", Kind::Text, "x");
    names.declare("ttl", Kind::Number, "600");
    names.declare("id", Kind::Captured, "1");
    names.declare("password", Kind::Secret, "x");
    names
}

fn values(value: &str) -> Values {
    ["text", "ttl", "id", "password"].map(|name| (name.to_owned(), value.to_owned())).into()
}

fn render(text: &str, form: Form, value: &str) -> Result<String, String> {
    Template::parse(text, form, &names())?.render(&values(value))
}

const HOSTILE: &str = "a\"b\\c\r\nHost: x&d=1#?/../<e>'%{text}é";

#[test]
fn a_value_never_leaves_its_place() {
    for (text, form, expected) in [
        (
            "/r/{text}",
            Form::Url,
            "/r/a%22b%5Cc%0D%0AHost:%20x%26d%3D1%23%3F%2F..%2F%3Ce%3E%27%25%7Btext%7D%C3%A9",
        ),
        (
            "/r?q={text}",
            Form::Url,
            "/r?q=a%22b%5Cc%0D%0AHost:%20x%26d%3D1%23%3F%2F..%2F%3Ce%3E%27%25%7Btext%7D%C3%A9",
        ),
        ("{text}", Form::Header, "a\"b\\c  Host: x&d=1#?/../<e>'%{text}?"),
        (r#"{"a":"{text}"}"#, Form::Json, r#"{"a":"a\"b\\c\r\nHost: x&d=1#?/../<e>'%{text}é"}"#),
        ("<a b='{text}'/>", Form::Xml, "<a b='a&quot;b\\c  Host: x&amp;d=1#?/../&lt;e&gt;&apos;%{text}é'/>"),
        (
            "a={text}",
            Form::Urlencoded,
            "a=a%22b%5Cc%0D%0AHost%3A%20x%26d%3D1%23%3F%2F..%2F%3Ce%3E%27%25%7Btext%7D%C3%A9",
        ),
        ("{text}", Form::Plain, "a\"b\\c  Host: x&d=1#?/../<e>'%{text}é"),
    ] {
        assert_eq!(render(text, form, HOSTILE).as_deref(), Ok(expected), "{form:?}");
    }
}

#[test]
fn json_stays_one_string_for_every_character() {
    let all: String = ('\0'..='\u{ff}').chain(['\u{2028}', '\u{fffd}', '\u{10ffff}']).collect();
    let body = render(r#"{"a":"{text}","b":1}"#, Form::Json, &all).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(parsed["a"], all.as_str());
    assert_eq!(parsed["b"], 1);
}

#[test]
fn a_brace_that_is_no_variable_is_a_brace() {
    for (text, form, expected) in [
        (r#"{"items":[{"id":"{id}"}]}"#, Form::Json, r#"{"items":[{"id":"7"}]}"#),
        (r#"{"a":{ttl}}"#, Form::Json, r#"{"a":7}"#),
        (r#"{"a":[{ttl},{}]}"#, Form::Json, r#"{"a":[7,{}]}"#),
        (r#"{"a\"{text}":"\\","b":{id}}"#, Form::Json, r#"{"a\"7":"\\","b":7}"#),
        ("{", Form::Plain, "{"),
        ("{}", Form::Plain, "{}"),
        ("{Text}{te xt}{text", Form::Plain, "{Text}{te xt}{text"),
        ("{{text}}", Form::Plain, "{7}"),
        ("é{text}é", Form::Plain, "é7é"),
        ("/x{text}-{id}", Form::Url, "/x7-7"),
    ] {
        assert_eq!(render(text, form, "7").as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn a_template_that_cannot_be_right_is_refused_when_it_is_read() {
    for (text, form, why) in [
        ("{nope}", Form::Plain, "{nope} is not known"),
        (r#"{"a":{text}}"#, Form::Json, "must stand between quotes"),
        (r#"{"a":{password}}"#, Form::Json, "must stand between quotes"),
        (r#"{"a":"{text}"#, Form::Json, "is not JSON"),
        (r#"{"a" "{text}"}"#, Form::Json, "is not JSON"),
        ("/login?p={password}", Form::Url, "is secret and a URL is not"),
        ("{text}/a", Form::Url, "must begin with /"),
        ("a", Form::Url, "must begin with /"),
        ("", Form::Url, "must begin with /"),
        ("/a b", Form::Url, "cannot stand there"),
        ("/a#b", Form::Url, "cannot stand there"),
        ("/a\\b", Form::Url, "cannot stand there"),
        ("/a/../{text}", Form::Url, "only dots"),
        ("a\r\nb: c", Form::Header, "cannot stand there"),
    ] {
        let error = Template::parse(text, form, &names()).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn a_value_that_would_change_the_question_is_refused() {
    for (text, form, value) in [
        ("/rules/{text}", Form::Url, ""),
        ("/rules/{text}/x", Form::Url, ".."),
        ("/rules/{text}", Form::Url, "."),
        ("/rules/{text}{id}", Form::Url, "."),
        ("/rules/%2e{text}", Form::Url, "."),
        (r#"{"a":{ttl}}"#, Form::Json, "1,\"b\":2"),
        (r#"{"a":{id}}"#, Form::Json, "x"),
        (r#"{"a":{id}}"#, Form::Json, ""),
    ] {
        assert!(render(text, form, value).is_err(), "{text} with {value:?}");
    }
    for (text, value, expected) in [("/r/{text}", "...", "/r/..."), ("/r?q={text}", "..", "/r?q=..")] {
        assert_eq!(render(text, Form::Url, value).as_deref(), Ok(expected));
    }
}

#[test]
fn pan_os_takes_xml_in_a_form() {
    let body =
        render("type=user-id&cmd=%3Centry%20ip%3D%22{text}%22%2F%3E", Form::Urlencoded, "192.0.2.0/24");
    assert_eq!(body.as_deref(), Ok("type=user-id&cmd=%3Centry%20ip%3D%22192.0.2.0%2F24%22%2F%3E"));
}

#[test]
fn two_spellings_of_an_address_are_the_same() {
    for (one, other, expected) in [
        ("a", "a", true),
        ("a", "b", false),
        ("2001:db8::1", "2001:0db8:0000:0000:0000:0000:0000:0001", true),
        ("2001:db8::1", "2001:db8::1/128", true),
        ("192.0.2.1", "192.0.2.10", false),
        ("192.0.2.1", "192.0.2.0/24", false),
    ] {
        assert_eq!(same(one, other), expected, "{one} {other}");
    }
}

#[test]
fn names_are_taken_once() {
    let mut names = names();
    assert!(names.declare("zone", Kind::Text, "x"));
    for name in ["zone", "text", "", "Zone", "a-b", "é"] {
        assert!(!names.declare(name, Kind::Text, "x"), "{name}");
    }
}
