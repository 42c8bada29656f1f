//! An entry of a tree: everything about a file but its name.
//!
//! Invariant: an entry that a builder accepts is written and read back as the same entry. What a kind does not have is
//! empty or zero.

use crate::repository::vault::ChunkId;
use crate::time::FileTime;
use crate::tree::attributes::{FileKind, Xattrs};
use std::sync::Arc;

/// Who owns an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Owner {
    /// The user, by number.
    pub uid: u32,
    /// The group, by number.
    pub gid: u32,
    /// The user, by name; empty when not known.
    pub user: Vec<u8>,
    /// The group, by name; empty when not known.
    pub group: Vec<u8>,
}

/// Everything about a file but its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is; never a socket.
    pub kind: FileKind,
    /// It changed in or after the second in which it was read: never taken for unchanged.
    pub racy: bool,
    /// What is stored is all of it, as it was at one moment.
    pub whole: bool,
    /// The 12 permission bits.
    pub mode: u32,
    /// Who owns it; entries of one tree share them.
    pub owner: Arc<Owner>,
    /// Last change of content.
    pub mtime: FileTime,
    /// Last change of content or attributes.
    pub ctime: FileTime,
    /// Number of the inode in its file system.
    pub inode: u64,
    /// Length of a file; 0 for all other kinds.
    pub size_bytes: u64,
    /// Where the content of a file is.
    pub content: Content,
    /// What a symbolic link points at; empty for all other kinds.
    pub target: Vec<u8>,
    /// Major and minor number of a device; zero for all other kinds.
    pub rdev: (u32, u32),
    /// For what has several names.
    pub names: Option<Names>,
    /// Extended attributes, sorted by name: [`super::keep_xattrs`] decides where they go.
    pub xattrs: Kept<Xattrs>,
    /// Holes of a file: [`super::keep_holes`] decides where they go.
    pub holes: Kept<Vec<Hole>>,
}

/// Where the content of a file is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Content {
    /// There is none, or holes only.
    #[default]
    None,
    /// As many bytes as the file has, inside a chunk.
    Slice {
        /// The chunk.
        chunk: ChunkId,
        /// Where in it the file begins.
        offset: u64,
    },
    /// Chunks, one after the other.
    Rows {
        /// 0 when the rows are content, else how many levels of lists are below.
        depth: u8,
        /// Chunks, and how many bytes of content each stands for.
        rows: Vec<(ChunkId, u64)>,
    },
}

/// What stands in an entry or, when it is long, in a chunk of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Kept<T> {
    /// There is nothing.
    #[default]
    None,
    /// In the entry; not empty.
    Here(T),
    /// In this chunk.
    Elsewhere(ChunkId),
}

/// A hole of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Bytes of data between the hole before (or the start) and this one.
    pub data_before: u64,
    /// Bytes of the hole, at least 1.
    pub length: u64,
}

/// What tells which entries are names of one inode, together with the number of the inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// Number of the file system among those of this backup.
    pub device: u64,
    /// How many names the inode has.
    pub links: u64,
}
