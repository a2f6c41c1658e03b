//! Who an event is about: addresses and accounts, as others write them.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use ipnet::IpNet;

/// The longest name of an account, in bytes.
const LONGEST_ACCOUNT: usize = 64;
/// Of a list of addresses, no more are looked at.
const MOST: usize = 32;

/// True of an address in one of the networks.
pub(crate) fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The last address of a list that is no trusted proxy's. What stands before it
/// is what somebody claimed.
pub(super) fn last_untrusted(list: &str, proxies: &[IpNet]) -> Option<IpAddr> {
    for address in from_end(list.as_bytes()).take(MOST) {
        // What is no address could be anybody.
        let address = address?;
        if !is_in(proxies, address) {
            return Some(address);
        }
    }
    None
}

/// The addresses of a list, the last one first; none for what cannot be read.
fn from_end(list: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    list.rsplit(|byte| *byte == b',').map(|text| std::str::from_utf8(text).ok().and_then(parse))
}

/// The client: the peer, or whom trusted proxies name, read from the end, which
/// is the only part that the client did not write.
#[must_use]
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    if !is_in(proxies, client) {
        return client;
    }
    let named = headers.get_all("x-forwarded-for").iter().rev();
    for address in named.flat_map(|value| from_end(value.as_bytes())).take(MOST) {
        // What cannot be read is no reason to look at what stands before it.
        let Some(address) = address else { return client };
        client = address;
        if !is_in(proxies, client) {
            return client;
        }
    }
    client
}

/// An address, perhaps in brackets, with a port or a zone.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let address = if let Some(rest) = text.strip_prefix('[') {
        IpAddr::V6(without_zone(rest.split_once(']')?.0).parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = without_zone(text).parse() {
        address
    } else {
        IpAddr::V4(text.split_once(':')?.0.parse::<Ipv4Addr>().ok()?)
    };
    Some(address.to_canonical())
}

fn without_zone(text: &str) -> &str {
    text.split_once('%').map_or(text, |(address, _)| address)
}

/// A name with which Wazuh runs active responses: an event whose `dstuser` has
/// other characters blocks nobody, and who logs in can choose it. The hash keeps
/// different names different.
pub(super) fn account(user: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '?');
    if user.chars().all(plain) && user.len() <= LONGEST_ACCOUNT {
        return Cow::Borrowed(user);
    }
    let hash = ring::digest::digest(&ring::digest::SHA256, user.as_bytes());
    let hash: String = hash.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let readable = user.chars().take(LONGEST_ACCOUNT - 9).map(|c| if plain(c) { c } else { '?' });
    Cow::Owned(readable.chain("-".chars()).chain(hash.chars()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_known_however_they_are_written() {
        for (text, address) in [
            ("203.0.113.7", "203.0.113.7"),
            (" 203.0.113.7 ", "203.0.113.7"),
            ("203.0.113.7:51234", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
            ("2001:DB8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("\"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("fe80::1%eth0", "fe80::1"),
        ] {
            assert_eq!(parse(text).map(|found| found.to_string()).as_deref(), Some(address), "{text}");
        }
        for text in ["", "unknown", "203.0.113", "203.0.113.7.8", "host.example:80", "[x]", "[", "_hidden"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_account_is_one_with_which_wazuh_blocks() {
        for plain in ["alice", "a.b_c-d@example.com", "who?", ""] {
            assert_eq!(account(plain), plain);
        }
        let odd = ["x+y", "x*y", "Алиса", "Ольга", "a b", "a\nb", "$(id)", &"x".repeat(65), &"é".repeat(300)];
        let mut seen = std::collections::BTreeSet::new();
        for name in odd {
            let account = account(name);
            let good = |c: char| c.is_ascii_alphanumeric() || "._-@?".contains(c);
            assert!(account.chars().all(good) && account.len() <= LONGEST_ACCOUNT, "{account}");
            assert!(seen.insert(account.into_owned()), "{name}");
        }
    }

    #[test]
    fn only_trusted_proxies_may_say_who_came_before_them() {
        let proxies: Vec<IpNet> = ["10.0.0.0/8", "2001:db8:1::/48"].map(|n| n.parse().unwrap()).into();
        for (list, address) in [
            ("203.0.113.7", Some("203.0.113.7")),
            ("9.9.9.9, 203.0.113.7", Some("203.0.113.7")),
            ("9.9.9.9, 203.0.113.7, 10.0.0.1", Some("203.0.113.7")),
            ("203.0.113.7, 10.0.0.1, 2001:db8:1::1", Some("203.0.113.7")),
            ("203.0.113.7, ::ffff:10.0.0.1", Some("203.0.113.7")),
            ("203.0.113.7, unknown", None),
            ("203.0.113.7, unknown, 10.0.0.1", None),
            ("10.0.0.1", None),
            ("", None),
        ] {
            let found = last_untrusted(list, &proxies).map(|found| found.to_string());
            assert_eq!(found.as_deref(), address, "{list}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_says_who_the_client_is() {
        let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let ask = |peer: &str, forwarded: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            client(peer.parse().unwrap(), &headers, &proxies).to_string()
        };
        assert_eq!(ask("203.0.113.5", &["192.0.2.1"]), "203.0.113.5");
        assert_eq!(ask("10.1.1.1", &[]), "10.1.1.1");
        assert_eq!(ask("10.1.1.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(
            ask("::ffff:10.1.1.1", &["6.6.6.6, 192.0.2.1", "10.2.2.2"]),
            "192.0.2.1",
            "the forged one is before it"
        );
        assert_eq!(ask("10.1.1.1", &["192.0.2.1, nonsense"]), "10.1.1.1");
        assert_eq!(ask("::1", &["::ffff:192.0.2.1"]), "192.0.2.1");
        assert_eq!(ask("10.1.1.1", &["10.3.3.3"]), "10.3.3.3");
    }
}
