//! The verb `copy`: takes backups over into another repository, which may have other keys. What is there already is left alone, so
//! that a copy that was cut short, or a later one, moves only what is missing.

mod anew;
mod levels;
mod snapshots;

pub use anew::Anew;

use crate::codec::age::Recipients;
use crate::error::{Error, Kind, Result};
use crate::monitor::Monitor;
use crate::repository::vault::Process;
use crate::repository::{BackupId, Repository};
use crate::select::{self, Chosen, Filter};
use crate::spool::Scratch;
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// What to copy, and how.
pub struct Options<'a> {
    /// Which backups.
    pub filter: Filter,
    /// Of these only those that these words mean (ids, heads of ids, `latest` …); all of them when there is none.
    pub backups: Vec<String>,
    /// With what keys chains are stored; as they are, with those that they have, without.
    pub anew: Option<Anew<'a>>,
    /// Threads that fetch.
    pub workers: usize,
    /// Read everything, write nothing.
    pub dry_run: bool,
    /// Who copies, for the record.
    pub host: String,
    /// The process that copies, for the record.
    pub process: Process,
    /// The time now, for the record.
    pub now: Timestamp,
}

/// What became of a backup.
#[derive(Debug)]
pub enum Outcome {
    /// It is there now; with `dry_run`, it would be.
    Copied,
    /// It was there before.
    Present,
    /// It could not be copied.
    Failed(Error),
}

/// A backup that was meant.
#[derive(Debug)]
pub struct Row {
    /// Its id in the repository that is copied from.
    pub id: BackupId,
    /// What it is: engine, series and time, for people.
    pub backup: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// How much was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Backups that are there now and were not.
    pub copied: u64,
    /// Backups that were there before.
    pub present: u64,
    /// Backups that could not be copied.
    pub failed: u64,
    /// Bytes that were added.
    pub added_bytes: u64,
}

/// Copies what is meant from one repository to another; each backup goes to `tell` when it is there.
///
/// # Errors
/// As either storage has it; `Interrupted`; `NotFound` for an id that no backup has. What is wrong with one backup is told of that one,
/// and counted.
pub fn run(
    from: &Repository,
    to: &Repository,
    options: &Options<'_>,
    scratch: &Scratch,
    monitor: &dyn Monitor,
    tell: &mut dyn FnMut(&Row) -> Result<()>,
) -> Result<Report> {
    let mut named = BTreeSet::new();
    for text in &options.backups {
        named.insert(match select::one(from, &options.filter, &options.host, text, None)?.backup {
            Chosen::Snapshot { id, .. } => BackupId::of_snapshot(id),
            Chosen::Level { chain, entry } => BackupId::of(&chain.location(entry)),
        });
    }
    let mut copy = Copy {
        from,
        to,
        options,
        scratch,
        monitor,
        tell,
        report: Report::default(),
        named,
        new_key: None,
        has_warned: false,
    };
    copy.snapshots()?;
    copy.levels()?;
    Ok(copy.report)
}

/// A copy that is being made.
struct Copy<'a> {
    from: &'a Repository,
    to: &'a Repository,
    options: &'a Options<'a>,
    scratch: &'a Scratch,
    monitor: &'a dyn Monitor,
    tell: &'a mut dyn FnMut(&Row) -> Result<()>,
    report: Report,
    /// The backups that were named, if any were.
    named: BTreeSet<BackupId>,
    /// The key of new chains under a password, with what it is locked up in: one for all of them.
    new_key: Option<(Recipients, Vec<u8>)>,
    /// Whether it was said what encryption for Freezer is worth.
    has_warned: bool,
}

impl Copy<'_> {
    /// Whether somebody asked for this one.
    fn is_wanted(&self, id: &BackupId) -> bool {
        self.named.is_empty() || self.named.contains(id)
    }

    fn row(&mut self, id: &BackupId, backup: String, outcome: Outcome) -> Result<()> {
        match &outcome {
            Outcome::Copied => self.report.copied += 1,
            Outcome::Present => self.report.present += 1,
            Outcome::Failed(_) => self.report.failed += 1,
        }
        (self.tell)(&Row { id: id.clone(), backup, outcome })
    }
}

/// Whether an error says something of one backup, and not of a storage.
fn concerns_one(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Damaged | Kind::NotFound | Kind::Unsupported | Kind::Limit | Kind::AlreadyExists | Kind::Busy
    )
}
