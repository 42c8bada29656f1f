//! Removals: which snapshots were removed on purpose, so that what else is missing is known to be lost.
//!
//! Invariant: a removal is durable before the first snapshot it names is deleted.

use super::Vault;
use super::documents::{Document, Documents};
use super::header::ObjectKind;
use super::id::ObjectId;
use super::json::{self, Text, VERSION};
use super::names::{self, Folder};
use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

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

impl Removals {
    /// The snapshots that they name.
    pub(super) fn named(&self) -> HashSet<ObjectId> {
        self.found.iter().flat_map(|(_, removal)| removal.snapshots.iter().copied()).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct Shape {
    version: u64,
    snapshots: Vec<Text<ObjectId>>,
    host: String,
    time: i64,
}

impl Document for Removal {
    const KIND: ObjectKind = ObjectKind::Removal;

    fn encode(&self) -> Result<Vec<u8>> {
        let snapshots = self.snapshots.iter().copied().map(Text).collect();
        let (host, time) = (self.host.clone(), self.time.0);
        json::write("removal", &Shape { version: VERSION, snapshots, host, time })
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let Shape { snapshots, host, time, .. } = json::read("removal", bytes)?;
        let snapshots = snapshots.into_iter().map(|id| id.0).collect();
        Ok(Removal { snapshots, host, time: Timestamp(time) })
    }

    fn time(&self) -> (i64, u32) {
        (self.time.0, 0)
    }
}

impl Vault {
    /// Removes snapshots: first says so in a removal, then deletes them. Those that are gone already are no error. Deletes those
    /// as well that earlier removals name and that are there all the same.
    ///
    /// # Errors
    /// What the storage reports; when one cannot be deleted, the others are all the same, and the first failure is returned.
    pub fn remove_snapshots(&self, ids: &[ObjectId], host: &str, now: Timestamp) -> Result<()> {
        let mut left = self.removed()?;
        left.retain(|id| !ids.contains(id));
        let mut all = ids.to_vec();
        if !left.is_empty() {
            let there = names::list(self.storage().as_ref(), Folder::Snapshots)?.objects;
            all.extend(there.into_iter().map(|(id, _)| id).filter(|id| left.contains(id)));
        }
        if !ids.is_empty() {
            self.write_document(&Removal { snapshots: ids.to_vec(), host: host.to_owned(), time: now })?;
        }
        let mut failed: Option<(Error, ObjectName)> = None;
        let mut count = 0;
        for id in all {
            let name = Folder::Snapshots.object(id)?;
            match self.storage().delete(&name) {
                Err(error) if error.kind() != Kind::NotFound => {
                    count += 1;
                    failed.get_or_insert((error, name));
                }
                _ => (),
            }
        }
        match failed {
            None => Ok(()),
            Some((error, name)) if count == 1 => Err(error.while_doing("cannot delete", name.to_string())),
            Some((error, name)) => {
                let what = format!("cannot delete {count} snapshots that are forgotten, the first of them");
                Err(error.while_doing(what, name.to_string()))
            }
        }
    }

    /// The snapshots that removals name.
    pub(super) fn removed(&self) -> Result<HashSet<ObjectId>> {
        Ok(self.removals()?.named())
    }

    /// The objects of snapshots that removals name: no backups, wherever they still are.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn removed_names(&self) -> Result<Vec<ObjectName>> {
        self.removed()?.into_iter().map(|id| Folder::Snapshots.object(id)).collect()
    }

    /// Every removal, oldest first. Listed after the snapshots, it names every one that was removed before they were listed.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn removals(&self) -> Result<Removals> {
        self.documents()
    }
}
