//! `doctor`: everything that could keep the toolkit from working, each with
//! what to do about it.

use common::finding::Findings;

use crate::call::Call;
use crate::file::Original;
use crate::program::Role;
use crate::wazuh::Wazuh;
use crate::{change, rules, wazuh};

pub mod installed;
pub mod responses;
pub mod surroundings;
pub mod webhook;
pub mod wiring;

/// What is looked at.
#[derive(Debug)]
pub struct Host<'a> {
    /// This run.
    pub call: &'a Call,
    /// The installation.
    pub wazuh: Wazuh,
    /// Its `ossec.conf`.
    pub conf: Original,
}

/// Examines this host; the exit code.
#[must_use]
pub fn doctor(call: &Call, json: bool) -> u8 {
    let mut findings = Findings::default();
    if !nix::unistd::geteuid().is_root() {
        findings.note("root", "not run as root: much of what matters cannot be seen");
    }
    installed::programs(call, &mut findings);
    match look(call, &mut findings) {
        Some(host) => {
            installed::links(&host, &mut findings);
            responses::examine(&host, &mut findings);
            wiring::examine(&host, &mut findings);
            webhook::examine(&host, &mut findings);
            if host.wazuh.role == Role::Manager {
                rules::examine(call, &host.conf, &mut findings);
            }
            surroundings::examine(&host, &mut findings);
        }
        None => surroundings::clock(call, &mut findings),
    }
    show(call, &findings, json)
}

fn look<'a>(call: &'a Call, findings: &mut Findings) -> Option<Host<'a>> {
    let home = call.installation.home().display();
    let Some(wazuh) = wazuh::find(&call.installation) else {
        let none = || format!("there is none in {home}: install it, or name another place with --home");
        findings.problem("wazuh", wazuh::is_hidden(&call.installation).unwrap_or_else(none));
        return None;
    };
    let version = wazuh.version.as_deref().unwrap_or("of unknown version");
    findings.ok("wazuh", format!("{version}, {}, in {home}", wazuh.role.name()));
    if wazuh.version.as_deref().is_some_and(|version| version.trim_start_matches('v').starts_with("5.")) {
        findings.note(
            "wazuh",
            "5.x has no <active-response> and no rules of XML: see the README's chapter on it",
        );
    }
    match change::ossec_conf(call) {
        Ok(conf) => Some(Host { call, wazuh, conf }),
        Err(failure) => {
            let saved = call.installation.ossec_conf().with_extension("conf.save");
            let hint = if saved.exists() {
                format!(
                    ". {} is there: Wazuh was removed, or its upgrade was broken off; copy it back",
                    saved.display()
                )
            } else {
                String::new()
            };
            findings.problem("ossec.conf", format!("{failure}{hint}"));
            None
        }
    }
}

/// Prints what was found; the exit code.
#[must_use]
pub fn show(call: &Call, findings: &Findings, json: bool) -> u8 {
    if json {
        call.tell.print_line(&findings.json());
    } else {
        findings.lines().for_each(|line| call.tell.say(line));
    }
    u8::from(findings.found())
}
