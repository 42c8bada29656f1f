//! Where backups live in a storage. The only place that spells object names; engines and verbs speak of series, chains and
//! backups.
//!
//! The layout is Freezer's, so that both programs can use one repository (`docs/format/chain.md` is normative). Invariants:
//! a backup exists exactly when its `metadata` object does, which is written last; a listing that fails is an error and
//! never "no backups"; whatever does not belong is reported as a stray and passed over, never touched.
//!
//! [`listing`] says what there is, [`select`] picks from it, [`pending`] adds a backup, [`reading`] gets one back,
//! [`removal`] removes chains and what killed runs left behind. [`document`] and [`location`] are the bytes and names.

pub mod document;
pub mod listing;
pub mod location;
pub mod marker;
pub mod pending;
pub mod reading;
pub mod removal;
pub mod select;
pub mod vault;

#[cfg(test)]
mod tests;

pub use crate::level::BackupEntry;
pub use listing::{Chain, Chains, Listing, Parents, Series};
pub use location::BackupLocation;
pub use pending::Pending;
pub use select::BackupId;

use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::storage::Storage;
use std::fmt;
use std::sync::Arc;

/// A place in a storage where backups live.
#[derive(Clone)]
pub struct Repository {
    storage: Arc<dyn Storage>,
    id: Option<String>,
}

impl Repository {
    /// The storage below.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The random id given at creation; `None` where only Freezer has been so far.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether an object exists, and how long it is.
    fn size_of(&self, name: &ObjectName) -> Result<Option<u64>> {
        match self.storage.stat(name) {
            Ok(stat) => Ok(Some(stat.size_bytes)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an object, and says whether it was there.
    fn delete_if_there(&self, name: &ObjectName) -> Result<bool> {
        match self.storage.delete(name) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error.while_doing("cannot delete", name.to_string())),
        }
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", self.storage.label())
    }
}

/// Reads a small object whole; one that is too large is not what it should be.
fn read_document(storage: &dyn Storage, name: &ObjectName) -> Result<Vec<u8>> {
    storage.read_small(name, crate::limits::SMALL_OBJECT_BYTES).map_err(|error| match error.kind() {
        Kind::Limit => Error::damaged("too long:", name.to_string()).because(error),
        _ => error,
    })
}
