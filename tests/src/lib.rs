//! The peers that Wazuh would be, and the network that an attacker would use.
//!
//! * [`execd`]: a fake wazuh-execd, serial and patient as the real one, for
//!   4.x and 5.x, which also says how long each run took;
//! * [`mod@line`]: the lines it writes, made from recorded ones;
//! * [`wazuh`]: a throw-away installation, with own state and configuration;
//! * [`stand_in`]: a whole installation, with its owners, and daemons that check
//!   a configuration and run;
//! * [`record`]: what `active-responses.log` says, read as Wazuh's decoder does;
//! * [`network`] and [`traffic`]: attackers, routers and servers in network
//!   namespaces of their own, and real packets between them;
//! * [`kernel`]: what nftables, ipset and iptables have, asked of the kernel;
//! * [`mod@wodle`]: a fake modulesd that runs a command wodle, and
//!   [`mod@event`]: the schema that every line of it is held against;
//! * [`webhook`]: a custom-webhook that runs, who sends it something, and who
//!   reads what it writes;
//! * [`rules`]: what Wazuh's rules make of a line, and what is wrong with them;
//! * [`program`]: the program under test.
//!
//! Tests assert on the kernel and on packets, never on a program's own word.
//! Namespaces have no name: they vanish with the process that made them, also
//! when it is killed, so a test run leaves nothing behind.

pub mod event;
pub mod execd;
pub mod kernel;
pub mod line;
pub mod network;
pub mod program;
pub mod record;
pub mod rules;
pub mod stand_in;
pub mod traffic;
pub mod wazuh;
pub mod webhook;
pub mod wodle;

mod watchdog;

use std::io::Write;
use std::time::{Duration, Instant};

/// True when a test can run. Otherwise says on stderr why it is skipped, past
/// the test runner's capture; and fails where `REQUIRE_ALL=1` is set.
///
/// # Panics
/// When the condition does not hold and `REQUIRE_ALL=1`.
pub fn require(condition: bool, what: &str) -> bool {
    if condition {
        return true;
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(std::env::var("REQUIRE_ALL").as_deref() != Ok("1"), "REQUIRE_ALL=1, and {test} needs {what}");
    // A lost message is no reason to fail.
    let _ = writeln!(std::io::stderr(), "skipped: {test} needs {what}");
    false
}

/// Asks again and again until it is true or the limit is over; the last answer.
pub fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
