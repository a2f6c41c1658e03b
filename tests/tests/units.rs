//! The units of systemd are right, hardened, and let their program work.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::network::{self, Namespace};
use harness::program::{custom_block, custom_webhook, source_tree};
use harness::wazuh::Wazuh;
use harness::webhook::{self, Receiver};
use harness::{eventually, kernel, require};

/// `systemd-analyze security` may say no more than this; 10 is the worst.
const MOST_EXPOSED: f64 = 3.0;

fn packaging() -> PathBuf {
    source_tree().join("packaging")
}

/// The units that are shipped, by name and with their text.
fn units() -> Vec<(String, String)> {
    let mut units: Vec<(String, String)> = fs::read_dir(packaging().join("systemd"))
        .unwrap()
        .flatten()
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    units.sort();
    assert!(!units.is_empty());
    units
}

/// The values of a key, in their order.
fn values<'a>(unit: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    unit.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
}

/// Runs `systemd-analyze`; all that it printed.
fn analyze(args: &[&str]) -> String {
    let output = Command::new("systemd-analyze").args(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "systemd-analyze {}: {said}", args.join(" "));
    said
}

#[test]
fn every_unit_is_what_systemd_understands() {
    if !require(kernel::has("systemd-analyze"), "systemd-analyze") {
        return;
    }
    // A host of nothing but the units, what they start, and where they hang.
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&folder).unwrap();
    for target in ["basic", "multi-user", "network", "shutdown", "sysinit", "timers"] {
        fs::write(folder.join(format!("{target}.target")), "[Unit]\nDescription=a target\n").unwrap();
    }
    for (name, text) in units() {
        for line in values(&text, "ExecStart").chain(values(&text, "ExecReload")) {
            let program = line.split(' ').next().unwrap();
            let path = root.path().join(program.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(folder.join(name), text).unwrap();
    }
    let root = format!("--root={}", root.path().display());
    for (name, _) in units() {
        let said = analyze(&["verify", "--man=no", &root, &name]);
        assert!(said.is_empty(), "{name}: {said}");
    }
}

#[test]
fn every_service_is_hardened() {
    if !require(kernel::has("systemd-analyze"), "systemd-analyze") {
        return;
    }
    for (name, _) in units().iter().filter(|(name, _)| name.ends_with(".service")) {
        let path = packaging().join("systemd").join(name);
        let said = analyze(&["security", "--no-pager", "--offline=true", path.to_str().unwrap()]);
        let (_, verdict) = said.split_once(&format!("exposure level for {name}: ")).expect("a verdict");
        let exposed: f64 = verdict.split(' ').next().unwrap().parse().unwrap();
        assert!(exposed <= MOST_EXPOSED, "{said}");
    }
}

#[test]
fn units_start_programs_where_packages_put_them_and_name_their_manual() {
    for (name, text) in units() {
        let program = name.rsplit_once('.').unwrap().0;
        for line in values(&text, "ExecStart").chain(values(&text, "ConditionFileIsExecutable")) {
            let path = line.split(' ').next().unwrap();
            assert_eq!(path, format!("/usr/lib/wazuh-toolkit/{program}"), "{name}");
        }
        assert_eq!(values(&text, "Documentation").collect::<Vec<_>>(), [format!("man:{program}(8)")]);
        assert!(packaging().join(format!("man/{program}.8")).is_file());
    }
}

#[test]
fn deb_and_rpm_enable_the_same_units() {
    let rules = fs::read_to_string(packaging().join("deb/rules")).unwrap();
    let commands = rules.lines().map(str::trim).filter(|line| line.starts_with("dh_installsystemd "));
    let by_deb: BTreeSet<&str> = commands
        .filter(|line| !line.contains("--no-enable"))
        .flat_map(|line| line.split(' ').skip(1).filter(|word| !word.starts_with('-')))
        .collect();
    let preset = fs::read_to_string(packaging().join("rpm/wazuh-toolkit.preset")).unwrap();
    let by_rpm: BTreeSet<&str> = preset.lines().filter_map(|line| line.strip_prefix("enable ")).collect();
    assert_eq!(by_deb, by_rpm);
    // Only what names a target can be enabled.
    for (name, text) in units() {
        assert!(!by_deb.contains(name.as_str()) || values(&text, "WantedBy").count() == 1, "{name}");
    }
    let spec = fs::read_to_string(packaging().join("rpm/wazuh-toolkit.spec")).unwrap();
    for unit in by_rpm {
        assert!(spec.lines().any(|line| line.contains(" preset ") && line.contains(unit)), "{unit}");
        assert!(spec.contains(&format!(".wants/{unit}")), "{unit} is not taken back");
    }
}

/// The names of the system calls of a group of systemd, and of those in it.
fn group(name: &str, names: &mut BTreeSet<String>) {
    let said = analyze(&["syscall-filter", "--no-pager", name]);
    for line in said.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.starts_with('@') {
            group(line, names);
        } else {
            names.insert(line.to_owned());
        }
    }
}

/// The system calls that a service may make.
fn allowed(unit: &str) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for filter in values(unit, "SystemCallFilter") {
        let (taken, list) = filter.strip_prefix('~').map_or((false, filter), |list| (true, list));
        for word in list.split(' ') {
            let mut names = BTreeSet::new();
            if word.starts_with('@') {
                group(word, &mut names);
            } else {
                names.insert(word.to_owned());
            }
            if taken {
                allowed.retain(|name| !names.contains(name));
            } else {
                allowed.extend(names);
            }
        }
    }
    allowed
}

/// The system calls in what `strace -f` wrote.
fn called(trace: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(trace).unwrap();
    let names = text.lines().filter_map(|line| line.split_once('(')?.0.rsplit(' ').next());
    let word = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    names.filter(word).map(str::to_owned).collect()
}

#[test]
fn the_sandbox_lets_a_restore_with_every_backend_through() {
    let tools = ["systemd-analyze", "strace", "iptables", "ipset"];
    if !require(network::available() && tools.iter().all(|tool| kernel::has(tool)), "root and its tools") {
        return;
    }
    let (_, unit) = units().into_iter().find(|(name, _)| name == "custom-block.service").unwrap();
    let allowed = allowed(&unit);
    assert!(allowed.contains("openat") && !allowed.contains("mount"), "the groups are read");
    for backend in ["nftables", "ipset", "iptables", "file"] {
        let namespace = Namespace::new();
        let wazuh = Wazuh::new(custom_block());
        let list = wazuh.state_dir().join("list");
        wazuh.configure(&format!("backends = [\"{backend}\"]\n[file]\npath = \"{}\"\n", list.display()));
        let verb = |args: &[&str]| {
            let output = wazuh.verb(&namespace, args);
            assert!(
                output.status.success(),
                "{backend} {args:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        verb(&["add", "203.0.113.50", "--ttl", "1h"]);
        verb(&["add", "203.0.113.51", "--ttl", "1s"]);
        std::thread::sleep(Duration::from_secs(1));
        // As after a reboot: what is blocked stands in the journal only.
        for undo in [&["nft", "flush", "ruleset"][..], &["iptables", "-F"], &["ipset", "destroy"]] {
            let _ = namespace.try_command(undo[0], &undo[1..]);
        }
        let trace = wazuh.state_dir().join("trace");
        let output = namespace.run(|| {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qqq", "-e", "signal=none", "-o"]).arg(&trace).arg(custom_block());
            strace.arg("--home").arg(wazuh.home()).arg("--state-dir").arg(wazuh.state_dir());
            strace.env("WAZUH_TOOLKIT_CONFIG_DIR", wazuh.config_dir()).arg("restore").output().unwrap()
        });
        assert!(output.status.success(), "{backend}: {}", String::from_utf8_lossy(&output.stderr));
        let called = called(&trace);
        assert!(called.contains("execve") && called.contains("openat"), "{called:?}");
        let refused: Vec<&String> = called.difference(&allowed).collect();
        assert!(refused.is_empty(), "{backend}: {refused:?}");
    }
}

/// What is refused is only an error to the daemon, and might go unnoticed.
#[test]
fn the_sandbox_lets_a_receiver_through() {
    if !["systemd-analyze", "strace"].iter().all(|tool| require(kernel::has(tool), tool)) {
        return;
    }
    let (_, unit) = units().into_iter().find(|(name, _)| name == "custom-webhook.service").unwrap();
    let allowed = allowed(&unit);
    assert!(allowed.contains("accept4") && !allowed.contains("mount"), "the groups are read");
    let receiver = Receiver::new(custom_webhook());
    let trace = receiver.dir().join("trace");
    let strace = ["strace", "-D", "-f", "-qqq", "-e", "signal=none", "-o", trace.to_str().unwrap()];
    let daemon = receiver.start_behind(&strace);
    for user in ["alice", "bob"] {
        let _ = daemon.expect(200, &webhook::login(user));
        let _ = daemon.lines("application", if user == "alice" { 1 } else { 2 });
        daemon.hang_up();
    }
    let _ = daemon.ask(&webhook::login("nobody").without("authorization"));
    daemon.stop();
    // With -D it is strace's tracee, and not its child, that is ours to stop.
    let ended = || called(&trace).contains("exit_group");
    assert!(eventually(Duration::from_secs(10), ended), "strace has not written it all");
    let called = called(&trace);
    assert!(["execve", "accept4", "fdatasync"].iter().all(|name| called.contains(*name)), "{called:?}");
    // A new output is to be its folder's owner's: in the folder that systemd makes
    // that is so without it.
    let refused: Vec<&String> = called.difference(&allowed).filter(|name| *name != "fchown").collect();
    assert!(refused.is_empty(), "{refused:?}");
}
