use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::Wodle;

const EVENT: &str = r#"{"timestamp":"2026-11-21T09:33:39.120Z","wodle":"system-audit","schema":"1","event":"error","process":"custom-audit","process_name":"custom-audit","pid":1,"dstuser":"root","user":"root","local_addr":"-","remote_addr":"-","error_kind":"WORD","error":"WORD"}"#;

fn shell() -> Wodle {
    Wodle::new(Path::new("/bin/sh"))
}

/// Says one event with what a command prints.
fn says(command: &str) -> String {
    let (before, after) = EVENT.split_once("WORD").unwrap_or_default();
    let after = after.replace("WORD", "x");
    format!("printf '{before}%s{after}\\n' \"$({command})\"")
}

#[test]
fn a_program_finds_what_modulesd_gives_it() {
    let wodle = shell();
    wodle.configure("x = 1\n");
    let home = wodle.home().to_string_lossy().into_owned();
    for (command, expected) in [
        ("pwd", home.as_str()),
        ("echo $WAZUH_HOME", &home),
        ("nice", "10"),
        ("readlink /proc/self/fd/0", "/dev/null"),
        ("test $$ = $(cut -d' ' -f6 /proc/$$/stat) && echo its own session", "its own session"),
        ("cat $WAZUH_TOOLKIT_CONFIG_DIR/custom-audit.toml", "x = 1"),
        ("stat -Lc %F /proc/$$/fd/2", "fifo"),
    ] {
        let run = wodle.run(&["-c", &says(command)]);
        assert_eq!(run.events[0]["error_kind"], *expected, "{command}");
        assert_eq!((run.code, run.signal), (Some(0), None));
    }
}

#[test]
#[should_panic(expected = "not one object")]
fn what_a_program_says_on_stderr_is_no_event() {
    shell().run(&["-c", "echo warning >&2"]);
}

#[test]
fn a_line_that_sigkill_cut_is_not_held_against_it() {
    let half = format!("{}; printf '{{\"half'; kill -9 $$", says("echo x"));
    let run = shell().run(&["-c", &half]);
    assert_eq!((run.code, run.signal, run.events.len()), (None, Some(Signal::SIGKILL as i32), 1));
    assert!(run.raw.ends_with(b"half"));
}

#[test]
#[should_panic(expected = "without end")]
fn a_line_that_sigterm_cut_is_held_against_it() {
    shell().run(&["-c", "printf '{\"half'; kill -15 $$"]);
}

#[test]
#[should_panic(expected = "it took longer")]
fn a_program_that_hangs_is_ended() {
    shell().call(&["-c", "sleep 60"]).limit(Duration::from_millis(200)).run();
}

#[test]
fn a_program_can_be_run_through_others_and_signalled() {
    let wodle = shell();
    let run = wodle.call(&["-c", &says("echo $X")]).through(["env", "X=y"]).run();
    assert_eq!(run.events[0]["error_kind"], "y");
    let mut started = wodle.start(&["-c", "sleep 60"]);
    assert!(!started.has_ended());
    // Not before it is in its own session.
    let session = format!("/proc/{}/stat", started.pid());
    assert!(crate::eventually(Duration::from_secs(5), || {
        std::fs::read_to_string(&session)
            .is_ok_and(|stat| stat.starts_with(&format!("{} (sh)", started.pid())))
    }));
    started.signal(Signal::SIGTERM);
    assert_eq!(started.wait().signal, Some(Signal::SIGTERM as i32));
}
