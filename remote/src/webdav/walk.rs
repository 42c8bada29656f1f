//! Going through what a storage has, a folder a request, a few at a time.
//!
//! Invariants: a folder is read whole before anything of it is handed on; what is handed on is handed on outside of every request, so that
//! the receiver may use the storage. A folder that vanishes meanwhile had nothing left in it; one that was asked for and is not
//! there is an empty listing only while the storage itself is.

use super::WebDav;
use super::folders::{Entry, Folders, place_gone};
use super::multistatus::What;
use super::place::{Named, parent};
use crate::bridge::{runtime, within};
use icecore::error::{Error, Kind, Result};
use icecore::limits::{WEBDAV_ANSWER_BYTES, WEBDAV_FOLDERS_ASKED};
use icecore::name::ObjectName;
use icecore::storage::{Depth, Listed};
use icecore::time::Timestamp;
use std::collections::BTreeMap;
use tokio::task::JoinSet;

/// Folders that are asked for, some at a time.
struct Asking<T> {
    folders: Folders,
    pending: Vec<Option<String>>,
    asked: JoinSet<Result<T>>,
    at_once: usize,
}

impl<T: Send + 'static> Asking<T> {
    fn new(storage: &WebDav) -> Asking<T> {
        Asking {
            folders: storage.folders.clone(),
            pending: Vec::new(),
            asked: JoinSet::new(),
            at_once: WEBDAV_FOLDERS_ASKED.min(storage.connections),
        }
    }

    /// The next answer, of whichever folder; `None` when all have been given.
    fn next<F>(&mut self, storage: &WebDav, ask: impl Fn(Folders, Option<String>) -> F) -> Result<Option<T>>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        while self.asked.len() < self.at_once
            && let Some(folder) = self.pending.pop()
        {
            self.asked.spawn_on(ask(self.folders.clone(), folder), runtime()?.handle());
        }
        let joined = within(storage.timeouts.whole(WEBDAV_ANSWER_BYTES), async { Ok(self.asked.join_next().await) })?;
        joined
            .map(|joined| joined.unwrap_or_else(|e| Err(Error::new(Kind::Io, "a request ended").because(e))))
            .transpose()
    }
}

type Listing = (Option<String>, Option<Vec<Entry>>);

async fn entries(folders: Folders, folder: Option<String>) -> Result<Listing> {
    let entries = folders.entries(folder.as_deref()).await?;
    Ok((folder, entries))
}

async fn emptiness(folders: Folders, folder: Option<String>) -> Result<(Option<String>, bool)> {
    let is_empty = folders.is_empty(folder.as_deref().unwrap_or_default(), false).await?;
    Ok((folder, is_empty))
}

impl WebDav {
    pub(super) fn walk(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let start = prefix.map(|prefix| prefix.as_str().to_owned());
        let mut asking = Asking::new(self);
        asking.pending.push(start.clone());
        let mut folders = Vec::new();
        while let Some((folder, entries)) = asking.next(self, entries)? {
            let Some(entries) = entries else {
                if folder == start {
                    self.require_place()?;
                }
                continue;
            };
            for entry in entries {
                match (entry.named, entry.what) {
                    (Named::Child(name), What::Folder) => folders.push(name),
                    (Named::Child(name), What::Object { size_bytes }) => row(Listed::Object { name, size_bytes })?,
                    (Named::Temporary(label) | Named::Stray(label), _) => row(Listed::Stray { label })?,
                    // Told as errors before.
                    (Named::Child(_), What::Refused(_)) | (Named::Itself, _) => (),
                }
            }
            if depth == Depth::All {
                asking.pending.extend(folders.drain(..).map(|name| Some(name.as_str().to_owned())));
            }
        }
        self.folders_with_something(folders, row)
    }

    /// Hands on those folders in which there is something.
    fn folders_with_something(&self, folders: Vec<ObjectName>, row: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let mut asking = Asking::new(self);
        asking.pending.extend(folders.into_iter().map(|name| Some(name.as_str().to_owned())));
        while let Some((folder, is_empty)) = asking.next(self, emptiness)? {
            if let (Some(folder), false) = (folder, is_empty) {
                row(Listed::Folder { name: ObjectName::new(folder)? })?;
            }
        }
        Ok(())
    }

    /// An error when the storage itself is gone.
    fn require_place(&self) -> Result<()> {
        let url = self.dav().place.folder(None);
        match within(self.timeouts.whole(0), self.dav().what(&url))? {
            Some(_) => Ok(()),
            None => Err(place_gone()),
        }
    }

    /// Removes temporary objects, and folders in which there is nothing, that were changed last before a time. How many of the
    /// former.
    pub(super) fn clean(&self, before: Timestamp) -> Result<u64> {
        let mut asking = Asking::new(self);
        asking.pending.push(None);
        let mut removed = 0;
        // How many things are in each folder, and when it was changed; deeper ones are behind those they are in.
        let mut counts: BTreeMap<String, (usize, Option<i64>)> = BTreeMap::new();
        while let Some((folder, entries)) = asking.next(self, entries)? {
            let Some(entries) = entries else { continue };
            for entry in entries {
                let is_old = entry.modified.is_some_and(|modified| modified < before.0);
                match (entry.named, entry.what) {
                    (Named::Child(name), What::Folder) => {
                        counts.insert(name.as_str().to_owned(), (0, entry.modified));
                        asking.pending.push(Some(name.as_str().to_owned()));
                    }
                    (Named::Temporary(name), What::Object { .. }) if is_old => {
                        let url = self.dav().place.object(&name);
                        if within(self.timeouts.whole(0), self.dav().remove(&url))?.is_some() {
                            removed += 1;
                        }
                        continue;
                    }
                    _ => (),
                }
                if let Some((count, _)) = folder.as_ref().and_then(|folder| counts.get_mut(folder)) {
                    *count += 1;
                }
            }
        }
        while let Some((folder, (count, modified))) = counts.pop_last() {
            let is_old = modified.is_some_and(|modified| modified < before.0);
            if count > 0 || !is_old || !within(self.timeouts.whole(0), self.folders.remove_if_empty(&folder))? {
                continue;
            }
            if let Some((count, _)) = parent(&folder).and_then(|above| counts.get_mut(above)) {
                *count -= 1;
            }
        }
        Ok(removed)
    }
}
