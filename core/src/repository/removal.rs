//! Removing chains, and what runs that were killed left behind.
//!
//! A chain goes from its end: the documents first, the highest level first, so that whatever stops the removal leaves a
//! shorter chain that can be restored, and data without documents, which is an orphan. An orphan looks like a backup that is
//! being written; its age tells them apart (the caller decides how old is old, see [`crate::limits::ORPHAN_GRACE_SECONDS`]), and
//! whoever takes the claim is right.

use super::location::{self, BackupLocation, DATA, METADATA, chain_folder};
use super::pending::Claimant;
use super::{Chain, Repository};
use crate::error::{Error, Kind, Result};
use crate::limits::CLAIM_BYTES;
use crate::name::ObjectName;
use crate::storage::{Depth, Listed};
use std::collections::{BTreeMap, BTreeSet};

/// Data without a document: of a run that was killed, or of one that still runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The backup it would have been.
    pub location: BackupLocation,
    /// How many objects there are.
    pub objects: u64,
    /// Their size together.
    pub size_bytes: u64,
    /// Whether there is a claim; Freezer makes none.
    pub claimed: bool,
    /// Who claimed it, when the claim can be read.
    pub claimed_by: Option<Claimant>,
    /// Whether a backup above it needs a level that only this can be: not a killed run's then, but a backup whose document was
    /// lost. Its data may be all that is left of it.
    pub needed: bool,
}

/// What runs that were killed left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remains {
    /// Data without a document, sorted by place.
    pub orphans: Vec<Orphan>,
    /// Backups beside which there is a claim still.
    pub claims: Vec<BackupLocation>,
}

impl Repository {
    /// Removes a chain, its documents first. When it fails, the rest of the chain can be restored or is an orphan.
    ///
    /// # Errors
    /// `Busy`, and nothing is removed, when there is a backup in it that `chain` does not know; what the storage reports.
    pub fn remove_chain(&self, chain: &Chain) -> Result<()> {
        self.is_all_of(chain)?;
        let mut backups = chain.backups.clone();
        backups.sort_unstable();
        for entry in backups.into_iter().rev() {
            self.delete_if_there(&chain.location(entry).metadata()?)?;
        }
        // A backup that was committed meanwhile has lost what it builds on. `Pending::commit` looks from the other side.
        let stranded = self.committed(&Repository::documents_of(chain)?, &mut Vec::new())?;
        for location in stranded.iter().rev() {
            self.delete_if_there(&location.metadata()?)?;
        }
        self.delete_below(&chain_folder(DATA, &chain.engine, &chain.name, chain.start)?)
    }

    /// Nobody has decided on a backup that was not listed, be it that it has come since, or that the list lacked it. What was not
    /// listed may still have data that is, and its document is asked for by name.
    fn is_all_of(&self, chain: &Chain) -> Result<()> {
        let known: BTreeSet<BackupLocation> =
            chain.backups.iter().map(|entry| chain.location(*entry)).collect();
        let mut there = self.committed(&Repository::documents_of(chain)?, &mut Vec::new())?;
        let folder = chain_folder(DATA, &chain.engine, &chain.name, chain.start)?;
        for location in self.data_folders(&folder)?.into_keys() {
            if !known.contains(&location) && self.size_of(&location.metadata()?)?.is_some() {
                there.insert(location);
            }
        }
        match there.difference(&known).next() {
            None => Ok(()),
            Some(new) => Err(Error::new(Kind::Busy, "nothing was removed of a chain with a backup that was not on its list before:")
                .on(new.to_string())
                .hint("a backup may just have ended: try again; when the same is said then, the storage's lists lack what is there (icecore storage test)")),
        }
    }

    /// Deletes the objects below a folder that has been listed whole.
    fn delete_below(&self, folder: &ObjectName) -> Result<()> {
        let mut objects = Vec::new();
        self.storage.list(Some(folder), Depth::All, &mut |row| {
            if let Listed::Object { name, .. } = row {
                objects.push(name);
            }
            Ok(())
        })?;
        for object in &objects {
            self.delete_if_there(object)?;
        }
        Ok(())
    }

    /// What lies under `data/` without a document, or means nothing beside one; of one engine or of all.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn remains(&self, engine: Option<&str>) -> Result<Remains> {
        let folder = |tree: &str| match engine {
            Some(engine) => ObjectName::new(tree)?.join(engine),
            None => ObjectName::new(tree),
        };
        // Data is listed before documents: what is committed in between is a backup, not an orphan.
        let mut found = self.data_folders(&folder(DATA)?)?;
        let committed = self.committed(&folder(METADATA)?, &mut Vec::new())?;
        let claims =
            committed.iter().filter(|one| found.remove(one).is_some_and(|objects| objects.claimed)).cloned();
        let claims = claims.collect();
        let mut orphans: Vec<Orphan> = found.into_values().collect();
        for orphan in orphans.iter_mut().filter(|orphan| orphan.claimed) {
            orphan.claimed_by = self.claimant(&orphan.location)?;
        }
        for orphan in &mut orphans {
            orphan.needed = is_needed(&orphan.location, &committed);
        }
        Ok(Remains { orphans, claims })
    }

    /// The orphans among the [`Remains`].
    ///
    /// # Errors
    /// What the storage reports.
    #[cfg(test)]
    pub(super) fn orphans(&self, engine: Option<&str>) -> Result<Vec<Orphan>> {
        Ok(self.remains(engine)?.orphans)
    }

    /// Removes the claim beside a backup. The run that made it must have ended: one that has just committed withdraws a
    /// backup whose claim is gone.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn remove_claim(&self, backup: &BackupLocation) -> Result<()> {
        self.delete_if_there(&backup.claim()?).map(drop)
    }

    fn data_folders(&self, folder: &ObjectName) -> Result<BTreeMap<BackupLocation, Orphan>> {
        let mut found: BTreeMap<BackupLocation, Orphan> = BTreeMap::new();
        self.storage.list(Some(folder), Depth::All, &mut |row| {
            let Listed::Object { name, size_bytes } = row else { return Ok(()) };
            let Some((location, _)) = location::parse_object(DATA, &name) else { return Ok(()) };
            let is_claim = location.claim()? == name;
            let orphan = found.entry(location).or_insert_with_key(|location| Orphan {
                location: location.clone(),
                objects: 0,
                size_bytes: 0,
                claimed: false,
                claimed_by: None,
                needed: false,
            });
            orphan.objects = orphan.objects.saturating_add(1);
            orphan.size_bytes = orphan.size_bytes.saturating_add(size_bytes);
            orphan.claimed |= is_claim;
            Ok(())
        })?;
        Ok(found)
    }

    /// Who claimed a place. A claim that is gone or cannot be read names nobody; it is there for people only.
    fn claimant(&self, location: &BackupLocation) -> Result<Option<Claimant>> {
        match self.storage.read_small(&location.claim()?, CLAIM_BYTES) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Limit | Kind::Io | Kind::Denied) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes an orphan. Its claim goes first, then its document is looked for: a run that still writes cannot commit any
    /// more, and one that has just committed is left alone.
    ///
    /// # Errors
    /// `Busy` when it has become a backup, or is about to, and what the storage reports.
    pub fn remove_orphan(&self, orphan: &Orphan) -> Result<()> {
        let location = &orphan.location;
        let busy = || Error::new(Kind::Busy, "is being committed, not an orphan:").on(location.to_string());
        // Also one that was not listed: a copy may have begun at this place since.
        let was_claimed = self.delete_if_there(&location.claim()?)?;
        if was_claimed != orphan.claimed {
            return Err(busy());
        }
        if self.size_of(&location.metadata()?)?.is_some() {
            return Err(busy());
        }
        self.delete_below(&location.data_folder()?)
    }
}

/// Whether the chain goes on above the level of `lost`, and has no backup of that level.
fn is_needed(lost: &BackupLocation, committed: &BTreeSet<BackupLocation>) -> bool {
    let of_chain =
        |one: &&BackupLocation| (&one.engine, &one.name, one.chain) == (&lost.engine, &lost.name, lost.chain);
    let levels = || committed.iter().filter(of_chain).map(|one| one.entry.level);
    levels().any(|level| level > lost.entry.level) && levels().all(|level| level != lost.entry.level)
}
