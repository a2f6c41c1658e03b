//! Secrets that are named in the configuration and lie elsewhere.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

pub use common::secret::Secret;
use common::secret::{Place, read as read_file};

/// Shorter ones can be guessed.
pub const SHORTEST: usize = 16;
/// Where systemd keeps what it hands to the unit that is shipped, while that runs.
const RUNNING: &str = "/run/credentials/custom-webhook.service";

/// Where a secret lies: the path of a file, or `credential:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// A file that only its owner may read.
    File(PathBuf),
    /// A credential that systemd hands to the service (`LoadCredential=`).
    Credential(String),
}

/// Why there is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(pub String);

impl SecretRef {
    /// Understands what was configured.
    ///
    /// # Errors
    /// When it is neither. It is not quoted: what stands in place of a path may
    /// be the secret itself.
    pub fn parse(text: &str) -> Result<SecretRef, String> {
        match text.strip_prefix("credential:") {
            Some(name) if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) => {
                Err("what follows credential: is no name of one".to_owned())
            }
            Some(name) => Ok(SecretRef::Credential(name.to_owned())),
            None if text.starts_with('/') => Ok(SecretRef::File(PathBuf::from(text))),
            None => {
                Err("neither an absolute path nor credential:NAME (and no place for a secret)".to_owned())
            }
        }
    }
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretRef::File(path) => path.display().fmt(f),
            SecretRef::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretRef, D::Error> {
        SecretRef::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Where credentials lie: what systemd says to the daemon; for others, who ask
/// about it, where it keeps them meanwhile.
#[must_use]
pub fn credentials() -> Option<OsString> {
    let running = || Some(OsString::from(RUNNING)).filter(|folder| Path::new(folder).is_dir());
    std::env::var_os("CREDENTIALS_DIRECTORY").or_else(running)
}

/// Reads a secret; `credentials` is where credentials lie.
///
/// # Errors
/// When it cannot be read, others may read it too, or it is short.
pub fn read(reference: &SecretRef, credentials: Option<&OsString>) -> Result<Secret, SecretError> {
    let read = match reference {
        SecretRef::File(path) => read_file(path, Place::Plain),
        SecretRef::Credential(name) => match credentials {
            Some(folder) => read_file(&PathBuf::from(folder).join(name), Place::Credential),
            None => Err(format!(
                "{reference}: systemd hands it to the running service only, when LoadCredential={name}:FILE is in \
                 its unit"
            )),
        },
    };
    let secret = read.map_err(SecretError)?;
    if secret.expose().len() < SHORTEST {
        return Err(SecretError(format!("{reference}: is shorter than {SHORTEST} bytes")));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_a_file_or_a_credential() {
        assert_eq!(SecretRef::parse("/etc/x"), Ok(SecretRef::File(PathBuf::from("/etc/x"))));
        assert_eq!(SecretRef::parse("credential:github"), Ok(SecretRef::Credential("github".to_owned())));
        for text in ["", "x", "credential:", "credential:../x", "credential:a/b", "env:X"] {
            assert!(SecretRef::parse(text).is_err(), "{text}");
        }
        for text in ["It's a Secret to Everybody", "credential:It's/a Secret to Everybody"] {
            assert!(!SecretRef::parse(text).unwrap_err().contains("Secret to"), "{text}");
        }
    }

    #[test]
    fn links_and_what_others_may_read_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().as_os_str().to_owned();
        let path = dir.path().join("key");
        fs::write(&path, "0123456789abcdef").unwrap();
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        let file = |name: &str| SecretRef::File(dir.path().join(name));
        let credential = |name: &str| SecretRef::Credential(name.to_owned());
        for (mode, as_file, as_credential) in [
            (0o600, true, true),
            (0o400, true, true),
            (0o440, false, true),
            (0o404, false, false),
            (0o660, false, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&file("key"), None).is_ok(), as_file, "{mode:o}");
            assert_eq!(read(&credential("key"), Some(&folder)).is_ok(), as_credential, "{mode:o}");
            assert!(read(&file("link"), None).is_err() && read(&credential("link"), Some(&folder)).is_err());
        }
    }

    #[test]
    fn short_and_missing_ones_are_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let folder = dir.path().as_os_str().to_owned();
        let both = [SecretRef::File(path.clone()), SecretRef::Credential("key".to_owned())];
        for (text, good) in [("0123456789abcdef\n", true), ("0123456789abcde\n", false)] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
            for reference in &both {
                let secret = read(reference, Some(&folder));
                assert_eq!(secret.is_ok(), good, "{secret:?}");
                assert!(!format!("{secret:?}").contains("0123456789"));
            }
            fs::remove_file(&path).unwrap();
        }
        for reference in &both {
            assert!(read(reference, Some(&folder)).unwrap_err().to_string().contains("key"));
        }
        let why = read(&both[1], None).unwrap_err().to_string();
        assert!(why.starts_with("credential:key: ") && why.contains("LoadCredential=key:"), "{why}");
    }
}
