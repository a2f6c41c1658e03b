//! The line in `active-responses.log`.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use harness::line::Line;
use harness::wazuh::Wazuh;

use crate::Host;

/// What holds of every line, whatever it says. Reading it as Wazuh's decoder
/// does has already shown that it is UTF-8, dated and one object.
pub(crate) fn check_all(wazuh: &Wazuh) {
    for record in wazuh.records() {
        assert!(record.text.len() < 4096, "{} bytes", record.text.len());
        assert_eq!(record.json["toolkit"], "custom-block");
        assert_eq!(record.json["parameters"]["program"], format!("active-response/bin/{}", record.program));
        let known = ["add", "delete", "extended", "queued", "observed", "held", "refused", "failed"];
        assert!(known.contains(&record.command()), "{}", record.text);
        for (path, text) in record.other_strings() {
            // An IPv6 address may well contain "add"; no rule looks at it.
            if path.ends_with("/srcip") || path == "/target" {
                continue;
            }
            let text = text.to_ascii_lowercase();
            assert!(!text.contains("add") && !text.contains("delete"), "{path}: {}", record.text);
        }
        if record.json["parameters"]["alert"]["data"].is_object() {
            assert!(record.srcip().is_some(), "the decoder does not find srcip: {}", record.text);
        }
    }
}

fn log_of(host: &Host) -> PathBuf {
    host.wazuh.home().join("logs/active-responses.log")
}

#[test]
fn a_block_and_its_end_are_one_line_each_as_stock_rules_want_them() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    execd.request(&Line::four(), 600);
    execd.request(&Line::four().id("1.1"), 600);
    execd.stop();
    check_all(&host.wazuh);
    let records = host.wazuh.records();
    let told: Vec<(&str, u32, Option<&str>)> =
        records.iter().map(|record| (record.command(), record.stock_rule(), record.srcip())).collect();
    let address = Some("203.0.113.50");
    assert_eq!(told, [("add", 657, address), ("extended", 650, address), ("delete", 657, address)]);
    let alert = &records[0].json["parameters"]["alert"];
    assert_eq!((&alert["id"], &alert["rule"]["id"]), (&"1795255963.678290".into(), &"5760".into()));
}

#[test]
fn no_line_claims_a_block_that_was_not_made() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    execd.request(&Line::add("127.0.0.1"), 600);
    execd.request(&Line::add("delete add"), 600);
    execd.request(&Line::four().extra_args(&["--dry-run", "add", "--addall", "delete"]), 0);
    execd.request(&Line::four().replace("\"id\":\"5760\"", "\"id\":\"add\""), 600);
    execd.request(&Line::add("2001:db8::add").extra_args(&["--reason", "added", "by", "ADD"]), 600);
    check_all(&host.wazuh);
    let rules: Vec<u32> = host.wazuh.records().iter().map(|record| record.stock_rule()).collect();
    assert_eq!(rules, [650, 650, 650, 657, 657]);
}

#[test]
fn a_block_that_fails_is_recorded_as_failed() {
    let Some(host) = Host::new() else { return };
    // A set of that name for another kind of key is in the way.
    host.wazuh.configure("backends = [\"nftables\"]\n");
    host.namespace.command(
        "nft",
        &["add table inet wazuh_block
        add set inet wazuh_block hosts4 { type inet_service; }"],
    );
    let run = host.execd().request(&Line::four(), 600);
    assert_eq!(run.code(), Some(1));
    let record = host.wazuh.records().pop().unwrap();
    assert_eq!((record.command(), record.stock_rule()), ("failed", 650));
    assert!(host.listed().is_empty());
    check_all(&host.wazuh);
}

#[test]
fn equal_refusals_of_one_address_are_one_line_a_minute() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    for round in 0..20 {
        execd.request(&Line::add("127.0.0.1").replace("\"level\":5", &format!("\"level\":{round}")), 600);
        execd.request(&Line::add("224.0.0.1"), 600);
        execd.request(&Line::four(), 600);
    }
    check_all(&host.wazuh);
    let mut commands: Vec<String> = host
        .wazuh
        .records()
        .iter()
        .map(|record| format!("{} {:?}", record.command(), record.srcip()))
        .collect();
    commands.sort();
    assert_eq!(
        commands,
        [
            "add Some(\"203.0.113.50\")",
            "extended Some(\"203.0.113.50\")",
            "refused Some(\"127.0.0.1\")",
            "refused Some(\"224.0.0.1\")",
        ]
    );
}

#[test]
fn a_new_log_is_made_as_wazuh_makes_it() {
    let Some(host) = Host::new() else { return };
    let logs = host.wazuh.home().join("logs");
    std::os::unix::fs::chown(&logs, Some(12_345), Some(23_456)).unwrap();
    host.execd().request(&Line::four(), 600);
    let log = std::fs::metadata(log_of(&host)).unwrap();
    assert_eq!((log.uid(), log.gid(), log.permissions().mode() & 0o7777), (12_345, 23_456, 0o660));
}

/// The block is made, the exit code tells, and nothing but a plain file is written.
fn is_not_followed(host: &Host, what: &str) {
    let started = std::time::Instant::now();
    let run = host.execd().request(&Line::four(), 600);
    assert!(!run.outstayed && started.elapsed().as_secs() < 10, "{what}");
    assert_eq!(run.code(), Some(1), "{what}");
    assert_eq!(host.targets(), ["203.0.113.50"], "{what}");
    let journal = std::fs::read_to_string(host.wazuh.state_dir().join("custom-block/blocks.jsonl")).unwrap();
    assert!(journal.contains("active-responses.log"), "{what}: the journal does not tell");
}

#[test]
fn a_log_that_is_not_a_plain_file_is_not_written() {
    type Prepare = fn(&Host);
    let prepare: [(&str, Prepare); 6] = [
        ("a symbolic link", |host| symlink(victim(host), log_of(host)).unwrap()),
        ("a dangling link", |host| symlink(host.wazuh.scratch().join("new"), log_of(host)).unwrap()),
        ("a hard link", |host| std::fs::hard_link(victim(host), log_of(host)).unwrap()),
        ("a pipe", |host| nix::unistd::mkfifo(&log_of(host), nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a directory", |host| std::fs::create_dir(log_of(host)).unwrap()),
        ("a linked directory", |host| {
            let logs = host.wazuh.home().join("logs");
            std::fs::remove_dir(&logs).unwrap();
            symlink(host.wazuh.scratch(), logs).unwrap();
        }),
    ];
    for (what, prepare) in prepare {
        let Some(host) = Host::new() else { return };
        std::fs::write(victim(&host), "before").unwrap();
        prepare(&host);
        is_not_followed(&host, what);
        assert_eq!(std::fs::read_to_string(victim(&host)).unwrap(), "before", "{what}");
        assert!(!host.wazuh.scratch().join("new").exists(), "{what}");
        assert!(!host.wazuh.scratch().join("active-responses.log").exists(), "{what}");
    }
}

fn victim(host: &Host) -> PathBuf {
    host.wazuh.scratch().join("victim")
}

#[test]
fn a_broken_configuration_never_stops_blocking_and_is_told() {
    for broken in ["no_such_key = 1\n", "ttl = \"soon\"\n", "\u{0}", "backends = [\"pf\"]\n"] {
        let Some(host) = Host::new() else { return };
        host.wazuh.configure(broken);
        let mut execd = host.execd();
        assert_eq!(execd.request(&Line::four(), 600).code(), Some(0), "{broken:?}");
        assert_eq!(host.targets(), ["203.0.113.50"]);
        assert!(host.wazuh.records()[0].text.contains("custom-block.toml"), "{broken:?}");
        execd.stop();
        assert!(host.blocks().is_empty());
        check_all(&host.wazuh);
    }
    // What others could have written is not read.
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("allowlist = [\"203.0.113.50\"]\n");
    let file = host.wazuh.config_dir().join("custom-block.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    host.execd().request(&Line::four(), 600);
    assert_eq!(host.targets(), ["203.0.113.50"]);
    assert!(host.wazuh.records()[0].text.contains("custom-block.toml"));
}
