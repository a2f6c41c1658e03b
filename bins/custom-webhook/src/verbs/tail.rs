//! `tail`: what arrives, for a person.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use common::state::OWN_FILE;
use serde_json::{Map, Value};

use crate::call::Call;
use crate::config::Settings;

use super::say;

/// How often it is looked for more.
const PAUSE: Duration = Duration::from_millis(300);
/// The end of the file in which the first lines are looked for.
const MOST: u64 = 4 * 1024 * 1024;
/// What stands at the beginning of each line, or says nothing to a person.
const APART: [&str; 5] = ["toolkit", "source", "event", "received_at", "receipt"];
/// The longest text of a field.
const LONGEST: usize = 100;

/// Shows the last lines, and those that come.
///
/// # Errors
/// When the file cannot be read.
pub fn tail(call: &Call, lines: usize, raw: bool, once: bool) -> Result<(), String> {
    let settings = Settings::load(&call.config).map_err(|error| error.to_string())?;
    let path = &settings.output;
    let said = |error: io::Error| format!("{}: {error}", path.display());
    let mut reader = open_near_end(path).map_err(said)?;
    let mut last = Vec::new();
    while let Some(line) = whole_line(&mut reader).map_err(said)? {
        if last.len() == lines.max(1) {
            last.remove(0);
        }
        last.push(line);
    }
    last.iter().take(lines).for_each(|line| show(line, raw));
    if once {
        return Ok(());
    }
    loop {
        match whole_line(&mut reader).map_err(said)? {
            Some(line) => show(&line, raw),
            None => {
                std::thread::sleep(PAUSE);
                // A new file took its place: what is left of the old one was read.
                let there = std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
                let ours = reader.get_ref().metadata().map(|meta| (meta.dev(), meta.ino())).map_err(said)?;
                if there.is_ok_and(|there| there != ours) {
                    while let Some(line) = whole_line(&mut reader).map_err(said)? {
                        show(&line, raw);
                    }
                    reader = BufReader::new(open(path).map_err(said)?);
                }
            }
        }
    }
}

/// Who writes there is not who reads: a link is not followed.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OWN_FILE).open(path)
}

fn open_near_end(path: &Path) -> io::Result<BufReader<File>> {
    let mut file = open(path)?;
    let start = file.metadata()?.len().saturating_sub(MOST);
    file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::new(file);
    if start > 0 {
        reader.read_until(b'\n', &mut Vec::new())?;
    }
    Ok(reader)
}

/// A line that has its end; what has none is read again later.
fn whole_line(reader: &mut BufReader<File>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let length = reader.read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        let back = i64::try_from(length).unwrap_or_default();
        reader.seek_relative(-back)?;
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

fn show(line: &str, raw: bool) {
    match serde_json::from_str::<Map<String, Value>>(line) {
        Ok(object) if !raw => say(&pretty(&object)),
        _ => say(line),
    }
}

/// `2026-11-21T18:40:00.000Z github/dependabot_alert severity=high …`.
fn pretty(object: &Map<String, Value>) -> String {
    let word = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or("-");
    let (source, event) = match object.get("aws") {
        Some(aws) => ("aws", aws.get("eventName").and_then(Value::as_str).unwrap_or("-")),
        None => (word("source"), word("event")),
    };
    let mut text = format!("{} {source}/{event}", word("received_at"));
    for (key, value) in object.iter().filter(|(key, _)| !APART.contains(&key.as_str())) {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let short: String = value.chars().take(LONGEST).collect();
        let more = if short.len() < value.len() { "…" } else { "" };
        text.push_str(&format!(" {key}={short}{more}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_with_what_it_is_first() {
        let object = serde_json::json!({
            "toolkit": "custom-webhook", "source": "github", "event": "push", "received_at": "2026-11-21T18:40:00.000Z",
            "receipt": "7", "forced": true, "message": "x".repeat(200),
        });
        let text = pretty(object.as_object().unwrap());
        assert!(text.starts_with("2026-11-21T18:40:00.000Z github/push forced=true message=xxx"));
        assert!(text.ends_with("x…") && text.len() < 200);
    }

    #[test]
    fn half_a_line_is_read_when_it_is_whole() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut file = File::create(&path).unwrap();
        write!(file, "one\ntw").unwrap();
        let mut reader = open_near_end(&path).unwrap();
        assert_eq!(whole_line(&mut reader).unwrap().as_deref(), Some("one"));
        assert_eq!(whole_line(&mut reader).unwrap(), None);
        writeln!(file, "o").unwrap();
        assert_eq!(whole_line(&mut reader).unwrap().as_deref(), Some("two"));
    }
}
