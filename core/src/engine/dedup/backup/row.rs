//! What travels from the walk through the workers to the tree.

use crate::engine::dedup::tree::{Entry, Owner};
use crate::repository::vault::ChunkId;
use crate::tree::attributes::Metadata;
use crate::tree::directory::Directory;
use std::sync::Arc;

/// One entry on its way to the tree.
pub(super) struct Row {
    /// The path of its directory; its own, when it is one.
    pub directory: Arc<[u8]>,
    /// Its name; empty for a directory.
    pub name: Vec<u8>,
    /// What is known of it.
    pub entry: Entry,
    /// Where its content comes from.
    pub content: Source,
}

/// Where the content of a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// It is in the entry already, or there is none.
    Entry,
    /// From the bundle that travels with the row.
    Bundle,
    /// From the blocks of the large file of this number, which travelled before.
    Large(u64),
    /// It is the content of another row, the first name of this file: device and inode.
    FirstName(u64, u64),
    /// It has vanished, and the row goes no further.
    Gone,
}

/// A file of a bundle.
pub(super) struct SmallFile {
    /// Which row it is.
    pub row: usize,
    /// Where it is.
    pub directory: Arc<Directory>,
    /// What it was when the walk looked at it.
    pub metadata: Metadata,
}

/// A piece of work.
pub(super) enum Work {
    /// Rows that are ready, and those whose files make one bundle.
    Rows { rows: Vec<Row>, files: Vec<SmallFile> },
    /// A block of a large file: whole chunks.
    Block { file: u64, block: Vec<u8>, ends: Vec<usize> },
    /// What was read of the file does not count: it is read again.
    Again { file: u64 },
}

/// What comes of it.
pub(super) enum Done {
    /// Rows with their content.
    Rows(Vec<Row>),
    /// The chunks of a block.
    Chunks { file: u64, chunks: Vec<(ChunkId, u64)> },
    /// As the work was.
    Again { file: u64 },
}

/// An entry without content, from what the system says of it.
pub(super) fn entry_of(metadata: &Metadata, owner: Arc<Owner>) -> Entry {
    Entry {
        mode: metadata.mode,
        owner,
        mtime: metadata.mtime,
        ctime: metadata.ctime,
        inode: metadata.inode,
        rdev: metadata.rdev,
        ..Entry::empty(metadata.kind)
    }
}

/// A path below a directory.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory.is_empty(), name.is_empty()) {
        (true, _) => name.to_vec(),
        (_, true) => directory.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}
