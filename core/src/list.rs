//! The verb `list`: every backup that exists, with what its document says, oldest first.

use crate::engine::dedup;
use crate::error::{Error, Kind, Result};
use crate::repository::select::shortened;
use crate::repository::vault::{ObjectId, Snapshot};
use crate::repository::{BackupId, BackupLocation, Chain, Repository};
use crate::select::{self, Filter};

/// Backups and strays.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The backups, oldest first.
    pub rows: Vec<Row>,
    /// Snapshots that cannot be read, so that nobody knows whose they are: each by its id, and why.
    pub damaged: Vec<(String, String)>,
    /// What was passed over.
    pub strays: Vec<String>,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is called by.
    pub id: BackupId,
    /// As much of that as tells it from all others here.
    pub short_id: String,
    /// The engine.
    pub engine: String,
    /// Host and name as one word.
    pub series: String,
    /// The host, where it is known apart from the name.
    pub host: Option<String>,
    /// The name, where it is known apart from the host.
    pub name: Option<String>,
    /// Its level.
    pub level: u32,
    /// The timestamp of its chain's level 0.
    pub chain: i64,
    /// Its own timestamp.
    pub timestamp: i64,
    /// Why it cannot be restored, as far as names and sizes tell.
    pub problem: Option<String>,
    /// Bytes that it added to the storage.
    pub stored_bytes: Option<u64>,
    /// Entries in it that are not directories.
    pub files: Option<u64>,
    /// Bytes of content read.
    pub bytes: Option<u64>,
    /// Entries that could not be read.
    pub errors: Option<u64>,
    /// How it is compressed.
    pub compression: Option<String>,
    /// Whether it is encrypted.
    pub encryption: Option<bool>,
    /// What was backed up; of a level of Freezer's, nobody knows.
    pub paths: Vec<Vec<u8>>,
    /// What the user calls it besides.
    pub tags: Vec<String>,
    /// Whether Icecore made it (otherwise Freezer did); `None` when its document cannot be read.
    pub by_icecore: Option<bool>,
}

/// Lists the backups of the series that are meant.
///
/// # Errors
/// As the storage has it. An object that cannot be read is a problem of its row; a list that cannot is the end of it.
pub fn run(repository: &Repository, filter: &Filter) -> Result<Listing> {
    let (series, mut strays) = select::series(repository, filter)?;
    let mut rows = Vec::new();
    for one in &series {
        let found = repository.chains(&one.engine, &one.name)?;
        strays.extend(found.strays);
        for chain in &found.chains {
            for entry in &chain.backups {
                rows.extend(level(repository, filter, chain, chain.location(*entry))?);
            }
        }
    }
    let snapshots = select::snapshots(repository, filter)?;
    let is_encrypted = repository.vault().map(|vault| vault.is_encrypted());
    rows.extend(snapshots.found.iter().map(|(id, one)| snapshot(*id, one, is_encrypted)));
    strays.extend(snapshots.strays);
    rows.sort_by_key(|row| (row.timestamp, row.chain, row.level));
    let ids: Vec<BackupId> = rows.iter().map(|row| row.id.clone()).collect();
    rows.iter_mut().zip(shortened(&ids)).for_each(|(row, short)| row.short_id = short);
    strays.sort_unstable();
    strays.dedup();
    let damaged = snapshots.damaged.iter().map(|(id, error)| (id.to_string(), error.to_string())).collect();
    Ok(Listing { rows, damaged, strays })
}

/// The row of a snapshot. That it could be read is all that is known of it here; `check` looks further.
fn snapshot(id: ObjectId, snapshot: &Snapshot, is_encrypted: Option<bool>) -> Row {
    Row {
        id: BackupId::of_snapshot(id),
        short_id: String::new(),
        engine: dedup::NAME.to_owned(),
        series: select::series_of(snapshot).to_string(),
        host: Some(snapshot.host.clone()),
        name: Some(snapshot.name.clone()),
        level: 0,
        chain: snapshot.time.seconds,
        timestamp: snapshot.time.seconds,
        problem: None,
        stored_bytes: Some(snapshot.added_bytes),
        files: Some(snapshot.files),
        bytes: Some(snapshot.bytes),
        errors: Some(snapshot.errors),
        compression: None,
        encryption: is_encrypted,
        paths: snapshot.paths.clone(),
        tags: snapshot.tags.clone(),
        by_icecore: Some(true),
    }
}

/// The row of a level, if it is meant.
fn level(
    repository: &Repository,
    filter: &Filter,
    chain: &Chain,
    location: BackupLocation,
) -> Result<Option<Row>> {
    let path = of_the_row(repository.path(chain, location.entry))?;
    let mut problem = match &path {
        Ok(path) => of_the_row(repository.verify_sizes(path))?.err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    let step = match path {
        Ok(mut path) => path.pop(),
        // What is missing may be another level.
        Err(_) => of_the_row(repository.step(location.clone()))?.ok(),
    };
    let stored_bytes = match of_the_row(repository.storage().stat(&location.data()?))? {
        Ok(stat) => Some(stat.size_bytes),
        Err(error) => {
            problem.get_or_insert_with(|| error.to_string());
            None
        }
    };
    let details = step.as_ref().and_then(|step| step.document.details.as_ref());
    let report = details.map(|details| &details.report);
    if !filter.accepts_level(report) {
        return Ok(None);
    }
    Ok(Some(Row {
        id: BackupId::of(&location),
        short_id: String::new(),
        engine: location.engine.clone(),
        series: location.name.to_string(),
        host: report.map(|report| report.host.clone()),
        name: report.map(|report| report.name.clone()),
        level: location.entry.level.number(),
        chain: location.chain.0,
        timestamp: location.entry.timestamp.0,
        problem,
        stored_bytes,
        files: report.map(|report| report.files),
        bytes: report.map(|report| report.bytes),
        errors: report.map(|report| report.errors),
        compression: step.as_ref().and_then(|step| step.document.compression.clone()),
        encryption: step.as_ref().map(|step| step.document.encryption),
        paths: report.map(|report| report.paths.clone()).unwrap_or_default(),
        tags: report.map(|report| report.tags.clone()).unwrap_or_default(),
        by_icecore: step.as_ref().map(|step| step.document.details.is_some()),
    }))
}

/// What is wrong with a backup, or cannot be known of it, is told in its row. (Nothing is listed while one is made.)
fn of_the_row<T>(outcome: Result<T>) -> Result<Result<T>> {
    match outcome {
        Err(error) if !is_of_the_backup(&error) => Err(error),
        other => Ok(other),
    }
}

fn is_of_the_backup(error: &Error) -> bool {
    matches!(error.kind(), Kind::Damaged | Kind::Unsupported | Kind::NotFound | Kind::Io | Kind::Denied)
}
