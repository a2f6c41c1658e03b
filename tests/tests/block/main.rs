//! custom-block from end to end: handed lines as execd hands them, in network
//! namespaces of its own; what came of it is asked of the kernel and of real
//! packets, never of the program alone.
//!
//! One binary, so that the harness is linked once.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

mod api;
mod backends;
mod bad_input;
mod extras;
mod heal;
mod kill;
mod memory;
mod overlap;
mod owners;
mod packets;
mod record;
mod refusals;
mod time;
mod verbs;

use std::net::IpAddr;

use harness::execd::Execd;
use harness::kernel::{self, Blocks};
use harness::network::{self, BYSTANDER, BYSTANDER6, Namespace, Site};
use harness::program;
use harness::traffic::{self, Conversation, Echo, PATIENCE};
use harness::wazuh::Wazuh;

/// True when a test can run that needs network namespaces and these tools.
fn ready(tools: &[&str]) -> bool {
    harness::require(network::available(), "root, for network namespaces")
        && tools.iter().all(|tool| harness::require(kernel::has(tool), tool))
}

/// An installation on a host of its own, without any cable.
struct Host {
    wazuh: Wazuh,
    namespace: Namespace,
}

impl Host {
    fn new() -> Option<Host> {
        ready(&["nft"])
            .then(|| Host { wazuh: Wazuh::new(program::custom_block()), namespace: Namespace::new() })
    }

    fn execd(&self) -> Execd<'_> {
        self.wazuh.execd(&self.namespace)
    }

    fn blocks(&self) -> Blocks {
        kernel::nftables(&self.namespace)
    }

    /// What is blocked, in the order of text.
    fn targets(&self) -> Vec<String> {
        self.blocks().into_keys().collect()
    }

    /// What `list --json` says is blocked.
    fn listed(&self) -> Vec<String> {
        listed(&self.wazuh, &self.namespace)
    }
}

fn listed(wazuh: &Wazuh, namespace: &Namespace) -> Vec<String> {
    let output = wazuh.verb(namespace, &["list", "--json"]);
    assert!(output.status.success(), "list: {}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("list --json prints JSON");
    let blocks = json.as_array().expect("an array");
    let mut targets: Vec<String> = blocks
        .iter()
        .map(|block| block["target"].as_str().expect("each block has a target").to_owned())
        .collect();
    targets.sort();
    targets
}

/// An attacker, a service, and an installation on the host between or at it.
struct Scene {
    wazuh: Wazuh,
    site: Site,
    echo: Echo,
}

impl Scene {
    fn direct() -> Option<Scene> {
        ready(&["nft", "ip"]).then(|| Scene::at(Site::direct()))
    }

    fn routed() -> Option<Scene> {
        ready(&["nft", "ip"]).then(|| Scene::at(Site::routed()))
    }

    fn at(site: Site) -> Scene {
        let echo = Echo::start(&site.server);
        let scene = Scene { wazuh: Wazuh::new(program::custom_block()), site, echo };
        // From here on the cable works.
        for from in [BYSTANDER, BYSTANDER6] {
            drop(scene.open(from));
        }
        scene
    }

    fn execd(&self) -> Execd<'_> {
        self.wazuh.execd(self.site.guard())
    }

    fn blocks(&self) -> Blocks {
        kernel::nftables(self.site.guard())
    }

    fn open(&self, from: IpAddr) -> Conversation {
        let to = self.site.service(from, self.echo.port());
        // Where much else goes on, the neighbours of a new cable may not have
        // found each other yet.
        let mut opened = None;
        harness::eventually(PATIENCE, || {
            opened = Some(Conversation::open(&self.site.attacker, from, to, PATIENCE));
            matches!(opened, Some(Ok(_)))
        });
        let mut conversation = opened.expect("it was tried").expect("a service that answers");
        conversation.exchange(PATIENCE).expect("a service that echoes");
        conversation
    }

    fn connects(&self, from: IpAddr) -> bool {
        traffic::connects(&self.site.attacker, from, self.site.service(from, self.echo.port()))
    }

    fn is_refused(&self, from: IpAddr) -> bool {
        traffic::is_refused(&self.site.attacker, from, self.site.service(from, self.echo.port()))
    }

    fn datagram_returns(&self, from: IpAddr) -> bool {
        traffic::datagram_returns(&self.site.attacker, from, self.site.service(from, self.echo.port()))
    }
}
