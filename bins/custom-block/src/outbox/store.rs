//! The files of the outbox.
//!
//! `<dir>/<api>@<target>.json` waits, `<dir>/sending/<same name>` is being
//! sent, `<dir>/bad/` keeps a few files that nobody could read,
//! `<dir>/.new-*` is being written, `<dir>/.lock` is held by the worker.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::address::Target;
use common::state::OWN_FILE;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::Item;

/// The largest file that is read or written, in bytes.
const LARGEST_ITEM: u64 = 64 * 1024;
/// The longest text of an item that is kept, in bytes.
const LONGEST_TEXT: usize = 1024;
/// How many names of a directory are looked at.
const MOST_NAMES: usize = 100_000;
/// How many items are considered in one pass.
const MOST_ITEMS: usize = 10_000;
/// How many unreadable files are kept for a person to look at.
const MOST_BAD: usize = 16;
/// A file that was being written this long ago belongs to nobody any more.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// An item as it lies on the disk.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Stored {
    #[serde(flatten)]
    pub(super) item: Item,
    /// How often the API said no, other failures not counted.
    #[serde(default)]
    pub(super) refused: u32,
}

/// An item that this worker alone is sending.
#[derive(Debug)]
pub(super) struct Claim {
    name: String,
    pub(super) stored: Stored,
}

pub(super) struct Store {
    dir: PathBuf,
    sending: PathBuf,
    bad: PathBuf,
}

impl Store {
    /// Opens the outbox, made when missing.
    pub(super) fn create(dir: &Path) -> io::Result<Store> {
        make_dir(dir)?;
        check_dir(dir)?;
        Ok(Store { dir: dir.to_owned(), sending: dir.join("sending"), bad: dir.join("bad") })
    }

    /// Opens the outbox; `None` when there is none.
    pub(super) fn open(dir: &Path) -> io::Result<Option<Store>> {
        match check_dir(dir) {
            Ok(()) => Ok(Some(Store::create(dir)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Becomes the only worker; `None` when there is one.
    pub(super) fn lock(&self) -> io::Result<Option<Flock<File>>> {
        make_dir(&self.sending)?;
        make_dir(&self.bad)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OWN_FILE)
            .open(self.dir.join(".lock"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Writes an item in place of an older one.
    pub(super) fn put(&self, item: &Item) -> io::Result<()> {
        let name = name_of(&item.api, item.target)?;
        let mut item = item.clone();
        for text in [&mut item.program, &mut item.rule, &mut item.alert, &mut item.agent, &mut item.reason] {
            let end = (0..=LONGEST_TEXT.min(text.len())).rfind(|&at| text.is_char_boundary(at));
            text.truncate(end.unwrap_or(0));
        }
        let new = self.write_new(&Stored { item, refused: 0 })?;
        fs::rename(&new, self.dir.join(name)).inspect_err(|_| drop(fs::remove_file(&new)))
    }

    /// The items that wait. Unreadable ones are set aside.
    pub(super) fn load(&self) -> io::Result<Vec<Stored>> {
        let mut items = Vec::new();
        for name in some_of(names(&self.dir)?) {
            match read(&self.dir, &name)? {
                Found::Item(stored) => items.push(*stored),
                Found::Nothing => {}
                Found::Damaged => self.set_aside(&name)?,
            }
        }
        Ok(items)
    }

    /// The items that wait or are being sent; changes nothing.
    pub(super) fn pending(&self) -> io::Result<Vec<Item>> {
        let mut items: Vec<Item> = Vec::new();
        for dir in [&self.dir, &self.sending] {
            for name in names(dir)? {
                if let Found::Item(stored) = read(dir, &name)?
                    && !items.iter().any(|i| (&i.api, i.target) == (&stored.item.api, stored.item.target))
                {
                    items.push(stored.item);
                }
            }
        }
        Ok(items)
    }

    /// Takes the newest want of this item's target to send it. `None` when it
    /// has gone.
    pub(super) fn claim(&self, item: &Item) -> io::Result<Option<Claim>> {
        let name = name_of(&item.api, item.target)?;
        if !missing_is_false(fs::rename(self.dir.join(&name), self.sending.join(&name)))? {
            return Ok(None);
        }
        match read(&self.sending, &name)? {
            Found::Item(stored) => Ok(Some(Claim { name, stored: *stored })),
            Found::Nothing => Ok(None),
            Found::Damaged => self.keep_bad(&name).map(|()| None),
        }
    }

    /// Forgets a claimed item.
    pub(super) fn drop_claim(&self, claim: &Claim) -> io::Result<()> {
        missing_is_false(fs::remove_file(self.sending.join(&claim.name))).map(drop)
    }

    /// Lets a claimed item wait again, as it is now. False when a newer want
    /// took its place meanwhile.
    pub(super) fn put_back(&self, claim: &Claim) -> io::Result<bool> {
        let new = match self.write_new(&claim.stored) {
            Ok(new) => new,
            Err(error) => {
                // A full disk must not cost us the item: a name needs no room.
                self.return_unchanged(&claim.name)?;
                return Err(error);
            }
        };
        let linked = link_new(&new, &self.dir.join(&claim.name));
        fs::remove_file(&new)?;
        let linked = linked?;
        self.drop_claim(claim)?;
        Ok(linked)
    }

    /// Puts back what a worker that died was sending, and removes what
    /// writers that died left behind.
    pub(super) fn recover(&self) -> io::Result<()> {
        for name in names(&self.sending)? {
            self.return_unchanged(&name)?;
        }
        for entry in fs::read_dir(&self.dir)?.take(MOST_NAMES) {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".new-")
                && let Ok(meta) = entry.metadata()
                && meta.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED))
            {
                missing_is_false(fs::remove_file(entry.path()))?;
            }
        }
        Ok(())
    }

    fn return_unchanged(&self, name: &str) -> io::Result<()> {
        let claimed = self.sending.join(name);
        match link_new(&claimed, &self.dir.join(name)) {
            Ok(_) => missing_is_false(fs::remove_file(&claimed)).map(drop),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            // Not a file, so nothing that we wrote.
            Err(_) => self.keep_bad(name),
        }
    }

    /// Sets an unreadable file aside. It is claimed and read once more: a
    /// good one may have been put in its place since.
    fn set_aside(&self, name: &str) -> io::Result<()> {
        let claimed = self.sending.join(name);
        if !missing_is_false(fs::rename(self.dir.join(name), &claimed))? {
            return Ok(());
        }
        match read(&self.sending, name)? {
            Found::Item(_) => self.return_unchanged(name),
            Found::Nothing => Ok(()),
            Found::Damaged => self.keep_bad(name),
        }
    }

    /// Moves a claimed file out of the way for good, or removes it when
    /// enough of its kind are kept.
    fn keep_bad(&self, name: &str) -> io::Result<()> {
        let claimed = self.sending.join(name);
        if fs::read_dir(&self.bad)?.take(MOST_BAD).count() < MOST_BAD {
            return fs::rename(claimed, self.bad.join(format!("{name}.{}", unique())));
        }
        if fs::symlink_metadata(&claimed)?.is_dir() {
            fs::remove_dir(claimed)
        } else {
            fs::remove_file(claimed)
        }
    }

    /// Writes an item under a name that only this process knows.
    fn write_new(&self, stored: &Stored) -> io::Result<PathBuf> {
        let text = serde_json::to_vec(stored)?;
        let path = self.dir.join(format!(".new-{}", unique()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&text).inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(path)
    }
}

enum Found {
    Item(Box<Stored>),
    Nothing,
    Damaged,
}

/// Reads one item and holds its contents against its name.
fn read(dir: &Path, name: &str) -> io::Result<Found> {
    let file = match OpenOptions::new().read(true).custom_flags(OWN_FILE).open(dir.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => return Ok(Found::Damaged),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(Found::Damaged);
    }
    let mut text = Vec::new();
    file.take(LARGEST_ITEM + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_ITEM {
        return Ok(Found::Damaged);
    }
    match serde_json::from_slice::<Stored>(&text) {
        Ok(stored) if name_of(&stored.item.api, stored.item.target).is_ok_and(|own| own == name) => {
            Ok(Found::Item(Box::new(stored)))
        }
        _ => Ok(Found::Damaged),
    }
}

/// The names of the items in a directory; none when it does not exist.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries.take(MOST_NAMES) {
        if let Ok(name) = entry?.file_name().into_string()
            && name.ends_with(".json")
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// As many names as one pass considers; other ones in the next pass, so that
/// items which wait do not starve the rest.
fn some_of(mut names: Vec<String>) -> Vec<String> {
    if names.len() > MOST_ITEMS {
        let start = clock_nanos() as usize % names.len();
        names.rotate_left(start);
        names.truncate(MOST_ITEMS);
    }
    names
}

/// The name of the file of this API and target.
fn name_of(api: &str, target: Target) -> io::Result<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if api.is_empty() || api.len() > 64 || !api.bytes().all(plain) {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("{api:?} is not the name of an API")));
    }
    Ok(format!("{api}@{}.json", target.to_string().replace('/', "_")))
}

fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count}-{}", std::process::id(), clock_nanos())
}

fn clock_nanos() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos())
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Somebody else who can write here could have us send anything.
fn check_dir(dir: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(dir)?;
    if !meta.is_dir() || meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
        let why = format!("{}: not a directory that is ours and only we can write", dir.display());
        return Err(io::Error::new(ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

/// Gives a file a second name. False when that name is taken.
fn link_new(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// False when there was no such file.
fn missing_is_false(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
