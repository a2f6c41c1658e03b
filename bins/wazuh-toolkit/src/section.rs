//! The part of `ossec.conf` that is ours, between two comments (pure).
//!
//! ```text
//! <!-- wazuh-toolkit: begin custom-audit agent sha256=0123456789abcdef -->
//! <ossec_config> … </ossec_config>
//! <!-- wazuh-toolkit: end custom-audit -->
//! ```
//!
//! The sum is of what stands between the two, so that an edit by hand is seen
//! and never lost. Everything works on bytes: the file may be in any encoding.

use std::fmt::Write;
use std::ops::Range;

use sha2::{Digest, Sha256};

const OPEN: &[u8] = b"<!--";
const CLOSE: &[u8] = b"-->";
const MARK: &str = "wazuh-toolkit:";
/// Stands in the first comment where the file did not end in a newline.
const NEWLINE_ADDED: &str = "newline-added";

/// A section that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Whose it is: a program, or `lists`.
    pub name: String,
    /// The role for which it was written.
    pub role: String,
    /// All that was added to the file.
    pub whole: Range<usize>,
    /// What stands between the comments.
    pub inside: Range<usize>,
    sum: String,
    newline_added: bool,
}

/// Why the sections of a file cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// The same section twice.
    #[error("the section of {0} is there twice: remove one of them by hand")]
    Twice(String),
    /// Its last comment is missing, or its first.
    #[error("the section of {0} has no {1}: mend or remove it by hand")]
    Torn(String, &'static str),
    /// A comment that goes on to the end of the file.
    #[error("a comment has no end (it begins in line {0})")]
    OpenComment(usize),
}

impl Section {
    /// True when nobody edited it.
    #[must_use]
    pub fn is_untouched(&self, text: &[u8]) -> bool {
        self.sum == sum(&text[self.inside.clone()])
    }
}

fn sum(inside: &[u8]) -> String {
    Sha256::digest(inside).iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn position(text: &[u8], what: &[u8], from: usize) -> Option<usize> {
    text.get(from..)?.windows(what.len()).position(|part| part == what).map(|at| from + at)
}

/// Where the comments of a file are.
///
/// # Errors
/// When the last one has no end: what is appended would be part of it.
pub fn comments(text: &[u8]) -> Result<Vec<Range<usize>>, SectionError> {
    let mut comments = Vec::new();
    let mut from = 0;
    while let Some(start) = position(text, OPEN, from) {
        let Some(close) = position(text, CLOSE, start + OPEN.len()) else {
            let line = 1 + text[..start].iter().filter(|&&byte| byte == b'\n').count();
            return Err(SectionError::OpenComment(line));
        };
        from = close + CLOSE.len();
        comments.push(start..from);
    }
    Ok(comments)
}

/// All sections of a file, in order.
///
/// # Errors
/// When one is torn or there twice, or the file ends within a comment.
pub fn all(text: &[u8]) -> Result<Vec<Section>, SectionError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut open: Option<Section> = None;
    for comment in comments(text)? {
        let Ok(words) = std::str::from_utf8(&text[comment.start + OPEN.len()..comment.end - CLOSE.len()])
        else {
            continue;
        };
        let words: Vec<&str> = words.split_ascii_whitespace().collect();
        match words.as_slice() {
            [MARK, "begin", name, role, sum, more @ ..] => {
                if let Some(before) = open {
                    return Err(SectionError::Torn(before.name, "end"));
                }
                let newline_added =
                    more.contains(&NEWLINE_ADDED) && comment.start > 0 && text[comment.start - 1] == b'\n';
                open = Some(Section {
                    name: (*name).to_owned(),
                    role: (*role).to_owned(),
                    whole: comment.start - usize::from(newline_added)..0,
                    inside: comment.end + usize::from(text.get(comment.end) == Some(&b'\n'))..0,
                    sum: sum.trim_start_matches("sha256=").to_owned(),
                    newline_added,
                });
            }
            [MARK, "end", name] => match open.take() {
                Some(mut section) if section.name == *name => {
                    section.inside.end = comment.start.max(section.inside.start);
                    section.whole.end = comment.end + usize::from(text.get(comment.end) == Some(&b'\n'));
                    if sections.iter().any(|other| other.name == section.name) {
                        return Err(SectionError::Twice(section.name));
                    }
                    sections.push(section);
                }
                Some(other) => return Err(SectionError::Torn(other.name, "end")),
                None => return Err(SectionError::Torn((*name).to_owned(), "beginning")),
            },
            _ => {}
        }
    }
    open.map_or(Ok(sections), |torn| Err(SectionError::Torn(torn.name, "end")))
}

/// The section of this name.
///
/// # Errors
/// As [`all`].
pub fn find(text: &[u8], name: &str) -> Result<Option<Section>, SectionError> {
    Ok(all(text)?.into_iter().find(|section| section.name == name))
}

/// Writes a section: `inside` ends in a newline.
fn written(name: &str, role: &str, inside: &str, newline_added: bool) -> Vec<u8> {
    let sum = sum(inside.as_bytes());
    let (newline, more) =
        if newline_added { ("\n", format!(" {NEWLINE_ADDED}")) } else { ("", String::new()) };
    format!(
        "{newline}<!-- {MARK} begin {name} {role} sha256={sum}{more} -->\n{inside}<!-- {MARK} end {name} -->\n"
    )
    .into_bytes()
}

/// The file with this section: where it is, else at its end.
///
/// # Errors
/// As [`all`].
pub fn with(text: &[u8], name: &str, role: &str, inside: &str) -> Result<Vec<u8>, SectionError> {
    with_at(text, name, role, inside, text.len())
}

/// As [`with`], but a new section is put at `place`.
///
/// # Errors
/// As [`all`].
pub fn with_at(
    text: &[u8],
    name: &str,
    role: &str,
    inside: &str,
    place: usize,
) -> Result<Vec<u8>, SectionError> {
    let (range, newline_added) = match find(text, name)? {
        Some(section) => (section.whole, section.newline_added),
        None => (place..place, place == text.len() && place > 0 && text[place - 1] != b'\n'),
    };
    Ok([&text[..range.start], &written(name, role, inside, newline_added), &text[range.end..]].concat())
}

/// The file without this section; as it was before, byte for byte.
///
/// # Errors
/// As [`all`].
pub fn without(text: &[u8], name: &str) -> Result<Vec<u8>, SectionError> {
    Ok(match find(text, name)? {
        Some(section) => [&text[..section.whole.start], &text[section.whole.end..]].concat(),
        None => text.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: &str = "<ossec_config>\n</ossec_config>\n";

    #[test]
    fn what_was_added_is_taken_away_byte_for_byte() {
        for text in [
            &b""[..],
            b"<a></a>\n",
            b"<a></a>",
            b"<a/>\r\n",
            b"\n\n",
            b"<!-- x -->  \t",
            b"\xff\xfe<a>\xe9</a>\n\n\n",
            b"<!-- <!-- wazuh-toolkit: begin custom-block agent sha256=0 --><a/>",
        ] {
            let once = with(text, "custom-block", "agent", INSIDE).unwrap();
            let both = with(&once, "custom-audit", "agent", INSIDE).unwrap();
            assert_eq!(with(&both, "custom-block", "agent", INSIDE).unwrap(), both, "twice is once");
            assert!(find(&both, "custom-block").unwrap().unwrap().is_untouched(&both));
            assert_eq!(without(&without(&both, "custom-audit").unwrap(), "custom-block").unwrap(), text);
            assert_eq!(without(&without(&both, "custom-block").unwrap(), "custom-audit").unwrap(), text);
        }
    }

    #[test]
    fn what_others_wrote_around_it_stays() {
        let text = with(b"<a/>", "x", "agent", INSIDE).unwrap();
        let edited = [b"<!-- mine -->", &text[..], b"<b/>"].concat();
        assert_eq!(without(&edited, "x").unwrap(), b"<!-- mine --><a/><b/>");
        let newer = with(&edited, "x", "agent", "<c/>\n").unwrap();
        assert!(newer.starts_with(b"<!-- mine --><a/>\n<!-- wazuh-toolkit: begin x agent sha256="));
        assert_eq!(without(&newer, "x").unwrap(), b"<!-- mine --><a/><b/>");
    }

    #[test]
    fn an_edit_inside_is_seen() {
        let text = with(b"<a/>\n", "x", "agent", INSIDE).unwrap();
        let edited = String::from_utf8(text).unwrap().replace("</ossec", "<y/></ossec").into_bytes();
        assert!(!find(&edited, "x").unwrap().unwrap().is_untouched(&edited));
    }

    #[test]
    fn torn_and_doubled_sections_are_refused() {
        let text = with(b"<a/>\n", "x", "agent", INSIDE).unwrap();
        let twice = [&text[..], &text[5..]].concat();
        assert_eq!(all(&twice), Err(SectionError::Twice("x".into())));
        let end = b"<!-- wazuh-toolkit: end x -->\n";
        let no_end = &text[..text.len() - end.len()];
        assert_eq!(all(no_end), Err(SectionError::Torn("x".into(), "end")));
        assert_eq!(all(end), Err(SectionError::Torn("x".into(), "beginning")));
        assert_eq!(all(b"<a/>\n<!-- <b>"), Err(SectionError::OpenComment(2)));
        assert!(with(b"<!--", "x", "agent", INSIDE).is_err());
    }
}
