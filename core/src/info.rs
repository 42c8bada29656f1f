//! The verb `info`: what a repository is and holds.

use crate::engine::dedup;
use crate::error::Result;
use crate::repository::Repository;
use crate::select::{self, Filter};
use crate::storage::{Depth, Listed};
use std::collections::BTreeMap;

/// What a repository is and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Where it is.
    pub location: String,
    /// Its id; `None` where only Freezer has been.
    pub id: Option<String>,
    /// Its series.
    pub series: Vec<SeriesFacts>,
    /// Backups of all series.
    pub backups: u64,
    /// Bytes of all objects.
    pub stored_bytes: u64,
    /// What its vault is, if it has one.
    pub vault: Option<VaultFacts>,
}

/// What the deduplicated part of a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultFacts {
    /// Its id.
    pub id: String,
    /// Whether it is encrypted.
    pub is_encrypted: bool,
    /// Snapshots that cannot be read.
    pub damaged: u64,
}

/// What a series holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesFacts {
    /// The engine.
    pub engine: String,
    /// Host and name as one word.
    pub name: String,
    /// Chains.
    pub chains: u64,
    /// Backups.
    pub backups: u64,
}

/// Counts.
///
/// # Errors
/// As the storage has it.
pub fn run(repository: &Repository) -> Result<Facts> {
    let mut series = Vec::new();
    for one in repository.series(None)?.series {
        let chains = repository.chains(&one.engine, &one.name)?.chains;
        series.push(SeriesFacts {
            engine: one.engine,
            name: one.name.to_string(),
            chains: chains.len() as u64,
            backups: chains.iter().map(|chain| chain.backups.len() as u64).sum(),
        });
    }
    let vault = snapshots(repository, &mut series)?;
    let mut stored_bytes: u64 = 0;
    repository.storage().list(None, Depth::All, &mut |row| {
        if let Listed::Object { size_bytes, .. } = row {
            stored_bytes = stored_bytes.saturating_add(size_bytes);
        }
        Ok(())
    })?;
    Ok(Facts {
        location: repository.storage().label(),
        id: repository.id().map(str::to_owned),
        backups: series.iter().map(|one| one.backups).sum(),
        series,
        stored_bytes,
        vault,
    })
}

/// Adds the series of snapshots, each of which is a chain by itself.
fn snapshots(repository: &Repository, series: &mut Vec<SeriesFacts>) -> Result<Option<VaultFacts>> {
    let Some(vault) = repository.vault() else { return Ok(None) };
    let snapshots = select::snapshots(repository, &Filter::default())?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (_, snapshot) in &snapshots.found {
        *counts.entry(select::series_of(snapshot).to_string()).or_default() += 1;
    }
    series.extend(counts.into_iter().map(|(name, count)| SeriesFacts {
        engine: dedup::NAME.to_owned(),
        name,
        chains: count,
        backups: count,
    }));
    Ok(Some(VaultFacts {
        id: vault.id().to_string(),
        is_encrypted: vault.is_encrypted(),
        damaged: snapshots.damaged.len() as u64,
    }))
}
