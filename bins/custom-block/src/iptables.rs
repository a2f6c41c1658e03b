//! Blocking by iptables, one rule an address, through the `iptables` crate.
//!
//! The crate starts `iptables` from PATH, passes the environment on and waits
//! for the lock of iptables without limit. So it runs in a process of its own
//! (this program again, see [`work`]): with an empty environment but for a
//! fixed PATH, in a process group that is killed at the deadline, and reaped,
//! before the run is recorded.
//!
//! A rule carries the time when it lapses twice: for the kernel, where the
//! match `time` is available, and in its comment, so that every later run can
//! remove it without having made it.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::address::Target;
use common::netlink::wait;
use nix::poll::PollFlags;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::config;
use crate::firewall::{Backend, Block, Fault, Firewall, Standing};

mod chain;

/// The chain that is ours alone, in the table `filter`.
pub const CHAIN: &str = "WAZUH_BLOCK";
/// The verb under which this program does the work of another run of itself.
pub const WORKER: &str = "iptables-worker";
const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";
/// What a run needs after the deadline of its children, to say what became of them.
const RESERVE: Duration = Duration::from_millis(200);
/// The most that a worker may answer, in bytes: 100,000 rules and more.
const LARGEST_ANSWER: u64 = 64 * 1024 * 1024;

/// What a worker is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    /// Block, until this time.
    Put { target: Target, until: Option<u64>, comment: String },
    /// Lift.
    Lift { target: Target },
    /// Say what stands.
    List,
    /// Hook our chains in again where they are not.
    Mend,
    /// Say whether our chains are hooked in.
    Examine,
    /// Remove everything of ours.
    Flush,
    /// A rule first in raw PREROUTING that drops what a set contains.
    MatchSet { set: String, ipv6: bool },
    /// Remove that rule.
    UnmatchSet { set: String, ipv6: bool },
}

/// A rule that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    target: Target,
    until: Option<u64>,
    comment: String,
    packets: Option<u64>,
    bytes: Option<u64>,
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// Done; true when the chain had to be built (or hooked in) first, or has to be.
    Done { built: bool },
    /// What stands.
    Rules(Vec<Found>),
    /// iptables itself is missing.
    Absent(String),
    /// What it said.
    Failed(String),
}

/// The chain of this network namespace.
#[derive(Debug)]
pub struct Iptables {
    chain: Option<String>,
    deadline: Instant,
}

impl Iptables {
    /// Uses the configured chain, or an own one.
    #[must_use]
    pub fn new(settings: &config::Iptables, deadline: Instant) -> Iptables {
        Iptables { chain: settings.chain.clone(), deadline }
    }

    fn order(&self, order: &Order) -> Result<Answer, Fault> {
        ask(self.chain.as_deref(), order, self.deadline)
    }
}

impl Iptables {
    /// True when each chain of ours is where packets pass.
    ///
    /// # Errors
    /// When iptables cannot be asked.
    pub fn is_live(&self) -> Result<bool, Fault> {
        match self.order(&Order::Examine)? {
            Answer::Done { built } => Ok(!built),
            _ => Err(unexpected()),
        }
    }
}

impl Firewall for Iptables {
    fn put(&mut self, block: &Block) -> Result<bool, Fault> {
        let until = block.timeout.map(|timeout| crate::now().saturating_add(timeout.as_secs()));
        let order = Order::Put { target: block.target, until, comment: block.comment.clone() };
        match self.order(&order)? {
            Answer::Done { built } => Ok(built),
            _ => Err(unexpected()),
        }
    }

    fn lift(&mut self, target: Target) -> Result<(), Fault> {
        match self.order(&Order::Lift { target }) {
            Ok(_) | Err(Fault::Absent(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn standing(&mut self) -> Result<Vec<Standing>, Fault> {
        let now = crate::now();
        match self.order(&Order::List) {
            Err(Fault::Absent(_)) => Ok(Vec::new()),
            Err(fault) => Err(fault),
            Ok(Answer::Rules(rules)) => Ok(rules
                .into_iter()
                .filter(|rule| rule.until.is_none_or(|until| until > now))
                .map(|rule| Standing {
                    target: rule.target,
                    backend: Backend::Iptables,
                    left: rule.until.map(|until| Duration::from_secs(until - now)),
                    packets: rule.packets,
                    bytes: rule.bytes,
                    comment: rule.comment,
                })
                .collect()),
            Ok(_) => Err(unexpected()),
        }
    }

    fn mend(&mut self) -> Result<(), Fault> {
        self.order(&Order::Mend).map(drop)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        match self.order(&Order::Flush) {
            Ok(_) | Err(Fault::Absent(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

fn unexpected() -> Fault {
    Fault::Failed("the iptables worker answered something else than asked".to_owned())
}

/// Makes sure that what this set contains is dropped, first in raw PREROUTING.
///
/// # Errors
/// When there is no iptables, or it fails.
pub fn match_set(set: &str, ipv6: bool, deadline: Instant) -> Result<(), Fault> {
    ask(None, &Order::MatchSet { set: set.to_owned(), ipv6 }, deadline).map(drop)
}

/// Removes the rule that [`match_set`] made.
///
/// # Errors
/// When there is no iptables, or it fails.
pub fn unmatch_set(set: &str, ipv6: bool, deadline: Instant) -> Result<(), Fault> {
    ask(None, &Order::UnmatchSet { set: set.to_owned(), ipv6 }, deadline).map(drop)
}

/// Has a worker carry the order out, and kills it at the deadline.
fn ask(chain: Option<&str>, order: &Order, deadline: Instant) -> Result<Answer, Fault> {
    let io = |error: std::io::Error| Fault::Failed(format!("iptables worker: {error}"));
    // What our worker leaves behind becomes ours to reap.
    nix::sys::prctl::set_child_subreaper(true).map_err(|error| io(error.into()))?;
    let mut child = Command::new("/proc/self/exe")
        .arg0("custom-block")
        .arg(WORKER)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(io)?;
    let answer = converse(&mut child, chain, order, deadline.checked_sub(RESERVE).unwrap_or(deadline));
    if answer.is_err() {
        end(&child);
    }
    let _ = child.wait();
    reap();
    match answer? {
        Answer::Absent(what) => Err(Fault::Absent(std::io::Error::new(std::io::ErrorKind::NotFound, what))),
        Answer::Failed(what) => Err(Fault::Failed(what)),
        answer => Ok(answer),
    }
}

fn converse(
    child: &mut Child,
    chain: Option<&str>,
    order: &Order,
    deadline: Instant,
) -> Result<Answer, Fault> {
    let io = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::TimedOut => Fault::Deadline,
        _ => Fault::Failed(format!("iptables worker: {error}")),
    };
    // An order is far smaller than a pipe: writing it cannot wait.
    let mut stdin = child.stdin.take().ok_or_else(unexpected)?;
    let order = serde_json::to_vec(&(chain, order)).map_err(|error| io(error.into()))?;
    stdin.write_all(&order).map_err(io)?;
    drop(stdin);
    let mut stdout = child.stdout.take().ok_or_else(unexpected)?;
    let mut answer = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        wait(stdout.as_fd(), PollFlags::POLLIN, deadline).map_err(io)?;
        match stdout.read(&mut chunk).map_err(io)? {
            0 => break,
            length => answer.extend_from_slice(&chunk[..length]),
        }
        if answer.len() as u64 > LARGEST_ANSWER {
            return Err(unexpected());
        }
    }
    serde_json::from_slice(&answer).map_err(|_| Fault::Failed("the iptables worker died".to_owned()))
}

/// Kills the worker and what it started.
fn end(child: &Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Reaps what the worker left behind. Killed processes end within moments;
/// one that does not (it hangs in the kernel) is left to init.
fn reap() {
    for _ in 0..50 {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// Carries out one order from standard input: the worker's whole life.
///
/// # Errors
/// When standard input or output fail.
pub fn work() -> std::io::Result<()> {
    let mut order = Vec::new();
    std::io::stdin().take(64 * 1024).read_to_end(&mut order)?;
    let (chain, order): (Option<String>, Order) = serde_json::from_slice(&order)?;
    let answer = chain::carry_out(chain.as_deref(), &order).unwrap_or_else(|error| {
        let text = error.to_string();
        if text.contains("No such file or directory (os error 2)") {
            Answer::Absent("iptables is not installed".to_owned())
        } else {
            Answer::Failed(text.trim().replace('\n', " "))
        }
    });
    std::io::stdout().write_all(&serde_json::to_vec(&answer)?)
}
