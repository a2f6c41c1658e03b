//! Text that others wrote, made harmless.

use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// The most that [`glance`] reads of a file, in bytes.
const MOST_AT_A_GLANCE: u64 = 8 * 1024 * 1024;

/// The text of a file that is only looked at, whatever its encoding: links are
/// followed, but nothing is waited for, and nothing is without end. `None` where
/// it is no regular file or cannot be opened.
#[must_use]
pub fn glance(path: &Path) -> Option<String> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    // What could be read before an error counts.
    let _ = file.take(MOST_AT_A_GLANCE).read_to_end(&mut bytes);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// True of what changes a terminal, or the order in which a line is read.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Text that is safe to print on a terminal: each character that is not is
/// replaced by U+FFFD.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect()
}

/// Text for a record, whatever bytes it was: what is not UTF-8 becomes U+FFFD,
/// a control character `\xNN`. It is cut, and then ends with an ellipsis,
/// where it would take more than `most` bytes within quotes in JSON.
#[must_use]
pub fn legible(bytes: &[u8], most: usize) -> String {
    let mut text = String::with_capacity(bytes.len().min(most));
    let mut quoted = 0;
    for chunk in bytes.utf8_chunks() {
        let invalid = (!chunk.invalid().is_empty()).then_some('\u{fffd}');
        for c in chunk.valid().chars().chain(invalid) {
            quoted += match c {
                '"' | '\\' => 2,
                c if c.is_control() => 5,
                c => c.len_utf8(),
            };
            if quoted + '…'.len_utf8() > most {
                text.push('…');
                return text;
            }
            if c.is_control() {
                let _ = write!(text, "\\x{:02x}", u32::from(c));
            } else {
                text.push(c);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_follows_links_and_waits_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, pipe) = (dir.path().join("file"), dir.path().join("link"), dir.path().join("pipe"));
        std::fs::write(&file, b"a\xff").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(glance(&link).as_deref(), Some("a\u{fffd}"));
        assert_eq!((glance(&pipe), glance(dir.path()), glance(&dir.path().join("none"))), (None, None, None));
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        assert_eq!(printable("a\u{1b}[2J\u{202e}b\n"), "a\u{fffd}[2J\u{fffd}b\u{fffd}");
    }

    #[test]
    fn any_bytes_are_legible_and_keep_within_their_limit() {
        for (bytes, expected) in [
            (&b"sshd"[..], "sshd"),
            (b"a\"b\\c)\n", "a\"b\\c)\\x0a"),
            (b"\xff\xfeok\xc3", "\u{fffd}\u{fffd}ok\u{fffd}"),
            ("zoë\u{85}".as_bytes(), "zoë\\x85"),
        ] {
            assert_eq!(legible(bytes, 100), expected);
        }
        for byte in 0..=255 {
            let text = legible(&[byte; 5000], 256);
            assert!(text.ends_with('…') && serde_json::to_string(&text).unwrap().len() <= 258, "{byte}");
        }
    }
}
