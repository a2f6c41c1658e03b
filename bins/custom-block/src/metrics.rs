//! A file in node_exporter's textfile format, when one is configured.

use std::collections::BTreeMap;
use std::fmt::Write;

use nix::fcntl::FlockArg;

use crate::call::Run;
use crate::report::Command;
use crate::state::{counters, lock, replace};

const NAME: &str = "metrics.json";
const COMMANDS: [Command; 8] = [
    Command::Add,
    Command::Delete,
    Command::Extended,
    Command::Queued,
    Command::Observed,
    Command::Held,
    Command::Refused,
    Command::Failed,
];

/// Counts one run in the configured file. What cannot be counted is not: a
/// metric is not worth a block.
pub fn count(run: &Run, command: Command) {
    let Some(path) = &run.settings.metrics_file else { return };
    let counted = || -> std::io::Result<()> {
        run.state.create()?;
        let own = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(run.state.path("metrics.lock"))?;
        let _own = lock(own, FlockArg::LockExclusiveNonblock, run.patience())?;
        let former = std::fs::read(run.state.path(NAME)).unwrap_or_default();
        let mut runs: BTreeMap<String, u64> = serde_json::from_slice(&former).unwrap_or_default();
        *runs.entry(command.word().to_owned()).or_default() += 1;
        replace(&run.state.path(NAME), &serde_json::to_vec(&runs)?, 0o600)?;
        let micros = u64::try_from(run.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let standing = counters::read(&run.state).standing();
        replace(path, text(&runs, standing, run.now, micros).as_bytes(), 0o644)
    };
    let _ = counted();
}

fn text(runs: &BTreeMap<String, u64>, standing: u64, now: u64, micros: u64) -> String {
    let mut text = String::with_capacity(1024);
    text.push_str(
        "# HELP custom_block_runs_total Runs by what they did.\n# TYPE custom_block_runs_total counter\n",
    );
    for command in COMMANDS {
        let count = runs.get(command.word()).copied().unwrap_or(0);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "custom_block_runs_total{{command=\"{}\"}} {count}", command.word());
    }
    for (name, help, value) in [
        (
            "custom_block_standing",
            "Blocks that stand, at most: the kernel lifts some by itself.",
            standing.to_string(),
        ),
        ("custom_block_last_run_timestamp_seconds", "When the last run began.", now.to_string()),
        (
            "custom_block_last_run_duration_seconds",
            "How long the last run took.",
            format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        ),
    ] {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_help_and_type() {
        let text = text(&BTreeMap::from([("add".to_owned(), 3)]), 7, 1_795_255_963, 312);
        assert!(text.contains("custom_block_runs_total{command=\"add\"} 3\n"));
        assert!(text.contains("custom_block_runs_total{command=\"delete\"} 0\n"));
        assert!(text.contains("custom_block_last_run_duration_seconds 0.000312\n"));
        let samples = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(samples, 11);
        assert_eq!(text.matches("# TYPE").count(), 4);
    }
}
