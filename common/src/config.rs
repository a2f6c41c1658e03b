//! Reading a configuration file that only its owner can have written.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::geteuid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// The largest configuration file that is read, in bytes.
pub const LARGEST: u64 = 1024 * 1024;

/// What is wrong with a configuration file: file, and line and key where known.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be opened or read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Somebody other than root and its owner could have written it.
    #[error("{}: {reason}", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What makes it so.
        reason: &'static str,
    },
    /// It is not what it should be.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Which key, and why.
        message: String,
    },
}

/// A file that only root or its own user can have written.
#[derive(Debug)]
pub struct Trusted {
    file: File,
    path: PathBuf,
}

/// Opens a file by descriptor, when only root or the user that runs this can
/// have written it: a regular file that is no link, in a directory of which
/// the same is true. `None` when there is none.
///
/// # Errors
/// When it cannot be opened or trusted.
pub fn open_trusted(path: &Path) -> Result<Option<Trusted>, ConfigError> {
    let io_error = |error: Errno| ConfigError::Io { path: path.to_owned(), error: error.into() };
    let untrusted = |reason| ConfigError::Untrusted { path: path.to_owned(), reason };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io_error(Errno::EINVAL))?;
    let folder = match open(parent, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_PATH, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        opened => opened.map_err(io_error)?,
    };
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match openat(&folder, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        opened => opened.map_err(io_error)?,
    };
    let status = fstat(&file).map_err(io_error)?;
    if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(untrusted("not a regular file"));
    }
    distrust(&status).map_or(Ok(()), |reason| Err(untrusted(reason)))?;
    let around = fstat(&folder).map_err(io_error)?;
    distrust(&around).map_or(Ok(()), |_| Err(untrusted("its directory can be written by others")))?;
    Ok(Some(Trusted { file: File::from(file), path: path.to_owned() }))
}

impl Trusted {
    /// What the system knows of the opened file.
    ///
    /// # Errors
    /// When it says nothing.
    pub fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file.metadata()
    }

    /// Its text, of at most [`LARGEST`] bytes.
    ///
    /// # Errors
    /// When it cannot be read, is larger, or is not UTF-8.
    pub fn text(self) -> Result<String, ConfigError> {
        let path = self.path;
        let mut text = Vec::with_capacity(8192);
        if let Err(error) = self.file.take(LARGEST + 1).read_to_end(&mut text) {
            return Err(ConfigError::Io { path, error });
        }
        if text.len() as u64 > LARGEST {
            return Err(ConfigError::Untrusted { path, reason: "larger than 1 MiB" });
        }
        String::from_utf8(text).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
            ConfigError::Syntax { path, line, message: "not UTF-8".to_owned() }
        })
    }
}

/// The text of a trusted file; see [`open_trusted`] and [`Trusted::text`].
///
/// # Errors
/// When it cannot be read or trusted.
pub fn read_trusted(path: &Path) -> Result<Option<String>, ConfigError> {
    open_trusted(path)?.map(Trusted::text).transpose()
}

fn distrust(status: &FileStat) -> Option<&'static str> {
    if status.st_uid != 0 && status.st_uid != geteuid().as_raw() {
        Some("owned by neither root nor the user that runs this")
    } else if status.st_mode & 0o022 != 0 {
        Some("can be written by its group or by others")
    } else {
        None
    }
}

/// Understands the text of a TOML file. `T` refuses unknown keys by
/// `deny_unknown_fields`.
///
/// # Errors
/// File, line, and what is wrong with which key.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = 1 + text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count();
        let written = text.lines().nth(line - 1).unwrap_or_default();
        let key = written.split('=').next().unwrap_or_default().trim();
        let key = key.chars().take(80).collect::<String>();
        let message = error.message().lines().collect::<Vec<_>>().join(" ");
        let named = key.is_empty() || message.contains(key.as_str());
        let message = if named { message } else { format!("{key}: {message}") };
        ConfigError::Syntax { path: path.to_owned(), line, message }
    })
}

/// `"24h"`, `"1h 30m"`, or a number of seconds.
///
/// # Errors
/// When it is neither.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text.trim()).map_err(|error| format!("{text:?} is no duration: {error}"))
}

/// Reads such a duration where serde finds one (`deserialize_with`).
///
/// # Errors
/// When it is none.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a duration such as \"24h\" or a number of seconds")]
    enum Written {
        Seconds(u64),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Seconds(seconds) => Ok(Duration::from_secs(seconds)),
        Written::Text(text) => parse_duration(&text).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let dir = folder();
        let path = dir.path().join("x.toml");
        std::fs::write(&path, "a = 1\n").unwrap();
        assert_eq!(read_trusted(&path).unwrap().as_deref(), Some("a = 1\n"));
        for mode in [0o660, 0o606, 0o666] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read_trusted(&path), Err(ConfigError::Untrusted { .. })), "{mode:o}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let error = read_trusted(&path).unwrap_err().to_string();
        assert!(error.ends_with("its directory can be written by others"), "{error}");
    }

    #[test]
    fn links_pipes_and_giants_are_refused_and_absence_is_none() {
        let dir = folder();
        let path = dir.path().join("x.toml");
        assert!(read_trusted(&path).unwrap().is_none());
        assert!(read_trusted(&dir.path().join("no/x.toml")).unwrap().is_none());
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(read_trusted(&path).is_err());
        nix::unistd::mkfifo(&dir.path().join("pipe"), Mode::S_IRUSR).unwrap();
        assert!(read_trusted(&dir.path().join("pipe")).is_err());
        let giant = File::create(dir.path().join("giant")).unwrap();
        giant.set_len(LARGEST + 1).unwrap();
        assert!(read_trusted(&dir.path().join("giant")).is_err());
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        #[derive(serde::Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its shape is used")]
        struct Known {
            ttl: u64,
        }
        let error = |text: &str| parse::<Known>(Path::new("x.toml"), text).unwrap_err().to_string();
        assert!(error("ttl = 1\n\ntll = 2\n").starts_with("x.toml:3: unknown field `tll`"));
        assert!(
            error("# ok\nttl = \"no\"\n").starts_with("x.toml:2: ttl: invalid type"),
            "{}",
            error("# ok\nttl = \"no\"\n")
        );
        assert!(error("ttl = = 3").starts_with("x.toml:1: "));
    }
}
