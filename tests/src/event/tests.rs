use super::{check, read, top_keys};

const LISTENER: &str = r#"{"timestamp":"2026-11-21T09:33:39.120Z","wodle":"system-audit","schema":"1","event":"listen_open","process":{"name":"sshd"},"process_name":"sshd","pid":812,"dstuser":"root","user":"root","local_addr":"[::]:22","remote_addr":"[::]:*","local_ip":"::","local_port":22,"protocol":"tcp","family":"ipv6","state":"listen","direction":"listen","bind_scope":"any","fd":3,"fds":"3","stdio_socket":false,"inode":"371274","cookie":"4207","holders":1,"holder_pids":"812","euid":0,"ruid":0,"suid":0,"root_reason":"euid0","caps":"all","ppid":1,"start_time":"2026-11-20T07:00:01Z","netns":"4026531840","netns_host":true,"scan_id":"x"}"#;

#[test]
fn a_listener_is_an_event() {
    let event = check(LISTENER.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(event["pid"], 812);
}

#[test]
fn whatever_the_schema_forbids_is_refused() {
    for (from, to) in [
        (r#""pid":812"#, r#""pid":812.5"#),
        (r#""pid":812"#, r#""pid":2147483648"#),
        (r#""pid":812"#, r#""pid":"812""#),
        (r#""pid":812,"#, r#""pid":812,"pid":812,"#),
        (r#""pid":812"#, r#""pid":0"#),
        (r#""pid":812,"#, ""),
        (r#""dstuser":"root","user":"root""#, r#""user":"root","dstuser":"root""#),
        (r#""dstuser":"root""#, r#""dstuser":"nobody""#),
        (r#""caps":"all""#, r#""caps":"""#),
        (r#""caps":"all""#, r#""caps":null"#),
        (r#""caps":"all""#, r#""caps":["all"]"#),
        (r#""caps":"all""#, r#""caps":{"all":"all"}"#),
        (r#""caps":"all""#, r#""caps":"all","more":"x""#),
        (r#""caps":"all""#, r#""caps":"all","srcip":"::FFFF:1.2.3.4""#),
        (r#""caps":"all""#, r#""caps":"all","exe_sha256":"ab""#),
        (r#""caps":"all""#, r#""caps":"all","baseline":true"#),
        (r#""name":"sshd""#, r#""name":"sshd","pid":"812""#),
        (r#"{"name":"sshd"}"#, r#""dropbear""#),
        (r#""euid":0"#, r#""euid":33"#),
        (r#""root_reason":"euid0""#, r#""root_reason":"cap:""#),
        (r#""state":"listen""#, r#""state":"LISTEN""#),
        (r#""fds":"3""#, r#""fds":"4,3""#),
        (r#""stdio_socket":false"#, r#""stdio_socket":true"#),
        (r#""inode":"371274""#, r#""inode":371274"#),
        (r#""local_addr":"[::]:22""#, r#""local_addr":":::22""#),
        ("39.120Z", "39Z"),
        ("39.120Z", "39.120+00:00"),
        (r#"{"timestamp""#, r#" {"timestamp""#),
        (r#""scan_id":"x"}"#, r#""scan_id":"x"} {}"#),
        (r#""scan_id":"x"}"#, r#""scan_id":"x""#),
    ] {
        let changed = LISTENER.replacen(from, to, 1);
        assert_ne!(changed, LISTENER, "{from}");
        assert!(check(changed.as_bytes()).is_err(), "{to} is accepted");
    }
}

#[test]
fn a_long_line_is_refused() {
    let with = |length: usize| LISTENER.replacen("all", &"a".repeat(length), 1);
    let most = 4095 - (LISTENER.len() - 3);
    assert!(check(with(most).as_bytes()).is_ok());
    assert!(check(with(most + 1).as_bytes()).is_err());
}

#[test]
fn a_name_may_be_anything_that_is_written_rightly() {
    for name in [r"a\u0022b\\c)", "é", r"\ufffd\\x1b[31m", r#"\",\"user\":\"x"#] {
        let line = LISTENER.replace(r#":"sshd""#, &format!(r#":"{name}""#));
        assert!(check(line.as_bytes()).is_ok(), "{line}");
    }
    for name in ["a\nb", r"a\nb", r"\u001b[31m", r"a\u0000", r"\u0085"] {
        let line = LISTENER.replace("sshd", name);
        assert!(check(line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
#[should_panic(expected = "a line without end")]
fn a_line_without_end_is_no_event() {
    let _ = read(LISTENER.as_bytes());
}

#[test]
#[should_panic(expected = "warning")]
fn what_stderr_said_is_no_event() {
    let _ = read(format!("{LISTENER}\nwarning: something\n").as_bytes());
}

#[test]
fn keys_are_those_of_the_object_itself() {
    assert_eq!(top_keys(r#"{"a":{"b":1},"c\"":"d:\"e\":","f":["g:"] , "h" : 1}"#), ["a", r#"c\""#, "f", "h"]);
}
