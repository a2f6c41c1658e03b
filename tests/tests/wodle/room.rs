//! A host of its own: processes, network and mounts that nobody else has, so
//! that what a run should say can be told exactly, whatever else this machine
//! does. It vanishes with the process that made it, also when that is killed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::event;
use harness::wodle::{Run, Wodle};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(300);

/// The host.
pub(crate) struct Room {
    init: Child,
    /// When this closes, the first process of the host ends, and so all others.
    _life: ChildStdin,
}

/// The first process: gives the host a /proc and a loopback, and then waits.
/// Networks that others have given a name are none of its own.
const INIT: &str = "mount --make-rprivate / && mount -t proc proc /proc && ip link set lo up || exit
    grep ' - nsfs ' /proc/self/mountinfo | cut -d ' ' -f 5 | while read -r at; do umount -l \"$at\"; done
    echo up && exec cat";

impl Room {
    /// A new one, with nothing but its first process.
    pub(crate) fn new() -> Room {
        let init = std::thread::spawn(|| {
            // In a thread, so that it does not happen to the test itself.
            let apart = CloneFlags::CLONE_FS
                | CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWPID;
            unshare(apart).unwrap();
            let mut command = Command::new("sh");
            command.args(["-c", INIT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        });
        let mut init = init.join().unwrap();
        let mut said = String::new();
        BufReader::new(init.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "up\n", "a host of its own cannot be made");
        let life = init.stdin.take().unwrap();
        Room { init, _life: life }
    }

    /// Does something on a thread that is inside, but for its own process:
    /// what it starts is there, and sockets that it makes belong there.
    /// It cannot start threads.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespaces = ["mnt", "pid", "net"].map(|name| {
            File::open(format!("/proc/{}/ns/{name}", self.init.id())).expect("the host is there")
        });
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_FS).unwrap();
                for namespace in &namespaces {
                    setns(namespace, CloneFlags::empty()).unwrap();
                }
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a shell command inside, and returns what it printed.
    pub(crate) fn sh(&self, script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-euc", script]).stdin(Stdio::null());
        let output = self.inside(|| command.output()).unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Puts a copy of a program there. Not written by this process: another
    /// test that starts something just then would have it open, and what is
    /// open for writing cannot be started.
    pub(crate) fn install(&self, program: &str, at: &str) {
        self.sh(&format!("cp '{program}' '{at}'"));
    }

    /// A file or directory as it is inside, also where something is mounted there.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        let relative = path.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.init.id().to_string()).join("root").join(relative)
    }

    /// A small file system of this many KiB here.
    pub(crate) fn small_disk(&self, at: &Path, kib: u32) {
        self.sh(&format!("mount -t tmpfs -o size={kib}k,mode=0755 small '{}'", at.display()));
    }

    /// This program, with all that it is told by its environment.
    pub(crate) fn command(&self, wodle: &Wodle, launcher: &[&str], program: &Path, args: &[&str]) -> Command {
        let mut words = launcher.iter().map(OsString::from).chain([OsString::from(program)]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("WAZUH_HOME", wodle.home())
            .env("WAZUH_TOOLKIT_STATE_DIR", wodle.state_dir())
            .env("WAZUH_TOOLKIT_CONFIG_DIR", wodle.config_dir())
            .current_dir(wodle.home())
            .stdin(Stdio::null());
        command
    }

    /// A run of the wodle in here that has not ended yet. As modulesd does it:
    /// stdout and stderr are one pipe, which is read to its end.
    pub(crate) fn start(&self, mut command: Command) -> Started {
        let (mut reader, writer) = std::io::pipe().unwrap();
        command.stdout(writer.try_clone().unwrap()).stderr(writer).process_group(0);
        let began = Instant::now();
        let child = self.inside(|| command.spawn()).unwrap();
        // The command holds our copies of the pipe's other end.
        drop(command);
        let output = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        Started { child, began, output: Some(output) }
    }

    /// As a person types it: run to its end, whatever it prints.
    pub(crate) fn verb(&self, wodle: &Wodle, program: &Path, args: &[&str]) -> Output {
        let mut command = self.command(wodle, &[], program, args);
        self.inside(|| command.output()).unwrap()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // With the first process all others go.
        let _ = self.init.kill();
        let _ = self.init.wait();
    }
}

/// A run that has not ended yet; ended when dropped.
pub(crate) struct Started {
    child: Child,
    began: Instant,
    output: Option<JoinHandle<Vec<u8>>>,
}

impl Started {
    /// Its process, as this test sees it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to its process group, as modulesd does.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = killpg(pid(&self.child), signal);
    }

    /// Waits for the process itself, at most that long.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        harness::eventually(limit, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status
    }

    /// Waits for its end. Only what SIGKILL ended may leave a line unfinished.
    pub(crate) fn wait(mut self) -> Run {
        let status = self.ends_within(LIMIT);
        let took = self.began.elapsed();
        if status.is_none() {
            self.signal(Signal::SIGKILL);
        }
        let raw = self.output.take().unwrap().join().unwrap();
        let status = status.unwrap_or_else(|| {
            panic!("it took longer than {took:?}, and has said:\n{}", String::from_utf8_lossy(&raw))
        });
        said(status, raw, took)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.output.is_some() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// What a run has said, every line held against the schema.
pub(crate) fn said(status: ExitStatus, raw: Vec<u8>, took: Duration) -> Run {
    let (code, signal) = (status.code(), status.signal());
    let mut whole = raw.as_slice();
    if signal == Some(Signal::SIGKILL as i32) {
        let end = raw.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        whole = &raw[..end];
    }
    let events = event::read(whole);
    Run { code, signal, raw, events, took }
}

/// Sends a signal to one process.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let _ = kill(pid(child), signal);
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}
