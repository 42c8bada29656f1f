//! The verb `forget`: retention is a plan first ([`crate::retention`]); carrying it out removes whole chains. A snapshot is a chain
//! by itself; the space that only it took is freed by a later collection. Backups that are named by their ids go without a plan
//! ([`named`]).

pub mod named;

use crate::engine::dedup;
use crate::error::{Kind, Result};
use crate::monitor::{Event, Monitor};
use crate::name::Level;
use crate::repository::vault::{ObjectId, Snapshot};
use crate::repository::{BackupId, Chain, Parents, Repository};
use crate::retention::{self, BackupView, ChainPlan, ChainView, Condition, Keep};
use crate::select::{self, Filter};
use crate::time::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// What to forget.
pub struct Options {
    /// Which series.
    pub filter: Filter,
    /// What to keep of each.
    pub keep: Keep,
    /// Whether the last good chain of a series may go.
    pub allow_last: bool,
    /// Whose days and weeks count.
    pub zone: TimeZone,
    /// Who removes, for the record.
    pub host: String,
    /// The time now, for the record.
    pub now: Timestamp,
    /// Plan only.
    pub dry_run: bool,
}

/// What becomes of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The engine.
    pub engine: String,
    /// The series.
    pub series: String,
    /// The timestamp of the chain's level 0.
    pub chain: i64,
    /// The backups in it, oldest first.
    pub ids: Vec<BackupId>,
    /// Whether it goes.
    pub remove: bool,
    /// Why it stays.
    pub reasons: Vec<String>,
}

/// How many chains went and stayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Chains removed (or that would be).
    pub removed: u64,
    /// Chains that stay.
    pub kept: u64,
    /// How many of those removed were snapshots: what they alone took is freed by a later collection.
    pub snapshots_removed: u64,
}

/// Something that goes or stays as a whole.
enum Unit {
    Chain(Chain),
    Snapshot(ObjectId, Box<Snapshot>),
    /// A snapshot that cannot be read: never by a plan.
    Damaged(ObjectId),
}

/// Plans for every series that is meant, then removes; each row goes to `tell` before its chain does.
///
/// # Errors
/// `Invalid` when nothing says what to keep; as the storage has it. What was removed until then is gone, whole chains at a time.
pub fn run(
    repository: &Repository,
    options: &Options,
    monitor: &dyn Monitor,
    tell: &mut dyn FnMut(&Row),
) -> Result<Report> {
    // All plans first: nothing goes if one of them cannot be made.
    let mut plans = chains(repository, options)?;
    plans.extend(snapshots(repository, options, monitor)?);
    if plans.is_empty() {
        retention::plan(&[], &options.keep, &options.zone, options.allow_last)?;
    }
    let mut report = Report::default();
    let mut snapshots = Vec::new();
    for (unit, plan) in &plans {
        tell(&row(unit, plan));
        if plan.is_kept() {
            report.kept += 1;
            continue;
        }
        match unit {
            Unit::Chain(chain) if !options.dry_run => repository.remove_chain(chain)?,
            Unit::Chain(_) => {}
            Unit::Snapshot(id, _) | Unit::Damaged(id) => snapshots.push(*id),
        }
        report.removed += 1;
    }
    report.snapshots_removed = snapshots.len() as u64;
    // Also when none goes: one that was forgotten before may be there still, where it could not be deleted.
    if let Some(vault) = repository.vault().filter(|_| !options.dry_run) {
        vault.remove_snapshots(&snapshots, &options.host, options.now)?;
    }
    Ok(report)
}

fn chains(repository: &Repository, options: &Options) -> Result<Vec<(Unit, ChainPlan)>> {
    let mut plans = Vec::new();
    let (series, _) = select::series(repository, &options.filter)?;
    for one in &series {
        let mut chains = repository.chains(&one.engine, &one.name)?.chains;
        // What is only read is neither counted nor removed.
        chains.retain(|chain| !repository.is_old(chain));
        let views = chains.iter().map(|chain| view(repository, chain)).collect::<Result<Vec<_>>>()?;
        let plan = retention::plan(&views, &options.keep, &options.zone, options.allow_last)?;
        plans.extend(chains.into_iter().map(Unit::Chain).zip(plan));
    }
    Ok(plans)
}

/// The plans of snapshots, by host and name. One that cannot be read is nobody's, and stays.
fn snapshots(
    repository: &Repository,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Vec<(Unit, ChainPlan)>> {
    let listed = select::snapshots(repository, &options.filter)?;
    for (id, error) in &listed.damaged {
        monitor.event(Event::Warning(&format!("the snapshot {id} cannot be read, and stays: {error}")));
    }
    let mut series: BTreeMap<(String, String), Vec<(ObjectId, Snapshot)>> = BTreeMap::new();
    for (id, snapshot) in listed.found {
        series.entry((snapshot.host.clone(), snapshot.name.clone())).or_default().push((id, snapshot));
    }
    let mut plans = Vec::new();
    for mut snapshots in series.into_values() {
        // Of several of one second, which is all that the plan looks at, the newest comes first there as well.
        snapshots.reverse();
        let views: Vec<_> = snapshots.iter().map(|(_, snapshot)| view_of_snapshot(snapshot)).collect();
        let plan = retention::plan(&views, &options.keep, &options.zone, options.allow_last)?;
        let units = snapshots.into_iter().map(|(id, snapshot)| Unit::Snapshot(id, Box::new(snapshot)));
        let planned: Vec<_> = units.zip(plan).collect();
        plans.extend(planned.into_iter().rev());
    }
    Ok(plans)
}

fn view_of_snapshot(snapshot: &Snapshot) -> ChainView {
    let timestamp = Timestamp(snapshot.time.seconds);
    let backup = BackupView { level: Level::FULL, timestamp, tags: snapshot.tags.clone() };
    ChainView { start: timestamp, backups: vec![backup], condition: Condition::Complete }
}

fn row(unit: &Unit, plan: &ChainPlan) -> Row {
    let mut reasons: Vec<_> = plan.backups.iter().flat_map(|backup| backup.reasons.iter()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let mut reasons: Vec<String> = reasons.into_iter().map(ToString::to_string).collect();
    if plan.last_good {
        reasons.push("the last good chain".to_owned());
    }
    row_of(unit, !plan.is_kept(), reasons)
}

fn row_of(unit: &Unit, remove: bool, reasons: Vec<String>) -> Row {
    let (engine, series, start) = match unit {
        Unit::Chain(chain) => (chain.engine.clone(), chain.name.to_string(), chain.start.0),
        Unit::Snapshot(_, snapshot) => {
            (dedup::NAME.to_owned(), select::series_of(snapshot).to_string(), snapshot.time.seconds)
        }
        Unit::Damaged(id) => (dedup::NAME.to_owned(), format!("damaged backup {id}"), 0),
    };
    let ids = match unit {
        Unit::Chain(chain) => {
            chain.backups.iter().map(|entry| BackupId::of(&chain.location(*entry))).collect()
        }
        Unit::Snapshot(id, _) | Unit::Damaged(id) => vec![BackupId::of_snapshot(*id)],
    };
    Row { engine, series, chain: start, ids, remove, reasons }
}

/// A chain as retention looks at it: names, sizes and documents say how good it is.
fn view(repository: &Repository, chain: &Chain) -> Result<ChainView> {
    let mut condition = Condition::Complete;
    let mut backups = Vec::new();
    let mut parents = Parents::new();
    for entry in &chain.backups {
        let step = match repository.step(chain.location(*entry)) {
            Ok(step) => Some(step),
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::NotFound | Kind::Unsupported) => None,
            Err(error) => return Err(error),
        };
        let sound = match &step {
            Some(step) => match repository.verify_sizes(std::slice::from_ref(step)) {
                Ok(()) => true,
                Err(error) if matches!(error.kind(), Kind::Damaged | Kind::NotFound) => false,
                Err(error) => return Err(error),
            },
            None => false,
        };
        parents.extend(step.iter().filter_map(|step| Some((*entry, step.parent()?))));
        let reachable = chain.path_to(*entry, &parents).is_ok();
        if !sound || !reachable {
            condition = worse(condition, entry.level);
        }
        let details = step.and_then(|step| step.document.details);
        let tags = details.map(|details| details.report.tags).unwrap_or_default();
        backups.push(BackupView { level: entry.level, timestamp: entry.timestamp, tags });
    }
    Ok(ChainView { start: chain.start, backups, condition })
}

/// A chain is good below the lowest level that is not.
fn worse(condition: Condition, level: Level) -> Condition {
    match condition {
        _ if level == Level::FULL => Condition::Damaged,
        Condition::Gap(lower) if lower <= level => condition,
        Condition::Damaged => condition,
        _ => Condition::Gap(level),
    }
}
