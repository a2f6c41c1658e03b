//! What was configured becomes what it means, once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::config::{ConfigError, duration, parse, read_trusted};
use ipnet::IpNet;
use serde::Deserialize;

use crate::source::{Certificates, Given, Source, application, aws, generic, github, supabase};
use crate::{output, secret};

/// The name of the file in the configuration directory.
pub const FILE: &str = "custom-webhook.toml";
const MEGABYTE: u64 = 1024 * 1024;

/// Everything that can be configured; the default is what applies without a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where senders come to.
    pub listen: SocketAddr,
    /// Where health and metrics are asked for; empty is nowhere.
    #[serde(deserialize_with = "address_or_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// The certificate and the key, where senders come over TLS.
    pub tls: Option<Tls>,
    /// Take plain HTTP also from other hosts.
    pub plain_http: bool,
    /// Proxies whose X-Forwarded-For is believed.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// The file that Wazuh's agent follows.
    pub output: PathBuf,
    /// Lines in a second, at most; 0 is no limit. An agent sends 500.
    pub events_per_second: u32,
    /// Replace the file when it has so many megabytes; 0 is never.
    pub rotate_megabytes: u64,
    /// Replace it at midnight.
    pub rotate_daily: bool,
    /// Old files that are kept.
    pub keep: usize,
    /// What may wait for its turn, in megabytes.
    pub spool_megabytes: u64,
    /// Connections at a time.
    pub connections: usize,
    /// Of one address.
    pub connections_per_peer: usize,
    /// The time for a request's head, and between two requests.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// The time for a request's body and its answer.
    #[serde(deserialize_with = "duration")]
    pub request_timeout: Duration,
    /// How long a repeat is known as one.
    #[serde(deserialize_with = "duration")]
    pub replay_window: Duration,
    /// Of how many deliveries.
    pub replay_entries: usize,
    /// GitHub's webhooks.
    pub github: Option<github::Config>,
    /// Events of your own applications.
    pub application: Option<application::Config>,
    /// Supabase's database webhooks.
    pub supabase: Option<supabase::Config>,
    /// `EventBridge` and SNS.
    pub aws: Option<aws::Config>,
    /// Anything else.
    pub generic: Vec<generic::Config>,
}

/// The certificate and the key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those above it, as PEM; or a credential of systemd.
    pub certificate: secret::SecretRef,
    /// Its key, as PEM, for us only; or a credential of systemd.
    pub key: secret::SecretRef,
}

fn address_or_none<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}

/// An address is a network of one.
fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let network = |text: &String| {
        let address = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
        let found = text.parse::<IpNet>().ok().or_else(address);
        found.ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no address or network")))
    };
    texts.iter().map(network).collect()
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            metrics_listen: Some(SocketAddr::from(([127, 0, 0, 1], 9787))),
            tls: None,
            plain_http: false,
            trusted_proxies: Vec::new(),
            output: "/var/log/wazuh-toolkit/custom-webhook/events.json".into(),
            events_per_second: 400,
            rotate_megabytes: 100,
            rotate_daily: true,
            keep: 7,
            spool_megabytes: 1024,
            connections: 512,
            connections_per_peer: 64,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            replay_window: Duration::from_secs(4 * 24 * 3600),
            replay_entries: 200_000,
            github: None,
            application: None,
            supabase: None,
            aws: None,
            generic: Vec::new(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// There is none.
    #[error("{}: there is no such file, and without a source there is nothing to do", .0.display())]
    Missing(PathBuf),
    /// A value that is not possible, or not with another.
    #[error("{}: {key}: {why}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Why not.
        why: String,
    },
}

/// By its end, which a path does not keep otherwise, or because there is one.
fn names_a_folder(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    text.ends_with(b"/") || text.ends_with(b"/.") || path.is_dir()
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    /// File, line and key of what is wrong.
    pub fn load(path: &Path) -> Result<Settings, Unusable> {
        Settings::load_for(path, None)
    }

    /// The same for a daemon that listens already, wherever the file says it
    /// should.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load_for(path: &Path, listening: Option<SocketAddr>) -> Result<Settings, Unusable> {
        let Some(text) = read_trusted(path)? else { return Err(Unusable::Missing(path.to_owned())) };
        let settings: Settings = parse(path, &text)?;
        settings.check(listening.unwrap_or(settings.listen)).map_err(|(key, why)| Unusable::Value {
            path: path.to_owned(),
            key: key.to_owned(),
            why: why.to_owned(),
        })?;
        Ok(settings)
    }

    fn check(&self, listen: SocketAddr) -> Result<(), (&'static str, &'static str)> {
        let wrong = |key, why| Err((key, why));
        if self.tls.is_none() && !self.plain_http && !listen.ip().is_loopback() {
            return wrong(
                "listen",
                "beyond this host only with [tls], or with plain_http = true behind a proxy that has TLS",
            );
        }
        if self.metrics_listen == Some(listen) {
            return wrong("metrics_listen", "must be another one than listen");
        }
        if !self.output.is_absolute() || self.output.file_name().is_none() {
            return wrong("output", "must be the absolute path of a file");
        }
        if names_a_folder(&self.output) {
            return wrong("output", "must be the path of a file, and is that of a folder: add a name to it");
        }
        if self.keep == 0 {
            return wrong("keep", "must be at least 1: Wazuh reads on in the last one");
        }
        if self.spool_megabytes == 0 {
            return wrong("spool_megabytes", "must be at least 1");
        }
        if self.connections == 0 || self.connections > 10_000 || self.connections_per_peer == 0 {
            return wrong(
                "connections",
                "must lie between 1 and 10000, and connections_per_peer be at least 1",
            );
        }
        if self.header_timeout.is_zero()
            || self.request_timeout.is_zero()
            || self.request_timeout > Duration::from_secs(600)
        {
            return wrong("header_timeout, request_timeout", "must be longer than nothing, and at most 10m");
        }
        if self.replay_entries == 0 || self.replay_entries > 2_000_000 {
            return wrong("replay_entries", "between 1 and 2000000: each takes some 60 bytes");
        }
        if self.replay_window.is_zero() {
            return wrong("replay_window", "must be longer than nothing: a repeat would be an event again");
        }
        Ok(())
    }

    /// What a running daemon does not change, each key with its value.
    #[must_use]
    pub fn of_the_start(&self) -> [(&'static str, String); 14] {
        // Named all, so that a new key must be put on one of the two sides.
        let Settings {
            listen,
            metrics_listen,
            tls: _,
            plain_http: _,
            trusted_proxies: _,
            output,
            events_per_second,
            rotate_megabytes,
            rotate_daily,
            keep,
            spool_megabytes,
            connections,
            connections_per_peer,
            header_timeout,
            request_timeout,
            replay_window,
            replay_entries,
            github: _,
            application: _,
            supabase: _,
            aws: _,
            generic: _,
        } = self;
        [
            ("listen", listen.to_string()),
            ("metrics_listen", format!("{metrics_listen:?}")),
            ("output", output.display().to_string()),
            ("events_per_second", events_per_second.to_string()),
            ("rotate_megabytes", rotate_megabytes.to_string()),
            ("rotate_daily", rotate_daily.to_string()),
            ("keep", keep.to_string()),
            ("spool_megabytes", spool_megabytes.to_string()),
            ("connections", connections.to_string()),
            ("connections_per_peer", connections_per_peer.to_string()),
            ("header_timeout", format!("{header_timeout:?}")),
            ("request_timeout", format!("{request_timeout:?}")),
            ("replay_window", format!("{replay_window:?}")),
            ("replay_entries", replay_entries.to_string()),
        ]
    }

    /// The most that the spool may hold, in bytes.
    #[must_use]
    pub fn spool_limit(&self) -> u64 {
        self.spool_megabytes.saturating_mul(MEGABYTE)
    }

    /// When the output is replaced.
    #[must_use]
    pub fn rotation(&self) -> output::Rotation {
        output::Rotation {
            size: self.rotate_megabytes.saturating_mul(MEGABYTE),
            daily: self.rotate_daily,
            keep: self.keep,
        }
    }

    /// Whether anybody could send anything.
    #[must_use]
    pub fn has_a_source(&self) -> bool {
        self.github.is_some()
            || self.application.is_some()
            || self.supabase.is_some()
            || self.aws.is_some()
            || !self.generic.is_empty()
    }

    /// The sources, each with its secrets.
    ///
    /// # Errors
    /// When a secret cannot be read, or two sources have one path.
    pub fn sources(
        &self,
        path: &Path,
        certificates: Arc<dyn Certificates>,
    ) -> Result<Vec<Arc<dyn Source>>, Unusable> {
        let credentials = secret::credentials();
        let secrets = |reference: &secret::SecretRef| secret::read(reference, credentials.as_ref());
        let given = Given { secrets: &secrets, proxies: &self.trusted_proxies, certificates };
        let broken = |error: crate::source::ConfigError| Unusable::Value {
            path: path.to_owned(),
            key: format!("{}.{}", error.source_name, error.key),
            why: error.why,
        };
        let mut all: Vec<Arc<dyn Source>> = Vec::new();
        if let Some(config) = &self.github {
            all.push(config.compile(&given).map_err(broken)?.into());
        }
        if let Some(config) = &self.application {
            all.push(config.compile(&given).map_err(broken)?.into());
        }
        if let Some(config) = &self.supabase {
            all.push(config.compile(&given).map_err(broken)?.into());
        }
        if let Some(config) = &self.aws {
            all.push(config.compile(&given).map_err(broken)?.into());
        }
        for config in &self.generic {
            all.push(config.compile(&given).map_err(broken)?.into());
        }
        for (at, source) in all.iter().enumerate() {
            for other in &all[..at] {
                let twice = source.paths().iter().find(|path| other.paths().contains(path));
                let why = if let Some(twice) = twice {
                    format!("{twice} is also a path of {}", other.name())
                } else if source.name() == other.name() {
                    "another source has this name".to_owned()
                } else {
                    continue;
                };
                return Err(Unusable::Value { path: path.to_owned(), key: source.name().to_owned(), why });
            }
        }
        Ok(all)
    }
}
