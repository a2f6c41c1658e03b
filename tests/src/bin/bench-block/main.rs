//! Measures custom-block. `tests/bench/block` builds and calls it.
//!
//! ```text
//! bench-block PROGRAM FLOOR [--quick] [--strict]
//! ```
//!
//! Every contestant has a network namespace of its own, and custom-block by
//! each backend an installation of Wazuh with the shipped configuration (but
//! for the backend and `max_blocks_per_minute = 0`), an `ossec.conf`, an
//! `ar.conf`, and a state that knows all that is blocked. That state is made
//! by custom-block itself, which blocks one address after the other with
//! nftables; the others take it over.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use contest::{Contestant, FLOOR, NFTABLES, SHELL};
use field::Home;
use figures::{Targets, digits, milliseconds, table};
use series::{Pair, Series};

mod contest;
mod field;
mod figures;
mod series;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Megabytes are such of a million bytes: the smaller ones.
const MEGABYTE: f64 = 1e6;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((first, rest)) if first == series::LAUNCH => launched(rest),
        _ => Plan::read(&words).and_then(|plan| measure(&plan)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // Where nobody listens there is nothing to say.
            let _ = writeln!(std::io::stderr(), "bench-block: {error}");
            ExitCode::from(2)
        }
    }
}

fn launched(words: &[String]) -> Outcome<ExitCode> {
    let said = series::launch(words).ok_or("the program fails")?;
    std::io::stdout().write_all(said.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What is measured.
#[derive(Debug)]
struct Plan {
    program: PathBuf,
    floor: PathBuf,
    quick: bool,
    strict: bool,
}

impl Plan {
    fn read(words: &[String]) -> Outcome<Plan> {
        let [program, floor, flags @ ..] = words else {
            return Err("bench-block PROGRAM FLOOR [--quick] [--strict]".into());
        };
        if let Some(unknown) = flags.iter().find(|flag| !["--quick", "--strict"].contains(&flag.as_str())) {
            return Err(format!("{unknown}?").into());
        }
        let has = |wanted: &str| flags.iter().any(|flag| flag == wanted);
        let path = |path: &String| std::fs::canonicalize(path).map_err(|error| format!("{path}: {error}"));
        Ok(Plan {
            program: path(program)?,
            floor: path(floor)?,
            quick: has("--quick"),
            strict: has("--strict"),
        })
    }

    fn sizes(&self) -> &'static [u32] {
        if self.quick { &[0, 1_000] } else { &[0, 1_000, 10_000, 50_000] }
    }

    /// At most this long for the rounds of one size, and about a tenth of it
    /// for one contestant.
    fn time(&self) -> Duration {
        Duration::from_secs(if self.quick { 15 } else { 60 })
    }

    fn rounds(&self) -> usize {
        if self.quick { 200 } else { 400 }
    }
}

/// What one contestant needed at one size.
#[derive(Debug, Clone, Copy)]
struct Figure {
    wall: f64,
    fastest: f64,
    cpu: f64,
}

fn measure(plan: &Plan) -> Outcome<ExitCode> {
    let mut out = std::io::stdout();
    let began = Instant::now();
    writeln!(out, "{}", machine())?;
    let mut targets = Targets::default();
    let master = Arc::new(Home::of_block(&plan.program, "auto"));
    master.restore();
    let (mut blocked, mut first) = (0, None);
    for &count in plan.sizes() {
        say(began, &format!("blocking {} more addresses", count - blocked));
        master.block(blocked..count);
        blocked = count;
        let mut contestants = contest::all(&master, &plan.program, &plan.floor, count);
        say(began, &format!("measuring with {count}"));
        contest::race(&mut contestants, count, plan.rounds(), plan.time());
        write!(out, "\n{}", of_one(count, &contestants))?;
        let figure = |name: &str| {
            let found = contestants.iter().find(|contestant| contestant.name == name);
            found.map_or(Figure { wall: f64::NAN, fastest: f64::NAN, cpu: f64::NAN }, |it| Figure {
                wall: it.adds.wall(),
                fastest: it.adds.fastest(),
                cpu: it.adds.cpu(),
            })
        };
        let (nftables, floor, shell) = (figure(NFTABLES), figure(FLOOR), figure(SHELL));
        let at = format!("with {count} blocked");
        let ratio = |of: Figure, to: Figure| {
            let others = [of.fastest / to.fastest, of.cpu / to.cpu].map(digits);
            (of.wall / to.wall, format!("fastest {}x, CPU {}x", others[0], others[1]))
        };
        let (measured, note) = ratio(nftables, floor);
        targets.at_most(&format!("add with nftables {at}, to the floor"), 2.0, "x", measured);
        targets.note(&note);
        if let Some(faster) = [(0, 80.0), (50_000, 500.0)].iter().find(|(at, _)| *at == count) {
            let (measured, note) = ratio(shell, nftables);
            targets.at_least(&format!("faster than the shell script {at}"), faster.1, "x", measured);
            targets.note(&note);
        }
        let first = *first.get_or_insert(nftables.cpu);
        if count == 50_000 {
            targets.at_most("CPU of it, to that with 0 blocked", 1.3, "x", nftables.cpu / first);
        }
        out.flush()?;
    }
    say(began, "measuring many in a row");
    write!(out, "\n{}", in_a_row(plan, &master, blocked, &mut targets)?)?;
    let text = targets.table();
    write!(out, "\n{text}")?;
    say(began, "done");
    Ok(if plan.strict && !targets.all_reached() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One add and its delete, of each contestant.
fn of_one(count: u32, contestants: &[Contestant]) -> String {
    let of = |name: &str| contestants.iter().find(|contestant| contestant.name == name);
    let (Some(floor), Some(nftables)) = (of(FLOOR), of(NFTABLES)) else { return String::new() };
    let ratio = |of: f64, to: f64| digits(of / to);
    let row = |it: &Contestant| {
        let (adds, deletes) = (&it.adds, &it.deletes);
        vec![
            it.name.to_owned(),
            adds.count().to_string(),
            digits(adds.wall()),
            digits(adds.fastest()),
            digits(adds.cpu()),
            ratio(adds.wall(), floor.adds.wall()),
            ratio(adds.wall(), nftables.adds.wall()),
            digits(deletes.wall()),
            digits(deletes.fastest()),
            digits(deletes.cpu()),
            ratio(deletes.wall(), floor.deletes.wall()),
        ]
    };
    let head = [
        "milliseconds",
        "runs",
        "add",
        "min",
        "CPU",
        "x floor",
        "x nftables",
        "delete",
        "min",
        "CPU",
        "x floor",
    ];
    let rows: Vec<Vec<String>> = contestants.iter().map(row).collect();
    let mut text = format!(
        "One add and its delete, with {count} addresses blocked already (load {}):\n{}",
        load(),
        table(&head, &rows)
    );
    for it in contestants {
        if let Some(failure) = &it.failure {
            text += &format!("{} fails: {failure}\n", it.name);
        }
    }
    text
}

/// Throughput, deletes in a row, memory and size.
fn in_a_row(plan: &Plan, master: &Home, blocked: u32, targets: &mut Targets) -> Outcome<String> {
    let (adds, deletes) = (1000, 2000);
    let times = if plan.quick { 2 } else { 4 };
    let floor = Home::new(&plan.floor, "auto");
    let other = Home::of_block(&plan.program, "dry-run");
    other.restore();
    let mut rows = Vec::new();
    let mut row = |what: &str, count: f64, pair: &Pair| {
        let each = |time: fn(&Series) -> Duration, of: Option<Series>| {
            of.map_or(f64::NAN, |series| milliseconds(time(&series)) / count)
        };
        let [wall, least] = [pair.block, pair.floor].map(|of| each(|series| series.wall, of));
        let [cpu, least_cpu] = [pair.block, pair.floor].map(|of| each(|series| series.cpu, of));
        let row = [
            digits(wall * count / 1000.0),
            digits(least * count / 1000.0),
            digits(wall / least),
            format!("{:.0}", 1000.0 / wall),
            format!("{:.0}", 1000.0 / least),
            digits(cpu),
            digits(least_cpu),
        ];
        rows.push(std::iter::once(format!("{count} {what}")).chain(row).collect::<Vec<_>>());
        (wall, least)
    };

    let pair = series::adds(master, &floor, adds, times);
    let (block, nothing) = row("adds", f64::from(u32::try_from(adds)?), &pair);
    // A slower machine is asked for the same share.
    let asked = 900.0_f64.min(900.0 / nothing).floor();
    targets.at_least("adds under execd", asked, " a second", 1000.0 / block);
    targets.note(&format!("floor {:.0}", 1000.0 / nothing));
    let pair = series::deletes(master, &other, &plan.floor, deletes, times);
    let (block, nothing) = row("deletes", f64::from(u32::try_from(deletes)?), &pair);
    targets.at_most("2000 deletes in a row, to the floor", 1.5, "x", block / nothing);

    let head = ["quickest of several", "s", "floor", "x floor", "a second", "floor", "CPU ms each", "floor"];
    let load = load();
    let mut text =
        format!("Many in a row, with {blocked} others blocked (load {load}):\n{}", table(&head, &rows));

    let (most, seen) = series::memory(master);
    let bytes = |kibibytes: u64| f64::from(u32::try_from(kibibytes).unwrap_or(u32::MAX)) * 1024.0 / MEGABYTE;
    let size =
        f64::from(u32::try_from(std::fs::metadata(&plan.program)?.len()).unwrap_or(u32::MAX)) / MEGABYTE;
    targets.at_most("peak memory", 8.0, " MB", bytes(most));
    targets.at_most("size of the program", 6.0, " MB", size);
    let bound = if most <= seen { "at most " } else { "" };
    text += &format!(
        "\nPeak memory of an add: {bound}{} MB. Size of the program: {} MB.\n",
        digits(bytes(most)),
        digits(size)
    );
    Ok(text)
}

/// What it is measured on.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let version = |tool: &str, flag: &str| {
        let output = Command::new("sh").args(["-c", &format!("{tool} {flag} 2>/dev/null")]).output();
        output.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned()).unwrap_or_default()
    };
    format!(
        "Linux {}, {} processors; {}; {}",
        read("/proc/sys/kernel/osrelease"),
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        version("nft", "--version"),
        version("iptables", "--version")
    )
}

/// Of the last minute: what else this machine did while it was measured on.
fn load() -> String {
    let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split(' ').next().unwrap_or_default().to_owned()
}

/// For whoever waits.
fn say(began: Instant, what: &str) {
    // Where nobody listens there is nothing to say.
    let _ = writeln!(std::io::stderr(), "[{:>3} s] {what} ...", began.elapsed().as_secs());
}
