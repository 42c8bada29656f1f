//! The walk: finds every entry in the order of the tree, takes over what the parent has unchanged, and makes work of the rest.
//!
//! Invariant: a file is taken for unchanged only when it is what the parent has ([`super::parent`]) and the repository still has
//! its content; a name is taken for another one of a file that was read only when that is still the same version. What cannot be
//! read stays in the tree with what is known of it, so that nothing takes it for removed; only what vanished is absent.

use super::Common;
use super::ahead::Ahead;
use super::look::{Looked, Seen};
use super::parent::{Parent, is_same};
use super::row::{Row, SmallFile, Source, Work, entry_of, join};
use super::small::{is_racy, is_too_long, left_out, lost, problem};
use crate::codec::borders::Borders;
use crate::engine::dedup::tree::{self, Content, Entry, Kept, Key, Names, Owner};
use crate::error::{Error, Kind, Result};
use crate::limits::{
    BUNDLE_DIRECTORIES, BUNDLED_FILE_BYTES, ROWS_WAITING, SPARSE_MIN_BYTES, TREE_PATH_BYTES,
};
use crate::monitor::Event;
use crate::pipe::Sender;
use crate::repository::vault::ChunkId;
use crate::time::FileTime;
use crate::tree::attributes::{FileKind, Metadata};
use crate::tree::directory::Directory;
use crate::tree::owner::Owners;
use crate::tree::xattr;
use std::collections::HashMap;
use std::sync::Arc;

/// Makes work of entries, in order.
pub(super) struct Feed<'f> {
    pub(super) common: &'f Common<'f>,
    pub(super) work: &'f mut Sender<Work>,
    borders: &'f Borders,
    pub(super) ahead: Ahead<'f>,
    /// Rows that were not sent yet, and the small files among them.
    rows: Vec<Row>,
    files: Vec<SmallFile>,
    bundle_bytes: u64,
    bundle_directories: usize,
    next_large: u64,
    owners: Owners,
    known_owners: HashMap<(u32, u32), Arc<Owner>>,
    /// File systems, in the order in which they were met.
    devices: Vec<u64>,
    /// Files with several names of which one was seen: what it was then, and how many are still to come.
    linked: HashMap<(u64, u64), (Metadata, u64)>,
    /// A chunk that is known to be there: neighbours are mostly in the same one.
    present: Option<ChunkId>,
}

/// What was seen of a directory.
struct Closable<'m> {
    metadata: &'m Metadata,
    began: FileTime,
    /// Whether what is in it is left out.
    closed: bool,
}

/// A directory whose entries are looked at.
pub(super) struct Here {
    pub(super) path: Arc<[u8]>,
    pub(super) directory: Arc<Directory>,
    /// Whether it is among the directories of the present bundle.
    is_counted: bool,
}

impl Here {
    pub fn new(path: Arc<[u8]>, directory: Arc<Directory>) -> Here {
        Here { path, directory, is_counted: false }
    }
}

/// One tree, as it is seen.
pub(super) struct Tree<'t, 'f, 'p> {
    feed: &'t mut Feed<'f>,
    parent: &'t mut Parent<'p>,
    prefix: &'t [u8],
    here: Option<Here>,
}

impl<'t, 'f, 'p> Tree<'t, 'f, 'p> {
    /// The tree that is called `prefix` in the backup.
    pub fn new(feed: &'t mut Feed<'f>, parent: &'t mut Parent<'p>, prefix: &'t [u8]) -> Self {
        Tree { feed, parent, prefix, here: None }
    }

    pub fn take(&mut self, seen: Seen) -> Result<()> {
        match seen {
            Seen::Directory { path, directory, metadata, began, closed } => {
                let path: Arc<[u8]> = Arc::from(join(self.prefix, &path));
                self.here = None;
                if is_too_long(self.feed.common.monitor, &path, b"") {
                    return Ok(());
                }
                let known = self.parent.entry(Key { directory: &path, name: b"" })?;
                let seen = Closable { metadata: &metadata, began, closed };
                self.feed.directory(&path, &directory, &seen, known)?;
                self.here = Some(Here::new(path, directory));
            }
            Seen::Entries(entries) => {
                let Some(here) = &mut self.here else { return Ok(()) };
                for looked in entries {
                    self.feed.entry(here, self.parent, looked, None)?;
                }
            }
            Seen::Unreadable { path, metadata } => {
                let directory: Arc<[u8]> = Arc::from(join(self.prefix, &path));
                if directory.len() > TREE_PATH_BYTES {
                    return Ok(());
                }
                let entry = match metadata {
                    None => Entry::known_by_name(FileKind::Directory),
                    Some(metadata) => {
                        let owner = self.feed.owner(metadata.uid, metadata.gid);
                        Entry { whole: false, ..entry_of(&metadata, owner) }
                    }
                };
                self.feed.push(Row { directory, name: Vec::new(), entry, content: Source::Entry })?;
            }
        }
        Ok(())
    }
}

impl<'f> Feed<'f> {
    pub fn new(
        common: &'f Common<'f>,
        work: &'f mut Sender<Work>,
        borders: &'f Borders,
        ahead: Ahead<'f>,
    ) -> Self {
        Feed {
            common,
            work,
            borders,
            ahead,
            rows: Vec::new(),
            files: Vec::new(),
            bundle_bytes: 0,
            bundle_directories: 0,
            next_large: 0,
            owners: Owners::new(),
            known_owners: HashMap::new(),
            devices: Vec::new(),
            linked: HashMap::new(),
            present: None,
        }
    }

    /// Sends what is left.
    pub fn finish(mut self) -> Result<()> {
        self.flush()
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let files = std::mem::take(&mut self.files);
        self.bundle_bytes = 0;
        self.bundle_directories = 0;
        self.ahead.send();
        self.work.send(Work::Rows { rows, files })
    }

    pub(super) fn push(&mut self, row: Row) -> Result<()> {
        self.rows.push(row);
        if self.rows.len() >= ROWS_WAITING { self.flush() } else { Ok(()) }
    }

    /// The record of a root that is no directory of the source.
    pub(super) fn made_up_root(&mut self) -> Result<()> {
        let row = Row {
            directory: Arc::from(&b""[..]),
            name: Vec::new(),
            entry: Entry::made_up_root(),
            content: Source::Entry,
        };
        self.push(row)
    }

    pub(super) fn new_large(&mut self) -> u64 {
        self.next_large += 1;
        self.next_large
    }

    pub(super) fn owner(&mut self, uid: u32, gid: u32) -> Arc<Owner> {
        let owners = &self.owners;
        let known = self.known_owners.entry((uid, gid)).or_insert_with(|| {
            Arc::new(Owner { uid, gid, user: owners.user_name(uid), group: owners.group_name(gid) })
        });
        Arc::clone(known)
    }

    /// The number of a file system among those of this backup.
    fn device(&mut self, device: u64) -> u64 {
        let position = self.devices.iter().position(|known| *known == device).unwrap_or_else(|| {
            self.devices.push(device);
            self.devices.len() - 1
        });
        position as u64
    }

    fn directory(
        &mut self,
        path: &Arc<[u8]>,
        directory: &Directory,
        seen: &Closable<'_>,
        known: Option<Entry>,
    ) -> Result<()> {
        let &Closable { metadata, began, closed } = seen;
        let same = known.as_ref().is_some_and(|known| is_same(known, metadata));
        let owner = self.owner(metadata.uid, metadata.gid);
        let mut entry = match known {
            Some(known) if same => known,
            _ => {
                let mut entry = entry_of(metadata, owner);
                entry.racy = is_racy(metadata, began);
                self.attributes(&mut entry, path, || xattr::read_file(directory));
                entry
            }
        };
        // That it is empty in the tree says nothing of what is in it.
        entry.whole &= !closed;
        self.common.monitor.event(Event::Directory { path });
        self.push(Row { directory: Arc::clone(path), name: Vec::new(), entry, content: Source::Entry })
    }

    pub(super) fn attributes(
        &self,
        entry: &mut Entry,
        path: &[u8],
        read: impl FnOnce() -> Result<crate::tree::attributes::Xattrs>,
    ) {
        match read() {
            Ok(xattrs) if xattrs.is_empty() => {}
            Ok(xattrs) => entry.xattrs = Kept::Here(xattrs),
            Err(error) => {
                entry.racy = true;
                problem(self.common.monitor, path, &error.while_doing("without its attributes:", ""));
            }
        }
    }

    /// Tells of an entry that could not be read, and keeps in the tree what is known of it.
    pub(super) fn unread(
        &mut self,
        directory: &Arc<[u8]>,
        name: &[u8],
        entry: Entry,
        error: &Error,
    ) -> Result<()> {
        if !lost(self.common.monitor, &join(directory, name), error) {
            return Ok(());
        }
        let (directory, name) = (Arc::clone(directory), name.to_vec());
        self.push(Row { directory, name, entry, content: Source::Entry })
    }

    /// An entry that is not a directory; `real` is its name on disk, where that is another one than in the backup.
    pub(super) fn entry(
        &mut self,
        here: &mut Here,
        parent: &mut Parent<'_>,
        looked: Looked,
        real: Option<&[u8]>,
    ) -> Result<()> {
        self.common.monitor.check()?;
        let Looked { name, kind, metadata, began } = looked;
        let name = name.as_slice();
        let real = real.unwrap_or(name);
        if is_too_long(self.common.monitor, &here.path, name) {
            return Ok(());
        }
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(_) if kind == FileKind::Socket => {
                left_out(self.common.monitor, &join(&here.path, name));
                return Ok(());
            }
            Err(error) => return self.unread(&here.path, name, Entry::known_by_name(kind), &error),
        };
        let known = parent.entry(Key { directory: &here.path, name })?;
        if let Some(mut known) = known.filter(|known| is_same(known, &metadata))
            && self.has(&known)
        {
            known.names = self.names(&metadata);
            self.common.monitor.event(Event::Entry { path: &join(&here.path, name), bytes: 0 });
            let row = Row {
                directory: Arc::clone(&here.path),
                name: name.to_vec(),
                entry: known,
                content: Source::Entry,
            };
            return self.push(row);
        }
        match metadata.kind {
            FileKind::File => self.file(here, name, real, &metadata),
            FileKind::Socket => {
                left_out(self.common.monitor, &join(&here.path, name));
                Ok(())
            }
            FileKind::Directory => {
                let error = Error::new(Kind::Changed, "replaced by a directory while it was read");
                self.unread(&here.path, name, Entry::known_by_name(FileKind::File), &error)
            }
            _ => self.special(here, name, real, &metadata, began),
        }
    }

    fn names(&mut self, metadata: &Metadata) -> Option<Names> {
        let several = metadata.links > 1;
        several.then(|| Names { device: self.device(metadata.device), links: metadata.links })
    }

    /// Whether the repository still has the content of an entry.
    fn has(&mut self, entry: &Entry) -> bool {
        let Common { packs, reader, .. } = self.common;
        let last = &mut self.present;
        let mut check = |id: &ChunkId| {
            let present = *last == Some(*id) || packs.has(id);
            if present {
                *last = Some(*id);
            }
            present
        };
        let content = match &entry.content {
            Content::None => true,
            Content::Slice { chunk, .. } => check(chunk),
            Content::Rows { depth: 0, rows } => rows.iter().all(|(id, _)| check(id)),
            // Two versions of a long file may share a list of which the repository has lost a chunk.
            Content::Rows { rows, .. } => {
                let data_bytes = rows.iter().map(|(_, bytes)| bytes).sum();
                let below = tree::rows(*reader, &entry.content, data_bytes);
                below.is_ok_and(|mut below| below.all(|row| row.is_ok_and(|(id, _)| check(&id))))
            }
        };
        let xattrs = if let Kept::Elsewhere(id) = &entry.xattrs { check(id) } else { true };
        let holes = if let Kept::Elsewhere(id) = &entry.holes { check(id) } else { true };
        content && xattrs && holes
    }

    fn special(
        &mut self,
        here: &Here,
        name: &[u8],
        real: &[u8],
        metadata: &Metadata,
        began: FileTime,
    ) -> Result<()> {
        let path = join(&here.path, name);
        let mut entry = entry_of(metadata, self.owner(metadata.uid, metadata.gid));
        if metadata.kind == FileKind::Symlink {
            match here.directory.read_link(real) {
                Ok(target) => entry.target = target,
                Err(error) => return self.unread(&here.path, name, entry.unread(), &error),
            }
        }
        entry.racy = is_racy(metadata, began);
        entry.names = self.names(metadata);
        self.attributes(&mut entry, &path, || xattr::read_entry(&here.directory, real));
        self.common.monitor.event(Event::Entry { path: &path, bytes: 0 });
        self.push(Row {
            directory: Arc::clone(&here.path),
            name: name.to_vec(),
            entry,
            content: Source::Entry,
        })
    }

    fn file(&mut self, here: &mut Here, name: &[u8], real: &[u8], metadata: &Metadata) -> Result<()> {
        let mut entry = entry_of(metadata, self.owner(metadata.uid, metadata.gid));
        entry.names = self.names(metadata);
        // All that is known of it, until it is read.
        entry.size_bytes = metadata.size_bytes;
        let mut row =
            Row { directory: Arc::clone(&here.path), name: name.to_vec(), entry, content: Source::Bundle };
        if let Some(names) = &row.entry.names
            && self.is_further_name(names.device, metadata)
        {
            row.content = Source::FirstName(names.device, metadata.inode);
            self.common.monitor.event(Event::Entry { path: &join(&here.path, name), bytes: 0 });
            return self.push(row);
        }
        let holes = metadata.size_bytes >= SPARSE_MIN_BYTES && metadata.allocated_bytes < metadata.size_bytes;
        // A file under another name than its own cannot be found again by a worker.
        if metadata.size_bytes > BUNDLED_FILE_BYTES || holes || name != real {
            return self.large(here, row, real);
        }
        self.small(here, row, metadata)
    }

    /// Whether this is another name of a file that was read as it is now. A file that is not as it was may be another one that
    /// was given the same inode: it is read for itself.
    fn is_further_name(&mut self, device: u64, metadata: &Metadata) -> bool {
        let key = (device, metadata.inode);
        match self.linked.get_mut(&key) {
            Some((first, left)) if first.same_version(metadata) => {
                *left -= 1;
                if *left == 0 {
                    self.linked.remove(&key);
                }
                true
            }
            _ => {
                self.linked.insert(key, (metadata.clone(), metadata.links - 1));
                false
            }
        }
    }

    fn small(&mut self, here: &mut Here, row: Row, metadata: &Metadata) -> Result<()> {
        if !std::mem::replace(&mut here.is_counted, true) || self.files.is_empty() {
            self.bundle_directories += 1;
        }
        let directory = Arc::clone(&here.directory);
        self.ahead.want(&directory, &row.name, metadata.size_bytes);
        self.bundle_bytes += metadata.size_bytes;
        let ends =
            self.borders.ends_bundle(&row.name, metadata.size_bytes, self.bundle_bytes, self.files.len() + 1);
        self.files.push(SmallFile { row: self.rows.len(), directory, metadata: metadata.clone() });
        self.rows.push(row);
        let full = self.rows.len() >= ROWS_WAITING || self.bundle_directories >= BUNDLE_DIRECTORIES;
        if ends || full { self.flush() } else { Ok(()) }
    }
}
