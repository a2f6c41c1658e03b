//! The contestants, and one turn of one of them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::program::source_tree;
use nix::sys::resource::{UsageWho, getrusage};

use crate::Outcome;
use crate::audit::Place;
use crate::load::Load;

pub(super) const FIRST: &str = "custom-audit, first run";
pub(super) const AGAIN: &str = "custom-audit, nothing new";
pub(super) const FULL: &str = "custom-audit --full";
pub(super) const COLD: &str = "custom-audit, no state at all";
pub(super) const SS: &str = "ss -tnp";
pub(super) const LSOF: &str = "lsof -nP -i";
pub(super) const PSUTIL: &str = "psutil.net_connections";
pub(super) const SHELL: &str = "shell loop over ss -tnp";

/// Whoever has a part has so many turns, an odd number.
const FEWEST: u32 = 3;
/// Where the tools of an administrator lie, whatever our own PATH says.
pub(super) const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One of those that are measured.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) name: &'static str,
    words: Vec<String>,
    /// The installation of one that has a state.
    place: Option<Place>,
    /// The state that it finds each time; else the one that it left itself.
    found: Option<PathBuf>,
    turns: u32,
    /// Why it has no further part.
    failure: Option<String>,
}

impl Contestant {
    fn new(name: &'static str, words: &[&str]) -> Contestant {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Contestant { name, words, place: None, found: None, turns: 0, failure: None }
    }

    pub(super) fn audit(
        name: &'static str,
        place: Place,
        found: Option<&Path>,
        words: &[&str],
    ) -> Contestant {
        let mut contestant = Contestant::new(name, words);
        contestant.words.insert(0, place.program().display().to_string());
        Contestant { place: Some(place), found: found.map(Path::to_owned), ..contestant }
    }

    /// As it is started, once its state is the one that it shall find.
    pub(super) fn command(&self) -> Outcome<Command> {
        if let (Some(place), Some(found)) = (&self.place, &self.found) {
            place.restore(found)?;
        }
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        match &self.place {
            Some(place) => place.prepare(&mut command),
            None => _ = command.env_clear().env("PATH", SEARCH),
        }
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null());
        Ok(command)
    }

    /// A run that is not counted: what it says.
    pub(super) fn said(&self) -> Outcome<Output> {
        let output = self.command()?.stdout(Stdio::piped()).output()?;
        if output.status.success() { Ok(output) } else { Err(output.status.to_string().into()) }
    }

    /// The most memory, in KiB, that a run occupies; and below what it cannot
    /// be seen. A process counts what its parent occupied at its start, so it
    /// is started by a process that has done nothing else: this program again.
    pub(super) fn memory(&self) -> Outcome<(u64, u64)> {
        let direct = self.command()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(LAUNCH).arg(direct.get_program()).args(direct.get_args());
        if let Some(place) = &self.place {
            place.prepare(&mut command);
        }
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let [most, seen] = text.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("no figures of its memory".into());
        };
        Ok((most.parse()?, seen.parse()?))
    }

    /// A run that is: processor time of it and of all that it started and
    /// waited for, and wall time.
    fn turn(&self) -> Outcome<(Duration, Duration)> {
        let mut command = self.command()?;
        let (cpu, began) = (children_cpu()?, Instant::now());
        let status = command.status()?;
        let wall = began.elapsed();
        let cpu = children_cpu()?.saturating_sub(cpu);
        if status.success() { Ok((cpu, wall)) } else { Err(status.to_string().into()) }
    }

    /// A turn by which is seen that it finds the load, and how long it takes.
    fn prove(&mut self, load: &Load, rounds: u32, time: Duration) -> Outcome<()> {
        let began = Instant::now();
        let output = self.said()?;
        let turns = (time / 10).as_nanos() / began.elapsed().as_nanos().max(1);
        self.turns = u32::try_from(turns).unwrap_or(rounds).clamp(FEWEST, rounds);
        self.turns -= u32::from(self.turns.is_multiple_of(2));
        let lines = String::from_utf8_lossy(&output.stdout);
        let wanted = match self.name {
            SS | LSOF | PSUTIL => load.connections(),
            SHELL => load.root.connections(),
            _ => return Ok(()),
        };
        let found = lines.lines().filter(|line| line.contains("127.0.0.1")).count();
        if found < usize::try_from(wanted)? {
            return Err(format!("it finds {found} of {wanted}").into());
        }
        Ok(())
    }
}

/// By this word the program is told to run what follows.
pub(super) const LAUNCH: &str = "--launch";

/// The other end of [`Contestant::memory`].
pub(super) fn launch(words: &[String]) -> Outcome<String> {
    let (program, words) = words.split_first().ok_or("nothing to start")?;
    let status = Command::new(program).args(words).stdout(Stdio::null()).status()?;
    let most = |who| getrusage(who).map_or(0, |usage| usage.max_rss());
    let (child, own) = (most(UsageWho::RUSAGE_CHILDREN), most(UsageWho::RUSAGE_SELF));
    if status.success() { Ok(format!("{child} {own}\n")) } else { Err(status.to_string().into()) }
}

fn children_cpu() -> Outcome<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = usage.user_time() + usage.system_time();
    Ok(Duration::new(time.tv_sec().unsigned_abs(), 0) + Duration::from_micros(time.tv_usec().unsigned_abs()))
}

/// Those that are no custom-audit.
pub(super) fn others(load: &Load) -> Vec<Contestant> {
    let script = |name: &str| source_tree().join("tests/bench").join(name).display().to_string();
    let mut others = vec![
        Contestant::new(SS, &["ss", "-tnp"]),
        Contestant::new(LSOF, &["lsof", "-nP", "-i"]),
        Contestant::new(PSUTIL, &["/usr/bin/python3", &script("connections.py")]),
    ];
    if load.shell {
        others.push(Contestant::new(SHELL, &["bash", &script("connections.sh")]));
    }
    others
}

/// Rounds in which each has its turns, spread evenly. Who is slow has fewer:
/// all turns of one take about a tenth of the time. What comes of them is
/// written to `out`, a line each.
pub(super) fn race(
    contestants: &mut [Contestant],
    load: &Load,
    (rounds, time): (u32, Duration),
    out: &mut dyn Write,
) -> Outcome<()> {
    for contestant in contestants.iter_mut() {
        contestant.failure = contestant.prove(load, rounds, time).err().map(|error| error.to_string());
    }
    let length = contestants.len();
    for round in 0..rounds {
        for place in 0..length {
            // Nobody is always behind the same one.
            let contestant = &mut contestants[(place + usize::try_from(round)?) % length];
            let done = |round: u32| round * contestant.turns / rounds;
            if contestant.failure.is_some() || done(round) == done(round + 1) {
                continue;
            }
            match contestant.turn() {
                Ok((cpu, wall)) => {
                    let [cpu, wall] = [cpu, wall].map(|time| time.as_micros());
                    writeln!(out, "sample\t{}\t{cpu}\t{wall}", contestant.name)?;
                }
                Err(error) => contestant.failure = Some(error.to_string()),
            }
        }
    }
    for Contestant { name, failure, .. } in contestants {
        if let Some(failure) = failure {
            writeln!(out, "wrong\t{name}\t{failure}")?;
        }
    }
    Ok(())
}
