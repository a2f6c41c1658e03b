//! The same events, asked of a running manager: the socket of wazuh-logtest,
//! which keeps sessions in which frequency rules count.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::sample::{Samples, Step};
use super::{Event, Ruleset, Session};

/// Loading the ruleset, at the start of a session, takes seconds.
const LIMIT: Duration = Duration::from_secs(60);
/// An answer has a line and what was decoded of it.
const LONGEST_ANSWER: u32 = 4 << 20;
/// Ids that are ours; what stock rules do with a line is theirs to know.
const OWN: std::ops::RangeInclusive<u32> = 100_000..=120_000;

/// A manager that can be asked.
#[derive(Debug, Clone)]
pub struct Manager {
    socket: PathBuf,
}

/// What comparing found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Events that were sent.
    pub asked: usize,
    /// Events of a session in which another agent spoke, the clock was moved or
    /// a rule ignored one: the protocol has none of that.
    pub left_out: usize,
    /// One line for each event that came out otherwise.
    pub differences: Vec<String>,
}

/// A session on the manager's side; it is closed with this.
struct Conversation<'m> {
    manager: &'m Manager,
    token: Option<String>,
}

impl Manager {
    /// The one that is installed there, if its socket is.
    #[must_use]
    pub fn at(home: &Path) -> Option<Manager> {
        let socket = home.join("queue/sockets/logtest");
        socket.exists().then_some(Manager { socket })
    }

    /// Asks every event of the files, and holds rule and level against ours.
    ///
    /// # Errors
    /// When the manager does not answer, or refuses to.
    pub fn compare(&self, ruleset: &Ruleset, files: &[Samples]) -> io::Result<Comparison> {
        let mut comparison = Comparison::default();
        for samples in files {
            let mut session = Session::new(ruleset);
            let mut theirs = Conversation { manager: self, token: None };
            // Once the two can have seen different things, they may differ.
            let mut apart = false;
            for step in &samples.steps {
                match step {
                    Step::Reset => {
                        session = Session::new(ruleset);
                        theirs = Conversation { manager: self, token: None };
                        apart = false;
                    }
                    Step::Advance(time) => {
                        session.advance(*time);
                        apart = true;
                    }
                    Step::Event { number, event, why, .. } => {
                        apart |= event.agent != "000";
                        if apart {
                            comparison.left_out += 1;
                            continue;
                        }
                        comparison.asked += 1;
                        let outcome = session.feed(event);
                        // Unlike analysisd, this shows a rule that ignores and not its
                        // parent, which it does not count either.
                        apart = outcome.ignored.is_some();
                        let rule = outcome.ignored.or(outcome.rule).and_then(|id| ruleset.rule(id));
                        let ours = rule.map(|rule| (rule.id, u64::from(rule.level)));
                        let answer = theirs.ask(event)?;
                        if !agree(ours, answer) {
                            let (ours, answer) = (shown(ours), shown(answer));
                            let place = format!("{}.jsonl:{number}", samples.name);
                            comparison
                                .differences
                                .push(format!("{place}: {why}: ours {ours}, theirs {answer}"));
                        }
                    }
                }
            }
        }
        Ok(comparison)
    }

    fn request(&self, command: &str, parameters: &Value) -> io::Result<Value> {
        let origin = json!({"name": "wazuh-toolkit", "module": "logtest"});
        let request =
            json!({"version": 1, "origin": origin, "command": command, "parameters": parameters}).to_string();
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        let length = u32::try_from(request.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_le_bytes())?;
        stream.write_all(request.as_bytes())?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > LONGEST_ANSWER {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut answer = Vec::new();
        stream.take(length.into()).read_to_end(&mut answer)?;
        let answer: Value = serde_json::from_slice(&answer)?;
        if answer["error"] != 0 {
            return Err(io::Error::other(format!("the manager refused: {}", answer["message"])));
        }
        Ok(answer["data"].clone())
    }
}

impl Conversation<'_> {
    /// The rule and its level at the end of an event.
    fn ask(&mut self, event: &Event) -> io::Result<Option<(u32, u64)>> {
        let mut parameters = json!({"event": event.line, "log_format": "syslog", "location": event.location});
        if let Some(token) = &self.token {
            parameters["token"] = token.as_str().into();
        }
        let data = self.manager.request("log_processing", &parameters)?;
        let wrong = |what: &str| io::Error::other(format!("{what}: {}", data["messages"]));
        if data["codemsg"].as_i64().is_none_or(|code| code < 0) {
            return Err(wrong("the manager could not try the event"));
        }
        let token = data["token"].as_str().ok_or_else(|| wrong("no session"))?;
        if self.token.as_deref().is_some_and(|own| own != token) {
            return Err(wrong("the manager forgot the session"));
        }
        self.token = Some(token.to_owned());
        let rule = &data["output"]["rule"];
        let id = rule["id"].as_str().and_then(|id| id.parse().ok());
        Ok(id.zip(rule["level"].as_u64()))
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            // The manager forgets it by itself, later.
            let _ = self.manager.request("remove_session", &json!({"token": token}));
        }
    }
}

fn agree(ours: Option<(u32, u64)>, theirs: Option<(u32, u64)>) -> bool {
    let own = |found: Option<(u32, u64)>| found.filter(|(id, _)| OWN.contains(id));
    own(ours) == own(theirs)
}

fn shown(found: Option<(u32, u64)>) -> String {
    found.map_or_else(|| "none".to_owned(), |(id, level)| format!("{id} (level {level})"))
}
