//! Which rules a file of Wazuh's rules has (pure).
//!
//! Not a reader of XML: rule files are often none to the letter (they hold
//! bare `&` and `<` in patterns), and analysisd takes them.

use std::collections::BTreeMap;

use crate::section::comments;

/// The ids of rules in this text, without comments, and without those that
/// overwrite another on purpose.
#[must_use]
pub fn of(text: &[u8]) -> Vec<u32> {
    let comments = comments(text).unwrap_or_default();
    let mut ids = Vec::new();
    let mut at = 0;
    while let Some(found) = find(text, b"<rule", at) {
        at = found + 5;
        let named = text.get(at).is_some_and(u8::is_ascii_whitespace);
        if !named || comments.iter().any(|comment| comment.contains(&found)) {
            continue;
        }
        let end = find(text, b">", at).unwrap_or(text.len());
        let tag = &text[at..end];
        let overwrites = attribute(tag, b"overwrite").is_some_and(|value| value == b"yes");
        let id = attribute(tag, b"id").and_then(|id| std::str::from_utf8(id).ok()?.trim().parse().ok());
        ids.extend(id.filter(|_: &u32| !overwrites));
        at = end;
    }
    ids
}

fn find(text: &[u8], what: &[u8], from: usize) -> Option<usize> {
    text.get(from..)?.windows(what.len()).position(|part| part == what).map(|at| from + at)
}

/// The value of `name="…"`.
fn attribute<'a>(tag: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut from = 0;
    while let Some(at) = find(tag, name, from) {
        from = at + name.len();
        let apart = at > 0 && tag[at - 1].is_ascii_whitespace();
        let rest = tag[from..].trim_ascii_start();
        if let (true, Some(value)) = (apart, rest.strip_prefix(b"=")) {
            let value = value.trim_ascii_start();
            let quote = value.first().copied().filter(|byte| matches!(byte, b'"' | b'\''))?;
            return value[1..].split(|&byte| byte == quote).next();
        }
    }
    None
}

/// Of files by name: the ids that more than one of them has.
#[must_use]
pub fn collisions(ours: &[(String, Vec<u32>)], others: &[(String, Vec<u32>)]) -> Vec<(u32, String, String)> {
    let mut owners: BTreeMap<u32, &str> = BTreeMap::new();
    for (name, ids) in ours {
        owners.extend(ids.iter().map(|&id| (id, name.as_str())));
    }
    let mut found = Vec::new();
    for (name, ids) in others {
        for id in ids {
            if let Some(&owner) = owners.get(id) {
                found.push((*id, owner.to_owned(), name.clone()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_however_a_tag_is_written() {
        let text = br#"<group name="x,"><rule id="100100" level="3">
            <regex>a < b & c</regex></rule><rule level='5'
              id = '100101'></rule><!-- <rule id="9"> --><rules id="8"/><rule level="1" sid="7">
            <rule id="abc"><rule id="100102" level="9" overwrite="yes"><rule"#;
        assert_eq!(of(text), [100_100, 100_101]);
        assert_eq!(of(b""), [0_u32; 0]);
    }

    #[test]
    fn an_id_that_two_files_have_is_a_collision() {
        let file = |name: &str, ids: &[u32]| (name.to_owned(), ids.to_vec());
        let ours = [file("a.xml", &[1, 2]), file("b.xml", &[3])];
        let others = [file("local_rules.xml", &[3, 4])];
        assert_eq!(collisions(&ours, &others), [(3, "b.xml".to_owned(), "local_rules.xml".to_owned())]);
    }
}
