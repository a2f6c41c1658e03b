//! Threads that are not like their process: with descriptors or rights of
//! their own. Linux lets them; libraries do not.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::actor::Actor;
use crate::room::Room;
use crate::{Scene, of_sockets};

/// A process of which one thread does its argument and then connects to the
/// port. (Nothing but a raw system call makes such a thread, and this crate is
/// not allowed any.)
const THREAD: &str = "
import ctypes, os, socket, sys, threading, time
kernel = ctypes.CDLL(None).syscall
UNSHARE, SETRESUID, EXIT, CLONE_FILES = 272, 117, 60, 0x400
ready = threading.Event()
def work():
    if sys.argv[1] == 'apart':
        assert kernel(UNSHARE, CLONE_FILES) == 0
    global kept, inode
    kept = socket.create_connection(('127.0.0.1', int(sys.argv[2])))
    inode = os.fstat(kept.fileno()).st_ino
    ready.set()
    time.sleep(600)
threading.Thread(target=work).start()
ready.wait()
if sys.argv[1] == 'drop':
    assert kernel(SETRESUID, 65534, 65534, 65534) == 0
# Only now: nobody looks at it before it is what it shall be.
print(os.getpid(), inode, flush=True)
if sys.argv[1] == 'end':
    kernel(EXIT, 0)
time.sleep(600)
";

struct Process {
    child: Child,
    pid: u64,
    inode: String,
}

impl Process {
    fn new(room: &Room, what: &str, port: &str) -> Process {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", THREAD, what, port]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = room.inside(|| command.spawn()).unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let (pid, inode) = said.trim().split_once(' ').unwrap_or_else(|| panic!("{what}: {said:?}"));
        Process { child, pid: pid.parse().unwrap(), inode: inode.to_owned() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_only_a_thread_holds_is_its_processs_and_stays_so() {
    let Some(scene) = Scene::with(&["/usr/bin/python3"]) else { return };
    let listener = Actor::new(&scene.room, &["l=listen 127.0.0.1:0"]);
    let port = listener.local("l").rsplit(':').next().unwrap().to_owned();
    // A due look sees it; those after it remember where to look.
    for what in ["apart", "drop", "end"] {
        scene.forget();
        let process = Process::new(&scene.room, what, &port);
        let runs = [scene.run(&[]), scene.run(&[]), scene.run(&[])];
        let of_it = |event: &&Value| event["inode"] == json!(process.inode);
        let said: Vec<&Value> = runs.iter().flat_map(of_sockets).filter(of_it).collect();
        let names: Vec<&Value> = said.iter().map(|event| &event["event"]).collect();
        assert_eq!(names, [&json!("conn_new")], "{what}: {}", runs[0].text());
        assert_eq!(said[0]["pid"], json!(process.pid), "{what}");
        let reason = if what == "drop" { "thread" } else { "euid0" };
        assert_eq!(said[0]["root_reason"], reason, "{what}");
        // It ends with its process, and is said to.
        drop(process);
        let closed = scene.run(&[]);
        let closed: Vec<&Value> =
            of_sockets(&closed).filter(|event| event["event"] == "conn_closed").collect();
        assert!(!closed.is_empty(), "{what}");
    }
}
