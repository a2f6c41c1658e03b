//! How this run was called, and what it works with.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use common::config::ConfigError;
use common::places::Places;
use common::wazuh::paths::Installation;
use nix::sys::signal::{SigSet, Signal};

use crate::config::{self, Settings};

/// After being told to stop, so long a reader is waited for.
const GRACE: Duration = Duration::from_secs(1);
/// And after that, so long for the state to be saved.
const LAST: Duration = Duration::from_secs(2);
/// The stack of the thread that waits for signals, in bytes.
const STACK: usize = 64 * 1024;
/// A reader who reads nothing for so long has hung.
const READER: Duration = Duration::from_secs(60);

/// The command line and the environment, understood.
#[derive(Debug, Clone)]
pub struct Call {
    /// The installation of Wazuh.
    pub installation: Installation,
    /// Of all programs; ours is a folder in it.
    pub state_dir: PathBuf,
    /// Our configuration file.
    pub config: PathBuf,
    /// Everything each time, without a state.
    pub full: bool,
    /// Look again and again for so long.
    pub watch: Option<Duration>,
    /// What is said on the command line instead of the configuration.
    pub instead: Instead,
}

/// Settings of the command line, which come before those of the file.
#[derive(Debug, Clone, Default)]
pub struct Instead {
    /// `--max-events`
    pub max_events: Option<usize>,
    /// `--process-key`
    pub process_key: Option<config::ProcessKey>,
    /// `--geo-peer`
    pub geo_peer: bool,
    /// `--output`
    pub output: Option<PathBuf>,
}

impl Call {
    /// Called under this name, with these places on the command line.
    #[must_use]
    pub fn new(called_as: &OsStr, places: &Places) -> Call {
        Call {
            installation: places.installation(called_as),
            state_dir: places.state_dir(),
            config: places.config(config::FILE),
            full: false,
            watch: None,
            instead: Instead::default(),
        }
    }

    /// What is configured, or the defaults and why they apply; in both, the
    /// command line comes first.
    #[must_use]
    pub fn settings(&self) -> (Settings, Option<ConfigError>) {
        let (mut settings, broken) = match Settings::load(&self.config) {
            Ok(settings) => (settings, None),
            Err(error) => (Settings::default(), Some(error)),
        };
        let Instead { max_events, process_key, geo_peer, output } = &self.instead;
        settings.max_events = max_events.unwrap_or(settings.max_events);
        settings.process_key = process_key.unwrap_or(settings.process_key);
        settings.geo_peer |= geo_peer;
        if output.is_some() {
            settings.output.clone_from(output);
        }
        (settings, broken)
    }
}

/// Being told to stop. The signals that do so only tell: a line that is being
/// written is written to its end, and the state is saved.
#[derive(Debug)]
pub struct Stop(Arc<OnceLock<Instant>>);

impl Stop {
    /// From now on SIGTERM, SIGINT and SIGHUP end nothing at once, in this
    /// thread and those that it starts.
    #[must_use]
    pub fn new() -> Stop {
        let told = Arc::new(OnceLock::new());
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
        if signals.thread_block().is_err() {
            return Stop(told);
        }
        let tell = Arc::clone(&told);
        let waiting = std::thread::Builder::new().stack_size(STACK).spawn(move || {
            if signals.wait().is_ok() {
                let _ = tell.set(Instant::now());
                // Somebody made a file system that never answers, and we
                // asked it. Wazuh would wait for us for ever.
                std::thread::sleep(GRACE + LAST);
                leave();
            }
        });
        if waiting.is_err() {
            // Nobody hears them: they end us as they always do.
            let _ = signals.thread_unblock();
        }
        Stop(told)
    }

    /// True when told to stop.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.0.get().is_some()
    }

    /// Until when a reader is waited for, asked at this moment.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.0.get().map_or_else(|| Instant::now() + READER, |&told| told + GRACE)
    }
}

#[expect(clippy::exit, reason = "nothing else ends a thread that waits in the kernel")]
fn leave() -> ! {
    std::process::exit(0)
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}
