//! `icecore dump` and `icecore cat`: the bytes of a file of a backup, or a directory as an archive.

use super::which::WhichArguments;
use super::{Context, RepositoryArguments, absolute, entry, scratch};
use crate::exit;
use crate::keys::IdentityArguments;
use crate::output;
use crate::progress::Terminal;
use crate::seen;
use clap::{Args, ValueEnum};
use icecore::dump::{self, Form, Options, Report};
use icecore::error::{Error, Kind, Result};
use icecore::monitor::Monitor;
use icecore::repository::Repository;
use icecore::repository::vault::ahead::Needs;
use icecore::select::place::Place;
use serde_json::json;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Print a file of a backup, or a directory as a tar or zip archive
///
/// Every piece is verified before it is written. A file comes as it is, with
/// holes as zeros; a directory comes as an archive that GNU tar unpacks, with
/// names relative to it, or as a zip archive. What there is to say, with --json
/// too, goes to standard error.
///
/// Of backups by the engines tar and rsync single files are printed; each is
/// restored into the temporary folder first.
///
/// Zip has no place for pipes and devices, which are left out by name (status
/// 3), nor for extended attributes, hard links, the names of owners and parts of
/// a second.
///
///   icecore cat -r /srv/backups latest:docs/a.txt
///   icecore dump -r /srv/backups latest~1:docs | tar -tv
///   icecore dump -r /srv/backups latest -o docs.tar
///   icecore dump -r /srv/backups latest -o docs.zip
#[derive(Args)]
#[command(verbatim_doc_comment, visible_alias = "cat")]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    which: WhichArguments,
    #[command(flatten)]
    identities: IdentityArguments,
    /// Which backup, and after a colon what in it: BACKUP is an id (or the head of one), `latest`, or `latest~N`
    #[arg(value_name = "BACKUP:PATH")]
    place: OsString,
    /// Write an archive, also of a single file [default for a directory: zip where --output ends so, else tar]
    #[arg(long, visible_alias = "archive", value_enum)]
    format: Option<Format>,
    /// Write to this file, which is there only when all of it is
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file when it is there already
    #[arg(long, requires = "output")]
    overwrite: bool,
}

/// A form of archive.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A tar archive, with everything that a backup keeps
    Tar,
    /// A zip archive, for those who cannot unpack the other
    Zip,
}

impl Format {
    fn form(self) -> Form {
        match self {
            Format::Tar => Form::Tar,
            Format::Zip => Form::Zip,
        }
    }
}

/// Writes what was asked for.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    if arguments.output.is_none() {
        output::only_bytes();
    }
    let which = arguments.which.which();
    let repository = arguments.repository.open_to_read(context, &which.filter, Needs::Content)?;
    seen::look(context, &repository, seen::Strictness::Warn)?;
    let keys = arguments.repository.keyring(context, &arguments.identities)?;
    let scratch = scratch();
    let options = Options {
        which,
        place: Place::parse(arguments.place.as_bytes())?,
        form: arguments.format.map(Format::form),
        directory_form: if is_zip(arguments.output.as_deref()) { Form::Zip } else { Form::Tar },
        archives: arguments.output.is_some() || !std::io::stdout().is_terminal(),
        workers: arguments.repository.workers(&repository),
        scratch: &scratch,
        keys: &keys,
    };
    let left_out = match &arguments.output {
        Some(path) => {
            let monitor = Terminal::new(context.global, context.stop.clone(), "Writing");
            let report = to_file(&repository, &options, &monitor, &absolute(path)?, arguments.overwrite);
            monitor.finish();
            let report = report?;
            summarize(context, &report, path);
            report.left_out
        }
        None => {
            let monitor = Terminal::without_line(context.global, context.stop.clone());
            to_output(&repository, &options, &monitor)?
        }
    };
    Ok(ExitCode::from(if left_out > 0 { exit::INCOMPLETE } else { 0 }))
}

/// Whether the name of the file says what it is to be.
fn is_zip(path: Option<&Path>) -> bool {
    path.and_then(Path::extension).is_some_and(|extension| extension.eq_ignore_ascii_case("zip"))
}

/// Gives back how many entries were left out.
fn to_output(repository: &Repository, options: &Options<'_>, monitor: &dyn Monitor) -> Result<u64> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, output::Bytes::default());
    let written = dump::run(repository, options, monitor, &mut out).and_then(|report| {
        out.flush().map_err(|e| Error::io("cannot write to", "standard output", e)).map(|()| report.left_out)
    });
    match written {
        // Whoever reads has enough.
        Err(_) if out.get_ref().closed => {
            let (_, unwritten) = out.into_parts();
            drop(unwritten);
            Ok(0)
        }
        other => other,
    }
}

fn to_file(
    repository: &Repository,
    options: &Options<'_>,
    monitor: &dyn Monitor,
    path: &Path,
    overwrite: bool,
) -> Result<Report> {
    let failed = |e| Error::io("cannot write", path.display().to_string(), e);
    let there = std::fs::metadata(path).ok();
    if there.as_ref().is_some_and(|there| !there.is_file() && !there.is_dir()) {
        // A pipe or a device takes the place of nothing.
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        let report = dump::run(repository, options, monitor, &mut out)?;
        out.flush().map_err(failed)?;
        return Ok(report);
    }
    if there.is_some() && !overwrite {
        return Err(Error::new(Kind::AlreadyExists, "there already:")
            .on(path.display().to_string())
            .hint("choose another name, or say --overwrite to replace it"));
    }
    let beside = beside(path)?;
    let file = OpenOptions::new().write(true).create_new(true).open(&beside).map_err(failed)?;
    let written = write_beside(repository, options, monitor, file, &beside, path);
    if written.is_err() {
        // Gone, or never made: the failure that counts is the other one.
        std::fs::remove_file(&beside).unwrap_or(());
    }
    written
}

fn write_beside(
    repository: &Repository,
    options: &Options<'_>,
    monitor: &dyn Monitor,
    file: File,
    beside: &Path,
    path: &Path,
) -> Result<Report> {
    let failed = |e| Error::io("cannot write", path.display().to_string(), e);
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    let report = dump::run(repository, options, monitor, &mut out)?;
    out.flush().map_err(failed)?;
    out.get_ref().sync_all().map_err(failed)?;
    std::fs::rename(beside, path).map_err(failed)?;
    Ok(report)
}

/// A name in the same directory for what is not whole yet.
fn beside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::invalid("no file name:", path.display().to_string()))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.partial", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn summarize(context: &Context<'_>, report: &Report, path: &Path) {
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "backup": entry::backup_fields(&report.backup),
            "entries": report.entries,
            "bytes": report.bytes,
            "left_out": report.left_out,
        }));
        return;
    }
    let entries = output::count(report.entries, "entry", "entries");
    let shown = output::printable(&path.display().to_string());
    let from = entry::backup(&report.backup);
    let left_out = match report.left_out {
        0 => String::new(),
        number => format!("; {number} left out"),
    };
    let text =
        format!("wrote {entries}, {} of backup {from} to {shown}{left_out}", output::bytes(report.bytes));
    output::line(context.global, &text);
}
