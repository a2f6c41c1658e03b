//! JSON as cJSON reads and prints it: the order of members and their
//! repetitions are kept, a number is an int or a double.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The value at the start of a text; what follows is left alone.
    pub(super) fn parse(text: &str) -> Option<Json> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Json::deserialize(&mut deserializer).ok()
    }

    /// The one text that a field of this value has.
    pub(super) fn text(&self) -> String {
        match self {
            // C sees the end of a text where a NUL is.
            Json::Text(text) => text.split('\0').next().unwrap_or_default().to_owned(),
            Json::Number(number) => match int(*number) {
                Some(int) => int.to_string(),
                None => format!("{number:.6}"),
            },
            other => {
                let mut out = String::new();
                // Writing to a String cannot fail.
                let _ = other.print(&mut out, 0);
                out
            }
        }
    }

    fn print(&self, out: &mut String, depth: usize) -> fmt::Result {
        match self {
            Json::Null => out.write_str("null"),
            Json::Bool(value) => write!(out, "{value}"),
            Json::Number(number) => match int(*number) {
                Some(int) => write!(out, "{int}"),
                None => out.write_str(&serde_json::Value::from(*number).to_string()),
            },
            Json::Text(text) => out.write_str(&serde_json::Value::from(text.as_str()).to_string()),
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.print(out, depth + 1)?;
                }
                out.push(']');
                Ok(())
            }
            Json::Object(members) => {
                out.push_str("{\n");
                for (index, (name, value)) in members.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ",\n" });
                    write!(out, "{}{}:\t", "\t".repeat(depth + 1), serde_json::Value::from(name.as_str()))?;
                    value.print(out, depth + 1)?;
                }
                out.push_str(if members.is_empty() { "" } else { "\n" });
                write!(out, "{}}}", "\t".repeat(depth))
            }
        }
    }
}

/// The number as an int of 32 bits, if it is one.
#[expect(clippy::cast_possible_truncation, reason = "it is compared with what it was made of")]
fn int(number: f64) -> Option<i32> {
    let int = number as i32;
    (f64::from(int) == number).then_some(int)
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Json::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Json::Object(all))
    }
}
