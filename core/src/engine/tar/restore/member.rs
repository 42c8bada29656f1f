//! Putting the members of an archive where they belong.

use super::super::dumpdir::{self, Code};
use super::super::member::{Member, MemberKind};
use super::super::path::{below, stored_name, tree_path};
use super::super::reader::ArchiveReader;
use super::super::selection::Wanted;
use super::super::snapshot::{self, SnapshotWriter};
use super::verification::{Put, Record};
use super::{Replay, Waiting, of_one_path};
use crate::engine::overwrite::Decision;
use crate::error::{Error, Kind, Result};
use crate::monitor::Event;
use crate::spool::Spool;
use crate::tree::attributes::{Attributes, FileKind};
use crate::tree::directory::lossy;
use std::borrow::Cow;
use std::io::Read;

/// What there was in a level so far.
#[derive(Default)]
pub(super) struct Seen {
    pub members: u64,
    /// Directories with a listing, but for the root.
    pub listings: u64,
    /// Directories that are named in a listing.
    pub named_directories: u64,
}

/// One member being applied.
pub(super) struct Apply<'a, 'j, 't, 'm> {
    pub replay: &'a mut Replay<'j, 't, 'm>,
    pub listings: &'a mut SnapshotWriter<Spool>,
    pub seen: &'a mut Seen,
    pub level: usize,
    /// Whether this is the last level.
    pub last: bool,
}

impl Apply<'_, '_, '_, '_> {
    /// Applies it.
    ///
    /// # Errors
    /// Of the stream, the target and the run; what concerns one path is told to the monitor.
    pub fn member<R: Read>(
        &mut self,
        member: &Member,
        path: Vec<u8>,
        archive: &mut ArchiveReader<R>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let is_directory = matches!(member.kind, MemberKind::Directory { .. });
        let place = self.replay.destination(self.level, &path, is_directory);
        if let MemberKind::Directory { listing } = &member.kind {
            let listing = match listing {
                Some(listing) => {
                    let kept = self.listing(&path, listing);
                    Some(kept.map_err(|error| error.while_doing("cannot read the listing of", lossy(&path)))?)
                }
                None => None,
            };
            let Some(place) = place else { return Ok(()) };
            let done = self.directory(&path, &place, listing.as_deref(), &member.attributes);
            return self.replay.of_one_path(&place, done);
        }
        let Some(place) = place.filter(|place| self.replay.wants(place, false) == Wanted::Yes) else {
            return Ok(());
        };
        self.find(&place, false);
        self.replay.forget_waiting(&place);
        let done = self.entry(member, &place, archive, buffer);
        self.replay.of_one_path(&place, done)
    }

    /// Anything but a directory, where it is wanted; unless what stands there is to stay.
    fn entry<R: Read>(
        &mut self,
        member: &Member,
        place: &[u8],
        archive: &mut ArchiveReader<R>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let (kind, size_bytes) = kind_of(&member.kind);
        match self.replay.decide(place, kind, size_bytes, &member.attributes)? {
            Decision::Keep => return Ok(()),
            Decision::Unchanged => {
                if self.replay.stays(place, size_bytes.unwrap_or(0), &member.attributes)? {
                    return Ok(());
                }
            }
            Decision::Make | Decision::Replace | Decision::Enter => {}
        }
        self.replay.make_above(place)?;
        match &member.kind {
            MemberKind::HardLink(first) => self.hard_link(place, tree_path(first)),
            _ => self.replay.content(member, place, archive, buffer),
        }
    }

    /// Notes that the last level has a wanted path.
    fn find(&mut self, place: &[u8], is_directory: bool) {
        if self.last {
            self.replay.match_patterns(place, is_directory);
        }
        if self.last && !self.replay.wanted.is_everything() {
            let wanted = self.replay.wanted.paths().iter().filter(|wanted| below(place, wanted).is_some());
            self.replay.found.extend(wanted.cloned());
        }
    }

    /// Keeps the listing for the level above, and gives back its entries in the order of their names.
    fn listing<'l>(&mut self, path: &[u8], listing: &'l [u8]) -> Result<Cow<'l, [u8]>> {
        let is_rename =
            |record: Result<dumpdir::Record<'_>>| record.is_ok_and(|record| record.code == Code::RenameFrom);
        if self.seen.members > 0 && dumpdir::records(listing).any(is_rename) {
            let what = "renames that are not at the head of the archive, in the listing of";
            return Err(Error::new(Kind::Unsupported, what).on(lossy(path)));
        }
        let sorted = dumpdir::sorted(listing)?;
        self.listings
            .begin_directory(&snapshot::Directory { name: stored_name(path), ..Default::default() })?;
        self.seen.listings += u64::from(!path.is_empty());
        for entry in dumpdir::records(&sorted) {
            let entry = entry?;
            self.seen.named_directories += u64::from(entry.code == Code::Directory);
            self.listings.entry(entry.code, entry.name)?;
        }
        self.listings.end_directory()?;
        Ok(sorted)
    }

    fn directory(
        &mut self,
        path: &[u8],
        place: &[u8],
        listing: Option<&[u8]>,
        attributes: &Attributes,
    ) -> Result<()> {
        let wanted = self.replay.wants(place, true);
        // A directory above what is wanted is as it is in the last level; a lower one may only have had what is gone since.
        let is_above = self.replay.chosen.is_above(place);
        if wanted == Wanted::Yes || (wanted == Wanted::Above && self.last && is_above) {
            if place != path {
                self.replay.make_way(place)?;
            }
            self.replay.make_above(place)?;
            self.replay.make_directory(place, attributes)?;
            self.replay.put(place, Put::Directory)?;
        } else if wanted == Wanted::Perhaps && is_above {
            self.replay.pass_through(place, attributes, self.last)?;
        }
        if wanted == Wanted::Yes {
            self.find(place, true);
            self.replay.job.monitor.event(Event::Directory { path: place });
        }
        match listing {
            Some(listing) if wanted != Wanted::No => self.purge(path, listing),
            _ => Ok(()),
        }
    }

    fn hard_link(&mut self, place: &[u8], first: &[u8]) -> Result<()> {
        match self.replay.wanted_place(self.level, first, false) {
            // What stands there and is to stay is no name of what the backup has.
            Some(existing) if !self.replay.policy.protects(&existing) => {
                self.replay.further_name(place, &existing)
            }
            _ => {
                let waiting = Waiting { level: self.level, first: first.to_vec() };
                self.replay.waiting.insert(place.to_vec(), waiting);
                Ok(())
            }
        }
    }
}

impl Replay<'_, '_, '_> {
    /// Anything but a directory or a hard link.
    pub(super) fn content<R: Read>(
        &mut self,
        member: &Member,
        path: &[u8],
        archive: &mut ArchiveReader<R>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let mut bytes = 0;
        match &member.kind {
            MemberKind::File { size_bytes, sparse } => {
                bytes = *size_bytes;
                self.file(member, path, *size_bytes, sparse.as_deref(), archive, buffer)?;
            }
            kind => {
                self.special(kind, path, &member.attributes)?;
                self.put(path, Put::Special)?;
            }
        }
        self.policy.make(path)?;
        self.job.monitor.event(Event::Entry { path, bytes });
        Ok(())
    }

    /// Notes what was put at a path, when files are to be verified.
    fn put(&mut self, path: &[u8], what: Put) -> Result<()> {
        self.written.as_mut().map_or(Ok(()), |written| written.put(path, what))
    }

    /// Another name of what stands at `existing`.
    pub(super) fn further_name(&mut self, path: &[u8], existing: &[u8]) -> Result<()> {
        if let Some(target) = self.target.as_deref_mut() {
            target.hard_link(path, existing)?;
        }
        self.put(path, Put::Special)?;
        self.policy.make(path)?;
        self.job.monitor.event(Event::Entry { path, bytes: 0 });
        Ok(())
    }

    fn special(&mut self, kind: &MemberKind, path: &[u8], attributes: &Attributes) -> Result<()> {
        let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
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

    fn file<R: Read>(
        &mut self,
        member: &Member,
        path: &[u8],
        size_bytes: u64,
        sparse: Option<&[(u64, u64)]>,
        archive: &mut ArchiveReader<R>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
        let mut file = target.file(path, &member.attributes)?;
        let whole = [(0, size_bytes)];
        let regions = sparse.unwrap_or(&whole);
        let mut hasher = self.written.is_some().then(blake3::Hasher::new);
        let mut position = 0;
        for &(offset, length) in regions {
            if offset > position {
                file.hole(offset - position)?;
            }
            let mut left = length;
            while left > 0 {
                let step = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let read = fill(archive, &mut buffer[..step]).map_err(of_the_stream)?;
                if read == 0 {
                    return Err(of_the_stream(Error::damaged("too few bytes for", lossy(path))));
                }
                if let Some(hasher) = &mut hasher {
                    hasher.update(&buffer[..read]);
                }
                file.write(&buffer[..read])?;
                left -= read as u64;
            }
            position = offset + length;
        }
        if size_bytes > position {
            file.hole(size_bytes - position)?;
        }
        let (Some(written), Some(hasher)) = (&mut self.written, hasher) else {
            return file.finish(&member.attributes);
        };
        let inode = file.inode()?;
        file.finish(&member.attributes)?;
        written.push(&Record { path, size_bytes, regions, inode, hash: hasher.finalize() })
    }

    /// Makes directories of whatever stands above a path that is a directory in a later level, and is moved there then.
    fn make_way(&mut self, path: &[u8]) -> Result<()> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for above in slashes.map(|(end, _)| &path[..end]) {
            let Some(target) = self.target.as_deref_mut() else { return Ok(()) };
            if !self.chosen.is_above(above) || self.policy.protects(above) {
                continue;
            }
            if target.kind(above)?.is_some_and(|found| found.kind != FileKind::Directory) {
                target.directory(above)?;
            }
        }
        Ok(())
    }
}

/// The type of a member, and its length when it is a file.
fn kind_of(kind: &MemberKind) -> (FileKind, Option<u64>) {
    match kind {
        MemberKind::File { size_bytes, .. } => (FileKind::File, Some(*size_bytes)),
        MemberKind::Directory { .. } => (FileKind::Directory, None),
        MemberKind::Symlink(_) => (FileKind::Symlink, None),
        // Of a file; how long that is stands elsewhere.
        MemberKind::HardLink(_) => (FileKind::File, None),
        MemberKind::Fifo => (FileKind::Fifo, None),
        MemberKind::CharDevice(..) => (FileKind::CharDevice, None),
        MemberKind::BlockDevice(..) => (FileKind::BlockDevice, None),
    }
}

/// Reads as much as there is room for, so that runs of zeros are not cut into short ones.
fn fill<R: Read>(archive: &mut ArchiveReader<R>, buffer: &mut [u8]) -> Result<usize> {
    let mut had = 0;
    while had < buffer.len() {
        match archive.read(&mut buffer[had..])? {
            0 => break,
            more => had += more,
        }
    }
    Ok(had)
}

/// Trouble with the stream is never trouble with one path.
fn of_the_stream(error: Error) -> Error {
    if of_one_path(&error) {
        Error::new(Kind::Damaged, "cannot read the backup").because(error)
    } else {
        error
    }
}
