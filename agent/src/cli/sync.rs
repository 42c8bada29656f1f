//! `icecore sync`: make the storages of a mirror alike again.

use super::{Context, RepositoryArguments};
use crate::{output, seen};
use clap::Args;
use icecore::error::{Error, Result};
use icecore::heal::Options;
use serde_json::json;
use std::process::ExitCode;

/// Bring storages that hold copies of one repository up to each other
///
/// With -r given several times, a repository is kept in several places at once.
/// A place that was out of reach, or is new, is given what it has missed. What
/// was forgotten meanwhile is removed there, too. Every backup does this before
/// it begins.
///
///   icecore sync -r /srv/backups -r /mnt/disk/backups
///   icecore sync -r /srv/backups -r sftp://host/backups --init
///
/// The exit status is 3 when a place is still behind and enough others are not
/// (--min-copies), 1 when copies differ and nothing says which is right.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    /// Compare every byte: read everything, and repair what is damaged
    #[arg(long)]
    compare_data: bool,
    /// Make the copy in a place that is missing or empty
    #[arg(long)]
    init: bool,
}

/// Compares and copies.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let repository = match arguments.init {
        true => arguments.repository.open_and_make(context)?,
        false => arguments.repository.open(context)?,
    };
    let options = Options { read_data: arguments.compare_data };
    let Some(report) = context.mirrors.heal(context, &repository, options)? else {
        return Err(Error::invalid(
            "one place cannot be brought up to another:",
            repository.storage().label(),
        )
        .hint("give -r once for each place that holds a copy of the repository"));
    };
    seen::look(context, &repository, seen::Strictness::Warn)?;
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "copied": report.copied,
            "copied_bytes": report.copied_bytes,
            "repaired": report.repaired,
            "removed": report.removed,
            "kept": report.kept,
            "unsettled": report.unsettled,
        }));
    } else if report == icecore::heal::Report::default() && context.mirrors.are_reached() {
        output::line(context.global, "nothing was missing");
    }
    if report.unsettled > 0 {
        let count = output::count(report.unsettled, "object differs", "objects differ");
        return Err(Error::damaged(count, "between the storages")
            .hint("they are named above; icecore check -r PLACE tells what each place can restore"));
    }
    Ok(ExitCode::SUCCESS)
}
