//! Wires the toolkit into Wazuh; see the library.

fn main() -> std::process::ExitCode {
    wazuh_toolkit::run()
}
