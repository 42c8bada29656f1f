//! A backup compared with what is on disk now: both are gone through side by side, for the walk has the order of the tree.
//!
//! An inode that the kernel has not changed since it was stored is the same without a look at its content. Of any other file of
//! the same size the content is read from disk and compared chunk by chunk with the ids of the backup's chunks; only the bundles of
//! small files are fetched.

use super::aspects::{self, Aspect};
use super::{Change, Changes};
use crate::engine::dedup::tree::{self, Content, Cursor, Entry, Key, Names, Owner};
use crate::error::{Error, Kind, Result};
use crate::limits::{CHUNK_MAX_BYTES, READ_BYTES};
use crate::monitor::{Event, Monitor};
use crate::repository::vault::{ChunkId, ChunkKind};
use crate::tree::attributes::{FileKind, Metadata};
use crate::tree::directory::{Directory, lossy, path_bytes};
use crate::tree::filter::Filter;
use crate::tree::owner::Owners;
use crate::tree::walk::{self, Visit, Visitor};
use crate::tree::xattr;
use crate::view::content::Contents;
use crate::view::{self, Backup, View};
use std::cmp::Ordering;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// What is on disk.
pub(super) struct Disk<'a> {
    pub path: &'a Path,
    pub filter: &'a Filter,
    pub one_file_system: bool,
}

pub(super) fn compare(
    view: &View<'_>,
    backup: &Backup,
    top: &[u8],
    disk: &Disk<'_>,
    monitor: &dyn Monitor,
    changes: &mut Changes<'_>,
) -> Result<()> {
    let entry = view.entry(backup, top)?;
    let mut cursor = Cursor::new(view.chunks(), &backup.snapshot.root)?;
    cursor.seek(view::key_of(top, &entry))?;
    let contents = Contents::new(view, 1, monitor);
    let owners = Owners::new();
    let mut sides = Sides { view, contents, monitor, cursor, top, disk, owners, buffer: Vec::new(), changes };
    if entry.kind != FileKind::Directory {
        return sides.single(top, &entry);
    }
    let root = Directory::open(disk.path)?;
    let options = walk::Options { filter: disk.filter, one_file_system: disk.one_file_system, follow: false };
    walk::walk(root, &options, monitor, &mut sides)?;
    sides.gone_before(None)
}

struct Sides<'v, 'c, 'f> {
    view: &'v View<'v>,
    contents: Contents<'v>,
    monitor: &'v dyn Monitor,
    /// The next entry of the backup.
    cursor: Cursor<'v>,
    top: &'v [u8],
    disk: &'v Disk<'v>,
    owners: Owners,
    buffer: Vec<u8>,
    changes: &'c mut Changes<'f>,
}

impl Visitor for Sides<'_, '_, '_> {
    fn directory(&mut self, visit: &Visit<'_>, monitor: &dyn Monitor) -> Result<()> {
        let path = view::join(self.top, visit.path);
        let key = Key { directory: &path, name: b"" };
        let new = self.live(visit.metadata, Vec::new());
        self.meet(key, new, &Place { directory: visit.directory, name: None })?;
        for entry in visit.listing.iter().filter(|entry| !entry.is_directory()) {
            monitor.check()?;
            self.entry(&path, visit.directory, entry.name)?;
        }
        Ok(())
    }

    /// Nobody knows what became of it and what is below it.
    fn unreadable(&mut self, path: &[u8], _metadata: Option<&Metadata>, _error: &Error) -> Result<()> {
        self.changes.counts.unread += 1;
        let path = view::join(self.top, path);
        self.gone_before(Some(Key { directory: &path, name: b"" }))?;
        while self.cursor.peek()?.is_some_and(|(key, _)| view::is_within(key.directory, &path)) {
            self.cursor.advance();
        }
        Ok(())
    }
}

/// Where an entry is on disk: a directory, or a name in it.
struct Place<'a> {
    directory: &'a Directory,
    name: Option<&'a [u8]>,
}

impl Sides<'_, '_, '_> {
    /// An entry of a directory that is no directory itself.
    fn entry(&mut self, path: &[u8], directory: &Directory, name: &[u8]) -> Result<()> {
        let key = Key { directory: path, name };
        match live_entry(directory, name) {
            Ok(Some((metadata, target))) => {
                let new = self.live(&metadata, target);
                self.meet(key, new, &Place { directory, name: Some(name) })
            }
            Ok(None) => Ok(()),
            Err(error) => {
                self.unread(&view::join(path, name), &error);
                self.gone_before(Some(key))?;
                self.pass(key)
            }
        }
    }

    /// What the system says of an entry, in the form of a backup.
    fn live(&self, metadata: &Metadata, target: Vec<u8>) -> Entry {
        let is_file = metadata.kind == FileKind::File;
        let is_device = matches!(metadata.kind, FileKind::CharDevice | FileKind::BlockDevice);
        let owner = Owner {
            uid: metadata.uid,
            gid: metadata.gid,
            user: self.owners.user_name(metadata.uid),
            group: self.owners.group_name(metadata.gid),
        };
        Entry {
            mode: metadata.mode,
            owner: Arc::new(owner),
            mtime: metadata.mtime,
            ctime: metadata.ctime,
            inode: metadata.inode,
            size_bytes: if is_file { metadata.size_bytes } else { 0 },
            target,
            rdev: if is_device { metadata.rdev } else { (0, 0) },
            names: (metadata.links > 1 && metadata.kind != FileKind::Directory)
                .then_some(Names { device: metadata.device, links: metadata.links }),
            ..Entry::empty(metadata.kind)
        }
    }

    /// Takes an entry that is on disk: what the backup has before it is gone.
    fn meet(&mut self, key: Key<'_>, new: Entry, place: &Place<'_>) -> Result<()> {
        self.gone_before(Some(key))?;
        let old = match self.cursor.peek()? {
            Some((here, old)) if here == key => Some(old.clone()),
            _ => None,
        };
        let path = view::path_of(key);
        let Some(old) = old else {
            return self.changes.tell(Change { path: &path, old: None, new: Some(&new), aspects: &[] });
        };
        self.cursor.advance();
        match self.aspects(&old, &new, place) {
            Ok(differing) => self.changes.compared(&path, &old, &new, &differing),
            Err(Failure::Disk(error)) => {
                self.unread(&path, &error);
                Ok(())
            }
            Err(Failure::Backup(error)) => Err(error.while_doing("cannot compare", lossy(&path))),
        }
    }

    /// Tells of everything that the backup has before `key` (before its end for `None`), for it is not on disk.
    fn gone_before(&mut self, key: Option<Key<'_>>) -> Result<()> {
        while let Some((here, old)) = self.cursor.peek()? {
            let before = match key {
                Some(key) => here.cmp(&key) == Ordering::Less,
                None => view::is_within(here.directory, self.top),
            };
            if !before {
                break;
            }
            let path = view::path_of(here);
            if !is_left_out(self.disk.filter, &path, self.top, old.kind == FileKind::Directory) {
                self.changes.tell(Change { path: &path, old: Some(old), new: None, aspects: &[] })?;
            }
            self.cursor.advance();
        }
        Ok(())
    }

    /// Passes over an entry of the backup.
    fn pass(&mut self, key: Key<'_>) -> Result<()> {
        if self.cursor.peek()?.is_some_and(|(here, _)| here == key) {
            self.cursor.advance();
        }
        Ok(())
    }

    fn unread(&mut self, path: &[u8], error: &Error) {
        self.changes.counts.unread += 1;
        self.monitor.event(Event::Problem { path: &lossy(path), error, lost: true });
    }

    /// A backup's place that is no directory.
    fn single(&mut self, top: &[u8], old: &Entry) -> Result<()> {
        let (Some(above), Some(name)) = (self.disk.path.parent(), self.disk.path.file_name()) else {
            return Err(Error::invalid("no file name in", self.disk.path.display().to_string()));
        };
        let directory = Directory::open(above)?;
        let name = path_bytes(Path::new(name));
        let (metadata, target) = live_entry(&directory, name)?
            .ok_or_else(|| Error::invalid("a socket is never in a backup:", lossy(name)))?;
        let new = self.live(&metadata, target);
        let place = Place { directory: &directory, name: Some(name) };
        match self.aspects(old, &new, &place) {
            Ok(differing) => self.changes.compared(top, old, &new, &differing),
            Err(Failure::Disk(error) | Failure::Backup(error)) => Err(error),
        }
    }

    fn aspects(&mut self, old: &Entry, new: &Entry, place: &Place<'_>) -> Result<Vec<Aspect>, Failure> {
        let mut differing = aspects::of(old, new);
        if old.is_unread() {
            return Ok(differing);
        }
        let untouched = !old.racy && old.whole && old.inode == new.inode && old.ctime == new.ctime;
        if old.kind != new.kind || (untouched && differing.is_empty() && old.size_bytes == new.size_bytes) {
            return Ok(differing);
        }
        if old.kind == FileKind::File && self.content_differs(old, new, place)? {
            differing.insert(0, Aspect::Content);
        }
        let here = match place.name {
            Some(name) => xattr::read_entry(place.directory, name),
            None => xattr::read_file(place.directory),
        };
        let stored = tree::xattrs(self.view.chunks(), &old.xattrs).map_err(Failure::Backup)?;
        if here.map_err(Failure::Disk)? != stored {
            differing.push(Aspect::Attributes);
        }
        Ok(differing)
    }

    fn content_differs(&mut self, old: &Entry, new: &Entry, place: &Place<'_>) -> Result<bool, Failure> {
        let Some(name) = place.name else { return Ok(false) };
        if old.size_bytes != new.size_bytes {
            return Ok(true);
        }
        let mut file = place.directory.open_file(name).map_err(Failure::Disk)?;
        if let Content::Slice { chunk, offset } = &old.content {
            self.buffer.clear();
            let limit = old.size_bytes.saturating_add(1);
            let read = (&mut file).take(limit).read_to_end(&mut self.buffer);
            read.map_err(|e| Failure::Disk(Error::io("cannot read", lossy(name), e)))?;
            let same = self.buffer.len() as u64 == old.size_bytes
                && self.contents.slice_is(chunk, *offset, &self.buffer).map_err(Failure::Backup)?;
            return Ok(!same);
        }
        let chunks = self.view.chunks();
        let holes = tree::holes(chunks, &old.holes, old.size_bytes).map_err(Failure::Backup)?;
        let hole_bytes = holes.iter().fold(0u64, |sum, hole| sum.saturating_add(hole.length));
        let data_bytes = old.size_bytes.saturating_sub(hole_bytes);
        let holes = holes.iter().map(|hole| (hole.data_before, hole.length)).collect();
        let mut data = Data { file, holes, before_hole: None, monitor: self.monitor };
        for row in tree::rows(chunks, &old.content, data_bytes).map_err(Failure::Backup)? {
            let (id, bytes) = row.map_err(Failure::Backup)?;
            if !self.next_chunk_is(&mut data, &id, bytes)? {
                return Ok(true);
            }
        }
        // Only holes are left.
        Ok(!data.ends()?)
    }

    fn next_chunk_is(&mut self, data: &mut Data<'_>, id: &ChunkId, bytes: u64) -> Result<bool, Failure> {
        self.monitor.check().map_err(Failure::Backup)?;
        let length = usize::try_from(bytes).ok().filter(|bytes| *bytes <= 4 * CHUNK_MAX_BYTES);
        let length =
            length.ok_or_else(|| Failure::Backup(Error::damaged("too long a chunk:", id.to_string())))?;
        self.buffer.resize(length, 0);
        if !data.fill(&mut self.buffer)? {
            return Ok(false);
        }
        Ok(self.view.vault().keys().chunk_id(ChunkKind::Content, &self.buffer) == *id)
    }
}

/// Whose fault it is: what cannot be read on disk is a problem of one entry.
enum Failure {
    Disk(Error),
    Backup(Error),
}

/// What the system says of a name, and where it points to; `None` for a socket, which is in no backup.
fn live_entry(directory: &Directory, name: &[u8]) -> Result<Option<(Metadata, Vec<u8>)>> {
    let metadata = directory.stat(name)?;
    let target = match metadata.kind {
        FileKind::Socket => return Ok(None),
        FileKind::Symlink => directory.read_link(name)?,
        FileKind::Directory => {
            return Err(
                Error::new(Kind::Changed, "became a directory while it was looked at:").on(lossy(name))
            );
        }
        _ => Vec::new(),
    };
    Ok(Some((metadata, target)))
}

/// Whether a filter leaves out the path, or a directory above it that is below `top`.
fn is_left_out(filter: &Filter, path: &[u8], top: &[u8], is_directory: bool) -> bool {
    let below = path.strip_prefix(top).unwrap_or(path);
    let below = below.strip_prefix(b"/").unwrap_or(below);
    let slashes = below.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.into_iter().any(|at| filter.excludes(&below[..at], true))
        || (!below.is_empty() && filter.excludes(below, is_directory))
}

/// The data of a file on disk without the holes that the backup knows, which must be zeros here.
struct Data<'a> {
    file: File,
    holes: std::collections::VecDeque<(u64, u64)>,
    /// Data that is left before the next hole.
    before_hole: Option<u64>,
    monitor: &'a dyn Monitor,
}

impl Data<'_> {
    /// Fills the buffer with the next data; `false` when there is less, or no hole where there should be one.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, Failure> {
        let mut filled = 0;
        while filled < buffer.len() {
            let before = self.before();
            if before == 0 {
                if !self.pass_hole()? {
                    return Ok(false);
                }
                continue;
            }
            let now = usize::try_from(before).unwrap_or(usize::MAX).min(buffer.len() - filled);
            if !read_whole(&mut self.file, &mut buffer[filled..filled + now])? {
                return Ok(false);
            }
            filled += now;
            self.before_hole = Some(before - now as u64);
        }
        Ok(true)
    }

    fn before(&mut self) -> u64 {
        let next = self.holes.front().map_or(u64::MAX, |(data_before, _)| *data_before);
        *self.before_hole.get_or_insert(next)
    }

    fn pass_hole(&mut self) -> Result<bool, Failure> {
        let Some((_, mut left)) = self.holes.pop_front() else { return Ok(false) };
        self.before_hole = None;
        let mut buffer = vec![0; READ_BYTES];
        while left > 0 {
            self.monitor.check().map_err(Failure::Backup)?;
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES);
            if !read_whole(&mut self.file, &mut buffer[..now])? || buffer[..now].iter().any(|byte| *byte != 0)
            {
                return Ok(false);
            }
            left -= now as u64;
        }
        Ok(true)
    }

    /// Whether nothing is left but holes.
    fn ends(&mut self) -> Result<bool, Failure> {
        while !self.holes.is_empty() {
            if self.before() != 0 || !self.pass_hole()? {
                return Ok(false);
            }
        }
        let mut more = [0];
        Ok(!read_whole(&mut self.file, &mut more)?)
    }
}

/// Fills the buffer; `false` when the file ends before that.
fn read_whole(file: &mut File, buffer: &mut [u8]) -> Result<bool, Failure> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(Failure::Disk(Error::io("cannot read", "a file", error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_filter_leaves_out_above_is_left_out_below() {
        let filter = Filter::none().exclude(["*.o", "cache/"]).unwrap();
        for (path, top, expected) in [
            ("a.o", "", true),
            ("a/cache/deep/b", "", true),
            ("a/cache/deep/b", "a/cache", false),
            ("a/b", "", false),
            ("", "", false),
        ] {
            assert_eq!(is_left_out(&filter, path.as_bytes(), top.as_bytes(), false), expected, "{path}");
        }
    }
}
