//! All that lies below a folder, to be compared with what lies there later.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a file is, but for its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `file`, `folder`, `link`, `fifo` or `other`.
    pub kind: &'static str,
    /// Owner, group and mode.
    pub owner: (u32, u32, u32),
    /// Its length and a hash of what it says, or where it points.
    pub content: String,
}

/// All files below a folder, by their paths in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<PathBuf, Entry>);

impl Tree {
    /// What lies in this folder now, itself included.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn of(root: &Path) -> Tree {
        fn walk(root: &Path, path: &Path, found: &mut BTreeMap<PathBuf, Entry>) {
            let metadata = std::fs::symlink_metadata(path).expect("a file that stays");
            let relative = path.strip_prefix(root).expect("below the root").to_owned();
            let folder = metadata.is_dir();
            found.insert(relative, entry(path, &metadata));
            if folder {
                for entry in std::fs::read_dir(path).expect("we are root").flatten() {
                    walk(root, &entry.path(), found);
                }
            }
        }
        let mut found = BTreeMap::new();
        if root.exists() {
            walk(root, root, &mut found);
        }
        Tree(found)
    }

    /// The files that are not as they were before, or are new, or gone.
    #[must_use]
    pub fn changes_since(&self, before: &Tree) -> Vec<PathBuf> {
        let mut all: Vec<&PathBuf> = self.0.keys().chain(before.0.keys()).collect();
        all.sort();
        all.dedup();
        all.into_iter().filter(|path| self.0.get(*path) != before.0.get(*path)).cloned().collect()
    }
}

fn entry(path: &Path, metadata: &Metadata) -> Entry {
    let owner = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
    let kind = metadata.file_type();
    let (kind, content) = if kind.is_dir() {
        ("folder", String::new())
    } else if kind.is_symlink() {
        ("link", std::fs::read_link(path).expect("we are root").display().to_string())
    } else if kind.is_file() {
        let bytes = std::fs::read(path).expect("we are root");
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        ("file", format!("{} bytes, {:016x}", bytes.len(), hasher.finish()))
    } else if std::os::unix::fs::FileTypeExt::is_fifo(&kind) {
        ("fifo", String::new())
    } else {
        ("other", String::new())
    };
    Entry { kind, owner, content }
}
