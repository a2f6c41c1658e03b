//! Sending one change: its requests, one after the other, and what came of it.

use std::io::Read;
use std::time::{Duration, Instant};

use chrono::DateTime;
use reqwest::blocking::{Client, Request, RequestBuilder};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Identity, Method, Url, redirect};

use super::config::NextAfter;
use super::plan::{Answer, Meaning, Step, is_for_hosts_only};
use super::secret::{self, Secret};
use super::template::Values;
use super::{Api, Auth, values};
use crate::outbox::{Item, Sent, Want};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;
/// How much of an answer is quoted when it is an error, in characters.
const LONGEST_QUOTE: usize = 200;

/// Sends changes to one API. The client is built for the first one.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    api: &'a Api,
    client: Option<Client>,
}

/// What one change needs on its way.
struct Run {
    deadline: Instant,
    now: u64,
    values: Values,
    /// What must not be shown: passwords, tokens, what logins answered.
    secrets: Vec<Secret>,
}

impl Sender<'_> {
    pub(super) fn new(api: &Api) -> Sender<'_> {
        Sender { api, client: None }
    }

    /// Sends one change at `now` (seconds since 1970) and waits for the
    /// answers, at most the API's timeout.
    pub(super) fn send(&mut self, item: &Item, now: u64) -> Sent {
        let api = self.api;
        let steps = match item.want {
            Want::Add => &api.add,
            Want::Delete => &api.delete,
        };
        if !item.target.is_host() && is_for_hosts_only(steps) {
            return Sent::Never { reason: format!("{} takes single addresses only", api.name) };
        }
        let mut values = values::of(item, now, api.ttl_max, api.ttl_forever);
        values.extend(api.variables.clone());
        values.extend(if item.target.is_ipv6() { &api.variables_ipv6 } else { &api.variables_ipv4 }.clone());
        let mut run = Run { deadline: Instant::now() + api.timeout, now, values, secrets: Vec::new() };
        match self.prepare(&mut run) {
            Ok((client, auth)) => perform(api, steps, &client, &auth, &mut run),
            Err(reason) => Sent::Refused { reason: run.clean(&reason), all: true },
        }
    }

    /// The client, and the header that proves who we are. Secrets are read
    /// every time, so that a new one works at once.
    fn prepare(&mut self, run: &mut Run) -> Result<(Client, HeaderMap), String> {
        for (name, file) in &self.api.secrets {
            let secret = secret::read(file)?;
            run.values.insert(name.clone(), secret.expose().to_owned());
            run.secrets.push(secret);
        }
        let client = match &self.client {
            Some(client) => client.clone(),
            None => build(self.api)?,
        };
        self.client = Some(client.clone());
        let auth = authorize(&self.api.auth, &client, &self.api.url, run)?;
        Ok((client, auth))
    }
}

/// A client for this API: its certificates, no redirects (they would carry our
/// secrets elsewhere), no proxy from the environment (what Wazuh starts
/// inherits whatever its service had), a connection for each request (between
/// two of ours a server has closed its end, and we would notice too late).
fn build(api: &Api) -> Result<Client, String> {
    // Only the first call counts, and every caller means the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("custom-block/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(0)
        .timeout(api.timeout);
    if let Some(file) = &api.ca_file {
        let certificates = Certificate::from_pem_bundle(&secret::read_public(file)?)
            .map_err(|why| format!("{}: {}", file.display(), explain(why)))?;
        if certificates.is_empty() {
            return Err(format!("{}: holds no certificate", file.display()));
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let Some((certificate, key)) = &api.client_certificate {
        let mut pem = secret::read(key)?.expose().as_bytes().to_vec();
        pem.push(b'\n');
        // One file may hold both; a key that is there twice is the same key.
        if certificate != key {
            pem.extend(secret::read_public(certificate)?);
        }
        let identity =
            Identity::from_pem(&pem).map_err(|why| format!("{}: {}", certificate.display(), explain(why)))?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(explain)
}

fn authorize(auth: &Auth, client: &Client, url: &Url, run: &mut Run) -> Result<HeaderMap, String> {
    let request = client.get(url.clone());
    let mut take = |path| {
        let secret = secret::read(path)?;
        let text = secret.expose().to_owned();
        run.secrets.push(secret);
        Ok::<String, String>(text)
    };
    let request: RequestBuilder = match auth {
        Auth::None => return Ok(HeaderMap::new()),
        Auth::Bearer(file) => request.bearer_auth(take(file)?),
        Auth::Basic { user, password } => request.basic_auth(user, Some(take(password)?)),
        Auth::BasicFiles { user, password } => request.basic_auth(take(user)?, Some(take(password)?)),
        Auth::Header { name, value } => {
            let value = HeaderValue::from_str(&take(value)?)
                .map_err(|_| format!("{}: cannot stand in a header", value.display()))?;
            let name = name.parse::<HeaderName>().map_err(|_| format!("{name:?} is not a header's name"))?;
            let mut headers = HeaderMap::new();
            headers.insert(name, value);
            return Ok(headers);
        }
    };
    let request = request.build().map_err(|_| "the secret cannot stand in a header".to_owned())?;
    if let Some(value) = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        run.secrets.push(Secret::new(value.split(' ').next_back().unwrap_or_default().to_owned()));
    }
    Ok(request.headers().clone())
}

/// Sends the requests of one change until one of them settles it.
fn perform(api: &Api, steps: &[Step], client: &Client, auth: &HeaderMap, run: &mut Run) -> Sent {
    let mut already = false;
    for (at, step) in steps.iter().enumerate() {
        let told = |reason: &str, run: &Run| {
            let place = format!("step {} of {} ({} {})", at + 1, steps.len(), step.method, step.path);
            run.clean(&format!("{place}: {reason}"))
        };
        let request = match request(api, step, client, auth, run) {
            Ok(request) => request,
            Err(why) => return Sent::Refused { reason: told(&why, run), all: false },
        };
        let (answer, retry_after) = match exchange(client, request, run) {
            Ok(answer) => answer,
            Err(why) => return Sent::Later { reason: told(&why, run), retry_after: None },
        };
        match step.meaning(&answer) {
            Meaning::Unneeded if step.next_after == NextAfter::Already => already = true,
            Meaning::Unneeded => return Sent::Done { already: true },
            Meaning::Ok if step.next_after == NextAfter::Already => return Sent::Done { already: false },
            Meaning::Ok => {}
            Meaning::Failed => {
                let quote: String = answer.body.chars().take(LONGEST_QUOTE).collect();
                let reason = told(&format!("status {}: {quote}", answer.status), run);
                return match answer.status {
                    408 | 425 | 429 | 500..=599 => Sent::Later { reason, retry_after },
                    status => Sent::Refused { reason, all: matches!(status, 401 | 403) },
                };
            }
        }
        if let Some(capture) = &step.capture {
            match capture.take(&answer, &run.values) {
                Ok(Some(value)) => {
                    run.secrets.push(Secret::new(value.clone()));
                    run.values.insert(capture.name.clone(), value);
                }
                Ok(None) if capture.empty_is_absent => return Sent::Done { already: true },
                Ok(None) => {
                    let why = format!("the answer has no {}", capture.name);
                    return Sent::Refused { reason: told(&why, run), all: false };
                }
                Err(why) => return Sent::Refused { reason: told(&why, run), all: false },
            }
        }
    }
    Sent::Done { already }
}

/// The request of one step.
fn request(api: &Api, step: &Step, client: &Client, auth: &HeaderMap, run: &Run) -> Result<Request, String> {
    let base = api.url.as_str().trim_end_matches('/');
    let url =
        Url::parse(&format!("{base}{}", step.url.render(&run.values)?)).map_err(|why| why.to_string())?;
    if url.origin() != api.url.origin() {
        return Err("the URL leads to another host".into());
    }
    let mut request = client.request(step.method.clone(), url).headers(auth.clone());
    for (name, value) in &step.headers {
        let value = HeaderValue::from_str(&value.render(&run.values)?)
            .map_err(|_| format!("the value of {name} cannot stand in a header"))?;
        request = request.header(name.clone(), value);
    }
    if let Some(body) = &step.body {
        request = request.body(body.render(&run.values)?);
    } else if step.method != Method::GET && step.method != Method::DELETE {
        // Says "Content-Length: 0", which some servers insist on.
        request = request.body("");
    }
    request.build().map_err(explain)
}

/// Sends a request and reads the whole answer, until the deadline.
fn exchange(client: &Client, mut request: Request, run: &Run) -> Result<(Answer, Option<u64>), String> {
    let late = || "no answer in time".to_owned();
    let left = run.deadline.checked_duration_since(Instant::now()).ok_or_else(late)?;
    *request.timeout_mut() = Some(left.max(Duration::from_millis(1)));
    let mut response = client.execute(request).map_err(explain)?;
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|value| seconds_until(value, run.now));
    let mut body = Vec::new();
    let mut chunk = [0; 8 * 1024];
    loop {
        match response.read(&mut chunk).map_err(|why| format!("the answer broke off: {why}"))? {
            0 => break,
            read => body.extend_from_slice(&chunk[..read]),
        }
        // Bytes that trickle in one by one are never late, each for itself.
        if Instant::now() >= run.deadline {
            return Err(late());
        }
        if body.len() > LONGEST_ANSWER {
            return Err(format!("the answer is longer than {LONGEST_ANSWER} bytes"));
        }
    }
    Ok((Answer::new(response.status().as_u16(), &body), retry_after))
}

/// The seconds that a `Retry-After` asks to wait: a number, or a date.
fn seconds_until(value: &str, now: u64) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds);
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?.timestamp();
    Some(u64::try_from(date).unwrap_or(0).saturating_sub(now))
}

/// An error of the HTTP client and its causes, without the URL.
fn explain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl Run {
    /// A text as it may be logged: no secrets, one line.
    fn clean(&self, text: &str) -> String {
        let escaped = |secret: &Secret| {
            let quoted = serde_json::Value::from(secret.expose()).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        let escaped: Vec<String> = self.secrets.iter().map(escaped).collect();
        let plain = self.secrets.iter().map(Secret::expose);
        let text = secret::redact(text, plain.chain(escaped.iter().map(String::as_str)));
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, now, expected) in [
            ("0", 0, Some(0)),
            (" 120 ", 0, Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777 - 30, Some(30)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777 + 30, Some(0)),
            ("Fri, 01 Jan 1960 00:00:00 GMT", 0, Some(0)),
            ("-5", 0, None),
            ("soon", 0, None),
            ("", 0, None),
        ] {
            assert_eq!(seconds_until(value, now), expected, "{value}");
        }
    }
}
