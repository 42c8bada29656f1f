//! What there is: series, chains and backups, from the names under `metadata/` alone, as Freezer has it.
//!
//! Names that are not of the layout (`lost+found`, a folder whose document is missing, an object where a folder should be)
//! are strays: reported with their full name, passed over. Errors of the storage are errors of the listing.

use super::location::{
    self, BackupLocation, DOCUMENT, METADATA, chain_folder, last_component, parse_entry, parse_timestamp,
    series_folder,
};
use super::{BackupEntry, Repository};
use crate::error::{Error, Result};
use crate::level::{self, ChainView};
use crate::name::{BackupName, Level, ObjectName};
use crate::storage::{Depth, Listed, Storage};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// A series of backups: one name, made by one engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The engine's folder.
    pub engine: String,
    /// The name.
    pub name: BackupName,
}

/// All series of a repository, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The series; one whose chains are all gone may still be among them.
    pub series: Vec<Series>,
    /// What is no series, by full name.
    pub strays: Vec<String>,
}

/// All chains of a series, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chains {
    /// The chains; each has at least one backup.
    pub chains: Vec<Chain>,
    /// What is no backup, by full name.
    pub strays: Vec<String>,
}

/// A chain: a full backup and its increments, as the names on storage tell it. Levels may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The engine's folder.
    pub engine: String,
    /// The series.
    pub name: BackupName,
    /// The timestamp of its level 0, which names it.
    pub start: Timestamp,
    /// All its backups, duplicates of a level too, sorted by level and time. Never empty.
    pub backups: Vec<BackupEntry>,
}

/// The parents that the documents of a chain name. Those of Freezer's backups name none.
pub type Parents = BTreeMap<BackupEntry, Timestamp>;

/// What stands directly below a folder.
pub(super) struct Folders {
    folders: Vec<ObjectName>,
    /// Everything that is no folder.
    strays: Vec<String>,
}

/// The engines that have series.
pub(super) fn engines(storage: &dyn Storage) -> Result<Folders> {
    folders(storage, &ObjectName::new(METADATA)?)
}

fn folders(storage: &dyn Storage, parent: &ObjectName) -> Result<Folders> {
    let mut found = Folders { folders: Vec::new(), strays: Vec::new() };
    storage.list(Some(parent), Depth::One, &mut |row| {
        match row {
            Listed::Folder { name } => found.folders.push(name),
            Listed::Object { name, .. } => found.strays.push(name.to_string()),
            Listed::Stray { label } => found.strays.push(label),
        }
        Ok(())
    })?;
    found.folders.sort_unstable();
    Ok(found)
}

impl Chain {
    /// Where a backup of this chain lives.
    pub fn location(&self, entry: BackupEntry) -> BackupLocation {
        BackupLocation { engine: self.engine.clone(), name: self.name.clone(), chain: self.start, entry }
    }

    /// What a decision about levels needs to know.
    pub fn view(&self) -> ChainView<'_> {
        ChainView { start: self.start, backups: &self.backups }
    }

    /// The newest backup, whatever its level; not newer than `at`, when given.
    pub fn newest(&self, at: Option<Timestamp>) -> Option<BackupEntry> {
        let in_time = |backup: &&BackupEntry| at.is_none_or(|at| backup.timestamp <= at);
        self.backups.iter().filter(in_time).max_by_key(|backup| (backup.timestamp, backup.level)).copied()
    }

    /// The backups that a restore of `chosen` applies, level 0 first: by the parents that documents name as far as `named`
    /// has them, by names otherwise.
    ///
    /// # Errors
    /// `Damaged` naming the missing level.
    pub fn path_to(&self, chosen: BackupEntry, named: &Parents) -> Result<Vec<BackupEntry>> {
        let mut path = vec![chosen];
        let mut above = chosen;
        while above.level != Level::FULL {
            above = self.parent(chosen, above, named.get(&above).copied())?;
            path.push(above);
        }
        path.reverse();
        Ok(path)
    }

    /// The parent of `above`, which a restore of `chosen` has come to: the one its document names; for Freezer's, which name
    /// none, the newest of the level below that is not newer.
    ///
    /// # Errors
    /// `Damaged` when it is not there.
    pub fn parent(
        &self,
        chosen: BackupEntry,
        above: BackupEntry,
        named: Option<Timestamp>,
    ) -> Result<BackupEntry> {
        let Some(timestamp) = named else {
            return level::parent_of(&self.backups, above)
                .map_err(|level| self.gap(chosen, &format!("level {level}")));
        };
        let level = above.level.number().checked_sub(1).and_then(Level::new).unwrap_or(Level::FULL);
        let parent = BackupEntry { level, timestamp };
        let exists = self.backups.binary_search(&parent).is_ok();
        let missing = || self.gap(chosen, &format!("level {level} of {}", timestamp.rfc3339()));
        exists.then_some(parent).ok_or_else(missing)
    }

    fn gap(&self, chosen: BackupEntry, missing: &str) -> Error {
        Error::damaged(
            format!("{missing} is missing; nothing above it can be restored:"),
            self.location(chosen).to_string(),
        )
        .hint("restore a lower level of this chain, or a backup of another chain")
    }
}

impl Repository {
    /// All series; of one engine only, when named.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn series(&self, engine: Option<&str>) -> Result<Listing> {
        let mut strays = Vec::new();
        let engines = match engine {
            Some(engine) => vec![ObjectName::new(METADATA)?.join(engine)?],
            None => {
                let ahead = self.engines.lock().unwrap_or_else(PoisonError::into_inner).take();
                let listed = ahead.map_or_else(|| engines(self.storage.as_ref()), Ok)?;
                strays.extend(listed.strays);
                listed.folders
            }
        };
        let mut series = Vec::new();
        for folder in engines {
            let engine = last_component(&folder).to_owned();
            for name in self.folders(&folder, &mut strays)? {
                let name = BackupName::from_storage(last_component(&name));
                series.push(Series { engine: engine.clone(), name });
            }
        }
        series.sort_unstable();
        strays.sort_unstable();
        Ok(Listing { series, strays })
    }

    /// All chains of a series; none when the series does not exist.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn chains(&self, engine: &str, name: &BackupName) -> Result<Chains> {
        let mut strays = Vec::new();
        let candidates = self.chain_folders(engine, name, &mut strays)?;
        // Objects are listed after folders: what is committed in between is a backup, not a stray.
        let backups = self.committed(&series_folder(METADATA, engine, name)?, &mut strays)?;
        let mut chains: BTreeMap<Timestamp, Vec<BackupEntry>> = BTreeMap::new();
        for location in &backups {
            chains.entry(location.chain).or_default().push(location.entry);
        }
        let uncommitted = candidates.iter().filter(|(_, location)| !backups.contains(location));
        strays.extend(uncommitted.map(|(folder, _)| folder.to_string()));
        strays.sort_unstable();
        strays.dedup();
        let chains = chains.into_iter().map(|(start, mut backups)| {
            backups.sort_unstable();
            Chain { engine: engine.to_owned(), name: name.clone(), start, backups }
        });
        Ok(Chains { chains: chains.collect(), strays })
    }

    /// The folders that look like backups of a series. A chain's folder without any is a stray as well.
    fn chain_folders(
        &self,
        engine: &str,
        name: &BackupName,
        strays: &mut Vec<String>,
    ) -> Result<Vec<(ObjectName, BackupLocation)>> {
        let mut found = Vec::new();
        for folder in self.folders(&series_folder(METADATA, engine, name)?, strays)? {
            let Some(chain) = parse_timestamp(last_component(&folder)) else {
                strays.push(folder.to_string());
                continue;
            };
            let inside = self.folders(&folder, strays)?;
            if inside.is_empty() {
                strays.push(folder.to_string());
            }
            for folder in inside {
                let Some(entry) = parse_entry(last_component(&folder)) else {
                    strays.push(folder.to_string());
                    continue;
                };
                let location = BackupLocation { engine: engine.to_owned(), name: name.clone(), chain, entry };
                found.push((folder, location));
            }
        }
        Ok(found)
    }

    /// The backups below `folder`, by their documents. Other objects become strays, unless a folder they are in is one.
    pub(super) fn committed(
        &self,
        folder: &ObjectName,
        strays: &mut Vec<String>,
    ) -> Result<BTreeSet<BackupLocation>> {
        let mut backups = BTreeSet::new();
        let known: BTreeSet<String> = strays.iter().cloned().collect();
        self.storage.list(Some(folder), Depth::All, &mut |row| {
            let label = match row {
                Listed::Object { name, .. } => match location::parse_object(METADATA, &name) {
                    Some((location, DOCUMENT)) => {
                        backups.insert(location);
                        return Ok(());
                    }
                    _ => name.to_string(),
                },
                Listed::Stray { label } => label,
                Listed::Folder { .. } => return Ok(()),
            };
            let inside_stray = label.match_indices('/').any(|(end, _)| known.contains(&label[..end]));
            if !inside_stray {
                strays.push(label);
            }
            Ok(())
        })?;
        Ok(backups)
    }

    /// The folders directly below one; everything else there is a stray.
    fn folders(&self, parent: &ObjectName, strays: &mut Vec<String>) -> Result<Vec<ObjectName>> {
        let listed = folders(self.storage.as_ref(), parent)?;
        strays.extend(listed.strays);
        Ok(listed.folders)
    }

    /// All backups of some series, oldest first, with what does not belong.
    ///
    /// # Errors
    /// What the storage reports.
    pub fn backups(&self, series: &[Series]) -> Result<(Vec<BackupLocation>, Vec<String>)> {
        let (mut backups, mut strays) = (Vec::new(), Vec::new());
        for one in series {
            let found = self.chains(&one.engine, &one.name)?;
            strays.extend(found.strays);
            backups.extend(
                found
                    .chains
                    .iter()
                    .flat_map(|chain| chain.backups.iter().map(|entry| chain.location(*entry))),
            );
        }
        backups.sort_unstable_by(|a, b| (a.entry.timestamp, a).cmp(&(b.entry.timestamp, b)));
        Ok((backups, strays))
    }

    /// The folder of a chain's documents.
    pub(super) fn documents_of(chain: &Chain) -> Result<ObjectName> {
        chain_folder(METADATA, &chain.engine, &chain.name, chain.start)
    }
}
