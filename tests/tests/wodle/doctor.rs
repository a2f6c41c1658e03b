//! `doctor`: what would keep the wodle from being heard.

use std::process::Output;

use harness::program;
use serde_json::Value;

use crate::Scene;
use crate::actor::Actor;

fn doctor(scene: &Scene, args: &[&str]) -> (Option<i32>, String) {
    let output: Output =
        scene.room.verb(&scene.wodle, program::custom_audit(), &[&["doctor"], args].concat());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// A wodle as the documentation wants it, but for what a test changes.
fn wodle(command: &str, more: &str) -> String {
    let program = program::custom_audit().display();
    let disabled = if more.contains("<disabled>") { "" } else { "<disabled>no</disabled>" };
    let timeout = if more.contains("<timeout>") { "" } else { "<timeout>60</timeout>" };
    format!(
        "  <wodle name=\"command\">\n    {disabled}\n    <tag>custom-audit</tag>\n    <command>{program}{command}</command>\n    \
         <interval>5m</interval>\n    <ignore_output>no</ignore_output>\n    <run_on_start>yes</run_on_start>\n    {timeout}\n    {more}\n  </wodle>\n"
    )
}

fn ossec(inside: &str) -> String {
    format!("<ossec_config>\n{inside}</ossec_config>\n")
}

/// It finds something, and says what.
fn finds(scene: &Scene, what: &str, words: &[&str]) {
    let (code, said) = doctor(scene, &[]);
    assert_eq!(code, Some(1), "{what}: {said}");
    for word in words {
        assert!(said.contains(word), "{what} does not say {word}: {said}");
    }
    let (code, json) = doctor(scene, &["--json"]);
    assert_eq!(code, Some(1), "{what}");
    let object: Value = serde_json::from_str(&json).unwrap();
    assert!(object.is_object() && words.iter().all(|word| json.contains(word)), "{what}: {json}");
}

fn finds_nothing(scene: &Scene, what: &str) {
    let (code, said) = doctor(scene, &[]);
    assert_eq!(code, Some(0), "{what}: {said}");
}

#[test]
fn what_is_as_it_should_be_is_found_to_be_so() {
    let Some(scene) = Scene::new() else { return };
    let _actor = Actor::new(&scene.room, &["l=listen 127.0.0.1:0", "c=connect l"]);
    scene.wodle.ossec_conf(&ossec(&wodle(" --wodle", "")));
    finds_nothing(&scene, "a good one");
    let (code, json) = doctor(&scene, &["--json"]);
    assert_eq!(code, Some(0));
    let object: Value = serde_json::from_str(&json).unwrap();
    assert!(object.is_object(), "{json}");
    // It looks, and remembers nothing.
    assert!(!scene.wodle.state_file().exists());
    scene.wodle.ossec_conf(&ossec(&wodle(" --wodle --watch 30", "<timeout>60</timeout>")));
    finds_nothing(&scene, "a watch within the timeout");
    scene.wodle.ossec_conf(&ossec(&wodle(" --wodle --watch 30", "<timeout>0</timeout>")));
    finds_nothing(&scene, "a watch without a timeout");
    let sum = "a".repeat(64);
    scene.wodle.ossec_conf(&ossec(&wodle(
        " --wodle",
        &format!("<verify_sha256>{sum}</verify_sha256><skip_verification>yes</skip_verification>"),
    )));
    finds_nothing(&scene, "a pin that has an argument");
    // Several root elements, as Wazuh's own files have them.
    scene.wodle.ossec_conf(&format!(
        "{}<!-- more -->\n{}",
        ossec("  <client>\n  </client>\n"),
        ossec(&wodle(" --wodle", ""))
    ));
    finds_nothing(&scene, "the second of two roots");
}

#[test]
fn an_ossec_conf_in_which_nothing_calls_it_is_found() {
    let Some(scene) = Scene::new() else { return };
    finds(&scene, "no wodle", &["wodle"]);
    let other = "  <wodle name=\"command\">\n<tag>x</tag><command>/bin/true --x</command><interval>5m</interval></wodle>\n";
    scene.wodle.ossec_conf(&ossec(other));
    finds(&scene, "another wodle", &["wodle"]);
    scene.wodle.ossec_conf(&ossec(&format!("<!-- {} -->\n", wodle(" -wodle", ""))));
    finds(&scene, "a wodle that is a comment", &["wodle"]);
    std::fs::remove_file(scene.wodle.home().join("etc/ossec.conf")).unwrap();
    finds(&scene, "no ossec.conf", &["ossec.conf"]);
}

#[test]
fn a_wodle_that_does_not_run_or_is_not_heard_is_found() {
    let Some(scene) = Scene::new() else { return };
    for (what, conf, words) in [
        ("disabled", wodle(" --wodle", "<disabled>yes</disabled>"), &["disabled"][..]),
        (
            "a short timeout",
            wodle(" --wodle --watch 30", "<timeout>10</timeout>"),
            &["--watch 30", "10 seconds"],
        ),
        (
            "a pin without an argument",
            wodle("", &format!("<verify_sha256>{}</verify_sha256>", "a".repeat(64))),
            &["verify_", "argument"],
        ),
    ] {
        scene.wodle.ossec_conf(&ossec(&conf));
        finds(&scene, what, words);
    }
}

#[test]
fn a_wodle_of_the_shared_configuration_needs_leave_of_the_agent() {
    let Some(scene) = Scene::new() else { return };
    let etc = scene.wodle.home().join("etc");
    std::fs::create_dir_all(etc.join("shared")).unwrap();
    let shared = format!("<agent_config>\n{}</agent_config>\n", wodle(" --wodle", ""));
    std::fs::write(etc.join("shared/agent.conf"), shared).unwrap();
    finds(&scene, "no leave", &["remote_commands"]);
    let leave = etc.join("local_internal_options.conf");
    for (text, given) in [
        ("# wazuh_command.remote_commands=1\n", false),
        ("wazuh_command.remote_commands=0\n", false),
        ("logcollector.remote_commands=1\n", false),
        ("wazuh_command.remote_commands=1\n", true),
    ] {
        std::fs::write(&leave, text).unwrap();
        if given {
            finds_nothing(&scene, text);
        } else {
            finds(&scene, text, &["remote_commands"]);
        }
    }
}

#[test]
fn a_broken_configuration_and_a_state_that_is_no_state_are_found() {
    let Some(scene) = Scene::new() else { return };
    scene.wodle.ossec_conf(&ossec(&wodle(" --wodle", "")));
    scene.wodle.configure("max_evnts = 3\n");
    finds(&scene, "a broken configuration", &["custom-audit.toml:1", "max_evnts"]);
    scene.wodle.configure("");
    finds_nothing(&scene, "an empty one");
    scene.run(&[]);
    finds_nothing(&scene, "a state");
    std::fs::write(scene.wodle.state_file(), b"hello").unwrap();
    finds(&scene, "a broken state", &["state"]);
    assert_eq!(std::fs::read(scene.wodle.state_file()).unwrap(), b"hello", "it only looks");
}

#[test]
fn without_root_it_says_that_it_sees_little() {
    let Some(scene) = Scene::with(&["setpriv"]) else { return };
    crate::permit(scene.wodle.dir(), 0o755);
    scene.wodle.ossec_conf(&ossec(&wodle(" --wodle", "")));
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let mut command = scene.command(&nobody, &["doctor"]);
    let output = scene.room.inside(|| command.output()).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("root"));
}
