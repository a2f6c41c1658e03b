//! custom-webhook, where somebody wants it: its section is in `ossec.conf`, or
//! a source is configured. What it knows itself, it is asked.

use std::path::Path;
use std::process::Command;

use common::finding::Findings;
use serde_json::Value;

use crate::call::PATIENCE;
use crate::process;
use crate::program::Program;
use crate::webhook::{FILE, Receiver};

use super::Host;
use super::wiring::is_enabled;

const NAME: &str = "custom-webhook";
const UNIT: &str = "custom-webhook.service";
/// There where systemd is what runs the host.
const BOOTED: &str = "/run/systemd/system";

/// Examines it.
pub fn examine(host: &Host<'_>, findings: &mut Findings) {
    let (call, wired) = (host.call, is_enabled(host, Program::CustomWebhook));
    // What cannot be read was written for something; it says itself what is wrong.
    let configured = Receiver::of(call).map_or(true, |receiver| receiver.has_a_source());
    if !wired && !configured {
        return;
    }
    let path = call.path_of(Program::CustomWebhook);
    if !path.exists() {
        findings.problem(
            NAME,
            format!("{} is not there: install the package again, or copy the program there", path.display()),
        );
        return;
    }
    if !configured {
        let config = call.places.config(FILE);
        findings.problem(
            NAME,
            format!(
                "enabled, but no source is configured, so nobody can send anything: take the \"#\" away before one in {}, then systemctl enable --now custom-webhook",
                config.display()
            ),
        );
        return;
    }
    if let Err(error) = ask(host, &path, findings) {
        findings.problem(NAME, format!("{} doctor: {error}", path.display()));
    }
    starts_with_the_host(findings);
}

/// What `custom-webhook doctor` finds, as findings of ours.
fn ask(host: &Host<'_>, path: &Path, findings: &mut Findings) -> Result<(), String> {
    let call = host.call;
    let mut command = Command::new(path);
    command.args(["doctor", "--json", "--home"]).arg(call.installation.home());
    command.arg("--state-dir").arg(call.places.state_dir());
    command.arg("--config").arg(call.places.config(FILE));
    let ended = process::run(&mut command, PATIENCE).map_err(|error| error.to_string())?;
    let found: Option<Value> = serde_json::from_slice(&ended.said).ok();
    let found = found.as_ref().and_then(|found| found["findings"].as_array());
    let Some(found) = found else {
        let how = ended
            .status
            .map_or_else(|| format!("no end within {} s", PATIENCE.as_secs()), |status| status.to_string());
        return Err(format!("no findings ({how}) {}", ended.words()));
    };
    for finding in found {
        let text = |key: &str| finding[key].as_str().unwrap_or_default();
        let said = format!("{}: {}", text("about"), text("text"));
        match text("verdict") {
            "ok" => findings.ok(NAME, said),
            "note" => findings.note(NAME, said),
            _ => findings.problem(NAME, said),
        }
    }
    Ok(())
}

/// It runs now, and after the next boot?
fn starts_with_the_host(findings: &mut Findings) {
    if !Path::new(BOOTED).is_dir() {
        return;
    }
    let mut command = Command::new("systemctl");
    command.args(["is-enabled", UNIT]);
    let said = process::run(&mut command, PATIENCE).map(|ended| ended.words()).unwrap_or_default();
    if said == "disabled" {
        findings.note(NAME, format!("{UNIT} is not started when the host boots: systemctl enable {UNIT}"));
    }
}
