//! `selftest`: the installed programs do their work once, without an effect.
//!
//! The only place where a program of the toolkit starts another.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::finding::Findings;
use common::text::legible;
use common::wazuh::paths::ACTIVE_RESPONSES_LOG;
use serde_json::{Value, json};

use crate::call::Call;
use crate::link;
use crate::process;
use crate::program::Program;
use crate::verbs::doctor::show;

mod webhook;

/// An address that no host has (RFC 5737), and the id of our alert.
const ADDRESS: &str = "203.0.113.1";
const ALERT: &str = "wazuh-toolkit-selftest";
/// How long one program may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The most of a log or an answer that is read, in bytes.
const MOST: u64 = 64 * 1024;

/// Tests what is installed; the exit code.
#[must_use]
pub fn selftest(call: &Call, json: bool) -> u8 {
    let mut findings = Findings::default();
    let mut tests = vec![
        (Program::CustomBlock, block as fn(&Call) -> Result<String, String>),
        (Program::CustomAudit, audit),
    ];
    // Few hosts want it; `doctor` says where it is missing.
    if call.path_of(Program::CustomWebhook).exists() {
        tests.push((Program::CustomWebhook, webhook::receive));
    }
    for (program, test) in tests {
        match test(call) {
            Ok(text) => findings.ok(program.name(), text),
            Err(text) => findings.problem(program.name(), text),
        }
    }
    show(call, &findings, json)
}

/// As execd calls it, through the link where there is one.
fn block(call: &Call) -> Result<String, String> {
    let place = link::folder(call).join(Program::CustomBlock.name());
    let path = if place.exists() { place } else { call.path_of(Program::CustomBlock) };
    let home = call.installation.home();
    let log = call.installation.logs().join(ACTIVE_RESPONSES_LOG);
    let before = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let request = |command: &str| {
        json!({
            "version": 1,
            "origin": { "name": "selftest", "module": "wazuh-execd" },
            "command": command,
            "parameters": {
                "extra_args": [],
                "alert": {
                    "id": ALERT,
                    "rule": { "level": 0, "id": "0", "description": "wazuh-toolkit selftest" },
                    "agent": { "id": "000" },
                    "data": { "srcip": ADDRESS },
                },
                "program": "active-response/bin/custom-block",
            },
        })
        .to_string()
    };
    let mut command = Command::new(&path);
    command.arg("--dry-run").arg("--home").arg(home).current_dir(home);
    let start = Instant::now();
    let answer = converse(&mut command, &request("add"), &request("continue"))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let took = start.elapsed();
    let answer: Value = serde_json::from_slice(&answer).map_err(|_| {
        format!("{} answered {:?} instead of check_keys", path.display(), legible(&answer, 200))
    })?;
    if answer["command"] != "check_keys" || answer["parameters"]["keys"] != json!([ADDRESS]) {
        return Err(format!("{} answered {answer} instead of check_keys with the address", path.display()));
    }
    let record = record(&log, before).ok_or_else(|| format!("{} has no line of it", log.display()))?;
    match record["command"].as_str() {
        Some("observed") => Ok(format!(
            "asked for its key, decided, touched nothing and wrote its record, in {:.1} ms",
            took.as_secs_f64() * 1000.0
        )),
        _ => Err(format!("recorded {record} instead of observed")),
    }
}

/// One line in, one line out, one line in, the end: every wait has a limit.
fn converse(command: &mut Command, request: &str, reply: &str) -> Result<Vec<u8>, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let outcome = exchange(&mut child, request, reply);
    if outcome.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    outcome
}

fn exchange(child: &mut Child, request: &str, reply: &str) -> Result<Vec<u8>, String> {
    let end = Instant::now() + LIMIT;
    let (mut input, output) = match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => (input, output),
        _ => return Err("it has no pipes".to_owned()),
    };
    let write =
        |input: &mut dyn Write, line: &str| writeln!(input, "{line}").map_err(|error| error.to_string());
    write(&mut input, request)?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = Vec::new();
        let read = BufReader::new(output).take(MOST).read_until(b'\n', &mut line);
        let _ = sender.send(read.map(|_| line));
    });
    let waited = receiver.recv_timeout(LIMIT);
    let line = waited.map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))?;
    let line = line.map_err(|error| error.to_string())?;
    if line.is_empty() {
        return Err("ended without an answer".to_owned());
    }
    write(&mut input, reply)?;
    drop(input);
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(line),
            Some(status) => return Err(status.to_string()),
            None if Instant::now() >= end => return Err(format!("did not end within {} s", LIMIT.as_secs())),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The record of our alert behind this place in the log.
fn record(log: &Path, before: u64) -> Option<Value> {
    use std::io::{Seek, SeekFrom};
    let mut file = std::fs::File::open(log).ok()?;
    file.seek(SeekFrom::Start(before)).ok()?;
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text).ok()?;
    text.split(|&byte| byte == b'\n').find_map(|line| {
        let at = line.iter().position(|&byte| byte == b'{')?;
        let record: Value = serde_json::from_slice(&line[at..]).ok()?;
        (record["parameters"]["alert"]["id"] == ALERT).then_some(record)
    })
}

/// As the wodle calls it, with a state that is thrown away.
fn audit(call: &Call) -> Result<String, String> {
    let path: PathBuf = call.path_of(Program::CustomAudit);
    let state = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut command = Command::new(&path);
    command.arg("--wodle").arg("--home").arg(call.installation.home()).arg("--state-dir").arg(state.path());
    let ended = process::run(&mut command, LIMIT).map_err(|error| format!("{}: {error}", path.display()))?;
    if !ended.is_good() {
        let how =
            ended.status.map_or_else(|| format!("no end within {} s", LIMIT.as_secs()), |s| s.to_string());
        return Err(format!("{}: {how}: {}", path.display(), ended.words()));
    }
    let last = ended.said.split(|&byte| byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
    let summary: Value = serde_json::from_slice(last)
        .map_err(|_| format!("{} printed {:?}, which is no event", path.display(), legible(last, 200)))?;
    if summary["wodle"] != "system-audit" || summary["event"] != "summary" {
        return Err(format!("{} ended without a summary", path.display()));
    }
    let number = |key: &str| summary[key].as_u64().unwrap_or_default();
    let degraded = summary["degraded"].as_str().unwrap_or("none");
    let but = if degraded == "none" { String::new() } else { format!("; degraded: {degraded}") };
    Ok(format!(
        "found {} sockets of {} processes of root, in {} ms{but}",
        number("root_sockets"),
        number("root_processes"),
        number("duration_ms")
    ))
}
