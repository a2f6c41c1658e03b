//! What a firewall's API needs of secrets.

use std::path::Path;

pub(super) use common::secret::{Secret, read_public};

/// Reads a secret; see [`common::secret::read`].
pub(super) fn read(path: &Path) -> Result<Secret, String> {
    common::secret::read(path, common::secret::Place::Linked)
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
        for text in [&b""[..], b"\n", b"\xff\xfe", &[b'x'; 64 * 1024 + 1]] {
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
