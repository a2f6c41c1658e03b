//! From a line back to what its sender would have posted: written after the
//! senders' documentation, not after our code.

use serde_json::{Map, Value, json};

/// The body that becomes this line, and GitHub's name for the event.
pub(crate) fn body(topic: &str, line: &Map<String, Value>) -> (String, Value) {
    let event = line.get("event").and_then(Value::as_str).unwrap_or_default().to_owned();
    let body = match topic {
        "github" => github(&event, line),
        "application" => application(line),
        "supabase" => supabase(&event, line),
        _ => cloudtrail(line),
    };
    (event, body)
}

/// What custom-webhook adds of its own.
fn is_ours(key: &str) -> bool {
    ["toolkit", "source", "event", "received_at", "delivery", "changed", "receipt"].contains(&key)
}

fn application(line: &Map<String, Value>) -> Value {
    let mut event = json!({"details": {}});
    for (key, value) in line.iter().filter(|(key, _)| !is_ours(key)) {
        match key.as_str() {
            "action" | "level" | "user_agent" => event[key] = value.clone(),
            "event_time" => event["timestamp"] = value.clone(),
            "dstuser" => event["user"] = value.clone(),
            "srcip" => event["ip_address"] = value.clone(),
            "location_path" => event["location"] = value.clone(),
            _ => event["details"][key] = value.clone(),
        }
    }
    event
}

fn supabase(event: &str, line: &Map<String, Value>) -> Value {
    let columns = |prefix: &str| -> Value {
        let own =
            |(key, value): (&String, &Value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()));
        let columns: Map<String, Value> = line.iter().filter_map(own).collect();
        if columns.is_empty() { Value::Null } else { columns.into() }
    };
    json!({"type": event.to_uppercase(), "schema": line["schema"], "table": line["table"],
           "record": columns("record_"), "old_record": columns("old_")})
}

fn cloudtrail(line: &Map<String, Value>) -> Value {
    let mut detail = line["aws"].clone();
    let record = detail.as_object_mut().unwrap();
    for own in ["source", "log_info", "source_ip_address"] {
        record.remove(own);
    }
    json!({"version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": "AWS API Call via CloudTrail",
           "source": "aws.iam", "account": "123456789012", "time": "2026-11-21T18:00:00Z", "region": "eu-central-1",
           "resources": [], "detail": detail})
}

fn github(event: &str, line: &Map<String, Value>) -> Value {
    let mut body = json!({});
    for (key, value) in line.iter().filter(|(key, _)| !is_ours(key)) {
        for path in places(event, key) {
            put(&mut body, path, value.clone());
        }
    }
    body
}

/// Where GitHub has it.
fn places(event: &str, key: &str) -> &'static [&'static str] {
    match (event, key) {
        (_, "action") => &["action"],
        (_, "repository") => &["repository.full_name"],
        (_, "organization") => &["organization.login"],
        (_, "sender") => &["sender.login"],
        (_, "visibility") => &["repository.visibility"],
        ("security_advisory", "severity") => &["security_advisory.severity"],
        ("security_advisory", "summary") => &["security_advisory.summary"],
        ("security_advisory", "cve_id") => &["security_advisory.cve_id"],
        ("security_advisory", "ghsa_id") => &["security_advisory.ghsa_id"],
        ("repository_advisory", "severity") => &["repository_advisory.severity"],
        ("repository_advisory", "summary") => &["repository_advisory.summary"],
        ("dependabot_alert", "severity") => {
            &["alert.security_advisory.severity", "alert.security_vulnerability.severity"]
        }
        ("dependabot_alert", "summary") => &["alert.security_advisory.summary"],
        ("dependabot_alert", "cve_id") => &["alert.security_advisory.cve_id"],
        ("dependabot_alert", "ghsa_id") => &["alert.security_advisory.ghsa_id"],
        ("dependabot_alert", "package") => {
            &["alert.dependency.package.name", "alert.security_vulnerability.package.name"]
        }
        ("dependabot_alert", "ecosystem") => &["alert.dependency.package.ecosystem"],
        ("repository_vulnerability_alert", "severity") => &["alert.severity"],
        ("repository_vulnerability_alert", "package") => &["alert.affected_package_name"],
        ("code_scanning_alert", "severity") => &["alert.rule.security_severity_level"],
        ("code_scanning_alert", "rule_id") => &["alert.rule.id"],
        ("code_scanning_alert", "tool") => &["alert.tool.name"],
        (_, "secret_type") => &["alert.secret_type"],
        (_, "html_url") => &["alert.html_url"],
        (_, "number") => &["alert.number"],
        (_, "state") => &["alert.state"],
        ("branch_protection_rule", "branch") => &["rule.name"],
        ("push", "ref") => &["ref"],
        ("push", "forced") => &["forced"],
        ("push", "deleted") => &["deleted"],
        ("member", "member") => &["member.login"],
        ("member", "role") => &["changes.role_name.to"],
        ("organization", "member") => &["membership.user.login"],
        ("organization", "role") => &["membership.role"],
        _ => panic!("where does {event} have {key}?"),
    }
}

fn put(body: &mut Value, path: &str, value: Value) {
    let mut place = body;
    for step in path.split('.') {
        place = &mut place[step];
    }
    *place = value;
}
