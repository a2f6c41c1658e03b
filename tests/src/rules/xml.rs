//! The XML of a rule file, read as Wazuh's own reader does: text and values are
//! taken as they stand, so what another reader would decode is refused.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// An element, its attributes in order, and what it has in it.
#[derive(Debug, Clone)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    /// As it stands, blanks included; without it for an element with elements.
    pub(super) text: String,
    pub(super) elements: Vec<Element>,
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The elements at the top of a file.
///
/// # Errors
/// What Wazuh's reader does not take, or takes otherwise than it seems.
pub(super) fn read(text: &str) -> Result<Vec<Element>, String> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut open = vec![Element {
        name: String::new(),
        attributes: Vec::new(),
        text: String::new(),
        elements: Vec::new(),
    }];
    loop {
        let at = |what: &str, position: u64| {
            let before = usize::try_from(position).ok().and_then(|end| text.get(..end)).unwrap_or(text);
            format!("line {}: {what}", before.matches('\n').count() + 1)
        };
        let event = reader.read_event().map_err(|error| at(&error.to_string(), reader.error_position()))?;
        let here = reader.buffer_position();
        let depth = open.len();
        let Some(top) = open.last_mut() else { return Err(at("more is closed than was opened", here)) };
        match event {
            Event::Start(start) => open.push(element(&start).map_err(|what| at(&what, here))?),
            Event::Empty(start) => top.elements.push(element(&start).map_err(|what| at(&what, here))?),
            Event::Text(own) => top.text.push_str(&own),
            Event::End(_) => {
                let mut done = open.pop().unwrap_or_else(|| unreachable!("the reader checks names"));
                done.settle().map_err(|what| at(&what, here))?;
                open.last_mut()
                    .ok_or_else(|| at("more is closed than was opened", here))?
                    .elements
                    .push(done);
            }
            Event::Comment(comment) if comment.contains("!>") => {
                return Err(at("a comment that `!>` would end for Wazuh", here));
            }
            Event::Comment(_) if !top.text.trim().is_empty() => {
                return Err(at("a comment within a text", here));
            }
            Event::Comment(_) => {}
            Event::CData(_) => return Err(at("CDATA", here)),
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                return Err(at("Wazuh's reader knows no declarations", here));
            }
            Event::GeneralRef(_) => return Err(at("Wazuh's reader decodes no entities", here)),
            Event::Eof if depth == 1 => {
                top.settle().map_err(|what| at(&what, here))?;
                return if top.text.is_empty() {
                    Ok(std::mem::take(&mut top.elements))
                } else {
                    Err(at("text outside", here))
                };
            }
            Event::Eof => return Err(at(&format!("<{}> is not closed", top.name), here)),
        }
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let name = start.name().as_ref().to_owned();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let (key, value) = (attribute.key.as_ref().to_owned(), attribute.value.into_owned());
        if value.contains(['&', '>', '<', '\\']) {
            return Err(format!("the value of {key} in <{name}> is not taken as it stands"));
        }
        attributes.push((key, value));
    }
    Ok(Element { name, attributes, text: String::new(), elements: Vec::new() })
}

impl Element {
    /// Text beside elements is lost; a backslash before `<` takes it along.
    fn settle(&mut self) -> Result<(), String> {
        if !self.elements.is_empty() || self.name.is_empty() {
            if !self.text.trim().is_empty() {
                return Err(format!("text beside elements in <{}>: {}", self.name, self.text.trim()));
            }
            self.text.clear();
        }
        let backslashes = self.text.bytes().rev().take_while(|byte| *byte == b'\\').count();
        if backslashes % 2 == 1 {
            return Err(format!("a backslash before the end of <{}>", self.name));
        }
        if self.text.len() >= 2048 {
            return Err(format!("the text of <{}> has more than 2047 bytes", self.name));
        }
        Ok(())
    }
}
