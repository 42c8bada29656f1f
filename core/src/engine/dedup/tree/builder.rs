//! Makes a tree of entries that come in order.

use super::{Entry, Key, Store};
use crate::error::{Error, Kind, Result};
use crate::repository::vault::ChunkId;

/// The root of a finished tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// The root node.
    pub id: ChunkId,
    /// How many entries there are.
    pub entries: u64,
    /// How many of them are files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Makes a tree of entries that come in order. The first is the record of the root directory, and every directory has a record
/// before anything in it.
pub struct Builder<'s> {
    store: &'s mut dyn Store,
}

impl<'s> Builder<'s> {
    /// An empty tree; `nodes_key` is the subkey `nodes`.
    pub fn new(_nodes_key: &[u8; 32], store: &'s mut dyn Store) -> Self {
        Builder { store }
    }

    /// The store, for what entries keep elsewhere.
    pub fn store(&mut self) -> &mut dyn Store {
        self.store
    }

    /// Adds an entry, whose key is greater than that of the one before.
    ///
    /// # Errors
    /// `Invalid` out of order, or for an entry that cannot be; `Limit` for a path that is too long; as the store has it.
    pub fn push(&mut self, _key: Key<'_>, _entry: &Entry) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// Stores what is left.
    ///
    /// # Errors
    /// `Invalid` without any entry; as the store has it.
    pub fn finish(self) -> Result<Root> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}
