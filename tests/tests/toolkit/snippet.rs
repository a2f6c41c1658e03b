//! What a section says: the snippet that is shipped, with the places as they
//! are on this host, and what an administrator should know before.

use std::process::Command;

use harness::program::source_tree;
use harness::stand_in::{Ran, StandIn};

use crate::{PROGRAMS, ROLES, agent, changed, inside, manager, ready};

fn snippet(name: &str, stand_in: &StandIn) -> String {
    let path = source_tree().join("ossec-snippets").join(format!("{name}.xml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.replace("/usr/lib/wazuh-toolkit", stand_in.program_dir().to_str().unwrap())
        .replace("/var/ossec", stand_in.home().to_str().unwrap())
}

#[test]
fn a_section_is_the_shipped_snippet_with_the_places_of_this_host() {
    if !ready() {
        return;
    }
    for role in ROLES {
        let stand_in = StandIn::new(role);
        for program in PROGRAMS {
            let _ = stand_in.run(&["enable", program]).with_code(0);
            let inside = inside(&stand_in.ossec_conf(), program).unwrap();
            assert_eq!(inside, snippet(&format!("{program}.{role}"), &stand_in), "{program} on the {role}");
        }
    }
}

#[test]
fn the_localfile_is_added_only_where_nobody_reads_the_record() {
    let Some(stand_in) = manager() else { return };
    let localfile = snippet("custom-block.localfile", &stand_in);
    let home = stand_in.home().display().to_string();
    let follows = |location: &str, format: &str| {
        format!(
            "<ossec_config>\n  <localfile>\n    <log_format>{format}</log_format>\n    <location>{location}</location>\n  </localfile>\n</ossec_config>\n"
        )
    };
    let absolute = format!("{home}/logs/active-responses.log");
    let cases = [
        ("nothing", "<ossec_config>\n</ossec_config>\n".to_owned(), true),
        ("the file", follows(&absolute, "syslog"), false),
        ("blanks around its name", follows(&format!("\n      {absolute}\n    "), "syslog"), false),
        ("another file", follows("/var/log/syslog", "syslog"), true),
        ("one of another installation", follows("/var/ossec/logs/active-responses.log", "syslog"), true),
        (
            "in a comment",
            format!("<ossec_config>\n</ossec_config>\n<!--\n{}-->\n", follows(&absolute, "syslog")),
            true,
        ),
        (
            "in the second root",
            format!("<ossec_config>\n</ossec_config>\n{}", follows(&absolute, "syslog")),
            false,
        ),
        (
            "in another element",
            format!(
                "<ossec_config>\n  <syscheck>\n    <directories>{absolute}</directories>\n  </syscheck>\n</ossec_config>\n"
            ),
            true,
        ),
    ];
    for (what, conf, missing) in cases {
        stand_in.write("etc/ossec.conf", &conf);
        let _ = stand_in.run(&["enable", "custom-block"]).with_code(0);
        let section = inside(&stand_in.ossec_conf(), "custom-block").unwrap();
        assert_eq!(section.contains(&localfile), missing, "{what}: {section}");
        assert_eq!(section.matches("<localfile>").count(), usize::from(missing), "{what}: {section}");
        // It does not take its own for somebody else's.
        assert!(!changed(&stand_in.run(&["enable", "custom-block", "--json"]).with_code(0)), "{what}");
        let _ = stand_in.run(&["disable", "custom-block"]).with_code(0);
        assert_eq!(stand_in.ossec_conf(), conf.as_bytes(), "{what}");
    }
}

#[test]
fn the_wodle_runs_the_program_where_it_lies() {
    let Some(stand_in) = agent() else { return };
    let command = |dir: &str| format!("<command>{dir}/custom-audit --wodle</command>");
    let section = |stand_in: &StandIn| inside(&stand_in.ossec_conf(), "custom-audit").unwrap();
    let _ = stand_in.run(&["enable", "custom-audit"]).with_code(0);
    assert!(section(&stand_in).contains(&command(stand_in.program_dir().to_str().unwrap())));
    // Without the variable, where packages put it.
    let mut usual = stand_in.command(&["enable", "custom-audit", "--json"]);
    usual.env_remove("WAZUH_TOOLKIT_PROGRAM_DIR");
    assert!(changed(&Ran::of(usual).with_code(0)));
    assert!(section(&stand_in).contains(&command("/usr/lib/wazuh-toolkit")));
}

/// A run of `enable` from an SSH session of this client.
fn over_ssh(stand_in: &StandIn, connection: &str, program: &str) -> Ran {
    let mut command: Command = stand_in.command(&["enable", program]);
    command.env("SSH_CONNECTION", connection);
    let ran = Ran::of(command).with_code(0);
    let _ = stand_in.run(&["disable", program]).with_code(0);
    ran
}

#[test]
fn who_could_block_themselves_is_warned() {
    let Some(stand_in) = manager() else { return };
    for (client, server) in
        [("198.51.100.7", "192.0.2.1"), ("2001:db8::7", "2001:db8::1"), ("::ffff:198.51.100.7", "::1")]
    {
        let ran = over_ssh(&stand_in, &format!("{client} 50000 {server} 22"), "custom-block");
        let address = client.trim_start_matches("::ffff:");
        assert!(ran.err.contains(address) && ran.err.contains("allowlist"), "{client}: {}", ran.all());
        let ran = over_ssh(&stand_in, &format!("{client} 50000 {server} 22"), "custom-audit");
        assert!(!ran.err.contains("allowlist"), "{client}: {}", ran.all());
    }
    // Not over SSH, or not as sshd says it.
    for connection in ["", "nonsense", "1.2.3.4.5 1 2 3", "\u{1b}[2J 1 2 3"] {
        let ran = over_ssh(&stand_in, connection, "custom-block");
        assert!(!ran.all().contains('\u{1b}'), "{connection:?}");
        assert!(!ran.err.contains("1.2.3.4.5 is not"), "{connection:?}: {}", ran.all());
    }
    let ran = stand_in.run(&["enable", "custom-block"]).with_code(0);
    assert!(!ran.err.contains("allowlist"), "{}", ran.all());
}

#[test]
fn whom_the_allowlist_has_is_not_warned() {
    let Some(stand_in) = manager() else { return };
    let config = stand_in.config_dir().join("custom-block.toml");
    for (list, client, warned) in [
        ("allowlist = [\"198.51.100.7\"]", "198.51.100.7", false),
        ("allowlist = [\"198.51.100.0/24\"]", "198.51.100.7", false),
        ("allowlist = [\"198.51.100.0/24\"]", "::ffff:198.51.100.7", false),
        ("allowlist = [\"2001:db8::/32\"]", "2001:db8:0:0::7", false),
        ("allowlist = [\"198.51.100.8\"]", "198.51.100.7", true),
        ("allowlist = []", "198.51.100.7", true),
    ] {
        std::fs::write(&config, list).unwrap();
        harness::stand_in::mode(&config, 0o644);
        let ran = over_ssh(&stand_in, &format!("{client} 50000 192.0.2.1 22"), "custom-block");
        assert_eq!(ran.err.contains("allowlist"), warned, "{list}, {client}: {}", ran.all());
    }
    // Where the list cannot be read, that is what is said.
    std::fs::write(&config, "this is no TOML").unwrap();
    let ran = over_ssh(&stand_in, "198.51.100.7 50000 192.0.2.1 22", "custom-block");
    assert!(ran.err.contains("custom-block.toml"), "{}", ran.all());
}
