//! Goes through a tree in order, and forward to a key.

use super::{Chunks, Entry, Key};
use crate::error::{Error, Kind, Result};
use crate::repository::vault::ChunkId;

/// A place in a tree, which moves forward.
pub struct Cursor<'c> {
    #[expect(dead_code)]
    chunks: &'c dyn Chunks,
}

impl<'c> Cursor<'c> {
    /// At the first entry of the tree with this root.
    ///
    /// # Errors
    /// `Damaged`, `Unsupported`, or as the storage has it.
    pub fn new(_chunks: &'c dyn Chunks, _root: &ChunkId) -> Result<Self> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// The entry at this place; `None` behind the last one.
    ///
    /// # Errors
    /// As [`Cursor::new`].
    pub fn peek(&mut self) -> Result<Option<(Key<'_>, &Entry)>> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// Moves to the next entry.
    pub fn advance(&mut self) {}

    /// Moves to the first entry whose key is not less than `key`; never backward. Cheap when that is just ahead.
    ///
    /// # Errors
    /// As [`Cursor::new`].
    pub fn seek(&mut self, _key: Key<'_>) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}
