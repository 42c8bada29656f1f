//! Looking into backups: which one is meant, its tree below a path, and (in [`content`]) the bytes of its files; of levels of chains
//! in [`levels`].
//!
//! What the verbs that look into a backup have in common. Nothing here writes, but for temporary files.

pub mod content;
pub mod levels;

use crate::engine::dedup::tree::{self, Chunks, Cursor, Entry, Key};
use crate::error::{Error, Kind, Result};
use crate::level::BackupEntry;
use crate::monitor::{Event, Monitor};
use crate::repository::vault::{Index, ObjectId, Reader, Snapshot, Vault};
use crate::repository::{BackupId, Chain, Repository};
use crate::select::place::Place;
use crate::select::{self, Chosen, Filter};
use crate::time::Timestamp;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;
use std::sync::Arc;

/// How a user says which backup, beside its name.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Which series.
    pub filter: Filter,
    /// The name of this machine, to choose among several series.
    pub this_host: String,
    /// The newest backup that is not newer than this.
    pub at: Option<Timestamp>,
}

/// What a backup is called, whatever engine made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: BackupId,
    /// The host; `None` where it is not known apart from the name.
    pub host: Option<String>,
    /// The name, with the host where the two are not known apart.
    pub name: String,
    /// When it was begun: seconds since 1970.
    pub seconds: i64,
}

/// A deduplicated backup that was chosen.
#[derive(Debug, Clone)]
pub struct Backup {
    /// What it is called.
    pub id: BackupId,
    /// What it says of itself.
    pub snapshot: Snapshot,
}

impl Backup {
    /// A snapshot that was listed.
    pub fn new(id: ObjectId, snapshot: Snapshot) -> Backup {
        Backup { id: BackupId::of_snapshot(id), snapshot }
    }

    /// What it is called.
    pub fn named(&self) -> Named {
        let Snapshot { host, name, time, .. } = &self.snapshot;
        Named { id: self.id.clone(), host: Some(host.clone()), name: name.clone(), seconds: time.seconds }
    }
}

/// A backup that was chosen, however it is kept.
pub enum Either {
    /// A deduplicated one, and the index where it was loaded beside the search.
    Snapshot(Box<Backup>, Option<Index>),
    /// A level of a chain.
    Level {
        /// The chain it is in.
        chain: Chain,
        /// Which backup of the chain.
        entry: BackupEntry,
    },
}

/// Whether the index is loaded beside a search for a backup, where each request waits for an answer from far away. Who looks into
/// several backups loads it beside the last: it has what that one needs, and all that were there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// The index.
    Index,
    /// Nothing.
    Nothing,
}

/// Finds the deduplicated backup that is meant by `text`; with the index, for [`View::open`], where that was loaded.
///
/// # Errors
/// `NotFound`, `Invalid` when it is not clear which one is meant, `Unsupported` for one that is not deduplicated; as the
/// storage has it.
pub fn choose(
    repository: &Repository,
    which: &Which,
    text: &str,
    beside: Beside,
    monitor: &dyn Monitor,
) -> Result<(Backup, Option<Index>)> {
    deduplicated(choose_either(repository, which, text, beside, monitor)?, text)
}

/// As [`choose`], for a place in a backup. Who names a path only is told how that is done.
///
/// # Errors
/// As [`choose`].
pub fn choose_at(
    repository: &Repository,
    which: &Which,
    place: &Place,
    beside: Beside,
    monitor: &dyn Monitor,
) -> Result<(Backup, Option<Index>)> {
    deduplicated(choose_either_beside(repository, which, place, beside, monitor)?, &place.backup)
}

fn deduplicated(chosen: Either, text: &str) -> Result<(Backup, Option<Index>)> {
    match chosen {
        Either::Snapshot(backup, index) => Ok((*backup, index)),
        Either::Level { chain, entry } => {
            let what = format!("this works with deduplicated backups only; {text} was made by");
            Err(Error::new(Kind::Unsupported, what)
                .on(format!("the engine {}", chain.location(entry).engine))
                .hint("restore it to compare it, or name a deduplicated one with --engine dedup"))
        }
    }
}

fn choose_either(
    repository: &Repository,
    which: &Which,
    text: &str,
    beside: Beside,
    monitor: &dyn Monitor,
) -> Result<Either> {
    let Which { filter, this_host, at } = which;
    let (selected, index) = match beside {
        Beside::Index => select::one_with_index(repository, filter, this_host, text, *at, monitor)?,
        Beside::Nothing => (select::one(repository, filter, this_host, text, *at)?, None),
    };
    for stray in &selected.strays {
        monitor.event(Event::Warning(&format!("passed over {stray}, which is no backup")));
    }
    Ok(match selected.backup {
        Chosen::Snapshot { id, snapshot } => Either::Snapshot(Box::new(Backup::new(id, *snapshot)), index),
        Chosen::Level { chain, entry } => Either::Level { chain, entry },
    })
}

/// As [`choose_at`], of any engine, with the index beside it.
///
/// # Errors
/// As [`choose`], but that every backup can be chosen.
pub fn choose_either_at(
    repository: &Repository,
    which: &Which,
    place: &Place,
    monitor: &dyn Monitor,
) -> Result<Either> {
    choose_either_beside(repository, which, place, Beside::Index, monitor)
}

fn choose_either_beside(
    repository: &Repository,
    which: &Which,
    place: &Place,
    beside: Beside,
    monitor: &dyn Monitor,
) -> Result<Either> {
    choose_either(repository, which, &place.backup, beside, monitor).map_err(|error| {
        let is_no_id = !place.backup.bytes().all(|byte| byte.is_ascii_hexdigit());
        if error.kind() != Kind::NotFound
            || !place.path.is_empty()
            || error.subject() != place.backup
            || !is_no_id
            || place.backup.starts_with("latest~")
        {
            return error;
        }
        let hint =
            format!("a path in the latest backup is written :{0}, in another one ID:{0}", place.backup);
        error.hint(hint)
    })
}

/// The deduplicated part of a repository, ready to be read.
pub struct View<'r> {
    vault: &'r Vault,
    reader: Reader<'r>,
}

impl<'r> View<'r> {
    /// Takes the index that was loaded beside the search for the backup, or else loads it, and reads back from the packs what a
    /// damaged or lost one said: it stops nobody from looking.
    ///
    /// # Errors
    /// `NoRepository` when there is no deduplicated part; as the storage has it.
    pub fn open(repository: &'r Repository, index: Option<Index>, monitor: &dyn Monitor) -> Result<View<'r>> {
        let vault = repository.the_vault()?;
        let index = match index {
            Some(index) => index,
            None => Index::load_present(vault, monitor, true)?,
        };
        Ok(View { vault, reader: Reader::new(vault, Arc::new(index)) })
    }

    /// What is read from.
    pub fn vault(&self) -> &'r Vault {
        self.vault
    }

    /// What it is read with.
    pub fn reader(&self) -> &Reader<'r> {
        &self.reader
    }

    /// The same, as trees take it.
    pub fn chunks(&self) -> &dyn Chunks {
        &self.reader
    }

    /// Where the chunks are.
    pub fn index(&self) -> &Index {
        self.reader.index()
    }

    /// The entry at a path of a backup.
    ///
    /// # Errors
    /// `NotFound`; `Damaged`, or as the storage has it.
    pub fn entry(&self, backup: &Backup, path: &[u8]) -> Result<Entry> {
        entry(self.chunks(), &backup.snapshot, path)
    }
}

/// The entry at a path of the tree of a snapshot.
///
/// # Errors
/// `NotFound`; `Damaged`, or as the storage has it.
pub fn entry(chunks: &dyn Chunks, snapshot: &Snapshot, path: &[u8]) -> Result<Entry> {
    tree::find(chunks, &snapshot.root, path)?.ok_or_else(|| not_there(path))
}

fn not_there(path: &[u8]) -> Error {
    Error::new(Kind::NotFound, "the backup has no")
        .on(if path.is_empty() { "root directory".to_owned() } else { lossy(path) })
        .hint("paths are relative to what was backed up; icecore ls shows them")
}

/// Tells of an entry that is not all there.
pub fn tell_unless_whole(path: &[u8], entry: &Entry, monitor: &dyn Monitor) {
    if !entry.whole {
        let why = match entry.kind {
            FileKind::Directory => "since what was in it could not be read, or was left out",
            _ => "as it changed while it was read, or is as an earlier backup has it",
        };
        let text = format!("not whole in this backup, {why}: {}", lossy(path));
        monitor.event(Event::Warning(&text));
    }
}

/// Hands out the entry at `path` and everything below it, in the order of the tree.
///
/// # Errors
/// `NotFound` when there is nothing at `path`; what `found` fails with; `Interrupted`; `Damaged`, or as the storage has it.
pub fn walk(
    chunks: &dyn Chunks,
    snapshot: &Snapshot,
    path: &[u8],
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(Key<'_>, &Entry) -> Result<()>,
) -> Result<()> {
    let top = entry(chunks, snapshot, path)?;
    if top.kind != FileKind::Directory {
        return found(key_of(path, &top), &top);
    }
    let mut cursor = Cursor::new(chunks, &snapshot.root)?;
    cursor.seek(Key { directory: path, name: b"" })?;
    while let Some((key, entry)) = cursor.peek()? {
        if !is_within(key.directory, path) {
            break;
        }
        monitor.check()?;
        found(key, entry)?;
        cursor.advance();
    }
    Ok(())
}

/// The key under which the entry at `path` is found.
pub fn key_of<'a>(path: &'a [u8], entry: &Entry) -> Key<'a> {
    if entry.kind == FileKind::Directory {
        return Key { directory: path, name: b"" };
    }
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => Key { directory: &path[..slash], name: &path[slash + 1..] },
        None => Key { directory: b"", name: path },
    }
}

/// Whether `path` is `top` or below it, by whole components.
pub fn is_within(path: &[u8], top: &[u8]) -> bool {
    top.is_empty() || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The path of an entry, relative to the root of the backup.
pub fn path_of(key: Key<'_>) -> Vec<u8> {
    join(key.directory, key.name)
}

/// A path and one below it, either of them possibly empty.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || name.is_empty() {
        return [directory, name].concat();
    }
    [directory, b"/", name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_within_another_by_whole_components() {
        for (path, top, expected) in [
            ("a", "", true),
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a/b", "a", true),
            ("ab", "a", false),
            ("a", "a/b", false),
        ] {
            assert_eq!(is_within(path.as_bytes(), top.as_bytes()), expected, "{path} {top}");
        }
    }

    #[test]
    fn paths_are_joined_with_a_slash_only_where_both_are() {
        for (directory, name, expected) in
            [("", "a", "a"), ("a", "", "a"), ("a/b", "c", "a/b/c"), ("", "", "")]
        {
            assert_eq!(join(directory.as_bytes(), name.as_bytes()), expected.as_bytes());
        }
    }
}
