//! Measures custom-audit. `tests/bench/audit` builds and calls it.
//!
//! ```text
//! bench-audit PROGRAM [--quick] [--strict]
//! ```
//!
//! Every load is made in namespaces of its own, and measured there by every
//! contestant in turn. custom-audit has the shipped configuration, and three
//! ways to be called:
//!
//! * the first run: its state knows the hashes of the executables, and none
//!   of the sockets;
//! * nothing new: all of them were said before;
//! * `--full`: all of them are said each time.
//!
//! What they all say goes to /dev/null. That it is right is seen before and
//! after, in runs that are not counted.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use contest::{AGAIN, COLD, FIRST, FULL, LSOF, PSUTIL, SHELL, SS};
use figures::{Samples, Targets, digits, table};
use load::{LOADS, Load, grouped};
use room::Measured;

mod audit;
mod contest;
// As of the other measurements.
#[path = "../bench-block/figures.rs"]
mod figures;
mod load;
mod room;

/// Megabytes are such of a million bytes: the smaller ones.
const MEGABYTE: f64 = 1e6;

/// So many sockets elsewhere do not matter.
const FEW: u64 = 500;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((first, rest)) if first == load::HOLD => load::hold(rest).map(|()| ExitCode::SUCCESS),
        Some((first, rest)) if first == room::INSIDE => room::inside(rest).map(|()| ExitCode::SUCCESS),
        Some((first, rest)) if first == contest::LAUNCH => launched(rest),
        _ => Plan::read(&words).and_then(|plan| measure(&plan)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // Where nobody listens there is nothing to say.
            let _ = writeln!(std::io::stderr(), "bench-audit: {error}");
            ExitCode::from(2)
        }
    }
}

fn launched(words: &[String]) -> Outcome<ExitCode> {
    std::io::stdout().write_all(contest::launch(words)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What is measured.
#[derive(Debug)]
struct Plan {
    program: PathBuf,
    quick: bool,
    strict: bool,
}

impl Plan {
    fn read(words: &[String]) -> Outcome<Plan> {
        let [program, flags @ ..] = words else {
            return Err("bench-audit PROGRAM [--quick] [--strict]".into());
        };
        if let Some(unknown) = flags.iter().find(|flag| !["--quick", "--strict"].contains(&flag.as_str())) {
            return Err(format!("{unknown}?").into());
        }
        let has = |wanted: &str| flags.iter().any(|flag| flag == wanted);
        // Where there is none, the others are compared all the same.
        let program = std::fs::canonicalize(program).unwrap_or_else(|_| PathBuf::from(program));
        Ok(Plan { program, quick: has("--quick"), strict: has("--strict") })
    }

    /// Without the largest when it must be quick.
    fn loads(&self) -> impl Iterator<Item = (usize, &'static Load)> {
        LOADS.iter().enumerate().filter(|(_, load)| !self.quick || load.connections() < 20_000)
    }

    /// So many rounds of one load at most, and about a tenth of this time for
    /// one contestant.
    fn rounds(&self) -> (u32, Duration) {
        if self.quick { (15, Duration::from_secs(7)) } else { (61, Duration::from_secs(90)) }
    }
}

fn measure(plan: &Plan) -> Outcome<ExitCode> {
    let mut out = std::io::stdout();
    let began = Instant::now();
    writeln!(out, "{}", machine())?;
    let mut targets = Targets::default();
    let mut wrong = false;
    for (number, load) in plan.loads() {
        say(began, &format!("measuring {}", load.name()));
        let dir = std::env::temp_dir().join(format!("load{number}"));
        let measured = room::measure(number, &plan.program, &dir, plan.rounds())?;
        write!(out, "\n{}", of_one(load, &measured))?;
        judge(load, &measured, &mut targets);
        wrong |= measured.wrong;
        out.flush()?;
    }
    let text = targets.table();
    write!(out, "\n{text}")?;
    say(began, "done");
    Ok(if wrong || (plan.strict && !targets.all_reached()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn cpu(measured: &Measured, name: &str) -> f64 {
    measured.of(name).map_or(f64::NAN, Samples::cpu)
}

/// What the targets say of one load.
fn judge(load: &Load, measured: &Measured, targets: &mut Targets) {
    let [first, again, full, ss, shell] = [FIRST, AGAIN, FULL, SS, SHELL].map(|name| cpu(measured, name));
    let [root, others] = [load.root, load.others].map(|part| grouped(part.sockets));
    let at = format!("{root} of root, {others} of others");
    if let Some([than_first, than_full]) = load.than_ss {
        targets.at_least(&format!("{at}: first run cheaper than ss -tnp"), than_first, "x", ss / first);
        targets.at_least(&format!("{at}: --full cheaper than ss -tnp"), than_full, "x", ss / full);
        targets.at_most(&format!("{at}: nothing new, to the first run"), 0.5, "x", again / first);
    }
    if load.shell {
        targets.at_least(&format!("{at}: first run cheaper than the shell loop"), 250.0, "x", shell / first);
        targets.note(&format!("--full {}x", digits(shell / full)));
    }
    if load.distinct {
        targets.at_most(&format!("{at}: CPU of a first run"), 10.0, " ms", first);
        targets.note(&format!("--full {}, no state {}", digits(full), digits(cpu(measured, COLD))));
    }
    if let Some(most) = load.memory {
        let occupied = if measured.memory.0 > 0 { megabytes(measured.memory.0) } else { f64::NAN };
        targets.at_most(&format!("{at}: peak memory"), most, " MB", occupied);
    }
}

/// What was measured at one load.
fn of_one(load: &Load, measured: &Measured) -> String {
    let to = [FIRST, AGAIN, FULL].map(|name| cpu(measured, name));
    let row = |(name, samples): &(String, Samples)| {
        let mut row = vec![
            name.clone(),
            samples.count().to_string(),
            digits(samples.cpu()),
            digits(samples.wall()),
            digits(samples.fastest()),
        ];
        row.extend(to.map(|to| digits(samples.cpu() / to)));
        row
    };
    let head = ["milliseconds", "runs", "CPU", "wall", "min", "x first", "x nothing new", "x --full"];
    // In the same order whatever the load.
    let order = [FIRST, AGAIN, FULL, COLD, SS, LSOF, PSUTIL, SHELL];
    let rows = order.iter().filter_map(|name| measured.samples.iter().find(|(known, _)| known == name));
    let rows: Vec<Vec<String>> = rows.map(row).collect();
    let mut text = format!("Sockets: {} (load {}):\n{}", load.name(), load_average(), table(&head, &rows));
    if measured.elsewhere > FEW {
        text += &format!(
            "This host had {} TCP sockets in other networks, which makes all of them slower.\n",
            measured.elsewhere
        );
    }
    for note in &measured.notes {
        text += &format!("{note}\n");
    }
    let (most, seen) = measured.memory;
    if most > 0 {
        let bound = if most <= seen { "at most " } else { "" };
        text += &format!("Peak memory of custom-audit: {bound}{} MB.\n", digits(megabytes(most)));
    }
    text
}

fn megabytes(kibibytes: u64) -> f64 {
    f64::from(u32::try_from(kibibytes).unwrap_or(u32::MAX)) * 1024.0 / MEGABYTE
}

/// What it is measured on.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let said = |words: &str| {
        let output = Command::new("sh").args(["-c", words]).env("PATH", contest::SEARCH).output();
        output.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned()).unwrap_or_default()
    };
    format!(
        "Linux {}, {} processors; {}; lsof {}; psutil {}",
        read("/proc/sys/kernel/osrelease"),
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        said("ss -V"),
        said("lsof -v 2>&1 | sed -n 's/^ *revision: //p'"),
        said("/usr/bin/python3 -c 'import psutil; print(psutil.__version__)' 2>&1 | tail -n 1"),
    )
}

/// Of the last minute: what else this machine did while it was measured on.
fn load_average() -> String {
    let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split(' ').next().unwrap_or_default().to_owned()
}

/// For whoever waits.
fn say(began: Instant, what: &str) {
    // Where nobody listens there is nothing to say.
    let _ = writeln!(std::io::stderr(), "[{:>3} s] {what} ...", began.elapsed().as_secs());
}
