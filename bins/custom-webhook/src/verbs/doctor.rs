//! `doctor`: everything that could keep events from coming.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::finding::Findings;
use common::text::glance;
use common::wazuh::config::LocalFile;
use nix::sys::statvfs::statvfs;

use crate::call::Call;
use crate::config::{Settings, Tls};
use crate::source::NoCertificates;
use crate::tls;

use super::user::{HAND_OVER, as_daemon};
use super::{DONE, FAILED, say, say_json};

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Silence that is worth a word.
const LONG: Duration = Duration::from_secs(7 * 24 * 3600);
const MEGABYTE: u64 = 1024 * 1024;

/// Examines this host; the exit code.
#[must_use]
pub fn doctor(call: &Call, json: bool) -> u8 {
    let mut findings = Findings::default();
    match as_daemon(call, HAND_OVER, || Settings::load(&call.config)) {
        Err(error) => findings.problem("configuration", error),
        Ok(settings) => {
            findings.ok("configuration", call.config.display().to_string());
            sources(call, &settings, &mut findings);
            files(call, &settings, &mut findings);
            daemon(&settings, &mut findings);
            wazuh(call, &settings, &mut findings);
        }
    }
    if json {
        say_json(&findings.json());
    } else {
        findings.lines().for_each(|line| say(&line));
    }
    if findings.found() { FAILED } else { DONE }
}

fn sources(call: &Call, settings: &Settings, findings: &mut Findings) {
    match as_daemon(call, HAND_OVER, || settings.sources(&call.config, Arc::new(NoCertificates))) {
        Ok(sources) => {
            for source in sources {
                findings.ok("source", format!("{} at {}", source.name(), source.paths().join(", ")));
                source.doubts().into_iter().for_each(|doubt| findings.note("source", doubt));
            }
        }
        Err(error) => findings.problem("source", error),
    }
    match &settings.tls {
        Some(files) => certificate(call, files, findings),
        None if settings.listen.ip().is_loopback() => {
            findings.note("tls", "none: only this host can send, or a proxy on it that has TLS");
        }
        None => {
            findings.note("tls", "plain HTTP beyond this host: tokens and events are readable on the way")
        }
    }
    if settings.trusted_proxies.is_empty() && settings.listen.ip().is_loopback() {
        findings.note(
            "proxies",
            "no trusted_proxies: behind a proxy every client is 127.0.0.1, and shares one limit",
        );
    }
}

fn certificate(call: &Call, files: &Tls, findings: &mut Findings) {
    match as_daemon(call, HAND_OVER, || tls::read(files, SystemTime::now())) {
        Ok(identity) => {
            if identity.flaws.is_empty() {
                findings.ok("tls", files.certificate.to_string());
            }
            for flaw in identity.flaws {
                if flaw.refused {
                    findings.problem("tls", flaw.text)
                } else {
                    findings.note("tls", flaw.text)
                }
            }
        }
        Err(error) => findings.problem("tls", error),
    }
}

fn files(call: &Call, settings: &Settings, findings: &mut Findings) {
    let path = &settings.output;
    // Also the folders above let it through.
    let folder = path.parent().unwrap_or(Path::new("/"));
    match as_daemon(call, "chmod o+x the folders above", || std::fs::metadata(folder)) {
        Ok(folder) if !folder.is_dir() => {
            findings.problem("output", format!("{}: its folder is none", path.display()));
        }
        Ok(folder) if folder.permissions().mode() & 0o002 != 0 => {
            findings.problem(
                "output",
                format!("{}: everybody may write in its folder: chmod o-w", path.display()),
            );
        }
        Ok(_) => match std::fs::symlink_metadata(path) {
            Ok(file) if !file.is_file() || file.nlink() != 1 => {
                findings.problem(
                    "output",
                    format!("{} is no regular file with one name: move it away", path.display()),
                );
            }
            Ok(file) => findings.ok("output", format!("{}, {} bytes", path.display(), file.len())),
            Err(_) => findings.ok("output", format!("{} comes with the first event", path.display())),
        },
        Err(error) if folder.exists() => {
            findings.problem("output", format!("{}: {error}", folder.display()));
        }
        Err(_) => findings.problem(
            "output",
            format!(
                "the folder of {} is not there: systemd makes it when the daemon starts, else you",
                path.display()
            ),
        ),
    }
    let state = if call.state.exists() { call.state.as_path() } else { Path::new("/var/lib") };
    if let Ok(room) = statvfs(state) {
        let free = room.blocks_available().saturating_mul(room.fragment_size());
        let text = format!(
            "{} MB are free for {} MB that may wait in {}",
            free / MEGABYTE,
            settings.spool_megabytes,
            call.state.display()
        );
        if free < settings.spool_limit() / 4 {
            findings.problem("spool", text)
        } else {
            findings.ok("spool", text)
        }
    }
}

/// Whether it runs, and takes something.
fn daemon(settings: &Settings, findings: &mut Findings) {
    if TcpStream::connect_timeout(&settings.listen, PATIENCE).is_err() {
        findings.problem(
            "daemon",
            format!(
                "nobody listens at {}: systemctl start custom-webhook, then journalctl -u custom-webhook",
                settings.listen
            ),
        );
        return;
    }
    let Some(address) = settings.metrics_listen else {
        findings.note("daemon", "it listens; without metrics_listen it cannot say whether it is ready");
        return;
    };
    match ready(address) {
        Some((200, _)) => findings.ok("daemon", format!("it listens at {} and is ready", settings.listen)),
        Some((_, text)) => findings.problem("daemon", format!("it takes nothing: {}", text.trim())),
        None => findings.problem("daemon", format!("http://{address}/readyz does not answer")),
    }
}

fn ready(address: std::net::SocketAddr) -> Option<(u16, String)> {
    // No client is made without, though nothing is encrypted here; no authority
    // is needed for it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder().timeout(PATIENCE).no_proxy().tls_certs_only([]);
    let client = client.build().ok()?;
    let answer = client.get(format!("http://{address}/readyz")).send().ok()?;
    let status = answer.status().as_u16();
    let mut text = String::new();
    let _ = answer.take(1024).read_to_string(&mut text);
    Some((status, text))
}

/// Whether Wazuh follows the file.
fn wazuh(call: &Call, settings: &Settings, findings: &mut Findings) {
    let path = &settings.output;
    let follows = |conf: &Path| {
        let text = glance(conf).unwrap_or_default();
        LocalFile::parse(&text).into_iter().find(|file| Path::new(&file.location) == path)
    };
    let found = follows(&call.installation.ossec_conf()).or_else(|| follows(&call.installation.agent_conf()));
    match found {
        Some(file) if file.log_format == "json" => findings.ok("wazuh", "it follows the output"),
        Some(file) => findings.problem(
            "wazuh",
            format!("it follows the output as {:?}: the log_format must be json", file.log_format),
        ),
        None => findings.problem(
            "wazuh",
            format!(
                "no <localfile> of {} or of agent.conf follows {}: `wazuh-toolkit enable custom-webhook`",
                call.installation.ossec_conf().display(),
                path.display()
            ),
        ),
    }
    let written = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let silent = written.ok().and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
    if silent > LONG {
        let days = silent.as_secs() / 86_400;
        findings.note("output", format!("nothing was written for {days} days: do the senders still send?"));
    }
}
