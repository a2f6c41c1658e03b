//! What is said of the process that has a socket.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::actor::{self, Actor};
use crate::holders::PAIR;
use crate::{Stage, assert_says, one};

#[test]
fn a_shell_on_a_socket_is_marked() {
    let Some(stage) = Stage::new() else { return };
    for which in ["0", "1", "2", "012"] {
        let actor = stage.actor(&[PAIR[0], PAIR[1], PAIR[2], &format!("stdio client {which}")]);
        let run = stage.full();
        let numbers: Vec<u32> = which.chars().filter_map(|number| number.to_digit(10)).collect();
        let all: Vec<String> = numbers.iter().chain([&actor.fd("client")]).map(u32::to_string).collect();
        assert_says(
            one(&run, actor.pid(), &actor.inode("client")),
            &[("stdio_socket", json!(true)), ("fd", json!(numbers[0])), ("fds", json!(all.join(",")))],
        );
        assert_says(one(&run, actor.pid(), &actor.inode("server")), &[("stdio_socket", json!(false))]);
    }
}

#[test]
fn parents_are_named() {
    let Some(stage) = Stage::new() else { return };
    let mut actor = stage.actor(&["name elder"]);
    actor.tell("child=spawn ; name younger ; listener=listen 127.0.0.1:0");
    let pid = actor.child("child");
    let run = stage.full();
    let record = one(&run, pid, &actor.of_child("child", "listener", "inode"));
    assert_says(
        record,
        &[
            ("process_name", json!("younger")),
            ("ppid", json!(actor.pid())),
            ("parent_process", json!("elder")),
            ("parent_exe", json!(actor::program())),
        ],
    );
    let own = std::fs::read_to_string("/proc/self/comm").unwrap();
    let line = record["ancestry"].as_str().unwrap();
    assert!(line.ends_with(&format!("{}>elder>younger", own.trim_end())), "{line}");
}

#[test]
fn the_login_that_it_all_began_with_is_named() {
    let Some(stage) = Stage::new() else { return };
    let mut command = Command::new("sh");
    command.args(["-c", "echo 4242 >/proc/self/loginuid; exec \"$@\"", "sh"]);
    command.arg(actor::program()).args(PAIR);
    let actor = Actor::from(Some(&stage.namespace), command);
    let of = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/loginuid")).unwrap_or_default();
    if !harness::require(of(actor.pid()) == "4242", "a login uid that may be set") {
        return;
    }
    let unset = stage.actor(&PAIR);
    let run = stage.full();
    assert_says(one(&run, actor.pid(), &actor.inode("client")), &[("loginuid", json!("4242"))]);
    let record = one(&run, unset.pid(), &unset.inode("client"));
    if of(unset.pid()) == u32::MAX.to_string() {
        assert!(record.get("loginuid").is_none(), "{record:#}");
    }
}

/// A time as the records write it, without its fraction.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let output =
        Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%S"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim_end().to_owned()
}

#[test]
fn times_are_right() {
    let Some(stage) = Stage::new() else { return };
    // The kernel counts from its start in hundredths, and the start is known in whole seconds.
    let slack = Duration::from_secs(2);
    let before = utc(SystemTime::now() - slack);
    let actor = stage.actor(&PAIR);
    let started = utc(SystemTime::now() + slack);
    std::thread::sleep(slack * 2);
    let run = stage.changes();
    let after = utc(SystemTime::now() + slack);
    let record = one(&run, actor.pid(), &actor.inode("client"));
    let time = |key: &str| record[key].as_str().unwrap()[..19].to_owned();
    assert!(before <= time("start_time") && time("start_time") <= started, "{record:#}");
    assert!(started < time("timestamp") && time("timestamp") <= after, "{record:#}");
    assert!(started < time("first_seen") && time("first_seen") <= after, "{record:#}");
}

#[test]
fn a_terminal_is_named() {
    let Some(stage) = Stage::new() else { return };
    if !harness::require(harness::kernel::has("script"), "script") {
        return;
    }
    // On a terminal, the steps on stdin would come back as an echo.
    let mut command = Command::new("script");
    command.args(["--quiet", "--flush", "--return", "--command"]);
    command.arg(format!(
        "stty -echo -opost; exec '{}' 'listener=listen 127.0.0.1:0'",
        actor::program().display()
    ));
    command.arg("/dev/null");
    let actor = Actor::from(Some(&stage.namespace), command);
    let run = stage.full();
    let inode = actor.inode("listener");
    let records = crate::of_socket(&run, &inode);
    assert_eq!(records.len(), 1);
    let pid = &records[0]["pid"];
    let terminal = std::fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
    let said = records[0]["tty"].as_str().unwrap();
    assert_eq!(
        terminal.strip_prefix("/dev").unwrap(),
        std::path::Path::new(said.trim_start_matches("/dev/"))
    );
}

#[test]
fn a_process_without_terminal_has_none() {
    let Some(stage) = Stage::new() else { return };
    let mut command = Command::new("setsid");
    command.arg(actor::program()).args(PAIR);
    let actor = Actor::from(Some(&stage.namespace), command);
    let run = stage.full();
    assert!(one(&run, actor.pid(), &actor.inode("client")).get("tty").is_none());
}
