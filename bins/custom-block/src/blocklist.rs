//! A plain list of addresses and networks for firewalls that pull: one a line,
//! sorted, nothing else. It is replaced as a whole, so whoever fetches it sees
//! the old list or the new one. When each line lapses is kept beside the state.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::address::Target;
use nix::fcntl::FlockArg;

use crate::firewall::{Backend, Block, Fault, Firewall, Standing};
use crate::state::{State, lock, replace};

/// The list and its deadlines.
#[derive(Debug)]
pub struct Blocklist {
    path: PathBuf,
    state: State,
    patience: Instant,
    most: u32,
}

type Deadlines = BTreeMap<Target, Option<u64>>;

impl Blocklist {
    /// The list at this path, of at most so many lines.
    #[must_use]
    pub fn new(path: PathBuf, state: &State, patience: Instant, most: u32) -> Blocklist {
        Blocklist { path, state: state.clone(), patience, most }
    }

    fn read(&self) -> Deadlines {
        let text = std::fs::read_to_string(self.state.path("blocklist")).unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let (target, until) = line.split_once(' ')?;
                Some((target.parse().ok()?, if until == "never" { None } else { Some(until.parse().ok()?) }))
            })
            .collect()
    }

    /// Changes both files while nobody else does: first when each line
    /// lapses, then the list, so that no line is ever without its end.
    fn change(&self, change: impl FnOnce(&mut Deadlines) -> Result<(), Fault>) -> Result<(), Fault> {
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::TimedOut => Fault::Deadline,
            _ => Fault::Failed(format!("{}: {error}", self.path.display())),
        };
        self.state.create().map_err(io)?;
        let own = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.state.path("blocklist.lock"))
            .map_err(io)?;
        let _own = lock(own, FlockArg::LockExclusiveNonblock, self.patience).map_err(io)?;
        let mut lines = self.read();
        let now = crate::now();
        lines.retain(|_, until| until.is_none_or(|until| until > now));
        change(&mut lines)?;
        let mut deadlines = String::with_capacity(lines.len() * 32);
        let mut list = String::with_capacity(lines.len() * 20);
        for (target, until) in &lines {
            let target = target.to_string();
            list.push_str(&target);
            list.push('\n');
            let until = until.map_or_else(|| "never".to_owned(), |until| until.to_string());
            deadlines.push_str(&target);
            deadlines.push(' ');
            deadlines.push_str(&until);
            deadlines.push('\n');
        }
        replace(&self.state.path("blocklist"), deadlines.as_bytes(), 0o600).map_err(io)?;
        replace(&self.path, list.as_bytes(), 0o644).map_err(io)
    }
}

fn until(block: &Block) -> Option<u64> {
    block.timeout.map(|timeout| crate::now().saturating_add(timeout.as_secs()))
}

impl Firewall for Blocklist {
    fn put(&mut self, block: &Block) -> Result<bool, Fault> {
        self.change(|lines| {
            lines.insert(block.target, until(block));
            if lines.len() > self.most as usize { Err(Fault::Full) } else { Ok(()) }
        })?;
        Ok(false)
    }

    fn lift(&mut self, target: Target) -> Result<(), Fault> {
        self.change(|lines| {
            lines.remove(&target);
            Ok(())
        })
    }

    /// By what is kept beside the state: the list itself lies where others
    /// may put a pipe in its place.
    fn standing(&mut self) -> Result<Vec<Standing>, Fault> {
        let now = crate::now();
        Ok(self
            .read()
            .into_iter()
            .filter(|(_, until)| until.is_none_or(|until| until > now))
            .map(|(target, until)| Standing {
                target,
                backend: Backend::File,
                left: until.map(|until| Duration::from_secs(until.saturating_sub(now))),
                packets: None,
                bytes: None,
                comment: String::new(),
            })
            .collect())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.change(|lines| {
            lines.clear();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_what_stands_and_nothing_that_lapsed() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::below(dir.path());
        let path = dir.path().join("list.txt");
        let soon = Instant::now() + Duration::from_secs(5);
        let mut list = Blocklist::new(path.clone(), &state, soon, 3);
        let block = |target: &str, seconds| Block {
            target: target.parse().unwrap(),
            timeout: Some(Duration::from_secs(seconds)),
            comment: String::new(),
            fresh: false,
        };
        let text = || std::fs::read_to_string(&path).unwrap();
        list.put(&block("203.0.113.50", 60)).unwrap();
        list.put(&block("2001:db8::/64", 60)).unwrap();
        list.put(&block("192.0.2.1", 0)).unwrap();
        list.put(&block("203.0.113.50", 60)).unwrap();
        assert_eq!(text(), "203.0.113.50\n2001:db8::/64\n");
        assert_eq!(list.standing().unwrap().len(), 2);
        list.put(&block("192.0.2.2", 60)).unwrap();
        assert!(matches!(list.put(&block("192.0.2.3", 60)), Err(Fault::Full)));
        assert_eq!(text().lines().count(), 3);
        list.lift("203.0.113.50".parse().unwrap()).unwrap();
        list.lift("203.0.113.50".parse().unwrap()).unwrap();
        assert_eq!(text(), "192.0.2.2\n2001:db8::/64\n");
    }
}
