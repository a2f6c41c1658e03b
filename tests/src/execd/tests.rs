use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::line::Line;

const CHECK_KEYS: &str = r#"{"version":1,"origin":{"name":"x","module":"active-response"},"command":"check_keys","parameters":{"keys":["203.0.113.50"]}}"#;

/// An installation with one program, a shell script.
struct Home(tempfile::TempDir);

impl Home {
    fn new(script: &str) -> Home {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("active-response/bin");
        std::fs::create_dir_all(&bin).unwrap();
        let mut file = std::fs::File::create(bin.join("custom-block")).unwrap();
        file.write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
        Home(dir)
    }

    fn execd(&self) -> Execd<'static> {
        Execd::new(self.0.path()).limit(Duration::from_secs(5))
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.0.path().join("out")).unwrap_or_default()
    }
}

/// Writes what it is given to `out`, line by line, and answers like a good program.
fn good() -> Home {
    Home::new(&format!(
        "read -r line; echo \"$line\" >> out
         case $line in *'\"delete\"'*|*'\"disable\"'*) exit 0;; esac
         echo '{CHECK_KEYS}'; read -r line; echo \"$line\" >> out"
    ))
}

#[test]
fn a_new_key_is_continued_a_listed_one_aborted_and_each_undone_once() {
    let home = good();
    let mut execd = home.execd();
    let first = execd.request(&Line::four(), 10);
    assert_eq!((first.answer, first.code(), first.outstayed), (Some(Answer::Continue), Some(0), false));
    assert_eq!(first.keys().unwrap(), ["203.0.113.50"]);
    assert_eq!(execd.listed(), ["custom-block-203.0.113.50"]);
    execd.pass(8);
    assert_eq!(execd.request(&Line::four().id("1795255963.2"), 20).answer, Some(Answer::Abort));
    // The clock began anew, with the new timeout, which must be exceeded.
    execd.pass(20);
    assert!(execd.tick().is_empty());
    execd.pass(1);
    assert_eq!(execd.tick().len(), 1);
    assert!(execd.tick().is_empty());
    let said = home.said();
    let commands: Vec<String> = said
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|json| format!("{} {}", json["command"], json["parameters"]["alert"]["id"]).replace('"', ""))
        .collect();
    let (first, second) = ("1795255963.678290", "1795255963.2");
    assert_eq!(
        commands,
        [
            format!("add {first}"),
            format!("continue {first}"),
            format!("add {second}"),
            format!("abort {second}"),
            format!("delete {first}"),
        ]
    );
}

#[test]
fn the_next_generation_enables_and_disables() {
    let home = good();
    let mut execd = home.execd();
    assert_eq!(execd.request(&Line::five(), 3).answer, Some(Answer::Continue));
    assert_eq!(execd.stop().len(), 1);
    let said = home.said();
    let commands: Vec<&str> = said.lines().map(|line| line.rsplit('"').nth(1).unwrap()).collect();
    assert_eq!(commands, ["enable", "continue", "disable"]);
}

#[test]
fn without_a_timeout_nothing_is_listed() {
    let home = good();
    let mut execd = home.execd();
    for _ in 0..2 {
        assert_eq!(execd.request(&Line::four(), 0).answer, Some(Answer::Continue));
    }
    assert!(execd.listed().is_empty() && execd.stop().is_empty());
}

#[test]
fn without_a_line_nothing_is_listed_and_junk_makes_a_key_of_the_program_alone() {
    let silent = Home::new("read -r line; exit 3");
    let mut execd = silent.execd();
    let run = execd.request(&Line::four(), 10);
    assert_eq!((run.answer, run.code()), (None, Some(3)));
    assert!(execd.listed().is_empty());

    let long = format!("{{\"version\":1,\"x\":\"{}\"}}", "a".repeat(9000));
    let half = CHECK_KEYS.replace("\"version\":1,", "");
    for junk in ["hello", &long, &half] {
        let home = Home::new(&format!("read -r line; echo '{junk}'; read -r line"));
        let mut execd = home.execd();
        assert_eq!(execd.request(&Line::four(), 10).answer, Some(Answer::Continue));
        assert_eq!(execd.listed(), ["custom-block"]);
        assert_eq!(execd.request(&Line::add("192.0.2.1"), 10).answer, Some(Answer::Abort));
    }
}

#[test]
fn a_program_is_started_as_execd_starts_it() {
    let home = Home::new(
        "read -r line; { tr '\\0' ' ' < /proc/$$/cmdline; echo; pwd; readlink /proc/$$/fd/2; cut -d ' ' -f 6 /proc/$$/stat; echo $$; } > out",
    );
    // The script's own name is the last word of its command line.
    // Not while another test's child still has the script open.
    let started = || {
        home.execd().own_session().request(&Line::four(), 0);
        !home.said().is_empty()
    };
    assert!(crate::eventually(Duration::from_secs(5), started));
    let said = home.said();
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    assert!(lines[0].ends_with(" active-response/bin/custom-block"), "{said}");
    assert_eq!(lines[1], std::fs::canonicalize(home.0.path()).unwrap().to_str().unwrap());
    assert_eq!(lines[2], "/dev/null");
    assert_eq!(lines[3], lines[4]);
}

#[test]
fn who_hangs_is_killed_and_reported() {
    for script in
        ["read -r line; sleep 60", &format!("read -r line; echo '{CHECK_KEYS}'; sleep 60"), "cat > /dev/null"]
    {
        let home = Home::new(script);
        let run = home.execd().limit(Duration::from_millis(200)).request(&Line::four(), 10);
        assert!(run.outstayed && run.code().is_none(), "{script}");
        assert!(run.wall < Duration::from_secs(4));
    }
}

#[test]
fn a_peer_that_is_no_execd_closes_stays_silent_or_has_gone() {
    let home =
        Home::new(&format!("read -r line || exit 2; echo '{CHECK_KEYS}' || exit 4; read -r line || exit 5"));
    let (execd, hasty) = (home.execd(), home.execd().limit(Duration::from_millis(500)));
    assert_eq!(execd.feed("custom-block", b"{}\n", Then::Close, Stdout::Read).code(), Some(5));
    assert_eq!(execd.feed("custom-block", b"", Then::Close, Stdout::Read).code(), Some(2));
    assert!(hasty.feed("custom-block", b"{", Then::Silence, Stdout::Read).outstayed);
    // The shell is ended by SIGPIPE or told by its echo.
    assert_ne!(execd.feed("custom-block", b"{}\n", Then::Close, Stdout::Vanished).code(), Some(5));
    assert!(hasty.feed("custom-block", b"{}\n", Then::Close, Stdout::Full).outstayed);
    // More than a pipe holds; the shell reads it byte by byte.
    let much = vec![b' '; 1 << 17];
    assert_eq!(execd.feed("custom-block", &much, Then::Close, Stdout::Read).code(), Some(2));
}
