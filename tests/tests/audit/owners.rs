//! Who is root, by whatever means.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::actor::{self, Actor};
use crate::holders::PAIR;
use crate::{NOBODY, Stage, assert_says, one};

#[test]
fn a_process_of_another_user_is_not_mentioned() {
    let Some(stage) = Stage::new() else { return };
    let steps = [&["raw=raw 1", "packet=packet", "uids 65534 65534 65534"][..], &PAIR].concat();
    let actor = stage.actor(&steps);
    for run in [stage.full(), stage.changes()] {
        assert!(run.of(actor.pid()).is_empty(), "{:#?}", run.of(actor.pid()));
    }
}

#[test]
fn a_socket_that_another_user_made_is_marked_when_root_has_it() {
    let Some(stage) = Stage::new() else { return };
    let actor = stage.actor(&[
        "uids 0 65534 0",
        PAIR[0],
        PAIR[1],
        "udp=udp 127.0.0.1:0",
        "uids 0 0 0",
        PAIR[2],
        "own=udp 127.0.0.1:0",
    ]);
    for run in [stage.full(), stage.changes()] {
        for (socket, uid) in [("listener", NOBODY), ("client", NOBODY), ("udp", NOBODY), ("own", 0)] {
            assert_says(
                one(&run, actor.pid(), &actor.inode(socket)),
                &[
                    ("socket_uid", json!(uid)),
                    ("socket_uid_mismatch", json!(uid != 0)),
                    ("euid", json!(0)),
                    ("user", json!("root")),
                    ("root_reason", json!("euid0")),
                ],
            );
        }
    }
}

#[test]
fn a_program_that_became_root_by_its_file_is_marked_with_the_socket_it_was_left() {
    let Some(stage) = Stage::new() else { return };
    let path = stage.scratch("bin").join("actor");
    actor::copy(actor::program(), &path);
    std::fs::set_permissions(&path, Permissions::from_mode(0o4755)).unwrap();
    std::fs::set_permissions(stage.wodle.dir(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&path);
    command.args(["uids 65534 65534 65534"]).args(PAIR).arg("root=spawn client");
    let actor = Actor::from(Some(&stage.namespace), command);
    let pid = actor.child("root");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    if !harness::require(status.contains("Uid:\t65534\t0\t0\t0"), "a temporary directory that is not nosuid")
    {
        return;
    }
    let inode = actor.inode("client");
    for run in [stage.full(), stage.changes()] {
        assert_says(
            one(&run, pid, &inode),
            &[
                ("socket_uid", json!(NOBODY)),
                ("socket_uid_mismatch", json!(true)),
                ("euid", json!(0)),
                ("ruid", json!(NOBODY)),
                ("exe_mode", json!("4755")),
                ("holders", json!(1)),
            ],
        );
        assert!(run.of(actor.pid()).is_empty());
    }
}

/// The name of a user, or the number of one without.
fn name(uid: u32) -> String {
    let output = Command::new("getent").args(["passwd", &uid.to_string()]).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    line.split_once(':').map_or(uid.to_string(), |(name, _)| name.to_owned())
}

#[test]
fn a_process_that_can_become_root_again_is_root() {
    let Some(stage) = Stage::new() else { return };
    let (nobody, stranger) = (NOBODY, 3_999_999);
    for (uids, reason) in
        [([nobody, nobody, 0], "suid0"), ([0, nobody, nobody], "ruid0"), ([stranger, stranger, 0], "suid0")]
    {
        let [ruid, euid, suid] = uids;
        let actor = stage.actor(&["listener=listen 127.0.0.1:0", &format!("uids {ruid} {euid} {suid}")]);
        for run in [stage.full(), stage.changes()] {
            assert_says(
                one(&run, actor.pid(), &actor.inode("listener")),
                &[
                    ("root_reason", json!(reason)),
                    ("euid", json!(euid)),
                    ("ruid", json!(ruid)),
                    ("suid", json!(suid)),
                    ("user", json!(name(euid))),
                ],
            );
        }
    }
}

/// A process that has no capability left, but could have all of them again.
const BARE: &str = "import ctypes,os,socket,sys
s=socket.socket()
s.bind(('127.0.0.1',0))
s.listen(1)
os.setresuid(65534,65534,0)
header=(ctypes.c_uint32*2)(0x20080522,0)
if ctypes.CDLL(None).capset(header,(ctypes.c_uint32*6)()): sys.exit('capset')
print('{\"sockets\":{\"listener\":{\"inode\":\"%d\"}}}'%os.fstat(s.fileno()).st_ino,flush=True)
sys.stdin.read()";

#[test]
fn a_process_without_capabilities_that_can_become_root_again_is_root() {
    let Some(stage) = Stage::thorough() else { return };
    if !harness::require(harness::kernel::has("python3"), "python3") {
        return;
    }
    let mut command = Command::new("python3");
    command.args(["-c", BARE]);
    let python = Actor::from(Some(&stage.namespace), command);
    for run in [stage.full(), stage.changes()] {
        assert_says(
            one(&run, python.pid(), &python.inode("listener")),
            &[("root_reason", json!("suid0")), ("caps", json!("none"))],
        );
    }
}

/// An actor that is nobody, but for these capabilities.
fn capable(stage: &Stage, names: &[&str]) -> Actor {
    let list: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
    let list = if list.is_empty() { "-all".to_owned() } else { list.join(",") };
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args([format!("--inh-caps={list}"), format!("--ambient-caps={list}")]);
    command.arg(actor::program()).arg("listener=listen 127.0.0.1:0");
    Actor::from(Some(&stage.namespace), command)
}

/// Names as one may write them: with or without a prefix, in either case.
fn plain(names: &Value) -> Vec<String> {
    let names = names.as_str().unwrap_or_default().to_lowercase();
    let names = names.strip_prefix("cap:").unwrap_or(&names).split(',');
    let mut names: Vec<String> =
        names.map(|name| name.strip_prefix("cap_").unwrap_or(name).to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_process_that_has_the_power_of_root_by_capabilities_is_root() {
    let Some(stage) = Stage::new() else { return };
    for names in [&["sys_admin"][..], &["sys_module"], &["sys_ptrace"], &["setuid"], &["setuid", "sys_admin"]]
    {
        let actor = capable(&stage, names);
        let run = stage.full();
        let record = one(&run, actor.pid(), &actor.inode("listener"));
        assert_says(record, &[("euid", json!(NOBODY)), ("suid", json!(NOBODY)), ("ruid", json!(NOBODY))]);
        assert!(
            record["root_reason"].as_str().is_some_and(|reason| reason.starts_with("cap:")),
            "{record:#}"
        );
        assert_eq!(plain(&record["root_reason"]), names, "{record:#}");
        assert_eq!(plain(&record["caps"]), names, "{record:#}");
    }
}

#[test]
fn a_process_with_harmless_capabilities_is_not_root() {
    let Some(stage) = Stage::new() else { return };
    for names in [&[][..], &["net_bind_service"]] {
        let actor = capable(&stage, names);
        assert!(stage.full().of(actor.pid()).is_empty(), "{names:?}");
    }
}

#[test]
fn root_of_a_user_namespace_is_not_root() {
    let Some(stage) = Stage::new() else { return };
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "unshare",
        "--user",
        "--map-root-user",
    ]);
    let possible = Command::new(command.get_program()).args(command.get_args()).arg("true").status();
    if !harness::require(possible.is_ok_and(|status| status.success()), "user namespaces for everybody") {
        return;
    }
    command.arg(actor::program()).arg("listener=listen 127.0.0.1:0");
    let actor = Actor::from(Some(&stage.namespace), command);
    assert!(stage.full().of(actor.pid()).is_empty());
}

#[test]
fn root_stays_root_in_a_user_namespace() {
    let Some(stage) = Stage::new() else { return };
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(actor::program()).arg("listener=listen 127.0.0.1:0");
    let actor = Actor::from(Some(&stage.namespace), command);
    let run = stage.full();
    assert_says(one(&run, actor.pid(), &actor.inode("listener")), &[("root_reason", json!("euid0"))]);
}

#[test]
fn a_process_that_may_not_be_traced_is_seen() {
    let Some(stage) = Stage::new() else { return };
    let actor = stage.actor(&["listener=listen 127.0.0.1:0", "undumpable"]);
    let run = stage.full();
    assert_says(one(&run, actor.pid(), &actor.inode("listener")), &[("euid", json!(0))]);
}
