//! `send`: a sample, signed as its sender would, to a running daemon.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Certificate;
use reqwest::blocking::{Client, RequestBuilder};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::call::Call;
use crate::config::Settings;
use crate::secret::{self, SecretRef};
use crate::sign::{Algorithm, Encoding};
use crate::source::{application, aws, generic};

use super::say;
use super::user::{HAND_OVER, as_daemon};

/// The largest sample, in bytes.
const MOST: u64 = 32 * 1024 * 1024;
/// How long the answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What is sent, and where.
#[derive(Debug)]
pub struct Sample {
    /// The source's name in the configuration.
    pub source: String,
    /// The event's name, where a header says it.
    pub event: Option<String>,
    /// Instead of what the configuration says.
    pub url: Option<String>,
    /// Who vouches for the daemon's certificate.
    pub ca_file: Option<PathBuf>,
    /// The body.
    pub file: PathBuf,
}

/// Headers.
type Headers = Vec<(String, String)>;

/// Signs and posts it.
///
/// # Errors
/// When it cannot be read, signed or posted, or is not accepted.
pub fn send(call: &Call, sample: &Sample) -> Result<(), String> {
    let body = body(&sample.file)?;
    let (settings, paths, headers) = as_daemon(call, HAND_OVER, || {
        let settings = Settings::load(&call.config).map_err(|error| error.to_string())?;
        let (paths, headers) = prepared(&settings, sample, &body)?;
        Ok::<_, String>((settings, paths, headers))
    })?;
    let path = paths.first().ok_or("it has no path")?;
    let url = sample.url.clone().unwrap_or_else(|| {
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", reachable(settings.listen))
    });
    let mut request = client(&url, sample.ca_file.as_deref())?.post(&url).body(body);
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    post(request)
}

fn body(file: &Path) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MOST + 1).read_to_end(&mut body)
    } else {
        File::open(file).and_then(|file| file.take(MOST + 1).read_to_end(&mut body))
    };
    read.map_err(|error| format!("{}: {error}", file.display()))?;
    if body.len() as u64 > MOST {
        Err(format!("{}: is larger than 32 MiB", file.display()))
    } else {
        Ok(body)
    }
}

fn client(url: &str, ca_file: Option<&Path>) -> Result<Client, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder().timeout(LIMIT).no_proxy();
    if url.starts_with("http://") {
        // A host without certificate authorities is good enough for that.
        builder = builder.tls_certs_only([]);
    } else if let Some(file) = ca_file {
        let certificates = Certificate::from_pem_bundle(&common::secret::read_public(file)?)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| in_full(&error))
}

/// With its reasons, which it does not say itself.
fn in_full(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut why = std::error::Error::source(error);
    while let Some(reason) = why {
        text = format!("{text}: {reason}");
        why = reason.source();
    }
    // The words of the library are for those who know its source.
    if text.contains("CaUsedAsEndEntity") {
        text.push_str(
            ": the daemon's certificate is an authority's (CA:TRUE) and cannot be a server's: make it with \
             basicConstraints=CA:FALSE",
        );
    }
    text
}

/// Whoever listens at all addresses listens at this one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn post(request: RequestBuilder) -> Result<(), String> {
    let answer = request.send().map_err(|error| in_full(&error))?;
    let status = answer.status();
    let mut text = String::new();
    // What is no text is not shown.
    let _ = answer.take(4096).read_to_string(&mut text);
    if status.is_success() {
        say(&format!("{status}: {}", text.trim()));
        Ok(())
    } else {
        Err(format!("{status}: {}", text.trim()))
    }
}

/// The first secret: the one that is signed with while another is still taken.
fn first(secrets: &[SecretRef]) -> Result<String, String> {
    let reference = secrets.first().ok_or("no secret is configured for it")?;
    let secret =
        secret::read(reference, secret::credentials().as_ref()).map_err(|error| error.to_string())?;
    Ok(secret.expose().to_owned())
}

fn signature(algorithm: Algorithm, secret: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let algorithm = match algorithm {
        Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::Sha256 => hmac::HMAC_SHA256,
        Algorithm::Sha384 => hmac::HMAC_SHA384,
        Algorithm::Sha512 => hmac::HMAC_SHA512,
    };
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, secret));
    parts.iter().for_each(|part| context.update(part));
    context.sign()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An id that nobody else has.
fn new_id() -> Result<String, String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "no random numbers")?;
    Ok(hex(&bytes))
}

fn header(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn basic(user: &str, secret: &str) -> (String, String) {
    header("Authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{secret}"))))
}

/// The paths of the source, and the headers of its sender.
fn prepared(settings: &Settings, sample: &Sample, body: &[u8]) -> Result<(Vec<String>, Headers), String> {
    let mut headers = vec![header("Content-Type", "application/json")];
    let paths = match sample.source.as_str() {
        "github" => {
            let config = settings.github.as_ref().ok_or("there is no [github]")?;
            let tag = signature(Algorithm::Sha256, first(&config.secret_files)?.as_bytes(), &[body]);
            headers.push(header("X-Hub-Signature-256", format!("sha256={}", hex(tag.as_ref()))));
            headers.push(header("X-GitHub-Event", event_of(sample)));
            headers.push(header("X-GitHub-Delivery", new_id()?));
            config.paths.clone()
        }
        "application" => {
            let config = settings.application.as_ref().ok_or("there is no [application]")?;
            headers.extend(of_application(config, body)?);
            config.paths.clone()
        }
        "supabase" => {
            let config = settings.supabase.as_ref().ok_or("there is no [supabase]")?;
            let secret = first(&config.secret_files)?;
            let bearer = config.header.eq_ignore_ascii_case("authorization");
            headers.push(header(&config.header, if bearer { format!("Bearer {secret}") } else { secret }));
            config.paths.clone()
        }
        "aws" => {
            let config = settings.aws.as_ref().ok_or("there is no [aws]")?;
            let secret = first(&config.secret_files)
                .map_err(|why| format!("{why} (a message of SNS cannot be signed here)"))?;
            headers.push(match config.auth {
                aws::Auth::Header => header(&config.header, secret),
                aws::Auth::Basic => basic(&config.user, &secret),
                aws::Auth::Bearer => header("Authorization", format!("Bearer {secret}")),
            });
            config.paths.clone()
        }
        name => {
            let config = settings.generic.iter().find(|config| config.name == name);
            let config = config.ok_or_else(|| format!("there is no source called {name}"))?;
            let secret = first(&config.secret_files)?;
            headers.push(match config.auth {
                generic::Auth::Bearer => header("Authorization", format!("Bearer {secret}")),
                generic::Auth::Basic => basic(&config.user, &secret),
                generic::Auth::Header => header(&config.header, secret),
                generic::Auth::Hmac => {
                    let tag = signature(config.algorithm, secret.as_bytes(), &[body]);
                    let text = match config.encoding {
                        Encoding::Hex => hex(tag.as_ref()),
                        Encoding::Base64 => STANDARD.encode(tag.as_ref()),
                    };
                    header(&config.header, format!("{}{text}", config.prefix))
                }
            });
            if let (false, Some(event)) = (config.event_header.is_empty(), &sample.event) {
                headers.push(header(&config.event_header, event));
            }
            if !config.id_header.is_empty() {
                headers.push(header(&config.id_header, new_id()?));
            }
            config.paths.clone()
        }
    };
    Ok((paths, headers))
}

/// Signed where it can be, else with a token.
fn of_application(config: &application::Config, body: &[u8]) -> Result<Headers, String> {
    if config.secret_files.is_empty() {
        let token = first(&config.token_files)?;
        return Ok(vec![
            header("Authorization", format!("Bearer {token}")),
            header("Idempotency-Key", new_id()?),
        ]);
    }
    let secret = first(&config.secret_files)?;
    // A secret of Standard Webhooks says what it is, and is base64 behind that.
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| "the secret behind whsec_ is no base64")?,
        None => secret.into_bytes(),
    };
    let (id, now) = (new_id()?, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    let signed = format!("{id}.{now}.");
    let tag = signature(Algorithm::Sha256, &key, &[signed.as_bytes(), body]);
    Ok(vec![
        header("webhook-id", id),
        header("webhook-timestamp", now.to_string()),
        header("webhook-signature", format!("v1,{}", STANDARD.encode(tag.as_ref()))),
    ])
}

/// As said, else by the file's name: `dependabot_alert.created.json` is one.
fn event_of(sample: &Sample) -> String {
    let by_name = || {
        let name =
            sample.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let word = name.split('.').next().unwrap_or_default().to_owned();
        let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if plain { word } else { "ping".to_owned() }
    };
    sample.event.clone().unwrap_or_else(by_name)
}
