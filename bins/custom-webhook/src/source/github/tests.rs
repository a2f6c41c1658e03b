use serde_json::json;

use super::*;
use crate::source::testing::{config, fixture, github_signature, given, line, now, post};

fn github(extra: &str) -> Box<dyn Source> {
    let config: Config = config(&format!("secret_files = [\"/former\", \"/secret\"]\n{extra}"));
    given(None, |given| config.compile(given)).unwrap_or_else(|why| panic!("{why}"))
}

fn deliver(source: &dyn Source, event: &str, body: &[u8]) -> Result<Outcome, Refusal> {
    let signature = github_signature(body);
    let headers = [
        ("x-github-event", event),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("x-hub-signature-256", signature.as_str()),
        ("content-type", "application/json"),
    ];
    post(source, &headers, body)
}

#[test]
fn the_delivery_that_github_documents_is_authentic() {
    let source = github("");
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let signed = |signature: &str| {
        post(
            source.as_ref(),
            &[("x-github-event", "ping"), ("x-hub-signature-256", signature)],
            b"Hello, World!",
        )
    };
    // Authentic, though no JSON.
    assert!(matches!(signed(right), Err(Refusal::BadRequest(_))));
    let wrong = right.replace("757", "758");
    for signature in
        ["", "sha256=", &right[7..], &wrong, &right[..70], &right.replace("sha256", "sha1"), "sha256=zz"]
    {
        assert_eq!(signed(signature).unwrap_err(), Refusal::Unauthorized(SIGNATURE_INVALID), "{signature}");
    }
    let twice = [("x-github-event", "ping"), ("x-hub-signature-256", right), ("x-hub-signature-256", right)];
    assert!(post(source.as_ref(), &twice, b"Hello, World!").is_err());
}

#[test]
fn a_dependabot_alert_is_a_short_flat_record() {
    let found = line(deliver(
        github("").as_ref(),
        "dependabot_alert",
        &fixture("github/dependabot_alert.created.json"),
    ));
    for (key, value) in [
        ("source", json!("github")),
        ("event", json!("dependabot_alert")),
        ("action", json!("created")),
        ("severity", json!("medium")),
        ("summary", json!("semver vulnerable to Regular Expression Denial of Service")),
        ("cve_id", json!("CVE-2022-25883")),
        ("ghsa_id", json!("GHSA-c2qf-rxjj-qqgw")),
        ("package", json!("semver")),
        ("ecosystem", json!("npm")),
        ("manifest_path", json!("package-lock.json")),
        ("patched_version", json!("7.5.2")),
        ("cvss_score", json!("5.3")),
        ("number", json!(20)),
        ("state", json!("open")),
        ("delivery", json!("72d3162e-cc78-11e3-81ab-4c9367dc0958")),
    ] {
        assert_eq!(found[key], value, "{key}: {found}");
    }
    assert!(found["repository"].as_str().unwrap().contains('/') && found["sender"].is_string());
}

#[test]
fn events_keep_what_the_rules_ask_for() {
    let source = github("");
    let found = |event: &str, file: &str| {
        line(deliver(source.as_ref(), event, &fixture(&format!("github/{file}.json"))))
    };
    let advisory = found("security_advisory", "security_advisory.withdrawn");
    assert_eq!(
        (advisory["severity"].as_str(), advisory["cve_id"].as_str()),
        (Some("critical"), Some("CVE-2021-23334"))
    );
    assert_eq!(advisory["package"], "static-eval");
    let former = found("repository_vulnerability_alert", "repository_vulnerability_alert.create");
    assert_eq!((former["package"].as_str(), former["severity"].as_str()), (Some("rack"), Some("moderate")));
    let code = found("code_scanning_alert", "code_scanning_alert.created");
    assert_eq!(
        (code["rule_id"].as_str(), code["tool"].as_str()),
        (Some("java/sql-injection"), Some("CodeQL"))
    );
    assert_eq!(code["severity"], "error");
    let branch = found("branch_protection_rule", "branch_protection_rule.deleted");
    assert_eq!(branch["branch"], "production");
    let member = found("member", "member.added");
    assert_eq!(member["member"], "hacktocat");
    let invited = found("organization", "organization.member_added");
    assert_eq!((invited["member"].as_str(), invited["role"].as_str()), (Some("hacktocat"), Some("member")));
    let key = found("deploy_key", "deploy_key.created");
    assert_eq!(key["read_only"], true);
    assert!(!key.to_string().contains("ssh-rsa"));
    let push = found("push", "push");
    assert_eq!((push["deleted"].as_bool(), push["forced"].as_bool()), (Some(false), Some(false)));
    assert_eq!(push["ref"], "refs/tags/simple-tag");
    let app = found("installation", "installation.created");
    assert_eq!(app["organization"], "Codertocat");
    assert!(app["permissions"].as_str().unwrap().contains("\"administration\":\"write\""));
    let ping = found("ping", "ping");
    assert_eq!((ping["hook_events"].as_str(), ping["event"].as_str()), (Some("*"), Some("ping")));
}

#[test]
fn the_event_of_a_deleted_branch_says_so() {
    let source = github("");
    let found = |kind: &str| {
        let body = json!({"ref":"main","ref_type":kind,"repository":{"full_name":"a/b"}}).to_string();
        line(deliver(source.as_ref(), "delete", body.as_bytes()))
    };
    assert_eq!(found("branch")["deleted"], true);
    assert!(found("tag").get("deleted").is_none());
}

#[test]
fn forms_are_signed_as_they_are_sent() {
    let source = github("");
    let body = b"x=1&payload=%7B%22action%22%3A%22a+b%2Fc%22%7D&y";
    let signature = github_signature(body);
    let post = |kind: &str, body: &[u8]| {
        let headers =
            [("x-github-event", "public"), ("x-hub-signature-256", &signature), ("content-type", kind)];
        post(source.as_ref(), &headers, body)
    };
    let found = line(post("application/x-www-form-urlencoded", body));
    assert_eq!(found["action"], "a b/c");
    assert_eq!(post("text/xml", body).unwrap_err(), Refusal::UnsupportedMediaType);
    let without = b"nothing=1";
    let signature = github_signature(without);
    let headers = [
        ("x-github-event", "public"),
        ("x-hub-signature-256", signature.as_str()),
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
    ];
    assert!(matches!(
        super::super::testing::post(source.as_ref(), &headers, without),
        Err(Refusal::BadRequest(_))
    ));
}

#[test]
fn forms_are_decoded_whatever_is_in_them() {
    assert_eq!(form_value(b"a=1&b=%41%zz%4&c", b"b"), Some(b"A%zz%4".to_vec()));
    assert_eq!(form_value(b"%61=x", b"a"), Some(b"x".to_vec()));
    assert_eq!(form_value(b"a", b"a"), None);
    assert_eq!(form_value(b"", b"a"), None);
}

#[test]
fn a_repeat_is_known_by_the_body_whatever_is_said_around_it() {
    let source = github("");
    let ids = |event: &str, body: &[u8]| match deliver(source.as_ref(), event, body).unwrap() {
        Outcome::Events { ids, .. } => ids,
        other => panic!("{other:?}"),
    };
    let denied = github("deny = [\"push\"]");
    match deliver(denied.as_ref(), "push", b"{}").unwrap() {
        Outcome::Events { lines, ids: known } => {
            assert_eq!((lines, known), (vec![], ids("deploy_key", b"{}")))
        }
        other => panic!("{other:?}"),
    }
    let (first, again, other) = (ids("push", b"{}"), ids("member", b"{}"), ids("push", b"{ }"));
    assert_eq!(first.len(), 2);
    assert_eq!(first[1], again[1]);
    assert_ne!(first[1], other[1]);
    assert_eq!(first[0], other[0], "and by its own name");
}

#[test]
fn lists_say_what_is_written() {
    let denied = github("deny = [\"push\", \"workflow_job.queued\"]");
    let allowed = github("allow = [\"member\", \"repository.deleted\"]\ndeny = [\"member.edited\"]");
    let written = |source: &dyn Source, event: &str, action: &str| {
        let body = json!({"action": action}).to_string();
        match deliver(source, event, body.as_bytes()).unwrap() {
            // Known all the same, or it could come again as what is wanted.
            Outcome::Events { lines, ids } => {
                assert_eq!(ids.len(), 2);
                !lines.is_empty()
            }
            other => panic!("{other:?}"),
        }
    };
    for (event, action, first, second) in [
        ("push", "", false, false),
        ("workflow_job", "queued", false, false),
        ("workflow_job", "completed", true, false),
        ("member", "added", true, true),
        ("member", "edited", true, false),
        ("repository", "deleted", true, true),
        ("repository", "created", true, false),
    ] {
        assert_eq!(written(denied.as_ref(), event, action), first, "{event}.{action}");
        assert_eq!(written(allowed.as_ref(), event, action), second, "{event}.{action}");
    }
}

#[test]
fn what_nobody_thought_of_is_a_generic_record() {
    let body = json!({"action":"opened","issue":{"number":7,"title":"t","html_url":"u","state":"open"},
        "repository":{"full_name":"a/b"},"sender":{"login":"c","type":"Bot"}});
    let found = line(deliver(github("").as_ref(), "issues", body.to_string().as_bytes()));
    for (key, value) in [
        ("action", "opened"),
        ("repository", "a/b"),
        ("sender", "c"),
        ("sender_type", "Bot"),
        ("summary", "t"),
    ] {
        assert_eq!(found[key], value);
    }
    assert_eq!(found["number"], 7);
}

#[test]
fn malformed_bodies_are_refused_and_odd_ones_are_not() {
    let source = github("");
    for body in [&b""[..], b"[]", b"null", b"\"x\"", b"{", b"{\"a\":1}}", b"{\"action\":tru}"] {
        assert!(matches!(deliver(source.as_ref(), "push", body), Err(Refusal::BadRequest(_))), "{body:?}");
    }
    for event in ["", "Push", "a b", "\u{e9}", &"x".repeat(65), "a.b"] {
        let body = b"{}";
        let signature = github_signature(body);
        let headers = [("x-github-event", event), ("x-hub-signature-256", signature.as_str())];
        assert!(matches!(post(source.as_ref(), &headers, body), Err(Refusal::BadRequest(_))), "{event}");
    }
    let odd = br#"{"action":"a\ud800","repository":[1],"sender":{"login":{"x":[1e999,"\udc00"]}},"alert":"x","ref":null}"#;
    let found = line(deliver(source.as_ref(), "push", odd));
    assert_eq!(found["action"].as_str().unwrap().chars().next(), Some('a'));
    assert!(found.get("repository").is_none());
    let found = line(deliver(source.as_ref(), "push", b"{\"action\":\"\xff\xfe\",\"\xff\":1,\"ref\":\"r\"}"));
    assert_eq!((found["action"].as_str(), found["ref"].as_str()), (Some("\u{fffd}\u{fffd}"), Some("r")));
    let deep = format!("{{\"alert\":{}1{},\"ref\":\"r\"}}", "[".repeat(300_000), "]".repeat(300_000));
    assert_eq!(line(deliver(source.as_ref(), "push", deep.as_bytes()))["ref"], "r");
    let long = json!({"action":"x".repeat(100_000), "head_commit":{"message":"\u{1}".repeat(1_000_000)}});
    line(deliver(source.as_ref(), "push", long.to_string().as_bytes()));
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    for (text, key) in [
        ("", "secret_files"),
        ("secret_files = [\"/missing\"]", "secret_files"),
        ("secret_files = [\"/secret\"]\npaths = []", "paths"),
        ("secret_files = [\"/secret\"]\npaths = [\"x\"]", "paths"),
        ("secret_files = [\"/secret\"]\npaths = [\"/a?b\"]", "paths"),
        ("secret_files = [\"/secret\"]\nbody_limit = 0", "body_limit"),
        ("secret_files = [\"/secret\"]\nallow = [\"Push\"]", "allow"),
        ("secret_files = [\"/secret\"]\ndeny = [\"\"]", "deny"),
    ] {
        let config: Config = config(text);
        let why = given(None, |given| config.compile(given)).err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!((why.key, why.source_name.as_str()), (key, "github"), "{text}");
        assert!(why.to_string().starts_with("github: "));
    }
    assert!(toml::from_str::<Config>("secrets = []").is_err());
    assert!(toml::from_str::<Config>("secret_files = [\"relative\"]").is_err());
    assert!(now() > std::time::SystemTime::UNIX_EPOCH);
}
