//! What else is promised: metrics, escalation, host names, files that cannot
//! be trusted or written, and healing by hand.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use harness::execd::{Stdout, Then};
use harness::kernel;
use harness::line::Line;
use harness::network::{ATTACKER, ATTACKER6, BYSTANDER};
use harness::traffic::Echo;

use crate::record::check_all;
use crate::{Host, Scene, ready};

const TARGET: &str = "203.0.113.50";
const SOON: Duration = Duration::from_secs(15);

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A file of the test's own that only its owner can write.
fn written(host: &Host, name: &str, text: &str) -> PathBuf {
    let path = host.wazuh.scratch().join(name);
    std::fs::write(&path, text).unwrap();
    permit(&path, 0o644);
    path
}

/// Blocked or refused: what the last record says about it.
fn verdict(host: &Host) -> (String, String, String) {
    let record = host.wazuh.records().pop().unwrap();
    let text = |key: &str| record.json[key].as_str().unwrap_or_default().to_owned();
    (record.command().to_owned(), text("reason"), text("fault"))
}

fn journal(host: &Host) -> String {
    std::fs::read_to_string(host.wazuh.state_dir().join("custom-block/blocks.jsonl")).unwrap_or_default()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn metrics_tell_how_often_what_was_done() {
    let Some(host) = Host::new() else { return };
    let folder = host.wazuh.scratch().join("textfile");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("custom_block.prom");
    host.wazuh.configure(&format!("metrics_file = {file:?}\n"));
    let metrics = || {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.ends_with('\n'), "{text}");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse::<f64>().unwrap())
        });
        samples.collect::<BTreeMap<String, f64>>()
    };
    let started = now();
    let mut execd = host.execd();
    for target in [TARGET, "198.51.100.7", "198.51.100.0/24"] {
        execd.request(&Line::add(target), 600);
    }
    assert!((metrics()["custom_block_standing"] - 3.0).abs() < 0.1);
    execd.request(&Line::four().id("1.1"), 600);
    // Equal ones are left out of the log, and are runs all the same.
    for _ in 0..4 {
        execd.request(&Line::add("127.0.0.1"), 600);
    }
    execd.request(&Line::add("198.51.100.9").extra_args(&["--dry-run"]), 0);
    execd.feed("custom-block", b"{}\n", Then::Close, Stdout::Read);
    // A person's verbs are no runs.
    assert!(host.wazuh.verb(&host.namespace, &["add", "192.0.2.99"]).status.success());
    assert!(host.wazuh.verb(&host.namespace, &["list"]).status.success());
    execd.stop();
    let metrics = metrics();
    for (command, count) in [
        ("add", 3.0),
        ("delete", 3.0),
        ("extended", 1.0),
        ("queued", 0.0),
        ("observed", 1.0),
        ("held", 0.0),
        ("refused", 4.0),
        ("failed", 1.0),
    ] {
        let found = metrics[&format!("custom_block_runs_total{{command=\"{command}\"}}")];
        assert!((found - count).abs() < 0.1, "{command}: {found}");
    }
    assert!((metrics["custom_block_standing"] - 1.0).abs() < 0.1);
    let last = metrics["custom_block_last_run_timestamp_seconds"];
    let (last, started) = (Duration::from_secs_f64(last), Duration::from_secs(started));
    assert!(last >= started && last <= Duration::from_secs(now()), "{last:?}");
    let took = metrics["custom_block_last_run_duration_seconds"];
    assert!(took > 0.0 && took < 5.0, "{took}");
    // Whoever collects it need not be root, and never sees half of it.
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let names: Vec<_> =
        std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["custom_block.prom"]);
}

#[test]
fn metrics_that_cannot_be_written_are_no_reason_not_to_block() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("metrics_file = \"/nonexistent/custom_block.prom\"\n");
    assert_eq!(host.execd().request(&Line::four(), 600).code(), Some(0));
    assert_eq!(host.targets(), [TARGET]);
    assert_eq!(verdict(&host).0, "add");
}

#[test]
fn each_offence_counts_until_it_is_forgotten_and_none_lasts_too_long() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("ttl = \"1h\"\nmax_ttl = \"4h\"\n[escalation]\nfactors = [1, 10, 20]\n");
    let offend = |nth: usize, ttl: &str| {
        // Wazuh is killed each time, and so the first alert of each block is another.
        let mut execd = host.execd();
        let line = Line::four().id(&format!("1.{nth}")).extra_args(&["--ttl", ttl]);
        assert_eq!(execd.request(&line, 600).code(), Some(0));
        let record = host.wazuh.records().pop().unwrap();
        assert_eq!(record.command(), "add");
        let escalated = record.json["reason"] == "repeat offender";
        let timeout = host.blocks()[TARGET].timeout.unwrap();
        execd.crash();
        (record.json["ttl"].as_u64().unwrap(), escalated, timeout)
    };
    // The time of the first is over, although the kernel still has it.
    assert_eq!(offend(1, "1"), (1, false, 61));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(offend(2, "600"), (6000, true, 6600));
    assert_eq!(host.wazuh.verb(&host.namespace, &["remove", TARGET]).status.code(), Some(0));
    assert_eq!(offend(3, "600"), (12_000, true, 13_200));
    host.wazuh.verb(&host.namespace, &["remove", TARGET]);
    assert_eq!(offend(4, "1000"), (14_400, true, 15_840), "max_ttl");
    // While it lasts it is one offence, and keeps being held.
    let mut execd = host.execd();
    execd.request(&Line::four().id("1.5"), 600);
    execd.request(&Line::four().id("1.6"), 600);
    execd.stop();
    assert_eq!(verdict(&host).0, "held");
    assert_eq!(host.targets(), [TARGET]);
    // Another address is another one's.
    execd.request(&Line::add("198.51.100.7"), 600);
    assert_eq!(host.blocks()["198.51.100.7"].timeout, Some(660));
    check_all(&host.wazuh);
    // What is long ago is forgotten.
    host.wazuh.verb(&host.namespace, &["remove", TARGET]);
    host.wazuh.configure("[escalation]\nfactors = [1, 10, 20]\ndecay = \"1s\"\n");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(offend(7, "600"), (600, false, 660));
}

#[test]
fn a_repeat_offenders_block_is_lifted_by_a_delete_that_is_punctual() {
    let Some(host) = Host::new() else { return };
    host.wazuh.configure("[escalation]\nfactors = [1, 4]\n");
    let mut execd = host.execd();
    for (id, ttl) in [("1.1", 1), ("1.2", 4)] {
        execd.request(&Line::four().id(id).extra_args(&["--ttl", "1"]), 600);
        assert_eq!(host.targets(), [TARGET]);
        assert_eq!(host.wazuh.records().pop().unwrap().json["ttl"], ttl);
        execd.stop();
        assert_eq!(verdict(&host).0, "delete");
        assert!(host.blocks().is_empty());
    }
}

#[test]
fn a_delete_under_hold_changes_nothing_at_all() {
    let Some(scene) = Scene::direct() else { return };
    scene.wazuh.configure("hold = true\n");
    let mut execd = scene.execd();
    for target in [ATTACKER, ATTACKER6] {
        execd.request(&Line::add(&target.to_string()), 600);
    }
    let before = scene.blocks();
    assert_eq!(before.len(), 2);
    for run in execd.stop() {
        assert_eq!((run.code(), run.said.is_empty()), (Some(0), true));
    }
    for record in scene.wazuh.records().split_off(2) {
        assert_eq!((record.command(), record.stock_rule()), ("held", 650));
        // For how long it stays.
        assert!(record.json["ttl"].as_u64().is_some_and(|left| (590..=600).contains(&left)));
    }
    for (target, block) in scene.blocks() {
        assert_eq!((block.timeout, &block.comment), (before[&target].timeout, &before[&target].comment));
    }
    assert!(scene.is_refused(ATTACKER) && scene.is_refused(ATTACKER6));
}

#[test]
fn an_allowlist_that_cannot_be_trusted_is_told_and_the_others_protect() {
    let Some(host) = Host::new() else { return };
    let good = written(&host, "good", "198.51.100.7\nno address at all\n203.0.113.9 # behind a bad line\n");
    let open = written(&host, "open", "198.51.100.8\n");
    permit(&open, 0o666);
    let absent = host.wazuh.scratch().join("absent");
    host.wazuh.configure(&format!(
        "allowlist = [\"192.0.2.0/24\"]\nallowlist_files = [{open:?}, {absent:?}, {good:?}]\n"
    ));
    let mut execd = host.execd();
    for target in ["192.0.2.77", "198.51.100.7", "203.0.113.9"] {
        assert_eq!(execd.request(&Line::add(target), 600).keys(), None, "{target}");
        let (command, reason, fault) = verdict(&host);
        assert_eq!(command, "refused", "{target}");
        assert!(reason.contains("allowlist"), "{reason}");
        for word in ["open: can be written by", "absent: there is no such file", "good:2: no IP"] {
            assert!(fault.contains(word), "{target}: no {word} in {fault}");
        }
    }
    // What anybody could have written there protects nobody.
    for target in ["198.51.100.8", TARGET] {
        assert_eq!(execd.request(&Line::add(target), 600).code(), Some(0));
        let (command, _, fault) = verdict(&host);
        assert_eq!(command, "add");
        assert!(fault.contains("open: can be written by"), "{fault}");
    }
    assert_eq!(host.targets(), ["198.51.100.8", TARGET]);
    check_all(&host.wazuh);
    // Mended, it works at once.
    permit(&open, 0o644);
    execd.stop();
    assert_eq!(execd.request(&Line::add("198.51.100.8").id("1.1"), 600).keys(), None);
}

#[test]
fn a_broken_configuration_keeps_its_allowlist_and_loses_everything_else() {
    let Some(host) = Host::new() else { return };
    let list = written(&host, "allowed", "198.51.100.0/24\n");
    host.wazuh.configure(&format!(
        "backends = [\"dry-run\"]\nhold = true\nttl = \"1m\"\nmax_blocks_per_minute = 1\n\
         allowlist = [\"203.0.113.51\"]\nallowlist_files = [{list:?}]\nno_such_key = 1\n"
    ));
    host.wazuh.ar_conf("");
    let mut execd = host.execd();
    for protected in ["203.0.113.51", "198.51.100.7"] {
        assert_eq!(execd.request(&Line::add(protected), 600).keys(), None);
        let (command, reason, fault) = verdict(&host);
        assert_eq!(command, "refused");
        assert!(reason.contains("allowlist"), "{reason}");
        assert!(fault.contains("custom-block.toml:7") && fault.contains("no_such_key"), "{fault}");
    }
    for target in [TARGET, "203.0.113.52"] {
        assert_eq!(execd.request(&Line::add(target), 600).code(), Some(0));
        let (command, _, fault) = verdict(&host);
        assert_eq!(command, "add");
        assert!(fault.contains("custom-block.toml:7"), "{fault}");
        assert_eq!(host.blocks()[target].timeout, Some(95_040), "a day and its margin");
    }
    for run in execd.stop() {
        assert_eq!(run.code(), Some(0));
    }
    let (command, _, fault) = verdict(&host);
    assert_eq!(command, "delete");
    assert!(fault.contains("custom-block.toml:7"), "{fault}");
    assert!(host.blocks().is_empty());
    check_all(&host.wazuh);
}

#[test]
fn what_was_left_out_of_the_log_is_counted_when_it_is_written_again() {
    let Some(host) = Host::new() else { return };
    let mut execd = host.execd();
    let about = |address: &str| {
        let records = host.wazuh.records();
        let repeated = records.iter().filter(|record| record.srcip() == Some(address));
        repeated.map(|record| record.json["repeated"].as_u64().unwrap_or(0)).collect::<Vec<u64>>()
    };
    for _ in 0..10 {
        execd.request(&Line::add("127.0.0.1"), 600);
        execd.request(&Line::add("224.0.0.0/24"), 600);
    }
    assert_eq!((about("127.0.0.1"), about("224.0.0.0/24")), (vec![0], vec![0]));
    // Another reason is another record.
    host.wazuh.configure("widest = { ipv4 = 32, ipv6 = 128 }\n");
    for _ in 0..3 {
        execd.request(&Line::add("198.51.100.0/24"), 600);
    }
    host.wazuh.configure("allowlist = [\"198.51.100.0/24\"]\n");
    for _ in 0..3 {
        execd.request(&Line::add("198.51.100.0/24"), 600);
    }
    assert_eq!(about("198.51.100.0/24"), [0, 0]);
    // A minute is too long for a test: what is remembered was so long ago.
    for bucket in std::fs::read_dir(host.wazuh.state_dir().join("custom-block/ledger")).unwrap().flatten() {
        let text = std::fs::read_to_string(bucket.path()).unwrap();
        let mut earlier = text.clone();
        for at in now() - 50..=now() {
            earlier = earlier.replace(&format!("\"at\":{at}"), &format!("\"at\":{}", at - 60));
        }
        if earlier != text {
            std::fs::write(bucket.path(), earlier).unwrap();
        }
    }
    for _ in 0..2 {
        execd.request(&Line::add("127.0.0.1"), 600);
    }
    assert_eq!(about("127.0.0.1"), [0, 9]);
    check_all(&host.wazuh);
}

#[test]
fn a_record_that_cannot_be_written_is_told_by_journal_and_exit_code() {
    if !ready(&["unshare", "mount"]) {
        return;
    }
    for (what, script) in [
        (
            "a full disk",
            "mount -t tmpfs -o size=4k none logs && ! head -c 9000 /dev/zero 2>/dev/null >logs/x",
        ),
        ("a read-only one", "mount --bind logs logs && mount -o remount,ro,bind logs"),
        ("no directory", "rmdir logs"),
    ] {
        let Some(host) = Host::new() else { return };
        let mut execd = host.execd();
        let script = format!("[ ! -d logs ] || {{ {script}; }} && exec \"$0\"");
        execd.launcher(["unshare", "-m", "sh", "-c", &script]);
        let run = execd.request(&Line::four(), 600);
        assert_eq!((run.code(), run.keys().unwrap()), (Some(1), vec![TARGET.to_owned()]), "{what}");
        assert_eq!(host.targets(), [TARGET], "{what}");
        let told = journal(&host);
        let told: Vec<&str> = told.lines().filter(|line| line.contains("\"unrecorded\"")).collect();
        assert_eq!(told.len(), 1, "{what}: {told:?}");
        // What is lost in the log stands there.
        assert!(told[0].contains("active-responses.log") && told[0].contains(TARGET), "{what}: {}", told[0]);
        let runs = execd.stop();
        assert_eq!(runs[0].code(), Some(1), "{what}");
        assert!(host.blocks().is_empty(), "{what}");
    }
}

/// The words before a command that give it these files in place of others,
/// in mounts of its own.
fn with_files(files: &[(&Path, &str)]) -> Vec<String> {
    let mounts: String = files
        .iter()
        .map(|(file, at)| format!("mount --bind '{}' \"$(readlink -f {at})\" && ", file.display()))
        .collect();
    ["unshare", "-m", "sh", "-c"]
        .map(str::to_owned)
        .into_iter()
        .chain([mounts + "exec \"$0\" \"$@\""])
        .collect()
}

/// A verb, started through these words.
fn verb_through(host: &Host, words: &[String], args: &[&str]) -> Output {
    let plain = host.wazuh.command(args);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    host.namespace.run(|| command.output()).unwrap()
}

#[test]
fn names_are_resolved_by_restore_and_never_while_wazuh_waits() {
    if !ready(&["unshare", "mount"]) || !harness::require(Path::new("/etc/hosts").exists(), "/etc/hosts") {
        return;
    }
    let Some(host) = Host::new() else { return };
    // A name server that knows nothing and counts who asks.
    let server = Echo::start_at(&host.namespace, 53);
    let resolv = written(&host, "resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    let hosts = written(
        &host,
        "hosts",
        "198.51.100.10 manager.example.org\n198.51.100.20 partner.example.org\n2001:db8:20::20 partner.example.org\n",
    );
    let list = written(&host, "allowed", "backup.example.org\n");
    host.wazuh.configure(&format!("allowlist = [\"partner.example.org\"]\nallowlist_files = [{list:?}]\n"));
    host.wazuh.ossec_conf(
        "<ossec_config><client><server><address>manager.example.org</address></server></client></ossec_config>",
    );
    let mut execd = host.execd();
    execd.launcher(with_files(&[(&resolv, "/etc/resolv.conf")]));
    // Before anybody has resolved them, names protect nobody, and nobody waits.
    execd.request(&Line::add("198.51.100.10"), 600);
    execd.request(&Line::add("198.51.100.20"), 600);
    assert_eq!(host.targets(), ["198.51.100.10", "198.51.100.20"]);
    execd.stop();
    assert_eq!(server.datagrams(), 0, "a name server was asked while Wazuh waited");

    let known = with_files(&[(&resolv, "/etc/resolv.conf"), (&hosts, "/etc/hosts")]);
    let output = verb_through(&host, &known, &["restore"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = std::fs::read(host.wazuh.state_dir().join("custom-block/names.json")).unwrap();
    let names: serde_json::Value = serde_json::from_slice(&names).unwrap();
    assert_eq!(names["manager.example.org"], serde_json::json!(["198.51.100.10"]));
    assert_eq!(names["partner.example.org"], serde_json::json!(["198.51.100.20", "2001:db8:20::20"]));
    assert_eq!(names["backup.example.org"], serde_json::json!([]));
    // That one is told, and it was asked for.
    assert!(String::from_utf8_lossy(&output.stderr).contains("backup.example.org"));
    assert!(server.datagrams() > 0);

    for what in ["resolved", "not resolved any more"] {
        let before = server.datagrams();
        for (target, reason) in [
            ("198.51.100.10", "Wazuh manager"),
            ("198.51.100.20", "allowlist"),
            ("198.51.100.0/24", "198.51.100.10"),
            ("2001:db8:20::20", "allowlist"),
        ] {
            assert_eq!(execd.request(&Line::add(target), 600).keys(), None, "{what}: {target}");
            // The first time only: equal records are written once a minute.
            let refusals = host.wazuh.records();
            let about = refusals.iter().rfind(|record| record.srcip() == Some(target)).unwrap();
            assert_eq!(about.command(), "refused", "{what}");
            assert!(about.json["reason"].as_str().unwrap().contains(reason), "{what}: {}", about.text);
        }
        assert_eq!(server.datagrams(), before, "a name server was asked while Wazuh waited");
        let unknown = with_files(&[(&resolv, "/etc/resolv.conf")]);
        assert!(verb_through(&host, &unknown, &["restore"]).status.success());
        assert!(server.datagrams() > before);
    }
}

#[test]
fn restore_puts_back_what_somebody_flushed() {
    let Some(scene) = Scene::direct() else { return };
    let mut execd = scene.execd();
    for target in [ATTACKER, ATTACKER6, BYSTANDER] {
        execd.request(&Line::add(&target.to_string()), 600);
    }
    let guard = scene.site.guard();
    for flush in [
        "flush ruleset",
        "delete table inet wazuh_block",
        "flush chain inet wazuh_block incoming",
        "flush chain inet wazuh_block incoming; delete chain inet wazuh_block incoming",
        "flush set inet wazuh_block hosts4",
    ] {
        guard.command("nft", &[flush]);
        assert!(scene.connects(ATTACKER), "{flush}");
        let output = scene.wazuh.verb(guard, &["restore"]);
        assert!(output.status.success(), "{flush}: {}", String::from_utf8_lossy(&output.stderr));
        for target in [ATTACKER, ATTACKER6, BYSTANDER] {
            assert!(scene.is_refused(target), "{flush}: {target}");
        }
        for (target, block) in scene.blocks() {
            assert!(
                block.timeout.is_some_and(|timeout| (600..=660).contains(&timeout)),
                "{target}: {block:?}"
            );
        }
        assert_eq!(scene.blocks().len(), 3, "{flush}");
    }
    // Each rule once, however often it was put back.
    let rules = kernel::nftables_rules(guard);
    assert_eq!(rules["incoming"].len(), 2, "{rules:?}");
    execd.stop();
    assert!(scene.blocks().is_empty());
    assert!(scene.connects(ATTACKER));
}

#[test]
fn restore_hooks_the_chain_of_iptables_in_again_before_all_others() {
    if !ready(&["iptables"]) {
        return;
    }
    let Some(scene) = Scene::direct() else { return };
    scene.wazuh.configure("backends = [\"iptables\"]\n");
    let guard = scene.site.guard();
    let mut execd = scene.execd();
    let both: [(IpAddr, &str); 2] = [(ATTACKER, "iptables"), (ATTACKER6, "ip6tables")];
    for (target, _) in both {
        execd.request(&Line::add(&target.to_string()), 600);
        assert!(scene.is_refused(target));
    }
    // A second chain that had to be built made a worker look after all others.
    assert!(scene.wazuh.is_quiet(SOON));
    for commands in [
        &["-F INPUT"][..],
        &["-F INPUT", "-F FORWARD"],
        &["-D INPUT -j WAZUH_BLOCK"],
        &["-I INPUT -j ACCEPT"],
        &["-F WAZUH_BLOCK"],
        &["-F", "-X"],
    ] {
        for (target, program) in both {
            for command in commands {
                let args: Vec<&str> = ["-w"].into_iter().chain(command.split(' ')).collect();
                guard.command(program, &args);
            }
            assert!(scene.connects(target), "{program} {commands:?}");
        }
        let output = scene.wazuh.verb(guard, &["restore"]);
        assert!(output.status.success(), "{commands:?}: {}", String::from_utf8_lossy(&output.stderr));
        for (target, program) in both {
            assert!(scene.is_refused(target), "{program} {commands:?}");
            let rules = kernel::iptables(guard, target.is_ipv6(), "filter");
            for chain in ["INPUT", "FORWARD"] {
                let own = format!("-A {chain} ");
                let own: Vec<&String> = rules.iter().filter(|rule| rule.starts_with(&own)).collect();
                assert!(own[0].ends_with("-j WAZUH_BLOCK"), "{program} {commands:?}: {rules:?}");
                let hooks = own.iter().filter(|rule| rule.ends_with("-j WAZUH_BLOCK")).count();
                assert_eq!(hooks, 1, "{program} {commands:?}: {rules:?}");
            }
            assert_eq!(kernel::iptables_sources(guard, target.is_ipv6()), [target.to_string()]);
        }
    }
    execd.stop();
    assert!(both.iter().all(|&(target, _)| scene.connects(target)));
}

#[test]
fn restore_puts_back_sets_and_their_rules() {
    if !ready(&["ipset", "iptables"]) {
        return;
    }
    let Some(scene) = Scene::direct() else { return };
    scene.wazuh.configure("backends = [\"ipset\"]\n");
    let guard = scene.site.guard();
    let mut execd = scene.execd();
    for target in [ATTACKER, BYSTANDER] {
        execd.request(&Line::add(&target.to_string()), 600);
    }
    for destroy in [false, true] {
        guard.command("iptables", &["-w", "-t", "raw", "-F"]);
        if destroy {
            guard.command("ipset", &["destroy", "wazuh_block4"]);
        }
        assert!(scene.connects(ATTACKER));
        let output = scene.wazuh.verb(guard, &["restore"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(scene.is_refused(ATTACKER) && scene.is_refused(BYSTANDER), "destroyed: {destroy}");
        assert_eq!(kernel::ipset(guard).len(), 2);
    }
}
