//! What was configured becomes what it means, once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use common::config::{ConfigError, duration, parse, read_trusted};
use serde::Deserialize;

use crate::allow::Allow;

/// The name of the file in the configuration directory.
pub const FILE: &str = "custom-audit.toml";
/// More entries than an administrator can keep in mind are a mistake.
const MOST_ENTRIES: usize = 1024;

/// How `process` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ProcessKey {
    /// `{"name":"sshd"}`, as Wazuh's index template wants it.
    Object,
    /// `"sshd"`, which Wazuh's own indexer drops.
    String,
}

/// Everything that can be configured; the default is what applies without a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Events of one run; 0 is no limit.
    pub max_events: usize,
    /// How `process` is written.
    pub process_key: ProcessKey,
    /// Put the other end into `srcip`, which Wazuh looks up in its table of places.
    pub geo_peer: bool,
    /// A file for the lines, instead of standard output.
    pub output: Option<PathBuf>,
    /// On hosts with very many connections: how often all of them are looked
    /// at, whether something seems new or not.
    #[serde(deserialize_with = "duration")]
    pub full_look: Duration,
    /// Between two looks of `--watch`.
    #[serde(deserialize_with = "duration")]
    pub watch_pause: Duration,
    /// SHA-256 of executables.
    pub hash: Hash,
    /// What is not worth an event.
    pub allow: Vec<Allow>,
}

/// SHA-256 of executables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hash {
    /// Whether there is any.
    pub enabled: bool,
    /// Larger files are left out, in bytes.
    pub largest: u64,
    /// No file is begun after so much time of a run.
    #[serde(deserialize_with = "duration")]
    pub budget: Duration,
}

impl Default for Hash {
    fn default() -> Hash {
        Hash { enabled: true, largest: 64 * 1024 * 1024, budget: Duration::from_millis(200) }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_events: 500,
            process_key: ProcessKey::Object,
            geo_peer: false,
            output: None,
            full_look: Duration::from_secs(15 * 60),
            watch_pause: Duration::from_secs(1),
            hash: Hash::default(),
            allow: Vec::new(),
        }
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
        settings.check().map_err(|(key, nth, problem)| {
            // The nth `[[allow]]` stands on the nth line that says so.
            let is_key = |line: &&str| {
                let line = line.trim_start();
                if nth > 0 { line.starts_with("[[allow]]") } else { line.starts_with(key) }
            };
            let found = text.lines().enumerate().filter(|(_, line)| is_key(line)).nth(nth.saturating_sub(1));
            let line = found.map_or(1, |(at, _)| at + 1);
            ConfigError::Syntax { path: path.to_owned(), line, message: format!("{key}: {problem}") }
        })?;
        Ok(settings)
    }

    /// What no type can say. The number is that of the `[[allow]]`, from 1; 0
    /// is none of them.
    fn check(&self) -> Result<(), (&'static str, usize, &'static str)> {
        let wrong = |key, problem| Err((key, 0, problem));
        if self.output.as_ref().is_some_and(|path| !path.is_absolute() || path.file_name().is_none()) {
            return wrong("output", "must be an absolute path of a file");
        }
        if self.full_look > Duration::from_secs(24 * 3600) {
            return wrong("full_look", "must be at most 24h");
        }
        if !(Duration::from_millis(50)..=Duration::from_secs(60)).contains(&self.watch_pause) {
            return wrong("watch_pause", "must lie between 50ms and 60s");
        }
        if self.hash.budget > Duration::from_secs(60) {
            return wrong("budget", "must be at most 60s");
        }
        if self.allow.len() > MOST_ENTRIES {
            return wrong("allow", "at most 1024 entries");
        }
        for (at, entry) in self.allow.iter().enumerate() {
            entry.check().map_err(|problem| ("allow", at + 1, problem))?;
        }
        Ok(())
    }
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
            ("max_event = 3\n", "/custom-audit.toml:1: unknown field `max_event`"),
            ("max_events = -1\n", "/custom-audit.toml:1: max_events: "),
            ("\nprocess_key = \"list\"\n", "/custom-audit.toml:2: process_key: unknown variant `list`"),
            ("output = \"audit.json\"\n", "/custom-audit.toml:1: output: must be an absolute path"),
            ("watch_pause = \"1ms\"\n", "/custom-audit.toml:1: watch_pause: must lie between"),
            ("[hash]\nbudget = \"2m\"\n", "/custom-audit.toml:2: budget: must be at most"),
            ("[[allow]]\nexe = \"/a\"\n\n[[allow]]\n", "/custom-audit.toml:4: allow: "),
            ("[[allow]]\nremotes = [\"x\"]\n", "/custom-audit.toml:2: remotes: \"x\" is not"),
            ("[[allow]]\nports = [\"90-80\"]\n", "/custom-audit.toml:2: ports: "),
            ("[[allow]]\nexe = \"sshd\"\n", "/custom-audit.toml:1: allow: exe must be"),
        ] {
            let error = load(text).map(drop).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_not_written_is_as_by_default() {
        let settings = load("max_events = 7\n[hash]\nenabled = false\n").unwrap();
        assert_eq!((settings.max_events, settings.hash.enabled), (7, false));
        assert_eq!(settings.hash.largest, Hash::default().largest);
        assert!(settings.allow.is_empty());
        assert_eq!(load("").unwrap().max_events, 500);
    }
}
