//! Comparing with a manager, of which only the socket is there.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use harness::rules::logtest::{Comparison, Manager};
use harness::rules::sample::{self, Samples, Step};
use harness::rules::{Event, Ruleset, Session};
use serde_json::{Value, json};

use crate::{rule, ruleset};

/// Answers as wazuh-logtest does, from the evaluator; one rule may be wrong.
struct Fake {
    home: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    /// The commands that came, and sessions that were begun.
    heard: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

/// How it answers.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Right,
    /// The level of this rule is another.
    Wrong(u32),
    Refuses,
    /// It hangs up without an answer.
    Silent,
}

impl Fake {
    fn start(ruleset: Ruleset, manner: Manner) -> Fake {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("queue/sockets");
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join("logtest")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (stopped, log) = (Arc::clone(&stop), Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            let mut sessions: BTreeMap<String, Session<'_>> = BTreeMap::new();
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let request = receive(&mut stream);
                log.lock().unwrap().push(request["command"].as_str().unwrap().to_owned());
                if manner != Manner::Silent {
                    send(&mut stream, &answer(&ruleset, &mut sessions, &request, manner));
                }
            }
        });
        Fake { home, stop, heard, thread: Some(thread) }
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    fn compare(&self, ruleset: &Ruleset, files: &[Samples]) -> std::io::Result<Comparison> {
        Manager::at(self.home()).unwrap().compare(ruleset, files)
    }

    fn heard(&self, command: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|heard| *heard == command).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // It waits for the next one to come.
        drop(UnixStream::connect(self.home().join("queue/sockets/logtest")));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn receive(stream: &mut UnixStream) -> Value {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut text = vec![0; u32::from_le_bytes(length).try_into().unwrap()];
    stream.read_exact(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn send(stream: &mut UnixStream, answer: &Value) {
    let text = answer.to_string();
    stream.write_all(&u32::try_from(text.len()).unwrap().to_le_bytes()).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
}

fn answer<'r>(
    ruleset: &'r Ruleset,
    sessions: &mut BTreeMap<String, Session<'r>>,
    request: &Value,
    manner: Manner,
) -> Value {
    assert_eq!(request["version"], 1);
    assert!(request["origin"]["module"].is_string());
    let parameters = &request["parameters"];
    if manner == Manner::Refuses {
        return json!({"error": 2, "message": "no", "data": {}});
    }
    if request["command"] == "remove_session" {
        sessions.remove(parameters["token"].as_str().unwrap()).unwrap();
        return json!({"error": 0, "data": {"messages": [], "codemsg": 0}});
    }
    assert_eq!(request["command"], "log_processing");
    assert!(parameters["log_format"].is_string());
    let fresh = format!("{:08x}", sessions.len() + 1);
    let token = parameters["token"].as_str().map_or(fresh, str::to_owned);
    let session = sessions.entry(token.clone()).or_insert_with(|| Session::new(ruleset));
    let event =
        Event::new(parameters["event"].as_str().unwrap()).at(parameters["location"].as_str().unwrap());
    let outcome = session.feed(&event);
    let mut output = json!({"decoder": {}, "location": event.location});
    // The engine shows a rule that is ignored; it has no event of a parent.
    if let Some(rule) = outcome.ignored.or(outcome.rule).and_then(|id| ruleset.rule(id)) {
        let level = if manner == Manner::Wrong(rule.id) { rule.level + 1 } else { rule.level };
        output["rule"] = json!({"id": rule.id.to_string(), "level": level});
    }
    let data =
        json!({"messages": [], "token": token, "output": output, "alert": outcome.alert, "codemsg": 0});
    json!({"error": 0, "data": data})
}

fn rules() -> Ruleset {
    let base = rule(100_001, 3, "<field name=\"a\">^x$</field>");
    let counter = "<rule id=\"100002\" level=\"10\" frequency=\"3\" timeframe=\"60\">\
                   <if_matched_sid>100001</if_matched_sid><description>d</description></rule>";
    ruleset(&format!("{base}{counter}"))
}

fn samples(lines: &str) -> Vec<Samples> {
    let file = tempfile::Builder::new().prefix("topic").suffix(".jsonl").tempfile().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    vec![sample::read(file.path())]
}

const HIT: &str = "{\"line\": {\"m\":\"t\",\"a\":\"x\"}, \"rule\": \"100001\", \"why\": \"a hit\"}\n";

#[test]
fn a_manager_that_agrees_has_no_difference() {
    let fake = Fake::start(rules(), Manner::Right);
    // Three hits in one session, and two in another.
    let files = samples(&format!("{HIT}{HIT}{HIT}{{\"reset\": true}}\n{HIT}{HIT}"));
    let found = fake.compare(&rules(), &files).unwrap();
    assert_eq!(found, Comparison { asked: 5, left_out: 0, differences: Vec::new() });
    // Each session is closed again.
    assert_eq!((fake.heard("log_processing"), fake.heard("remove_session")), (5, 2));
}

#[test]
fn what_a_manager_has_otherwise_is_shown() {
    let fake = Fake::start(rules(), Manner::Wrong(100_002));
    let files = samples(&format!("{HIT}{HIT}{HIT}"));
    let found = fake.compare(&rules(), &files).unwrap();
    let expected =
        format!("{}.jsonl:3: a hit: ours 100002 (level 10), theirs 100002 (level 11)", files[0].name);
    assert_eq!(found.differences, [expected]);
    // A manager without our rules has none of ours.
    let bare = Fake::start(Ruleset::load(&[], &[]).unwrap(), Manner::Right);
    let found = bare.compare(&rules(), &samples(HIT)).unwrap();
    assert!(found.differences[0].ends_with("ours 100001 (level 3), theirs none"), "{found:?}");
}

#[test]
fn what_cannot_be_asked_is_counted() {
    let fake = Fake::start(rules(), Manner::Right);
    let other = HIT.replace("\"why\"", "\"agent\": \"001\", \"why\"");
    let files =
        samples(&format!("{HIT}{{\"advance\": 61}}\n{HIT}{HIT}{{\"reset\": true}}\n{HIT}{other}{HIT}"));
    let found = fake.compare(&rules(), &files).unwrap();
    assert_eq!((found.asked, found.left_out, found.differences.len()), (2, 4, 0));
    // Of a rule that ignores, its first alert and the first that it ignores.
    let text = "<rule id=\"100001\" level=\"3\" ignore=\"60\"><if_sid>100000</if_sid>\
                <field name=\"a\">x</field><description>d</description></rule>";
    let fake = Fake::start(ruleset(text), Manner::Right);
    let found = fake.compare(&ruleset(text), &samples(&HIT.repeat(4))).unwrap();
    assert_eq!((found.asked, found.left_out, found.differences.len()), (2, 2, 0));
}

#[test]
fn a_manager_that_does_not_answer_is_an_error() {
    for manner in [Manner::Refuses, Manner::Silent] {
        let fake = Fake::start(rules(), manner);
        assert!(fake.compare(&rules(), &samples(HIT)).is_err());
    }
    assert!(Manager::at(tempfile::tempdir().unwrap().path()).is_none());
}

/// Exit code and stdout of the tool.
fn tool(home: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_logtest")).arg("--home").arg(home).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_tool_says_that_there_is_no_manager() {
    let empty = tempfile::tempdir().unwrap();
    let (code, text) = tool(empty.path());
    assert_eq!(code, Some(0));
    assert_eq!(text, format!("No manager runs in {}: nothing was compared.\n", empty.path().display()));
}

#[test]
fn the_tool_sends_the_shipped_samples_and_fails_on_a_difference() {
    let right = Fake::start(Ruleset::shipped(), Manner::Right);
    let (code, text) = tool(right.home());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" events asked, 0 differ, "), "{text}");
    assert!(right.heard("log_processing") > 0);
    // Any rule of ours that a first event of a file ends at, as it is asked for sure.
    let own = |samples: &Samples| match samples.steps.first()? {
        Step::Event { event, rule: Some(id @ 100_000..), .. } if event.agent == "000" => Some(*id),
        _ => None,
    };
    let id = sample::all().iter().find_map(own).unwrap();
    let wrong = Fake::start(Ruleset::shipped(), Manner::Wrong(id));
    let (code, text) = tool(wrong.home());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("ours {id} (level ")), "{text}");
    let silent = Fake::start(Ruleset::shipped(), Manner::Silent);
    assert_eq!(tool(silent.home()).0, Some(2));
}
