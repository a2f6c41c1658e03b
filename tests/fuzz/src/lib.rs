//! What no input may do, whoever wrote it.
//!
//! Each target takes bytes, does with them what the program does, and panics
//! when something is true that must not be. libFuzzer runs them
//! (`fuzz_targets/`), or the driver of our own (`src/bin/mutate.rs`).

pub mod netlink;
pub mod ossec_conf;
pub mod request;
pub mod toml;

/// One target.
pub struct Target {
    /// Its name, which is also that of its libFuzzer binary.
    pub name: &'static str,
    /// Panics when it should not be so.
    pub check: fn(&[u8]),
    /// Where to begin.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words worth putting in.
    pub words: &'static [&'static str],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "request", check: request::check, seeds: request::seeds, words: request::WORDS },
    Target { name: "netlink", check: netlink::check, seeds: netlink::seeds, words: netlink::WORDS },
    Target { name: "ossec_conf", check: ossec_conf::check, seeds: ossec_conf::seeds, words: ossec_conf::WORDS },
    Target { name: "toml", check: toml::check, seeds: toml::seeds, words: toml::WORDS },
];

/// A directory of this process, for what can be read from a file only. It lies
/// where TMPDIR says, which `tests/fuzz/run` removes.
fn scratch() -> &'static std::path::Path {
    static SCRATCH: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    SCRATCH.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path()
}
