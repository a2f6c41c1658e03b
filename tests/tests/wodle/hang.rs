//! A file system that never answers: whoever makes one must not be able to
//! silence the runs that come after.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::actor::{Actor, PROGRAM};
use crate::room::Room;
use crate::{Scene, of_sockets};

/// Mounts a file system at its argument and answers nothing that it is asked.
/// (No crate or tool that is at hand mounts one without speaking its protocol.)
const SILENT: &str = "
import ctypes, os, sys, time
device = os.open('/dev/fuse', os.O_RDWR)
options = 'fd=%d,rootmode=40000,user_id=0,group_id=0' % device
done = ctypes.CDLL(None).mount(b'silent', sys.argv[1].encode(), b'fuse', 0, options.encode())
print('mounted' if done == 0 else 'not mounted', flush=True)
time.sleep(600)
";

/// It, as long as this lives: then the kernel answers for it, with an error.
struct Silent(Child);

impl Silent {
    fn mount(room: &Room, at: &str) -> Silent {
        let mut command = Command::new("python3");
        command.args(["-c", SILENT, at]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = room.inside(|| command.spawn()).unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n");
        Silent(child)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scene() -> Option<Scene> {
    let scene = Scene::with(&["python3"])?;
    if !harness::require(Path::new("/dev/fuse").exists(), "/dev/fuse") {
        return None;
    }
    scene.room.sh("mount -t tmpfs places /mnt && mkdir /mnt/programs /mnt/silent");
    Some(scene)
}

#[test]
fn a_link_in_the_place_of_a_deleted_executable_leads_nowhere() {
    let Some(scene) = scene() else { return };
    scene.room.install(PROGRAM, "/mnt/programs/actor");
    let actor = Actor::of(&scene.room, Path::new("/mnt/programs/actor"), &["l=listen 127.0.0.1:0"]);
    let _silent = Silent::mount(&scene.room, "/mnt/silent");
    scene.room.sh("rm /mnt/programs/actor && rmdir /mnt/programs && ln -s /mnt/silent /mnt/programs");
    let run = scene.run(&[]);
    let event = of_sockets(&run).find(|event| event["pid"] == json!(actor.pid())).unwrap();
    assert_eq!((&event["exe_deleted"], &event["exe_replaced"]), (&json!(true), &json!(false)));
    assert_eq!(event["exe"], "/mnt/programs/actor");
}

#[test]
fn whoever_waits_for_it_all_the_same_ends_when_told_to() {
    let Some(scene) = scene() else { return };
    let _silent = Silent::mount(&scene.room, "/mnt/silent");
    let config = "/mnt/silent/custom-audit.toml";
    let mut waiting = scene.start(&[], &["--wodle", "--config", config]);
    assert!(waiting.ends_within(Duration::from_millis(500)).is_none(), "nothing answers");
    waiting.signal(Signal::SIGTERM);
    let ended = waiting.ends_within(Duration::from_secs(8));
    assert!(ended.is_some(), "the wodle would wait for ever");
}
