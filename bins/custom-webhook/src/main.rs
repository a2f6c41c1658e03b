//! Receives events for Wazuh; see the library.

/// musl's own maps and unmaps memory for each body.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> std::process::ExitCode {
    custom_webhook::run()
}
