//! What is no request, and peers that are no execd.

use std::time::Duration;

use harness::execd::{Run, Stdout, Then};
use harness::line::Line;

use crate::Host;

const NAME: &str = "custom-block";
const TARGET: &str = "203.0.113.50";

fn with_newline(line: &Line) -> Vec<u8> {
    [line.bytes(), b"\n"].concat()
}

fn bad_lines() -> Vec<(&'static str, Vec<u8>)> {
    let cut = Line::four().replace("\"full_log\":\"", &format!("\"full_log\":\"{}", "x".repeat(72_000)));
    let recorded = |value: &str| with_newline(&Line::four().srcip_value(value));
    vec![
        ("empty", Vec::new()),
        ("a newline", b"\n".to_vec()),
        ("not JSON", b"hello\n".to_vec()),
        ("not an object", b"[1, 2]\n".to_vec()),
        ("no command", b"{\"version\":1}\n".to_vec()),
        ("a command that is no text", b"{\"version\":1,\"command\":7}\n".to_vec()),
        ("an unknown command", with_newline(&Line::four().command("reload"))),
        ("the answer of execd", with_newline(&Line::four().command("continue"))),
        ("no alert", b"{\"version\":1,\"command\":\"add\",\"parameters\":{}}\n".to_vec()),
        ("no address", with_newline(&Line::four().replace("\"srcip\":\"203.0.113.50\",", ""))),
        ("a hostname", recorded("\"attacker.example.org\"")),
        ("a command line", recorded("\"1.2.3.4; rm -rf /\"")),
        ("an address with blanks", recorded("\" 203.0.113.50\"")),
        ("an address with a zone", recorded("\"fe80::1%eth0\"")),
        ("an address in octal", recorded("\"0313.0.0161.062\"")),
        ("a number", recorded("3405803826")),
        ("a list", recorded("[\"203.0.113.50\",\"203.0.113.51\"]")),
        ("an object", recorded("{\"ip\":\"203.0.113.50\"}")),
        ("null", recorded("null")),
        ("an empty address", recorded("\"\"")),
        ("70 KB cut in the middle", cut.bytes()[..70 * 1024].to_vec()),
        ("1 MiB of blanks", vec![b' '; 1 << 20]),
        ("more than 1 MiB of blanks", vec![b' '; (1 << 20) + 4096]),
        ("zeros", vec![0; 4096]),
        ("20,000 brackets", vec![b'['; 20_000]),
    ]
}

#[test]
fn bad_input_changes_nothing_and_is_recorded_once_and_soon() {
    let Some(host) = Host::new() else { return };
    for (what, bytes) in bad_lines() {
        let execd = host.execd();
        // Two cores run many tests: the best of a few is the program's own.
        let runs: Vec<Run> = (0..5).map(|_| execd.feed(NAME, &bytes, Then::Close, Stdout::Read)).collect();
        for run in &runs {
            assert_eq!(run.code(), Some(2), "{what}");
            assert_eq!(String::from_utf8_lossy(&run.said), "", "{what}");
        }
        let best = runs.iter().map(|run| run.wall).min().unwrap();
        // Without waiting for the deadline, which is five seconds.
        assert!(best < Duration::from_secs(1), "{what}: {best:?}");
        let records = host.wazuh.records();
        assert!(records.iter().all(|record| record.command() == "failed"), "{what}");
        // Five equal ones: at least the first, never more than were made.
        assert!((1..=5).contains(&records.len()), "{what}: {} records", records.len());
        std::fs::remove_file(host.wazuh.home().join("logs/active-responses.log")).unwrap();
        assert!(host.blocks().is_empty(), "{what}");
        assert!(host.namespace.command("nft", &["list", "ruleset"]).is_empty(), "{what}");
    }
}

#[test]
fn each_single_bad_line_is_one_record() {
    for (what, bytes) in bad_lines() {
        let Some(host) = Host::new() else { return };
        host.execd().feed(NAME, &bytes, Then::Close, Stdout::Read);
        assert_eq!(host.wazuh.records().len(), 1, "{what}");
    }
}

#[test]
fn half_a_line_without_an_end_ends_at_the_deadline() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("deadline = \"300ms\"\n");
    for length in [0, 1, 500] {
        let run = host.execd().feed(NAME, &Line::four().bytes()[..length], Then::Silence, Stdout::Read);
        assert!(!run.outstayed && run.code().is_some_and(|code| code != 0), "{length}: {:?}", run.status);
        assert!((300..4000).contains(&run.wall.as_millis()), "{length}: {:?}", run.wall);
        assert_eq!(host.wazuh.records().last().unwrap().command(), "failed");
    }
    assert!(host.blocks().is_empty());
}

#[test]
fn a_line_piped_in_by_hand_counts_as_answered() {
    let Some(host) = Host::new() else { return };
    for line in [Line::four(), Line::five()] {
        let run = host.execd().feed(NAME, &with_newline(&line), Then::Close, Stdout::Read);
        assert_eq!(run.code(), Some(0));
        assert_eq!(host.targets(), [TARGET]);
        let undo = line.clone().command(if line == Line::four() { "delete" } else { "disable" });
        // Also without a newline.
        let run = host.execd().feed(NAME, undo.bytes(), Then::Close, Stdout::Read);
        assert_eq!((run.code(), run.said.len()), (Some(0), 0));
        assert!(host.blocks().is_empty());
    }
}

#[test]
fn without_an_answer_nothing_is_blocked() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("deadline = \"300ms\"\n");
    let run = host.execd().feed(NAME, &with_newline(&Line::four()), Then::Silence, Stdout::Read);
    assert_eq!((run.outstayed, run.code()), (false, Some(1)));
    assert_eq!(host.wazuh.records().last().unwrap().command(), "failed");
    assert!(host.blocks().is_empty() && host.listed().is_empty());
}

/// Whatever became of stdout: the record, the kernel and `list` say the same.
fn nothing_is_half_done(host: &Host, run: &Run, what: &str) {
    assert!(run.code().is_some() && !run.outstayed, "{what}: {:?}", run.status);
    let records = host.wazuh.records();
    let blocked = records.last().unwrap().command() == "add";
    assert_eq!(!host.blocks().is_empty(), blocked, "{what}: {:?}", records.last());
    assert_eq!(host.listed(), host.targets(), "{what}");
    assert_eq!(run.code() == Some(0), blocked, "{what}");
}

#[test]
fn a_closed_stdout_and_a_reader_that_has_gone_leave_nothing_half_done() {
    for then in [Then::Close, Then::Silence] {
        for stdout in [Stdout::Vanished, Stdout::Full, Stdout::Discard] {
            let Some(host) = Host::new() else { return };
            host.wazuh.configure("deadline = \"500ms\"\n");
            let run = host.execd().feed(NAME, &with_newline(&Line::four()), then, stdout);
            nothing_is_half_done(&host, &run, &format!("{then:?}, {stdout:?}"));
        }
        let Some(host) = Host::new() else { return };
        host.wazuh.configure("deadline = \"500ms\"\n");
        let mut execd = host.execd();
        execd.launcher(["sh", "-c", "exec \"$0\" >&-"]);
        let run = execd.feed(NAME, &with_newline(&Line::four()), then, Stdout::Read);
        nothing_is_half_done(&host, &run, &format!("{then:?}, closed"));
    }
}

#[test]
fn a_delete_says_nothing_and_waits_for_nothing() {
    let Some(host) = Host::new() else { return };
    host.execd().request(&Line::four(), 600);
    let delete = with_newline(&Line::four().command("delete"));
    let run = host.execd().feed(NAME, &delete, Then::Silence, Stdout::Read);
    assert_eq!((run.code(), run.said.len()), (Some(0), 0));
    assert!(run.wall < Duration::from_secs(4));
    assert!(host.blocks().is_empty());
}

#[test]
fn the_rest_of_an_alert_cannot_prevent_the_block() {
    let full_log = "\"full_log\":\"";
    let deep = format!("\"x\":{}{},{full_log}", "[".repeat(1000), "]".repeat(1000));
    let deep_objects = format!("\"x\":{}1{},{full_log}", "{\"y\":".repeat(1000), "}".repeat(1000));
    let hostile: Vec<(&str, Line)> = vec![
        ("invalid UTF-8", Line::four().replace_bytes(full_log.as_bytes(), b"\"full_log\":\"\xff\xfe\x80")),
        ("a lone surrogate", Line::four().replace(full_log, "\"full_log\":\"\\ud800 \\udc00")),
        ("1,000 arrays", Line::four().replace(full_log, &deep)),
        ("1,000 objects", Line::four().replace(full_log, &deep_objects)),
        ("control characters", Line::four().replace(full_log, "\"full_log\":\"\u{1}\u{1b}[2J")),
        ("a large number", Line::four().replace(full_log, &format!("\"x\":{},{full_log}", "9".repeat(5000)))),
        ("a huge exponent", Line::four().replace(full_log, &format!("\"x\":1e999999,{full_log}"))),
        (
            "the same key twice",
            Line::four().replace(
                "\"data\":{\"srcip\":\"203.0.113.50\",",
                "\"data\":{\"srcip\":\"203.0.113.50\",\"srcip\":\"198.51.100.7\",",
            ),
        ),
        (
            "the same object twice",
            Line::four().replace("\"location\":", "\"data\":{\"srcip\":\"198.51.100.7\"},\"location\":"),
        ),
        (
            "a command in the alert",
            Line::four().replace(full_log, &format!("\"command\":\"delete\",{full_log}")),
        ),
        ("an escaped key", Line::four().replace("\"srcip\"", "\"src\\u0069p\"")),
        ("60 KB", Line::four().replace(full_log, &format!("{full_log}{}", "\u{1f4a3}\\\\\\\"".repeat(7500)))),
        (
            "invalid UTF-8 in the rule's id",
            Line::four().replace_bytes(b"\"id\":\"5760\"", b"\"id\":\"57\xff60\""),
        ),
        (
            "a rule that claims",
            Line::four().replace("\"id\":\"5760\"", "\"id\":\"\\\",\\\"command\\\":\\\"delete\""),
        ),
        (
            "an agent that claims",
            Line::four().replace(
                "\"id\":\"000\"",
                "\"id\":\"add delete ADD\\n2026/01/01 00:00:00 active-response/bin/firewall-drop: {}\"",
            ),
        ),
    ];
    for (what, line) in hostile {
        let Some(host) = Host::new() else { return };
        let mut execd = host.execd();
        assert_eq!(execd.request(&line, 600).keys().unwrap_or_default(), [TARGET], "{what}");
        assert_eq!(host.targets(), [TARGET], "{what}");
        let lifted = execd.stop();
        // Read as Wazuh reads them: valid UTF-8, one object a line.
        let records = host.wazuh.records();
        let left = host.blocks();
        assert!(left.is_empty(), "{what}: {left:?} after {lifted:?}, {records:?}");
        let commands: Vec<&str> = records.iter().map(|record| record.command()).collect();
        assert_eq!(commands, ["add", "delete"], "{what}");
        crate::record::check_all(&host.wazuh);
    }
}

#[test]
fn only_five_extra_arguments_mean_something_and_the_others_are_named() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("backends = [\"nftables\"]\nallowlist = [\"198.51.100.7\"]\n");
    let outside = host.wazuh.scratch().join("outside");
    for args in [
        vec!["flush", "--yes"],
        vec!["--config", outside.to_str().unwrap()],
        vec!["--state-dir", outside.to_str().unwrap()],
        vec!["--home=/tmp"],
        vec!["--allowlist", "203.0.113.50"],
        vec!["--force"],
        vec!["--max-blocks", "0"],
        vec!["--backend", "iptables"],
        vec!["--ttl", "0"],
    ] {
        for line in [Line::four(), Line::five()] {
            let mut execd = host.execd();
            execd.request(&line.extra_args(&args), 600);
            assert_eq!(host.targets(), [TARGET], "{args:?}");
            let record = host.wazuh.records().pop().unwrap();
            assert_eq!(record.command(), "add");
            let named = args[0].trim_start_matches('-').split('=').next().unwrap();
            assert!(record.text.contains(named), "{args:?} is not named: {}", record.text);
            execd.stop();
        }
    }
    assert!(!outside.exists());
    // The allowlist holds whatever is said.
    let run = host.execd().request(&Line::add("198.51.100.7").extra_args(&["--force", "--allowlist="]), 600);
    assert_eq!((run.keys(), run.code()), (None, Some(0)));
    assert!(host.blocks().is_empty());
}

#[test]
fn extra_arguments_choose_among_what_is_configured() {
    let Some(host) = Host::new() else { return };
    let line = Line::four().extra_args(&["--dry-run"]);
    let run = host.execd().request(&line, 600);
    assert_eq!(run.code(), Some(0));
    assert_eq!(host.wazuh.records().pop().unwrap().command(), "observed");
    assert!(host.blocks().is_empty());

    let line = Line::four()
        .replace("\"dstuser\":\"root\"", "\"dstuser\":\"root\",\"proxied\":{\"for\":\"198.51.100.7\"}")
        .extra_args(&["--ip-field", "data.proxied.for", "--reason", "brute", "force"]);
    host.execd().request(&line, 600);
    assert_eq!(host.targets(), ["198.51.100.7"]);
    assert!(host.wazuh.records().pop().unwrap().text.contains("brute force"));
}
