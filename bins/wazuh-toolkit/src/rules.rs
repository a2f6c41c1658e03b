//! The detection rules and their lists, on a manager: copied into its tree,
//! compared with what is there, taken away again.
//!
//! They are copied, not linked: removing Wazuh's package deletes `etc/rules`,
//! and analysisd reads them as the user `wazuh`.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::Rc;

use common::finding::Findings;
use common::state;
use common::text::glance;
use sha2::{Digest, Sha256};

use crate::call::Call;
use crate::change::state_folder;
use crate::conf::{Facts, end_of_ruleset};
use crate::file::{Original, Owner};
use crate::folder::Folder;
use crate::ids;
use crate::section::{self, SectionError};

/// Before the name of each list that is copied.
pub const LIST_PREFIX: &str = "wazuh-toolkit-";
/// Before the name of each file of rules that is copied. Files are loaded in the
/// order of their names (4.14.7, `src/config/rules-config.c`): ours behind all
/// of Wazuh's, whose children some of them are, and before `local_rules.xml`, so
/// that an administrator's rules can be children of ours.
pub const RULE_PREFIX: &str = "1000-wazuh-toolkit-";
/// The name of our section within `<ruleset>`.
pub const LISTS: &str = "lists";
/// What was copied, so that an edit by hand is seen.
const COPIED: &str = "copied.json";

/// A file that is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// Its name in `rules/` or `rules/lists/`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! shipped {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(Shipped { name: $name, text: include_str!(concat!("../../../rules/", $folder, $name)) }),*]
    };
}

/// The rules.
pub const RULES: &[Shipped] = shipped!("":
    "application-events.xml",
    "cloudtrail.xml",
    "custom-audit.xml",
    "custom-block.xml",
    "custom-webhook.xml",
    "github.xml",
    "supabase.xml",
);

/// The lists that they use.
pub const LIST_FILES: &[Shipped] = shipped!("lists/":
    "application-addresses",
    "audit-executables",
    "audit-networks",
    "aws-principals",
    "supabase-tables",
);

/// How a copy compares with what is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// The same.
    Same,
    /// Not there.
    Missing,
    /// As it was copied by another version.
    Older,
    /// Edited since.
    Edited,
}

/// One file of the manager's that is, or would be, a copy of ours.
#[derive(Debug)]
pub struct Place {
    /// Its folder.
    pub folder: Rc<Folder>,
    /// Its name there.
    pub name: String,
    /// Where that is, for people.
    pub path: PathBuf,
    /// What is shipped; `None` when this version ships no such file any more.
    pub shipped: Option<&'static str>,
    /// What is there.
    pub found: Option<Original>,
    /// How they compare.
    pub copy: Copy,
    /// A list: the administrator's as soon as it is there.
    pub is_list: bool,
}

/// The sums of what was copied, by name.
type Copied = BTreeMap<String, String>;

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn copied(call: &Call) -> Copied {
    let text = std::fs::read(call.state.join(COPIED)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Remembers what is copied now.
///
/// # Errors
/// When it cannot be written.
pub fn remember(call: &Call) -> io::Result<()> {
    let all = places(call)?;
    let entry = |place: &Place| {
        let same = place.copy != Copy::Edited && place.found.is_some();
        let name = place.path.file_name()?.to_string_lossy().into_owned();
        same.then(|| (name, sum(&place.found.as_ref().map(|found| found.bytes.clone()).unwrap_or_default())))
    };
    let now: Copied = all.iter().filter_map(entry).collect();
    let path = state_folder(call)?.join(COPIED);
    if now.is_empty() {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let text = serde_json::to_vec_pretty(&now).map_err(io::Error::other)?;
    state::replace(&path, &text, 0o600, state::Durability::Synced)
}

/// Everything that we have, or would have, in the manager's tree: by the names
/// that this version ships and that earlier ones have copied. What else has such
/// a name is somebody else's.
///
/// # Errors
/// When it cannot be looked at.
pub fn places(call: &Call) -> io::Result<Vec<Place>> {
    let known = copied(call);
    let mut all = Vec::new();
    for (name, shipped, prefix, is_list) in
        [("rules", RULES, RULE_PREFIX, false), ("lists", LIST_FILES, LIST_PREFIX, true)]
    {
        let path = call.installation.home().join("etc").join(name);
        // Where there is no folder, there is nothing of ours.
        let Some(folder) = Folder::open(&path)?.map(Rc::new) else { continue };
        let mut names: BTreeMap<String, Option<&'static str>> =
            shipped.iter().map(|file| (format!("{prefix}{}", file.name), Some(file.text))).collect();
        for name in known.keys().filter(|name| name.starts_with(prefix) && !name.contains('/')) {
            names.entry(name.clone()).or_insert(None);
        }
        for (name, shipped) in names {
            let found = folder.read(&name)?;
            let copy = match &found {
                None => Copy::Missing,
                Some(found) if shipped.is_some_and(|text| text.as_bytes() == found.bytes) => Copy::Same,
                Some(found) if known.get(&name) == Some(&sum(&found.bytes)) => Copy::Older,
                Some(_) => Copy::Edited,
            };
            // Of an earlier version, and gone.
            if shipped.is_some() || found.is_some() {
                let (folder, path) = (Rc::clone(&folder), folder.path_of(&name));
                all.push(Place { folder, name, path, shipped, found, copy, is_list });
            }
        }
    }
    Ok(all)
}

/// To whom a copy belongs: as what Wazuh itself keeps there.
///
/// # Errors
/// When `etc` is not there.
pub fn owner(call: &Call) -> io::Result<Owner> {
    let etc = std::fs::metadata(call.installation.home().join("etc"))?;
    Ok(Owner { uid: etc.uid(), gid: etc.gid(), mode: 0o660 })
}

/// Rules of others with our ids: the id, our file, theirs.
///
/// # Errors
/// When a folder cannot be read.
pub fn collisions(call: &Call, facts: &Facts) -> io::Result<Vec<(u32, String, String)>> {
    let ours: Vec<(String, Vec<u32>)> =
        RULES.iter().map(|file| (file.name.to_owned(), ids::of(file.text.as_bytes()))).collect();
    let mut others = Vec::new();
    for dir in &facts.rule_dirs {
        // Relative to the installation; an absolute one stays as it is.
        let dir = call.installation.home().join(dir);
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".xml") && !name.starts_with(RULE_PREFIX) {
                let path = entry.path();
                others.push((
                    path.display().to_string(),
                    ids::of(glance(&path).unwrap_or_default().as_bytes()),
                ));
            }
        }
    }
    Ok(ids::collisions(&ours, &others))
}

/// Whether the manager loads rules from `etc/rules` at all.
#[must_use]
pub fn are_loaded(call: &Call, facts: &Facts) -> bool {
    let rules = call.installation.home().join("etc/rules");
    facts.rule_dirs.iter().any(|dir| call.installation.home().join(dir) == rules)
}

/// `ossec.conf` with every list declared, within the `<ruleset>` that counts:
/// one of our own would make Wazuh forget the directories of the other.
///
/// # Errors
/// When the sections cannot be told.
pub fn with_lists(text: &[u8]) -> Result<Vec<u8>, SectionError> {
    let bare = section::without(text, LISTS)?;
    let declared = Facts::of(&String::from_utf8_lossy(&bare)).lists;
    let inside: String = LIST_FILES
        .iter()
        .map(|file| format!("etc/lists/{LIST_PREFIX}{}", file.name))
        .filter(|path| !declared.contains(path))
        .map(|path| format!("    <list>{path}</list>\n"))
        .collect();
    let Some(place) = end_of_ruleset(&bare)?.filter(|_| !inside.is_empty()) else { return Ok(bare) };
    section::with_at(&bare, LISTS, "manager", &inside, place)
}

/// What is right and wrong with the rules of a manager.
pub fn examine(call: &Call, conf: &Original, findings: &mut Findings) {
    let facts = Facts::of(&conf.text());
    let all = match places(call) {
        Ok(all) => all,
        Err(error) => return findings.problem("rules", error.to_string()),
    };
    let rules: Vec<&Place> = all.iter().filter(|place| !place.is_list).collect();
    if rules.iter().all(|place| place.copy == Copy::Missing) {
        findings.note("rules", "not installed: `wazuh-toolkit rules install` copies them to this manager");
        return;
    }
    let mut wrong = 0;
    for place in &all {
        let path = place.path.display();
        let (list, shipped) = (place.is_list, place.shipped.is_some());
        match place.copy {
            Copy::Same => continue,
            Copy::Edited | Copy::Older if list && shipped => continue,
            Copy::Missing => findings.problem("rules", format!("{path} is missing: `wazuh-toolkit rules install` copies it")),
            Copy::Older => findings.problem("rules", format!("{path} is of another version of the toolkit: `wazuh-toolkit rules install` renews it")),
            Copy::Edited => findings.problem("rules", format!("{path} was edited by hand: the next version would not replace it. Move the changes to rules of your own, as in local_rules.xml (overwrite=\"yes\" changes one of ours), then `wazuh-toolkit rules install --force`")),
        }
        wrong += 1;
    }
    if wrong == 0 {
        findings.ok("rules", format!("{} files of rules, {} lists", rules.len(), all.len() - rules.len()));
    }
    if !are_loaded(call, &facts) {
        findings.problem("rules", "the last <ruleset> of ossec.conf has no <rule_dir>etc/rules</rule_dir>: they are not loaded. Add that line there");
    }
    if facts.rulesets > 1 {
        findings.note(
            "rules",
            format!(
                "ossec.conf has {} <ruleset> elements: each begins anew, and only the last one counts",
                facts.rulesets
            ),
        );
    }
    match with_lists(&conf.bytes) {
        Ok(text) if text == conf.bytes => {}
        Ok(_) => findings.problem("lists", "ossec.conf does not declare all lists, so that rules which use them are skipped: `wazuh-toolkit rules install` declares them"),
        Err(error) => findings.problem("lists", error.to_string()),
    }
    match collisions(call, &facts) {
        Ok(found) => {
            for (id, ours, theirs) in found.iter().take(20) {
                findings.problem("ids", format!("rule {id} is in {theirs} and in our {ours}: only the first that is loaded counts. Give the other one another id"));
            }
        }
        Err(error) => findings.problem("ids", error.to_string()),
    }
}

impl Place {
    /// Writes it.
    ///
    /// # Errors
    /// When it cannot; the old one is untouched then.
    pub fn put(&self, bytes: &[u8], owner: Owner) -> io::Result<()> {
        self.folder.replace(&self.name, bytes, owner)
    }

    /// Removes it, and what analysisd has made of a list.
    ///
    /// # Errors
    /// When it cannot.
    pub fn remove(&self) -> io::Result<()> {
        if self.is_list {
            let _ = self.folder.remove(&format!("{}.cdb", self.name));
        }
        self.folder.remove(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_the_tree_is_shipped_and_nothing_else() {
        let tree = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
        for (folder, shipped, extension) in
            [(tree.clone(), RULES, "xml"), (tree.join("lists"), LIST_FILES, "")]
        {
            let entries = std::fs::read_dir(folder).unwrap().flatten();
            let mut names: Vec<String> = entries
                .filter(|entry| entry.file_type().unwrap().is_file())
                .map(|entry| entry.file_name().into_string().unwrap())
                .filter(|name| std::path::Path::new(name).extension().unwrap_or_default() == extension)
                .collect();
            names.sort();
            assert_eq!(names, shipped.iter().map(|file| file.name).collect::<Vec<_>>());
        }
    }

    #[test]
    fn lists_are_declared_where_they_are_not_and_taken_back_to_the_byte() {
        let conf = "<ossec_config>\n  <ruleset>\n    <rule_dir>etc/rules</rule_dir>\n  </ruleset>\n</ossec_config>\n";
        let with = with_lists(conf.as_bytes()).unwrap();
        let facts = Facts::of(&String::from_utf8_lossy(&with));
        assert_eq!((facts.rulesets, facts.lists.len()), (1, LIST_FILES.len()));
        assert_eq!(with_lists(&with).unwrap(), with);
        assert_eq!(section::without(&with, LISTS).unwrap(), conf.as_bytes());
    }
}
