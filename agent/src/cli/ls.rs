//! `icecore ls`: what is in a directory of a backup.

use super::which::WhichArguments;
use super::{Context, RepositoryArguments, entry, scratch};
use crate::keys::IdentityArguments;
use crate::output::{self, Lines};
use crate::progress::Terminal;
use crate::seen;
use clap::Args;
use icecore::error::Result;
use icecore::ls;
use icecore::repository::vault::ahead::Needs;
use icecore::select::place::Place;
use icecore::view::levels::Means;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// List what a backup holds
///
/// Paths are relative to what was backed up. Of a backup by the engine tar, the
/// archives of its level and of all below it are read for that.
///
///   icecore ls -r /srv/backups
///   icecore ls -r /srv/backups -l latest~1:docs
///   icecore ls -r /srv/backups --recursive 3fa9c1:docs/letters
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    which: WhichArguments,
    #[command(flatten)]
    identities: IdentityArguments,
    /// Which backup, and after a colon where in it: BACKUP is an id (or the head of one), `latest`, or `latest~N`
    #[arg(value_name = "BACKUP[:PATH]", default_value = "latest")]
    place: OsString,
    /// Everything below, not only what is directly there
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Mode, owner, size and time (UTC) too, and where links point to
    #[arg(long, short)]
    long: bool,
}

/// Prints a line for each entry.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let which = arguments.which.which();
    let repository = arguments.repository.open_to_read(context, &which.filter, Needs::Content)?;
    seen::look(context, &repository, seen::Strictness::Warn)?;
    let place = Place::parse(arguments.place.as_bytes())?;
    let keys = arguments.repository.keyring(context, &arguments.identities)?;
    let (scratch, workers) = (scratch(), arguments.repository.workers(&repository));
    let means = Means { keys: &keys, scratch: &scratch, workers };
    let options = ls::Options { which, place, recursive: arguments.recursive, means };
    let monitor = Terminal::without_line(context.global, context.stop.clone());
    let mut lines = Lines::default();
    let report = ls::run(&repository, &options, &monitor, &mut |path, found| {
        if context.global.json {
            let mut line = entry::line("entry", path);
            line.extend(entry::fields(found));
            lines.json(&Value::Object(line))
        } else if arguments.long {
            lines.line(&entry::long(path, found))
        } else {
            lines.line(&entry::shown(path, Some(found)))
        }
    });
    drop(lines);
    let Some(report) = output::unless_closed(report)? else { return Ok(ExitCode::SUCCESS) };
    if context.global.json {
        let backup = entry::backup_fields(&report.backup);
        output::json(&json!({"type": "summary", "backup": backup, "entries": report.entries}));
    }
    Ok(ExitCode::SUCCESS)
}
