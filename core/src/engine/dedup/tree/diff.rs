//! What differs between two trees, in time proportional to that: nodes that both have are passed over.

use super::{Chunks, Entry, Key};
use crate::error::{Error, Kind, Result};
use crate::repository::vault::ChunkId;

/// One entry that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Where.
    pub key: Key<'a>,
    /// The entry in the first tree; `None` when it was added.
    pub old: Option<&'a Entry>,
    /// The entry in the second tree; `None` when it was removed.
    pub new: Option<&'a Entry>,
}

/// Hands out, in order, what differs between the trees `a` and `b`.
///
/// # Errors
/// What `found` fails with; `Damaged`, `Unsupported`, or as the storage has it.
pub fn diff(
    _chunks: &dyn Chunks,
    _a: &ChunkId,
    _b: &ChunkId,
    _found: &mut dyn FnMut(Difference<'_>) -> Result<()>,
) -> Result<()> {
    Err(Error::new(Kind::Unsupported, "not built yet"))
}
