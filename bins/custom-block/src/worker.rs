//! Work that must not be done while Wazuh waits: this program again, in a
//! session of its own and without a descriptor of ours.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tracing_appender::rolling::{RollingFileAppender, Rotation};

use crate::call::Call;
use crate::state::State;

/// The option by which a worker knows that nobody waits for it.
pub const DETACHED: &str = "--detached";
/// Days for which the workers' own log is kept.
const LOG_DAYS: usize = 7;

/// Starts this program with a verb and leaves it to itself. execd waits for
/// the process it started, and for everybody who holds its pipes: the worker
/// is neither.
///
/// # Errors
/// When no process can be started.
pub fn spawn(call: &Call, verb: &str) -> io::Result<()> {
    let option = |name: &str, value: PathBuf| [name.into(), value.into_os_string()];
    Command::new("/proc/self/exe")
        .arg0("custom-block")
        .args(option("--home", call.installation.home().to_owned()))
        .args(option("--state-dir", call.state_dir.clone()))
        .args(option("--config", call.config.clone()))
        .arg(verb)
        .arg(DETACHED)
        .env_clear()
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
}

/// The first thing a worker does: a session of its own, no descriptor that
/// it did not open, and a log file where others have a terminal.
///
/// # Errors
/// When the state directory cannot be made.
pub fn detach(state: &State) -> io::Result<()> {
    // It fails for the leader of a process group, which has its session.
    let _ = nix::unistd::setsid();
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&fd| fd > 2)
        .collect();
    for fd in open {
        // The one that listed them is closed already.
        let _ = nix::unistd::close(fd);
    }
    state.create()?;
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("worker")
        .filename_suffix("log")
        .max_log_files(LOG_DAYS)
        .build(state.path(""))
        .map_err(io::Error::other)?;
    let subscriber =
        tracing_subscriber::fmt().with_writer(std::sync::Mutex::new(file)).with_ansi(false).finish();
    // Already set means that this process has its log.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}
