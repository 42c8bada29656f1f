//! Two backups compared. Where both places have one path, shared nodes of the trees are passed over; else the two are gone
//! through side by side.

use super::aspects::{self, Aspect};
use super::{Change, Changes};
use crate::engine::dedup::tree::{self, Content, Cursor, Entry, Key};
use crate::error::Result;
use crate::monitor::Monitor;
use crate::tree::attributes::FileKind;
use crate::view::content::{Contents, Piece, ZEROS};
use crate::view::{self, Backup, View};
use std::cmp::Ordering;

pub(super) fn compare(
    view: &View<'_>,
    sides: [(&Backup, &[u8]); 2],
    monitor: &dyn Monitor,
    changes: &mut Changes<'_>,
) -> Result<()> {
    let [(old, old_path), (new, new_path)] = sides;
    let tops = [view.entry(old, old_path), view.entry(new, new_path)];
    let mut pair = Pair::new(view, monitor);
    if old_path != new_path {
        let [old_top, new_top] = tops;
        let (old_top, new_top) = (old_top?, new_top?);
        if [&old_top, &new_top].iter().any(|top| top.kind != FileKind::Directory) {
            let differing = pair.aspects(&old_top, &new_top)?;
            return changes.compared(new_path, &old_top, &new_top, &differing);
        }
        return side_by_side(view, sides, &mut pair, changes);
    }
    // It may have come to be, or have gone; but there must have been something.
    if let [Err(error), Err(_)] = tops {
        return Err(error);
    }
    tree::diff(view.chunks(), &old.snapshot.root, &new.snapshot.root, &mut |difference| {
        monitor.check()?;
        let path = view::path_of(difference.key);
        if !view::is_within(&path, old_path) {
            return Ok(());
        }
        match difference.change {
            tree::Change::Changed(old, new) => {
                let differing = pair.aspects(old, new)?;
                changes.compared(&path, old, new, &differing)
            }
            tree::Change::Added(new) => {
                changes.tell(Change { path: &path, old: None, new: Some(new), aspects: &[] })
            }
            tree::Change::Removed(old) => {
                changes.tell(Change { path: &path, old: Some(old), new: None, aspects: &[] })
            }
        }
    })
}

/// Goes through two directories, whatever their paths.
fn side_by_side(
    view: &View<'_>,
    sides: [(&Backup, &[u8]); 2],
    pair: &mut Pair<'_>,
    changes: &mut Changes<'_>,
) -> Result<()> {
    let [(old, old_top), (new, new_top)] = sides;
    let mut old = Below::new(view, old, old_top)?;
    let mut new = Below::new(view, new, new_top)?;
    loop {
        pair.monitor.check()?;
        let (old_here, new_here) = (old.peek()?, new.peek()?);
        let order = match (&old_here, &new_here) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let of_key = |key: &Key<'_>| view::path_of(*key);
        match (old_here, new_here) {
            (Some((key, old)), Some((_, new))) if order == Ordering::Equal => {
                let differing = pair.aspects(old, new)?;
                changes.compared(&of_key(&key), old, new, &differing)?;
            }
            (Some((key, old)), _) if order == Ordering::Less => {
                changes.tell(Change { path: &of_key(&key), old: Some(old), new: None, aspects: &[] })?;
            }
            (_, Some((key, new))) => {
                changes.tell(Change { path: &of_key(&key), old: None, new: Some(new), aspects: &[] })?;
            }
            _ => return Ok(()),
        }
        if order != Ordering::Greater {
            old.cursor.advance();
        }
        if order != Ordering::Less {
            new.cursor.advance();
        }
    }
}

/// A cursor that sees nothing but a directory and what is below it, with paths from there.
struct Below<'v> {
    cursor: Cursor<'v>,
    top: &'v [u8],
}

impl<'v> Below<'v> {
    fn new(view: &'v View<'_>, backup: &Backup, top: &'v [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(view.chunks(), &backup.snapshot.root)?;
        cursor.seek(Key { directory: top, name: b"" })?;
        Ok(Below { cursor, top })
    }

    fn peek(&mut self) -> Result<Option<(Key<'_>, &Entry)>> {
        let top = self.top;
        Ok(self.cursor.peek()?.and_then(|(key, entry)| {
            let below = key.directory.strip_prefix(top)?;
            let directory = match below.strip_prefix(b"/") {
                Some(directory) => directory,
                None if top.is_empty() || below.is_empty() => below,
                // Another directory whose name begins alike.
                None => return None,
            };
            Some((Key { directory, name: key.name }, entry))
        }))
    }
}

/// Two entries of one path, from two backups.
struct Pair<'v> {
    contents: Contents<'v>,
    monitor: &'v dyn Monitor,
}

impl<'v> Pair<'v> {
    fn new(view: &'v View<'v>, monitor: &'v dyn Monitor) -> Self {
        Pair { contents: Contents::new(view, 1, monitor), monitor }
    }

    fn aspects(&mut self, old: &Entry, new: &Entry) -> Result<Vec<Aspect>> {
        let mut differing = aspects::of(old, new);
        if old.kind != new.kind || old.is_unread() || new.is_unread() {
            return Ok(differing);
        }
        if self.content_differs(old, new)? {
            differing.insert(0, Aspect::Content);
        }
        // What is long enough for a chunk is so on both sides.
        if old.xattrs != new.xattrs {
            differing.push(Aspect::Attributes);
        }
        Ok(differing)
    }

    /// Large files of equal content have equal chunks, and holes are seen by whoever reads them. A small file may have been put
    /// into another bundle, so that only its bytes tell.
    fn content_differs(&mut self, old: &Entry, new: &Entry) -> Result<bool> {
        if old.size_bytes != new.size_bytes {
            return Ok(true);
        }
        if old.content == new.content && old.holes == new.holes {
            return Ok(false);
        }
        let large = |entry: &Entry| matches!(entry.content, Content::Rows { .. });
        if large(old) && large(new) {
            return Ok(true);
        }
        Ok(self.digest(old)? != self.digest(new)?)
    }

    fn digest(&mut self, entry: &Entry) -> Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        self.contents.read(entry, &mut |piece| {
            match piece {
                Piece::Data(bytes) => drop(hasher.update(bytes)),
                Piece::Hole(mut bytes) => {
                    while bytes > 0 {
                        let now = ZEROS.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
                        hasher.update(&ZEROS[..now]);
                        bytes -= now as u64;
                    }
                }
            }
            Ok(())
        })?;
        Ok(hasher.finalize())
    }
}
