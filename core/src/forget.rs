//! The verb `forget`: retention is a plan first ([`crate::retention`]); carrying it out removes whole chains.

use crate::error::{Kind, Result};
use crate::name::Level;
use crate::repository::{Chain, Parents, Repository};
use crate::retention::{self, BackupView, ChainPlan, ChainView, Condition, Keep};
use crate::select::{self, Filter};
use jiff::tz::TimeZone;

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
    /// Plan only.
    pub dry_run: bool,
}

/// What becomes of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The series.
    pub series: String,
    /// The timestamp of the chain's level 0.
    pub chain: i64,
    /// Backups in it.
    pub backups: u64,
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
}

/// Plans for every series that is meant, then removes; each row goes to `tell` before its chain does.
///
/// # Errors
/// `Invalid` when nothing says what to keep; as the storage has it. What was removed until then is gone, whole chains at a time.
pub fn run(repository: &Repository, options: &Options, tell: &mut dyn FnMut(&Row)) -> Result<Report> {
    let (series, _) = select::series(repository, &options.filter)?;
    // All plans first: nothing goes if one of them cannot be made.
    let mut plans = Vec::new();
    for one in &series {
        let chains = repository.chains(&one.engine, &one.name)?.chains;
        let views = chains.iter().map(|chain| view(repository, chain)).collect::<Result<Vec<_>>>()?;
        let plan = retention::plan(&views, &options.keep, &options.zone, options.allow_last)?;
        plans.extend(chains.into_iter().zip(plan));
    }
    if plans.is_empty() {
        retention::plan(&[], &options.keep, &options.zone, options.allow_last)?;
    }
    let mut report = Report::default();
    for (chain, plan) in &plans {
        tell(&row(chain, plan));
        if plan.is_kept() {
            report.kept += 1;
            continue;
        }
        if !options.dry_run {
            repository.remove_chain(chain)?;
        }
        report.removed += 1;
    }
    Ok(report)
}

fn row(chain: &Chain, plan: &ChainPlan) -> Row {
    let mut reasons: Vec<_> = plan.backups.iter().flat_map(|backup| backup.reasons.iter()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let mut reasons: Vec<String> = reasons.into_iter().map(ToString::to_string).collect();
    if plan.last_good {
        reasons.push("the last good chain".to_owned());
    }
    Row {
        series: chain.name.to_string(),
        chain: chain.start.0,
        backups: chain.backups.len() as u64,
        remove: !plan.is_kept(),
        reasons,
    }
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
