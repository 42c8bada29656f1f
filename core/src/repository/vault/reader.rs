//! Getting chunks back: fetched, opened, decoded, and compared with their names.

use super::Vault;
use super::compression::Decoder;
use super::id::{ChunkId, ChunkKind};
use super::index::Index;
use super::pack::{Location, PackRef};
use crate::error::{Error, Kind, Result};
use std::ops::Range;
use std::sync::Arc;

/// Reads chunks; shared by worker threads.
pub struct Reader<'v> {
    _vault: &'v Vault,
    index: Arc<Index>,
}

/// What is wrong with a pack.
#[derive(Debug)]
pub struct PackReport {
    /// Chunks that were looked at.
    pub chunks: u32,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// What was found.
    pub findings: Vec<Error>,
}

impl<'v> Reader<'v> {
    /// A reader of what `index` knows.
    pub fn new(vault: &'v Vault, index: Arc<Index>) -> Self {
        Reader { _vault: vault, index }
    }

    /// What it reads by.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Reads one chunk.
    ///
    /// # Errors
    /// `Damaged` when it is missing or not what it should be, and as the storage has it.
    pub fn read(&self, _kind: ChunkKind, _id: &ChunkId) -> Result<Vec<u8>> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// Reads a run of neighbouring blobs as they are stored.
    ///
    /// # Errors
    /// `Damaged` when the pack is missing or too short, and as the storage has it.
    pub fn fetch(&self, _pack: PackRef, _range: Range<u32>) -> Result<Vec<u8>> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// Opens a blob in place and puts the chunk into `out` in place of what that holds.
    ///
    /// # Errors
    /// `Damaged` when it is not what it should be.
    pub fn open(
        &self,
        _id: &ChunkId,
        _kind: ChunkKind,
        _at: &Location,
        _sealed: &mut [u8],
        _decoder: &mut Decoder,
        _out: &mut Vec<u8>,
    ) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// Reads a whole pack, every chunk of it, and compares its table with the index.
    ///
    /// # Errors
    /// As the storage has it; what is wrong with the pack is in the report.
    pub fn read_pack(&self, _pack: PackRef, _decoder: &mut Decoder) -> Result<PackReport> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}
