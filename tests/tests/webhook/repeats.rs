//! What comes once more is answered as before, and not written again.

use std::path::PathBuf;
use std::time::Duration;

use harness::webhook::client::Request;
use harness::webhook::{
    Daemon, MONITOR, Receiver, advisory, alarm, delivery, event, github, login, row, sign, signed_event,
};

use crate::receiver;

/// Pairs of which the second one is the first one once more.
fn pairs() -> Vec<(&'static str, &'static str, Request, Request)> {
    let key = |request: Request| request.with("Idempotency-Key", "4711");
    let body = "{\"action\":\"auth_login\",\"user\":\"alice\"}";
    vec![
        ("github", "a delivery", delivery(1), delivery(1)),
        (
            "github",
            "the same id with another body",
            delivery(2),
            github("push", "00000000-0000-4000-8000-000000000002", "{\"ref\":\"x\"}"),
        ),
        (
            "github",
            "the same body under another id",
            delivery(3),
            github("security_advisory", "another-id", &advisory(3)),
        ),
        ("github", "the same body as another event", delivery(4), github("push", "a-third-id", &advisory(4))),
        ("github", "the same body without an id", delivery(5), delivery(5).without("X-GitHub-Delivery")),
        (
            "application",
            "a webhook-id, signed anew",
            signed_event("msg_1", body),
            signed_event("msg_1", "{\"action\":\"auth_logout\"}"),
        ),
        ("application", "a key", key(login("alice")), key(login("bob"))),
        ("supabase", "a key", key(row(1)), key(row(2))),
        ("monitor", "a key", key(alarm("one")), key(alarm("two"))),
    ]
}

fn number(receiver: &Receiver, source: &str) -> usize {
    receiver.output().of(source).len()
}

/// All that was sent first is sent once more, and nothing more is written.
#[track_caller]
fn nothing_is_new(receiver: &Receiver, daemon: &Daemon, when: &str) {
    daemon.drained();
    let before = ["github", "application", "supabase", "monitor"].map(|source| number(receiver, source));
    for (_, what, first, second) in pairs() {
        for request in [first, second] {
            assert_eq!(daemon.ask(&request).status, 200, "{what}, {when}");
        }
    }
    daemon.drained();
    let after = ["github", "application", "supabase", "monitor"].map(|source| number(receiver, source));
    assert_eq!(before, after, "{when}");
}

#[test]
fn a_repeat_is_answered_200_and_not_written_again() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for (source, what, first, second) in pairs() {
        assert_eq!(daemon.ask(&first).status, 200, "{what}");
        daemon.drained();
        let before = number(&receiver, source);
        assert_eq!(daemon.ask(&second).status, 200, "{what}");
        daemon.drained();
        assert_eq!(number(&receiver, source), before, "{source}: {what}");
    }
    assert_eq!(number(&receiver, "github"), 5);
    // A stop, a crash, and a crash at once after it.
    daemon.stop();
    let daemon = receiver.start();
    nothing_is_new(&receiver, &daemon, "after a stop");
    daemon.kill();
    let daemon = receiver.start();
    nothing_is_new(&receiver, &daemon, "after a crash");
    daemon.kill();
    receiver.start().kill();
    let daemon = receiver.start();
    nothing_is_new(&receiver, &daemon, "after three crashes");
    assert_eq!(number(&receiver, "github"), 5);
}

#[test]
fn what_has_no_id_is_as_many_lines_as_it_came() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for _ in 0..5 {
        daemon.expect(200, &login("alice"));
        daemon.expect(200, &row(1));
        daemon.expect(200, &alarm("again"));
        // One source's key is not another's.
        daemon.expect(200, &event("{\"action\":\"auth_login_failed\",\"user\":\"alice\"}"));
    }
    assert_eq!(daemon.lines("application", 10).len(), 10);
    daemon.lines("supabase", 5);
    daemon.lines("monitor", 5);
}

#[test]
fn the_id_of_one_source_says_nothing_of_another_one() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for request in [login("alice"), row(1), alarm("x")] {
        daemon.expect(200, &request.with("Idempotency-Key", "the same"));
    }
    daemon.expect(200, &signed_event("the same", "{\"action\":\"auth_login\"}"));
    daemon.expect(200, &github("push", "the same", "{\"ref\":\"x\"}"));
    daemon.lines("application", 2);
    for source in ["supabase", "monitor", "github"] {
        daemon.lines(source, 1);
    }
}

#[test]
fn what_is_not_wanted_does_not_come_again_as_what_is() {
    let receiver = receiver("");
    let sources = receiver.sources("").replace("[github]\n", "[github]\ndeny = [\"push\"]\n");
    receiver.configure("", &sources);
    let daemon = receiver.start();
    let body = "{\"ref\":\"refs/heads/main\",\"key\":{\"title\":\"x\"}}";
    daemon.expect(200, &github("push", "the-first-id", body));
    // The name of the event is not signed.
    let again = || github("deploy_key", "another-id", body);
    daemon.expect(200, &again());
    daemon.kill();
    let daemon = receiver.start();
    daemon.expect(200, &again());
    daemon.stop();
    let daemon = receiver.start();
    daemon.expect(200, &again());
    daemon.expect(200, &delivery(1));
    assert_eq!(daemon.lines("github", 1)[0]["event"], "security_advisory");
}

#[test]
fn a_signed_body_comes_once_whatever_id_stands_before_it() {
    let receiver = receiver("");
    let table = format!(
        "[[generic]]\nname = \"signed\"\npaths = [\"/webhook/signed\"]\nauth = \"hmac\"\nheader = \"X-Signature\"\n\
         prefix = \"sha256=\"\nid_header = \"X-Id\"\nsecret_files = [{:?}]\n",
        receiver.dir().join("secret/monitor").display().to_string()
    );
    receiver.configure("", &format!("{}{table}", receiver.sources("")));
    let daemon = receiver.start();
    let signed = |body: &str, id: &str| {
        Request::new("POST", "/webhook/signed", body)
            .with("Content-Type", "application/json")
            .with("X-Signature", &sign::github(MONITOR, body.as_bytes()))
            .with("X-Id", id)
    };
    let (one, two) = ("{\"a\":1}", "{\"a\":2}");
    for id in ["1", "2", ""] {
        daemon.expect(200, &signed(one, id));
    }
    daemon.expect(200, &signed(one, "3").with("Idempotency-Key", "4"));
    // The id still counts, for a body that was not there yet.
    daemon.expect(200, &signed(two, "1"));
    daemon.expect(200, &signed(two, "5"));
    daemon.drained();
    daemon.lines("signed", 2);
}

#[test]
fn two_of_the_same_at_the_same_time_are_one_line() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for number in 0..20 {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let daemon = &daemon;
                scope.spawn(move || assert_eq!(daemon.ask(&delivery(number)).status, 200));
            }
        });
    }
    daemon.drained();
    daemon.lines("github", 20);
}

/// Its files.
fn spool(receiver: &Receiver) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(receiver.state().join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn a_repeat_is_known_when_the_file_of_the_spool_that_had_it_is_gone() {
    let receiver = receiver("");
    let daemon = receiver.start();
    for (_, what, first, _) in pairs() {
        assert_eq!(daemon.ask(&first).status, 200, "{what}");
    }
    daemon.drained();
    let old = spool(&receiver);
    // Whenever it starts it begins a new file, and those before it go when all
    // of their lines are put out.
    daemon.kill();
    let daemon = receiver.start();
    daemon.expect(200, &delivery(1000));
    let gone = harness::eventually(Duration::from_secs(10), || {
        !spool(&receiver).iter().any(|file| old.contains(file))
    });
    assert!(gone, "{old:?} and now {:?}", spool(&receiver));
    nothing_is_new(&receiver, &daemon, "when its file has gone");
    daemon.kill();
    let daemon = receiver.start();
    nothing_is_new(&receiver, &daemon, "and after another crash");
}

#[test]
fn a_repeat_is_news_when_its_time_is_over() {
    let receiver = receiver("replay_window = \"10s\"\n");
    let daemon = receiver.start();
    daemon.expect(200, &delivery(1));
    std::thread::sleep(Duration::from_secs(2));
    daemon.expect(200, &delivery(1));
    daemon.drained();
    assert_eq!(number(&receiver, "github"), 1);
    // The time of the first one counts, not of the last one; also for who starts anew.
    daemon.kill();
    let daemon = receiver.start();
    std::thread::sleep(Duration::from_secs(9));
    daemon.expect(200, &delivery(1));
    daemon.lines("github", 2);
    daemon.expect(200, &delivery(1));
    daemon.drained();
    assert_eq!(number(&receiver, "github"), 2);
}

#[test]
fn only_so_many_are_known_and_of_more_the_oldest_are_forgotten() {
    let receiver = receiver("replay_entries = 50\n");
    let daemon = receiver.start();
    let mut connection = daemon.connect();
    for number in 0..200 {
        assert_eq!(connection.ask(&delivery(number)).unwrap().status, 200);
    }
    // Deliveries, as it is said, and not ids, of which each has two.
    for number in 150..200 {
        assert_eq!(connection.ask(&delivery(number)).unwrap().status, 200);
    }
    daemon.drained();
    daemon.lines("github", 200);
    assert_eq!(connection.ask(&delivery(0)).unwrap().status, 200);
    daemon.lines("github", 201);
}

#[test]
fn one_sender_cannot_have_the_deliveries_of_another_forgotten() {
    let receiver = receiver("replay_entries = 50\n");
    let daemon = receiver.start();
    let mut connection = daemon.connect();
    let mut all = |of: &dyn Fn(u64) -> Request, numbers: std::ops::Range<u64>| {
        for number in numbers {
            assert_eq!(connection.ask(&of(number)).unwrap().status, 200);
        }
    };
    all(&delivery, 0..20);
    all(&|number| login("mallory").with("Idempotency-Key", &number.to_string()), 0..300);
    all(&delivery, 0..20);
    daemon.lines("application", 300);
    daemon.drained();
    assert_eq!(number(&receiver, "github"), 20);
}

#[test]
fn what_comes_again_under_another_id_is_told() {
    let receiver = receiver("");
    let daemon = receiver.start();
    daemon.expect(200, &delivery(1));
    // Delivered anew by its sender: nothing to tell.
    daemon.expect(200, &delivery(1));
    daemon.lines("github", 1);
    assert_eq!(daemon.lines("custom-webhook", 1).len(), 1);
    // The same signed body, by somebody who has seen it; or what happened twice.
    daemon.expect(200, &github("security_advisory", "another-id", &advisory(1)));
    let said = daemon.lines("custom-webhook", 2);
    assert_eq!((&said[1]["event"], &said[1]["for_source"]), (&"replayed".into(), &"github".into()));
    assert_eq!(receiver.output().of("github").len(), 1);
}
