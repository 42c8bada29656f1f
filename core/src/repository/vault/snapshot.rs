//! Snapshots: a backup exists when its snapshot does. Written last, when every pack and every index it needs is durable.

use super::Vault;
use super::documents::Documents;
use super::id::{ChunkId, ObjectId};
use crate::error::{Error, Kind, Result};
use crate::time::FileTime;

/// A backup, as its object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The host that was backed up.
    pub host: String,
    /// The name of the backup on that host.
    pub name: String,
    /// What was backed up, as the user gave it: raw bytes.
    pub paths: Vec<Vec<u8>>,
    /// What the user calls this backup besides.
    pub tags: Vec<String>,
    /// When the run began.
    pub time: FileTime,
    /// When all was read and stored.
    pub finished: FileTime,
    /// The root node of the tree.
    pub root: ChunkId,
    /// Entries of the tree.
    pub entries: u64,
    /// Those of them that are files.
    pub files: u64,
    /// Bytes of content of all files.
    pub bytes: u64,
    /// Bytes of the packs that this run wrote.
    pub added_bytes: u64,
    /// Entries that were not stored, or not as they were at one moment.
    pub errors: u64,
    /// The first of them, each with its reason.
    pub unread: Vec<String>,
    /// The backup this one was compared with.
    pub parent: Option<ObjectId>,
    /// The run that wrote it.
    pub session: ObjectId,
    /// The program and its version.
    pub program: String,
}

/// All backups, oldest first.
pub type Snapshots = Documents<Snapshot>;

impl Vault {
    /// Makes a backup exist.
    ///
    /// # Errors
    /// `Limit` when the document would be too long, and what the storage reports.
    pub fn commit(&self, snapshot: &Snapshot) -> Result<ObjectId> {
        drop(snapshot.clone());
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// One backup.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, `Unsupported`, and what the storage reports.
    pub fn snapshot(&self, id: ObjectId) -> Result<Snapshot> {
        Err(Error::new(Kind::Unsupported, "not built yet").on(id.to_string()))
    }

    /// Every backup, oldest first, read once each. One that is damaged is a row of its own; one that goes meanwhile is gone.
    ///
    /// # Errors
    /// What the storage reports: a list that fails is an error, never a shorter list.
    pub fn snapshots(&self) -> Result<Snapshots> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}
