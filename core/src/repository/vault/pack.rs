//! Packs: many chunks in one object.

use super::id::{ChunkKind, ObjectId};

/// A pack among those an [`super::index::Index`] knows; means nothing to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackRef(pub(super) u32);

/// Where a chunk is, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The pack that holds it.
    pub pack: PackRef,
    /// Where its blob begins.
    pub offset: u32,
    /// Bytes of the blob, with its tag.
    pub sealed_bytes: u32,
    /// Bytes of the chunk.
    pub raw_bytes: u32,
    /// How it is compressed: 0 not, 1 zstd.
    pub compression: u8,
    /// The number of the blob in its pack.
    pub number: u32,
    /// What the chunk holds.
    pub kind: ChunkKind,
}

/// A pack that is full and must be given to [`super::writer::Writer::store`].
#[must_use = "chunks in a pack that is not stored are lost"]
pub struct Pack {}

impl Pack {
    /// Its name.
    pub fn id(&self) -> ObjectId {
        ObjectId([0; 32])
    }
}
