//! The chunks of large files: in the entry, or in lists of chunks when they are many.

use super::{Chunks, Content, Store};
use crate::error::{Error, Kind, Result};
use crate::repository::vault::ChunkId;

/// The content of a file of these chunks (id, bytes): in the entry when they are few, else in lists that are stored here.
///
/// # Errors
/// As the store has it.
pub fn keep_rows(_store: &mut dyn Store, _rows: Vec<(ChunkId, u64)>) -> Result<Content> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}

/// The content chunks of a file, in order, each with its bytes. `data_bytes` is the size of the file less its holes: what all of
/// them must come to. Lists are read as they are reached.
///
/// # Errors
/// `Invalid` for a slice, which has no rows; then, of every item: `Damaged`, `Unsupported`, or as the storage has it.
pub fn rows<'c>(_chunks: &'c dyn Chunks, _content: &Content, _data_bytes: u64) -> Result<RowsIter<'c>> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}

/// The content chunks of a file: see [`rows`].
pub struct RowsIter<'c> {
    #[expect(dead_code)]
    chunks: &'c dyn Chunks,
}

impl Iterator for RowsIter<'_> {
    type Item = Result<(ChunkId, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}
