//! `selftest`: the installed programs do their work once, without an effect.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::network::{self, Namespace};
use harness::stand_in::{Ran, StandIn, Tree, executable, mode};
use harness::{kernel, require};

use crate::says;

/// An agent with everything in its place, on a host of its own.
fn host() -> Option<(StandIn, Namespace)> {
    let ready = crate::ready()
        && require(network::available(), "root, for namespaces")
        && require(kernel::has("nft"), "nft");
    ready.then(|| {
        let stand_in = StandIn::agent();
        for args in [&["enable", "custom-block"][..], &["enable", "custom-audit"], &["link"]] {
            let _ = stand_in.run(args).with_code(0);
        }
        (stand_in, Namespace::new())
    })
}

fn selftest(stand_in: &StandIn, namespace: &Namespace) -> Ran {
    namespace.run(|| stand_in.run(&["selftest"]))
}

#[test]
fn what_is_installed_well_passes_and_leaves_no_trace() {
    let Some((stand_in, namespace)) = host() else { return };
    let (before, state) = (stand_in.tree(), Tree::of(&stand_in.state_dir()));
    let ruleset = namespace.command("nft", &["list", "ruleset"]);
    for _ in 0..2 {
        let ran = selftest(&stand_in, &namespace).with_code(0);
        says(&ran, &crate::PROGRAMS);
        assert!(ran.took < Duration::from_secs(30), "{:?}", ran.took);
    }
    assert_eq!(namespace.command("nft", &["list", "ruleset"]), ruleset, "the kernel was changed");
    // Its record is the one line that custom-block always writes.
    let changes = stand_in.tree().changes_since(&before);
    assert!(changes.iter().all(|path| path == Path::new("logs/active-responses.log")), "{changes:?}");
    let record = String::from_utf8(stand_in.read("logs/active-responses.log")).unwrap();
    assert!(record.lines().all(|line| line.contains("\"command\":\"observed\"")), "{record}");
    let mut left = Tree::of(&stand_in.state_dir()).changes_since(&state);
    left.retain(|path| path.starts_with("custom-audit") || path.starts_with("custom-webhook"));
    assert!(left.is_empty(), "{left:?}");
    let block = stand_in.program_dir().join("custom-block");
    let listed = namespace.run(|| Ran::of(stand_in.launched(&[], &block, &["list", "--json"])));
    assert_eq!(listed.with_code(0).out.trim(), "[]");
}

#[test]
fn a_block_that_stands_is_not_touched_by_it() {
    let Some((stand_in, namespace)) = host() else { return };
    let block = stand_in.program_dir().join("custom-block");
    let add = namespace.run(|| {
        Ran::of(stand_in.launched(&[], &block, &["add", "203.0.113.50", "--ttl", "1h", "--reason", "a test"]))
    });
    let _ = add.with_code(0);
    let blocks = kernel::nftables(&namespace);
    assert!(!blocks.is_empty());
    let _ = selftest(&stand_in, &namespace).with_code(0);
    let after = kernel::nftables(&namespace);
    assert_eq!(after.keys().collect::<Vec<_>>(), blocks.keys().collect::<Vec<_>>());
}

/// Where selftests work.
fn folders() -> BTreeSet<OsString> {
    let all = std::fs::read_dir("/var/tmp").unwrap().flatten().map(|entry| entry.file_name());
    all.filter(|name| name.to_string_lossy().starts_with("wazuh-toolkit-selftest")).collect()
}

#[test]
fn a_program_that_does_not_do_its_work_is_named_in_time() {
    let before = folders();
    let scripts = [
        ("says nothing", "#!/bin/sh\nexit 0\n"),
        ("fails", "#!/bin/sh\necho 'cannot' >&2\nexit 1\n"),
        ("says junk", "#!/bin/sh\necho '} not JSON {'\necho 'at all'\n"),
        (
            "says another's JSON",
            "#!/bin/sh\necho '{\"version\":1,\"origin\":{\"name\":\"x\"},\"command\":\"else\"}'\n",
        ),
        ("says very much", "#!/bin/sh\nhead -c 30000000 /dev/zero | tr '\\0' 'x'\necho\n"),
        ("never ends", "#!/bin/sh\nexec sleep 312\n"),
        ("cannot be run", "\x7fELF is what this is not"),
        ("kills itself", "#!/bin/sh\nkill -9 $$\n"),
    ];
    let examine = |program: &str| {
        let Some((stand_in, namespace)) = host() else { return };
        let path = stand_in.program_dir().join(program);
        let good = std::fs::read(&path).unwrap();
        for (what, script) in scripts {
            executable(&path, script.as_bytes());
            mode(&path, 0o755);
            let ran = selftest(&stand_in, &namespace);
            assert_eq!(ran.code, Some(1), "{program} {what}: {}", ran.all());
            says(&ran, &[program]);
            assert!(ran.took < Duration::from_secs(60), "{program} {what}: {:?}", ran.took);
            assert!(ran.all().len() < 100_000, "{program} {what}: {} bytes", ran.all().len());
        }
        std::fs::remove_file(&path).unwrap();
        let ran = selftest(&stand_in, &namespace);
        // Not every host has custom-webhook.
        let code = if crate::USUAL.contains(&program) { 1 } else { 0 };
        assert_eq!(ran.code, Some(code), "{program} is gone: {}", ran.all());
        executable(&path, &good);
        mode(&path, 0o755);
        let _ = selftest(&stand_in, &namespace).with_code(0);
    };
    std::thread::scope(|scope| {
        for program in crate::PROGRAMS {
            scope.spawn(move || examine(program));
        }
    });
    // Nothing of those that hung is left, and nothing that they were given.
    // Another test's may be there for a while.
    let mut left = &folders() - &before;
    harness::eventually(Duration::from_secs(60), || {
        left = &left & &folders();
        left.is_empty()
    });
    assert!(left.is_empty(), "{left:?}");
    let hung = |process: PathBuf| {
        std::fs::read(process.join("cmdline")).is_ok_and(|line| line == b"sleep\x00312\x00")
    };
    let mut processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    assert!(!processes.any(hung), "a program that hung is left behind");
}
