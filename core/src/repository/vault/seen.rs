//! What a client remembers of a repository, so that a storage that goes back to an older state is noticed.
//!
//! Pure: the program keeps the bytes, beside its cache and for each repository. Snapshots are never lost in silence: one that
//! was seen is there, or a removal names it. What is otherwise is told again each time, until a removal explains it, it is as it
//! was, or the user takes what is there for right ([`Seen::accept`]). Key slots go without a word, so that only one that is back is
//! noticed.

use super::id::ObjectId;
use super::json::{self, Text, VERSION};
use super::removal::Removals;
use super::snapshot::Snapshots;
use crate::error::{Error, Kind, Result};
use crate::limits::{SEEN_IDS, SMALL_OBJECT_BYTES};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Something that was undone without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rollback {
    /// This snapshot was there, and nobody says that it was removed.
    Vanished(ObjectId),
    /// This snapshot had been removed, and is there without the removal.
    Returned(ObjectId),
    /// This key slot was gone, and is there again.
    KeyReturned(ObjectId),
}

/// What was seen of one repository. Of each list the newest [`SEEN_IDS`] are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    repository: ObjectId,
    /// Snapshots that were there and of which nobody has said that they were removed, those seen first in front.
    snapshots: Vec<ObjectId>,
    /// Snapshots that removals named.
    removed: Vec<ObjectId>,
    /// Key slots that were there.
    keys: Vec<ObjectId>,
    /// Key slots that were there once and then were not.
    removed_keys: Vec<ObjectId>,
}

#[derive(Serialize, Deserialize)]
struct Shape {
    version: u64,
    repository: Text<ObjectId>,
    snapshots: Vec<Text<ObjectId>>,
    removed: Vec<Text<ObjectId>>,
    /// Earlier programs did not remember keys.
    #[serde(default)]
    keys: Vec<Text<ObjectId>>,
    #[serde(default)]
    removed_keys: Vec<Text<ObjectId>>,
}

impl Seen {
    /// Of a repository that is seen for the first time.
    pub fn new(repository: ObjectId) -> Seen {
        Seen {
            repository,
            snapshots: Vec::new(),
            removed: Vec::new(),
            keys: Vec::new(),
            removed_keys: Vec::new(),
        }
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
        let shape: Shape = json::read("record of what was seen", bytes)?;
        let ids = |ids: Vec<Text<ObjectId>>| newest(ids.into_iter().map(|id| id.0).collect());
        Ok(Seen {
            repository: shape.repository.0,
            snapshots: ids(shape.snapshots),
            removed: ids(shape.removed),
            keys: ids(shape.keys),
            removed_keys: ids(shape.removed_keys),
        })
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
            keys: ids(&self.keys),
            removed_keys: ids(&self.removed_keys),
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

    /// The key slots that were there when they were last noticed.
    pub fn keys(&self) -> &[ObjectId] {
        &self.keys
    }

    /// Whether these key slots are others than those that were there: who has an older list makes a newer one then.
    pub fn doubts_keys(&self, now: &[ObjectId]) -> bool {
        self.keys.iter().any(|id| !now.contains(id)) || self.removed_keys.iter().any(|id| now.contains(id))
    }

    /// Compares the key slots with those that are there now, and remembers them as well. Of those that were `known` before they were
    /// listed, what is not there was removed; who knows of none concludes nothing from what is missing.
    pub fn notice_keys(&mut self, now: &[ObjectId], known: &[ObjectId]) -> Vec<Rollback> {
        let returned = self.removed_keys.iter().filter(|id| now.contains(id));
        let rollbacks = returned.copied().map(Rollback::KeyReturned).collect();
        let gone: Vec<ObjectId> = known.iter().filter(|id| !now.contains(id)).copied().collect();
        self.removed_keys = newest(merged(&self.removed_keys, &gone, |_| true));
        let was_removed = |id: &ObjectId| self.removed_keys.contains(id);
        let there: Vec<ObjectId> = now.iter().filter(|id| !was_removed(id)).copied().collect();
        self.keys = newest(merged(&self.keys, &there, |id| !was_removed(id)));
        rollbacks
    }

    /// Takes what is not as it was for right: what [`Seen::notice`] has just told is told no more.
    pub fn accept(&mut self, rollbacks: &[Rollback]) {
        let accepted: HashSet<Rollback> = rollbacks.iter().copied().collect();
        self.snapshots.retain(|id| !accepted.contains(&Rollback::Vanished(*id)));
        self.removed.retain(|id| !accepted.contains(&Rollback::Returned(*id)));
        self.removed_keys.retain(|id| !accepted.contains(&Rollback::KeyReturned(*id)));
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
