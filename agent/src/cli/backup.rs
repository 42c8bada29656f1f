//! `icecore backup`: make a backup of a directory or a file.

use super::{Context, RepositoryArguments, absolute, cores, host_name, now, scratch};
use crate::exit;
use crate::output;
use crate::progress::Terminal;
use clap::Args;
use icecore::backup::{self, Report};
use icecore::codec::Compression;
use icecore::engine::Source;
use icecore::error::{Error, Result};
use icecore::level::Policy;
use icecore::tree::filter::Filter;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Back up a directory or a file
///
/// With --incremental, the first backup of a name is full (level 0) and each
/// later one holds what changed since the one before. A file that cannot be
/// read is named, the rest is backed up, and the exit status is 3.
///
///   icecore backup -r /srv/backups --init --no-encryption --incremental ~/docs
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    /// What to back up; a symbolic link is followed
    path: PathBuf,
    /// How to make the backup
    #[arg(long, default_value = "tar", value_parser = super::engine_names())]
    engine: String,
    /// Make the repository if there is none yet
    #[arg(long)]
    init: bool,
    /// What to call the backup [default: the last part of PATH]
    #[arg(long)]
    name: Option<String>,
    /// The host the data belongs to [default: the name of this machine]
    #[arg(long)]
    host: Option<String>,
    /// Back up what changed since the backup before
    #[arg(long)]
    incremental: bool,
    /// Make a full backup after level N
    #[arg(long, value_name = "N", requires = "incremental")]
    max_level: Option<u32>,
    /// After level N, keep making level N, each against the same level N-1
    #[arg(long, value_name = "N", requires = "incremental")]
    always_level: Option<u32>,
    /// Make a full backup when the newest one is older than this
    #[arg(long, value_name = "DAYS", requires = "incremental")]
    restart_after: Option<f64>,
    /// How to compress
    #[arg(long, default_value = "zstd", value_parser = super::compression_names())]
    compression: String,
    /// The compressor's level [default: 3 for zstd, 6 for gzip and xz, 9 for bzip2]
    #[arg(long, value_name = "N")]
    compression_level: Option<i32>,
    /// Leave out what matches, as in .gitignore; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Leave out the contents of directories marked by a CACHEDIR.TAG file
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out the contents of directories that hold a file of this name; may be repeated
    #[arg(long, value_name = "NAME")]
    exclude_if_present: Vec<String>,
    /// Stay on the file system of PATH
    #[arg(long)]
    one_file_system: bool,
    /// A word to find and keep the backup by; may be repeated
    #[arg(long)]
    tag: Vec<String>,
    /// Store the backup readable by everybody who can read the repository
    #[arg(long)]
    no_encryption: bool,
    /// Say what would be done; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Threads that compress [default: one for each core]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// Makes the backup and says what it holds.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    if !arguments.no_encryption {
        return Err(Error::invalid("the tar engine cannot encrypt yet", "")
            .hint("add --no-encryption if the repository may hold readable data"));
    }
    let path = absolute(&arguments.path)?;
    let mut filter = filter(arguments)?;
    let repository = if arguments.init && !arguments.dry_run {
        arguments.repository.create()?
    } else {
        arguments.repository.open()?
    };
    let place = arguments.repository.real_path()?;
    if std::fs::canonicalize(&path).is_ok_and(|source| source.starts_with(&place)) {
        return Err(Error::invalid(
            "the source is the repository, or a part of it:",
            path.display().to_string(),
        ));
    }
    if let Ok(metadata) = std::fs::metadata(&place) {
        filter = filter.without_repository(metadata.dev(), metadata.ino());
    }
    let options = backup::Options {
        engine: arguments.engine.clone(),
        host: arguments.host.clone().unwrap_or_else(host_name),
        name: name(arguments, &path)?,
        policy: Policy {
            incremental: arguments.incremental,
            max_level: arguments.max_level,
            always_level: arguments.always_level,
            restart_after_days: arguments.restart_after,
        },
        compression: arguments.compression.parse::<Compression>()?,
        compression_level: arguments.compression_level,
        source: Source { path: &path, filter: &filter, one_file_system: arguments.one_file_system },
        tags: arguments.tag.clone(),
        now: now(),
        workers: arguments.jobs.unwrap_or_else(cores).max(1),
        process: std::process::id(),
        dry_run: arguments.dry_run,
    };
    let monitor = Terminal::new(context.global, context.stop.clone(), "Backing up");
    let report = backup::run(&repository, &options, &scratch(), &monitor, &|| now());
    monitor.finish();
    let report = report?;
    print(context, &report);
    Ok(ExitCode::from(if report.errors > 0 { exit::INCOMPLETE } else { 0 }))
}

fn filter(arguments: &Arguments) -> Result<Filter> {
    let mut filter = Filter::none().exclude(&arguments.exclude)?.exclude_caches(arguments.exclude_caches);
    for name in &arguments.exclude_if_present {
        filter = filter.exclude_if_present(name.as_bytes());
    }
    Ok(filter)
}

/// The name of the series: what was asked for, or the last part of the path.
fn name(arguments: &Arguments, path: &Path) -> Result<String> {
    if let Some(name) = &arguments.name {
        return Ok(name.clone());
    }
    // `.` and `..` are called what they are; links are called what the user calls them.
    let ends_in_dots = arguments
        .path
        .components()
        .next_back()
        .is_none_or(|last| !matches!(last, std::path::Component::Normal(_)));
    let path =
        if ends_in_dots { std::fs::canonicalize(path).unwrap_or(path.to_owned()) } else { path.to_owned() };
    match path.file_name() {
        Some(name) => name.to_str().map(str::to_owned).ok_or_else(|| {
            Error::invalid("not a usable backup name:", path.display().to_string())
                .hint("give one with --name")
        }),
        None => Ok("root".to_owned()),
    }
}

fn print(context: &Context<'_>, report: &Report) {
    if context.global.json {
        output::json(&summary(report));
        return;
    }
    let verb = if report.dry_run { "would back up" } else { "backed up" };
    let what = output::count(report.files, "file", "files");
    output::line(context.global, &format!("{verb} {what}, {}", output::bytes(report.bytes)));
    output::line(
        context.global,
        &format!("level {} of {}: {}", report.level, output::printable(&report.series), report.reason),
    );
    if let Some(id) = &report.id {
        output::line(context.global, &format!("backup {id}, {} stored", output::bytes(report.stored_bytes)));
    }
    if report.errors > 0 {
        let errors = output::count(report.errors, "entry", "entries");
        output::warning(&format!(
            "icecore: {errors} could not be read whole; they are named above and tried again next time"
        ));
    }
}

fn summary(report: &Report) -> Value {
    json!({
        "type": "summary",
        "id": report.id.as_ref().map(ToString::to_string),
        "engine": report.engine,
        "name": report.name,
        "host": report.host,
        "series": report.series,
        "level": report.level,
        "chain": report.chain,
        "timestamp": report.timestamp,
        "time": icecore::time::Timestamp(report.timestamp).rfc3339(),
        "files": report.files,
        "bytes": report.bytes,
        "stored_bytes": report.stored_bytes,
        "errors": report.errors,
        "reason": report.reason,
        "dry_run": report.dry_run,
    })
}
