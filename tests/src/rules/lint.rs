//! What loads on a manager but does not do what its author means, and what the
//! project asks of its rules.

mod table;

use std::collections::{BTreeMap, BTreeSet};

use super::rule::{Rule, Subject};
use super::xml::{self, Element};
use super::{Problem, ruleset};
use crate::program::source_tree;
use table::Table;

/// Files whose events come of our own programs: an active response to them
/// would feed on itself or block the host.
const NEVER_ANSWERED: [&str; 3] = ["custom-audit.xml", "custom-block.xml", "custom-webhook.xml"];

/// Problems in rule files, none when all is well. `readme` is the text of
/// `rules/README.md`: which file has which ids, and which techniques there are.
#[must_use]
pub fn lint(files: &[(String, String)], readme: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let table = Table::new(readme, &mut problems);
    let mut known = stand_ins();
    let mut used = BTreeSet::new();
    for (name, text) in files {
        let rules = ruleset::read(name, text, &mut problems);
        for rule in rules {
            let mut say = |what: String| problems.push(Problem::new(name, Some(rule.id), what));
            if let Some(first) = known.get(&rule.id) {
                say(format!("the id is used in {} already, and this one would be left out", first.file));
            }
            table.place(name, rule.id).unwrap_or_else(&mut say);
            for technique in &rule.mitre {
                used.insert(technique.clone());
                if !table.techniques.contains_key(technique) {
                    say(format!("{technique} is not in the table of techniques"));
                }
            }
            judge(&rule, &known, &mut say);
            known.entry(rule.id).or_insert(rule);
        }
        elements(name, text, &mut problems);
    }
    // Of a file that cannot be read, nobody knows what it uses.
    let all_read = files.iter().all(|(_, text)| xml::read(text).is_ok());
    for unused in table.techniques.keys().filter(|id| all_read && !used.contains(*id)) {
        problems.push(Problem::new("README.md", None, format!("no rule has the technique {unused}")));
    }
    problems
}

/// The same of the shipped files.
///
/// # Panics
/// Where there is no `rules/README.md`.
#[must_use]
pub fn lint_shipped() -> Vec<Problem> {
    let readme = std::fs::read_to_string(source_tree().join("rules/README.md")).expect("rules/README.md");
    lint(&ruleset::shipped_files(), &readme)
}

/// The stock rules that ours may be children of.
fn stand_ins() -> BTreeMap<u32, Rule> {
    let text = include_str!("../../fixtures/rules/stand-ins.xml");
    let rules = ruleset::read("stand-ins.xml", text, &mut Vec::new());
    rules.into_iter().map(|rule| (rule.id, rule)).collect()
}

/// What a rule says as a whole.
fn judge(rule: &Rule, known: &BTreeMap<u32, Rule>, say: &mut impl FnMut(String)) {
    let parents = rule.parents.iter().chain(rule.correlation.iter().map(|correlation| &correlation.sid));
    let missing: BTreeSet<u32> = parents.copied().filter(|parent| !known.contains_key(parent)).collect();
    for parent in missing {
        say(format!("no rule {parent} before it"));
    }
    if rule.parents.is_empty() && rule.level > 0 {
        say("level above 0 without if_sid: a silent gate with a marker must come first".to_owned());
    }
    if rule.parents.is_empty() && rule.decoder.is_none() {
        say("no if_sid and no decoded_as: any line may reach it".to_owned());
    }
    if let Some(correlation) = &rule.correlation
        && known.get(&correlation.sid).is_some_and(|counted| counted.level == 0)
    {
        say(format!("rule {} has level 0, so its events are never counted", correlation.sid));
    }
    if NEVER_ANSWERED.contains(&rule.file.as_str()) && !rule.no_ar {
        say("no <options>no_ar</options>: an active response would feed on it".to_owned());
    }
    for subject in negated(rule) {
        if !is_there(rule, subject, known) {
            let name = name(subject);
            say(format!("an event without {name} never matches: no test says that it is there"));
        }
    }
    for wrong in placeholders(&rule.description) {
        say(wrong);
    }
}

/// What a rule wants to be otherwise, where an event may be without it.
fn negated(rule: &Rule) -> impl Iterator<Item = &Subject> {
    let tests = rule.tests.iter().filter(|test| test.pattern.negate).map(|test| &test.subject);
    let searches =
        rule.searches.iter().filter(|search| search.lookup.negative()).map(|search| &search.subject);
    tests.chain(searches).filter(|subject| subject.may_be_absent())
}

/// Whether the rule, or all ways to it, have a test that asks for the field.
fn is_there(rule: &Rule, subject: &Subject, known: &BTreeMap<u32, Rule>) -> bool {
    let tests = rule.tests.iter().filter(|test| !test.pattern.negate).map(|test| &test.subject);
    let searches =
        rule.searches.iter().filter(|search| !search.lookup.negative()).map(|search| &search.subject);
    if tests.chain(searches).any(|other| name(other).eq_ignore_ascii_case(&name(subject))) {
        return true;
    }
    // A parent comes before its children, so this ends.
    let mut parents = rule.parents.iter().map(|parent| known.get(parent)).peekable();
    parents.peek().is_some()
        && parents.all(|parent| parent.is_some_and(|parent| is_there(parent, subject, known)))
}

fn name(subject: &Subject) -> String {
    match subject {
        Subject::Fixed(field) => format!("<{}>", field.name()),
        Subject::Either(..) => "<user>".to_owned(),
        Subject::Dynamic(name) => format!("field {name}"),
        Subject::Line | Subject::Location => "a line".to_owned(),
    }
}

/// What a description would leave empty or as it is.
fn placeholders(description: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for part in description.split("$(").skip(1) {
        match part.split_once(')') {
            None => wrong.push("`$(` without `)` in the description".to_owned()),
            Some(("user", _)) => wrong.push("$(user) is empty for ever; it is $(dstuser) there".to_owned()),
            Some((name, _)) if name.is_empty() || name.contains(char::is_whitespace) => {
                wrong.push(format!("$({name}) in the description names no field"));
            }
            Some(_) => {}
        }
    }
    wrong
}

/// What only the text shows.
fn elements(file: &str, text: &str, problems: &mut Vec<Problem>) {
    // What cannot be read at all was said before.
    for group in xml::read(text).unwrap_or_default() {
        if let Some(name) = group.attribute("name").filter(|name| !is_group(name)) {
            problems.push(Problem::new(
                file,
                None,
                format!("the group \"{name}\" does not end with a comma"),
            ));
        }
        for rule in group.elements.iter().filter(|element| element.name == "rule") {
            let id = rule.attribute("id").and_then(|id| id.parse().ok());
            for option in &rule.elements {
                if let Some(what) = option_problem(option) {
                    problems.push(Problem::new(file, id, what));
                }
            }
        }
    }
}

fn option_problem(option: &Element) -> Option<String> {
    let text = option.text.as_str();
    match option.name.as_str() {
        "group" if !is_group(text) => Some(format!("the group \"{text}\" does not end with a comma")),
        "action" if option.attribute("type").is_none() && text.contains(['^', '$', '|', '\\', '*']) => {
            Some(format!("<action>{text}</action> without a type is compared as it stands"))
        }
        // In an expression a blank is seen, and may be meant.
        "field" | "match" | "regex" | "list" | "user" | "action"
            if text != text.trim() && option.attribute("type") != Some("pcre2") =>
        {
            Some(format!("blanks at the ends of <{}> count", option.name))
        }
        _ => None,
    }
}

/// Words, each with a comma behind it.
fn is_group(text: &str) -> bool {
    text.ends_with(',')
        && text.trim_end_matches(',').split(',').all(|word| !word.is_empty() && word.trim() == word)
}
