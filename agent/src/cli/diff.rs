//! `icecore diff`: what differs between two backups, or between a backup and the disk.

use super::which::WhichArguments;
use super::{Context, RepositoryArguments, absolute, entry};
use crate::exit;
use crate::output::{self, Lines};
use crate::progress::Terminal;
use crate::seen;
use clap::Args;
use icecore::diff::{self, Change, Counts, New, Report};
use icecore::engine::dedup::tree::Entry;
use icecore::error::{Error, Result};
use icecore::repository::vault::ahead::Needs;
use icecore::select::place::{Place, tree_path};
use icecore::tree::filter::Filter;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show what differs between two backups, or between a backup and the disk
///
/// Of each entry it prints + when it is new, - when it is gone, and M when it
/// is not the same, with what is not: content, target, device, mode, owner,
/// time, attributes, or type; unreadable, where one of them could not be read
/// when it was backed up. A file on disk is read only where its times say
/// that it may have changed. The exit status says whether they could be
/// compared, not whether they differ; it is 3 when something on disk could not
/// be read.
///
///   icecore diff -r /srv/backups latest~1 latest
///   icecore diff -r /srv/backups latest~3 latest --path docs
///   icecore diff -r /srv/backups latest --live ~/docs
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    which: WhichArguments,
    /// The old backup, and after a colon where in it: an id (or the head of one), `latest`, or `latest~N`
    #[arg(value_name = "OLD[:PATH]")]
    old: OsString,
    /// The new backup [default: latest]
    #[arg(value_name = "NEW[:PATH]", conflicts_with = "live")]
    new: Option<OsString>,
    /// Compare with what is on disk now: the directory or file from which OLD[:PATH] was made
    #[arg(long, value_name = "DIR")]
    live: Option<PathBuf>,
    /// Compare only this path of both, with everything below it
    #[arg(long, value_name = "PATH")]
    path: Option<OsString>,
    /// With --live: pass over what matches, as in .gitignore; may be repeated
    #[arg(long, value_name = "PATTERN", requires = "live")]
    exclude: Vec<String>,
    /// With --live: stay on the file system of DIR
    #[arg(long, requires = "live")]
    one_file_system: bool,
    /// Print only how much differs
    #[arg(long)]
    stat: bool,
}

/// Prints what differs.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let which = arguments.which.which();
    let old = place(arguments, &arguments.old)?;
    let mut filter = Filter::none().exclude(&arguments.exclude)?;
    let live = arguments.live.as_deref().map(|path| {
        let path = absolute(path)?;
        // As a backup does, this follows a link that was named.
        std::fs::canonicalize(&path).map_err(|e| Error::io("cannot find", path.display().to_string(), e))
    });
    let live = live.transpose()?;
    let new = match (&live, &arguments.new) {
        (Some(path), _) => {
            for metadata in
                arguments.repository.folders().unwrap_or_default().iter().flat_map(std::fs::metadata)
            {
                filter = filter.without_repository(metadata.dev(), metadata.ino());
            }
            New::Live { path, filter: &filter, one_file_system: arguments.one_file_system }
        }
        (None, Some(new)) => New::Backup(place(arguments, new)?),
        (None, None) => New::Backup(Place { backup: "latest".to_owned(), path: old.path.clone() }),
    };
    let repository = arguments.repository.open_to_read(context, &which.filter, Needs::Content)?;
    seen::look(context, &repository, seen::Strictness::Warn)?;
    let monitor = Terminal::without_line(context.global, context.stop.clone());
    let mut lines = Lines::default();
    let options = diff::Options { which, old, new };
    let report = diff::run(&repository, &options, &monitor, &mut |change| match (
        arguments.stat,
        context.global.json,
    ) {
        (true, _) => Ok(()),
        (_, true) => lines.json(&json_change(&change)),
        _ => lines.line(&line(&change)),
    });
    drop(lines);
    let Some(report) = output::unless_closed(report)? else { return Ok(ExitCode::SUCCESS) };
    summarize(context, arguments, &report);
    Ok(ExitCode::from(if report.counts.unread > 0 { exit::INCOMPLETE } else { 0 }))
}

/// A place, with the path that was given for both where it has none.
fn place(arguments: &Arguments, text: &OsString) -> Result<Place> {
    let mut place = Place::parse(text.as_bytes())?;
    if let Some(path) = &arguments.path {
        if !place.path.is_empty() {
            return Err(Error::invalid(
                "--path and a path after a colon both say where:",
                text.to_string_lossy(),
            ));
        }
        place.path = tree_path(path.as_bytes())?;
    }
    Ok(place)
}

fn sign(change: &Change<'_>) -> &'static str {
    match (change.old, change.new) {
        (None, _) => "+",
        (_, None) => "-",
        _ => "M",
    }
}

fn line(change: &Change<'_>) -> String {
    let path = entry::shown(change.path, change.new.or(change.old));
    let names: Vec<&str> = change.aspects.iter().map(|aspect| aspect.name()).collect();
    let what = if names.is_empty() { String::new() } else { format!("  ({})", names.join(", ")) };
    format!("{} {path}{what}", sign(change))
}

fn json_change(change: &Change<'_>) -> Value {
    let what = match sign(change) {
        "+" => "added",
        "-" => "removed",
        _ => "changed",
    };
    let mut line = entry::line("difference", change.path);
    let side = |entry: Option<&Entry>| entry.map(entry::fields).map_or(Value::Null, Value::Object);
    line.insert("change".to_owned(), what.into());
    let aspects: Vec<&str> = change.aspects.iter().map(|aspect| aspect.name()).collect();
    line.insert("what".to_owned(), json!(aspects));
    line.insert("old".to_owned(), side(change.old));
    line.insert("new".to_owned(), side(change.new));
    Value::Object(line)
}

fn summarize(context: &Context<'_>, arguments: &Arguments, report: &Report) {
    let counts = &report.counts;
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "old": entry::backup_fields(&report.old.named()),
            "new": report.new.as_ref().map(|new| entry::backup_fields(&new.named())),
            "added": counts.added,
            "removed": counts.removed,
            "changed": counts.changed,
            "added_bytes": counts.added_bytes,
            "removed_bytes": counts.removed_bytes,
            "changed_bytes": counts.changed_bytes,
            "unread": counts.unread,
        }));
        return;
    }
    let text = totals(counts);
    if arguments.stat {
        output::answer(&text);
    } else {
        // Not among the lines that another program may count.
        output::remark(context.global, &text);
    }
}

fn totals(counts: &Counts) -> String {
    let Counts { added, removed, changed, unread, .. } = *counts;
    if (added, removed, changed, unread) == (0, 0, 0, 0) {
        return "nothing differs".to_owned();
    }
    let mut text = format!(
        "{added} added ({}), {removed} removed ({}), {changed} changed ({})",
        output::bytes(counts.added_bytes),
        output::bytes(counts.removed_bytes),
        output::bytes(counts.changed_bytes)
    );
    if unread > 0 {
        text += &format!(", {unread} could not be read");
    }
    text
}
