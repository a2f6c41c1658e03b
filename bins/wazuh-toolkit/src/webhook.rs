//! What we need to know of custom-webhook's configuration: whether anybody can
//! send it something, and where it writes.

use std::path::{Path, PathBuf};

use common::config::{parse, read_trusted};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::call::Call;
use crate::program::WEBHOOK_OUTPUT;

/// The name of its configuration.
pub const FILE: &str = "custom-webhook.toml";

/// Of its configuration so much as is needed here; the program itself judges
/// the rest (`custom-webhook --check-config`).
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Receiver {
    /// The file that Wazuh follows.
    pub output: PathBuf,
    github: Option<IgnoredAny>,
    application: Option<IgnoredAny>,
    supabase: Option<IgnoredAny>,
    aws: Option<IgnoredAny>,
    generic: Vec<IgnoredAny>,
}

impl Default for Receiver {
    fn default() -> Receiver {
        let output = WEBHOOK_OUTPUT.into();
        Receiver { output, github: None, application: None, supabase: None, aws: None, generic: Vec::new() }
    }
}

impl Receiver {
    /// As it is configured here; the defaults where nothing is.
    ///
    /// # Errors
    /// When the configuration cannot be read, or names a file that Wazuh's
    /// would not take for a name.
    pub fn of(call: &Call) -> Result<Receiver, String> {
        let path = call.places.config(FILE);
        let text = read_trusted(&path).map_err(|error| error.to_string())?;
        let receiver: Receiver =
            parse(&path, &text.unwrap_or_default()).map_err(|error| error.to_string())?;
        if is_plain(&receiver.output) {
            Ok(receiver)
        } else {
            Err(format!(
                "{}: output: Wazuh takes some of these characters for a pattern, or for XML: use letters, digits and . _ - /",
                path.display()
            ))
        }
    }

    /// Whether it has a source: without one it does not start.
    #[must_use]
    pub fn has_a_source(&self) -> bool {
        [&self.github, &self.application, &self.supabase, &self.aws].iter().any(|source| source.is_some())
            || !self.generic.is_empty()
    }
}

/// An absolute path without what means something else in `ossec.conf`: XML, a
/// pattern of names, a date.
fn is_plain(path: &Path) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@:,=".contains(byte);
    path.is_absolute() && path.as_os_str().as_encoded_bytes().iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Receiver {
        parse(Path::new("x"), text).unwrap()
    }

    #[test]
    fn a_table_of_a_source_is_one_and_other_keys_are_not() {
        assert!(!read("listen = \"127.0.0.1:1\"\n[tls]\ncertificate = \"/x\"\n").has_a_source());
        for table in ["[github]", "[application]\nx = 1", "[supabase]", "[aws]", "[[generic]]\nname = \"a\""]
        {
            assert!(read(table).has_a_source(), "{table}");
        }
        assert_eq!(read("").output, Path::new(WEBHOOK_OUTPUT));
        assert_eq!(read("output = \"/srv/x.json\"").output, Path::new("/srv/x.json"));
    }

    #[test]
    fn what_wazuh_would_not_take_for_a_name_is_none() {
        assert!(is_plain(Path::new(WEBHOOK_OUTPUT)) && is_plain(Path::new("/srv/a-b_c@d/e.json")));
        for path in ["x.json", "/a b", "/a*", "/a?", "/a[b]", "/%Y", "/a<b", "/a&b", "/a\"b", "/a\nb", "/ä"]
        {
            assert!(!is_plain(Path::new(path)), "{path}");
        }
    }
}
