//! A part of a backup as a tar archive, written by the codec of the `tar` engine.

use super::{Part, Written, tell_unless_whole, write_zeros};
use crate::engine::dedup::tree::{self, Entry};
use crate::engine::tar::member::{Member, MemberKind, Region};
use crate::engine::tar::writer::ArchiveWriter;
use crate::error::{Error, Result};
use crate::limits::SPARSE_REGIONS;
use crate::monitor::{Event, Monitor};
use crate::tree::acl;
use crate::tree::attributes::{Attributes, FileKind};
use crate::view::content::{Contents, Piece};
use crate::view::{self, View};
use std::collections::HashMap;
use std::io::Write;

/// Writes it. Names of members are relative to what was asked for: `./docs/a.txt`; of a single entry its name.
pub(super) fn write(part: &Part<'_>, out: &mut dyn Write) -> Result<Written> {
    let Part { view, backup, top, workers, monitor } = *part;
    let archive = ArchiveWriter::new(out).acl_to_text(|acl| acl::to_text(acl).ok().map(String::into_bytes));
    let contents = Contents::new(view, workers, monitor);
    let mut run =
        Run { view, archive, contents, monitor, first_names: HashMap::new(), written: Written::default() };
    view::walk(view.chunks(), &backup.snapshot, top, monitor, &mut |key, entry| {
        let path = view::path_of(key);
        let is_alone = path == top && entry.kind != FileKind::Directory;
        run.entry(&path, member_path(part.name_of(&path, entry), is_alone), entry)
    })?;
    let Run { archive, written, .. } = run;
    archive.finish()?.flush().map_err(|e| Error::io("cannot write", "the archive", e))?;
    Ok(written)
}

/// What an entry is called in the archive.
fn member_path(name: &[u8], is_alone: bool) -> Vec<u8> {
    match name {
        name if is_alone => name.to_vec(),
        b"" => b".".to_vec(),
        name => [b"./", name].concat(),
    }
}

struct Run<'v, 'o> {
    view: &'v View<'v>,
    archive: ArchiveWriter<&'o mut dyn Write>,
    contents: Contents<'v>,
    monitor: &'v dyn Monitor,
    /// Of files with several names, by device and inode, the name that has the content.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    written: Written,
}

impl Run<'_, '_> {
    fn entry(&mut self, path: &[u8], name: Vec<u8>, entry: &Entry) -> Result<()> {
        if self.written.leaves_out_unread(path, entry, self.monitor) {
            return Ok(());
        }
        tell_unless_whole(path, entry, self.monitor);
        let attributes = Attributes {
            mode: entry.mode,
            uid: entry.owner.uid,
            gid: entry.owner.gid,
            user: entry.owner.user.clone(),
            group: entry.owner.group.clone(),
            mtime: entry.mtime,
            atime: None,
            ctime: None,
            xattrs: tree::xattrs(self.view.chunks(), &entry.xattrs)?,
        };
        let kind = match self.first_name(&name, entry) {
            Some(first) => MemberKind::HardLink(first),
            None => self.kind(entry)?,
        };
        let member = Member { path: name, kind, attributes };
        self.archive.begin(&member)?;
        let mut bytes = 0;
        if let MemberKind::File { size_bytes, sparse } = &member.kind {
            bytes = *size_bytes;
            self.content(entry, sparse.is_some())?;
        }
        self.archive.end()?;
        self.written.entries += 1;
        self.written.bytes = self.written.bytes.saturating_add(bytes);
        match entry.kind {
            FileKind::Directory => self.monitor.event(Event::Directory { path }),
            _ => self.monitor.event(Event::Entry { path, bytes }),
        }
        Ok(())
    }

    /// The earlier member that is the same file; `None` when there is none.
    fn first_name(&mut self, name: &[u8], entry: &Entry) -> Option<Vec<u8>> {
        let names = entry.names.filter(|_| entry.kind != FileKind::Directory)?;
        let inode = (names.device, entry.inode);
        let first = self.first_names.get(&inode).cloned();
        if first.is_none() {
            self.first_names.insert(inode, name.to_vec());
        }
        first
    }

    fn kind(&self, entry: &Entry) -> Result<MemberKind> {
        Ok(match entry.kind {
            FileKind::File => MemberKind::File { size_bytes: entry.size_bytes, sparse: self.regions(entry)? },
            FileKind::Directory => MemberKind::Directory { listing: None },
            FileKind::Symlink => MemberKind::Symlink(entry.target.clone()),
            FileKind::Fifo => MemberKind::Fifo,
            FileKind::CharDevice => MemberKind::CharDevice(entry.rdev.0, entry.rdev.1),
            FileKind::BlockDevice => MemberKind::BlockDevice(entry.rdev.0, entry.rdev.1),
            FileKind::Socket => return Err(Error::damaged("a backup cannot hold", "a socket")),
        })
    }

    /// Where the data of a file with holes is; `None` for one without, or with more than an archive can describe.
    fn regions(&self, entry: &Entry) -> Result<Option<Vec<Region>>> {
        let holes = tree::holes(self.view.chunks(), &entry.holes, entry.size_bytes)?;
        if holes.is_empty() || holes.len() >= SPARSE_REGIONS {
            return Ok(None);
        }
        let mut regions = Vec::with_capacity(holes.len() + 1);
        let mut at = 0u64;
        let too_long = || Error::damaged("holes are longer than", "their file");
        for hole in &holes {
            if hole.data_before > 0 {
                regions.push((at, hole.data_before));
            }
            let past = at.checked_add(hole.data_before).and_then(|at| at.checked_add(hole.length));
            at = past.ok_or_else(too_long)?;
        }
        let rest = entry.size_bytes.checked_sub(at).ok_or_else(too_long)?;
        if rest > 0 {
            regions.push((at, rest));
        }
        Ok(Some(regions))
    }

    fn content(&mut self, entry: &Entry, sparse: bool) -> Result<()> {
        let Run { archive, contents, .. } = self;
        contents.read(entry, &mut |piece| match piece {
            Piece::Data(bytes) => archive.write(bytes),
            Piece::Hole(_) if sparse => Ok(()),
            Piece::Hole(bytes) => {
                write_zeros(bytes, archive.out()).map_err(|e| Error::io("cannot write", "the archive", e))?;
                archive.filled(bytes)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_named_from_what_was_asked_for() {
        for (name, is_alone, expected) in [("", false, "."), ("a/b", false, "./a/b"), ("a", true, "a")] {
            assert_eq!(member_path(name.as_bytes(), is_alone), expected.as_bytes(), "{name}");
        }
    }
}
