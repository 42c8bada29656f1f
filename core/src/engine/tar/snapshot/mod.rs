//! The snapshot file of an incremental backup: what every directory held when it was backed up (GNU tar's
//! `--listed-incremental`, format 2, which Freezer stores as `engine_metadata`).
//!
//! A line `GNU tar-<version>-2`, then strings that end with a NUL: the start of the backup in seconds and nanoseconds; for
//! each directory whether it is on NFS, its time in seconds and nanoseconds, device, inode and name, then its entries as in
//! a [`super::dumpdir`], an empty string, and a NUL. Formats 0 and 1 (before 2006) have no entries and are `Unsupported`.
//! Source: GNU tar manual, "Snapshot Files".
//!
//! Invariant: a record is whole and well-formed or an error; only an end between two records is an end. That a file was cut
//! there cannot be seen: whoever stores it keeps its hash.

mod index;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use index::Snapshot;
pub use reader::SnapshotReader;
pub use writer::SnapshotWriter;

use crate::error::Error;
use crate::time::FileTime;

/// What identifies a directory and its state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    /// Whether it is on a network file system, whose device numbers mean nothing.
    pub nfs: bool,
    /// Last change of its entries.
    pub mtime: FileTime,
    /// Its file system; a negative number in the file is the same number of 64 bits without sign.
    pub device: u64,
    /// Its inode; negative numbers as for `device`.
    pub inode: u64,
    /// Its name as members of the archive have it: `.`, `./a/b`.
    pub name: Vec<u8>,
}

/// A directory and what it held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The directory.
    pub directory: Directory,
    /// Its entries, as [`super::dumpdir::records`] takes them; without renames, sorted by name when GNU tar wrote them.
    pub listing: Vec<u8>,
}

fn damaged(what: &str) -> Error {
    Error::damaged(what, "in the snapshot file")
}
