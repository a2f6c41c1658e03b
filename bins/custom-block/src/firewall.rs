//! What every local way of blocking has in common.

use std::fmt;
use std::io;
use std::time::Duration;

use common::address::Target;
use serde::{Deserialize, Serialize};

/// A way of blocking, by the name that configuration, records and state use.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The first of nftables, ipset and iptables that the kernel has.
    Auto,
    /// Sets of an own nftables table, by netlink.
    Nftables,
    /// Sets of the ipset family, by netlink, and one iptables rule each.
    Ipset,
    /// One iptables rule an address.
    Iptables,
    /// A firewall's HTTP API, through a durable outbox.
    Api,
    /// A plain blocklist file for firewalls that pull.
    File,
    /// Nothing is touched; the record says what would have been.
    DryRun,
}

impl Backend {
    /// The name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Backend::Auto => "auto",
            Backend::Nftables => "nftables",
            Backend::Ipset => "ipset",
            Backend::Iptables => "iptables",
            Backend::Api => "api",
            Backend::File => "file",
            Backend::DryRun => "dry-run",
        }
    }
}

impl Backend {
    /// True of those that keep a block until they are told to lift it.
    #[must_use]
    pub fn is_lasting(self) -> bool {
        matches!(self, Backend::Api | Backend::File)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Backend, String> {
        <Backend as clap::ValueEnum>::from_str(text, false)
    }
}

/// A block as the kernel is asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Whose traffic ends.
    pub target: Target,
    /// After how long the kernel lifts it by itself; `None` is never.
    pub timeout: Option<Duration>,
    /// Which rule and alert it comes from, for a person who lists the set.
    pub comment: String,
    /// True when nothing is known of an earlier block of this target: then
    /// there is no former time that an older kernel could have kept.
    pub fresh: bool,
}

/// A block as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose traffic ends.
    pub target: Target,
    /// Who has it.
    pub backend: Backend,
    /// What is left of its time; `None` is for ever.
    pub left: Option<Duration>,
    /// Packets dropped so far, where they are counted.
    pub packets: Option<u64>,
    /// Bytes dropped so far, where they are counted.
    pub bytes: Option<u64>,
    /// What was noted beside it.
    pub comment: String,
}

/// Why a backend did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The kernel (or the system) does not have it.
    #[error("not available here: {0}")]
    Absent(io::Error),
    /// The set holds as many as it may.
    #[error("the set is full (max_blocks)")]
    Full,
    /// No right to change the firewall.
    #[error("not permitted: CAP_NET_ADMIN is missing")]
    Forbidden,
    /// Not done by the deadline.
    #[error("not done before the deadline")]
    Deadline,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        use nix::errno::Errno;
        if error.kind() == io::ErrorKind::TimedOut {
            return Fault::Deadline;
        }
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES) => Fault::Forbidden,
            Some(Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT) => Fault::Absent(error),
            Some(Errno::ENFILE | Errno::ENOSPC) => Fault::Full,
            _ => Fault::Failed(error.to_string()),
        }
    }
}

/// A local way of blocking.
pub trait Firewall {
    /// Blocks, or sets the time of a block that is there. True when the
    /// block was put into a firewall that had to be built first: then others
    /// may be missing as well.
    ///
    /// # Errors
    /// When the block does not stand afterwards.
    fn put(&mut self, block: &Block) -> Result<bool, Fault>;

    /// Lifts a block; one that is not there is lifted.
    ///
    /// # Errors
    /// When it may still stand.
    fn lift(&mut self, target: Target) -> Result<(), Fault>;

    /// All blocks that stand.
    ///
    /// # Errors
    /// When they cannot be read.
    fn standing(&mut self) -> Result<Vec<Standing>, Fault>;

    /// The block of exactly this target, if it stands.
    ///
    /// # Errors
    /// When it cannot be read.
    fn find(&mut self, target: Target) -> Result<Option<Standing>, Fault> {
        Ok(self.standing()?.into_iter().find(|standing| standing.target == target))
    }

    /// Makes anew what others removed from around the blocks.
    ///
    /// # Errors
    /// When it may still be missing.
    fn mend(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Lifts all and removes what was built.
    ///
    /// # Errors
    /// When any may still stand.
    fn flush(&mut self) -> Result<(), Fault>;
}
