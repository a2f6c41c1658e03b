//! What the programs need of the host and the network.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use common::finding::Findings;
use common::wazuh::config::OssecConf;
use custom_block::config::Settings;

use crate::call::Call;
use crate::program::{Program, Role};
use crate::verbs::enable::locked_out;

use super::Host;
use super::wiring::is_enabled;

/// More than this and a clock is wrong.
const SKEW: Duration = Duration::from_secs(3600);
/// How long a name, and then a connection, is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Where systems keep the certificates of the authorities that they trust.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Examines them.
pub fn examine(host: &Host<'_>, findings: &mut Findings) {
    clock(host.call, findings);
    if host.wazuh.role == Role::Agent {
        managers(host, findings);
    }
    firewalls(host.call, findings);
    if let Some(trouble) = locked_out(host.call) {
        if is_enabled(host, Program::CustomBlock) {
            findings.problem("ssh", trouble);
        } else {
            findings.note("ssh", trouble);
        }
    }
}

/// A clock in the past would keep blocks for too long, and break every TLS.
pub fn clock(call: &Call, findings: &mut Findings) {
    let now = SystemTime::now();
    let files = [call.path_of(Program::CustomBlock), call.installation.ossec_conf(), call.state.join("lock")];
    let newer = files.iter().find(|path| {
        let written = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        written.is_ok_and(|written| written.duration_since(now).is_ok_and(|ahead| ahead > SKEW))
    });
    match newer {
        Some(path) => findings.problem("clock", format!("{} was written in the future: the clock is wrong (timedatectl), or that file's time is (touch)", path.display())),
        None => findings.ok("clock", "nothing was written in the future"),
    }
}

/// Whether the managers have addresses, and answer.
fn managers(host: &Host<'_>, findings: &mut Findings) {
    let conf = OssecConf::parse(&host.conf.text());
    let port = conf.ports.first().copied().unwrap_or(1514);
    for peer in conf.peers.iter().take(5) {
        let addresses = match resolve(peer, port) {
            Some(addresses) if !addresses.is_empty() => addresses,
            _ => {
                findings.problem(
                    "manager",
                    format!("{peer} has no address: does DNS work here (/etc/resolv.conf)?"),
                );
                continue;
            }
        };
        let answers =
            addresses.iter().take(3).any(|address| TcpStream::connect_timeout(address, PATIENCE).is_ok());
        if answers {
            findings.ok("manager", format!("{peer} answers at port {port}"));
        } else {
            findings.note("manager", format!("{peer} does not answer at port {port} (TCP): is it up, is the way free? (With UDP this says nothing.)"));
        }
    }
}

/// The resolver of the system has no deadline of its own.
fn resolve(name: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let name = name.to_owned();
    std::thread::spawn(move || {
        let _ = sender.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect));
    });
    receiver.recv_timeout(PATIENCE).ok()?.ok()
}

/// Firewalls that are told over HTTPS.
fn firewalls(call: &Call, findings: &mut Findings) {
    let path = call.places.config(custom_block::config::FILE);
    match Settings::load(&path) {
        Err(error) => findings.problem("custom-block", format!("its configuration is ignored: {error}")),
        Ok(settings) if !settings.api.is_empty() => {
            if AUTHORITIES.iter().any(|file| Path::new(file).exists()) {
                findings.ok("tls", "the system's certificate authorities are there");
            } else {
                findings.problem("tls", "no certificate authorities on this system: install ca-certificates, or name a ca_file for each [[api]]");
            }
        }
        Ok(_) => {}
    }
}
