//! `--action admin`, and the options of it beside a backup or a restore: old chains go.
//!
//! Freezer goes by the age of the full backup alone, and removes increments of yesterday with it, and the last backup there is. Here a
//! chain goes when all of it is old, and the last good one stays.

use super::series::Series;
use super::values::Values;
use super::{Session, dates, engine, storage};
use crate::cli::{self, host_name, now};
use crate::output;
use crate::progress::Terminal;
use icecore::error::{Error, Result};
use icecore::forget::{self, Options, Row};
use icecore::repository::Repository;
use icecore::retention::Keep;
use icecore::select::Filter;
use icecore::time::Timestamp;
use std::process::ExitCode;

/// The options that say what is old.
const OPTIONS: [&str; 3] = ["remove-before-date", "remove-from-date", "remove-older-than"];

/// What is old: everything up to this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoff(Timestamp);

impl Cutoff {
    /// What the options say, if one does.
    ///
    /// # Errors
    /// `Invalid` when several do, or one makes no sense.
    pub fn of(values: &Values, now: Timestamp) -> Result<Option<Cutoff>> {
        let given: Vec<&str> = OPTIONS.into_iter().filter(|option| values.text(option).is_some()).collect();
        match given.as_slice() {
            [] => Ok(None),
            ["remove-older-than"] => {
                let days = values.number("remove-older-than").unwrap_or(f64::NAN);
                dates::days_before(now, days).map(Cutoff).map(Some)
            }
            [option] => Ok(dates::of(values, option)?.map(Cutoff)),
            several => {
                let several: Vec<String> = several.iter().map(|option| format!("--{option}")).collect();
                Err(Error::invalid("only one of these at a time:", several.join(", ")))
            }
        }
    }
}

/// Removes what is old.
pub fn run(session: &Session<'_>) -> Result<ExitCode> {
    let values = session.values;
    let cutoff = Cutoff::of(values, Timestamp(now().seconds))?.ok_or_else(|| {
        let options = OPTIONS.map(|option| format!("--{option}"));
        Error::invalid("nothing says what to remove:", options.join(", "))
    })?;
    let series = Series::of(values);
    // Only the place is taken from these words.
    let mut words = session.verb("restore")?;
    words.push("--target=.".into());
    let mut arguments = cli::restore_of(words)?;
    arguments.repository_mut().put_at(storage::places(values, session.job)?);
    let repository = arguments.repository_mut().open_on(session.context, false)?;
    if !values.is_on("dry-run") {
        arguments.repository_mut().heal(session.context, &repository)?;
    }
    remove(session, &repository, &series, engine(values)?, cutoff)?;
    Ok(ExitCode::SUCCESS)
}

/// Removes chains of a series that are old.
pub fn remove(
    session: &Session<'_>,
    repository: &Repository,
    series: &Series,
    engine: &str,
    cutoff: Cutoff,
) -> Result<()> {
    let global = session.context.global;
    let dry_run = session.values.is_on("dry-run");
    let (mut removed, mut kept) = (0, 0);
    for name in series.names() {
        let filter = Filter {
            name: Some(name),
            host: Some(series.host.clone()),
            engine: Some(engine.to_owned()),
            ..Filter::default()
        };
        let options = Options {
            filter,
            keep: Keep { newer_than: Some(cutoff.0), ..Keep::default() },
            allow_last: false,
            zone: jiff::tz::TimeZone::system(),
            host: host_name(),
            now: Timestamp(now().seconds),
            dry_run,
        };
        let mut tell = |row: &Row| output::log(&shown(row));
        let monitor = Terminal::new(global, session.context.stop.clone(), "Removing");
        let report = forget::run(repository, &options, &monitor, &mut tell);
        monitor.finish();
        let report = report?;
        removed += report.removed;
        kept += report.kept;
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    output::note(global, &format!("{verb} {}, kept {kept}", output::count(removed, "chain", "chains")));
    Ok(())
}

fn shown(row: &Row) -> String {
    let verb = if row.remove { "remove" } else { "keep" };
    let backups = output::count(row.ids.len() as u64, "backup", "backups");
    format!("{verb} {}/{}, {backups}: {}", row.series, row.chain, row.reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::options;
    use super::super::values::Source;
    use super::*;

    fn cutoff(said: &[(&str, &str)]) -> Result<Option<Cutoff>> {
        let mut values = Values::default();
        for (name, text) in said {
            values.say(options::by_name(name).unwrap(), (*text).to_owned(), Source::Line)?;
        }
        Cutoff::of(&values, Timestamp(1_795_543_200))
    }

    #[test]
    fn one_option_says_what_is_old() {
        let at = |seconds| Some(Cutoff(Timestamp(seconds)));
        assert_eq!(cutoff(&[]).unwrap(), None);
        assert_eq!(cutoff(&[("remove-older-than", "1")]).unwrap(), at(1_795_456_800));
        assert_eq!(cutoff(&[("remove-older-than", "0")]).unwrap(), at(1_795_543_200));
        assert_eq!(cutoff(&[("remove-from-date", "1970-01-01T00:00:00")]).unwrap(), at(0));
        assert_eq!(cutoff(&[("remove-before-date", "2026-11-24T18:00:00Z")]).unwrap(), at(1_795_543_200));
        for wrong in [
            &[("remove-older-than", "1"), ("remove-from-date", "2026-11-24")][..],
            &[("remove-older-than", "-1")],
            &[("remove-before-date", "soon")],
        ] {
            assert!(cutoff(wrong).is_err(), "{wrong:?}");
        }
    }
}
