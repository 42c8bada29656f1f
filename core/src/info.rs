//! The verb `info`: what a repository is and holds.

use crate::error::Result;
use crate::repository::Repository;
use crate::storage::{Depth, Listed};

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
    })
}
