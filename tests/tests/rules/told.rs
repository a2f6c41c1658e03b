//! Lines that a program has printed, in the order of a test's story, each with
//! the rule that it must end at.

use std::fmt::Write;

use harness::program::source_tree;
use harness::rules::{Event, Session};
use serde_json::json;

/// A story.
pub(crate) struct Told {
    /// Of the file below `tests/fixtures/rules`, without its ending.
    name: &'static str,
    location: &'static str,
    chapters: Vec<Vec<(String, u32, String)>>,
}

impl Told {
    /// An empty one.
    pub(crate) fn new(name: &'static str, location: &'static str) -> Told {
        Told { name, location, chapters: Vec::new() }
    }

    /// What comes now has nothing to do with what came before.
    pub(crate) fn chapter(&mut self) {
        self.chapters.push(Vec::new());
    }

    /// A line, the rule at its end, and what it shows.
    pub(crate) fn line(&mut self, line: &str, rule: u32, why: &str) {
        if self.chapters.is_empty() {
            self.chapter();
        }
        let chapter = self.chapters.last_mut().unwrap();
        chapter.push((line.to_owned(), rule, why.to_owned()));
    }

    /// Holds the rules against it; with `RULES_SAMPLES=write` stores it.
    pub(crate) fn end(self) {
        let mut wrong = String::new();
        for chapter in &self.chapters {
            let mut session = Session::new(crate::rules());
            for (line, rule, why) in chapter {
                let found = session.feed(&Event::new(line).at(self.location).from_agent("001")).rule;
                if found != Some(*rule) {
                    writeln!(wrong, "{why}: expected {rule}, got {found:?}: {line}").unwrap();
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        if std::env::var("RULES_SAMPLES").as_deref() == Ok("write") {
            self.write();
        }
    }

    fn write(&self) {
        let mut text = "# Printed by the program; RULES_SAMPLES=write makes this file anew.\n".to_owned();
        for chapter in &self.chapters {
            text.push_str("{\"reset\": true}\n");
            for (line, rule, why) in chapter {
                let [line, why] = [line, why].map(|text| json!(text).to_string());
                let location = self.location;
                writeln!(
                    text,
                    "{{\"rule\": \"{rule}\", \"why\": {why}, \"location\": \"{location}\", \"agent\": \"001\", \
                     \"line\": {line}}}"
                )
                .unwrap();
            }
        }
        let path = source_tree().join("tests/fixtures/rules").join(format!("{}.jsonl", self.name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}
