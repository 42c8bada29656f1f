//! Sessions that a user has ended: those of runs of which nobody but the user can know that they are over, and those that cannot
//! be read.
//!
//! Invariant: nothing is removed unless everything that is named is one session each, is not known to go on, and is old
//! enough, as far as its age is known.

use crate::error::{Error, Kind, Result};
use crate::repository::Repository;
use crate::repository::vault::names::Folder;
use crate::repository::vault::{Announcement, ObjectId, Sessions};
use crate::time::Timestamp;

/// How few digits of an id are taken.
const PREFIX_MIN: usize = 4;

/// How many sessions a message names.
const SHOWN: usize = 5;

/// What the user vouches for.
pub struct Ending<'a> {
    /// The sessions: ids, their first digits, or the names of objects as findings have them.
    pub named: &'a [String],
    /// The time now.
    pub now: Timestamp,
    /// How old a session has to be.
    pub grace_seconds: i64,
    /// Whether a run that is announced is known to go on.
    pub is_running: fn(&Announcement) -> bool,
}

/// A session that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub id: ObjectId,
    /// The object that was removed.
    pub object: String,
    /// What it said; `None` when it could not be read.
    pub announced: Option<Announcement>,
}

/// Removes the sessions that are named.
///
/// # Errors
/// `Invalid` for what is no id or fits several, `NotFound` when there is none, `Busy` for a run that goes on or may do so,
/// `NoRepository` without deduplicated backups; as the storage has it.
pub fn end_sessions(repository: &Repository, ending: &Ending<'_>) -> Result<Vec<Ended>> {
    let vault = repository.the_vault()?;
    let listed = vault.sessions()?;
    let mut chosen: Vec<Ended> = Vec::new();
    for text in ending.named {
        let one = find(&listed, text)?;
        if let Some(announced) = &one.announced {
            refuse_living(&one.object, announced, ending)?;
        }
        if !chosen.contains(&one) {
            chosen.push(one);
        }
    }
    chosen.iter().try_for_each(|one| vault.end_session(one.id))?;
    Ok(chosen)
}

/// The session that a user means.
fn find(listed: &Sessions, text: &str) -> Result<Ended> {
    let folder = Folder::Sessions.name()?;
    let typed = text.to_ascii_lowercase();
    let digits =
        typed.strip_prefix(folder.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&typed);
    if digits.len() < PREFIX_MIN || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::invalid("not the id of a session:", text).hint(format!(
            "of its 64 hexadecimal digits the first {PREFIX_MIN} or more will do; {}",
            shown(&all(listed))
        )));
    }
    let mut matches = all(listed);
    matches.retain(|(id, _)| id.to_string().starts_with(digits));
    match matches.as_slice() {
        [] => Err(Error::new(Kind::NotFound, "no session").on(text).hint(shown(&all(listed)))),
        [(id, announced)] => {
            let object = Folder::Sessions.object(*id)?.to_string();
            Ok(Ended { id: *id, object, announced: announced.cloned() })
        }
        several => Err(Error::invalid(format!("{} sessions match", several.len()), text)
            .hint(format!("type more of the id: {}", shown(several)))),
    }
}

/// Every session, whether it can be read or not.
fn all(listed: &Sessions) -> Vec<(ObjectId, Option<&Announcement>)> {
    let found = listed.found.iter().map(|(id, announced)| (*id, Some(announced)));
    found.chain(listed.damaged.iter().map(|(id, _)| (*id, None))).collect()
}

/// Sessions for people: the first few.
fn shown(sessions: &[(ObjectId, Option<&Announcement>)]) -> String {
    if sessions.is_empty() {
        return "no run is announced".to_owned();
    }
    let rows = sessions.iter().take(SHOWN).map(|(id, announced)| match announced {
        Some(announced) => format!("{id} ({})", by(announced)),
        None => format!("{id} (it cannot be read)"),
    });
    let more = if sessions.len() > SHOWN { " …" } else { "" };
    format!("announced: {}{more}", rows.collect::<Vec<_>>().join(", "))
}

/// Who has announced himself.
pub(super) fn by(announced: &Announcement) -> String {
    format!("process {} for the host {}", announced.process.number, announced.host)
}

fn refuse_living(object: &str, announced: &Announcement, ending: &Ending<'_>) -> Result<()> {
    if (ending.is_running)(announced) {
        let what = format!("{} still runs on this machine, and needs", by(announced));
        return Err(Error::new(Kind::Busy, what)
            .on(object)
            .hint("stop it first; it then ends its session by itself"));
    }
    // One of a clock that is ahead has just begun.
    let age_seconds = ending.now.0.saturating_sub(announced.started.0).max(0);
    if age_seconds < ending.grace_seconds {
        let what = format!(
            "announced {} hours ago by {}, and may still be needed:",
            age_seconds / 3600,
            by(announced)
        );
        return Err(Error::new(Kind::Busy, what)
            .on(object)
            .hint("when that run surely is over: the same with --grace 0"));
    }
    Ok(())
}
