//! custom-audit in its three ways, what states they find, and what it must say.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Outcome;
use crate::contest::{AGAIN, COLD, Contestant, FIRST, FULL, SEARCH};
use crate::load::{Held, Load};

/// So many events a run says unless it is told otherwise.
const MAX_EVENTS: usize = 500;
/// After so many runs there is nothing left to hash or to say.
const SETTLED: usize = 20;

/// A Wazuh without a configuration, and a state.
#[derive(Debug, Clone)]
pub(super) struct Place {
    program: PathBuf,
    dir: PathBuf,
}

impl Place {
    fn new(program: &Path, dir: PathBuf) -> io::Result<Place> {
        for name in ["ossec/etc", "config", "state"] {
            fs::create_dir_all(dir.join(name))?;
        }
        fs::write(dir.join("ossec/etc/ossec.conf"), "<ossec_config>\n</ossec_config>\n")?;
        Ok(Place { program: program.to_owned(), dir })
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The environment of one who is started here.
    pub(super) fn prepare(&self, command: &mut Command) {
        let home = self.dir.join("ossec");
        command
            .env_clear()
            .env("PATH", SEARCH)
            .env("WAZUH_HOME", &home)
            .env("WAZUH_TOOLKIT_STATE_DIR", self.state())
            .env("WAZUH_TOOLKIT_CONFIG_DIR", self.dir.join("config"))
            .current_dir(home);
    }

    /// Puts back a state that was kept.
    pub(super) fn restore(&self, kept: &Path) -> io::Result<()> {
        fs::remove_dir_all(self.state())?;
        copy(kept, &self.state())
    }
}

/// Copies a directory of files, with their permissions.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let into = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &into)?;
        } else {
            fs::copy(entry.path(), into)?;
        }
    }
    Ok(())
}

/// custom-audit in all its ways, and what states it finds.
#[derive(Debug)]
pub(super) struct Audits {
    place: Place,
    dir: PathBuf,
    /// No file at all.
    empty: PathBuf,
    /// It knows the executables, and no socket.
    warm: PathBuf,
}

impl Audits {
    /// Makes the state that a first run finds. It must know the hashes of all
    /// executables and none of the sockets. So there are other processes of
    /// the same executables first, with other sockets; custom-audit runs until
    /// it has nothing more to say of them, they end, and it runs until it has
    /// nothing more to say of that.
    pub(super) fn new(program: &Path, dir: &Path, load: &Load) -> Outcome<Audits> {
        let place = Place::new(program, dir.join("forerunners"))?;
        let audits = Audits { dir: dir.to_owned(), empty: dir.join("empty"), warm: dir.join("warm"), place };
        fs::create_dir_all(&audits.empty)?;
        let forerunners = Held::forerunners(load, dir)?;
        let last = audits.settle()?;
        if last["root_sockets"].as_u64().unwrap_or(0) == 0 {
            return Err("custom-audit finds none of root's sockets".into());
        }
        drop(forerunners);
        audits.settle()?;
        copy(&audits.place.state(), &audits.warm)?;
        Ok(audits)
    }

    /// Runs until nothing is left to say or to hash; the last summary.
    fn settle(&self) -> Outcome<Value> {
        let words = ["--wodle", "--max-events", "0"];
        let contestant = Contestant::audit(AGAIN, self.place.clone(), None, &words);
        for _ in 0..SETTLED {
            let Said { events, summary } = Said::read(&contestant.said()?.stdout)?;
            let hashing = summary["degraded"].as_str().is_some_and(|names| names.contains("hash"));
            if events.is_empty() && summary["deferred"] == 0 && !hashing {
                return Ok(summary);
            }
        }
        Err(format!("custom-audit still has something to say after {SETTLED} runs").into())
    }

    /// Once the load is there.
    pub(super) fn contestants(&self, load: &Load) -> Outcome<Vec<Contestant>> {
        // For a second run there is nothing new, and nothing deferred either.
        self.settle()?;
        let place = |name: &str| Place::new(self.place.program(), self.dir.join(name));
        let default = ["--wodle"];
        let full = ["--wodle", "--full", "--max-events", "0"];
        let mut all = vec![
            Contestant::audit(FIRST, place("first")?, Some(&self.warm), &default),
            Contestant::audit(AGAIN, self.place.clone(), None, &default),
            Contestant::audit(FULL, place("full")?, Some(&self.warm), &full),
        ];
        if load.distinct {
            all.push(Contestant::audit(COLD, place("cold")?, Some(&self.empty), &default));
        }
        Ok(all)
    }
}

/// What a run said.
#[derive(Debug)]
struct Said {
    /// All but the summary.
    events: Vec<Value>,
    summary: Value,
}

impl Said {
    fn read(stdout: &[u8]) -> Outcome<Said> {
        let lines = String::from_utf8_lossy(stdout);
        let all: Result<Vec<Value>, _> = lines.lines().map(serde_json::from_str).collect();
        let (mut summaries, events): (Vec<_>, Vec<_>) =
            all?.into_iter().partition(|event| event["event"] == "summary");
        if let Some(error) = events.iter().find(|event| event["event"] == "error") {
            return Err(format!("custom-audit says {error}").into());
        }
        let summary = summaries.pop().ok_or("custom-audit says no summary")?;
        Ok(Said { events, summary })
    }
}

/// A run of each way that is not counted, and what is wrong with what it says.
/// It returns how it looked.
pub(super) fn verify(contestant: &Contestant, load: &Load) -> Outcome<String> {
    let Said { events, summary } = Said::read(&contestant.said()?.stdout)?;
    let sockets = usize::try_from(load.root.sockets)?;
    let wanted = match contestant.name {
        FIRST | COLD => sockets.min(MAX_EVENTS),
        AGAIN => 0,
        _ => sockets,
    };
    let found = ["root_sockets", "emitted"].map(|key| summary[key].as_u64());
    if found != [sockets, wanted].map(|count| u64::try_from(count).ok()) {
        return Err(format!("of {sockets} it finds, and of {wanted} it says {found:?}").into());
    }
    if events.len() != wanted {
        return Err(format!("it says {} lines instead of {wanted}", events.len()).into());
    }
    if contestant.name != COLD
        && let Some(event) = events.iter().find(|event| event["exe_sha256"].as_str().is_none())
    {
        return Err(format!("there is no hash in {event}").into());
    }
    let text = |key: &str| summary[key].as_str().unwrap_or("?").to_owned();
    Ok(format!("strategy {}, degraded {}", text("strategy"), text("degraded")))
}
