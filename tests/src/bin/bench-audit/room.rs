//! Where a load is measured: namespaces of processes, networks and mounts, so
//! that nobody finds anything but the load, and nothing of it outlives us.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Outcome;
use crate::audit::{Audits, verify};
use crate::contest::{self, AGAIN, Contestant, FIRST, FULL};
use crate::figures::{Sample, Samples};
use crate::load::{self, Held, LOADS, Load};

/// By this word the program is told to do what follows.
pub(super) const INSIDE: &str = "--inside";

/// What a program may have open where nobody said anything else.
const OPEN_FILES: u64 = 1024;
/// One load is measured in this time, or something hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// What came of one load.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// By contestant.
    pub(super) samples: Vec<(String, Samples)>,
    /// The most memory, in KiB, that a run of custom-audit occupies; and below
    /// what it cannot be seen.
    pub(super) memory: (u64, u64),
    /// The most TCP sockets that this host had meanwhile in other networks:
    /// all networks share one table of connections, and whoever reads it pays
    /// for all of them.
    pub(super) elsewhere: u64,
    /// What else is to be known, line by line.
    pub(super) notes: Vec<String>,
    /// Something does not do what it should.
    pub(super) wrong: bool,
}

impl Measured {
    /// What came of this contestant; nothing when it had no part.
    pub(super) fn of(&self, name: &str) -> Option<&Samples> {
        self.samples.iter().find(|(known, _)| known == name).map(|(_, samples)| samples)
    }

    fn take(&mut self, line: &str) -> Outcome<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["sample", name, cpu, wall] => {
                let [cpu, wall] = [cpu.parse()?, wall.parse()?].map(Duration::from_micros);
                let at = self.samples.iter().position(|(known, _)| known == name);
                let at = at.unwrap_or_else(|| {
                    self.samples.push((name.to_owned(), Samples::default()));
                    self.samples.len() - 1
                });
                self.samples[at].1.push(Sample { wall, cpu });
            }
            ["memory", most, seen] => {
                let (most, seen) = (most.parse()?, seen.parse()?);
                self.memory = (self.memory.0.max(most), self.memory.1.max(seen));
            }
            ["elsewhere", count] => self.elsewhere = self.elsewhere.max(count.parse()?),
            ["note", name, what] => self.notes.push(format!("{name}: {what}")),
            ["wrong", name, what] => {
                self.wrong = true;
                self.notes.push(format!("{name} fails: {what}"));
            }
            _ => return Err(format!("{line}?").into()),
        }
        Ok(())
    }
}

/// Makes the load of this number in a room of its own, and measures there. The room ends with
/// this process: its first process reads stdin, and that ends then.
pub(super) fn measure(
    index: usize,
    program: &Path,
    dir: &Path,
    (rounds, time): (u32, Duration),
) -> Outcome<Measured> {
    let mut room = Command::new("unshare")
        .args(["--net", "--mount-proc", "--pid", "--fork"])
        .arg(std::env::current_exe()?)
        .args([INSIDE, &index.to_string(), &rounds.to_string(), &time.as_millis().to_string()])
        .args([program, dir])
        .env("PATH", contest::SEARCH)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut measured = Measured::default();
    if let Some(stdout) = room.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            measured.take(&line?)?;
        }
    }
    let status = room.wait()?;
    if status.success() { Ok(measured) } else { Err(format!("the room of a load: {status}").into()) }
}

/// The other end of [`measure`]: the first process of the room.
pub(super) fn inside(words: &[String]) -> Outcome<()> {
    let [index, rounds, time, program, dir] = words else { return Err("five words".into()) };
    let load = LOADS.get(index.parse::<usize>()?).ok_or("there is no such load")?;
    let (rounds, time) = (rounds.parse()?, Duration::from_millis(time.parse()?));
    let (program, dir) = (PathBuf::from(program), PathBuf::from(dir));
    let (done, over) = mpsc::channel();
    let ended = done.clone();
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(Err("nobody listens any more".to_owned()));
    });
    std::thread::spawn(move || {
        let outcome = compare(load, &program, &dir, (rounds, time)).map_err(|error| error.to_string());
        // Who waited for it may have ended.
        let _ = done.send(outcome);
    });
    let outcome = over.recv_timeout(PATIENCE).unwrap_or_else(|_| Err("something hangs".to_owned()));
    outcome.map_err(Into::into)
}

fn compare(load: &Load, program: &Path, dir: &Path, turns: (u32, Duration)) -> Outcome<()> {
    let mut out = io::stdout();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES.min(most), most)?;
    alone()?;
    load::install(load, dir)?;
    // Where there is no custom-audit, the others are compared all the same.
    let audits = Audits::new(program, dir, load);
    let held = Held::start(load, dir)?;
    let audits = audits.and_then(|audits| audits.contestants(load));
    let mut contestants = match audits {
        Ok(audits) => audits,
        Err(error) => {
            writeln!(out, "wrong\tcustom-audit\t{error}")?;
            Vec::new()
        }
    };
    let ours = contestants.len();
    contestants.extend(contest::others(load));
    verify_all(&contestants[..ours], load, true, &mut out)?;
    elsewhere(&mut out)?;
    contest::race(&mut contestants, load, turns, &mut out)?;
    elsewhere(&mut out)?;
    // Nothing changed meanwhile.
    verify_all(&contestants[..ours], load, false, &mut out)?;
    for contestant in &contestants[..ours] {
        let (most, seen) = contestant.memory()?;
        writeln!(out, "memory\t{most}\t{seen}")?;
    }
    drop(held);
    Ok(())
}

/// A network that works, and no other one in sight: those of the host that a
/// file holds are none of the load.
fn alone() -> Outcome<()> {
    let run = |words: &[&str]| match Command::new(words[0]).args(&words[1..]).status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("{words:?}: {other:?}")),
    };
    run(&["ip", "link", "set", "lo", "up"])?;
    for mount in std::fs::read_to_string("/proc/self/mountinfo")?.lines() {
        // The fifth word is where it is (proc_pid_mountinfo(5)).
        if mount.contains(" - nsfs ")
            && let Some(at) = mount.split(' ').nth(4)
        {
            run(&["umount", at])?;
        }
    }
    Ok(())
}

fn elsewhere(out: &mut dyn Write) -> Outcome<()> {
    let text = std::fs::read_to_string("/proc/net/sockstat")?;
    // In use here, and allocated in all networks.
    let tcp: Vec<&str> =
        text.lines().find(|line| line.starts_with("TCP:")).unwrap_or("").split(' ').collect();
    let after = |key| tcp.iter().position(|&word| word == key).and_then(|at| tcp.get(at + 1)?.parse().ok());
    let [used, allocated] = ["inuse", "alloc"].map(|key| after(key).unwrap_or(0_u64));
    writeln!(out, "elsewhere\t{}", allocated.saturating_sub(used))?;
    Ok(())
}

fn verify_all(contestants: &[Contestant], load: &Load, aloud: bool, out: &mut dyn Write) -> io::Result<()> {
    for contestant in contestants {
        match verify(contestant, load) {
            Ok(how) if aloud && [FIRST, AGAIN, FULL].contains(&contestant.name) => {
                writeln!(out, "note\t{}\t{how}", contestant.name)?;
            }
            Ok(_) => {}
            Err(error) => writeln!(out, "wrong\t{}\t{error}", contestant.name)?,
        }
    }
    Ok(())
}
