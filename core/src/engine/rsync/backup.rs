//! Making a level: one walk of the tree, which is compared with the tree of the level below as both go on.
//!
//! Every entry is in the state of the level, as it is; the stream has what is new of contents. Memory does not grow with the
//! tree but for what [`Base`] names, and a row for each file with several names while more are to come.
//!
//! What cannot be read is told, and stays in the tree as the level below has it, or as something of which nothing is known:
//! either way it removes nothing at a restore, and the next level tries again.

use super::base::Base;
use super::content::{ContentReader, Older, Stream};
use super::state::{DirectoryRow, FileRow, Item, Row, RowKind, SignaturePlace, State, StateWriter};
use super::stream::StreamWriter;
use crate::engine::{BackupJob, Source};
use crate::error::{Error, Kind, Result};
use crate::limits::{LEVEL_MAX, PATH_BYTES};
use crate::monitor::{Event, Monitor};
use crate::pipe::BlockWriter;
use crate::spool::Spool;
use crate::tree::attributes::{Attributes, FileKind, Metadata, Xattrs};
use crate::tree::dereference::Dereference;
use crate::tree::directory::{Directory, lossy, metadata_of, path_bytes};
use crate::tree::owner::Owners;
use crate::tree::walk::{self, Visit, Visitor};
use crate::tree::xattr;
use std::collections::HashMap;
use std::path::{Component, Path};

mod entry;

use entry::Entry;

/// Writes one level of `job.source` to `out` and gives back its state.
pub(super) fn run(job: BackupJob<'_>, out: &mut BlockWriter<'_>) -> Result<Spool> {
    let base = match job.base {
        Some(spool) => Some(Base::new(State::load(spool, job.scratch)?, job.now)?),
        None => None,
    };
    let level = base.as_ref().map_or(0, |base| base.level() + 1);
    if level > LEVEL_MAX {
        return Err(Error::new(Kind::Limit, "a chain has no levels above").on(LEVEL_MAX.to_string()));
    }
    let mut writer = LevelWriter {
        stream: StreamWriter::new(out)?,
        state: StateWriter::new(level, job.now, job.scratch),
        base,
        contents: ContentReader::new(level, job.block_bytes),
        owners: Owners::new(),
        names: HashMap::new(),
        links: 0,
        carried_links: HashMap::new(),
        dereference: job.source.dereference,
    };
    let metadata = std::fs::metadata(job.source.path)
        .map_err(|e| Error::io("cannot read", job.source.path.display().to_string(), e))?;
    if metadata.is_dir() {
        let root = Directory::open(job.source.path)?;
        let Source { filter, one_file_system, dereference, .. } = job.source;
        let options = walk::Options { filter, one_file_system, follow: dereference.symbolic };
        walk::walk(root, &options, job.monitor, &mut writer)?;
    } else {
        writer.single(&job.source, job.monitor)?;
    }
    writer.stream.finish()?;
    writer.state.finish()
}

struct LevelWriter<'o, 'b> {
    stream: Stream<'o, 'b>,
    state: StateWriter,
    base: Option<Base>,
    contents: ContentReader,
    owners: Owners,
    /// Entries with further names: what the first one has become, and how many names are still to come.
    names: HashMap<(u64, u64), Names>,
    /// Numbers for what several names have in common that were given so far.
    links: u64,
    /// Those that were given to what the level below had in common.
    carried_links: HashMap<u64, u64>,
    dereference: Dereference,
}

struct Names {
    row: Row,
    left: u64,
    is_stored: bool,
}

impl LevelWriter<'_, '_> {
    /// A source that is not a directory: the one entry, under its own name, of a root that is no part of the backup.
    fn single(&mut self, source: &Source<'_>, monitor: &dyn Monitor) -> Result<()> {
        let stored = match source.path.components().next_back() {
            Some(Component::Normal(name)) => path_bytes(Path::new(name)).to_vec(),
            _ => return Err(Error::invalid("no file name in", source.path.display().to_string())),
        };
        // A link named by the user is what it points to, as the directory it may be would have been.
        let path = std::fs::canonicalize(source.path)
            .map_err(|e| Error::io("cannot read", source.path.display().to_string(), e))?;
        let directory = Directory::open(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().map(|name| path_bytes(Path::new(name)).to_vec()).unwrap_or_default();
        self.state.directory(DirectoryRow { path: Vec::new(), attributes: None, closed: true })?;
        let before = self.enter(b"").and_then(|()| self.before(&stored))?;
        let entry =
            Entry { directory: &directory, name: &name, stored: &stored, path: &stored, is_followed: false };
        match self.entry(&entry, before, monitor)? {
            Some(row) if !row.again => self.state.entry(row),
            _ => Err(Error::new(Kind::Io, "cannot read")
                .on(source.path.display().to_string())
                .hint("the reason is in the problem reported above")),
        }
    }

    fn enter(&mut self, path: &[u8]) -> Result<()> {
        self.base.as_mut().map_or(Ok(()), |base| base.enter(path))
    }

    /// What the level below has under a name of the directory that was entered.
    fn before(&mut self, name: &[u8]) -> Result<Option<Row>> {
        self.base.as_mut().map_or(Ok(None), |base| base.entry(name))
    }

    /// What an entry that is no directory has become; `None` when it is gone, or left out.
    fn entry(
        &mut self,
        entry: &Entry<'_>,
        before: Option<Row>,
        monitor: &dyn Monitor,
    ) -> Result<Option<Row>> {
        monitor.check()?;
        if entry.path.len() > PATH_BYTES {
            return self.unread(entry, before, &Error::new(Kind::Limit, "too long a path"), monitor);
        }
        let metadata = match entry.directory.stat(entry.name) {
            Ok(metadata) => metadata,
            Err(error) => return self.unread(entry, before, &error, monitor),
        };
        if metadata.kind == FileKind::Symlink && self.dereference.symbolic {
            return self.followed(entry, before, monitor);
        }
        self.found(entry, before, metadata, monitor)
    }

    /// What an entry that was found has become.
    fn found(
        &mut self,
        entry: &Entry<'_>,
        before: Option<Row>,
        metadata: Metadata,
        monitor: &dyn Monitor,
    ) -> Result<Option<Row>> {
        if let Some(row) = self.further_name(entry, &metadata, monitor) {
            return Ok(Some(row));
        }
        let (row, is_stored) = match metadata.kind {
            FileKind::Socket => {
                entry.left_out(monitor);
                return Ok(None);
            }
            FileKind::Directory => return self.unread(entry, before, &replaced(), monitor),
            FileKind::File => match self.file(entry, before, metadata.clone(), monitor)? {
                Some(done) => done,
                None => return Ok(None),
            },
            _ => match self.special(entry, &metadata, monitor) {
                Ok(row) => {
                    monitor.event(Event::Entry { path: entry.path, bytes: 0 });
                    (row, true)
                }
                Err(error) => return self.unread(entry, before, &error, monitor),
            },
        };
        Ok(Some(self.remember_names(row, &metadata, is_stored)))
    }

    /// The row of an inode of which an earlier name was met.
    fn further_name(&mut self, entry: &Entry<'_>, metadata: &Metadata, monitor: &dyn Monitor) -> Option<Row> {
        if metadata.links < 2 || self.dereference.hard {
            return None;
        }
        let key = (metadata.device, metadata.inode);
        let names = self.names.get_mut(&key)?;
        let row = Row { name: entry.stored.to_vec(), ..names.row.clone() };
        let is_stored = names.is_stored;
        names.left = names.left.saturating_sub(1);
        // Links may lead to more names than there are.
        if names.left == 0 && !self.dereference.symbolic {
            self.names.remove(&key);
        }
        if is_stored {
            monitor.event(Event::Entry { path: entry.path, bytes: 0 });
        }
        Some(row)
    }

    fn remember_names(&mut self, mut row: Row, metadata: &Metadata, is_stored: bool) -> Row {
        row.link = 0;
        // What is kept of the level below is not what has these names now.
        if metadata.links > 1
            && !self.dereference.hard
            && row.inode == metadata.inode
            && !matches!(row.kind, RowKind::Unread)
        {
            self.links += 1;
            row.link = self.links;
            let names = Names { row: row.clone(), left: metadata.links - 1, is_stored };
            self.names.insert((metadata.device, metadata.inode), names);
        }
        row
    }

    /// What is known of an entry that could not be read: what the level below has, or nothing. One that has vanished lost
    /// nothing.
    fn unread(
        &mut self,
        entry: &Entry<'_>,
        before: Option<Row>,
        error: &Error,
        monitor: &dyn Monitor,
    ) -> Result<Option<Row>> {
        let lost = error.kind() != Kind::NotFound;
        monitor.event(Event::Problem { path: &lossy(entry.path), error, lost });
        if !lost {
            return Ok(None);
        }
        match before.filter(|before| !matches!(before.kind, RowKind::Directory)) {
            Some(before) => self.carry(before).map(Some),
            None => Ok(Some(Row {
                name: entry.stored.to_vec(),
                kind: RowKind::Unread,
                attributes: Attributes::default(),
                inode: 0,
                link: 0,
                again: true,
            })),
        }
    }

    /// A row of the level below, to be read again by the next one.
    fn carry(&mut self, mut row: Row) -> Result<Row> {
        row.again = true;
        if row.link != 0 {
            let next = self.links + 1;
            let link = *self.carried_links.entry(row.link).or_insert(next);
            self.links = self.links.max(link);
            row.link = link;
        }
        if let RowKind::File(file) = &mut row.kind {
            self.carry_signature(file)?;
        }
        Ok(row)
    }

    fn carry_signature(&mut self, file: &mut FileRow) -> Result<()> {
        self.base.as_mut().map_or(Ok(()), |base| move_signature(base, &mut self.state, file))
    }

    fn attributes(&mut self, metadata: &Metadata, xattrs: Xattrs) -> Attributes {
        self.owners.attributes(metadata, xattrs)
    }

    /// What the level below has of a file. A file that was moved has its inode, length and time; another inode under the same name
    /// most likely replaces what had that name, and a number alone may have been given to something else since.
    fn older(&mut self, before: Option<Row>, metadata: &Metadata) -> Result<Option<Row>> {
        let Some(base) = &mut self.base else { return Ok(None) };
        let before = before.filter(|before| matches!(before.kind, RowKind::File(_)));
        match before {
            Some(before) if before.inode == metadata.inode => Ok(Some(before)),
            before => {
                let moved = base.by_inode(metadata.inode)?;
                let is_same = moved.as_ref().is_some_and(|row| row.attributes.mtime == metadata.mtime);
                Ok(if is_same { moved.or(before) } else { before.or(moved) })
            }
        }
    }

    /// A file, and whether it was stored anew; `None` when it has gone.
    fn file(
        &mut self,
        entry: &Entry<'_>,
        before: Option<Row>,
        metadata: Metadata,
        monitor: &dyn Monitor,
    ) -> Result<Option<(Row, bool)>> {
        let older = self.older(before.clone(), &metadata)?;
        if let (Some(row), Some(base)) = (&older, &self.base)
            && base.is_unchanged(row, &metadata)
        {
            return self.unchanged(entry, row.clone(), &metadata).map(|row| Some((row, false)));
        }
        let opened = entry.open().and_then(|file| {
            let metadata = metadata_of(&file).map_err(|e| Error::io("cannot stat", "", e))?;
            if metadata.kind == FileKind::File { Ok((file, metadata)) } else { Err(replaced()) }
        });
        let (file, metadata) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(self.unread(entry, before, &error, monitor)?.map(|row| (row, false))),
        };
        let (xattrs, is_complete) = match xattr::read_file(&file) {
            Ok(xattrs) => (xattrs, true),
            Err(error) => {
                monitor.event(Event::Problem { path: &lossy(entry.path), error: &error, lost: true });
                (Vec::new(), false)
            }
        };
        let older = self.as_base(older)?;
        let read = match self.contents.store(&file, metadata, older, &mut self.stream, monitor)? {
            Ok(read) => read,
            Err(error) => return Ok(self.unread(entry, before, &error, monitor)?.map(|row| (row, false))),
        };
        if let Some(error) = &read.problem {
            monitor.event(Event::Problem { path: &lossy(entry.path), error, lost: true });
        }
        let signature = match read.signature {
            Some((block_bytes, entries)) => {
                Some(SignaturePlace { block_bytes, offset: self.state.signature(&entries)? })
            }
            None => None,
        };
        if read.is_whole {
            monitor.event(Event::Entry { path: entry.path, bytes: read.content.size_bytes });
        }
        let kind = RowKind::File(FileRow { content: read.content, recipe: read.recipe, signature });
        let again = !(read.is_whole && is_complete);
        let mut row = self.row(entry, &read.metadata, xattrs, kind);
        row.again = again;
        Ok(Some((row, true)))
    }

    /// What a file is compared with.
    fn as_base(&mut self, older: Option<Row>) -> Result<Option<Older>> {
        let (Some(base), Some(Row { kind: RowKind::File(file), .. })) = (&mut self.base, older) else {
            return Ok(None);
        };
        let signature = base.signature(&file)?;
        Ok(Some(Older { content: file.content, recipe: file.recipe, signature }))
    }

    /// A file that is as the level below has it: its content, its attributes and their names of today.
    fn unchanged(&mut self, entry: &Entry<'_>, row: Row, metadata: &Metadata) -> Result<Row> {
        let RowKind::File(mut file) = row.kind else {
            return Err(Error::invalid("not a file:", lossy(entry.path)));
        };
        self.carry_signature(&mut file)?;
        Ok(self.row(entry, metadata, row.attributes.xattrs, RowKind::File(file)))
    }

    fn row(&mut self, entry: &Entry<'_>, metadata: &Metadata, xattrs: Xattrs, kind: RowKind) -> Row {
        let attributes = self.attributes(metadata, xattrs);
        let (name, inode) = (entry.stored.to_vec(), metadata.inode);
        Row { name, kind, attributes, inode, link: 0, again: false }
    }

    /// Anything that has no content.
    fn special(&mut self, entry: &Entry<'_>, metadata: &Metadata, monitor: &dyn Monitor) -> Result<Row> {
        let kind = match metadata.kind {
            FileKind::Symlink => RowKind::Symlink(entry.directory.read_link(entry.name)?),
            FileKind::Fifo => RowKind::Fifo,
            FileKind::CharDevice | FileKind::BlockDevice => {
                RowKind::Device(metadata.kind, metadata.rdev.0, metadata.rdev.1)
            }
            FileKind::Socket | FileKind::Directory | FileKind::File => return Err(replaced()),
        };
        let (xattrs, is_complete) = match entry.xattrs() {
            Ok(xattrs) => (xattrs, true),
            Err(error) => {
                monitor.event(Event::Problem { path: &lossy(entry.path), error: &error, lost: true });
                (Vec::new(), false)
            }
        };
        let mut row = self.row(entry, metadata, xattrs, kind);
        row.again = !is_complete;
        Ok(row)
    }
}

impl Visitor for LevelWriter<'_, '_> {
    fn directory(&mut self, visit: &Visit<'_>, monitor: &dyn Monitor) -> Result<()> {
        let xattrs = xattr::read_file(visit.directory).unwrap_or_else(|error| {
            monitor.event(Event::Problem { path: &lossy(visit.path), error: &error, lost: true });
            Vec::new()
        });
        let attributes = Some(self.attributes(visit.metadata, xattrs));
        let closed = visit.closed || visit.mount_point;
        self.state.directory(DirectoryRow { path: visit.path.to_vec(), attributes, closed })?;
        monitor.event(Event::Directory { path: visit.path });
        self.enter(visit.path)?;
        let mut path = visit.path.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        let parent_bytes = path.len();
        for listed in visit.listing.iter() {
            if listed.is_directory() {
                self.state.entry(Row {
                    name: listed.name.to_vec(),
                    kind: RowKind::Directory,
                    attributes: Attributes::default(),
                    inode: 0,
                    link: 0,
                    again: false,
                })?;
                continue;
            }
            let before = self.before(listed.name)?;
            path.truncate(parent_bytes);
            path.extend_from_slice(listed.name);
            let (directory, name) = (visit.directory, listed.name);
            let entry = Entry { directory, name, stored: name, path: &path, is_followed: false };
            if let Some(row) = self.entry(&entry, before, monitor)? {
                self.state.entry(row)?;
            }
        }
        Ok(())
    }

    fn unreadable(&mut self, path: &[u8], _: Option<&Metadata>, error: &Error) -> Result<()> {
        // The walk has reported it. What has vanished is gone; the rest stays as the level below has it.
        if error.kind() == Kind::NotFound {
            return Ok(());
        }
        let Some(mut base) = self.base.take() else { return Ok(()) };
        let carried = base.below(path, &mut |base, item| match item {
            Item::Directory(row) => self.state.directory(DirectoryRow { closed: true, ..row }),
            Item::Entry(mut row) => {
                if let RowKind::File(file) = &mut row.kind {
                    move_signature(base, &mut self.state, file)?;
                }
                let row = self.carry(row)?;
                self.state.entry(row)
            }
            Item::End => Ok(()),
        });
        self.base = Some(base);
        carried
    }
}

/// Takes the signature of a file over from the level below.
fn move_signature(base: &mut Base, state: &mut StateWriter, file: &mut FileRow) -> Result<()> {
    let entries = base.entries(file)?;
    if let (Some(place), Some(entries)) = (&mut file.signature, entries) {
        place.offset = state.signature(&entries)?;
    }
    Ok(())
}

fn replaced() -> Error {
    Error::new(Kind::Changed, "replaced by something else while it was read")
}
