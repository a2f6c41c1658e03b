//! Blocks and unblocks an address for Wazuh; see the library.

fn main() -> std::process::ExitCode {
    custom_block::run()
}
