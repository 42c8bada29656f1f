//! The `dedup` engine: every backup stands alone, and what it has in common with others is stored once.

pub mod restore;
pub mod tree;

use crate::error::Result;
use crate::repository::vault::reader::Reader;
use crate::repository::vault::{ChunkId, ChunkKind};

impl tree::Chunks for Reader<'_> {
    fn read(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        Reader::read(self, kind, id)
    }
}
