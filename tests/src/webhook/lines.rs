//! What is in the output: every line held against what Wazuh's agent needs.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The agent silently drops a longer line (4.14.7, `OS_MAXSTR - OS_LOG_HEADER`).
const LONGEST: usize = 65_279;

/// A file that is followed, and those that it was before.
#[derive(Debug, Clone)]
pub struct Output(PathBuf);

impl Output {
    /// By the path that is followed.
    #[must_use]
    pub fn new(path: PathBuf) -> Output {
        Output(path)
    }

    /// The path that is followed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The old ones, the oldest first.
    ///
    /// # Panics
    /// When the folder cannot be read.
    #[must_use]
    pub fn rotated(&self) -> Vec<PathBuf> {
        let folder = self.0.parent().expect("a file lies in a folder");
        let name = self.0.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let entries = std::fs::read_dir(folder).expect("the folder of the output").flatten();
        let mut old: Vec<PathBuf> = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{name}.")))
            .map(|entry| entry.path())
            .collect();
        old.sort();
        old
    }

    /// All of them, the oldest first.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = self.rotated();
        files.extend(self.0.exists().then(|| self.0.clone()));
        files
    }

    /// Every line of all files, in the order in which they were written.
    ///
    /// # Panics
    /// When one is torn or is nothing that an agent takes, or receipts do not rise.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let files = self.files();
        for file in &files {
            let bytes = std::fs::read(file).expect("a file of the output");
            // What is written just now has no end yet; nobody writes into an old one.
            let whole = if *file == self.0 { whole(&bytes) } else { &bytes };
            all.extend(read(whole, &file.display().to_string()));
        }
        let receipts: Vec<u64> = all.iter().map(receipt).collect();
        if let Some(at) = receipts.windows(2).position(|pair| pair[0] >= pair[1]) {
            panic!("receipts do not rise: {:#} and then {:#} in {files:?}", all[at], all[at + 1]);
        }
        all
    }

    /// The lines of this source.
    #[must_use]
    pub fn of(&self, source: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["source"] == source).collect()
    }
}

/// Up to the last newline.
#[must_use]
pub fn whole(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)]
}

/// Reads lines, each of them whole.
///
/// # Panics
/// When one is nothing that an agent takes.
#[must_use]
pub fn read(bytes: &[u8], file: &str) -> Vec<Value> {
    assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "{file} ends within a line");
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    lines
        .map(|line| {
            event(line).unwrap_or_else(|why| panic!("{file}: {why}: {}", String::from_utf8_lossy(line)))
        })
        .collect()
}

fn event(line: &[u8]) -> Result<Value, &'static str> {
    if line.len() > LONGEST {
        return Err("longer than an agent takes");
    }
    if !line.starts_with(b"{\"") || line.contains(&0) {
        return Err("not what the JSON decoder takes");
    }
    let line: Value = serde_json::from_slice(line).map_err(|_| "no JSON")?;
    if line["source"].is_string() && line["received_at"].is_string() || line["integration"].is_string() {
        Ok(line)
    } else {
        Err("without source and received_at")
    }
}

/// The number of a line.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn receipt(line: &Value) -> u64 {
    let receipt = line["receipt"].as_str().and_then(|text| text.parse().ok());
    receipt.unwrap_or_else(|| panic!("without a receipt: {line:#}"))
}
