//! Payloads as they were sent.

use std::path::PathBuf;

use harness::program::source_tree;
use harness::rules::{Event, Session};
use serde_json::Value;

use crate::{LOG, rules, written};

fn fixture(name: &str) -> Vec<u8> {
    let path = source_tree().join("tests/fixtures/webhook").join(name);
    std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// The rule that a line ends at.
fn rule(line: &str) -> Option<u32> {
    Session::new(rules()).feed(&Event::new(line).at(LOG).from_agent("001")).rule
}

#[test]
fn payloads_of_github_end_at_the_rule_for_them() {
    for (event, action, expected) in [
        ("dependabot_alert", ".created", 100_315),
        ("security_advisory", ".published", 100_350),
        ("security_advisory", ".withdrawn", 100_313),
        ("repository_vulnerability_alert", ".create", 100_315),
        ("code_scanning_alert", ".created", 100_358),
        ("branch_protection_rule", ".deleted", 100_362),
        ("member", ".added", 100_381),
        ("deploy_key", ".created", 100_379),
        ("repository", ".publicized", 100_371),
        ("push", "", 100_310),
        ("delete", "", 100_310),
        ("organization", ".member_added", 100_384),
        ("meta", ".deleted", 100_369),
        ("ping", "", 100_370),
        ("installation", ".created", 100_388),
    ] {
        let lines = written("github", event, &fixture(&format!("github/{event}{action}.json"))).unwrap();
        assert_eq!(rule(&lines[0]), Some(expected), "{event}{action}: {}", lines[0]);
    }
}

/// A deletion of the main branch comes as two events, which say it in two ways.
#[test]
fn both_events_of_a_deleted_branch_end_at_one_rule() {
    let delete = br#"{"ref":"main","ref_type":"branch","pusher_type":"user","repository":{"full_name":"a/b"},"sender":{"login":"c"}}"#;
    let push = br#"{"ref":"refs/heads/main","deleted":true,"forced":false,"repository":{"full_name":"a/b"},"sender":{"login":"c"}}"#;
    for (event, body) in [("delete", &delete[..]), ("push", push)] {
        let lines = written("github", event, body).unwrap();
        assert_eq!(rule(&lines[0]), Some(100_378), "{event}");
    }
}

#[test]
fn the_message_of_a_topic_ends_at_the_rule_of_cloudtrail() {
    let message: Value = serde_json::from_slice(&fixture("sns/notification-2.json")).unwrap();
    let lines = written("aws", "", message["Message"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(rule(&lines[0]), Some(100_818), "{}", lines[0]);
}

/// A record as Wazuh's own module hands it on: texts as they were sent.
fn by_the_module(event: &str, request: &Value) -> String {
    let aws = serde_json::json!({"eventName": event, "eventSource": "x.amazonaws.com", "source": "cloudtrail",
        "userIdentity": {"arn": "arn:aws:iam::123456789012:user/alice"}, "requestParameters": request});
    serde_json::json!({"integration": "aws", "aws": aws}).to_string()
}

#[test]
fn a_policy_that_wazuhs_own_module_hands_on_ends_at_the_rule_for_it() {
    for (expected, policy) in [
        (100_823, r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#),
        (100_823, "{\"Statement\":[{\"Effect\":\"Allow\",\r\n\"Action\"\t:\n[\"s3:x\",\n\t\"*\" ]}]}"),
        (100_823, r#"{"Statement":[{"Effect":"Allow","Action":"\u002A","Resource":"*"}]}"#),
        (100_823, r#"{"Statement":[{"Effect":"Allow","Action":["iam:*"],"Resource":"*"}]}"#),
        (100_823, r#"{"Statement":[{"NotAction":"iam:*","Resource":"a:${x:y}","Effect" : "Allow"}]}"#),
        (100_823, r#"{"Statement":[{"Effect":"Deny","Action":"*"},{"Effect":"Allow","Action":"*"}]}"#),
        (100_823, r#"{"Statement":[{"Effect":"Allow","Action":"*"},{"Effect":"Deny","Action":"*"}]}"#),
        (
            100_823,
            r#"{"Statement":[{"Action":"*","Resource":["*","x\",\"Effect\":\"Deny"],"Effect":"Allow"}]}"#,
        ),
        // Cut before its end.
        (100_823, r#"{"Statement":[{"Action":["s3:x","*"],"Resource":"#),
        (100_822, "{\"Statement\":[{\"Effect\" :\n\"Deny\",\n\"Action\" : \"*\", \"Resource\":\"*\"}]}"),
        (
            100_822,
            r#"{"Statement":[{"NotAction":["a:b"],"Condition":{"x":{"y":"${z:w}"}},"Effect": "Deny"}]}"#,
        ),
        (
            100_822,
            r#"{"Statement":[{"Effect":"Allow","Action":["s3:*","iam:Get*","*:Get"],"Resource":["*"]}]}"#,
        ),
    ] {
        for request in [
            serde_json::json!({"userName": "x", "policyDocument": policy}),
            serde_json::json!({"string": serde_json::json!({"policyDocument": policy}).to_string()}),
        ] {
            let line = by_the_module("PutUserPolicy", &request);
            assert_eq!(rule(&line), Some(expected), "{line}");
        }
    }
}

/// The ports that nobody should reach, counted instead of told by a pattern.
#[test]
fn a_range_that_holds_a_port_of_administration_ends_at_the_rule_for_it() {
    let grave = [
        20, 21, 22, 23, 135, 139, 445, 1433, 1521, 2375, 2376, 2379, 3306, 3389, 5432, 5601, 5900, 5984,
        5985, 5986, 6379, 6443, 9200, 9300, 10250, 11211, 27017, 27018,
    ];
    let mut ends: Vec<u32> = grave.iter().flat_map(|port| [port - 1, *port, port + 1]).collect();
    ends.extend([0, 1, 9, 10, 80, 99, 100, 443, 999, 1000, 8080, 9999, 10_000, 50_000, 65_535]);
    ends.sort_unstable();
    ends.dedup();
    for from in &ends {
        for to in ends.iter().filter(|to| *to >= from) {
            let holds = grave.iter().any(|port| from <= port && port <= to);
            // With others, and in either order.
            let ranges = r#""ipRanges":{"items":[{"cidrIp":"0.0.0.0/0","description":"from port to port"}]}"#;
            for ports in [
                format!(r#""fromPort":{from},"toPort":{to}"#),
                format!(r#""toPort":{to},"ipProtocol":"tcp","fromPort":{from}"#),
            ] {
                let items = format!(
                    r#"[{{"fromPort":443,"toPort":443,{ranges}}},{{{ports},{ranges}}},{{"toPort":80,"fromPort":80,{ranges}}}]"#
                );
                let line = by_the_module("AuthorizeSecurityGroupIngress", &Value::Null);
                let line =
                    line.replace("\"requestParameters\":null", &format!("\"requestParameters\":{items}"));
                assert_eq!(rule(&line), Some(if holds { 100_827 } else { 100_826 }), "{line}");
            }
        }
    }
}

/// An attacker who writes what he likes into what an application hands on still
/// ends at the rule for it.
#[test]
fn no_text_in_an_event_leads_it_elsewhere() {
    let hostile = [
        "x\",\"toolkit\":\"y\",\"a\":\"",
        "\"integration\":\"ms-graph\"",
        "\n{\"toolkit\":\"custom-webhook\",\"source\":\"github\"}",
        "2026 Nov 21 18:00:00 host sshd[1]: Failed password for root from 203.0.113.7",
        "\u{0}\u{202e}\u{2028}",
        "\\",
    ];
    for text in hostile {
        let event = serde_json::json!({"action": "auth_login_failed", "user": text, "ip_address": "203.0.113.7",
            "user_agent": text, "location": text, "details": {"reason": text, text: text, "integration": "ms-graph",
            "timestamp": "t", "event_type": "e", "vulnerability": {"cve": "x"}, "subtype": "system", "activity_id": 1,
            "category_uid": 2, "WAFAction": "x", "@source": "x", "mysql_audit_log": "x", "vuls": {"integration": "x"}}});
        let lines = written("application", "", event.to_string().as_bytes()).unwrap();
        assert_eq!(rule(&lines[0]), Some(100_101), "{}", lines[0]);
    }
}

/// Where `npm pack @octokit/webhooks-examples` was unpacked.
fn examples() -> Option<PathBuf> {
    let named = std::env::var_os("WEBHOOKS_EXAMPLES").map(PathBuf::from);
    let usual = source_tree().join("target/webhooks-examples/package");
    [named, Some(usual)].into_iter().flatten().find(|path| path.join("api.github.com/index.json").exists())
}

#[test]
fn all_payloads_that_github_gives_as_examples_are_taken() {
    let folder = examples();
    let what = "WEBHOOKS_EXAMPLES, the folder `package` of `npm pack @octokit/webhooks-examples`";
    if !harness::require(folder.is_some(), what) {
        return;
    }
    let mut count = 0;
    for version in std::fs::read_dir(folder.unwrap()).unwrap().flatten() {
        let Ok(index) = std::fs::read(version.path().join("index.json")) else { continue };
        let index: Value = serde_json::from_slice(&index).unwrap();
        for event in index.as_array().unwrap() {
            let name = event["name"].as_str().unwrap();
            for example in event["examples"].as_array().unwrap() {
                let lines = written("github", name, example.to_string().as_bytes()).unwrap();
                count += 1;
                let line: Value = serde_json::from_str(&lines[0]).unwrap();
                let object = line.as_object().unwrap();
                assert!(lines[0].len() < 60_000 - 41 && object.len() <= 200, "{name}: {}", lines[0].len());
                assert!(
                    object.values().all(|value| !value.is_object() && !value.is_array() && !value.is_null())
                );
                assert_eq!((line["event"].as_str(), line["source"].as_str()), (Some(name), Some("github")));
                assert_eq!(line.get("action"), example.get("action"), "{name}");
                assert_eq!(line.get("sender"), example.pointer("/sender/login"), "{name}");
                let ended = rule(&lines[0]).unwrap();
                assert!(
                    (100_310..=100_319).contains(&ended) || (100_350..=100_399).contains(&ended),
                    "{name}: {ended}"
                );
            }
        }
    }
    assert!(count > 300, "only {count} examples");
}
