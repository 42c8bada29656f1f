//! Applying levels to a target, lowest first, as `tar --incremental -x` does, with two differences: a member never replaces
//! an inode in place (so a hard link that was broken stays broken), and only what an earlier level of this restore put there
//! is deleted, unless the user asked for strangers to go too.
//!
//! What the level below had in a directory is known from its listings, which are kept in the form of a snapshot file (bounded
//! memory). A level that ends well is replayed whole or, when only a part of the tree is wanted, as far as that needs.

use super::dumpdir::{self, Code};
use super::member::{Member, MemberKind};
use super::open_archive;
use super::path::{below, join, split, stored_name, tree_path};
use super::reader::ArchiveReader;
use super::renames::Renames;
use super::selection::{Selection, Wanted};
use super::snapshot::{self, Record, Snapshot, SnapshotWriter};
use crate::engine::{Chain, Reading, RestoreJob};
use crate::error::{Error, Kind, Result};
use crate::limits::READ_BYTES;
use crate::monitor::Event;
use crate::spool::Spool;
use crate::time::FileTime;
use crate::tree::attributes::{Attributes, FileKind, Metadata};
use crate::tree::directory::lossy;
use crate::tree::target::Target;
use std::collections::HashMap;
use std::io::Read;

/// Replays every level of `chain`.
pub(super) fn run(job: RestoreJob<'_>, chain: &mut dyn Chain, target: Option<&mut Target<'_>>) -> Result<()> {
    let selection = Selection::new(job.include.to_vec());
    let mut replay =
        Replay { job: &job, target, previous: None, waiting: HashMap::new(), aliases: HashMap::new() };
    replay.pass(chain, &selection)?;
    // A wanted name may be a hard link to a file that is not wanted: its content is fetched under the wanted name.
    if !replay.waiting.is_empty() {
        replay.aliases = std::mem::take(&mut replay.waiting);
        let originals = Selection::new(replay.aliases.keys().cloned().collect());
        replay.pass(chain, &originals)?;
        replay.missing_originals()?;
    }
    Ok(())
}

struct Replay<'j, 't, 'm> {
    job: &'j RestoreJob<'j>,
    target: Option<&'t mut Target<'m>>,
    /// The listings of the level below.
    previous: Option<Snapshot>,
    /// Hard links whose first name is not wanted: first name → the wanted names.
    waiting: HashMap<Vec<u8>, Vec<Vec<u8>>>,
    /// In the second pass: where to put content that is wanted under another name.
    aliases: HashMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Replay<'_, '_, '_> {
    fn pass(&mut self, chain: &mut dyn Chain, selection: &Selection) -> Result<()> {
        let selections = self.selections(chain, selection)?;
        self.previous = None;
        for (level, selection) in selections.iter().enumerate() {
            let last = level + 1 == selections.len();
            if !last && !selection.is_everything() && !self.holds(chain, level, selection)? {
                continue;
            }
            self.level(chain, level, selection)?;
        }
        self.tidy(&selections)
    }

    /// What is wanted of each level. Renames are read from the head of each archive, and only when a part is wanted.
    fn selections(&mut self, chain: &mut dyn Chain, wanted: &Selection) -> Result<Vec<Selection>> {
        let levels = chain.levels();
        let mut selections = vec![wanted.clone(); levels];
        if wanted.is_everything() {
            return Ok(selections);
        }
        for level in (1..levels).rev() {
            let renames = first_renames(chain, level)?;
            selections[level - 1] = selections[level].below(&renames);
        }
        Ok(selections)
    }

    /// Whether a level may hold something that is wanted; its snapshot tells, if there is one.
    fn holds(&self, chain: &mut dyn Chain, level: usize, selection: &Selection) -> Result<bool> {
        if !chain.by_icecore(level) {
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
            if found || selection.wants(directory) == Wanted::No {
                continue;
            }
            found = dumpdir::parse(&record.listing)?.iter().any(|entry| {
                entry.code == Code::Stored && selection.wants(&join(directory, entry.name)) == Wanted::Yes
            });
        }
        // Renames must be replayed even where nothing is stored.
        Ok(found || (level > 0 && !first_renames(chain, level)?.is_empty()))
    }

    fn level(&mut self, chain: &mut dyn Chain, level: usize, selection: &Selection) -> Result<()> {
        let mut listings = SnapshotWriter::new(self.job.scratch.spool(), FileTime::default())?;
        let mut renames = Renames::default();
        let mut buffer = vec![0; READ_BYTES];
        // Ours are in the order of the walk, so that the end of the wanted part can be seen.
        let ordered = chain.by_icecore(level) && !selection.is_everything();
        chain.stream(level, &mut |input| {
            let mut archive = open_archive(input);
            while let Some(member) = archive.next()? {
                self.job.monitor.check()?;
                let path = tree_path(&member.path).to_vec();
                let is_directory = matches!(member.kind, MemberKind::Directory { .. });
                if ordered && passed(&path, is_directory, selection) {
                    return Ok(Reading::Enough);
                }
                let mut apply =
                    Apply { replay: self, renames: &mut renames, listings: &mut listings, selection };
                apply.member(&member, path, &mut archive, &mut buffer)?;
            }
            Ok(Reading::ToTheEnd)
        })?;
        self.previous = Some(Snapshot::load(listings.finish()?)?);
        Ok(())
    }

    /// Keeps the names of links that wait for their content up to date while directories above them are renamed.
    fn rename_waiting(&mut self, old: &[u8], new: &[u8]) {
        let moved = |path: &[u8]| below(path, old).map_or_else(|| path.to_vec(), |rest| [new, rest].concat());
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting = waiting
            .iter()
            .map(|(first, names)| (moved(first), names.iter().map(|name| moved(name)).collect()))
            .collect();
    }

    /// Removes directories that were made only to be renamed into the wanted part at a later level.
    fn tidy(&mut self, selections: &[Selection]) -> Result<()> {
        let (Some(target), Some(last)) = (self.target.as_deref_mut(), selections.last()) else {
            return Ok(());
        };
        for path in selections.iter().flat_map(|selection| selection.paths()) {
            let mut path = path.as_slice();
            while let Some((parent, _)) = split(path) {
                path = parent;
                if !path.is_empty() && last.wants(path) == Wanted::No && target.names(path)?.is_empty() {
                    target.remove(path)?;
                }
            }
        }
        Ok(())
    }

    /// Hard links whose first name was in no level: the content is lost, and that is said.
    fn missing_originals(&mut self) -> Result<()> {
        let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
        for (first, names) in &self.aliases {
            for name in names {
                if target.kind(name)?.is_none() {
                    let error = Error::damaged("is a hard link to a file that no level holds:", lossy(first));
                    self.job.monitor.event(Event::Problem { path: &lossy(name), error: &error, lost: true });
                }
            }
        }
        Ok(())
    }
}

/// A link that waits for its content was deleted or stored anew.
fn forget_waiting(waiting: &mut HashMap<Vec<u8>, Vec<Vec<u8>>>, path: &[u8]) {
    if waiting.is_empty() {
        return;
    }
    waiting.values_mut().for_each(|names| names.retain(|name| below(name, path).is_none()));
    waiting.retain(|_, names| !names.is_empty());
}

/// The renames of a level, which its first member holds.
fn first_renames(chain: &mut dyn Chain, level: usize) -> Result<Renames> {
    let mut renames = Renames::default();
    chain.stream(level, &mut |input| {
        if let Some(Member { kind: MemberKind::Directory { listing: Some(listing) }, .. }) =
            open_archive(input).next()?
        {
            read_renames(&listing, &mut renames)?;
        }
        Ok(Reading::Enough)
    })?;
    Ok(renames)
}

/// Where a rename pair with an empty name points to: a place beside the tree for the time of a swap.
const TEMPORARY: &[u8] = b".icecore-rename";

/// Appends the rename records of a listing. GNU tar writes an empty name for its temporary directory.
fn read_renames(listing: &[u8], renames: &mut Renames) -> Result<()> {
    let path =
        |stored: &[u8]| if stored.is_empty() { TEMPORARY.to_vec() } else { tree_path(stored).to_vec() };
    let mut old = None;
    for record in dumpdir::parse(listing)? {
        match record.code {
            Code::RenameFrom => old = Some(path(record.name)),
            Code::RenameTo => renames.extend(old.take().map(|old| (old, path(record.name)))),
            _ => {}
        }
    }
    Ok(())
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

/// One member being applied.
struct Apply<'a, 'j, 't, 'm> {
    replay: &'a mut Replay<'j, 't, 'm>,
    renames: &'a mut Renames,
    listings: &'a mut SnapshotWriter<Spool>,
    selection: &'a Selection,
}

impl Apply<'_, '_, '_, '_> {
    fn member<R: Read>(
        &mut self,
        member: &Member,
        path: Vec<u8>,
        archive: &mut ArchiveReader<R>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let wanted = self.selection.wants(&path);
        if let MemberKind::Directory { listing } = &member.kind {
            if let Some(listing) = listing {
                self.listing(&path, listing)?;
            }
            return if wanted == Wanted::No {
                Ok(())
            } else {
                self.directory(&path, listing.as_deref(), &member.attributes)
            };
        }
        let Some(place) = self.place(&path, wanted) else { return Ok(()) };
        match self.entry(member, &place, archive, buffer) {
            Ok(()) => Ok(()),
            Err(error) if of_one_path(&error) => {
                self.replay.job.monitor.event(Event::Problem {
                    path: &lossy(&place),
                    error: &error,
                    lost: true,
                });
                Ok(())
            }
            Err(error) => Err(error.while_doing("cannot restore", lossy(&place))),
        }
    }

    /// Where the entry goes: its own path, or in the second pass the name it is wanted under.
    fn place(&self, path: &[u8], wanted: Wanted) -> Option<Vec<u8>> {
        if wanted != Wanted::Yes {
            return None;
        }
        if self.replay.aliases.is_empty() {
            return Some(path.to_vec());
        }
        self.replay.aliases.get(path).and_then(|names| names.first()).cloned()
    }

    /// Keeps the listing for the level above, and replays the renames in it.
    fn listing(&mut self, path: &[u8], listing: &[u8]) -> Result<()> {
        let mut renames = Renames::default();
        read_renames(listing, &mut renames)?;
        for (old, new) in renames.iter() {
            self.rename(old, new)?;
            self.renames.push(old.clone(), new.clone());
        }
        self.listings
            .begin_directory(&snapshot::Directory { name: stored_name(path), ..Default::default() })?;
        let mut entries = entries(listing)?;
        entries.sort_unstable_by_key(|entry| entry.name);
        for entry in entries {
            self.listings.entry(entry.code, entry.name)?;
        }
        self.listings.end_directory()
    }

    fn rename(&mut self, old: &[u8], new: &[u8]) -> Result<()> {
        self.replay.rename_waiting(old, new);
        let known = self.known_below(new)?;
        let Some(target) = self.replay.target.as_deref_mut() else { return Ok(()) };
        // Of a tree that is restored in part, only what is there is renamed.
        if !self.replay.aliases.is_empty() || target.kind(old)?.is_none() {
            return Ok(());
        }
        if known && target.kind(new)?.is_some() {
            target.remove(new)?;
        }
        target
            .rename(old, new)
            .map_err(|error| error.while_doing("cannot rename", format!("{} to {}", lossy(old), lossy(new))))
    }

    /// Whether the level below had something at this place (after the renames so far), so that it may be replaced.
    fn known_below(&mut self, path: &[u8]) -> Result<bool> {
        let Some((parent, name)) = split(path) else { return Ok(false) };
        let record = self.below(parent)?;
        Ok(match record {
            Some(record) => dumpdir::lookup(&record.listing, name)?.is_some(),
            None => false,
        })
    }

    fn directory(&mut self, path: &[u8], listing: Option<&[u8]>, attributes: &Attributes) -> Result<()> {
        let record_below = self.below(path)?;
        let Some(target) = self.replay.target.as_deref_mut() else { return Ok(()) };
        if !self.replay.aliases.is_empty() {
            return Ok(());
        }
        if let Err(error) = target.directory(path) {
            if !of_one_path(&error) {
                return Err(error.while_doing("cannot restore", lossy(path)));
            }
            self.replay.job.monitor.event(Event::Problem { path: &lossy(path), error: &error, lost: true });
            return Ok(());
        }
        target.directory_attributes(path, attributes.clone())?;
        if self.selection.wants(path) == Wanted::Yes {
            self.replay.job.monitor.event(Event::Directory { path });
        }
        match listing {
            Some(listing) => self.purge(path, listing, record_below.as_ref()),
            None => Ok(()),
        }
    }

    /// The record of the directory in the level below.
    fn below(&mut self, path: &[u8]) -> Result<Option<Record>> {
        let Some(origin) = self.renames.origin(path) else { return Ok(None) };
        match &mut self.replay.previous {
            Some(previous) => previous.by_name(&stored_name(&origin)),
            None => Ok(None),
        }
    }

    /// Removes what the level below had in this directory and this level has not, or has as something else; with `delete`
    /// also what nobody put there.
    fn purge(&mut self, path: &[u8], listing: &[u8], record_below: Option<&Record>) -> Result<()> {
        let kept: HashMap<&[u8], Code> =
            entries(listing)?.iter().map(|entry| (entry.name, entry.code)).collect();
        let Some(target) = self.replay.target.as_deref_mut() else { return Ok(()) };
        if self.replay.job.delete {
            for name in target.names(path)? {
                let place = join(path, &name);
                let stays = match kept.get(name.as_slice()) {
                    Some(code) => target.kind(&place)?.is_none_or(|found| fits(*code, &found)),
                    None => name == TEMPORARY && path.is_empty(),
                };
                if !stays && self.selection.wants(&place) == Wanted::Yes {
                    target.remove(&place)?;
                }
            }
            return Ok(());
        }
        let Some(record_below) = record_below else { return Ok(()) };
        for entry in entries(&record_below.listing)? {
            let (code, name) = (entry.code, entry.name);
            let same =
                kept.get(name).is_some_and(|now| (*now == Code::Directory) == (code == Code::Directory));
            // What was renamed away to be renamed back in under the same name belongs to this level.
            let renamed_in = self.renames.iter().any(|(_, new)| *new == join(path, name));
            if !same && !renamed_in {
                target.remove(&join(path, name))?;
                forget_waiting(&mut self.replay.waiting, &join(path, name));
            }
        }
        Ok(())
    }

    fn entry<R: Read>(
        &mut self,
        member: &Member,
        path: &[u8],
        archive: &mut ArchiveReader<R>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let monitor = self.replay.job.monitor;
        let mut bytes = 0;
        forget_waiting(&mut self.replay.waiting, path);
        match &member.kind {
            MemberKind::File { size_bytes, sparse } => {
                bytes = *size_bytes;
                self.file(member, path, *size_bytes, sparse.as_deref(), archive, buffer)?;
            }
            MemberKind::HardLink(first) => return self.hard_link(path, tree_path(first)),
            kind => self.special(kind, path, &member.attributes)?,
        }
        monitor.event(Event::Entry { path, bytes });
        self.other_names(&member.path, path)
    }

    fn special(&mut self, kind: &MemberKind, path: &[u8], attributes: &Attributes) -> Result<()> {
        let Some(target) = self.replay.target.as_deref_mut() else { return Ok(()) };
        match kind {
            MemberKind::Symlink(points_to) => target.symlink(path, points_to, attributes),
            MemberKind::Fifo => target.fifo(path, attributes),
            MemberKind::CharDevice(major, minor) => {
                target.device(path, FileKind::CharDevice, *major, *minor, attributes)
            }
            MemberKind::BlockDevice(major, minor) => {
                target.device(path, FileKind::BlockDevice, *major, *minor, attributes)
            }
            MemberKind::File { .. } | MemberKind::Directory { .. } | MemberKind::HardLink(_) => Ok(()),
        }
    }

    fn hard_link(&mut self, path: &[u8], first: &[u8]) -> Result<()> {
        let in_first_pass = self.replay.aliases.is_empty();
        if !in_first_pass {
            return Ok(());
        }
        let selected = self.selection.wants(first) == Wanted::Yes;
        let Some(target) = self.replay.target.as_deref_mut() else { return Ok(()) };
        if !selected {
            self.replay.waiting.entry(first.to_vec()).or_default().push(path.to_vec());
            return Ok(());
        }
        target.hard_link(path, first)?;
        self.replay.job.monitor.event(Event::Entry { path, bytes: 0 });
        Ok(())
    }

    /// In the second pass: the further wanted names of content that was just put under the first of them.
    fn other_names(&mut self, stored: &[u8], first: &[u8]) -> Result<()> {
        let names = self.replay.aliases.get(tree_path(stored)).cloned().unwrap_or_default();
        let Some(target) = self.replay.target.as_deref_mut() else { return Ok(()) };
        for name in names.iter().skip(1) {
            target.hard_link(name, first)?;
        }
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        member: &Member,
        path: &[u8],
        size_bytes: u64,
        sparse: Option<&[(u64, u64)]>,
        archive: &mut ArchiveReader<R>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let Some(target) = self.replay.target.as_deref_mut() else { return Ok(()) };
        let mut file = target.file(path, &member.attributes)?;
        let whole = [(0, size_bytes)];
        let mut position = 0;
        for &(offset, length) in sparse.unwrap_or(&whole) {
            if offset > position {
                file.hole(offset - position)?;
            }
            let mut left = length;
            while left > 0 {
                let step = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let read = archive.read(&mut buffer[..step]).map_err(of_the_stream)?;
                if read == 0 {
                    return Err(of_the_stream(Error::damaged("too few bytes for", lossy(path))));
                }
                file.write(&buffer[..read])?;
                left -= read as u64;
            }
            position = offset + length;
        }
        if size_bytes > position {
            file.hole(size_bytes - position)?;
        }
        file.finish(&member.attributes)
    }
}

/// Whether an entry on disk is what the listing says it is, so that the archive may go on from it.
fn fits(code: Code, found: &Metadata) -> bool {
    (code == Code::Directory) == (found.kind == FileKind::Directory)
}

/// Trouble that concerns one path; the restore goes on and ends as failed. Everything else ends it at once.
fn of_one_path(error: &Error) -> bool {
    !matches!(
        error.kind(),
        Kind::NoSpace | Kind::Interrupted | Kind::Stopped | Kind::Damaged | Kind::Limit | Kind::Unsupported
    )
}

/// Trouble with the stream is never trouble with one path.
fn of_the_stream(error: Error) -> Error {
    if of_one_path(&error) {
        Error::new(Kind::Damaged, "cannot read the backup").because(error)
    } else {
        error
    }
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
