//! An address or a network, parsed once at the door.
//!
//! Behind it nobody asks again whether a text is an address, whether host bits
//! are set or whether an IPv4 address came dressed as IPv6: two spellings of
//! one address are one [`Target`], and its text is the key that Wazuh files
//! the block under.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest text that can be an address with a prefix length
/// (`ffff:…:255.255.255.255/128`); longer ones are refused unread.
const LONGEST_TEXT: usize = 64;

/// One address, or one network with its host bits cleared.
///
/// IPv4-mapped IPv6 addresses and networks are IPv4; a network of one address
/// is that address. So equal targets have equal texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target(IpNet);

/// Why a text is not a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address or network")]
pub struct NotAnAddress;

impl Target {
    /// The target that is this one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Target {
        Target(IpNet::from(address.to_canonical()))
    }

    /// The target that is this network, host bits cleared.
    #[must_use]
    pub fn network(network: IpNet) -> Target {
        if let IpNet::V6(six) = network
            && six.prefix_len() >= 96
            && let Some(four) = six.network().to_ipv4_mapped()
            && let Ok(net) = Ipv4Net::new(four, six.prefix_len() - 96)
        {
            return Target(IpNet::V4(net.trunc()));
        }
        Target(network.trunc())
    }

    /// The first (or only) address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0.addr()
    }

    /// The last (or only) address.
    #[must_use]
    pub fn last_address(self) -> IpAddr {
        self.0.broadcast()
    }

    /// The number of leading bits that all of its addresses share.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }

    /// As a network, also when it is one address.
    #[must_use]
    pub fn as_network(self) -> IpNet {
        self.0
    }

    /// True of one single address.
    #[must_use]
    pub fn is_host(self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }

    /// True of IPv6.
    #[must_use]
    pub fn is_ipv6(self) -> bool {
        matches!(self.0, IpNet::V6(_))
    }

    /// True when the two share at least one address: one equals, contains or
    /// lies in the other.
    #[must_use]
    pub fn overlaps(self, other: Target) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// True when every address of `other` is one of ours.
    #[must_use]
    pub fn contains(self, other: Target) -> bool {
        match (self.0, other.0) {
            (IpNet::V4(ours), IpNet::V4(theirs)) => ours.contains(&theirs),
            (IpNet::V6(ours), IpNet::V6(theirs)) => ours.contains(&theirs),
            _ => false,
        }
    }

    /// The network of `prefix` bits that this target lies in; itself when it
    /// is already that wide or wider.
    #[must_use]
    pub fn widened(self, prefix: u8) -> Target {
        if self.prefix_len() <= prefix {
            return self;
        }
        Target(match self.0 {
            IpNet::V4(net) => Ipv4Net::new(net.addr(), prefix).map_or(self.0, |n| IpNet::V4(n.trunc())),
            IpNet::V6(net) => Ipv6Net::new(net.addr(), prefix).map_or(self.0, |n| IpNet::V6(n.trunc())),
        })
    }

    /// What kind of place its addresses are, as far as anybody may reach them.
    #[must_use]
    pub fn scope(self) -> Scope {
        SPECIAL.iter().find(|(network, _)| network.overlaps(self)).map_or(Scope::Public, |&(_, scope)| scope)
    }
}

/// A kind of place in the address space (RFC 6890 and its registries).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `0.0.0.0/8`, `::`.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`, `fc00::/7`.
    Private,
    /// `100.64.0.0/10`: between a provider and its customers.
    CarrierGrade,
    /// `192.0.2.0/24`, `198.51.100.0/24`, `203.0.113.0/24`, `2001:db8::/32`, `3fff::/20`.
    Documentation,
    /// Everything else.
    Public,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Unspecified => "unspecified",
            Scope::Loopback => "loopback",
            Scope::LinkLocal => "link-local",
            Scope::Multicast => "multicast",
            Scope::Broadcast => "broadcast",
            Scope::Private => "private",
            Scope::CarrierGrade => "carrier-grade",
            Scope::Documentation => "documentation",
            Scope::Public => "public",
        })
    }
}

const fn four(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Target {
    Target(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)))
}

const fn six(first: u16, last: u16, prefix: u8) -> Target {
    Target(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last), prefix)))
}

/// Those that nobody outside can be reached at come first: a network that
/// touches several kinds is the first of them.
const SPECIAL: [(Target, Scope); 19] = [
    (four(0, 0, 0, 0, 8), Scope::Unspecified),
    (four(127, 0, 0, 0, 8), Scope::Loopback),
    (four(169, 254, 0, 0, 16), Scope::LinkLocal),
    (four(224, 0, 0, 0, 4), Scope::Multicast),
    (four(255, 255, 255, 255, 32), Scope::Broadcast),
    (six(0, 0, 128), Scope::Unspecified),
    (six(0, 1, 128), Scope::Loopback),
    (six(0xfe80, 0, 10), Scope::LinkLocal),
    (six(0xff00, 0, 8), Scope::Multicast),
    (four(10, 0, 0, 0, 8), Scope::Private),
    (four(172, 16, 0, 0, 12), Scope::Private),
    (four(192, 168, 0, 0, 16), Scope::Private),
    (six(0xfc00, 0, 7), Scope::Private),
    (four(100, 64, 0, 0, 10), Scope::CarrierGrade),
    (four(192, 0, 2, 0, 24), Scope::Documentation),
    (four(198, 51, 100, 0, 24), Scope::Documentation),
    (four(203, 0, 113, 0, 24), Scope::Documentation),
    (DOCUMENTATION6, Scope::Documentation),
    (six(0x3fff, 0, 20), Scope::Documentation),
];

const DOCUMENTATION6: Target =
    Target(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32)));

impl FromStr for Target {
    type Err = NotAnAddress;

    /// Takes `192.0.2.7`, `2001:db8::1`, `::ffff:192.0.2.7` and networks of
    /// each. Refuses zone ids (`fe80::1%eth0`), names, ports, blanks.
    fn from_str(text: &str) -> Result<Target, NotAnAddress> {
        if text.len() > LONGEST_TEXT {
            return Err(NotAnAddress);
        }
        if text.contains('/') {
            let network: IpNet = text.parse().map_err(|_| NotAnAddress)?;
            Ok(Target::network(network))
        } else {
            let address: IpAddr = text.parse().map_err(|_| NotAnAddress)?;
            Ok(Target::host(address))
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Target, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| serde::de::Error::custom(format_args!("{text:?} is not an IP address or network")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_has_one_text() {
        for (spelled, canonical) in [
            ("203.0.113.50", "203.0.113.50"),
            ("203.0.113.50/32", "203.0.113.50"),
            ("::ffff:203.0.113.50", "203.0.113.50"),
            ("::ffff:cb00:7132", "203.0.113.50"),
            ("::ffff:203.0.113.50/128", "203.0.113.50"),
            ("::ffff:203.0.113.50/120", "203.0.113.0/24"),
            ("203.0.113.50/24", "203.0.113.0/24"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
        ] {
            assert_eq!(spelled.parse::<Target>().expect(spelled).to_string(), canonical, "{spelled}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            " ",
            "1.2.3",
            "1.2.3.4 ",
            " 1.2.3.4",
            "1.2.3.4; rm -rf /",
            "fe80::1%eth0",
            "1.2.3.4:22",
            "[::1]",
            "localhost",
            "1.2.3.4/33",
            "::1/129",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "01.2.3.4",
            "0x1.2.3.4",
            "1.2.3.256",
            "١.2.3.4",
            "1.2.3.4\0",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
        assert!("1".repeat(100_000).parse::<Target>().is_err());
    }

    #[test]
    fn overlap_is_equality_or_containment_in_either_direction() {
        let overlaps = |a: &str, b: &str| a.parse::<Target>().unwrap().overlaps(b.parse().unwrap());
        assert!(overlaps("192.0.2.1", "192.0.2.1"));
        assert!(overlaps("192.0.2.0/24", "192.0.2.1"));
        assert!(overlaps("192.0.2.1", "192.0.2.0/24"));
        assert!(!overlaps("192.0.3.0/24", "192.0.2.1"));
        assert!(!overlaps("0.0.0.0/0", "::1"));
    }

    #[test]
    fn a_network_has_the_scope_of_any_special_address_inside() {
        let scope = |text: &str| text.parse::<Target>().unwrap().scope();
        assert_eq!(scope("0.0.0.0"), Scope::Unspecified);
        assert_eq!(scope("126.0.0.0/7"), Scope::Loopback);
        assert_eq!(scope("::ffff:127.0.0.1"), Scope::Loopback);
        assert_eq!(scope("169.254.169.254"), Scope::LinkLocal);
        assert_eq!(scope("239.1.1.1"), Scope::Multicast);
        assert_eq!(scope("255.255.255.255"), Scope::Broadcast);
        assert_eq!(scope("fe80::1"), Scope::LinkLocal);
        assert_eq!(scope("ff02::1"), Scope::Multicast);
        assert_eq!(scope("10.0.0.1"), Scope::Private);
        assert_eq!(scope("172.31.255.255"), Scope::Private);
        assert_eq!(scope("172.32.0.0"), Scope::Public);
        assert_eq!(scope("fd00::1"), Scope::Private);
        assert_eq!(scope("100.100.0.1"), Scope::CarrierGrade);
        assert_eq!(scope("2001:db8::1"), Scope::Documentation);
        assert_eq!(scope("2606:4700::1111"), Scope::Public);
        assert_eq!(scope("9.9.9.9"), Scope::Public);
        assert_eq!(scope("8.0.0.0/6"), Scope::Private);
    }

    #[test]
    fn widening_never_narrows() {
        let host: Target = "2001:db8::1".parse().unwrap();
        assert_eq!(host.widened(64).to_string(), "2001:db8::/64");
        let wide: Target = "2001:db8::/48".parse().unwrap();
        assert_eq!(wide.widened(64), wide);
    }
}
