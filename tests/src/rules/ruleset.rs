//! Rules in the tree in which they are tried.

use std::collections::BTreeMap;
use std::path::Path;

use super::list::List;
use super::rule::Rule;
use super::{Problem, RuleError, xml};
use crate::program::source_tree;

/// What a stock rule of Wazuh has for its event names.
const STOCK_LIST: &str = "etc/lists/amazon/aws-eventnames";

/// Rules as wazuh-analysisd would load them: all, or an error that names the
/// first that it would not load or that is not modelled.
#[derive(Debug)]
pub struct Ruleset {
    rules: Vec<Rule>,
    pub(super) lists: BTreeMap<String, List>,
    nodes: Vec<Node>,
    /// Those at the top.
    pub(super) top: Vec<usize>,
}

/// A place in the tree. A rule with several parents has several.
#[derive(Debug)]
struct Node {
    rule: usize,
    children: Vec<usize>,
}

impl Ruleset {
    /// Files by name and text, in the order in which they are loaded; lists by
    /// name and text. A parent must come before its children.
    ///
    /// # Errors
    /// The first problem of the first file that has one.
    pub fn load(files: &[(String, String)], lists: &[(String, String)]) -> Result<Ruleset, RuleError> {
        let mut all =
            Ruleset { rules: Vec::new(), lists: BTreeMap::new(), nodes: Vec::new(), top: Vec::new() };
        for (name, text) in lists {
            let list = List::new(text).map_err(|what| Problem::new(name, None, what))?;
            all.lists.insert(name.clone(), list);
        }
        for (name, text) in files {
            let mut problems = Vec::new();
            let rules = read(name, text, &mut problems);
            if let Some(problem) = problems.into_iter().next() {
                return Err(problem);
            }
            for rule in rules {
                all.add(rule)?;
            }
        }
        Ok(all)
    }

    /// The stand-ins of `tests/fixtures/rules`, then the shipped rules by name,
    /// with the shipped lists under the names that they are installed as.
    ///
    /// # Panics
    /// When they do not load.
    #[must_use]
    pub fn shipped() -> Ruleset {
        let fixtures = source_tree().join("tests/fixtures/rules");
        let text = |name: &str| std::fs::read_to_string(fixtures.join(name)).expect("a fixture");
        let mut files = vec![("stand-ins.xml".to_owned(), text("stand-ins.xml"))];
        files.extend(shipped_files());
        let mut lists = folder(&source_tree().join("rules/lists"), |_| true);
        for (name, _) in &mut lists {
            *name = format!("etc/lists/wazuh-toolkit-{name}");
        }
        lists.push((STOCK_LIST.to_owned(), text("aws-eventnames")));
        Ruleset::load(&files, &lists).unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// In the order of the files.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The rule of a number.
    #[must_use]
    pub fn rule(&self, id: u32) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    pub(super) fn node(&self, node: usize) -> (&Rule, &[usize]) {
        let node = &self.nodes[node];
        (&self.rules[node.rule], &node.children)
    }

    fn add(&mut self, rule: Rule) -> Result<(), Problem> {
        let wrong = |what: String| Err(Problem::new(&rule.file, Some(rule.id), what));
        if let Some(first) = self.rule(rule.id) {
            return wrong(format!(
                "the id is used in {} already, and this one would be left out",
                first.file
            ));
        }
        for parent in rule.parents.iter().chain(rule.correlation.iter().map(|correlation| &correlation.sid)) {
            if self.rule(*parent).is_none() {
                return wrong(format!("no rule {parent} before it"));
            }
        }
        if let Some(search) = rule.searches.iter().find(|search| !self.lists.contains_key(&search.list)) {
            return wrong(format!("no list {}", search.list));
        }
        let index = self.rules.len();
        let parents = rule.parents.clone();
        self.rules.push(rule);
        if parents.is_empty() {
            let mut top = std::mem::take(&mut self.top);
            self.insert(&mut top, index);
            self.top = top;
        }
        for parent in parents {
            let top = self.top.clone();
            self.attach(&top, parent, index);
        }
        Ok(())
    }

    /// Below each place of the parent. Where one is found among siblings, the
    /// siblings behind it are not looked into: so does the engine.
    fn attach(&mut self, siblings: &[usize], parent: u32, index: usize) {
        for &node in siblings {
            let mut children = self.nodes[node].children.clone();
            if self.rules[self.nodes[node].rule].id == parent {
                self.insert(&mut children, index);
                self.nodes[node].children = children;
                return;
            }
            self.attach(&children, parent, index);
        }
    }

    /// Behind those of its level; silent ones come first of all.
    fn insert(&mut self, siblings: &mut Vec<usize>, index: usize) {
        let rank = |rule: &Rule| if rule.level == 0 { 99 } else { rule.level };
        let own = rank(&self.rules[index]);
        let lower = |node: &usize| rank(&self.rules[self.nodes[*node].rule]) < own;
        let place = siblings.iter().position(lower).unwrap_or(siblings.len());
        self.nodes.push(Node { rule: index, children: Vec::new() });
        siblings.insert(place, self.nodes.len() - 1);
    }
}

/// The rules of a file; what is wrong with it is added to `problems`.
pub(super) fn read(name: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let groups = match xml::read(text) {
        Ok(groups) => groups,
        Err(what) => {
            problems.push(Problem::new(name, None, what));
            return Vec::new();
        }
    };
    let mut rules = Vec::new();
    for group in groups {
        let own = match group.attributes.as_slice() {
            [(attribute, value)] if attribute == "name" && group.name == "group" => value.as_str(),
            _ => {
                let what = format!("<{}> at the top, where only <group name=\"…\"> may be", group.name);
                problems.push(Problem::new(name, None, what));
                continue;
            }
        };
        if group.elements.is_empty() {
            problems.push(Problem::new(name, None, format!("group {own} without a rule")));
        }
        for element in &group.elements {
            if element.name != "rule" {
                let what = format!("<{}> in a group, where only <rule> may be", element.name);
                problems.push(Problem::new(name, None, what));
                continue;
            }
            rules.extend(Rule::read(name, own, element, problems));
        }
    }
    rules
}

/// `rules/*.xml` by name.
pub(super) fn shipped_files() -> Vec<(String, String)> {
    folder(&source_tree().join("rules"), |name| name.ends_with(".xml"))
}

fn folder(path: &Path, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    let wanted = named.filter(|(name, path)| wanted(name) && path.is_file());
    let read = wanted.map(|(name, path)| (name, std::fs::read_to_string(path).expect("a file of the tree")));
    let mut files: Vec<(String, String)> = read.collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {}", path.display());
    files
}
