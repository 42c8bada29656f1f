//! The last part: rows get the content that travelled before them, and become entries of the tree.

use super::Common;
use super::row::{Done, Row, Source, join};
use super::small::problem;
use crate::engine::dedup::tree::{self, Builder, Entry, Kept, Key, RowsBuilder};
use crate::error::{Error, Kind, Result};
use std::collections::HashMap;

/// Takes what the workers give, in order.
pub(super) struct Assembler<'b, 'c> {
    builder: Builder<'b>,
    common: &'c Common<'c>,
    /// Chunks of large files whose rows are still to come: in lists already where they are many.
    large: HashMap<u64, RowsBuilder>,
    /// Files with several names: what the first one is, and how many are still to come.
    first_names: HashMap<(u64, u64), (Entry, u64)>,
}

impl<'b, 'c> Assembler<'b, 'c> {
    pub fn new(builder: Builder<'b>, common: &'c Common<'c>) -> Self {
        Assembler { builder, common, large: HashMap::new(), first_names: HashMap::new() }
    }

    pub fn take(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Chunks { file, chunks } => {
                let rows = self.large.entry(file).or_default();
                for (chunk, bytes) in chunks {
                    rows.push(self.builder.store(), chunk, bytes)?;
                }
            }
            Done::Again { file } => {
                self.large.remove(&file);
            }
            Done::Rows(rows) => {
                for row in rows {
                    self.row(row)?;
                }
            }
        }
        Ok(())
    }

    pub fn finish(self) -> Result<tree::Root> {
        self.builder.finish()
    }

    fn row(&mut self, mut row: Row) -> Result<()> {
        match row.content {
            Source::Entry => {}
            Source::Gone => return Ok(()),
            Source::Bundle => return Err(Error::invalid("a file without its bundle:", "")),
            Source::Large(number) => {
                let rows = self.large.remove(&number).unwrap_or_default();
                row.entry.content = rows.finish(self.builder.store())?;
            }
            Source::FirstName(device, inode) => match self.further_name(device, inode) {
                Some(entry) => row.entry = entry,
                None => {
                    let error = Error::new(Kind::Io, "another name of a file that could not be read");
                    problem(self.common.monitor, &join(&row.directory, &row.name), &error);
                    row.entry = row.entry.unread();
                }
            },
        }
        self.keep_elsewhere(&mut row.entry)?;
        self.builder.push(Key { directory: &row.directory, name: &row.name }, &row.entry)?;
        if let (Some(names), Source::Entry | Source::Large(_)) = (&row.entry.names, row.content)
            && names.links > 1
        {
            let key = (names.device, row.entry.inode);
            let left = names.links - 1;
            // In place of what had this inode before: it may have been given to another file since.
            match row.entry.is_unread() {
                true => drop(self.first_names.remove(&key)),
                false => drop(self.first_names.insert(key, (row.entry, left))),
            }
        }
        Ok(())
    }

    /// The entry of the file's first name; forgotten after its last.
    fn further_name(&mut self, device: u64, inode: u64) -> Option<Entry> {
        let (entry, left) = self.first_names.get_mut(&(device, inode))?;
        *left -= 1;
        if *left > 0 {
            return Some(entry.clone());
        }
        self.first_names.remove(&(device, inode)).map(|(entry, _)| entry)
    }

    /// Moves attributes and holes that are too long for an entry to chunks of their own.
    fn keep_elsewhere(&mut self, entry: &mut Entry) -> Result<()> {
        if let Kept::Here(xattrs) = &entry.xattrs {
            entry.xattrs = tree::keep_xattrs(self.builder.store(), xattrs.clone())?;
        }
        if let Kept::Here(holes) = &entry.holes {
            entry.holes = tree::keep_holes(self.builder.store(), holes.clone())?;
        }
        Ok(())
    }
}
