//! What was configured becomes what it means, once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::address::Target;
use common::alert::FieldPath;
use common::config::{ConfigError, duration, open_trusted, parse, read_trusted};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::api::Api;
use crate::api::config::ApiConfig;
use crate::firewall::Backend;
use crate::state::State;
use crate::state::cache::{self, Stamp};

/// Under this name the meaning of the file is kept.
const CACHE: &str = "config.json";
/// The name of the file in the configuration directory.
pub const FILE: &str = "custom-block.toml";
/// Allowlists are read at each add: at most this many bytes of each file.
const MOST_ALLOWLIST_FILES: usize = 16;

/// Everything that can be configured; the default is what applies without a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The ways of blocking, all of which are used.
    pub backends: Vec<Backend>,
    /// More places in an alert where an address may stand.
    #[serde(deserialize_with = "field_paths", serialize_with = "texts")]
    pub ip_fields: Vec<FieldPath>,
    /// How long a block lasts that Wazuh gives no time.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub ttl: Duration,
    /// The longest that Wazuh (not an administrator) may block.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub max_ttl: Duration,
    /// A run ends, done or not, after this time.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub deadline: Duration,
    /// New blocks in any 60 seconds; 0 is no limit.
    pub max_blocks_per_minute: u64,
    /// Blocks at one time, and the size of the kernel's sets.
    pub max_blocks: u32,
    /// The shortest prefix that an alert may block.
    pub widest: Widths,
    /// The shortest prefix that an administrator may block.
    pub widest_administrator: Widths,
    /// From this many blocked hosts of one IPv6 /64 on, the /64 is blocked; 0 is never.
    pub ipv6_hosts_per_network: usize,
    /// Addresses, networks and host names that are never blocked.
    #[serde(deserialize_with = "allowed", serialize_with = "texts")]
    pub allowlist: Vec<Allowed>,
    /// Files of them, one a line.
    pub allowlist_files: Vec<PathBuf>,
    /// Keep each block until its own time is over, whatever Wazuh says.
    pub hold: bool,
    /// Never block the remote hosts of logged-in sessions.
    pub protect_sessions: bool,
    /// Close the established TCP connections of a blocked address.
    pub close_connections: bool,
    /// The most time that closing them may take.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub close_budget: Duration,
    /// A file in node_exporter's textfile format.
    pub metrics_file: Option<PathBuf>,
    /// Longer blocks for repeat offenders.
    pub escalation: Escalation,
    /// The nftables backend.
    pub nftables: Nftables,
    /// The iptables backend.
    pub iptables: Iptables,
    /// The file backend.
    pub file: File,
    /// The api backend: one firewall each.
    pub api: Vec<ApiConfig>,
}

/// Prefix lengths of both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Widths {
    /// Of IPv4 networks.
    pub ipv4: u8,
    /// Of IPv6 networks.
    pub ipv6: u8,
}

/// Longer blocks for repeat offenders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Escalation {
    /// The time to live of the first, second, … block is multiplied by these;
    /// the last one counts from there on. Empty is off.
    pub factors: Vec<u32>,
    /// Offences this long ago are forgotten.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub decay: Duration,
}

/// The nftables backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nftables {
    /// Also drop what goes to a blocked address.
    pub outbound: bool,
    /// Answer with a reset or an ICMP error instead of silence.
    pub reject: bool,
}

/// The iptables backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Iptables {
    /// An existing chain of the filter table to put the rules in, instead of
    /// an own one hooked into INPUT and FORWARD.
    pub chain: Option<String>,
}

/// The file backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// The list to keep.
    pub path: Option<PathBuf>,
}

/// One who is never blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// An address or network.
    Target(Target),
    /// A host name, resolved by `doctor`, `restore` and the timer only.
    Name(String),
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Allowed::Target(target) => target.fmt(f),
            Allowed::Name(name) => f.write_str(name),
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            backends: vec![Backend::Auto],
            ip_fields: Vec::new(),
            ttl: Duration::from_secs(24 * 3600),
            max_ttl: Duration::from_secs(30 * 24 * 3600),
            deadline: Duration::from_secs(5),
            max_blocks_per_minute: 1000,
            max_blocks: 100_000,
            widest: Widths { ipv4: 24, ipv6: 56 },
            widest_administrator: Widths { ipv4: 16, ipv6: 48 },
            ipv6_hosts_per_network: 8,
            allowlist: Vec::new(),
            allowlist_files: Vec::new(),
            hold: false,
            protect_sessions: false,
            close_connections: false,
            close_budget: Duration::from_millis(50),
            metrics_file: None,
            escalation: Escalation::default(),
            nftables: Nftables::default(),
            iptables: Iptables::default(),
            file: File::default(),
            api: Vec::new(),
        }
    }
}

impl Default for Escalation {
    fn default() -> Escalation {
        Escalation { factors: Vec::new(), decay: Duration::from_secs(7 * 24 * 3600) }
    }
}

impl Settings {
    /// Reads the file; without one the defaults apply.
    ///
    /// # Errors
    /// File, line and key of what is wrong.
    pub fn load(path: &Path) -> Result<Settings, ConfigError> {
        let Some(text) = read_trusted(path)? else { return Ok(Settings::default()) };
        let settings: Settings = parse(path, &text)?;
        settings.check().map_err(|(key, problem)| {
            // The last name of `escalation.factors` stands alone on its line.
            let name = key.rsplit('.').next().unwrap_or(key);
            let line =
                text.lines().position(|line| line.trim_start().starts_with(name)).map_or(1, |at| at + 1);
            ConfigError::Syntax { path: path.to_owned(), line, message: format!("{key}: {problem}") }
        })?;
        Ok(settings)
    }

    /// Reads the file for a run of Wazuh's, which a broken one must not stop:
    /// then the defaults apply, with as much of the allowlist as can be read.
    #[must_use]
    pub fn load_or_default(path: &Path, state: &State) -> (Settings, Option<ConfigError>) {
        match Settings::load_kept(path, state) {
            Ok(settings) => (settings, None),
            Err(error) => (Settings::salvage(path), Some(error)),
        }
    }

    /// What was kept of a file that has not changed since, else the file.
    fn load_kept(path: &Path, state: &State) -> Result<Settings, ConfigError> {
        let Some(file) = open_trusted(path)? else { return Ok(Settings::default()) };
        let stamp = file.metadata().ok().map(|metadata| Stamp::of(&metadata));
        if let Some(kept) = stamp.as_ref().and_then(|stamp| cache::get(state, CACHE, stamp)) {
            return Ok(kept);
        }
        let settings = Settings::load(path)?;
        // The file may have been replaced between the two looks: then its
        // stamp is another one, and what is kept here is never used.
        if let Some(stamp) = stamp {
            cache::put(state, CACHE, &stamp, &settings.differences());
        }
        Ok(settings)
    }

    /// What is not as it is by default: the less is kept, the faster it is read.
    fn differences(&self) -> serde_json::Value {
        let value = |settings: &Settings| serde_json::to_value(settings).unwrap_or_default();
        let (mut ours, default) = (value(self), value(&Settings::default()));
        if let Some(members) = ours.as_object_mut() {
            members.retain(|key, value| default.get(key) != Some(value));
        }
        ours
    }

    /// The defaults, with every part of the allowlist that can be understood:
    /// of the keys before a break in the syntax, and each entry by itself.
    fn salvage(path: &Path) -> Settings {
        let text = read_trusted(path).ok().flatten().unwrap_or_default();
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                let whole = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let whole = whole.rfind('\n').map_or("", |end| &whole[..end]);
                whole.parse().unwrap_or_default()
            }
        };
        let texts = |key: &str| {
            let list = table.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
            list.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        Settings {
            allowlist: texts("allowlist").iter().filter_map(|text| parse_allowed(text)).collect(),
            allowlist_files: texts("allowlist_files")
                .into_iter()
                .map(PathBuf::from)
                .filter(|file| file.is_absolute())
                .take(MOST_ALLOWLIST_FILES)
                .collect(),
            ..Settings::default()
        }
    }

    /// What no type can say: each value within its bounds, and what one key
    /// asks of another.
    fn check(&self) -> Result<(), (&'static str, String)> {
        for (at, api) in self.api.iter().enumerate() {
            Api::compile(api).map_err(|error| ("api", error.to_string()))?;
            if self.api[..at].iter().any(|other| other.name == api.name) {
                return Err(("api", format!("two are named {}", api.name)));
            }
        }
        let wrong = |key, problem: &str| Err((key, problem.to_owned()));
        if self.backends.is_empty() {
            return wrong("backends", "must name at least one");
        }
        if self.backends.contains(&Backend::File) && self.file.path.is_none() {
            return wrong("backends", "file needs a path in [file]");
        }
        if self.backends.contains(&Backend::Api) && self.api.is_empty() {
            return wrong("backends", "api needs at least one [[api]]");
        }
        if self.file.path.as_ref().is_some_and(|path| !path.is_absolute()) {
            return wrong("file.path", "must be absolute");
        }
        if self.ttl.as_secs() == 0 {
            return wrong("ttl", "must be at least 1s (max_ttl cuts it)");
        }
        if self.max_ttl.as_secs() == 0 {
            return wrong("max_ttl", "must be at least 1s");
        }
        if self.max_ttl > Duration::from_secs(10 * 365 * 24 * 3600) {
            return wrong("max_ttl", "must be at most ten years");
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.deadline) {
            return wrong("deadline", "must lie between 100ms and 60s: Wazuh waits for us that long");
        }
        if self.close_budget > self.deadline / 2 {
            return wrong("close_budget", "must be at most half of deadline");
        }
        if !(1..=4_000_000).contains(&self.max_blocks) {
            return wrong("max_blocks", "must lie between 1 and 4000000");
        }
        for (key, widths) in [("widest", self.widest), ("widest_administrator", self.widest_administrator)] {
            if !(8..=32).contains(&widths.ipv4) || !(16..=128).contains(&widths.ipv6) {
                return wrong(key, "ipv4 must lie between 8 and 32, ipv6 between 16 and 128");
            }
        }
        if self.ipv6_hosts_per_network > 64 {
            return wrong("ipv6_hosts_per_network", "must be at most 64");
        }
        if self.allowlist_files.len() > MOST_ALLOWLIST_FILES {
            return wrong("allowlist_files", "at most 16 files");
        }
        if self.allowlist_files.iter().any(|path| !path.is_absolute()) {
            return wrong("allowlist_files", "each must be absolute");
        }
        if self.metrics_file.as_ref().is_some_and(|path| !path.is_absolute()) {
            return wrong("metrics_file", "must be absolute");
        }
        if self.escalation.factors.contains(&0) || self.escalation.factors.len() > 32 {
            return wrong("escalation.factors", "at most 32 factors of at least 1");
        }
        let plain = |name: &String| {
            (1..=28).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
                && !name.starts_with('-')
        };
        if self.iptables.chain.as_ref().is_some_and(|chain| !plain(chain)) {
            return wrong("iptables.chain", "must be the name of a chain");
        }
        Ok(())
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&humantime::format_duration(*duration).to_string())
}

fn texts<T: ToString, S: Serializer>(items: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(ToString::to_string))
}

fn field_paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<FieldPath>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|text| {
            FieldPath::parse(text).map_err(|error| serde::de::Error::custom(format!("{text:?} is {error}")))
        })
        .collect()
}

fn allowed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Allowed>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|text| {
            parse_allowed(text).ok_or_else(|| {
                serde::de::Error::custom(format!("{text:?} is no address, network or host name"))
            })
        })
        .collect()
}

/// One line of an allowlist.
#[must_use]
pub fn parse_allowed(text: &str) -> Option<Allowed> {
    if let Ok(target) = text.parse() {
        return Some(Allowed::Target(target));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (text.len() <= 253 && !numeric && text.trim_end_matches('.').split('.').all(label))
        .then(|| Allowed::Name(text.trim_end_matches('.').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, text).unwrap();
        Settings::load(&path)
            .map_err(|error| error.to_string().replace(&dir.path().display().to_string(), ""))
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        for (text, expected) in [
            ("ttl = \"1h\"\nmax_tll = 3\n", "/custom-block.toml:2: unknown field `max_tll`"),
            ("\nttl = \"soon\"\n", "/custom-block.toml:2: ttl: \"soon\" is no duration"),
            ("backends = [\"pf\"]\n", "/custom-block.toml:1: backends: unknown variant `pf`"),
            ("backends = []\n", "/custom-block.toml:1: backends: must name at least one"),
            ("# x\nttl = 0\n", "/custom-block.toml:2: ttl: must be at least 1s"),
            ("deadline = \"2m\"\n", "/custom-block.toml:1: deadline: must lie between"),
            (
                "allowlist = [\"10.0.0.0/33\"]\n",
                "/custom-block.toml:1: allowlist: \"10.0.0.0/33\" is no address",
            ),
            ("[escalation]\nfactors = [0]\n", "/custom-block.toml:2: escalation.factors: at most"),
            ("[escalation]\nfactor = [1]\n", "/custom-block.toml:2: unknown field `factor`"),
            ("ip_fields = [\"a..b\"]\n", "/custom-block.toml:1: ip_fields: \"a..b\" is not"),
        ] {
            let error = load(text).map(drop).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_broken_file_keeps_its_allowlist_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, "allowlist = [\"192.0.2.0/24\"]\nhold = true\nbogus = 1\n").unwrap();
        let (settings, error) = Settings::load_or_default(&path, &State::below(dir.path()));
        assert!(error.is_some());
        assert!(!settings.hold);
        assert_eq!(settings.allowlist, [Allowed::Target("192.0.2.0/24".parse().unwrap())]);
        for broken in [
            "allowlist = [\"192.0.2.0/24\", \"10.0.0.0/33\", 7]\n",
            "allowlist = [\"192.0.2.0/24\"]\nhold = yes\n",
            "allowlist = [\"192.0.2.0/24\"]\n\n[nftables\n",
        ] {
            std::fs::write(&path, broken).unwrap();
            let (settings, error) = Settings::load_or_default(&path, &State::below(dir.path()));
            assert!(error.is_some(), "{broken}");
            assert_eq!(settings.allowlist, [Allowed::Target("192.0.2.0/24".parse().unwrap())], "{broken}");
        }
    }

    #[test]
    fn what_is_kept_of_a_file_means_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (path, state) = (dir.path().join(FILE), State::below(dir.path()));
        std::fs::write(
            &path,
            "ttl = \"90m\"\nip_fields = [\"/a.b/c~1d\", \"e.f\"]\nallowlist = [\"192.0.2.0/24\", \"a.example\"]\n\
             close_budget = \"1500us\"\n[escalation]\nfactors = [1, 4]\n[[api]]\nname = \"fw\"\npreset = \"generic\"\n\
             url = \"https://fw.example\"\n[iptables]\nchain = \"X\"\n",
        )
        .unwrap();
        let (first, error) = Settings::load_or_default(&path, &state);
        assert!(error.is_none(), "{error:?}");
        assert!(state.path(CACHE).exists());
        let (kept, _) = Settings::load_or_default(&path, &state);
        assert_eq!(format!("{first:?}"), format!("{kept:?}"));
        std::fs::write(&path, "bogus = 1\n").unwrap();
        assert!(Settings::load_or_default(&path, &state).1.is_some());
    }

    #[test]
    fn durations_are_words_or_seconds() {
        assert_eq!(load("ttl = 90\n").unwrap().ttl, Duration::from_secs(90));
        assert_eq!(load("ttl = \"1h 30m\"\n").unwrap().ttl, Duration::from_secs(5400));
    }

    #[test]
    fn an_allowlist_takes_addresses_networks_and_names() {
        for (text, good) in [
            ("192.0.2.1", true),
            ("2001:db8::/32", true),
            ("bastion.example.org", true),
            ("localhost", true),
            ("1.2.3", false),
            ("a b", false),
            ("-x.org", false),
            ("", false),
            ("..", false),
        ] {
            assert_eq!(parse_allowed(text).is_some(), good, "{text:?}");
        }
    }
}
