//! What `ossec.conf` and its neighbours say about the programs.

use std::path::Path;

use common::finding::Findings;
use common::text::glance;
use common::wazuh::config::{CommandWodle, takes_remote_commands};

use crate::file;
use crate::program::{Program, Role};
use crate::section;
use crate::webhook::Receiver;

use super::Host;

/// Whether `ossec.conf` has the section of a program.
#[must_use]
pub fn is_enabled(host: &Host<'_>, program: Program) -> bool {
    matches!(section::find(&host.conf.bytes, program.name()), Ok(Some(_)))
}

/// Examines it.
pub fn examine(host: &Host<'_>, findings: &mut Findings) {
    sections(host, findings);
    wodle(host, findings);
    leftovers(host, findings);
}

fn sections(host: &Host<'_>, findings: &mut Findings) {
    let conf = &host.conf;
    if let Err(error) = section::all(&conf.bytes) {
        findings.problem("ossec.conf", format!("{}: {error}", conf.path.display()));
        return;
    }
    let output = Receiver::of(host.call).unwrap_or_default().output;
    for program in Program::ALL {
        let name = program.name();
        let Ok(Some(found)) = section::find(&conf.bytes, name) else {
            // A host that has no use for it need not hear of it; for one that
            // has, it is said by `webhook`.
            if program == Program::CustomWebhook {
                continue;
            }
            findings
                .note(name, format!("not enabled in {}: `wazuh-toolkit enable {name}`", conf.path.display()));
            continue;
        };
        let role = if found.role == Role::Manager.name() { Role::Manager } else { Role::Agent };
        let others = section::without(&conf.bytes, name).unwrap_or_default();
        let call = host.call;
        let text = program.section(
            role,
            &call.installation,
            &call.program_dir,
            &output,
            &String::from_utf8_lossy(&others),
        );
        if !found.is_untouched(&conf.bytes) {
            findings.note(name, format!("its section in ossec.conf was edited by hand: it is yours, and no new version replaces it (`wazuh-toolkit enable {name} --force` would)"));
        } else if conf.bytes[found.inside.clone()] != *text.as_bytes() {
            findings.problem(name, format!("its section in ossec.conf is of another version or place: `wazuh-toolkit enable {name}` renews it"));
        } else {
            findings.ok(name, format!("enabled in {}", conf.path.display()));
        }
        if role != host.wazuh.role {
            findings.problem(name, format!("its section is for a host that is {}, but this one is {}: `wazuh-toolkit disable {name}`, then enable it again", role.name(), host.wazuh.role.name()));
        }
    }
}

/// Wodles that run our program, wherever they were written.
fn wodle(host: &Host<'_>, findings: &mut Findings) {
    let ours = |wodle: &CommandWodle| {
        let program = wodle.command.split_whitespace().next().unwrap_or_default();
        Path::new(program).file_name().is_some_and(|name| name == Program::CustomAudit.name())
    };
    let local: Vec<CommandWodle> = CommandWodle::parse(&host.conf.text()).into_iter().filter(&ours).collect();
    let path = host.call.installation.agent_conf();
    let shared = glance(&path).unwrap_or_default();
    let shared: Vec<CommandWodle> = CommandWodle::parse(&shared).into_iter().filter(&ours).collect();
    if host.wazuh.role == Role::Agent && !shared.is_empty() {
        let options = glance(&host.call.installation.local_internal_options()).unwrap_or_default();
        let allowed = takes_remote_commands(&options);
        if !allowed && local.is_empty() {
            findings.problem("wodle", format!("{} has our wodle, but this agent takes no commands from its manager: put wazuh_command.remote_commands=1 into {} and restart, or `wazuh-toolkit enable custom-audit` here", path.display(), host.call.installation.local_internal_options().display()));
        } else if allowed && !local.is_empty() {
            findings.problem("wodle", format!("both ossec.conf and {} run custom-audit, so every event comes twice: `wazuh-toolkit disable custom-audit`, or take it out of agent.conf", path.display()));
        }
    }
    if local.len() > 1 {
        findings.problem(
            "wodle",
            format!("ossec.conf runs custom-audit {} times: leave one of them", local.len()),
        );
    }
    for wodle in &local {
        let program = wodle.command.split_whitespace().next().unwrap_or_default();
        if !Path::new(program).is_file() {
            findings.problem(
                "wodle",
                format!(
                    "it runs {program}, which is not there: install the program, or enable custom-audit again"
                ),
            );
        } else if wodle.disabled {
            findings.problem("wodle", "it is disabled in ossec.conf: set <disabled> to no");
        } else if wodle.ignore_output {
            findings.problem("wodle", "ossec.conf throws its output away: set <ignore_output> to no");
        } else {
            findings.ok("wodle", format!("{}, every {}", wodle.command, wodle.interval));
        }
        if wodle.verified {
            findings.note("wodle", "Wazuh compares the program with a hash: renew it with each upgrade, or the wodle ends in silence");
        }
    }
}

/// What an earlier removal of Wazuh left behind.
fn leftovers(host: &Host<'_>, findings: &mut Findings) {
    let mut saved = host.conf.path.clone().into_os_string();
    saved.push(".save");
    let saved = Path::new(&saved);
    let enabled_then = || {
        let text = file::read(saved).map(|file| file.bytes).unwrap_or_default();
        section::all(&text).is_ok_and(|sections| !sections.is_empty())
    };
    let enabled_now = Program::ALL.into_iter().any(|program| is_enabled(host, program));
    if !saved.exists() {
        return;
    }
    let shown = saved.display();
    if !enabled_now && enabled_then() {
        findings.problem("leftovers", format!("{shown} has our sections and ossec.conf has none: Wazuh was removed and installed again, with a new configuration. Enable the programs again, then remove that file"));
    } else {
        findings.problem(
            "leftovers",
            format!(
                "{shown} is left of an earlier installation: take from it what you still need, then remove it"
            ),
        );
    }
}
