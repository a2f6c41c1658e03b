//! Blocks and unblocks an address for Wazuh; see the library.

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> std::process::ExitCode {
    custom_block::run()
}
