//! The walk: finds every entry in the order of the tree, takes over what the parent has unchanged, and makes work of the rest.
//!
//! Invariant: a file is taken for unchanged only when it is what the parent has ([`super::parent`]) and the repository still has
//! its content; a name is taken for another one of a file that was read only when that is still the same version.

use super::Common;
use super::ahead::Ahead;
use super::large::{Outcome, StreamData};
use super::look::{Looked, Seen, look};
use super::parent::{Parent, is_same};
use super::row::{Row, SmallFile, Source, Work, entry_of, join};
use super::small::{is_racy, is_too_long, left_out, problem};
use crate::codec::borders::Borders;
use crate::engine::Root;
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
use crate::tree::directory::{Directory, path_bytes};
use crate::tree::filter::Filter;
use crate::tree::owner::Owners;
use crate::tree::walk;
use crate::tree::xattr;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Component, Path};
use std::sync::Arc;

/// Makes work of entries, in order.
pub(super) struct Feed<'f> {
    pub(super) common: &'f Common<'f>,
    pub(super) work: &'f mut Sender<Work>,
    borders: &'f Borders,
    ahead: Ahead<'f>,
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

/// Backs up trees, each below its name.
pub(super) fn trees(
    feed: &mut Feed<'_>,
    roots: &[Root<'_>],
    parent: &mut Parent<'_>,
    filter: &Filter,
    one_file_system: bool,
) -> Result<()> {
    let mut sorted: Vec<&Root<'_>> = roots.iter().collect();
    // Single files are entries of the top directory, which come before all sub-directories.
    let is_directory = |root: &Root<'_>| std::fs::metadata(root.path).map(|metadata| metadata.is_dir());
    let mut kinds = HashMap::new();
    for root in &sorted {
        let directory =
            is_directory(root).map_err(|e| Error::io("cannot read", root.path.display().to_string(), e))?;
        kinds.insert(root.name.clone(), directory);
    }
    sorted.sort_by(|a, b| (kinds[&a.name], &a.name).cmp(&(kinds[&b.name], &b.name)));
    let whole_tree = |root: &Root<'_>| root.name.is_empty() && kinds[&root.name];
    if !sorted.iter().any(|root| whole_tree(root)) {
        feed.made_up_root()?;
    }
    for root in sorted {
        if kinds[&root.name] {
            let directory = Directory::open(root.path)?;
            let options = walk::Options { filter, one_file_system };
            let (common, hints) = (feed.common, feed.ahead.hints());
            let mut tree = Tree { feed, parent, prefix: &root.name, here: None };
            look(directory, &options, common, hints, &mut |seen| tree.take(seen))?;
        } else {
            single(feed, root, parent)?;
        }
    }
    Ok(())
}

/// A source that is not a directory: one entry at the top, under its own name.
fn single(feed: &mut Feed<'_>, root: &Root<'_>, parent: &mut Parent<'_>) -> Result<()> {
    let none = || Error::invalid("no file name in", root.path.display().to_string());
    let name = match root.path.components().next_back() {
        _ if !root.name.is_empty() => root.name.clone(),
        Some(Component::Normal(name)) => path_bytes(Path::new(name)).to_vec(),
        _ => return Err(none()),
    };
    // A link named by the user is what it points to, as the directory it may be would have been.
    let path = std::fs::canonicalize(root.path)
        .map_err(|e| Error::io("cannot read", root.path.display().to_string(), e))?;
    let directory = Directory::open(path.parent().unwrap_or(Path::new("/")))?;
    let real = path.file_name().map(|name| path_bytes(Path::new(name)).to_vec()).ok_or_else(none)?;
    let rows = feed.rows.len();
    let mut here = Here { path: Arc::from(&b""[..]), directory: Arc::new(directory), is_counted: false };
    let began = (feed.common.clock)();
    let metadata = here.directory.stat(&real);
    feed.entry(&mut here, parent, Looked { name, metadata, began }, Some(&real))?;
    if feed.rows.len() == rows {
        return Err(Error::new(Kind::Io, "cannot read")
            .on(root.path.display().to_string())
            .hint("the reason is in the problem reported above"));
    }
    feed.flush()
}

/// Backs up a stream as one file at the top.
pub(super) fn stream(feed: &mut Feed<'_>, name: &[u8], content: &mut (dyn Read + Send)) -> Result<()> {
    feed.made_up_root()?;
    let began = (feed.common.clock)();
    let number = feed.new_large();
    let length = match feed.send_blocks(number, &mut StreamData(content))? {
        Outcome::Read(length) => length,
        Outcome::Failed(error) => return Err(error),
    };
    let owner = feed.owner(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let metadata = Metadata {
        kind: FileKind::File,
        mode: 0o600,
        uid: owner.uid,
        gid: owner.gid,
        size_bytes: length,
        allocated_bytes: length,
        mtime: began,
        ctime: began,
        atime: began,
        device: 0,
        inode: 0,
        links: 1,
        rdev: (0, 0),
    };
    let mut entry = entry_of(&metadata, owner);
    entry.size_bytes = length;
    entry.racy = true;
    feed.common.monitor.event(Event::Entry { path: name, bytes: length });
    feed.push(Row {
        directory: Arc::from(&b""[..]),
        name: name.to_vec(),
        entry,
        content: Source::Large(number),
    })
}

/// A directory whose entries are looked at.
pub(super) struct Here {
    pub(super) path: Arc<[u8]>,
    pub(super) directory: Arc<Directory>,
    /// Whether it is among the directories of the present bundle.
    is_counted: bool,
}

/// One tree, as it is seen.
struct Tree<'t, 'f, 'p> {
    feed: &'t mut Feed<'f>,
    parent: &'t mut Parent<'p>,
    prefix: &'t [u8],
    here: Option<Here>,
}

impl Tree<'_, '_, '_> {
    fn take(&mut self, seen: Seen) -> Result<()> {
        match seen {
            Seen::Directory { path, directory, metadata, began } => {
                let path: Arc<[u8]> = Arc::from(join(self.prefix, &path));
                self.here = None;
                if is_too_long(self.feed.common.monitor, &path, b"") {
                    return Ok(());
                }
                let known = self.parent.entry(Key { directory: &path, name: b"" })?;
                self.feed.directory(&path, &directory, &metadata, began, known)?;
                self.here = Some(Here { path, directory, is_counted: false });
            }
            Seen::Entries(entries) => {
                let Some(here) = &mut self.here else { return Ok(()) };
                for looked in entries {
                    self.feed.entry(here, self.parent, looked, None)?;
                }
            }
            Seen::Unreadable { metadata: None, .. } => {}
            Seen::Unreadable { path, metadata: Some(metadata) } => {
                let directory: Arc<[u8]> = Arc::from(join(self.prefix, &path));
                if directory.len() > TREE_PATH_BYTES {
                    return Ok(());
                }
                let mut entry = entry_of(&metadata, self.feed.owner(metadata.uid, metadata.gid));
                entry.whole = false;
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

    fn flush(&mut self) -> Result<()> {
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
    fn made_up_root(&mut self) -> Result<()> {
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
        metadata: &Metadata,
        began: FileTime,
        known: Option<Entry>,
    ) -> Result<()> {
        let same = known.as_ref().is_some_and(|known| is_same(known, metadata));
        let owner = self.owner(metadata.uid, metadata.gid);
        let entry = match known {
            Some(known) if same => known,
            _ => {
                let mut entry = entry_of(metadata, owner);
                entry.racy = is_racy(metadata, began);
                self.attributes(&mut entry, path, || xattr::read_file(directory));
                entry
            }
        };
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

    /// An entry that is not a directory; `real` is its name on disk, where that is another one than in the backup.
    fn entry(
        &mut self,
        here: &mut Here,
        parent: &mut Parent<'_>,
        looked: Looked,
        real: Option<&[u8]>,
    ) -> Result<()> {
        self.common.monitor.check()?;
        let Looked { name, metadata, began } = looked;
        let name = name.as_slice();
        let real = real.unwrap_or(name);
        if is_too_long(self.common.monitor, &here.path, name) {
            return Ok(());
        }
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                problem(self.common.monitor, &join(&here.path, name), &error);
                return Ok(());
            }
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
                problem(self.common.monitor, &join(&here.path, name), &error);
                Ok(())
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
            let present = *last == Some(*id) || packs.writer.has(id);
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
                Err(error) => {
                    problem(self.common.monitor, &path, &error);
                    return Ok(());
                }
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
