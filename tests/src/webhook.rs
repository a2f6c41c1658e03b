//! A custom-webhook of one's own: its configuration, secrets, state and output
//! in a temporary directory, at an address of loopback that nobody else has;
//! and what its senders post.

pub mod client;
mod daemon;
pub mod follower;
pub mod lines;
mod post;
pub mod sign;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::eventually;
use client::Connection;
pub use daemon::{Daemon, Ended};
use lines::Output;
pub use post::{advisory, alarm, delivery, event, github, login, row, signed_event};

/// The secret of GitHub's webhooks.
pub const GITHUB: &str = "a-secret-of-github-6b86b273ff34fce1";
/// The secret with which an application signs.
pub const SIGNING: &str = "whsec_MTIzNDU2Nzg5MGFiY2RlZjEyMzQ1Njc4OTBhYmNkZWY=";
/// The token of an application.
pub const TOKEN: &str = "a-token-of-an-application-d4735e3a265e16ee";
/// The secret of Supabase's webhooks.
pub const SUPABASE: &str = "a-secret-of-supabase-4e07408562bedb8b";
/// The token of a monitor, which is a generic source.
pub const MONITOR: &str = "a-token-of-a-monitor-4b227777d4dd1fc6";
/// All of them, none of which may ever be shown.
pub const SECRETS: [&str; 5] = [GITHUB, SIGNING, TOKEN, SUPABASE, MONITOR];

/// The four sources, without limits of how often.
pub const SOURCES: [&str; 4] = ["github", "application", "supabase", "monitor"];
const FREELY: &str = "requests_per_minute = 0\nrequests_per_minute_per_peer = 0\n";

/// How long it may take to start, and to stop: it promises ten seconds.
const PATIENCE: Duration = Duration::from_secs(20);
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Ports below those that the kernel gives to whoever asks for any.
const PORTS: [u16; 2] = [8787, 9787];

/// Where one runs; removed when dropped.
#[derive(Debug)]
pub struct Receiver {
    dir: TempDir,
    program: PathBuf,
    host: Ipv4Addr,
}

/// Each has an address of its own, so that no two want one port.
fn own_address() -> Ipv4Addr {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    // Not 127.0.…, whose first ones others use; and never the last byte 0 or 255.
    let [_, _, a, b] = std::process::id().wrapping_add(made / 254 * 7919).to_be_bytes();
    Ipv4Addr::new(127, a.max(1), b, u8::try_from(1 + made % 254).unwrap_or(1))
}

impl Receiver {
    /// One with all four sources and no limits.
    #[must_use]
    pub fn new(program: &Path) -> Receiver {
        Receiver::with(program, "")
    }

    /// The same, with these lines at the beginning of its configuration.
    ///
    /// # Panics
    /// When its files cannot be made.
    #[must_use]
    pub fn with(program: &Path, settings: &str) -> Receiver {
        // On a disk, as a state directory is: what is synced must go somewhere.
        let place = tempfile::Builder::new().prefix("wazuh-toolkit-").tempdir_in("/var/tmp");
        let receiver = Receiver {
            dir: place.expect("a temporary directory"),
            program: program.to_owned(),
            host: own_address(),
        };
        for folder in ["state", "config", "log", "secret"] {
            let folder = receiver.dir.path().join(folder);
            std::fs::create_dir(&folder).expect("a new directory");
            std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).expect("our own directory");
        }
        for (name, secret) in [
            ("github", GITHUB),
            ("signing", SIGNING),
            ("token", TOKEN),
            ("supabase", SUPABASE),
            ("monitor", MONITOR),
        ] {
            receiver.secret(name, secret);
        }
        receiver.configure(settings, &receiver.sources(FREELY));
        receiver
    }

    /// Everything is below this directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir().join("config/custom-webhook.toml")
    }

    /// Its own folder in the state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir().join("state/custom-webhook")
    }

    /// What it writes.
    #[must_use]
    pub fn output(&self) -> Output {
        Output::new(self.dir().join("log/events.json"))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host.into(), PORTS[0])
    }

    /// Where its health is asked for.
    #[must_use]
    pub fn metrics(&self) -> SocketAddr {
        SocketAddr::new(self.host.into(), PORTS[1])
    }

    /// Keeps a secret in a file of this name, which is returned.
    ///
    /// # Panics
    /// When it cannot.
    pub fn secret(&self, name: &str, secret: &str) -> PathBuf {
        let path = self.dir().join("secret").join(name);
        let _ = std::fs::remove_file(&path);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        writeln!(file.expect("a new file"), "{secret}").expect("our own file");
        path
    }

    /// The tables of all four sources, each with these lines.
    #[must_use]
    pub fn sources(&self, each: &str) -> String {
        let secret = |name: &str| self.dir().join("secret").join(name).display().to_string();
        format!(
            "[github]\nsecret_files = [{:?}]\n{each}\
             [application]\nsecret_files = [{:?}]\ntoken_files = [{:?}]\n{each}\
             [supabase]\nsecret_files = [{:?}]\n{each}\
             [[generic]]\nname = \"monitor\"\npaths = [\"/webhook/monitor\"]\nsecret_files = [{:?}]\n{each}",
            secret("github"),
            secret("signing"),
            secret("token"),
            secret("supabase"),
            secret("monitor"),
        )
    }

    /// Writes the configuration: where it listens and writes, unless these
    /// settings say so themselves, and tables.
    ///
    /// # Panics
    /// When it cannot.
    pub fn configure(&self, settings: &str, tables: &str) {
        let mut text = String::new();
        for (key, value) in [
            ("listen", self.address().to_string()),
            ("metrics_listen", self.metrics().to_string()),
            ("output", self.output().path().display().to_string()),
        ] {
            if !settings.lines().any(|line| line.starts_with(&format!("{key} "))) {
                text.push_str(&format!("{key} = {value:?}\n"));
            }
        }
        // Who runs at midnight must not find another file.
        if !settings.lines().any(|line| line.starts_with("rotate_daily ")) {
            text.push_str("rotate_daily = false\n");
        }
        text.push_str(&format!("{settings}\n{tables}"));
        self.configure_as(&text);
    }

    /// Writes a configuration as it is.
    ///
    /// # Panics
    /// When it cannot.
    pub fn configure_as(&self, text: &str) {
        std::fs::write(self.config(), text).expect("our own directory");
        std::fs::set_permissions(self.config(), PermissionsExt::from_mode(0o644)).expect("our own file");
    }

    /// The program as the daemon, behind these words, each of which becomes the
    /// next one. It ends with the thread that starts it.
    #[must_use]
    pub fn command(&self, launcher: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(launcher).arg(&self.program);
        command.args(["--state-dir".as_ref(), self.dir().join("state").as_os_str()]);
        command.args(["--config".as_ref(), self.config().as_os_str()]);
        command
            .env_clear()
            .env("PATH", SEARCH)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The program as an administrator types it, run to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn verb(&self, args: &[&str]) -> std::process::Output {
        self.command(&[]).args(args).output().expect("the program starts")
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(&self) -> Daemon {
        self.start_behind(&[])
    }

    /// The same, behind these words.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    pub fn start_behind(&self, launcher: &[&str]) -> Daemon {
        self.started(self.command(launcher))
    }

    /// Starts a command that becomes the daemon, and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn started(&self, command: Command) -> Daemon {
        let mut daemon = Daemon::spawn(self, command);
        let up = eventually(PATIENCE, || daemon.runs() && daemon.get("/healthz").is_ok());
        assert!(up, "custom-webhook does not listen: {}", daemon.log());
        daemon
    }

    /// The same where there is no second listener.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    pub fn started_silently(&self, command: Command) -> Daemon {
        let daemon = Daemon::spawn(self, command);
        let up = eventually(PATIENCE, || Connection::to(self.address()).is_ok());
        assert!(up, "custom-webhook does not listen: {}", daemon.log());
        daemon
    }

    /// Starts it where it is to refuse: its exit code, and what it says.
    ///
    /// # Panics
    /// When it goes on running.
    #[must_use]
    pub fn refused(&self) -> Ended {
        let mut daemon = Daemon::spawn(self, self.command(&[]));
        daemon.wait(PATIENCE).unwrap_or_else(|| panic!("it runs: {}", daemon.log()))
    }
}
