//! What the programs of wazuh-toolkit agree on.
//!
//! - [`wazuh`]: how Wazuh calls us and what it expects back
//! - [`alert`]: the fields of an alert, whatever its author wrote around them
//! - [`address`]: an address or network, parsed once
//! - [`places`]: where the toolkit's own things lie
//! - [`config`]: a configuration file that only its owner can have written
//! - [`finding`]: what a `doctor` found
//! - [`record`]: one line in a log that others can write to, too
//! - [`secret`]: a file that holds a password, token or key
//! - [`state`]: a file that outlives a run
//! - [`text`]: text that others wrote, made harmless
//! - [`netlink`]: how to talk with the kernel
//!
//! It is linked into programs that run as root on every protected host. So it
//! holds no policy, starts no process, prints nothing and has no state. One
//! question to the kernel, in [`netlink`], is all that is unsafe.

pub mod address;
pub mod alert;
pub mod config;
pub mod finding;
pub mod netlink;
pub mod places;
pub mod record;
pub mod secret;
pub mod state;
pub mod text;
pub mod wazuh;
