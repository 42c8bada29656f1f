//! What a client remembers of a repository, so that a storage that goes back to an older state is noticed.
//!
//! Pure: the program keeps the bytes, beside its cache and for each repository. Snapshots are never lost in silence: one that
//! was seen is there, or a removal names it. What is otherwise is told again each time, until a removal explains it, it is as it
//! was, or the user takes what is there for right ([`Seen::accept`]).

use super::id::ObjectId;
use super::json::{self, Text, VERSION};
use super::removal::Removals;
use super::snapshot::Snapshots;
use crate::error::{Error, Kind, Result};
use crate::limits::{SEEN_IDS, SMALL_OBJECT_BYTES};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Something that was undone without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// This snapshot was there, and nobody says that it was removed.
    Vanished(ObjectId),
    /// This snapshot had been removed, and is there without the removal.
    Returned(ObjectId),
}

/// What was seen of one repository. Of each list the newest [`SEEN_IDS`] are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    repository: ObjectId,
    /// Snapshots that were there and of which nobody has said that they were removed, those seen first in front.
    snapshots: Vec<ObjectId>,
    /// Snapshots that removals named.
    removed: Vec<ObjectId>,
}

#[derive(Serialize, Deserialize)]
struct Shape {
    version: u64,
    repository: Text<ObjectId>,
    snapshots: Vec<Text<ObjectId>>,
    removed: Vec<Text<ObjectId>>,
}

impl Seen {
    /// Of a repository that is seen for the first time.
    pub fn new(repository: ObjectId) -> Seen {
        Seen { repository, snapshots: Vec::new(), removed: Vec::new() }
    }

    /// The repository this is about.
    pub fn repository(&self) -> ObjectId {
        self.repository
    }

    /// Reads what [`Seen::encode`] wrote.
    ///
    /// # Errors
    /// `Damaged` when it is not that, `Unsupported` when a newer version wrote it.
    pub fn parse(bytes: &[u8]) -> Result<Seen> {
        if bytes.len() as u64 > SMALL_OBJECT_BYTES {
            return Err(Error::new(Kind::Damaged, "too long a record of what was seen"));
        }
        let Shape { repository, snapshots, removed, .. } = json::read("record of what was seen", bytes)?;
        let ids = |ids: Vec<Text<ObjectId>>| newest(ids.into_iter().map(|id| id.0).collect());
        Ok(Seen { repository: repository.0, snapshots: ids(snapshots), removed: ids(removed) })
    }

    /// The bytes to keep.
    ///
    /// # Errors
    /// None in practice: ids can be spelled.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let ids = |ids: &[ObjectId]| ids.iter().copied().map(Text).collect();
        let shape = Shape {
            version: VERSION,
            repository: Text(self.repository),
            snapshots: ids(&self.snapshots),
            removed: ids(&self.removed),
        };
        json::write("record of what was seen", &shape)
    }

    /// Compares with what is there now, and remembers that as well. The snapshots must have been listed before the removals:
    /// a removal is written before its snapshots go.
    pub fn notice(&mut self, now: &Snapshots, removals: &Removals) -> Vec<Rollback> {
        // One that is damaged is there, and is told elsewhere; but what never was a snapshot to this client is none that can vanish.
        let found: Vec<ObjectId> = now.found.iter().map(|(id, _)| *id).collect();
        let damaged = now.damaged.iter().map(|(id, _)| *id);
        let is_present: HashSet<ObjectId> = found.iter().copied().chain(damaged).collect();
        let named: Vec<ObjectId> =
            removals.found.iter().flat_map(|(_, removal)| &removal.snapshots).copied().collect();
        let is_named: HashSet<ObjectId> = named.iter().copied().collect();
        let was_removed: HashSet<ObjectId> = self.removed.iter().copied().collect();

        let vanished = |id: &&ObjectId| {
            !is_present.contains(*id) && !is_named.contains(*id) && !was_removed.contains(*id)
        };
        let mut rollbacks: Vec<Rollback> =
            self.snapshots.iter().filter(vanished).copied().map(Rollback::Vanished).collect();
        let returned = |id: &&ObjectId| is_present.contains(*id) && !is_named.contains(*id);
        rollbacks.extend(self.removed.iter().filter(returned).copied().map(Rollback::Returned));

        let is_removed = |id: &ObjectId| is_named.contains(id) || was_removed.contains(id);
        self.snapshots =
            newest(merged(&self.snapshots, &found, |id| is_present.contains(id) || !is_removed(id)));
        self.removed = newest(merged(&self.removed, &named, |_| true));
        rollbacks
    }

    /// Takes what is not as it was for right: what [`Seen::notice`] has just told is told no more.
    pub fn accept(&mut self, rollbacks: &[Rollback]) {
        let ids = |returned: bool| -> HashSet<ObjectId> {
            let chosen = rollbacks.iter().filter_map(|rollback| match *rollback {
                Rollback::Vanished(id) => (!returned).then_some(id),
                Rollback::Returned(id) => returned.then_some(id),
            });
            chosen.collect()
        };
        let (vanished, returned) = (ids(false), ids(true));
        self.snapshots.retain(|id| !vanished.contains(id));
        self.removed.retain(|id| !returned.contains(id));
    }
}

/// What is kept of the old, in its order, and behind it what is new.
fn merged(old: &[ObjectId], new: &[ObjectId], keep: impl Fn(&ObjectId) -> bool) -> Vec<ObjectId> {
    let mut known = HashSet::new();
    let old = old.iter().copied().filter(keep);
    old.chain(new.iter().copied()).filter(|id| known.insert(*id)).collect()
}

fn newest(mut ids: Vec<ObjectId>) -> Vec<ObjectId> {
    ids.drain(..ids.len().saturating_sub(SEEN_IDS));
    ids
}
