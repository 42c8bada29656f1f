//! A part of a backup as a tar archive, written by the codec of the `tar` engine.

use super::{tell_unless_whole, write_zeros};
use crate::engine::dedup::tree::{self, Entry};
use crate::engine::tar::member::{Member, MemberKind, Region};
use crate::engine::tar::writer::ArchiveWriter;
use crate::error::{Error, Result};
use crate::limits::SPARSE_REGIONS;
use crate::monitor::{Event, Monitor};
use crate::tree::acl;
use crate::tree::attributes::{Attributes, FileKind};
use crate::view::content::{Contents, Piece};
use crate::view::{self, Backup, View};
use std::collections::HashMap;
use std::io::Write;

/// Writes the entry at `top` and everything below it. Names of members are relative to it: `./docs/a.txt`; of a single entry its
/// name. Gives back how many entries, and bytes of content, there were.
pub(super) fn write(
    view: &View<'_>,
    backup: &Backup,
    top: &[u8],
    workers: usize,
    monitor: &dyn Monitor,
    out: &mut dyn Write,
) -> Result<(u64, u64)> {
    let archive = ArchiveWriter::new(out).acl_to_text(|acl| acl::to_text(acl).ok().map(String::into_bytes));
    let contents = Contents::new(view, workers, monitor);
    let mut run = Run { view, archive, contents, monitor, first_names: HashMap::new(), entries: 0, bytes: 0 };
    view::walk(view.chunks(), &backup.snapshot, top, monitor, &mut |key, entry| {
        let path = view::path_of(key);
        run.entry(&path, member_path(&path, top), entry)
    })?;
    let Run { archive, entries, bytes, .. } = run;
    archive.finish()?.flush().map_err(|e| Error::io("cannot write", "the archive", e))?;
    Ok((entries, bytes))
}

/// What an entry is called in the archive.
fn member_path(path: &[u8], top: &[u8]) -> Vec<u8> {
    if path == top && !path.is_empty() {
        // What was asked for: a directory is `.`, anything else goes by its name, see `Run::entry`.
        return b".".to_vec();
    }
    let below = path.strip_prefix(top).unwrap_or(path);
    let below = below.strip_prefix(b"/").unwrap_or(below);
    if below.is_empty() { b".".to_vec() } else { [b"./", below].concat() }
}

struct Run<'v, 'o> {
    view: &'v View<'v>,
    archive: ArchiveWriter<&'o mut dyn Write>,
    contents: Contents<'v>,
    monitor: &'v dyn Monitor,
    /// Of files with several names, by device and inode, the name that has the content.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
    bytes: u64,
}

impl Run<'_, '_> {
    fn entry(&mut self, path: &[u8], mut name: Vec<u8>, entry: &Entry) -> Result<()> {
        if entry.kind != FileKind::Directory && name == b"." {
            name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path).to_vec();
        }
        if entry.is_unread() {
            let path = crate::tree::directory::lossy(path);
            let text = format!("not in this backup, since it could not be read when it was made: {path}");
            self.monitor.event(Event::Warning(&text));
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
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
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
        for (path, top, expected) in
            [("", "", "."), ("a", "", "./a"), ("a/b", "a", "./b"), ("a", "a", "."), ("a/b/c", "a/b", "./c")]
        {
            assert_eq!(member_path(path.as_bytes(), top.as_bytes()), expected.as_bytes(), "{path} {top}");
        }
    }
}
