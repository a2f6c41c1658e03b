//! What a pattern of each type matches. The answers to osregex and osmatch are
//! those of the engine's own code.

use serde_json::Value;

use crate::{fired, rule, ruleset};

/// Whether a text is matched, as a field, as its rule would have it.
fn matches(kind: &str, pattern: &str, text: &str) -> bool {
    let rules = rule(100_001, 3, &format!("<field name=\"a\" type=\"{kind}\">{pattern}</field>"));
    fired(&ruleset(&rules), &format!("\"a\":{}", Value::from(text))) == 100_001
}

fn each(kind: &str, table: &[(&str, &[&str], &[&str])]) {
    for (pattern, yes, no) in table {
        for text in *yes {
            assert!(matches(kind, pattern, text), "{pattern} has {text:?}");
        }
        for text in *no {
            assert!(!matches(kind, pattern, text), "{pattern} has not {text:?}");
        }
    }
}

#[test]
fn an_osregex_has_its_own_signs() {
    each(
        "osregex",
        &[
            ("plain", &["plain", "so PLAIN it is"], &["plai", ""]),
            ("^plain", &["plain", "Plainly"], &["so plain"]),
            ("plain$", &["plain", "so plain"], &["plainly"]),
            ("^$", &[""], &["x"]),
            // A dot is a dot, and \. is anything.
            ("^1.2$", &["1.2"], &["1x2"]),
            ("^1\\.2$", &["1.2", "1x2"], &["12"]),
            ("^a|b$|^c$", &["ab", "xb", "c", "C"], &["xa", "bx", "cc"]),
            ("^\\d+$", &["1", "20"], &["", "1a", "a1"]),
            ("^\\w+$", &["a-B_9@"], &["a b", "a.b", "ä"]),
            ("\\s\\t\\S", &["a \tb"], &[" \t ", "\t "]),
            ("^\\p\\W\\D$", &["!,x", "{\\x", "[ä"], &["/,x", "!ax"]),
            ("^\\W\\W$", &["ä", ", "], &["aä"]),
            ("^\\$\\|\\(\\)\\\\$", &["$|()\\"], &["$|()"]),
            ("x-\\d+/", &["x-12/3", "yx-1/"], &["x-/", "x-1"]),
            ("\\.+", &["x", " "], &[""]),
        ],
    );
}

#[test]
fn an_osmatch_has_words_only() {
    each(
        "osmatch",
        &[
            ("word", &["a Word."], &["wor d", ""]),
            ("^one|two$|^three$", &["ONE more", "and two", "three"], &["more one", "two more", "threes"]),
            ("!one|two", &["three", ""], &["one", "a two"]),
            ("a.b+", &["a.b+"], &["axbb"]),
            ("^$", &[""], &["x"]),
        ],
    );
}

#[test]
fn a_pcre2_is_one_of_bytes_that_tells_capitals() {
    each(
        "pcre2",
        &[
            ("^(?:alpha|beta)-\\d+$", &["beta-10"], &["Beta-10", "beta-x"]),
            ("^(?i)abc$", &["aBc"], &["aBcd"]),
            ("^(?!10\\.)[0-9.]+$", &["11.1"], &["10.1"]),
            ("^.$", &["a"], &["ä", ""]),
            ("^(a)\\1$", &["aa"], &["ab"]),
        ],
    );
}

#[test]
fn an_action_without_a_type_is_the_same_text() {
    let exact = ruleset(&rule(100_001, 3, "<action>auth_login</action>"));
    let expression = ruleset(&rule(100_001, 3, "<action type=\"pcre2\">^auth_login</action>"));
    let words = ruleset(&rule(100_001, 3, "<action type=\"osmatch\">^auth_login$</action>"));
    for (text, [a, b, c]) in [
        ("auth_login", [true, true, true]),
        ("Auth_login", [false, false, true]),
        ("auth_login_failed", [false, true, false]),
        ("^auth_login$", [false, false, false]),
    ] {
        let members = format!("\"action\":\"{text}\"");
        let found = [&exact, &expression, &words].map(|ruleset| fired(ruleset, &members) == 100_001);
        assert_eq!(found, [a, b, c], "{text}");
    }
}
