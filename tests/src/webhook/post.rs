//! What senders post, signed as they sign it.

use serde_json::json;

use super::client::Request;
use super::{GITHUB, MONITOR, SIGNING, SUPABASE, TOKEN, sign};

/// A delivery of GitHub: signed, with the name of its event and its id.
#[must_use]
pub fn github(event: &str, delivery: &str, body: &str) -> Request {
    Request::new("POST", "/webhook/github", body)
        .with("Content-Type", "application/json")
        .with("User-Agent", "GitHub-Hookshot/044aadd")
        .with("X-GitHub-Event", event)
        .with("X-GitHub-Delivery", delivery)
        .with("X-Hub-Signature-256", &sign::github(GITHUB, body.as_bytes()))
}

/// The body of a security advisory, of some 5.5 kB, another one for each number.
#[must_use]
pub fn advisory(number: u64) -> String {
    let paragraph = "A crafted request can make the parser read beyond the end of its buffer, and what it finds there \
                     is sent back to whoever asked. Only versions that were built with the extension are affected. ";
    json!({
        "action": "published",
        "security_advisory": {
            "ghsa_id": format!("GHSA-{number:012}"),
            "cve_id": format!("CVE-2026-{number}"),
            "summary": format!("Reading beyond a buffer, number {number}"),
            "description": paragraph.repeat(22),
            "severity": "critical",
            "identifiers": [{"value": format!("GHSA-{number:012}"), "type": "GHSA"}, {"value": format!("CVE-2026-{number}"), "type": "CVE"}],
            "references": [{"url": "https://nvd.example/vuln/detail"}, {"url": "https://github.example/advisories"}],
            "published_at": "2026-07-01T00:00:00Z", "updated_at": "2026-07-01T00:00:00Z", "withdrawn_at": null,
            "vulnerabilities": [{
                "package": {"ecosystem": "npm", "name": "some-parser"}, "severity": "critical",
                "vulnerable_version_range": "< 2.0.1", "first_patched_version": {"identifier": "2.0.1"},
            }],
            "cvss": {"vector_string": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "score": 9.8},
            "cwes": [{"cwe_id": "CWE-125", "name": "Out-of-bounds Read"}],
        },
    })
    .to_string()
}

/// A signed security advisory; number and delivery are one.
#[must_use]
pub fn delivery(number: u64) -> Request {
    github("security_advisory", &format!("00000000-0000-4000-8000-{number:012}"), &advisory(number))
}

/// An event of an application that has a token.
#[must_use]
pub fn event(body: &str) -> Request {
    Request::new("POST", "/events", body)
        .with("Content-Type", "application/json")
        .with("Authorization", &format!("Bearer {TOKEN}"))
}

/// A failed login of this user.
#[must_use]
pub fn login(user: &str) -> Request {
    event(&json!({"action": "auth_login_failed", "level": "warning", "user": user, "ip_address": "203.0.113.7"}).to_string())
}

/// An event of an application that signs it, now, under this id.
#[must_use]
pub fn signed_event(id: &str, body: &str) -> Request {
    let at = sign::now();
    event(body)
        .without("Authorization")
        .with("webhook-id", id)
        .with("webhook-timestamp", &at.to_string())
        .with("webhook-signature", &sign::standard(SIGNING, id, at, body.as_bytes()))
}

/// A row that Supabase has inserted.
#[must_use]
pub fn row(id: u64) -> Request {
    let body = json!({"type": "INSERT", "table": "users", "schema": "public", "record": {"id": id}, "old_record": null});
    Request::new("POST", "/webhook/supabase", body.to_string())
        .with("Content-Type", "application/json")
        .with("X-Webhook-Secret", SUPABASE)
}

/// What the monitor has to say.
#[must_use]
pub fn alarm(text: &str) -> Request {
    Request::new("POST", "/webhook/monitor", json!({"text": text}).to_string())
        .with("Content-Type", "application/json")
        .with("Authorization", &format!("Bearer {MONITOR}"))
}
