//! What is to be pasted into Wazuh's configuration is what Wazuh takes, and
//! what `wazuh-toolkit` writes.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

use std::path::PathBuf;
use std::process::Command;

use harness::program::{source_tree, wazuh_toolkit};
use quick_xml::Reader;
use quick_xml::events::Event;

/// The elements that the parser of 4.14.7 knows where we use them
/// (`src/config/config.c`, `active-response.c`, `wmodules-command.c`,
/// `localfile-config.c`).
const KNOWN: [(&str, &[&str]); 6] = [
    ("", &["ossec_config", "agent_config"]),
    ("*_config", &["command", "active-response", "wodle", "localfile"]),
    ("command", &["name", "executable", "timeout_allowed", "extra_args"]),
    (
        "active-response",
        &[
            "disabled",
            "command",
            "location",
            "agent_id",
            "level",
            "rules_id",
            "rules_group",
            "timeout",
            "repeated_offenders",
        ],
    ),
    (
        "wodle",
        &[
            "disabled",
            "tag",
            "command",
            "interval",
            "run_on_start",
            "timeout",
            "ignore_output",
            "verify_sha256",
        ],
    ),
    ("localfile", &["log_format", "location", "only-future-events", "label"]),
];

fn snippets() -> Vec<(PathBuf, String)> {
    let folder = std::fs::read_dir(source_tree().join("ossec-snippets")).unwrap().flatten();
    let mut all: Vec<PathBuf> = folder.map(|entry| entry.path()).collect();
    all.sort();
    all.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_snippet_is_well_formed_and_has_only_elements_that_wazuh_knows() {
    assert!(snippets().len() >= 8);
    for (path, text) in snippets() {
        let path = path.display();
        let mut reader = Reader::from_str(&text);
        reader.config_mut().check_comments = true;
        let mut open: Vec<String> = Vec::new();
        loop {
            match reader.read_event().unwrap_or_else(|error| panic!("{path}: {error}")) {
                Event::Start(tag) => {
                    let name = tag.name().as_ref().to_owned();
                    let parent = match open.last() {
                        None => "",
                        Some(root) if root.ends_with("_config") => "*_config",
                        Some(parent) => parent,
                    };
                    let known = KNOWN.iter().find(|(known, _)| *known == parent);
                    let (_, children) = known.unwrap_or_else(|| panic!("{path}: {parent} has no children"));
                    assert!(children.contains(&name.as_str()), "{path}: <{name}> in <{parent}>");
                    open.push(name);
                }
                Event::End(_) => drop(open.pop()),
                Event::Text(text) => {
                    // OS_XML of 4.14.7 takes at most so many characters of a value.
                    assert!(text.len() < 2048, "{path}");
                }
                Event::Eof => break,
                _ => {}
            }
        }
        assert!(open.is_empty(), "{path}: {open:?} has no end");
    }
}

#[test]
fn what_enable_prints_is_the_snippet_to_the_byte() {
    let mut printed = 0;
    for (path, text) in snippets() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (program, role) = name.split_once('.').unwrap();
        if !["agent", "manager"].contains(&role) {
            continue;
        }
        let output = Command::new(wazuh_toolkit())
            .args(["enable", program, "--role", role, "--print"])
            .env_remove("WAZUH_HOME")
            .env_remove("WAZUH_TOOLKIT_PROGRAM_DIR")
            .output()
            .unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{}", path.display());
        printed += 1;
    }
    assert_eq!(printed, 6, "three programs, two roles");
}

#[test]
fn the_group_configuration_runs_what_the_agent_s_own_runs() {
    let inner = |name: &str| {
        let text = std::fs::read_to_string(source_tree().join("ossec-snippets").join(name)).unwrap();
        let wodle = &text[text.find("<wodle").unwrap()..text.find("</wodle>").unwrap()];
        let lines = wodle.lines().map(str::trim).filter(|line| !line.starts_with("<!--"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(inner("custom-audit.agent-conf.xml"), inner("custom-audit.agent.xml"));
    assert_eq!(inner("custom-audit.manager.xml"), inner("custom-audit.agent.xml"));
}
