//! The tree of a deduplicated backup: one ordered map from path to entry, in nodes whose borders depend on the keys alone.
//!
//! Sections 8 and 10 of `docs/format/dedup.md` are normative. Equal stretches of two backups are equal nodes, so that they are
//! stored once and skipped by [`diff`]; a path is found in as many nodes as the tree is high, and a backup is one merge of two
//! sorted streams.
//!
//! [`entry`] and [`key`] are what is mapped, [`leaf`] and [`inner`] the two sorts of nodes in bytes, [`rows`] and [`kept`] what
//! entries hold outside of nodes. [`Builder`] makes a tree, [`Cursor`] goes through one.
//!
//! Invariants: what is read is checked (order, heights, totals, lengths) before anybody sees it, and no more than the path from
//! the root to one leaf is in memory; what is written depends on the entries and on nothing else.

mod builder;
mod cursor;
mod diff;
pub mod entry;
mod find;
pub mod inner;
pub mod kept;
pub mod key;
pub mod leaf;
mod rows;
pub mod survey;
pub mod varint;

#[cfg(test)]
mod tests;

pub use builder::{Builder, Root};
pub use cursor::{Cursor, Lost};
pub use diff::{Change, Difference, diff};
pub use entry::{Content, Entry, Hole, Kept, Known, Names, Owner};
pub use find::{find, list, totals};
pub use inner::Totals;
pub use kept::{holes, keep_holes, keep_xattrs, xattrs};
pub use key::Key;
pub use rows::{RowsBuilder, RowsIter, keep_rows, rows};

use crate::error::Result;
use crate::repository::vault::{ChunkId, ChunkKind};

/// Where the chunks of a tree are read from.
pub trait Chunks: Sync {
    /// The chunk `id`, which is of this kind: whole, and compared with its id.
    ///
    /// # Errors
    /// `Damaged` when it is missing or not what it should be; as the storage has it.
    fn read(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>>;
}

/// Where the chunks of a tree are written to.
pub trait Store {
    /// Stores a chunk, unless it is there, and says what it is called.
    ///
    /// # Errors
    /// As the storage has it.
    fn put(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId>;
}
