//! `icecore find`: entries by name, type, time and size, in one backup or in all.

use super::which::WhichArguments;
use super::{Context, RepositoryArguments, entry, parse_time, scratch};
use crate::keys::IdentityArguments;
use crate::output::{self, Lines};
use crate::progress::Terminal;
use crate::seen;
use clap::{Args, ValueEnum};
use icecore::engine::dedup::tree::Known;
use icecore::error::Result;
use icecore::find::{self, Match, Wanted};
use icecore::repository::vault::ahead::Needs;
use icecore::select::place::Place;
use icecore::time::{FileTime, Timestamp};
use icecore::tree::attributes::FileKind;
use icecore::view::levels::Means;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// Find files in backups
///
/// A pattern is as in .gitignore: without a slash it is compared with names,
/// with one with paths from the root of what was backed up. With --all every
/// version of what is found is listed once, with the first and the last of the
/// backups in a row that hold it. Of backups by the engine tar, the archives of
/// a level and of all below it are read to see what is in it.
///
///   icecore find -r /srv/backups '*.odt'
///   icecore find -r /srv/backups --all letters/a.txt
///   icecore find -r /srv/backups --in latest~1:docs --type file --larger 100M
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    repository: RepositoryArguments,
    #[command(flatten)]
    which: WhichArguments,
    #[command(flatten)]
    identities: IdentityArguments,
    /// What to look for, as in .gitignore; several find what any of them does, none finds everything
    pattern: Vec<String>,
    /// Where to look: BACKUP is an id (or the head of one), `latest`, or `latest~N`; with --all only :PATH
    #[arg(long = "in", value_name = "BACKUP[:PATH]", default_value = "latest")]
    place: OsString,
    /// Look into all backups, each series by itself
    #[arg(long)]
    all: bool,
    /// Only entries of this type; may be repeated
    #[arg(long = "type", value_enum)]
    kind: Vec<Kind>,
    /// Only what was changed after this time (2026-11-24, 2026-11-24T18:00:00Z, or @ and seconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    newer: Option<Timestamp>,
    /// Only what was changed before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    older: Option<Timestamp>,
    /// Only files of more bytes than this (K, M, G and T are powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    larger: Option<u64>,
    /// Only files of fewer bytes than this
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    smaller: Option<u64>,
    /// Mode, owner, size and time (UTC) too, and where links point to
    #[arg(long, short, conflicts_with = "all")]
    long: bool,
}

/// A type of entry.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Files
    #[value(alias = "f")]
    File,
    /// Directories
    #[value(alias = "d")]
    Directory,
    /// Symbolic links
    #[value(alias = "l")]
    Symlink,
    /// Named pipes
    #[value(alias = "p")]
    Fifo,
    /// Character devices
    #[value(alias = "c", name = "char_device")]
    CharDevice,
    /// Block devices
    #[value(alias = "b", name = "block_device")]
    BlockDevice,
}

impl Kind {
    fn kind(self) -> FileKind {
        match self {
            Kind::File => FileKind::File,
            Kind::Directory => FileKind::Directory,
            Kind::Symlink => FileKind::Symlink,
            Kind::Fifo => FileKind::Fifo,
            Kind::CharDevice => FileKind::CharDevice,
            Kind::BlockDevice => FileKind::BlockDevice,
        }
    }
}

/// Prints what was found.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let which = arguments.which.which();
    let place = Place::parse(arguments.place.as_bytes())?;
    if arguments.all && place.backup != "latest" {
        let error = icecore::Error::invalid("--all looks into every backup, not only into", place.backup);
        return Err(error.hint("leave out one of them; --in :PATH says where to look in all of them"));
    }
    let whole_second = |time: Timestamp| FileTime::new(time.0, 0);
    let wanted = Wanted {
        kinds: arguments.kind.iter().map(|kind| kind.kind()).collect(),
        newer: arguments.newer.map(whole_second),
        older: arguments.older.map(whole_second),
        larger: arguments.larger,
        smaller: arguments.smaller,
        patterns: Wanted::patterns(&arguments.pattern)?,
    };
    let repository = arguments.repository.open_to_read(context, &which.filter, Needs::Content)?;
    seen::look(context, &repository, seen::Strictness::Warn)?;
    let keys = arguments.repository.keyring(context, &arguments.identities)?;
    let (scratch, workers) = (scratch(), arguments.repository.workers(&repository));
    let means = Means { keys: &keys, scratch: &scratch, workers };
    let options = find::Options { which, place, all: arguments.all, wanted, means };
    let monitor = Terminal::without_line(context.global, context.stop.clone());
    let mut lines = Lines::default();
    let mut heading: Option<Vec<u8>> = None;
    let report = find::run(&repository, &options, &monitor, &mut |found| {
        if context.global.json {
            lines.json(&json_match(found))
        } else if arguments.all {
            if heading.as_deref() != Some(found.path) {
                heading = Some(found.path.to_vec());
                lines.line(&entry::shown(found.path, Some(found.entry)))?;
            }
            lines.line(&version(found))
        } else if arguments.long {
            lines.line(&entry::long(found.path, found.entry))
        } else {
            lines.line(&entry::shown(found.path, Some(found.entry)))
        }
    });
    drop(lines);
    let Some(report) = output::unless_closed(report)? else { return Ok(ExitCode::SUCCESS) };
    if context.global.json {
        output::json(&json!({
            "type": "summary",
            "backups": report.backups,
            "matches": report.matches,
            "damaged": report.damaged,
        }));
    } else if report.matches == 0 {
        let backups = output::count(report.backups, "backup", "backups");
        output::remark(context.global, &format!("nothing like that in {backups}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn version(found: &Match<'_>) -> String {
    let size = match found.entry.kind {
        _ if found.entry.is_unread() => "unreadable".to_owned(),
        FileKind::File => output::bytes(found.entry.size_bytes),
        kind => entry::kind_name(kind).to_owned(),
    };
    let backups = match found.backups {
        1 => format!("in backup {}", entry::backup(found.first)),
        number => {
            format!("in {number} backups, {} to {}", entry::backup(found.first), entry::backup(found.last))
        }
    };
    let time = match found.entry.known {
        Known::Name => format!("{:<20}", "?"),
        _ => entry::time(found.entry.mtime),
    };
    format!("    {time}  {size:>10}  {backups}")
}

fn json_match(found: &Match<'_>) -> Value {
    let mut line = entry::line("match", found.path);
    line.extend(entry::fields(found.entry));
    line.insert("first".to_owned(), entry::backup_fields(found.first));
    line.insert("last".to_owned(), entry::backup_fields(found.last));
    line.insert("backups".to_owned(), found.backups.into());
    Value::Object(line)
}

/// Parses `512`, `10K`, `1.5G`.
fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size such as 512, 10K, 1.5G");
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(wrong);
    }
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = number * (1u64 << shift) as f64;
    if (0.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("512", 512),
            ("10K", 10 << 10),
            ("1.5G", 3 << 29),
            ("2MiB", 2 << 20),
            ("3b", 3),
            ("1T", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "1X", "-1", "nan", "99999999T", "1.2.3"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
