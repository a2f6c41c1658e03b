//! What the kernel says of processes that name themselves, and the state file.

use common::text::legible;
use common::wazuh::config::CommandWodle;
use custom_audit::detail::cgroup;
use custom_audit::look::{mount, process};
use custom_audit::state::{decode, encode};

/// What libFuzzer and the driver put in.
pub const WORDS: &[&str] = &[
    "(", ")", ") S 1", " - nfs4 ", "Uid:\t", "CapPrm:\t", "CapEff:\t", "0000000000200000", "\\040", "\\", "socket:[", "]",
    "net:[4026531840]", "custom-audit state 1\n", "/docker-", ".scope", "/lxc/", "<wodle name=\"command\">", "</wodle>",
    "<command>", "</command>", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "\n", "\0", "\u{feff}",
];

/// One of each.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "12 (a) S 1 (b\nc)) S 7 12 12 34816 12 4194560 0 0 0 0 1 2 0 0 20 0 1 0 987654 1 2",
        "Name:\tx\nUid:\t0\t65534\t0\t65534\nCapPrm:\t0000000000200000\nCapEff:\t0000000000000000\n",
        "36 35 98:0 /a\\040b /mnt/a\\040b\\134 rw,noatime master:1 shared:2 - nfs4 host:/x rw",
        "socket:[4711]",
        "/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope",
        "<ossec_config><wodle name=\"command\"><command>x</command><timeout>1</timeout></wodle></ossec_config>",
        "",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    seeds.extend(encode(&custom_audit::known::Known::default()));
    seeds
}

/// Nothing of it makes anything panic, and what is understood is bounded.
pub fn check(data: &[u8]) {
    if let Some(stat) = process::parse_stat(data) {
        assert!(stat.name.len() < data.len());
    }
    let _ = process::parse_status(data).and_then(|status| status.hidden_root());
    let _ = process::bracketed(data, b"socket:[");
    for line in data.split(|&byte| byte == b'\n') {
        if let Some(mount) = mount::parse(line) {
            assert!(mount.point().as_os_str().len() <= line.len());
        }
    }
    for most in [16, 900] {
        let text = legible(data, most);
        let quoted = serde_json::to_string(&text).expect("JSON");
        assert!(quoted.len() <= most + 2 && !text.chars().any(char::is_control), "{quoted}");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Some(container) = cgroup::container(text) {
            assert!(!container.id.is_empty() && container.id.len() <= text.len());
        }
        assert!(cgroup::unit(text).is_none_or(|unit| !unit.contains('/')));
        assert!(CommandWodle::parse(text).len() <= 256);
    }
    if let Ok(known) = decode(data) {
        let again = encode(&known).expect("it fits into memory");
        assert!(known.is_sound() && decode(&again).is_ok());
    }
    // The checksum keeps chance away from what is behind it: put a right one on.
    let mut state = b"custom-audit state 1\n".to_vec();
    state.extend_from_slice(data);
    let checksum = crc32fast::hash(&state);
    state.extend_from_slice(&checksum.to_le_bytes());
    if let Ok(known) = decode(&state) {
        assert!(known.is_sound());
    }
}
