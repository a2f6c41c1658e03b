//! `active-responses.log`, read as Wazuh's own decoder reads it.

use serde_json::Value;

/// A line of the log.
#[derive(Debug, Clone)]
pub struct Record {
    /// The name after `active-response/bin/`.
    pub program: String,
    /// The object behind it.
    pub json: Value,
    /// The whole line, without its newline.
    pub text: String,
}

impl Record {
    /// Reads a line that the decoder `ar_log_json` takes, of which 4.14.7 says
    /// `^\d\d\d\d/\d\d/\d\d \d\d:\d\d:\d\d active-response/bin/\S+: ` and then
    /// exactly one JSON object.
    ///
    /// # Errors
    /// What the decoder would stumble over.
    pub fn parse(line: &[u8]) -> Result<Record, String> {
        let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
        let (stamp, rest) = text.split_at_checked(20).ok_or("too short")?;
        let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
        if shape != "dddd/dd/dd dd:dd:dd " {
            return Err(format!("no date of the right form: {stamp:?}"));
        }
        let rest = rest.strip_prefix("active-response/bin/").ok_or("no relative program path")?;
        let (program, json) = rest.split_once(": ").ok_or("no colon and space after the program")?;
        if program.is_empty() || program.contains(char::is_whitespace) {
            return Err(format!("no program name: {program:?}"));
        }
        if !json.starts_with('{') {
            return Err("not one object".to_owned());
        }
        let json: Value = serde_json::from_str(json).map_err(|error| format!("not one object: {error}"))?;
        Ok(Record { program: program.to_owned(), json, text: text.to_owned() })
    }

    /// The value of `command`.
    #[must_use]
    pub fn command(&self) -> &str {
        self.json["command"].as_str().unwrap_or_default()
    }

    /// The static field `srcip`, as the decoder's regular expression lifts it:
    /// from the literal text, not from the object.
    #[must_use]
    pub fn srcip(&self) -> Option<&str> {
        self.text.split_once("\"data\":{\"srcip\":\"")?.1.split_once('"').map(|(address, _)| address)
    }

    /// The stock rule that this line fires: 651 and its kind by name, 657 by
    /// command, else 650, which alerts nobody. The expressions are unanchored.
    #[must_use]
    pub fn stock_rule(&self) -> u32 {
        let program = self.json["parameters"]["program"].as_str().unwrap_or_default();
        let (add, delete) = (self.command().contains("add"), self.command().contains("delete"));
        let named = [("firewall-drop", 651), ("host-deny", 653), ("route-null", 655)];
        match named.iter().find(|(name, _)| program.contains(name)) {
            Some((_, rule)) if add => *rule,
            Some((_, rule)) if delete => rule + 1,
            _ if add || delete => 657,
            _ => 650,
        }
    }

    /// Every string in the object but the value of `command`, with the path
    /// that leads to it.
    #[must_use]
    pub fn other_strings(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        collect("", &self.json, &mut found);
        found.retain(|(path, _)| path != "/command");
        found
    }
}

fn collect(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(&format!("{path}/{index}"), item, found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                collect(&format!("{path}/{key}"), member, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "2026/11/21 10:12:43 active-response/bin/custom-block: {\"command\":\"add\",\
                        \"parameters\":{\"alert\":{\"data\":{\"srcip\":\"203.0.113.50\"}},\
                        \"program\":\"active-response/bin/custom-block\"}}";

    #[test]
    fn a_line_is_read_as_the_decoder_reads_it() {
        let record = Record::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((record.command(), record.srcip()), ("add", Some("203.0.113.50")));
        assert_eq!((record.program.as_str(), record.stock_rule()), ("custom-block", 657));
        let drop_in = GOOD.replace("custom-block", "firewall-drop").replace("add", "delete");
        assert_eq!(Record::parse(drop_in.as_bytes()).unwrap().stock_rule(), 652);
        let refused = GOOD.replace("\"add\"", "\"refused\"");
        assert_eq!(Record::parse(refused.as_bytes()).unwrap().stock_rule(), 650);
        assert_eq!(record.other_strings().len(), 2);
    }

    #[test]
    fn a_line_that_the_decoder_would_not_take_is_refused() {
        for (from, to) in [
            ("2026/11/21 ", "2026-11-21 "),
            ("2026/11/21 ", "2026/11/21T"),
            (" active-response", " /var/ossec/active-response"),
            ("custom-block: ", "custom-block:"),
            ("custom-block: ", "custom-block: Starting "),
            ("\"}}", "\"}"),
        ] {
            assert!(Record::parse(GOOD.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
        assert!(Record::parse(b"\xff").is_err());
    }
}
