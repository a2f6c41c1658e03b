//! Servers that fail, and secrets that are not kept.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use custom_block::api::Api;
use custom_block::outbox::{self, Clock, Item, Limits, Outcome, Want};

use crate::mock::{Mock, Reply, answer};
use crate::{Bench, Fake, NOW, delivered, item, reason};

/// A bench with one queued add, a server with these answers, and its API.
fn set_up(replies: Vec<Reply>, more: &str) -> (Bench, Mock, Api) {
    let (bench, mock) = (Bench::new(), Mock::new(replies));
    bench.put(&item("192.0.2.7", Want::Add));
    let api =
        bench.api(&format!("preset = 'generic'\nurl = '{}'\nbearer_file = 'DIR/token'\n{more}", mock.url));
    (bench, mock, api)
}

#[test]
fn retry_after_is_waited_for() {
    for (header, least) in [
        ("Retry-After: 30\r\n", 30),
        ("Retry-After: Mon, 06 May 2024 07:08:29 GMT\r\n", 20),
        ("Retry-After: soon\r\n", 2),
    ] {
        let (bench, mock, api) = set_up(vec![Reply::Answer(429, header, String::new()), answer(200, "")], "");
        let clock = Fake::default();
        let outcomes = bench.deliver_at(api, &clock, &Limits::default());
        let Outcome::Retry { at, .. } = outcomes[0] else { panic!("{outcomes:?}") };
        assert!((least..least + 3).contains(&(at - NOW)), "{header}: {}", at - NOW);
        assert_eq!((outcomes.last(), mock.seen().len()), (Some(&delivered()), 2));
        assert!(clock.0.get() >= least);
        let first = &mock.seen()[0];
        let second = &mock.seen()[1];
        assert!(first.body.contains("\"ttl\":600,") && !second.body.contains("\"ttl\":600,"), "time runs");
    }
}

#[test]
fn a_server_that_breaks_is_tried_again() {
    let replies =
        vec![answer(500, "oops"), answer(503, ""), Reply::Close, Reply::Half, Reply::Flood, answer(200, "")];
    let (bench, mock, api) = set_up(replies, "");
    let limits = Limits { budget: Duration::from_secs(300), ..Limits::default() };
    let outcomes = bench.deliver_at(api, &Fake::default(), &limits);
    assert_eq!((outcomes.len(), outcomes.last()), (6, Some(&delivered())), "{outcomes:?}");
    assert_eq!(mock.seen().len(), 6);
    for (outcome, why) in
        outcomes.iter().zip(["500: oops", "503", "error sending", "broke off", "longer than"])
    {
        assert!(
            matches!(outcome, Outcome::Retry { reason, .. } if reason.contains(why)),
            "{why}: {outcome:?}"
        );
    }
}

#[test]
fn a_server_that_keeps_us_waiting_is_left_at_the_deadline() {
    for reply in [Reply::Hang(Duration::from_secs(20)), Reply::Trickle] {
        let (bench, _mock, api) = set_up(vec![reply.clone()], "timeout = 3");
        let begin = Instant::now();
        let outcomes = bench.try_once(api);
        assert!(matches!(&outcomes[..], [Outcome::Retry { .. }]), "{reply:?} {outcomes:?}");
        assert!(begin.elapsed() < Duration::from_secs(15), "{reply:?} {:?}", begin.elapsed());
    }
}

#[test]
fn the_deadline_is_that_of_all_steps_together() {
    let step = "[[delete]]\nmethod = 'GET'\nurl = '/'\n";
    let add = "[[add]]\nmethod = 'GET'\nurl = '/slow'\n".repeat(3);
    let slow = Reply::Trickle;
    let (bench, mock, api) =
        set_up(vec![answer(200, ""), slow, answer(200, "")], &format!("timeout = 3\n{add}{step}"));
    let begin = Instant::now();
    let outcomes = bench.try_once(api);
    assert!(reason(&outcomes).contains("step 2 of 3"), "{outcomes:?}");
    assert!(begin.elapsed() < Duration::from_secs(15) && mock.seen().len() == 2);
}

#[test]
fn a_server_that_is_not_there_is_tried_again() {
    let bench = Bench::new();
    bench.put(&item("192.0.2.7", Want::Add));
    let outcomes = bench.try_once(bench.api("preset = 'generic'\nurl = 'http://127.0.0.1:1'"));
    let reason = reason(&outcomes);
    assert!(reason.contains("step 1 of 1 (POST /rules)") && reason.contains("refused"), "{reason}");
    assert_eq!(outbox::pending(&bench.outbox()).unwrap()[0].attempts, 1);
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = Mock::new(vec![answer(200, "")]);
    let location: &'static str = format!("Location: {}/\r\n", elsewhere.url).leak();
    for status in [301, 302, 307, 308] {
        let (bench, _mock, api) = set_up(vec![Reply::Answer(status, location, String::new())], "");
        assert!(reason(&bench.try_once(api)).contains(&format!("status {status}")));
    }
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn no_proxy_is_taken_from_the_environment() {
    const CHILD: &str = "API_TEST_PROXY_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let (bench, mock, api) = set_up(vec![answer(200, "")], "");
        assert_eq!((bench.try_once(api), mock.seen().len()), (vec![delivered()], 1));
        return;
    }
    let proxy = "http://127.0.0.1:1";
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "trouble::no_proxy_is_taken_from_the_environment"])
        .envs([(CHILD, "1"), ("http_proxy", proxy), ("ALL_PROXY", proxy), ("HTTPS_PROXY", proxy)])
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
}

#[test]
fn a_secret_is_read_each_time_and_only_when_it_is_kept() {
    let (bench, mock, api) = set_up(vec![answer(200, "")], "");
    let set = |mode| fs::set_permissions(bench.path("token"), Permissions::from_mode(mode)).unwrap();
    set(0o644);
    let text = reason(&bench.try_once(api)).to_owned();
    assert!(text.contains("/token: others may read this secret (mode 644): chmod 600"), "{text}");
    assert!(mock.seen().is_empty(), "nothing is sent without it");
    set(0o600);
    bench.secret("token", "new-token");
    bench.put(&item("192.0.2.7", Want::Add));
    let api = bench.api(&format!("preset = 'generic'\nurl = '{}'\nbearer_file = 'DIR/token'", mock.url));
    assert_eq!(bench.try_once(api), [delivered()]);
    assert_eq!(mock.seen()[0].header("authorization"), Some("Bearer new-token"));
    bench.put(&item("192.0.2.7", Want::Add));
    bench.secret("token", "two\r\nX-Evil: lines");
    let api = bench.api(&format!("preset = 'generic'\nurl = '{}'\nbearer_file = 'DIR/token'", mock.url));
    let text = reason(&bench.try_once(api)).to_owned();
    assert!(text.contains("cannot stand in a header") && !text.contains("Evil"), "{text}");
    assert_eq!(mock.seen().len(), 1);
}

#[test]
fn what_a_server_echoes_is_quoted_without_secrets_and_controls() {
    let echo = "you sent Bearer t0ken-secret\u{1b}[2J\r\nfake line".to_owned() + &"x".repeat(10_000);
    let (bench, _mock, api) = set_up(vec![answer(401, &echo)], "");
    let text = reason(&bench.try_once(api)).to_owned();
    assert!(text.contains("status 401: you sent Bearer *** [2J  fake line"), "{text}");
    assert!(text.len() < 400, "{}", text.len());
}

#[test]
fn a_refusal_of_all_is_heard_once_and_not_for_every_item() {
    let (bench, mock, api) = set_up(vec![answer(401, ""); 50], "");
    for n in 10..40 {
        bench.put(&item(&format!("192.0.2.{n}"), Want::Add));
    }
    bench.try_once(api);
    assert_eq!(mock.seen().len(), 1);
}

#[test]
fn an_add_and_a_delete_that_meet_in_the_outbox_are_one_request() {
    let (bench, mock, api) = set_up(vec![answer(404, "")], "");
    bench.put(&item("192.0.2.7", Want::Delete));
    assert_eq!(bench.deliver(api), [Outcome::Delivered { already: true }]);
    assert_eq!(mock.lines(), ["DELETE /rules/192.0.2.7"]);
}

#[test]
fn a_late_add_is_sent_with_the_time_that_is_left() {
    let (bench, mock, api) = set_up(vec![answer(200, "")], "");
    let clock = Fake::default();
    clock.sleep(Duration::from_secs(540));
    bench.deliver_at(api, &clock, &Limits::default());
    assert!(mock.seen()[0].body.contains("\"ttl\":60,"), "{}", mock.seen()[0].body);
}

#[test]
fn an_item_of_an_api_that_is_not_configured_waits() {
    let (bench, mock, api) = set_up(vec![answer(200, "")], "");
    bench.put(&Item { api: "gone".into(), ..item("192.0.2.8", Want::Add) });
    let outcomes = bench.try_once(api);
    assert!(outcomes.contains(&delivered()));
    assert!(
        outcomes
            .iter()
            .any(|o| matches!(o, Outcome::Retry { reason, .. } if reason == "no api \"gone\" is configured"))
    );
    assert_eq!((mock.seen().len(), outbox::pending(&bench.outbox()).unwrap().len()), (1, 1));
}

#[test]
fn hostile_texts_stay_in_their_place_on_the_wire() {
    let steps = r#"
        [[add]]
        method = "POST"
        url = "/{agent}/x?why={reason}"
        headers = { X-Why = "{reason}", Content-Type = "application/x-www-form-urlencoded" }
        body = "why={reason}&agent={agent}"
        [[add]]
        method = "POST"
        url = "/xml"
        headers = { Content-Type = "application/xml" }
        body = "<why a='{reason}'>{agent}</why>"
    "#;
    let (bench, mock, api) = set_up(vec![answer(200, ""), answer(200, "")], steps);
    let reason = "a\r\nX-Evil: 1\r\n\r\nGET / <'&\">é".to_owned();
    bench.put(&Item { agent: "../..?#".into(), reason, ..item("192.0.2.7", Want::Add) });
    assert_eq!(bench.deliver(api), [delivered()]);
    let seen = mock.seen();
    assert_eq!(
        seen[0].line,
        "POST /..%2F..%3F%23/x?why=a%20%20X-Evil:%201%20%20%20%20GET%20%2F%20%3C%27%26%22%3E%C3%A9"
    );
    assert_eq!(seen[0].header("x-why"), Some("a  X-Evil: 1    GET / <'&\">?"));
    assert_eq!(seen[0].header("x-evil"), None);
    assert_eq!(
        seen[0].body,
        "why=a%20%20X-Evil%3A%201%20%20%20%20GET%20%2F%20%3C%27%26%22%3E%C3%A9&agent=..%2F..%3F%23"
    );
    assert_eq!(seen[1].body, "<why a='a  X-Evil: 1    GET / &lt;&apos;&amp;&quot;&gt;é'>../..?#</why>");
    let (bench, mock, api) = set_up(vec![], steps);
    bench.put(&Item { agent: "..".into(), ..item("192.0.2.7", Want::Add) });
    assert!(crate::reason(&bench.try_once(api)).contains("only dots"));
    assert!(mock.seen().is_empty());
}

#[test]
fn a_variable_of_the_family_is_used() {
    let more = "variables_ipv4 = { table = 'four' }\nvariables_ipv6 = { table = 'six' }\n[[delete]]\nmethod = 'DELETE'\nurl = '/{table}/{cidr}'";
    let (bench, mock, api) = set_up(vec![answer(200, ""), answer(200, "")], more);
    bench.put(&item("192.0.2.7", Want::Delete));
    bench.put(&Item { queued_at: NOW + 1, ..item("2001:db8::7", Want::Delete) });
    bench.deliver(api);
    assert_eq!(mock.lines(), ["DELETE /four/192.0.2.7%2F32", "DELETE /six/2001:db8::7%2F128"]);
}
