//! Listings: folder by folder, several at a time, each read to its end before any of it is handed on.
//!
//! Invariant: a folder that cannot be listed is an error; it is empty only when the server has shown that, and missing only
//! when the server knows nothing of that name.

use super::listing::{Row, Sort, facts_row, is_total, unix_row};
use super::reply::{Reply, shown};
use super::session::{Found, Session};
use super::site::{Site, TEMPORARY_PREFIX};
use icecore::error::{Error, Kind, Result};
use icecore::limits::FTP_LISTING_BYTES;
use icecore::name::ObjectName;
use icecore::storage::{Depth, Listed};
use icecore::time::Timestamp;

/// How often a folder is looked for that comes and goes.
const ATTEMPTS: u32 = 5;

/// How a server lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// MLSD.
    Facts,
    /// `LIST -a`, which shows the folder itself, too: a list without it is none.
    Everything,
    /// LIST, without names that begin with a dot.
    Plain,
}

/// Hands every row below `prefix` to `row`.
pub(super) fn list(
    site: &Site,
    prefix: Option<&ObjectName>,
    depth: Depth,
    row: &mut dyn FnMut(Listed) -> Result<()>,
) -> Result<()> {
    if let Some(prefix) = prefix {
        site.path(prefix)?;
    }
    let mut pending = vec![prefix.cloned()];
    while !pending.is_empty() {
        let batch = pending.split_off(pending.len().saturating_sub(site.pool.place().connections));
        for (parent, rows) in batch.iter().zip(folders(site, &batch)) {
            for found in rows? {
                let listed = listed(parent.as_ref(), &found);
                match listed {
                    Listed::Folder { name } if depth == Depth::All => pending.push(Some(name)),
                    listed => row(listed)?,
                }
            }
        }
    }
    Ok(())
}

/// The rows of several folders, in their order.
fn folders(site: &Site, batch: &[Option<ObjectName>]) -> Vec<Result<Vec<Row>>> {
    let [first, others @ ..] = batch else { return Vec::new() };
    std::thread::scope(|scope| {
        let others: Vec<_> = others.iter().map(|name| scope.spawn(|| folder(site, name.as_ref()))).collect();
        let mut rows = vec![folder(site, first.as_ref())];
        rows.extend(
            others
                .into_iter()
                .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        );
        rows
    })
}

fn listed(parent: Option<&ObjectName>, row: &Row) -> Listed {
    let text = std::str::from_utf8(&row.name).ok();
    let usable = text.filter(|text| !text.contains('/') && !text.starts_with(TEMPORARY_PREFIX));
    let name = usable.and_then(|part| match parent {
        Some(parent) => parent.join(part).ok(),
        None => ObjectName::new(part).ok(),
    });
    match (name, row.sort, row.size_bytes) {
        (Some(name), Sort::File, Some(size_bytes)) => Listed::Object { name, size_bytes },
        (Some(name), Sort::Folder, _) => Listed::Folder { name },
        _ => {
            let name = String::from_utf8_lossy(&row.name);
            Listed::Stray {
                label: parent.map_or_else(|| name.to_string(), |parent| format!("{parent}/{name}")),
            }
        }
    }
}

/// The rows of one folder; none when there is no such folder.
fn folder(site: &Site, name: Option<&ObjectName>) -> Result<Vec<Row>> {
    let path = name.map_or_else(|| site.root().to_owned(), |name| site.below(name.as_str()));
    let mut session = site.pool.lease()?;
    let way = way(site, &mut session)?;
    let mut attempt = 1;
    loop {
        let entered = session.ask("CWD", &path)?;
        let refusal = match entered.is_done() {
            true => match rows(&mut session, way)? {
                Ok(rows) => return with_sizes(&mut session, &path, rows),
                Err(reply) => reply.refusal(if way == Way::Facts { "MLSD" } else { "LIST" }),
            },
            false => entered.refusal("CWD"),
        };
        if name.is_none() && !entered.is_done() {
            return Err(gone(&entered));
        }
        if !entered.is_done() && !matches!(behind(site, &mut session, &path, way)?, Found::Folder) {
            // Nothing is there only where the storage itself is.
            let entered = session.ask("CWD", site.root())?;
            return if entered.is_done() { Ok(Vec::new()) } else { Err(gone(&entered)) };
        }
        // It may have gone and come in between.
        if attempt == ATTEMPTS || refusal.retry() == icecore::error::Retry::Later {
            return Err(refusal);
        }
        attempt += 1;
    }
}

/// The folder of the storage cannot be entered.
pub(super) fn gone(reply: &Reply) -> Error {
    match reply.code {
        550 | 553 if !reply.is_denial() => {
            Error::new(Kind::NotFound, format!("there is no such folder: {reply}"))
        }
        _ => reply.refusal("CWD"),
    }
}

/// How this server lists.
fn way(site: &Site, session: &mut Session) -> Result<Way> {
    if session.features.facts {
        return Ok(Way::Facts);
    }
    let shows_dots = match site.shows_dots.get() {
        Some(known) => *known,
        None => {
            let entered = session.ask("CWD", site.root())?;
            if !entered.is_done() {
                return Err(gone(&entered));
            }
            let shows = rows(session, Way::Everything)?.is_ok();
            site.shows_dots.set(shows).unwrap_or(());
            shows
        }
    };
    Ok(if shows_dots { Way::Everything } else { Way::Plain })
}

/// Refuses a name that no listing would show.
///
/// # Errors
/// `Invalid` for it.
pub(super) fn require_shown(site: &Site, name: &ObjectName) -> Result<()> {
    let has_dot = name.as_str().split('/').any(|part| part.starts_with('.'));
    if has_dot && way(site, &mut *site.pool.lease()?)? == Way::Plain {
        return Err(Error::invalid("the server lists no names that begin with a dot:", name.to_string()));
    }
    Ok(())
}

/// The rows of the current folder, or why the server does not list it.
fn rows(session: &mut Session, way: Way) -> Result<Result<Vec<Row>, Reply>> {
    let (verb, argument) = match way {
        Way::Facts => ("MLSD", ""),
        Way::Everything => ("LIST", "-a"),
        Way::Plain => ("LIST", ""),
    };
    let (mut rows, mut room, mut shows_itself) = (Vec::new(), FTP_LISTING_BYTES, false);
    let reply = session.listing(verb, argument, &mut |line| {
        room = room.checked_sub(line.len()).ok_or_else(|| {
            Error::new(Kind::Limit, "a listing of one folder has more bytes than")
                .on(FTP_LISTING_BYTES.to_string())
        })?;
        let row = match way {
            Way::Facts => facts_row(line),
            _ if line.is_empty() || (rows.is_empty() && !shows_itself && is_total(line)) => return Ok(()),
            _ => unix_row(line),
        };
        match row {
            Some(Row { sort: Sort::Itself, .. }) => shows_itself = true,
            Some(row) => rows.push(row),
            None => {
                let line = shown(&String::from_utf8_lossy(line));
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("a row of {verb} is not understood: {line}"),
                ));
            }
        }
        Ok(())
    })?;
    // "Transfer done (but failed to open directory)", says one server of a folder that it may not read.
    let failed = reply.lines.iter().any(|line| line.to_lowercase().contains("fail"));
    let no_files = way == Way::Plain
        && matches!(reply.code, 450 | 550)
        && reply.lines.iter().any(|line| line.to_lowercase().contains("no files"));
    let is_list = reply.is_done() && !failed && (way != Way::Everything || shows_itself);
    Ok(if is_list || no_files { Ok(rows) } else { Err(reply) })
}

/// Files whose rows do not say how long they are are asked for, one by one; what is gone by then was not there.
fn with_sizes(session: &mut Session, folder: &str, rows: Vec<Row>) -> Result<Vec<Row>> {
    let mut whole = Vec::with_capacity(rows.len());
    for mut row in rows {
        let text = std::str::from_utf8(&row.name).ok().filter(|text| !text.contains(['/', '\r', '\n', '\0']));
        if let (Sort::File, None, Some(text)) = (row.sort, row.size_bytes, text) {
            session.begin();
            match session.look(&format!("{}/{text}", folder.trim_end_matches('/')))? {
                Found::File(size_bytes) => row.size_bytes = Some(size_bytes),
                Found::Nothing => continue,
                Found::Folder | Found::Other => {}
            }
        }
        whole.push(row);
    }
    Ok(whole)
}

/// What there is under a path that cannot be entered.
fn behind(site: &Site, session: &mut Session, path: &str, way: Way) -> Result<Found> {
    let found = session.look(path)?;
    if found != Found::Nothing || way == Way::Facts {
        return Ok(found);
    }
    // The answer to SIZE is the same for a folder as for nothing: the folder above shows it.
    let Some((parent, last)) =
        path.rsplit_once('/').filter(|(parent, _)| parent.len() >= site.below("").len() - 1)
    else {
        return Ok(Found::Nothing);
    };
    let parent = if parent.is_empty() { "/" } else { parent };
    if !session.ask("CWD", parent)?.is_done() {
        if parent == site.root() {
            return Ok(Found::Nothing);
        }
        return Ok(match behind(site, session, parent, way)? {
            // Who knows what is in it.
            Found::Folder => Found::Folder,
            _ => Found::Nothing,
        });
    }
    let rows = rows(session, way)?.map_err(|reply| reply.refusal("LIST"))?;
    let row = rows.iter().find(|row| row.name == last.as_bytes());
    Ok(row.map_or(Found::Nothing, |row| match (row.sort, row.size_bytes) {
        (Sort::Folder | Sort::Itself, _) => Found::Folder,
        (Sort::File, Some(size_bytes)) => Found::File(size_bytes),
        _ => Found::Other,
    }))
}

/// Removes temporary files that were last written before a moment, and what was made to try something out; how many.
pub(super) fn clean(site: &Site, before: Timestamp) -> Result<u64> {
    let mut removed = 0;
    for row in folder(site, None)? {
        let Some(name) =
            std::str::from_utf8(&row.name).ok().filter(|name| name.starts_with(TEMPORARY_PREFIX))
        else {
            continue;
        };
        let path = site.below(name);
        let mut session = site.pool.lease()?;
        let modified = match row.modified {
            Some(modified) => Some(modified),
            None => session.modified(&path)?,
        };
        let Some(modified) = modified else {
            (site.pool.place().warn)(&format!(
                "{path}: the server does not say how old it is; it is left there"
            ));
            continue;
        };
        if modified >= before.0 {
            continue;
        }
        let reply = if row.sort == Sort::Folder {
            session.ask("RMD", &format!("{path}/full"))?;
            session.ask("RMD", &path)?
        } else {
            session.ask("DELE", &path)?
        };
        match reply.is_done() {
            true => removed += 1,
            false if session.look(&path)? == Found::Nothing => {}
            false => return Err(reply.refusal("DELE")),
        }
    }
    Ok(removed)
}
