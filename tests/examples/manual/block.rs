//! What the man page of `custom-block` says beside the command line.

use clap::CommandFactory;

use super::Page;

pub(crate) const PAGE: Page = Page {
    program: "custom-block",
    command: custom_block::cli::Cli::command,
    more: &[
        (
            "FILES",
            &[
                (
                    "/etc/wazuh-toolkit/custom-block.toml",
                    "The configuration. Optional; every key and its default stands in the example that is \
                 shipped. It is refused, and the defaults apply, when anybody but root can write it.",
                ),
                (
                    "/var/ossec/active-response/bin/custom-block",
                    "Where Wazuh looks for the program. Under another name (a link called firewall-drop) it \
                 is that active response to Wazuh.",
                ),
                (
                    "/var/ossec/etc/ossec.conf, /var/ossec/etc/shared/ar.conf",
                    "Read for the managers, which are never blocked, and for the timeouts of Wazuh.",
                ),
                ("/var/ossec/logs/active-responses.log", "The record: one line for each run."),
                (
                    "/var/lib/wazuh-toolkit/custom-block/",
                    "State: the journal blocks.jsonl, small records in ledger/, the outbox, and the log of \
                 the detached workers (worker.DATE.log, for seven days).",
                ),
            ],
        ),
        (
            "ENVIRONMENT",
            &[
                ("WAZUH_HOME", "As --home."),
                ("WAZUH_TOOLKIT_STATE_DIR", "As --state-dir."),
                ("WAZUH_TOOLKIT_CONFIG_DIR", "The folder in which custom-block.toml is looked for."),
                ("SSH_CONNECTION", "Its client is not blocked by add without --force."),
            ],
        ),
        (
            "EXIT STATUS",
            &[
                ("", "Called by Wazuh:"),
                (
                    "0",
                    "Done, nothing to do, refused, aborted or held. A broken configuration changes nothing of this.",
                ),
                ("1", "The effect failed, or the record could not be written."),
                ("2", "The input was no request."),
                ("", "Called by a person:"),
                ("0", "Done."),
                ("1", "The effect failed, doctor found something, or why was asked of what is not blocked."),
                ("2", "Not an address, or not a command."),
                ("3", "It must not be blocked."),
                ("78", "--check-config of a broken configuration."),
            ],
        ),
        (
            "EXAMPLES",
            &[
                ("custom-block list", "What is blocked now."),
                (
                    "custom-block add 203.0.113.50 --ttl 12h --reason 'ticket 4711'",
                    "Block an address for half a day.",
                ),
                ("custom-block --check-config", "After the configuration was changed."),
            ],
        ),
        (
            "NOTES",
            &[(
                "",
                "Wazuh lifts what it blocked when it stops cleanly and when it takes a new group configuration. \
             Only the longer blocks of repeat offenders (escalation), and with hold = true all blocks, stay \
             until their own time is over. What an administrator added is never lifted by Wazuh.",
            )],
        ),
    ],
};
