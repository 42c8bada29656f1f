//! Putting the members of an archive where they belong.

use super::super::dumpdir::{self, Code};
use super::super::member::{Member, MemberKind};
use super::super::path::{below, stored_name, tree_path};
use super::super::reader::ArchiveReader;
use super::super::selection::Wanted;
use super::super::snapshot::{self, SnapshotWriter};
use super::{Replay, Waiting, of_one_path};
use crate::error::{Error, Kind, Result};
use crate::monitor::Event;
use crate::spool::Spool;
use crate::tree::attributes::{Attributes, FileKind};
use crate::tree::directory::lossy;
use crate::tree::target::Target;
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
        let Some(place) = place.filter(|place| self.replay.wanted.wants(place) == Wanted::Yes) else {
            return Ok(());
        };
        self.find(&place);
        self.replay.forget_waiting(&place);
        let done = match &member.kind {
            MemberKind::HardLink(first) => self.hard_link(&place, tree_path(first)),
            _ => self.replay.content(member, &place, archive, buffer),
        };
        self.replay.of_one_path(&place, done)
    }

    /// Notes that the last level has a wanted path.
    fn find(&mut self, place: &[u8]) {
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
        let wanted = self.replay.wanted.wants(place);
        // A directory above what is wanted is as it is in the last level; a lower one may only have had what is gone since.
        let made = wanted == Wanted::Yes || (wanted == Wanted::Above && self.last);
        if made && let Some(target) = self.replay.target.as_deref_mut() {
            if place != path {
                make_way(target, place)?;
            }
            target.directory(place)?;
            target.directory_attributes(place, attributes.clone())?;
        }
        if wanted == Wanted::Yes {
            self.find(place);
            self.replay.job.monitor.event(Event::Directory { path: place });
        }
        match listing {
            Some(listing) if wanted != Wanted::No => self.purge(path, listing),
            _ => Ok(()),
        }
    }

    fn hard_link(&mut self, place: &[u8], first: &[u8]) -> Result<()> {
        match self.replay.wanted_place(self.level, first, false) {
            Some(existing) => self.replay.further_name(place, &existing),
            None => {
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
            kind => self.special(kind, path, &member.attributes)?,
        }
        self.job.monitor.event(Event::Entry { path, bytes });
        Ok(())
    }

    /// Another name of what stands at `existing`.
    pub(super) fn further_name(&mut self, path: &[u8], existing: &[u8]) -> Result<()> {
        if let Some(target) = self.target.as_deref_mut() {
            target.hard_link(path, existing)?;
        }
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

/// Makes directories of whatever stands above a path that is a directory in a later level, and is moved there then.
fn make_way(target: &mut Target<'_>, path: &[u8]) -> Result<()> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    for (end, _) in slashes {
        if target.kind(&path[..end])?.is_some_and(|found| found.kind != FileKind::Directory) {
            target.directory(&path[..end])?;
        }
    }
    Ok(())
}

/// Trouble with the stream is never trouble with one path.
fn of_the_stream(error: Error) -> Error {
    if of_one_path(&error) {
        Error::new(Kind::Damaged, "cannot read the backup").because(error)
    } else {
        error
    }
}
