//! Storages that are made of folders: what names in them mean, and going through them, a folder a request, a few at a time.
//!
//! Invariants: a folder is read whole before anything of it is handed on; what is handed on is handed on outside of every request, so
//! that the receiver may use the storage. A folder that vanishes meanwhile had nothing left in it; one that was asked for and is
//! not there is an empty listing only while the storage itself is. Folders in which there is nothing are not shown: nobody
//! removes them when their last object is deleted, because most servers would remove with them what came meanwhile.

use crate::access::Timeouts;
use crate::bridge::{runtime, within};
use crate::http::limited;
use icecore::error::{Error, Kind, Result};
use icecore::limits::{TREE_ANSWER_BYTES, TREE_FOLDERS_ASKED, TREE_FOLDERS_DEEP};
use icecore::name::ObjectName;
use icecore::storage::{Depth, Listed};
use icecore::time::Timestamp;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use tokio::task::JoinSet;

/// How temporary objects are called in front of their random part. Object names never have a component like it. No dot stands in
/// front of it, for some servers do not list what begins with one: nobody would ever find what a killed run left.
const TEMPORARY_PREFIX: &str = "icecore-tmp-";

/// The longest component that file systems hold, in bytes.
const COMPONENT_BYTES: usize = 255;

/// One thing in a folder.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is called.
    pub named: Named,
    /// Its length; `None` for a folder.
    pub size_bytes: Option<u64>,
    /// When it was changed, by the server's clock.
    pub modified: Option<i64>,
}

/// What something in a folder is called, with the folders that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// As an object or a folder of objects is.
    Child(ObjectName),
    /// As an object that is or was being written, or a folder that was being removed.
    Temporary(String),
    /// Not as an object can be; for people.
    Stray(String),
}

impl Named {
    /// What `part`, of which nothing is known, means in `folder`.
    pub fn within(folder: Option<&str>, part: &[u8]) -> Named {
        let full = |part: &str| folder.map_or_else(|| part.to_owned(), |folder| format!("{folder}/{part}"));
        let Ok(text) = std::str::from_utf8(part) else {
            return Named::Stray(full(&limited(&String::from_utf8_lossy(part))));
        };
        if text.starts_with(TEMPORARY_PREFIX) {
            return Named::Temporary(full(text));
        }
        match ObjectName::new(full(text)) {
            Ok(name) if !text.contains('/') => Named::Child(name),
            _ => Named::Stray(full(&limited(text))),
        }
    }
}

/// Refuses what cannot be the name of a file.
///
/// # Errors
/// `Invalid`.
pub fn require_usable(name: &ObjectName) -> Result<()> {
    let is_usable = |part: &str| part.len() <= COMPONENT_BYTES && !part.starts_with(TEMPORARY_PREFIX);
    match name.as_str().split('/').all(is_usable) {
        true => Ok(()),
        false => Err(Error::invalid("not a name for a file:", name.to_string())
            .hint("components have at most 255 bytes, and `icecore-tmp-` is reserved")),
    }
}

/// A name that nobody uses, in the folder that `name` is in.
pub fn temporary_beside(name: &str) -> String {
    // Each RandomState has keys of its own, from the system's randomness: names need to be distinct, not secret.
    let random = || RandomState::new().hash_one(name);
    let temporary = format!("{TEMPORARY_PREFIX}{:016x}{:016x}", random(), random());
    parent(name).map_or_else(|| temporary.clone(), |folder| format!("{folder}/{temporary}"))
}

/// The folder that an object or folder is in; `None` for the storage itself.
pub fn parent(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(folder, _)| folder)
}

/// Whether a name is that of something in a folder, however deep.
pub fn is_below(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The error of an object that is not there.
pub fn missing(name: &ObjectName) -> Error {
    Error::new(Kind::NotFound, "no such object:").on(name.to_string())
}

/// The error of a name that is taken.
pub fn taken(name: &ObjectName) -> Error {
    Error::new(Kind::AlreadyExists, "there is already").on(name.to_string())
}

/// The error of a storage whose own folder is not there.
pub fn place_gone() -> Error {
    Error::new(Kind::NotFound, "there is no such folder on the server")
}

/// A storage whose folders can be listed one by one; clones are handles of the same one.
pub trait Folders: Clone + Send + Sync + 'static {
    /// All that is in a folder, but the folder itself; `None` when there is no such folder. `None` is the storage's own.
    ///
    /// # Errors
    /// As the server has it. An answer that says less than everything is an error.
    fn entries(&self, folder: Option<&str>) -> impl Future<Output = Result<Option<Vec<Entry>>>> + Send;

    /// Removes a folder in which nothing was found, if nothing is in it now either; whether it is gone.
    ///
    /// # Errors
    /// As the server has it.
    fn remove_if_empty(&self, folder: &str) -> impl Future<Output = Result<bool>> + Send;

    /// Removes a temporary object; whether it was there.
    ///
    /// # Errors
    /// As the server has it.
    fn remove_temporary(&self, name: &str) -> impl Future<Output = Result<bool>> + Send;
}

/// Whether there is nothing in a folder but folders in which there is nothing. Temporary objects count as something when
/// `strictly`.
///
/// # Errors
/// As the server has it.
pub async fn is_empty(folders: &impl Folders, folder: &str, strictly: bool) -> Result<bool> {
    let mut pending = vec![folder.to_owned()];
    while let Some(here) = pending.pop() {
        for entry in folders.entries(Some(&here)).await?.unwrap_or_default() {
            match (entry.named, entry.size_bytes) {
                (Named::Temporary(_), Some(_)) if !strictly => (),
                (Named::Child(name), None) => pending.push(name.as_str().to_owned()),
                _ => return Ok(false),
            }
        }
        if pending.len() > TREE_FOLDERS_DEEP {
            // So many folders: taken for something.
            return Ok(false);
        }
    }
    Ok(true)
}

/// Goes through the folders of a storage.
pub struct Walk<F> {
    /// The storage.
    pub folders: F,
    /// How long its server may take.
    pub timeouts: Timeouts,
    /// Most connections at a time.
    pub connections: usize,
}

type Listing = (Option<String>, Option<Vec<Entry>>);

async fn entries<F: Folders>(folders: F, folder: Option<String>) -> Result<Listing> {
    let entries = folders.entries(folder.as_deref()).await?;
    Ok((folder, entries))
}

async fn emptiness<F: Folders>(folders: F, folder: Option<String>) -> Result<(Option<String>, bool)> {
    let is_empty = is_empty(&folders, folder.as_deref().unwrap_or_default(), false).await?;
    Ok((folder, is_empty))
}

/// Folders that are asked for, some at a time.
struct Asking<'a, F, T> {
    walk: &'a Walk<F>,
    pending: Vec<Option<String>>,
    asked: JoinSet<Result<T>>,
}

impl<'a, F: Folders, T: Send + 'static> Asking<'a, F, T> {
    fn new(walk: &'a Walk<F>, pending: Vec<Option<String>>) -> Self {
        Asking { walk, pending, asked: JoinSet::new() }
    }

    /// The next answer, of whichever folder; `None` when all have been given.
    fn next<A>(&mut self, ask: impl Fn(F, Option<String>) -> A) -> Result<Option<T>>
    where
        A: Future<Output = Result<T>> + Send + 'static,
    {
        while self.asked.len() < TREE_FOLDERS_ASKED.min(self.walk.connections)
            && let Some(folder) = self.pending.pop()
        {
            self.asked.spawn_on(ask(self.walk.folders.clone(), folder), runtime()?.handle());
        }
        let waiting = self.walk.timeouts.whole(TREE_ANSWER_BYTES);
        let joined = within(waiting, async { Ok(self.asked.join_next().await) })?;
        joined
            .map(|joined| joined.unwrap_or_else(|e| Err(Error::new(Kind::Io, "a request ended").because(e))))
            .transpose()
    }
}

impl<F: Folders> Walk<F> {
    /// As [`icecore::storage::Storage::list`].
    ///
    /// # Errors
    /// As the server has it, and those of `row`.
    pub fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let start = prefix.map(|prefix| prefix.as_str().to_owned());
        let mut asking = Asking::new(self, vec![start.clone()]);
        let mut below = Vec::new();
        while let Some((folder, entries)) = asking.next(entries)? {
            let Some(entries) = entries else {
                if folder == start {
                    self.require_place()?;
                }
                continue;
            };
            for entry in entries {
                match (entry.named, entry.size_bytes) {
                    (Named::Child(name), None) => below.push(Some(name.as_str().to_owned())),
                    (Named::Child(name), Some(size_bytes)) => row(Listed::Object { name, size_bytes })?,
                    (Named::Temporary(label) | Named::Stray(label), _) => row(Listed::Stray { label })?,
                }
            }
            if depth == Depth::All {
                asking.pending.append(&mut below);
            }
        }
        // Of the folders those in which there is something.
        let mut asking = Asking::new(self, below);
        while let Some((folder, is_empty)) = asking.next(emptiness)? {
            if let (Some(folder), false) = (folder, is_empty) {
                row(Listed::Folder { name: ObjectName::new(folder)? })?;
            }
        }
        Ok(())
    }

    /// An error when the storage itself is gone.
    fn require_place(&self) -> Result<()> {
        match within(self.timeouts.whole(TREE_ANSWER_BYTES), self.folders.entries(None))? {
            Some(_) => Ok(()),
            None => Err(place_gone()),
        }
    }

    /// Removes temporary objects, and folders in which there is nothing, that were changed last before a time. How many of the
    /// former.
    ///
    /// # Errors
    /// As the server has it.
    pub fn clean(&self, before: Timestamp) -> Result<u64> {
        let mut asking = Asking::new(self, vec![None]);
        let mut removed = 0;
        // How many things are in each folder, and whether it is old; deeper ones stand behind those they are in.
        let mut counts: BTreeMap<String, (usize, bool)> = BTreeMap::new();
        while let Some((folder, entries)) = asking.next(entries)? {
            for entry in entries.unwrap_or_default() {
                let is_old = entry.modified.is_some_and(|modified| modified < before.0);
                match (entry.named, entry.size_bytes) {
                    (Named::Child(name), None) => {
                        counts.insert(name.as_str().to_owned(), (0, is_old));
                        asking.pending.push(Some(name.as_str().to_owned()));
                    }
                    (Named::Temporary(name), Some(_)) if is_old => {
                        let was_there = within(self.timeouts.whole(0), self.folders.remove_temporary(&name))?;
                        removed += u64::from(was_there);
                        continue;
                    }
                    _ => (),
                }
                if let Some((count, _)) = folder.as_ref().and_then(|folder| counts.get_mut(folder)) {
                    *count += 1;
                }
            }
        }
        while let Some((folder, (count, is_old))) = counts.pop_last() {
            if count > 0 || !is_old || !within(self.timeouts.whole(0), self.folders.remove_if_empty(&folder))?
            {
                continue;
            }
            if let Some((count, _)) = parent(&folder).and_then(|above| counts.get_mut(above)) {
                *count -= 1;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_of_an_object_is_a_stray() {
        for part in [&b"\xff"[..], b"a/b", b"..", b"a\0", b""] {
            assert!(matches!(Named::within(None, part), Named::Stray(_)), "{part:?}");
        }
        let child = Named::Child(ObjectName::new("f/a").unwrap());
        assert_eq!(Named::within(Some("f"), b"a"), child);
        let temporary = temporary_beside("f/a");
        assert_eq!(parent(&temporary), Some("f"));
        assert_eq!(Named::within(Some("f"), &temporary.as_bytes()[2..]), Named::Temporary(temporary.clone()));
        assert!(require_usable(&ObjectName::new(temporary).unwrap()).is_err());
        assert!(is_below("a/b", "a") && !is_below("ab", "a") && !is_below("a", "a"));
    }
}
