//! The program under test: the release binary, as it is shipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The root of the source tree.
#[must_use]
pub fn source_tree() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// `custom-block`: the file that `CUSTOM_BLOCK_BIN` names, else what
/// `packaging/build` makes of the sources.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn custom_block() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("CUSTOM_BLOCK_BIN") {
        Some(path) => std::fs::canonicalize(&path).expect("CUSTOM_BLOCK_BIN names a file"),
        None => build("custom-block"),
    })
}

/// `custom-audit`: the file that `CUSTOM_AUDIT_BIN` names, else what
/// `packaging/build` makes of the sources.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn custom_audit() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("CUSTOM_AUDIT_BIN") {
        Some(path) => std::fs::canonicalize(&path).expect("CUSTOM_AUDIT_BIN names a file"),
        None => build("custom-audit"),
    })
}

/// `custom-webhook`: the file that `CUSTOM_WEBHOOK_BIN` names, else what
/// `packaging/build` makes of the sources.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn custom_webhook() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("CUSTOM_WEBHOOK_BIN") {
        Some(path) => std::fs::canonicalize(&path).expect("CUSTOM_WEBHOOK_BIN names a file"),
        None => build("custom-webhook"),
    })
}

/// `wazuh-toolkit`: the file that `WAZUH_TOOLKIT_BIN` names, else what
/// `packaging/build` makes of the sources.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn wazuh_toolkit() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("WAZUH_TOOLKIT_BIN") {
        Some(path) => std::fs::canonicalize(&path).expect("WAZUH_TOOLKIT_BIN names a file"),
        None => build("wazuh-toolkit"),
    })
}

fn build(program: &str) -> PathBuf {
    let script = source_tree().join("packaging/build");
    let output = Command::new("sh").arg(script).arg(program).stderr(Stdio::inherit()).output();
    let output = output.expect("there is a shell");
    assert!(output.status.success(), "packaging/build {program} failed");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
