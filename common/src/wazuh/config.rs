//! What we read of Wazuh's own configuration.
//!
//! Wazuh 4.14.7: `src/config/client-config.c`, `src/config/cluster-config.c`,
//! `src/os_execd/config.c`, `src/os_execd/exec.c`.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};

/// The text with nothing in it that Wazuh takes and XML does not: its own reader
/// (4.14.7, `src/os_xml/os_xml.c`) knows no entities, so that an `&`, as in the
/// URL of an integration, is one like any other letter.
#[must_use]
pub fn lenient(text: &str) -> Cow<'_, str> {
    if text.contains('&') { Cow::Owned(text.replace('&', "+")) } else { Cow::Borrowed(text) }
}

/// The parts of `ossec.conf` that a program on a protected host must know.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OssecConf {
    /// Managers and cluster nodes, each an address or a name.
    pub peers: Vec<String>,
    /// Ports on which the managers take events; 1514 where none is given.
    pub ports: Vec<u16>,
    /// Timeouts of repeated offenders, in seconds (minutes in the file).
    pub repeated_offenders: Vec<u64>,
}

/// More peers than any cluster has; what follows is not read.
const MOST_PEERS: usize = 1024;

impl OssecConf {
    /// Reads the text of an `ossec.conf`. Several roots are legal there, and
    /// what is no XML ends the reading: what stood before it counts.
    #[must_use]
    pub fn parse(text: &str) -> OssecConf {
        let mut conf = OssecConf::default();
        let text = lenient(text);
        let mut reader = Reader::from_str(&text);
        reader.config_mut().check_end_names = false;
        let mut path: Vec<String> = Vec::new();
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(tag) if path.len() < 64 => {
                    path.push(tag.name().as_ref().to_owned());
                }
                Event::End(_) => {
                    path.pop();
                }
                Event::Text(text) => {
                    conf.take(&path, text.trim());
                }
                Event::Eof => break,
                _ => {}
            }
        }
        if conf.ports.is_empty() {
            conf.ports.push(1514);
        }
        conf
    }

    fn take(&mut self, path: &[String], text: &str) {
        let place: Vec<&str> = path.iter().map(String::as_str).collect();
        match place.as_slice() {
            // 4.x names the managers in <server>, 5.x agents in <manager>.
            // Before 4.0 they stood alone, which 4.14.7 still takes.
            [_, "client", "server" | "manager", "address"]
            | [_, "client", "server-ip" | "server-hostname"]
            | [_, "cluster", "nodes", "node"]
                if self.peers.len() < MOST_PEERS && !text.is_empty() && text.len() <= 255 =>
            {
                self.peers.push(text.to_owned());
            }
            [_, "client", "server" | "manager", "port"] => self.ports.extend(text.parse::<u16>().ok()),
            [_, "active-response", "repeated_offenders"] => {
                let minutes = text.split(',').filter_map(|minutes| minutes.trim().parse::<u64>().ok());
                self.repeated_offenders.extend(minutes.map(|minutes| minutes.saturating_mul(60)));
            }
            _ => {}
        }
    }
}

/// A `<wodle name="command">` (4.14.7, `src/config/wmodules-command.c`).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CommandWodle {
    /// Its program and arguments.
    pub command: String,
    /// The location of its events is `command_` and this.
    pub tag: String,
    /// Whether it is switched off.
    pub disabled: bool,
    /// Whether what it prints is thrown away.
    pub ignore_output: bool,
    /// Whether the program's content is compared before each run.
    pub verified: bool,
    /// From start to start, as it is written: `5m`.
    pub interval: String,
    /// Seconds after which it is ended; 0 is never.
    pub timeout: u64,
}

/// More wodles than anybody has; what follows is not read.
const MOST_WODLES: usize = 256;

impl CommandWodle {
    /// Those in the text of an `ossec.conf` or `agent.conf`, as far as it is XML.
    #[must_use]
    pub fn parse(text: &str) -> Vec<CommandWodle> {
        let text = lenient(text);
        let mut reader = Reader::from_str(&text);
        reader.config_mut().check_end_names = false;
        let mut wodles: Vec<CommandWodle> = Vec::new();
        let (mut inside, mut key) = (false, String::new());
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(tag) if tag.name().as_ref() == "wodle" => {
                    let named = |attribute: &quick_xml::events::attributes::Attribute<'_>| {
                        attribute.key.as_ref() == "name" && attribute.value.as_ref() == "command"
                    };
                    inside = tag.attributes().flatten().any(|attribute| named(&attribute));
                    if inside && wodles.len() < MOST_WODLES {
                        wodles.push(CommandWodle::default());
                    }
                    key.clear();
                }
                Event::Start(tag) => tag.name().as_ref().clone_into(&mut key),
                Event::End(tag) if tag.name().as_ref() == "wodle" => inside = false,
                Event::End(_) => key.clear(),
                Event::Text(text) if inside => {
                    if let Some(wodle) = wodles.last_mut() {
                        wodle.take(&key, text.trim());
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        wodles
    }

    fn take(&mut self, key: &str, text: &str) {
        match key {
            "command" => text.clone_into(&mut self.command),
            "tag" => text.clone_into(&mut self.tag),
            "interval" => text.clone_into(&mut self.interval),
            "disabled" => self.disabled = text == "yes",
            "ignore_output" => self.ignore_output = text == "yes",
            "timeout" => self.timeout = text.parse().unwrap_or(0),
            "verify_md5" | "verify_sha1" | "verify_sha256" => self.verified |= !text.is_empty(),
            _ => {}
        }
    }
}

/// A `<localfile>` (4.14.7, `src/config/localfile-config.c`).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// The file that is followed.
    pub location: String,
    /// What its lines are: `json`, `syslog`, ….
    pub log_format: String,
}

impl LocalFile {
    /// Those in the text of an `ossec.conf` or `agent.conf`, as far as it is XML.
    #[must_use]
    pub fn parse(text: &str) -> Vec<LocalFile> {
        let text = lenient(text);
        let mut reader = Reader::from_str(&text);
        reader.config_mut().check_end_names = false;
        let mut files: Vec<LocalFile> = Vec::new();
        let (mut inside, mut key) = (false, String::new());
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(tag) if tag.name().as_ref() == "localfile" && files.len() < MOST_FILES => {
                    (inside, key) = (true, String::new());
                    files.push(LocalFile::default());
                }
                Event::Start(tag) => tag.name().as_ref().clone_into(&mut key),
                Event::End(tag) if tag.name().as_ref() == "localfile" => inside = false,
                Event::End(_) => key.clear(),
                Event::Text(text) if inside => match (key.as_str(), files.last_mut()) {
                    ("location", Some(file)) => text.trim().clone_into(&mut file.location),
                    ("log_format", Some(file)) => text.trim().clone_into(&mut file.log_format),
                    _ => {}
                },
                Event::Eof => break,
                _ => {}
            }
        }
        files
    }
}

/// More followed files than anybody has; what follows is not read.
const MOST_FILES: usize = 4096;

/// The largest timeout, in seconds, that the command table gives to this
/// executable. `None` when it names it nowhere, `Some(0)` when only without
/// a timeout. Lines are `name - executable - timeout`.
#[must_use]
pub fn largest_timeout(ar_conf: &str, executable: &str) -> Option<u64> {
    ar_conf
        .lines()
        .filter_map(|line| {
            let (rest, timeout) = line.rsplit_once(" - ")?;
            let (_, file) = rest.split_once(" - ")?;
            (file.trim() == executable).then(|| timeout.trim().parse().ok())?
        })
        .max()
}

/// What an internal option (`wazuh_command.remote_commands`) is set to in the
/// text of `local_internal_options.conf`, read as Wazuh does: the first line
/// that names it counts, and none that begins with `#` or a blank.
///
/// Source: src/shared/validate_op.c, `_read_file`, 4.14.
#[must_use]
pub fn internal_option<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    options
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim_end_matches(' ') == name)
        .map(|(_, value)| value.trim_start_matches(' '))
}

/// Whether an agent with these `local_internal_options.conf` runs the command
/// wodles that its manager's `agent.conf` has for it. Without the option it
/// does not.
#[must_use]
pub fn takes_remote_commands(options: &str) -> bool {
    internal_option(options, "wazuh_command.remote_commands") == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_nodes_ports_and_offenders_are_found_in_any_root() {
        let conf = OssecConf::parse(
            "<!-- <server><address>203.0.113.9</address></server> -->
             <ossec_config><client><server><address>192.0.2.10</address><port>1515</port></server>
             <server><address> manager.example.org </address></server></client></ossec_config>
             <ossec_config><cluster><nodes><node>192.0.2.11</node></nodes></cluster>
             <active-response><repeated_offenders>30, 60,x,120</repeated_offenders></active-response>
             </ossec_config>",
        );
        assert_eq!(conf.peers, ["192.0.2.10", "manager.example.org", "192.0.2.11"]);
        assert_eq!(conf.ports, [1515]);
        assert_eq!(conf.repeated_offenders, [1800, 3600, 7200]);
    }

    #[test]
    fn what_wazuh_takes_and_xml_does_not_hides_nothing() {
        let conf = "<ossec_config><integration><hook_url>https://h/x?a=1&b=2&</hook_url></integration>
             <client><server><address>192.0.2.10</address></server></client>
             <wodle name=\"command\"><command>y</command></wodle>
             <localfile><location>/b</location></localfile></ossec_config>";
        assert_eq!(OssecConf::parse(conf).peers, ["192.0.2.10"]);
        assert_eq!((CommandWodle::parse(conf).len(), LocalFile::parse(conf).len()), (1, 1));
    }

    #[test]
    fn broken_xml_keeps_what_stood_before_it() {
        let conf = OssecConf::parse("<a><client><server><address>192.0.2.1</address></server></client><<<&x");
        assert_eq!(conf.peers, ["192.0.2.1"]);
        assert_eq!(conf.ports, [1514]);
        assert!(OssecConf::parse(&"<a>".repeat(100_000)).peers.is_empty());
    }

    #[test]
    fn command_wodles_are_found_among_others() {
        let wodles = CommandWodle::parse(
            "<ossec_config><wodle name=\"syscollector\"><interval>1h</interval></wodle>
             <wodle name=\"command\"><tag>system-audit</tag><command>/x/custom-audit --wodle</command>
             <interval>5m</interval><timeout>120</timeout><verify_sha256>ab</verify_sha256></wodle></ossec_config>
             <agent_config><wodle name='command'><disabled>yes</disabled><command>y</command>
             <ignore_output>yes</ignore_output></wodle></agent_config>",
        );
        assert_eq!(wodles.len(), 2);
        let first = CommandWodle {
            command: "/x/custom-audit --wodle".into(),
            tag: "system-audit".into(),
            interval: "5m".into(),
            timeout: 120,
            verified: true,
            ..CommandWodle::default()
        };
        assert_eq!(wodles[0], first);
        assert!(wodles[1].disabled && wodles[1].ignore_output && wodles[1].command == "y");
        assert!(CommandWodle::parse("<wodle name=\"command\"><").len() <= 1);
    }

    #[test]
    fn followed_files_are_found_and_comments_are_none() {
        let files = LocalFile::parse(
            "<ossec_config><!-- <localfile><location>/no</location></localfile> -->
             <localfile><log_format>json</log_format><location> /var/log/a.json </location></localfile>
             </ossec_config><agent_config><localfile><location>/b</location></localfile></agent_config>",
        );
        let texts: Vec<_> =
            files.iter().map(|file| (file.location.as_str(), file.log_format.as_str())).collect();
        assert_eq!(texts, [("/var/log/a.json", "json"), ("/b", "")]);
    }

    #[test]
    fn the_largest_timeout_of_the_executable_counts() {
        let table = "restart-ossec0 - restart-ossec.sh - 0\nblock600 - custom-block - 600\n\
                     block60 - custom-block - 60\nother9999 - other - 9999\nmy-block5 - my - block - 5\n";
        assert_eq!(largest_timeout(table, "custom-block"), Some(600));
        assert_eq!(largest_timeout(table, "restart-ossec.sh"), Some(0));
        assert_eq!(largest_timeout(table, "firewall-drop"), None);
        assert_eq!(largest_timeout("custom-block - x", "custom-block"), None);
    }

    #[test]
    fn the_first_line_that_names_an_internal_option_counts() {
        for (options, taken) in [
            ("", false),
            ("# a comment\nwazuh_command.remote_commands=1", true),
            ("wazuh_command.remote_commands  =  1\r\n", true),
            ("wazuh_command.remote_commands=0\nwazuh_command.remote_commands=1\n", false),
            ("wazuh_command.remote_commands=1\nwazuh_command.remote_commands=0\n", true),
            ("#wazuh_command.remote_commands=1\n wazuh_command.remote_commands=1\n", false),
            ("logcollector.remote_commands=1\nwazuh_command.remote_commands=11\n", false),
        ] {
            assert_eq!(takes_remote_commands(options), taken, "{options:?}");
        }
    }
}
