//! `icecore stats`: how much backups hold, and how much of it is stored.

use super::which::WhichArguments;
use super::{Context, RepositoryArguments, entry};
use crate::exit;
use crate::output;
use crate::progress::Terminal;
use crate::seen;
use clap::Args;
use icecore::error::Result;
use icecore::repository::vault::ahead::Needs;
use icecore::stats::{self, Amount, Objects, Report, Share};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show how much backups hold, and how much room that takes
///
/// What is the same in several backups is stored once. With --by-backup, what a
/// backup adds is what no older one has; what it holds alone is what would be
/// free without it.
///
///   icecore stats -r /srv/backups
///   icecore stats -r /srv/backups --by-backup
///   icecore stats -r /srv/backups latest
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    which: WhichArguments,
    /// One backup: an id (or the head of one), `latest`, or `latest~N` [default: all]
    backup: Option<String>,
    /// What each backup adds to those before it, and what it holds alone
    #[arg(long)]
    by_backup: bool,
}

/// Prints the numbers.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let which = arguments.which.which();
    let repository = arguments.repository.open_to_read(context, &which.filter, Needs::Content)?;
    seen::look(context, &repository, seen::Strictness::Warn)?;
    let options = stats::Options { which, backup: arguments.backup.clone(), by_backup: arguments.by_backup };
    let monitor = Terminal::new(context.global, context.stop.clone(), "Counting");
    let report = stats::run(&repository, &options, &monitor);
    monitor.finish();
    let report = report?;
    if context.global.json {
        if arguments.by_backup {
            report.shares.iter().for_each(|share| output::json(&json_share(share)));
        }
        output::json(&summary(&report));
    } else {
        if arguments.by_backup {
            by_backup(&report);
        }
        totals(&report);
    }
    Ok(ExitCode::from(if report.broken + report.missing > 0 { exit::INCOMPLETE } else { 0 }))
}

fn by_backup(report: &Report) {
    let mut rows =
        vec![["ID", "TIME", "NAME", "FILES", "SIZE", "ADDED", "ALONE"].map(str::to_owned).to_vec()];
    rows.extend(report.shares.iter().map(|share| {
        let snapshot = &share.backup.snapshot;
        vec![
            share.backup.id.short().to_owned(),
            entry::time(snapshot.time),
            output::printable(&snapshot.name),
            snapshot.files.to_string(),
            output::bytes(snapshot.bytes),
            output::bytes(share.added.stored_bytes),
            share.alone.map_or("-".to_owned(), |alone| output::bytes(alone.stored_bytes)),
        ]
    }));
    output::table(&rows).iter().for_each(|line| output::answer(line));
    output::answer("");
}

fn totals(report: &Report) {
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2} times"));
    let amount = |amount: Amount| {
        format!(
            "{} in {} ({} before compression)",
            output::bytes(amount.stored_bytes),
            output::count(amount.chunks, "chunk", "chunks"),
            output::bytes(amount.raw_bytes)
        )
    };
    let objects = |objects: Objects| format!("{} ({})", objects.count, output::bytes(objects.bytes));
    let stored = [report.packs, report.indexes, report.snapshots].map(|objects| objects.bytes).iter().sum();
    let rows = [
        ("backups", report.shares.len().to_string()),
        ("entries", format!("{}, of which {} are files", report.entries, report.files)),
        ("not whole", output::count(report.errors, "entry", "entries")),
        ("size", output::bytes(report.bytes)),
        ("content", amount(report.content)),
        ("metadata", amount(report.metadata)),
        ("deduplication", ratio(report.deduplication())),
        ("compression", ratio(report.compression())),
        ("repository", format!("{} with all backups", output::bytes(stored))),
        ("packs", objects(report.packs)),
        ("indexes", objects(report.indexes)),
        ("snapshots", objects(report.snapshots)),
    ];
    let rows = rows.into_iter().filter(|(what, _)| *what != "not whole" || report.errors > 0);
    let rows: Vec<Vec<String>> = rows.map(|(what, text)| vec![what.to_owned(), text]).collect();
    output::table(&rows).iter().for_each(|line| output::answer(line));
    if report.damaged + report.broken + report.missing > 0 {
        output::warning(
            "icecore: not everything could be read, so there is more than this; icecore check says what",
        );
    }
}

fn json_amount(amount: Amount) -> Value {
    json!({"chunks": amount.chunks, "raw_bytes": amount.raw_bytes, "stored_bytes": amount.stored_bytes})
}

fn json_objects(objects: Objects) -> Value {
    json!({"count": objects.count, "bytes": objects.bytes})
}

fn json_share(share: &Share) -> Value {
    json!({
        "type": "backup",
        "backup": entry::backup_fields(&share.backup.named()),
        "entries": share.backup.snapshot.entries,
        "files": share.backup.snapshot.files,
        "bytes": share.backup.snapshot.bytes,
        "errors": share.backup.snapshot.errors,
        "added": json_amount(share.added),
        "alone": share.alone.map(json_amount),
    })
}

fn summary(report: &Report) -> Value {
    json!({
        "type": "summary",
        "backups": report.shares.len(),
        "damaged": report.damaged,
        "broken": report.broken,
        "missing": report.missing,
        "entries": report.entries,
        "files": report.files,
        "bytes": report.bytes,
        "errors": report.errors,
        "content": json_amount(report.content),
        "metadata": json_amount(report.metadata),
        "deduplication": report.deduplication(),
        "compression": report.compression(),
        "packs": json_objects(report.packs),
        "indexes": json_objects(report.indexes),
        "snapshots": json_objects(report.snapshots),
        "chunks": report.chunks,
    })
}
