//! `icecore restore`: get a backup back.

use super::{
    Context, DetailArguments, RepositoryArguments, SeriesArguments, absolute, host_name, parse_time, scratch,
};
use crate::keys::IdentityArguments;
use crate::progress::Terminal;
use crate::{output, seen};
use clap::{Args, ValueEnum};
use icecore::engine::Overwrite;
use icecore::error::{Error, Result};
use icecore::repository::Repository;
use icecore::repository::vault::ahead::Needs;
use icecore::restore;
use icecore::select::place::Place;
use icecore::time::Timestamp;
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Restore a backup into a directory
///
/// The target is made if it is not there. One that is not empty is left alone
/// unless --overwrite says what becomes of what is there:
///
///   always      compare contents, and replace what differs (--overwrite alone)
///   if-changed  the same; but files of the same size and time count as unchanged
///               and are not read. Also goes on with a restore that broke off
///   if-newer    replace what was changed later in the backup; keep all else
///   never       keep everything; make only what is missing
///
/// What the backup does not have stays, unless --delete is given too. Of a large
/// file that is there only the parts that differ are fetched. What is restored
/// is checked as it is read; --verify reads it back from the disk as well.
///
/// BACKUP:PATH restores what is in one directory of the backup, or one file.
/// --include and --exclude take paths and patterns as in .gitignore, relative to
/// that; what is excluded is neither restored nor deleted.
///
///   icecore restore -r /srv/backups --target /tmp/back latest
///   icecore restore -r /srv/backups --target /tmp/docs latest~1:home/me/docs
///   icecore restore -r /srv/backups --target /tmp/back --include '*.txt' --exclude /tmp
///   icecore restore -r /srv/backups --target /home/me --overwrite if-changed --delete
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
    #[command(flatten)]
    identities: IdentityArguments,
    /// Which backup, and after a colon what of it: BACKUP is an id (or the head of one) that `list` prints, `latest`, or
    /// `latest~N` for the N-th before it
    #[arg(value_name = "BACKUP[:PATH]", default_value = "latest")]
    place: OsString,
    /// The newest backup that is not newer than this time (2026-11-24, 2026-11-24T18:00:00Z, or @ and seconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// Restore only this path, with everything below it, or what this pattern matches (one with *, ? or [ that is no path of
    /// the backup); may be repeated
    #[arg(long, value_name = "PATH")]
    include: Vec<OsString>,
    /// Leave out what this pattern matches; may be repeated, a later one beats an earlier one
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Restore into a directory that is not empty, and say what becomes of what is there
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    overwrite: Option<When>,
    /// Also remove what is in restored directories but not in the backup; with always and if-changed
    #[arg(long, requires = "overwrite")]
    delete: bool,
    /// Make holes of long runs of zeros (64 KiB or more in whole blocks) that are data in the backup
    #[arg(long)]
    sparse: bool,
    /// Read every restored file back from the disk and compare it; not what was left as it was
    #[arg(long, conflicts_with = "dry_run")]
    verify: bool,
    /// Give files to users and groups by number, also where their names are known here
    #[arg(long)]
    numeric_owner: bool,
    /// Where to restore to
    #[arg(long, value_name = "DIR")]
    target: PathBuf,
    /// Read and check everything that would be restored into an empty target; write nothing
    #[arg(long)]
    dry_run: bool,
}

/// When what is there is replaced.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// When its content differs
    Always,
    /// When its size or time differs
    IfChanged,
    /// When the backup has a newer one
    IfNewer,
    /// Never; only what is missing is made
    Never,
}

impl When {
    fn policy(self) -> Overwrite {
        match self {
            When::Always => Overwrite::Always,
            When::IfChanged => Overwrite::IfChanged,
            When::IfNewer => Overwrite::IfNewer,
            When::Never => Overwrite::Never,
        }
    }
}

/// Joins `--overwrite WORD` of a restore to `--overwrite=WORD` where the word is one of those it takes. Alone it takes none, so that
/// what follows may be the backup.
pub fn with_joined_overwrite(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let (mut is_restore, mut is_over) = (false, false);
    for argument in arguments {
        let is_first_word =
            !joined.is_empty() && !joined[1..].iter().any(|word| !word.as_bytes().starts_with(b"-"));
        is_restore |= is_first_word && argument == "restore";
        let word = argument.to_str().filter(|word| When::from_str(word, false).is_ok());
        match (joined.last_mut().filter(|last| *last == "--overwrite"), word) {
            (Some(last), Some(word)) if is_restore && !is_over => {
                last.push("=");
                last.push(word);
            }
            _ => {
                is_over |= argument == "--";
                joined.push(argument);
            }
        }
    }
    joined
}

/// Restores and says what came back.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    // Refused before a password is asked for.
    Place::parse(arguments.place.as_bytes())?;
    if arguments.delete && arguments.overwrite.is_some_and(|when| when.policy().keeps()) {
        // Said before a password is asked for.
        return Err(Error::invalid(
            "--delete removes, and does not go with",
            "--overwrite if-newer or never",
        )
        .hint("use --overwrite always or --overwrite if-changed, or leave out --delete"));
    }
    let filter = arguments.details.narrow(arguments.series.filter())?;
    let repository = arguments.repository.open_to_read(context, &filter, Needs::Content)?;
    let report = make(context, arguments, &repository)?;
    print(context, arguments, &report);
    Ok(ExitCode::SUCCESS)
}

/// Restores from a repository that is open.
pub fn make(
    context: &Context<'_>,
    arguments: &Arguments,
    repository: &Repository,
) -> Result<restore::Report> {
    let place = Place::parse(arguments.place.as_bytes())?;
    let filter = arguments.details.narrow(arguments.series.filter())?;
    let target = absolute(&arguments.target)?;
    for folder in arguments.repository.folders()? {
        keep_apart(&folder, &target, arguments.delete)?;
    }
    let keys = arguments.repository.keyring(context, &arguments.identities)?;
    let include: Vec<Vec<u8>> = arguments.include.iter().map(|path| path.as_bytes().to_vec()).collect();
    let options = restore::Options {
        filter,
        this_host: host_name(),
        backup: place.backup,
        at: arguments.at,
        path: place.path,
        include,
        exclude: arguments.exclude.clone(),
        overwrite: arguments.overwrite.map(When::policy),
        delete: arguments.delete,
        sparse: arguments.sparse,
        verify: arguments.verify,
        numeric_owner: arguments.numeric_owner,
        target: &target,
        keys: &keys,
        dry_run: arguments.dry_run,
        workers: arguments.repository.workers(repository),
    };
    seen::look(context, repository, seen::Strictness::Warn)?;
    let monitor = Terminal::new(context.global, context.stop.clone(), "Restoring");
    let report = restore::run(repository, &options, &scratch(), &monitor);
    monitor.finish();
    report
}

fn print(context: &Context<'_>, arguments: &Arguments, report: &restore::Report) {
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "id": report.id.to_string(),
            "series": report.series,
            "levels": report.levels,
            "files": report.files,
            "bytes": report.bytes,
            "kept": report.kept,
            "unchanged": report.unchanged,
            "verified": report.verified,
            "problems": report.problems,
            "dry_run": arguments.dry_run,
        }));
        return;
    }
    let verb = if arguments.dry_run { "checked" } else { "restored" };
    let files = output::count(report.files, "file or link", "files and links");
    let levels = match report.levels.len() {
        1 => String::new(),
        count => format!("{count} levels of "),
    };
    let (bytes, id) = (output::bytes(report.bytes), report.id.short());
    output::line(context.global, &format!("{verb} {files}, {bytes} from {levels}backup {id}"));
    if arguments.dry_run && (arguments.delete || arguments.overwrite.is_some()) {
        output::line(
            context.global,
            "what is in the target was not looked at: what would be replaced or deleted there is not told",
        );
    }
    tell_what_stayed(context, report);
    if report.problems > 0 {
        let problems = output::count(report.problems, "entry", "entries");
        let named =
            if context.global.quiet { "without --quiet they are named" } else { "they are named above" };
        output::warning(&format!(
            "icecore: {problems} could not be given everything the backup holds; {named}"
        ));
    }
}

impl Arguments {
    /// Where the repository is.
    pub fn repository_mut(&mut self) -> &mut RepositoryArguments {
        &mut self.repository
    }
}

/// What was left as it was, and what was verified.
fn tell_what_stayed(context: &Context<'_>, report: &restore::Report) {
    let mut lines = Vec::new();
    if report.unchanged > 0 {
        let files = output::count(report.unchanged, "of them was", "of them were");
        lines.push(format!("{files} there already, of the same size and time, and not read"));
    }
    if report.kept > 0 {
        let entries = output::count(report.kept, "entry", "entries");
        lines.push(format!("not restored, since what is there stays: {entries}"));
    }
    if let Some(verified) = report.verified {
        let files = output::count(verified, "file", "files");
        let rest =
            if report.unchanged + report.kept > 0 { "; what was left as it was is not verified" } else { "" };
        lines.push(format!("read back and compared: {files}{rest}"));
    }
    lines.iter().for_each(|line| output::line(context.global, line));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_behind_overwrite_is_joined_only_where_it_is_one_of_its_words() {
        for (line, joined) in [
            (
                "icecore restore --overwrite never --target D latest",
                "icecore restore --overwrite=never --target D latest",
            ),
            ("icecore -q restore --overwrite if-newer", "icecore -q restore --overwrite=if-newer"),
            (
                "icecore restore --overwrite --target D latest",
                "icecore restore --overwrite --target D latest",
            ),
            ("icecore restore --overwrite latest", "icecore restore --overwrite latest"),
            ("icecore restore --overwrite=always never", "icecore restore --overwrite=always never"),
            ("icecore restore -- --overwrite never", "icecore restore -- --overwrite never"),
            ("icecore dump --overwrite never", "icecore dump --overwrite never"),
            ("icecore list restore --overwrite never", "icecore list restore --overwrite never"),
            ("restore --overwrite never", "restore --overwrite never"),
        ] {
            let found = with_joined_overwrite(line.split(' ').map(OsString::from));
            assert_eq!(found.join(std::ffi::OsStr::new(" ")), joined);
        }
    }
}
