//! From a line to fields, as the decoders `json` and `ar_log_json` do it, and
//! to `data` of the alert, as the output does it.

mod json;

use serde_json::{Map, Value};

use json::Json;

/// More dynamic fields than these are lost (`analysisd.decoder_order_size`).
const MOST_FIELDS: usize = 256;

/// What a rule sees of an event.
#[derive(Debug, Clone, Default)]
pub(super) struct Decoded {
    /// The decoder's name.
    pub(super) decoder: Option<&'static str>,
    /// By the name of the rule's element; absent is not empty.
    statics: Vec<(Static, String)>,
    /// In the order of the line. The first of a name counts, capitals or not.
    dynamic: Vec<(String, String)>,
}

/// A field that has a place of its own in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Static {
    Srcip,
    Dstip,
    Srcport,
    Dstport,
    Srcuser,
    Dstuser,
    Protocol,
    Action,
    Id,
    Url,
    Data,
    ExtraData,
    Status,
    SystemName,
}

use Static::{
    Action, Data, Dstip, Dstport, Dstuser, ExtraData, Id, Protocol, Srcip, Srcport, Srcuser, Status,
    SystemName, Url,
};

impl Static {
    const ALL: [Static; 14] = [
        Protocol, Action, Srcip, Srcport, Srcuser, Dstip, Dstport, Dstuser, Id, Status, Url, Data, ExtraData,
        SystemName,
    ];

    /// Its name in an alert and in a description.
    pub(super) fn name(self) -> &'static str {
        match self {
            Srcip => "srcip",
            Dstip => "dstip",
            Srcport => "srcport",
            Dstport => "dstport",
            Srcuser => "srcuser",
            Dstuser => "dstuser",
            Protocol => "protocol",
            Action => "action",
            Id => "id",
            Url => "url",
            Data => "data",
            ExtraData => "extra_data",
            Status => "status",
            SystemName => "system_name",
        }
    }

    /// The field of an alert's or a description's name.
    pub(super) fn named(name: &str) -> Option<Static> {
        Static::ALL.into_iter().find(|field| field.name() == name)
    }

    /// The field that a key at the top of an object is lifted to. `user` too,
    /// but only while there is no `dstuser`.
    fn of_key(key: &str) -> Option<Static> {
        if key == "systemname" {
            Some(SystemName)
        } else {
            Static::named(key).filter(|field| *field != SystemName)
        }
    }
}

impl Decoded {
    /// Decodes a line.
    ///
    /// # Panics
    /// On what other decoders would take, or this one loses.
    pub(super) fn new(line: &str) -> Decoded {
        assert!(!has_syslog_header(line), "a line with a syslog header: {line}");
        assert!(line.len() < 65_000, "a line of {} bytes is cut on its way", line.len());
        assert!(!line.contains("\"integration\":\"ms-graph\""), "another decoder takes {line}");
        let mut decoded = Decoded::default();
        if let Some(rest) = after_active_response(line) {
            decoded.decoder = Some("ar_log_json");
            decoded.lift(rest);
            decoded.lift_from_text(line);
        } else if line.strip_prefix('{').is_some_and(|rest| rest.trim_start_matches(' ').starts_with('"')) {
            decoded.decoder = Some("json");
            decoded.lift(line);
        }
        decoded
    }

    /// The value of a static field.
    pub(super) fn fixed(&self, field: Static) -> Option<&str> {
        self.statics.iter().find(|(known, _)| *known == field).map(|(_, value)| value.as_str())
    }

    /// The value of a dynamic field, capitals or not.
    pub(super) fn dynamic(&self, name: &str) -> Option<&str> {
        let same = |known: &&(String, String)| known.0.eq_ignore_ascii_case(name);
        self.dynamic.iter().find(same).map(|(_, value)| value.as_str())
    }

    /// True when there is any dynamic field.
    pub(super) fn has_dynamic(&self) -> bool {
        !self.dynamic.is_empty()
    }

    /// All fields, static ones by the names that alerts have for them.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fixed = self.statics.iter().map(|(field, value)| (field.name(), value.as_str()));
        fixed.chain(self.dynamic.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    fn lift(&mut self, text: &str) {
        // Text behind the object is left alone; without an object there are no fields.
        if let Some(Json::Object(members)) = Json::parse(text) {
            self.walk(None, &members);
        }
    }

    fn walk(&mut self, parent: Option<&str>, members: &[(String, Json)]) {
        for (name, value) in members {
            let key = parent.map_or_else(|| name.clone(), |parent| format!("{parent}.{name}"));
            match value {
                Json::Object(members) => self.walk(Some(&key), members),
                _ => self.put(key, value.text()),
            }
        }
    }

    fn put(&mut self, key: String, value: String) {
        if let Some(field) = Static::of_key(&key) {
            self.set(field, value);
        } else if key == "user" && self.fixed(Dstuser).is_none_or(str::is_empty) {
            self.set(Dstuser, value);
        } else {
            assert!(
                self.dynamic.len() < MOST_FIELDS,
                "{key} is lost: more than {MOST_FIELDS} dynamic fields"
            );
            self.dynamic.push((key, value));
        }
    }

    fn set(&mut self, field: Static, value: String) {
        self.statics.retain(|(known, _)| *known != field);
        self.statics.push((field, value));
    }

    /// What the decoder's own expressions lift from a record of an active
    /// response, from the literal text of the alert in it.
    fn lift_from_text(&mut self, line: &str) {
        assert!(!line.contains("\"eventdata\":{"), "a Windows event in a record is not modelled: {line}");
        let value = |rest: &str| Some(rest.split_once('"')?.0.to_owned()).filter(|value| !value.is_empty());
        let places = |mark: &'static str| line.match_indices(mark).map(|(at, mark)| &line[at + mark.len()..]);
        if let Some(address) = places("\"data\":{\"srcip\":\"").find_map(value) {
            self.set(Srcip, address);
        }
        let after = places("\"data\":{").next().unwrap_or_default();
        let mark = "\"dstuser\":\"";
        if let Some(user) = after.match_indices(mark).find_map(|(at, _)| value(&after[at + mark.len()..])) {
            self.set(Dstuser, user);
        }
    }

    /// `data` of the alert.
    pub(super) fn data(&self) -> Value {
        if self.decoder.is_none() {
            return Value::Null;
        }
        let mut data = Map::new();
        for field in Static::ALL {
            if let Some(value) = self.fixed(field) {
                data.insert(field.name().to_owned(), value.into());
            }
        }
        for (name, value) in self.dynamic.iter().filter(|(_, value)| !value.is_empty()) {
            nest(&mut data, name, value);
        }
        Value::Object(data)
    }
}

/// Dots make objects; what is there already, capitals or not, stays.
fn nest(data: &mut Map<String, Value>, name: &str, value: &str) {
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    let known = data.keys().find(|known| known.eq_ignore_ascii_case(first)).cloned();
    match (known, rest) {
        (Some(known), Some(rest)) => {
            if let Some(Value::Object(inner)) = data.get_mut(&known) {
                nest(inner, rest, value);
            }
        }
        (Some(_), None) => {}
        (None, Some(rest)) => {
            let mut inner = Map::new();
            nest(&mut inner, rest, value);
            data.insert(first.to_owned(), Value::Object(inner));
        }
        (None, None) => {
            let list = Some(value).filter(|value| value.starts_with('['));
            let list = list.and_then(|value| serde_json::from_str(value).ok());
            data.insert(first.to_owned(), list.unwrap_or_else(|| value.into()));
        }
    }
}

/// What follows `YYYY/MM/DD HH:MM:SS active-response/bin/NAME: `.
fn after_active_response(line: &str) -> Option<&str> {
    let (stamp, rest) = line.split_at_checked(20)?;
    let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
    let rest = rest.strip_prefix("active-response/bin/").filter(|_| shape == "dddd/dd/dd dd:dd:dd ")?;
    // The expression is greedy up to the first blank.
    let (name, rest) = rest.split_once(' ')?;
    (name.len() > 1 && name.ends_with(':')).then_some(rest)
}

/// Whether the reader before the decoders would take a date off the line.
fn has_syslog_header(line: &str) -> bool {
    let bytes = line.as_bytes();
    let shapes: [&[(usize, u8)]; 6] = [
        &[(3, b' '), (6, b' '), (9, b':'), (12, b':'), (15, b' ')],
        &[(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')],
        &[(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')],
        &[(4, b' '), (8, b' '), (11, b' '), (14, b':'), (17, b':')],
        &[(2, b'/'), (5, b'/'), (10, b'-'), (13, b':')],
        &[(2, b'/'), (5, b'-'), (8, b':'), (11, b':')],
    ];
    shapes.iter().any(|shape| shape.iter().all(|(at, byte)| bytes.get(*at) == Some(byte)))
}
