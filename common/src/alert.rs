//! The fields of an alert, looked up in the bytes as they came.
//!
//! Everything in an alert but its place in the protocol is an attacker's text.
//! So it is never decoded as a whole: a field is found by skipping what is
//! around it, and only the value asked for is turned into text. Invalid UTF-8,
//! lone surrogates, raw control characters, deep nesting and duplicate keys
//! elsewhere can therefore not prevent a field from being read. Of duplicate
//! keys the first counts, as in cJSON (Wazuh 4.14.7, `cJSON_GetObjectItem`).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON document whose strings need not have been Unicode.
#[derive(Debug, Clone)]
pub struct Alert {
    text: String,
    /// The top-level members of an object in their order, found in one pass:
    /// a program asks for a handful of them.
    members: Vec<(Box<str>, Range<usize>)>,
}

/// The bytes are not one JSON document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not JSON ({0})")]
pub struct NotJson(String);

impl Alert {
    /// Takes the bytes of one JSON document.
    ///
    /// Invalid UTF-8 and lone surrogates become U+FFFD, and control characters
    /// blanks: between values they may not stand, and cJSON takes them inside
    /// strings. What is left is JSON by the book.
    ///
    /// # Errors
    /// When the syntax is broken anywhere.
    pub fn parse(bytes: &[u8]) -> Result<Alert, NotJson> {
        let mut text = String::from_utf8_lossy(bytes);
        if text.bytes().any(|byte| byte < b' ') {
            text = Cow::Owned(text.replace(|c: char| c < ' ', " "));
        }
        Alert::index(without_lone_surrogates(text).into_owned())
    }

    fn index(text: String) -> Result<Alert, NotJson> {
        let mut members = Vec::with_capacity(16);
        let mut json = serde_json::Deserializer::from_str(&text);
        let start = text.as_ptr().addr();
        let walked = if text.trim_start().starts_with('{') {
            json.deserialize_map(EachMember(&mut |key, value| {
                let at = value.get().as_ptr().addr() - start;
                members.push((key.into(), at..at + value.get().len()));
            }))
        } else {
            IgnoredAny::deserialize(&mut json).map(drop)
        };
        match walked.and_then(|()| json.end()) {
            Ok(()) => Ok(Alert { text, members }),
            // Its message quotes no input; the column is all that helps.
            Err(error) => Err(NotJson(format!("byte {}: {:?} error", error.column(), error.classify()))),
        }
    }

    /// The document as text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.text
    }

    /// The value at a path.
    #[must_use]
    pub fn get(&self, path: &FieldPath) -> Option<Value<'_>> {
        let (first, rest) = path.0.split_first()?;
        rest.iter().try_fold(self.member(first)?, |value, step| value.member(step))
    }

    /// The value of a top-level member.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Value<'_>> {
        let (_, range) = self.members.iter().find(|(key, _)| **key == *name)?;
        Some(Value(&self.text[range.clone()]))
    }

    /// The text at a dotted path, empty text being as good as none.
    #[must_use]
    pub fn text(&self, dotted: &str) -> Option<String> {
        let mut steps = dotted.split('.');
        let first = self.member(steps.next()?)?;
        steps.try_fold(first, Value::member)?.text().filter(|text| !text.is_empty())
    }
}

/// Replaces each `\uD800` to `\uDFFF` that is no half of a pair. JSON by the
/// book allows them, what reads it as Unicode does not.
fn without_lone_surrogates(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return text;
    }
    let bytes = text.as_bytes();
    // The 16-bit unit of the escape that begins here, if one does.
    let unit = |at: usize| {
        let escape = bytes.get(at..at + 6).filter(|escape| escape.starts_with(b"\\u"))?;
        u16::from_str_radix(std::str::from_utf8(&escape[2..]).ok()?, 16).ok()
    };
    let mut whole = String::with_capacity(text.len());
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        at += match (bytes[at], unit(at)) {
            (b'\\', Some(0xd800..0xdc00)) if matches!(unit(at + 6), Some(0xdc00..0xe000)) => 12,
            (b'\\', Some(0xd800..0xe000)) => {
                whole.push_str(&text[copied..at]);
                whole.push('\u{fffd}');
                copied = at + 6;
                6
            }
            (b'\\', Some(_)) => 6,
            (b'\\', None) => 2,
            _ => 1,
        };
    }
    whole.push_str(&text[copied..]);
    Cow::Owned(whole)
}

/// A value somewhere in an [`Alert`].
#[derive(Debug, Clone, Copy)]
pub struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// The first member of that name, or the element of that number.
    #[must_use]
    pub fn member(self, name: &str) -> Option<Value<'a>> {
        let mut json = serde_json::Deserializer::from_str(self.0);
        match self.0.as_bytes().first()? {
            b'{' => {
                let mut found = None;
                let mut first = |key: &str, value: &'a RawValue| {
                    if found.is_none() && key == name {
                        found = Some(Value(value.get()));
                    }
                };
                json.deserialize_map(EachMember(&mut first)).ok()?;
                found
            }
            b'[' => self.elements()?.get(name.parse::<usize>().ok()?).copied(),
            _ => None,
        }
    }

    /// The value as text, when it is a string.
    #[must_use]
    pub fn text(self) -> Option<String> {
        if !self.0.starts_with('"') {
            return None;
        }
        serde_json::from_str(self.0).ok()
    }

    /// The value as a whole number, also when it is one in a string.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        self.text().as_deref().unwrap_or(self.0).trim().parse().ok()
    }

    /// The elements, when it is an array.
    #[must_use]
    pub fn elements(self) -> Option<Vec<Value<'a>>> {
        if !self.0.starts_with('[') {
            return None;
        }
        let raws: Vec<&'a RawValue> = serde_json::from_str(self.0).ok()?;
        Some(raws.into_iter().map(|raw| Value(raw.get())).collect())
    }

    /// True of `{…}`.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// The value as a document of its own.
    ///
    /// # Errors
    /// None in practice: it is part of a document that was read.
    pub fn to_alert(self) -> Result<Alert, NotJson> {
        Alert::index(self.0.to_owned())
    }
}

/// Where in an alert a field lies: a JSON pointer (`/data/srcip`, RFC 6901)
/// or the dotted path that Wazuh's rules use (`data.srcip`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath(Vec<String>);

/// The text is not a path to a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a dotted path or JSON pointer of at most {MOST_STEPS} steps and {LONGEST_PATH} bytes")]
pub struct NotAPath;

const MOST_STEPS: usize = 32;
const LONGEST_PATH: usize = 512;

impl FieldPath {
    fn dotted(path: &str) -> FieldPath {
        FieldPath(path.split('.').map(str::to_owned).collect())
    }

    /// Reads either form.
    ///
    /// # Errors
    /// When it is empty, too long or has an empty step.
    pub fn parse(text: &str) -> Result<FieldPath, NotAPath> {
        if text.len() > LONGEST_PATH {
            return Err(NotAPath);
        }
        let path = match text.strip_prefix('/') {
            Some(pointer) => {
                FieldPath(pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
            }
            None => FieldPath::dotted(text),
        };
        let sound = path.0.len() <= MOST_STEPS && path.0.iter().all(|step| !step.is_empty());
        if sound { Ok(path) } else { Err(NotAPath) }
    }
}

impl fmt::Display for FieldPath {
    /// Dotted where that says the same, else as a pointer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.iter().any(|step| step.contains(['.', '/', '~'])) {
            self.0.iter().try_for_each(|step| write!(f, "/{}", step.replace('~', "~0").replace('/', "~1")))
        } else {
            f.write_str(&self.0.join("."))
        }
    }
}

/// Hands each member of an object on, its value as it is written.
struct EachMember<'f, 'de>(&'f mut dyn FnMut(&str, &'de RawValue));

impl<'de> Visitor<'de> for EachMember<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            (self.0)(&key, map.next_value()?);
        }
        Ok(())
    }
}

/// A key, copied only where it is written with escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn srcip(bytes: &[u8]) -> Option<String> {
        Alert::parse(bytes).unwrap().text("data.srcip")
    }

    #[test]
    fn a_field_is_found_whatever_stands_around_it() {
        let deep =
            format!(r#"{{"x":{}{},"data":{{"srcip":"192.0.2.1"}}}}"#, "[".repeat(1000), "]".repeat(1000));
        let deeper = format!(
            r#"{{"x":{}{},"data":{{"srcip":"192.0.2.1"}}}}"#,
            "[".repeat(400_000),
            "]".repeat(400_000)
        );
        for line in [
            &br#"{"data":{"srcip":"192.0.2.1"}}"#[..],
            b"{\"full_log\":\"\xff\xfe\xc0\x80\",\"data\":{\"srcip\":\"192.0.2.1\"}}",
            br#"{"full_log":"\ud800 \udfff","\udc00":1,"data":{"\ud800":2,"srcip":"192.0.2.1"}}"#,
            br#"{"data":{"srcip":"192.0.2.1","\ud800":2},"\udc00":1}"#,
            br#"{"data":{"srcip":"192.0.2.1","srcip":"198.51.100.1"},"data":{"srcip":"203.0.113.1"}}"#,
            b"{\"full_log\":\"a\tb\0c\",\"data\":{\"srcip\":\"192.0.2.1\"}}\n",
            br#"{"n":1e99999,"m":-0.0000e-99999,"data":{"srcip":"192.0.2.1"}}"#,
            br#"{"data":{"\u0073rcip":"192.0.2.1"}}"#,
            deep.as_bytes(),
            deeper.as_bytes(),
        ] {
            assert_eq!(srcip(line).as_deref(), Some("192.0.2.1"), "{:.60}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn what_is_not_one_json_document_is_refused() {
        for bytes in [&b""[..], b" ", b"{", b"{}{}", b"nul", b"{\"a\":1,}", b"{'a':1}", b"\xff", b"[1"] {
            assert!(Alert::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_path_is_a_pointer_or_dotted() {
        let alert = Alert::parse(br#"{"a":{"b.c":{"d/e":["x",{"f":"hit"}]}},"n":12}"#).unwrap();
        let at = |path: &str| alert.get(&FieldPath::parse(path).unwrap());
        assert_eq!(at("/a/b.c/d~1e/1/f").unwrap().text().as_deref(), Some("hit"));
        assert!(at("a.b").is_none());
        assert_eq!(at("n").unwrap().number(), Some(12));
        assert!(at("n").unwrap().text().is_none());
        assert!(at("/a/b.c/d~1e/7").is_none());
        for wrong in ["", "/", "a..b", ".a", "a//b"] {
            assert!(FieldPath::parse(wrong).is_ok() == (wrong == "a//b"), "{wrong}");
        }
    }

    #[test]
    fn pairs_of_surrogates_stay_and_lone_ones_are_replaced() {
        for (written, read) in [
            (r"\ud83d\udca3", "\u{1f4a3}"),
            (r"\ud83d\ud83d\udca3", "\u{fffd}\u{1f4a3}"),
            (r"\udca3\ud83d", "\u{fffd}\u{fffd}"),
            (r"\\ud83d", "\\ud83d"),
            (r"\\\ud83d", "\\\u{fffd}"),
            (r"\ud83dx\u0041", "\u{fffd}xA"),
        ] {
            let json = format!(r#"{{"a":"{written}"}}"#);
            assert_eq!(Alert::parse(json.as_bytes()).unwrap().text("a").as_deref(), Some(read), "{written}");
        }
    }

    #[test]
    fn a_lone_surrogate_in_the_field_itself_is_a_replacement_character() {
        assert!(srcip(br#"{"data":{"srcip":"1\ud8002"}}"#).unwrap().contains("\u{fffd}"));
    }
}
