//! The verb `find`: entries by name, type, time and size, in one backup or in all of them.
//!
//! Through all deduplicated backups, the first of a series is read whole and every later one by what differs from the one before it,
//! so that a series of backups costs little more than one. Each backup of a chain is gone through by itself (`levels`).

mod levels;

use crate::engine::dedup::tree::{self, Change, Content, Entry, Kept, Key, Known};
use crate::error::{Error, Kind, Result};
use crate::limits::FOUND_VERSIONS;
use crate::monitor::{Event, Monitor};
use crate::repository::Repository;
use crate::repository::vault::{ObjectId, Snapshot};
use crate::select;
use crate::select::place::Place;
use crate::time::FileTime;
use crate::tree::attributes::FileKind;
use crate::tree::filter::Filter;
use crate::view::levels::{Level, Means};
use crate::view::{self, Backup, Either, Named, View, Which};
use std::collections::BTreeMap;

/// What to look for, and where.
pub struct Options<'a> {
    /// Which backups count.
    pub which: Which,
    /// Which one (only without `all`), and where in it.
    pub place: Place,
    /// Whether to look into every backup that counts.
    pub all: bool,
    /// What to look for.
    pub wanted: Wanted,
    /// What levels of chains are read with.
    pub means: Means<'a>,
}

/// What to look for: all of it must be so. What is `None` or empty is not looked at. An entry of which only the name is known has
/// neither times nor a size to be found by.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What these patterns would leave out is what is meant: as in .gitignore they are over names, or, with a slash in them,
    /// over paths from the root.
    pub patterns: Option<Filter>,
    /// Types, one of which it is.
    pub kinds: Vec<FileKind>,
    /// Changed after this.
    pub newer: Option<FileTime>,
    /// Changed before this.
    pub older: Option<FileTime>,
    /// More bytes than this; only files have any.
    pub larger: Option<u64>,
    /// Fewer bytes than this; only files have any.
    pub smaller: Option<u64>,
}

impl Wanted {
    /// Patterns to look for; none of them look for everything.
    ///
    /// # Errors
    /// `Invalid`, naming the first that cannot be understood.
    pub fn patterns(patterns: &[String]) -> Result<Option<Filter>> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let filter = Filter::none().exclude(patterns);
        filter
            .map(Some)
            .map_err(|error| Error::invalid("not a pattern to find by:", error.subject()).because(error))
    }

    /// Whether an entry is meant.
    fn accepts(&self, key: Key<'_>, entry: &Entry) -> bool {
        let is_file = entry.kind == FileKind::File;
        let asks_more = [self.newer, self.older].iter().any(Option::is_some)
            || [self.larger, self.smaller].iter().any(Option::is_some);
        if entry.known == Known::Name && asks_more {
            return false;
        }
        (self.kinds.is_empty() || self.kinds.contains(&entry.kind))
            && self.newer.is_none_or(|time| entry.mtime > time)
            && self.older.is_none_or(|time| entry.mtime < time)
            && self.larger.is_none_or(|size| is_file && entry.size_bytes > size)
            && self.smaller.is_none_or(|size| is_file && entry.size_bytes < size)
            && self.patterns.as_ref().is_none_or(|patterns| {
                let path = view::path_of(key);
                !path.is_empty() && patterns.excludes(&path, entry.kind == FileKind::Directory)
            })
    }
}

/// A version of an entry, and the backups that hold it.
#[derive(Debug)]
pub struct Match<'a> {
    /// Where, from the root of the backup.
    pub path: &'a [u8],
    /// The entry, without its content, attributes and holes.
    pub entry: &'a Entry,
    /// The oldest backup that holds this version.
    pub first: &'a Named,
    /// The newest one.
    pub last: &'a Named,
    /// How many there are from the one to the other; they all hold it.
    pub backups: u64,
}

/// What was looked through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Backups.
    pub backups: u64,
    /// What was handed out.
    pub matches: u64,
    /// Backups that could not be looked into.
    pub damaged: u64,
}

/// Hands out what was found: in one backup in the order of its tree; in all of them series by series, by path and time.
///
/// # Errors
/// `NotFound`, `Invalid` (which backup?), `Limit` when too much is found in all backups, what `found` fails with; of a level as its
/// engine has it; `Damaged`, or as the storage has it.
pub fn run(
    repository: &Repository,
    options: &Options<'_>,
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(&Match<'_>) -> Result<()>,
) -> Result<Report> {
    if options.all {
        let mut report = Report::default();
        in_all(repository, options, &mut report, monitor, found)?;
        levels::in_all(repository, options, &mut report, monitor, found)?;
        return Ok(report);
    }
    let (backup, index) = match view::choose_either_at(repository, &options.which, &options.place, monitor)? {
        Either::Snapshot(backup, index) => (*backup, index),
        Either::Level { chain, entry } => {
            let mut level = Level::open(repository, &chain, entry, options.means, monitor)?;
            return levels::in_one(&mut level, options, found);
        }
    };
    let named = backup.named();
    let view = View::open(repository, index, monitor)?;
    let mut report = Report { backups: 1, ..Report::default() };
    view::walk(view.chunks(), &backup.snapshot, &options.place.path, monitor, &mut |key, entry| {
        if !options.wanted.accepts(key, entry) {
            return Ok(());
        }
        report.matches += 1;
        found(&Match {
            path: &view::path_of(key),
            entry: &described(entry),
            first: &named,
            last: &named,
            backups: 1,
        })
    })?;
    Ok(report)
}

/// Looks into all deduplicated backups, if the repository has a place for them.
fn in_all(
    repository: &Repository,
    options: &Options<'_>,
    report: &mut Report,
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(&Match<'_>) -> Result<()>,
) -> Result<()> {
    if repository.vault().is_none() {
        return Ok(());
    }
    // The index is not older than the list of backups, and so has all that they need.
    let snapshots = select::snapshots(repository, &options.which.filter)?;
    let view = View::open(repository, None, monitor)?;
    for (id, error) in &snapshots.damaged {
        monitor.event(Event::Warning(&format!("cannot look into the damaged backup {id}: {error}")));
    }
    report.damaged += snapshots.damaged.len() as u64;
    for backups in by_series(snapshots.found, options.which.at) {
        report.backups += backups.len() as u64;
        let mut search = Search { options, versions: BTreeMap::new(), count: 0 };
        for number in 0..backups.len() {
            search.look_into(&view, &backups, number, monitor)?;
        }
        let named: Vec<Named> = backups.iter().map(Backup::named).collect();
        report.matches += search.hand_out(&named, found)?;
    }
    Ok(())
}

/// Backups of one host and name each, oldest first.
fn by_series(
    snapshots: Vec<(ObjectId, Snapshot)>,
    at: Option<crate::time::Timestamp>,
) -> impl Iterator<Item = Vec<Backup>> {
    let mut series: BTreeMap<(String, String), Vec<Backup>> = BTreeMap::new();
    for (id, snapshot) in snapshots {
        if at.is_none_or(|at| snapshot.time.seconds <= at.0) {
            let key = (snapshot.host.clone(), snapshot.name.clone());
            series.entry(key).or_default().push(Backup::new(id, snapshot));
        }
    }
    series.into_values()
}

/// A version that was found: from which backup on, and to which.
struct Version {
    entry: Entry,
    first: usize,
    /// `None` as long as no later backup lacks it.
    last: Option<usize>,
}

struct Search<'a> {
    options: &'a Options<'a>,
    versions: BTreeMap<Vec<u8>, Vec<Version>>,
    count: usize,
}

impl Search<'_> {
    /// Takes in the backup of this number. All before it have been.
    fn look_into(
        &mut self,
        view: &View<'_>,
        backups: &[Backup],
        number: usize,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let top = self.options.place.path.as_slice();
        let snapshot = &backups[number].snapshot;
        let result = match number.checked_sub(1) {
            None => {
                let all = view::walk(view.chunks(), snapshot, top, monitor, &mut |key, entry| {
                    self.changed(number, key, None, Some(entry))
                });
                // A path may come to be later.
                all.or_else(|error| if error.kind() == Kind::NotFound { Ok(()) } else { Err(error) })
            }
            Some(before) => {
                let before = &backups[before].snapshot.root;
                tree::diff(view.chunks(), before, &snapshot.root, &mut |difference| {
                    monitor.check()?;
                    if !view::is_within(&view::path_of(difference.key), top) {
                        return Ok(());
                    }
                    let (old, new) = match difference.change {
                        Change::Added(new) => (None, Some(new)),
                        Change::Removed(old) => (Some(old), None),
                        Change::Changed(old, new) => (Some(old), Some(new)),
                    };
                    self.changed(number, difference.key, old, new)
                })
            }
        };
        result.map_err(|error| error.while_doing("cannot look into backup", backups[number].id.short()))
    }

    fn changed(
        &mut self,
        number: usize,
        key: Key<'_>,
        old: Option<&Entry>,
        new: Option<&Entry>,
    ) -> Result<()> {
        let wanted = |entry: &&Entry| self.options.wanted.accepts(key, entry);
        let (old, new) = (old.filter(wanted), new.filter(wanted));
        if let (Some(old), Some(new)) = (old, new)
            && is_same_version(old, new)
        {
            return Ok(());
        }
        if old.is_none() && new.is_none() {
            return Ok(());
        }
        let versions = self.versions.entry(view::path_of(key)).or_default();
        if old.is_some()
            && let Some(last) = versions.iter_mut().rfind(|version| version.last.is_none())
        {
            last.last = Some(number.saturating_sub(1));
        }
        if let Some(new) = new {
            versions.push(Version { entry: described(new), first: number, last: None });
            self.count += 1;
        }
        self.check_number_of(self.count)
    }

    fn check_number_of(&self, versions: usize) -> Result<()> {
        if versions <= FOUND_VERSIONS {
            return Ok(());
        }
        Err(Error::new(Kind::Limit, "more is found than can be remembered:")
            .on(format!("{FOUND_VERSIONS} versions of files"))
            .hint("look for less: a longer pattern, a path below which to look, or one backup"))
    }

    fn hand_out(self, backups: &[Named], found: &mut dyn FnMut(&Match<'_>) -> Result<()>) -> Result<u64> {
        let mut matches = 0;
        for (path, versions) in &self.versions {
            for version in versions {
                let last = version.last.unwrap_or(backups.len() - 1);
                matches += 1;
                found(&Match {
                    path,
                    entry: &version.entry,
                    first: &backups[version.first],
                    last: &backups[last],
                    backups: (last - version.first + 1) as u64,
                })?;
            }
        }
        Ok(matches)
    }
}

/// Whether two entries are one version to a user: what tells them apart may be where the content is stored, as long as the kernel
/// has counted no change.
fn is_same_version(old: &Entry, new: &Entry) -> bool {
    let described = |entry: &Entry| {
        (entry.kind, entry.mode, entry.mtime, entry.size_bytes, entry.target.clone(), entry.rdev)
    };
    described(old) == described(new)
        && old.known == new.known
        && old.owner == new.owner
        && old.xattrs == new.xattrs
        && (old.content == new.content || old.ctime == new.ctime)
}

/// The entry without what may be long.
fn described(entry: &Entry) -> Entry {
    Entry {
        owner: entry.owner.clone(),
        target: entry.target.clone(),
        content: Content::None,
        xattrs: Kept::None,
        holes: Kept::None,
        ..*entry
    }
}
