//! What a run says at its end: one line in `active-responses.log`.
//!
//! `YYYY/MM/DD HH:MM:SS active-response/bin/<name>: {compact JSON}`, as the
//! decoder `ar_log_json` takes it and rules 650 to 657 judge it (Wazuh 4.14.7,
//! `ruleset/decoders/0010-active-response_decoders.xml`,
//! `ruleset/rules/0015-ossec_rules.xml`). Those look for "add" and "delete":
//! `command` says either only when it was done, and no other value contains
//! them (an IPv6 address may, as `2001:db8::add`; no rule looks at it).

use std::io;
use std::path::Path;
use std::time::Duration;

use common::address::Target;
use common::alert::Alert;
use common::record;
use common::wazuh::paths::{ACTIVE_RESPONSE_BIN, ACTIVE_RESPONSES_LOG};
use serde::Serialize;

/// The longest line, its newline included, in bytes.
const LONGEST_LINE: usize = 4096;
/// The longest text within it, in characters.
const LONGEST_TEXT: usize = 300;

/// What was done, in the one word that rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Every local backend of the run has the block.
    Add,
    /// Every local backend of the run has lifted it.
    Delete,
    /// It was blocked already, and its time was set anew.
    Extended,
    /// It waits in the outbox; nothing local was asked.
    Queued,
    /// It would have been done.
    Observed,
    /// It stays blocked for now, or for others.
    Held,
    /// It must not be blocked.
    Refused,
    /// Some backend did not do it, or the input was none.
    Failed,
}

impl Command {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Command::Add => "add",
            Command::Delete => "delete",
            Command::Extended => "extended",
            Command::Queued => "queued",
            Command::Observed => "observed",
            Command::Held => "held",
            Command::Refused => "refused",
            Command::Failed => "failed",
        }
    }
}

/// Where the alert came from, as far as a record names it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `id` of the alert.
    pub alert: String,
    /// `rule.id`.
    pub rule: String,
    /// `rule.level`.
    pub level: Option<u64>,
    /// `agent.id`.
    pub agent: String,
}

impl Origin {
    /// Of an alert of either generation.
    #[must_use]
    pub fn of(alert: &Alert) -> Origin {
        let short = |path: &str| alert.text(path).unwrap_or_default().chars().take(64).collect::<String>();
        let first = |paths: [&str; 2]| {
            let [one, other] = paths.map(short);
            if one.is_empty() { other } else { one }
        };
        Origin {
            alert: short("id"),
            rule: first(["rule.id", "wazuh.rule.id"]),
            level: alert.member("rule").and_then(|rule| rule.member("level")?.number()),
            agent: first(["agent.id", "wazuh.agent.id"]),
        }
    }
}

/// What is said of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was done.
    pub command: Command,
    /// The program's name, as Wazuh called it.
    pub program: String,
    /// The address that the alert named.
    pub srcip: Option<Target>,
    /// What was blocked or lifted, where it is something else.
    pub target: Option<Target>,
    /// The alert.
    pub origin: Origin,
    /// Who did it.
    pub backend: String,
    /// Why it was done or not, or what went wrong.
    pub reason: String,
    /// The time to live, in seconds; `Some(0)` is for ever.
    pub ttl: Option<u64>,
    /// `extra_args` that were not understood or may not be set.
    pub ignored: String,
    /// What did not prevent the run but should be mended.
    pub fault: String,
    /// Equal records that were not written since the last one.
    pub repeated: u64,
    /// How long the run took.
    pub took: Duration,
}

impl Report {
    /// Nothing known yet.
    #[must_use]
    pub fn new(command: Command, program: &str) -> Report {
        Report {
            command,
            program: program.to_owned(),
            srcip: None,
            target: None,
            origin: Origin::default(),
            backend: String::new(),
            reason: String::new(),
            ttl: None,
            ignored: String::new(),
            fault: String::new(),
            repeated: 0,
            took: Duration::ZERO,
        }
    }

    /// The JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        self.bounded_json(LONGEST_TEXT)
    }

    fn bounded_json(&self, most: usize) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            toolkit: &'static str,
            command: &'static str,
            parameters: Parameters<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            target: Option<Target>,
            #[serde(skip_serializing_if = "String::is_empty")]
            backend: String,
            #[serde(skip_serializing_if = "String::is_empty")]
            reason: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            ttl: Option<u64>,
            #[serde(skip_serializing_if = "String::is_empty")]
            ignored: String,
            #[serde(skip_serializing_if = "String::is_empty")]
            fault: String,
            #[serde(skip_serializing_if = "is_zero")]
            repeated: u64,
            took_us: u64,
        }
        #[derive(Serialize)]
        struct Parameters<'a> {
            program: String,
            alert: Shown<'a>,
        }
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(skip_serializing_if = "String::is_empty")]
            id: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            rule: Option<Rule>,
            #[serde(skip_serializing_if = "Option::is_none")]
            agent: Option<Agent>,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<Data<'a>>,
        }
        #[derive(Serialize)]
        struct Rule {
            id: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            level: Option<u64>,
        }
        #[derive(Serialize)]
        struct Agent {
            id: String,
        }
        /// `srcip` first and next to its key: a decoder looks for
        /// `"data":{"srcip":"` literally.
        #[derive(Serialize)]
        struct Data<'a> {
            srcip: &'a Target,
        }
        #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
        fn is_zero(number: &u64) -> bool {
            *number == 0
        }
        let text = |text: &str| quiet(text, most);
        let line = Line {
            toolkit: "custom-block",
            command: self.command.word(),
            parameters: Parameters {
                program: format!("{ACTIVE_RESPONSE_BIN}{}", self.program),
                alert: Shown {
                    id: text(&self.origin.alert),
                    rule: (!self.origin.rule.is_empty())
                        .then(|| Rule { id: text(&self.origin.rule), level: self.origin.level }),
                    agent: (!self.origin.agent.is_empty()).then(|| Agent { id: text(&self.origin.agent) }),
                    data: self.srcip.as_ref().map(|srcip| Data { srcip }),
                },
            },
            target: self.target.filter(|target| Some(*target) != self.srcip),
            backend: text(&self.backend),
            reason: text(&self.reason),
            ttl: self.ttl,
            ignored: text(&self.ignored),
            fault: text(&self.fault),
            repeated: self.repeated,
            took_us: u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
        };
        // Only text and numbers: this cannot fail.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// The whole line, its newline included.
    #[must_use]
    pub fn line(&self) -> String {
        let time = chrono::Local::now().format("%Y/%m/%d %H:%M:%S");
        let start = format!("{time} {ACTIVE_RESPONSE_BIN}{}: ", self.program);
        // Escaping may make a text six times as long; then it is cut shorter.
        let mut json = self.json();
        for most in [100, 30, 0] {
            if start.len() + json.len() < LONGEST_LINE {
                break;
            }
            json = self.bounded_json(most);
        }
        format!("{start}{json}\n")
    }

    /// Appends the line to the log.
    ///
    /// # Errors
    /// When the log cannot be trusted or written.
    pub fn append(&self, logs: &Path) -> io::Result<()> {
        record::append(logs, ACTIVE_RESPONSES_LOG, self.line().as_bytes())
    }
}

/// Text of others, cut to a length, control characters made visible, and the
/// words by which rules know what was done taken apart.
fn quiet(text: &str, most: usize) -> String {
    let mut quiet: String =
        text.chars().take(most).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    for word in ["add", "delete"] {
        while let Some(at) = quiet.to_ascii_lowercase().find(word) {
            quiet.insert(at + 1, '-');
        }
    }
    quiet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            srcip: Some("203.0.113.50".parse().unwrap()),
            origin: Origin { alert: "1.2".into(), rule: "5760".into(), level: Some(5), agent: "001".into() },
            backend: "nftables".into(),
            ttl: Some(600),
            ..Report::new(Command::Add, "custom-block")
        }
    }

    #[test]
    fn the_line_is_what_the_stock_decoder_takes() {
        let line = report().line();
        let (time, rest) = line.split_at(20);
        assert!(time.bytes().zip(b"dddd/dd/dd dd:dd:dd ".iter()).all(|(c, &form)| match form {
            b'd' => c.is_ascii_digit(),
            form => c == form,
        }));
        assert_eq!(
            rest,
            "active-response/bin/custom-block: {\"toolkit\":\"custom-block\",\"command\":\"add\",\"parameters\":\
             {\"program\":\"active-response/bin/custom-block\",\"alert\":{\"id\":\"1.2\",\"rule\":{\"id\":\"5760\",\
             \"level\":5},\"agent\":{\"id\":\"001\"},\"data\":{\"srcip\":\"203.0.113.50\"}}},\
             \"backend\":\"nftables\",\"ttl\":600,\"took_us\":0}\n"
        );
    }

    #[test]
    fn no_text_of_others_can_claim_a_block() {
        let mut report = report();
        report.command = Command::Failed;
        report.reason = "ADD deleted aDDress \"command\":\"add\"".into();
        report.origin.alert = "add".into();
        let json = report.json().to_ascii_lowercase();
        assert!(!json.contains("add") && !json.contains("delete"), "{json}");
        assert!(!quiet("aadddd adddelete", 99).contains("add"));
    }

    #[test]
    fn every_line_is_short_valid_and_one() {
        let mut report = report();
        for text in
            ["\0".repeat(9000), "\u{1f4a3}".repeat(9000), "\"\\\n\r\u{2028}".repeat(9000), "add".repeat(9000)]
        {
            report.reason.clone_from(&text);
            report.ignored.clone_from(&text);
            report.fault.clone_from(&text);
            report.backend.clone_from(&text);
            report.origin.alert.clone_from(&text);
            let line = report.line();
            assert!(line.len() <= LONGEST_LINE, "{}", line.len());
            assert_eq!(line.matches('\n').count(), 1);
            let json = line.split_once(": ").unwrap().1;
            serde_json::from_str::<serde_json::Value>(json).unwrap();
        }
    }
}
