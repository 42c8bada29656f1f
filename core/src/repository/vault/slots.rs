//! The key slots of a repository: who can open it.

use super::Vault;
use super::id::ObjectId;
use super::password::Password;
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// A key slot, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub id: ObjectId,
    /// What the user called it.
    pub label: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is the one that opened the repository.
    pub is_current: bool,
}

impl Vault {
    /// The slots that are sound; `examine` tells of the others.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn slots(&self) -> Result<Vec<Slot>> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }

    /// Adds a password.
    ///
    /// # Errors
    /// `Invalid` when the repository is not encrypted, `Limit` when there are too many, and what the storage reports.
    pub fn add_slot(&self, password: &Password, label: &str, now: Timestamp) -> Result<ObjectId> {
        Err(Error::new(Kind::Unsupported, "not built yet").on(format!("{password:?} {label} {now}")))
    }

    /// Removes a slot, never the last sound one.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for the last one, and what the storage reports.
    pub fn remove_slot(&self, id: ObjectId) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "not built yet").on(id.to_string()))
    }
}
