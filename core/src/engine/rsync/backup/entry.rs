//! An entry that is looked at, and what becomes of a symbolic link of which what it points to is stored.
//!
//! A link that leads nowhere, and one to a directory that it is in, is stored as the link that it is and told by name; the next level
//! looks again where it leads.

use super::{LevelWriter, Row};
use crate::error::{Error, Kind, Result};
use crate::monitor::{Event, Monitor};
use crate::tree::attributes::{FileKind, Xattrs};
use crate::tree::dereference::{Pointed, leads_nowhere, pointed};
use crate::tree::directory::{Directory, lossy};
use crate::tree::xattr;
use std::fs::File;

/// An entry that is looked at.
pub(super) struct Entry<'a> {
    pub directory: &'a Directory,
    pub name: &'a [u8],
    /// What it is called in the tree.
    pub stored: &'a [u8],
    pub path: &'a [u8],
    /// Whether it is what the link of this name points to.
    pub is_followed: bool,
}

impl Entry<'_> {
    /// Opens it as a file.
    pub fn open(&self) -> Result<File> {
        match self.is_followed {
            true => self.directory.open_file_followed(self.name),
            false => self.directory.open_file(self.name),
        }
    }

    /// Its extended attributes, without opening it.
    pub fn xattrs(&self) -> Result<Xattrs> {
        match self.is_followed {
            true => xattr::read_followed(self.directory, self.name),
            false => xattr::read_entry(self.directory, self.name),
        }
    }

    /// Tells that it is a socket.
    pub fn left_out(&self, monitor: &dyn Monitor) {
        let error = Error::new(Kind::Unsupported, "a socket, left out");
        monitor.event(Event::Problem { path: &lossy(self.path), error: &error, lost: false });
    }
}

impl LevelWriter<'_, '_> {
    /// What a link points to; or the link, to be looked at again by the next level, where that cannot be had.
    pub(super) fn followed(
        &mut self,
        link: &Entry<'_>,
        before: Option<Row>,
        monitor: &dyn Monitor,
    ) -> Result<Option<Row>> {
        match pointed(link.directory, link.name) {
            Pointed::To(metadata) if metadata.kind != FileKind::Socket => {
                return self.found(&Entry { is_followed: true, ..*link }, before, metadata, monitor);
            }
            Pointed::To(_) => link.left_out(monitor),
            // The walk has told why it does not enter it.
            Pointed::ToDirectory => {}
            Pointed::Nowhere(error) => {
                let error = leads_nowhere(error);
                monitor.event(Event::Problem { path: &lossy(link.path), error: &error, lost: true });
            }
        }
        let metadata = match link.directory.stat(link.name) {
            Ok(metadata) => metadata,
            Err(error) => return self.unread(link, before, &error, monitor),
        };
        let row = self.found(link, before, metadata, monitor)?;
        Ok(row.map(|row| Row { again: true, ..row }))
    }
}
