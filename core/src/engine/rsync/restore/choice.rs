//! What is wanted of the last level, looked up in its state before anything is written.

use super::super::state::{Cursor, Item, RowKind, State};
use super::{is_within, join};
use crate::engine::wanted::{Chosen, Place, Wanted as Asked, not_there};
use crate::error::Result;
use crate::tree::directory::lossy;
use std::collections::{HashMap, HashSet};

/// How an entry relates to what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is wanted.
    Yes,
    /// It is a directory that is not; something below it may be.
    Above,
    /// Neither.
    No,
}

/// What is meant by what the user wants.
///
/// # Errors
/// `NotFound` naming all paths that the last level does not have, and all patterns that match nothing in it; as
/// [`Asked::choose`] has it; `Damaged`; I/O.
pub(super) fn choose(asked: &Asked, state: &mut State) -> Result<Chosen> {
    let in_doubt: HashSet<Vec<u8>> = asked.in_doubt().into_iter().collect();
    let mut places = HashMap::new();
    if !in_doubt.is_empty() {
        entries(state, &mut |path, is_directory| {
            if in_doubt.contains(path) {
                places.insert(path.to_vec(), if is_directory { Place::Directory } else { Place::Other });
            }
        })?;
    }
    let chosen = asked.choose(&mut |path| Ok(places.get(path).copied().unwrap_or(Place::Nothing)))?;
    let mut missing: HashSet<&[u8]> = chosen.paths().iter().map(Vec::as_slice).collect();
    // The root is there.
    missing.remove(&b""[..]);
    let mut matched = vec![false; chosen.patterns.len()];
    if !missing.is_empty() || !matched.is_empty() {
        entries(state, &mut |path, is_directory| {
            missing.remove(path);
            chosen.matching(path, is_directory).for_each(|number| matched[number] = true);
        })?;
    }
    let patterns = chosen.patterns.iter().zip(matched).filter(|(_, matched)| !matched);
    // In the order in which they were given.
    let paths = chosen.paths().iter().filter(|path| missing.contains(path.as_slice()));
    let missing: Vec<String> =
        paths.map(|path| lossy(path)).chain(patterns.map(|(pattern, _)| pattern.text.clone())).collect();
    if missing.is_empty() { Ok(chosen) } else { Err(not_there(&missing)) }
}

/// Hands out the path of every entry, and whether it is a directory.
fn entries(state: &mut State, each: &mut dyn FnMut(&[u8], bool)) -> Result<()> {
    let (mut cursor, mut directory) = (Cursor::default(), Vec::new());
    loop {
        match cursor.next(state)?.1 {
            Item::Directory(row) => directory = row.path,
            Item::Entry(row) => {
                each(&join(&directory, &row.name), matches!(row.kind, RowKind::Directory));
            }
            Item::End => return Ok(()),
        }
    }
}

/// How an entry relates to what is wanted.
pub(super) fn wants(chosen: &Chosen, path: &[u8], is_directory: bool) -> Wanted {
    if chosen.excludes(path, is_directory) {
        return Wanted::No;
    }
    let (paths, has_patterns) = (chosen.paths(), !chosen.patterns.is_empty());
    let is_everything = paths.is_empty() && !has_patterns;
    if is_everything
        || paths.iter().any(|wanted| is_within(path, wanted))
        || chosen.matches(path, is_directory)
    {
        Wanted::Yes
    } else if is_directory && (has_patterns || paths.iter().any(|wanted| is_within(wanted, path))) {
        Wanted::Above
    } else {
        Wanted::No
    }
}
