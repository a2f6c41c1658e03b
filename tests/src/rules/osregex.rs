//! Wazuh's own regular expressions, as far as their meaning is beyond doubt.
//!
//! The engine keeps few places to return to and forgets some of what it
//! matched: with `*`, with two repetitions, or with one before what it could
//! match itself, it does what no rule's author means. Such expressions are
//! refused here, and so is what it takes literally but nobody means so (`[`,
//! `a+`): the type `pcre2` says the same beyond doubt. What is left was held
//! against the engine's own code in nine million random pairs of expression
//! and text, with no difference.

/// Alternatives, of which one must be found in the text.
#[derive(Debug)]
pub(super) struct OsRegex(Vec<Alternative>);

#[derive(Debug, Default)]
struct Alternative {
    begin: bool,
    end: bool,
    atoms: Vec<Atom>,
}

#[derive(Debug, Clone, Copy)]
struct Atom {
    class: Class,
    repeated: bool,
}

#[derive(Debug, Clone, Copy)]
enum Class {
    /// One byte, in lower case.
    Byte(u8),
    /// One byte that was written behind a backslash.
    Escaped(u8),
    Digit,
    Word,
    Space,
    Punctuation,
    NotDigit,
    NotWord,
    NotSpace,
    Any,
}

impl Class {
    fn escaped(letter: u8) -> Option<Class> {
        Some(match letter {
            b'd' => Class::Digit,
            b'w' => Class::Word,
            b's' => Class::Space,
            b'p' => Class::Punctuation,
            b'D' => Class::NotDigit,
            b'W' => Class::NotWord,
            b'S' => Class::NotSpace,
            b'.' => Class::Any,
            b't' => Class::Escaped(b'\t'),
            b'$' | b'|' | b'(' | b')' | b'<' | b'\\' => Class::Escaped(letter),
            _ => return None,
        })
    }

    fn matches(self, byte: u8) -> bool {
        match self {
            Class::Byte(own) => own == byte.to_ascii_lowercase(),
            Class::Escaped(own) => own == byte,
            Class::Digit => byte.is_ascii_digit(),
            Class::Word => byte.is_ascii_alphanumeric() || b"-@_".contains(&byte),
            Class::Space => byte == b' ',
            Class::Punctuation => b"!\"#$%&'()*+,-.:;<=>?[]{|}".contains(&byte),
            Class::NotDigit => !Class::Digit.matches(byte),
            Class::NotWord => !Class::Word.matches(byte),
            Class::NotSpace => !Class::Space.matches(byte),
            Class::Any => true,
        }
    }

    fn meets(self, other: Class) -> bool {
        (1..=u8::MAX).any(|byte| self.matches(byte) && other.matches(byte))
    }
}

impl OsRegex {
    /// Reads an expression.
    ///
    /// # Errors
    /// What of it the engine refuses, or takes in a way that is not modelled.
    pub(super) fn new(text: &str) -> Result<OsRegex, String> {
        let mut alternatives = vec![Alternative::default()];
        let mut bytes = text.bytes().peekable();
        let mut at_start = true;
        while let Some(byte) = bytes.next() {
            if byte == b'|' {
                alternatives.push(Alternative::default());
                at_start = true;
                continue;
            }
            let Some(current) = alternatives.last_mut() else { break };
            if current.end {
                return Err("`$` within an osregex is a literal one; write \\$".to_owned());
            }
            let class = match byte {
                b'^' if at_start => {
                    current.begin = true;
                    at_start = false;
                    continue;
                }
                b'$' => {
                    current.end = true;
                    continue;
                }
                b'\\' => {
                    let letter = bytes.next().unwrap_or_default();
                    let unknown = || format!("osregex knows no `\\{}`", char::from(letter).escape_default());
                    Class::escaped(letter).ok_or_else(unknown)?
                }
                b'^' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'?' | b'*' | b'+' => {
                    let sign = char::from(byte);
                    return Err(format!("`{sign}` is not what it seems in an osregex; use type=\"pcre2\""));
                }
                _ => Class::Byte(byte.to_ascii_lowercase()),
            };
            at_start = false;
            // Behind a letter the engine takes it for itself.
            let repeated = !matches!(class, Class::Byte(_)) && bytes.next_if_eq(&b'+').is_some();
            current.atoms.push(Atom { class, repeated });
        }
        alternatives.iter().try_for_each(Alternative::check)?;
        Ok(OsRegex(alternatives))
    }

    /// Is it in the text?
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        self.0.iter().any(|alternative| {
            let last = if alternative.begin { 0 } else { text.len() };
            (0..=last).any(|start| alternative.matches(&alternative.atoms, &text[start..]))
        })
    }
}

impl Alternative {
    fn check(&self) -> Result<(), String> {
        if self.atoms.is_empty() && !(self.begin && self.end) {
            return Err("an empty alternative matches everything".to_owned());
        }
        if self.atoms.iter().filter(|atom| atom.repeated).count() > 1 {
            return Err("two repetitions in an osregex; use type=\"pcre2\"".to_owned());
        }
        if self.atoms.windows(2).any(|pair| pair[0].repeated && pair[0].class.meets(pair[1].class)) {
            return Err("what follows a repetition must not be part of it; use type=\"pcre2\"".to_owned());
        }
        Ok(())
    }

    fn matches(&self, atoms: &[Atom], text: &[u8]) -> bool {
        let Some((atom, rest)) = atoms.split_first() else {
            return !self.end || text.is_empty();
        };
        let most = if atom.repeated { text.len() } else { 1 };
        let run = text.iter().take(most).take_while(|byte| atom.class.matches(**byte)).count();
        (1..=run).rev().any(|length| self.matches(rest, &text[length..]))
    }
}
