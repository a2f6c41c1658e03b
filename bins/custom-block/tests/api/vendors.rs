//! What each preset sends, byte by byte, and what it makes of the answers.

use custom_block::outbox::{Item, Outcome, Want};
use serde_json::{Value, json};

use crate::mock::{Mock, Reply, Seen, answer};
use crate::{Bench, already, delivered, item, reason};

const ADD: Want = Want::Add;
const DELETE: Want = Want::Delete;

fn config(preset: &str) -> &'static str {
    match preset {
        "generic" => "bearer_file = 'DIR/token'",
        "opnsense" => {
            "variables = { alias = 'wazuh' }\nbasic_user_file = 'DIR/key'\nbasic_password_file = 'DIR/password'"
        }
        "cloudflare" => "variables = { zone = 'z1' }\nbearer_file = 'DIR/token'",
        "cloudflare-list" => "variables = { account = 'a1', list = 'l1' }\nbearer_file = 'DIR/token'",
        "mikrotik" => "basic_user = 'wazuh'\nbasic_password_file = 'DIR/password'",
        "fortigate" => "header = { name = 'Authorization', value_file = 'DIR/token' }",
        "crowdsec" => "variables = { machine_id = 'wazuh' }\nsecrets = { password = 'DIR/password' }",
        other => panic!("{other}"),
    }
}

/// Sends one item with a preset, once, to a server with these answers.
fn play(preset: &str, item: &Item, replies: Vec<Reply>) -> (Vec<Seen>, Vec<Outcome>) {
    let (bench, mock) = (Bench::new(), Mock::new(replies));
    bench.put(item);
    let text = format!("preset = '{preset}'\nurl = '{}'\n{}", mock.url, config(preset));
    let outcomes = bench.try_once(bench.api(&text));
    (mock.seen(), outcomes)
}

/// Sends one item and compares lines, bodies and the outcome.
fn expect(preset: &str, item: &Item, replies: Vec<Reply>, wire: &[(&str, Value)], outcome: &Outcome) {
    let (seen, outcomes) = play(preset, item, replies);
    let sent: Vec<(&str, Value)> = seen
        .iter()
        .map(|seen| (seen.line.as_str(), serde_json::from_str(&seen.body).unwrap_or(Value::Null)))
        .collect();
    assert_eq!(sent, wire, "{preset} {outcomes:?}");
    assert_eq!(outcomes, std::slice::from_ref(outcome), "{preset}");
    for seen in seen {
        let json = (!seen.body.is_empty()).then_some("application/json");
        assert_eq!(seen.header("content-type"), json, "{seen:?}");
    }
}

#[test]
fn generic_rest_adds_and_deletes() {
    let body = |target: &str| json!({"ip": target, "action": "block", "ttl": 600, "reason": "sshd: \"brute\" force  X: y"});
    for (target, path, status, outcome) in [
        ("192.0.2.7", "/rules/192.0.2.7", 201, delivered()),
        ("2001:db8::7", "/rules/2001:db8::7", 204, delivered()),
        ("192.0.2.0/24", "/rules/192.0.2.0%2F24", 200, delivered()),
    ] {
        let wire = [("POST /rules", body(target))];
        let status = if status == 204 { 200 } else { status };
        expect("generic", &item(target, ADD), vec![answer(status, "")], &wire, &outcome);
        let line = format!("DELETE {path}");
        let wire = [(line.as_str(), Value::Null)];
        expect("generic", &item(target, DELETE), vec![answer(200, "{}")], &wire, &outcome);
    }
    let (seen, _) = play("generic", &item("192.0.2.7", ADD), vec![answer(200, "")]);
    assert_eq!(seen[0].header("authorization"), Some("Bearer t0ken-secret"));
    assert_eq!(
        seen[0].body,
        r#"{"ip":"192.0.2.7","action":"block","ttl":600,"reason":"sshd: \"brute\" force  X: y"}"#
    );
    assert_eq!(seen[0].headers.len(), 6, "{:?}", seen[0].headers);
}

#[test]
fn what_is_already_so_is_success() {
    for (preset, want, status, body) in [
        ("generic", ADD, 409, ""),
        ("generic", DELETE, 404, ""),
        ("generic", DELETE, 410, ""),
        ("cloudflare", ADD, 400, r#"{"success":false,"errors":[{"code":10009,"message":"x"}]}"#),
        (
            "cloudflare",
            ADD,
            403,
            r#"{"errors":[{"message":"firewallaccessrules.api.duplicate_of_existing"}]}"#,
        ),
        ("cloudflare", DELETE, 200, r#"{"success":true,"result":[]}"#),
        ("cloudflare-list", DELETE, 200, r#"{"success":true,"result":[]}"#),
        ("mikrotik", DELETE, 200, "[]"),
    ] {
        let (seen, outcomes) = play(preset, &item("192.0.2.7", want), vec![answer(status, body)]);
        assert_eq!((seen.len(), outcomes), (1, vec![already()]), "{preset} {want:?}");
    }
}

#[test]
fn opnsense_says_failure_with_status_200() {
    for want in [ADD, DELETE] {
        let verb = if want == ADD { "add" } else { "delete" };
        let line = format!("POST /api/firewall/alias_util/{verb}/wazuh");
        let wire = [(line.as_str(), json!({"address": "2001:db8::/32"}))];
        let done = vec![answer(200, r#"{"status":"done"}"#)];
        expect("opnsense", &item("2001:db8::/32", want), done, &wire, &delivered());
        for status in ["failed", "not_an_address"] {
            let body = format!(r#"{{"status":"{status}"}}"#);
            let (_, outcomes) = play("opnsense", &item("192.0.2.7", want), vec![answer(200, &body)]);
            assert!(reason(&outcomes).contains(status), "{outcomes:?}");
        }
    }
    let (seen, _) = play("opnsense", &item("192.0.2.7", ADD), vec![]);
    assert_eq!(seen[0].header("authorization"), Some("Basic azN5OnA0c3M6dyJyZA=="));
}

#[test]
fn cloudflare_deletes_the_rule_that_it_looked_up() {
    let rules = "/zones/z1/firewall/access_rules/rules";
    let add = format!("POST {rules}");
    for (target, kind, spelled) in [
        ("192.0.2.7", "ip", "192.0.2.7"),
        ("2001:db8::7", "ip6", "2001:0db8:0000:0000:0000:0000:0000:0007"),
        ("192.0.2.0/24", "ip_range", "192.0.2.0/24"),
    ] {
        let configuration = json!({"target": kind, "value": target});
        let body = json!({"mode": "block", "configuration": configuration, "notes": "wazuh rule 5712"});
        let ok = vec![answer(200, r#"{"success":true}"#)];
        expect("cloudflare", &item(target, ADD), ok, &[(&add, body)], &delivered());

        let found = json!({"success": true, "result": [
            {"id": "neighbour", "configuration": {"value": "198.51.100.1"}},
            {"id": "r7", "configuration": {"value": spelled}},
        ]});
        let spelled = spelled.replace('/', "%2F");
        let get = format!("GET {rules}?mode=block&configuration.target={kind}&configuration.value={spelled}");
        let delete = format!("DELETE {rules}/r7");
        let wire = [(get.as_str(), Value::Null), (delete.as_str(), Value::Null)];
        for (status, outcome) in [(200, delivered()), (404, already())] {
            let replies = vec![answer(200, &found.to_string()), answer(status, "{}")];
            expect("cloudflare", &item(target, DELETE), replies, &wire, &outcome);
        }
    }
}

#[test]
fn an_answer_that_ignores_the_filter_deletes_nothing() {
    let others = json!({"success": true, "result": [
        {"id": "r1", "ip": "192.0.2.70", "configuration": {"value": "192.0.2.70"}},
    ]});
    for preset in ["cloudflare", "cloudflare-list"] {
        let replies = vec![answer(200, &others.to_string())];
        let (seen, outcomes) = play(preset, &item("192.0.2.7", DELETE), replies);
        assert_eq!((seen.len(), outcomes), (1, vec![already()]), "{preset}");
    }
    let replies = vec![answer(200, r#"[{".id":"*1","address":"192.0.2.70"}]"#)];
    let (seen, outcomes) = play("mikrotik", &item("192.0.2.7", DELETE), replies);
    assert_eq!((seen.len(), outcomes), (1, vec![already()]));
}

#[test]
fn an_answer_without_a_list_is_not_an_absent_address() {
    for body in [r#"{"success":false,"errors":[]}"#, r#"{"success":true}"#, "<html>login</html>", ""] {
        let (_, outcomes) = play("cloudflare", &item("192.0.2.7", DELETE), vec![answer(200, body)]);
        assert!(reason(&outcomes).contains("step 1 of 2"), "{outcomes:?}");
    }
}

#[test]
fn cloudflare_list_deletes_by_item() {
    let items = "/accounts/a1/rules/lists/l1/items";
    let add = format!("POST {items}");
    let body = json!([{"ip": "192.0.2.7", "comment": "wazuh rule 5712"}]);
    let ok = vec![answer(200, r#"{"success":true,"result":{"operation_id":"o"}}"#)];
    expect("cloudflare-list", &item("192.0.2.7", ADD), ok.clone(), &[(&add, body)], &delivered());
    let found = json!({"success": true, "result": [
        {"id": "i70", "ip": "192.0.2.70"}, {"id": "i7", "ip": "192.0.2.7"},
    ]});
    let (get, delete) = (format!("GET {items}?search=192.0.2.7"), format!("DELETE {items}"));
    let wire = [(get.as_str(), Value::Null), (delete.as_str(), json!({"items": [{"id": "i7"}]}))];
    let replies = [vec![answer(200, &found.to_string())], ok].concat();
    expect("cloudflare-list", &item("192.0.2.7", DELETE), replies, &wire, &delivered());
}

#[test]
fn mikrotik_extends_a_block_that_exists() {
    for (target, path, entry, query) in [
        ("192.0.2.7", "ip", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.0/24", "ip", "192.0.2.0/24", "192.0.2.0%2F24"),
        ("2001:db8::7", "ipv6", "2001:db8::7/128", "2001:db8::7%2F128"),
    ] {
        let list = format!("/rest/{path}/firewall/address-list");
        let put = format!("PUT {list}");
        let body = json!({"list": "wazuh", "address": entry, "timeout": "10m", "comment": "wazuh rule 5712"});
        let wire = [(put.as_str(), body)];
        expect("mikrotik", &item(target, ADD), vec![answer(201, "{}")], &wire, &delivered());

        let exists = answer(400, r#"{"detail":"failure: already have such entry","error":400}"#);
        let found = answer(200, &json!([{".id": "*1A", "address": entry}]).to_string());
        let get = format!("GET {list}?list=wazuh&address={query}&.proplist=.id,address");
        let patch = format!("PATCH {list}/*1A");
        let wire =
            [wire[0].clone(), (get.as_str(), Value::Null), (patch.as_str(), json!({"timeout": "10m"}))];
        let replies = vec![exists, found.clone(), answer(200, "{}")];
        expect("mikrotik", &item(target, ADD), replies, &wire, &already());

        let delete = format!("DELETE {list}/*1A");
        let wire = [(get.as_str(), Value::Null), (delete.as_str(), Value::Null)];
        expect("mikrotik", &item(target, DELETE), vec![found, answer(204, "")], &wire, &delivered());
    }
    let for_ever = Item { until: None, ..item("192.0.2.7", ADD) };
    let (seen, _) = play("mikrotik", &for_ever, vec![answer(201, "{}")]);
    assert!(seen[0].body.contains(r#""timeout":"245d""#), "{}", seen[0].body);
    let (_, outcomes) = play("mikrotik", &item("192.0.2.7", ADD), vec![answer(400, r#"{"detail":"bad"}"#)]);
    assert!(reason(&outcomes).contains("status 400"));
}

#[test]
fn fortigate_bans_addresses_and_no_networks() {
    let banned = "/api/v2/monitor/user/banned";
    let (add, clear) =
        (format!("POST {banned}/add_users?vdom=root"), format!("POST {banned}/clear_users?vdom=root"));
    let ok = || vec![answer(200, r#"{"status":"success"}"#)];
    let body = json!({"ip_addresses": ["192.0.2.7"], "expiry": 600});
    expect("fortigate", &item("192.0.2.7", ADD), ok(), &[(&add, body)], &delivered());
    let for_ever = Item { until: None, ..item("2001:db8::7", ADD) };
    let body = json!({"ip_addresses": ["2001:db8::7"], "expiry": 0});
    expect("fortigate", &for_ever, ok(), &[(&add, body)], &delivered());
    let body = json!({"ip_addresses": ["192.0.2.7"]});
    expect("fortigate", &item("192.0.2.7", DELETE), ok(), &[(&clear, body)], &delivered());
    let (_, outcomes) =
        play("fortigate", &item("192.0.2.7", ADD), vec![answer(200, r#"{"status":"error"}"#)]);
    assert!(reason(&outcomes).contains("add_users"));
    let (seen, outcomes) = play("fortigate", &item("192.0.2.0/24", ADD), ok());
    assert_eq!(seen.len(), 0);
    assert!(matches!(&outcomes[..], [Outcome::Rejected { reason }] if reason.contains("single addresses")));
}

#[test]
fn crowdsec_logs_in_first_and_never_shows_its_token() {
    let login = answer(200, r#"{"code":200,"expire":"2030","token":"jwt.token.x"}"#);
    let (seen, outcomes) =
        play("crowdsec", &item("192.0.2.0/24", ADD), vec![login.clone(), answer(201, r#"["1"]"#)]);
    assert_eq!(outcomes, [delivered()]);
    assert_eq!(seen[0].line, "POST /v1/watchers/login");
    assert_eq!(seen[0].body, r#"{"machine_id":"wazuh","password":"p4ss:w\"rd","scenarios":[]}"#);
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[1].line, "POST /v1/alerts");
    assert_eq!(seen[1].header("authorization"), Some("Bearer jwt.token.x"));
    let alert: Value = serde_json::from_str(&seen[1].body).unwrap();
    let decision = json!([{"duration": "600s", "origin": "wazuh", "scenario": "wazuh/5712",
        "scope": "Range", "type": "ban", "value": "192.0.2.0/24"}]);
    assert_eq!(alert[0]["decisions"], decision);
    assert_eq!(alert[0]["start_at"], "2024-05-06T07:08:09Z");

    let (seen, outcomes) = play(
        "crowdsec",
        &item("192.0.2.7", DELETE),
        vec![login.clone(), answer(200, r#"{"nbDeleted":"0"}"#)],
    );
    assert_eq!(outcomes, [delivered()]);
    assert_eq!(seen[1].line, "DELETE /v1/decisions?scopes=Ip&value=192.0.2.7&origin=wazuh");

    let echo = answer(400, r#"bad jwt.token.x p4ss:w\"rd p4ss:w"rd"#);
    let (_, outcomes) = play("crowdsec", &item("192.0.2.7", DELETE), vec![login, echo]);
    let reason = reason(&outcomes);
    assert!(reason.contains("status 400: bad *** *** ***"), "{reason}");
}
