//! How much memory a run takes, as the kernel counts it.

use std::path::PathBuf;
use std::time::Duration;

use harness::execd::{Stdout, Then};
use harness::line::Line;

use crate::{Host, ready};

/// A program may not use more, in KiB.
const MOST_MEMORY: u64 = 8 * 1024;

/// The most memory that the program ever had in this run, in KiB. The run's
/// last call waits for a moment, so that its process can be looked at.
fn peak(host: &Host, run: impl FnOnce(Vec<String>) + Send) -> u64 {
    let home = host.wazuh.home();
    let peak_of = |process: PathBuf| {
        // Not strace itself, which has been in that directory all the time.
        let name = std::fs::read(process.join("cmdline")).ok()?;
        if std::fs::read_link(process.join("cwd")).ok()? != home || !name.starts_with(b"active-response/bin/")
        {
            return None;
        }
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    let words = [
        "strace",
        "-qqq",
        "-o",
        "/dev/null",
        "-e",
        "trace=exit_group",
        "-e",
        "inject=exit_group:delay_enter=500000",
    ];
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(words.map(str::to_owned).to_vec()));
        let mut most = 0;
        while !running.is_finished() {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            most = processes.filter_map(|process| peak_of(process.path())).fold(most, u64::max);
            std::thread::sleep(Duration::from_millis(20));
        }
        running.join().unwrap();
        most
    })
}

#[test]
fn a_run_needs_little_memory() {
    if !ready(&["strace"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let blocklist = host.wazuh.scratch().join("blocklist");
    host.wazuh.configure(&format!(
        "backends = [\"nftables\", \"file\", \"api\"]\nclose_connections = true\n[file]\npath = {blocklist:?}\n\
         [[api]]\nname = \"edge\"\npreset = \"generic\"\nurl = \"http://127.0.0.1:9\"\n"
    ));
    for (what, line) in [
        ("the first add", Line::four()),
        ("one more", Line::add("198.51.100.7")),
        ("a long alert", {
            let log = "x".repeat(60_000);
            Line::add("198.51.100.8").replace("\"full_log\":\"", &format!("\"full_log\":\"{log}"))
        }),
        ("a refusal", Line::add("127.0.0.1")),
    ] {
        let most = peak(&host, |words| {
            let mut execd = host.execd();
            execd.launcher(words);
            assert_eq!(execd.request(&line, 600).code(), Some(0));
        });
        assert!((100..MOST_MEMORY).contains(&most), "{what}: {most} KiB");
    }
    assert_eq!(host.blocks().len(), 3);
    let most = peak(&host, |words| {
        let mut execd = host.execd();
        execd.launcher(words);
        let line = [Line::four().command("delete").bytes(), b"\n"].concat();
        execd.feed("custom-block", &line, Then::Close, Stdout::Discard);
    });
    assert!((100..MOST_MEMORY).contains(&most), "a delete: {most} KiB");
    assert_eq!(host.blocks().len(), 2);
}
