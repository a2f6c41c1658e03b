//! Containers and units, by the control group that a process is in.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use crate::actor::Actor;
use crate::{Stage, assert_says, one, written};

/// Where control groups are mounted: those of the second version, or those of
/// the first that systemd uses.
fn mount(version: u8) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found = fields.find(|fields| {
        let options = fields.get(3).copied().unwrap_or_default();
        match version {
            1 => fields.get(2) == Some(&"cgroup") && options.split(',').any(|word| word == "name=systemd"),
            _ => fields.get(2) == Some(&"cgroup2"),
        }
    })?;
    Some(PathBuf::from(found.get(1)?))
}

/// One test's groups are not another's.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("wazuh-toolkit-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A control group with its parents, removed when dropped.
struct Group {
    /// From the outermost that is ours to the innermost.
    made: Vec<PathBuf>,
    /// As `/proc/PID/cgroup` has it.
    path: String,
}

impl Group {
    /// `None` where there can be none, which has been said.
    fn new(version: u8, path: &str) -> Option<Group> {
        let mount = mount(version);
        let possible = mount.as_ref().is_some_and(|mount| {
            let probe = mount.join(unique());
            std::fs::create_dir(&probe).is_ok() && std::fs::remove_dir(&probe).is_ok()
        });
        if !harness::require(possible, &format!("control groups of version {version} that can be written")) {
            return None;
        }
        let mut group = Group { made: Vec::new(), path: path.to_owned() };
        let mut directory = mount?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            directory.push(part);
            if std::fs::create_dir(&directory).is_ok() {
                group.made.push(directory.clone());
            }
        }
        Some(group)
    }

    fn take(&self, pid: u32) {
        let innermost: &Path = self.made.last().unwrap();
        std::fs::write(innermost.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in self.made.iter().rev() {
            harness::eventually(std::time::Duration::from_secs(5), || std::fs::remove_dir(directory).is_ok());
        }
    }
}

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Runs an actor in a group of this path, and says what must be said of it.
fn assert_group(path: &str, expected: &[(&str, Option<&str>)]) {
    assert_group_of(2, path, expected);
}

fn assert_group_of(version: u8, path: &str, expected: &[(&str, Option<&str>)]) {
    let Some(stage) = Stage::new() else { return };
    let path = format!("/{}.slice{path}", unique());
    let Some(group) = Group::new(version, &path) else { return };
    let actor = stage.actor(&["listener=listen 127.0.0.1:0"]);
    group.take(actor.pid());
    let run = stage.full();
    let record = one(&run, actor.pid(), &actor.inode("listener")).clone();
    end(actor);
    if version == 2 {
        assert_says(&record, &[("cgroup", json!(written(group.path.as_bytes())))]);
    }
    for (key, value) in expected {
        assert_eq!(record.get(*key).and_then(|said| said.as_str()), *value, "{key} of {record:#}");
    }
}

/// A group can only be removed when it is empty.
fn end(mut actor: Actor) {
    actor.kill();
}

#[test]
fn a_container_is_named_by_its_group() {
    let pod = "pod1c2d3e4f_0000_1111_2222_333344445555";
    for (path, runtime) in [
        (format!("/a/docker-{ID}.scope"), "docker"),
        (format!("/docker/{ID}"), "docker"),
        (format!("/libpod-{ID}.scope/container"), "podman"),
        (format!("/kubepods-burstable-{pod}.slice/cri-containerd-{ID}.scope"), "containerd"),
        (format!("/kubepods-{pod}.slice/crio-{ID}.scope"), "cri-o"),
    ] {
        let said = [("container_id", Some(ID)), ("container_runtime", Some(runtime))];
        assert_group(&path, &said);
    }
    assert_group(&format!("/kubepods/burstable/pod1/{ID}"), &[("container_id", Some(ID))]);
}

#[test]
fn a_unit_is_named_by_its_group() {
    let none = ("container_id", None);
    assert_group("/ssh.service", &[("unit", Some("ssh.service")), none]);
    assert_group("/system-getty.slice/getty@tty1.service", &[("unit", Some("getty@tty1.service")), none]);
    assert_group("/user-0.slice/session-3.scope", &[("unit", Some("session-3.scope")), none]);
    // What a service makes below itself belongs to it.
    assert_group("/foo.service/payload/inner", &[("unit", Some("foo.service")), none]);
    assert_group("/bare", &[("unit", None), none]);
}

#[test]
fn groups_of_the_first_version_are_understood() {
    assert_group_of(1, "/ssh.service", &[("unit", Some("ssh.service")), ("container_id", None)]);
    let said = [("container_id", Some(ID)), ("container_runtime", Some("docker"))];
    assert_group_of(1, &format!("/docker/{ID}"), &said);
}

#[test]
fn a_group_may_have_any_name() {
    assert_group("/we\"ird\\x2d )\t.service", &[("unit", Some("we\"ird\\x2d )\\x09.service"))]);
    let long = "\"".repeat(200);
    let Some(stage) = Stage::new() else { return };
    let path = format!("/{}{}", unique(), format!("/{long}").repeat(12));
    let Some(group) = Group::new(2, &path) else { return };
    let actor = stage.actor(&["listener=listen 127.0.0.1:0"]);
    group.take(actor.pid());
    let run = stage.full();
    let record = one(&run, actor.pid(), &actor.inode("listener")).clone();
    end(actor);
    assert_says(&record, &[("process_name", json!("actor"))]);
}

#[test]
fn a_name_that_only_looks_like_a_container_is_none() {
    for path in [format!("/docker-{}.scope", &ID[..20]), "/docker/stats".to_owned(), format!("/x{ID}y")] {
        assert_group(&path, &[("container_id", None), ("container_runtime", None)]);
    }
}
