//! The index: every chunk that packs hold, and where.

use super::Vault;
use super::id::{ChunkId, ObjectId};
use super::pack::{Location, PackRef};
use crate::error::{Error, Kind, Result};
use crate::monitor::Monitor;

/// Every chunk of a repository as it was when this was loaded.
pub struct Index {}

/// A pack as an index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackInfo {
    /// Its name.
    pub id: ObjectId,
    /// Bytes of the object.
    pub size_bytes: u32,
    /// Whether it holds metadata rather than content.
    pub is_metadata: bool,
    /// Chunks in it.
    pub chunks: u32,
}

/// A pack that no index knows, as its own table has it.
pub struct OrphanPack {}

/// What a listing of all packs says beside what the index says.
#[derive(Default)]
pub struct Orphans {
    /// Packs that no index knows: what a killed run, or one that still runs, stored.
    pub packs: Vec<OrphanPack>,
    /// Packs that no index knows and whose table cannot be read.
    pub damaged: Vec<(ObjectId, Error)>,
}

impl Index {
    /// Loads all indexes of a repository.
    ///
    /// # Errors
    /// `Damaged`, `Limit` when there are more chunks than fit into memory, and as the storage has it.
    pub fn load(_vault: &Vault, _monitor: &dyn Monitor) -> Result<Index> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// Where a chunk is.
    pub fn find(&self, _id: &ChunkId) -> Option<Location> {
        None
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether there are no chunks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All packs.
    pub fn packs(&self) -> impl Iterator<Item = (PackRef, PackInfo)> + '_ {
        std::iter::empty()
    }

    /// Takes packs in that no index knew; the next [`super::writer::Writer::finish`] writes an index of them.
    ///
    /// # Errors
    /// `Limit` when there are more chunks than fit into memory.
    pub fn adopt(&mut self, _packs: Vec<OrphanPack>) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}

/// The packs that no index knows, by one listing of all packs and by their own tables.
///
/// # Errors
/// As the storage has it; a pack that cannot be read is a row of the answer.
pub fn orphans(_vault: &Vault, _index: &Index) -> Result<Orphans> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}
