//! Measures custom-webhook. `tests/bench/webhook` builds and calls it.
//!
//! ```text
//! bench-webhook PROGRAM PYTHON DIR [--quick] [--strict]
//! ```
//!
//! Both servers run all the time, and have their turns one after the other, at
//! 1, 16 and 128 connections. Each event is a new one, signed, with a delivery
//! id and a body of its own, and is accepted when it is answered 200. In between
//! is measured what this disk takes for one line that is synced, and at one
//! connection what the least costs that any receiver has to do.
//!
//! Every event that was accepted is then looked for in the files.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use contest::{Server, Turn, fdatasync};
use figures::{Targets, digits, table};
use load::Maker;

mod contest;
// As of the other measurements, which need more of it.
#[allow(dead_code, reason = "the other measurements need it")]
#[path = "../bench-block/figures.rs"]
mod figures;
mod floor;
mod load;

/// At a time.
const CONNECTIONS: [usize; 3] = [1, 16, 128];
/// Ports below those that the kernel gives to whoever asks for any.
const PORT: u16 = 18_787;
/// A line that is put out has about this size.
const LINE: usize = 600;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, address, file] = words.as_slice()
        && flag == "--floor"
    {
        let served =
            address.parse().map_err(Into::into).and_then(|address| floor::serve(address, file.as_ref()));
        return if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    match Plan::read(&words).and_then(|plan| measure(&plan)) {
        Ok(code) => code,
        Err(error) => {
            // Where nobody listens there is nothing to say.
            let _ = writeln!(std::io::stderr(), "bench-webhook: {error}");
            ExitCode::from(2)
        }
    }
}

/// What is measured.
#[derive(Debug)]
struct Plan {
    program: PathBuf,
    python: PathBuf,
    dir: PathBuf,
    quick: bool,
    strict: bool,
}

impl Plan {
    fn read(words: &[String]) -> Outcome<Plan> {
        let [program, python, dir, flags @ ..] = words else {
            return Err("bench-webhook PROGRAM PYTHON DIR [--quick] [--strict]".into());
        };
        if let Some(unknown) = flags.iter().find(|flag| !["--quick", "--strict"].contains(&flag.as_str())) {
            return Err(format!("{unknown}?").into());
        }
        let has = |wanted: &str| flags.iter().any(|flag| flag == wanted);
        Ok(Plan {
            program: std::fs::canonicalize(program)?,
            python: python.into(),
            dir: dir.into(),
            quick: has("--quick"),
            strict: has("--strict"),
        })
    }

    /// How often each has its turn, and how long that is.
    fn turns(&self) -> (usize, Duration) {
        if self.quick { (1, Duration::from_secs(2)) } else { (5, Duration::from_secs(4)) }
    }
}

/// All turns of one at one number of connections.
#[derive(Debug, Default)]
struct Row {
    requests: Vec<f64>,
    cpu: Vec<f64>,
    half: Vec<f64>,
    most: Vec<f64>,
}

impl Row {
    fn push(&mut self, turn: &Turn) {
        #[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
        let count = turn.sent.count() as f64;
        self.requests.push(count / turn.sent.took.as_secs_f64());
        self.cpu.push(turn.cpu);
        self.half.push(turn.sent.percentile(500));
        self.most.push(turn.sent.percentile(990));
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Who has turns: a server, and whether its senders keep their connections. Who
/// has no keep-alive (gunicorn's usual workers) is asked on a new one each time.
const TURNS: [(&str, usize, bool); 3] =
    [("custom-webhook", 0, true), ("custom-webhook, new connections", 0, false), ("gunicorn", 1, true)];

fn measure(plan: &Plan) -> Outcome<ExitCode> {
    let began = Instant::now();
    let maker = Maker::new();
    let mut servers = [
        Server::webhook(&plan.program, &plan.dir, PORT)?,
        Server::gunicorn(&plan.python, &plan.dir, PORT + 10)?,
    ];
    let mut floor = Server::floor(&plan.dir, PORT + 20)?;
    let (rounds, time) = plan.turns();
    let mut least = Row::default();
    let mut rows: [[Row; 3]; 3] = Default::default();
    let mut syncs = Vec::new();
    for (row, connections) in rows.iter_mut().zip(CONNECTIONS) {
        say(began, &format!("measuring {connections} connections"));
        for (_, server, keep_alive) in TURNS {
            servers[server].turn(connections, keep_alive, time / 4, &maker)?;
        }
        for _ in 0..rounds {
            syncs.extend(fdatasync(&plan.dir, LINE, 100)?);
            if connections == 1 {
                least.push(&floor.turn(1, true, time, &maker)?);
            }
            for (cell, (_, server, keep_alive)) in row.iter_mut().zip(TURNS) {
                cell.push(&servers[server].turn(connections, keep_alive, time, &maker)?);
            }
        }
    }
    let memory = [servers[0].memory()?, servers[1].memory()?];
    let written = [servers[0].verify()?, servers[1].verify()?];
    let sync = median(&syncs);
    let mut out = std::io::stdout();
    writeln!(out, "{}", machine(&maker))?;
    writeln!(out, "Median of one line appended and synced (fdatasync) on this disk: {} ms.", digits(sync))?;
    write!(out, "\n{}", shown(&rows, &least))?;
    for ((server, memory), written) in servers.iter().zip(memory).zip(written) {
        writeln!(
            out,
            "{}: {written} events, each there once; peak memory {} MB",
            server.name,
            digits(megabytes(memory))
        )?;
    }
    let targets = judged(&rows, &least, sync, memory[0]);
    write!(out, "\n{}", targets.table())?;
    say(began, "done");
    Ok(if plan.strict && !targets.all_reached() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn shown(rows: &[[Row; 3]; 3], least: &Row) -> String {
    let head = ["", "connections", "requests/s", "CPU us/request", "p50 ms", "p99 ms", "CPU to gunicorn's"];
    let line = |name: &str, connections: usize, cell: &Row, theirs: &Row| {
        vec![
            name.to_owned(),
            connections.to_string(),
            format!("{:.0}", median(&cell.requests)),
            digits(median(&cell.cpu)),
            digits(median(&cell.half)),
            digits(median(&cell.most)),
            format!("1/{}", digits(median(&theirs.cpu) / median(&cell.cpu))),
        ]
    };
    let mut lines = vec![line("read, append, sync, answer", 1, least, &rows[0][2])];
    for (row, connections) in rows.iter().zip(CONNECTIONS) {
        for (cell, (name, ..)) in row.iter().zip(TURNS) {
            lines.push(line(name, connections, cell, &row[2]));
        }
    }
    table(&head, &lines)
}

fn judged(rows: &[[Row; 3]; 3], least: &Row, sync: f64, memory: u64) -> Targets {
    let mut targets = Targets::default();
    for (row, connections) in rows.iter().zip(CONNECTIONS) {
        let [ours, anew, theirs] = [0, 1, 2].map(|cell: usize| median(&row[cell].cpu));
        targets.at_least(
            &format!("{connections} connections: CPU less than gunicorn's"),
            5.0,
            "x",
            theirs / ours,
        );
        targets.note(&format!("a connection for each {}x", digits(theirs / anew)));
        if connections == 1 {
            targets.note(&format!("the least that has to be done {}x", digits(theirs / median(&least.cpu))));
        }
    }
    let limit = (5.0 * sync).max(50.0);
    targets.at_most("128 connections: p99", (limit * 10.0).round() / 10.0, " ms", median(&rows[2][0].most));
    targets.note(&format!("a connection for each {}", digits(median(&rows[2][1].most))));
    targets.at_most("peak memory", 64.0, " MB", megabytes(memory));
    targets
}

fn megabytes(kibibytes: u64) -> f64 {
    f64::from(u32::try_from(kibibytes).unwrap_or(u32::MAX)) * 1024.0 / 1e6
}

/// What it is measured on.
fn machine(maker: &Maker) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    format!(
        "Linux {}, {} processors, load {}; events of {} bytes",
        read("/proc/sys/kernel/osrelease"),
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        maker.size(),
    )
}

/// For whoever waits.
fn say(began: Instant, what: &str) {
    // Where nobody listens there is nothing to say.
    let _ = writeln!(std::io::stderr(), "[{:>3} s] {what} ...", began.elapsed().as_secs());
}
