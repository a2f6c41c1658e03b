//! What outlives a run, in `<state-dir>/custom-block` (0700).
//!
//! ```text
//! blocks.jsonl   the journal: every change, appended; read by the verbs only
//! config.json    what the configuration means; ossec.json: what ossec.conf means
//! ledger/…       small records found directly by key; what an add must know
//! counters       new blocks of the last minute, and how many stand
//! names.json     addresses of the names in ossec.conf and the allowlist
//! outbox/…       what firewalls with an HTTP API have not been told yet
//! blocklist      the deadlines behind the file backend's list
//! metrics.json   the counters behind the metrics file
//! ```
//!
//! A record stands from before its block until after it: a run that is killed
//! between any two steps leaves a block without a record never, and a record
//! without a block at worst, which the kernel's answer corrects. Nothing is
//! synced to disk while Wazuh waits; the kernel decides what is blocked.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use common::state::Durability;
pub use common::state::lock;

pub mod cache;
pub mod counters;
pub mod entry;
pub mod journal;
pub mod ledger;

/// The state directory of this program.
#[derive(Debug, Clone)]
pub struct State {
    dir: PathBuf,
}

impl State {
    /// The state below this directory (all programs' one), which may not exist yet.
    #[must_use]
    pub fn below(state_dir: &Path) -> State {
        State { dir: state_dir.join("custom-block") }
    }

    /// Where a part of it lies.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn create(&self) -> io::Result<()> {
        if let Some(parent) = self.dir.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(self.dir.join("ledger"))
    }
}

/// Replaces a file as a whole: readers see the old one or the new one. Nothing
/// is synced, because Wazuh waits.
///
/// # Errors
/// When it cannot be written; the old one is untouched then.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    common::state::replace(path, bytes, mode, Durability::Cached)
}
