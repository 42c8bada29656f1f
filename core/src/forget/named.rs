//! Forgetting the backups that a user names by their ids.
//!
//! Invariants: all are found before any goes, and nothing goes when one of them may not. Of levels only whole chains go, so every level
//! of a chain has to be named. The last backup of a name stays unless it is said that it may go; a snapshot that cannot be read is of
//! no name, and goes when it is named.

use super::{Report, Row, Unit, row_of};
use crate::error::{Error, Kind, Result};
use crate::repository::select::{self as ids, Pickable};
use crate::repository::vault::{ObjectId, Snapshot};
use crate::repository::{BackupId, BackupLocation, Chain, Repository};
use crate::select::{self, Filter};
use crate::time::Timestamp;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Which backups go, and how.
pub struct Named {
    /// Which series they are looked for in.
    pub filter: Filter,
    /// Their ids, or the heads of them.
    pub ids: Vec<String>,
    /// Whether the last backup of a series may go.
    pub allow_last: bool,
    /// Who removes, for the record.
    pub host: String,
    /// The time now, for the record.
    pub now: Timestamp,
    /// Only say what would go.
    pub dry_run: bool,
}

/// A backup that can be named.
enum Candidate {
    Level(BackupLocation),
    Snapshot(ObjectId, Box<Snapshot>),
    Damaged(ObjectId),
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Candidate::Level(location) => location.fmt(f),
            Candidate::Snapshot(id, snapshot) => {
                write!(f, "{} of {}", BackupId::of_snapshot(*id).short(), select::series_of(snapshot))
            }
            Candidate::Damaged(id) => write!(f, "{} (damaged)", BackupId::of_snapshot(*id).short()),
        }
    }
}

impl Pickable for Candidate {
    fn id(&self) -> BackupId {
        match self {
            Candidate::Level(location) => BackupId::of(location),
            Candidate::Snapshot(id, _) | Candidate::Damaged(id) => BackupId::of_snapshot(*id),
        }
    }

    /// Nobody is picked by age here.
    fn by_age(&self, other: &Self) -> Ordering {
        self.id().cmp(&other.id())
    }
}

/// Removes them; each row goes to `tell` before its backup does.
///
/// # Errors
/// `NotFound`, `Invalid` when it is not clear which one is meant or when one may not go, before anything is removed; as the storage
/// has it.
pub fn run(repository: &Repository, named: &Named, tell: &mut dyn FnMut(&Row)) -> Result<Report> {
    let (series, _) = select::series(repository, &named.filter)?;
    let snapshots = select::snapshots(repository, &named.filter)?;
    let mut candidates: Vec<Candidate> =
        repository.backups(&series)?.0.into_iter().map(Candidate::Level).collect();
    candidates.extend(snapshots.damaged.into_iter().map(|(id, _)| Candidate::Damaged(id)));
    let readable = snapshots.found.into_iter().map(|(id, one)| Candidate::Snapshot(id, Box::new(one)));
    candidates.extend(readable);
    let mut chosen: BTreeSet<BackupId> = BTreeSet::new();
    for text in &named.ids {
        if text.starts_with("latest") {
            return Err(Error::invalid("what is forgotten is named by its id, not as", text)
                .hint("icecore list shows the ids"));
        }
        chosen.insert(ids::find(&candidates, text)?.id());
    }
    let (chosen, others): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| chosen.contains(&candidate.id()));
    let units = units(repository, chosen, &others)?;
    if !named.allow_last {
        refuse_the_last(&units, &others)?;
    }
    let mut report = Report { kept: others.len() as u64, ..Report::default() };
    let mut removed = Vec::new();
    for unit in &units {
        tell(&row_of(unit, true, Vec::new()));
        match unit {
            Unit::Chain(chain) if !named.dry_run => repository.remove_chain(chain)?,
            Unit::Chain(_) => {}
            Unit::Snapshot(id, _) | Unit::Damaged(id) => removed.push(*id),
        }
        report.removed += 1;
    }
    report.snapshots_removed = removed.len() as u64;
    if let Some(vault) = repository.vault().filter(|_| !named.dry_run && !removed.is_empty()) {
        vault.remove_snapshots(&removed, &named.host, named.now)?;
    }
    Ok(report)
}

/// What goes as a whole.
fn units(repository: &Repository, chosen: Vec<Candidate>, others: &[Candidate]) -> Result<Vec<Unit>> {
    let mut units = Vec::new();
    let mut chains: BTreeMap<String, Chain> = BTreeMap::new();
    for candidate in chosen {
        match candidate {
            Candidate::Snapshot(id, snapshot) => units.push(Unit::Snapshot(id, snapshot)),
            Candidate::Damaged(id) => units.push(Unit::Damaged(id)),
            Candidate::Level(location) => {
                let is_of_it = |other: &Candidate| match other {
                    Candidate::Level(other) => {
                        (&other.engine, &other.name, other.chain)
                            == (&location.engine, &location.name, location.chain)
                    }
                    _ => false,
                };
                if let Some(left) = others.iter().find(|other| is_of_it(other)) {
                    return Err(Error::invalid(
                        "chains go as a whole, and one of its levels was not named:",
                        format!("{left} ({})", left.id().short()),
                    )
                    .hint("name every level of it, or forget by rules such as --keep-last"));
                }
                let found = repository.chains(&location.engine, &location.name)?.chains;
                let chain = found.into_iter().find(|chain| chain.start == location.chain);
                let gone = || Error::new(Kind::NotFound, "was removed meanwhile:").on(location.to_string());
                let chain = chain.ok_or_else(gone)?;
                chains.insert(format!("{} {} {}", chain.engine, chain.name, chain.start.0), chain);
            }
        }
    }
    units.extend(chains.into_values().map(Unit::Chain));
    Ok(units)
}

fn refuse_the_last(units: &[Unit], others: &[Candidate]) -> Result<()> {
    for unit in units {
        let (series, is_left) = match unit {
            Unit::Damaged(_) => continue,
            Unit::Chain(chain) => {
                let is_left =
                    |other: &Candidate| matches!(other, Candidate::Level(other) if other.name == chain.name);
                (chain.name.to_string(), others.iter().any(is_left))
            }
            Unit::Snapshot(_, snapshot) => {
                let is_left = |other: &Candidate| {
                    matches!(other, Candidate::Snapshot(_, other)
                        if other.host == snapshot.host && other.name == snapshot.name)
                };
                (select::series_of(snapshot).to_string(), others.iter().any(is_left))
            }
        };
        if !is_left {
            return Err(Error::invalid("that would leave no backup of", series)
                .hint("add --allow-last if it is meant"));
        }
    }
    Ok(())
}
