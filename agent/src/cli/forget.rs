//! `icecore forget`: remove backups that are no longer wanted.

use super::{Context, RepositoryArguments, SeriesArguments, host_name, now, parse_time};
use crate::hooks::HookArguments;
use crate::progress::Terminal;
use crate::{machine, output, seen};
use clap::Args;
use icecore::error::Result;
use icecore::forget::named::{self, Named};
use icecore::forget::{self, Report};
use icecore::repository::{BackupId, Repository};
use icecore::retention::{self, Keep};
use icecore::time::Timestamp;
use serde_json::json;
use std::process::ExitCode;

/// Remove backups, by their ids or by rules
///
/// With ids, those backups go. Else the rules are applied to each name of each
/// host. Of levels only whole chains go (a full backup with all that builds on
/// it), once every backup in a chain may go; every other backup is a chain of
/// its own, and what only it needed is freed by a later collection. The last
/// good chain of a name stays unless --allow-last is given. --dry-run shows
/// the plan.
///
///   icecore forget -r /srv/backups --keep-daily 7 --keep-monthly 12 --dry-run
///   icecore forget -r /srv/backups 3fa9c1d0 77ab02ee
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    series: SeriesArguments,
    /// Backups to remove: ids, or the heads of them, that `list` prints
    #[arg(value_name = "ID", conflicts_with = "rules")]
    ids: Vec<String>,
    #[command(flatten)]
    rules: Rules,
    /// Also remove the last good chain of a name, when the rules (or ids) say so
    #[arg(long)]
    allow_last: bool,
    /// Show what would go; remove nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) hooks: HookArguments,
}

/// What stays.
#[derive(Args)]
#[group(id = "rules", multiple = true)]
struct Rules {
    /// Keep the newest N backups
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the newest backup of each of the last N hours that have one
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// Keep the newest backup of each of the last N days that have one
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the newest backup of each of the last N weeks that have one
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the newest backup of each of the last N months that have one
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the newest backup of each of the last N years that have one
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep what is newer than this before the newest backup, such as 30d or 1y6mo
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    keep_within: Option<jiff::Span>,
    /// Keep backups with this tag; may be repeated
    #[arg(long, value_name = "TAG")]
    keep_tag: Vec<String>,
    /// Remove chains whose backups are all older than this many days
    #[arg(long, value_name = "DAYS", conflicts_with = "before_date")]
    older_than: Option<f64>,
    /// Remove chains whose backups are all from before this time (2026-11-24: before that day began here)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    before_date: Option<Timestamp>,
}

fn parse_span(text: &str) -> Result<jiff::Span, String> {
    text.parse().map_err(|_| format!("{text:?} is not a span of time such as 30d, 8w or 1y6mo"))
}

/// Plans, prints the plan, and carries it out.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let filter = arguments.series.filter();
    let repository = arguments.repository.open_for(context, &filter)?;
    if !arguments.dry_run {
        arguments.repository.heal(context, &repository)?;
    }
    let mut tell = |row: &forget::Row| print(context, arguments, row);
    if !arguments.ids.is_empty() {
        let named = Named {
            filter,
            ids: arguments.ids.clone(),
            allow_last: arguments.allow_last,
            host: host_name(),
            now: Timestamp(now().seconds),
            dry_run: arguments.dry_run,
        };
        let report = named::run(&repository, &named, &mut tell)?;
        return finish(context, arguments, &repository, report);
    }
    let options = forget::Options {
        filter,
        keep: keep(&arguments.rules)?,
        allow_last: arguments.allow_last,
        zone: jiff::tz::TimeZone::system(),
        host: host_name(),
        now: Timestamp(now().seconds),
        dry_run: arguments.dry_run,
    };
    let monitor = Terminal::new(context.global, context.stop.clone(), "Forgetting");
    let report = forget::run(&repository, &options, &monitor, &mut tell);
    monitor.finish();
    finish(context, arguments, &repository, report?)
}

/// Says what went.
fn finish(
    context: &Context<'_>,
    arguments: &Arguments,
    repository: &Repository,
    report: Report,
) -> Result<ExitCode> {
    if !arguments.dry_run {
        seen::look(context, repository, seen::Strictness::Warn)?;
        machine::end_what_is_over(context, repository, None);
    }
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "removed": report.removed,
            "kept": report.kept,
            "dry_run": arguments.dry_run,
        }));
    } else {
        let verb = if arguments.dry_run { "would remove" } else { "removed" };
        let removed = output::count(report.removed, "chain", "chains");
        output::line(context.global, &format!("{verb} {removed}, kept {}", report.kept));
        if report.snapshots_removed > 0 {
            output::line(
                context.global,
                "the space that only they took is freed by a later collection, which this version cannot do yet",
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn keep(arguments: &Rules) -> Result<Keep> {
    let now = Timestamp(now().seconds);
    let older_than = arguments.older_than.map(|days| retention::days_before(now, days)).transpose()?;
    Ok(Keep {
        last: arguments.keep_last.unwrap_or(0),
        hourly: arguments.keep_hourly.unwrap_or(0),
        daily: arguments.keep_daily.unwrap_or(0),
        weekly: arguments.keep_weekly.unwrap_or(0),
        monthly: arguments.keep_monthly.unwrap_or(0),
        yearly: arguments.keep_yearly.unwrap_or(0),
        within: arguments.keep_within,
        tags: arguments.keep_tag.clone(),
        newer_than: older_than.or(arguments.before_date),
    })
}

fn print(context: &Context<'_>, arguments: &Arguments, row: &forget::Row) {
    let action = if row.remove { "remove" } else { "keep" };
    if context.global.json {
        output::json(&json!({
            "type": "chain",
            "chain": row.chain,
            "engine": row.engine,
            "series": row.series,
            "backups": row.ids.len(),
            "ids": row.ids.iter().map(BackupId::as_str).collect::<Vec<_>>(),
            "action": action,
            "reasons": row.reasons,
        }));
    } else if row.remove || arguments.dry_run {
        let backups = match row.ids.as_slice() {
            [id] => format!("backup {}", id.short()),
            several => output::count(several.len() as u64, "backup", "backups"),
        };
        let reasons =
            if row.reasons.is_empty() { String::new() } else { format!(": {}", row.reasons.join(", ")) };
        let time = Timestamp(row.chain).rfc3339();
        output::line(
            context.global,
            &format!("{action:6} {} of {time}, {backups}{reasons}", output::printable(&row.series)),
        );
    }
}
