//! What an administrator types.

use harness::line::Line;

use crate::Host;

const TARGET: &str = "203.0.113.50";

fn code(host: &Host, args: &[&str]) -> Option<i32> {
    host.wazuh.verb(&host.namespace, args).status.code()
}

fn text(host: &Host, args: &[&str]) -> String {
    let output = host.wazuh.verb(&host.namespace, args);
    String::from_utf8(output.stdout).expect("text is UTF-8")
}

#[test]
fn list_and_why_tell_of_what_stands_and_nothing_else() {
    let Some(host) = Host::new() else { return };
    assert!(host.listed().is_empty());
    assert_eq!(code(&host, &["why", TARGET]), Some(1));
    let mut execd = host.execd();
    execd.request(&Line::four(), 600);
    execd.request(&Line::add("198.51.100.0/24"), 600);
    assert_eq!(host.listed(), ["198.51.100.0/24", TARGET]);
    for (args, told) in [
        (&["list"][..], &[TARGET, "5760", "custom-block", "nftables"][..]),
        (&["why", TARGET], &[TARGET, "5760"]),
    ] {
        let text = text(&host, args);
        for word in told {
            assert!(text.contains(word), "{args:?} does not say {word}: {text}");
        }
    }
    assert_eq!(code(&host, &["why", TARGET]), Some(0));
    // An address is blocked by the network it lies in, too.
    assert_eq!(code(&host, &["why", "198.51.100.9"]), Some(0));
    // Somebody lifts it behind our back: the kernel decides.
    host.namespace.command("nft", &["delete element inet wazuh_block hosts4 { 203.0.113.50 }"]);
    assert_eq!(host.listed(), ["198.51.100.0/24"]);
    assert_eq!(code(&host, &["why", TARGET]), Some(1));
}

#[test]
fn what_a_person_adds_has_the_time_that_was_given_and_what_they_remove_is_gone() {
    let Some(host) = Host::new() else { return };
    assert_eq!(code(&host, &["add", TARGET, "--ttl", "1h", "--reason", "seen in the mail log"]), Some(0));
    assert_eq!(host.blocks()[TARGET].timeout, Some(3960));
    assert!(text(&host, &["why", TARGET]).contains("seen in the mail log"));
    assert_eq!(code(&host, &["add", TARGET, "--ttl", "0"]), Some(0));
    assert_eq!(host.blocks()[TARGET].timeout, None, "for ever");
    assert_eq!(code(&host, &["remove", TARGET]), Some(0));
    assert!(host.blocks().is_empty());
    for bad in ["localhost", "1.2.3", "203.0.113.50; true", "", "-1"] {
        assert_eq!(code(&host, &["add", bad]), Some(2), "{bad:?}");
    }
    for refused in ["127.0.0.1", "224.0.0.1"] {
        assert_eq!(code(&host, &["add", refused]), Some(3), "{refused}");
    }
    assert!(host.blocks().is_empty());
}

#[test]
fn nobody_locks_themselves_out_without_force() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("allowlist = [\"198.51.100.7\"]\n");
    let add = |target: &str, force: bool| {
        host.namespace.run(|| {
            let mut command = host.wazuh.command(&["add", target]);
            command.args(force.then_some("--force")).env("SSH_CONNECTION", "203.0.113.50 40022 192.0.2.1 22");
            command.output().unwrap().status.code()
        })
    };
    for target in [TARGET, "203.0.113.0/24", "198.51.100.7"] {
        assert_eq!(add(target, false), Some(3), "{target}");
        assert!(host.blocks().is_empty());
        assert_eq!(add(target, true), Some(0), "{target}");
        assert_eq!(host.targets(), [target]);
        assert_eq!(code(&host, &["remove", target]), Some(0));
    }
}

#[test]
fn flush_asks_and_then_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    host.namespace.command("nft", &["add table inet mine"]);
    let mut execd = host.execd();
    for target in [TARGET, "198.51.100.0/24", "2001:db8:bad::50"] {
        execd.request(&Line::add(target), 600);
    }
    // Nobody is there to answer.
    let unanswered = code(&host, &["flush"]);
    assert_eq!(host.blocks().len(), 3);
    assert_ne!(unanswered, Some(0), "nothing was done, and that is no success");
    assert_eq!(code(&host, &["flush", "--yes"]), Some(0));
    let ruleset = host.namespace.command("nft", &["list", "ruleset"]);
    assert!(!ruleset.contains("elements") && ruleset.contains("mine"), "{ruleset}");
    assert!(host.listed().is_empty());
    // What was flushed does not come back.
    assert_eq!(code(&host, &["restore"]), Some(0));
    assert!(host.blocks().is_empty());
}

#[test]
fn doctor_says_whether_the_chain_is_live() {
    let Some(host) = Host::new() else { return };
    host.execd().request(&Line::four(), 600);
    let healthy = host.wazuh.verb(&host.namespace, &["doctor", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&healthy.stdout).expect("doctor --json prints JSON");
    assert!(json.is_object() || json.is_array());
    assert!(text(&host, &["doctor"]).contains("nftables"));
    host.namespace.command("nft", &["flush chain inet wazuh_block incoming"]);
    assert_eq!(code(&host, &["doctor"]), Some(1));
}

#[test]
fn a_configuration_is_checked_with_file_key_and_line() {
    let Some(host) = Host::new() else { return };
    assert_eq!(code(&host, &["--check-config"]), Some(0));
    host.wazuh.configure("ttl = \"1h\"\nmax_tll = 3\n");
    let output = host.wazuh.verb(&host.namespace, &["--check-config"]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("custom-block.toml:2") && said.contains("max_tll"), "{said}");
}
