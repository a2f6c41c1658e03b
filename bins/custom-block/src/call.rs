//! How this run was called, and what it works with.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::config::ConfigError;
use common::places::Places;
use common::wazuh::paths::{Installation, program_name};

use crate::config::{self, Settings};
use crate::firewall::Backend;
use crate::state::State;

/// The part of the deadline during which a lock is waited for.
const PATIENCE: u32 = 2;

/// The command line and the environment, understood.
#[derive(Debug, Clone)]
pub struct Call {
    /// The name that Wazuh knows us by: of the link we were called through.
    pub program: String,
    /// The installation of Wazuh.
    pub installation: Installation,
    /// Of all programs; ours is a folder in it.
    pub state_dir: PathBuf,
    /// Our configuration file.
    pub config: PathBuf,
    /// `--backend`, instead of the configured ones.
    pub backends: Vec<Backend>,
    /// `--dry-run`.
    pub dry_run: bool,
}

impl Call {
    /// Called under this name, with these places on the command line.
    #[must_use]
    pub fn new(called_as: &OsStr, places: &Places) -> Call {
        Call {
            program: program_name(called_as, "custom-block"),
            installation: places.installation(called_as),
            state_dir: places.state_dir(),
            config: places.config(config::FILE),
            backends: Vec::new(),
            dry_run: false,
        }
    }
}

/// One run: what was configured, where its state is and when it must end.
#[derive(Debug)]
pub struct Run {
    /// How it was called.
    pub call: Call,
    /// What is configured, or the defaults.
    pub settings: Settings,
    /// Why the defaults apply.
    pub broken: Option<ConfigError>,
    /// What outlives it.
    pub state: State,
    /// When it began.
    pub started: Instant,
    /// Seconds since 1970, when it began.
    pub now: u64,
    /// When it ends, done or not.
    pub deadline: Instant,
}

impl Run {
    /// A run that began just now.
    #[must_use]
    pub fn new(call: Call) -> Run {
        let started = Instant::now();
        let state = State::below(&call.state_dir);
        let (settings, broken) = Settings::load_or_default(&call.config, &state);
        let deadline = started + settings.deadline;
        Run { call, settings, broken, state, started, now: crate::now(), deadline }
    }

    /// Lasts at least this long: for a person, or a timer, who can wait.
    #[must_use]
    pub fn patient(mut self, time: Duration) -> Run {
        self.deadline = self.deadline.max(self.started + time);
        self
    }

    /// Until when a lock is waited for.
    #[must_use]
    pub fn patience(&self) -> Instant {
        self.started + (self.deadline - self.started) / PATIENCE
    }

    /// The backends of this run: of the command line, of `extra_args`, or of
    /// the configuration. Doing nothing wins over all others.
    #[must_use]
    pub fn backends(&self, chosen: &[Backend]) -> Vec<Backend> {
        let wanted = [&self.call.backends[..], chosen, &self.settings.backends[..]];
        let wanted = wanted.into_iter().find(|list| !list.is_empty()).unwrap_or_default();
        if self.call.dry_run || wanted.contains(&Backend::DryRun) {
            return vec![Backend::DryRun];
        }
        wanted.to_vec()
    }

    /// How long offences are remembered, in seconds.
    #[must_use]
    pub fn decay(&self) -> u64 {
        if self.settings.escalation.factors.is_empty() { 0 } else { self.settings.escalation.decay.as_secs() }
    }
}
