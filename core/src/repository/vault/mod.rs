//! The deduplicated part of a repository: chunks of bytes by keyed hash, in packs, found through indexes, and the snapshots
//! that refer to them. `docs/format/dedup.md` is normative.
//!
//! Invariants: every object has a key of its own, which is bound to the repository, the kind and the name of the object; what
//! is read back is opened, decoded and compared with its id before anybody sees it; a snapshot is written last.

pub mod compression;
pub mod documents;
pub mod header;
pub mod id;
pub mod index;
pub mod keys;
pub mod names;
pub mod pack;
pub mod password;
pub mod reader;
pub mod removal;
pub mod seal;
pub mod session;
pub mod slots;
pub mod snapshot;
pub mod writer;

pub use compression::{CompressionLevel, Decoder, Encoder};
pub use documents::Documents;
pub use header::ObjectKind;
pub use id::{ChunkId, ChunkKind, ObjectId};
pub use index::Index;
pub use keys::Keys;
pub use pack::{Location, Pack, PackRef};
pub use password::{Password, Protection};
pub use reader::Reader;
pub use removal::{Removal, Removals};
pub use session::{Announcement, Session};
pub use slots::Slot;
pub use snapshot::{Snapshot, Snapshots};
pub use writer::{Put, Writer};

use crate::error::{Error, Kind, Result};
use crate::storage::Storage;
use crate::time::Timestamp;
use seal::Cipher;
use std::fmt;
use std::sync::Arc;

/// The deduplicated part of a repository, opened: where it is, and its keys.
pub struct Vault {
    storage: Arc<dyn Storage>,
    keys: Keys,
}

impl Vault {
    /// Makes a new one; `label` names its first key slot.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one, `Damaged` if there is one whose config is gone, and what the storage reports.
    pub fn create(
        storage: Arc<dyn Storage>,
        protection: &Protection,
        label: &str,
        now: Timestamp,
    ) -> Result<Vault> {
        Err(Error::new(Kind::Unsupported, "not built yet")
            .on(format!("{} {protection:?} {label} {now}", storage.label())))
    }

    /// Whether there is one.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn exists(storage: &dyn Storage) -> Result<bool> {
        Err(Error::new(Kind::Unsupported, "not built yet").on(storage.label()))
    }

    /// Opens what is there. The password is asked for once, and only when a password slot exists.
    ///
    /// # Errors
    /// `NoRepository`, `WrongPassword`, `Damaged`, `Unsupported`, what `password` fails with, and what the storage reports.
    pub fn open(storage: Arc<dyn Storage>, password: &mut dyn FnMut() -> Result<Password>) -> Result<Vault> {
        password()?;
        Err(Error::new(Kind::Unsupported, "not built yet").on(storage.label()))
    }

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
        Err(Error::new(Kind::Unsupported, "not built yet").on(format!("{kind:?} {}", document.len())))
    }

    /// Reads the document of an object; `size_bytes` is its length as listed, where that is known.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, `Unsupported`, and what the storage reports.
    pub fn read_object(&self, kind: ObjectKind, id: ObjectId, size_bytes: Option<u64>) -> Result<Vec<u8>> {
        Err(Error::new(Kind::Unsupported, "not built yet").on(format!("{kind:?} {id} {size_bytes:?}")))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.storage.label())
    }
}
