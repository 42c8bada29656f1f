//! Single paths and directories of a tree.

use super::{Chunks, Entry, Totals};
use crate::error::{Error, Kind, Result};
use crate::repository::vault::ChunkId;

/// The entry with this path; the empty path is the root directory.
///
/// # Errors
/// `Damaged`, `Unsupported`, or as the storage has it.
pub fn find(_chunks: &dyn Chunks, _root: &ChunkId, _path: &[u8]) -> Result<Option<Entry>> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}

/// Hands out, in the order of their names, what is directly in `directory`, its sub-directories among it.
///
/// # Errors
/// `NotFound` when there is no such directory; what `found` fails with; as [`find`].
pub fn list(
    _chunks: &dyn Chunks,
    _root: &ChunkId,
    _directory: &[u8],
    _found: &mut dyn FnMut(&[u8], &Entry) -> Result<()>,
) -> Result<()> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}

/// How much the tree holds.
///
/// # Errors
/// As [`find`].
pub fn totals(_chunks: &dyn Chunks, _root: &ChunkId) -> Result<Totals> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}
