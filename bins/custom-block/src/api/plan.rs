//! The requests of an API, checked, and what their answers mean.

use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::Value;

use super::config::{CaptureConfig, Match, NextAfter, StepConfig};
use super::template::{Form, Kind, Names, Template, Values, same};

/// The longest value taken from an answer, in bytes.
const LONGEST_CAPTURE: usize = 8 * 1024;
/// What HTTP itself decides.
const NOT_OURS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];
/// The names that can tell a network from an address.
const NETWORKS: [&str; 5] = ["target", "cidr", "prefix", "expanded", "mikrotik_address"];

/// One request and what its answers mean.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) method: Method,
    /// The path as it was written, for messages.
    pub(super) path: String,
    pub(super) url: Template,
    pub(super) headers: Vec<(HeaderName, Template)>,
    pub(super) body: Option<Template>,
    pub(super) capture: Option<Capture>,
    pub(super) next_after: NextAfter,
    ok: Vec<Match>,
    /// `already` of an add, `absent` of a delete.
    unneeded: Vec<Match>,
}

/// What to take from an answer.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) name: String,
    pub(super) empty_is_absent: bool,
    pointer: String,
    find: Option<(String, String, Template)>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    json: Option<Value>,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It worked.
    Ok,
    /// There was nothing to do.
    Unneeded,
    /// Neither.
    Failed,
}

/// The step and key that an error is about.
pub(super) struct At {
    pub(super) step: usize,
    pub(super) key: &'static str,
}

/// Checks the steps of an add or a delete.
pub(super) fn compile(steps: &[StepConfig], add: bool, names: &Names) -> Result<Vec<Step>, (At, String)> {
    let mut names = names.clone();
    let mut compiled = Vec::new();
    for (step, config) in steps.iter().enumerate() {
        let last = step + 1 == steps.len();
        compiled.push(one(config, add, last, &mut names).map_err(|(key, why)| (At { step, key }, why))?);
    }
    Ok(compiled)
}

/// True when these steps would say of a network that it is one address.
pub(super) fn is_for_hosts_only(steps: &[Step]) -> bool {
    let uses = |name: &str| steps.iter().any(|step| step.templates().any(|template| template.uses(name)));
    uses("ip") && !NETWORKS.iter().any(|name| uses(name))
}

fn one(
    config: &StepConfig,
    add: bool,
    last: bool,
    names: &mut Names,
) -> Result<Step, (&'static str, String)> {
    let method = match config.method.as_str() {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        other => return Err(("method", format!("{other:?} is none of GET, POST, PUT, PATCH, DELETE"))),
    };
    let url = Template::parse(&config.url, Form::Url, names).map_err(|why| ("url", why))?;
    let mut headers = Vec::new();
    let mut form = Form::Json;
    for (name, value) in &config.headers {
        let parsed = name
            .parse::<HeaderName>()
            .map_err(|_| ("headers", format!("{name:?} is not a header's name")))?;
        if NOT_OURS.contains(&parsed.as_str()) || headers.iter().any(|(own, _)| *own == parsed) {
            return Err(("headers", format!("{name} cannot be set, or not twice")));
        }
        if parsed == reqwest::header::CONTENT_TYPE {
            form = form_of(value);
        }
        let value = Template::parse(value, Form::Header, names).map_err(|why| ("headers", why))?;
        headers.push((parsed, value));
    }
    let body = config.body.as_deref().map(|body| Template::parse(body, form, names)).transpose();
    let body = body.map_err(|why| ("body", why))?;
    if body.is_some() && !headers.iter().any(|(name, _)| *name == reqwest::header::CONTENT_TYPE) {
        let json =
            Template::parse("application/json", Form::Header, names).map_err(|why| ("headers", why))?;
        headers.push((reqwest::header::CONTENT_TYPE, json));
    }
    for (key, matches) in [("ok", &config.ok), ("already", &config.already), ("absent", &config.absent)] {
        matches.iter().try_for_each(check).map_err(|why| (key, why))?;
    }
    let (unneeded, foreign, key) = if add {
        (&config.already, &config.absent, "absent")
    } else {
        (&config.absent, &config.already, "already")
    };
    if !foreign.is_empty() {
        return Err((key, "absent belongs to delete, already to add".into()));
    }
    if config.next_after == NextAfter::Already && (last || unneeded.is_empty()) {
        return Err(("next_after", "needs a next step, and answers that are already or absent".into()));
    }
    let capture = match &config.capture {
        Some(_) if last => return Err(("capture", "no step follows that could use it".into())),
        Some(config) => Some(compile_capture(config, names).map_err(|why| ("capture", why))?),
        None => None,
    };
    let path = config.url.split('?').next().unwrap_or_default().to_owned();
    let ok = if config.ok.is_empty() {
        vec![Match { status: vec![200, 201, 202, 204], ..Match::default() }]
    } else {
        config.ok.clone()
    };
    let next_after = config.next_after;
    Ok(Step { method, path, url, headers, body, capture, next_after, ok, unneeded: unneeded.clone() })
}

fn form_of(content_type: &str) -> Form {
    let kind = content_type.to_ascii_lowercase();
    if kind.contains("json") {
        Form::Json
    } else if kind.contains("xml") {
        Form::Xml
    } else if kind.contains("x-www-form-urlencoded") {
        Form::Urlencoded
    } else {
        Form::Plain
    }
}

fn check(answer: &Match) -> Result<(), String> {
    if answer.status.is_empty() && answer.pointer.is_none() && answer.contains.is_none() {
        return Err("says nothing about the answer".into());
    }
    if answer.status.iter().any(|status| !(100..600).contains(status)) {
        return Err("has a status that is none".into());
    }
    if answer.pointer.is_some() != answer.equals.is_some() {
        return Err("pointer and equals need each other".into());
    }
    if answer.contains.as_ref().is_some_and(String::is_empty) {
        return Err("contains is empty".into());
    }
    answer.pointer.as_deref().map_or(Ok(()), check_pointer)
}

fn check_pointer(pointer: &str) -> Result<(), String> {
    if pointer.is_empty() || pointer.starts_with('/') {
        return Ok(());
    }
    Err(format!("{pointer:?} is not a JSON pointer: it must begin with /"))
}

fn compile_capture(config: &CaptureConfig, names: &mut Names) -> Result<Capture, String> {
    check_pointer(&config.pointer)?;
    let find = match (&config.list, &config.at, &config.equals) {
        (None, None, None) => None,
        (Some(list), Some(at), Some(equals)) => {
            check_pointer(list)?;
            check_pointer(at)?;
            Some((list.clone(), at.clone(), Template::parse(equals, Form::Plain, names)?))
        }
        _ => return Err("list, where and equals need each other".into()),
    };
    if !names.declare(&config.name, Kind::Captured, "1") {
        return Err(format!("{:?} is not a free name of a-z, 0-9 and _", config.name));
    }
    let (name, pointer) = (config.name.clone(), config.pointer.clone());
    Ok(Capture { name, empty_is_absent: config.empty_is_absent, pointer, find })
}

impl Step {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        [&self.url].into_iter().chain(self.headers.iter().map(|(_, value)| value)).chain(&self.body)
    }

    /// True when it sets this header, given in lower case.
    pub(super) fn names_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(own, _)| own.as_str() == name)
    }

    /// What an answer to it means.
    pub(super) fn meaning(&self, answer: &Answer) -> Meaning {
        // The narrower question first: an API may say "nothing to do" with 200.
        if self.unneeded.iter().any(|like| answer.is(like)) {
            Meaning::Unneeded
        } else if self.ok.iter().any(|like| answer.is(like)) {
            Meaning::Ok
        } else {
            Meaning::Failed
        }
    }
}

impl Capture {
    /// The value; `None` when the answer has none. Fails when the answer is
    /// not one that could have it, or the value is unfit.
    pub(super) fn take(&self, answer: &Answer, values: &Values) -> Result<Option<String>, String> {
        let Some(mut place) = answer.json.as_ref() else { return Err("the answer is not JSON".into()) };
        if let Some((list, at, equals)) = &self.find {
            let wanted = equals.render(values)?;
            let is_wanted =
                |element: &&Value| element.pointer(at).and_then(text).is_some_and(|own| same(&own, &wanted));
            match place.pointer(list) {
                Some(Value::Array(elements)) => match elements.iter().find(is_wanted) {
                    Some(element) => place = element,
                    None => return Ok(None),
                },
                // How some servers write an empty list.
                Some(Value::Null) => return Ok(None),
                _ => return Err(format!("the answer has no list at {list:?}")),
            }
        }
        match place.pointer(&self.pointer) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match text(value) {
                Some(text) if text.is_empty() => Ok(None),
                Some(text) if text.len() > LONGEST_CAPTURE || text.chars().any(char::is_control) => {
                    Err(format!("{} is too long or not one line", self.name))
                }
                Some(text) => Ok(Some(text)),
                None => Err(format!("{} is neither text nor number", self.name)),
            },
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Answer {
    /// An answer with this status and body.
    pub(super) fn new(status: u16, body: &[u8]) -> Answer {
        let json = serde_json::from_slice(body).ok();
        Answer { status, body: String::from_utf8_lossy(body).into_owned(), json }
    }

    fn is(&self, like: &Match) -> bool {
        let status = like.status.is_empty() || like.status.contains(&self.status);
        let value = like.pointer.as_ref().is_none_or(|pointer| {
            self.json.as_ref().and_then(|json| json.pointer(pointer)) == like.equals.as_ref()
        });
        let contains = like
            .contains
            .as_ref()
            .is_none_or(|part| self.body.to_ascii_lowercase().contains(&part.to_ascii_lowercase()));
        status && value && contains
    }
}

#[cfg(test)]
mod tests;
