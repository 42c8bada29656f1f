//! The deduplicated part of a repository: chunks of bytes by keyed hash, in packs, found through indexes, and the snapshots
//! that refer to them. `docs/format/dedup.md` is normative.
//!
//! Invariants: every object has a key of its own, which is bound to the repository, the kind and the name of the object; what
//! is read back is opened, decoded and compared with its id before anybody sees it; a snapshot is written last.

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
mod opening;
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
pub use snapshot::{Snapshot, Snapshots};
pub use writer::{Put, StoredPack, Writer};

use crate::error::{Error, Kind, Result};
use crate::limits::VAULT_OBJECT_BYTES;
use crate::storage::{PutMode, Storage};
use id::ID_BYTES;
use names::Folder;
use seal::{Cipher, random};
use slot::Guard;
use std::fmt;
use std::sync::Arc;

/// The deduplicated part of a repository, opened: where it is, and its keys.
pub struct Vault {
    storage: Arc<dyn Storage>,
    keys: Keys,
    /// The slot that opened it, and what stands before the master key there.
    slot: ObjectId,
    guard: Guard,
}

impl Vault {
    /// The random name of the repository.
    pub fn id(&self) -> ObjectId {
        self.keys.repository()
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

    /// Stores a new object that has one document: an index, a snapshot, a session, a removal.
    ///
    /// # Errors
    /// `Limit` when the document is too long, and what the storage reports.
    pub fn write_object(&self, kind: ObjectKind, document: &[u8]) -> Result<ObjectId> {
        let id = ObjectId(random::<ID_BYTES>()?);
        let bytes = object::seal(&self.keys, kind, id, document)?;
        self.storage.put(&Folder::of(kind).object(id)?, &bytes, PutMode::CreateNew)?;
        Ok(id)
    }

    /// Reads the document of an object; `size_bytes` is its length as listed, where that is known.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, `Unsupported`, and what the storage reports.
    pub fn read_object(&self, kind: ObjectKind, id: ObjectId, size_bytes: Option<u64>) -> Result<Vec<u8>> {
        let name = Folder::of(kind).object(id)?;
        // A list may lie: one byte more than it promised is asked for, and never more than an object has.
        let limit = size_bytes.map_or(VAULT_OBJECT_BYTES, |size| size.min(VAULT_OBJECT_BYTES));
        let bytes = self.storage.read_small(&name, limit).map_err(|error| match error.kind() {
            Kind::Limit => Error::damaged("too long:", name.to_string()).because(error),
            _ => error,
        })?;
        object::open(&self.keys, kind, id, bytes)
            .map_err(|error| error.while_doing("cannot open", name.to_string()))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.storage.label())
    }
}
