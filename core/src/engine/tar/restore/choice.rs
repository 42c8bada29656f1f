//! What is wanted of the last level: patterns and what is left out, beside paths.
//!
//! Directories above what a pattern matches are made when something below them is, with the attributes of the last level. Members
//! come with a directory before what is in it, so that those above the member that is being applied are at hand.

use super::super::dumpdir::{self, Code};
use super::super::member::MemberKind;
use super::super::open_archive;
use super::super::path::{below, join, split, stored_name, tree_path};
use super::super::selection::{Selection, Wanted};
use super::super::snapshot::Snapshot;
use super::{Replay, entries};
use crate::engine::paths::Paths;
use crate::engine::wanted::{Chosen, Place, Wanted as Asked};
use crate::engine::{Chain, Reading};
use crate::error::{Kind, Result};
use crate::tree::attributes::Attributes;
use std::collections::HashMap;

/// Directories that no path and no pattern names.
#[derive(Default)]
pub(super) struct Above {
    /// Those above the member that was met last, each below the one before it, with what they get should something in them be
    /// made.
    open: Vec<(Vec<u8>, Attributes)>,
    /// Those in which something was made.
    used: Paths,
}

/// What the user wants, looked up in the last level.
///
/// # Errors
/// As [`Asked::choose`] and the chain have it.
pub(super) fn choose(asked: &Asked, chain: &mut dyn Chain) -> Result<Chosen> {
    let in_doubt = asked.in_doubt();
    let places = if in_doubt.is_empty() { HashMap::new() } else { look_up(chain, &in_doubt)? };
    asked.choose(&mut |path| Ok(places.get(path).copied().unwrap_or(Place::Nothing)))
}

/// What the last level has at these paths.
fn look_up(chain: &mut dyn Chain, paths: &[Vec<u8>]) -> Result<HashMap<Vec<u8>, Place>> {
    let Some(last) = chain.levels().checked_sub(1) else { return Ok(HashMap::new()) };
    let mut places = HashMap::new();
    if chain.by_icecore(last) {
        let snapshot = match chain.engine_metadata(last).and_then(Snapshot::load) {
            Ok(snapshot) => Some(snapshot),
            // Without it the level is read.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Damaged | Kind::Limit) => None,
            Err(error) => return Err(error),
        };
        if let Some(mut snapshot) = snapshot.filter(|snapshot| !snapshot.is_empty()) {
            for path in paths {
                places.insert(path.clone(), place_in(&mut snapshot, path)?);
            }
            return Ok(places);
        }
    }
    chain.stream(last, &mut |input| {
        let mut archive = open_archive(input);
        while let Some(member) = archive.next()? {
            let found = tree_path(&member.path);
            if let MemberKind::Directory { listing } = &member.kind {
                let listed = listing.as_deref().map(entries).transpose()?.unwrap_or_default();
                for path in paths {
                    let name = split(path).filter(|(parent, _)| *parent == found).map(|(_, name)| name);
                    if let Some(entry) = listed.iter().find(|entry| Some(entry.name) == name) {
                        places.insert(path.clone(), place_of(entry.code));
                    }
                }
            }
            if paths.iter().any(|path| path == found) {
                let is_directory = matches!(member.kind, MemberKind::Directory { .. });
                places.insert(found.to_vec(), if is_directory { Place::Directory } else { Place::Other });
            }
        }
        Ok(Reading::ToTheEnd)
    })?;
    Ok(places)
}

fn place_in(snapshot: &mut Snapshot, path: &[u8]) -> Result<Place> {
    if snapshot.by_name(&stored_name(path))?.is_some() {
        return Ok(Place::Directory);
    }
    let Some((parent, name)) = split(path) else { return Ok(Place::Nothing) };
    let Some(record) = snapshot.by_name(&stored_name(parent))? else { return Ok(Place::Nothing) };
    Ok(dumpdir::lookup(&record.listing, name)?.map_or(Place::Nothing, place_of))
}

fn place_of(code: Code) -> Place {
    if code == Code::Directory { Place::Directory } else { Place::Other }
}

/// How a path of the last level relates to what is wanted.
pub(super) fn wants(chosen: &Chosen, paths: &Selection, path: &[u8], is_directory: bool) -> Wanted {
    if chosen.excludes(path, is_directory) {
        return Wanted::No;
    }
    match paths.wants(path) {
        Wanted::No | Wanted::Above if chosen.matches(path, is_directory) => Wanted::Yes,
        Wanted::No if is_directory && !chosen.patterns.is_empty() => Wanted::Perhaps,
        wanted => wanted,
    }
}

impl Replay<'_, '_, '_> {
    /// How a path of the last level relates to what is wanted.
    pub(super) fn wants(&self, path: &[u8], is_directory: bool) -> Wanted {
        wants(&self.chosen, &self.wanted, path, is_directory)
    }

    /// Notes that the last level has something that a pattern matches.
    pub(super) fn match_patterns(&mut self, path: &[u8], is_directory: bool) {
        let Replay { chosen, matched, .. } = self;
        chosen.matching(path, is_directory).for_each(|number| matched[number] = true);
    }

    /// The patterns that match nothing of the last level, going by its listings too.
    pub(super) fn unmatched(&mut self) -> Result<Vec<String>> {
        let Replay { chosen, matched, previous, .. } = self;
        if matched.contains(&false)
            && let Some(listings) = previous
        {
            for record in listings.records() {
                let record = record?;
                let directory = tree_path(&record.directory.name);
                for entry in entries(&record.listing)? {
                    let path = join(directory, entry.name);
                    let numbers = chosen.matching(&path, entry.code == Code::Directory);
                    numbers.for_each(|number| matched[number] = true);
                }
            }
        }
        let patterns = chosen.patterns.iter().zip(&*matched);
        Ok(patterns.filter(|(_, matched)| !**matched).map(|(pattern, _)| pattern.text.clone()).collect())
    }

    /// Keeps a directory in mind of which nothing is wanted so far; in the last level, it gets its attributes if something was made
    /// in it at a lower one.
    pub(super) fn pass_through(&mut self, path: &[u8], attributes: &Attributes, last: bool) -> Result<()> {
        self.above.open.retain(|(above, _)| below(path, above).is_some_and(|rest| !rest.is_empty()));
        if self.above.used.contains(path) && last {
            return self.make_directory(path, attributes);
        }
        self.above.open.push((path.to_vec(), attributes.clone()));
        Ok(())
    }

    /// Something is about to be made: so are the directories above it.
    pub(super) fn make_above(&mut self, path: &[u8]) -> Result<()> {
        if self.chosen.patterns.is_empty() {
            return Ok(());
        }
        for (above, attributes) in std::mem::take(&mut self.above.open) {
            if below(path, &above).is_some_and(|rest| !rest.is_empty()) {
                self.make_directory(&above, &attributes)?;
            }
        }
        let mut path = path;
        while let Some((parent, _)) = split(path).filter(|(parent, _)| !self.above.used.contains(parent)) {
            self.above.used.insert(parent)?;
            path = parent;
        }
        Ok(())
    }
}
