//! What a person types, and reads.

use std::collections::BTreeSet;
use std::process::Output;

use harness::{kernel, program, require};

use crate::actor::{Actor, PROGRAM};
use crate::{Scene, sockets};

fn verb(scene: &Scene, args: &[&str]) -> Output {
    scene.room.verb(&scene.wodle, program::custom_audit(), args)
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text is UTF-8")
}

/// Processes of every kind, so that a run says every key there is.
fn all_kinds(scene: &Scene) -> Vec<Actor> {
    scene.room.sh("ip addr add 8.8.8.8/32 dev lo");
    let start = |steps: &[&str]| Actor::new(&scene.room, steps);
    let mut first = start(&["l=listen 127.0.0.1:7000", "o=connect l", "m=listen [::1]:0", "d=connect m"]);
    first.tell("a=accept l");
    vec![
        first,
        start(&["l=listen 8.8.8.8:443", "c=connect l"]),
        start(&["a,b=unix", "u=udp 127.0.0.1:0", "send u a", "drop u"]),
        start(&["k=packet", "r=raw 1", "s=raw6 58"]),
        start(&["memfd x", "c=connect 127.0.0.1:7000"]),
        start(&["uids 0 65534 0", "m=udp 127.0.0.1:0", "uids 0 0 0"]),
        start(&["c=connect 127.0.0.1:7000", "stdio c 02"]),
        start(&[
            "name a\u{1b}[31m\"b\\c)\n\u{202e}d",
            "c=udp 127.0.0.1:0",
            "note \u{1b}]0;title\u{7}\u{9b}2J",
        ]),
    ]
}

#[test]
fn every_key_of_every_record_is_explained_and_no_other() {
    let Some(scene) = Scene::new() else { return };
    let mut actors = all_kinds(&scene);
    let mut keys = BTreeSet::new();
    for args in [&["--wodle"][..], &["--full"], &["--full", "--process-key", "string"]] {
        for event in scene.run(args).events {
            keys.extend(event.as_object().unwrap().keys().cloned());
        }
    }
    actors.remove(0).end();
    scene.wodle.configure("max_evnts = 1\n");
    for event in scene.run(&[]).events {
        keys.extend(event.as_object().unwrap().keys().cloned());
    }
    assert!(keys.len() > 70, "{} keys: {keys:?}", keys.len());
    for key in &keys {
        let output = verb(&scene, &["explain", key]);
        assert_eq!(output.status.code(), Some(0), "{key}");
        assert!(
            text(&output).contains(key.as_str()) && text(&output).len() > key.len() + 20,
            "{key}: {}",
            text(&output)
        );
    }
    let all = text(&verb(&scene, &["explain"]));
    for key in &keys {
        assert!(all.contains(key.as_str()), "{key} is not in the list");
    }
    for unknown in ["process_nam", "", "*", "pid ", "\u{1b}[31m"] {
        let output = verb(&scene, &["explain", unknown]);
        assert_eq!(output.status.code(), Some(2), "{unknown:?}");
        assert!(!output.stderr.contains(&0x1b) && !output.stdout.contains(&0x1b), "{unknown:?}");
    }
}

#[test]
fn the_values_of_a_key_are_explained_too() {
    let Some(scene) = Scene::new() else { return };
    for (key, values) in [
        (
            "event",
            &["conn_new", "conn_open", "conn_closed", "listen_new", "unattributed", "summary", "error"][..],
        ),
        ("exe_location", &["system", "tmp", "home", "memfd", "container", "other"]),
        ("remote_scope", &["loopback", "private", "cgnat", "public"]),
        ("root_reason", &["euid0", "suid0", "cap:"]),
        ("direction", &["inbound", "outbound", "listen"]),
        ("hint", &["nfs", "wireguard", "unknown"]),
    ] {
        let text = text(&verb(&scene, &["explain", key]));
        for value in values {
            assert!(text.contains(value), "{key} does not say {value}: {text}");
        }
    }
}

/// Where the columns of a header begin: words with two blanks or more between.
fn columns(header: &str) -> Vec<usize> {
    let characters: Vec<char> = header.chars().collect();
    let blank = |at: usize| characters.get(at).is_none_or(|c| *c == ' ');
    (0..characters.len())
        .filter(|&at| !blank(at) && (at == 0 || (blank(at - 1) && (at < 2 || blank(at - 2)))))
        .collect()
}

#[test]
fn the_table_is_aligned_and_has_nothing_that_a_terminal_would_obey() {
    let Some(scene) = Scene::new() else { return };
    let actors = all_kinds(&scene);
    let output = verb(&scene, &["--table"]);
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output);
    let hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}' || c == '\u{9b}';
    assert!(!table.contains(hostile), "{table:?}");
    for label in ["l", "o", "m", "d", "a"] {
        let (_, pid, local, remote) = actors[0].heard("", label);
        let row = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.contains(&pid.to_string().as_str()) && words.ends_with(&[&local, &remote, PROGRAM])
        };
        assert_eq!(table.lines().filter(|line| row(line)).count(), 1, "{label}: {table}");
    }
    let columns = columns(table.lines().next().unwrap());
    assert!(columns.len() >= 4, "{table}");
    let rows: Vec<Vec<char>> = table.lines().skip(1).map(|line| line.chars().collect()).collect();
    let in_column = |row: &[char], at: usize| at == 0 || row.get(at - 1).is_none_or(|c| *c == ' ');
    let aligned = rows.iter().filter(|row| columns.iter().all(|&at| in_column(row, at))).count();
    assert!(aligned >= 12, "{aligned} rows only are aligned with the header:\n{table}");
}

#[test]
fn looking_at_a_table_takes_nothing_from_what_the_wodle_says() {
    let Some(scene) = Scene::new() else { return };
    let actor = Actor::new(&scene.room, &["l=listen 127.0.0.1:0", "o=connect l", "a=accept l"]);
    assert_eq!(verb(&scene, &["--table"]).status.code(), Some(0));
    assert_eq!(sockets(&scene.run(&[])).len(), actor.count());
    assert_eq!(verb(&scene, &["--table"]).status.code(), Some(0));
    assert_eq!(sockets(&scene.run(&[])), []);
}

#[test]
fn a_terminal_gets_colours_and_nothing_else_does() {
    let Some(scene) = Scene::new() else { return };
    if !require(kernel::has("script"), "script") {
        return;
    }
    let _actors = all_kinds(&scene);
    let line = format!("'{}' --table", program::custom_audit().display());
    let output = scene.room.verb(&scene.wodle, "script".as_ref(), &["-qec", &line, "/dev/null"]);
    let text = text(&output);
    assert!(text.contains("\u{1b}["), "no colours: {text:?}");
    assert!(!text.contains("\u{1b}]") && !text.contains("\u{1b}[2J") && !text.contains('\u{9b}'), "{text:?}");
}

#[test]
fn help_and_version_are_there() {
    let Some(scene) = Scene::new() else { return };
    let help = verb(&scene, &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in [
        "--wodle",
        "--full",
        "--watch",
        "--output",
        "--max-events",
        "--process-key",
        "--geo-peer",
        "--table",
        "--check-config",
        "--home",
        "--state-dir",
        "--config",
        "explain",
        "doctor",
    ] {
        assert!(text(&help).contains(word), "{word}");
    }
    let version = verb(&scene, &["--version"]);
    assert!(version.status.success() && text(&version).contains("custom-audit"));
    let run = scene.run(&["--full"]);
    assert!(text(&version).contains(run.summary()["version"].as_str().unwrap()));
}
