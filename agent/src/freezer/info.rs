//! `--action info`: how much is in each container; of all that there are, when none is named (`-C ''`).
//!
//! Invariant: a container of which nobody can say how much is in it has a row all the same, and the run has failed.

use super::{Session, answer, storage};
use crate::cli;
use crate::location::Place;
use crate::output;
use icecore::error::{Error, Kind, Result};
use icecore::name::ObjectName;
use icecore::repository::Repository;
use icecore::storage::{Depth, Listed, Storage};
use icecore_remote::{Content, Intent};
use std::process::ExitCode;
use std::sync::Arc;

/// What stands in the place of a number that nobody knows.
const UNKNOWN: &str = "?";

/// Counts, and prints a table.
pub fn run(session: &Session<'_>) -> Result<ExitCode> {
    let (rows, failed) = match storage::above(session.values, session.job)? {
        Some(above) => all(session, above)?,
        None => (named(session)?, 0),
    };
    answer::table(&["Container", "Size", "Object Count"], &rows).iter().for_each(|line| output::answer(line));
    match failed {
        0 => Ok(ExitCode::SUCCESS),
        _ => Err(Error::new(Kind::Io, "could not be looked into:").on(output::count(
            failed,
            "container",
            "containers",
        ))),
    }
}

/// A row of each container that is named.
fn named(session: &Session<'_>) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for place in storage::places(session.values, session.job)? {
        let shown = place.location.to_string();
        let content = content(&*open(session, place)?)?;
        let name = match session.job.storages.is_empty() {
            true => session.values.text("container").unwrap_or(shown),
            false => shown,
        };
        rows.push(row(name, content));
    }
    Ok(rows)
}

/// A row of each container that there is, and of how many it is not known what is in them.
fn all(session: &Session<'_>, above: Place) -> Result<(Vec<Vec<String>>, u64)> {
    let (mut rows, mut failed) = (Vec::new(), 0);
    let listed = arguments(session, above.clone())?.repository_mut().holdings(session.context)?;
    let listed = listed.into_iter().next().flatten();
    let is_list = listed.is_some();
    let holdings = match listed {
        Some(holdings) => holdings.into_iter().map(|holding| (holding.name, holding.content)).collect(),
        None => folders(&*open(session, above)?)?.into_iter().map(|name| (name, None)).collect::<Vec<_>>(),
    };
    for (name, known) in holdings {
        let counted = match known {
            Some(content) => Ok(Some(content)),
            None => look_into(session, &name, is_list),
        };
        match counted {
            Ok(content) => rows.extend(content.map(|content| row(name, content))),
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                output::warning(&format!("warning: {}", output::told(&name, &error)));
                failed += 1;
                rows.push(vec![name, UNKNOWN.to_owned(), UNKNOWN.to_owned()]);
            }
        }
    }
    Ok((rows, failed))
}

/// How much is in a container; nothing of a folder that is none, since no backups are in it.
fn look_into(session: &Session<'_>, name: &str, is_container: bool) -> Result<Option<Content>> {
    let storage = open(session, storage::within(session.values, session.job, name)?)?;
    if !is_container {
        match Repository::open(Arc::clone(&storage)) {
            Err(error) if error.kind() == Kind::NoRepository => return Ok(None),
            opened => drop(opened?),
        }
    }
    content(&*storage).map(Some)
}

/// The names of the folders of a storage.
fn folders(storage: &dyn Storage) -> Result<Vec<String>> {
    let mut names = Vec::new();
    storage.list(None, Depth::One, &mut |listed| {
        if let Listed::Folder { name } = listed {
            names.push(ObjectName::to_string(&name));
        }
        Ok(())
    })?;
    names.sort();
    Ok(names)
}

fn content(storage: &dyn Storage) -> Result<Content> {
    let mut content = Content { objects: 0, bytes: 0 };
    storage.list(None, Depth::All, &mut |listed| {
        if let Listed::Object { size_bytes, .. } = listed {
            content.objects += 1;
            content.bytes += size_bytes;
        }
        Ok(())
    })?;
    Ok(content)
}

fn row(name: String, content: Content) -> Vec<String> {
    vec![name, output::bytes(content.bytes), content.objects.to_string()]
}

/// Where it is, and how its storage is used: only that is taken from these words.
fn arguments(session: &Session<'_>, place: Place) -> Result<Box<cli::restore::Arguments>> {
    let mut words = session.verb_at("restore", std::slice::from_ref(&place))?;
    words.push("--target=.".into());
    let mut arguments = cli::restore_of(words)?;
    arguments.repository_mut().put_at(vec![place]);
    Ok(arguments)
}

fn open(session: &Session<'_>, place: Place) -> Result<Arc<dyn Storage>> {
    arguments(session, place)?.repository_mut().storage(session.context, Intent::Open)
}
