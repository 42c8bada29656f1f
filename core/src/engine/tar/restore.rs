//! Applying levels to a target, lowest first, as `tar --incremental -x` does, with three differences: a member never replaces
//! an inode in place (so a hard link that was broken stays broken); only what an earlier level of this restore put there is
//! deleted, unless the user asked for strangers to go too; and nothing is renamed: the renames of all levels are read first,
//! and every entry is put at once where it stands in the last level. What a later level has no place for is not written, so
//! that of a part of a tree nothing is ever put outside that part, and strangers in the way of a rename stay.
//!
//! What the level below had in a directory is known from its listings, which are kept in the form of a snapshot file (bounded
//! memory). A level that ends well is replayed whole or, when only a part of the tree is wanted, as far as that needs.

mod choice;
mod damage;
mod member;
mod policy;
mod removal;
pub(in crate::engine) mod verification;

use super::dumpdir::{self, Code};
use super::member::{Member, MemberKind};
use super::open_archive;
use super::path::{join, split, stored_name, tree_path};
use super::renames::Renames;
use super::selection::{Selection, Wanted};
use super::snapshot::{Snapshot, SnapshotWriter};
use crate::engine::wanted::{Chosen, not_there};
use crate::engine::{Chain, Reading, RestoreJob};
use crate::error::{Error, Kind, Result};
use crate::limits::{READ_BYTES, REPORTED_PATHS};
use crate::monitor::Event;
use crate::time::FileTime;
use crate::tree::directory::lossy;
use crate::tree::target::Target;
use choice::Above;
use member::{Apply, Seen};
use policy::Policy;
use std::collections::{BTreeMap, HashMap, HashSet};
use verification::Written;

/// Replays every level of `chain`.
pub(in crate::engine::tar) fn run(
    job: RestoreJob<'_>,
    chain: &mut dyn Chain,
    target: Option<&mut Target<'_>>,
) -> Result<()> {
    let chosen = choice::choose(job.wanted, chain)?;
    let wanted = match chosen.patterns.is_empty() {
        true => Selection::new(chosen.paths().to_vec()),
        false => Selection::only(chosen.paths().to_vec()),
    };
    let mut target = target;
    if let Some(target) = target.as_deref_mut() {
        target.set_base(chosen.root())?;
        if let Some(excluded) = chosen.exclusion() {
            target.spare(excluded);
        }
    }
    let written = (job.verify && target.is_some()).then(|| Written::new(job.scratch));
    let renames = (0..chain.levels()).map(|level| first_renames(chain, level)).collect::<Result<Vec<_>>>()?;
    let mut replay = Replay {
        policy: Policy::new(job.overwrite, chain.levels()),
        job: &job,
        target,
        wanted,
        matched: vec![false; chosen.patterns.len()],
        chosen,
        above: Above::default(),
        written,
        renames,
        previous: None,
        reading: 0,
        waiting: BTreeMap::new(),
        found: HashSet::new(),
    };
    let absent = replay.absent_parents();
    if let Err(error) = replay.levels(chain).and_then(|()| replay.fetch_waiting(chain)) {
        replay.tell_what_damage_leaves_out(&error, chain);
        return Err(error);
    }
    replay.verify()?;
    // Icecore's documents say what their levels lack.
    if !(0..chain.levels()).all(|level| chain.by_icecore(level)) {
        replay.tell_what_no_level_holds()?;
    }
    replay.tell_what_is_missing(absent)?;
    replay.policy.tell_what_was_kept(job.monitor);
    if let Some(written) = &replay.written {
        written.tell_what_was_passed_over(job.monitor);
    }
    replay.written.map_or(Ok(()), Written::into_result)
}

struct Replay<'j, 't, 'm> {
    job: &'j RestoreJob<'j>,
    target: Option<&'t mut Target<'m>>,
    /// The paths that are wanted of the last level, and so of everything, since all is put where it is there.
    wanted: Selection,
    /// What else is wanted, and what is not.
    chosen: Chosen,
    /// Which patterns matched something of the last level.
    matched: Vec<bool>,
    above: Above,
    policy: Policy,
    /// What is to be verified, of the level that is being read.
    written: Option<Written>,
    /// The renames of each level; none at level 0.
    renames: Vec<Renames>,
    /// The listings of the level below.
    previous: Option<Snapshot>,
    /// The level that is being read.
    reading: usize,
    /// Hard links to names that are not wanted, whose content is yet to be fetched.
    waiting: BTreeMap<Vec<u8>, Waiting>,
    /// Which of the wanted paths the last level has.
    found: HashSet<Vec<u8>>,
}

/// The content of a hard link: in the archive of a level, under another name.
struct Waiting {
    level: usize,
    first: Vec<u8>,
}

impl Replay<'_, '_, '_> {
    fn levels(&mut self, chain: &mut dyn Chain) -> Result<()> {
        let reaches = self.reaches();
        for (level, reach) in reaches.iter().enumerate() {
            let last = level + 1 == reaches.len();
            self.reading = level;
            if last || reach.is_everything() || self.holds(chain, level, reach)? {
                self.level(chain, level, reach, last)?;
            }
        }
        Ok(())
    }

    /// What is to be read of each level: the places there of what is wanted in the last one.
    fn reaches(&self) -> Vec<Selection> {
        if !self.chosen.patterns.is_empty() {
            return vec![Selection::new(Vec::new()); self.renames.len()];
        }
        let mut reaches = vec![self.wanted.clone(); self.renames.len()];
        for level in (1..reaches.len()).rev() {
            reaches[level - 1] = reaches[level].below(&self.renames[level]);
        }
        reaches
    }

    /// Whether a level may hold something that is wanted; its snapshot tells, if there is one.
    fn holds(&self, chain: &mut dyn Chain, level: usize, reach: &Selection) -> Result<bool> {
        // With renames, names are not what they are in the level below: its listings would be of no use for the level above.
        if !chain.by_icecore(level) || !self.renames[level].is_empty() {
            return Ok(true);
        }
        let mut snapshot = match chain.engine_metadata(level).and_then(Snapshot::load) {
            Ok(snapshot) => snapshot,
            // Without it the level is simply read.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Damaged | Kind::Limit) => {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        let mut found = level == 0 && snapshot.is_empty();
        for record in snapshot.records() {
            let record = record?;
            let directory = tree_path(&record.directory.name);
            if found || reach.wants(directory) == Wanted::No {
                continue;
            }
            found = dumpdir::parse(&record.listing)?.iter().any(|entry| {
                entry.code == Code::Stored && reach.wants(&join(directory, entry.name)) == Wanted::Yes
            });
        }
        Ok(found)
    }

    fn level(&mut self, chain: &mut dyn Chain, level: usize, reach: &Selection, last: bool) -> Result<()> {
        let mut listings = SnapshotWriter::new(self.job.scratch.spool(), FileTime::default())?;
        let mut buffer = vec![0; READ_BYTES];
        let mut seen = Seen::default();
        // Ours are in the order of the walk, so that the end of the wanted part can be seen; but for the links that a level
        // above 0 may have at its end.
        let ordered = chain.by_icecore(level) && level == 0 && !reach.is_everything();
        chain.stream(level, &mut |input| {
            let mut archive = open_archive(input);
            while let Some(member) = archive.next()? {
                self.job.monitor.check()?;
                let path = tree_path(&member.path).to_vec();
                let is_directory = matches!(member.kind, MemberKind::Directory { .. });
                if ordered && passed(&path, is_directory, reach) {
                    return Ok(Reading::Enough);
                }
                let mut apply = Apply { replay: self, listings: &mut listings, seen: &mut seen, level, last };
                apply.member(&member, path, &mut archive, &mut buffer)?;
                seen.members += 1;
            }
            Ok(Reading::ToTheEnd)
        })?;
        let mut listings = Snapshot::load(listings.finish()?)?;
        if seen.named_directories > seen.listings {
            listings = self.carry_over(level, listings)?;
        }
        self.previous = Some(listings);
        self.verify()
    }

    /// Where an entry of a level is in the last one; `None` when it has no place there. Such places make a tree: none is below
    /// another that is no directory.
    fn destination(&self, level: usize, path: &[u8], is_directory: bool) -> Option<Vec<u8>> {
        let above = self.renames.get(level + 1..).unwrap_or_default();
        above.iter().try_fold(path.to_vec(), |path, renames| renames.destination(path, is_directory))
    }

    /// As [`Replay::destination`], of what is wanted.
    fn wanted_place(&self, level: usize, path: &[u8], is_directory: bool) -> Option<Vec<u8>> {
        let place = self.destination(level, path, is_directory);
        place.filter(|place| self.wants(place, is_directory) == Wanted::Yes)
    }

    /// The content of wanted hard links to names that are not wanted: it is put under the wanted names.
    fn fetch_waiting(&mut self, chain: &mut dyn Chain) -> Result<()> {
        let mut levels: BTreeMap<usize, HashMap<Vec<u8>, Vec<Vec<u8>>>> = BTreeMap::new();
        for (name, Waiting { level, first }) in std::mem::take(&mut self.waiting) {
            levels.entry(level).or_default().entry(first).or_default().push(name);
        }
        for (level, mut names_of) in levels {
            self.reading = level;
            self.fetch(chain, level, &mut names_of)?;
            for (first, names) in names_of {
                let error = Error::damaged("is a hard link to a file that is not stored:", lossy(&first));
                names.iter().for_each(|name| self.lost(name, &error));
            }
        }
        Ok(())
    }

    fn fetch(
        &mut self,
        chain: &mut dyn Chain,
        level: usize,
        names_of: &mut HashMap<Vec<u8>, Vec<Vec<u8>>>,
    ) -> Result<()> {
        let reach = Selection::new(names_of.keys().cloned().collect());
        let ordered = chain.by_icecore(level) && level == 0;
        let mut buffer = vec![0; READ_BYTES];
        let mut fetched = HashSet::new();
        chain.stream(level, &mut |input| {
            let mut archive = open_archive(input);
            while let Some(member) = archive.next()? {
                self.job.monitor.check()?;
                let path = tree_path(&member.path).to_vec();
                let is_directory = matches!(member.kind, MemberKind::Directory { .. });
                if ordered && passed(&path, is_directory, &reach) {
                    return Ok(Reading::Enough);
                }
                let Some(names) = names_of.get(&path) else { continue };
                if is_directory || matches!(member.kind, MemberKind::HardLink(_)) {
                    continue;
                }
                for (number, name) in names.iter().enumerate() {
                    let done = if number == 0 {
                        self.content(&member, name, &mut archive, &mut buffer)
                    } else {
                        self.further_name(name, &names[0])
                    };
                    self.of_one_path(name, done)?;
                }
                fetched.insert(path);
            }
            Ok(Reading::ToTheEnd)
        })?;
        names_of.retain(|first, _| !fetched.contains(first));
        Ok(())
    }

    /// Directories above what is wanted that are not in the target.
    fn absent_parents(&mut self) -> Vec<Vec<u8>> {
        let Some(target) = self.target.as_deref_mut() else { return Vec::new() };
        let mut absent = Vec::new();
        for wanted in self.wanted.paths() {
            let mut path = wanted.as_slice();
            while let Some((parent, _)) = split(path).filter(|(parent, _)| !parent.is_empty()) {
                if matches!(target.kind(parent), Ok(None)) {
                    absent.push(parent.to_vec());
                }
                path = parent;
            }
        }
        absent.sort_unstable();
        absent.dedup();
        absent
    }

    /// What is listed and in no archive: GNU tar lists what it then fails to read, and sockets.
    fn tell_what_no_level_holds(&mut self) -> Result<()> {
        let (Some(target), Some(listings)) = (self.target.as_deref_mut(), &mut self.previous) else {
            return Ok(());
        };
        let mut absent = 0;
        for record in listings.records() {
            let record = record?;
            let directory = tree_path(&record.directory.name);
            for entry in entries(&record.listing)? {
                let path = join(directory, entry.name);
                let wants = choice::wants(&self.chosen, &self.wanted, &path, entry.code == Code::Directory);
                if wants != Wanted::Yes || !matches!(target.kind(&path), Ok(None)) {
                    continue;
                }
                absent += 1;
                if absent <= REPORTED_PATHS {
                    let what =
                        "is in the list of the backup, but was not stored (not readable then, or a socket)";
                    self.job.monitor.event(Event::Warning(&format!("{} {what}", lossy(&path))));
                }
            }
        }
        if absent > REPORTED_PATHS {
            let more =
                format!("{} more entries are in the list, but were not stored", absent - REPORTED_PATHS);
            self.job.monitor.event(Event::Warning(&more));
        }
        Ok(())
    }

    /// Wanted paths that the last level does not have are an error; what was made on the way to them goes.
    fn tell_what_is_missing(&mut self, absent: Vec<Vec<u8>>) -> Result<()> {
        let mut missing = Vec::new();
        for wanted in self.wanted.paths() {
            let Some((parent, name)) = split(wanted) else { continue };
            let listed = match &mut self.previous {
                Some(listings) => match listings.by_name(&stored_name(parent))? {
                    Some(record) => dumpdir::lookup(&record.listing, name)?.is_some(),
                    None => false,
                },
                None => false,
            };
            if !listed && !self.found.contains(wanted) {
                missing.push(lossy(wanted));
            }
        }
        missing.extend(self.unmatched()?);
        if missing.is_empty() || self.wanted.is_everything() {
            return Ok(());
        }
        if let Some(target) = self.target.as_deref_mut() {
            // The deepest first: a path sorts behind those above it.
            for path in absent.iter().rev() {
                if target.kind(path)?.is_some() && target.names(path)?.is_empty() {
                    target.remove(path)?;
                }
            }
        }
        Err(not_there(&missing))
    }

    fn lost(&self, path: &[u8], error: &Error) {
        self.job.monitor.event(Event::Problem { path: &lossy(path), error, lost: true });
    }

    /// Tells of trouble that concerns one path; any other is handed on.
    fn of_one_path(&self, path: &[u8], done: Result<()>) -> Result<()> {
        match done {
            Err(error) if of_one_path(&error) => {
                self.lost(path, &error);
                Ok(())
            }
            other => other.map_err(|error| error.while_doing("cannot restore", lossy(path))),
        }
    }
}

/// The renames of a level, which its first member holds. Level 0 has nothing to rename.
pub(super) fn first_renames(chain: &mut dyn Chain, level: usize) -> Result<Renames> {
    let mut renames = Renames::default();
    if level == 0 {
        return Ok(renames);
    }
    chain.stream(level, &mut |input| {
        if let Some(Member { kind: MemberKind::Directory { listing: Some(listing) }, .. }) =
            open_archive(input).next()?
        {
            renames = Renames::parse(&listing)?;
        }
        Ok(Reading::Enough)
    })?;
    Ok(renames)
}

/// Whether a member lies behind everything wanted, in the order in which the walk writes: a directory, its other entries,
/// then its sub-directories, siblings by the bytes of their names. Whether a wanted name is a directory is not known, so
/// only a sub-directory with a greater name is surely behind it.
fn passed(member: &[u8], is_directory: bool, selection: &Selection) -> bool {
    let behind = |wanted: &[u8]| {
        let mut member = member.split(|&byte| byte == b'/').peekable();
        for name in wanted.split(|&byte| byte == b'/') {
            match member.next() {
                Some(other) if other == name => {}
                Some(other) => return other > name && (is_directory || member.peek().is_some()),
                None => return false,
            }
        }
        false
    };
    selection.paths().iter().all(|wanted| behind(wanted))
}

/// Trouble that concerns one path; the restore goes on and ends as failed. Everything else ends it at once.
fn of_one_path(error: &Error) -> bool {
    !matches!(
        error.kind(),
        Kind::NoSpace | Kind::Interrupted | Kind::Stopped | Kind::Damaged | Kind::Limit | Kind::Unsupported
    )
}

/// The records of a listing that are not about renames.
fn entries(listing: &[u8]) -> Result<Vec<dumpdir::Record<'_>>> {
    let mut records = dumpdir::parse(listing)?;
    records.retain(|record| record.code.is_entry());
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_wanted_part_is_seen_in_walk_order() {
        let selection = Selection::new(vec![b"a/m".to_vec()]);
        for (member, is_directory, expected) in [
            ("", true, false),
            ("z", false, false),
            ("a", true, false),
            ("a/z", false, false),
            ("a/b", true, false),
            ("a/m", true, false),
            ("a/m/x", false, false),
            ("a/n", true, true),
            ("a/n/x", false, true),
            ("b", true, true),
        ] {
            assert_eq!(passed(member.as_bytes(), is_directory, &selection), expected, "{member}");
        }
    }
}
