//! Which backups a user means: series by host, name and engine, one backup by id, `latest` or time. A repository may hold
//! levels of chains and snapshots of the vault beside each other; here both are backups.

pub mod place;

use crate::engine::dedup;
use crate::error::{Error, Kind, Result};
use crate::level::BackupEntry;
use crate::monitor::Monitor;
use crate::name::BackupName;
use crate::repository::document::Report;
use crate::repository::select::Pickable;
use crate::repository::vault::{Index, ObjectId, Snapshot, Snapshots, Vault};
use crate::repository::{BackupId, BackupLocation, Chain, Repository, Series, select};
use crate::time::Timestamp;
use std::cmp::Ordering;
use std::fmt;

const SHOWN_BY: &str = "icecore list shows what there is";

/// Which backups are meant; what is `None` or empty is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The name of the backup.
    pub name: Option<String>,
    /// The host it belongs to.
    pub host: Option<String>,
    /// The engine that made it.
    pub engine: Option<String>,
    /// One of the paths that were backed up, as they were given then.
    pub path: Option<Vec<u8>>,
    /// Words the user called it by: it has all of them.
    pub tags: Vec<String>,
}

impl Filter {
    /// Whether a series is meant. On storage host and name are one word, so that with one of them given alone every way of
    /// taking the word apart counts.
    pub fn accepts(&self, series: &BackupName) -> bool {
        match (&self.host, &self.name) {
            (Some(host), Some(name)) => series.as_str() == format!("{host}_{name}"),
            (Some(host), None) => series.starts_with_host(host),
            (None, Some(name)) => series.ends_with_name(name),
            (None, None) => true,
        }
    }

    /// Whether backups of an engine are meant.
    pub fn accepts_engine(&self, engine: &str) -> bool {
        self.engine.as_ref().is_none_or(|wanted| wanted == engine)
    }

    /// Whether a snapshot is meant, its engine apart.
    pub fn accepts_snapshot(&self, snapshot: &Snapshot) -> bool {
        self.host.as_ref().is_none_or(|host| *host == snapshot.host)
            && self.name.as_ref().is_none_or(|name| *name == snapshot.name)
            && self.accepts_details(&snapshot.paths, &snapshot.tags)
    }

    /// Whether a level of a series that is meant is meant as well. One whose record cannot be read is of no path and no tag.
    pub fn accepts_level(&self, report: Option<&Report>) -> bool {
        match report {
            Some(report) => self.accepts_details(&report.paths, &report.tags),
            None => !self.looks_at_details(),
        }
    }

    /// Whether more is asked of a backup than its series.
    pub fn looks_at_details(&self) -> bool {
        self.path.is_some() || !self.tags.is_empty()
    }

    fn accepts_details(&self, paths: &[Vec<u8>], tags: &[String]) -> bool {
        self.path.as_ref().is_none_or(|path| paths.contains(path))
            && self.tags.iter().all(|tag| tags.contains(tag))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("name", &self.name), ("host", &self.host), ("engine", &self.engine)];
        let mut given: Vec<String> =
            parts.iter().filter_map(|(word, value)| Some(format!("{word} {}", value.as_ref()?))).collect();
        given.extend(self.path.as_ref().map(|path| format!("path {}", String::from_utf8_lossy(path))));
        given.extend(self.tags.iter().map(|tag| format!("tag {tag}")));
        f.write_str(&given.join(", "))
    }
}

/// The series of levels that are meant, and the strays met on the way.
///
/// # Errors
/// As the storage has it.
pub fn series(repository: &Repository, filter: &Filter) -> Result<(Vec<Series>, Vec<String>)> {
    let listing = repository.series(filter.engine.as_deref())?;
    let meant = listing.series.into_iter().filter(|series| filter.accepts(&series.name)).collect();
    Ok((meant, listing.strays))
}

/// The snapshots that are meant, oldest first; none where the vault is not open. Of those that cannot be read nobody knows whether
/// they are meant: they are there as damaged.
///
/// # Errors
/// As the storage has it.
pub fn snapshots(repository: &Repository, filter: &Filter) -> Result<Snapshots> {
    Ok(snapshots_beside(repository, filter, |_| Ok(()))?.0)
}

/// The same, with `work` beside it where snapshots are read at all.
fn snapshots_beside<B>(
    repository: &Repository,
    filter: &Filter,
    work: impl FnOnce(&Vault) -> Result<B>,
) -> Result<(Snapshots, Option<B>)> {
    let Some(vault) = repository.vault().filter(|_| filter.accepts_engine(dedup::NAME)) else {
        return Ok((Snapshots { found: Vec::new(), damaged: Vec::new(), strays: Vec::new() }, None));
    };
    let (state, done) = vault.recent_state_beside(|| work(vault))?;
    let mut listed = state.snapshots;
    listed.found.retain(|(_, snapshot)| filter.accepts_snapshot(snapshot));
    Ok((listed, Some(done)))
}

/// Host and name of a snapshot as one word, as levels have them.
pub fn series_of(snapshot: &Snapshot) -> BackupName {
    BackupName::from_storage(&format!("{}_{}", snapshot.host, snapshot.name))
}

/// A backup, however it is kept.
#[derive(Debug)]
enum Backup {
    Level(BackupLocation),
    Snapshot(ObjectId, Box<Snapshot>),
}

impl Backup {
    fn timestamp(&self) -> Timestamp {
        match self {
            Backup::Level(location) => location.entry.timestamp,
            Backup::Snapshot(_, snapshot) => Timestamp(snapshot.time.seconds),
        }
    }
}

impl fmt::Display for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Backup::Level(location) => location.fmt(f),
            Backup::Snapshot(_, snapshot) => {
                write!(f, "{}/{}/{}", dedup::NAME, series_of(snapshot), snapshot.time.seconds)
            }
        }
    }
}

impl Pickable for Backup {
    fn id(&self) -> BackupId {
        match self {
            Backup::Level(location) => BackupId::of(location),
            Backup::Snapshot(id, _) => BackupId::of_snapshot(*id),
        }
    }

    fn by_age(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Backup::Level(a), Backup::Level(b)) => a.by_age(b),
            (Backup::Snapshot(a_id, a), Backup::Snapshot(b_id, b)) => (a.time, a_id).cmp(&(b.time, b_id)),
            // Levels know seconds only. In one second the snapshot counts as the newer, as a list shows them.
            (Backup::Level(_), Backup::Snapshot(..)) => {
                self.timestamp().cmp(&other.timestamp()).then(Ordering::Less)
            }
            (Backup::Snapshot(..), Backup::Level(_)) => other.by_age(self).reverse(),
        }
    }
}

/// The one backup that is meant, and what was met on the way to it.
#[derive(Debug)]
pub struct Selected {
    /// Which one.
    pub backup: Chosen,
    /// What was passed over.
    pub strays: Vec<String>,
}

/// A backup with what is needed to read it.
#[derive(Debug)]
pub enum Chosen {
    /// A level, with its chain.
    Level {
        /// The chain it is in.
        chain: Chain,
        /// Which backup of the chain.
        entry: BackupEntry,
    },
    /// A snapshot of the vault.
    Snapshot {
        /// Its object.
        id: ObjectId,
        /// What it says.
        snapshot: Box<Snapshot>,
    },
}

/// Finds the one backup that is meant: `text` is an id, the head of one, `latest` or `latest~N`; with `at`,
/// what is newer than that time does not count. Where several series are left, that of `this_host` is meant.
///
/// # Errors
/// `NotFound` when there is none, `Invalid` when it is not clear which one is meant; as the storage has it.
pub fn one(
    repository: &Repository,
    filter: &Filter,
    this_host: &str,
    text: &str,
    at: Option<Timestamp>,
) -> Result<Selected> {
    let (series, snapshots) = match repository.vault() {
        Some(vault) => vault.beside(|| series(repository, filter), || snapshots(repository, filter))?,
        None => (series(repository, filter)?, snapshots(repository, filter)?),
    };
    of_these(repository, filter, this_host, text, at, series, snapshots)
}

/// As [`one`]; where each request waits for an answer from far away, the index is loaded beside it. It is given only with a snapshot,
/// and has all that this one needs.
///
/// # Errors
/// As [`one`], and with a snapshot those of [`Index::load_present`].
pub fn one_with_index(
    repository: &Repository,
    filter: &Filter,
    this_host: &str,
    text: &str,
    at: Option<Timestamp>,
    monitor: &dyn Monitor,
) -> Result<(Selected, Option<Index>)> {
    let far = repository.vault().filter(|vault| vault.storage().capabilities().parallel);
    let Some(vault) = far else { return Ok((one(repository, filter, this_host, text, at)?, None)) };
    // Trouble with it counts when it is known that it is needed.
    let load = |vault: &Vault| Ok(Index::load_present(vault, monitor, true));
    let list = || series(repository, filter);
    let (series, (snapshots, index)) = vault.beside(list, || snapshots_beside(repository, filter, load))?;
    let selected = of_these(repository, filter, this_host, text, at, series, snapshots)?;
    match selected.backup {
        Chosen::Snapshot { .. } => Ok((selected, index.transpose()?)),
        Chosen::Level { .. } => Ok((selected, None)),
    }
}

/// The one that is meant among these series and snapshots.
fn of_these(
    repository: &Repository,
    filter: &Filter,
    this_host: &str,
    text: &str,
    at: Option<Timestamp>,
    (mut levels, mut strays): (Vec<Series>, Vec<String>),
    mut snapshots: Snapshots,
) -> Result<Selected> {
    strays.append(&mut snapshots.strays);
    strays.extend(snapshots.damaged.iter().map(|(id, error)| format!("the damaged snapshot {id} ({error})")));
    let by_id = at.is_none() && !text.starts_with("latest");
    if !by_id && let Some((id, _)) = snapshots.damaged.first() {
        return Err(Error::damaged(
            "a backup cannot be read, and may be the one that is meant:",
            id.to_string(),
        )
        .hint("see what there is with: icecore list; and name the backup by its id"));
    }
    if !by_id && let Some(group) = the_group(&levels, &snapshots.found, filter, this_host)? {
        levels.retain(|series| series.name == group.word);
        snapshots.found.retain(|(_, snapshot)| group.has(snapshot));
    }
    let (locations, more) = repository.backups(&levels)?;
    strays.extend(more);
    let mut backups = Vec::with_capacity(locations.len() + snapshots.found.len());
    for location in locations {
        if !filter.looks_at_details() || filter.accepts_level(report(repository, &location)?.as_ref()) {
            backups.push(Backup::Level(location));
        }
    }
    backups.extend(snapshots.found.into_iter().map(|(id, one)| Backup::Snapshot(id, Box::new(one))));
    if backups.is_empty() && filter != &Filter::default() {
        return Err(Error::new(Kind::NotFound, "no backups of").on(filter.to_string()).hint(SHOWN_BY));
    }
    let found = match at {
        Some(at) => {
            backups.retain(|one| one.timestamp() <= at);
            find_at(&backups, text, at)?.id()
        }
        None => select::find(&backups, text)?.id(),
    };
    let found = backups.into_iter().find(|one| one.id() == found);
    let backup = match found {
        Some(Backup::Snapshot(id, snapshot)) => Chosen::Snapshot { id, snapshot },
        Some(Backup::Level(location)) => in_its_chain(repository, &location)?,
        None => return Err(Error::new(Kind::NotFound, "no backup").on(text)),
    };
    Ok(Selected { backup, strays })
}

fn in_its_chain(repository: &Repository, location: &BackupLocation) -> Result<Chosen> {
    let chains = repository.chains(&location.engine, &location.name)?.chains;
    let chain = chains.into_iter().find(|chain| chain.start == location.chain);
    let chain =
        chain.ok_or_else(|| Error::new(Kind::NotFound, "was removed meanwhile:").on(location.to_string()))?;
    Ok(Chosen::Level { chain, entry: location.entry })
}

/// What the document of a level says of its run, as far as it can be read.
fn report(repository: &Repository, location: &BackupLocation) -> Result<Option<Report>> {
    match repository.step(location.clone()) {
        Ok(step) => Ok(step.document.details.map(|details| details.report)),
        Err(error) if matches!(error.kind(), Kind::Damaged | Kind::NotFound | Kind::Unsupported) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `latest` as it was at a time; ids need no time.
fn find_at<'a>(in_time: &'a [Backup], text: &str, at: Timestamp) -> Result<&'a Backup> {
    if !text.starts_with("latest") {
        return Err(
            Error::invalid("a time and an id both say which backup:", text).hint("leave out one of them")
        );
    }
    if in_time.is_empty() {
        let none = Error::new(Kind::NotFound, "no backup is as old as").on(at.rfc3339());
        return Err(none.hint(SHOWN_BY));
    }
    select::find(in_time, text)
}

/// The backups of one host and name, whatever engines made them. Snapshots know both apart, levels do not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    word: BackupName,
    apart: Option<(String, String)>,
    engines: Vec<String>,
}

impl Group {
    fn has(&self, snapshot: &Snapshot) -> bool {
        self.apart.as_ref().is_some_and(|(host, name)| *host == snapshot.host && *name == snapshot.name)
    }
}

/// The one series that is meant; `None` when there is none at all.
fn the_group(
    levels: &[Series],
    snapshots: &[(ObjectId, Snapshot)],
    filter: &Filter,
    this_host: &str,
) -> Result<Option<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for (_, snapshot) in snapshots {
        if !groups.iter().any(|group| group.has(snapshot)) {
            let apart = Some((snapshot.host.clone(), snapshot.name.clone()));
            let engines = vec![dedup::NAME.to_owned()];
            groups.push(Group { word: series_of(snapshot), apart, engines });
        }
    }
    for series in levels {
        match groups.iter_mut().find(|group| group.word == series.name) {
            Some(group) => group.engines.push(series.engine.clone()),
            None => {
                let engines = vec![series.engine.clone()];
                groups.push(Group { word: series.name.clone(), apart: None, engines });
            }
        }
    }
    if groups.len() > 1 {
        return the_one_of_this_host(groups, filter, this_host).map(Some);
    }
    Ok(groups.pop())
}

/// Of how many series the names are told when nobody knows which one is meant.
const SERIES_NAMED: usize = 8;

fn the_one_of_this_host(groups: Vec<Group>, filter: &Filter, this_host: &str) -> Result<Group> {
    let own = Filter { host: filter.host.clone().or_else(|| Some(this_host.to_owned())), ..filter.clone() };
    let is_own = |group: &&Group| match (&group.apart, &own.host) {
        (Some((host, _)), Some(wanted)) => host == wanted,
        _ => own.accepts(&group.word),
    };
    let of_this_host: Vec<&Group> = groups.iter().filter(is_own).collect();
    if let [one] = of_this_host.as_slice() {
        return Ok((*one).clone());
    }
    let called = |group: &Group| match &group.apart {
        Some((host, name)) => format!("{name} of {host}"),
        None => group.word.to_string(),
    };
    let mut names: Vec<String> = groups
        .iter()
        .take(SERIES_NAMED)
        .map(|group| format!("{} ({})", called(group), group.engines.join(", ")))
        .collect();
    if groups.len() > SERIES_NAMED {
        names.push(format!("and {} more", groups.len() - SERIES_NAMED));
    }
    Err(Error::invalid("several series match; which one is meant?", "")
        .hint(format!("say --name and --host, or give the id of a backup: {}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_host_and_name_together_or_alone() {
        let series = BackupName::from_storage("a_b_c");
        let filter = |host: Option<&str>, name: Option<&str>| Filter {
            host: host.map(str::to_owned),
            name: name.map(str::to_owned),
            ..Filter::default()
        };
        for (host, name, expected) in [
            (None, None, true),
            (Some("a"), None, true),
            (Some("a_b"), Some("c"), true),
            (Some("a"), Some("b_c"), true),
            (Some("a"), Some("c"), false),
            (None, Some("c"), true),
            (None, Some("bc"), false),
        ] {
            assert_eq!(filter(host, name).accepts(&series), expected, "{host:?} {name:?}");
        }
    }
}
