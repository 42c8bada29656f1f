//! `icecore restore`: get a backup back.

use super::{
    Context, DetailArguments, RepositoryArguments, SeriesArguments, absolute, cores, host_name, parse_time,
    scratch,
};
use crate::progress::Terminal;
use crate::{output, seen};
use clap::Args;
use icecore::error::{Error, Result};
use icecore::restore;
use icecore::time::Timestamp;
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Restore a backup into a directory
///
/// The target is made if it is not there. One that is not empty is left alone
/// unless --overwrite is given, and even then what the backup does not have
/// stays, unless --delete is given too. What is restored is checked as it is
/// read.
///
///   icecore restore -r /srv/backups --target /tmp/back latest
///   icecore restore -r /srv/backups --target /tmp/back --include docs/a.txt
///   icecore restore -r /srv/backups --target /tmp/back --at 2026-11-24T18:00:00Z
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    series: SeriesArguments,
    #[command(flatten)]
    details: DetailArguments,
    /// Which backup: an id (or the head of one) that `list` prints, `latest`, or `latest~N` for the N-th before it
    #[arg(default_value = "latest")]
    backup: String,
    /// The newest backup that is not newer than this time (2026-11-24, 2026-11-24T18:00:00Z, or @ and seconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
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
    if arguments.backup.contains(':') {
        return Err(Error::invalid("not the id of a backup:", arguments.backup.clone())
            .hint("a part is restored with --include PATH, and printed by: icecore dump BACKUP:PATH"));
    }
    let filter = arguments.details.narrow(arguments.series.filter())?;
    let repository = arguments.repository.open_for(context, &filter)?;
    let target = absolute(&arguments.target)?;
    keep_apart(&arguments.repository.real_path()?, &target, arguments.delete)?;
    let include: Vec<Vec<u8>> = arguments.include.iter().map(|path| path.as_bytes().to_vec()).collect();
    let options = restore::Options {
        filter,
        this_host: host_name(),
        backup: arguments.backup.clone(),
        at: arguments.at,
        include,
        overwrite: arguments.overwrite,
        delete: arguments.delete,
        numeric_owner: arguments.numeric_owner,
        target: &target,
        dry_run: arguments.dry_run,
        workers: cores(),
    };
    seen::look(context, &repository, seen::Strictness::Warn)?;
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
    let files = output::count(report.files, "file or link", "files and links");
    let levels = match report.levels.len() {
        1 => String::new(),
        count => format!("{count} levels of "),
    };
    let (bytes, id) = (output::bytes(report.bytes), report.id.short());
    output::line(context.global, &format!("{verb} {files}, {bytes} from {levels}backup {id}"));
    if report.problems > 0 {
        let problems = output::count(report.problems, "entry", "entries");
        let named =
            if context.global.quiet { "without --quiet they are named" } else { "they are named above" };
        output::warning(&format!(
            "icecore: {problems} could not be given everything the backup holds; {named}"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// A restore must not write into the repository it reads, nor take it for a stranger in the target and remove it.
fn keep_apart(repository: &Path, target: &Path, delete: bool) -> Result<()> {
    // The target may not be there yet: what is there of it tells where it will be.
    let there = target.ancestors().find_map(|above| Some((above, std::fs::canonicalize(above).ok()?)));
    let Some((above, real)) = there else { return Ok(()) };
    let real = real.join(target.strip_prefix(above).unwrap_or(Path::new("")));
    if real.starts_with(repository) {
        return Err(Error::invalid("the target lies in the repository:", target.display().to_string()));
    }
    if delete && repository.starts_with(&real) {
        return Err(Error::invalid("the repository lies in the target:", target.display().to_string())
            .hint("--delete might remove it; leave that out, or choose another target"));
    }
    Ok(())
}
