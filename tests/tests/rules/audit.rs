//! What custom-audit prints of processes that are just so, and what becomes of
//! it. Each story has a host of its own: processes, network, mounts and folders
//! that vanish with it.

mod connections;
mod hidden;
mod listeners;
mod odd;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::wodle::{Run, Wodle};
use harness::{kernel, network, program};
use serde_json::Value;

use crate::actor::{Actor, PROGRAM};
use crate::room::{Room, Started};
use crate::told::Told;

/// Where Wazuh says these lines come from.
const LOCATION: &str = "command_system-audit";
/// A public address that a host has, and a private one.
const PUBLIC: &str = "8.8.4.4";
const PRIVATE: &str = "10.1.2.3";
/// Where a connection to either comes from.
const FROM: &str = "9.9.9.9:0";

/// The folders that are a story's own, and the network with public addresses.
/// What is started must be there all the same, wherever the sources lie.
const FURNITURE: &str = "for at in /usr/local /srv /root /var/tmp; do
      before=$(mktemp -d)
      mount --bind $at $before
      mount -t tmpfs -o mode=755 furniture $at
      for needed in \"$program\" \"$actor\"; do
        case $needed in
        $at/*)
          mkdir -p \"$needed\"
          mount --bind \"$before/${needed#\"$at/\"}\" \"$needed\"
        esac
      done
      umount -l $before
      rmdir $before
    done
    mkdir -p /usr/local/sbin /usr/local/libexec /srv/bin
    ip link add wide type veth peer name end
    ip link set wide up && ip link set end up
    ip addr add 9.9.9.9/32 dev wide
    for last in $(seq 4 40); do
      ip addr add 8.8.4.$last/32 dev wide
      ip addr add 10.1.2.$last/32 dev wide
    done
    ip addr add 10.1.2.3/32 dev wide && ip addr add 192.0.2.254/32 dev wide";

/// A host, and an installation that looks at it.
struct Host {
    // Dropped first, so that nothing is left of what lies below the installation.
    room: Room,
    wodle: Wodle,
}

impl Host {
    fn new() -> Option<Host> {
        let ready = harness::require(network::available(), "root, for namespaces")
            && ["ip", "bash", "perl"].iter().all(|tool| harness::require(kernel::has(tool), tool));
        ready.then(|| {
            let host = Host { room: Room::new(), wodle: Wodle::new(program::custom_audit()) };
            host.wodle.configure("full_look = \"0s\"\n");
            let folder = |path: &Path| path.parent().expect("a file lies in a folder").display().to_string();
            let (program, actor) = (folder(program::custom_audit()), folder(Path::new(PROGRAM)));
            host.room.sh(&format!("program='{program}' actor='{actor}'; {FURNITURE}"));
            host
        })
    }

    /// One that was looked at before anything was there.
    fn known() -> Option<Host> {
        let host = Host::new()?;
        host.look(&[]);
        Some(host)
    }

    /// A run that has looked.
    fn look(&self, args: &[&str]) -> Run {
        let run = self.start(args).wait();
        assert_eq!((run.code, run.signal), (Some(0), None), "{}", run.text());
        run
    }

    /// A run as it is, on a host that is called web1.
    fn start(&self, args: &[&str]) -> Started {
        let args = if args.is_empty() { &["--wodle"] } else { args };
        let named = ["unshare", "--uts", "sh", "-c", "hostname web1; exec \"$@\"", "sh"];
        self.room.start(self.room.command(&self.wodle, &named, program::custom_audit(), args))
    }

    /// An actor whose executable lies here.
    fn actor(&self, at: &str, steps: &[&str]) -> Actor {
        self.room.install(PROGRAM, at);
        Actor::of(&self.room, Path::new(at), steps)
    }

    /// The same in a control group, as in a service, session or container; where
    /// groups cannot be made `None`, which has been said.
    fn grouped(&self, group: &Group, at: &str, steps: &[&str]) -> Actor {
        self.room.install(PROGRAM, at);
        let enter = format!("echo 0 >'{}/cgroup.procs' && exec \"$@\"", group.path);
        let words = [&["-c", enter.as_str(), "sh", at], steps].concat();
        Actor::of(&self.room, Path::new("sh"), &words)
    }

    /// Something that takes its commands from a socket, or has one; ended when
    /// dropped.
    fn process(&self, program: &str, args: &[&str], stdin: Stdio, stdout: Stdio) -> Process {
        let mut command = Command::new(program);
        command.args(args).stdin(stdin).stdout(stdout).stderr(Stdio::null()).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin");
        Process(self.room.inside(|| command.spawn()).unwrap())
    }

    /// Where somebody listens, who is no process of this host.
    fn listener(&self, at: &str) -> TcpListener {
        let at: SocketAddr = at.parse().unwrap();
        self.room.inside(|| TcpListener::bind(at)).unwrap()
    }

    /// A connection's end of our own side.
    fn connected(&self, to: &TcpListener) -> OwnedFd {
        let to = to.local_addr().unwrap();
        OwnedFd::from(self.room.inside(|| TcpStream::connect(to)).unwrap())
    }

    /// Waits until a process runs this program: it may still be the shell that
    /// was told to become it.
    fn becomes(&self, process: &Process, name: &str) {
        let exe = format!("/proc/{}/exe", process.0.id());
        let is = || std::fs::read_link(&exe).is_ok_and(|path| path.to_string_lossy().contains(name));
        assert!(harness::eventually(Duration::from_secs(5), is), "{exe} is not {name}");
    }
}

/// A process, ended when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sockets as standard input and output.
fn stdio(socket: &OwnedFd) -> [Stdio; 2] {
    [(); 2].map(|()| Stdio::from(socket.try_clone().unwrap()))
}

/// A control group, removed when dropped.
struct Group {
    path: String,
    made: Vec<String>,
}

impl Group {
    /// Below a slice, as services, sessions and containers are.
    fn new(names: &str) -> Option<Group> {
        Group::below(".slice", names)
    }

    fn bare(names: &str) -> Option<Group> {
        Group::below("", names)
    }

    fn below(kind: &str, names: &str) -> Option<Group> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mount = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields.get(2) == Some(&"cgroup2")).then(|| fields[1].to_owned())
        });
        let mount = mount.unwrap_or_default();
        let apart = format!("{mount}/wazuh-toolkit-{}-{}{kind}", std::process::id(), names.replace('/', "-"));
        let made = !mount.is_empty() && std::fs::create_dir(&apart).is_ok();
        if !harness::require(made, "control groups that can be written") {
            return None;
        }
        let mut group = Group { path: apart.clone(), made: vec![apart] };
        for name in names.split('/') {
            group.path = format!("{}/{name}", group.path);
            std::fs::create_dir(&group.path).unwrap();
            group.made.push(group.path.clone());
        }
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // Until the last of its processes is gone.
            harness::eventually(Duration::from_secs(5), || std::fs::remove_dir(path).is_ok());
        }
    }
}

/// The lines of a run that are so, as they were printed.
fn lines(run: &Run, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
    let text = run.text();
    let of = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|event| wanted(&event));
    text.lines().filter(of).map(str::to_owned).collect()
}

/// The one line of a run that is so.
fn line(run: &Run, wanted: impl Fn(&Value) -> bool) -> String {
    let mut found = lines(run, wanted);
    assert_eq!(found.len(), 1, "{found:#?} of {}", run.text());
    found.remove(0)
}

/// The line about this executable, and this event.
fn of<'a>(event: &'a str, exe: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |line| line["event"] == event && line["exe"].as_str().is_some_and(|path| path.ends_with(exe))
}

/// A story that is told by one run each.
fn story(name: &'static str) -> Told {
    Told::new(name, LOCATION)
}
