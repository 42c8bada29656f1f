//! Making a level: one walk of the tree, each directory's listing followed by those of its entries that changed.
//!
//! Memory does not grow with the tree: what is held is the listing of the directories on the way down, the names of files
//! with further hard links still to come, and an index of ~40 bytes for each directory of the level below.
//!
//! An entry is in this level when its directory is new (or was replaced), when its name is new there, or when its `mtime` or
//! `ctime` is not older than the start of the level below; the kernel sets `ctime` at every change, a rename and a `touch -d`
//! included. What could not be read is left out of the snapshot, so that the next level tries it again.

use super::dumpdir::{self, Code};
use super::file::FileReader;
use super::member::{Member, MemberKind};
use super::path::{join, stored_name};
use super::renames::Renames;
use super::snapshot::{self, Record, Snapshot, SnapshotWriter};
use super::writer::ArchiveWriter;
use crate::engine::{BackupJob, Source};
use crate::error::{Error, Kind, Result};
use crate::limits::{PATH_BYTES, READ_BYTES};
use crate::monitor::{Event, Monitor, Quiet};
use crate::pipe::BlockWriter;
use crate::spool::Spool;
use crate::time::FileTime;
use crate::tree::attributes::{Attributes, FileKind, Metadata, Xattrs};
use crate::tree::dereference::Dereference;
use crate::tree::directory::{Directory, lossy, path_bytes};
use crate::tree::owner::Owners;
use crate::tree::walk::{self, Visit, Visitor};
use crate::tree::{acl, xattr};
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path};

mod entry;
#[cfg(test)]
mod tests;

use entry::Entry;

/// Writes one level of `job.source` to `out` and gives back its snapshot file.
pub(super) fn run(job: BackupJob<'_>, out: &mut BlockWriter<'_>) -> Result<Spool> {
    let snapshot = SnapshotWriter::new(job.scratch.spool(), job.now)?;
    let archive = ArchiveWriter::new(out).acl_to_text(|acl| acl::to_text(acl).ok().map(String::into_bytes));
    let mut level = LevelWriter {
        archive,
        snapshot,
        base: None,
        owners: Owners::new(),
        reader: FileReader::new(),
        linked: HashMap::new(),
        relink: HashSet::new(),
        dereference: job.source.dereference,
    };
    let metadata = std::fs::metadata(job.source.path)
        .map_err(|e| Error::io("cannot read", job.source.path.display().to_string(), e))?;
    if metadata.is_dir() {
        level.tree(job)?;
    } else {
        level.single(&job.source, job.monitor)?;
    }
    level.archive.finish()?;
    level.snapshot.finish()
}

/// The level below, as the walk compares with it.
struct Base {
    snapshot: Snapshot,
    renames: Renames,
    start: FileTime,
}

impl Base {
    /// The record of this very directory in the level below; `None` when all of it must be stored.
    ///
    /// Device numbers change from one start of the system to the next, and with every mount of a volume snapshot, so that a
    /// directory on another device may be the same one. Another disk in the same place may have the same inode numbers, but
    /// not a directory of the same name that was last changed in the same nanosecond.
    fn record(&mut self, path: &[u8], metadata: &Metadata) -> Result<Option<Record>> {
        let Some(origin) = self.renames.origin(path) else { return Ok(None) };
        let record = self.snapshot.by_name(&stored_name(&origin))?;
        Ok(record.filter(|Record { directory, .. }| {
            let may_be_the_same = directory.device == metadata.device || directory.mtime == metadata.mtime;
            directory.inode == metadata.inode && may_be_the_same
        }))
    }

    /// Whether an entry has not changed since the level below was begun.
    fn is_older(&self, metadata: &Metadata) -> bool {
        metadata.mtime < self.start && metadata.ctime < self.start
    }
}

/// What happened to an entry that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is in the archive, whole.
    Whole,
    /// It is not, or not as it was at one moment; the next level tries again.
    Not,
}

struct LevelWriter<'o, 'b> {
    archive: ArchiveWriter<&'o mut BlockWriter<'b>>,
    snapshot: SnapshotWriter<Spool>,
    base: Option<Base>,
    owners: Owners,
    reader: FileReader,
    /// Files with further names: where the first one is in this archive, and how many names are still to come.
    linked: HashMap<(u64, u64), Link>,
    /// Old files that this level stores because of where they are; their other names must be linked to them anew.
    relink: HashSet<(u64, u64)>,
    dereference: Dereference,
}

struct Link {
    stored: Vec<u8>,
    names_left: u64,
}

impl LevelWriter<'_, '_> {
    fn tree(&mut self, job: BackupJob<'_>) -> Result<()> {
        let root = Directory::open(job.source.path)?;
        let Source { filter, one_file_system, .. } = job.source;
        let options = walk::Options { filter, one_file_system, follow: self.dereference.symbolic };
        if let Some(spool) = job.base {
            let mut snapshot = Snapshot::load(spool)?;
            // With a clock that was set back, no time tells what has changed: everything is stored.
            let start =
                if job.now < snapshot.start() { FileTime::new(i64::MIN, 0) } else { snapshot.start() };
            // Where links are followed one inode may be in several places, and tells nothing of where a directory was.
            let renames = match options.follow {
                true => Renames::default(),
                false => Renames::find(&root, &options, &mut snapshot, job.monitor)?,
            };
            self.base = Some(Base { snapshot, renames, start });
        }
        let again = root.open_again()?;
        walk::walk(again, &options, job.monitor, self)?;
        if !self.relink.is_empty() {
            // What cannot be read was reported by the first walk.
            let mut relinker = Relinker { level: self, monitor: job.monitor };
            walk::walk(root, &options, &Quiet, &mut relinker)?;
        }
        Ok(())
    }

    /// A source that is not a directory: one member under its own name, stored at every level.
    fn single(&mut self, source: &Source<'_>, monitor: &dyn Monitor) -> Result<()> {
        let name = match source.path.components().next_back() {
            Some(Component::Normal(name)) => path_bytes(Path::new(name)).to_vec(),
            _ => return Err(Error::invalid("no file name in", source.path.display().to_string())),
        };
        // A link named by the user is what it points to, as the directory it may be would have been.
        let path = std::fs::canonicalize(source.path)
            .map_err(|e| Error::io("cannot read", source.path.display().to_string(), e))?;
        let file = Directory::open(path.parent().unwrap_or(Path::new("/")))?;
        let real = path.file_name().map(|name| path_bytes(Path::new(name)).to_vec()).unwrap_or_default();
        let entry =
            Entry { directory: &file, name: &real, path: &name, stored: name.clone(), is_followed: false };
        match self.entry(&entry, None, monitor)? {
            Stored::Whole => Ok(()),
            Stored::Not => Err(Error::new(Kind::Io, "cannot read")
                .on(source.path.display().to_string())
                .hint("the reason is in the problem reported above")),
        }
    }

    /// Which entries of a directory this level stores; `None` for what is not even listed.
    fn codes(&mut self, visit: &Visit<'_>, monitor: &dyn Monitor) -> Result<Vec<Option<Code>>> {
        let record = match &mut self.base {
            Some(base) => base.record(visit.path, visit.metadata)?,
            None => None,
        };
        // A snapshot is sorted, GNU tar's too. In one that is not, names are not found, and stored once more than needed.
        let mut known = dumpdir::Cursor::new(record.as_ref().map_or(&b""[..], |record| &record.listing));
        let mut codes = Vec::with_capacity(visit.listing.len());
        for entry in visit.listing.iter() {
            codes.push(match entry.kind {
                Some(FileKind::Directory) => Some(Code::Directory),
                Some(FileKind::Socket) => {
                    left_out(monitor, &join(visit.path, entry.name));
                    None
                }
                _ if known.code(entry.name)?.is_none_or(|code| code == Code::Directory) => Some(Code::Stored),
                Some(FileKind::Symlink) if self.dereference.symbolic => {
                    self.compare_followed(visit, entry.name)
                }
                _ => self.compare(visit, entry.name, monitor),
            });
        }
        Ok(codes)
    }

    /// The code of an entry that the level below has too.
    fn compare(&self, visit: &Visit<'_>, name: &[u8], monitor: &dyn Monitor) -> Option<Code> {
        let base = self.base.as_ref()?;
        match visit.directory.stat(name) {
            Ok(metadata) if base.is_older(&metadata) => Some(Code::Kept),
            Err(error) if error.kind() == Kind::NotFound => {
                problem(monitor, &join(visit.path, name), &error);
                None
            }
            // What cannot be looked at is still there: it stays listed, so that a restore keeps what an earlier level has of
            // it, and storing it says what is wrong.
            Ok(_) | Err(_) => Some(Code::Stored),
        }
    }

    fn directory_member(
        &mut self,
        visit: &Visit<'_>,
        codes: &[Option<Code>],
        monitor: &dyn Monitor,
    ) -> Result<()> {
        // Every level stores every directory, and so tries again by itself.
        let (xattrs, _) = all_or_none(xattr::read_file(visit.directory), visit.path, monitor);
        let attributes = self.attributes(visit.metadata, xattrs);
        let kind = MemberKind::Directory { listing: None };
        let member = Member { path: stored_name(visit.path), kind, attributes };
        if visit.mount_point {
            self.archive.begin(&member)?;
            return self.archive.end();
        }
        self.listing(&member, visit, codes)
    }

    /// A directory with its listing, written in pieces.
    fn listing(&mut self, member: &Member, visit: &Visit<'_>, codes: &[Option<Code>]) -> Result<()> {
        let is_root = visit.path.is_empty();
        let renames =
            self.base.as_ref().filter(|_| is_root).map(|base| base.renames.clone()).unwrap_or_default();
        let mut records: Vec<(Code, Vec<u8>)> = Vec::new();
        for (old, new) in renames.iter() {
            records.push((Code::RenameFrom, stored_name(old)));
            records.push((Code::RenameTo, stored_name(new)));
        }
        let entries = || {
            visit.listing.iter().zip(codes).filter_map(|(entry, code)| code.map(|code| (code, entry.name)))
        };
        let all = || records.iter().map(|(code, name)| (*code, name.as_slice())).chain(entries());
        let listing_bytes = 1 + all().map(|(_, name)| dumpdir::Builder::record_bytes(name)).sum::<u64>();
        self.archive.begin_listing(member, listing_bytes)?;
        let mut piece = dumpdir::Builder::new();
        for (code, name) in all() {
            piece.push(code, name)?;
            if piece.len() >= READ_BYTES {
                self.archive.write(&piece.take())?;
            }
        }
        self.archive.write(&piece.finish()?)?;
        self.archive.write(b"\0")?;
        self.archive.end()
    }

    fn attributes(&mut self, metadata: &Metadata, xattrs: Xattrs) -> Attributes {
        self.owners.attributes(metadata, xattrs)
    }

    /// Stores one entry that is not a directory. Trouble with the entry is told to the monitor; an error is trouble with the
    /// run.
    fn entry(&mut self, entry: &Entry<'_>, kind: Option<FileKind>, monitor: &dyn Monitor) -> Result<Stored> {
        monitor.check()?;
        if entry.path.len() > PATH_BYTES {
            let error = Error::new(Kind::Limit, "too long a path");
            problem(monitor, entry.path, &error);
            return Ok(Stored::Not);
        }
        let kind = match kind {
            Some(kind) => kind,
            None => match entry.directory.stat(entry.name) {
                Ok(metadata) => metadata.kind,
                Err(error) => return Ok(self.not_stored(entry, &error, monitor)),
            },
        };
        match kind {
            FileKind::File => self.file(entry, monitor),
            FileKind::Symlink if self.dereference.symbolic => self.followed(entry, monitor),
            _ => self.special(entry, monitor),
        }
    }

    fn not_stored(&self, entry: &Entry<'_>, error: &Error, monitor: &dyn Monitor) -> Stored {
        problem(monitor, entry.path, error);
        Stored::Not
    }

    fn file(&mut self, entry: &Entry<'_>, monitor: &dyn Monitor) -> Result<Stored> {
        let opened = match self.reader.open(entry.directory, entry.name, entry.is_followed) {
            Ok(opened) => opened,
            Err(error) => return Ok(self.not_stored(entry, &error, monitor)),
        };
        let metadata = opened.metadata().clone();
        if metadata.kind != FileKind::File {
            // It was replaced by something else since the directory was listed.
            return self.special(entry, monitor);
        }
        if let Some(done) = self.further_name(entry, &metadata, monitor)? {
            return Ok(done);
        }
        let (xattrs, complete) = all_or_none(xattr::read_file(opened.file()), entry.path, monitor);
        let attributes = self.attributes(&metadata, xattrs);
        let stored =
            self.reader.store(opened, &entry.stored, attributes, &mut self.archive, entry.path, monitor)?;
        if stored == Stored::Whole {
            self.remember_link(entry, &metadata);
            monitor.event(Event::Entry { path: entry.path, bytes: metadata.size_bytes });
        }
        Ok(if complete { stored } else { Stored::Not })
    }

    fn special(&mut self, entry: &Entry<'_>, monitor: &dyn Monitor) -> Result<Stored> {
        let found = entry.stat().and_then(|metadata| {
            let kind = match metadata.kind {
                FileKind::Symlink => MemberKind::Symlink(entry.directory.read_link(entry.name)?),
                FileKind::Fifo => MemberKind::Fifo,
                FileKind::CharDevice => MemberKind::CharDevice(metadata.rdev.0, metadata.rdev.1),
                FileKind::BlockDevice => MemberKind::BlockDevice(metadata.rdev.0, metadata.rdev.1),
                FileKind::Socket | FileKind::Directory | FileKind::File => {
                    return Err(Error::new(Kind::Changed, "replaced by something else while it was read"));
                }
            };
            Ok((metadata, kind))
        });
        let (metadata, kind) = match found {
            Ok(found) => found,
            Err(error) => return Ok(self.not_stored(entry, &error, monitor)),
        };
        if let Some(done) = self.further_name(entry, &metadata, monitor)? {
            return Ok(done);
        }
        let (xattrs, complete) = all_or_none(entry.xattrs(), entry.path, monitor);
        let member =
            Member { path: entry.stored.clone(), kind, attributes: self.attributes(&metadata, xattrs) };
        self.archive.begin(&member)?;
        self.archive.end()?;
        self.remember_link(entry, &metadata);
        monitor.event(Event::Entry { path: entry.path, bytes: 0 });
        Ok(if complete { Stored::Whole } else { Stored::Not })
    }

    /// Stores an entry as a hard link when an earlier name of its inode is in this archive.
    fn further_name(
        &mut self,
        entry: &Entry<'_>,
        metadata: &Metadata,
        monitor: &dyn Monitor,
    ) -> Result<Option<Stored>> {
        if metadata.links < 2 || self.dereference.hard {
            return Ok(None);
        }
        let key = (metadata.device, metadata.inode);
        if self.base.as_ref().is_some_and(|base| base.is_older(metadata)) {
            self.relink.insert(key);
        }
        let Some(link) = self.linked.get_mut(&key) else { return Ok(None) };
        let first = link.stored.clone();
        link.names_left = link.names_left.saturating_sub(1);
        // Links may lead to more names than there are.
        if link.names_left == 0 && !self.relink.contains(&key) && !self.dereference.symbolic {
            self.linked.remove(&key);
        }
        self.link_member(entry.stored.clone(), first, metadata)?;
        monitor.event(Event::Entry { path: entry.path, bytes: 0 });
        Ok(Some(Stored::Whole))
    }

    fn link_member(&mut self, stored: Vec<u8>, first: Vec<u8>, metadata: &Metadata) -> Result<()> {
        let member = Member {
            path: stored,
            kind: MemberKind::HardLink(first),
            attributes: self.attributes(metadata, Vec::new()),
        };
        self.archive.begin(&member)?;
        self.archive.end()
    }

    fn remember_link(&mut self, entry: &Entry<'_>, metadata: &Metadata) {
        if metadata.links > 1 && !self.dereference.hard {
            let link = Link { stored: entry.stored.clone(), names_left: metadata.links - 1 };
            self.linked.insert((metadata.device, metadata.inode), link);
        }
    }
}

impl Visitor for LevelWriter<'_, '_> {
    fn directory(&mut self, visit: &Visit<'_>, monitor: &dyn Monitor) -> Result<()> {
        let codes = self.codes(visit, monitor)?;
        self.directory_member(visit, &codes, monitor)?;
        monitor.event(Event::Directory { path: visit.path });
        if visit.mount_point {
            return Ok(());
        }
        self.snapshot.begin_directory(&snapshot::Directory {
            nfs: false,
            mtime: visit.metadata.mtime,
            device: visit.metadata.device,
            inode: visit.metadata.inode,
            name: stored_name(visit.path),
        })?;
        for (listed, code) in visit.listing.iter().zip(&codes) {
            let Some(code) = *code else { continue };
            if code == Code::Stored {
                let path = join(visit.path, listed.name);
                let stored = stored_name(&path);
                let (directory, name) = (visit.directory, listed.name);
                let entry = Entry { directory, name, path: &path, stored, is_followed: false };
                if self.entry(&entry, listed.kind, monitor)? == Stored::Not {
                    continue;
                }
            }
            self.snapshot.entry(code, listed.name)?;
        }
        self.snapshot.end_directory()
    }

    fn unreadable(&mut self, _path: &[u8], _metadata: Option<&Metadata>, _error: &Error) -> Result<()> {
        // The walk has reported it. It is in no record of the snapshot, so the next level stores it whole.
        Ok(())
    }
}

/// A second walk, only when an old file with several names was stored because one of its names lies in a directory that is
/// stored whole: its other names, which this level would otherwise leave alone, become links to what was stored.
struct Relinker<'l, 'o, 'b> {
    level: &'l mut LevelWriter<'o, 'b>,
    monitor: &'l dyn Monitor,
}

impl Visitor for Relinker<'_, '_, '_> {
    fn directory(&mut self, visit: &Visit<'_>, _: &dyn Monitor) -> Result<()> {
        for listed in visit.listing.iter() {
            if matches!(listed.kind, Some(FileKind::Directory | FileKind::Socket)) {
                continue;
            }
            self.monitor.check()?;
            // What has gone in the meantime needs no link.
            let is_followed = self.level.dereference.symbolic && listed.kind == Some(FileKind::Symlink);
            let Ok(metadata) = entry::stat(visit.directory, listed.name, is_followed) else { continue };
            let key = (metadata.device, metadata.inode);
            if metadata.links < 2 || !self.level.relink.contains(&key) {
                continue;
            }
            let stored = stored_name(&join(visit.path, listed.name));
            let first = self.level.linked.get(&key).map(|link| link.stored.clone());
            if let Some(first) = first.filter(|first| *first != stored) {
                self.level.link_member(stored, first, &metadata)?;
            }
        }
        Ok(())
    }

    fn unreadable(&mut self, _: &[u8], _: Option<&Metadata>, _: &Error) -> Result<()> {
        Ok(())
    }
}

/// Reports an entry whose data is not in this level. One that vanished while the tree was read lost nothing.
pub(super) fn problem(monitor: &dyn Monitor, path: &[u8], error: &Error) {
    let lost = error.kind() != Kind::NotFound;
    monitor.event(Event::Problem { path: &lossy(path), error, lost });
}

/// Extended attributes, or none and a report: they are part of what was promised. Whether they were read.
fn all_or_none(read: Result<Xattrs>, path: &[u8], monitor: &dyn Monitor) -> (Xattrs, bool) {
    match read {
        Ok(xattrs) => (xattrs, true),
        Err(error) => {
            monitor.event(Event::Problem { path: &lossy(path), error: &error, lost: true });
            (Vec::new(), false)
        }
    }
}

fn left_out(monitor: &dyn Monitor, path: &[u8]) {
    let error = Error::new(Kind::Unsupported, "a socket, left out");
    monitor.event(Event::Problem { path: &lossy(path), error: &error, lost: false });
}
