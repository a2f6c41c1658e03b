//! JSON of others, walked without being decoded.
//!
//! A body is looked at through `&RawValue`: what is not wanted is skipped, so a
//! body of 25 MB costs no memory, a number is the text that was sent, and half
//! a surrogate in a name that nobody asks for is no reason to refuse an event.
//! Skipping is not recursive, and what walks here has a depth of its own.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::redact::{REDACTED, Redact, called, told};

/// Objects in objects deeper than this are not walked, but taken as text.
pub const DEEPEST: usize = 16;
/// Of one object or list, more members are not looked at.
pub const MOST_MEMBERS: usize = 4096;

/// A document, whatever bytes it was.
#[derive(Debug)]
pub enum Document<'a> {
    /// As it came.
    Sent(&'a RawValue),
    /// It was not UTF-8: each wrong byte has become U+FFFD.
    Mended(Box<RawValue>),
}

impl<'a> Document<'a> {
    /// Checks that a body is one JSON value.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(body: &'a [u8]) -> Result<Document<'a>, String> {
        let shown = |why: serde_json::Error| format!("not JSON: {why}");
        match std::str::from_utf8(body) {
            Ok(text) => serde_json::from_str(text).map(Document::Sent).map_err(shown),
            Err(_) => {
                let text = String::from_utf8_lossy(body);
                serde_json::from_str(&text).map(Document::Mended).map_err(shown)
            }
        }
    }

    /// The value.
    #[must_use]
    pub fn root(&self) -> &RawValue {
        match self {
            Document::Sent(raw) => raw,
            Document::Mended(raw) => raw,
        }
    }
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Truth(bool),
    /// A number, as it was written.
    Number(&'a str),
    /// A text.
    Text(Cow<'a, str>),
    /// A list; see [`items`].
    List,
    /// An object; see [`members`].
    Object,
}

/// Looks at a value.
#[must_use]
pub fn shape(raw: &RawValue) -> Shape<'_> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => Shape::Object,
        Some(b'[') => Shape::List,
        Some(b'"') => Shape::Text(unquoted(text)),
        Some(b't') => Shape::Truth(true),
        Some(b'f') => Shape::Truth(false),
        Some(b'n') | None => Shape::Null,
        Some(_) => Shape::Number(text),
    }
}

/// The text of a scalar; of lists, objects and null there is none.
#[must_use]
pub fn scalar(raw: &RawValue) -> Option<Cow<'_, str>> {
    match shape(raw) {
        Shape::Text(text) => Some(text),
        Shape::Number(_) | Shape::Truth(_) => Some(Cow::Borrowed(raw.get())),
        Shape::Null | Shape::List | Shape::Object => None,
    }
}

fn unquoted(quoted: &str) -> Cow<'_, str> {
    if quoted.len() >= 2 && !quoted.contains('\\') {
        return Cow::Borrowed(&quoted[1..quoted.len() - 1]);
    }
    let mut deserializer = serde_json::Deserializer::from_str(quoted);
    Key::deserialize(&mut deserializer).map_or(Cow::Borrowed(""), |key| key.0)
}

/// A text of which half surrogates have become U+FFFD. Only as bytes does
/// `serde_json` hand such a text out.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Key<'de>, E> {
                Ok(Key(String::from_utf8_lossy(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(String::from_utf8_lossy(bytes).into_owned())))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// The members of an object, the first [`MOST_MEMBERS`] of them; none of
/// anything else. A name may be there twice.
#[must_use]
pub fn members(raw: &RawValue) -> Vec<(Cow<'_, str>, &RawValue)> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(Key(key)) = map.next_key()? {
                if found.len() < MOST_MEMBERS {
                    found.push((key, map.next_value()?));
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    if !raw.get().starts_with('{') {
        return Vec::new();
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    deserializer.deserialize_map(Members).unwrap_or_default()
}

/// The items of a list, the first [`MOST_MEMBERS`] of them; none of anything else.
#[must_use]
pub fn items(raw: &RawValue) -> Vec<&RawValue> {
    struct Items;
    impl<'de> Visitor<'de> for Items {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while found.len() < MOST_MEMBERS {
                match list.next_element()? {
                    Some(item) => found.push(item),
                    None => return Ok(found),
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(found)
        }
    }
    if !raw.get().starts_with('[') {
        return Vec::new();
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    deserializer.deserialize_seq(Items).unwrap_or_default()
}

/// The member of this name; of several the last one, as everybody reads it.
#[must_use]
pub fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    members(raw).into_iter().rfind(|(key, _)| key == name).map(|(_, value)| value)
}

/// A list or object on one line, secrets taken out; of more than `most` bytes
/// only as much.
#[must_use]
pub fn compact(raw: &RawValue, redact: &Redact, most: usize) -> String {
    let mut writer = Writer { redact, most, looks_into_texts: true, replaced: false, text: String::new() };
    writer.write(raw, DEEPEST);
    writer.text
}

/// A text without the secrets that it names: those of a URL or a form, and once,
/// not in texts within, those of JSON that was put into a text. Of that, `most`
/// bytes are worth having.
#[must_use]
pub fn clean<'t>(text: &'t str, redact: &Redact, most: usize) -> Cow<'t, str> {
    if redact.is_off() {
        return Cow::Borrowed(text);
    }
    if text.trim_start().starts_with(['{', '['])
        && let Ok(raw) = serde_json::from_str::<&RawValue>(text)
    {
        let mut writer =
            Writer { redact, most, looks_into_texts: false, replaced: false, text: String::new() };
        writer.write(raw, DEEPEST);
        // As it was sent, unless there was a secret.
        return if writer.replaced { Cow::Owned(writer.text) } else { Cow::Borrowed(text) };
    }
    redact.text(text)
}

/// Writes JSON on one line, without secrets.
struct Writer<'r> {
    redact: &'r Redact,
    most: usize,
    looks_into_texts: bool,
    /// There was a secret.
    replaced: bool,
    text: String,
}

impl Writer<'_> {
    fn write(&mut self, raw: &RawValue, depth: usize) {
        if self.text.len() > self.most {
            return;
        }
        match shape(raw) {
            // What is too deep to be looked through may hold anything.
            Shape::Object | Shape::List if depth == 0 => {
                self.replaced = true;
                self.text.push_str("\"[too deep]\"");
            }
            Shape::Object => {
                self.text.push('{');
                let members = members(raw);
                let told = told(&members);
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                    }
                    quote(key, &mut self.text);
                    self.text.push(':');
                    match self.redact.replaces(called(told.as_deref(), key), value) {
                        Some(instead) => {
                            self.replaced = true;
                            quote(instead, &mut self.text);
                        }
                        None => self.write(value, depth - 1),
                    }
                }
                self.text.push('}');
            }
            Shape::List => {
                self.text.push('[');
                // Names and values of headers may take turns in it.
                let mut is_hidden = false;
                for (index, item) in items(raw).into_iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                    }
                    let is_text = item.get().starts_with('"');
                    if is_hidden && is_text {
                        self.replaced = true;
                        is_hidden = false;
                        quote(REDACTED, &mut self.text);
                    } else {
                        is_hidden =
                            is_text && scalar(item).is_some_and(|text| self.redact.is_secret_header(&text));
                        self.write(item, depth - 1);
                    }
                }
                self.text.push(']');
            }
            Shape::Text(value) => {
                let clean = if self.looks_into_texts {
                    clean(&value, self.redact, self.most)
                } else {
                    self.redact.text(&value)
                };
                self.replaced |= matches!(clean, Cow::Owned(_));
                quote(&clean, &mut self.text);
            }
            Shape::Number(_) | Shape::Truth(_) | Shape::Null => self.text.push_str(raw.get()),
        }
    }
}

fn quote(value: &str, text: &mut String) {
    struct Sink<'a>(&'a mut String);
    impl std::io::Write for Sink<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.push_str(&String::from_utf8_lossy(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    // A text can always be written.
    let _ = value.serialize(&mut serde_json::Serializer::new(Sink(text)));
}

/// Values wanted of a document, found in one pass over it.
#[derive(Debug, Clone, Default)]
pub struct Picker {
    root: Node,
    /// How many are wanted.
    paths: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    name: String,
    /// Which of the wanted ones this is.
    wanted: Vec<usize>,
    children: Vec<Node>,
}

/// The steps of a path: `a.b.0`, or `/a.b/c~1d` as a JSON pointer has it.
///
/// # Errors
/// When it has no or an empty step.
pub fn steps(path: &str) -> Result<Vec<String>, String> {
    let steps: Vec<String> = match path.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect(),
        None => path.split('.').map(str::to_owned).collect(),
    };
    if steps.iter().any(String::is_empty) || steps.len() > DEEPEST {
        return Err(format!("{path:?} is no path like a.b.0 or /a.b/c"));
    }
    Ok(steps)
}

impl Picker {
    /// For these paths.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p str>) -> Result<Picker, String> {
        let mut picker = Picker::default();
        for path in paths {
            let steps = steps(path)?;
            let mut node = &mut picker.root;
            for step in &steps {
                let found = node.children.iter().position(|child| child.name == *step);
                let index = found.unwrap_or_else(|| {
                    node.children.push(Node { name: step.clone(), ..Node::default() });
                    node.children.len() - 1
                });
                node = &mut node.children[index];
            }
            node.wanted.push(picker.paths);
            picker.paths += 1;
        }
        Ok(picker)
    }

    /// What is at each path, in their order. The body must be one JSON value.
    ///
    /// # Errors
    /// When it is not.
    pub fn pick<'a>(&self, body: &'a [u8]) -> Result<Vec<Option<&'a RawValue>>, serde_json::Error> {
        let mut found = vec![None; self.paths];
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        Seed { node: &self.root, found: &mut found }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(found)
    }

    /// The same in a document that was checked. Each value on the way is gone
    /// through once.
    #[must_use]
    pub fn pick_from<'a>(&self, root: &'a RawValue) -> Vec<Option<&'a RawValue>> {
        let mut found = vec![None; self.paths];
        self.root.pick(root, &mut found);
        found
    }
}

impl Node {
    fn pick<'a>(&self, raw: &'a RawValue, found: &mut Vec<Option<&'a RawValue>>) {
        for wanted in &self.wanted {
            found[*wanted] = Some(raw);
        }
        if self.children.is_empty() {
            return;
        }
        match shape(raw) {
            Shape::Object => {
                let members = members(raw);
                for child in &self.children {
                    let last = members.iter().rfind(|(name, _)| *name == child.name);
                    last.into_iter().for_each(|(_, value)| child.pick(value, found));
                }
            }
            Shape::List => {
                let items = items(raw);
                for child in &self.children {
                    let item = child.name.parse::<usize>().ok().and_then(|index| items.get(index));
                    item.into_iter().for_each(|item| child.pick(item, found));
                }
            }
            _ => {}
        }
    }
}

struct Seed<'p, 'f, 'a> {
    node: &'p Node,
    found: &'f mut Vec<Option<&'a RawValue>>,
}

impl<'a> DeserializeSeed<'a> for Seed<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.node.wanted.is_empty() {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue>::deserialize(deserializer)?;
        for wanted in &self.node.wanted {
            self.found[*wanted] = Some(raw);
        }
        if !self.node.children.is_empty() && raw.get().starts_with(['{', '[']) {
            let mut within = serde_json::Deserializer::from_str(raw.get());
            return within.deserialize_any(self).map_err(serde::de::Error::custom);
        }
        Ok(())
    }
}

impl<'a> Visitor<'a> for Seed<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            match self.node.children.iter().find(|child| child.name == key) {
                Some(node) => map.next_value_seed(Seed { node, found: &mut *self.found })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let wanted = self.node.children.iter().find(|child| child.name.parse() == Ok(index));
            let there = match wanted {
                Some(node) => list.next_element_seed(Seed { node, found: &mut *self.found })?.is_some(),
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !there {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
