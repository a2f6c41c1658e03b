//! Files that hold secrets.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

/// The largest file that is read, in bytes: certificates come in bundles.
const LARGEST_FILE: u64 = 1024 * 1024;
/// The longest password, token or key, in bytes.
const LONGEST_SECRET: usize = 64 * 1024;

/// A secret. It has no text of its own but what [`Secret::expose`] gives.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a text for a secret.
    #[must_use]
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The secret itself, to be sent or compared and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which file may hold a secret: one of ours or root's that
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// nobody else may read, perhaps behind a link.
    Linked,
    /// nobody else may read, and no link.
    Plain,
    /// systemd made: the access list that lets us in looks like a group's right.
    Credential,
}

/// Reads a secret. Line breaks at its end do not count.
///
/// # Errors
/// For any other file, and one that holds no secret.
pub fn read(path: &Path, place: Place) -> Result<Secret, String> {
    let named = |why: String| format!("{}: {why}", path.display());
    let file = open(path, place == Place::Linked)?;
    let meta = file.metadata().map_err(|why| named(why.to_string()))?;
    let others = if place == Place::Credential { 0o037 } else { 0o077 };
    if meta.mode() & others != 0 {
        return Err(named(format!(
            "others may read this secret (mode {:03o}): chmod 600",
            meta.mode() & 0o777
        )));
    }
    if meta.uid() != nix::unistd::geteuid().as_raw() && meta.uid() != 0 {
        return Err(named(format!("belongs to user {}, not to root or us", meta.uid())));
    }
    let text = String::from_utf8(contents(file, path)?).map_err(|_| named("is not UTF-8".to_owned()))?;
    match text.trim_end_matches(['\r', '\n']) {
        text if text.is_empty() || text.len() > LONGEST_SECRET => {
            Err(named(format!("is empty or longer than {LONGEST_SECRET} bytes")))
        }
        text => Ok(Secret(text.to_owned())),
    }
}

/// Reads a file that is no secret: a certificate.
///
/// # Errors
/// When it cannot be read, or is longer than a megabyte.
pub fn read_public(path: &Path) -> Result<Vec<u8>, String> {
    contents(open(path, true)?, path)
}

fn open(path: &Path, linked: bool) -> Result<File, String> {
    // A pipe or a device would keep us waiting.
    let flags = if linked { OFlag::O_NONBLOCK } else { OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW };
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = file.map_err(|why| format!("{}: {why}", path.display()))?;
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        _ => Err(format!("{}: is not a file", path.display())),
    }
}

fn contents(file: File, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = file.take(LARGEST_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|why| format!("{}: {why}", path.display()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("{}: is longer than {LARGEST_FILE} bytes", path.display()));
    }
    Ok(bytes)
}
