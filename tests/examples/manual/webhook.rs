//! What the man page of `custom-webhook` says beside the command line.

use clap::CommandFactory;

use super::Page;

pub(crate) const PAGE: Page = Page {
    program: "custom-webhook",
    command: custom_webhook::cli::Cli::command,
    more: &[
        (
            "FILES",
            &[
                (
                    "/etc/wazuh-toolkit/custom-webhook.toml",
                    "The configuration: every key and its default stands in the one that is shipped. Without a \
                     source in it the daemon does not start.",
                ),
                (
                    "/var/log/wazuh-toolkit/custom-webhook/events.json",
                    "One line for each event; Wazuh follows it (wazuh-toolkit enable custom-webhook). Old ones \
                     have the time behind their name.",
                ),
                (
                    "/var/lib/wazuh-toolkit/custom-webhook/",
                    "State: spool/, what was accepted and is not put out yet; seen, what was accepted lately, so \
                     that a repeat is known; put-out, how far the output has come; and lock.",
                ),
            ],
        ),
        (
            "SIGNALS",
            &[
                ("TERM, INT", "Takes no more, answers what is open, and ends, within ten seconds."),
                (
                    "HUP",
                    "Reads the certificate, the sources, their secrets and trusted_proxies anew; what is broken \
                     changes nothing. The rest is read at the start.",
                ),
            ],
        ),
        (
            "ENVIRONMENT",
            &[
                ("WAZUH_HOME", "As --home."),
                ("WAZUH_TOOLKIT_STATE_DIR", "As --state-dir."),
                ("WAZUH_TOOLKIT_CONFIG_DIR", "The folder in which custom-webhook.toml is looked for."),
                (
                    "CREDENTIALS_DIRECTORY",
                    "Where systemd hands over credentials, for secrets called credential:NAME.",
                ),
            ],
        ),
        (
            "EXIT STATUS",
            &[
                ("0", "Done, or ended by a signal."),
                ("1", "It failed, or doctor found something."),
                ("2", "Not a command."),
                ("78", "A broken configuration, or one without a source."),
            ],
        ),
        (
            "EXAMPLES",
            &[
                (
                    "custom-webhook --check-config",
                    "After the configuration was changed; secrets are read, too.",
                ),
                ("custom-webhook send --source github push.json", "As GitHub would send it, signed."),
                ("custom-webhook tail", "What arrives, as it arrives."),
            ],
        ),
        (
            "NOTES",
            &[(
                "",
                "An answer of 200 means that the event is on the disk. A repeat is answered alike, and not written \
                 again. 429 and 503 say when to come again.",
            )],
        ),
    ],
};
