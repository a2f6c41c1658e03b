//! The lines that execd writes to an active response, made from recorded ones.
//!
//! A line is edited as text, not decoded and encoded: what a running execd
//! wrote stays byte for byte what it was, but for the piece that a test is
//! about, and a hostile piece may be bytes that are no JSON at all.

/// Which Wazuh writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// 4.x: `add` and `delete`, the alert under `parameters.alert`.
    Four,
    /// 5.x: `enable` and `disable`, the event at the root, `command` last.
    Five,
}

/// The address in the recorded lines.
pub const RECORDED_ADDRESS: &str = "203.0.113.50";

const FOUR: &str = include_str!("../fixtures/active-response/4.14.7-add.json");
const FIVE: &str = include_str!("../fixtures/active-response/5.x-enable.json");

/// One line, without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    generation: Generation,
    program: String,
    bytes: Vec<u8>,
}

impl Line {
    /// The `add` that execd 4.14.7 wrote.
    #[must_use]
    pub fn four() -> Line {
        Line::new(Generation::Four, FOUR)
    }

    /// The `enable` that the execd of 5.x wrote.
    #[must_use]
    pub fn five() -> Line {
        Line::new(Generation::Five, FIVE)
    }

    /// A line from elsewhere.
    #[must_use]
    pub fn new(generation: Generation, text: &str) -> Line {
        let program = match generation {
            Generation::Four => between(text, "\"program\":\"active-response/bin/", "\""),
            Generation::Five => between(text, "\"executable\":\"", "\""),
        };
        Line {
            generation,
            program: program.unwrap_or("custom-block").to_owned(),
            bytes: text.trim_end().as_bytes().to_vec(),
        }
    }

    /// `add` of this address by an alert that is like no other's.
    #[must_use]
    pub fn add(address: &str) -> Line {
        let id = address
            .bytes()
            .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)) % 1_000_000_000);
        Line::four().srcip(address).id(&format!("1795255963.{id}"))
    }

    /// Which Wazuh writes it.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The executable that it is written to.
    #[must_use]
    pub fn program_name(&self) -> &str {
        &self.program
    }

    /// Its bytes, without a newline.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// With this address as the source of the attack.
    #[must_use]
    pub fn srcip(self, address: &str) -> Line {
        let piece = match self.generation {
            Generation::Four => "\"data\":{\"srcip\":",
            Generation::Five => "\"source\":{\"ip\":",
        };
        self.value_after(piece, &serde_json::Value::from(address).to_string())
    }

    /// With this as the whole value of the source address, quotes and all.
    #[must_use]
    pub fn srcip_value(self, json: &str) -> Line {
        self.replace(&format!("\"{RECORDED_ADDRESS}\",\"srcport\""), &format!("{json},\"srcport\""))
    }

    /// With another alert id.
    #[must_use]
    pub fn id(self, id: &str) -> Line {
        // The rule's and the agent's ids do not stand behind an object.
        self.value_after("},\"id\":", &serde_json::Value::from(id).to_string())
    }

    /// With these extra arguments, as Wazuh passes them: 4.x an array, 5.x one string.
    #[must_use]
    pub fn extra_args(self, args: &[&str]) -> Line {
        match self.generation {
            Generation::Four => {
                let args = serde_json::Value::from(args).to_string();
                self.value_after("\"extra_args\":", &args)
            }
            Generation::Five => {
                let args = serde_json::Value::from(args.join(" ")).to_string();
                self.value_after("\"extra_arguments\":", &args)
            }
        }
    }

    /// Written to another executable.
    #[must_use]
    pub fn program(mut self, name: &str) -> Line {
        let (from, to) = match self.generation {
            Generation::Four => (
                format!("\"program\":\"active-response/bin/{}\"", self.program),
                format!("\"program\":\"active-response/bin/{name}\""),
            ),
            Generation::Five => {
                (format!("\"executable\":\"{}\"", self.program), format!("\"executable\":\"{name}\""))
            }
        };
        self = self.replace(&from, &to);
        name.clone_into(&mut self.program);
        self
    }

    /// With another timeout of a stateful response (5.x only).
    #[must_use]
    pub fn stateful_timeout(self, seconds: u64) -> Line {
        self.replace("\"stateful_timeout\":3", &format!("\"stateful_timeout\":{seconds}"))
    }

    /// With another command: in 4.x the first that stands in the line, in 5.x
    /// the last.
    ///
    /// # Panics
    /// When the line has none.
    #[must_use]
    pub fn command(mut self, command: &str) -> Line {
        let key = b"\"command\":\"";
        let start = match self.generation {
            Generation::Four => find(&self.bytes, key),
            Generation::Five => rfind(&self.bytes, key),
        };
        let start = start.expect("a line has a command") + key.len();
        let length = find(&self.bytes[start..], b"\"").expect("a command has an end");
        self.bytes.splice(start..start + length, command.bytes());
        self
    }

    /// With the first occurrence of a piece replaced.
    #[must_use]
    pub fn replace(self, from: &str, to: &str) -> Line {
        self.replace_bytes(from.as_bytes(), to.as_bytes())
    }

    /// With the first occurrence of a piece replaced by bytes that may be anything.
    ///
    /// # Panics
    /// When the piece is not there: the test would be about nothing.
    #[must_use]
    pub fn replace_bytes(mut self, from: &[u8], to: &[u8]) -> Line {
        let Some(start) = find(&self.bytes, from) else {
            panic!("no {:?} in the line", String::from_utf8_lossy(from));
        };
        self.bytes.splice(start..start + from.len(), to.iter().copied());
        self
    }

    /// With the string or array that follows this piece replaced.
    fn value_after(mut self, piece: &str, json: &str) -> Line {
        let start = find(&self.bytes, piece.as_bytes()).expect("the recorded line has it") + piece.len();
        let end = if self.bytes[start] == b'[' { b']' } else { b'"' };
        let length = self.bytes[start + 1..].iter().position(|&byte| byte == end).expect("it has an end") + 2;
        self.bytes.splice(start..start + length, json.bytes());
        self
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(piece, _)| piece)
}

fn find(bytes: &[u8], piece: &[u8]) -> Option<usize> {
    bytes.windows(piece.len()).position(|window| window == piece)
}

fn rfind(bytes: &[u8], piece: &[u8]) -> Option<usize> {
    bytes.windows(piece.len()).rposition(|window| window == piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &[(&str, &str)] = &[
        ("add", include_str!("../fixtures/active-response/4.14.7-add.json")),
        ("continue", include_str!("../fixtures/active-response/4.14.7-continue.json")),
        ("delete", include_str!("../fixtures/active-response/4.14.7-delete.json")),
        ("enable", include_str!("../fixtures/active-response/5.x-enable.json")),
        ("continue", include_str!("../fixtures/active-response/5.x-continue.json")),
        ("abort", include_str!("../fixtures/active-response/5.x-abort.json")),
        ("disable", include_str!("../fixtures/active-response/5.x-disable.json")),
    ];

    #[test]
    fn the_recorded_lines_differ_in_their_command_only() {
        for (index, (command, recorded)) in RECORDED.iter().enumerate() {
            let line = if index < 3 { Line::four() } else { Line::five() }.command(command);
            assert_eq!(String::from_utf8_lossy(line.bytes()), recorded.trim_end(), "{command}");
        }
    }

    #[test]
    fn each_piece_of_a_line_can_be_changed_and_the_rest_stays() {
        for line in [Line::four(), Line::five()] {
            let changed =
                line.clone().srcip("2001:db8::1").extra_args(&["--ttl", "60"]).program("firewall-drop");
            let text = String::from_utf8(changed.bytes().to_vec()).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(changed.program_name(), "firewall-drop");
            match line.generation() {
                Generation::Four => {
                    assert_eq!(json["parameters"]["alert"]["data"]["srcip"], "2001:db8::1");
                    assert_eq!(json["parameters"]["extra_args"][1], "60");
                    assert_eq!(json["parameters"]["program"], "active-response/bin/firewall-drop");
                }
                Generation::Five => {
                    assert_eq!(json["source"]["ip"], "2001:db8::1");
                    assert_eq!(json["wazuh"]["active_response"]["extra_arguments"], "--ttl 60");
                    assert!(text.ends_with("\"command\":\"enable\"}"));
                }
            }
        }
        assert_ne!(Line::add("192.0.2.1").bytes(), Line::add("192.0.2.2").bytes());
    }
}
