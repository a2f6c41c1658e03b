//! Texts with variables, each escaped for the place where it stands.
//!
//! `{name}`, of a–z, 0–9 and `_` only, is a variable; any other brace is a
//! brace, so JSON can be written as it is. What stands for a variable comes
//! from alerts, and so from attackers: it can never leave its place.

use std::collections::BTreeMap;
use std::fmt::Write;

use common::address::Target;

/// What kind of value a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number; may stand in JSON without quotes.
    Number,
    /// Any text.
    Text,
    /// A secret: not in URLs, never in a message.
    Secret,
    /// Taken from an earlier answer: text or number.
    Captured,
}

/// The names that may be used, with a sample of each value.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<String, (Kind, String)>);

/// The values of the names, as they are for one item.
pub(super) type Values = BTreeMap<String, String>;

/// What a template is a template of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Path and query.
    Url,
    /// The value of a header.
    Header,
    /// A JSON body.
    Json,
    /// An XML body.
    Xml,
    /// A body of `application/x-www-form-urlencoded`.
    Urlencoded,
    /// Anything else: line breaks and other controls do not get in.
    Plain,
}

/// Where a variable stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
    JsonString,
    JsonNumber,
    Xml,
    Urlencoded,
    Plain,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Variable(String, Place),
}

/// A text with variables, checked.
#[derive(Debug)]
pub(super) struct Template(Vec<Part>);

/// True of what may stand between the braces of a variable.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl Names {
    /// Adds a name; false when it is none or taken.
    pub(super) fn declare(&mut self, name: &str, kind: Kind, sample: &str) -> bool {
        is_name(name) && self.0.insert(name.to_owned(), (kind, sample.to_owned())).is_none()
    }

    fn samples(&self) -> Values {
        self.0.iter().map(|(name, (_, sample))| (name.clone(), sample.clone())).collect()
    }
}

impl Template {
    /// Reads a template and tries it on samples.
    pub(super) fn parse(text: &str, form: Form, names: &Names) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut scan = Scan::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let inner = rest.strip_prefix('{').and_then(|tail| tail.split_once('}')).map(|(name, _)| name);
            let Some(name) = inner.filter(|name| is_name(name)) else {
                scan.step(c);
                literal.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            };
            let Some(&(kind, _)) = names.0.get(name) else { return Err(format!("{{{name}}} is not known")) };
            let place = match form {
                Form::Url if kind == Kind::Secret => {
                    return Err(format!("{{{name}}} is secret and a URL is not"));
                }
                Form::Url if scan.question => Place::Query,
                Form::Url => Place::Path,
                Form::Header => Place::Header,
                Form::Json if scan.quoted => Place::JsonString,
                Form::Json if matches!(kind, Kind::Number | Kind::Captured) => Place::JsonNumber,
                Form::Json => return Err(format!("{{{name}}} must stand between quotes")),
                Form::Xml => Place::Xml,
                Form::Urlencoded => Place::Urlencoded,
                Form::Plain => Place::Plain,
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Variable(name.to_owned(), place));
            rest = &rest[name.len() + 2..];
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        let template = Template(parts);
        template.check(form, names)?;
        Ok(template)
    }

    fn check(&self, form: Form, names: &Names) -> Result<(), String> {
        for part in &self.0 {
            if let Part::Text(text) = part
                && match form {
                    Form::Url => !text.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\'),
                    Form::Header | Form::Urlencoded => text.chars().any(|c| c.is_control() || !c.is_ascii()),
                    Form::Json | Form::Xml | Form::Plain => false,
                }
            {
                return Err(format!("{text:?} has characters that cannot stand there"));
            }
        }
        if form == Form::Url && !matches!(self.0.first(), Some(Part::Text(text)) if text.starts_with('/')) {
            return Err("must begin with /".into());
        }
        let sample = self.render(&names.samples())?;
        if form == Form::Json {
            serde_json::from_str::<serde::de::IgnoredAny>(&sample)
                .map_err(|why| format!("is not JSON: {why}"))?;
        }
        Ok(())
    }

    /// True when it uses this name.
    pub(super) fn uses(&self, name: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Variable(own, _) if own == name))
    }

    /// The text with its values in place.
    ///
    /// Fails when a value cannot stand where it would: a text for a number, an
    /// empty or dotted part of a path (the request would be about something
    /// else, often about everything).
    pub(super) fn render(&self, values: &Values) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(name, place) => {
                    let value = values.get(name).ok_or_else(|| format!("{{{name}}} has no value"))?;
                    place.write(&mut out, value).map_err(|why| format!("{{{name}}} {why}"))?;
                }
            }
        }
        let is_url = self.0.iter().any(|p| matches!(p, Part::Variable(_, Place::Path)));
        if is_url && out.split('?').next().unwrap_or_default().split('/').any(is_dots) {
            return Err("a part of the path is only dots".into());
        }
        Ok(out)
    }
}

impl Place {
    fn write(self, out: &mut String, value: &str) -> Result<(), &'static str> {
        match self {
            Place::Path if value.is_empty() => return Err("is empty, in a path"),
            Place::Path | Place::Query => percent(out, value, ":*"),
            Place::Urlencoded => percent(out, value, ""),
            Place::Header => out.extend(value.chars().map(|c| match c {
                ' '..='~' => c,
                c if c.is_control() => ' ',
                _ => '?',
            })),
            Place::JsonString => {
                let quoted = serde_json::Value::from(value).to_string();
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
            Place::JsonNumber => {
                let number = serde_json::from_str::<serde_json::Number>(value);
                out.push_str(&number.map_err(|_| "is not a number")?.to_string());
            }
            Place::Xml => out.extend(value.chars().map(|c| match c {
                '&' => "&amp;".to_owned(),
                '<' => "&lt;".to_owned(),
                '>' => "&gt;".to_owned(),
                '"' => "&quot;".to_owned(),
                '\'' => "&apos;".to_owned(),
                '\u{fffe}' | '\u{ffff}' => " ".to_owned(),
                c if c.is_control() => " ".to_owned(),
                c => c.to_string(),
            })),
            Place::Plain => out.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c })),
        }
        Ok(())
    }
}

/// What a scan of the literal text has seen, up to where a variable stands.
#[derive(Default)]
struct Scan {
    question: bool,
    quoted: bool,
    escaped: bool,
}

impl Scan {
    fn step(&mut self, c: char) {
        self.question |= c == '?';
        match c {
            _ if self.escaped => self.escaped = false,
            '\\' => self.escaped = self.quoted,
            '"' => self.quoted = !self.quoted,
            _ => {}
        }
    }
}

fn percent(out: &mut String, value: &str, also: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Parts of a path that lead elsewhere.
fn is_dots(part: &str) -> bool {
    matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

/// True when both are the same text or two spellings of one address.
pub(super) fn same(one: &str, other: &str) -> bool {
    one == other
        || matches!((one.parse::<Target>(), other.parse::<Target>()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests;
