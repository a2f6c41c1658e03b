//! What the worker does with the `iptables` crate. Every word on a command
//! line is ours: addresses come out of [`Target`], comments out of [`marked`].

use std::error::Error;

use common::address::Target;
use iptables::IPTables;

use super::{Answer, CHAIN, Found, Order};

const TABLE: &str = "filter";
/// By its comment a rule is known as ours.
const MARK: &str = "wazuh-toolkit";
/// The largest time that the match `time` understands (2038-01-19), less a day.
const LATEST: u64 = 2_147_483_647 - 86_400;

type Done<T> = Result<T, Box<dyn Error>>;

pub(super) fn carry_out(chain: Option<&str>, order: &Order) -> Done<Answer> {
    let done = |built| Ok(Answer::Done { built });
    match order {
        Order::Put { target, until, comment } => {
            let chain = Chain::open(target.is_ipv6(), chain)?;
            let built = chain.build()?;
            chain.put(*target, *until, comment)?;
            // What has lapsed blocks nobody: another run may be removing it, too.
            let _ = chain.reap();
            done(built)
        }
        Order::Lift { target } => {
            let chain = Chain::open(target.is_ipv6(), chain)?;
            chain.remove(|found| found.target == *target)?;
            let _ = chain.reap();
            done(false)
        }
        Order::List => {
            let mut found = Vec::new();
            for ipv6 in [false, true] {
                // A host may have no ip6tables, or a kernel without IPv6.
                match Chain::open(ipv6, chain).and_then(|chain| {
                    let _ = chain.reap();
                    chain.rules()
                }) {
                    Err(error) if !ipv6 => return Err(error),
                    rules => found.extend(rules.unwrap_or_default().into_iter().map(|(_, found)| found)),
                }
            }
            Ok(Answer::Rules(found))
        }
        Order::Mend | Order::Examine => {
            let mend = *order == Order::Mend;
            let mut astray = false;
            for ipv6 in [false, true] {
                match Chain::open(ipv6, chain).and_then(|chain| chain.examine(mend)) {
                    Err(error) if !ipv6 => return Err(error),
                    found => astray |= found.unwrap_or(false),
                }
            }
            done(astray)
        }
        Order::Flush => {
            for ipv6 in [false, true] {
                match Chain::open(ipv6, chain).and_then(|chain| chain.flush()) {
                    Err(error) if !ipv6 => return Err(error),
                    _ => {}
                }
            }
            done(false)
        }
        Order::MatchSet { set, ipv6 } => {
            let iptables = iptables::new(*ipv6)?;
            let rule = format!("-m set --match-set {set} src -j DROP");
            if !iptables.exists("raw", "PREROUTING", &rule)? {
                iptables.insert("raw", "PREROUTING", &rule, 1)?;
            }
            done(true)
        }
        Order::UnmatchSet { set, ipv6 } => {
            let iptables = iptables::new(*ipv6)?;
            let rule = format!("-m set --match-set {set} src -j DROP");
            while iptables.exists("raw", "PREROUTING", &rule)? {
                iptables.delete("raw", "PREROUTING", &rule)?;
            }
            done(false)
        }
    }
}

struct Chain<'a> {
    iptables: IPTables,
    name: &'a str,
    /// True when the chain is our own, made and hooked in by us.
    own: bool,
}

impl<'a> Chain<'a> {
    fn open(ipv6: bool, configured: Option<&'a str>) -> Done<Chain<'a>> {
        Ok(Chain {
            iptables: iptables::new(ipv6)?,
            name: configured.unwrap_or(CHAIN),
            own: configured.is_none(),
        })
    }

    /// True when our chain exists. (The crate's own question lists the chain
    /// with names: it would ask DNS about every address in it.)
    fn is_there(&self) -> Done<bool> {
        Ok(self.iptables.execute(TABLE, &format!("-S {CHAIN}"))?.status.success())
    }

    /// Makes our chain and hooks it in, first in INPUT and FORWARD, where it
    /// is not. True when anything had to be done.
    fn build(&self) -> Done<bool> {
        if !self.own {
            return Ok(false);
        }
        let mut built = false;
        if !self.is_there()? {
            // Another run may have been faster; then it is there all the same.
            if let Err(error) = self.iptables.new_chain(TABLE, CHAIN)
                && !self.is_there()?
            {
                return Err(error);
            }
            built = true;
        }
        Ok(self.hook_in(true)? || built)
    }

    /// Sees to it that our chain is the first in INPUT and FORWARD, or only
    /// looks. True when it is (or was) not.
    fn hook_in(&self, mend: bool) -> Done<bool> {
        let jump = format!("-j {CHAIN}");
        let mut astray = false;
        for parent in ["INPUT", "FORWARD"] {
            let rules = self.iptables.list(TABLE, parent)?;
            let rules: Vec<&String> = rules.iter().filter(|rule| rule.starts_with("-A ")).collect();
            let hooked = rules.iter().position(|rule| **rule == format!("-A {parent} {jump}"));
            if hooked == Some(0) {
                continue;
            }
            astray = true;
            if !mend {
                continue;
            }
            self.iptables.insert(TABLE, parent, &jump, 1)?;
            if let Some(behind) = hooked {
                // Others have put rules before it. By number, because by
                // content the one just inserted would go. Rules count from 1.
                self.iptables.execute(TABLE, &format!("-D {parent} {}", behind + 2))?;
            }
        }
        Ok(astray)
    }

    /// As [`Chain::hook_in`], where there is a chain of ours at all.
    fn examine(&self, mend: bool) -> Done<bool> {
        if self.own && self.is_there()? { self.hook_in(mend) } else { Ok(false) }
    }

    fn put(&self, target: Target, until: Option<u64>, comment: &str) -> Done<()> {
        let source = format!("-s {}", target.as_network());
        let rest = format!("-m comment --comment {} -j DROP", marked(until, comment));
        let former = self.rules()?;
        let lapsing = until.filter(|&until| until < LATEST).and_then(date);
        let inserted = match lapsing {
            Some(date) => self
                .iptables
                .insert(TABLE, self.name, &format!("{source} -m time --datestop {date} {rest}"), 1)
                // Without the match `time` the comment alone says when it is over.
                .or_else(|_| self.iptables.insert(TABLE, self.name, &format!("{source} {rest}"), 1)),
            None => self.iptables.insert(TABLE, self.name, &format!("{source} {rest}"), 1),
        };
        inserted?;
        // The former rules of this target are removed after the new one stands.
        let mut kept_one = false;
        for (rule, found) in &former {
            if found.target != target {
                continue;
            }
            let same = found.until == until && found.comment == comment;
            if same && kept_one {
                continue;
            }
            kept_one |= same;
            self.iptables.delete(TABLE, self.name, rule)?;
        }
        Ok(())
    }

    /// Our rules, each as iptables would take it back, and what it means.
    fn rules(&self) -> Done<Vec<(String, Found)>> {
        let output = self.iptables.execute(TABLE, &format!("-v -S {}", self.name))?;
        if !output.status.success() {
            // No chain, no rules.
            return Ok(Vec::new());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let start = format!("-A {} ", self.name);
        Ok(text.lines().filter_map(|line| understand(line.strip_prefix(&start)?)).collect())
    }

    fn remove(&self, which: impl Fn(&Found) -> bool) -> Done<()> {
        for (rule, found) in self.rules()? {
            if which(&found) {
                self.iptables.delete(TABLE, self.name, &rule)?;
            }
        }
        Ok(())
    }

    /// Removes what has lapsed.
    fn reap(&self) -> Done<()> {
        let now = crate::now();
        self.remove(|found| found.until.is_some_and(|until| until <= now))
    }

    fn flush(&self) -> Done<()> {
        if !self.own {
            return self.remove(|_| true);
        }
        let jump = format!("-j {CHAIN}");
        for parent in ["INPUT", "FORWARD"] {
            while self.iptables.exists(TABLE, parent, &jump).unwrap_or(false) {
                self.iptables.delete(TABLE, parent, &jump)?;
            }
        }
        if self.is_there()? {
            self.iptables.flush_chain(TABLE, CHAIN)?;
            self.iptables.delete_chain(TABLE, CHAIN)?;
        }
        Ok(())
    }
}

/// `wazuh-toolkit:until=1795255963:rule_5760`: one word that no quoting can change.
fn marked(until: Option<u64>, comment: &str) -> String {
    let word: String = comment
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
        .take(120)
        .collect();
    match until {
        Some(until) => format!("{MARK}:until={until}:{word}"),
        None => format!("{MARK}:until=never:{word}"),
    }
}

/// UTC, as the match `time` reads it unless told otherwise.
fn date(until: u64) -> Option<String> {
    let time = chrono::DateTime::from_timestamp(i64::try_from(until).ok()?, 0)?;
    Some(time.format("%Y-%m-%dT%H:%M:%S").to_string())
}

/// A rule as `iptables -v -S` prints it, without its chain: what to give back
/// to `iptables -D`, and what it means. `None` of a rule that is not ours.
fn understand(rule: &str) -> Option<(String, Found)> {
    let words: Vec<&str> = rule.split(' ').collect();
    let after = |option: &str| {
        let at = words.iter().position(|&word| word == option)?;
        words.get(at + 1).copied()
    };
    let target: Target = after("-s")?.parse().ok()?;
    let comment = after("--comment")?.trim_matches('"');
    let (until, text) = comment.strip_prefix(MARK)?.strip_prefix(":until=")?.split_once(':')?;
    let counters = words.iter().position(|&word| word == "-c");
    let counter = |offset: usize| words.get(counters? + offset)?.parse().ok();
    let found = Found {
        target,
        until: until.parse().ok(),
        comment: text.to_owned(),
        packets: counter(1),
        bytes: counter(2),
    };
    let rule = match counters {
        Some(at) => [&words[..at], &words[(at + 3).min(words.len())..]].concat().join(" "),
        None => rule.to_owned(),
    };
    Some((rule, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_ours_is_understood_and_others_are_not() {
        let (rule, found) = understand(
            "-s 203.0.113.50/32 -m time --datestop 2026-11-21T12:00:00 -m comment \
             --comment \"wazuh-toolkit:until=1795262400:rule_5760\" -c 12 720 -j DROP",
        )
        .unwrap();
        assert!(rule.ends_with("rule_5760\" -j DROP"), "{rule}");
        assert_eq!(found.target.to_string(), "203.0.113.50");
        assert_eq!((found.until, found.packets, found.bytes), (Some(1_795_262_400), Some(12), Some(720)));
        assert_eq!(found.comment, "rule_5760");
        assert!(understand("-s 203.0.113.50/32 -j DROP").is_none());
        assert!(understand("-p tcp -m comment --comment x -j DROP").is_none());
    }

    #[test]
    fn no_comment_can_leave_its_word() {
        assert_eq!(
            marked(Some(5), "rule 5 \" -j ACCEPT; $(x)\n"),
            "wazuh-toolkit:until=5:rule_5___-j_ACCEPT____x__"
        );
        assert_eq!(marked(None, ""), "wazuh-toolkit:until=never:");
    }

    #[test]
    fn a_date_is_utc() {
        assert_eq!(date(1_795_262_400).as_deref(), Some("2026-11-21T12:00:00"));
    }
}
