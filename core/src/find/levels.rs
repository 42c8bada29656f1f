//! Finding in the levels of chains, each of which tells its whole tree.

use super::{Match, Options, Report, Search, Version, described, is_same_version};
use crate::engine::dedup::tree::Entry;
use crate::error::{Error, Kind, Result};
use crate::monitor::{Event, Monitor};
use crate::repository::{Chain, Repository};
use crate::select;
use crate::view::levels::Level;
use crate::view::{self, Named};
use std::collections::BTreeMap;

/// Looks into one level.
///
/// # Errors
/// As [`super::run`].
pub(super) fn in_one(
    level: &mut Level<'_>,
    options: &Options<'_>,
    found: &mut dyn FnMut(&Match<'_>) -> Result<()>,
) -> Result<Report> {
    let named = level.named().clone();
    let mut report = Report { backups: 1, ..Report::default() };
    level.walk(&options.place.path, &mut |path, entry| {
        if !options.wanted.accepts(view::key_of(path, entry), entry) {
            return Ok(());
        }
        report.matches += 1;
        found(&Match { path, entry, first: &named, last: &named, backups: 1 })
    })?;
    Ok(report)
}

/// Looks into all levels of all series that are meant, series by series.
///
/// # Errors
/// As [`super::run`]. A backup that cannot be looked into is told and counted.
pub(super) fn in_all(
    repository: &Repository,
    options: &Options<'_>,
    report: &mut Report,
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(&Match<'_>) -> Result<()>,
) -> Result<()> {
    let (series, strays) = select::series(repository, &options.which.filter)?;
    for stray in &strays {
        monitor.event(Event::Warning(&format!("passed over {stray}, which is no backup")));
    }
    for one in &series {
        let mut search = Search { options, versions: BTreeMap::new(), count: 0 };
        let mut backups: Vec<Named> = Vec::new();
        for chain in &repository.chains(&one.engine, &one.name)?.chains {
            search.chain(repository, chain, &mut backups, report, monitor)?;
        }
        report.backups += backups.len() as u64;
        report.matches += search.hand_out(&backups, found)?;
    }
    Ok(())
}

impl Search<'_> {
    fn chain(
        &mut self,
        repository: &Repository,
        chain: &Chain,
        backups: &mut Vec<Named>,
        report: &mut Report,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let which = &self.options.which;
        for entry in &chain.backups {
            monitor.check()?;
            let location = chain.location(*entry);
            if which.at.is_some_and(|at| entry.timestamp > at) {
                continue;
            }
            if which.filter.looks_at_details() {
                let step = repository.step(location.clone());
                let details = step.as_ref().ok().and_then(|step| step.document.details.as_ref());
                if !which.filter.accepts_level(details.map(|details| &details.report)) {
                    continue;
                }
            }
            let level = Level::open(repository, chain, *entry, self.options.means, monitor);
            match level.and_then(|mut level| Ok((self.of_level(&mut level)?, level.named().clone()))) {
                Ok((entries, named)) => {
                    self.take(backups.len(), entries)?;
                    backups.push(named);
                }
                Err(error) if concerns_one(&error) => {
                    let text = format!("cannot look into the backup {location}: {error}");
                    monitor.event(Event::Warning(&text));
                    report.damaged += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What is found in a level: all of it is known before any counts.
    fn of_level(&self, level: &mut Level<'_>) -> Result<Vec<(Vec<u8>, Entry)>> {
        let mut entries = Vec::new();
        let walked = level.walk(&self.options.place.path, &mut |path, entry| {
            if self.options.wanted.accepts(view::key_of(path, entry), entry) {
                entries.push((path.to_vec(), described(entry)));
                self.check_number_of(entries.len())?;
            }
            Ok(())
        });
        match walked {
            // A path may come to be later.
            Err(error) if error.kind() == Kind::NotFound && entries.is_empty() => Ok(entries),
            other => other.map(|()| entries),
        }
    }

    /// Takes in what the backup of this number has. All before it have been taken in.
    fn take(&mut self, number: usize, entries: Vec<(Vec<u8>, Entry)>) -> Result<()> {
        for (path, entry) in entries {
            let versions = self.versions.entry(path).or_default();
            match versions.last_mut() {
                Some(version)
                    if version.last == number.checked_sub(1) && is_same_version(&version.entry, &entry) =>
                {
                    version.last = Some(number);
                }
                _ => {
                    versions.push(Version { entry, first: number, last: Some(number) });
                    self.count += 1;
                }
            }
        }
        self.check_number_of(self.count)
    }
}

/// Whether the trouble is that of one backup, and others can be looked into all the same.
fn concerns_one(error: &Error) -> bool {
    matches!(error.kind(), Kind::Damaged | Kind::Unsupported | Kind::NotFound)
}
