//! Blocking at firewalls' APIs, against servers that answer on this host.

// Clippy takes the helpers of an integration test for the program.
#![allow(clippy::unwrap_used)]

#[path = "api/crowdsec.rs"]
mod crowdsec;
#[path = "api/mock.rs"]
mod mock;
#[path = "api/tls.rs"]
mod tls;
#[path = "api/trouble.rs"]
mod trouble;
#[path = "api/vendors.rs"]
mod vendors;

use std::cell::Cell;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use custom_block::api::{self, Api};
use custom_block::outbox::{self, Clock, Item, Limits, Outcome, Want};

/// The second since 1970 at which every test begins: 2024-05-06T07:08:09Z.
const NOW: u64 = 1_714_979_289;

/// A clock that only moves when somebody sleeps.
#[derive(Default)]
struct Fake(Cell<u64>);

impl Clock for Fake {
    fn now(&self) -> u64 {
        NOW + self.0.get()
    }
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.get())
    }
    fn sleep(&self, time: Duration) {
        self.0.set(self.0.get() + time.as_secs().max(1));
    }
}

/// A directory with an outbox and secrets.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        for (name, text) in [("token", "t0ken-secret\n"), ("key", "k3y"), ("password", "p4ss:w\"rd\n")] {
            bench.secret(name, text);
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn secret(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).unwrap();
    }

    fn outbox(&self) -> PathBuf {
        self.path("outbox")
    }

    /// An API from TOML, where `DIR` is this directory.
    fn api(&self, text: &str) -> Api {
        let text = text.replace("DIR", self.dir.path().to_str().unwrap());
        Api::compile(&toml::from_str(&format!("name = 'fw'\n{text}")).unwrap()).unwrap()
    }

    fn put(&self, item: &Item) {
        outbox::put(&self.outbox(), item).unwrap();
    }

    fn deliver(&self, api: Api) -> Vec<Outcome> {
        self.deliver_at(api, &Fake::default(), &Limits::default())
    }

    /// One try and no more.
    fn try_once(&self, api: Api) -> Vec<Outcome> {
        let limits = Limits { budget: Duration::from_secs(1), ..Limits::default() };
        self.deliver_at(api, &Fake::default(), &limits)
    }

    fn deliver_at(&self, api: Api, clock: &dyn Clock, limits: &Limits) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut report = |_: &Item, outcome: &Outcome| outcomes.push(outcome.clone());
        api::deliver(&self.outbox(), &[api], limits, clock, &mut report).unwrap();
        outcomes
    }
}

fn item(target: &str, want: Want) -> Item {
    Item {
        api: "fw".into(),
        target: target.parse().unwrap(),
        want,
        until: Some(NOW + 600),
        program: "custom-block".into(),
        rule: "5712".into(),
        alert: "1714979289.42".into(),
        agent: "web-1".into(),
        reason: "sshd: \"brute\" force\r\nX: y".into(),
        queued_at: NOW,
        attempts: 0,
        not_before: 0,
    }
}

fn delivered() -> Outcome {
    Outcome::Delivered { already: false }
}

fn already() -> Outcome {
    Outcome::Delivered { already: true }
}

/// Why the only attempt failed.
fn reason(outcomes: &[Outcome]) -> &str {
    match outcomes {
        [Outcome::Retry { reason, .. } | Outcome::Rejected { reason }] => reason,
        other => panic!("{other:?}"),
    }
}

/// Where a program is, or `None` after saying that the test cannot run.
#[allow(clippy::print_stderr)]
fn program(name: &str, places: &[&Path]) -> Option<PathBuf> {
    let found = places.iter().map(|dir| dir.join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("REQUIRE_ALL").is_none(), "{name} is not installed");
        eprintln!("skipped: {name} is not installed");
    }
    found
}
