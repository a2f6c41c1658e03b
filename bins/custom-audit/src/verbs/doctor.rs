//! `doctor`: everything that could keep events from coming, or from being seen.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use common::config::parse_duration;
use common::finding::Findings;
use common::text::glance;
use common::wazuh::config::{CommandWodle, LocalFile, takes_remote_commands};

use crate::call::{Call, Stop};
use crate::config::{ProcessKey, Settings};
use crate::known::Known;
use crate::look::{Look, Want};
use crate::state::{Contents, State};

use super::{DONE, FAILED, say};

/// Lines that the wodle sends in a second (`wazuh_modules.max_eps`).
const LINES_PER_SECOND: usize = 100;

/// Examines this host.
#[must_use]
pub fn doctor(call: &Call, json: bool) -> u8 {
    let mut findings = Findings::default();
    let (settings, broken) = call.settings();
    match &broken {
        Some(error) => findings.problem("configuration", format!("ignored, the defaults apply: {error}")),
        None if call.config.exists() => findings.ok("configuration", call.config.display().to_string()),
        None => findings
            .ok("configuration", format!("{} does not exist: the defaults apply", call.config.display())),
    }
    sight(&mut findings);
    state(call, &mut findings);
    wazuh(call, &settings, &mut findings);
    events(&settings, &mut findings);
    if json {
        say(&findings.json());
    } else {
        findings.lines().for_each(|line| say(&line));
    }
    if findings.found() { FAILED } else { DONE }
}

/// What can be seen, how, and what it costs.
fn sight(findings: &mut Findings) {
    if nix::unistd::geteuid().is_root() {
        findings.ok("user", "root");
    } else {
        findings.problem("user", "not root: the sockets of root's processes cannot be seen. The wodle runs as root; so should this");
    }
    let stop = Stop::new();
    let began = Instant::now();
    let look =
        Look::new(&Known::default(), Want { everything: true, now: crate::now(), full_look: 0 }, &|| {
            stop.is_told()
        });
    let took = began.elapsed().as_millis();
    let look = match look {
        Ok(Some(look)) => look,
        Ok(None) => return,
        Err(error) => return findings.problem("proc", format!("/proc cannot be read: {error}")),
    };
    let strategy = look.strategy.iter().copied().collect::<Vec<_>>().join("+");
    findings.ok(
        "look",
        format!(
            "{} of {} of root, among {} and {} in {}; {took} ms, by {strategy}",
            counted(look.sockets.len(), "socket"),
            counted(look.scan.root as usize, "process"),
            counted(look.total as usize, "socket"),
            counted(look.scan.pids.len(), "process"),
            counted(look.namespaces as usize, "network namespace"),
        ),
    );
    if !look.unattributed.is_empty() {
        findings.note(
            "look",
            format!("{} of root without a process", counted(look.unattributed.len(), "socket")),
        );
    }
    for fault in &look.degraded {
        match *fault {
            "not_root" => {}
            "pid_namespace" => findings.note("look", "this is a container: processes outside it cannot be seen"),
            "sock_diag" => findings.note("look", "the kernel has no sock_diag (modules inet_diag, tcp_diag, udp_diag): /proc/net is read instead, which takes longer and knows no cookies"),
            "unreadable" => findings.note("look", format!("{} of root may not be looked into, even by root (a security module, or a process with more capabilities than we have)", counted(look.scan.unreadable as usize, "process"))),
            other => findings.note("look", format!("not all can be seen: {other}; `custom-audit explain degraded`")),
        }
    }
}

fn state(call: &Call, findings: &mut Findings) {
    let state = State::peek(&call.state_dir);
    let path = state.path();
    match state.read() {
        Ok(Contents::Good(known)) => {
            let size = std::fs::metadata(&path).map_or(0, |file| file.len());
            findings.ok(
                "state",
                format!(
                    "{}: {} sockets, after {} runs, {size} bytes",
                    path.display(),
                    known.sockets.len(),
                    known.run
                ),
            );
        }
        Ok(Contents::Absent) => {
            findings.ok("state", format!("{} comes with the first run", path.display()));
        }
        Ok(Contents::Bad(reason, _)) => findings.problem(
            "state",
            format!(
                "{} is not believed: {reason}; the next run sets it aside and begins a new baseline",
                path.display()
            ),
        ),
        Err(error) => findings.problem("state", error.to_string()),
    }
    if let Some(folder) = path.parent()
        && let Ok(found) = std::fs::symlink_metadata(folder)
        && (!found.is_dir() || found.mode() & 0o077 != 0)
    {
        findings.problem("state", format!("{} is open to others, or no directory", folder.display()));
    }
}

fn counted(number: usize, thing: &str) -> String {
    match (number, thing.ends_with('s')) {
        (1, _) => format!("1 {thing}"),
        (_, true) => format!("{number} {thing}es"),
        (_, false) => format!("{number} {thing}s"),
    }
}

fn wazuh(call: &Call, settings: &Settings, findings: &mut Findings) {
    let installation = &call.installation;
    let Some(own) = glance(&installation.ossec_conf()) else {
        findings.problem(
            "wazuh",
            format!(
                "{} cannot be read: --home or WAZUH_HOME names another place",
                installation.ossec_conf().display()
            ),
        );
        return;
    };
    let ours = |text: &str| {
        let wodles = CommandWodle::parse(text).into_iter();
        wodles.filter(|wodle| wodle.command.contains("custom-audit")).collect::<Vec<_>>()
    };
    let shared = glance(&installation.agent_conf()).unwrap_or_default();
    let files: Vec<LocalFile> = [&own, &shared].into_iter().flat_map(|text| LocalFile::parse(text)).collect();
    let from_manager = ours(&shared);
    let options = glance(&installation.local_internal_options()).unwrap_or_default();
    if !from_manager.is_empty() && !takes_remote_commands(&options) {
        findings.problem("wodle", format!("{} has the wodle, but commands from the manager are not allowed here: put wazuh_command.remote_commands=1 into {} and restart the agent", installation.agent_conf().display(), installation.local_internal_options().display()));
    }
    let output = settings.output.as_ref().map(|path| path.display().to_string());
    let file = |wodle: &CommandWodle| argument(wodle, "--output").or_else(|| output.clone());
    for path in ours(&own).iter().chain(&from_manager).filter_map(file) {
        let followed = files.iter().find(|file| file.location == path);
        match followed.map(|file| file.log_format.as_str()) {
            Some("json") => findings.ok("output", path),
            Some(format) => findings.problem(
                "output",
                format!("{path} is followed with the log_format {format:?}: it takes json"),
            ),
            None => findings.problem(
                "output",
                format!(
                    "nobody reads {path}: it takes a <localfile> with this location and the log_format json"
                ),
            ),
        }
    }
    let own = ours(&own);
    if own.is_empty() && from_manager.is_empty() {
        findings.problem(
            "wodle",
            format!(
                "{} has no <wodle name=\"command\"> that runs custom-audit",
                installation.ossec_conf().display()
            ),
        );
    }
    for wodle in own.iter().chain(&from_manager) {
        examine(wodle, settings, findings);
    }
}

fn examine(wodle: &CommandWodle, settings: &Settings, findings: &mut Findings) {
    let words: Vec<&str> = wodle.command.split_whitespace().collect();
    let interval = if wodle.interval.is_empty() { "2s" } else { &wodle.interval };
    findings.ok(
        "wodle",
        format!("{}, every {interval}, events have the location command_{}", wodle.command, wodle.tag),
    );
    if wodle.disabled {
        findings.problem("wodle", "it is disabled");
    }
    let to_file = settings.output.is_some() || words.iter().any(|word| word.starts_with("--output"));
    if wodle.ignore_output && !to_file {
        findings.problem("wodle", "ignore_output is yes: what is found is thrown away");
    }
    if wodle.verified && words.len() < 2 {
        findings.problem(
            "wodle",
            "with verify_… the command needs an argument (--wodle): Wazuh reads beyond its end otherwise",
        );
    }
    if wodle.interval.is_empty() {
        findings.note(
            "wodle",
            "it has no interval: every 2 seconds, Wazuh's default, is more often than you want",
        );
    }
    let watch = argument(wodle, "--watch").and_then(|watch| parse_duration(&watch).ok());
    let watch = watch.unwrap_or_default().as_secs();
    if parse_duration(interval).is_ok_and(|interval| interval.as_secs() <= watch) {
        findings.problem("wodle", format!("--watch {watch} takes as long as the interval, or longer"));
    }
    if wodle.timeout > 0 && wodle.timeout <= watch {
        findings.problem(
            "wodle",
            format!("it is ended after {} seconds, and --watch {watch} takes longer", wodle.timeout),
        );
    }
    if wodle.timeout == 0 {
        findings.note("wodle", "it has no timeout; 120 seconds are enough");
    }
    if let Some(program) = words.first().filter(|word| word.starts_with('/'))
        && !Path::new(program).is_file()
    {
        findings.problem("wodle", format!("{program} is not there"));
    }
}

/// The value of an argument of the wodle's command.
fn argument(wodle: &CommandWodle, name: &str) -> Option<String> {
    let mut words = wodle.command.split_whitespace();
    let word = words.find(|word| word.starts_with(name))?;
    match word.strip_prefix(name)?.strip_prefix('=') {
        Some(value) => Some(value.to_owned()),
        None => words.next().map(str::to_owned),
    }
}

fn events(settings: &Settings, findings: &mut Findings) {
    match settings.process_key {
        ProcessKey::Object => findings.ok("events", "process is an object, as Wazuh's index template wants it"),
        ProcessKey::String => findings.note("events", "process is a string: Wazuh's own index template drops such events; rules work, the dashboard shows nothing unless the template was changed"),
    }
    match settings.max_events {
        0 => findings.note(
            "events",
            "there is no limit: the wodle sends 100 lines a second, and an agent keeps 5,000",
        ),
        most => findings.ok(
            "events",
            format!("at most {most} in a run, which take {} s to be sent", most.div_ceil(LINES_PER_SECOND)),
        ),
    }
    if settings.hash.enabled {
        findings.ok("events", "executables are hashed");
    }
}
