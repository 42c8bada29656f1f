//! `icecore restore`: get a backup back.

use super::{Context, RepositoryArguments, SeriesArguments, absolute, host_name, parse_time, scratch};
use crate::output;
use crate::progress::Terminal;
use clap::Args;
use icecore::error::Result;
use icecore::restore;
use icecore::time::Timestamp;
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// Restore a backup into a directory.
///
/// The target is made if it is not there. One that is not empty is left alone unless --overwrite is given, and even then
/// what the backup does not have stays, unless --delete is given too. What is restored is checked as it is read.
///
///   icecore restore -r /srv/backups --target /tmp/back latest
///   icecore restore -r /srv/backups --target /tmp/back --at 2026-11-24T18:00:00Z --include docs/letter.txt
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    series: SeriesArguments,
    /// Which backup: an id (or the head of one) that `list` prints, `latest`, or `latest~N` for the N-th before it
    #[arg(default_value = "latest")]
    backup: String,
    /// The newest backup that is not newer than this time (RFC 3339, or @ and seconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "backup")]
    at: Option<Timestamp>,
    /// Restore only this path of the tree, with everything below it; may be repeated
    #[arg(long, value_name = "PATH")]
    include: Vec<OsString>,
    /// Restore into a directory that is not empty, replacing what is in the way
    #[arg(long)]
    overwrite: bool,
    /// Also remove what is in restored directories but not in the backup
    #[arg(long, requires = "overwrite")]
    delete: bool,
    /// Give files to users and groups by number, also where their names are known here
    #[arg(long)]
    numeric_owner: bool,
    /// Where to restore to
    #[arg(long, value_name = "DIR")]
    target: PathBuf,
    /// Read and check everything; write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Restores and says what came back.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let repository = arguments.repository.open()?;
    let target = absolute(&arguments.target)?;
    let include: Vec<Vec<u8>> = arguments.include.iter().map(|path| path.as_bytes().to_vec()).collect();
    let options = restore::Options {
        filter: arguments.series.filter(),
        this_host: host_name(),
        backup: arguments.backup.clone(),
        at: arguments.at,
        include,
        overwrite: arguments.overwrite,
        delete: arguments.delete,
        numeric_owner: arguments.numeric_owner,
        target: &target,
        dry_run: arguments.dry_run,
        workers: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let monitor = Terminal::new(context.global, context.stop.clone(), "Restoring");
    let report = restore::run(&repository, &options, &scratch(), &monitor);
    monitor.finish();
    let report = report?;
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "id": report.id.to_string(),
            "series": report.series,
            "levels": report.levels,
            "files": report.files,
            "bytes": report.bytes,
            "problems": report.problems,
            "dry_run": arguments.dry_run,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    let verb = if arguments.dry_run { "checked" } else { "restored" };
    let files = output::count(report.files, "file", "files");
    let levels = output::count(report.levels.len() as u64, "level", "levels");
    output::line(
        context.global,
        &format!("{verb} {files}, {} from {levels} of backup {}", output::bytes(report.bytes), report.id),
    );
    if report.problems > 0 {
        let problems = output::count(report.problems, "entry", "entries");
        output::warning(&format!(
            "icecore: {problems} could not be given everything the backup holds; they are named above"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
