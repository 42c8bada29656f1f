//! The earlier backup that unchanged files are taken from.
//!
//! Invariant: a file is taken for unchanged only when size, both times, inode and type are those of the parent's entry, and when
//! that entry was whole and not racy. A parent that is damaged is told once and spares nothing from there on; it prevents no backup.

use crate::engine::dedup::tree::{self, Cursor, Entry, Key};
use crate::error::{Error, Kind, Result};
use crate::monitor::{Event, Monitor};
use crate::repository::vault::{ChunkId, Reader};
use crate::tree::attributes::{FileKind, Metadata};

/// The parent, read in the order of the walk; or none.
pub(super) struct Parent<'p> {
    cursor: Option<Cursor<'p>>,
    /// The whole of it, to look something up.
    of: Option<(&'p Reader<'p>, ChunkId)>,
    monitor: &'p dyn Monitor,
}

impl<'p> Parent<'p> {
    /// The backup with this root.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn open(reader: &'p Reader<'p>, root: Option<ChunkId>, monitor: &'p dyn Monitor) -> Result<Self> {
        let mut parent = Parent { cursor: None, of: root.map(|root| (reader, root)), monitor };
        if let Some(root) = root {
            let cursor = Cursor::new(reader, &root);
            parent.cursor = parent.unless_damaged(cursor)?;
        }
        Ok(parent)
    }

    /// What it has under this key, which is greater than those asked for before.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn entry(&mut self, key: Key<'_>) -> Result<Option<Entry>> {
        let Some(mut cursor) = self.cursor.take() else { return Ok(None) };
        let entry = look(&mut cursor, key);
        let entry = self.unless_damaged(entry)?;
        self.cursor = entry.is_some().then_some(cursor);
        Ok(entry.flatten())
    }

    /// Whether it has a directory at this path, as far as it can be read.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn was_directory(&self, path: &[u8]) -> Result<bool> {
        let Some((reader, root)) = &self.of else { return Ok(false) };
        match tree::find(*reader, root, path) {
            Ok(entry) => Ok(entry.is_some_and(|entry| entry.kind == FileKind::Directory)),
            Err(error) if is_about_the_parent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `None` when it is the parent that cannot be read, and not the storage.
    fn unless_damaged<T>(&self, found: Result<T>) -> Result<Option<T>> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_about_the_parent(&error) => {
                let what =
                    "the backup this one is compared with is damaged, and spares no reading from here on";
                self.monitor.event(Event::Warning(&format!("{what}: {error}")));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn look(cursor: &mut Cursor<'_>, key: Key<'_>) -> Result<Option<Entry>> {
    cursor.seek(key)?;
    Ok(cursor.peek()?.filter(|(found, _)| *found == key).map(|(_, entry)| entry.clone()))
}

fn is_about_the_parent(error: &Error) -> bool {
    matches!(error.kind(), Kind::Damaged | Kind::NotFound | Kind::Unsupported)
}

/// Whether an entry is still what the parent has of it.
pub(super) fn is_same(known: &Entry, metadata: &Metadata) -> bool {
    let kind = known.kind == metadata.kind && known.inode == metadata.inode;
    let times = known.mtime == metadata.mtime && known.ctime == metadata.ctime;
    let size = known.kind != FileKind::File || known.size_bytes == metadata.size_bytes;
    kind && times && size && known.whole && !known.racy
}
