//! What the kernel has: nftables, ipset and iptables, asked with their own
//! tools and never with the program under test.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::network::Namespace;

/// A block as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The set that it lies in.
    pub set: String,
    /// For how long it was put, in seconds; `None` is for ever.
    pub timeout: Option<u64>,
    /// After how many seconds the kernel removes it.
    pub expires: Option<u64>,
    /// Packets that it stopped, where they are counted.
    pub packets: Option<u64>,
    /// What was noted beside it.
    pub comment: String,
}

/// Blocks by target: `203.0.113.50`, `203.0.113.0/24`.
pub type Blocks = BTreeMap<String, Element>;

/// True when this tool is installed (also where only root's PATH has it).
#[must_use]
pub fn has(tool: &str) -> bool {
    let lookup = format!("PATH=$PATH:/usr/sbin:/sbin command -v {tool}");
    Command::new("sh").args(["-c", &lookup]).output().is_ok_and(|output| output.status.success())
}

/// All that the table `inet wazuh_block` blocks; nothing when it is not there.
/// What has less than a second to go is looked at again: a block that is lifted
/// lapses within milliseconds, and it would be chance whether it is seen. At
/// the very tick at which it lapses, `nft` has no `expires` for it at all.
///
/// # Panics
/// When `nft` prints what it should not.
#[must_use]
pub fn nftables(namespace: &Namespace) -> Blocks {
    let mut blocks = listed(namespace);
    for _ in 0..10 {
        if !blocks.values().any(|block| block.timeout.is_some() && block.expires.unwrap_or(0) == 0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        blocks = listed(namespace);
    }
    blocks
}

fn listed(namespace: &Namespace) -> Blocks {
    let output = namespace.try_command("nft", &["-j", "list", "table", "inet", "wazuh_block"]);
    let output = output.expect("nft is installed");
    if !output.status.success() {
        return Blocks::new();
    }
    let json: Value = serde_json::from_slice(&output.stdout).expect("nft prints JSON");
    let mut blocks = Blocks::new();
    for set in objects(&json, "set") {
        let name = set["name"].as_str().unwrap_or_default();
        for element in set["elem"].as_array().into_iter().flatten() {
            let inner = element.get("elem").unwrap_or(element);
            let value = inner.get("val").unwrap_or(inner);
            blocks.insert(
                target(name, value),
                Element {
                    set: name.to_owned(),
                    timeout: inner["timeout"].as_u64(),
                    expires: inner["expires"].as_u64(),
                    packets: inner["counter"]["packets"].as_u64(),
                    comment: inner["comment"].as_str().unwrap_or_default().to_owned(),
                },
            );
        }
    }
    blocks
}

/// A set of networks holds their first addresses; how long their prefix is,
/// its name tells.
fn target(set: &str, value: &Value) -> String {
    let address = match value {
        Value::String(address) => address.clone(),
        other => {
            let prefix = &other["prefix"];
            format!("{}/{}", prefix["addr"].as_str().unwrap_or("?"), prefix["len"])
        }
    };
    match set.strip_prefix("networks").and_then(|rest| rest.split_once('_')) {
        Some((_, prefix)) => format!("{address}/{prefix}"),
        None => address,
    }
}

fn objects<'a>(json: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    json["nftables"].as_array().into_iter().flatten().filter_map(move |object| object.get(kind))
}

/// The rules of the table `inet wazuh_block`, as `nft` prints them, chain by chain.
///
/// # Panics
/// When `nft` is not installed.
#[must_use]
pub fn nftables_rules(namespace: &Namespace) -> BTreeMap<String, Vec<String>> {
    let output = namespace.try_command("nft", &["list", "table", "inet", "wazuh_block"]);
    let output = output.expect("nft is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut chains = BTreeMap::<String, Vec<String>>::new();
    let mut chain = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("chain ") {
            chain = Some(name.trim_end_matches(" {").to_owned());
        } else if line == "}" {
            chain = None;
        } else if let Some(chain) = &chain
            && !line.starts_with("type ")
        {
            chains.entry(chain.clone()).or_default().push(line.to_owned());
        }
    }
    chains
}

/// All that the sets `wazuh_block4` and `wazuh_block6` hold.
///
/// # Panics
/// When `ipset` is not installed.
#[must_use]
pub fn ipset(namespace: &Namespace) -> Blocks {
    let output = namespace.try_command("ipset", &["save"]).expect("ipset is installed");
    let mut blocks = Blocks::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.split(' ');
        let (Some("add"), Some(set), Some(target)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if !set.starts_with("wazuh_block") {
            continue;
        }
        let rest: Vec<&str> = words.collect();
        let number = |name| {
            let at = rest.iter().position(|&word| word == name)?;
            rest.get(at + 1)?.parse::<u64>().ok()
        };
        // 0 is for ever, and what is left is all that it tells.
        let left = number("timeout").filter(|&seconds| seconds > 0);
        let comment = line.split_once(" comment \"").map_or("", |(_, comment)| comment.trim_end_matches('"'));
        blocks.insert(
            target.to_owned(),
            Element {
                set: set.to_owned(),
                timeout: left,
                expires: left,
                packets: number("packets"),
                comment: comment.to_owned(),
            },
        );
    }
    blocks
}

/// The rules of a table of iptables (`ipv6` for that of ip6tables), as `-S`
/// prints them.
///
/// # Panics
/// When iptables is not installed.
#[must_use]
pub fn iptables(namespace: &Namespace, ipv6: bool, table: &str) -> Vec<String> {
    let program = if ipv6 { "ip6tables" } else { "iptables" };
    let output = namespace.try_command(program, &["-w", "-t", table, "-S"]).expect("iptables is installed");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The sources that the chain `WAZUH_BLOCK` of the filter table drops.
#[must_use]
pub fn iptables_sources(namespace: &Namespace, ipv6: bool) -> Vec<String> {
    let host = if ipv6 { "/128" } else { "/32" };
    iptables(namespace, ipv6, "filter")
        .iter()
        .filter(|rule| rule.starts_with("-A WAZUH_BLOCK "))
        .filter_map(|rule| rule.split(' ').skip_while(|&word| word != "-s").nth(1))
        .map(|source| source.trim_end_matches(host).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{network, require};

    #[test]
    fn what_nft_has_is_read() {
        if !require(network::available() && has("nft"), "root and nft") {
            return;
        }
        let namespace = Namespace::new();
        assert!(nftables(&namespace).is_empty());
        namespace.command(
            "nft",
            &["add table inet wazuh_block
            add chain inet wazuh_block incoming { type filter hook prerouting priority raw; }
            add set inet wazuh_block hosts4 { type ipv4_addr; flags timeout; counter; }
            add set inet wazuh_block networks6_64 { type ipv6_addr; flags timeout; }
            add rule inet wazuh_block incoming ip saddr @hosts4 drop
            add element inet wazuh_block hosts4 { 192.0.2.1 timeout 100s comment \"why\", 192.0.2.2 }
            add element inet wazuh_block networks6_64 { 2001:db8:: timeout 50s }"],
        );
        let blocks = nftables(&namespace);
        assert_eq!(blocks.keys().collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2", "2001:db8::/64"]);
        let first = &blocks["192.0.2.1"];
        assert_eq!((first.timeout, first.comment.as_str(), first.packets), (Some(100), "why", Some(0)));
        assert!(first.expires.is_some_and(|left| (95..=100).contains(&left)));
        assert_eq!(blocks["192.0.2.2"].timeout, None);
        assert_eq!(blocks["2001:db8::/64"].timeout, Some(50));
        assert_eq!(nftables_rules(&namespace)["incoming"], ["ip saddr @hosts4 drop"]);
    }

    #[test]
    fn what_ipset_and_iptables_have_is_read() {
        if !require(network::available() && has("ipset") && has("iptables"), "root, ipset and iptables") {
            return;
        }
        let namespace = Namespace::new();
        assert!(ipset(&namespace).is_empty());
        let create = ["create", "wazuh_block4", "hash:net", "timeout", "0", "counters", "comment"];
        namespace.command("ipset", &create);
        namespace
            .command("ipset", &["add", "wazuh_block4", "192.0.2.0/24", "timeout", "90", "comment", "a b"]);
        namespace.command("ipset", &["add", "wazuh_block4", "198.51.100.1"]);
        let blocks = ipset(&namespace);
        assert!(blocks["192.0.2.0/24"].expires.is_some_and(|left| (85..=90).contains(&left)));
        assert_eq!(blocks["192.0.2.0/24"].comment, "a b");
        assert_eq!(blocks["198.51.100.1"].expires, None);
        namespace.command("iptables", &["-w", "-N", "WAZUH_BLOCK"]);
        namespace.command("iptables", &["-w", "-A", "WAZUH_BLOCK", "-s", "192.0.2.7", "-j", "DROP"]);
        assert_eq!(iptables_sources(&namespace, false), ["192.0.2.7"]);
        assert!(iptables_sources(&namespace, true).is_empty());
    }
}
