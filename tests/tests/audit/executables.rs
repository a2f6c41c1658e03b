//! What the program is that a process runs.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::actor::{self, Actor};
use crate::{Stage, assert_says, one};

/// A copy of the actor, with its own directory.
struct Copy {
    _directory: TempDir,
    path: PathBuf,
}

fn copy(within: &Path) -> Copy {
    let directory = tempfile::Builder::new().prefix("wazuh-toolkit-").tempdir_in(within).unwrap();
    let path = directory.path().join("actor");
    actor::copy(actor::program(), &path);
    Copy { _directory: directory, path }
}

fn start(stage: &Stage, path: impl AsRef<OsStr>) -> Actor {
    let mut command = Command::new(path);
    command.arg("listener=listen 127.0.0.1:0");
    Actor::from(Some(&stage.namespace), command)
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().expect("coreutils are installed");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().split_once(' ').unwrap().0.to_owned()
}

/// What is said of the listener of this actor.
fn record(stage: &Stage, actor: &Actor) -> Value {
    one(&stage.full(), actor.pid(), &actor.inode("listener")).clone()
}

#[test]
fn the_executable_is_named_with_its_hash_and_its_mode() {
    let Some(stage) = Stage::new() else { return };
    for mode in [0o755, 0o700, 0o4755] {
        let copy = copy(&std::env::temp_dir());
        std::fs::set_permissions(&copy.path, Permissions::from_mode(mode)).unwrap();
        let actor = start(&stage, &copy.path);
        assert_says(
            &record(&stage, &actor),
            &[
                ("exe", json!(copy.path)),
                ("exe_deleted", json!(false)),
                ("exe_sha256", json!(sha256(&copy.path))),
                ("exe_mode", json!(format!("{mode:04o}"))),
            ],
        );
    }
}

#[test]
fn a_file_above_the_limit_is_not_hashed() {
    let Some(stage) = Stage::new() else { return };
    stage.wodle.configure("[hash]\nlargest = 100000\n");
    let actor = start(&stage, actor::program());
    let record = record(&stage, &actor);
    assert_says(&record, &[("exe", json!(actor::program()))]);
    assert!(record.get("exe_sha256").is_none());
}

#[test]
fn a_file_that_has_changed_has_another_hash() {
    let Some(stage) = Stage::new() else { return };
    let copy = copy(&std::env::temp_dir());
    let first = sha256(&copy.path);
    let actor = start(&stage, &copy.path);
    let hash_of = |actor: &Actor| {
        let run = stage.changes();
        one(&run, actor.pid(), &actor.inode("listener"))["exe_sha256"].clone()
    };
    assert_eq!(hash_of(&actor), first);
    drop(actor);
    // In place: the same name, the same inode, the same length, the same time.
    let (old, new) = (copy.path.with_extension("old"), copy.path.with_extension("new"));
    let mut bytes = std::fs::read(&copy.path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&new, &bytes).unwrap();
    Command::new("cp").arg("--preserve").args([&copy.path, &old]).status().unwrap();
    actor::copy(&new, &copy.path);
    Command::new("touch").arg("--reference").args([&old, &copy.path]).status().unwrap();
    let second = sha256(&copy.path);
    assert_ne!(second, first);
    let actor = start(&stage, &copy.path);
    assert_eq!(hash_of(&actor), second);
}

#[test]
fn an_executable_that_has_gone_is_told_from_one_that_was_replaced() {
    let Some(stage) = Stage::new() else { return };
    let (gone, replaced) = (copy(&std::env::temp_dir()), copy(&std::env::temp_dir()));
    let hash = sha256(&gone.path);
    let actors = [start(&stage, &gone.path), start(&stage, &replaced.path)];
    std::fs::remove_file(&gone.path).unwrap();
    // As a package manager does it.
    let new = replaced.path.with_extension("dpkg-new");
    std::fs::write(&new, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&new, &replaced.path).unwrap();

    for run in [stage.full(), stage.changes()] {
        for (actor, path, was_replaced) in
            [(&actors[0], &gone.path, false), (&actors[1], &replaced.path, true)]
        {
            let record = one(&run, actor.pid(), &actor.inode("listener"));
            assert_says(
                record,
                &[
                    ("exe", json!(path)),
                    ("exe_deleted", json!(true)),
                    ("exe_replaced", json!(was_replaced)),
                    ("exe_location", json!("tmp")),
                ],
            );
            // Of what runs, if of anything; never of what lies there now.
            let said = record.get("exe_sha256");
            assert!(said.is_none_or(|said| *said == hash), "{record:#}");
        }
    }
}

#[test]
fn an_executable_without_a_file_is_said_to_be_in_memory() {
    let Some(stage) = Stage::new() else { return };
    for name in ["x", "/usr/sbin/sshd", "a\"b (deleted)"] {
        let mut command = Command::new(actor::program());
        command.arg(format!("memfd {name}")).arg("listener=listen 127.0.0.1:0");
        let actor = Actor::from(Some(&stage.namespace), command);
        let record = record(&stage, &actor);
        assert_says(&record, &[("exe_location", json!("memfd"))]);
        assert!(record["exe"].as_str().unwrap().contains(name), "{record:#}");
        assert_ne!(record["exe_replaced"], true, "{record:#}");
        let hash = sha256(actor::program());
        assert!(record.get("exe_sha256").is_none_or(|said| *said == hash), "{record:#}");
    }
}

#[test]
fn a_file_that_is_called_as_if_it_were_in_memory_lies_where_it_lies() {
    let Some(stage) = Stage::new() else { return };
    let copy = copy(&std::env::temp_dir());
    let path = copy.path.with_file_name("memfd:x (deleted)");
    std::fs::rename(&copy.path, &path).unwrap();
    let actor = start(&stage, &path);
    assert_says(
        &record(&stage, &actor),
        &[("exe", json!(path)), ("exe_location", json!("tmp")), ("exe_deleted", json!(false))],
    );
}

#[test]
fn places_where_no_program_should_lie_are_named() {
    let Some(stage) = Stage::new() else { return };
    for (place, location) in [
        ("/tmp", "tmp"),
        ("/var/tmp", "tmp"),
        ("/dev/shm", "tmp"),
        ("/root", "home"),
        ("/home", "home"),
        ("/srv", "other"),
    ] {
        if !Path::new(place).is_dir() {
            continue;
        }
        let copy = copy(Path::new(place));
        let actor = start(&stage, &copy.path);
        assert_says(&record(&stage, &actor), &[("exe", json!(copy.path)), ("exe_location", json!(location))]);
    }
}

/// A program that stays a while; ended when dropped.
struct Sleep(Child);

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_program_of_the_system_is_named_so() {
    let Some(stage) = Stage::new() else { return };
    // It cannot make a socket, but it can be given one.
    let listener = stage.namespace.run(|| TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let socket = Stdio::from(OwnedFd::from(listener));
    let sleep = Sleep(Command::new("sleep").arg("60").stdin(socket).stdout(Stdio::null()).spawn().unwrap());
    let run = stage.full();
    let records = run.of(sleep.0.id());
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_says(
        records[0],
        &[
            ("local_addr", json!(address.to_string())),
            ("exe_location", json!("system")),
            ("exe_deleted", json!(false)),
            ("process_name", json!("sleep")),
            ("cmdline", json!("sleep 60")),
            ("fd", json!(0)),
            ("stdio_socket", json!(true)),
        ],
    );
    let path = PathBuf::from(records[0]["exe"].as_str().unwrap());
    assert_eq!(records[0]["exe_sha256"], sha256(&path));
}

#[test]
fn a_place_whose_name_only_begins_like_another_is_not_that_one() {
    let Some(stage) = Stage::new() else { return };
    for prefix in ["tmp", "home", "usr", "root", "dev"] {
        let made = tempfile::Builder::new().prefix(prefix).tempdir_in("/");
        if !harness::require(made.is_ok(), "a root directory that can be written") {
            return;
        }
        let directory = made.unwrap();
        let path = directory.path().join("actor");
        actor::copy(actor::program(), &path);
        let actor = start(&stage, &path);
        assert_says(&record(&stage, &actor), &[("exe", json!(path)), ("exe_location", json!("other"))]);
    }
}

#[test]
fn a_program_of_another_mount_namespace_is_not_taken_for_one_of_ours() {
    let Some(stage) = Stage::new() else { return };
    // At one path two files: ours, and the one that the process sees and runs.
    let (here, there) = (copy(&std::env::temp_dir()), stage.scratch("there"));
    let more = there.join("more");
    std::fs::write(&more, [std::fs::read(actor::program()).unwrap(), b"more".to_vec()].concat()).unwrap();
    actor::copy(&more, &there.join("actor"));
    std::fs::set_permissions(there.join("actor"), Permissions::from_mode(0o755)).unwrap();
    let directory = here.path.parent().unwrap();
    let script = "mount --bind \"$1\" \"$2\" && exec \"$2/actor\" 'listener=listen 127.0.0.1:0'";
    for ours in [true, false] {
        if !ours {
            std::fs::remove_file(&here.path).unwrap();
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).args([&there, directory]);
        let actor = Actor::from(Some(&stage.namespace), command);
        let record = record(&stage, &actor);
        assert_says(&record, &[("exe", json!(here.path)), ("exe_deleted", json!(false))]);
        let said = record.get("exe_sha256");
        assert!(said.is_none_or(|said| *said == sha256(&there.join("actor"))), "{record:#}");
    }
}
