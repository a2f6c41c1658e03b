//! The contestants: each is a server that runs while it has its turns.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::eventually;
use harness::webhook::GITHUB;
use harness::webhook::client::{Connection, Request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::Outcome;
use crate::load::{self, Maker, Sent};

/// All of what was sent is in the file within this time.
const PATIENCE: Duration = Duration::from_secs(120);
const SCRIPT: &str = include_str!("receiver.py");

/// A turn of one of them.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) sent: Sent,
    /// User and system time of the server and all its processes, in
    /// microseconds for each request.
    pub(super) cpu: f64,
}

/// A server that runs; ended when dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    child: Child,
    address: SocketAddr,
    /// Where it says how much waits to be put out.
    metrics: Option<SocketAddr>,
    output: PathBuf,
    lines: usize,
}

fn keep(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

impl Server {
    /// custom-webhook as it is shipped, but that it takes as much as it gets,
    /// of as many as there are, and puts all of it out at once: so that all its
    /// work is done within the measured time.
    pub(super) fn webhook(program: &Path, dir: &Path, port: u16) -> Outcome<Server> {
        let (address, metrics) = (loopback(port), loopback(port + 1));
        let dir = dir.join("custom-webhook");
        fs::create_dir_all(dir.join("state"))?;
        let (secret, config, output) =
            (dir.join("secret"), dir.join("custom-webhook.toml"), dir.join("events.json"));
        keep(&secret, GITHUB)?;
        keep(
            &config,
            &format!(
                "listen = \"{address}\"\nmetrics_listen = \"{metrics}\"\noutput = {output:?}\n\
                 events_per_second = 0\nrotate_megabytes = 0\nrotate_daily = false\nconnections_per_peer = 512\n\
                 [github]\nsecret_files = [{secret:?}]\nrequests_per_minute = 0\nrequests_per_minute_per_peer = 0\n"
            ),
        )?;
        let mut command = Command::new(program);
        command.arg("--config").arg(config).arg("--state-dir").arg(dir.join("state"));
        Server::start("custom-webhook", command, address, Some(metrics), output)
    }

    /// The Flask receiver under gunicorn, with two processes that take requests.
    pub(super) fn gunicorn(python: &Path, dir: &Path, port: u16) -> Outcome<Server> {
        let address = loopback(port);
        let dir = dir.join("gunicorn");
        fs::create_dir_all(&dir)?;
        let (secret, output) = (dir.join("secret"), dir.join("events.json"));
        keep(&secret, GITHUB)?;
        fs::write(dir.join("receiver.py"), SCRIPT)?;
        let mut command = Command::new(python);
        command
            .args(["-m", "gunicorn", "--workers", "2", "--worker-class", "sync", "--log-level", "warning"])
            .args(["--bind", &address.to_string(), "receiver:app"])
            .env("SECRET_FILE", secret)
            .env("OUTPUT", &output)
            .current_dir(&dir);
        Server::start("gunicorn", command, address, None, output)
    }

    /// The least that any receiver has to do.
    pub(super) fn floor(dir: &Path, port: u16) -> Outcome<Server> {
        let (address, output) = (loopback(port), dir.join("floor"));
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--floor").arg(address.to_string()).arg(&output);
        Server::start("floor", command, address, None, output)
    }

    fn start(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        metrics: Option<SocketAddr>,
        output: PathBuf,
    ) -> Outcome<Server> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut server = Server { name, child, address, metrics, output, lines: 0 };
        let up = eventually(Duration::from_secs(20), || Connection::to(address).is_ok());
        if !up || server.child.try_wait()?.is_some() {
            return Err(format!("{name} does not listen at {address}").into());
        }
        Ok(server)
    }

    /// Sends for this time, and waits until all of it is in the file. What was
    /// accepted must be there, once.
    pub(super) fn turn(
        &mut self,
        connections: usize,
        keep_alive: bool,
        time: Duration,
        maker: &Maker,
    ) -> Outcome<Turn> {
        self.settled()?;
        let before = self.cpu()?;
        let sent = load::send(self.address, connections, keep_alive, time, maker)?;
        self.settled()?;
        let used = self.cpu()?.saturating_sub(before);
        let count = self.lines;
        self.lines = self.count()?;
        if self.lines - count != sent.count() {
            return Err(
                format!("{}: {} accepted, {} written", self.name, sent.count(), self.lines - count).into()
            );
        }
        #[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
        let cpu = used.as_secs_f64() * 1e6 / sent.count() as f64;
        Ok(Turn { sent, cpu })
    }

    /// All lines of its file.
    fn count(&self) -> Outcome<usize> {
        let bytes = fs::read(&self.output)?;
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| line.windows(17).any(|part| part == b"security_advisory"));
        Ok(lines.count())
    }

    /// No event is in its file twice.
    pub(super) fn verify(&self) -> Outcome<usize> {
        let text = fs::read_to_string(&self.output)?;
        let mut seen = HashSet::new();
        for line in text.lines().filter(|line| line.contains("security_advisory")) {
            let line: serde_json::Value = serde_json::from_str(line)?;
            let delivery = line["delivery"].as_str().ok_or("a line without its delivery")?.to_owned();
            if line["cve_id"].is_null() || !seen.insert(delivery) {
                return Err(format!("{}: {line}", self.name).into());
            }
        }
        Ok(seen.len())
    }

    /// Waits until nothing waits to be put out.
    fn settled(&self) -> Outcome<()> {
        let Some(metrics) = self.metrics else { return Ok(()) };
        let end = Instant::now() + PATIENCE;
        loop {
            let text = Connection::to(metrics)?.ask(&Request::new("GET", "/metrics", ""))?.text();
            if text.lines().any(|line| line == "custom_webhook_spool_lines 0") {
                return Ok(());
            }
            if Instant::now() > end {
                return Err("lines wait for ever".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// User and system time of all its processes.
    fn cpu(&self) -> Outcome<Duration> {
        let ticks = sysconf(SysconfVar::CLK_TCK)?.ok_or("no clock")?;
        let mut used = 0;
        for pid in family(self.child.id())? {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // The name may have spaces, and ends with the last parenthesis.
            let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no stat")?.1.split_whitespace().collect();
            // Fields 14 and 15: the first one here is the third one there.
            used += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        }
        Ok(Duration::from_secs_f64(seconds(used) / seconds(u64::try_from(ticks)?)))
    }

    /// The most memory that its processes ever had together, in KiB.
    pub(super) fn memory(&self) -> Outcome<u64> {
        let mut most = 0;
        for pid in family(self.child.id())? {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
            most += line.trim().trim_end_matches(" kB").parse::<u64>()?;
        }
        Ok(most)
    }
}

#[expect(clippy::cast_precision_loss, reason = "ticks of some minutes")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // Those it has started end with it.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let ended = eventually(Duration::from_secs(15), || {
            self.child.try_wait().is_ok_and(|status| status.is_some())
        });
        if !ended {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A process and those that it has started.
fn family(pid: u32) -> Outcome<Vec<u32>> {
    let mut all = vec![pid];
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(other) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if parent == Some(pid) {
            all.push(other);
        }
    }
    Ok(all)
}

/// What the disk itself takes for a line of this size, appended and synced so
/// many times, in milliseconds.
pub(super) fn fdatasync(dir: &Path, size: usize, times: usize) -> Outcome<Vec<f64>> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(dir.join("fdatasync"))?;
    let line = vec![b'x'; size];
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        file.write_all(&line)?;
        file.sync_data()?;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(took)
}
