//! The tree is what it says it is: names agree, files are small, what is
//! shipped works, and nothing of the machine it was written on is left in it.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::program::{custom_audit, custom_block, custom_webhook, source_tree};

/// No source file is longer.
const MOST_LINES: usize = 600;

/// All files of the tree that people write, without what is built or fetched.
fn files() -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let name = entry.file_name().to_string_lossy().into_owned();
            let built = ["target", ".git", "corpus", "artifacts"].contains(&name.as_str());
            if kind.is_dir() && !built {
                walk(&path, found);
            } else if kind.is_file() && name != "Cargo.lock" {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&tree(), &mut found);
    found
}

fn tree() -> PathBuf {
    std::fs::canonicalize(source_tree()).unwrap()
}

fn with_extension(extension: &str) -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The name of each program: a folder in `bins`.
fn programs() -> BTreeSet<String> {
    let folders = std::fs::read_dir(tree().join("bins")).unwrap().flatten();
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_program_its_crate_and_its_files_have_one_name() {
    let programs = programs();
    for program in &programs {
        let manifest = text(&tree().join("bins").join(program).join("Cargo.toml"));
        assert!(manifest.contains(&format!("\nname = \"{program}\"\n")), "the crate in bins/{program}");
    }
    // Beside the programs' own files there may be such of several or of none.
    for (folder, extension) in [("packaging/config", "toml"), ("ossec-snippets", "xml")] {
        for path in files().iter().filter(|path| path.parent() == Some(&tree().join(folder))) {
            let stem = path.file_stem().unwrap().to_string_lossy();
            let known = programs.iter().any(|program| stem.starts_with(program.as_str()));
            assert!(known && path.extension().is_some_and(|e| e == extension), "{}", path.display());
        }
    }
}

#[test]
fn the_top_level_holds_what_the_map_says() {
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "LICENSE",
        "clippy.toml",
        "rustfmt.toml",
        "common",
        "bins",
        "rules",
        "ossec-snippets",
        "packaging",
        "tests",
        "target",
    ];
    for entry in std::fs::read_dir(tree()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || known.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn every_crate_obeys_the_shared_lints() {
    for path in with_extension("toml") {
        let manifest = text(&path);
        let member =
            path.file_name().is_some_and(|name| name == "Cargo.toml") && manifest.contains("[package]");
        // The fuzz targets are a workspace of their own.
        if member && !manifest.contains("[workspace]") {
            assert!(manifest.contains("[lints]\nworkspace = true"), "{}", path.display());
        }
    }
}

#[test]
fn no_source_file_is_too_long_to_be_read() {
    for path in with_extension("rs") {
        let lines = text(&path).lines().count();
        assert!(lines <= MOST_LINES, "{}: {lines} lines", path.display());
    }
    let common: usize = with_extension("rs")
        .iter()
        .filter(|path| path.starts_with(tree().join("common/src")))
        .map(|path| text(path).lines().count())
        .sum();
    // With its tests; without them some 2,000 are meant.
    assert!(common <= 3200, "common has {common} lines");
}

#[test]
fn the_shared_crate_starts_nothing_and_prints_nothing() {
    for path in with_extension("rs").iter().filter(|path| path.starts_with(tree().join("common/src"))) {
        // Tests stand at the end of a file, or in one of their own.
        if path.ends_with("tests.rs") {
            continue;
        }
        let text = text(path);
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in ["Command::new", "process::exit", "println!", "eprintln!", "static mut", "unsafe {"] {
            let allowed = word == "unsafe {" && path.ends_with("netlink.rs");
            assert!(allowed || !code.contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn nothing_is_left_to_do_and_nothing_of_this_machine_is_left() {
    // Put together, or this file would find itself.
    let unfinished = ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "XX".to_owned() + "X:"];
    let mut paths = vec![tree().display().to_string() + "/"];
    // Root's home is a name that programs know; what is hidden in it is not.
    let own = |home: String| if home == "/root" { home + "/." } else { home + "/" };
    paths.extend(std::env::var("HOME").ok().filter(|home| home.len() > 1).map(own));
    for path in files() {
        let text = text(&path);
        for word in unfinished.iter().chain(&paths) {
            assert!(!text.contains(word.as_str()), "{}: {word}", path.display());
        }
    }
}

#[test]
fn shell_scripts_are_plain_and_parse() {
    let mut count = 0;
    for path in files() {
        if text(&path).starts_with("#!/bin/sh") {
            count += 1;
            let parsed = Command::new("sh").arg("-n").arg(&path).output().unwrap();
            assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
        }
    }
    assert!(count >= 4);
    let mode = std::fs::metadata(tree().join(".ci/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, ".ci/run is called as it is");
}

#[test]
fn what_the_readme_tells_to_type_is_there() {
    let readme = text(&tree().join("README.md"));
    assert!(readme.contains("sh tests/demo") && readme.contains("sh tests/run"), "its two commands");
    let words = readme.split(|c: char| c.is_whitespace() || "`()[]<>\"',;".contains(c));
    let roots = ["tests/", "packaging/", "ossec-snippets/", "rules/", "common/", "bins/"];
    for word in words.filter(|word| roots.iter().any(|root| word.starts_with(root))) {
        let path = word.trim_end_matches(['.', ':', '/']);
        // A file's name, not a pattern of names.
        if !path.contains(['*', '{', '…', '$']) {
            assert!(tree().join(path).exists(), "README.md names {word}");
        }
    }
}

#[test]
fn every_test_that_security_md_names_is_there() {
    let mut count = 0;
    let security = text(&tree().join("SECURITY.md"));
    // Names in backquotes, then the file of them all in parentheses.
    for row in security.lines().filter(|line| line.starts_with("| ") && line.contains(".rs)")) {
        let tests = row.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap();
        for group in tests.split_inclusive(".rs)") {
            let (names, path) = group.trim_end_matches(')').rsplit_once('(').unwrap();
            let code = text(&tree().join(path));
            for name in names.split('`').skip(1).step_by(2) {
                count += 1;
                assert!(code.contains(&format!("fn {name}(")), "{path} has no {name}");
            }
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn the_ids_of_rules_are_unique() {
    let mut seen = BTreeSet::new();
    for path in files().iter().filter(|path| path.starts_with(tree().join("rules"))) {
        for piece in text(path).split("<rule id=\"").skip(1) {
            let id = piece.split('"').next().unwrap().to_owned();
            assert!(seen.insert(id.clone()), "{}: {id} twice", path.display());
        }
    }
}

/// A program with a configuration, and the tables in it.
struct Configured {
    name: &'static str,
    path: fn() -> &'static Path,
    /// Tables that are there once.
    tables: &'static [&'static str],
    /// Tables that may be there several times.
    entries: &'static [&'static str],
    /// Of those, the ones of which each key is stated.
    stated: &'static [&'static str],
}

/// `[[api]]` of custom-block is explained, not stated: most of its keys
/// exclude each other.
const CONFIGURED: [Configured; 3] = [
    Configured {
        name: "custom-audit",
        path: custom_audit,
        tables: &["hash"],
        entries: &["allow"],
        stated: &["allow"],
    },
    Configured {
        name: "custom-block",
        path: custom_block,
        tables: &["escalation", "nftables", "iptables", "file"],
        entries: &["api"],
        stated: &[],
    },
    Configured {
        name: "custom-webhook",
        path: custom_webhook,
        tables: &["tls", "github", "application", "supabase", "aws"],
        entries: &["generic"],
        stated: &["generic"],
    },
];

/// Where packages put what a configuration names.
const INSTALLED: &str = "/etc/wazuh-toolkit/";

/// A certificate, and its key beside it.
fn certificate(path: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-out"])
        .arg(path)
        .arg("-keyout")
        .arg(path.with_extension("key"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

impl Configured {
    /// The configuration as it is shipped.
    fn example(&self) -> String {
        let example = text(&tree().join(format!("packaging/config/{}.toml", self.name)));
        assert!(!example.is_empty(), "packaging/config/{}.toml is missing", self.name);
        example
    }

    /// Runs `--check-config` on a text; what it said, and its exit code.
    fn check(&self, config: &str) -> (String, Option<i32>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(format!("{}.toml", self.name));
        // The examples of secrets and certificates are made.
        for path in config.split('"').filter(|text| text.starts_with(INSTALLED)) {
            let path = dir.path().join(path.trim_start_matches(INSTALLED));
            if path.extension().is_some_and(|extension| extension == "pem") {
                certificate(&path);
            } else if !path.exists() {
                std::fs::write(&path, "a secret of some length\n").unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        let config = config.replace(INSTALLED, &format!("{}/", dir.path().display()));
        std::fs::write(&file, config).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let output = Command::new((self.path)())
            .arg("--check-config")
            .env("WAZUH_TOOLKIT_CONFIG_DIR", dir.path())
            .env("WAZUH_TOOLKIT_STATE_DIR", dir.path().join("state"))
            .env("WAZUH_HOME", dir.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&said).into_owned(), output.status.code())
    }

    /// The keys that the program knows in a table, from what it says about one
    /// that it does not know.
    fn known_keys(&self, table: &str) -> Vec<String> {
        let header = match table {
            "" => String::new(),
            entry if self.entries.contains(&entry) => format!("[[{entry}]]\n"),
            table => format!("[{table}]\n"),
        };
        let (said, code) = self.check(&format!("{header}no_such_key = 1\n"));
        assert_eq!(code, Some(78), "{said}");
        let (_, expected) = said.split_once("expected ").expect("it says which keys there are");
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
}

#[test]
fn every_program_that_wazuh_starts_has_an_example_of_its_configuration() {
    for program in programs().iter().filter(|program| program.starts_with("custom-")) {
        assert!(CONFIGURED.iter().any(|configured| configured.name == *program), "{program}");
    }
}

#[test]
fn the_shipped_configuration_is_valid_with_its_examples_and_without() {
    for program in &CONFIGURED {
        let example = program.example();
        let (said, code) = program.check(&example);
        assert_eq!(code, Some(0), "{}: {said}", program.name);
        // "# Text" is an explanation, "#key = value" an example.
        let is_example =
            |line: &&str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c| c != ' '));
        for entry in program.entries {
            let header = format!("#[[{entry}]]");
            assert!(example.lines().any(|line| line == header), "{}: no {header}", program.name);
        }
        let all: Vec<&str> =
            example.lines().map(|line| if is_example(&line) { &line[1..] } else { line }).collect();
        let (said, code) = program.check(&(all.join("\n") + "\n"));
        assert_eq!(code, Some(0), "{}, with its examples: {said}", program.name);
    }
}

#[test]
fn the_shipped_configuration_states_every_key() {
    for program in &CONFIGURED {
        // What is commented out is an example too: each such line must be one.
        let setting = |line: &str| {
            let key = line.split('=').next().unwrap_or_default().trim();
            line.contains(" = ")
                && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let mut stated = BTreeSet::new();
        let mut table = String::new();
        for line in program.example().lines() {
            let line = line.trim_start_matches('#').trim();
            if line.starts_with('[') && line.ends_with(']') {
                table = line.trim_matches(['[', ']']).to_owned();
            } else if setting(line) {
                let key = line.split('=').next().unwrap_or_default().trim();
                stated.insert(format!("{table}.{key}"));
            }
        }
        for table in [""].iter().chain(program.tables).chain(program.stated) {
            for key in program.known_keys(table) {
                let below = program.tables.iter().chain(program.entries).any(|below| *below == key);
                assert!(
                    table.is_empty() && below || stated.contains(&format!("{table}.{key}")),
                    "{}: {table}.{key} is not stated",
                    program.name
                );
            }
        }
    }
}
