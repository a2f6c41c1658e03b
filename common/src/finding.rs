//! What a `doctor` found: one form for all programs, for people and for
//! configuration management.

use serde::Serialize;

use crate::text::printable;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Nothing is wrong, but it should be known.
    Note,
    /// Something is found.
    Problem,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What it is about, in a word.
    pub about: &'static str,
    /// What is so, and what to do.
    pub text: String,
}

/// All that was found, in order.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Something is as it should be.
    pub fn ok(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { verdict: Verdict::Ok, about, text: text.into() });
    }

    /// Something should be known.
    pub fn note(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { verdict: Verdict::Note, about, text: text.into() });
    }

    /// Something is wrong.
    pub fn problem(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { verdict: Verdict::Problem, about, text: text.into() });
    }

    /// True when something is wrong.
    #[must_use]
    pub fn found(&self) -> bool {
        self.0.iter().any(|finding| finding.verdict == Verdict::Problem)
    }

    /// One line for each, safe to print on a terminal.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|finding| {
            let mark = match finding.verdict {
                Verdict::Ok => "  ok    ",
                Verdict::Note => "  note  ",
                Verdict::Problem => "PROBLEM ",
            };
            format!("{mark}{:<13} {}", finding.about, printable(&finding.text))
        })
    }

    /// One JSON object: whether all is well, and each finding.
    #[must_use]
    pub fn json(&self) -> String {
        format!("{:#}", serde_json::json!({ "healthy": !self.found(), "findings": self.0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_problem_is_enough_to_be_unwell() {
        let mut findings = Findings::default();
        findings.ok("a", "fine");
        findings.note("b", "known");
        assert!(!findings.found());
        findings.problem("c", "bad\u{1b}[2J");
        assert!(findings.found());
        assert_eq!(findings.lines().last().unwrap(), "PROBLEM c             bad\u{fffd}[2J");
        let json: serde_json::Value = serde_json::from_str(&findings.json()).unwrap();
        assert_eq!(
            (json["healthy"].clone(), json["findings"][2]["verdict"].clone()),
            (false.into(), "problem".into())
        );
    }
}
