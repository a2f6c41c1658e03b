//! Addresses of host names: resolved by `doctor`, `restore` and the timer,
//! only read while Wazuh waits. A name server that is under attack, or down,
//! must not delay a block.

use std::collections::BTreeMap;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::mpsc;
use std::time::Duration;

use common::address::Target;
use serde::{Deserialize, Serialize};

use crate::config::Allowed;
use crate::state::{State, replace};

const NAME: &str = "names.json";
/// How long a name server is waited for, for all names together.
const PATIENCE: Duration = Duration::from_secs(10);
/// More names than these are not resolved.
const MOST_NAMES: usize = 256;

/// What the names were when they were last resolved.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Names(BTreeMap<String, Vec<Target>>);

impl Names {
    /// As they were last resolved; empty when never.
    #[must_use]
    pub fn read(state: &State) -> Names {
        std::fs::read(state.path(NAME))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }

    /// The addresses of a name.
    #[must_use]
    pub fn of(&self, name: &str) -> &[Target] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Resolves the names anew and keeps the former addresses of those that
    /// cannot be resolved now, which it returns.
    ///
    /// # Errors
    /// When the result cannot be written.
    pub fn refresh(state: &State, wanted: Vec<String>) -> io::Result<Vec<String>> {
        let former = Names::read(state);
        if wanted.is_empty() && former.0.is_empty() {
            return Ok(Vec::new());
        }
        let (sender, receiver) = mpsc::channel();
        let names: Vec<String> = wanted.into_iter().take(MOST_NAMES).collect();
        let queue = names.clone();
        // The resolver knows no deadline: a thread waits for it, and is left
        // behind with the process when it takes too long.
        std::thread::spawn(move || {
            for name in queue {
                let found = (name.as_str(), 0).to_socket_addrs();
                let found =
                    found.map(|all| all.map(|one| Target::host(one.ip())).collect()).unwrap_or_default();
                if sender.send((name, found)).is_err() {
                    return;
                }
            }
        });
        let give_up = std::time::Instant::now() + PATIENCE;
        let mut now = Names::default();
        while let Ok((name, found)) =
            receiver.recv_timeout(give_up.saturating_duration_since(std::time::Instant::now()))
        {
            let mut found: Vec<Target> = found;
            found.sort_unstable();
            found.dedup();
            now.0.insert(name, found);
        }
        let mut unresolved = Vec::new();
        for name in names {
            let entry = now.0.entry(name.clone()).or_default();
            if entry.is_empty() {
                *entry = former.of(&name).to_vec();
                unresolved.push(name);
            }
        }
        state.create()?;
        replace(&state.path(NAME), &serde_json::to_vec(&now)?, 0o600)?;
        Ok(unresolved)
    }
}

/// The names among Wazuh's peers and the allowlist.
#[must_use]
pub fn wanted(peers: &[String], allowlist: &[Allowed]) -> Vec<String> {
    let peers = peers.iter().filter(|peer| peer.parse::<Target>().is_err()).cloned();
    let allowed = allowlist.iter().filter_map(|allowed| match allowed {
        Allowed::Name(name) => Some(name.clone()),
        Allowed::Target(_) => None,
    });
    let mut names: Vec<String> = peers.chain(allowed).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cannot_be_resolved_keeps_its_former_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::below(dir.path());
        state.create().unwrap();
        // One letter too long for a name, so that no server is asked for it.
        let gone = format!("{}.invalid", "x".repeat(64));
        let known = format!(r#"{{"{gone}":["192.0.2.1"],"old.invalid":["192.0.2.2"]}}"#);
        std::fs::write(state.path(NAME), known).unwrap();
        let unresolved = Names::refresh(&state, vec![gone.clone(), "localhost".into()]).unwrap();
        assert_eq!(unresolved, [gone.as_str()]);
        let names = Names::read(&state);
        assert_eq!(names.of(&gone), ["192.0.2.1".parse().unwrap()]);
        assert!(names.of("localhost").iter().any(|target| target.to_string() == "127.0.0.1"));
        assert!(names.of("old.invalid").is_empty());
    }

    #[test]
    fn only_names_are_resolved() {
        let peers = ["192.0.2.1".to_owned(), "b.example.org".to_owned()];
        let allowlist =
            [Allowed::Name("a.example.org".into()), Allowed::Target("192.0.2.0/24".parse().unwrap())];
        assert_eq!(wanted(&peers, &allowlist), ["a.example.org", "b.example.org"]);
    }
}
