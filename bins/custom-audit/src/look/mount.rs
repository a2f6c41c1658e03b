//! Mounts, as `/proc/PID/mountinfo` tells of them (proc(5)). There may be
//! thousands, of which none is of interest, so no more is made of a line than
//! its three words that are.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The most that is read, in bytes: some hundred thousand mounts.
const LARGEST: u64 = 32 * 1024 * 1024;

/// One mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Its number, as statx(2) gives it.
    pub id: u64,
    /// What of its file system is mounted, as it is written.
    pub root: &'a [u8],
    /// Where, as it is written.
    point: &'a [u8],
    /// What kind of file system it is.
    pub kind: &'a [u8],
}

impl Mount<'_> {
    /// True of one that hides a process in `/proc`.
    #[must_use]
    pub fn is_over_a_process(&self) -> bool {
        let number = self.point.strip_prefix(b"/proc/");
        number.and_then(|number| number.first()).is_some_and(u8::is_ascii_digit)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> PathBuf {
        OsString::from_vec(unescaped(self.point)).into()
    }
}

/// Hands each mount that this process sees to `each`.
///
/// # Errors
/// When it cannot be read whole.
pub fn each(process: &str, mut each: impl FnMut(Mount<'_>)) -> io::Result<()> {
    let mut text = Vec::new();
    File::open(format!("/proc/{process}/mountinfo"))?.take(LARGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    text.split(|&byte| byte == b'\n').filter_map(parse).for_each(&mut each);
    Ok(())
}

/// `36 35 98:0 ROOT POINT rw,… … - KIND source options`
#[must_use]
pub fn parse(line: &[u8]) -> Option<Mount<'_>> {
    let mut words = line.split(|&byte| byte == b' ');
    let id = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let root = words.nth(2)?;
    let point = words.next()?;
    let kind = { words }.skip_while(|word| *word != b"-").nth(1)?;
    Some(Mount { id, root, point, kind })
}

/// Blanks, newlines and backslashes are written as `\040`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, others @ ..] = rest {
        let octal = |digits: &[u8]| {
            let digit = |digit: u8| (b'0'..=b'7').contains(&digit).then(|| u32::from(digit - b'0'));
            let number = digits.iter().try_fold(0, |number, &next| Some(number * 8 + digit(next)?))?;
            u8::try_from(number).ok()
        };
        match (first, others.get(..3).and_then(octal)) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &others[3..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_understood_with_and_without_optional_fields() {
        for line in [
            "36 35 98:0 /a\\040b /mnt/a\\040b\\134 rw,noatime master:1 shared:2 - nfs4 host:/x rw",
            "36 35 98:0 /a\\040b /mnt/a\\040b\\134 rw,noatime - nfs4 host:/x rw",
        ] {
            let mount = parse(line.as_bytes()).unwrap();
            assert_eq!((mount.root, mount.kind), (&b"/a\\040b"[..], &b"nfs4"[..]));
            assert_eq!(mount.point(), PathBuf::from("/mnt/a b\\"));
            assert!(!mount.is_over_a_process());
        }
        let hiding = parse(b"36 35 98:0 / /proc/4711 rw - tmpfs x rw").unwrap();
        assert!(hiding.is_over_a_process());
        for line in ["", "36 35", "36 35 98:0 / / rw"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(unescaped(b"\\9\\0\\777"), b"\\9\\0\\777");
    }

    #[test]
    fn this_process_sees_a_root() {
        let mut roots = 0;
        each("self", |mount| roots += usize::from(mount.point() == std::path::Path::new("/"))).unwrap();
        assert!(roots > 0);
    }
}
