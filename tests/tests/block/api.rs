//! Another firewall's API: told by a worker that Wazuh does not wait for, and
//! told also when it was down. What it was told is asked of the wire.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::eventually;
use harness::line::Line;
use harness::network::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Host;
use crate::record::check_all;

const TARGET: &str = "203.0.113.50";
/// A worker that failed waits for some seconds before it tries again.
const SOON: Duration = Duration::from_secs(15);
/// An answer that is held back comes after this time all the same.
const SLOWEST: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(5);

/// A firewall that says yes to everything, on the loopback of a namespace.
struct Firewall {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    held: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Firewall {
    fn start(namespace: &Namespace) -> Firewall {
        Firewall::start_at(namespace, 0)
    }

    fn start_at(namespace: &Namespace, port: u16) -> Firewall {
        let listener = namespace.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port))).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, held) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let over = Arc::new(AtomicBool::new(false));
        let (all, wait, end) = (Arc::clone(&seen), Arc::clone(&held), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (all, wait) = (Arc::clone(&all), Arc::clone(&wait));
                        std::thread::spawn(move || answer(stream, &all, &wait));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Firewall { port, seen, held, over, thread: Some(thread) }
    }

    /// A port at which nobody listens.
    fn down(namespace: &Namespace) -> u16 {
        Firewall::start(namespace).port
    }

    /// From now on it reads and says nothing.
    fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    fn answer(&self) {
        self.held.store(false, Ordering::Relaxed);
    }

    /// Each request as it came.
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Method and path of each request.
    fn asked(&self) -> Vec<String> {
        let first = |request: &String| request.split(" HTTP/").next().unwrap().to_owned();
        self.seen().iter().map(first).collect()
    }

    fn is_asked(&self, wanted: &[&str]) -> bool {
        eventually(SOON, || self.asked() == wanted)
    }
}

impl Drop for Firewall {
    /// Afterwards its port is free.
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn answer(mut stream: TcpStream, seen: &Mutex<Vec<String>>, held: &AtomicBool) {
    let (mut request, mut bytes) = (String::new(), [0; 4096]);
    while !is_whole(&request) {
        match stream.read(&mut bytes) {
            Ok(length) if length > 0 => request.push_str(std::str::from_utf8(&bytes[..length]).unwrap()),
            _ => return,
        }
    }
    seen.lock().unwrap().push(request);
    eventually(SLOWEST, || !held.load(Ordering::Relaxed));
    // A worker that was killed meanwhile does not read it.
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}");
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
    body.len() >= length
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let head = request.split("\r\n\r\n").next()?;
    head.split("\r\n").find_map(|line| {
        let (own, value) = line.split_once(": ")?;
        own.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// These backends, and a firewall at this port.
fn configure(host: &Host, backends: &str, port: u16) {
    let token = host.wazuh.scratch().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    host.wazuh.configure(&format!(
        "backends = {backends}\n[[api]]\nname = \"edge\"\npreset = \"generic\"\n\
         url = \"http://127.0.0.1:{port}\"\nbearer_file = {token:?}\n"
    ));
}

/// Command and backend of each record.
fn told(host: &Host) -> Vec<(String, String)> {
    let records = host.wazuh.records();
    records
        .iter()
        .map(|record| {
            let backend = record.json["backend"].as_str().unwrap_or_default();
            (record.command().to_owned(), backend.to_owned())
        })
        .collect()
}

fn are_told(host: &Host, wanted: &[(&str, &str)]) -> bool {
    let wanted: Vec<(String, String)> =
        wanted.iter().map(|&(command, backend)| (command.to_owned(), backend.to_owned())).collect();
    eventually(SOON, || told(host) == wanted)
}

fn kill_workers(host: &Host) {
    // One that is just being started shows only later whose it is.
    let none_is_left = || {
        for worker in host.wazuh.workers() {
            // It may have ended by itself just now.
            let _ = kill(Pid::from_raw(worker), Signal::SIGKILL);
        }
        host.wazuh.is_quiet(Duration::ZERO)
    };
    assert!(eventually(SOON, none_is_left));
}

/// What waits in the outbox.
fn waiting(host: &Host) -> Vec<serde_json::Value> {
    let outbox = host.wazuh.state_dir().join("custom-block/outbox");
    let files = std::fs::read_dir(outbox).into_iter().flatten().flatten().map(|file| file.path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter_map(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok())
        .collect()
}

/// Waits until the worker has tried in vain, and ends it.
fn fails_to_deliver(host: &Host) {
    let tried = || waiting(host).iter().any(|item| item["attempts"].as_u64() > Some(0));
    assert!(eventually(SOON, tried), "{:?}", waiting(host));
    kill_workers(host);
}

fn deliver(host: &Host) -> String {
    let output = host.wazuh.verb(&host.namespace, &["deliver"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nobody_waits_for_a_firewall_that_takes_its_time() {
    for (backends, local, did) in
        [("[\"nftables\", \"api\"]", "nftables", "add"), ("[\"api\"]", "", "queued")]
    {
        let Some(host) = Host::new() else { return };
        let firewall = Firewall::start(&host.namespace);
        firewall.hold();
        configure(&host, backends, firewall.port);
        let queued = if local.is_empty() {
            "api edge (queued)".to_owned()
        } else {
            format!("{local}, api edge (queued)")
        };
        let targets: Vec<String> = (1..=5).map(|last| format!("198.51.100.{last}")).collect();
        let mut execd = host.execd();
        let mut walls = Vec::new();
        for target in &targets {
            let run = execd.request(&Line::add(target), 600);
            assert_eq!((run.code(), run.keys().unwrap()), (Some(0), vec![target.clone()]));
            walls.push(run.wall);
        }
        // The machine may be busy with other tests, but not five times in a row.
        assert!(walls.iter().min().unwrap() < &Duration::from_secs(1), "{walls:?}");
        assert!(walls.iter().max().unwrap() < &Duration::from_secs(6), "{walls:?}");
        assert_eq!(host.targets(), if local.is_empty() { Vec::new() } else { targets.clone() });
        // The firewall was asked and has not answered: nobody says that it has it.
        assert!(eventually(SOON, || firewall.seen().len() == 1));
        let own: Vec<(&str, &str)> = vec![(did, &queued); 5];
        assert!(are_told(&host, &own), "{:?}", told(&host));
        firewall.answer();
        assert!(eventually(SOON, || firewall.seen().len() == 5), "{:?}", firewall.asked());
        let all = [own.clone(), vec![("add", "api edge"); 5]].concat();
        assert!(are_told(&host, &all), "{:?}", told(&host));
        let records = host.wazuh.records();
        let delivered: BTreeSet<&str> = records[5..].iter().filter_map(|record| record.srcip()).collect();
        assert_eq!(delivered, targets.iter().map(String::as_str).collect());
        // The end of it goes the same way.
        firewall.hold();
        assert!(host.wazuh.is_quiet(SOON));
        let ends = execd.stop();
        assert!(ends.iter().map(|run| run.wall).min().unwrap() < Duration::from_secs(1));
        assert!(host.blocks().is_empty());
        firewall.answer();
        let sorted = |requests: Vec<String>| {
            let mut requests = requests;
            requests.sort();
            requests
        };
        let deletes: Vec<String> = targets.iter().map(|target| format!("DELETE /rules/{target}")).collect();
        let is_told = || sorted(firewall.asked().split_off(5)) == deletes;
        assert!(eventually(SOON, is_told), "{:?}", firewall.asked());
        let undone = if local.is_empty() { "queued" } else { "delete" };
        let all = [all, vec![(undone, queued.as_str()); 5], vec![("delete", "api edge"); 5]].concat();
        assert!(are_told(&host, &all), "{:?}", told(&host));
        assert!(waiting(&host).is_empty());
        check_all(&host.wazuh);
    }
}

#[test]
fn the_firewall_is_told_who_for_how_long_and_why() {
    let Some(host) = Host::new() else { return };
    let firewall = Firewall::start(&host.namespace);
    configure(&host, "[\"nftables\", \"api\"]", firewall.port);
    for (target, path) in [
        (TARGET, "203.0.113.50"),
        ("198.51.100.77/24", "198.51.100.0%2F24"),
        ("2001:db8:bad::50", "2001:db8:bad::50"),
    ] {
        let before = firewall.seen().len();
        let mut execd = host.execd();
        let line = Line::add(target).extra_args(&["--reason", "say", "\"no\""]);
        execd.request(&line, 600);
        assert!(host.wazuh.is_quiet(SOON));
        execd.stop();
        assert!(host.wazuh.is_quiet(SOON));
        let seen = firewall.seen().split_off(before);
        assert_eq!(seen.len(), 2, "{target}: {seen:?}");
        assert!(seen[0].starts_with("POST /rules HTTP/1.1\r\n"), "{}", seen[0]);
        assert_eq!(seen[1].split("\r\n").next(), Some(format!("DELETE /rules/{path} HTTP/1.1").as_str()));
        assert!(seen[1].ends_with("\r\n\r\n"), "{}", seen[1]);
        for request in &seen {
            assert_eq!(header(request, "host"), Some(format!("127.0.0.1:{}", firewall.port).as_str()));
            assert_eq!(header(request, "authorization"), Some("Bearer s3cret"));
        }
        assert_eq!(header(&seen[0], "content-type"), Some("application/json"));
        let body = seen[0].split_once("\r\n\r\n").unwrap().1;
        let mut body: serde_json::Value = serde_json::from_str(body).unwrap();
        let ttl = body["ttl"].take().as_u64().unwrap();
        assert!((590..=600).contains(&ttl), "{ttl}");
        let target = target.replace("77/", "0/");
        let expected =
            serde_json::json!({"ip": target, "action": "block", "ttl": null, "reason": "say \"no\""});
        assert_eq!(body, expected);
    }
    let log = String::from_utf8(host.wazuh.log()).unwrap();
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn a_firewall_that_is_down_is_told_when_it_is_back() {
    for (backends, first) in [
        ("[\"nftables\", \"api\"]", ("add", "nftables, api edge (queued)")),
        ("[\"api\"]", ("queued", "api edge (queued)")),
    ] {
        let Some(host) = Host::new() else { return };
        let port = Firewall::down(&host.namespace);
        configure(&host, backends, port);
        assert_eq!(host.execd().request(&Line::four(), 600).code(), Some(0));
        fails_to_deliver(&host);
        let items = waiting(&host);
        assert_eq!((items.len(), items[0]["want"].as_str()), (1, Some("add")), "{items:?}");
        // A failure that passes is no record, and still being down is no error.
        assert!(are_told(&host, &[first]), "{:?}", told(&host));
        assert_eq!(host.listed(), [TARGET]);
        let firewall = Firewall::start_at(&host.namespace, port);
        assert!(!deliver(&host).is_empty());
        assert_eq!(firewall.asked(), ["POST /rules"]);
        assert!(are_told(&host, &[first, ("add", "api edge")]), "{:?}", told(&host));
        assert!(waiting(&host).is_empty());
        assert_eq!(deliver(&host), "");
        assert_eq!(firewall.asked(), ["POST /rules"], "it was told twice");
    }
}

#[test]
fn the_next_run_takes_along_what_was_left() {
    let Some(host) = Host::new() else { return };
    let port = Firewall::down(&host.namespace);
    configure(&host, "[\"nftables\", \"api\"]", port);
    let mut execd = host.execd();
    execd.request(&Line::four(), 600);
    fails_to_deliver(&host);
    let firewall = Firewall::start_at(&host.namespace, port);
    execd.request(&Line::add("198.51.100.7"), 600);
    assert!(eventually(SOON, || firewall.seen().len() == 2), "{:?}", firewall.asked());
    let all = firewall.seen().concat();
    assert!(all.contains(TARGET) && all.contains("198.51.100.7"), "{all}");
}

#[test]
fn what_meets_in_the_outbox_becomes_one_request() {
    let Some(host) = Host::new() else { return };
    let port = Firewall::down(&host.namespace);
    configure(&host, "[\"nftables\", \"api\"]", port);
    let mut execd = host.execd();
    execd.request(&Line::four(), 600);
    fails_to_deliver(&host);
    execd.stop();
    fails_to_deliver(&host);
    // The other way round: the last word counts.
    execd.request(&Line::add("198.51.100.7"), 600);
    execd.stop();
    execd.request(&Line::add("198.51.100.7").id("1.1"), 600);
    let wants = || {
        let items = waiting(&host);
        let mut wants: Vec<String> =
            items.iter().map(|item| format!("{} {}", item["want"], item["target"])).collect();
        wants.sort();
        wants
    };
    let expected = ["\"add\" \"198.51.100.7\"", "\"delete\" \"203.0.113.50\""];
    assert!(eventually(SOON, || wants() == expected), "{:?}", wants());
    kill_workers(&host);
    let firewall = Firewall::start_at(&host.namespace, port);
    deliver(&host);
    let mut asked = firewall.asked();
    asked.sort();
    assert_eq!(asked, ["DELETE /rules/203.0.113.50", "POST /rules"]);
    assert!(firewall.seen().concat().contains("198.51.100.7"));
    assert!(waiting(&host).is_empty());
}

#[test]
fn a_worker_has_nothing_of_those_who_started_it() {
    let Some(host) = Host::new() else { return };
    let firewall = Firewall::start(&host.namespace);
    firewall.hold();
    configure(&host, "[\"nftables\", \"api\"]", firewall.port);
    // Whoever holds one end of these pipes keeps the one who reads them waiting.
    let started = Instant::now();
    let mut child = host.namespace.run(|| {
        let mut command = host.wazuh.command(&[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("SECRET_OF_A_SERVICE", "1").spawn().unwrap()
    });
    child.stdin.take().unwrap().write_all(&[Line::four().bytes(), b"\n"].concat()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(started.elapsed() < SLOWEST / 2, "{:?}", started.elapsed());
    assert!(eventually(SOON, || firewall.seen().len() == 1));

    let all = host.wazuh.workers();
    let [worker] = all[..] else { panic!("not one worker: {all:?}") };
    let proc = Path::new("/proc").join(worker.to_string());
    let stat = std::fs::read_to_string(proc.join("stat")).unwrap();
    // Behind the name: state, parent, process group, session, terminal.
    let stat: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(stat[3], worker.to_string(), "its session is another one's");
    assert_eq!(stat[4], "0", "it has a terminal");
    for descriptor in std::fs::read_dir(proc.join("fd")).unwrap().flatten() {
        let Ok(open) = std::fs::read_link(descriptor.path()) else { continue };
        let text = open.to_string_lossy();
        let own = open.starts_with(host.wazuh.state_dir())
            || text.starts_with("socket:")
            || text.starts_with("anon_inode:");
        let number: u32 = descriptor.file_name().to_str().unwrap().parse().unwrap();
        assert!(if number <= 2 { text == "/dev/null" } else { own }, "{number} is {text}");
    }
    assert_eq!(std::fs::read_link(proc.join("cwd")).unwrap(), Path::new("/"));
    let environment = String::from_utf8(std::fs::read(proc.join("environ")).unwrap()).unwrap();
    assert_eq!(environment, "PATH=/usr/sbin:/sbin:/usr/bin:/bin\0");

    // Wazuh's next run neither waits for it nor disturbs it.
    let run = host.execd().request(&Line::add("198.51.100.7"), 600);
    assert_eq!((run.code(), run.outstayed), (Some(0), false));
    assert!(host.wazuh.workers().contains(&worker));
    firewall.answer();
    assert!(firewall.is_asked(&["POST /rules", "POST /rules"]));
    assert!(host.wazuh.is_quiet(SOON));
}

#[test]
fn a_worker_that_is_killed_while_it_sends_loses_nothing() {
    let Some(host) = Host::new() else { return };
    let firewall = Firewall::start(&host.namespace);
    firewall.hold();
    configure(&host, "[\"api\"]", firewall.port);
    host.execd().request(&Line::four(), 600);
    assert!(eventually(SOON, || firewall.seen().len() == 1));
    kill_workers(&host);
    firewall.answer();
    deliver(&host);
    assert_eq!(firewall.asked(), ["POST /rules", "POST /rules"]);
    assert!(are_told(&host, &[("queued", "api edge (queued)"), ("add", "api edge")]), "{:?}", told(&host));
}

#[test]
fn a_block_that_nobody_lifted_is_lifted_at_the_firewall_when_its_time_is_over() {
    let Some(host) = Host::new() else { return };
    let firewall = Firewall::start(&host.namespace);
    configure(&host, "[\"nftables\", \"api\"]", firewall.port);
    let mut execd = host.execd();
    execd.request(&Line::four().extra_args(&["--ttl", "6"]), 600);
    execd.request(&Line::add("198.51.100.7").extra_args(&["--ttl", "6", "--backend", "api"]), 600);
    execd.request(&Line::add("198.51.100.8"), 600);
    execd.crash();
    assert!(firewall.is_asked(&["POST /rules"; 3]), "{:?}", firewall.asked());
    assert!(host.wazuh.is_quiet(SOON));
    // Wazuh would be a little late itself: until then it is not the timer's to lift.
    assert!(host.wazuh.verb(&host.namespace, &["restore"]).status.success());
    assert_eq!(firewall.seen().len(), 3);
    std::thread::sleep(Duration::from_secs(13));
    for _ in 0..2 {
        assert!(host.wazuh.verb(&host.namespace, &["restore"]).status.success());
        assert!(host.wazuh.is_quiet(SOON));
    }
    let mut ends = firewall.asked().split_off(3);
    ends.sort();
    assert_eq!(ends, ["DELETE /rules/198.51.100.7", "DELETE /rules/203.0.113.50"]);
    assert_eq!(host.targets(), ["198.51.100.8"]);
    assert_eq!(host.listed(), ["198.51.100.8"]);
    let records = told(&host);
    assert_eq!(records.iter().filter(|(command, _)| command == "delete").count(), 2, "{records:?}");
    check_all(&host.wazuh);
}

#[test]
fn a_block_that_is_held_is_held_at_the_firewall_too() {
    let Some(host) = Host::new() else { return };
    let firewall = Firewall::start(&host.namespace);
    configure(&host, "[\"nftables\", \"api\"]\nhold = true", firewall.port);
    let mut execd = host.execd();
    // Its worker writes its record after the run's own.
    firewall.hold();
    execd.request(&Line::four(), 600);
    firewall.answer();
    assert!(are_told(&host, &[("add", "nftables, api edge (queued)"), ("add", "api edge")]));
    execd.stop();
    assert!(host.wazuh.is_quiet(SOON));
    assert_eq!(told(&host).last().unwrap().0, "held");
    assert_eq!(firewall.asked(), ["POST /rules"]);
    // A person's word counts at both.
    assert!(host.wazuh.verb(&host.namespace, &["remove", TARGET]).status.success());
    assert!(firewall.is_asked(&["POST /rules", "DELETE /rules/203.0.113.50"]), "{:?}", firewall.asked());
    assert!(host.blocks().is_empty());
}
