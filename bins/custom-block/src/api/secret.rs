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
pub(super) struct Secret(String);

impl Secret {
    /// Takes a text for a secret.
    pub(super) fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The secret itself, to be sent and for nothing else.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads a secret. Line breaks at its end do not count.
///
/// Fails for a file that others than its owner may read, or that is neither
/// ours nor root's.
pub(super) fn read(path: &Path) -> Result<Secret, String> {
    let file = open(path)?;
    let meta = file.metadata().map_err(|why| format!("{}: {why}", path.display()))?;
    if meta.mode() & 0o077 != 0 {
        return Err(format!(
            "{}: others may read this secret (mode {:03o}): chmod 600",
            path.display(),
            meta.mode() & 0o777
        ));
    }
    let us = nix::unistd::geteuid().as_raw();
    if meta.uid() != us && meta.uid() != 0 {
        return Err(format!("{}: belongs to user {}, not to root or us", path.display(), meta.uid()));
    }
    let bytes = contents(file, path)?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{}: is not UTF-8", path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() > LONGEST_SECRET {
        return Err(format!("{}: is empty or longer than {LONGEST_SECRET} bytes", path.display()));
    }
    Ok(Secret(text.to_owned()))
}

/// Reads a file that is no secret: a certificate.
pub(super) fn read_public(path: &Path) -> Result<Vec<u8>, String> {
    contents(open(path)?, path)
}

fn open(path: &Path) -> Result<File, String> {
    // A pipe or a device would keep us waiting.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(|why| format!("{}: {why}", path.display()))?;
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        _ => Err(format!("{}: is not a file", path.display())),
    }
}

fn contents(file: File, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| format!("{}: {why}", path.display()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("{}: is longer than {LARGEST_FILE} bytes", path.display()));
    }
    Ok(bytes)
}

/// Replaces every secret in a text that people will read.
pub(super) fn redact<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let mut text = text.to_owned();
    // Shorter ones would tear up ordinary words.
    for secret in secrets.filter(|secret| secret.len() >= 4) {
        text = text.replace(secret, "***");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn file(text: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_secret_is_read_without_its_last_line_break() {
        let (_dir, path) = file(b"pass word\r\n", 0o600);
        let secret = read(&path).unwrap();
        assert_eq!(secret.expose(), "pass word");
        assert_eq!(format!("{secret:?}"), "***");
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o660, 0o601] {
            let (_dir, path) = file(b"x", mode);
            let why = read(&path).unwrap_err();
            assert!(why.contains("others may read") && why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for text in [&b""[..], b"\n", b"\xff\xfe", &[b'x'; LONGEST_SECRET + 1]] {
            let (_dir, path) = file(text, 0o600);
            assert!(read(&path).is_err());
        }
        assert!(read(Path::new("/dev/zero")).is_err());
        assert!(read(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn secrets_do_not_show_in_messages() {
        let shown = redact("token s3cr3t in s3cr3t, a cat", ["s3cr3t", "cat"].into_iter());
        assert_eq!(shown, "token *** in ***, a cat");
    }
}
