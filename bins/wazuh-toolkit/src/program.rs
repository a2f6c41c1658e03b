//! The programs, and what Wazuh has to be told of each.

use std::path::Path;

use clap::ValueEnum;
use common::wazuh::config::LocalFile;
use common::wazuh::paths::{DEFAULT_HOME, Installation};

/// Where packages put the programs.
pub const PROGRAM_DIR: &str = "/usr/lib/wazuh-toolkit";

/// Where custom-webhook writes, unless told otherwise.
pub const WEBHOOK_OUTPUT: &str = "/var/log/wazuh-toolkit/custom-webhook/events.json";

/// A program that Wazuh starts or listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// The active response.
    CustomBlock,
    /// The wodle command.
    CustomAudit,
    /// The receiver of events, whose lines Wazuh follows.
    CustomWebhook,
}

/// What a host is to Wazuh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// A protected host.
    Agent,
    /// The server that the agents report to.
    Manager,
}

impl Role {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Manager => "manager",
        }
    }
}

impl Program {
    /// All of them.
    pub const ALL: [Program; 3] = [Program::CustomBlock, Program::CustomAudit, Program::CustomWebhook];

    /// Its name everywhere: of the file, the section, the snippet.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Program::CustomBlock => "custom-block",
            Program::CustomAudit => "custom-audit",
            Program::CustomWebhook => "custom-webhook",
        }
    }

    /// Its paste-ready snippet.
    #[must_use]
    fn snippet(self, role: Role) -> &'static str {
        match (self, role) {
            (Program::CustomBlock, Role::Agent) => {
                include_str!("../../../ossec-snippets/custom-block.agent.xml")
            }
            (Program::CustomBlock, Role::Manager) => {
                include_str!("../../../ossec-snippets/custom-block.manager.xml")
            }
            (Program::CustomAudit, Role::Agent) => {
                include_str!("../../../ossec-snippets/custom-audit.agent.xml")
            }
            (Program::CustomAudit, Role::Manager) => {
                include_str!("../../../ossec-snippets/custom-audit.manager.xml")
            }
            (Program::CustomWebhook, Role::Agent) => {
                include_str!("../../../ossec-snippets/custom-webhook.agent.xml")
            }
            (Program::CustomWebhook, Role::Manager) => {
                include_str!("../../../ossec-snippets/custom-webhook.manager.xml")
            }
        }
    }

    /// What its section says on this host: the snippet, with the places as
    /// they are here: `output` is custom-webhook's, `others` the rest of
    /// `ossec.conf`.
    #[must_use]
    pub fn section(
        self,
        role: Role,
        installation: &Installation,
        program_dir: &Path,
        output: &Path,
        others: &str,
    ) -> String {
        let mut text = self.snippet(role).to_owned();
        if self == Program::CustomBlock && !follows_the_record(others, installation) {
            text.push_str(include_str!("../../../ossec-snippets/custom-block.localfile.xml"));
        }
        text.replace(PROGRAM_DIR, &program_dir.display().to_string())
            .replace(DEFAULT_HOME, &installation.home().display().to_string())
            .replace(WEBHOOK_OUTPUT, &output.display().to_string())
    }
}

/// Whether Wazuh reads the log of active responses.
#[must_use]
pub fn follows_the_record(conf: &str, installation: &Installation) -> bool {
    let log = installation.logs().join(common::wazuh::paths::ACTIVE_RESPONSES_LOG);
    let relative = log.strip_prefix(installation.home()).unwrap_or(&log);
    LocalFile::parse(conf).iter().any(|file| {
        let location = Path::new(&file.location);
        location == log || location == relative
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_names_the_places_of_this_host() {
        let here = Installation::at("/srv/ossec");
        let text = Program::CustomAudit.section(
            Role::Agent,
            &here,
            Path::new("/opt/tk"),
            Path::new(WEBHOOK_OUTPUT),
            "",
        );
        assert!(text.contains("<command>/opt/tk/custom-audit --wodle</command>"));
        let text = Program::CustomBlock.section(
            Role::Agent,
            &here,
            Path::new("/opt/tk"),
            Path::new(WEBHOOK_OUTPUT),
            "",
        );
        assert!(text.contains("<location>/srv/ossec/logs/active-responses.log</location>"));
        let others = "<ossec_config><localfile><log_format>syslog</log_format>\
                      <location>/srv/ossec/logs/active-responses.log</location></localfile></ossec_config>";
        let text = Program::CustomBlock.section(
            Role::Manager,
            &here,
            Path::new("/opt/tk"),
            Path::new(WEBHOOK_OUTPUT),
            others,
        );
        assert!(text.contains("<executable>custom-block</executable>") && !text.contains("<localfile>"));
        let output = Path::new("/srv/events.json");
        let text = Program::CustomWebhook.section(Role::Agent, &here, Path::new("/opt/tk"), output, "");
        assert!(text.contains("<location>/srv/events.json</location>") && !text.contains(WEBHOOK_OUTPUT));
    }

    #[test]
    fn every_section_ends_in_a_newline_and_has_no_open_comment() {
        for program in Program::ALL {
            for role in [Role::Agent, Role::Manager] {
                let text = program.section(
                    role,
                    &Installation::at("/x"),
                    Path::new("/y"),
                    Path::new(WEBHOOK_OUTPUT),
                    "",
                );
                assert!(text.ends_with('\n'));
                assert!(crate::section::comments(text.as_bytes()).is_ok());
            }
        }
    }
}
