//! Blocking at a firewall's HTTP API.
//!
//! What is sent is data: up to three requests for an add and for a delete,
//! written as templates ([`config`]), by the user or in a [`preset`]. They are
//! checked once when the configuration is loaded. Sending happens on a
//! worker's clock only, from the [outbox]: building an HTTP
//! client costs milliseconds and a firewall may need seconds to answer.

pub mod config;
mod plan;
pub mod preset;
mod secret;
mod send;
mod template;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use crate::outbox::{self, Clock, Item, Limits, Outcome, Run, Sent};
use config::{ApiConfig, StepConfig};
use plan::Step;
use send::Sender;
use template::{Kind, Names};

/// The most requests that one change may take.
const MOST_STEPS: usize = 3;
/// The longest total time for one change, in seconds.
const LONGEST_TIMEOUT: u64 = 300;

/// What is wrong with the configuration of an API.
#[derive(Debug, thiserror::Error)]
#[error("api {api:?}: {key}: {why}")]
pub struct Error {
    api: String,
    key: String,
    why: String,
}

/// An API as configured, checked, ready to be sent to.
#[derive(Debug)]
pub struct Api {
    name: String,
    url: Url,
    add: Vec<Step>,
    delete: Vec<Step>,
    auth: Auth,
    secrets: BTreeMap<String, PathBuf>,
    variables: BTreeMap<String, String>,
    variables_ipv4: BTreeMap<String, String>,
    variables_ipv6: BTreeMap<String, String>,
    ttl_max: u64,
    ttl_forever: u64,
    ca_file: Option<PathBuf>,
    client_certificate: Option<(PathBuf, PathBuf)>,
    timeout: Duration,
}

/// How requests prove who we are. The secrets stay in their files until then.
#[derive(Debug)]
enum Auth {
    None,
    Bearer(PathBuf),
    Basic { user: String, password: PathBuf },
    BasicFiles { user: PathBuf, password: PathBuf },
    Header { name: String, value: PathBuf },
}

impl Api {
    /// Checks a configuration. Reads no file and opens no connection.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with the name of its key.
    pub fn compile(config: &ApiConfig) -> Result<Api, Error> {
        let error = |key: &str, why: String| Error { api: config.name.clone(), key: key.to_owned(), why };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if config.name.is_empty() || config.name.len() > 64 || !config.name.bytes().all(plain) {
            return Err(error("name", "must be 1 to 64 letters, digits, - or _".into()));
        }
        let preset = match config.preset {
            Some(preset) => preset.parse().map_err(|why| error("preset", why))?,
            None => preset::Parsed::default(),
        };
        let url = config.url.as_deref().or(preset.url.as_deref());
        let url = url.ok_or_else(|| error("url", "is missing".into()))?;
        let url = base(url, config.allow_plain_http).map_err(|why| error("url", why))?;

        let mut variables = preset.variables;
        variables.extend(config.variables.clone());
        let names = names(config, &variables).map_err(|(key, why)| error(key, why))?;
        let compile = |op: &str, own: &[StepConfig], preset: &[StepConfig]| {
            let steps = if own.is_empty() { preset } else { own };
            if steps.is_empty() || steps.len() > MOST_STEPS {
                return Err(error(op, format!("must have 1 to {MOST_STEPS} steps")));
            }
            plan::compile(steps, op == "add", &names)
                .map_err(|(at, why)| error(&format!("{op}[{}].{}", at.step, at.key), why))
        };
        let add = compile("add", &config.add, &preset.add)?;
        let delete = compile("delete", &config.delete, &preset.delete)?;

        let auth = auth(config).map_err(|(key, why)| error(key, why))?;
        let proof = match &auth {
            Auth::None => None,
            Auth::Header { name, .. } => Some(name.to_ascii_lowercase()),
            _ => Some("authorization".to_owned()),
        };
        let twice = |step: &Step| proof.as_ref().is_some_and(|name| step.names_header(name));
        if add.iter().chain(&delete).any(twice) {
            return Err(error("headers", "a step sets the header that proves who we are".into()));
        }
        let client_certificate = match (&config.client_certificate, &config.client_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => return Err(error("client_certificate", "needs client_key, and it this".into())),
        };
        for (key, file) in config.files() {
            if !file.is_absolute() {
                return Err(error(key, "must be an absolute path".into()));
            }
        }
        if config.timeout == 0 || config.timeout > LONGEST_TIMEOUT {
            return Err(error("timeout", format!("must be 1 to {LONGEST_TIMEOUT} seconds")));
        }
        Ok(Api {
            name: config.name.clone(),
            url,
            add,
            delete,
            auth,
            secrets: config.secrets.clone(),
            variables,
            variables_ipv4: config.variables_ipv4.clone(),
            variables_ipv6: config.variables_ipv6.clone(),
            ttl_max: config.ttl_max.or(preset.ttl_max).unwrap_or(u64::MAX),
            ttl_forever: config.ttl_forever.or(preset.ttl_forever).unwrap_or(0),
            ca_file: config.ca_file.clone(),
            client_certificate,
            timeout: Duration::from_secs(config.timeout),
        })
    }

    /// The name that items of the outbox carry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Sends what is in the outbox to these APIs; see [`outbox::deliver`].
///
/// An item of an API that is not among them waits and is retried slowly: its
/// configuration may come back.
///
/// # Errors
///
/// The outbox cannot be read or written.
pub fn deliver(
    dir: &Path,
    apis: &[Api],
    limits: &Limits,
    clock: &dyn Clock,
    report: &mut dyn FnMut(&Item, &Outcome),
) -> io::Result<Run> {
    let mut senders: BTreeMap<&str, Sender<'_>> =
        apis.iter().map(|api| (api.name(), Sender::new(api))).collect();
    let mut send = |item: &Item| match senders.get_mut(item.api.as_str()) {
        Some(sender) => sender.send(item, clock.now()),
        None => {
            let reason = format!("no api {:?} is configured", item.api);
            Sent::Refused { reason, all: true }
        }
    };
    outbox::deliver(dir, limits, clock, &mut send, report)
}

/// The URL that the steps' paths are appended to.
fn base(text: &str, allow_plain_http: bool) -> Result<Url, String> {
    let url = Url::parse(text.trim_end_matches('/')).map_err(|why| why.to_string())?;
    let Some(host) = url.host_str() else { return Err("has no host".into()) };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password: they belong in files".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not hold ? or #".into());
    }
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback || allow_plain_http => Ok(url),
        "http" => Err("http is for loopback only, unless allow_plain_http = true".into()),
        _ => Err("must begin with https://".into()),
    }
}

/// The names that templates may use, besides captures.
fn names(config: &ApiConfig, variables: &BTreeMap<String, String>) -> Result<Names, (&'static str, String)> {
    let unfree = |name: &str| format!("{name:?} is not a free name of a-z, 0-9 and _");
    let (four, six) = (&config.variables_ipv4, &config.variables_ipv6);
    let mut names = values::builtin();
    let all: BTreeSet<&String> = variables.keys().chain(four.keys()).chain(six.keys()).collect();
    for name in all {
        let general = variables.get(name);
        let (Some(four), Some(six)) = (four.get(name).or(general), six.get(name).or(general)) else {
            return Err(("variables", format!("{name:?} has a value for one family only")));
        };
        let number = |value| serde_json::from_str::<serde_json::Number>(value).is_ok();
        let kind = if number(four) && number(six) { Kind::Number } else { Kind::Text };
        if !names.declare(name, kind, four) {
            return Err(("variables", unfree(name)));
        }
    }
    for name in config.secrets.keys() {
        if !names.declare(name, Kind::Secret, "secret") {
            return Err(("secrets", unfree(name)));
        }
    }
    Ok(names)
}

/// How requests prove who we are.
fn auth(config: &ApiConfig) -> Result<Auth, (&'static str, String)> {
    let user = (&config.basic_user, &config.basic_user_file);
    let auth = match (&config.bearer_file, user, &config.basic_password_file, &config.header) {
        (None, (None, None), None, None) => Auth::None,
        (Some(file), (None, None), None, None) => Auth::Bearer(file.clone()),
        (None, (Some(user), None), Some(password), None) => {
            if user.contains(':') || user.chars().any(char::is_control) {
                return Err(("basic_user", "cannot hold : or control characters".into()));
            }
            Auth::Basic { user: user.clone(), password: password.clone() }
        }
        (None, (None, Some(user)), Some(password), None) => {
            Auth::BasicFiles { user: user.clone(), password: password.clone() }
        }
        (None, (None, None), None, Some(header)) => {
            if header.name.parse::<reqwest::header::HeaderName>().is_err() {
                return Err(("header.name", format!("{:?} is not a header's name", header.name)));
            }
            Auth::Header { name: header.name.clone(), value: header.value_file.clone() }
        }
        _ => {
            let ways = "bearer_file, basic_user or basic_user_file with basic_password_file, header";
            return Err(("bearer_file", format!("one way at most, and whole: {ways}")));
        }
    };
    Ok(auth)
}

#[cfg(test)]
mod tests;
