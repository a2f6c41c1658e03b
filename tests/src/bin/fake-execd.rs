//! The fake execd, for shell scripts: hands one recorded line to a program as
//! wazuh-execd does, and says what was said.
//!
//! ```text
//! fake-execd HOME LINE-FILE TIMEOUT
//! ```
//!
//! A line whose command is `delete` or `disable` is handed over without the
//! exchange. The environment is passed on, as execd does. Exit code 0 when
//! the program did its part of the protocol.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use harness::execd::{Answer, Execd, Run, Stdout, Then};
use harness::line::{Generation, Line};

fn main() -> ExitCode {
    match talk() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Where nobody listens there is nothing to say.
            let _ = writeln!(std::io::stderr(), "fake-execd: {error}");
            ExitCode::from(2)
        }
    }
}

fn talk() -> Result<bool, Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [home, file, timeout] = args.as_slice() else {
        return Err("fake-execd HOME LINE-FILE TIMEOUT".into());
    };
    let text = std::fs::read_to_string(file)?;
    let five = !text.contains("\"parameters\":{");
    let line = Line::new(if five { Generation::Five } else { Generation::Four }, &text);
    let mut execd = Execd::new(Path::new(home)).limit(Duration::from_secs(20));
    for (name, value) in std::env::vars_os() {
        if let Some(name) = name.to_str() {
            execd = execd.with(name, value);
        }
    }
    let mut out = std::io::stdout();
    if text.contains("\"command\":\"delete\"") || text.contains("\"command\":\"disable\"") {
        let mut bytes = line.bytes().to_vec();
        bytes.push(b'\n');
        let run = execd.feed(line.program_name(), &bytes, Then::Close, Stdout::Discard);
        writeln!(out, "execd   -> {}: delete", line.program_name())?;
        return ended(&mut out, &run);
    }
    let run = execd.request(&line, timeout.parse()?);
    writeln!(out, "execd   -> {}: add", line.program_name())?;
    match (run.keys(), run.answer) {
        (Some(keys), Some(answer)) => {
            writeln!(out, "program -> execd: check_keys {keys:?}")?;
            let word = if answer == Answer::Continue { "continue" } else { "abort" };
            writeln!(out, "execd   -> {}: {word}", line.program_name())?;
            ended(&mut out, &run)
        }
        _ => {
            writeln!(out, "program -> execd: nothing that is understood")?;
            ended(&mut out, &run)?;
            Ok(false)
        }
    }
}

fn ended(out: &mut impl Write, run: &Run) -> Result<bool, Box<dyn std::error::Error>> {
    let milliseconds = run.wall.as_secs_f64() * 1000.0;
    writeln!(out, "the program ended after {milliseconds:.1} ms, {}", run.status)?;
    Ok(run.status.success() && !run.outstayed)
}
