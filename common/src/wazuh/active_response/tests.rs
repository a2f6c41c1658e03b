use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use super::*;

fn recorded(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/fixtures/active-response/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).expect(&path)
}

fn pipe() -> (File, File) {
    let (from, to) = nix::unistd::pipe().unwrap();
    (from.into(), to.into())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[test]
fn the_lines_of_4_14_7_are_requests() {
    for (name, action) in [("4.14.7-add", Action::Add), ("4.14.7-delete", Action::Delete)] {
        let request = Request::parse(&recorded(name)).unwrap();
        assert_eq!((request.generation, request.action), (Generation::Four, action));
        assert_eq!(request.alert.text("data.srcip").as_deref(), Some("203.0.113.50"));
        assert_eq!(request.program.as_deref(), Some("active-response/bin/custom-block"));
        assert_eq!(request.stateful_timeout, None);
        assert!(request.extra_args.is_empty());
    }
}

#[test]
fn the_lines_of_5_x_are_requests() {
    for (name, action) in [("5.x-enable", Action::Add), ("5.x-disable", Action::Delete)] {
        let request = Request::parse(&recorded(name)).unwrap();
        assert_eq!((request.generation, request.action), (Generation::Five, action));
        assert_eq!(request.alert.text("source.ip").as_deref(), Some("203.0.113.50"));
        assert_eq!(request.stateful_timeout, Some(3));
        assert_eq!(request.extra_args, ["--backend", "nftables"]);
    }
}

#[test]
fn a_5_x_timeout_may_stand_at_the_root_and_a_stateless_response_has_none() {
    let timeout = |line: &str| Request::parse(line.as_bytes()).unwrap().stateful_timeout;
    assert_eq!(
        timeout(r#"{"source":{"ip":"192.0.2.1"},"stateful_timeout":60,"command":"disable"}"#),
        Some(60)
    );
    assert_eq!(
        timeout(
            r#"{"wazuh":{"active_response":{"type":"stateless","stateful_timeout":60}},"command":"enable"}"#
        ),
        None
    );
}

#[test]
fn what_is_no_request_says_why() {
    let why = |line: &[u8]| Request::parse(line).unwrap_err().to_string();
    assert_eq!(why(b""), "empty input");
    assert_eq!(why(b" \r\n\t"), "empty input");
    assert!(why(b"GET / HTTP/1.1").starts_with("not JSON"));
    assert_eq!(why(b"[]"), "no command");
    assert_eq!(why(b"{}"), "no command");
    assert_eq!(why(br#"{"command":7}"#), "no command");
    assert_eq!(why(br#"{"command":"reboot"}"#), r#"unknown command "reboot""#);
    assert_eq!(why(br#"{"command":"add"}"#), "no alert under parameters");
    assert_eq!(why(br#"{"command":"add","parameters":{"alert":"x"}}"#), "no alert under parameters");
}

#[test]
fn keys_are_asked_and_the_answer_is_obeyed() {
    for (name, answer) in [("4.14.7-continue", Answer::Continue), ("5.x-abort", Answer::Abort)] {
        let (input, mut execd) = pipe();
        let (mut heard, output) = pipe();
        execd.write_all(&recorded(name)).unwrap();
        let mut session = Session::new(&input, &output, soon());
        assert_eq!(session.check_keys("custom-block", &["203.0.113.50"]).unwrap(), answer);
        drop(output);
        let mut line = String::new();
        heard.read_to_string(&mut line).unwrap();
        assert_eq!(
            line,
            concat!(
                r#"{"version":1,"origin":{"name":"custom-block","module":"active-response"},"#,
                r#""command":"check_keys","parameters":{"keys":["203.0.113.50"]}}"#,
                "\n"
            )
        );
    }
}

#[test]
fn nobody_behind_the_pipe_counts_as_continue() {
    let (input, execd) = pipe();
    let (heard, output) = pipe();
    drop(execd);
    assert_eq!(Session::new(&input, &output, soon()).check_keys("x", &["y"]).unwrap(), Answer::Continue);
    drop(heard);
    assert_eq!(Session::new(&input, &output, soon()).check_keys("x", &["y"]).unwrap(), Answer::Continue);
}

#[test]
fn only_one_line_is_taken_and_the_next_is_the_answer() {
    let (input, mut execd) = pipe();
    let (_heard, output) = pipe();
    execd.write_all(&recorded("4.14.7-add")).unwrap();
    execd.write_all(&recorded("4.14.7-abort")).unwrap();
    let mut session = Session::new(&input, &output, soon());
    assert_eq!(session.request().unwrap().action, Action::Add);
    assert_eq!(session.check_keys("x", &["y"]).unwrap(), Answer::Abort);
}

#[test]
fn half_a_line_ends_at_the_deadline() {
    let (input, mut execd) = pipe();
    let (_heard, output) = pipe();
    execd.write_all(b"{\"command\":").unwrap();
    let mut session = Session::new(&input, &output, Instant::now() + Duration::from_millis(60));
    assert!(matches!(session.request(), Err(SessionError::Deadline)));
}

#[test]
fn a_line_without_end_is_not_read_to_its_end() {
    let (input, mut execd) = pipe();
    let (_heard, output) = pipe();
    let writer = std::thread::spawn(move || {
        // Ends with EPIPE when the reader has had enough.
        while execd.write_all(&[b' '; 4096]).is_ok() {}
    });
    let mut session = Session::new(&input, &output, soon());
    assert!(matches!(session.request(), Err(SessionError::Request(BadRequest::TooLong))));
    drop(input);
    writer.join().unwrap();
}
