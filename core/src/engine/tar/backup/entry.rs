//! An entry to be stored, and what becomes of a symbolic link of which what it points to is stored.
//!
//! A link that leads nowhere, and one to a directory that it is in, is stored as the link that it is and told by name. No such link is
//! noted in the snapshot: the next level looks again where it leads.

use super::{Code, LevelWriter, Stored, Visit, left_out};
use crate::error::Result;
use crate::monitor::{Event, Monitor};
use crate::tree::attributes::{FileKind, Metadata, Xattrs};
use crate::tree::dereference::{Pointed, leads_nowhere, pointed, since};
use crate::tree::directory::{Directory, lossy};
use crate::tree::xattr;

/// An entry to be stored.
pub(super) struct Entry<'a> {
    pub directory: &'a Directory,
    pub name: &'a [u8],
    /// In the tree.
    pub path: &'a [u8],
    /// In the archive.
    pub stored: Vec<u8>,
    /// Whether it is what the link of this name points to.
    pub is_followed: bool,
}

impl Entry<'_> {
    /// What the system says of it.
    pub fn stat(&self) -> Result<Metadata> {
        stat(self.directory, self.name, self.is_followed)
    }

    /// Its extended attributes, without opening it.
    pub fn xattrs(&self) -> Result<Xattrs> {
        match self.is_followed {
            true => xattr::read_followed(self.directory, self.name),
            false => xattr::read_entry(self.directory, self.name),
        }
    }
}

/// What the system says of an entry, or of what it points to.
pub(super) fn stat(directory: &Directory, name: &[u8], is_followed: bool) -> Result<Metadata> {
    if is_followed { directory.stat_followed(name) } else { directory.stat(name) }
}

impl LevelWriter<'_, '_> {
    /// The code of a link that the level below has under its name, too.
    pub(super) fn compare_followed(&self, visit: &Visit<'_>, name: &[u8]) -> Option<Code> {
        let base = self.base.as_ref()?;
        let is_old = match pointed(visit.directory, name) {
            Pointed::To(metadata) => base.is_older(&metadata),
            Pointed::ToDirectory | Pointed::Nowhere(_) => false,
        };
        let leads_there = || since(visit.directory, name).is_ok_and(|since| since < base.start);
        Some(if is_old && leads_there() { Code::Kept } else { Code::Stored })
    }

    /// Stores what a link points to, or the link.
    pub(super) fn followed(&mut self, link: &Entry<'_>, monitor: &dyn Monitor) -> Result<Stored> {
        let there = || Entry { stored: link.stored.clone(), is_followed: true, ..*link };
        match pointed(link.directory, link.name) {
            Pointed::To(metadata) => match metadata.kind {
                FileKind::File => return self.file(&there(), monitor),
                FileKind::Socket => left_out(monitor, link.path),
                _ => return self.special(&there(), monitor),
            },
            // The walk has told why it does not enter it.
            Pointed::ToDirectory => {}
            Pointed::Nowhere(error) => {
                if let Err(gone) = link.stat() {
                    return Ok(self.not_stored(link, &gone, monitor));
                }
                let error = leads_nowhere(error);
                monitor.event(Event::Problem { path: &lossy(link.path), error: &error, lost: true });
            }
        }
        self.special(link, monitor)?;
        Ok(Stored::Not)
    }
}
