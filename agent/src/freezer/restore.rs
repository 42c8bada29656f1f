//! `--action restore`.

use super::series::Series;
use super::values::expanded;
use super::{Session, admin, dates, engine, storage, word};
use crate::cli::{self, absolute, now};
use crate::output;
use crate::progress::Terminal;
use icecore::checksum::{freezer, sound};
use icecore::error::{Error, Kind, Result};
use icecore::restore::Report;
use icecore::time::Timestamp;
use icecore::tree::filter::Filter;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Restores, compares checksums, and removes old backups, as far as that was asked for.
pub fn run(session: &Session<'_>) -> Result<ExitCode> {
    let values = session.values;
    let removal = admin::Cutoff::of(values, Timestamp(now().seconds))?;
    let target = values
        .text("restore-abs-path")
        .ok_or_else(|| Error::invalid("nothing says where to restore to:", "--restore-abs-path"))?;
    let target = absolute(&expanded(&target))?;
    let at = dates::of(values, "restore-from-date")?;
    let series = Series::of(values);
    let engine = engine(values)?;
    let mut arguments = cli::restore_of(words(session, &series.host, &series.name, engine, &target, at)?)?;
    arguments.repository_mut().put_at(storage::places(values, session.job)?);
    let repository = arguments.repository_mut().open_on(session.context, false)?;
    let name = series.to_restore(&repository, engine, at)?;
    if name != series.name {
        arguments = cli::restore_of(words(session, &series.host, &name, engine, &target, at)?)?;
        arguments.repository_mut().put_at(storage::places(values, session.job)?);
    }
    let report =
        cli::restore::make(session.context, &arguments, &repository).map_err(|error| match error.kind() {
            Kind::NotFound if at.is_none() => {
                error.while_doing("cannot restore", format!("{}_{name}", series.host))
            }
            _ => error,
        })?;
    tell(session, &report);
    if let Some(checksum) = values.text("consistency-checksum") {
        match values.is_on("dry-run") {
            true => {
                output::note(session.context.global, "nothing was restored, so that no checksum is compared")
            }
            false => compare(session, &target, &checksum)?,
        }
    }
    if let Some(cutoff) = removal {
        admin::remove(session, &repository, &series, engine, cutoff)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The same in options of `icecore restore`.
fn words(
    session: &Session<'_>,
    host: &str,
    name: &str,
    engine: &str,
    target: &Path,
    at: Option<Timestamp>,
) -> Result<Vec<OsString>> {
    let mut words = session.verb("restore")?;
    for (option, value) in [("--engine", engine), ("--host", host), ("--name", name)] {
        words.push(word(option, value));
    }
    words.push(word("--target", target));
    words.extend(at.map(|at| word("--at", format!("@{at}"))));
    if session.values.is_on("overwrite") {
        words.push("--overwrite=always".into());
    }
    if session.values.is_on("dry-run") {
        words.push("--dry-run".into());
    }
    if let Some(file) = session.values.text("encrypt-pass-file") {
        words.push(word("--password-file", expanded(&file)));
    }
    words.push("latest".into());
    Ok(words)
}

fn tell(session: &Session<'_>, report: &Report) {
    let files = output::count(report.files, "file or link", "files and links");
    let levels: Vec<String> = report.levels.iter().map(ToString::to_string).collect();
    let verb = if session.values.is_on("dry-run") { "checked" } else { "restored" };
    let global = session.context.global;
    output::note(
        global,
        &format!(
            "{verb} {files}, {}: levels {} of {}",
            output::bytes(report.bytes),
            levels.join(", "),
            report.series
        ),
    );
    if report.problems > 0 {
        let problems = output::count(report.problems, "entry", "entries");
        output::warning(&format!("warning: {problems} could not be given everything the backup holds"));
    }
}

/// Compares what is there now with a checksum of the source, of either kind.
fn compare(session: &Session<'_>, target: &Path, expected: &str) -> Result<()> {
    let monitor = Terminal::without_line(session.context.global, session.context.stop.clone());
    let (is_equal, found, advice) = if expected.starts_with(sound::PREFIX) {
        let options = sound::Options { filter: &Filter::none(), one_file_system: false, follow: false };
        let found = sound::checksum(target, &options, &monitor)?;
        (
            found == expected,
            found,
            "names, types, permissions and contents count: what else is in the target, too",
        )
    } else {
        let compared = freezer::compare(target, expected, &monitor)?;
        (
            compared.is_equal,
            compared.found,
            "Freezer's checksum depends on the order in which file systems list names: it may differ where nothing is wrong; \
             icecore_checksum of a backup made here does not",
        )
    };
    if !is_equal {
        return Err(Error::damaged("Backup Consistency Check failed: the backup's checksum is", expected)
            .because(format!("that of what was restored is {found}"))
            .hint(advice));
    }
    output::note(session.context.global, "the checksums are equal");
    Ok(())
}
