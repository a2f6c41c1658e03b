//! custom-webhook over real HTTP and TLS: what it answers is read from the wire,
//! what it has written from its files, and in which order from its system calls.
//!
//! One binary, so that the harness is linked once.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

mod answers;
mod damage;
mod disk;
mod ends;
mod endurance;
mod faults;
mod heads;
mod health;
mod memory;
mod order;
mod output;
mod proxies;
mod rates;
mod repeats;
mod secrets;
mod slow;
mod sns;
mod tls;

use harness::program;
use harness::webhook::Receiver;

/// One with all sources, no limits, and these settings.
fn receiver(settings: &str) -> Receiver {
    Receiver::with(program::custom_webhook(), settings)
}
