//! `doctor`: everything that could keep a block from working, or make one work
//! against its owner.

use std::os::unix::fs::MetadataExt;

use common::address::Target;
use common::finding::Findings;

use crate::backends::Backends;
use crate::call::Run;
use crate::config::Allowed;
use crate::firewall::{Backend, Fault};
use crate::host::{self, Families, WazuhConf};
use crate::ipset::Ipset;
use crate::iptables::Iptables;
use crate::names::{self, Names};
use crate::nftables::Nftables;
use crate::outbox;
use crate::state::journal;

use super::{DONE, FAILED, duration, say, time};

/// Failures that are shown.
const SHOWN: usize = 5;

/// Examines this host.
#[must_use]
pub fn doctor(run: &Run, json: bool) -> u8 {
    let mut findings = Findings::default();
    let wazuh = WazuhConf::read(&run.call.installation, &run.state);
    configuration(run, &mut findings);
    installation(run, &wazuh, &mut findings);
    backends(run, &mut findings);
    protection(run, &wazuh, &mut findings);
    state(run, &mut findings);
    if json {
        say(&findings.json());
    } else {
        findings.lines().for_each(|line| say(&line));
    }
    if findings.found() { FAILED } else { DONE }
}

fn configuration(run: &Run, findings: &mut Findings) {
    let path = run.call.config.display();
    match &run.broken {
        Some(error) => findings.problem("configuration", format!("ignored, the defaults apply: {error}")),
        None if run.call.config.exists() => findings.ok("configuration", path.to_string()),
        None => findings.ok("configuration", format!("{path} does not exist: the defaults apply")),
    }
}

fn installation(run: &Run, wazuh: &WazuhConf, findings: &mut Findings) {
    let home = run.call.installation.home();
    let logs = run.call.installation.logs();
    if !home.is_dir() {
        findings
            .problem("wazuh", format!("{} is not there: --home or WAZUH_HOME names another", home.display()));
        return;
    }
    let log = logs.join(common::wazuh::paths::ACTIVE_RESPONSES_LOG);
    match std::fs::symlink_metadata(&log) {
        Ok(metadata) if metadata.is_file() && metadata.nlink() == 1 => {
            findings.ok("record", format!("{} ({} bytes)", log.display(), metadata.len()));
        }
        Ok(_) => findings.problem("record", format!("{} is not a regular file with one link", log.display())),
        Err(_) if logs.is_dir() => findings.ok("record", format!("{} will be made", log.display())),
        Err(error) => findings.problem("record", format!("{}: {error}", log.display())),
    }
    let timeouts =
        wazuh.ar_conf.lines().filter(|line| line.contains(&format!(" - {} - ", run.call.program))).count();
    match wazuh.largest_timeout(&run.call.program) {
        None => findings.note(
            "timeout",
            format!(
                "ar.conf has no command that runs {}: blocks last {}",
                run.call.program,
                duration(Some(run.settings.ttl.as_secs()))
            ),
        ),
        Some(0) => findings.note(
            "timeout",
            format!(
                "ar.conf gives {} no timeout: blocks last {}",
                run.call.program,
                duration(Some(run.settings.ttl.as_secs()))
            ),
        ),
        Some(seconds) => {
            findings.ok("timeout", format!("blocks last {}, by ar.conf", duration(Some(seconds))));
            if timeouts > 1 {
                findings.note("timeout", format!("ar.conf has {timeouts} timeouts for {}: the largest counts, as a run is not told which one is its own", run.call.program));
            }
        }
    }
    if run.settings.hold {
        findings.note("hold", "every block stays until its own time is over, also when Wazuh stops");
    } else {
        let escalated =
            if run.settings.escalation.factors.is_empty() { "" } else { " but those of repeat offenders" };
        findings.note("stop", format!("when Wazuh stops or takes a new group configuration, it lifts all its blocks{escalated}; `hold = true` keeps them"));
    }
}

fn backends(run: &Run, findings: &mut Findings) {
    let backends = Backends::new(&run.settings, &run.state, run.deadline);
    let namespace =
        std::fs::read_link("/proc/self/ns/net").map(|link| link.display().to_string()).unwrap_or_default();
    let wanted = run.backends(&[]);
    let resolved = backends.resolve(&wanted);
    if wanted.contains(&Backend::Auto) {
        match backends.automatic() {
            Some(backend) => findings.ok("backend", format!("auto is {backend} here")),
            None => findings
                .problem("backend", "the kernel has neither nftables nor ipset, and there is no iptables"),
        }
    }
    for backend in resolved {
        match backend {
            Backend::Iptables
                if matches!(Iptables::new(&run.settings.iptables, run.deadline).is_live(), Ok(false)) =>
            {
                findings.problem("backend", format!("iptables: our chain is not the first in INPUT and FORWARD in {namespace}; `custom-block restore` mends it"));
            }
            Backend::Nftables => nftables(&backends, run, &namespace, findings),
            Backend::Ipset => ipset(run, &namespace, findings),
            Backend::Iptables | Backend::File => {
                match backends.open(backend).map(|firewall| firewall.map(|mut f| f.standing())) {
                    Ok(Some(Ok(standing))) => {
                        findings.ok("backend", format!("{backend}: {} stand in {namespace}", standing.len()))
                    }
                    Ok(None) => {}
                    Ok(Some(Err(fault))) | Err(fault) => {
                        findings.problem("backend", format!("{backend}: {fault}"))
                    }
                }
            }
            Backend::Api => {
                for api in &run.settings.api {
                    findings.ok("backend", format!("api {}", api.name));
                }
            }
            Backend::DryRun => findings.note("backend", "dry-run: nothing is blocked"),
            Backend::Auto => {}
        }
    }
    match outbox::pending(&run.state.path("outbox")) {
        Ok(items) if items.is_empty() => {}
        Ok(items) => findings.problem(
            "outbox",
            format!("{} changes wait for a firewall's API; `custom-block deliver` sends them", items.len()),
        ),
        Err(error) => findings.problem("outbox", error.to_string()),
    }
}

fn nftables(backends: &Backends<'_>, run: &Run, namespace: &str, findings: &mut Findings) {
    use crate::firewall::Firewall;
    let examined = Nftables::open(backends.shape(), run.deadline).and_then(|mut nft| {
        nft.probe()?;
        let standing = nft.standing()?.len();
        let whole = nft.is_whole()?;
        Ok((standing, whole))
    });
    match examined {
        Ok((0, false)) => findings.ok("backend", format!("nftables: nothing is blocked in {namespace}; the table comes with the first block")),
        Ok((standing, true)) => findings.ok("backend", format!("nftables: {standing} stand, and the chain is live, in {namespace}")),
        Ok((standing, false)) => findings.problem("backend", format!("nftables: {standing} stand in {namespace}, but rules are missing or changed; `custom-block restore` mends them")),
        Err(fault) => findings.problem("backend", format!("nftables: {fault}")),
    }
}

fn ipset(run: &Run, namespace: &str, findings: &mut Findings) {
    use crate::firewall::Firewall;
    let examined = Ipset::open(run.settings.max_blocks, run.deadline).and_then(|mut set| {
        let standing = set.standing()?;
        let idle = standing
            .iter()
            .try_fold(0, |idle, block| Ok::<_, Fault>(idle + usize::from(!set.is_live(block.target)?)))?;
        Ok((standing.len(), idle))
    });
    match examined {
        Ok((standing, 0)) => findings.ok("backend", format!("ipset: {standing} stand in {namespace}")),
        Ok((standing, idle)) => findings.problem("backend", format!("ipset: {idle} of {standing} are in a set that no rule looks up in {namespace}; `custom-block restore` mends it")),
        Err(fault) => findings.problem("backend", format!("ipset: {fault}")),
    }
}

fn protection(run: &Run, wazuh: &WazuhConf, findings: &mut Findings) {
    let mut faults = Vec::new();
    let allowlist = host::allowlist(&run.settings, &mut faults);
    match Names::refresh(&run.state, names::wanted(&wazuh.ossec.peers, &allowlist)) {
        Ok(unresolved) => {
            for name in unresolved {
                let known = Names::read(&run.state).of(&name).len();
                let manager = wazuh.ossec.peers.contains(&name);
                let instead = match (known, manager) {
                    (0, true) => {
                        "; until it can be, whoever this host is connected to at the manager's port is protected"
                    }
                    (0, false) => "; it is not protected",
                    _ => "; its former addresses are protected",
                };
                findings.problem("names", format!("{name} cannot be resolved{instead}"));
            }
        }
        Err(error) => findings.problem("names", format!("the resolved names cannot be kept: {error}")),
    }
    let protected =
        host::protected(&run.settings, wazuh, &run.state, Families::All, run.deadline, &mut faults);
    faults.sort_unstable();
    faults.dedup();
    for fault in faults {
        findings.problem("protected", fault);
    }
    for what in ["own IP", "default gateway", "DNS server", "Wazuh manager", "allowlist", "logged-in session"]
    {
        let all: Vec<String> =
            protected.iter().filter(|p| p.what == what).map(|p| p.target.to_string()).collect();
        if !all.is_empty() {
            let shown = all.iter().take(10).cloned().collect::<Vec<_>>().join(" ");
            let more = all.len().saturating_sub(10);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            findings.ok("protected", format!("{what}: {shown}{more}"));
        }
    }
    let listed = |client: Target| {
        allowlist.iter().any(|allowed| matches!(allowed, Allowed::Target(target) if target.contains(client)))
    };
    match host::ssh_client() {
        Some(client) if listed(client) => {
            findings.ok("ssh", format!("your own client {client} is in the allowlist"))
        }
        Some(client) => findings.problem(
            "ssh",
            format!("your own client {client} is not in the allowlist: an alert that names it locks you out"),
        ),
        None => findings.note("ssh", "this is no SSH session, so nothing is said of its client"),
    }
    if allowlist.is_empty() {
        findings.note("proxies", "the allowlist is empty. Where clients come through a reverse proxy, a load balancer or a CDN, alerts name the proxy, and blocking it is an outage: list them");
    }
}

fn state(run: &Run, findings: &mut Findings) {
    let (mut failures, mut unrecorded) = (Vec::new(), 0);
    let read = journal::read(&run.state, |change| match change.did.as_str() {
        "failed" => failures.push(change),
        "unrecorded" => unrecorded += 1,
        _ => {}
    });
    match read {
        Err(error) => findings.problem("journal", error.to_string()),
        Ok(()) => match std::fs::metadata(run.state.path("")) {
            Ok(folder) if folder.mode() & 0o077 != 0 => {
                findings.problem(
                    "state",
                    format!(
                        "{} is open to others (mode {:o})",
                        run.state.path("").display(),
                        folder.mode() & 0o777
                    ),
                );
            }
            Ok(_) => findings.ok("state", run.state.path("").display().to_string()),
            Err(_) => {
                findings.ok("state", format!("{} comes with the first block", run.state.path("").display()))
            }
        },
    }
    if unrecorded > 0 {
        findings.problem("record", format!("{unrecorded} runs could not be written to active-responses.log"));
    }
    for change in failures.iter().rev().take(SHOWN) {
        let target = change.entry.as_ref().map(|entry| entry.target.to_string()).unwrap_or_default();
        findings.note("failed", format!("{} {target}: {}", time(change.at), change.reason));
    }
}
