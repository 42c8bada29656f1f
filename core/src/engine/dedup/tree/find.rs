//! Single paths and directories of a tree.

use super::cursor::Walker;
use super::key::parent;
use super::{Chunks, Cursor, Entry, Key, Totals};
use crate::error::{Error, Kind, Result};
use crate::repository::vault::ChunkId;
use crate::tree::attributes::FileKind;

/// The entry with this path; the empty path is the root directory.
///
/// # Errors
/// `Damaged`, `Unsupported`, or as the storage has it.
pub fn find(chunks: &dyn Chunks, root: &ChunkId, path: &[u8]) -> Result<Option<Entry>> {
    let mut cursor = Cursor::new(chunks, root)?;
    if let Some(directory) = parent(path) {
        let name = last(path);
        // A path that ends with a slash names a directory, if anything.
        if let Some(found) = at(&mut cursor, Key { directory, name })?.filter(|_| !name.is_empty()) {
            return Ok(Some(found));
        }
    }
    at(&mut cursor, Key { directory: path, name: b"" })
}

/// The entry with exactly this key, which is ahead of the cursor.
fn at(cursor: &mut Cursor<'_>, key: Key<'_>) -> Result<Option<Entry>> {
    cursor.seek(key)?;
    Ok(cursor.peek()?.filter(|(found, _)| *found == key).map(|(_, entry)| entry.clone()))
}

/// The last component of a path.
fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Hands out, in the order of their names, what is directly in `directory`, its sub-directories among it. What is below those is not
/// read, but for the nodes on the way.
///
/// # Errors
/// `NotFound` when there is no such directory; what `found` fails with; as [`find`].
pub fn list(
    chunks: &dyn Chunks,
    root: &ChunkId,
    directory: &[u8],
    found: &mut dyn FnMut(&[u8], &Entry) -> Result<()>,
) -> Result<()> {
    let mut others = Cursor::new(chunks, root)?;
    if at(&mut others, Key { directory, name: b"" })?.is_none() {
        let subject = String::from_utf8_lossy(directory);
        return Err(Error::new(Kind::NotFound, "there is no directory").on(subject));
    }
    others.advance();
    let mut below = Cursor::new(chunks, root)?;
    // The least path that a sub-directory can have.
    let slash = if directory.is_empty() { &b""[..] } else { b"/" };
    let mut next = [directory, slash, &[1]].concat();
    let start = directory.len() + slash.len();
    loop {
        below.seek(Key { directory: &next, name: b"" })?;
        // Sub-directories stand behind everything else, and that of another directory behind them.
        let inside = |key: &Key<'_>| key.directory.get(..start) == Some(&next[..start]);
        let sub = below.peek()?.filter(|(key, _)| inside(key));
        let sub = sub.map(|(key, entry)| {
            let path = key.directory.to_vec();
            (path, entry)
        });
        let name = sub.as_ref().map(|(path, _)| &path[start..]);
        while let Some((key, entry)) = others.peek()?
            && key.directory == directory
            && name.is_none_or(|name| key.name <= name)
        {
            found(key.name, entry)?;
            others.advance();
        }
        let Some((path, entry)) = sub else { return Ok(()) };
        if entry.kind != FileKind::Directory || path[start..].contains(&b'/') {
            return Err(Error::damaged("no record of a directory in", "a tree"));
        }
        found(&path[start..], entry)?;
        // Behind everything below it: no name has a zero byte, so nothing is between.
        next = path;
        next.push(1);
    }
}

/// How much the tree holds.
///
/// # Errors
/// As [`find`].
pub fn totals(chunks: &dyn Chunks, root: &ChunkId) -> Result<Totals> {
    Walker::new(chunks, root)?.totals()
}
