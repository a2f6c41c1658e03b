//! The allowlist: what an administrator expects and needs no event for.

use std::net::IpAddr;
use std::path::Path;

use common::address::Target;
use serde::{Deserialize, Deserializer};

use crate::socket::Direction;

/// One entry; everything that it gives must be so.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// The executable's path.
    pub exe: Option<String>,
    /// The executable's content.
    #[serde(deserialize_with = "sha256")]
    pub sha256: Option<[u8; 32]>,
    /// Where the other end is.
    pub remotes: Vec<Target>,
    /// The port of the service: of the other end of an outbound connection,
    /// of our end of every other.
    pub ports: Vec<Ports>,
    /// The systemd unit.
    pub units: Vec<String>,
    /// Where the connection came from.
    #[serde(deserialize_with = "direction")]
    pub direction: Option<Direction>,
    /// Take also what is suspicious by itself.
    pub even_suspicious: bool,
    /// Take also what runs in a container, where a path may be anything.
    pub containers: bool,
}

/// A port, or several from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
}

/// What is known of a finding, as far as an entry may ask.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The executable's path; empty when it has none.
    pub exe: &'a str,
    /// Its content, when it is known.
    pub sha256: Option<[u8; 32]>,
    /// The other end, when there is one.
    pub remote: Option<IpAddr>,
    /// The port of the service; `None` of raw and packet sockets.
    pub port: Option<u16>,
    /// The unit of the host's systemd; empty without one.
    pub unit: &'a str,
    /// Where the connection came from; `None` of raw and packet sockets.
    pub direction: Option<Direction>,
    /// True in a container.
    pub in_container: bool,
    /// True of what is suspicious by itself: a socket as standard input or
    /// output, one made by another user, an executable that is gone, that
    /// never was a file, or that lies where anybody may write.
    pub suspicious: bool,
}

impl Allow {
    /// What no type can say.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.exe.is_none() && self.remotes.is_empty() && self.ports.is_empty() && self.units.is_empty() {
            return Err("an entry needs at least one of exe, remotes, ports and units");
        }
        if self.units.iter().any(String::is_empty) {
            return Err("a unit must have a name");
        }
        if self.exe.as_ref().is_some_and(|exe| !Path::new(exe).is_absolute()) {
            return Err("exe must be an absolute path");
        }
        if self.sha256.is_some() && self.exe.is_none() {
            return Err("sha256 needs exe");
        }
        Ok(())
    }

    /// True when nothing needs to be said of this.
    #[must_use]
    pub fn takes(&self, facts: &Facts<'_>) -> bool {
        let any = |empty: bool, found: bool| empty || found;
        (self.even_suspicious || !facts.suspicious)
            && (self.containers || !facts.in_container || self.exe.is_none() && self.units.is_empty())
            && self.exe.as_ref().is_none_or(|exe| exe == facts.exe)
            && self.sha256.is_none_or(|sha256| facts.sha256 == Some(sha256))
            && any(
                self.remotes.is_empty(),
                facts.remote.is_some_and(|remote| {
                    self.remotes.iter().any(|network| network.contains(Target::host(remote)))
                }),
            )
            && any(
                self.ports.is_empty(),
                facts.port.is_some_and(|port| {
                    self.ports.iter().any(|ports| (ports.first..=ports.last).contains(&port))
                }),
            )
            && any(self.units.is_empty(), self.units.iter().any(|unit| unit == facts.unit))
            && self.direction.is_none_or(|direction| facts.direction == Some(direction))
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ports, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a port such as 443 or several such as \"8000-8100\"")]
        enum Written {
            One(u16),
            Several(String),
        }
        match Written::deserialize(deserializer)? {
            Written::One(port) => Ok(Ports { first: port, last: port }),
            Written::Several(text) => {
                let (first, last) = text.split_once('-').unwrap_or((&text, &text));
                let ports = first.trim().parse().and_then(|first| Ok((first, last.trim().parse()?)));
                match ports {
                    Ok((first, last)) if first <= last => Ok(Ports { first, last }),
                    _ => Err(serde::de::Error::custom(format!("{text:?} is neither a port nor several"))),
                }
            }
        }
    }
}

fn direction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Direction>, D::Error> {
    let text = String::deserialize(deserializer)?;
    [Direction::Inbound, Direction::Outbound, Direction::Listen]
        .into_iter()
        .find(|direction| direction.name() == text)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is none of inbound, outbound, listen")))
}

fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 32]>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut bytes = [0; 32];
    let digits = text.as_bytes();
    let good = digits.len() == 64
        && bytes.iter_mut().zip(digits.chunks(2)).all(|(byte, pair)| {
            std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).is_some_and(
                |value| {
                    *byte = value;
                    true
                },
            )
        });
    if good { Ok(Some(bytes)) } else { Err(serde::de::Error::custom("sha256 must be 64 hexadecimal digits")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(text: &str) -> Allow {
        let allow: Allow = toml(text);
        allow.check().unwrap();
        allow
    }

    fn toml<T: serde::de::DeserializeOwned>(text: &str) -> T {
        common::config::parse(Path::new("x"), text).unwrap()
    }

    fn facts() -> Facts<'static> {
        Facts {
            exe: "/usr/sbin/sshd",
            sha256: Some([0xab; 32]),
            remote: Some("10.1.2.3".parse().unwrap()),
            port: Some(22),
            unit: "ssh.service",
            direction: Some(Direction::Inbound),
            in_container: false,
            suspicious: false,
        }
    }

    #[test]
    fn everything_that_an_entry_gives_must_be_so() {
        let hash = format!("exe = \"/usr/sbin/sshd\"\nsha256 = \"{}\"\n", "ab".repeat(32));
        let other = hash.replace("ab", "cd");
        for (text, taken) in [
            ("exe = \"/usr/sbin/sshd\"\n", true),
            ("exe = \"/usr/sbin/ssh\"\n", false),
            (hash.as_str(), true),
            (other.as_str(), false),
            ("remotes = [\"10.0.0.0/8\", \"fd00::/8\"]\n", true),
            ("remotes = [\"192.168.0.0/16\"]\n", false),
            ("ports = [80, \"20-30\"]\n", true),
            ("ports = [80, \"23-30\"]\n", false),
            ("units = [\"cron.service\", \"ssh.service\"]\n", true),
            ("units = [\"ssh\"]\n", false),
            ("ports = [22]\ndirection = \"inbound\"\n", true),
            ("ports = [22]\ndirection = \"outbound\"\n", false),
            ("exe = \"/usr/sbin/sshd\"\nremotes = [\"10.0.0.0/8\"]\nports = [443]\n", false),
        ] {
            assert_eq!(allow(text).takes(&facts()), taken, "{text}");
        }
    }

    #[test]
    fn the_suspicious_and_the_contained_must_be_asked_for() {
        let plain = allow("exe = \"/usr/sbin/sshd\"\n");
        let odd = Facts { suspicious: true, ..facts() };
        assert!(!plain.takes(&odd));
        assert!(allow("exe = \"/usr/sbin/sshd\"\neven_suspicious = true\n").takes(&odd));
        let contained = Facts { in_container: true, ..facts() };
        assert!(!plain.takes(&contained));
        assert!(allow("exe = \"/usr/sbin/sshd\"\ncontainers = true\n").takes(&contained));
        assert!(allow("remotes = [\"10.0.0.0/8\"]\n").takes(&contained));
        assert!(!allow("units = [\"ssh.service\"]\n").takes(&contained), "a unit of its own");
        let unhashed = Facts { sha256: None, ..facts() };
        let pinned = format!("exe = \"/usr/sbin/sshd\"\nsha256 = \"{}\"\n", "ab".repeat(32));
        assert!(!allow(&pinned).takes(&unhashed));
        let raw = Facts { port: None, ..facts() };
        assert!(!allow("ports = [\"0-65535\"]\n").takes(&raw), "a raw socket has no port");
        let alone = Facts { remote: None, ..facts() };
        assert!(!allow("remotes = [\"0.0.0.0/0\"]\n").takes(&alone));
    }

    #[test]
    fn an_entry_must_say_something() {
        for text in [
            "",
            "direction = \"inbound\"\n",
            "exe = \"sshd\"\n",
            "even_suspicious = true\n",
            "units = [\"\"]\n",
        ] {
            assert!(toml::<Allow>(text).check().is_err(), "{text}");
        }
    }
}
