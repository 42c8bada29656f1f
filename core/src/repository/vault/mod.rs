//! The deduplicated part of a repository: chunks of bytes by keyed hash, in packs, found through indexes, and the snapshots
//! that refer to them. `docs/format/dedup.md` is normative.
//!
//! Invariants: every object has a key of its own, which is bound to the repository, the kind and the name of the object; what
//! is read back is opened, decoded and compared with its id before anybody sees it; a snapshot is written last.

pub mod ahead;
pub mod cache;
pub mod compression;
pub mod config;
pub mod documents;
pub mod examine;
pub mod header;
pub mod id;
pub mod index;
mod json;
pub mod kdf;
pub mod keys;
pub mod names;
pub mod object;
pub mod opening;
pub mod pack;
pub mod password;
pub mod reader;
pub mod removal;
pub mod seal;
pub mod seen;
pub mod session;
pub mod slot;
pub mod slots;
pub mod snapshot;
mod soundness;
pub mod writer;

#[cfg(test)]
mod tests;

pub use compression::{CompressionLevel, Decoder, Encoder};
pub use documents::Documents;
pub use examine::Examination;
pub use header::ObjectKind;
pub use id::{ChunkId, ChunkKind, ObjectId};
pub use index::Index;
pub use keys::Keys;
pub use pack::{Location, Pack, PackRef};
pub use password::{Password, Protection};
pub use reader::Reader;
pub use removal::{Removal, Removals};
pub use seen::{Rollback, Seen};
pub use session::{Announcement, Process, Session, Sessions};
pub use slots::Slot;
pub use snapshot::{Snapshot, Snapshots, State};
pub use writer::{Put, StoredPack, Writer};

use crate::error::{Error, Kind, Result};
use crate::limits::{DOCUMENTS_FETCHED, VAULT_OBJECT_BYTES};
use crate::name::ObjectName;
use crate::pipe;
use crate::storage::{PutMode, Storage};
use ahead::Ahead;
use cache::Cache;
use id::ID_BYTES;
use names::{Folder, Names};
use seal::{Cipher, random};
use slot::Guard;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The deduplicated part of a repository, opened: where it is, and its keys.
pub struct Vault {
    storage: Arc<dyn Storage>,
    keys: Keys,
    /// The slot that opened it, and what stands before the master key there.
    slot: ObjectId,
    guard: Guard,
    /// Copies close by.
    cache: Option<Cache>,
    /// What was listed a moment ago, for the next who asks.
    recent: Mutex<Option<State>>,
    /// Key slots that were there when it was opened, until one is added or removed.
    recent_keys: Mutex<Option<Vec<ObjectId>>>,
    /// What was listed while it was opened.
    ahead: Mutex<Ahead>,
}

impl Vault {
    /// The random name of the repository.
    pub fn id(&self) -> ObjectId {
        self.keys.repository()
    }

    /// The key slot that opened it.
    pub fn key_id(&self) -> ObjectId {
        self.slot
    }

    /// Whether what is stored can be read by those only who can open it.
    pub fn is_encrypted(&self) -> bool {
        self.keys.cipher() != Cipher::None
    }

    /// Its keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where it is.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// From now on reads what is small and often needed from copies close by, or no longer does.
    pub fn set_cache(&mut self, cache: Option<Cache>) {
        self.cache = cache;
    }

    /// The copies close by, if there are any.
    fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// From now on goes by these lists, each once.
    pub(in crate::repository) fn go_by(&mut self, lists: Ahead) {
        self.ahead = Mutex::new(lists);
    }

    /// What a folder holds; for readers perhaps as it was listed when the repository was opened.
    ///
    /// # Errors
    /// As [`names::list`].
    fn list(&self, folder: Folder) -> Result<Names> {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take(folder);
        ahead.map_or_else(|| names::list(self.storage.as_ref(), folder), Ok)
    }

    /// Does both: where each request waits for an answer from far away, at once; else the second one first.
    pub(crate) fn beside<A: Send, B>(
        &self,
        first: impl FnOnce() -> Result<A> + Send,
        second: impl FnOnce() -> Result<B>,
    ) -> Result<(A, B)> {
        if self.storage.capabilities().parallel {
            return pipe::together(first, second);
        }
        let second = second()?;
        Ok((first()?, second))
    }

    /// Stores a new object that has one document: an index, a snapshot, a session, a removal.
    ///
    /// # Errors
    /// `Limit` when the document is too long, and what the storage reports.
    pub fn write_object(&self, kind: ObjectKind, document: &[u8]) -> Result<ObjectId> {
        let id = ObjectId(random::<ID_BYTES>()?);
        let bytes = object::seal(&self.keys, kind, id, document)?;
        self.storage.put(&Folder::of(kind).object(id)?, &bytes, PutMode::Unique)?;
        if let Some(cache) = self.cache_of(kind) {
            cache.keep(Folder::of(kind), id, &bytes);
        }
        Ok(id)
    }

    /// Reads the document of an object; `size_bytes` is its length as listed, where that is known.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, `Unsupported`, and what the storage reports.
    pub fn read_object(&self, kind: ObjectKind, id: ObjectId, size_bytes: Option<u64>) -> Result<Vec<u8>> {
        let cache = self.cache_of(kind);
        if let Some(bytes) = cache.and_then(|cache| cache.read_whole(Folder::of(kind), id, size_bytes)) {
            match object::open(&self.keys, kind, id, bytes) {
                Ok(document) => return Ok(document),
                // The copy is no good: it is made anew.
                Err(_) => cache.into_iter().for_each(|cache| cache.forget(Folder::of(kind), id)),
            }
        }
        let name = Folder::of(kind).object(id)?;
        // A list may lie: one byte more than it promised is asked for, and never more than an object has.
        let limit = size_bytes.map_or(VAULT_OBJECT_BYTES, |size| size.min(VAULT_OBJECT_BYTES));
        let first = self.storage.read_small(&name, limit).map_err(|error| match error.kind() {
            Kind::Limit => Error::damaged("too long:", name.to_string()).because(error),
            _ => error,
        });
        let opened = first.and_then(|bytes| {
            let copy = cache.map(|_| bytes.clone());
            let document = object::open(&self.keys, kind, id, bytes)
                .map_err(|error| error.while_doing("cannot open", name.to_string()))?;
            if let (Some(cache), Some(copy)) = (cache, copy) {
                cache.keep(Folder::of(kind), id, &copy);
            }
            Ok(document)
        });
        match opened {
            Err(error) if error.kind() == Kind::Damaged => self.open_copy(kind, id, &name).ok_or(error),
            opened => opened,
        }
    }

    /// The document of a sound copy, where the storage keeps several.
    fn open_copy(&self, kind: ObjectKind, id: ObjectId, name: &ObjectName) -> Option<Vec<u8>> {
        let copy = |copy: usize| self.storage.read_copy(name, 0, VAULT_OBJECT_BYTES as usize, copy);
        (0..).map_while(copy).find_map(|copy| object::open(&self.keys, kind, id, copy.ok()?).ok())
    }

    fn cache_of(&self, kind: ObjectKind) -> Option<&Cache> {
        self.cache().filter(|_| cache::is_kept(Folder::of(kind)))
    }

    /// Reads the documents of several objects, each with its length as listed, and hands them to `take` in this order, with what
    /// failed among them. Where each request waits for an answer from far away, several are under way at once.
    ///
    /// # Errors
    /// Of `take`.
    pub(super) fn read_objects(
        &self,
        kind: ObjectKind,
        objects: &[(ObjectId, u64)],
        take: &mut dyn FnMut(ObjectId, u64, Result<Vec<u8>>) -> Result<()>,
    ) -> Result<()> {
        let read = |(id, size_bytes)| (id, size_bytes, self.read_object(kind, id, Some(size_bytes)));
        if objects.len() < 2 || !self.storage.capabilities().parallel {
            return objects.iter().try_for_each(|object| {
                let (id, size_bytes, document) = read(*object);
                take(id, size_bytes, document)
            });
        }
        let produce = |sender: &mut pipe::Sender<(ObjectId, u64)>| {
            objects.iter().try_for_each(|object| sender.send(*object))
        };
        let make_reader = || Ok(|object| Ok(read(object)));
        let hand_on = |receiver: &mut pipe::Receiver<(ObjectId, u64, Result<Vec<u8>>)>| {
            while let Some((id, size_bytes, document)) = receiver.receive()? {
                take(id, size_bytes, document)?;
            }
            Ok(())
        };
        pipe::run_mapped(1, DOCUMENTS_FETCHED, produce, make_reader, hand_on).map(drop)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.storage.label())
    }
}
