//! How far the output has come, for a start at which the output itself cannot
//! say so: its file was taken away, or ends in what is no line.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use common::state::{Durability, OWN_FILE, replace};

/// The file, in the state.
#[derive(Debug, Clone)]
pub struct Progress(PathBuf);

impl Progress {
    /// In this folder.
    #[must_use]
    pub fn of(state: &Path) -> Progress {
        Progress(state.join("put-out"))
    }

    /// The receipt of a line up to which everything was put out; nought where it
    /// is not known.
    #[must_use]
    pub fn read(&self) -> u64 {
        let mut text = String::new();
        if let Ok(file) = OpenOptions::new().read(true).custom_flags(OWN_FILE).open(&self.0) {
            // No number is longer.
            let _ = file.take(32).read_to_string(&mut text);
        }
        text.trim().parse().unwrap_or_default()
    }

    /// Everything up to this one was put out, and is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, receipt: u64) -> io::Result<()> {
        replace(&self.0, format!("{receipt}\n").as_bytes(), 0o600, Durability::Synced)
    }
}
