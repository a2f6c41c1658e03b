//! What can be said of an API in the configuration file, as `[[api]]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::preset::Preset;

/// One `[[api]]`.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Its name in logs and in the outbox: 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub name: String,
    /// Whose requests to send.
    #[serde(default)]
    pub preset: Option<Preset>,
    /// What the steps' URLs are appended to. Required, but for presets that
    /// know theirs.
    #[serde(default)]
    pub url: Option<String>,
    /// Values that templates may use, by name.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Values used instead when the target is IPv4.
    #[serde(default)]
    pub variables_ipv4: BTreeMap<String, String>,
    /// Values used instead when the target is IPv6.
    #[serde(default)]
    pub variables_ipv6: BTreeMap<String, String>,
    /// Files whose contents templates may use, by name; not in URLs, which
    /// servers log.
    #[serde(default)]
    pub secrets: BTreeMap<String, PathBuf>,
    /// File with the token for `Authorization: Bearer`.
    #[serde(default)]
    pub bearer_file: Option<PathBuf>,
    /// The user for `Authorization: Basic`.
    #[serde(default)]
    pub basic_user: Option<String>,
    /// File with that user, where it is a secret too (a key's first half).
    #[serde(default)]
    pub basic_user_file: Option<PathBuf>,
    /// File with the password for `Authorization: Basic`.
    #[serde(default)]
    pub basic_password_file: Option<PathBuf>,
    /// A header with a secret value.
    #[serde(default)]
    pub header: Option<HeaderConfig>,
    /// The certificates (PEM) to trust, instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its chain (PEM).
    #[serde(default)]
    pub client_certificate: Option<PathBuf>,
    /// The key of our certificate (PEM).
    #[serde(default)]
    pub client_key: Option<PathBuf>,
    /// Seconds for all requests of one change together.
    #[serde(default = "ten")]
    pub timeout: u64,
    /// Allows `http://` to other hosts than this one.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// The largest `{ttl}` in seconds; longer blocks are cut to it.
    #[serde(default)]
    pub ttl_max: Option<u64>,
    /// The `{ttl}` of a block without end.
    #[serde(default)]
    pub ttl_forever: Option<u64>,
    /// The requests that block, instead of the preset's.
    #[serde(default)]
    pub add: Vec<StepConfig>,
    /// The requests that unblock, instead of the preset's.
    #[serde(default)]
    pub delete: Vec<StepConfig>,
}

fn ten() -> u64 {
    10
}

impl ApiConfig {
    /// Every file that it names, with the key that names it.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        fn one<'a>(key: &'static str, file: &'a Option<PathBuf>) -> Option<(&'static str, &'a Path)> {
            file.as_deref().map(|file| (key, file))
        }
        [
            one("bearer_file", &self.bearer_file),
            one("basic_user_file", &self.basic_user_file),
            one("basic_password_file", &self.basic_password_file),
            self.header.as_ref().map(|header| ("header.value_file", header.value_file.as_path())),
            one("ca_file", &self.ca_file),
            one("client_certificate", &self.client_certificate),
            one("client_key", &self.client_key),
        ]
        .into_iter()
        .flatten()
        .chain(self.secrets.values().map(|file| ("secrets", file.as_path())))
    }
}

/// A header whose value is a secret.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct HeaderConfig {
    /// Its name.
    pub name: String,
    /// File with its value.
    pub value_file: PathBuf,
}

/// One request.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Path and query, appended to the API's `url`. A template.
    pub url: String,
    /// Headers by name; the values are templates.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What is sent, a template; JSON unless `Content-Type` says otherwise.
    #[serde(default)]
    pub body: Option<String>,
    /// Answers that mean it worked; status 200, 201, 202 or 204 by default.
    #[serde(default)]
    pub ok: Vec<Match>,
    /// Answers to an add that mean it was blocked before.
    #[serde(default)]
    pub already: Vec<Match>,
    /// Answers to a delete that mean it was not blocked.
    #[serde(default)]
    pub absent: Vec<Match>,
    /// What later steps need from the answer.
    #[serde(default)]
    pub capture: Option<CaptureConfig>,
    /// After which answer the next step follows; the other one ends the work.
    #[serde(default)]
    pub next_after: NextAfter,
}

/// After which answer the next step follows.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum NextAfter {
    /// After one that is `ok`.
    #[default]
    Ok,
    /// After one that is `already`: a block that exists gets a new end.
    Already,
}

/// A kind of answer. All that is given must hold.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Its status is one of these.
    #[serde(default)]
    pub status: Vec<u16>,
    /// A JSON pointer to …
    #[serde(default)]
    pub pointer: Option<String>,
    /// … this value.
    #[serde(default)]
    pub equals: Option<Value>,
    /// Its body contains this, in upper or lower case.
    #[serde(default)]
    pub contains: Option<String>,
}

/// A value to take from a JSON answer.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct CaptureConfig {
    /// The name that later templates use.
    pub name: String,
    /// A JSON pointer to it, from the whole answer or from the element found.
    pub pointer: String,
    /// A JSON pointer to a list to search; empty for the answer itself.
    #[serde(default)]
    pub list: Option<String>,
    /// A JSON pointer from an element of the list to what must equal …
    #[serde(default, rename = "where")]
    pub at: Option<String>,
    /// … this. A template; two spellings of one address are equal.
    #[serde(default)]
    pub equals: Option<String>,
    /// Finding nothing means that the target was not blocked.
    #[serde(default)]
    pub empty_is_absent: bool,
}
