//! An installation on which everything is as it should be, and what `doctor`
//! says of it.

use std::path::PathBuf;
use std::time::Duration;

use harness::program::custom_webhook;
use harness::stand_in::{Daemon, Ran, StandIn, append, mode};
use harness::webhook::{self, Receiver};
use serde_json::Value;

use crate::ready;

/// An installation on which everything is as it should be.
pub(crate) struct Healthy {
    pub(crate) stand_in: StandIn,
    pub(crate) execd: Option<Daemon>,
    /// Another installation on the same host.
    pub(crate) other: Option<StandIn>,
    /// A custom-webhook that runs, where there is one, and what it has.
    pub(crate) daemon: Option<webhook::Daemon>,
    pub(crate) receiver: Option<Receiver>,
}

impl Healthy {
    pub(crate) fn agent() -> Option<Healthy> {
        ready().then(|| {
            let stand_in = StandIn::agent();
            // The manager has sent its table.
            append(&stand_in.path("etc/shared/ar.conf"), b"custom-block600 - custom-block - 600\n");
            Healthy::wired(stand_in)
        })
    }

    pub(crate) fn manager() -> Option<Healthy> {
        ready().then(|| {
            let healthy = Healthy::wired(StandIn::manager());
            let _ = healthy.stand_in.run(&["rules", "install"]).with_code(0);
            healthy
        })
    }

    fn wired(stand_in: StandIn) -> Healthy {
        for args in [&["enable", "custom-block"][..], &["enable", "custom-audit"], &["link"]] {
            let _ = stand_in.run(args).with_code(0);
        }
        let mut healthy = Healthy { stand_in, execd: None, other: None, daemon: None, receiver: None };
        healthy.restart_execd();
        healthy
    }

    /// An agent with a custom-webhook that runs.
    pub(crate) fn receiver() -> Option<Healthy> {
        Healthy::agent().map(|mut healthy| {
            let receiver = Receiver::new(custom_webhook());
            healthy.daemon = Some(receiver.start());
            healthy.receiver = Some(receiver);
            healthy.configure(|text| text);
            let _ = healthy.stand_in.run(&["enable", "custom-webhook"]).with_code(0);
            healthy
        })
    }

    /// Where wazuh-toolkit looks for the configuration of custom-webhook.
    pub(crate) fn config(&self) -> PathBuf {
        self.stand_in.config_dir().join("custom-webhook.toml")
    }

    /// The configuration with which the daemon runs, changed, where
    /// wazuh-toolkit looks for it.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let running = std::fs::read_to_string(self.receiver.as_ref().unwrap().config()).unwrap();
        std::fs::write(self.config(), change(running)).unwrap();
        mode(&self.config(), 0o644);
    }

    /// The link is older than execd by more than the clocks' steps.
    pub(crate) fn restart_execd(&mut self) {
        self.execd = None;
        std::thread::sleep(Duration::from_millis(1200));
        self.execd = Some(self.stand_in.start("wazuh-execd"));
    }

    pub(crate) fn doctor(&self) -> Report {
        Report::of(&self.stand_in)
    }
}

/// What `doctor` says, which must be the same for people and for programs.
pub(crate) struct Report {
    pub(crate) ran: Ran,
    findings: Vec<(String, String)>,
}

impl Report {
    #[track_caller]
    pub(crate) fn of(stand_in: &StandIn) -> Report {
        let ran = stand_in.run(&["doctor"]);
        let json = stand_in.run(&["doctor", "--json"]);
        assert_eq!(ran.code, json.code, "{}{}", ran.all(), json.all());
        let object = json.json();
        assert_eq!(object["healthy"], Value::Bool(json.code == Some(0)), "{}", json.all());
        assert!(matches!(json.code, Some(0 | 1)), "{}", json.all());
        let findings: Vec<(String, String)> = object["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| {
                let text = |key: &str| finding[key].as_str().unwrap().to_owned();
                (text("verdict"), format!("{}: {}", text("about"), text("text")))
            })
            .collect();
        assert!(!findings.is_empty());
        for (verdict, _) in &findings {
            assert!(["ok", "note", "problem"].contains(&verdict.as_str()), "{verdict}");
        }
        let found = findings.iter().any(|(verdict, _)| verdict == "problem");
        assert_eq!(found, json.code == Some(1), "{}", json.all());
        Report { ran, findings }
    }

    pub(crate) fn problems(&self) -> Vec<&str> {
        self.findings
            .iter()
            .filter(|(verdict, _)| verdict == "problem")
            .map(|(_, text)| text.as_str())
            .collect()
    }

    /// All that is not as it should be, or should be known.
    pub(crate) fn remarks(&self) -> Vec<&str> {
        self.findings.iter().filter(|(verdict, _)| verdict != "ok").map(|(_, text)| text.as_str()).collect()
    }
}

/// One way to break an installation.
type Way = (&'static str, fn(&mut Healthy), &'static [&'static str]);

/// Each way is found as a problem that has all the words: what it is about and
/// what to do.
#[track_caller]
pub(crate) fn each_is_found(make: fn() -> Option<Healthy>, ways: &[Way]) {
    let examine = |(what, break_it, words): &Way| {
        let mut healthy = make()?;
        break_it(&mut healthy);
        let report = healthy.doctor();
        let found = report.problems().into_iter().any(|text| words.iter().all(|word| text.contains(word)));
        let in_time = report.ran.took < Duration::from_secs(60);
        let right = report.ran.code == Some(1) && found && in_time;
        (!right).then(|| format!("{what}: {words:?}, {:?}: {}", report.ran.took, report.ran.all()))
    };
    // Each waits for much: for clocks, for programs that hang.
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = ways.iter().map(|way| scope.spawn(|| examine(way))).collect();
        runs.into_iter().filter_map(|run| run.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
