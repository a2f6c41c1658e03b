//! Counters, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::writer::Depth;

/// What is counted. Names of sources come from the configuration, outcomes are
/// ours: nothing that a sender writes becomes a label.
#[derive(Debug)]
pub struct Metrics {
    /// By source and outcome.
    requests: Mutex<BTreeMap<(String, &'static str), u64>>,
    /// Bytes of bodies.
    pub received_bytes: AtomicU64,
    /// Microseconds from the first byte of a body to its answer, and of how many.
    pub request_us: AtomicU64,
    /// See there.
    pub answered: AtomicU64,
    /// Open connections.
    pub connections: AtomicU64,
    /// Connections that were closed at once.
    pub turned_away: AtomicU64,
    /// Connections that made room for others.
    pub sent_away: AtomicU64,
    /// Writes with fdatasync, and their microseconds.
    pub commits: AtomicU64,
    /// See there.
    pub commit_us: AtomicU64,
    /// Deliveries of which a repeat would be known.
    pub known: AtomicU64,
    /// Lines that were put out.
    pub put_out: AtomicU64,
    /// Whether the last delivery had room in the spool.
    pub room: AtomicBool,
    /// Whether the last write to the spool succeeded.
    pub disk_ok: AtomicBool,
    /// Whether the last write to the output succeeded.
    pub output_ok: AtomicBool,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            requests: Mutex::default(),
            received_bytes: AtomicU64::new(0),
            request_us: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            sent_away: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            commit_us: AtomicU64::new(0),
            known: AtomicU64::new(0),
            put_out: AtomicU64::new(0),
            room: AtomicBool::new(true),
            disk_ok: AtomicBool::new(true),
            output_ok: AtomicBool::new(true),
        }
    }
}

impl Metrics {
    /// One more request with this outcome.
    pub fn count(&self, source: &str, outcome: &'static str) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) =
            requests.iter_mut().find(|((name, word), _)| name == source && *word == outcome)
        {
            *count += 1;
        } else {
            requests.insert((source.to_owned(), outcome), 1);
        }
    }

    /// All of them.
    #[must_use]
    pub fn text(&self, depth: &Depth, spool_limit: u64) -> String {
        let mut text = String::with_capacity(4096);
        let mut head = |name: &str, kind: &str, help: &str| {
            let _ =
                writeln!(text, "# HELP custom_webhook_{name} {help}\n# TYPE custom_webhook_{name} {kind}");
        };
        head("requests_total", "counter", "Requests, by source and what became of them.");
        for ((source, outcome), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let source = source.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
            let _ = writeln!(
                text,
                "custom_webhook_requests_total{{source=\"{source}\",outcome=\"{outcome}\"}} {count}"
            );
        }
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "of microseconds, in seconds")]
        let seconds = |number: &AtomicU64| get(number) as f64 / 1e6;
        let truth = |flag: &AtomicBool| u64::from(flag.load(Ordering::Relaxed)).to_string();
        for (name, kind, help, value) in [
            ("received_bytes_total", "counter", "Bytes of bodies.", get(&self.received_bytes).to_string()),
            (
                "request_seconds_sum",
                "counter",
                "Time from a request's head to its answer.",
                seconds(&self.request_us).to_string(),
            ),
            ("request_seconds_count", "counter", "Answered requests.", get(&self.answered).to_string()),
            ("connections", "gauge", "Open connections.", get(&self.connections).to_string()),
            (
                "connections_refused_total",
                "counter",
                "Connections closed at once: too many, or TLS of one address too often.",
                get(&self.turned_away).to_string(),
            ),
            (
                "connections_closed_total",
                "counter",
                "Connections closed to make room for others.",
                get(&self.sent_away).to_string(),
            ),
            (
                "commits_total",
                "counter",
                "Writes to the spool, each with its fdatasync.",
                get(&self.commits).to_string(),
            ),
            ("commit_seconds_sum", "counter", "Time they took.", seconds(&self.commit_us).to_string()),
            (
                "known_deliveries",
                "gauge",
                "Deliveries of which a repeat is known.",
                get(&self.known).to_string(),
            ),
            ("lines_total", "counter", "Lines put out.", get(&self.put_out).to_string()),
            ("spool_lines", "gauge", "Lines that wait to be put out.", depth.lines().to_string()),
            (
                "spool_bytes",
                "gauge",
                "Bytes of the spool, what is put out included until its file is.",
                get(&depth.bytes).to_string(),
            ),
            ("spool_limit_bytes", "gauge", "The most that it may hold.", spool_limit.to_string()),
            (
                "spool_writable",
                "gauge",
                "1 when the last write to the spool succeeded.",
                truth(&self.disk_ok),
            ),
            (
                "output_writable",
                "gauge",
                "1 when the last write to the output succeeded.",
                truth(&self.output_ok),
            ),
        ] {
            let _ = writeln!(
                text,
                "# HELP custom_webhook_{name} {help}\n# TYPE custom_webhook_{name} {kind}\ncustom_webhook_{name} {value}"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown_and_no_name_breaks_the_format() {
        let metrics = Metrics::default();
        metrics.count("github", "accepted");
        metrics.count("github", "accepted");
        metrics.count("a\"b\nc", "repeat");
        let text = metrics.text(&Depth::default(), 7);
        assert!(text.contains("custom_webhook_requests_total{source=\"github\",outcome=\"accepted\"} 2\n"));
        assert!(text.contains("{source=\"a\\\"b c\",outcome=\"repeat\"} 1\n"));
        assert!(text.contains("\ncustom_webhook_spool_limit_bytes 7\n"));
        assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("custom_webhook_")));
    }
}
