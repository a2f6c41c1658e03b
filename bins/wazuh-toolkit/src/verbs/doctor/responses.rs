//! Active responses: what execd would do with a request.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::finding::Findings;
use common::state::OWN_FILE;
use common::text::glance;
use common::wazuh::config::largest_timeout;
use common::wazuh::paths::ACTIVE_RESPONSES_LOG;

use crate::conf::Facts;
use crate::daemon;
use crate::link;
use crate::program::{Program, follows_the_record};

use super::Host;
use super::wiring::is_enabled;

/// execd's table has 65 places, and no check of its end (4.14.7,
/// `src/os_execd/execd.h`, `exec.c`).
const MOST_COMMANDS: usize = 55;
/// A log that nobody rotates.
const LARGE_LOG: u64 = 512 * 1024 * 1024;

/// Examines them.
pub fn examine(host: &Host<'_>, findings: &mut Findings) {
    execd(host, findings);
    table(host, findings);
    record(host, findings);
}

fn execd(host: &Host<'_>, findings: &mut Findings) {
    let control = host.call.installation.home().join("bin/wazuh-control");
    if Facts::of(&host.conf.text()).responses_disabled {
        findings.problem("execd", "ossec.conf switches active responses off: the first <disabled> in an <active-response> must be no");
    }
    let Some(started) = daemon::started_at(&host.call.installation, "wazuh-execd") else {
        findings.problem(
            "execd",
            format!("wazuh-execd does not run, so nothing is blocked: {} start", control.display()),
        );
        return;
    };
    let mut late = false;
    let mut names = vec![Program::CustomBlock.name().to_owned()];
    names.extend(link::replaced(host.call));
    for name in names {
        let place = link::folder(host.call).join(name);
        let made =
            std::fs::symlink_metadata(&place).ok().and_then(|metadata| u64::try_from(metadata.ctime()).ok());
        // A whole second is all that both clocks have in common.
        if made.is_some_and(|made| made > started + 1) {
            late = true;
            findings.problem("execd", format!("{} is newer than the running wazuh-execd, which may have found nothing there and then drops requests without a word: {} restart", place.display(), control.display()));
        }
    }
    if !late {
        findings.ok("execd", "wazuh-execd runs, and was started after the program was in its place");
    }
}

fn table(host: &Host<'_>, findings: &mut Findings) {
    let path = host.call.installation.ar_conf();
    let text = glance(&path).unwrap_or_default();
    if text.is_empty() {
        findings.note(
            "ar.conf",
            format!(
                "{} is not there, or empty. Agents get it from their manager, which writes it when it starts",
                path.display()
            ),
        );
        return;
    }
    let commands = text.lines().filter(|line| line.contains(" - ")).count();
    if commands >= MOST_COMMANDS {
        findings.problem("ar.conf", format!("{} has {commands} lines; execd has room for 64, and does not look whether it ends: use fewer pairs of command and timeout on the manager", path.display()));
    }
    let name = Program::CustomBlock.name();
    match largest_timeout(&text, name) {
        Some(seconds) => {
            findings.ok("ar.conf", format!("{commands} commands; {name} has a timeout of {seconds} s"))
        }
        None if is_enabled(host, Program::CustomBlock)
            && host.wazuh.role == crate::program::Role::Manager =>
        {
            findings.problem(
                "ar.conf",
                format!(
                    "{} does not know {name}, though ossec.conf does: the manager writes it when it restarts",
                    path.display()
                ),
            );
        }
        None if link::replaced(host.call).iter().any(|name| largest_timeout(&text, name).is_some()) => {
            findings.ok("ar.conf", format!("{commands} commands; {name} stands for one of Wazuh's own"));
        }
        None => findings.note(
            "ar.conf",
            format!("no command runs {name}: `wazuh-toolkit enable {name}` on the manager makes one"),
        ),
    }
    let folder = link::folder(host.call);
    let executables: std::collections::BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.rsplit_once(" - ")?.0.split_once(" - "))
        .map(|(_, executable)| executable.trim())
        .filter(|executable| executable.starts_with("custom-") && !folder.join(executable).exists())
        .collect();
    for executable in executables {
        findings.problem("ar.conf", format!("it names {executable}, which is not in {}: put it there and restart Wazuh, or execd drops its requests without a word", folder.display()));
    }
}

fn record(host: &Host<'_>, findings: &mut Findings) {
    let log = host.call.installation.logs().join(ACTIVE_RESPONSES_LOG);
    let shown = log.display();
    match std::fs::symlink_metadata(&log) {
        Ok(metadata) if !metadata.is_file() || metadata.nlink() != 1 => {
            findings.problem(
                "record",
                format!(
                    "{shown} is not a regular file with one name, so nothing is written to it: remove it"
                ),
            );
        }
        Ok(metadata) if metadata.len() > LARGE_LOG => {
            findings.problem(
                "record",
                format!(
                    "{shown} has {} MB, and Wazuh does not rotate it: is logrotate installed?",
                    metadata.len() / 1_000_000
                ),
            );
        }
        Ok(_) if !can_append(&log) => {
            findings.problem("record", format!("{shown} cannot be written, even by root (lsattr {shown})"));
        }
        Ok(metadata) => findings.ok("record", format!("{shown}, {} bytes", metadata.len())),
        Err(_) if host.call.installation.logs().is_dir() => {
            findings.ok("record", format!("{shown} will be made"))
        }
        Err(error) => findings.problem("record", format!("{shown}: {error}")),
    }
    let agent_conf = glance(&host.call.installation.agent_conf()).unwrap_or_default();
    let followed =
        [&host.conf.text(), &agent_conf].iter().any(|text| follows_the_record(text, &host.call.installation));
    if followed {
        findings.ok("record", "Wazuh reads it");
    } else {
        findings.problem("record", "no <localfile> of ossec.conf reads it, so blocks never become alerts: `wazuh-toolkit enable custom-block` adds one");
    }
}

fn can_append(log: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().append(true).custom_flags(OWN_FILE).open(log).is_ok()
}
