//! Storing chunks: each once, in packs, then the indexes that say where.

use super::Vault;
use super::compression::Encoder;
use super::id::{ChunkId, ChunkKind};
use super::index::Index;
use super::pack::Pack;
use crate::error::{Error, Kind, Result};
use std::sync::Arc;

/// Stores chunks; shared by worker threads.
pub struct Writer<'v> {
    _vault: &'v Vault,
}

/// What became of a chunk.
pub struct Put {
    /// What it is called.
    pub id: ChunkId,
    /// Whether the repository had it not.
    pub is_new: bool,
    /// Bytes it takes in its pack; 0 when it is not new.
    pub stored_bytes: u32,
    /// A pack that is full now and must be given to [`Writer::store`].
    pub full: Option<Pack>,
}

impl<'v> Writer<'v> {
    /// A writer that stores what `index` does not know.
    pub fn new(vault: &'v Vault, _index: Arc<Index>) -> Writer<'v> {
        Writer { _vault: vault }
    }

    /// Whether a chunk is stored, or about to be.
    pub fn has(&self, _id: &ChunkId) -> bool {
        false
    }

    /// Takes a chunk; it is stored when its pack is.
    ///
    /// # Errors
    /// `Limit` for a chunk that is too long.
    pub fn put(&self, _kind: ChunkKind, _raw: &[u8], _encoder: &mut Encoder) -> Result<Put> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// Stores a pack, and an index when one is due.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn store(&self, _pack: Pack) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// The packs that are still open, to be stored at the end.
    ///
    /// # Errors
    /// When a chunk could not be stored before.
    pub fn remaining(&self) -> Result<Vec<Pack>> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// Writes the last index: from here on everything put is durable and found by others.
    ///
    /// # Errors
    /// When a pack was not stored, and as the storage has it.
    pub fn finish(&self) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// Bytes of the objects stored so far.
    pub fn added_bytes(&self) -> u64 {
        0
    }
}
