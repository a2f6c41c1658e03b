//! A record of CloudTrail, as Wazuh's own module writes it: nested under `aws`,
//! with its own names.
//!
//! The decoder of Wazuh takes 256 values. Requests and answers can have more
//! (a policy, a hundred instances), so what is deep becomes text, and if that is
//! not enough, what is large.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::value::RawValue;

use crate::json::{self, Shape, items, members, scalar, shape};
use crate::record::{LONGEST, Limits, Line, number, quote, room, timestamp};
use crate::redact::{REDACTED, Redact, called, told};

/// The most values under `aws`; the rest of 200 is around them.
const MOST_LEAVES: usize = 180;
/// Objects deeper than this below the record become text.
const DEEPEST: usize = 6;
/// An object of more members becomes text.
const MOST_MEMBERS: usize = 256;
/// The longest name, in bytes.
const LONGEST_KEY: usize = 64;
/// Values are cut to the first of these lengths with which the line is short
/// enough.
const TEXTS: [usize; 4] = [8_000, 2_000, 400, 60];
/// What may be anything, and so is always an object: an index takes one kind.
const ALWAYS_OBJECTS: [&str; 3] = ["requestParameters", "responseElements", "additionalEventData"];

/// What becomes of a value.
enum Node<'a> {
    /// A scalar.
    Scalar(&'a RawValue),
    /// A list, which Wazuh takes for one value.
    List(&'a RawValue),
    /// An object or list that is written as text.
    Text(&'a RawValue),
    /// The text of a policy.
    Policy(&'a RawValue),
    /// A secret.
    Secret,
    /// An object.
    Object(Vec<(String, Node<'a>)>),
}

/// The line of a record. `via` and `id` say how it came.
pub(super) fn line(raw: &RawValue, now: SystemTime, via: &str, id: &str, redact: &Redact) -> Line {
    let sent = members(raw);
    let mut record = object(raw, redact, 0);
    record.retain(|(name, _)| !matches!(name.as_str(), "source" | "log_info" | "source_ip_address"));
    // These first, then whatever is largest, however often that takes.
    let counts: Vec<usize> = record.iter().map(|(_, node)| count(node)).collect();
    let mut total: usize = counts.iter().sum();
    let first = ["requestParameters", "responseElements"];
    let mut order: Vec<(Option<usize>, usize, usize)> = record
        .iter()
        .enumerate()
        .map(|(index, (name, _))| (first.iter().position(|known| known == name), counts[index], index))
        .filter(|(first, count, _)| first.is_some() || *count > 1)
        .collect();
    order.sort_unstable();
    while total > MOST_LEAVES
        && let Some((_, count, index)) = order.pop()
    {
        fold(&mut record[index], &sent);
        total -= count - 1;
    }
    let cut = sent.len().saturating_sub(MOST_MEMBERS) + record.len().saturating_sub(MOST_LEAVES);
    record.truncate(MOST_LEAVES);
    let written = |most: usize, record: &[(String, Node<'_>)]| {
        let mut out = Vec::with_capacity(raw.get().len() + 400);
        out.extend_from_slice(
            b"{\"toolkit\":\"custom-webhook\",\"source\":\"aws\",\"event\":\"cloudtrail\",\"received_at\":",
        );
        quote(&timestamp(now), 40, &mut out);
        out.extend_from_slice(b",\"integration\":\"aws\",\"aws\":{");
        for (name, node) in record {
            pair(name, &mut out);
            write(node, most, redact, &mut out);
            out.push(b',');
        }
        if let Some(address) = address(raw) {
            pair("source_ip_address", &mut out);
            quote(&address.to_string(), 60, &mut out);
            out.push(b',');
        }
        out.extend_from_slice(b"\"source\":\"cloudtrail\",\"log_info\":{\"via\":");
        quote(via, 60, &mut out);
        if !id.is_empty() {
            out.extend_from_slice(b",\"id\":");
            quote(id, 100, &mut out);
        }
        out.extend_from_slice(b"}}");
        if cut > 0 {
            out.extend_from_slice(format!(",\"fields_cut\":{cut}").as_bytes());
        }
        out.push(b'}');
        out
    };
    for most in TEXTS {
        let out = written(most, &record);
        if out.len() <= room(Limits::WIDE) {
            return Line::made(out);
        }
    }
    // Names alone are too long: nothing of that is CloudTrail's.
    record.truncate(20);
    for (_, node) in &mut record {
        *node = Node::Secret;
    }
    let out = written(60, &record);
    debug_assert!(out.len() < LONGEST);
    Line::made(out)
}

/// The address of who did it, where it is one and not the name of a service.
fn address(raw: &RawValue) -> Option<IpAddr> {
    json::member(raw, "sourceIPAddress").and_then(scalar)?.parse().ok()
}

fn object<'a>(raw: &'a RawValue, redact: &Redact, depth: usize) -> Vec<(String, Node<'a>)> {
    let mut nodes: Vec<(String, Node<'a>)> = Vec::new();
    let mut names = Names::default();
    let members = members(raw);
    let told = told(&members);
    for (name, value) in members.iter().take(MOST_MEMBERS) {
        if let Some(node) = node(called(told.as_deref(), name), name, value, redact, depth) {
            let key = names.key(name);
            let node = match node {
                // As Wazuh's module does it.
                Node::Scalar(_) if key == "disableApiTermination" => {
                    Node::Object(vec![("value".to_owned(), node)])
                }
                Node::Object(_) => node,
                other if depth == 0 && ALWAYS_OBJECTS.contains(&key.as_str()) => {
                    Node::Object(vec![("string".to_owned(), other)])
                }
                other => other,
            };
            nodes.push((key, node));
        }
    }
    nodes
}

/// Nothing of null and of what is empty. By what it is called a secret is known.
fn node<'a>(called: &str, name: &str, raw: &'a RawValue, redact: &Redact, depth: usize) -> Option<Node<'a>> {
    match shape(raw) {
        Shape::Null => None,
        Shape::Text(text) if text.is_empty() => None,
        // Of credentials the rest is told, an access key's id for example.
        Shape::Text(_) if redact.replaces(called, raw).is_some() => Some(Node::Secret),
        Shape::Text(_) if is_policy(name) => Some(Node::Policy(raw)),
        Shape::Text(_) | Shape::Number(_) | Shape::Truth(_) => Some(Node::Scalar(raw)),
        Shape::Object | Shape::List if is_policy(name) => Some(Node::Text(raw)),
        Shape::Object if depth >= DEEPEST || members(raw).len() > MOST_MEMBERS => Some(Node::Text(raw)),
        Shape::Object => {
            Some(object(raw, redact, depth + 1)).filter(|nodes| !nodes.is_empty()).map(Node::Object)
        }
        Shape::List => match items(raw).as_slice() {
            [] => None,
            // As Wazuh's module does it.
            [one] if depth < DEEPEST => node(called, name, one, redact, depth + 1),
            _ => Some(Node::List(raw)),
        },
    }
}

fn is_policy(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("policy") || name.ends_with("policydocument")
}

/// The names of one object, in lower case, as those that look for one compare
/// them.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// Of names that are alike, the number that the next one tries.
    next: HashMap<String, usize>,
}

impl Names {
    /// A name without what divides names, and that no other of the object has.
    fn key(&mut self, name: &str) -> String {
        let mut key: String =
            name.chars().map(|c| if c == '.' || c.is_control() { '_' } else { c }).collect();
        let mut end = LONGEST_KEY.min(key.len());
        while !key.is_char_boundary(end) {
            end -= 1;
        }
        key.truncate(end);
        // One of these, with the right value, hands the line to another decoder.
        if key.is_empty() || key == "integration" {
            key.push('_');
        }
        let small = key.to_ascii_lowercase();
        if self.taken.insert(small.clone()) {
            return key;
        }
        let next = self.next.entry(small.clone()).or_insert(2);
        loop {
            let number = *next;
            *next += 1;
            if self.taken.insert(format!("{small}_{number}")) {
                return format!("{key}_{number}");
            }
        }
    }
}

fn count(node: &Node<'_>) -> usize {
    match node {
        Node::Object(nodes) => leaves(nodes),
        _ => 1,
    }
}

fn leaves(nodes: &[(String, Node<'_>)]) -> usize {
    nodes.iter().map(|(_, node)| count(node)).sum()
}

/// Makes a member of the record text.
fn fold<'a>((name, node): &mut (String, Node<'a>), sent: &[(Cow<'_, str>, &'a RawValue)]) {
    if !matches!(node, Node::Object(_)) {
        return;
    }
    // Under its own name it is found again; otherwise what it was is lost.
    let found = sent.iter().rfind(|(known, _)| known == name);
    let text = found.map_or(Node::Secret, |(_, raw)| Node::Text(raw));
    let always = ALWAYS_OBJECTS.contains(&name.as_str());
    *node = if always { Node::Object(vec![("string".to_owned(), text)]) } else { text };
}

fn pair(name: &str, out: &mut Vec<u8>) {
    quote(name, LONGEST_KEY * 6, out);
    out.push(b':');
}

fn write(node: &Node<'_>, most: usize, redact: &Redact, out: &mut Vec<u8>) {
    match node {
        Node::Secret => quote(REDACTED, 60, out),
        Node::Scalar(raw) => value(raw, most, redact, out),
        Node::Text(raw) => quote(&json::compact(raw, redact, most), most, out),
        Node::Policy(raw) => policy(raw, most, redact, out),
        Node::List(raw) => {
            let before = out.len();
            list(raw, redact, 0, out);
            if out.len() - before > most {
                out.truncate(before);
                quote(&json::compact(raw, redact, most), most, out);
            }
        }
        Node::Object(nodes) => {
            out.push(b'{');
            for (index, (name, node)) in nodes.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                pair(name, out);
                write(node, most, redact, out);
            }
            out.push(b'}');
        }
    }
}

fn value(raw: &RawValue, most: usize, redact: &Redact, out: &mut Vec<u8>) {
    match shape(raw) {
        Shape::Text(text) => quote(&json::clean(&text, redact, most), most, out),
        Shape::Number(text) => number(text, out),
        _ => out.extend_from_slice(raw.get().as_bytes()),
    }
}

/// A policy, in the one way in which it can be written: blanks and escapes would
/// hide what it says from the rules, or move it behind the cut. What is no JSON
/// stays as it was sent.
fn policy(raw: &RawValue, most: usize, redact: &Redact, out: &mut Vec<u8>) {
    let text = scalar(raw).unwrap_or_default();
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(within) if matches!(shape(within), Shape::Object | Shape::List) => {
            quote(&json::compact(within, redact, most), most, out);
        }
        _ => value(raw, most, redact, out),
    }
}

/// A list and what is in it, secrets taken out.
fn list(raw: &RawValue, redact: &Redact, depth: usize, out: &mut Vec<u8>) {
    let inner = |raw: &RawValue, out: &mut Vec<u8>| match shape(raw) {
        Shape::List | Shape::Object if depth >= DEEPEST => quote(&json::compact(raw, redact, 400), 400, out),
        Shape::List | Shape::Object => list(raw, redact, depth + 1, out),
        _ => value(raw, 8_000, redact, out),
    };
    let is_list = shape(raw) == Shape::List;
    out.push(if is_list { b'[' } else { b'{' });
    if is_list {
        for (index, item) in items(raw).into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            inner(item, out);
        }
    } else {
        let members = members(raw);
        let told = told(&members);
        let mut names = HashSet::new();
        for (name, item) in &members {
            let key = if name == "integration" { "integration_" } else { name.as_ref() };
            // Of two of one name each reader takes another: there is one.
            if !names.insert(key) {
                continue;
            }
            if names.len() > 1 {
                out.push(b',');
            }
            pair(key, out);
            match redact.replaces(called(told.as_deref(), name), item) {
                Some(instead) if scalar(item).is_some() => quote(instead, 60, out),
                _ if is_policy(name) && item.get().starts_with('"') => policy(item, 8_000, redact, out),
                _ => inner(item, out),
            }
        }
    }
    out.push(if is_list { b']' } else { b'}' });
}
