//! How many files this process may have open, and so how many connections.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What it needs besides connections: its own files, listeners, certificates
/// that are fetched, and those who ask how it is.
const OWN: u64 = 64;

/// Raises the limit as far as is allowed, and returns it.
///
/// # Errors
/// When the system does not say.
pub fn raise() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Ok(hard);
    }
    Ok(soft)
}

/// The connections for which so many descriptors are enough, of those that are
/// wanted.
#[must_use]
pub fn connections(wanted: usize, descriptors: u64) -> usize {
    let room = descriptors.saturating_sub(OWN).max(descriptors / 4).max(1);
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        assert_eq!(connections(512, 16_384), 512);
        assert_eq!(connections(10_000, 1024), 960);
        assert_eq!(connections(512, 40), 10);
        assert_eq!(connections(512, 0), 1);
    }
}
