//! What the man page of `wazuh-toolkit` says beside the command line.

use clap::CommandFactory;

use super::Page;

pub(crate) const PAGE: Page = Page {
    program: "wazuh-toolkit",
    command: wazuh_toolkit::cli::Cli::command,
    more: &[
        (
            "FILES",
            &[
                (
                    "/var/ossec/etc/ossec.conf",
                    "Gets one section for each enabled program, between two comments, at its end; and the \
                     names of our lists, on a manager, within its last ruleset. disable and rules remove take \
                     away exactly that. A section that was edited by hand is neither replaced nor removed \
                     without --force.",
                ),
                (
                    "/var/lib/wazuh-toolkit/wazuh-toolkit/",
                    "State: the ossec.conf before the last change (ossec.conf.TIME, for you to look at: it is \
                     never put back by itself), the names that link --replace was given, and what rules \
                     install has copied.",
                ),
                (
                    "/var/ossec/active-response/bin/custom-block",
                    "The link that link makes. What link --replace moves aside gets the ending .wazuh-stock.",
                ),
                (
                    "/var/ossec/etc/rules/1000-wazuh-toolkit-*.xml, /var/ossec/etc/lists/wazuh-toolkit-*",
                    "The rules and lists of a manager. The lists are yours as soon as they are there: no \
                     version replaces them.",
                ),
                (
                    "/usr/share/wazuh-toolkit/",
                    "The same rules, lists and sections, for reading and for pasting by hand.",
                ),
            ],
        ),
        (
            "ENVIRONMENT",
            &[
                ("WAZUH_HOME", "As --home."),
                ("WAZUH_TOOLKIT_STATE_DIR", "As --state-dir."),
                ("WAZUH_TOOLKIT_CONFIG_DIR", "The folder of the programs' configurations."),
                (
                    "WAZUH_TOOLKIT_PROGRAM_DIR",
                    "Where custom-block and custom-audit lie; /usr/lib/wazuh-toolkit by default.",
                ),
                ("SSH_CONNECTION", "Its client is looked for in the allowlist of custom-block."),
            ],
        ),
        (
            "EXIT STATUS",
            &[
                ("0", "Done, or so already."),
                ("1", "It failed and nothing is changed; doctor, selftest or rules check found something."),
                ("2", "A bad command line, or something that this host cannot have."),
                (
                    "3",
                    "Refused: somebody edited what would be replaced, or a file that is not ours is in the way.",
                ),
            ],
        ),
        (
            "EXAMPLES",
            &[
                ("wazuh-toolkit enable custom-audit --dry-run", "What would be written into ossec.conf."),
                ("wazuh-toolkit enable custom-audit --restart", "Write it, and let Wazuh know."),
                (
                    "wazuh-toolkit enable custom-block --role manager --print",
                    "The section, to paste it by hand.",
                ),
                ("wazuh-toolkit doctor --json", "For configuration management: healthy is true or false."),
            ],
        ),
        (
            "NOTES",
            &[(
                "",
                "Before a new ossec.conf takes the place of the old one, those of Wazuh's daemons that can are \
                 asked whether they take it; the others are asked right after, and the old one is put back when \
                 one of them refuses. Nothing is restarted without --restart. In a cluster only rules and lists \
                 travel between the nodes: call enable on each.",
            )],
        ),
    ],
};
