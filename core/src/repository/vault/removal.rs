//! Removals: which snapshots were removed on purpose, so that what else is missing is known to be lost.

use super::Vault;
use super::documents::Documents;
use super::id::ObjectId;
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// Snapshots that somebody removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Which.
    pub snapshots: Vec<ObjectId>,
    /// Where from.
    pub host: String,
    /// When.
    pub time: Timestamp,
}

/// All removals, oldest first.
pub type Removals = Documents<Removal>;

impl Vault {
    /// Removes snapshots: first says so in a removal, then deletes them. Those that are gone already are no error.
    ///
    /// # Errors
    /// What the storage reports; when one cannot be deleted, the others are all the same.
    pub fn remove_snapshots(&self, ids: &[ObjectId], host: &str, now: Timestamp) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "not built yet").on(format!("{ids:?} {host} {now}")))
    }

    /// Every removal, oldest first.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn removals(&self) -> Result<Removals> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}
