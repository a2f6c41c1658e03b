//! The man pages and the completions that are shipped are those of the
//! programs that are shipped.

#[expect(dead_code, reason = "its main writes the files that are compared here")]
#[path = "../examples/manual/main.rs"]
mod manual;

use harness::program::source_tree;

#[test]
fn what_is_committed_is_what_the_command_line_says() {
    for (name, expected) in manual::files() {
        let path = source_tree().join("packaging").join(&name);
        let committed = std::fs::read(&path).unwrap_or_default();
        assert!(
            String::from_utf8_lossy(&committed) == String::from_utf8_lossy(&expected),
            "packaging/{} is old: cargo run --package harness --example manual",
            name.display()
        );
    }
}

#[test]
fn every_program_has_its_page_and_completions_for_three_shells() {
    let names: Vec<String> = manual::files().iter().map(|(name, _)| name.display().to_string()).collect();
    for entry in std::fs::read_dir(source_tree().join("bins")).expect("there are programs").flatten() {
        let program = entry.file_name().to_string_lossy().into_owned();
        for name in [
            format!("man/{program}.8"),
            format!("completions/{program}.bash"),
            format!("completions/_{program}"),
            format!("completions/{program}.fish"),
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }
}

#[test]
fn bash_completes_verbs_and_their_options() {
    if !harness::require(harness::kernel::has("bash"), "bash") {
        return;
    }
    for (program, typed, expected) in [
        ("custom-block", "re", "remove restore"),
        ("custom-block", "add --re", "--reason"),
        ("custom-block", "doctor --js", "--json"),
        ("custom-audit", "do", "doctor"),
        ("custom-audit", "doctor --js", "--json"),
        ("custom-audit", "--process-key s", "string"),
        ("custom-audit", "explain root_r", "root_reason"),
        ("wazuh-toolkit", "en", "enable"),
        ("wazuh-toolkit", "enable custom-a", "custom-audit"),
        ("wazuh-toolkit", "enable --role ma", "manager"),
        ("wazuh-toolkit", "rules in", "install"),
        ("wazuh-toolkit", "rules install --dr", "--dry-run"),
    ] {
        let script = source_tree().join(format!("packaging/completions/{program}.bash"));
        let (before, last) = typed.rsplit_once(' ').unwrap_or(("", typed));
        let previous = before.rsplit(' ').next().unwrap_or_default();
        let complete = format!(
            ". '{}'; COMP_WORDS=({program} {typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _{} {program} '{last}' '{previous}'; echo ${{COMPREPLY[@]}}",
            script.display(),
            program.replace('-', "__")
        );
        let output = std::process::Command::new("bash").args(["-c", &complete]).output();
        let output = output.expect("bash is there");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{program} {typed}");
    }
}

/// The man page of a program, as it reads.
fn page(program: &str) -> String {
    let path = source_tree().join(format!("packaging/man/{program}.8"));
    std::fs::read_to_string(path).expect("it is shipped").replace("\\-", "-")
}

#[test]
fn every_verb_and_option_is_in_the_man_page() {
    for (program, verbs, options) in [
        (
            "custom-block",
            &["list", "why", "add", "remove", "flush", "restore", "deliver", "doctor"][..],
            &[
                "--home",
                "--state-dir",
                "--config",
                "--backend",
                "--dry-run",
                "--check-config",
                "--ttl",
                "--force",
            ][..],
        ),
        (
            "custom-audit",
            &["explain", "doctor"],
            &[
                "--wodle",
                "--full",
                "--watch",
                "--output",
                "--max-events",
                "--process-key",
                "--geo-peer",
                "--table",
                "--check-config",
                "--home",
                "--state-dir",
                "--config",
                "--json",
            ],
        ),
        (
            "custom-webhook",
            &["doctor", "send", "tail"],
            &[
                "--home",
                "--state-dir",
                "--config",
                "--check-config",
                "--source",
                "--event",
                "--lines",
                "--once",
            ],
        ),
        (
            "wazuh-toolkit",
            &[
                "enable",
                "disable",
                "status",
                "doctor",
                "link",
                "selftest",
                "rules install",
                "rules remove",
                "rules check",
            ],
            &["--role", "--print", "--dry-run", "--restart", "--force", "--replace", "--restore", "--remove"],
        ),
    ] {
        let page = page(program);
        for word in verbs {
            assert!(page.contains(&format!("\\fB{word}\\fR")), "{program} {word}");
        }
        for option in options {
            assert!(page.contains(option), "{program} {option}");
        }
        for heading in ["FILES", "ENVIRONMENT", "\"EXIT STATUS\"", "EXAMPLES", "NOTES"] {
            assert!(page.contains(&format!(".SH {heading}\n")), "{program} {heading}");
        }
    }
}

#[test]
fn nothing_hidden_is_offered() {
    for hidden in ["iptables-worker", "--detached"] {
        for (name, contents) in manual::files() {
            let text = String::from_utf8_lossy(&contents).replace("\\-", "-");
            assert!(!text.contains(hidden), "{}: {hidden}", name.display());
        }
    }
}
