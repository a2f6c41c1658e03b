//! custom-webhook receives an event: one of its own kind, with a configuration, a
//! state and a file that are thrown away, at a port of loopback that nobody has.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::places::WEBHOOK_USER;
use common::text::legible;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Gid, Pid, Uid, User, chown, geteuid};
use serde_json::Value;
use tempfile::TempDir;

use crate::call::Call;
use crate::program::Program;
use crate::{file, process};

/// How long it may take to listen, to answer, to write and to end.
const LIMIT: Duration = Duration::from_secs(10);
/// Whoever says more than this is ended, in bytes.
const MOST_SAID: u64 = 1024 * 1024;
const PAUSE: Duration = Duration::from_millis(20);
/// What is sent.
const ACTION: &str = "wazuh_toolkit_selftest";
/// Not that of the administrator: others may not be let into that.
const PLACE: &str = "/var/tmp";

/// Starts it, sends it something, and looks for the line.
///
/// # Errors
/// What it did not do.
pub(super) fn receive(call: &Call) -> Result<String, String> {
    let path = call.path_of(Program::CustomWebhook);
    let start = Instant::now();
    let room = Room::new().map_err(|error| format!("{PLACE}: {error}"))?;
    let mut daemon = Daemon::start(&path, &room).map_err(|error| format!("{}: {error}", path.display()))?;
    room.send(&path)?;
    let line = daemon.wait_for(|| room.line()).map_err(|error| format!("{}: {error}", path.display()))?;
    let event: Value = serde_json::from_str(&line)
        .map_err(|_| format!("wrote {:?}, which is no event", legible(line.as_bytes(), 200)))?;
    if event["toolkit"] != "custom-webhook" || event["source"] != "application" {
        return Err(format!("wrote {event} instead of the event"));
    }
    daemon.end()?;
    let took = start.elapsed().as_secs_f64();
    Ok(format!("started apart from the installed one, took an event, wrote it and ended, in {took:.1} s"))
}

/// All that it has, removed when dropped.
struct Room {
    dir: TempDir,
    address: SocketAddr,
    /// Not root, where there is a user for it: it is open to all who are on this host.
    user: Option<(Uid, Gid)>,
}

impl Room {
    fn new() -> std::io::Result<Room> {
        let user = if geteuid().is_root() { User::from_name(WEBHOOK_USER).ok().flatten() } else { None };
        let user = user.map(|user| (user.uid, user.gid));
        let dir = tempfile::Builder::new().prefix("wazuh-toolkit-selftest-").tempdir_in(PLACE)?;
        // Given back at once: nobody else takes it so soon.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let room = Room { dir, address, user };
        let mut token = [0_u8; 16];
        File::open("/dev/urandom")?.read_exact(&mut token)?;
        room.file("token", 0o600, &token.iter().map(|byte| format!("{byte:02x}")).collect::<String>())?;
        room.file("event.json", 0o600, &format!("{{\"action\":\"{ACTION}\",\"level\":\"info\"}}"))?;
        let (folder, address) = (room.dir.path().display(), room.address);
        let config = format!(
            "listen = \"{address}\"\nmetrics_listen = \"\"\noutput = \"{folder}/events.json\"\n\
             [application]\ntoken_files = [\"{folder}/token\"]\n"
        );
        room.file("custom-webhook.toml", 0o600, &config)?;
        room.give(room.dir.path())?;
        Ok(room)
    }

    fn file(&self, name: &str, mode: u32, text: &str) -> std::io::Result<()> {
        let path = self.dir.path().join(name);
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?.write_all(text.as_bytes())?;
        std::fs::set_permissions(&path, Permissions::from_mode(mode))?;
        self.give(&path)
    }

    fn give(&self, path: &Path) -> std::io::Result<()> {
        match self.user {
            Some((uid, gid)) => Ok(chown(path, Some(uid), Some(gid))?),
            None => Ok(()),
        }
    }

    /// The program, with what is here and as whom it is to run.
    fn command(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        command.arg("--state-dir").arg(self.dir.path());
        command.arg("--config").arg(self.dir.path().join("custom-webhook.toml"));
        command.current_dir("/").env_remove("CREDENTIALS_DIRECTORY");
        if let Some((uid, gid)) = self.user {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }

    fn send(&self, path: &Path) -> Result<(), String> {
        let mut command = self.command(path);
        command.args(["send", "--source", "application"]).arg(self.dir.path().join("event.json"));
        let ended =
            process::run(&mut command, LIMIT).map_err(|error| format!("{}: {error}", path.display()))?;
        let answer = || format!("did not take an event: {}", ended.words());
        if ended.is_good() { Ok(()) } else { Err(answer()) }
    }

    /// The line of what was sent.
    fn line(&self) -> Option<String> {
        let path = self.dir.path().join("events.json");
        let text = file::read(&path).ok()?.text();
        text.lines().find(|line| line.contains(ACTION) && line.ends_with('}')).map(str::to_owned)
    }
}

/// One that runs; killed when dropped, with all that it started.
struct Daemon {
    child: Child,
    /// What it says.
    log: File,
}

impl Daemon {
    /// Starts it, and waits until it listens.
    fn start(path: &Path, room: &Room) -> Result<Daemon, String> {
        let started = || {
            let log = tempfile::tempfile_in(PLACE)?;
            let mut command = room.command(path);
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).process_group(0);
            std::io::Result::Ok(Daemon { child: command.spawn()?, log })
        };
        let mut daemon = started().map_err(|error| error.to_string())?;
        let listens = || TcpStream::connect_timeout(&room.address, LIMIT).ok();
        match daemon.wait_for(listens) {
            Ok(_) => Ok(daemon),
            Err(error) => Err(format!("does not listen: {error}: {}", daemon.last_words())),
        }
    }

    fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Until it has done something, or has ended.
    fn wait_for<T>(&mut self, done: impl Fn() -> Option<T>) -> Result<T, String> {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(done) = done() {
                return Ok(done);
            }
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("it has ended ({status})"));
            }
            if Instant::now() >= end {
                return Err(format!("nothing within {} s", LIMIT.as_secs()));
            }
            if self.log.metadata().is_ok_and(|log| log.len() > MOST_SAID) {
                return Err("it says too much".to_owned());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The last line of what it said, harmless.
    fn last_words(&mut self) -> String {
        let mut said = Vec::new();
        let read = self
            .log
            .seek(SeekFrom::Start(0))
            .and_then(|_| (&self.log).take(MOST_SAID).read_to_end(&mut said));
        let last = said.split(|&byte| byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
        if read.is_ok() { legible(last, 500) } else { String::new() }
    }

    /// As systemd would end it.
    fn end(mut self) -> Result<(), String> {
        kill(self.id(), Signal::SIGTERM).map_err(|error| error.to_string())?;
        let end = Instant::now() + LIMIT;
        loop {
            match self.child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("ended with {status}")),
                None if Instant::now() >= end => {
                    return Err(format!("did not end within {} s", LIMIT.as_secs()));
                }
                None => std::thread::sleep(PAUSE),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Not its number, which may be another's once it has been waited for.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = killpg(self.id(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
