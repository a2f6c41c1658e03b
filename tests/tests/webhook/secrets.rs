//! What nobody may see, and where it may lie.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use harness::webhook::{GITHUB, SECRETS, TOKEN, alarm, delivery, event, login, row, sign, signed_event};

use crate::receiver;

#[track_caller]
fn shows_none(text: &[u8], what: &str) {
    for secret in SECRETS {
        let half = &secret.as_bytes()[secret.len() / 2..];
        assert!(!text.windows(half.len()).any(|window| window == half), "{what} shows {secret}");
    }
}

fn walk(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() { walk(&entry.path(), each) } else { each(&entry.path()) }
    }
}

#[test]
fn secrets_are_shown_nowhere() {
    let receiver = receiver("");
    let daemon = receiver.start();
    // Right ones, wrong ones, and where they do not belong.
    for request in [
        delivery(1),
        login("alice"),
        row(1),
        alarm("x"),
        signed_event("msg_1", "{\"action\":\"auth_login\"}"),
    ] {
        daemon.expect(200, &request);
    }
    let own = sign::github(GITHUB, delivery(2).body());
    let mut answers = Vec::new();
    for request in [
        delivery(2).with("X-Hub-Signature-256", &format!("sha256={}", "0".repeat(64))),
        delivery(2).with("X-Hub-Signature-256", GITHUB),
        login("alice").with("Authorization", &format!("Bearer {TOKEN}x")),
        login("alice").with("Authorization", TOKEN),
        login("alice").path(&format!("/events/{TOKEN}")),
        login("alice").path(&format!("/events?token={TOKEN}")).without("Authorization"),
        login("alice").with("Content-Type", TOKEN),
        event(&format!("{{\"action\":\"auth_login\" {TOKEN}")),
        delivery(2).with("X-GitHub-Event", GITHUB),
    ] {
        let answer = daemon.ask(&request);
        assert!(answer.status >= 400, "{}", answer.head);
        answers.extend([answer.head.clone().into_bytes(), answer.body]);
    }
    daemon.hang_up();
    daemon.drained();
    for path in ["/metrics", "/readyz", "/healthz", "/"] {
        answers.push(daemon.get(path).unwrap().body);
    }
    for answer in &answers {
        shows_none(answer, "an answer");
        let right = own.trim_start_matches("sha256=").as_bytes();
        assert!(
            !answer.windows(right.len()).any(|window| window == right),
            "the signature that would have been right"
        );
    }
    for file in ["cmdline", "environ"] {
        shows_none(&std::fs::read(format!("/proc/{}/{file}", daemon.pid())).unwrap(), file);
    }
    for args in [
        &["--help"][..],
        &["--check-config"],
        &["--version"],
        &["tail", "--once"],
        &["tail", "--raw", "--once"],
    ] {
        let output = receiver.verb(args);
        shows_none(&[output.stdout, output.stderr].concat(), args[0]);
    }
    let ended = daemon.terminate();
    shows_none(ended.log.as_bytes(), "the log");
    let mut files = 0;
    walk(receiver.dir(), &mut |path| {
        if !path.starts_with(receiver.dir().join("secret")) {
            files += 1;
            shows_none(&std::fs::read(path).unwrap(), &path.display().to_string());
        }
    });
    assert!(files >= 3, "{files}");
}

#[test]
fn what_an_event_says_of_secrets_is_redacted() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let body = format!(
        "{{\"action\":\"auth_login\",\"details\":{{\"password\":\"hunter2-{TOKEN}\",\"api_key\":\"{GITHUB}\",\"method\":\"totp\",\"APIToken\":\"{GITHUB}\",\"url\":\"https://u:{TOKEN}@h/?token={TOKEN}\",\"headers\":[{{\"name\":\"Authorization\",\"value\":\"Bearer {TOKEN}\"}}],\"body\":\"{{\\\"pwd\\\":\\\"{TOKEN}\\\"}}\"}}}}"
    );
    daemon.expect(200, &event(&body));
    let line = daemon.lines("application", 1)[0].to_string();
    assert!(line.contains("totp") && !line.contains("hunter2"), "{line}");
    shows_none(line.as_bytes(), "a line");
    shows_none(&std::fs::read(receiver.output().path()).unwrap(), "the file");
    daemon.stop();
    walk(&receiver.state(), &mut |path| {
        shows_none(&std::fs::read(path).unwrap(), &path.display().to_string())
    });
}

#[test]
fn a_secret_that_stands_in_the_configuration_is_not_shown() {
    let receiver = receiver("");
    for inline in [GITHUB.to_owned(), format!("credential:{GITHUB}/x")] {
        receiver.configure("", &format!("[github]\nsecret_files = [{inline:?}]\n"));
        let checked = receiver.verb(&["--check-config"]);
        assert_eq!(checked.status.code(), Some(78));
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(said.contains("secret_files"), "{said}");
        shows_none(said.as_bytes(), "--check-config");
        shows_none(receiver.refused().log.as_bytes(), "the log");
    }
}

#[test]
fn a_secret_that_others_may_read_or_that_is_none_is_refused_and_not_shown() {
    let receiver = receiver("");
    let path = receiver.dir().join("secret/github");
    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    let written = |text: &str| std::fs::write(&path, text).unwrap();
    let elsewhere = receiver.dir().join("secret/elsewhere");
    let kinds: [(&str, &dyn Fn()); 8] = [
        ("others may read it", &|| mode(0o644)),
        ("a group may read it", &|| mode(0o640)),
        ("it is short", &|| written("0123456789abcde\n")),
        ("it is empty", &|| written("")),
        ("it is no text", &|| std::fs::write(&path, b"\xff\xfe0123456789abcdef0123456789abcdef").unwrap()),
        ("it is missing", &|| std::fs::remove_file(&path).unwrap()),
        ("it is a link", &|| {
            std::fs::rename(&path, &elsewhere).unwrap();
            symlink(&elsewhere, &path).unwrap();
        }),
        ("it is a folder", &|| {
            std::fs::remove_file(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
        }),
    ];
    for (what, spoil) in kinds {
        let _ = std::fs::remove_dir(&path);
        receiver.secret("github", GITHUB);
        assert_eq!(receiver.verb(&["--check-config"]).status.code(), Some(0));
        spoil();
        let checked = receiver.verb(&["--check-config"]);
        assert_eq!(checked.status.code(), Some(78), "{what}");
        let ended = receiver.refused();
        assert_eq!((ended.code, ended.signal), (Some(78), None), "{what}: {}", ended.log);
        for said in [String::from_utf8_lossy(&checked.stderr).into_owned(), ended.log] {
            assert!(said.contains("secret/github"), "{what}: which one? {said}");
            shows_none(said.as_bytes(), what);
            assert!(!said.contains("0123456789"), "{what}: {said}");
        }
    }
}
