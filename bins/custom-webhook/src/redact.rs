//! Secrets in what others send, known by the names that they have.

use std::borrow::Cow;
use std::cmp::Reverse;

use serde_json::value::RawValue;

use crate::json::{Shape, scalar, shape};

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Anywhere in a name, its parts put together.
const WITHIN: [&str; 32] = [
    "password",
    "passwd",
    "passwort",
    "kennwort",
    "passphrase",
    "passcode",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "authorization",
    "cookie",
    "credential",
    "sessionid",
    "sessionkey",
    "connectionstring",
    // Codes that open something; those of states, errors and countries do not.
    "mfacode",
    "2facode",
    "factorcode",
    "recoverycode",
    "backupcode",
    "verificationcode",
    "confirmationcode",
    "activationcode",
    "securitycode",
    "accesscode",
    "resetcode",
    "authcode",
    "devicecode",
    "onetimecode",
    "smscode",
];
/// A part of a name.
const WORDS: [&str; 15] = [
    "token", "tokens", "jwt", "pwd", "pw", "pass", "otp", "totp", "pin", "cvv", "cvc", "csrf", "xsrf",
    "bearer", "salt",
];
/// At the end of a part, where parts are written together.
const ENDINGS: [&str; 6] = ["token", "tokens", "jwt", "pwd", "otp", "pass"];
/// Words that end so and are none of them.
const HARMLESS: [&str; 11] = [
    "bypass",
    "compass",
    "encompass",
    "overpass",
    "surpass",
    "trespass",
    "underpass",
    "multipass",
    "lowpass",
    "highpass",
    "bandpass",
];
/// Names that are those of a secret as a whole, and say something else within
/// another one.
const WHOLE: [&str; 2] = ["session", "phpsessid"];
/// Of a list of names and values, the members that have the name.
const NAMES: [&str; 6] = ["name", "key", "header", "field", "parameter", "variable"];
/// And the value.
const VALUES: [&str; 2] = ["value", "values"];
/// What is longer, or has blanks, is no such name.
const LONGEST_TOLD: usize = 64;
/// What is shorter is no credential.
const LEAST_CREDENTIAL: usize = 8;
/// How the text of a JSON Web Token begins.
const JWT: &str = "eyJ";
/// In the value of a query they are an attack, which rules look for, and which
/// nobody may hide behind a name.
const ATTACKS: [&str; 9] = ["..", "%2e", "'", "%27", "<", "%3c", "${", "%24%7b", "/etc/"];
/// At the end of a name they say that it is about a secret, not the secret.
const ABOUT: [&str; 26] = [
    "at",
    "type",
    "types",
    "count",
    "id",
    "name",
    "length",
    "expires",
    "expiry",
    "expired",
    "expiration",
    "exp",
    "valid",
    "strength",
    "status",
    "changed",
    "age",
    "policy",
    "limit",
    "usage",
    "scope",
    "scopes",
    "required",
    "enabled",
    "used",
    "version",
];

/// Which names are those of secrets.
#[derive(Debug, Clone, Default)]
pub struct Redact {
    more: Vec<String>,
    off: bool,
}

impl Redact {
    /// None, where what is written was chosen value by value.
    #[must_use]
    pub fn nothing() -> Redact {
        Redact { more: Vec::new(), off: true }
    }

    /// These names too, whole; capitals and what is between their parts do not count.
    #[must_use]
    pub fn new(more: &[String]) -> Redact {
        Redact { more: more.iter().map(|name| parts(name).concat()).collect(), off: false }
    }

    /// True when what has this name is likely a secret.
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        if self.off {
            return false;
        }
        // Nobody's names are that long, and each is looked at for each field.
        let name = name.char_indices().nth(256).map_or(name, |(end, _)| &name[..end]);
        let parts = parts(name);
        let whole = parts.concat();
        if self.more.contains(&whole) {
            return true;
        }
        // An access key's id is none, a session's id opens the session.
        let named = |part: &&String| !part.bytes().all(|byte| byte.is_ascii_digit());
        let about =
            parts.len() > 1 && parts.iter().rfind(named).is_some_and(|last| ABOUT.contains(&last.as_str()));
        if about && !whole.ends_with("sessionid") {
            return false;
        }
        let ends =
            |part: &str| ENDINGS.iter().any(|ending| part.ends_with(ending)) && !HARMLESS.contains(&part);
        WHOLE.contains(&whole.as_str())
            || WITHIN.iter().any(|word| whole.contains(word))
            || parts.iter().any(|part| WORDS.contains(&part.as_str()) || ends(part))
    }

    /// What is written in place of this member, if anything. Whether there is
    /// something, or whether something holds, is no secret.
    #[must_use]
    pub fn replaces(&self, name: &str, value: &RawValue) -> Option<&'static str> {
        let secret = match shape(value) {
            Shape::Null | Shape::Truth(_) => false,
            Shape::Text(text) => {
                !text.is_empty() && (self.is_secret(name) || self.is_secret_text(name, &text))
            }
            Shape::Number(_) | Shape::List | Shape::Object => self.is_secret(name),
        };
        secret.then_some(REDACTED)
    }

    /// Names of which the text decides: `sid` is also a number of Windows' or of
    /// an IDS, and what AWS calls a statement; `dsn` also what a mail server says.
    fn is_secret_text(&self, name: &str, text: &str) -> bool {
        if self.off || name.len() > 40 || name == "Sid" {
            return false;
        }
        let parts = parts(name);
        match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["sid"] | ["connect", "sid"] => {
                !text.starts_with("S-1-") && !text.bytes().all(|byte| byte.is_ascii_digit())
            }
            [.., "dsn"] => text.contains(['@', '=']),
            _ => false,
        }
    }

    /// True where nothing is a secret.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.off
    }

    /// Whether it is a header that holds a secret: the next one in a list of names
    /// and values is it then.
    #[must_use]
    pub fn is_secret_header(&self, name: &str) -> bool {
        let known = ["authorization", "cookie"].iter().any(|known| known.eq_ignore_ascii_case(name));
        name.len() <= LONGEST_TOLD && is_plain(name) && (known || name.contains('-')) && self.is_secret(name)
    }

    /// A text without what follows the names of secrets in a query or form
    /// (`?token=…`) or in the lines of a head (`Cookie: …`), without credentials
    /// (`Bearer …`) and JSON Web Tokens, and without the password before a URL's
    /// host.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let marks = ["=", ":", "earer ", "asic ", JWT];
        if self.off || !marks.iter().any(|mark| text.contains(mark)) {
            return Cow::Borrowed(text);
        }
        let mut secrets: Vec<(usize, usize)> = Vec::new();
        self.lines_of_heads(text, &mut secrets);
        credentials(text, &mut secrets);
        for (at, mark) in text.match_indices("://") {
            let start = at + mark.len();
            let rest = &text[start..];
            let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '<' | '>' | '\\') || c.is_whitespace();
            if let Some((user, _)) = rest[..rest.find(ends).unwrap_or(rest.len())].rsplit_once('@')
                && let Some((name, password)) = user.split_once(':')
                && !password.is_empty()
            {
                secrets.push((start + name.len() + 1, start + user.len()));
            }
        }
        let ends = |c: char| matches!(c, '?' | '&' | ';' | '#' | '"' | '<' | '>') || c.is_whitespace();
        let mut start = 0;
        for piece in text.split_inclusive(ends) {
            let whole = piece.trim_end_matches(ends);
            if let Some((name, value)) = whole.split_once('=')
                && !value.trim_start_matches('=').is_empty()
                && self.is_secret(&name[name.rfind('/').map_or(0, |at| at + 1)..])
                && !is_attack(value)
            {
                secrets.push((start + name.len() + 1, start + whole.len()));
            }
            start += piece.len();
        }
        if secrets.is_empty() {
            return Cow::Borrowed(text);
        }
        secrets.sort_unstable_by_key(|(from, to)| (*from, Reverse(*to)));
        let mut clean = String::with_capacity(text.len());
        let mut done = 0;
        for (from, to) in secrets {
            // One may be within another.
            if from >= done {
                clean.push_str(&text[done..from]);
                clean.push_str(REDACTED);
                done = to;
            }
        }
        clean.push_str(&text[done..]);
        Cow::Owned(clean)
    }

    /// `X-Api-Key: …`, to the end of its line.
    fn lines_of_heads(&self, text: &str, secrets: &mut Vec<(usize, usize)>) {
        let mut start = 0;
        for line in text.split_inclusive(['\r', '\n']) {
            let whole = line.trim_end();
            if let Some((name, value)) = whole.split_once(':')
                && let (name, value) = (name.trim_start(), value.trim_start())
                && !value.is_empty()
                && is_plain(name)
                && self.is_secret(name)
                && !is_attack(value)
            {
                secrets.push((start + whole.len() - value.len(), start + whole.len()));
            }
            start += line.len();
        }
    }
}

/// True of what may be the name of a header.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// `Bearer …`, `Basic …`, and what is a JSON Web Token by its looks.
fn credentials(text: &str, secrets: &mut Vec<(usize, usize)>) {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let run = |from: usize| text.as_bytes()[from..].iter().take_while(|byte| is_part(**byte)).count();
    let begins = |at: usize| at == 0 || !text.as_bytes()[at - 1].is_ascii_alphanumeric();
    for scheme in ["Bearer ", "bearer ", "Basic ", "basic "] {
        for (at, scheme) in text.match_indices(scheme).filter(|(at, _)| begins(*at)) {
            let from = at + scheme.len();
            let found = &text[from..from + run(from)];
            let has = |kind: fn(&u8) -> bool| found.as_bytes().iter().any(kind);
            // And no word of a sentence.
            let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
            if found.len() >= LEAST_CREDENTIAL && (mixed || has(u8::is_ascii_digit)) {
                secrets.push((from, from + found.len()));
            }
        }
    }
    for (at, _) in text.match_indices(JWT).filter(|(at, _)| begins(*at)) {
        let found = &text[at..at + run(at)];
        if found.matches('.').count() >= 2 {
            secrets.push((at, at + found.len()));
        }
    }
}

fn is_attack(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    ATTACKS.iter().any(|sign| value.contains(sign))
}

/// What an object of a name and a value names: `{"name": "Authorization",
/// "value": …}`.
#[must_use]
pub fn told<'a>(members: &[(Cow<'a, str>, &'a RawValue)]) -> Option<Cow<'a, str>> {
    let is = |known: &[&str], name: &str| {
        name.len() <= 16 && known.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    members.iter().find(|(name, _)| is(&VALUES, name))?;
    let plain = |text: &Cow<'_, str>| text.len() <= LONGEST_TOLD && !text.contains(char::is_whitespace);
    members.iter().filter(|(name, _)| is(&NAMES, name)).find_map(|(_, raw)| scalar(raw).filter(plain))
}

/// What a member is called: by its own name, or as its object told.
#[must_use]
pub fn called<'n>(told: Option<&'n str>, name: &'n str) -> &'n str {
    let is_value = VALUES.iter().any(|known| known.eq_ignore_ascii_case(name));
    told.filter(|_| is_value).unwrap_or(name)
}

/// The parts of a name, in lower case: `accessToken`, `access-token` and
/// `ACCESS_TOKEN` have the same two; so has `APIToken`, and `token1`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before: Option<char> = None;
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_alphanumeric() {
            parts.push(String::new());
        } else {
            let begins = before.is_some_and(|b| {
                b.is_numeric() != c.is_numeric()
                    || c.is_uppercase()
                        && (!b.is_uppercase() || chars.peek().is_some_and(|next| next.is_lowercase()))
            });
            if begins {
                parts.push(String::new());
            }
            if let Some(last) = parts.last_mut() {
                last.extend(c.to_lowercase());
            }
        }
        before = Some(c);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests;
