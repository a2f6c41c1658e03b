//! What the text of a rule's element is compared with.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::osregex::OsRegex;

/// A test of one text.
#[derive(Debug)]
pub(super) struct Pattern {
    kind: Kind,
    /// It holds where the pattern is not found; an absent field still fails.
    pub(super) negate: bool,
}

#[derive(Debug)]
enum Kind {
    OsRegex(OsRegex),
    OsMatch(OsMatch),
    Pcre2(Box<pcre2::bytes::Regex>),
    /// The same text, capitals told from small letters.
    Exact(String),
    Networks(Vec<Network>),
}

/// How the text of an element is read; the name in `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    OsRegex,
    OsMatch,
    Pcre2,
    /// What `<action>` is without a type. It cannot be asked for.
    Exact,
}

impl Type {
    pub(super) fn named(name: &str) -> Option<Type> {
        match name {
            "osregex" => Some(Type::OsRegex),
            "osmatch" => Some(Type::OsMatch),
            "pcre2" => Some(Type::Pcre2),
            _ => None,
        }
    }
}

impl Pattern {
    /// # Errors
    /// What the engine would refuse, and what is not modelled.
    pub(super) fn new(kind: Type, text: &str, negate: bool) -> Result<Pattern, String> {
        let kind = match kind {
            Type::OsRegex => Kind::OsRegex(OsRegex::new(text)?),
            Type::OsMatch => Kind::OsMatch(OsMatch::new(text)?),
            Type::Pcre2 => {
                // The engine sets no option: bytes, and no notion of letters beyond ASCII.
                let read = pcre2::bytes::RegexBuilder::new().build(text);
                Kind::Pcre2(Box::new(read.map_err(|error| format!("pcre2: {error}"))?))
            }
            Type::Exact => Kind::Exact(text.to_owned()),
        };
        Ok(Pattern { kind, negate })
    }

    /// Several elements for one address mean any of them.
    ///
    /// # Errors
    /// A text that is no IPv4 address or network.
    pub(super) fn networks(texts: &[&str], negate: bool) -> Result<Pattern, String> {
        let networks = texts.iter().map(|text| Network::new(text)).collect::<Result<_, _>>()?;
        Ok(Pattern { kind: Kind::Networks(networks), negate })
    }

    /// Whether the test holds for a text that is there.
    pub(super) fn holds(&self, text: &str) -> bool {
        let found = match &self.kind {
            Kind::OsRegex(regex) => regex.is_match(text.as_bytes()),
            Kind::OsMatch(words) => words.is_match(text),
            Kind::Pcre2(regex) => regex.is_match(text.as_bytes()).unwrap_or(false),
            Kind::Exact(own) => own == text,
            Kind::Networks(networks) => {
                text.parse().is_ok_and(|address| networks.iter().any(|network| network.contains(address)))
            }
        };
        found != self.negate
    }
}

/// Words of which one must be found, in capitals or not.
#[derive(Debug)]
struct OsMatch {
    words: Vec<Word>,
    negate: bool,
}

#[derive(Debug)]
struct Word {
    begin: bool,
    end: bool,
    text: String,
}

impl OsMatch {
    fn new(text: &str) -> Result<OsMatch, String> {
        if text.contains('\\') {
            return Err("`\\` in an osmatch is a literal one".to_owned());
        }
        let (negate, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let word = |part: &str| {
            let (begin, part) = part.strip_prefix('^').map_or((false, part), |rest| (true, rest));
            let (end, part) = part.strip_suffix('$').map_or((false, part), |rest| (true, rest));
            if part.is_empty() && !(begin && end) {
                return Err("an empty alternative matches everything".to_owned());
            }
            if part.contains(['^', '$']) {
                return Err("`^` and `$` within an osmatch are literal ones".to_owned());
            }
            Ok(Word { begin, end, text: part.to_ascii_lowercase() })
        };
        Ok(OsMatch { words: text.split('|').map(word).collect::<Result<_, _>>()?, negate })
    }

    fn is_match(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let found = self.words.iter().any(|word| match (word.begin, word.end) {
            (true, true) => text == word.text,
            (true, false) => text.starts_with(&word.text),
            (false, true) => text.ends_with(&word.text),
            (false, false) => text.contains(&word.text),
        });
        found != self.negate
    }
}

#[derive(Debug)]
struct Network {
    address: u32,
    mask: u32,
}

impl Network {
    fn new(text: &str) -> Result<Network, String> {
        if text.starts_with('!') {
            return Err(format!("the engine drops the `!` of {text}; write negate=\"yes\""));
        }
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        if address.parse::<Ipv6Addr>().is_ok() {
            // A rule on ::1 matches every IPv4 address there is.
            return Err(format!("the engine compares IPv4 addresses with {text} as if it were one"));
        }
        let address = address.parse::<Ipv4Addr>().map_err(|_| format!("{text} is no address"))?;
        let bits = bits.parse::<u32>().ok().filter(|bits| *bits <= 32);
        let bits = bits.ok_or_else(|| format!("{text} is no network"))?;
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Ok(Network { address: u32::from(address) & mask, mask })
    }

    /// An IPv6 address is in none, also a mapped one.
    fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask == self.address
    }
}
