//! The configuration file.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use common::config::{ConfigError, parse_duration};
use custom_block::config::{Allowed, Settings, parse_allowed};

/// What libFuzzer and the driver put in.
pub const WORDS: &[&str] = &[
    "backends = [", "\"auto\"", "\"nftables\"", "\"api\"", "\"file\"", "ip_fields = [", "ttl = ", "max_ttl = ", "deadline = ",
    "max_blocks_per_minute = ", "max_blocks = ", "widest = { ipv4 = 24, ipv6 = 56 }", "ipv6_hosts_per_network = ",
    "allowlist = [", "allowlist_files = [", "hold = true", "close_budget = ", "[escalation]", "factors = [", "decay = ",
    "[nftables]", "[iptables]", "chain = ", "[file]", "path = ", "[[api]]", "name = ", "preset = ", "url = ", "token_file = ",
    "[[api.add]]", "[[api.delete]]", "body = ", "{{", "}}", "{ip}", "${", "\"\"\"", "'''", "\"24h\"", "\"1h 30m\"", "1e400", "0x7f", "nan",
    "2026-01-01T00:00:00Z", "9223372036854775807", "18446744073709551615", "\\u0000", "\n", "# ", " = ", "{", "}", "[", "]",
];

/// Every key, and each kind of table.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "backends = [\"auto\"]\nip_fields = [\"data.x\", \"/a.b/c~1d\"]\nttl = \"24h\"\nmax_ttl = \"30d\"\ndeadline = 5\n\
         max_blocks_per_minute = 1000\nmax_blocks = 100000\nwidest = { ipv4 = 24, ipv6 = 56 }\n\
         widest_administrator = { ipv4 = 16, ipv6 = 48 }\nipv6_hosts_per_network = 8\nallowlist = [\"192.0.2.0/24\", \"a.example\"]\n\
         allowlist_files = [\"/etc/allow\"]\nhold = false\nprotect_sessions = true\nclose_connections = true\nclose_budget = \"50ms\"\n\
         metrics_file = \"/var/lib/x.prom\"\n[escalation]\nfactors = [1, 4, 24]\ndecay = \"7d\"\n[nftables]\noutbound = true\nreject = true\n\
         [iptables]\nchain = \"X\"\n[file]\npath = \"/srv/list\"\n",
        "backends = [\"nftables\", \"api\"]\n[[api]]\nname = \"fw\"\npreset = \"generic\"\nurl = \"https://fw.example\"\n",
        "[[api]]\nname = \"a\"\npreset = \"opnsense\"\nurl = \"https://fw.example/x\"\n[[api]]\nname = \"b\"\npreset = \"cloudflare\"\n",
        "ttl = 0\n",
        "allowlist = [\"10.0.0.0/33\"]\n",
        "\u{feff}# x\r\n'a' = 1\n",
        "",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

/// Loads it as a file; what is understood means the same after it was kept.
pub fn check(data: &[u8]) {
    let path = crate::scratch().join("custom-block.toml");
    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(data).and_then(|()| file.set_len(length))).expect("our own file");
    match Settings::load(&path) {
        Ok(settings) => {
            let json = serde_json::to_string(&settings).expect("JSON");
            let kept: Settings = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
            assert_eq!(format!("{settings:?}"), format!("{kept:?}"));
            assert!(!settings.backends.is_empty() && !settings.ttl.is_zero() && settings.ttl <= settings.max_ttl);
            for allowed in &settings.allowlist {
                let again = parse_allowed(&allowed.to_string());
                assert_eq!(again.as_ref(), Some(allowed), "{allowed}");
            }
        }
        Err(ConfigError::Syntax { line, message, .. }) => {
            let lines = data.iter().filter(|&&byte| byte == b'\n').count() + 1;
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {message}");
            assert!(!message.contains('\n'), "{message:?}");
        }
        Err(error) => assert!(data.len() > 1024 * 1024, "{error}"),
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = parse_duration(text);
        if let Some(Allowed::Name(name)) = parse_allowed(text) {
            assert!(name.len() <= 253 && name.is_ascii() && !name.contains(['/', '\n', ' ']), "{name:?}");
        }
    }
}
