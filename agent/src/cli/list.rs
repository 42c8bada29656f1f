//! `icecore list`: which backups there are.

use super::{Context, DetailArguments, RepositoryArguments, SeriesArguments};
use crate::{output, seen};
use clap::Args;
use icecore::engine::dedup;
use icecore::error::Result;
use icecore::list::{self, Row};
use icecore::repository::vault::ahead::Needs;
use icecore::time::Timestamp;
use serde_json::{Value, json};
use std::process::ExitCode;

/// List the backups of a repository, oldest first.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    series: SeriesArguments,
    #[command(flatten)]
    details: DetailArguments,
}

/// Prints a line for each backup.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let filter = arguments.details.narrow(arguments.series.filter())?;
    let repository = arguments.repository.open_to_read(context, &filter, Needs::Backups)?;
    seen::look(context, &repository, seen::Strictness::Warn)?;
    let listing = list::run(&repository, &filter)?;
    if context.global.json {
        listing.rows.iter().for_each(|row| output::json(&json_row(row)));
        for (id, error) in &listing.damaged {
            output::json(&json!({"type": "damaged", "id": id, "error": error}));
        }
        listing.strays.iter().for_each(|name| output::json(&json!({"type": "stray", "name": name})));
        return Ok(ExitCode::SUCCESS);
    }
    // Only chains have levels.
    let has_levels = listing.rows.iter().any(|row| row.engine != dedup::NAME);
    let mut head = vec!["ID", "TIME", "SERIES", "LEVEL", "FILES", "SIZE", "STORED", "PATH", ""];
    head.retain(|title| has_levels || *title != "LEVEL");
    let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
    rows.extend(listing.rows.iter().map(|row| cells(row, has_levels)));
    if listing.rows.is_empty() {
        output::line(context.global, "no backups");
    } else {
        output::table(&rows).iter().for_each(|line| output::answer(line));
    }
    for (id, error) in &listing.damaged {
        output::warning(&format!("warning: the snapshot {id} cannot be read: {error}"));
    }
    for name in &listing.strays {
        output::warning(&format!("note: passed over {name}, which is no backup"));
    }
    Ok(ExitCode::SUCCESS)
}

fn cells(row: &Row, has_levels: bool) -> Vec<String> {
    let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let mut path =
        row.paths.first().map_or("-".to_owned(), |path| output::printable(&String::from_utf8_lossy(path)));
    if row.paths.len() > 1 {
        path.push_str(&format!(" and {} more", row.paths.len() - 1));
    }
    let mut notes = Vec::new();
    if let Some(problem) = &row.problem {
        notes.push(format!("! {}", output::printable(problem)));
    }
    if row.errors.is_some_and(|errors| errors > 0) {
        notes.push(format!("{} unread", number(row.errors)));
    }
    notes.extend(row.tags.iter().map(|tag| format!("#{}", output::printable(tag))));
    let mut cells = vec![
        row.short_id.clone(),
        Timestamp(row.timestamp).rfc3339(),
        output::printable(&row.series),
        number(row.files),
        row.bytes.map_or("-".to_owned(), output::bytes),
        row.stored_bytes.map_or("-".to_owned(), output::bytes),
        path,
        notes.join(" "),
    ];
    if has_levels {
        cells.insert(3, row.level.to_string());
    }
    cells
}

fn json_row(row: &Row) -> Value {
    json!({
        "type": "backup",
        "id": row.id.as_str(),
        "engine": row.engine,
        "host": row.host,
        "name": row.name,
        "series": row.series,
        "level": row.level,
        "chain": row.chain,
        "timestamp": row.timestamp,
        "time": Timestamp(row.timestamp).rfc3339(),
        "complete": row.problem.is_none(),
        "problem": row.problem,
        "stored_bytes": row.stored_bytes,
        "files": row.files,
        "bytes": row.bytes,
        "errors": row.errors,
        "compression": row.compression,
        "encryption": row.encryption,
        "paths": row.paths.iter().map(|path| String::from_utf8_lossy(path)).collect::<Vec<_>>(),
        "tags": row.tags,
        "by_icecore": row.by_icecore,
    })
}
