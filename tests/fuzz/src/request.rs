//! Standard input, as Wazuh or anybody else may write it: the request, all
//! that is derived from it, and the line that is recorded of it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use common::address::Target;
use common::alert::{Alert, FieldPath};
use common::wazuh::active_response::{
    Action, Answer, LONGEST_CHECK_KEYS, LONGEST_LINE, Request, Session, check_keys_line,
};
use custom_block::config::Settings;
use custom_block::decide::{Asker, Decision, Facts, Protected, decide};
use custom_block::extra_args::ExtraArgs;
use custom_block::firewall::Backend;
use custom_block::lifetime::{self, Wanted};
use custom_block::report::{Command, Origin, Report};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::Value;

/// The longest line that may be recorded, its newline included.
const LONGEST_RECORD: usize = 4096;
const COMMANDS: [Command; 8] = [
    Command::Add,
    Command::Delete,
    Command::Extended,
    Command::Queued,
    Command::Observed,
    Command::Held,
    Command::Refused,
    Command::Failed,
];
const PLACES: [&str; 3] = ["data.srcip", "data.win.eventdata.ipAddress", "source.ip"];
/// What must stay reachable.
const PROTECTED: [&str; 5] = ["192.0.2.10", "203.0.113.1", "198.51.100.0/25", "2001:db8::1", "10.0.0.0/8"];

/// What libFuzzer and the driver put in.
pub const WORDS: &[&str] = &[
    "\"command\":\"add\"", "\"command\":\"delete\"", "\"command\":\"enable\"", "\"command\":\"disable\"",
    "\"command\":\"continue\"", "\"command\":\"abort\"", "\"parameters\":{", "\"alert\":{", "\"extra_args\":[",
    "\"data\":{\"srcip\":\"", "\"win\":{\"eventdata\":{\"ipAddress\":\"", "\"source\":{\"ip\":\"", "\"rule\":{\"id\":\"",
    "\"agent\":{\"id\":\"", "\"id\":\"", "\"level\":", "\"program\":\"active-response/bin/", "\"wazuh\":{\"active_response\":{",
    "\"extra_arguments\":\"", "\"stateful_timeout\":", "\"--ttl\",\"", "--ttl ", "--reason ", "--backend ", "--ip-field ",
    "--dry-run", "--ip-field=/a/b~1c", "::ffff:203.0.113.50", "203.0.113.0/24", "2001:db8:1::/64", "fe80::1%eth0",
    "\\ud800", "\\udc00", "\\u0000", "\\u2028", "\u{fffd}", "add", "delete", "ADD", "dElete", "{", "}", "[", "]", "\"", ",", ":", "\n",
    "18446744073709551615", "1e999", "null",
];

/// The recorded lines alone and with their answers, and what is known to be bad.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    const ADD: &str = include_str!("../../fixtures/active-response/4.14.7-add.json");
    const ENABLE: &str = include_str!("../../fixtures/active-response/5.x-enable.json");
    let recorded = [
        ADD,
        ENABLE,
        include_str!("../../fixtures/active-response/4.14.7-delete.json"),
        include_str!("../../fixtures/active-response/5.x-disable.json"),
    ];
    let answers = [
        include_str!("../../fixtures/active-response/4.14.7-continue.json"),
        include_str!("../../fixtures/active-response/4.14.7-abort.json"),
        include_str!("../../fixtures/active-response/5.x-continue.json"),
        include_str!("../../fixtures/active-response/5.x-abort.json"),
    ];
    let mut seeds: Vec<String> = recorded.iter().map(|&line| line.to_owned()).collect();
    for answer in answers {
        seeds.push(format!("{}{answer}", if answer.contains("\"version\":1") { ADD } else { ENABLE }));
    }
    for value in [
        "\"192.0.2.77/24\"", "\"::ffff:198.51.100.7\"", "\"2001:db8:7::/64\"", "\"2001:db8::add\"", "\"1.2.3.4; rm -rf /\"",
        "\"host.example\"", "3405803826", "[\"203.0.113.50\"]", "\"\\ud800\"", "\"127.0.0.1\"", "\"0.0.0.0/0\"",
    ] {
        seeds.push(ADD.replace("\"203.0.113.50\",\"srcport\"", &format!("{value},\"srcport\"")));
    }
    for args in [
        r#"["--ttl","600","--reason","too","many","--backend","nftables,api","--ip-field","/data/x","--dry-run"]"#,
        r#"["--ttl=1h","--config","/tmp/x","flush","add delete","--reason"]"#,
    ] {
        seeds.push(ADD.replace("\"extra_args\":[]", &format!("\"extra_args\":{args}")));
    }
    seeds.push(ENABLE.replace("--backend nftables", "--ttl 3600 --reason add deleted --ip-field source.ip --dry-run"));
    // Small ones, which are changed the fastest.
    seeds.push(r#"{"command":"add","parameters":{"alert":{"id":"1","rule":{"id":"5","level":3},"data":{"srcip":"203.0.113.50"}}}}"#.into());
    seeds.push(r#"{"source":{"ip":"203.0.113.50"},"wazuh":{"active_response":{"type":"stateless"}},"command":"enable"}"#.into());
    let mut all: Vec<Vec<u8>> = seeds.into_iter().map(String::into_bytes).collect();
    all.extend([&b""[..], b"\n", b"{}", b"not JSON", b"{\"command\":\"\xff\"}"].map(<[u8]>::to_vec));
    // A line cut in the middle, one with deep nesting, and one that is too long.
    let log = "x".repeat(70_000);
    let long = ADD.replace("Failed password", &log);
    all.push(long.as_bytes()[..long.len() / 2].to_vec());
    all.push(ADD.replace("\"mail\":false", &format!("\"mail\":{}{}", "[".repeat(1000), "]".repeat(1000))).into_bytes());
    all.push(vec![b' '; LONGEST_LINE + 1]);
    all
}

/// Does what a run does, up to what it would ask of the firewall.
pub fn check(data: &[u8]) {
    let line = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let parsed = Request::parse(line);
    conversation(data, line, &parsed);
    if let Ok(json) = std::str::from_utf8(line)
        && let Ok(value) = serde_json::from_str::<Value>(json)
    {
        agrees(json, &value);
    }
    match parsed {
        Err(error) => {
            let reason = error.to_string();
            // It goes into the record; what it quotes of the input is short.
            assert!(reason.len() < 300, "a long complaint: {reason}");
            records(&Report { reason, ..Report::new(Command::Failed, "custom-block") });
        }
        Ok(request) => derive(&request),
    }
}

/// The same bytes as they are read from standard input.
fn conversation(data: &[u8], line: &[u8], parsed: &Result<Request, impl std::fmt::Debug>) {
    let file = || File::from(memory());
    let (mut input, mut output) = (file(), file());
    input.write_all(data).and_then(|()| input.rewind()).expect("memory");
    let mut session = Session::new(&input, &output, Instant::now() + Duration::from_secs(20));
    let request = session.request();
    if line.len() <= LONGEST_LINE {
        assert_eq!(request.is_ok(), parsed.is_ok(), "read as {request:?}, parsed as {parsed:?}");
    }
    assert_eq!(output.metadata().expect("memory").len(), 0, "it spoke before it was asked to");
    let Ok(request) = request else { return };
    if request.action == Action::Delete {
        return;
    }
    let answer = session.check_keys("custom-block", &["203.0.113.50"]);
    let mut said = String::new();
    output.rewind().and_then(|()| output.read_to_string(&mut said)).expect("UTF-8");
    assert_eq!(said, check_keys_line("custom-block", &["203.0.113.50"]) + "\n");
    // Nothing behind the line counts as continue.
    let rest = data.get(line.len() + 1..).unwrap_or_default();
    if rest.is_empty() {
        assert!(matches!(answer, Ok(Answer::Continue)), "{answer:?}");
    }
}

fn memory() -> OwnedFd {
    memfd_create("input", MFdFlags::MFD_CLOEXEC).expect("memory")
}

/// What serde reads as a whole, we find piece by piece: the same.
fn agrees(json: &str, value: &Value) {
    let alert = Alert::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{error}, yet it is JSON"));
    if !value.is_object() || json.contains('\\') || json.bytes().any(|byte| byte < b' ') {
        return;
    }
    for place in PLACES.iter().chain(&["id", "rule.id", "agent.id", "command"]) {
        let steps: Vec<&str> = place.split('.').collect();
        // Of duplicate keys serde takes the last, we the first.
        if steps.iter().any(|step| json.matches(&format!("\"{step}\"")).count() != 1) {
            continue;
        }
        let theirs = steps.iter().try_fold(value, |value, step| value.as_object()?.get(*step));
        let ours = alert.get(&FieldPath::parse(place).expect("a path")).and_then(|value| value.text());
        assert_eq!(ours.as_deref(), theirs.and_then(Value::as_str), "{place}");
    }
}

fn derive(request: &Request) {
    let settings = Settings::default();
    for configured in [&[Backend::Auto][..], &[Backend::Nftables, Backend::Api], &[]] {
        let args = ExtraArgs::parse(&request.extra_args, configured);
        let automatic = [Backend::Nftables, Backend::Ipset, Backend::Iptables];
        let allowed = |backend: &Backend| {
            *backend == Backend::DryRun
                || configured.contains(backend)
                || (configured.contains(&Backend::Auto) && automatic.contains(backend))
        };
        assert!(args.backends.iter().all(allowed), "{:?} of {configured:?}", args.backends);
        assert_ne!(args.ttl, Some(0), "for ever is an administrator's to say");
    }
    let args = ExtraArgs::parse(&request.extra_args, &settings.backends);
    for path in &args.ip_fields {
        let shown = path.to_string();
        // A pointer may be longer than the dotted path it was.
        if shown.len() <= 512 {
            assert_eq!(FieldPath::parse(&shown).as_ref(), Ok(path), "{shown}");
        }
    }
    let wanted = Wanted {
        stateful_timeout: request.stateful_timeout,
        extra_args: args.ttl,
        command_table: None,
    };
    let ttl = lifetime::ttl(&wanted, settings.ttl.as_secs(), settings.max_ttl.as_secs());
    assert!((1..=settings.max_ttl.as_secs()).contains(&ttl), "a time to live of {ttl}");
    assert!(lifetime::kernel_timeout(ttl).as_secs() > ttl);

    let usual: Vec<FieldPath> = PLACES.iter().filter_map(|place| FieldPath::parse(place).ok()).collect();
    let texts = args.ip_fields.iter().chain(&usual).filter_map(|path| request.alert.get(path)?.text());
    let named = texts.filter_map(|text| text.parse::<Target>().ok()).next();
    let mut report = Report {
        srcip: named,
        origin: Origin::of(&request.alert),
        reason: args.reason.clone(),
        ignored: args.ignored.join(" "),
        fault: format!("{:.2000?}", request.alert.json()),
        backend: request.extra_args.join(", "),
        ttl: Some(ttl),
        ..Report::new(Command::Failed, "custom-block")
    };
    if let Some(target) = named {
        report.target = granted(target, &settings);
    }
    // Not all eight each time: which one says nothing of the rest.
    let some = COMMANDS[request.alert.json().len() % COMMANDS.len()];
    for command in [some, Command::Failed] {
        report.command = command;
        records(&report);
    }
}

/// Decides about it; what is granted must overlap nothing that is protected.
fn granted(target: Target, settings: &Settings) -> Option<Target> {
    let again: Target = target.to_string().parse().expect("what is shown can be read");
    assert_eq!(again, target);
    let protected: Vec<Protected> = PROTECTED
        .iter()
        .map(|text| Protected { target: text.parse().expect("an address"), what: "own IP" })
        .collect();
    let facts = Facts { now: 1_800_000_000, protected: protected.clone(), ..Facts::default() };
    let Decision::Block(granted) = decide(target, Asker::Wazuh, &facts, settings) else { return None };
    let target = granted.target;
    assert!(protected.iter().all(|other| !other.target.overlaps(target)), "{target} is protected");
    assert!(target.prefix_len() >= if target.is_ipv6() { 56 } else { 24 }, "{target} is too wide");
    let line = check_keys_line("custom-block", &[&target.to_string()]);
    assert!(line.len() <= LONGEST_CHECK_KEYS && !line.contains('\n'));
    let json: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(json["parameters"]["keys"][0], target.to_string());
    Some(target)
}

/// The line is one, short, JSON, and claims nothing but what was done.
fn records(report: &Report) {
    let line = report.line();
    assert!(line.len() <= LONGEST_RECORD, "{} bytes", line.len());
    assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?}");
    let text = &line[20..line.len() - 1];
    assert!(!text.chars().any(char::is_control), "a control character: {line:?}");
    let json = text.strip_prefix("active-response/bin/custom-block: ").expect("what the decoder looks for");
    let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(value["toolkit"], "custom-block");
    assert_eq!(value["command"], report.command.word());
    let srcip = value["parameters"]["alert"]["data"]["srcip"].as_str();
    assert_eq!(srcip.map(str::to_owned), report.srcip.map(|srcip| srcip.to_string()));
    let literal = srcip.map(|srcip| format!("\"data\":{{\"srcip\":\"{srcip}\""));
    assert!(literal.is_none_or(|literal| json.matches(&literal).count() == 1), "{json}");
    // Rules look for these words: an address may hold them, nothing else.
    let mut rest = value.clone();
    rest["command"].take();
    rest["target"].take();
    rest["parameters"]["alert"]["data"].take();
    let rest = rest.to_string().to_lowercase();
    assert!(!rest.contains("add") && !rest.contains("delete"), "{rest}");
}
