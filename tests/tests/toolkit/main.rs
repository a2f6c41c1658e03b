//! wazuh-toolkit against a stand-in for an installation of Wazuh, with its
//! owners, its modes, and daemons that check a configuration: what a verb did
//! is asked of the files, the processes and the kernel.
//!
//! One binary, so that the harness is linked once.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

mod check;
mod disable;
mod doctor;
mod doctor_block;
mod enable;
mod healthy;
mod link;
mod others;
mod places;
mod race;
mod replace;
mod round_trip;
mod rules;
mod rules_refused;
mod selftest;
mod snippet;
mod status;
mod webhook;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use harness::stand_in::{self, Ran, StandIn};

const PROGRAMS: [&str; 3] = ["custom-block", "custom-audit", "custom-webhook"];
/// Those that every host has a use for.
const USUAL: [&str; 2] = ["custom-block", "custom-audit"];
const ROLES: [&str; 2] = ["agent", "manager"];

fn ready() -> bool {
    harness::require(stand_in::available(), "root, for files with owners")
}

fn agent() -> Option<StandIn> {
    ready().then(StandIn::agent)
}

fn manager() -> Option<StandIn> {
    ready().then(StandIn::manager)
}

/// The first sixteen digits of the SHA-256 of these bytes, by another program
/// than ours.
fn sum(bytes: &[u8]) -> String {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..16].to_owned()
}

/// A section as it must stand in ossec.conf.
fn section(program: &str, role: &str, inside: &str, newline_added: bool) -> String {
    let (newline, word) = if newline_added { ("\n", " newline-added") } else { ("", "") };
    format!(
        "{newline}<!-- wazuh-toolkit: begin {program} {role} sha256={}{word} -->\n{inside}\
         <!-- wazuh-toolkit: end {program} -->\n",
        sum(inside.as_bytes())
    )
}

/// What stands between the comments of a program's section.
fn inside(conf: &[u8], program: &str) -> Option<String> {
    let text = String::from_utf8_lossy(conf);
    let begin = text.find(&format!("<!-- wazuh-toolkit: begin {program} "))?;
    let start = begin + text[begin..].find("-->\n").unwrap() + 4;
    let end = start + text[start..].find(&format!("<!-- wazuh-toolkit: end {program} -->")).unwrap();
    Some(text[start..end].to_owned())
}

/// The inside of a program's section is edited by hand.
fn edit_inside(stand_in: &StandIn, program: &str) {
    let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
    let inside = inside(conf.as_bytes(), program).unwrap();
    let edited = inside.replacen("</ossec_config>", "  <!-- by hand -->\n</ossec_config>", 1);
    assert_ne!(edited, inside);
    stand_in.write("etc/ossec.conf", conf.replacen(&inside, &edited, 1));
}

/// The file itself, whatever is in it, and when it was touched last.
fn identity(path: &Path) -> (u64, i64, i64) {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

/// The backups of ossec.conf: their names and modes.
fn backups(stand_in: &StandIn) -> Vec<(String, u32)> {
    let folder = std::fs::read_dir(stand_in.state_dir().join("wazuh-toolkit"));
    let mut found: Vec<(String, u32)> = folder
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let mode = entry.metadata().unwrap().mode() & 0o7777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .filter(|(name, _)| name.starts_with("ossec.conf"))
        .collect();
    found.sort();
    found
}

/// The checks that Wazuh's daemons were asked for, in order.
fn checks(stand_in: &StandIn) -> Vec<String> {
    stand_in.calls().into_iter().filter(|call| call.contains(" -t")).collect()
}

/// How often Wazuh was restarted.
fn restarts(stand_in: &StandIn) -> usize {
    stand_in.calls().iter().filter(|call| *call == "wazuh-control restart").count()
}

/// Every file of the installation is as before, the configuration by its inode
/// and time as well.
struct Untouched {
    tree: stand_in::Tree,
    conf: (u64, i64, i64),
}

impl Untouched {
    fn now(stand_in: &StandIn) -> Untouched {
        Untouched { tree: stand_in.tree(), conf: identity(&stand_in.path("etc/ossec.conf")) }
    }

    #[track_caller]
    fn holds(&self, stand_in: &StandIn, what: &str) {
        let changes = stand_in.tree().changes_since(&self.tree);
        assert!(changes.is_empty(), "{what}: {changes:?}");
        assert_eq!(identity(&stand_in.path("etc/ossec.conf")), self.conf, "{what}: ossec.conf was touched");
    }
}

/// Whether a run with `--json` says that it changed something.
#[track_caller]
fn changed(ran: &Ran) -> bool {
    ran.json()["changed"].as_bool().unwrap_or_else(|| panic!("no \"changed\": {}", ran.all()))
}

/// It says something about every one of these.
#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    let all = ran.all();
    for word in words {
        assert!(all.contains(word), "nothing about {word}: {all}");
    }
}
