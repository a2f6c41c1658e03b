//! Events one after the other, and what each of them fires.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::{Decoded, Static};
use super::rule::{Correlation, Rule, Subject};
use super::{Event, Outcome, Ruleset};

/// `log_alert_level` as Wazuh's own configuration has it: below, nothing is written.
const LEAST_LEVEL: u8 = 3;
/// The engine forgets old events (`analysisd.memory_size`), and this does not.
const MOST_EVENTS: usize = 8192;

/// Frequency rules count within a session; its clock stands still unless it
/// is moved.
#[derive(Debug)]
pub struct Session<'r> {
    ruleset: &'r Ruleset,
    now: u64,
    /// Those that fired a rule that is not silent, the last one last.
    past: Vec<Past>,
    /// When a rule with `ignore` last spoke.
    spoke: BTreeMap<u32, u64>,
}

#[derive(Debug)]
struct Past {
    rule: u32,
    time: u64,
    event: Event,
    decoded: Decoded,
    /// The level of the frequency rule that it was used up for.
    used: u8,
}

/// What an event has become so far.
struct Current<'e> {
    event: &'e Event,
    decoded: Decoded,
    used: u8,
    parent: Option<u32>,
}

impl<'r> Session<'r> {
    /// With nothing in it.
    #[must_use]
    pub fn new(ruleset: &'r Ruleset) -> Session<'r> {
        // Not at nought, which the engine takes for never.
        Session { ruleset, now: 1_700_000_000, past: Vec::new(), spoke: BTreeMap::new() }
    }

    /// Moves the clock, in whole seconds.
    pub fn advance(&mut self, time: Duration) {
        self.now += time.as_secs();
    }

    /// What the event fires.
    ///
    /// # Panics
    /// On an event that is not modelled, or of which something would be lost.
    pub fn feed(&mut self, event: &Event) -> Outcome {
        assert!(self.past.len() < MOST_EVENTS, "a session of more than {MOST_EVENTS} events");
        let mut current = Current { event, decoded: Decoded::new(&event.line), used: 0, parent: None };
        let ruleset = self.ruleset;
        let found = ruleset.top.iter().find_map(|node| self.tried(*node, &mut current));
        let (shown, ignored) = match found {
            Some(rule) if self.is_ignored(rule) => {
                (current.parent.and_then(|id| ruleset.rule(id)), Some(rule.id))
            }
            _ => (found, None),
        };
        let outcome = Outcome {
            decoder: current.decoded.decoder,
            rule: shown.map(|rule| rule.id),
            ignored,
            level: shown.map(|rule| rule.level),
            description: shown.map(|rule| describe(&rule.description, &current.decoded)),
            groups: shown.map(|rule| rule.groups.clone()).unwrap_or_default(),
            mitre: shown.map(|rule| rule.mitre.clone()).unwrap_or_default(),
            alert: shown.is_some_and(|rule| rule.level >= LEAST_LEVEL && !rule.no_log),
            data: current.decoded.data(),
            fields: named(&current.decoded),
            no_ar: shown.is_some_and(|rule| rule.no_ar),
            no_full_log: shown.is_some_and(|rule| rule.no_full_log),
        };
        // An event of a silent rule is not remembered, so never counted.
        if let Some(rule) = shown.filter(|rule| rule.level > 0) {
            let Current { decoded, used, .. } = current;
            self.past.push(Past { rule: rule.id, time: self.now, event: event.clone(), decoded, used });
        }
        outcome
    }

    /// The rule that is reached from this place of the tree.
    fn tried(&mut self, node: usize, current: &mut Current<'_>) -> Option<&'r Rule> {
        let (rule, children) = self.ruleset.node(node);
        if !self.holds(rule, current) {
            return None;
        }
        if let Some(correlation) = &rule.correlation {
            self.correlates(rule, correlation, current)?;
        }
        for child in children {
            if let Some(found) = self.tried(*child, current) {
                current.parent.get_or_insert(rule.id);
                return Some(found);
            }
        }
        Some(rule)
    }

    fn holds(&self, rule: &Rule, current: &Current<'_>) -> bool {
        let value = |subject: &Subject| {
            subject.of(&current.decoded, &current.event.line, &current.event.location).map(str::to_owned)
        };
        rule.decoder.as_deref().is_none_or(|decoder| current.decoded.decoder == Some(decoder))
            && rule
                .tests
                .iter()
                .all(|test| value(&test.subject).is_some_and(|text| test.pattern.holds(&text)))
            && rule.searches.iter().all(|search| {
                let list = &self.ruleset.lists[&search.list];
                value(&search.subject).is_some_and(|text| list.holds(search.lookup, &text))
            })
    }

    /// Counts back to the number that the rule needs. What it counted is marked
    /// with the rule's level, and a mark ends the search of a rule that is not
    /// higher: so the count begins anew after each alert.
    fn correlates(
        &mut self,
        rule: &Rule,
        correlation: &Correlation,
        current: &mut Current<'_>,
    ) -> Option<()> {
        let needed = rule.frequency? - 1;
        let mut newest = None;
        let mut count = 0;
        let earlier = self.past.iter().enumerate().rev().filter(|(_, past)| past.rule == correlation.sid);
        for (index, past) in earlier {
            if self.now - past.time > u64::from(rule.timeframe) {
                return None;
            }
            if !correlation.global && past.event.agent != current.event.agent {
                continue;
            }
            if !alike(correlation, past, current) {
                continue;
            }
            if past.used >= rule.level {
                return None;
            }
            newest = newest.or(Some(index));
            count += 1;
            if count == needed {
                break;
            }
        }
        if count < needed {
            return None;
        }
        current.used = rule.level;
        // With a frequency of two the one that it counted is not marked.
        if let Some(index) = newest.filter(|_| needed > 1) {
            self.past[index].used = rule.level;
        }
        Some(())
    }

    /// Whether a rule with `ignore` is to be silent now.
    fn is_ignored(&mut self, rule: &Rule) -> bool {
        if rule.level == 0 || rule.ignore == 0 {
            return false;
        }
        let last = self.spoke.get(&rule.id);
        let ignored = last.is_some_and(|last| self.now - last < u64::from(rule.ignore));
        if !ignored {
            self.spoke.insert(rule.id, self.now);
        }
        ignored
    }
}

/// By name; the static one and the first dynamic one are those that rules see.
fn named(decoded: &Decoded) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for (name, value) in decoded.fields() {
        fields.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    fields
}

fn alike(correlation: &Correlation, past: &Past, current: &Current<'_>) -> bool {
    let values = |subject: &Subject| {
        let own =
            subject.of(&current.decoded, &current.event.line, &current.event.location).map(str::to_owned);
        let other = subject.of(&past.decoded, &past.event.line, &past.event.location).map(str::to_owned);
        own.zip(other)
    };
    // Where neither has any dynamic field, the engine compares nothing.
    let some = current.decoded.has_dynamic() || past.decoded.has_dynamic();
    let dynamic = |subject: &Subject| matches!(subject, Subject::Dynamic(_));
    correlation.same.iter().all(|subject| values(subject).is_some_and(|(own, other)| own == other))
        && correlation.different.iter().all(|subject| {
            (some || !dynamic(subject)) && values(subject).is_none_or(|(own, other)| own != other)
        })
}

/// Fills in each `$(field)`; one that is not there becomes nothing.
fn describe(text: &str, decoded: &Decoded) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$(") {
        let Some((name, behind)) = after.split_once(')') else { break };
        out.push_str(before);
        let value = Static::named(name).map_or_else(|| decoded.dynamic(name), |field| decoded.fixed(field));
        out.push_str(value.unwrap_or_default());
        rest = behind;
    }
    out.push_str(rest);
    // What would be too long is shown as it was written.
    if out.len() >= 1024 { text.to_owned() } else { out }
}
