//! One event of an application.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::SystemTime;

use ipnet::IpNet;
use serde_json::value::RawValue;

use crate::json::{Shape, clean, members, scalar, shape};
use crate::record::{LONGEST, Limits, Line, Record, SHORT, spelt};
use crate::redact::{Redact, called, told};
use crate::source::origin::{account, last_untrusted, parse};

/// The longest action, in bytes.
const LONGEST_ACTION: usize = 64;
/// The longest place in the application, in bytes: more than other texts may
/// have, and of both ends, because an attack may stand at either.
const LONGEST_LOCATION: usize = 900;
/// Where an address is.
const ADDRESS: [&str; 4] = ["ip_address", "ipAddress", "ip", "srcip"];
/// What rules ask for, as it is spelt in the line.
const ASKED_FOR: [&str; 4] = ["scan_status", "status_code", "qr_code_id", "target_id"];

/// An event as the application wrote it.
pub(super) struct Event<'a> {
    action: String,
    level: Cow<'a, str>,
    user: Option<Cow<'a, str>>,
    ip_address: Option<Cow<'a, str>>,
    /// It has a member for it, even if there is nothing in it.
    names_address: bool,
    user_agent: Option<Cow<'a, str>>,
    location: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    details: Option<&'a RawValue>,
    /// What else there is.
    rest: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Event<'a> {
    /// Reads one.
    pub(super) fn read(raw: &'a RawValue) -> Result<Event<'a>, &'static str> {
        if shape(raw) != Shape::Object {
            return Err("not an object");
        }
        let mut rest = members(raw);
        let details = match take(&mut rest, &["details", "data"]) {
            Some((name, raw)) if shape(raw) != Shape::Object => {
                rest.push((name, raw));
                None
            }
            found => found.map(|(_, raw)| raw),
        };
        // A client that was made for another receiver has it among the details.
        let action = text(&mut rest, &["action", "event"])
            .or_else(|| scalar(crate::json::member(details?, "action")?))
            .ok_or("there is no action")?;
        Ok(Event {
            action: word(&action).ok_or("its action is empty")?,
            level: level(text(&mut rest, &["level", "severity"])),
            user: text(&mut rest, &["user", "userId", "user_id", "dstuser"]),
            names_address: rest.iter().any(|(name, _)| ADDRESS.contains(&name.as_ref())),
            ip_address: text(&mut rest, &ADDRESS),
            user_agent: text(&mut rest, &["user_agent", "userAgent"]),
            location: text(&mut rest, &["location"]),
            time: text(&mut rest, &["timestamp", "time"]),
            details,
            rest,
        })
    }

    /// Its line. `client` is where the request came from, if that counts and a
    /// trusted proxy says so.
    pub(super) fn line(
        &self,
        now: SystemTime,
        client: Option<IpAddr>,
        proxies: &[IpNet],
        redact: &Redact,
    ) -> Line {
        // Only these have rules to which an active response may be bound.
        let blocks = ["auth_", "api_", "security_"].iter().any(|kind| self.action.starts_with(kind));
        let limits = if blocks { Limits::NARROW } else { Limits::WIDE };
        let mut record = Record::within(limits, super::NAME, &self.action, now);
        record.text("action", &self.action).text("level", &self.level);
        let user = self.user.as_deref().unwrap_or_default();
        let account = account(user);
        record.text("dstuser", &account);
        // What the application handed on may be a whole X-Forwarded-For.
        let said = self.ip_address.as_deref();
        let address = match said {
            Some(said) if said.contains(',') => last_untrusted(said, proxies),
            Some(said) => parse(said),
            // An application that could not tell it has said so.
            None => client.filter(|_| !self.names_address),
        };
        if let Some(address) = address {
            record.address("srcip", address);
        }
        record.maybe("user_agent", self.user_agent.as_deref());
        if let Some(location) = &self.location {
            let location = clean(location, redact, LONGEST);
            record.text_within("location_path", &both_ends(&location), LONGEST_LOCATION + 50);
        }
        if account != user {
            record.text("login", user);
        }
        if address.is_none_or(|address| said.is_some_and(|said| said.trim() != address.to_string())) {
            record.maybe("ip_address", said);
        }
        record.maybe("event_time", self.time.as_deref());
        // It was the action, and is no detail.
        let detail = |(name, value): &(Cow<'_, str>, &RawValue)| {
            name != "action" || scalar(value).as_deref() != Some(&self.action)
        };
        let details: Vec<_> = self.details.map(members).into_iter().flatten().filter(detail).collect();
        // What it says itself comes before what it may have been handed.
        let of_rest = (&self.rest, told(&self.rest));
        let of_details = (&details, told(&details));
        for turn in [Turn::AskedFor, Turn::Short, Turn::Long] {
            for (members, told) in [&of_rest, &of_details] {
                for (name, value) in *members {
                    if Turn::of(name, value) == turn {
                        record.hoist_called("", name, called(told.as_deref(), name), value, redact);
                    }
                }
            }
        }
        record.finish()
    }
}

/// When a member is written: a status may not be pushed out of the line by what an
/// attacker has made long, or has made many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    AskedFor,
    Short,
    Long,
}

impl Turn {
    fn of(name: &str, value: &RawValue) -> Turn {
        if value.get().len() > SHORT {
            Turn::Long
        } else if scalar(value).is_some() && ASKED_FOR.contains(&spelt("", name).as_str()) {
            Turn::AskedFor
        } else {
            Turn::Short
        }
    }
}

/// Takes the first member that has one of these names, and something in it.
fn take<'a>(
    rest: &mut Vec<(Cow<'a, str>, &'a RawValue)>,
    names: &[&str],
) -> Option<(Cow<'a, str>, &'a RawValue)> {
    let at = names.iter().find_map(|name| {
        rest.iter().rposition(|(known, raw)| known == name && !matches!(raw.get(), "null" | "\"\""))
    })?;
    Some(rest.remove(at))
}

/// The same, of members that are scalars.
fn text<'a>(rest: &mut Vec<(Cow<'a, str>, &'a RawValue)>, names: &[&str]) -> Option<Cow<'a, str>> {
    let at = names.iter().find_map(|name| {
        rest.iter()
            .rposition(|(known, raw)| known == name && scalar(raw).is_some_and(|text| !text.is_empty()))
    })?;
    scalar(rest.remove(at).1)
}

/// An action as rules compare it.
fn word(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':');
    let word: String = text
        .trim()
        .chars()
        .take(LONGEST_ACTION)
        .map(|c| if plain(c) { c.to_ascii_lowercase() } else { '_' })
        .collect();
    (!word.is_empty()).then_some(word)
}

/// One of the four levels that rules know, where it is another word for it.
fn level(text: Option<Cow<'_, str>>) -> Cow<'_, str> {
    let Some(text) = text else { return Cow::Borrowed("info") };
    match text.to_ascii_lowercase().as_str() {
        "info" | "information" | "notice" | "debug" | "trace" | "low" => Cow::Borrowed("info"),
        "warning" | "warn" | "medium" => Cow::Borrowed("warning"),
        "error" | "err" | "high" => Cow::Borrowed("error"),
        "critical" | "crit" | "fatal" | "alert" | "emergency" | "emerg" => Cow::Borrowed("critical"),
        _ => text,
    }
}

/// A text of which the middle is left out, where it is long.
fn both_ends(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST_LOCATION {
        return Cow::Borrowed(text);
    }
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (head, tail) = (boundary(LONGEST_LOCATION * 2 / 3), boundary(text.len() - LONGEST_LOCATION / 3));
    Cow::Owned(format!("{}…[cut]…{}", &text[..head], &text[tail..]))
}
