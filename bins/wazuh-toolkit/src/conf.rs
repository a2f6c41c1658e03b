//! What `ossec.conf` says about what we need of it.

use common::wazuh::config::lenient;
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::section::{SectionError, comments};

/// Facts of an `ossec.conf`, as far as it is XML.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The first `<disabled>` of an `<active-response>` is the one that counts
    /// (4.14.7, `src/os_execd/config.c`).
    pub responses_disabled: bool,
    /// `<ruleset>` elements. Each begins the lists and directories anew, so that
    /// the last one counts (4.14.7, `src/config/rules-config.c`).
    pub rulesets: usize,
    /// The directories of rules in the last one.
    pub rule_dirs: Vec<String>,
    /// Its lists.
    pub lists: Vec<String>,
    /// The names of commands for active responses.
    pub commands: Vec<String>,
    /// The first one says for how long those who come back are blocked.
    pub repeated_offenders: Vec<String>,
}

impl Facts {
    /// Of this text.
    #[must_use]
    pub fn of(text: &str) -> Facts {
        let mut facts = Facts::default();
        let mut disabled: Option<bool> = None;
        let text = lenient(text);
        let mut reader = Reader::from_str(&text);
        reader.config_mut().check_end_names = false;
        let mut path: Vec<String> = Vec::new();
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(tag) if path.len() < 64 => {
                    path.push(tag.name().as_ref().to_owned());
                    if let [_, "ruleset"] = path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                        facts.rulesets += 1;
                        // Lists that the new one does not mention stay.
                        facts.rule_dirs.clear();
                    }
                }
                Event::End(_) => {
                    path.pop();
                }
                Event::Text(text) => {
                    let text = text.trim();
                    match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                        [_, "active-response", "disabled"] => {
                            disabled.get_or_insert(text == "yes");
                        }
                        [_, "active-response", "repeated_offenders"] => {
                            facts.repeated_offenders.push(text.to_owned());
                        }
                        [_, "command", "name"] => facts.commands.push(text.to_owned()),
                        [_, "ruleset", "rule_dir"] => facts.rule_dirs.push(text.to_owned()),
                        [_, "ruleset", "list"] => facts.lists.push(text.to_owned()),
                        _ => {}
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        facts.responses_disabled = disabled.unwrap_or_default();
        facts
    }
}

/// Where a line can be put that becomes the last one of the last `<ruleset>`:
/// the beginning of the line of its end tag, when nothing else stands there.
///
/// # Errors
/// When the file ends within a comment.
pub fn end_of_ruleset(text: &[u8]) -> Result<Option<usize>, SectionError> {
    const END: &[u8] = b"</ruleset";
    let comments = comments(text)?;
    let outside = |at: usize| !comments.iter().any(|comment| comment.contains(&at));
    let found = (0..text.len().saturating_sub(END.len())).rev().find(|&at| {
        text[at..].starts_with(END) && matches!(text[at + END.len()], b'>' | b' ' | b'\t') && outside(at)
    });
    Ok(found.map(|at| {
        let blanks = text[..at].iter().rev().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
        let line = at - blanks;
        if line == 0 || text[line - 1] == b'\n' { line } else { at }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ruleset_and_the_first_switch_count() {
        let facts = Facts::of(
            "<ossec_config><command><name>block</name></command><ruleset><rule_dir>etc/rules</rule_dir><list>etc/lists/a</list></ruleset>
             <active-response><disabled>no</disabled></active-response></ossec_config>
             <ossec_config><ruleset><rule_dir>ruleset/rules</rule_dir></ruleset><x>a&b</x>
             <active-response><disabled>yes</disabled></active-response></ossec_config>",
        );
        assert_eq!(facts.rule_dirs, ["ruleset/rules"]);
        assert_eq!(
            (facts.rulesets, facts.commands, facts.responses_disabled),
            (2, vec!["block".to_owned()], false)
        );
        assert_eq!(facts.lists, ["etc/lists/a"]);
    }

    #[test]
    fn a_list_goes_before_the_end_of_the_last_ruleset() {
        let text = b"<a>\n  <ruleset>\n  </ruleset>\n <!-- </ruleset> --></a>";
        let at = end_of_ruleset(text).unwrap().unwrap();
        assert!(text[at..].starts_with(b"  </ruleset>\n"));
        assert_eq!(end_of_ruleset(b"<ruleset></ruleset>").unwrap(), Some(9));
        assert_eq!(end_of_ruleset(b"<ruleset/>").unwrap(), None);
        assert_eq!(end_of_ruleset(b"").unwrap(), None);
    }
}
