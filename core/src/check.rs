//! The verb `check`: whether every backup could be restored now. Without reading data: gaps, documents, objects, sizes. With it:
//! every level is read, hashed, decompressed and parsed.

use crate::chain::StoredChain;
use crate::engine::{self, Chain as _, Reading};
use crate::error::{Error, Kind, Result};
use crate::monitor::{Event, Monitor};
use crate::repository::reading::Step;
use crate::repository::{BackupLocation, Chain, Parents, Repository};
use crate::select::{self, Filter};
use crate::spool::Scratch;
use crate::time::Timestamp;

/// What to check.
pub struct Options {
    /// Which series.
    pub filter: Filter,
    /// Read every byte.
    pub read_data: bool,
    /// Remove what killed runs left behind, if it was begun before this time. (A claim that was left beside a backup goes
    /// without a word: it means nothing.)
    pub clean_older_than: Option<Timestamp>,
    /// Threads that decompress.
    pub workers: usize,
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
    /// What a killed run left behind (or a running one is writing).
    Orphan,
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
            FindingKind::Orphan => "orphan",
            FindingKind::Stray => "stray",
        }
    }

    /// Whether a backup is the worse for it.
    pub fn is_problem(self) -> bool {
        !matches!(self, FindingKind::Orphan | FindingKind::Stray)
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
    /// How many of those were removed.
    pub cleaned: u64,
}

/// Checks the series that are meant; each finding goes to `found` as it is made.
///
/// # Errors
/// When the storage cannot list, and `Interrupted`. What is wrong with a backup is a finding, and so is an object that cannot
/// be read.
pub fn run(
    repository: &Repository,
    options: &Options,
    scratch: &Scratch,
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(&Finding),
) -> Result<Report> {
    let mut check = Check { repository, options, scratch, monitor, found, report: Report::default() };
    let (series, strays) = select::series(repository, &options.filter)?;
    strays.iter().for_each(|stray| check.stray(stray));
    for one in &series {
        let listed = repository.chains(&one.engine, &one.name)?;
        listed.strays.iter().for_each(|stray| check.stray(stray));
        for chain in &listed.chains {
            check.chain(chain)?;
        }
    }
    check.remains()?;
    Ok(check.report)
}

struct Check<'a> {
    repository: &'a Repository,
    options: &'a Options,
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

    fn chain(&mut self, chain: &Chain) -> Result<()> {
        let mut parents = Parents::new();
        for entry in &chain.backups {
            self.monitor.check()?;
            self.report.backups += 1;
            let location = chain.location(*entry);
            let step = self.repository.step(location.clone());
            // Levels come from the lowest up: the parents of all that is below are known.
            parents.extend(step.iter().filter_map(|step| Some((*entry, step.parent()?))));
            if let Err(error) = chain.path_to(*entry, &parents) {
                self.find(FindingKind::Gap, location.to_string(), error.to_string());
            }
            match step.and_then(|step| self.level(step)) {
                Ok(()) => {}
                Err(error) if of_the_backup(&error) => self.wrong(&location.to_string(), &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wrong(&mut self, backup: &str, error: &Error) {
        let kind = match error.kind() {
            Kind::Unsupported | Kind::Io | Kind::Denied => FindingKind::Unreadable,
            Kind::NotFound => FindingKind::Missing,
            _ => FindingKind::Damaged,
        };
        let object = if error.subject().is_empty() { backup } else { error.subject() };
        self.find(kind, object.to_owned(), error.to_string());
    }

    /// One level alone: what is below it is looked at in its own turn.
    fn level(&self, step: Step) -> Result<()> {
        self.repository.verify_sizes(std::slice::from_ref(&step))?;
        if !self.options.read_data {
            return Ok(());
        }
        self.repository.read_engine_metadata(&step, self.scratch)?;
        let engine = engine::by_name(&step.location.engine)?;
        let object = step.location.data()?.to_string();
        let mut chain =
            StoredChain::of_one(self.repository, step, self.scratch, self.options.workers, self.monitor)?;
        let stream = chain.stream(0, &mut |input| {
            engine.verify(input, self.monitor)?;
            Ok(Reading::ToTheEnd)
        });
        stream.map_err(|error| match error.kind() {
            // The decoder knows its stream by no name.
            Kind::Io | Kind::Denied => error.while_doing("cannot read", object),
            _ => error,
        })
    }

    fn remains(&mut self) -> Result<()> {
        let remains = self.repository.remains(self.options.filter.engine.as_deref())?;
        self.claims(&remains.claims)?;
        for orphan in remains.orphans {
            if !self.options.filter.accepts(&orphan.location.name) {
                continue;
            }
            self.report.orphans += 1;
            let by = match &orphan.claimed_by {
                Some(claimant) => format!(", begun by process {} of {}", claimant.pid, claimant.host),
                None => String::new(),
            };
            let mut text =
                format!("data without a backup: {} objects, {} bytes{by}", orphan.objects, orphan.size_bytes);
            let old =
                self.options.clean_older_than.is_some_and(|limit| orphan.location.entry.timestamp < limit);
            if orphan.needed {
                text.push_str(
                    ", needed by the backups above it: its document was lost, and its data is kept",
                );
            } else if old {
                match self.repository.remove_orphan(&orphan) {
                    Ok(()) => {
                        self.report.cleaned += 1;
                        text.push_str(", removed");
                    }
                    Err(error) if error.kind() == Kind::Busy => {
                        self.monitor.event(Event::Warning(&error.to_string()))
                    }
                    Err(error) if of_the_backup(&error) => self.wrong(&orphan.location.to_string(), &error),
                    Err(error) => return Err(error),
                }
            }
            self.find(FindingKind::Orphan, orphan.location.to_string(), text);
        }
        Ok(())
    }

    /// Removes the claims of runs that were killed right after their commit. One whose run may still be about to look at it
    /// stays.
    fn claims(&mut self, claims: &[BackupLocation]) -> Result<()> {
        let Some(limit) = self.options.clean_older_than else { return Ok(()) };
        for location in claims.iter().filter(|location| self.options.filter.accepts(&location.name)) {
            // A document that cannot be read is a finding already, and says nothing of the run's age.
            let Ok(Some(details)) = self.repository.step(location.clone()).map(|step| step.document.details)
            else {
                continue;
            };
            if details.report.finished >= limit {
                continue;
            }
            match self.repository.remove_claim(location) {
                Err(error) if of_the_backup(&error) => self.wrong(&location.to_string(), &error),
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

/// Whether an error is about one backup, so that the others are looked at all the same. (Nothing is listed while one is.)
fn of_the_backup(error: &Error) -> bool {
    use Kind::{Damaged, Denied, Invalid, Io, Limit, NotFound, Unsupported};
    matches!(error.kind(), Damaged | Unsupported | NotFound | Limit | Invalid | Io | Denied)
}
