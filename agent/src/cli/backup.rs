//! `icecore backup`: make a backup of directories, files, or a stream.

use super::source::{Paths, Wanted, exclude_files};
use super::{Context, RepositoryArguments, cores, host_name, now, parse_time, scratch};
use crate::hooks::HookArguments;
use crate::keys::{self, How, IdentityArguments};
use crate::progress::Terminal;
use crate::states::StateFolder;
use crate::still::{self, Still, StillArguments};
use crate::{exit, machine, output, seen};
use clap::Args;
use icecore::backup::levels::{Encryption, Settings as Levels, States};
use icecore::backup::snapshot::{Parent, Settings as Snapshots};
use icecore::backup::{self, Report};
use icecore::codec::Compression;
use icecore::engine::{self, Input, Root, Way, dedup, rsync};
use icecore::error::{Error, Kind, Result};
use icecore::keyring::Keyring;
use icecore::level::Policy;
use icecore::repository::Repository;
use icecore::repository::vault::CompressionLevel;
use icecore::time::{FileTime, Timestamp};
use icecore::tree::dereference::Dereference;
use icecore::tree::filter::Filter;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// Threads that read ahead, where nothing else is said.
const READERS: usize = 8;

/// Back up directories and files
///
/// Every backup is whole by itself; what earlier ones have stored is not
/// stored again, and what has not changed since the one before is not read.
/// Of several paths, each stands in the backup under its last part. What cannot
/// be read, and one of several paths that is gone, is named, the rest is backed
/// up, and the exit status is 3.
///
///   icecore backup -r /srv/backups ~/docs
///   icecore backup -r /srv/backups --name etc --exclude '*.bak' /etc
///   icecore backup -r /srv/backups --stdin-from-command -- pg_dumpall
///
/// With --engine tar a backup is a tar archive, a level of a chain with
/// --incremental: the first backup of a name is full (level 0) and each later
/// one holds what changed since the one before. With --engine rsync a level
/// holds, of files that changed, only the blocks that are new. Either is encrypted by age, under
/// the password or to the recipients that are given, unless --no-encryption
/// says that it is not.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    paths: Paths,
    /// How to make the backup
    #[arg(long, default_value = dedup::NAME, value_parser = super::engine_names())]
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
    /// A word to find and keep the backup by; may be repeated
    #[arg(long)]
    tag: Vec<String>,
    /// The time the backup is said to be of [default: now] (2026-11-24, 2026-11-24T18:00:00Z, or @ and seconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    time: Option<Timestamp>,
    /// Leave out what matches, as in .gitignore; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Leave out what matches a pattern in this file; may be repeated
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// Leave out the contents of directories marked by a CACHEDIR.TAG file
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out the contents of directories that hold a file of this name; may be repeated
    #[arg(long, value_name = "NAME")]
    exclude_if_present: Vec<String>,
    /// Stay on the file system of each PATH
    #[arg(long)]
    one_file_system: bool,
    /// Take unchanged files from this backup [default: the newest of the same host, name and paths]
    #[arg(long, value_name = "ID", conflicts_with = "force")]
    parent: Option<String>,
    /// Read every file, also those that have not changed since the backup before
    #[arg(long)]
    force: bool,
    /// How to compress: off, fast, default, better, max or a level of zstd; with --engine tar or rsync: none, zstd, gzip, bzip2 or
    /// xz [default: default, or zstd]
    #[arg(long, value_name = "HOW", allow_negative_numbers = true)]
    compression: Option<String>,
    /// Take what was compressed for right without decompressing it
    #[arg(long)]
    no_verify_compression: bool,
    /// Store the backup readable by everybody who can read the repository
    #[arg(long)]
    no_encryption: bool,
    /// Say what would be done; write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Threads that read and compress [default: one for each core]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Threads that have files fetched from the disk before they are read, where the system's cache has not got them; 0 for none
    /// [default: 8]
    #[arg(long, value_name = "N")]
    read_concurrency: Option<usize>,
    #[command(flatten)]
    levels: LevelArguments,
    #[command(flatten)]
    still: StillArguments,
    #[command(flatten)]
    pub(super) hooks: HookArguments,
}

/// What only engines that make levels understand.
#[derive(Args)]
#[command(next_help_heading = "Only with --engine tar or rsync")]
struct LevelArguments {
    /// Back up what changed since the backup before
    #[arg(long)]
    incremental: bool,
    /// Make a full backup after level N
    #[arg(long, value_name = "N", requires = "incremental")]
    max_level: Option<u32>,
    /// After level N, keep making level N, each against the same level N-1
    #[arg(long, value_name = "N", requires = "incremental")]
    always_level: Option<u32>,
    /// Make a full backup when the last full one is older than this
    #[arg(long, value_name = "DAYS", requires = "incremental")]
    restart_after: Option<f64>,
    /// The compressor's level [default: 3 for zstd, 6 for gzip and xz, 9 for bzip2]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    compression_level: Option<i32>,
    /// How to encrypt: age, which `age -d` opens, or freezer, which Freezer and openssl open and which protects less, or none
    /// [default: age]
    #[arg(long, value_name = "HOW", value_enum, hide_possible_values = true)]
    encryption: Option<How>,
    /// Encrypt to this public key in place of the password: age1…, ssh-ed25519 …, ssh-rsa …, or @FILE with one on each line;
    /// may be repeated
    #[arg(long, value_name = "KEY")]
    recipient: Vec<String>,
    /// With --engine rsync: the length of the blocks that are found again, 512 to 16777216 [default: 1024, or 4096 for files
    /// from 1 MiB on; longer where a file has more than four million of them]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(BLOCK_SIZES))]
    block_size: Option<u32>,
    /// Store what symbolic links point to, in place of the links; one that leads nowhere, or to a directory that it is in, is
    /// named and stored as it is
    #[arg(long)]
    dereference: bool,
    /// Store each name of a file with several names as a file of its own
    #[arg(long)]
    hard_dereference: bool,
}

/// Lengths of blocks that can be asked for.
const BLOCK_SIZES: std::ops::RangeInclusive<i64> =
    icecore::limits::RSYNC_BLOCK_MIN_BYTES as i64..=icecore::limits::RSYNC_BLOCK_MAX_BYTES as i64;

/// Makes the backup and says what it holds.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let is_levels = arguments.is_levels()?;
    let identities = IdentityArguments::default();
    arguments.settings(is_levels, &arguments.repository.keyring(context, &identities)?)?;
    arguments.check()?;
    let filter = arguments.filter()?;
    let repository = arguments.open(context, is_levels)?;
    let Made { mut report, left } = make(context, arguments, &repository, filter, &mut |_, _| Ok(()))?;
    print(context, &report);
    if !arguments.dry_run {
        if let (Some(vault), Some(state)) = (repository.vault(), report.state.take()) {
            vault.keep_state(state);
        }
        // The backup is there, whatever comes of this.
        if let Err(error) = seen::look(context, &repository, seen::Strictness::Warn) {
            let text =
                format!("the repository could not be compared with what was seen of it before: {error}");
            seen::warn(context, &text);
        }
        machine::end_what_is_over(context, &repository, report.sessions.take());
    }
    let code = ExitCode::from(if report.errors > 0 { exit::INCOMPLETE } else { 0 });
    left.map_or(Ok(code), |error| Err(error.while_doing("the backup is made, but", "")))
}

/// A backup that was made.
pub struct Made {
    /// What it came to.
    pub report: Report,
    /// What was done to the source for it, and could not be undone.
    pub left: Option<Error>,
}

/// Makes the backup in a repository that is open, of what `filter` does not leave out. `look` is shown what is going to be read, when
/// that stands still.
pub fn make(
    context: &Context<'_>,
    arguments: &Arguments,
    repository: &Repository,
    filter: Filter,
    look: &mut dyn FnMut(&[PathBuf], &Filter) -> Result<()>,
) -> Result<Made> {
    if !arguments.dry_run {
        arguments.repository.heal(context, repository)?;
    }
    // Nothing is held still for a rehearsal.
    let mut still = match arguments.dry_run {
        true => Still::default(),
        false => arguments.still.prepare(context)?,
    };
    let outcome = read(context, arguments, repository, filter, &mut still, look);
    let outcome = outcome.map_err(|error| still.explained(error));
    let (report, left) = still::settled(outcome, still.end())?;
    Ok(Made { report, left })
}

/// Reads what has been prepared, and stores it.
fn read(
    context: &Context<'_>,
    arguments: &Arguments,
    repository: &Repository,
    filter: Filter,
    still: &mut Still,
    look: &mut dyn FnMut(&[PathBuf], &Filter) -> Result<()>,
) -> Result<Report> {
    let identities = IdentityArguments::default();
    let keys = arguments.repository.keyring(context, &identities)?;
    let (mut levels, snapshots) = arguments.settings(arguments.is_levels()?, &keys)?;
    let states = StateFolder::of(repository.id().unwrap_or(&repository.storage().label()));
    levels.states = states.as_ref().map(|states| states as &dyn States);
    let mut filter = filter;
    let places = arguments.repository.folders()?;
    // A command is not started before the repository is known to be there.
    let mut wanted = arguments.paths.wanted()?;
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => arguments.paths.default_name(&wanted)?,
    };
    let begun = now();
    let (mut stands_for, mut paths_read) = (Vec::new(), Vec::new());
    let input = match &mut wanted {
        Wanted::Stream(_) if arguments.still.wants_snapshot() => {
            return Err(Error::invalid("a stream is on no volume:", "--snapshot"));
        }
        Wanted::Stream(content) => {
            Input::Stream { name: arguments.paths.stream_name()?, content: content.as_mut() }
        }
        Wanted::Paths(paths) => {
            for path in paths.iter() {
                let is_within = |source: PathBuf| places.iter().any(|place| source.starts_with(place));
                if std::fs::canonicalize(path).is_ok_and(is_within) {
                    let shown = path.display().to_string();
                    return Err(Error::invalid("the source is the repository, or a part of it:", shown));
                }
            }
            let roots = backup::roots(paths)?;
            paths_read = paths.clone();
            if !arguments.dry_run {
                paths_read = still.take(context, &arguments.still, paths, arguments.one_file_system)?;
                stands_for.clone_from(paths);
            }
            Input::Trees(
                roots.into_iter().zip(&paths_read).map(|(root, path)| Root { path, ..root }).collect(),
            )
        }
    };
    for metadata in places.iter().flat_map(std::fs::metadata) {
        filter = filter.without_repository(metadata.dev(), metadata.ino());
        if let Some(device) = still.device_for(metadata.dev()) {
            filter = filter.without_repository(device, metadata.ino());
        }
    }
    look(&paths_read, &filter)?;
    let still = &*still;
    let confirm = || still.confirm();
    let options = backup::Options {
        engine: arguments.engine.clone(),
        host: arguments.host.clone().unwrap_or_else(host_name),
        name,
        input,
        standing: backup::Standing { stands_for, since: still.since(), confirm: Some(&confirm) },
        filter: &filter,
        one_file_system: arguments.one_file_system,
        dereference: Dereference {
            symbolic: arguments.levels.dereference,
            hard: arguments.levels.hard_dereference,
        },
        tags: arguments.tag.clone(),
        now: begun,
        workers: arguments.jobs.unwrap_or_else(cores).max(1),
        process: machine::this_process(),
        dry_run: arguments.dry_run,
        levels,
        snapshots,
    };
    let monitor = Terminal::new(context.global, context.stop.clone(), "Backing up");
    let report = backup::run(repository, options, &scratch(), &monitor, &|| now());
    monitor.finish();
    report
}

impl Arguments {
    fn is_levels(&self) -> Result<bool> {
        Ok(matches!(engine::by_name(&self.engine)?.way(), Way::Levels(_)))
    }

    /// Looks whether the words go together, before anything is opened or made.
    ///
    /// # Errors
    /// `Invalid` when they do not.
    pub fn check(&self) -> Result<()> {
        self.paths.check()?;
        self.still.check()
    }

    /// Where the repository is.
    pub fn repository_mut(&mut self) -> &mut RepositoryArguments {
        &mut self.repository
    }

    fn filter(&self) -> Result<Filter> {
        let mut filter = Filter::none().exclude(&self.exclude)?.exclude_caches(self.exclude_caches);
        for name in &self.exclude_if_present {
            filter = filter.exclude_if_present(name.as_bytes());
        }
        exclude_files(filter, &self.exclude_file)
    }

    /// What each way of making backups is told. An option that means nothing to the engine is an error, not a wish unheard.
    fn settings<'k>(&self, is_levels: bool, keys: &'k Keyring<'k>) -> Result<(Levels<'k>, Snapshots)> {
        let (wrong, hint) = if is_levels {
            (self.given_for_snapshots(), "leave it out, or leave out --engine")
        } else {
            (
                self.given_for_levels(),
                "every backup is whole, and stores only what is new; for levels, say --engine tar or --engine rsync",
            )
        };
        let wrong = wrong
            .or((self.levels.block_size.is_some() && self.engine != rsync::NAME).then_some("--block-size"));
        if let Some(option) = wrong {
            return Err(
                Error::invalid(format!("the {} engine does not know", self.engine), option).hint(hint)
            );
        }
        let mut levels = Levels {
            policy: Policy {
                incremental: self.levels.incremental,
                max_level: self.levels.max_level,
                always_level: self.levels.always_level,
                restart_after_days: self.levels.restart_after,
            },
            compression: Compression::Zstd,
            compression_level: self.levels.compression_level,
            encryption: if is_levels { self.encryption()? } else { Encryption::None },
            keys,
            states: None,
            block_bytes: self.levels.block_size,
        };
        if matches!(levels.encryption, Encryption::Freezer) {
            // What Freezer has by default; it does not read zstd.
            levels.compression = Compression::Gzip;
        }
        let mut effort = CompressionLevel::default();
        match &self.compression {
            Some(how) if is_levels => {
                let unknown = |error: Error| {
                    Error::invalid(format!("the {} engine does not know the compression", self.engine), how)
                        .hint(error.advice().unwrap_or_default())
                };
                levels.compression = how.parse().map_err(unknown)?;
            }
            Some(how) => effort = how.parse()?,
            None => {}
        }
        let parent = match &self.parent {
            _ if self.force => Parent::None,
            Some(id) => Parent::This(id.clone()),
            None => Parent::Newest,
        };
        let snapshots = Snapshots {
            effort,
            verify_compression: !self.no_verify_compression,
            parent,
            time: self.time.map(|time| FileTime::new(time.0, 0)),
            readers: self.read_concurrency.unwrap_or(READERS),
        };
        Ok((levels, snapshots))
    }

    /// How chains are to be encrypted. That they are not must have been said.
    fn encryption(&self) -> Result<Encryption> {
        let how = match (self.levels.encryption, self.no_encryption) {
            (Some(How::Age | How::Freezer), true) => {
                return Err(keys::contradict("--no-encryption", "--encryption"));
            }
            (_, true) => How::None,
            (how, false) => how.unwrap_or(How::Age),
        };
        how.encryption(&self.levels.recipient)
    }

    fn given_for_levels(&self) -> Option<&'static str> {
        let levels = &self.levels;
        first_given(&[
            (levels.incremental, "--incremental"),
            (levels.compression_level.is_some(), "--compression-level"),
            (levels.encryption.is_some(), "--encryption"),
            (!levels.recipient.is_empty(), "--recipient"),
            (levels.block_size.is_some(), "--block-size"),
            (levels.dereference, "--dereference"),
            (levels.hard_dereference, "--hard-dereference"),
        ])
    }

    fn given_for_snapshots(&self) -> Option<&'static str> {
        first_given(&[
            (self.parent.is_some(), "--parent"),
            (self.force, "--force"),
            (self.time.is_some(), "--time"),
            (self.no_verify_compression, "--no-verify-compression"),
            (self.read_concurrency.is_some(), "--read-concurrency"),
        ])
    }

    /// Opens (or makes) the repository; for a rehearsal that is to make one, one in memory stands in where there is none.
    fn open(&self, context: &Context<'_>, is_levels: bool) -> Result<Repository> {
        match self.open_what_is_there(context, is_levels) {
            Err(missing) if self.init && self.dry_run && missing.kind() == Kind::NoRepository => {
                self.repository.rehearse(context, !is_levels, missing)
            }
            opened => opened,
        }
    }

    /// Opens (or makes) the repository, and makes sure that nothing is stored in clear by accident.
    fn open_what_is_there(&self, context: &Context<'_>, is_levels: bool) -> Result<Repository> {
        if is_levels {
            return match self.init && !self.dry_run {
                true => self.repository.create(context),
                false => self.repository.open_on(context, false),
            };
        }
        let repository = match self.init && !self.dry_run {
            true => {
                let (mut repository, protection) =
                    self.repository.create_for_vault(context, self.no_encryption)?;
                self.repository.create_vault(context, &mut repository, protection.as_ref())?;
                repository
            }
            false => self.repository.open(context)?,
        };
        match repository.the_vault()?.is_encrypted() {
            true if self.no_encryption => Err(Error::invalid("this repository is encrypted:", repository.storage().label())
                .hint("leave out --no-encryption")),
            false if !self.no_encryption => Err(Error::new(Kind::Invalid, "this repository is not encrypted:")
                .on(repository.storage().label())
                .hint("add --no-encryption if it may hold readable data; if it should be encrypted, somebody has put another in its place")),
            _ => Ok(repository),
        }
    }
}

/// The first option that was given.
fn first_given(options: &[(bool, &'static str)]) -> Option<&'static str> {
    options.iter().find(|(given, _)| *given).map(|(_, name)| *name)
}

fn print(context: &Context<'_>, report: &Report) {
    if context.global.json {
        output::json(&summary(report));
        return;
    }
    let verb = if report.dry_run { "would back up" } else { "backed up" };
    let what = output::count(report.files, "file", "files");
    output::line(context.global, &format!("{verb} {what}, {}", output::bytes(report.bytes)));
    let level =
        if report.engine == dedup::NAME { String::new() } else { format!("level {} of ", report.level) };
    output::line(context.global, &format!("{level}{}: {}", output::printable(&report.series), report.reason));
    if let Some(id) = &report.id {
        let stored = output::bytes(report.stored_bytes);
        output::line(context.global, &format!("backup {}, {stored} stored", id.short()));
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
