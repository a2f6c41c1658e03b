use serde_json::{Value, json};

use super::*;
use crate::source::testing::{config, cpu, given, line, lines, post};

const KEY: (&str, &str) = ("x-api-key", "It's a Secret to Everybody");

fn aws(extra: &str) -> Box<dyn Source> {
    let config: Config = config(&format!("secret_files = [\"/secret\"]\n{extra}"));
    given(None, |given| config.compile(given)).unwrap_or_else(|why| panic!("{why}"))
}

fn sent(body: &Value) -> Value {
    line(post(aws("").as_ref(), &[KEY], body.to_string().as_bytes()))
}

fn record() -> Value {
    json!({"eventVersion": "1.11", "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/alice",
        "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::1:role/x"}}},
        "eventTime": "2026-11-21T18:00:00Z", "eventSource": "iam.amazonaws.com", "eventName": "AttachUserPolicy",
        "awsRegion": "eu-central-1", "sourceIPAddress": "203.0.113.7", "userAgent": "aws-cli/2",
        "requestParameters": {"userName": "x", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
        "responseElements": null, "readOnly": false, "eventID": "5e2f1c40", "recipientAccountId": "123456789012"})
}

fn envelope(kind: &str, detail: Value) -> Value {
    json!({"version": "0", "id": "7bf73129-1428", "detail-type": kind, "source": "aws.iam", "account": "123456789012",
        "time": "2026-11-21T18:00:01Z", "region": "eu-central-1", "resources": ["arn:x"], "detail": detail})
}

fn aws_of(found: &Value) -> &Value {
    &found["aws"]
}

#[test]
fn a_record_of_cloudtrail_has_the_shape_of_wazuhs_own_module() {
    for kind in [
        "AWS API Call via CloudTrail",
        "AWS Console Sign In via CloudTrail",
        "AWS Console Signin via CloudTrail",
    ] {
        let found = sent(&envelope(kind, record()));
        assert_eq!((found["integration"].as_str(), found["source"].as_str()), (Some("aws"), Some("aws")));
        let aws = aws_of(&found);
        for (path, value) in [
            ("/source", "cloudtrail"),
            ("/eventName", "AttachUserPolicy"),
            ("/userIdentity/sessionContext/sessionIssuer/arn", "arn:aws:iam::1:role/x"),
            ("/requestParameters/policyArn", "arn:aws:iam::aws:policy/AdministratorAccess"),
            ("/source_ip_address", "203.0.113.7"),
            ("/log_info/via", "eventbridge"),
            ("/log_info/id", "7bf73129-1428"),
        ] {
            assert_eq!(aws.pointer(path), Some(&json!(value)), "{path}");
        }
        assert_eq!(aws["readOnly"], false);
        assert!(aws.get("responseElements").is_none());
    }
}

#[test]
fn what_an_index_would_refuse_is_made_as_wazuhs_module_makes_it() {
    let mut record = record();
    record["requestParameters"] = json!({"disableApiTermination": true, "one": [{"a": 1}], "two": [1, 2], "at": 1_716_897_300_123_u64,
        "policyDocument": {"Statement": [{"Action": "*"}]}, "bucketPolicy": [1, {"x": "y"}], "": "empty", "a.b": 1, "A.B": 2});
    record["responseElements"] = json!("a text");
    record["additionalEventData"] = json!(["a", "b"]);
    record["source"] = json!("mine");
    record["sourceIPAddress"] = json!("ec2.amazonaws.com");
    let found = sent(&envelope("x via CloudTrail", record));
    let request = &aws_of(&found)["requestParameters"];
    assert_eq!(request["disableApiTermination"], json!({"value": true}));
    assert_eq!(
        (&request["one"], &request["two"], &request["at"]),
        (&json!({"a": 1}), &json!([1, 2]), &json!("1716897300123"))
    );
    assert_eq!(request["policyDocument"], "{\"Statement\":[{\"Action\":\"*\"}]}");
    assert_eq!(request["bucketPolicy"], "[1,{\"x\":\"y\"}]");
    assert_eq!((&request["_"], &request["A_B"], &request["a_b_2"]), (&json!("empty"), &json!(2), &json!(1)));
    assert_eq!(aws_of(&found)["responseElements"], json!({"string": "a text"}));
    assert_eq!(aws_of(&found)["additionalEventData"], json!({"string": ["a", "b"]}));
    assert_eq!(aws_of(&found)["source"], "cloudtrail");
    assert!(aws_of(&found).get("source_ip_address").is_none());
}

#[test]
fn secrets_of_an_answer_go_and_what_names_them_stays() {
    let mut record = record();
    record["responseElements"] = json!({"credentials": {"accessKeyId": "ASIAX", "sessionToken": "s1", "expiration": "t"},
        "list": [{"secretAccessKey": "s2"}, {"password": "s3"}], "environment": [{"name": "DB_PASSWORD", "value": "s6"}, {"name": "x", "value": "y"}],
        "one": [{"name": "token", "value": "s7"}]});
    record["requestParameters"] = json!({"secretId": "prod/db", "Password": "s4", "policy": {"token": "s5"}});
    let found = sent(&envelope("x via CloudTrail", record)).to_string();
    assert!((1..8).all(|number| !found.contains(&format!("s{number}\""))), "{found}");
    assert!(found.contains("ASIAX") && found.contains("prod/db"));
}

/// The text of the policy that this one is written as.
fn policy(sent_as: Value) -> String {
    let mut record = record();
    record["requestParameters"] = json!({"policyName": "p", "policyDocument": sent_as});
    let found = sent(&envelope("x via CloudTrail", record));
    aws_of(&found)["requestParameters"]["policyDocument"].as_str().unwrap().to_owned()
}

#[test]
fn a_policy_is_written_in_one_way() {
    let compact = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":["a b",1.50]}]}"#;
    let spread = "\n{\"Statement\":\r\n [ {\"Effect\" : \"Allow\",\"\\u0041ction\"\t:\n\"\\u002a\", \"Resource\":[\"a b\",\t1.50]}]}\n";
    let blanks = " ".repeat(6 * 1024);
    let behind = spread.replace("\"\\u0041", &format!("{blanks}\"\\u0041"));
    for text in [compact, spread, &behind, &format!("{blanks}{spread}")] {
        assert_eq!(policy(json!(text)), compact, "{text:?}");
    }
    let value: Value = serde_json::from_str(r#"{"Statement": [{"Action": "\u002a"}]}"#).unwrap();
    assert_eq!(policy(value), r#"{"Statement":[{"Action":"*"}]}"#);
    // In a list of several, as well.
    let mut record = record();
    record["requestParameters"] = json!({"all": [{"policyDocument": spread}, {"policyDocument": compact}]});
    let found = sent(&envelope("x via CloudTrail", record));
    let all = &aws_of(&found)["requestParameters"]["all"];
    assert_eq!(*all, json!([{"policyDocument": compact}, {"policyDocument": compact}]));
}

#[test]
fn a_policy_that_is_no_json_stays_as_it_was_sent_and_a_long_one_is_cut() {
    for text in
        ["{\"Action\" : \"*\"", "{\"a\": 1} x", "  plain  ", "\"a  text\"", "12 ", "%7B%22Action%22%7D"]
    {
        assert_eq!(policy(json!(text)), text);
    }
    let long = format!("{{\"Sid\" : \"{}\"}}", "x".repeat(9_000));
    let found = policy(json!(long));
    assert!(found.starts_with("{\"Sid\":\"xx") && found.ends_with("…[cut]"), "{}", found.len());
    assert!(found.len() <= 8_000);
    // Secrets go, however the text is written.
    assert_eq!(policy(json!("{ \"password\" : \"s1\" }")), "{\"password\":\"[redacted]\"}");
}

fn count(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.values().map(count).sum(),
        _ => 1,
    }
}

#[test]
fn no_record_has_more_values_than_wazuh_takes() {
    let wide: serde_json::Map<String, Value> =
        (0..250).map(|n| (format!("k{n}"), json!({"a": n, "b": "x"}))).collect();
    let very_wide: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("k{n}"), json!(n))).collect();
    let mut deep = json!("end");
    for _ in 0..40 {
        deep = json!({"d": deep, "x": 1});
    }
    for (request, response, extra) in [
        (json!(wide), json!(null), json!(null)),
        (json!({"a": 1}), json!(wide), json!(null)),
        (json!(wide), json!(very_wide), json!(very_wide)),
        (json!({"a": 1}), json!({"b": 1}), json!(wide)),
        (deep.clone(), json!(null), deep),
    ] {
        let mut record = record();
        (record["requestParameters"], record["responseElements"], record["serviceEventDetails"]) =
            (request.clone(), response, extra);
        let found = sent(&envelope("x via CloudTrail", record));
        assert!(count(&found) <= 200, "{}", count(&found));
        assert_eq!(aws_of(&found)["eventName"], "AttachUserPolicy");
        assert!(aws_of(&found)["requestParameters"].is_object());
    }
    let mut record = record();
    for number in 0..600 {
        record[format!("z{number}")] = json!(number);
    }
    let found = sent(&envelope("x via CloudTrail", record));
    assert!(count(&found) <= 200 && found["fields_cut"].as_u64().unwrap() > 400);
}

#[test]
fn a_large_record_is_cut_and_its_name_is_not() {
    let mut record = record();
    let names: serde_json::Map<String, Value> =
        (0..150).map(|n| (format!("{n}{}", "\"".repeat(100)), json!("\u{1}".repeat(5000)))).collect();
    record["requestParameters"] = json!(names);
    record["errorMessage"] = json!("y".repeat(100_000));
    record["responseElements"] = json!({"list": (0..5000).collect::<Vec<_>>()});
    let found = sent(&envelope("x via CloudTrail", record));
    assert_eq!(aws_of(&found)["eventName"], "AttachUserPolicy");
    assert!(found.to_string().contains("…[cut]"));
}

#[test]
fn no_name_hands_a_line_to_another_decoder() {
    let mut record = record();
    record["integration"] = json!("ms-graph");
    record["requestParameters"] =
        json!({"integration": "ms-graph", "list": [{"integration": "ms-graph"}, 1]});
    let body = envelope("x via CloudTrail", record).to_string();
    let outcome = post(aws("").as_ref(), &[KEY], body.as_bytes()).unwrap();
    let Outcome::Events { lines, .. } = outcome else { panic!() };
    let text = String::from_utf8(lines[0].as_bytes().to_vec()).unwrap();
    assert!(!text.contains("\"integration\":\"ms-graph\""), "{text}");
}

#[test]
fn names_that_are_alike_take_no_time_and_each_is_there_once() {
    // As many as fit into a body, in objects of names that all want a number.
    let object = format!("{{{}\"b\":1}}", "\"a\":1,".repeat(250));
    let many = (0..250).map(|number| format!("\"o{number}\":{object},")).collect::<String>();
    let wide = format!("{{\"detail-type\":\"via CloudTrail\",\"detail\":{{{many}\"eventID\":\"x\"}}}}");
    let before = cpu();
    let found = line(post(aws("").as_ref(), &[KEY], wide.as_bytes()));
    let took = cpu() - before;
    assert!(count(&found) <= 200 && took < std::time::Duration::from_secs(3), "{took:?}");
    let alike =
        "{\"detail-type\":\"via CloudTrail\",\"detail\":{\"a\":1,\"A\":2,\"a_2\":3,\"a\":4,\"A_2\":5}}";
    let found = line(post(aws("").as_ref(), &[KEY], alike.as_bytes()));
    let aws_of = aws_of(&found);
    for (name, value) in [("a", 1), ("A_2", 2), ("a_2_2", 3), ("a_3", 4), ("A_2_3", 5)] {
        assert_eq!(aws_of[name], value, "{found}");
    }
    // In a list too; there the first one counts.
    let list = "{\"detail-type\":\"via CloudTrail\",\"detail\":{\"l\":[{\"a\":1,\"a\":2,\"integration\":3,\"integration_\":4},5]}}";
    let Outcome::Events { lines, .. } = post(aws("").as_ref(), &[KEY], list.as_bytes()).unwrap() else {
        panic!()
    };
    let text = String::from_utf8(lines[0].as_bytes().to_vec()).unwrap();
    assert!(text.contains("\"l\":[{\"a\":1,\"integration_\":3},5]"), "{text}");
}

#[test]
fn deep_and_odd_records_do_no_harm() {
    let deep = |open: &str, close: &str| {
        format!(
            "{{\"detail-type\":\"x via CloudTrail\",\"detail\":{{\"eventName\":\"e\",\"requestParameters\":{}1{}}}}}",
            open.repeat(80_000),
            close.repeat(80_000)
        )
    };
    for body in [deep("[", "]"), deep("{\"a\":", "}"), deep("[{\"a\":", "}]")] {
        assert_eq!(line(post(aws("").as_ref(), &[KEY], body.as_bytes()))["aws"]["eventName"], "e");
    }
    let alike: String = (0..20_000).map(|_| "\"a\":1,").collect();
    let body = format!("{{\"detail-type\":\"via CloudTrail\",\"detail\":{{{alike}\"eventID\":[7]}}}}");
    line(post(aws("").as_ref(), &[KEY], body.as_bytes()));
    let body = b"{\"detail-type\":\"via CloudTrail\",\"detail\":{\"a\":\"\xff\\ud800\",\"b\":1e999}}";
    assert_eq!(line(post(aws("").as_ref(), &[KEY], body))["aws"]["b"], "1e999");
}

#[test]
fn other_events_are_flat() {
    let found = sent(&envelope(
        "EC2 Instance State-change Notification",
        json!({"instance-id": "i-1", "state": {"name": "running"}}),
    ));
    for (key, value) in [
        ("source", "aws"),
        ("event", "ec2_instance_state_change_notification"),
        ("detail_type", "EC2 Instance State-change Notification"),
        ("aws_service", "aws.iam"),
        ("aws_account", "123456789012"),
        ("event_id", "7bf73129-1428"),
        ("resources", "[\"arn:x\"]"),
        ("detail_instance_id", "i-1"),
        ("detail_state_name", "running"),
    ] {
        assert_eq!(found[key], value, "{found}");
    }
    assert_eq!(sent(&json!({"x": {"y": 1}, "source": "z"}))["x_y"], 1);
}

#[test]
fn files_of_a_trail_and_lists_are_taken_whole() {
    let records = json!({"Records": [record(), record(), {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventVersion": "2.1"}]});
    let found = lines(post(aws("").as_ref(), &[KEY], records.to_string().as_bytes()));
    assert_eq!(
        (found[0]["aws"]["source"].as_str(), found[1]["integration"].as_str()),
        (Some("cloudtrail"), Some("aws"))
    );
    assert_eq!((found[2]["event_source"].as_str(), &found[2]["aws"]), (Some("aws:s3"), &Value::Null));
    let list = json!([envelope("a", json!({})), envelope("b", json!({}))]);
    assert_eq!(lines(post(aws("").as_ref(), &[KEY], list.to_string().as_bytes())).len(), 2);
    assert!(matches!(post(aws("").as_ref(), &[KEY], b"[]"), Ok(Outcome::Nothing("empty"))));
    let many = json!({"Records": vec![json!({}); 1001]}).to_string();
    for body in ["7", "", "[7]", "{", &many] {
        assert!(
            matches!(post(aws("").as_ref(), &[KEY], body.as_bytes()), Err(Refusal::BadRequest(_))),
            "{body:.20}"
        );
    }
}

#[test]
fn an_event_is_known_by_its_ids() {
    let ids = |body: &Value| match post(aws("").as_ref(), &[KEY], body.to_string().as_bytes()).unwrap() {
        Outcome::Events { ids, .. } => ids,
        other => panic!("{other:?}"),
    };
    let (first, mut other) =
        (ids(&envelope("via CloudTrail", record())), envelope("via CloudTrail", record()));
    assert_eq!(first.len(), 2);
    other["id"] = json!("another");
    let again = ids(&other);
    assert_eq!((first[1], first[0] == again[0]), (again[1], false));
    assert_eq!(ids(&json!({"Records": [record(), record()]})).len(), 1);
    assert!(ids(&json!({"x": 1})).is_empty());
}

#[test]
fn eventbridge_proves_who_it_is_as_its_connection_says() {
    let body = envelope("a", json!({})).to_string();
    let check =
        |extra: &str, pairs: &[(&str, &str)]| post(aws(extra).as_ref(), pairs, body.as_bytes()).map(|_| ());
    let basic = [("authorization", "Basic dTpJdCdzIGEgU2VjcmV0IHRvIEV2ZXJ5Ym9keQ==")];
    assert_eq!(check("", &[KEY]), Ok(()));
    assert_eq!(check("header = \"X-Other\"", &[("x-other", KEY.1)]), Ok(()));
    assert_eq!(check("auth = \"basic\"\nuser = \"u\"", &basic), Ok(()));
    assert_eq!(check("auth = \"bearer\"", &[("authorization", "Bearer It's a Secret to Everybody")]), Ok(()));
    for extra in ["", "auth = \"basic\"\nuser = \"v\"", "auth = \"bearer\""] {
        assert_eq!(check(extra, &basic), Err(Refusal::Unauthorized(UNAUTHORIZED)), "{extra}");
    }
    // Who says to be SNS has to be it.
    let sns = [KEY, ("x-amz-sns-message-type", "Notification")];
    assert_eq!(check("", &sns), Err(Refusal::Unauthorized(SIGNATURE_INVALID)));
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    for (text, key) in [
        ("", "secret_files"),
        ("secret_files = [\"/secret\"]\nauth = \"basic\"", "user"),
        ("secret_files = [\"/secret\"]\nheader = \" \"", "header"),
        ("topics = [\"*\"]", "topics"),
        ("topics = [\"arn:aws:sns:eu-central-1:123456789012:a\"]\nsns_max_age = 0", "sns_max_age"),
        (
            "topics = [\"arn:aws:sns:eu-central-1:123456789012:a\"]\nsns_ca_file = \"/nonexistent\"",
            "sns_ca_file",
        ),
    ] {
        let config: Config = config(text);
        let why = given(None, |given| config.compile(given)).err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(why.key, key, "{text}");
    }
}
