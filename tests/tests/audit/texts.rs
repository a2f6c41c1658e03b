//! Texts that a process may choose: whatever they are, the line is one event,
//! and says what they are. (That it is one event, the harness sees to.)

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use harness::wodle::Run;
use serde_json::Value;

use crate::actor::{self, Actor};
use crate::{Stage, one, written};

/// An actor with a step that is no text.
fn with(stage: &Stage, step: &[u8]) -> Actor {
    let mut command = Command::new(actor::program());
    command.arg("listener=listen 127.0.0.1:0").arg(OsStr::from_bytes(step));
    Actor::from(Some(&stage.namespace), command)
}

fn record<'a>(run: &'a Run, actor: &Actor) -> &'a Value {
    one(run, actor.pid(), &actor.inode("listener"))
}

#[test]
fn a_process_may_have_any_name() {
    let Some(stage) = Stage::new() else { return };
    for (name, said) in [
        (&b"a\"b\\c)\nd"[..], "a\"b\\c)\\x0ad"),
        (b"x) R 1 (y", "x) R 1 (y"),
        (b"(((", "((("),
        (b"\",\"user\":\"me", "\",\"user\":\"me"),
        (b"\x1b[1m\t\r\x7f", "\\x1b[1m\\x09\\x0d\\x7f"),
        (b"a\xff\xc3(\xe2\x82", "a\u{fffd}\u{fffd}(\u{fffd}"),
        ("\u{202e}é".as_bytes(), "\u{202e}é"),
        (b" ", " "),
        (b"pid=1,fd=3", "pid=1,fd=3"),
    ] {
        let actor = with(&stage, &[b"name ", name].concat());
        let run = stage.full();
        let record = record(&run, &actor);
        assert_eq!(record["process_name"], said, "{name:?}");
        assert_eq!(record["process"]["name"], said, "{name:?}");
        assert_eq!(record["ppid"], std::process::id(), "{name:?}");
    }
}

#[test]
fn a_name_that_is_empty_is_not_said_as_such() {
    let Some(stage) = Stage::new() else { return };
    let actor = with(&stage, b"name ");
    // The schema wants a text, whichever.
    record(&stage.full(), &actor);
}

#[test]
fn a_command_line_may_be_anything() {
    let Some(stage) = Stage::new() else { return };
    for (word, said) in [
        (&b"note \xff\xfe \"quoted\" \\"[..], "note \u{fffd}\u{fffd} \"quoted\" \\"),
        (b"note a\nb\r\tc\x1b[0m", "note a\\x0ab\\x0d\\x09c\\x1b[0m"),
        (b"note {\"event\":\"summary\"}", "note {\"event\":\"summary\"}"),
    ] {
        let actor = with(&stage, word);
        let run = stage.full();
        let line = record(&run, &actor)["cmdline"].as_str().unwrap();
        let expected = format!("{} listener=listen 127.0.0.1:0 {said}", actor::program().display());
        assert_eq!(line, expected);
    }
}

#[test]
fn a_long_command_line_is_cut_and_the_rest_is_said() {
    let Some(stage) = Stage::new() else { return };
    // Of bytes that take six when written.
    for byte in [b'x', b'"', b'\x01', b'\xff'] {
        let actor = with(&stage, &[&b"note "[..], &[byte; 100_000]].concat());
        let run = stage.full();
        let record = record(&run, &actor);
        let line = record["cmdline"].as_str().unwrap();
        assert!(line.starts_with(&*actor::program().to_string_lossy()), "{line}");
        for key in ["exe", "start_time", "inode", "netns"] {
            assert!(record[key].is_string(), "{key} of {record:#}");
        }
    }
}

#[test]
fn a_process_without_a_command_line_is_said() {
    let Some(stage) = Stage::new() else { return };
    // As far as one can: the first word is empty.
    let mut command = Command::new(actor::program());
    std::os::unix::process::CommandExt::arg0(&mut command, "");
    command.arg("listener=listen 127.0.0.1:0");
    let actor = Actor::from(Some(&stage.namespace), command);
    record(&stage.full(), &actor);
}

#[test]
fn an_executable_may_lie_anywhere() {
    let Some(stage) = Stage::new() else { return };
    for name in [&b"we\"ird\\ \n)"[..], b"\xff\xfe", b"with (deleted) inside", b"ends with (deleted)"] {
        let path = stage.scratch("bin").join(OsStr::from_bytes(name));
        actor::copy(actor::program(), &path);
        let mut command = Command::new(&path);
        command.arg("listener=listen 127.0.0.1:0");
        let actor = Actor::from(Some(&stage.namespace), command);
        let run = stage.full();
        let record = record(&run, &actor);
        assert_eq!(record["exe"], written(path.as_os_str().as_bytes()), "{record:#}");
        assert_eq!(record["exe_deleted"], false, "{record:#}");
    }
}

#[test]
fn an_executable_may_lie_very_deep() {
    let Some(stage) = Stage::new() else { return };
    // Whose name takes twice its length when written, and more.
    for byte in [b'\n', b'\x01'] {
        let mut directory = stage.scratch("deep");
        let part = [byte; 200];
        while directory.as_os_str().len() < 3600 {
            directory.push(OsStr::from_bytes(&part));
        }
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("actor");
        actor::copy(actor::program(), &path);
        let mut command = Command::new(&path);
        command.arg("listener=listen 127.0.0.1:0");
        let actor = Actor::from(Some(&stage.namespace), command);
        let run = stage.full();
        let record = record(&run, &actor);
        assert!(record["exe"].as_str().unwrap().starts_with(&*stage.scratch("deep").to_string_lossy()));
        assert_eq!(record["local_addr"], *actor.local("listener").to_string());
    }
}

#[test]
fn hundreds_of_descriptors_of_one_socket_fit_into_a_line() {
    let Some(stage) = Stage::new() else { return };
    let copies: Vec<String> = (0..900).map(|at| format!("copy{at}=dup listener")).collect();
    let mut steps = vec!["listener=listen 127.0.0.1:0"];
    steps.extend(copies.iter().map(String::as_str));
    let actor = stage.actor(&steps);
    let run = stage.full();
    assert_eq!(record(&run, &actor)["fd"], actor.fd("listener"));
}
