//! Forgetting the backups that a user names by their ids.
//!
//! Invariants: all are found before any goes, and nothing goes when one of them may not. Of levels only whole chains go, so every level
//! of a chain has to be named, those that came after the first look too. The last good chain of a series stays, by the measure of
//! [`crate::retention`], unless it is said that it may go; a snapshot that cannot be read is of no name, and goes when it is named.

use super::{Report, Row, Unit, row_of, view};
use crate::error::{Error, Kind, Result};
use crate::name::BackupName;
use crate::repository::select::{self as ids, Pickable};
use crate::repository::vault::{ObjectId, Snapshot};
use crate::repository::{BackupId, BackupLocation, Chain, Repository};
use crate::retention;
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
    let (units, staying) = units(repository, chosen, &others)?;
    if !named.allow_last {
        refuse_the_last(repository, &units, &others, &staying)?;
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

/// The chains of one engine and name.
type Series = BTreeMap<(String, BackupName), Vec<Chain>>;

/// What goes as a whole, and the chains that stay of every series of which one goes.
fn units(
    repository: &Repository,
    chosen: Vec<Candidate>,
    others: &[Candidate],
) -> Result<(Vec<Unit>, Series)> {
    let mut units = Vec::new();
    let mut levels = Vec::new();
    for candidate in chosen {
        match candidate {
            Candidate::Snapshot(id, snapshot) => units.push(Unit::Snapshot(id, snapshot)),
            Candidate::Damaged(id) => units.push(Unit::Damaged(id)),
            Candidate::Level(location) => levels.push(location),
        }
    }
    let named: BTreeSet<BackupId> = levels.iter().map(BackupId::of).collect();
    let mut series = Series::new();
    let mut going: BTreeSet<(String, BackupName, Timestamp)> = BTreeSet::new();
    for location in levels {
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
        let key = (location.engine.clone(), location.name.clone());
        if !series.contains_key(&key) {
            series.insert(key.clone(), repository.chains(&location.engine, &location.name)?.chains);
        }
        let found = series.entry(key.clone()).or_default();
        if !going.insert((key.0, key.1, location.chain)) {
            continue;
        }
        let Some(position) = found.iter().position(|chain| chain.start == location.chain) else {
            return Err(Error::new(Kind::NotFound, "was removed meanwhile:").on(location.to_string()));
        };
        let chain = found.remove(position);
        // A backup may have ended since the first look: nobody has named it.
        let new = chain.backups.iter().map(|entry| chain.location(*entry));
        if let Some(new) = new.into_iter().find(|new| !named.contains(&BackupId::of(new))) {
            return Err(Error::new(Kind::Changed, "the chain has got another level meanwhile:")
                .on(format!("{new} ({})", BackupId::of(&new).short()))
                .hint("nothing was removed; name it as well if it is to go"));
        }
        units.push(Unit::Chain(chain));
    }
    Ok((units, series))
}

fn refuse_the_last(
    repository: &Repository,
    units: &[Unit],
    others: &[Candidate],
    staying: &Series,
) -> Result<()> {
    let refused = |series: String| {
        Err(Error::invalid("that would leave no good backup of", series)
            .hint("add --allow-last if it is meant"))
    };
    for unit in units {
        let Unit::Snapshot(_, snapshot) = unit else { continue };
        let is_left = |other: &Candidate| {
            matches!(other, Candidate::Snapshot(_, other)
                if other.host == snapshot.host && other.name == snapshot.name)
        };
        if !others.iter().any(is_left) {
            return refused(select::series_of(snapshot).to_string());
        }
    }
    for ((engine, name), staying) in staying {
        let going = units.iter().filter_map(|unit| match unit {
            Unit::Chain(chain) if (&chain.engine, &chain.name) == (engine, name) => Some(chain),
            _ => None,
        });
        let view_of = |chain: &Chain| view(repository, chain);
        let staying = staying.iter().map(view_of).collect::<Result<Vec<_>>>()?;
        let going = going.map(view_of).collect::<Result<Vec<_>>>()?;
        if retention::is_last_good(&going, &staying) {
            return refused(name.to_string());
        }
    }
    Ok(())
}
