//! The level below, as the walk of the next one compares with it: both go through their trees in the same order.
//!
//! Memory: 16 bytes for each file of the level below, to find those that were moved; otherwise an item and a buffer.

use super::signature::Signature;
use super::state::{Cursor, DirectoryRow, FileRow, Item, Row, RowKind, State, order};
use crate::error::Result;
use crate::time::FileTime;
use crate::tree::attributes::Metadata;
use std::cmp::Ordering;

/// The level below.
pub struct Base {
    state: State,
    cursor: Cursor,
    /// The item that comes next.
    next: Item,
    /// Whether that may be an entry of the directory that was entered last.
    entered: bool,
    /// The inodes of all files, in their order, and where their entries are.
    inodes: Vec<(u64, u64)>,
    /// With a clock that was set back no time tells what has changed.
    is_behind: bool,
}

impl Base {
    /// The level below one that begins `now`.
    ///
    /// # Errors
    /// `Damaged`; I/O of temporary files.
    pub fn new(mut state: State, now: FileTime) -> Result<Base> {
        let (mut cursor, mut inodes) = (Cursor::default(), Vec::new());
        loop {
            let (place, item) = cursor.next(&mut state)?;
            match item {
                Item::Entry(Row { kind: RowKind::File(_), inode, .. }) => inodes.push((inode, place)),
                Item::End => break,
                Item::Entry(_) | Item::Directory(_) => {}
            }
        }
        inodes.sort_unstable();
        inodes.shrink_to_fit();
        let mut cursor = Cursor::default();
        let (_, next) = cursor.next(&mut state)?;
        let is_behind = now < state.start();
        Ok(Base { state, cursor, next, entered: false, inodes, is_behind })
    }

    /// The number of the level.
    pub fn level(&self) -> u32 {
        self.state.level()
    }

    fn advance(&mut self) -> Result<Item> {
        let (_, next) = self.cursor.next(&mut self.state)?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// Goes to the first directory that is not before `path`.
    fn seek(&mut self, path: &[u8]) -> Result<()> {
        self.entered = false;
        loop {
            match &self.next {
                Item::Directory(row) if order(&row.path, path) != Ordering::Less => return Ok(()),
                Item::End => return Ok(()),
                Item::Directory(_) | Item::Entry(_) => self.advance()?,
            };
        }
    }

    /// Goes to a directory, the entries of which are then asked for. Directories are entered in their order.
    ///
    /// # Errors
    /// `Damaged`; I/O of temporary files.
    pub fn enter(&mut self, path: &[u8]) -> Result<()> {
        self.seek(path)?;
        if matches!(&self.next, Item::Directory(row) if row.path == path) {
            self.advance()?;
            self.entered = true;
        }
        Ok(())
    }

    /// The entry of this name in the directory that was entered last. Names are asked for in their order.
    ///
    /// # Errors
    /// `Damaged`; I/O of temporary files.
    pub fn entry(&mut self, name: &[u8]) -> Result<Option<Row>> {
        while self.entered {
            match &self.next {
                Item::Entry(row) if row.name.as_slice() < name => {}
                Item::Entry(row) if row.name == name => {
                    return match self.advance()? {
                        Item::Entry(row) => Ok(Some(row)),
                        Item::Directory(_) | Item::End => Ok(None),
                    };
                }
                _ => return Ok(None),
            }
            self.advance()?;
        }
        Ok(None)
    }

    /// Hands out everything that is below a directory, itself included.
    ///
    /// # Errors
    /// Of `each`; `Damaged`; I/O of temporary files.
    pub fn below(&mut self, path: &[u8], each: &mut dyn FnMut(&mut Base, Item) -> Result<()>) -> Result<()> {
        self.seek(path)?;
        let is_below = |row: &DirectoryRow| {
            let rest = row.path.strip_prefix(path);
            rest.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
        };
        while matches!(&self.next, Item::Directory(row) if is_below(row)) {
            let directory = self.advance()?;
            each(self, directory)?;
            while matches!(self.next, Item::Entry(_)) {
                let entry = self.advance()?;
                each(self, entry)?;
            }
        }
        Ok(())
    }

    /// The entry of a file that had this inode, under whatever name.
    ///
    /// # Errors
    /// `Damaged`; I/O of temporary files.
    pub fn by_inode(&mut self, inode: u64) -> Result<Option<Row>> {
        let first = self.inodes.partition_point(|(other, _)| *other < inode);
        match self.inodes.get(first) {
            Some((found, place)) if *found == inode => match self.state.item_at(*place)? {
                Item::Entry(row) => Ok(Some(row)),
                Item::Directory(_) | Item::End => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Whether a file is as its entry says, so that it need not be read. The kernel sets the time of the last change of
    /// attributes at every change; one that is not before the start of the level may have been followed by another.
    pub fn is_unchanged(&self, row: &Row, metadata: &Metadata) -> bool {
        let RowKind::File(file) = &row.kind else { return false };
        let (start, ctime) = (self.state.start(), row.attributes.ctime);
        let is_settled = row.attributes.mtime < start && ctime.is_some_and(|ctime| ctime < start);
        let known = (row.inode, file.content.size_bytes, row.attributes.mtime, ctime);
        let found = (metadata.inode, metadata.size_bytes, metadata.mtime, Some(metadata.ctime));
        !row.again && !self.is_behind && is_settled && known == found
    }

    /// The entries of the signature of a file, as they are stored.
    ///
    /// # Errors
    /// `Damaged`; I/O of temporary files.
    pub fn entries(&mut self, file: &FileRow) -> Result<Option<Vec<u8>>> {
        self.state.entries(file)
    }

    /// The signature of a file.
    ///
    /// # Errors
    /// `Damaged`; I/O of temporary files.
    pub fn signature(&mut self, file: &FileRow) -> Result<Option<Signature>> {
        self.state.signature(file)
    }
}
