//! What the variables of templates stand for.

use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat};
use common::address::Target;

use super::template::{Kind, Names, Values};
use crate::outbox::Item;

/// The longest text from an alert that is sent, in characters.
const LONGEST_TEXT: usize = 256;

/// The names that every template may use, with a sample of each.
///
/// | name | stands for |
/// |---|---|
/// | `ip` | the address; a template without `target` or `cidr` refuses networks |
/// | `target` | the address, or the network with its prefix length |
/// | `cidr` | always with a prefix length |
/// | `expanded` | like `target`, IPv6 without `::` |
/// | `family`, `prefix` | 4 or 6; the prefix length |
/// | `ttl`, `ttl_hms` | the time left, in seconds or as `1d2h3m4s` |
/// | `now_rfc3339`, `expires_rfc3339` | now, and the end of the block |
/// | `rule_id`, `alert_id`, `agent`, `reason`, `program` | why |
/// | `cloudflare_kind` | `ip`, `ip6` or `ip_range` |
/// | `crowdsec_scope` | `Ip` or `Range` |
/// | `mikrotik_path` | `ip` or `ipv6` |
/// | `mikrotik_address` | the target as RouterOS writes it (IPv6 always with a length) |
const BUILTIN: [(&str, Kind, &str); 19] = [
    ("ip", Kind::Text, "192.0.2.1"),
    ("target", Kind::Text, "192.0.2.1"),
    ("cidr", Kind::Text, "192.0.2.1/32"),
    ("expanded", Kind::Text, "192.0.2.1"),
    ("family", Kind::Number, "4"),
    ("prefix", Kind::Number, "32"),
    ("ttl", Kind::Number, "600"),
    ("ttl_hms", Kind::Text, "10m"),
    ("now_rfc3339", Kind::Text, "2030-01-01T00:00:00Z"),
    ("expires_rfc3339", Kind::Text, "2030-01-01T00:10:00Z"),
    ("rule_id", Kind::Text, "5712"),
    ("alert_id", Kind::Text, "1700000000.1"),
    ("agent", Kind::Text, "web"),
    ("reason", Kind::Text, "brute force"),
    ("program", Kind::Text, "custom-block"),
    ("cloudflare_kind", Kind::Text, "ip"),
    ("crowdsec_scope", Kind::Text, "Ip"),
    ("mikrotik_path", Kind::Text, "ip"),
    ("mikrotik_address", Kind::Text, "192.0.2.1"),
];

/// The names that every template may use.
pub(super) fn builtin() -> Names {
    let mut names = Names::default();
    for (name, kind, sample) in BUILTIN {
        names.declare(name, kind, sample);
    }
    names
}

/// The values of those names for one item at `now`.
///
/// `ttl_max` cuts what is longer, `ttl_forever` stands for what has no end.
pub(super) fn of(item: &Item, now: u64, ttl_max: u64, ttl_forever: u64) -> Values {
    let target = item.target;
    let ttl = item.until.map_or(ttl_forever, |until| until.saturating_sub(now).max(1)).min(ttl_max);
    let six = target.is_ipv6();
    let cidr = format!("{}/{}", target.address(), target.prefix_len());
    let expires = if ttl == 0 { "9999-12-31T23:59:59Z".to_owned() } else { rfc3339(now.saturating_add(ttl)) };
    let kind = match (target.is_host(), six) {
        (false, _) => "ip_range",
        (true, true) => "ip6",
        (true, false) => "ip",
    };
    [
        ("ip", target.address().to_string()),
        ("target", target.to_string()),
        ("mikrotik_address", if six { cidr.clone() } else { target.to_string() }),
        ("cidr", cidr),
        ("expanded", expanded(target)),
        ("family", if six { "6" } else { "4" }.to_owned()),
        ("prefix", target.prefix_len().to_string()),
        ("ttl", ttl.to_string()),
        ("ttl_hms", hms(ttl)),
        ("now_rfc3339", rfc3339(now)),
        ("expires_rfc3339", expires),
        ("rule_id", bounded(&item.rule)),
        ("alert_id", bounded(&item.alert)),
        ("agent", bounded(&item.agent)),
        ("reason", bounded(&item.reason)),
        ("program", bounded(&item.program)),
        ("cloudflare_kind", kind.to_owned()),
        ("crowdsec_scope", if target.is_host() { "Ip" } else { "Range" }.to_owned()),
        ("mikrotik_path", if six { "ipv6" } else { "ip" }.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// A text from an alert: one line of bounded length, without characters that
/// hide or reorder what a person reads.
fn bounded(text: &str) -> String {
    let unseen = |c: char| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let clean = |c: char| if c.is_control() || unseen(c) { ' ' } else { c };
    text.chars().take(LONGEST_TEXT).map(clean).collect()
}

fn expanded(target: Target) -> String {
    let IpAddr::V6(six) = target.address() else { return target.to_string() };
    let groups = six.segments().map(|group| format!("{group:04x}")).join(":");
    if target.is_host() { groups } else { format!("{groups}/{}", target.prefix_len()) }
}

fn hms(seconds: u64) -> String {
    let units = [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60)];
    let text: String = units.iter().filter(|(_, n)| *n > 0).map(|(unit, n)| format!("{n}{unit}")).collect();
    let rest = seconds % 60;
    if text.is_empty() || rest > 0 { format!("{text}{rest}s") } else { text }
}

fn rfc3339(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map_or_else(|| "9999-12-31T23:59:59Z".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Want;

    fn item(target: &str, until: Option<u64>) -> Item {
        Item {
            api: "fw".into(),
            target: target.parse().unwrap(),
            want: Want::Add,
            until,
            program: "custom-block".into(),
            rule: "5712".into(),
            alert: "1.2".into(),
            agent: "web".into(),
            reason: "brute\r\nforce\u{202e}".to_owned() + &"x".repeat(1000),
            queued_at: 0,
            attempts: 0,
            not_before: 0,
        }
    }

    #[test]
    fn every_name_that_templates_may_use_has_a_value() {
        let values = of(&item("192.0.2.7", None), 0, u64::MAX, 0);
        let mut names: Vec<&str> = BUILTIN.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        assert_eq!(names, values.keys().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn a_target_is_written_as_each_firewall_wants_it() {
        for (target, name, expected) in [
            ("192.0.2.7", "ip", "192.0.2.7"),
            ("192.0.2.7", "cidr", "192.0.2.7/32"),
            ("192.0.2.7", "mikrotik_address", "192.0.2.7"),
            ("192.0.2.7", "cloudflare_kind", "ip"),
            ("192.0.2.0/24", "target", "192.0.2.0/24"),
            ("192.0.2.0/24", "mikrotik_address", "192.0.2.0/24"),
            ("192.0.2.0/24", "cloudflare_kind", "ip_range"),
            ("192.0.2.0/24", "crowdsec_scope", "Range"),
            ("2001:DB8::1", "target", "2001:db8::1"),
            ("2001:db8::1", "expanded", "2001:0db8:0000:0000:0000:0000:0000:0001"),
            ("2001:db8::/32", "expanded", "2001:0db8:0000:0000:0000:0000:0000:0000/32"),
            ("2001:db8::1", "mikrotik_address", "2001:db8::1/128"),
            ("2001:db8::1", "mikrotik_path", "ipv6"),
            ("2001:db8::1", "cloudflare_kind", "ip6"),
            ("2001:db8::1", "family", "6"),
            ("2001:db8::1", "prefix", "128"),
            ("::ffff:192.0.2.7", "family", "4"),
        ] {
            assert_eq!(of(&item(target, None), 0, u64::MAX, 0)[name], expected, "{target} {name}");
        }
    }

    #[test]
    fn the_time_to_live_is_what_is_left_and_stays_within_what_the_api_takes() {
        for (until, now, max, forever, ttl, text, expires) in [
            (Some(1_000_600), 1_000_000, u64::MAX, 0, "600", "10m", "1970-01-12T13:56:40Z"),
            (Some(1_093_784), 1_000_000, u64::MAX, 0, "93784", "1d2h3m4s", "1970-01-13T15:49:44Z"),
            (Some(5), 10, u64::MAX, 0, "1", "1s", "1970-01-01T00:00:11Z"),
            (Some(10_000), 0, 60, 0, "60", "1m", "1970-01-01T00:01:00Z"),
            (None, 0, u64::MAX, 0, "0", "0s", "9999-12-31T23:59:59Z"),
            (None, 0, u64::MAX, 3600, "3600", "1h", "1970-01-01T01:00:00Z"),
            (
                Some(u64::MAX),
                0,
                u64::MAX,
                0,
                "18446744073709551615",
                "213503982334601d7h15s",
                "9999-12-31T23:59:59Z",
            ),
        ] {
            let values = of(&item("192.0.2.7", until), now, max, forever);
            assert_eq!(
                (values["ttl"].as_str(), values["ttl_hms"].as_str(), values["expires_rfc3339"].as_str()),
                (ttl, text, expires)
            );
        }
    }

    #[test]
    fn texts_from_alerts_are_one_short_line() {
        let reason = &of(&item("192.0.2.7", None), 0, u64::MAX, 0)["reason"];
        assert!(reason.starts_with("brute  force xxx") && reason.chars().count() == LONGEST_TEXT, "{reason}");
    }
}
