//! What is found: processes that hold established connections, open files and
//! nothing else.
//!
//! Each of them is this program again, with other words: a process that has
//! threads cannot fork without `unsafe`.

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Outcome;

/// By this word the program is told to hold what follows.
pub(super) const HOLD: &str = "--hold";

/// Who is not root.
const NOBODY: u32 = 65534;
/// What a process has open besides its sockets.
const FILES_OF_ROOT: u32 = 5;
const FILES_OF_OTHERS: u32 = 20;
/// All that is asked for is there within this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// What processes of one owner hold together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Ends of established connections, whose other ends are held by the same
    /// process; those that listen are counted here, too.
    pub(super) sockets: u32,
    /// How many of the processes go on listening.
    pub(super) listeners: u32,
    pub(super) processes: u32,
}

impl Part {
    pub(super) fn connections(&self) -> u32 {
        self.sockets - self.listeners
    }
}

/// One of the loads that are measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) root: Part,
    pub(super) others: Part,
    /// Each process of root runs an executable of its own.
    pub(super) distinct: bool,
    /// The shell loop takes part.
    pub(super) shell: bool,
    /// By how much a first run, and one with `--full`, must be cheaper than
    /// `ss -tnp`.
    pub(super) than_ss: Option<[f64; 2]>,
    /// The most memory that custom-audit may occupy, in megabytes.
    pub(super) memory: Option<f64>,
}

const fn part(sockets: u32, processes: u32) -> Part {
    Part { sockets, listeners: 0, processes }
}

const fn load(root: Part, others: Part) -> Load {
    Load { root, others, distinct: false, shell: false, than_ss: None, memory: None }
}

/// As many sockets as a shell loop gets through; a host as there are many; few
/// and many; and few of root among many of others.
pub(super) static LOADS: [Load; 6] = [
    Load { shell: true, ..load(part(50, 5), part(50, 5)) },
    Load { distinct: true, ..load(Part { sockets: 50, listeners: 10, processes: 20 }, part(300, 150)) },
    Load { than_ss: Some([5.0, 4.0]), ..load(part(100, 10), part(1_000, 100)) },
    Load { than_ss: Some([3.0, 2.0]), memory: Some(16.0), ..load(part(10_000, 10), part(3_000, 300)) },
    Load { than_ss: Some([3.0, 2.0]), memory: Some(64.0), ..load(part(50_000, 500), part(3_000, 300)) },
    Load { than_ss: Some([15.0, 15.0]), ..load(part(200, 20), part(40_000, 60)) },
];

impl Load {
    /// All sockets that are no listeners.
    pub(super) fn connections(&self) -> u32 {
        self.root.connections() + self.others.connections()
    }

    /// Sockets and processes of root, and of others.
    pub(super) fn name(&self) -> String {
        let one = |part: &Part| format!("{} in {} processes", grouped(part.sockets), part.processes);
        format!("{} of root, {} of others", one(&self.root), one(&self.others))
    }
}

/// A number as people write it.
pub(super) fn grouped(number: u32) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

/// Processes that hold something, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    children: Vec<Child>,
    /// When its other ends read that it was closed, they end.
    lifeline: Option<PipeWriter>,
}

impl Held {
    /// The sockets of a load. `dir` has executables, where they are distinct.
    pub(super) fn start(load: &Load, dir: &Path) -> Outcome<Held> {
        Held::of(&[(0, load.root), (NOBODY, load.others)], &|number| executable(load, dir, number))
    }

    /// One process with two sockets by each executable that a load's processes
    /// of root have.
    pub(super) fn forerunners(load: &Load, dir: &Path) -> Outcome<Held> {
        let processes = if load.distinct { load.root.processes } else { 1 };
        Held::of(&[(0, part(processes * 2, processes))], &|number| executable(load, dir, number))
    }

    fn of(parts: &[(u32, Part)], executable: &dyn Fn(u32) -> PathBuf) -> Outcome<Held> {
        let (theirs, lifeline) = io::pipe()?;
        let (mut ready, done) = io::pipe()?;
        let mut held = Held { children: Vec::new(), lifeline: Some(lifeline) };
        for &(uid, part) in parts {
            let (processes, connections) = (part.processes, part.connections() / 2);
            let files = if uid == 0 { FILES_OF_ROOT } else { FILES_OF_OTHERS };
            for process in 0..processes {
                let number = u32::try_from(held.children.len())?;
                let own = connections / processes + u32::from(process < connections % processes);
                let listens = u32::from(process < part.listeners);
                // Whoever is not root cannot find the file by its path where
                // it lies in somebody's home.
                let path = if uid == 0 { executable(number) } else { "/proc/self/exe".into() };
                let mut command = Command::new(path);
                command.arg(HOLD).args([number, own, listens, files].map(|number| number.to_string()));
                command.stdin(theirs.try_clone()?).stdout(done.try_clone()?);
                if uid != 0 {
                    command.uid(uid).gid(uid);
                }
                held.children.push(command.spawn()?);
            }
        }
        drop(done);
        held.wait(&mut ready)?;
        Ok(held)
    }

    /// Each of them says one byte when it has all that it shall hold.
    fn wait(&self, ready: &mut io::PipeReader) -> Outcome<()> {
        let end = Instant::now() + PATIENCE;
        let (mut said, mut bytes) = (0, [0; 1024]);
        while said < self.children.len() {
            let left = PollTimeout::try_from(end.saturating_duration_since(Instant::now()))?;
            if poll(&mut [PollFd::new(ready.as_fd(), PollFlags::POLLIN)], left)? == 0 {
                return Err("the load is not there in time".into());
            }
            match ready.read(&mut bytes)? {
                0 => return Err("the load ended".into()),
                count if bytes[..count].iter().all(|&byte| byte == b'.') => said += count,
                _ => return Err("the load is not complete".into()),
            }
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.lifeline = None;
        for child in &mut self.children {
            // It has just been told to end.
            let _ = child.wait();
        }
    }
}

/// Where such a process of root has its executable.
fn executable(load: &Load, dir: &Path, number: u32) -> PathBuf {
    if load.distinct { dir.join(format!("daemon{number}")) } else { "/proc/self/exe".into() }
}

/// Makes the executables of a load.
pub(super) fn install(load: &Load, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for number in 0..if load.distinct { load.root.processes } else { 0 } {
        std::fs::copy("/proc/self/exe", executable(load, dir, number))?;
    }
    Ok(())
}

/// The other end of [`Held`]: holds all this until stdin ends.
pub(super) fn hold(words: &[String]) -> Outcome<()> {
    let numbers: Vec<u32> = words.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
    let &[number, connections, listens, files] = numbers.as_slice() else {
        return Err("four numbers".into());
    };
    let taken = take(number, connections, files);
    io::stdout().write_all(if taken.is_ok() { b"." } else { b"!" })?;
    io::stdout().flush()?;
    let (listener, connections, files) = taken?;
    let listener = (listens > 0).then_some(listener);
    // Whatever comes, it is the end.
    let _ = io::stdin().read(&mut [0]);
    drop((listener, connections, files));
    Ok(())
}

type Taken = (TcpListener, Vec<[TcpStream; 2]>, Vec<File>);

fn take(number: u32, connections: u32, files: u32) -> Outcome<Taken> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    // An address each: no two of them share their ports.
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 1)) + ((number + 1) << 8));
    let listener = TcpListener::bind(SocketAddr::from((address, 0)))?;
    let to = listener.local_addr()?;
    let pair = |_| -> io::Result<[TcpStream; 2]> { Ok([TcpStream::connect(to)?, listener.accept()?.0]) };
    let connections = (0..connections).map(pair).collect::<Result<_, _>>()?;
    let files = (0..files).map(|_| File::open("/dev/null")).collect::<Result<_, _>>()?;
    Ok((listener, connections, files))
}
