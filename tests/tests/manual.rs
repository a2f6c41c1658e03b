//! The man page and the completions that are shipped are those of the program
//! that is shipped.

#[expect(dead_code, reason = "its main writes the files that are compared here")]
#[path = "../examples/manual.rs"]
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
fn bash_completes_verbs_and_their_options() {
    if !harness::require(harness::kernel::has("bash"), "bash") {
        return;
    }
    let script = source_tree().join("packaging/completions/custom-block.bash");
    for (typed, expected) in [("re", "remove restore"), ("add --re", "--reason"), ("doctor --js", "--json")] {
        let (before, last) = typed.rsplit_once(' ').unwrap_or(("", typed));
        let words = format!("custom-block {before} {last}");
        let complete = format!(
            ". '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _custom__block custom-block '{last}' ''; echo ${{COMPREPLY[@]}}",
            script.display()
        );
        let output = std::process::Command::new("bash").args(["-c", &complete]).output();
        let output = output.expect("bash is there");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{typed}");
    }
}

#[test]
fn every_verb_and_option_is_in_the_man_page_and_nothing_hidden_is() {
    let page = std::fs::read_to_string(source_tree().join("packaging/man/custom-block.8")).unwrap();
    let page = page.replace("\\-", "-");
    for word in ["list", "why", "add", "remove", "flush", "restore", "deliver", "doctor"] {
        assert!(page.contains(&format!("\\fB{word}\\fR")), "{word}");
    }
    for option in
        ["--home", "--state-dir", "--config", "--backend", "--dry-run", "--check-config", "--ttl", "--force"]
    {
        assert!(page.contains(option), "{option}");
    }
    for hidden in ["iptables-worker", "--detached"] {
        for (name, contents) in manual::files() {
            let text = String::from_utf8_lossy(&contents).replace("\\-", "-");
            assert!(!text.contains(hidden), "{}: {hidden}", name.display());
        }
    }
}
