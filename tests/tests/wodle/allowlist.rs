//! What an administrator need not hear of; and what is said in spite of that.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::actor::{Actor, PROGRAM};
use crate::room::Room;
use crate::{Scene, of_sockets, sockets};

const AGENT: &str = "/srv/agent";
const SERVER: &str = "/srv/server";

/// Puts copies of the actor where programs may lie.
fn install(room: &Room) {
    room.sh("mount -t tmpfs tmpfs /srv; ip addr add 10.1.2.3/32 dev lo; ip addr add 8.8.8.8/32 dev lo");
    room.sh("ip addr add 10.1.2.9/32 dev lo");
    for path in [AGENT, SERVER] {
        room.install(PROGRAM, path);
    }
}

/// Two programs that talk to each other: an agent and a server.
fn programs(room: &Room) -> [Actor; 2] {
    install(room);
    let listeners = ["s=listen 10.1.2.3:443", "t=listen 8.8.8.8:8443"];
    let mut server = Actor::of(room, Path::new(SERVER), &listeners);
    let agent = Actor::of(
        room,
        Path::new(AGENT),
        &[
            "w=listen 0.0.0.0:8000",
            "o=connect 10.1.2.3:443 10.1.2.9:5555",
            "p=connect 8.8.8.8:8443 10.1.2.9:5556",
        ],
    );
    server.tell("i=accept s");
    server.tell("j=accept t");
    [server, agent]
}

/// All they have, each by one letter.
const ALL: &str = "ijopstw";

fn letter(event: &Value) -> char {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    match (text("event"), text("local_addr"), text("remote_addr")) {
        ("listen_new", "10.1.2.3:443", _) => 's',
        ("listen_new", "8.8.8.8:8443", _) => 't',
        ("listen_new", "0.0.0.0:8000", _) => 'w',
        ("conn_new", "10.1.2.3:443", "10.1.2.9:5555") => 'i',
        ("conn_new", "8.8.8.8:8443", "10.1.2.9:5556") => 'j',
        ("conn_new", "10.1.2.9:5555", "10.1.2.3:443") => 'o',
        ("conn_new", "10.1.2.9:5556", "8.8.8.8:8443") => 'p',
        other => panic!("{other:?}"),
    }
}

/// What a first run with these entries says, and how much it does not.
fn said(scene: &Scene, entries: &str) -> (String, u64) {
    scene.forget();
    scene.wodle.configure(entries);
    let run = scene.run(&[]);
    let mut letters: Vec<char> = of_sockets(&run).map(letter).collect();
    letters.sort_unstable();
    (letters.into_iter().collect(), run.summary()["suppressed"].as_u64().unwrap())
}

/// Says all but these.
fn takes(scene: &Scene, entries: &str, taken: &str) {
    let rest: String = ALL.chars().filter(|letter| !taken.contains(*letter)).collect();
    assert_eq!(said(scene, entries), (rest, taken.len() as u64), "{entries}");
}

fn sha256(path: &str) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn an_entry_takes_what_agrees_with_all_it_says_and_nothing_else() {
    let Some(scene) = Scene::new() else { return };
    let _programs = programs(&scene.room);
    let (right, wrong) = (sha256(PROGRAM), "0".repeat(64));
    for (entry, taken) in [
        ("exe = \"/srv/agent\"", "opw"),
        ("exe = \"/srv/server\"", "ijst"),
        ("exe = \"/srv/agen\"", ""),
        ("exe = \"/srv\"", ""),
        ("remotes = [\"10.0.0.0/8\"]", "ijo"),
        ("remotes = [\"10.1.2.3\"]", "o"),
        ("remotes = [\"8.8.8.0/24\", \"2001:db8::/32\"]", "p"),
        ("ports = [443]", "ios"),
        ("ports = [\"8000-8100\"]", "w"),
        ("ports = [443, \"8000-8443\"]", "ijopstw"),
        ("ports = [44]", ""),
        ("exe = \"/srv/agent\"\nports = [443]", "o"),
        ("exe = \"/srv/server\"\nremotes = [\"8.8.8.8\"]", ""),
        ("exe = \"/srv/agent\"\nremotes = [\"8.8.8.8\"]\nports = [443]", ""),
        ("exe = \"/srv/agent\"\nremotes = [\"8.8.8.8\"]\nports = [8443]", "p"),
        ("exe = \"/srv/agent\"\ndirection = \"outbound\"", "op"),
        ("exe = \"/srv/agent\"\ndirection = \"listen\"", "w"),
        ("exe = \"/srv/agent\"\ndirection = \"inbound\"", ""),
        ("exe = \"/srv/server\"\ndirection = \"inbound\"", "ij"),
        ("ports = [443]\ndirection = \"listen\"", "s"),
        (&format!("exe = \"/srv/agent\"\nsha256 = \"{right}\""), "opw"),
        (&format!("exe = \"/srv/agent\"\nsha256 = \"{wrong}\""), ""),
        (&format!("exe = \"/srv/agent\"\nsha256 = \"{right}\"\nports = [443]"), "o"),
        // Two entries take what either takes, and no more.
        ("exe = \"/srv/agent\"\nports = [443]\n[[allow]]\nexe = \"/srv/server\"\nports = [8443]", "ojt"),
        ("units = [\"agent.service\"]", ""),
    ] {
        takes(&scene, &format!("[[allow]]\n{entry}\n"), taken);
    }
    takes(&scene, "", "");
}

/// Makes a process one of this cgroup, as others see it.
fn belongs_to(scene: &Scene, actor: &Actor, cgroup: &str) {
    let file = scene.wodle.dir().join("cgroup");
    std::fs::write(&file, format!("0::{cgroup}\n")).unwrap();
    let copy = format!("/srv/cgroup-{}", actor.pid());
    std::fs::copy(&file, scene.room.path(Path::new(&copy))).unwrap();
    scene.room.sh(&format!("mount --bind {copy} /proc/{}/cgroup", actor.pid()));
}

#[test]
fn a_unit_can_be_named_and_must_be_that_of_the_process() {
    let Some(scene) = Scene::new() else { return };
    let [server, agent] = programs(&scene.room);
    belongs_to(&scene, &agent, "/system.slice/agent.service");
    belongs_to(&scene, &server, "/system.slice/server.service");
    for (entry, taken) in [
        ("units = [\"agent.service\"]", "opw"),
        ("units = [\"agent.service\", \"server.service\"]", ALL),
        ("units = [\"server.service\"]\nports = [443]", "is"),
        ("units = [\"agent.service\"]\nexe = \"/srv/server\"", ""),
        ("units = [\"agent\"]", ""),
        ("units = [\"other.service\"]", ""),
    ] {
        takes(&scene, &format!("[[allow]]\n{entry}\n"), taken);
    }
}

#[test]
fn an_executable_in_a_container_is_another_one() {
    let Some(scene) = Scene::new() else { return };
    let [_server, agent] = programs(&scene.room);
    let id = "4f".repeat(32);
    belongs_to(&scene, &agent, &format!("/system.slice/docker-{id}.scope"));
    takes(&scene, "[[allow]]\nexe = \"/srv/agent\"\n", "");
    takes(&scene, "[[allow]]\nexe = \"/srv/agent\"\ncontainers = true\n", "opw");
    takes(&scene, "[[allow]]\nports = [443]\n", "ios");
}

#[test]
fn what_is_suspicious_is_said_in_spite_of_an_entry() {
    let Some(scene) = Scene::new() else { return };
    let room = &scene.room;
    install(room);
    room.sh("mount -t tmpfs tmpfs /dev/shm");
    room.install(PROGRAM, "/dev/shm/agent");
    room.install(PROGRAM, "/srv/gone");
    let agent = |steps: &[&str]| Actor::of(room, Path::new(AGENT), steps);
    let actors = [
        agent(&["l=listen 127.0.0.1:4443", "c=connect l", "stdio c 0"]),
        agent(&["uids 0 65534 0", "c=udp 127.0.0.1:4443", "uids 0 0 0"]),
        Actor::of(room, Path::new("/dev/shm/agent"), &["c=udp 127.0.0.2:4443"]),
        Actor::of(room, Path::new("/srv/gone"), &["c=udp 127.0.0.3:4443"]),
        agent(&["memfd agent", "c=udp 127.0.0.4:4443"]),
    ];
    room.sh("rm /srv/gone");
    let suspicious: Vec<u32> = actors.iter().map(Actor::pid).collect();
    let look = |config: &str| {
        scene.forget();
        scene.wodle.configure(config);
        let run = scene.run(&[]);
        let pids: Vec<u32> = of_sockets(&run).map(|event| crate::heard(event).1).collect();
        (crate::sorted(pids), run.summary()["suppressed"].as_u64().unwrap())
    };
    assert_eq!(look("").0.len(), 6);
    let entry = "[[allow]]\nports = [4443]\n";
    // Only the listener of the first one is harmless.
    assert_eq!(look(entry), (crate::sorted(suspicious), 1));
    assert_eq!(look(&format!("{entry}even_suspicious = true\n")), (vec![], 6));
}

#[test]
fn what_has_no_port_is_taken_by_its_executable_and_by_no_port() {
    let Some(scene) = Scene::new() else { return };
    install(&scene.room);
    let _sniffer = Actor::of(&scene.room, Path::new(AGENT), &["r=raw 1", "s=raw6 58", "p=packet"]);
    for (entry, said) in [
        ("ports = [\"0-65535\"]", 3),
        ("remotes = [\"0.0.0.0/0\", \"::/0\"]", 3),
        ("exe = \"/srv/server\"", 3),
        ("exe = \"/srv/agent\"\ndirection = \"listen\"", 3),
        ("exe = \"/srv/agent\"", 0),
    ] {
        scene.forget();
        scene.wodle.configure(&format!("[[allow]]\n{entry}\n"));
        let run = scene.run(&[]);
        assert_eq!(sockets(&run).len(), said, "{entry}: {}", run.text());
        assert_eq!(run.summary()["suppressed"], 3 - said, "{entry}");
    }
}

#[test]
fn what_nobody_holds_is_taken_by_its_port_or_remote() {
    let Some(scene) = Scene::new() else { return };
    let steps = ["a,b=unix", "u=udp 127.0.0.1:2049 127.0.0.1:700", "send u a", "drop u"];
    let _actor = Actor::new(&scene.room, &steps);
    for (entry, taken) in [
        ("ports = [2050]", false),
        ("exe = \"/srv/agent\"\nremotes = [\"127.0.0.1\"]", false),
        ("remotes = [\"127.0.0.1\"]", true),
        ("ports = [700, 2049]", true),
    ] {
        scene.forget();
        scene.wodle.configure(&format!("[[allow]]\n{entry}\n"));
        let run = scene.run(&[]);
        assert_eq!(run.named("unattributed").len(), usize::from(!taken), "{entry}: {}", run.text());
        assert_eq!(run.summary()["suppressed"], u64::from(taken), "{entry}");
    }
}

#[test]
fn what_was_taken_is_not_said_later() {
    let Some(scene) = Scene::new() else { return };
    let [server, mut agent] = programs(&scene.room);
    takes(&scene, "[[allow]]\nexe = \"/srv/agent\"\n", "opw");
    let run = scene.run(&[]);
    assert_eq!(sockets(&run), []);
    // Not when there is no such entry any more,
    scene.wodle.configure("");
    assert_eq!(sockets(&scene.run(&[])), []);
    // but what comes after that is.
    agent.tell("n=udp 10.1.2.9:0");
    assert_eq!(sockets(&scene.run(&[])), [agent.heard("listen_new", "n")]);
    scene.wodle.configure("[[allow]]\nexe = \"/srv/agent\"\n");
    let gone = agent.heard("listen_closed", "n");
    agent.end();
    let run = scene.run(&[]);
    assert_eq!(sockets(&run), [gone], "the end of what was said, and of nothing else");
    assert!(run.of(server.pid()).is_empty(), "{}", run.text());
}

#[test]
fn entries_hold_for_a_full_look_too() {
    let Some(scene) = Scene::new() else { return };
    let _programs = programs(&scene.room);
    scene.wodle.configure("[[allow]]\nexe = \"/srv/agent\"\n");
    let run = scene.run(&["--full"]);
    assert_eq!((sockets(&run).len(), &run.summary()["suppressed"]), (4, &3.into()), "{}", run.text());
}

#[test]
fn what_is_taken_does_not_take_places_of_the_limit() {
    let Some(scene) = Scene::new() else { return };
    let _programs = programs(&scene.room);
    scene.wodle.configure("max_events = 4\n[[allow]]\nexe = \"/srv/agent\"\n");
    let run = scene.run(&[]);
    let summary = run.summary();
    assert_eq!(
        (sockets(&run).len(), &summary["suppressed"], &summary["deferred"]),
        (4, &3.into(), &0.into())
    );
}
