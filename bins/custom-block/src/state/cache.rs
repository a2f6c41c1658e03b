//! What a configuration file says, kept in a form that is quickly read.
//!
//! Understanding TOML and XML costs a tenth of a millisecond each, for every
//! alert. So the meaning is kept beside the state, with a stamp of the file it
//! was taken from: a file that was changed in any way, or another version of
//! this program, has another stamp.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{State, replace};

/// More than this, in bytes, was not written by us.
const LARGEST: u64 = 1024 * 1024;

/// What tells one content of a file from another: nobody can change a file
/// and keep the time of its last change of status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp(String);

impl Stamp {
    /// The stamp of an opened or examined file.
    #[must_use]
    pub fn of(file: &Metadata) -> Stamp {
        Stamp(format!(
            "{} {}:{} {} {}.{} {}.{}",
            env!("CARGO_PKG_VERSION"),
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec()
        ))
    }
}

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    stamp: Stamp,
    value: T,
}

/// What was kept under this name for a file with this stamp.
#[must_use]
pub fn get<T: DeserializeOwned>(state: &State, name: &str, stamp: &Stamp) -> Option<T> {
    let file = File::open(state.path(name)).ok()?;
    let mut bytes = Vec::with_capacity(2048);
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    let kept: Kept<T> = serde_json::from_slice(&bytes).ok()?;
    (kept.stamp == *stamp).then_some(kept.value)
}

/// Keeps it. What cannot be kept is understood anew next time.
pub fn put<T: Serialize>(state: &State, name: &str, stamp: &Stamp, value: &T) {
    let kept = Kept { stamp: stamp.clone(), value };
    if let Ok(json) = serde_json::to_vec(&kept) {
        let path = state.path(name);
        if replace(&path, &json, 0o600).is_err() && state.create().is_ok() {
            let _ = replace(&path, &json, 0o600);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_has_another_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::below(dir.path());
        let path = dir.path().join("x.conf");
        let stamp = || Stamp::of(&std::fs::metadata(&path).unwrap());
        std::fs::write(&path, "one").unwrap();
        put(&state, "x.json", &stamp(), &1);
        assert_eq!(get::<u32>(&state, "x.json", &stamp()), Some(1));
        std::fs::write(&path, "two").unwrap();
        assert_eq!(get::<u32>(&state, "x.json", &stamp()), None);
        put(&state, "x.json", &stamp(), &2);
        assert_eq!(get::<u32>(&state, "x.json", &stamp()), Some(2));
        std::fs::write(state.path("x.json"), "{").unwrap();
        assert_eq!(get::<u32>(&state, "x.json", &stamp()), None);
    }
}
