//! Who holds a socket: everybody who does, and nobody else.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::actor::Actor;
use crate::{Stage, assert_says, of_socket, one};

/// A listener, a connection to it, and its other end.
pub(crate) const PAIR: [&str; 3] =
    ["listener=listen 127.0.0.1:0", "client=connect listener", "server=accept listener"];

#[test]
fn every_root_process_that_holds_a_socket_is_named() {
    let Some(stage) = Stage::new() else { return };
    let mut actor = stage.actor(&PAIR);
    for child in ["one=spawn client", "two=spawn client", "plain=spawn client ; uids 65534 65534 65534"] {
        actor.tell(child);
    }
    let run = stage.full();
    let inode = actor.inode("client");
    let pids = [actor.pid(), actor.child("one"), actor.child("two")];
    for pid in pids {
        let record = one(&run, pid, &inode);
        assert_says(
            record,
            &[
                ("event", json!("conn_open")),
                ("fd", json!(actor.fd("client"))),
                ("holders", json!(3)),
                ("local_addr", json!(actor.local("client").to_string())),
                ("remote_addr", json!(actor.remote("client").to_string())),
            ],
        );
        let named = record["holder_pids"].as_str().unwrap();
        let mut named: Vec<u32> = named.split(',').map(|pid| pid.parse().unwrap()).collect();
        named.sort_unstable();
        let mut all = pids;
        all.sort_unstable();
        assert_eq!(named, all);
    }
    assert_eq!(of_socket(&run, &inode).len(), 3);
    assert!(run.of(actor.child("plain")).is_empty());
    // The other end is one process's alone.
    assert_eq!(one(&run, actor.pid(), &actor.inode("server"))["holders"], 1);
}

#[test]
fn a_socket_with_several_descriptors_in_one_process_is_one_record() {
    let Some(stage) = Stage::new() else { return };
    let actor = stage.actor(&[PAIR[0], "again=dup listener", "third=dup listener"]);
    let run = stage.full();
    let mut numbers = ["listener", "again", "third"].map(|label| actor.fd(label));
    numbers.sort_unstable();
    let all = numbers.map(|number| number.to_string()).join(",");
    let record = one(&run, actor.pid(), &actor.inode("listener"));
    assert_says(record, &[("fd", json!(numbers[0])), ("fds", json!(all)), ("holders", json!(1))]);
}

#[test]
fn a_socket_that_was_passed_belongs_to_who_has_received_it() {
    let Some(stage) = Stage::new() else { return };
    let mut actor = stage.actor(&PAIR);
    for step in ["near,far=unix", "heir=spawn far", "send client near", "tell heir got=receive far"] {
        actor.tell(step);
    }
    let inode = actor.inode("client");
    assert_eq!(actor.of_child("heir", "got", "inode"), inode);
    let run = stage.full();
    assert_eq!(of_socket(&run, &inode).len(), 2);

    actor.tell("drop client");
    let run = stage.full();
    assert_eq!(of_socket(&run, &inode).len(), 1);
    let record = one(&run, actor.child("heir"), &inode);
    assert_says(record, &[("holders", json!(1)), ("direction", json!("outbound"))]);
}

#[test]
fn a_socket_on_its_way_to_somebody_is_said_though_nobody_holds_it() {
    let Some(stage) = Stage::thorough() else { return };
    let mut actor = stage.actor(&PAIR);
    let (inode, local, remote) = (actor.inode("client"), actor.local("client"), actor.remote("client"));
    for step in ["near,far=unix", "send client near", "drop client"] {
        actor.tell(step);
    }
    for run in stage.both_searched() {
        let records = of_socket(&run, &inode);
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_says(
            records[0],
            &[
                ("event", json!("unattributed")),
                ("protocol", json!("tcp")),
                ("local_addr", json!(local.to_string())),
                ("remote_addr", json!(remote.to_string())),
            ],
        );
        // Where some process may not be looked at, it may be that one's.
        assert!(["unknown", "unreadable"].contains(&records[0]["hint"].as_str().unwrap()));
        assert!(run.summary()["unattributed"].as_i64() >= Some(1));
    }
    // When it has come to somebody, it is his.
    actor.tell("client=receive far");
    for run in [stage.full(), stage.changes()] {
        assert_eq!(of_socket(&run, &inode).len(), 1);
        one(&run, actor.pid(), &inode);
    }
}

#[test]
fn a_socket_that_root_made_and_another_user_holds_is_not_without_a_holder() {
    let Some(stage) = Stage::thorough() else { return };
    let mut actor = stage.actor(&PAIR);
    let inode = actor.inode("client");
    actor.tell("plain=spawn client ; uids 65534 65534 65534");
    actor.tell("drop client");
    for run in stage.both_searched() {
        assert!(of_socket(&run, &inode).is_empty(), "{:#?}", of_socket(&run, &inode));
    }
}

#[test]
fn connections_that_no_process_can_hold_are_not_without_a_holder() {
    let Some(stage) = Stage::thorough() else { return };
    // One that has been closed and waits for its peer, and one that nobody has accepted.
    let mut actor = stage.actor(&PAIR);
    let (closed, server) = (actor.local("client"), actor.inode("server"));
    for step in ["drop client", "waiting=connect listener"] {
        actor.tell(step);
    }
    let waiting = actor.local("waiting");
    let [run, _] = stage.both_searched();
    assert_eq!(one(&run, actor.pid(), &server)["state"], "close_wait");
    let here = |record: &&Value| record["netns"] == actor.netns();
    for record in run.named("unattributed").into_iter().filter(here) {
        for address in [closed, waiting] {
            let address = address.to_string();
            assert!(record["local_addr"] != *address && record["remote_addr"] != *address, "{record:#}");
        }
    }
}

#[test]
fn a_socket_of_the_kernel_is_said_with_what_it_is_for() {
    let Some(stage) = Stage::thorough() else { return };
    let vxlan = ["link", "add", "vx0", "type", "vxlan", "id", "7", "dstport", "4789", "local", "127.0.0.1"];
    let made = stage.namespace.try_command("ip", &vxlan).unwrap();
    if !harness::require(made.status.success(), "vxlan in the kernel") {
        return;
    }
    stage.namespace.ip("link set vx0 up");
    // Somebody by whom the namespace can be found.
    let actor = stage.actor(&["udp=udp 127.0.0.1:0"]);
    let [run, _] = stage.both_searched();
    let own = |record: &&&Value| record["netns"] == actor.netns();
    let unattributed = run.named("unattributed");
    let records: Vec<_> = unattributed.iter().filter(own).collect();
    assert!(!records.is_empty());
    for record in records {
        assert_says(
            record,
            &[("protocol", json!("udp")), ("local_port", json!(4789)), ("hint", json!("vxlan"))],
        );
    }
    one(&run, actor.pid(), &actor.inode("udp"));
}

#[test]
fn a_socket_that_only_one_thread_has_is_said_all_the_same() {
    let Some(stage) = Stage::thorough() else { return };
    let actor = stage.actor(&["hidden=hidden 127.0.0.1:0"]);
    for run in stage.both_searched() {
        let records = of_socket(&run, &actor.inode("hidden"));
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_eq!(records[0]["local_addr"], *actor.local("hidden").to_string());
        let (pid, event) = (&records[0]["pid"], &records[0]["event"]);
        assert!(*pid == actor.pid() || event == "unattributed", "{:#}", records[0]);
    }
}

/// A process whose first thread has ended, which no safe Rust can do.
const HEADLESS: &str = "import ctypes,os,platform,socket,sys,threading
s=socket.socket()
s.bind(('127.0.0.1',0))
s.listen(1)
print('{\"sockets\":{\"listener\":{\"inode\":\"%d\"}}}'%os.fstat(s.fileno()).st_ino,flush=True)
threading.Thread(target=lambda:(sys.stdin.read(),os._exit(0))).start()
ctypes.CDLL(None).syscall({'x86_64':60}.get(platform.machine(),93),0)";

#[test]
fn a_socket_of_a_process_whose_first_thread_has_ended_is_said_all_the_same() {
    let Some(stage) = Stage::thorough() else { return };
    if !harness::require(harness::kernel::has("python3"), "python3") {
        return;
    }
    let mut command = Command::new("python3");
    command.args(["-c", HEADLESS]);
    let python = Actor::from(Some(&stage.namespace), command);
    let stat = format!("/proc/{}/stat", python.pid());
    let zombie = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "));
    assert!(harness::eventually(Duration::from_secs(5), zombie));
    // Somebody by whom the namespace can be found.
    let _inhabitant = stage.actor(&[]);
    for run in stage.both_searched() {
        let records = of_socket(&run, &python.inode("listener"));
        assert_eq!(records.len(), 1, "{records:#?}");
        let (pid, event) = (&records[0]["pid"], &records[0]["event"]);
        assert!(*pid == python.pid() || event == "unattributed", "{:#}", records[0]);
    }
}
