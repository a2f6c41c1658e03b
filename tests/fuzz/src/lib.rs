//! What no input may do, whoever wrote it.
//!
//! Each target takes bytes, does with them what the program does, and panics
//! when something is true that must not be. libFuzzer runs them
//! (`fuzz_targets/`), or the driver of our own (`src/bin/mutate.rs`).

pub mod netlink;
pub mod ossec_conf;
pub mod proc;
pub mod request;
pub mod toml;
pub mod webhook;

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
    Target { name: "proc", check: proc::check, seeds: proc::seeds, words: proc::WORDS },
    Target { name: "toml", check: toml::check, seeds: toml::seeds, words: toml::WORDS },
    Target { name: "github", check: webhook::github, seeds: webhook::github_seeds, words: webhook::WORDS },
    Target { name: "application", check: webhook::application, seeds: webhook::application_seeds, words: webhook::WORDS },
    Target { name: "supabase", check: webhook::supabase, seeds: webhook::supabase_seeds, words: webhook::WORDS },
    Target { name: "aws", check: webhook::aws, seeds: webhook::aws_seeds, words: webhook::WORDS },
    Target { name: "generic", check: webhook::generic, seeds: webhook::generic_seeds, words: webhook::WORDS },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// What is longer is tried less often: in the same time there are hundreds of
/// short ones.
pub const SHORT: usize = 16 * 1024;

/// Before libFuzzer begins: where FUZZ_SEEDS names a folder, writes what to
/// begin with to `short` and `long` in it, the words to `words`, and ends.
pub fn prepare(name: &str) {
    if let (Some(target), Some(folder)) = (target(name), std::env::var_os("FUZZ_SEEDS")) {
        let folder = std::path::PathBuf::from(folder);
        for (number, seed) in (target.seeds)().iter().enumerate() {
            let kind = folder.join(if seed.len() > SHORT { "long" } else { "short" });
            std::fs::create_dir_all(&kind).expect("a new folder");
            std::fs::write(kind.join(format!("seed-{number:03}")), seed).expect("a new file");
        }
        let escaped = |word: &str| word.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        let lines: String = target.words.iter().map(|word| format!("\"{}\"\n", escaped(word))).collect();
        std::fs::write(folder.join("words"), lines).expect("a new file");
        std::process::exit(0);
    }
    with_another_stack();
}

/// A stack for libFuzzer's signal handlers, so that it can keep an input that
/// used up the other one.
#[expect(unsafe_code, reason = "no crate offers both")]
fn with_another_stack() {
    use nix::libc::{SA_ONSTACK, SIGSEGV, sigaction, sigaltstack, stack_t};
    let memory = Box::leak(vec![0_u8; 256 * 1024].into_boxed_slice());
    let stack = stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: the memory is never freed and nobody else's; a structure of zeros
    // is an action, the usual one. Former values are not asked for.
    let done = unsafe {
        let mut usual: sigaction = std::mem::zeroed();
        // libFuzzer's own handler takes this flag over, and nothing else.
        usual.sa_flags = SA_ONSTACK;
        let set = sigaltstack(&raw const stack, std::ptr::null_mut());
        set | nix::libc::sigaction(SIGSEGV, &raw const usual, std::ptr::null_mut())
    };
    assert_eq!(done, 0);
}

/// A directory of this process, for what can be read from a file only. It lies
/// where TMPDIR says, which `tests/fuzz/run` removes.
fn scratch() -> &'static std::path::Path {
    static SCRATCH: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    SCRATCH.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path()
}
