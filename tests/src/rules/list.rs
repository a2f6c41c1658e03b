//! A CDB list: keys, and values that no rule of ours looks at.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// The keys of a list.
#[derive(Debug)]
pub(super) struct List(BTreeSet<String>);

/// How a rule looks a field up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    Key,
    NotKey,
    Address,
    NotAddress,
}

impl Lookup {
    pub(super) fn named(name: &str) -> Option<Lookup> {
        match name {
            "match_key" => Some(Lookup::Key),
            "not_match_key" => Some(Lookup::NotKey),
            "address_match_key" => Some(Lookup::Address),
            "not_address_match_key" => Some(Lookup::NotAddress),
            _ => None,
        }
    }

    /// True for those that hold where the list does not have the key.
    pub(super) fn negative(self) -> bool {
        matches!(self, Lookup::NotKey | Lookup::NotAddress)
    }
}

impl List {
    /// # Errors
    /// A line that the engine would drop, or whose key would surprise.
    pub(super) fn new(text: &str) -> Result<List, String> {
        let mut keys = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            // A key with a colon in it stands in quotes.
            let (key, value) = match line.strip_prefix('"') {
                Some(rest) => rest.split_once("\":").unwrap_or((rest, "\"")),
                None => line
                    .split_once(':')
                    .ok_or_else(|| format!("the engine drops a line without a colon: {line:?}"))?,
            };
            if key.is_empty()
                || key.trim() != key
                || key.starts_with('#')
                || key.contains('"')
                || value.contains('"')
            {
                return Err(format!("not a key that a field could be: {line:?}"));
            }
            if key.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok()) {
                return Err(format!("a network is a prefix that ends in a dot: {line:?}"));
            }
            if !keys.insert(key.to_owned()) {
                return Err(format!("{key} is there twice"));
            }
        }
        Ok(List(keys))
    }

    pub(super) fn holds(&self, lookup: Lookup, value: &str) -> bool {
        match lookup {
            Lookup::Key => self.0.contains(value),
            Lookup::NotKey => !self.0.contains(value),
            Lookup::Address => self.has_address(value),
            Lookup::NotAddress => !self.has_address(value),
        }
    }

    /// The key itself, or what of it ends in a dot: `10.1.` is a network, and
    /// there is no other form of one.
    fn has_address(&self, value: &str) -> bool {
        let dots = value.match_indices('.').map(|(at, _)| &value[..=at]);
        self.0.contains(value) || dots.into_iter().any(|prefix| self.0.contains(prefix))
    }
}
