//! The verb `check`: whether every backup could be restored now. Without reading data: gaps, documents, objects, sizes, trees and
//! whether all they refer to is there, and as long as they take it for. With it: every level and every chunk is read, decoded and compared with its hash.

mod amount;
mod levels;
mod sessions;
mod vault;

pub use amount::Amount;
pub use sessions::{Ended, Ending, end_sessions};

use crate::engine::dedup;
use crate::error::{Error, Kind, Result};
use crate::keyring::Keyring;
use crate::monitor::Monitor;
use crate::repository::Repository;
use crate::repository::vault::Announcement;
use crate::select::Filter;
use crate::spool::Scratch;
use crate::time::Timestamp;

/// What to check.
pub struct Options<'a> {
    /// Which series.
    pub filter: Filter,
    /// How much of the data is read. Levels are read with [`Amount::Everything`] only, packs by any.
    pub read_data: Amount,
    /// Remove what killed runs left behind, if it was begun before this time. (A claim that was left beside a backup goes
    /// without a word: it means nothing.)
    pub clean_older_than: Option<Timestamp>,
    /// The time now.
    pub now: Timestamp,
    /// Whether a run that is announced is known to be over, so that its session is of no use to it.
    pub is_over: fn(&Announcement) -> bool,
    /// Threads that read and decode.
    pub workers: usize,
    /// What opens encrypted levels. Of those that it cannot open, since nothing was given for it, only the hashes are compared.
    pub keys: &'a Keyring<'a>,
}

/// What sort of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// Bytes are not what they should be.
    Damaged,
    /// An object is not there.
    Missing,
    /// A level is not there, so that what is above it cannot be restored.
    Gap,
    /// Encrypted, or of a newer version, or the storage does not give it: it cannot be checked.
    Unreadable,
    /// Freezer did not store it, so that it was lost when the backup was made.
    NeverStored,
    /// What a killed run left behind (or a running one is writing).
    Orphan,
    /// A run that was announced long ago, and of which nobody here knows whether it goes on.
    Session,
    /// Something that is no part of a repository.
    Stray,
}

impl FindingKind {
    /// The stable word for it.
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::Damaged => "damaged",
            FindingKind::Missing => "missing",
            FindingKind::Gap => "gap",
            FindingKind::Unreadable => "unreadable",
            FindingKind::NeverStored => "never stored",
            FindingKind::Orphan => "orphan",
            FindingKind::Session => "session",
            FindingKind::Stray => "stray",
        }
    }

    /// Whether a backup is the worse for it.
    pub fn is_problem(self) -> bool {
        !matches!(self, FindingKind::Orphan | FindingKind::Session | FindingKind::Stray)
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What sort of thing.
    pub kind: FindingKind,
    /// The object or backup.
    pub object: String,
    /// What is wrong with it.
    pub error: String,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Backups looked at.
    pub backups: u64,
    /// Findings that make a backup worse.
    pub problems: u64,
    /// What killed runs left behind.
    pub orphans: u64,
    /// Packs among that: a later backup takes them in, and no cleaning removes them.
    pub unindexed: u64,
    /// How many of those were removed.
    pub cleaned: u64,
    /// Bytes of packs that were read and compared.
    pub read_bytes: u64,
}

/// Checks the backups that are meant; each finding goes to `found` as it is made.
///
/// # Errors
/// When the storage cannot list, and `Interrupted`. What is wrong with a backup is a finding, and so is an object that cannot
/// be read.
pub fn run(
    repository: &Repository,
    options: &Options<'_>,
    scratch: &Scratch,
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(&Finding),
) -> Result<Report> {
    let mut check = Check { repository, options, scratch, monitor, found, report: Report::default() };
    levels::run(&mut check)?;
    if let Some(vault) = repository.vault().filter(|_| options.filter.accepts_engine(dedup::NAME)) {
        vault::run(&mut check, vault)?;
    }
    Ok(check.report)
}

struct Check<'a> {
    repository: &'a Repository,
    options: &'a Options<'a>,
    scratch: &'a Scratch,
    monitor: &'a dyn Monitor,
    found: &'a mut dyn FnMut(&Finding),
    report: Report,
}

impl Check<'_> {
    fn find(&mut self, kind: FindingKind, object: String, error: String) {
        self.report.problems += u64::from(kind.is_problem());
        (self.found)(&Finding { kind, object, error });
    }

    fn stray(&mut self, name: &str) {
        self.find(FindingKind::Stray, name.to_owned(), "no part of a repository, passed over".to_owned());
    }

    /// What is wrong with an object, which the error may speak of a part of.
    fn wrong_with(&mut self, object: &str, error: &Error) {
        self.find(kind_of(error), object.to_owned(), error.to_string());
    }

    fn wrong(&mut self, backup: &str, error: &Error) {
        let kind = kind_of(error);
        let object = if error.subject().is_empty() { backup } else { error.subject() };
        self.find(kind, object.to_owned(), error.to_string());
    }
}

fn kind_of(error: &Error) -> FindingKind {
    match error.kind() {
        Kind::Unsupported | Kind::Io | Kind::Denied => FindingKind::Unreadable,
        Kind::NotFound => FindingKind::Missing,
        _ => FindingKind::Damaged,
    }
}

/// Whether an error is about one backup, so that the others are looked at all the same. (Nothing is listed while one is.)
fn of_the_backup(error: &Error) -> bool {
    use Kind::{Damaged, Denied, Invalid, Io, Limit, NotFound, Unsupported};
    matches!(error.kind(), Damaged | Unsupported | NotFound | Limit | Invalid | Io | Denied)
}
