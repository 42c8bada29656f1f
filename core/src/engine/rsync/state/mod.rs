//! The engine metadata of a level: the whole tree as it is after the level, and the signatures of its files.
//! `docs/format/rsync.md` is normative.
//!
//! A head of fixed length, the tree (compressed), the signatures. The tree is a sequence of items: a directory, then its
//! entries in the order of their names; directories in the order of the walk, so that the walk of the next level meets them as
//! they come. Each file says which records of which levels make its content, lowest first: its recipe.

mod reader;
mod row;
mod writer;

pub use reader::{Cursor, State};
pub use row::{DirectoryRow, FileRow, Item, Row, RowKind, SignaturePlace, Step, order};
pub use writer::StateWriter;

/// The first bytes of a state.
pub const MAGIC: &[u8; 16] = b"icecore-rstate1\n";

/// Bytes of the head: magic, level, start (seconds, nanoseconds), bytes of the tree, as stored, and of the signatures.
const HEAD_BYTES: usize = 16 + 4 + 8 + 4 + 8 + 8 + 8;

#[cfg(test)]
mod tests;
