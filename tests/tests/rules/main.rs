//! The shipped rules: what fires on what the programs print, and on what
//! custom-webhook will write.
//!
//! * [`shipped`]: the files themselves, and what `rules/README.md` says of them;
//! * [`samples`]: `tests/fixtures/rules`, each rule with what fires it and what
//!   must not;
//! * [`brief`]: the events that these rules were first asked for;
//! * [`block`], [`audit`]: the programs run, and what they print is judged. With
//!   `RULES_SAMPLES=write` that is also stored as samples.
//!
//! One binary, so that the harness is linked once.
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the test that fails")]

mod audit;
mod block;
mod brief;
mod samples;
mod shipped;
mod told;

// The host of its own that the tests of the wodle have, and its processes.
#[path = "../wodle/actor.rs"]
#[allow(dead_code, reason = "made for the tests of the wodle")]
mod actor;
#[path = "../wodle/room.rs"]
#[allow(dead_code, reason = "made for the tests of the wodle")]
mod room;

use std::sync::OnceLock;

use harness::rules::Ruleset;

/// Loaded once.
fn rules() -> &'static Ruleset {
    static RULES: OnceLock<Ruleset> = OnceLock::new();
    RULES.get_or_init(Ruleset::shipped)
}
