//! A throw-away installation of Wazuh: what a program finds around it when
//! execd starts it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::execd::Execd;
use crate::network::Namespace;
use crate::record::Record;

/// Variables by which every program of the toolkit is told where things lie.
const HOME: &str = "WAZUH_HOME";
const STATE: &str = "WAZUH_TOOLKIT_STATE_DIR";
const CONFIG: &str = "WAZUH_TOOLKIT_CONFIG_DIR";

/// An installation, removed when dropped.
#[derive(Debug)]
pub struct Wazuh {
    dir: TempDir,
    program: PathBuf,
}

impl Wazuh {
    /// One in which `program` is linked under its own name.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(program: &Path) -> Wazuh {
        let dir = tempfile::Builder::new().prefix("wazuh-toolkit-").tempdir().expect("a temporary directory");
        let wazuh = Wazuh { dir, program: program.to_owned() };
        for folder in ["active-response/bin", "etc/shared", "logs"] {
            std::fs::create_dir_all(wazuh.home().join(folder)).expect("a new directory");
        }
        for folder in [wazuh.state_dir(), wazuh.config_dir()] {
            std::fs::create_dir_all(&folder).expect("a new directory");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&folder, mode).expect("our own directory");
        }
        wazuh.ossec_conf("<ossec_config>\n  <client>\n  </client>\n</ossec_config>\n");
        wazuh.ar_conf("custom-block600 - custom-block - 600\n");
        let name = program.file_name().and_then(|name| name.to_str()).expect("a program has a name");
        wazuh.link(name);
        wazuh
    }

    /// The installation directory.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("ossec")
    }

    /// Where programs keep their state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Where programs look for their configuration.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// A directory of the test's own, which goes with the installation.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Links the program under another name.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn link(&self, name: &str) {
        symlink(&self.program, self.home().join("active-response/bin").join(name)).expect("a new link");
    }

    /// Writes `etc/ossec.conf`.
    pub fn ossec_conf(&self, text: &str) {
        write(&self.home().join("etc/ossec.conf"), text);
    }

    /// Writes `etc/shared/ar.conf`.
    pub fn ar_conf(&self, text: &str) {
        write(&self.home().join("etc/shared/ar.conf"), text);
    }

    /// Writes the program's configuration, where only its owner may write.
    ///
    /// # Panics
    /// When it cannot.
    pub fn configure(&self, toml: &str) {
        let path = self.config_dir().join("custom-block.toml");
        write(&path, toml);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("our own file");
    }

    /// An execd of this installation.
    #[must_use]
    pub fn execd<'a>(&self, namespace: &'a Namespace) -> Execd<'a> {
        Execd::new(&self.home())
            .inside(namespace)
            .with(STATE, self.state_dir())
            .with(CONFIG, self.config_dir())
            .limit(Duration::from_secs(20))
    }

    /// The program as an administrator types it.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env_remove("SSH_CONNECTION")
            .env(HOME, self.home())
            .env(STATE, self.state_dir())
            .env(CONFIG, self.config_dir())
            .stdin(Stdio::null());
        command
    }

    /// Runs it so to its end, in this namespace.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn verb(&self, namespace: &Namespace, args: &[&str]) -> Output {
        namespace.run(|| self.command(args).output()).expect("the program starts")
    }

    /// The processes that work on this installation's state: detached workers
    /// go on after the run that started them.
    #[must_use]
    pub fn workers(&self) -> Vec<i32> {
        let state = self.state_dir();
        processes(|process| {
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            line.split(|&byte| byte == 0).any(|word| word == state.as_os_str().as_encoded_bytes())
        })
    }

    /// Whether somebody's run of the program is in the middle of its exec, where
    /// it has nothing but its executable, and may be a worker.
    fn is_starting(&self) -> bool {
        let program = std::fs::canonicalize(&self.program).unwrap_or_default();
        let starts = |process: &Path| {
            std::fs::read(process.join("cmdline")).is_ok_and(|line| line.is_empty())
                && std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program)
        };
        !processes(starts).is_empty()
    }

    /// True as soon as nobody works on this installation's state any more.
    pub fn is_quiet(&self, limit: Duration) -> bool {
        let none = || self.workers().is_empty() && !self.is_starting();
        // A process that is just being started has no command line for a moment.
        crate::eventually(limit, || {
            none() && {
                std::thread::sleep(Duration::from_millis(10));
                none()
            }
        })
    }

    /// The log as it is.
    ///
    /// # Panics
    /// When it is there and cannot be read.
    #[must_use]
    pub fn log(&self) -> Vec<u8> {
        match std::fs::read(self.home().join("logs/active-responses.log")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            log => log.expect("our own file"),
        }
    }

    /// What the log says, line by line.
    ///
    /// # Panics
    /// When a line of it would not be taken by Wazuh's decoder, or has no end.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let mut log = Vec::new();
        // A line over the border of a page is there in two steps.
        crate::eventually(Duration::from_secs(1), || {
            log = self.log();
            log.last().is_none_or(|last| *last == b'\n')
        });
        let mut lines: Vec<&[u8]> = log.split(|&byte| byte == b'\n').collect();
        assert_eq!(lines.pop(), Some(&b""[..]), "the last line has no end");
        lines
            .iter()
            .map(|line| match Record::parse(line) {
                Ok(record) => record,
                Err(error) => panic!("{error}: {}", String::from_utf8_lossy(line)),
            })
            .collect()
    }
}

impl Drop for Wazuh {
    /// A worker that is still at it would make the removed directory again.
    fn drop(&mut self) {
        self.is_quiet(Duration::from_secs(5));
    }
}

/// Of all processes those whose folder in /proc is wanted, by their ids.
fn processes(is_wanted: impl Fn(&Path) -> bool) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(|entry| is_wanted(&entry.path()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
