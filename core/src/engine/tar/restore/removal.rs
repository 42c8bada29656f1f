//! What goes from a target: what the level below had and this one has not, and strangers, when the user wants that.

use super::super::dumpdir::{self, Code};
use super::super::path::{join, split, stored_name, tree_path};
use super::super::selection::Wanted;
use super::super::snapshot::{Record, Snapshot, SnapshotWriter};
use super::member::Apply;
use super::{Replay, entries};
use crate::error::Result;
use crate::spool::Spool;
use crate::time::FileTime;
use crate::tree::attributes::{FileKind, Metadata};
use std::collections::{HashMap, HashSet};

/// An entry that the level below had, and what became of it.
#[derive(Clone)]
struct Known {
    /// Its path in the level below.
    before: Vec<u8>,
    /// Its path after the renames.
    now: Vec<u8>,
    is_directory: bool,
    /// Whether what was in it is gone.
    emptied: bool,
}

impl Replay<'_, '_, '_> {
    /// What the level below had in a directory and is still there after the renames, of what is `meant`; `None` when nobody
    /// knows what it had.
    fn known_inside(
        &mut self,
        level: usize,
        before: &[u8],
        now: &[u8],
        mut meant: impl FnMut(&dumpdir::Record<'_>) -> Result<bool>,
    ) -> Result<Option<Vec<Known>>> {
        let Replay { previous: Some(previous), renames, .. } = self else { return Ok(None) };
        let mut known = Vec::new();
        let found = previous.entries_of(&stored_name(before), &mut |entry| {
            if !meant(&entry)? {
                return Ok(());
            }
            let is_directory = entry.code == Code::Directory;
            let (before, now) = (join(before, entry.name), join(now, entry.name));
            if renames[level].destination(before.clone(), is_directory).as_ref() == Some(&now) {
                known.push(Known { before, now, is_directory, emptied: false });
            }
            Ok(())
        })?;
        Ok(found.then_some(known))
    }

    /// Removes an entry that this level has not, and what the level below had in it; not what was moved away from there, and
    /// not what stands there because it will be moved there later.
    fn remove_known(&mut self, level: usize, entry: Known) -> Result<()> {
        let mut stack = vec![entry];
        while let Some(entry) = stack.pop() {
            let place = self.wanted_place(level, &entry.now, entry.is_directory);
            match (entry.is_directory && !entry.emptied, place) {
                (true, place) => match self.known_inside(level, &entry.before, &entry.now, |_| Ok(true))? {
                    Some(inside) => {
                        stack.push(Known { emptied: true, ..entry });
                        stack.extend(inside);
                    }
                    // Nobody knows what the level below had here, and so nothing of it may stay.
                    None => match place {
                        Some(place) if !self.comes_below(level, &entry.now) => self.remove(&place)?,
                        _ => {}
                    },
                },
                (false, Some(place)) if entry.is_directory => self.remove_empty(&place)?,
                (false, Some(place)) => self.remove(&place)?,
                (false, None) => {}
            }
        }
        Ok(())
    }

    /// Whether something is moved to below a directory in a later level.
    fn comes_below(&self, level: usize, path: &[u8]) -> bool {
        let mut path = Some(path.to_vec());
        for renames in self.renames.get(level + 1..).unwrap_or_default() {
            let Some(now) = path else { return false };
            if renames.lead_below(&now) {
                return true;
            }
            path = renames.destination(now, true);
        }
        false
    }

    fn remove_empty(&mut self, path: &[u8]) -> Result<()> {
        // The target itself stays.
        if self.policy.protects(path) || !self.is_below_root(path) {
            return Ok(());
        }
        let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
        match target.names(path) {
            // Links that wait to be put below it stay in mind: they make it anew.
            Ok(names) if names.is_empty() => {
                let removed = target.remove(path);
                self.of_one_path(path, removed)
            }
            // Strangers, or what is moved there later.
            Ok(_) => Ok(()),
            failed => self.of_one_path(path, failed.map(drop)),
        }
    }

    /// What waited for its content was deleted or stored anew, with all below it.
    pub(super) fn forget_waiting(&mut self, path: &[u8]) {
        self.waiting.remove(path);
        let inside = [path, b"/"].concat();
        let names = self.waiting.range(inside.clone()..).map(|(name, _)| name);
        let names: Vec<Vec<u8>> = names.take_while(|name| name.starts_with(&inside)).cloned().collect();
        names.iter().for_each(|name| drop(self.waiting.remove(name)));
    }

    /// Removes what stands at a path; but nothing that is left out of the restore, or that the policy has stay.
    pub(super) fn remove(&mut self, path: &[u8]) -> Result<()> {
        self.forget_waiting(path);
        self.policy.forget(path);
        let Replay { target: Some(target), chosen, policy, .. } = self else { return Ok(()) };
        let spared =
            |path: &[u8], is_directory| chosen.excludes_entry(path, is_directory) || policy.protects(path);
        let removed = if path == chosen.root() {
            // That is the target, which stays; what is in it goes.
            target.names(path).and_then(|names| {
                names.iter().try_for_each(|name| target.remove_sparing(&join(path, name), &spared))
            })
        } else {
            target.remove_sparing(path, &spared)
        };
        self.of_one_path(path, removed)
    }

    /// Whether a path is not the target itself.
    fn is_below_root(&self, path: &[u8]) -> bool {
        path != self.chosen.root()
    }
}

/// Listings that a level lacks.
impl Replay<'_, '_, '_> {
    /// Adds to the listings of a level those of directories that it names but does not hold (they could not be read then, or
    /// were on another file system), as the level below had them: what is gone from there is known when they are held again.
    pub(super) fn carry_over(&mut self, level: usize, mut listings: Snapshot) -> Result<Snapshot> {
        let Some(mut previous) = self.previous.take() else { return Ok(listings) };
        let mut all = SnapshotWriter::new(self.job.scratch.spool(), FileTime::default())?;
        for record in listings.records() {
            write(&mut all, record?)?;
        }
        let mut carried: HashSet<Vec<u8>> = HashSet::new();
        for record in previous.records() {
            let mut record = record?;
            let before = tree_path(&record.directory.name).to_vec();
            let Some(now) = self.renames[level].destination(before, true) else { continue };
            let Some((parent, name)) = split(&now) else { continue };
            if listings.by_name(&stored_name(&now))?.is_some() {
                continue;
            }
            let named = match listings.by_name(&stored_name(parent))? {
                Some(above) => dumpdir::lookup(&above.listing, name)? == Some(Code::Directory),
                None => carried.contains(parent),
            };
            if named {
                record.directory.name = stored_name(&now);
                write(&mut all, record)?;
                carried.insert(now);
            }
        }
        Snapshot::load(all.finish()?)
    }
}

fn write(listings: &mut SnapshotWriter<Spool>, record: Record) -> Result<()> {
    listings.begin_directory(&record.directory)?;
    for entry in dumpdir::parse(&record.listing)? {
        listings.entry(entry.code, entry.name)?;
    }
    listings.end_directory()
}

impl Apply<'_, '_, '_, '_> {
    /// Removes what the level below had in this directory and this level has not, or has as something else; with `delete`
    /// also what nobody put there.
    ///
    /// `listing` is sorted.
    pub(super) fn purge(&mut self, path: &[u8], listing: &[u8]) -> Result<()> {
        // At level 0 there is nothing to compare with.
        let strangers = self.replay.job.delete && self.last && self.replay.wants(path, true) == Wanted::Yes;
        if self.replay.previous.is_none() && !strangers {
            return Ok(());
        }
        self.purge_known(path, listing)?;
        if strangers { self.delete_strangers(path, listing) } else { Ok(()) }
    }

    fn purge_known(&mut self, path: &[u8], listing: &[u8]) -> Result<()> {
        let Some(before) = self.replay.renames[self.level].origin(path) else { return Ok(()) };
        // Both listings are in the order of names: the one of the level below was written so.
        let mut kept = dumpdir::Cursor::new(listing);
        let gone = |entry: &dumpdir::Record<'_>| {
            let is_directory = |code| code == Code::Directory;
            Ok(kept.code(entry.name)?.is_none_or(|now| is_directory(now) != is_directory(entry.code)))
        };
        // What was moved away from here is looked at where it is now.
        for known in self.replay.known_inside(self.level, &before, path, gone)?.unwrap_or_default() {
            self.replay.remove_known(self.level, known)?;
        }
        Ok(())
    }

    /// In the last level everything is in its place, and what is not listed is nobody's.
    fn delete_strangers(&mut self, path: &[u8], listing: &[u8]) -> Result<()> {
        let kept: HashMap<&[u8], Code> =
            entries(listing)?.iter().map(|entry| (entry.name, entry.code)).collect();
        let Some(target) = self.replay.target.as_deref_mut() else { return Ok(()) };
        for name in target.names(path)? {
            let place = join(path, &name);
            let Some(target) = self.replay.target.as_deref_mut() else { return Ok(()) };
            let found = target.kind(&place)?;
            let is_directory = found.as_ref().is_some_and(|found| found.kind == FileKind::Directory);
            let stays = match kept.get(name.as_slice()) {
                // A directory that holds what is excluded is in the way as it is: what would replace it fails, and says why.
                Some(code) => {
                    found.is_none_or(|found| fits(*code, &found))
                        || (is_directory && target.holds_spared(&place).unwrap_or(true))
                }
                None => false,
            };
            if !stays && self.replay.wants(&place, is_directory) == Wanted::Yes {
                self.replay.remove(&place)?;
            }
        }
        Ok(())
    }
}

/// Whether an entry on disk is what the listing says it is, so that the archive may go on from it.
fn fits(code: Code, found: &Metadata) -> bool {
    (code == Code::Directory) == (found.kind == FileKind::Directory)
}
