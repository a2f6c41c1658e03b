//! What the man page of `custom-audit` says beside the command line.

use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory};

use super::Page;

pub(crate) const PAGE: Page = Page {
    program: "custom-audit",
    command,
    more: &[
        (
            "FILES",
            &[
                (
                    "/etc/wazuh-toolkit/custom-audit.toml",
                    "The configuration. Optional; every key and its default stands in the example that is \
                     shipped. It is refused, and the defaults apply, when anybody but root can write it.",
                ),
                (
                    "/var/lib/wazuh-toolkit/custom-audit/state",
                    "What the last run saw. The file lock beside it keeps two runs apart. A state that is \
                     damaged, or that somebody else may have written, becomes state.bad, and the next run \
                     says everything anew (baseline).",
                ),
                (
                    "/usr/lib/wazuh-toolkit/custom-audit",
                    "Where the command of the wodle in ossec.conf is meant to find the program.",
                ),
                (
                    "/var/ossec/etc/ossec.conf, /var/ossec/etc/shared/agent.conf, \
                     /var/ossec/etc/local_internal_options.conf",
                    "Read by doctor, for the wodle and whether it may come from the manager.",
                ),
            ],
        ),
        (
            "ENVIRONMENT",
            &[
                ("WAZUH_HOME", "As --home."),
                ("WAZUH_TOOLKIT_STATE_DIR", "As --state-dir."),
                ("WAZUH_TOOLKIT_CONFIG_DIR", "The folder in which custom-audit.toml is looked for."),
                ("NO_COLOR", "When it is set, --table has no colours."),
            ],
        ),
        (
            "EXIT STATUS",
            &[
                (
                    "0",
                    "It could look, or another run was not over yet. Neither what it found nor a broken \
                     configuration changes anything of this.",
                ),
                ("1", "It could not look at all, or doctor found something."),
                ("2", "Not a command, or not a key that explain knows."),
                ("78", "--check-config of a broken configuration."),
            ],
        ),
        (
            "EXAMPLES",
            &[
                ("custom-audit --table", "What root's processes are connected to now."),
                ("custom-audit --full --max-events 0", "The same as events. Nothing is remembered of it."),
                ("custom-audit --wodle", "A run as Wazuh starts it: what is new and what is gone."),
                (
                    "custom-audit --wodle --watch 50",
                    "Look for fifty seconds, for connections that do not last from run to run.",
                ),
                ("custom-audit explain root_reason", "What the key means, and its values."),
                ("custom-audit --check-config", "After the configuration was changed."),
            ],
        ),
        (
            "NOTES",
            &[
                ("", "What cannot be seen:"),
                (
                    "short connections",
                    "What begins and ends between two looks. With --watch there is a look each second \
                     (watch_pause), for as long as it lasts; what is shorter still is not seen.",
                ),
                (
                    "descriptors in flight",
                    "A socket that was sent to another process, which has not taken it yet, is held by nobody. \
                     When root made it, it is said as unattributed.",
                ),
                (
                    "sockets that change hands",
                    "Where root has hundreds of sockets and most of the host's, and none of them is new, \
                     a process with as many descriptors as before is taken to hold the same ones. An old \
                     socket that an old process takes over, while it closes another one, is noticed at the \
                     next complete look (full_look).",
                ),
                (
                    "sockets without a process",
                    "Where the host has more than 256 TCP sockets, a new one may be noticed no sooner than at \
                     the next complete look (full_look).",
                ),
                (
                    "other hosts",
                    "Processes outside the pid namespace it runs in, and whatever the kernel itself was made \
                     to hide.",
                ),
                (
                    "",
                    "A process can give itself any name and any command line. One of root can also have another \
                     executable shown, and move into the control group of another unit. The uids and the \
                     addresses are the kernel's own.",
                ),
            ],
        ),
    ],
};

/// The command line, which takes any text for a key, with the keys that there
/// are: completions offer them.
fn command() -> Command {
    let keys = PossibleValuesParser::new(custom_audit::key::KEYS.iter().map(|key| key.name));
    custom_audit::cli::Cli::command()
        .mut_subcommand("explain", |verb| verb.mut_arg("key", |arg| arg.value_parser(keys)))
}
