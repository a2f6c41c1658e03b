//! What is typed and configured; and a configuration that is none.

use std::path::PathBuf;

use crate::actor::Actor;
use crate::{Scene, errors, of_sockets, permit, sockets};

/// A configuration that is broken, the line where, and a word that must be named.
const BROKEN: [(&str, usize, &str); 17] = [
    ("max_events = \"many\"\n", 1, "max_events"),
    ("max_events = 3\nmax_evnts = 3\n", 2, "max_evnts"),
    ("max_events = -1\n", 1, "max_events"),
    ("\nprocess_key = \"list\"\n", 2, "process_key"),
    ("geo_peer = 1\n", 1, "geo_peer"),
    ("output = \"relative\"\n", 1, "output"),
    ("full_look = \"soon\"\n", 1, "full_look"),
    ("watch_pause = true\n", 1, "watch_pause"),
    ("[hash]\nenabled = 1\n", 2, "enabled"),
    ("[hash]\nlargst = 1\n", 2, "largst"),
    ("max_events = = 3\n", 1, "max_events"),
    ("[[allow]]\nexe = \"/a\"\n\n[[allow]]\nremotes = [\"10.0.0.0/99\"]\n", 5, "remotes"),
    ("[[allow]]\nports = [\"90-10\"]\n", 2, "ports"),
    ("[[allow]]\nports = [70000]\n", 2, "ports"),
    ("[[allow]]\ndirection = \"up\"\nports = [1]\n", 2, "direction"),
    ("[[allow]]\nexe = \"/a\"\nsha256 = \"abc\"\n", 3, "sha256"),
    ("[[allow]]\ndirection = \"listen\"\n", 1, "allow"),
];

fn config_file(scene: &Scene) -> PathBuf {
    scene.wodle.config_dir().join("custom-audit.toml")
}

#[test]
fn with_a_broken_configuration_a_run_goes_on_with_the_defaults_and_says_so() {
    let Some(scene) = Scene::new() else { return };
    let steps = ["a=udp 127.0.0.1:0", "b=udp 127.0.0.1:0", "c=udp 127.0.0.1:0", "d=udp 127.0.0.1:0"];
    let _actor = Actor::new(&scene.room, &steps);
    for (text, line, word) in BROKEN {
        scene.forget();
        scene.wodle.configure(text);
        let run = scene.run(&[]);
        assert_eq!(errors(&run), ["config"], "{text}");
        let error = run.named("error")[0]["error"].as_str().unwrap();
        assert!(
            error.contains(&format!("custom-audit.toml:{line}")) && error.contains(word),
            "{text}: {error}"
        );
        assert_eq!(sockets(&run).len(), 4, "{text}");
        assert_eq!(run.summary()["emitted"], 4);
        // It stays wrong, and that is said each time.
        let run = scene.run(&[]);
        assert_eq!((errors(&run), sockets(&run).len()), (vec!["config"], 0), "{text}");
    }
}

#[test]
fn a_configuration_that_others_can_write_is_not_believed() {
    let Some(scene) = Scene::new() else { return };
    let _actor = Actor::new(&scene.room, &["a=udp 127.0.0.1:0"]);
    scene.wodle.configure("[[allow]]\nports = [\"1-65535\"]\n");
    permit(&config_file(&scene), 0o666);
    let run = scene.run(&[]);
    assert_eq!((errors(&run), sockets(&run).len()), (vec!["config"], 1));
}

#[test]
fn a_configuration_is_checked_with_file_line_and_key() {
    let Some(scene) = Scene::new() else { return };
    let check = || {
        let output = scene.wodle.verb(&["--check-config"]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    assert_eq!(check().0, Some(0), "no file at all");
    scene.wodle.configure(
        "max_events = 500\nprocess_key = \"string\"\ngeo_peer = true\noutput = \"/var/log/x.json\"\n\
         full_look = \"15m\"\nwatch_pause = \"1s\"\n[hash]\nenabled = true\nlargest = 67108864\nbudget = \"200ms\"\n\
         [[allow]]\nexe = \"/usr/sbin/sshd\"\nremotes = [\"10.0.0.0/8\", \"::1\"]\nports = [22, \"8000-8100\"]\n\
         units = [\"ssh.service\"]\ndirection = \"outbound\"\neven_suspicious = false\ncontainers = false\n",
    );
    assert_eq!(check(), (Some(0), check().1));
    for (text, line, word) in BROKEN {
        scene.wodle.configure(text);
        let (code, said) = check();
        assert_eq!(code, Some(78), "{text}: {said}");
        assert!(said.contains(&format!("custom-audit.toml:{line}")) && said.contains(word), "{text}: {said}");
    }
    scene.wodle.configure("max_events = 3\n");
    permit(&config_file(&scene), 0o666);
    assert_eq!(check().0, Some(78));
    // What was looked at is nothing that a check does.
    assert!(!scene.wodle.state_file().exists());
}

#[test]
fn a_configuration_can_lie_elsewhere() {
    let Some(scene) = Scene::new() else { return };
    let _actor = Actor::new(&scene.room, &["a=udp 127.0.0.1:0", "b=udp 127.0.0.1:0"]);
    let file = scene.wodle.dir().join("other.toml");
    std::fs::write(&file, "max_events = 1\n").unwrap();
    permit(&file, 0o644);
    let run = scene.run(&["--config", file.to_str().unwrap()]);
    assert_eq!((errors(&run), sockets(&run).len()), (vec![], 1));
    let elsewhere = scene.wodle.dir().join("elsewhere");
    let run = scene.run(&["--state-dir", elsewhere.to_str().unwrap()]);
    assert_eq!(sockets(&run).len(), 2, "another state is another memory");
    assert!(elsewhere.join("custom-audit/state").exists());
}

#[test]
fn the_process_is_an_object_or_a_text_as_was_wanted() {
    let Some(scene) = Scene::new() else { return };
    let _actor = Actor::new(&scene.room, &["a=udp 127.0.0.1:0"]);
    let look = |config: &str, args: &[&str]| {
        scene.wodle.configure(config);
        let run = scene.run(&[args, &["--full"]].concat());
        for event in &run.events {
            let process = &event["process"];
            assert!(process.is_string() == run.events[0]["process"].is_string(), "one way for all");
            let name = process.as_str().or_else(|| process["name"].as_str());
            assert_eq!(name, event["process_name"].as_str());
        }
        assert_eq!(of_sockets(&run).next().unwrap()["process_name"], "actor");
        if run.events[0]["process"].is_string() { "string" } else { "object" }
    };
    assert_eq!(look("", &[]), "object");
    assert_eq!(look("", &["--process-key", "string"]), "string");
    assert_eq!(look("process_key = \"string\"\n", &[]), "string");
    assert_eq!(look("process_key = \"string\"\n", &["--process-key", "object"]), "object");
}

#[test]
fn the_peer_is_the_source_when_that_is_wanted() {
    let Some(scene) = Scene::new() else { return };
    scene.room.sh("ip addr add 203.0.113.9/32 dev lo; ip addr add 10.1.2.9/32 dev lo");
    let mut actor = Actor::new(&scene.room, &["l=listen 203.0.113.9:80", "o=connect l 10.1.2.9:5555"]);
    actor.tell("i=accept l");
    let sources = |config: &str, args: &[&str]| {
        scene.wodle.configure(config);
        let run = scene.run(&[args, &["--full"]].concat());
        let of = |local: &str| {
            let event =
                run.named("conn_open").into_iter().find(|event| event["local_addr"] == local).unwrap();
            ["srcip", "srcport", "dstip", "dstport"].map(|key| event[key].to_string().replace('"', ""))
        };
        [of("10.1.2.9:5555"), of("203.0.113.9:80")]
    };
    let (there, back) =
        (["10.1.2.9", "5555", "203.0.113.9", "80"], ["203.0.113.9", "80", "10.1.2.9", "5555"]);
    assert_eq!(sources("", &[]), [there, there], "who connected is the source");
    assert_eq!(sources("", &["--geo-peer"]), [back, there], "who is elsewhere is the source");
    assert_eq!(sources("geo_peer = true\n", &[]), [back, there]);
}

#[test]
fn a_bad_command_line_is_refused_before_anything_is_done() {
    let Some(scene) = Scene::new() else { return };
    for args in [
        &["--wat"][..],
        &["--watch"],
        &["--watch", "soon"],
        &["--max-events", "-1"],
        &["--max-events", "many"],
        &["--process-key", "list"],
        &["--output", "relative/file"],
        &["stray"],
    ] {
        let mut command = scene.command(&[], args);
        let output = scene.room.inside(|| command.output()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        // Whatever it says would be an event.
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.is_empty(), "{args:?}: not a word");
        assert!(!scene.wodle.state_file().exists(), "{args:?}");
    }
}
