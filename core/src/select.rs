//! Which backups a user means: series by host, name and engine, one backup by id, `latest` or time.

use crate::error::{Error, Kind, Result};
use crate::level::BackupEntry;
use crate::name::BackupName;
use crate::repository::{BackupLocation, Chain, Repository, Series, select};
use crate::time::Timestamp;
use std::fmt;

const SHOWN_BY: &str = "icecore list shows what there is";

/// Which series are meant; what is `None` is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The name of the backup.
    pub name: Option<String>,
    /// The host it belongs to.
    pub host: Option<String>,
    /// The engine that made it.
    pub engine: Option<String>,
}

impl Filter {
    /// Whether a series is meant. On storage host and name are one word, so that with one of them given alone every way of
    /// taking the word apart counts.
    pub fn accepts(&self, series: &BackupName) -> bool {
        match (&self.host, &self.name) {
            (Some(host), Some(name)) => series.as_str() == format!("{host}_{name}"),
            (Some(host), None) => series.starts_with_host(host),
            (None, Some(name)) => series.ends_with_name(name),
            (None, None) => true,
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("name", &self.name), ("host", &self.host), ("engine", &self.engine)];
        let given: Vec<String> =
            parts.iter().filter_map(|(word, value)| Some(format!("{word} {}", value.as_ref()?))).collect();
        f.write_str(&given.join(", "))
    }
}

/// The series of a repository that are meant, and the strays met on the way.
///
/// # Errors
/// As the storage has it.
pub fn series(repository: &Repository, filter: &Filter) -> Result<(Vec<Series>, Vec<String>)> {
    let listing = repository.series(filter.engine.as_deref())?;
    let meant = listing.series.into_iter().filter(|series| filter.accepts(&series.name)).collect();
    Ok((meant, listing.strays))
}

/// The one backup that is meant, with its chain; and the strays met on the way.
#[derive(Debug)]
pub struct Selected {
    /// The chain it is in.
    pub chain: Chain,
    /// Which backup of the chain.
    pub entry: BackupEntry,
    /// What was passed over.
    pub strays: Vec<String>,
}

/// Finds the one backup that is meant: `text` is an id, the head of one, `latest` or `latest~N`; with `at`,
/// what is newer than that time does not count. Where several series are left, that of `this_host` is meant.
///
/// # Errors
/// `NotFound` when there is none, `Invalid` when it is not clear which one is meant; as the storage has it.
pub fn one(
    repository: &Repository,
    filter: &Filter,
    this_host: &str,
    text: &str,
    at: Option<Timestamp>,
) -> Result<Selected> {
    let (mut meant, mut strays) = series(repository, filter)?;
    let by_id = at.is_none() && !text.starts_with("latest");
    if !by_id && meant.len() > 1 {
        meant = the_one_of_this_host(meant, filter, this_host)?;
    }
    if meant.is_empty() && filter != &Filter::default() {
        return Err(Error::new(Kind::NotFound, "no backups of").on(filter.to_string()).hint(SHOWN_BY));
    }
    let (backups, more) = repository.backups(&meant)?;
    strays.extend(more);
    let found = match at {
        Some(at) => {
            let in_time: Vec<_> = backups.into_iter().filter(|one| one.entry.timestamp <= at).collect();
            find_at(&in_time, text, at)?.clone()
        }
        None => select::find(&backups, text)?.clone(),
    };
    let chains = repository.chains(&found.engine, &found.name)?.chains;
    let chain = chains.into_iter().find(|chain| chain.start == found.chain);
    let chain =
        chain.ok_or_else(|| Error::new(Kind::NotFound, "was removed meanwhile:").on(found.to_string()))?;
    Ok(Selected { chain, entry: found.entry, strays })
}

/// `latest` as it was at a time; ids need no time.
fn find_at<'a>(in_time: &'a [BackupLocation], text: &str, at: Timestamp) -> Result<&'a BackupLocation> {
    if !text.starts_with("latest") {
        return Err(
            Error::invalid("a time and an id both say which backup:", text).hint("leave out one of them")
        );
    }
    if in_time.is_empty() {
        let none = Error::new(Kind::NotFound, "no backup is as old as").on(at.rfc3339());
        return Err(none.hint(SHOWN_BY));
    }
    select::find(in_time, text)
}

fn the_one_of_this_host(meant: Vec<Series>, filter: &Filter, this_host: &str) -> Result<Vec<Series>> {
    let own = Filter { host: filter.host.clone().or_else(|| Some(this_host.to_owned())), ..filter.clone() };
    let of_this_host: Vec<Series> =
        meant.iter().filter(|series| own.accepts(&series.name)).cloned().collect();
    if of_this_host.len() == 1 {
        return Ok(of_this_host);
    }
    let names: Vec<String> =
        meant.iter().take(8).map(|series| format!("{} ({})", series.name, series.engine)).collect();
    Err(Error::invalid("several series match; which one is meant?", "")
        .hint(format!("say --name and --host, or give the id of a backup: {}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_host_and_name_together_or_alone() {
        let series = BackupName::from_storage("a_b_c");
        let filter = |host: Option<&str>, name: Option<&str>| Filter {
            host: host.map(str::to_owned),
            name: name.map(str::to_owned),
            engine: None,
        };
        for (host, name, expected) in [
            (None, None, true),
            (Some("a"), None, true),
            (Some("a_b"), Some("c"), true),
            (Some("a"), Some("b_c"), true),
            (Some("a"), Some("c"), false),
            (None, Some("c"), true),
            (None, Some("bc"), false),
        ] {
            assert_eq!(filter(host, name).accepts(&series), expected, "{host:?} {name:?}");
        }
    }
}
