//! A part of a backup as a zip archive. What the format has no place for is told: an entry that is left out by its name, an attribute
//! that is not kept with the number of entries and the first of them.

mod writer;

use super::{Part, Written, tell_unless_whole};
use crate::engine::dedup::tree::{self, Entry, Kept};
use crate::error::{Error, Kind, Result};
use crate::monitor::{Event, Monitor};
use crate::spool::Scratch;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;
use crate::view::content::{Contents, Piece, ZEROS};
use crate::view::{self, View};
use std::io::Write;
use writer::{Member, NAME_BYTES, Writer};

/// Writes it. Names of members are relative to what was asked for: `docs/a.txt`; of a single entry its name. The directory that was
/// asked for has no member.
pub(super) fn write(part: &Part<'_>, scratch: &Scratch, out: &mut dyn Write) -> Result<Written> {
    let Part { view, backup, top, workers, monitor } = *part;
    let mut run = Run {
        view,
        archive: Writer::new(out, scratch),
        contents: Contents::new(view, workers, monitor),
        monitor,
        not_kept: NotKept::default(),
        written: Written::default(),
    };
    view::walk(view.chunks(), &backup.snapshot, top, monitor, &mut |key, entry| {
        let path = view::path_of(key);
        let name = part.name_of(&path, entry);
        if name.is_empty() { Ok(()) } else { run.entry(&path, name, entry) }
    })?;
    let Run { archive, written, not_kept, .. } = run;
    archive.finish()?;
    not_kept.tell(monitor);
    Ok(written)
}

struct Run<'v, 'o> {
    view: &'v View<'v>,
    archive: Writer<'o>,
    contents: Contents<'v>,
    monitor: &'v dyn Monitor,
    not_kept: NotKept,
    written: Written,
}

impl Run<'_, '_> {
    fn entry(&mut self, path: &[u8], name: &[u8], entry: &Entry) -> Result<()> {
        if entry.kind == FileKind::Socket {
            return Err(Error::damaged("a backup cannot hold", "a socket"));
        }
        if self.written.leaves_out_unread(path, entry, self.monitor) {
            return Ok(());
        }
        let name = match entry.kind {
            FileKind::Directory => [name, b"/"].concat(),
            _ => name.to_vec(),
        };
        if let Some(reason) = no_place_for(entry, &name) {
            let path = lossy(path);
            let error = Error::new(Kind::Unsupported, format!("{reason}; left out:")).on(path.clone());
            self.monitor.event(Event::Problem { path: &path, error: &error, lost: true });
            self.written.left_out += 1;
            return Ok(());
        }
        tell_unless_whole(path, entry, self.monitor);
        self.note_what_is_not_kept(path, &name, entry)?;
        let member = Member {
            name: &name,
            mode: type_bits(entry.kind) | entry.mode,
            mtime: entry.mtime,
            uid: entry.owner.uid,
            gid: entry.owner.gid,
        };
        match entry.kind {
            FileKind::Symlink => self.archive.put(&member, &entry.target)?,
            FileKind::File if entry.size_bytes > 0 => {
                self.archive.begin(&member, entry.size_bytes)?;
                self.content(entry)?;
                self.archive.end()?;
            }
            _ => self.archive.put(&member, b"")?,
        }
        self.written.entries += 1;
        self.written.bytes = self.written.bytes.saturating_add(entry.size_bytes);
        match entry.kind {
            FileKind::Directory => self.monitor.event(Event::Directory { path }),
            _ => self.monitor.event(Event::Entry { path, bytes: entry.size_bytes }),
        }
        Ok(())
    }

    fn content(&mut self, entry: &Entry) -> Result<()> {
        let Run { archive, contents, monitor, .. } = self;
        contents.read(entry, &mut |piece| match piece {
            Piece::Data(bytes) => archive.write(bytes),
            Piece::Hole(mut bytes) => {
                while bytes > 0 {
                    monitor.check()?;
                    let now = ZEROS.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
                    archive.write(&ZEROS[..now])?;
                    bytes -= now as u64;
                }
                Ok(())
            }
        })
    }

    fn note_what_is_not_kept(&mut self, path: &[u8], name: &[u8], entry: &Entry) -> Result<()> {
        let not_kept = &mut self.not_kept;
        if entry.xattrs != Kept::None && !tree::xattrs(self.view.chunks(), &entry.xattrs)?.is_empty() {
            not_kept.attributes.count(path);
        }
        if entry.kind != FileKind::Directory && entry.names.is_some() {
            not_kept.links.count(path);
        }
        if !writer::has_time(entry.mtime) {
            not_kept.times.count(path);
        }
        if std::str::from_utf8(name).is_err() {
            not_kept.names.count(path);
        }
        Ok(())
    }
}

/// Why an entry cannot be in a zip archive.
fn no_place_for(entry: &Entry, name: &[u8]) -> Option<&'static str> {
    match entry.kind {
        FileKind::Fifo => Some("a zip archive cannot hold a named pipe"),
        FileKind::CharDevice | FileKind::BlockDevice => Some("a zip archive cannot hold a device"),
        _ if name.len() > NAME_BYTES => Some("a zip archive cannot hold so long a name"),
        _ => None,
    }
}

/// The type as `stat` has it.
fn type_bits(kind: FileKind) -> u32 {
    match kind {
        FileKind::Directory => 0o040_000,
        FileKind::Symlink => 0o120_000,
        _ => 0o100_000,
    }
}

/// What entries have that the archive has not.
#[derive(Default)]
struct NotKept {
    attributes: Entries,
    links: Entries,
    times: Entries,
    names: Entries,
}

/// How many entries, and the first of them.
#[derive(Default)]
struct Entries {
    count: u64,
    first: Vec<u8>,
}

impl Entries {
    fn count(&mut self, path: &[u8]) {
        if self.count == 0 {
            self.first = path.to_vec();
        }
        self.count += 1;
    }
}

impl NotKept {
    fn tell(&self, monitor: &dyn Monitor) {
        for (what, entries) in [
            (
                "a zip archive has no place for extended attributes and ACLs, which are left out",
                &self.attributes,
            ),
            ("a zip archive knows no hard links: each name is a file of its own there", &self.links),
            ("a zip archive has no place for times before 1901 and after 2038", &self.times),
            (
                "names that are no UTF-8 are in the archive byte by byte, and some programs change them",
                &self.names,
            ),
        ] {
            if entries.count > 0 {
                let text =
                    format!("{what}; entries: {}, the first: {}", entries.count, lossy(&entries.first));
                monitor.event(Event::Warning(&text));
            }
        }
    }
}
