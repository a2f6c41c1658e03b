//! SIGKILL at every system call: whatever was half done, `list` tells the
//! kernel's truth, nothing lasts beyond its time, and the same line again
//! repairs it.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use harness::execd::{Execd, Run, Stdout, Then};
use harness::kernel;
use harness::line::Line;
use harness::network::Namespace;
use nix::sys::signal::Signal;

use crate::{Host, ready};

/// One system call of a run: its name, and how many of that name it makes it.
/// strace counts each name for itself.
struct Call {
    name: String,
    nth: usize,
}

/// The calls that a run makes, from what strace wrote.
fn calls(trace: &Path) -> Vec<Call> {
    let trace = std::fs::read_to_string(trace).expect("strace writes its trace");
    let mut calls = Vec::<Call>::new();
    for line in trace.lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let nth = calls.iter().filter(|call| call.name == name).count() + 1;
            calls.push(Call { name: name.to_owned(), nth });
        }
    }
    // Nothing comes after the exit.
    calls.retain(|call| call.name != "exit_group");
    assert!(calls.len() > 30, "strace saw only {} calls", calls.len());
    calls
}

/// The words before the program that write down its calls. Only its own:
/// what it starts goes on.
fn tracing(trace: &Path) -> Vec<String> {
    ["strace", "-qqq", "-o", trace.to_str().unwrap()].map(str::to_owned).to_vec()
}

/// The words before the program that kill it at this call.
fn killing(call: &Call) -> Vec<String> {
    let inject = format!("inject={}:signal=SIGKILL:when={}", call.name, call.nth);
    ["strace", "-qqq", "-o", "/dev/null", "-e", &inject].map(str::to_owned).to_vec()
}

fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::SIGKILL as i32)
}

/// As it was before: the kernel's rules and the program's state.
struct Before {
    ruleset: String,
    state: PathBuf,
    found: String,
}

impl Before {
    fn of(host: &Host) -> Before {
        let state = host.wazuh.scratch().join("before");
        copy(&host.wazuh.state_dir(), &state);
        let ruleset = host.namespace.command("nft", &["list", "ruleset"]);
        Before { ruleset, state, found: all_there_is(host) }
    }

    fn again(&self, host: &Host) {
        // A restore that the run before started in its own time.
        assert!(host.wazuh.is_quiet(Duration::from_secs(30)));
        let file = host.wazuh.scratch().join("ruleset");
        std::fs::write(&file, format!("flush ruleset\n{}", self.ruleset)).unwrap();
        host.namespace.command("nft", &["-f", file.to_str().unwrap()]);
        std::fs::remove_dir_all(host.wazuh.state_dir()).unwrap();
        copy(&self.state, &host.wazuh.state_dir());
    }
}

/// All that a later run can find, but for the time of day: the kernel's
/// blocks and the files of the state.
fn all_there_is(host: &Host) -> String {
    fn add(dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                found.push(format!("{}/", entry.path().display()));
                add(&entry.path(), found);
            } else {
                let bytes = std::fs::read(entry.path()).unwrap();
                // The counters are numbers of eight bytes: their times cannot be told from the rest.
                let text =
                    String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().len().to_string());
                found.push(format!("{} {}", entry.path().display(), without_times(&text)));
            }
        }
    }
    let mut found: Vec<String> =
        host.blocks().iter().map(|(target, block)| format!("{target} {:?}", block.timeout)).collect();
    add(&host.wazuh.state_dir(), &mut found);
    found.sort();
    found.join("\n")
}

/// Numbers of ten digits are seconds since 1970 for a long time to come.
fn without_times(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = piece.trim_end_matches(|c: char| !c.is_ascii_digit());
        kept.push_str(if digits.len() == 10 { &piece[10..] } else { piece });
    }
    kept
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// `list` tells the kernel's truth, and nothing lasts for ever. Returns what
/// is blocked.
fn is_consistent(host: &Host, what: &str) -> Vec<String> {
    // A lifted element stands for a few milliseconds more: both are asked
    // when it has gone.
    std::thread::sleep(Duration::from_millis(20));
    let blocks = host.blocks();
    for (target, block) in &blocks {
        assert!(block.timeout.is_some_and(|timeout| timeout <= 660), "{what}: {target} stays: {block:?}");
    }
    let targets: Vec<String> = blocks.into_keys().collect();
    assert_eq!(host.listed(), targets, "{what}: list does not tell the kernel's truth");
    targets
}

/// Kills one run at each of its system calls, from the same start each time.
/// `run` starts it behind these words. What it leaves behind is checked each
/// time that it is something new: most calls change nothing.
fn kill_everywhere(host: &Host, run: impl Fn(Vec<String>) -> ExitStatus, check: impl Fn(&str, &[String])) {
    let before = Before::of(host);
    let trace = host.wazuh.scratch().join("trace");
    assert!(run(tracing(&trace)).success());
    before.again(host);
    let calls = calls(&trace);
    let (mut killed, mut seen) = (0, BTreeSet::new());
    for (index, call) in calls.iter().enumerate() {
        let status = run(killing(call));
        killed += usize::from(was_killed(status));
        let found = all_there_is(host);
        let changed = found != before.found;
        if seen.insert(found) {
            let what = format!("killed at system call {index}, {} {}", call.name, call.nth);
            check(&what, &is_consistent(host, &what));
        } else if !changed {
            continue;
        }
        before.again(host);
    }
    // A reply of the kernel may take a call more or less.
    assert!(killed * 10 >= calls.len() * 9, "killed {killed} of {} only", calls.len());
    assert!(seen.len() > 3, "only {} ways to end", seen.len());
}

/// A run that execd starts, and that must not hang.
fn under_execd(host: &Host, words: Vec<String>, talk: impl Fn(&mut Execd<'_>) -> Run) -> ExitStatus {
    let mut execd = host.execd().limit(Duration::from_secs(60));
    execd.launcher(words);
    let run = talk(&mut execd);
    assert!(!run.outstayed, "it hangs");
    run.status
}

fn host() -> Option<Host> {
    let host = if ready(&["strace", "nft"]) { Host::new() } else { None };
    // A traced run stops at each of its system calls.
    host.inspect(|host| host.wazuh.configure("deadline = \"30s\"\n"))
}

const TARGET: &str = "203.0.113.50";
const OTHER: &str = "198.51.100.7";

fn blocks_again(host: &Host, what: &str) {
    let run = host.execd().request(&Line::four(), 600);
    assert_eq!(run.code(), Some(0), "{what}, then again");
    let targets = is_consistent(host, &format!("{what}, then again"));
    assert!(targets.contains(&TARGET.to_owned()), "{what}: the same line again does not block");
    // A block without its rule would be none.
    assert_eq!(kernel::nftables_rules(&host.namespace)["incoming"].len(), 1, "{what}");
}

fn lifts_again(host: &Host, what: &str) {
    let run = host.execd().feed("custom-block", &delete_line(), Then::Close, Stdout::Discard);
    assert_eq!(run.code(), Some(0), "{what}, then again");
    let targets = is_consistent(host, &format!("{what}, then again"));
    assert!(!targets.contains(&TARGET.to_owned()), "{what}: the same line again does not lift");
}

fn delete_line() -> Vec<u8> {
    [Line::four().command("delete").bytes(), b"\n"].concat()
}

#[test]
fn the_first_add_of_all_killed_anywhere_leaves_nothing_wrong() {
    let Some(host) = host() else { return };
    let add = |words| under_execd(&host, words, |execd| execd.request(&Line::four(), 600));
    kill_everywhere(&host, add, |what, _| blocks_again(&host, what));
}

#[test]
fn a_later_add_killed_anywhere_leaves_nothing_wrong() {
    let Some(host) = host() else { return };
    host.execd().request(&Line::add(OTHER), 600);
    let add = |words| under_execd(&host, words, |execd| execd.request(&Line::four(), 600));
    kill_everywhere(&host, add, |what, targets| {
        assert!(targets.contains(&OTHER.to_owned()), "{what}: another block has gone");
        blocks_again(&host, what);
    });
}

#[test]
fn an_abort_killed_anywhere_leaves_nothing_wrong() {
    let Some(host) = host() else { return };
    host.execd().request(&Line::four(), 600);
    // Both lines at once: each of these execds has a list of its own.
    let both = [Line::four().bytes(), b"\n", Line::four().command("abort").bytes(), b"\n"].concat();
    let abort = |words| {
        under_execd(&host, words, |execd| execd.feed("custom-block", &both, Then::Close, Stdout::Read))
    };
    kill_everywhere(&host, abort, |what, targets| {
        assert_eq!(targets, [TARGET], "{what}: an abort lifts the block");
        blocks_again(&host, what);
    });
}

#[test]
fn a_delete_killed_anywhere_leaves_nothing_wrong() {
    let Some(host) = host() else { return };
    host.execd().request(&Line::four(), 600);
    host.execd().request(&Line::add(OTHER), 600);
    let delete = |words| {
        under_execd(&host, words, |execd| {
            execd.feed("custom-block", &delete_line(), Then::Close, Stdout::Discard)
        })
    };
    kill_everywhere(&host, delete, |what, targets| {
        assert!(targets.contains(&OTHER.to_owned()), "{what}: the wrong one was lifted");
        lifts_again(&host, what);
    });
}

#[test]
fn a_compaction_killed_anywhere_loses_nothing() {
    let Some(host) = host() else { return };
    let mut execd = host.execd();
    for target in [TARGET, OTHER, "198.51.100.8"] {
        execd.request(&Line::add(target), 600);
    }
    assert!(host.wazuh.is_quiet(Duration::from_secs(10)));
    let journal = host.wazuh.state_dir().join("custom-block/blocks.jsonl");
    let lines = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, lines.repeat(400)).unwrap();
    let list = |words: Vec<String>| {
        host.namespace.run(|| {
            let own = host.wazuh.command(&[]);
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).arg(own.get_program()).arg("list");
            command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.output().unwrap().status
        })
    };
    kill_everywhere(&host, list, |what, targets| {
        assert_eq!(targets.len(), 3, "{what}");
        // All that the journal knew comes back after a reboot.
        let rebooted = Namespace::new();
        assert!(host.wazuh.verb(&rebooted, &["restore"]).status.success(), "{what}");
        assert_eq!(kernel::nftables(&rebooted).len(), 3, "{what}: the journal has lost something");
        blocks_again(&host, what);
    });
    assert!(host.wazuh.verb(&host.namespace, &["list"]).status.success());
    assert!(std::fs::metadata(&journal).unwrap().len() < lines.len() as u64 * 10, "list does not compact");
}
