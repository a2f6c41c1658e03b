//! Asks a running manager what its rules make of our samples, and says where
//! that differs from the evaluator of the tests. `tests/rules/logtest` runs it.
//!
//! ```text
//! logtest [--home DIR]
//! ```
//!
//! DIR is `/var/ossec` unless it or `WAZUH_HOME` says otherwise. Exit code 0
//! when nothing differs or there is no manager, 1 when something does, 2 when
//! it cannot be asked.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use harness::rules::logtest::Manager;
use harness::rules::{Ruleset, sample};

fn main() -> ExitCode {
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Where nobody listens there is nothing to say.
            let _ = writeln!(std::io::stderr(), "logtest: {error}");
            ExitCode::from(2)
        }
    }
}

/// True when nothing differs.
fn compare() -> Result<bool, Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let named = std::env::var_os("WAZUH_HOME").map_or_else(|| PathBuf::from("/var/ossec"), PathBuf::from);
    let home = match args.as_slice() {
        [] => named.as_path(),
        [word, home] if word == "--home" => Path::new(home),
        _ => return Err("logtest [--home DIR]".into()),
    };
    let mut out = std::io::stdout();
    let Some(manager) = Manager::at(home) else {
        writeln!(out, "No manager runs in {}: nothing was compared.", home.display())?;
        return Ok(true);
    };
    let comparison = manager.compare(&Ruleset::shipped(), &sample::all())?;
    for difference in &comparison.differences {
        writeln!(out, "{difference}")?;
    }
    let (asked, wrong) = (comparison.asked, comparison.differences.len());
    let left_out = comparison.left_out;
    writeln!(
        out,
        "{asked} events asked, {wrong} differ, {left_out} not asked (another agent, or a later time)."
    )?;
    Ok(wrong == 0)
}
