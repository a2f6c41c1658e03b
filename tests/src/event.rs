//! The schema of custom-audit's events, written down a second time: every line
//! of every test is held against it.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// A line of this length or more is no event: with its end it would not fit
/// into a pipe as a whole.
pub const LONGEST: usize = 4096;

/// What a value may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bool,
    /// A whole number of 31 bits.
    Int,
    /// Any text but none.
    Text,
    /// A number as text, because it may be a large one.
    Digits,
    /// Such numbers with commas between.
    Numbers,
    /// RFC 3339 in UTC, with or without a fraction.
    Time,
    /// An address.
    Ip,
    /// This many hexadecimal digits.
    Hex(usize),
    /// The mode of a file.
    Octal,
    /// One of these.
    One(&'static [&'static str]),
    /// `euid0`, `suid0`, `ruid0`, or `cap:` and names.
    Reason,
    /// The one key that may have a key of its own.
    Process,
}
use Kind::{Bool, Digits, Hex, Int, Ip, Numbers, Octal, One, Process, Reason, Text, Time};

const EVENTS: &[&str] = &[
    "conn_new",
    "conn_open",
    "conn_closed",
    "listen_new",
    "listen_open",
    "listen_closed",
    "raw_new",
    "raw_open",
    "packet_new",
    "packet_open",
    "unattributed",
    "summary",
    "error",
];
const STATES: &[&str] = &[
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait_1",
    "fin_wait_2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "new_syn_recv",
    "unconnected",
];
const REMOTE_SCOPES: &[&str] =
    &["loopback", "private", "linklocal", "cgnat", "multicast", "broadcast", "documentation", "public"];
const BIND_SCOPES: &[&str] = &[
    "any",
    "loopback",
    "private",
    "linklocal",
    "cgnat",
    "multicast",
    "broadcast",
    "documentation",
    "public",
];

/// Keys, and what their values may be.
type Table = &'static [(&'static str, Kind)];

/// In every event.
const ALWAYS: Table = &[
    ("timestamp", Time),
    ("wodle", One(&["system-audit"])),
    ("schema", One(&["1"])),
    ("event", One(EVENTS)),
    ("process", Process),
    ("process_name", Text),
    ("pid", Int),
    ("dstuser", Text),
    ("user", Text),
    ("local_addr", Text),
    ("remote_addr", Text),
];

/// What is known of a socket, and of who holds it.
const SOCKET: Table = &[
    ("local_ip", Ip),
    ("local_port", Int),
    ("remote_ip", Ip),
    ("remote_port", Int),
    ("protocol", One(&["tcp", "udp", "raw", "packet", "mptcp", "udplite"])),
    ("family", One(&["ipv4", "ipv6", "packet"])),
    ("state", One(STATES)),
    ("direction", One(&["inbound", "outbound", "listen"])),
    ("direction_by", One(&["listener", "ports"])),
    ("remote_scope", One(REMOTE_SCOPES)),
    ("bind_scope", One(BIND_SCOPES)),
    ("srcip", Ip),
    ("srcport", Int),
    ("dstip", Ip),
    ("dstport", Int),
    ("ip_protocol", Int),
    ("interface", Text),
    ("ethertype", Text),
    ("fd", Int),
    ("fds", Numbers),
    ("stdio_socket", Bool),
    ("inode", Digits),
    ("cookie", Digits),
    ("holders", Int),
    ("holder_pids", Numbers),
    ("euid", Int),
    ("ruid", Int),
    ("suid", Int),
    ("loginuid", Digits),
    ("socket_uid", Int),
    ("socket_uid_mismatch", Bool),
    ("root_reason", Reason),
    ("caps", Text),
    ("exe", Text),
    ("exe_deleted", Bool),
    ("exe_replaced", Bool),
    ("exe_location", One(&["system", "tmp", "home", "memfd", "container", "other"])),
    ("exe_sha256", Hex(64)),
    ("exe_mode", Octal),
    ("cmdline", Text),
    ("ppid", Int),
    ("parent_process", Text),
    ("parent_exe", Text),
    ("ancestry", Text),
    ("tty", Text),
    ("start_time", Time),
    ("netns", Digits),
    ("netns_host", Bool),
    ("container_id", Text),
    ("container_runtime", Text),
    ("unit", Text),
    ("cgroup", Text),
    ("first_seen", Time),
    ("age_s", Int),
    ("new_remote", Bool),
    ("new_exe", Bool),
    ("seen_count", Int),
    ("scan_id", Text),
    ("baseline", Bool),
    ("hint", One(&["nfs", "vxlan", "geneve", "wireguard", "unreadable", "unknown"])),
];

/// The heartbeat: all of it, always.
const SUMMARY: Table = &[
    ("sockets_total", Int),
    ("root_sockets", Int),
    ("root_processes", Int),
    ("scanned_pids", Int),
    ("scanned_fds", Int),
    ("emitted", Int),
    ("suppressed", Int),
    ("deferred", Int),
    ("races", Int),
    ("netns_count", Int),
    ("strategy", Text),
    ("duration_ms", Int),
    ("cpu_ms", Int),
    ("degraded", Text),
    ("looks", Int),
    ("version", Text),
    ("hostname", Text),
    ("kernel", Text),
    ("uptime_s", Int),
    ("boot_time", Time),
    ("new", Int),
    ("closed", Int),
    ("unattributed", Int),
];
/// Which run it was: may be in both.
const RUN: Table = &[("scan_id", Text), ("baseline", Bool)];
const ERROR: Table = &[("error", Text), ("error_kind", Text)];

/// What an event that says a socket is there must have. All else that a living
/// holder has may be gone with it by the time it is asked for.
const HOLDER: &[&str] = &[
    "fd",
    "fds",
    "stdio_socket",
    "inode",
    "holders",
    "holder_pids",
    "euid",
    "root_reason",
    "ppid",
    "scan_id",
];
/// The state first: what has closed has none any more.
const ENDS: &[&str] = &[
    "state",
    "local_ip",
    "local_port",
    "remote_ip",
    "remote_port",
    "protocol",
    "family",
    "direction",
    "remote_scope",
    "srcip",
    "srcport",
    "dstip",
    "dstport",
];
const LISTENER: &[&str] =
    &["state", "local_ip", "local_port", "protocol", "family", "direction", "bind_scope"];
const DIFFERENCE: &[&str] = &["first_seen", "baseline"];

/// The keys of an event of this name beside those of all: what it may have,
/// and which of them it must have.
fn keys_of(event: &str) -> (&'static [Table], Vec<&'static str>) {
    let socket: &[Table] = &[SOCKET];
    let all = |groups: &[&[&'static str]]| groups.concat();
    match event {
        "summary" => (&[SUMMARY, RUN], SUMMARY.iter().map(|(key, _)| *key).collect()),
        "error" => (&[ERROR, RUN], ERROR.iter().map(|(key, _)| *key).collect()),
        "conn_open" => (socket, all(&[ENDS, HOLDER])),
        "conn_new" => (socket, all(&[ENDS, HOLDER, DIFFERENCE])),
        "conn_closed" => (socket, all(&[&ENDS[1..], DIFFERENCE, &["inode", "age_s"]])),
        "listen_open" => (socket, all(&[LISTENER, HOLDER])),
        "listen_new" => (socket, all(&[LISTENER, HOLDER, DIFFERENCE])),
        "listen_closed" => (socket, all(&[&LISTENER[1..], DIFFERENCE, &["inode", "age_s"]])),
        "raw_open" => (socket, all(&[&["protocol", "family", "ip_protocol"], HOLDER])),
        "raw_new" => (socket, all(&[&["protocol", "family", "ip_protocol"], HOLDER, DIFFERENCE])),
        "packet_open" => (socket, all(&[&["protocol", "family"], HOLDER])),
        "packet_new" => (socket, all(&[&["protocol", "family"], HOLDER, DIFFERENCE])),
        _ => (socket, vec!["protocol", "family", "inode", "hint", "scan_id"]),
    }
}

/// What was written, as events.
///
/// # Panics
/// When a line is none, or has no end.
#[must_use]
pub fn read(written: &[u8]) -> Vec<Value> {
    let mut lines: Vec<&[u8]> = written.split(|&byte| byte == b'\n').collect();
    let rest = lines.pop().unwrap_or_default();
    assert!(rest.is_empty(), "a line without end: {}", String::from_utf8_lossy(rest));
    let read = |(at, line): (usize, &&[u8])| match check(line) {
        Ok(event) => event,
        // With what follows: a complaint has several lines.
        Err(error) => {
            let complaint = lines[at..].iter().take(5).map(|line| String::from_utf8_lossy(line));
            panic!("{error}: {}", complaint.collect::<Vec<_>>().join("\n"))
        }
    };
    lines.iter().enumerate().map(read).collect()
}

/// One line without its end.
///
/// # Errors
/// Why it is no event.
pub fn check(line: &[u8]) -> Result<Value, String> {
    if line.len() >= LONGEST {
        return Err(format!("{} bytes", line.len()));
    }
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    // As the decoder of Wazuh asks for it.
    if !text.starts_with("{\"") || !text.ends_with('}') {
        return Err("not one object alone on its line".into());
    }
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let object = value.as_object().ok_or("not an object")?;
    let order = top_keys(text);
    if order.len() != object.len() {
        return Err("a key stands there twice".into());
    }
    let place = |key: &str| order.iter().position(|&other| other == key);
    if place("dstuser") > place("user") {
        return Err("user stands before dstuser".into());
    }
    let event = object.get("event").and_then(Value::as_str).ok_or("no event")?;
    let (may, must) = keys_of(event);
    let known = || ALWAYS.iter().chain(may.iter().copied().flatten());
    for (key, value) in object {
        let Some((_, kind)) = known().find(|(name, _)| name == key) else {
            return Err(format!("{key} has no place in {event}"));
        };
        kind.check(value).map_err(|error| format!("{key}: {error}"))?;
    }
    let needed = ALWAYS.iter().map(|(key, _)| *key).chain(must);
    for key in needed {
        if !object.contains_key(key) {
            return Err(format!("{event} without {key}"));
        }
    }
    agrees(event, object)?;
    Ok(value)
}

impl Kind {
    fn check(self, value: &Value) -> Result<(), String> {
        let text = value.as_str().unwrap_or_default();
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let right = match self {
            Bool => value.is_boolean(),
            Int => value.as_i64().is_some_and(|number| (0..=i64::from(i32::MAX)).contains(&number)),
            Text => is_text(value),
            Digits => digits(text),
            // As many as there is room for.
            Numbers => text.strip_suffix(",…").unwrap_or(text).split(',').all(digits),
            Time => is_time(text),
            Ip => text.parse::<IpAddr>().is_ok_and(|address| address.to_string() == text),
            Hex(length) => {
                text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            }
            Octal => text.len() == 4 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)),
            One(allowed) => allowed.contains(&text),
            Reason => {
                ["euid0", "suid0", "ruid0", "thread"].contains(&text)
                    || text.strip_prefix("cap:").is_some_and(|names| names.split(',').all(|n| !n.is_empty()))
            }
            Process => match value {
                Value::Object(inner) => inner.len() == 1 && inner.get("name").is_some_and(is_text),
                other => is_text(other),
            },
        };
        if right { Ok(()) } else { Err(format!("{value} is not {self:?}")) }
    }
}

/// Not empty, and nothing in it that would act on a terminal.
fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && !text.chars().any(char::is_control))
}

/// `2026-11-21T09:33:39Z`, with or without `.120`.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    ["0000-00-00T00:00:00Z", "0000-00-00T00:00:00.000Z"].contains(&shape.as_str())
}

/// The object's own keys, as they follow each other in valid JSON.
fn top_keys(text: &str) -> Vec<&str> {
    let (mut keys, mut depth, mut start, mut escaped) = (Vec::new(), 0, None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (start, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(from), b'"') => {
                start = None;
                if depth == 1 && text[at + 1..].trim_start().starts_with(':') {
                    keys.push(&text[from..at]);
                }
            }
            (None, b'"') => start = Some(at + 1),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => depth -= 1,
            _ => {}
        }
    }
    keys
}

/// What must agree with each other.
fn agrees(event: &str, object: &Map<String, Value>) -> Result<(), String> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let number = |key: &str| object.get(key).and_then(Value::as_i64);
    let fails = |what: &str| Err(format!("{event}: {what}"));
    let name = object["process"].as_str().or_else(|| object["process"]["name"].as_str());
    if name != text("process_name") {
        return fails("process and process_name differ");
    }
    if text("user") != text("dstuser") {
        return fails("user and dstuser differ");
    }
    if text("timestamp").is_none_or(|time| time.len() != "2026-11-21T09:33:39.120Z".len()) {
        return fails("a timestamp without milliseconds");
    }
    if event == "summary" || event == "error" {
        let both = text("local_addr") == Some("-") && text("remote_addr") == Some("-");
        return if both { Ok(()) } else { fails("an address") };
    }
    if (event == "unattributed") != (number("pid") == Some(0)) {
        return fails("the pid of nobody, or of somebody");
    }
    if event == "unattributed" && text("process_name") != Some("none") {
        return fails("the name of nobody");
    }
    for (addr, ip, port) in
        [("local_addr", "local_ip", "local_port"), ("remote_addr", "remote_ip", "remote_port")]
    {
        if let (Some(ip), Some(port)) = (text(ip), number(port)) {
            let whole = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
            if text(addr) != Some(whole.as_str()) {
                return fails(addr);
            }
        }
    }
    if event.starts_with("listen_")
        && (!["0.0.0.0:*", "[::]:*"].contains(&text("remote_addr").unwrap_or_default())
            || text("direction") != Some("listen")
            || object.contains_key("remote_ip"))
    {
        return fails("a listener with a peer");
    }
    if event.starts_with("conn_") && text("direction") == Some("listen") {
        return fails("a connection that listens");
    }
    let fds: Vec<&str> = text("fds").into_iter().flat_map(|fds| fds.split(',')).collect();
    if fds.first().map(|first| first.parse().ok()) != object.contains_key("fd").then(|| number("fd")) {
        return fails("fd is not the first of fds");
    }
    let stdio = object.get("stdio_socket").and_then(Value::as_bool);
    if !fds.is_empty() && stdio != Some(fds.iter().any(|fd| ["0", "1", "2"].contains(fd))) {
        return fails("stdio_socket and fds differ");
    }
    let holders: Vec<&str> = text("holder_pids").into_iter().flat_map(|pids| pids.split(',')).collect();
    if number("holders").is_some_and(|count| holders.len() as i64 > count) {
        return fails("more holders named than counted");
    }
    let uid = match text("root_reason") {
        Some("euid0") => number("euid"),
        Some("suid0") => number("suid"),
        Some("ruid0") => number("ruid"),
        _ => None,
    };
    if uid.is_some_and(|uid| uid != 0) {
        return fails("a process that is not root");
    }
    if object.contains_key("exe_replaced") && object.get("exe_deleted") != Some(&Value::Bool(true)) {
        return fails("replaced, and not deleted");
    }
    if event.ends_with("_open") && DIFFERENCE.iter().any(|key| object.contains_key(*key)) {
        return fails("a full look that remembers");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
