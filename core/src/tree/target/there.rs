//! What stands in a target already: looked at, compared, and left where it is with the attributes it should have.
//!
//! Invariant: only a regular file that was opened from the handle of its directory, without following a link, and that is the
//! one that was looked at, is read or given attributes. Its content is never changed.

use super::Target;
use super::apply::{Place, Settings, State};
use super::files::Files;
use super::walker::{Missing, Walker};
use crate::error::{Error, Kind, Result};
use crate::time::FileTime;
use crate::tree::attributes::{Attributes, FileKind, Metadata};
use crate::tree::directory::{lossy, metadata_of};
use rustix::fs::Advice;
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, and nothing is in the way.
    Nothing,
    /// This.
    Entry(Metadata),
    /// Something that is no directory stands above it; a link to a directory among such things.
    Blocked,
}

/// A regular file that stands in the target.
#[derive(Debug)]
pub struct There {
    /// It, open for reading.
    pub file: File,
    /// What was known of it when it was opened.
    pub found: Metadata,
}

impl There {
    /// Whether it is still what it was when it was opened.
    pub fn is_unchanged(&self) -> bool {
        metadata_of(&self.file).is_ok_and(|now| self.found.same_version(&now))
    }
}

impl Target<'_> {
    /// What stands at a path; links are not followed.
    ///
    /// # Errors
    /// `Invalid` for a path that is none; otherwise as the system has it.
    pub fn standing(&mut self, path: &[u8]) -> Result<Standing> {
        if self.base.place(path)?.is_empty() {
            return self.kind(path).map(|found| found.map_or(Standing::Nothing, Standing::Entry));
        }
        let (parent, name) = self.base.split(path)?;
        let folder = match self.walker.walk(parent, Missing::Fail) {
            Ok(folder) => folder,
            Err(stop) if stop.errno == Errno::NOENT => return Ok(Standing::Nothing),
            Err(stop) if stop.is_blocked() => return Ok(Standing::Blocked),
            Err(stop) => return Err(stop.into_error(parent)),
        };
        match folder.directory.stat(name) {
            Ok(found) => Ok(Standing::Entry(found)),
            Err(e) if e.kind() == Kind::NotFound => Ok(Standing::Nothing),
            Err(e) => Err(e.while_doing("cannot stat", lossy(path))),
        }
    }

    /// The latest change of content of what stands at a path and of everything below it: what is lost when it is replaced.
    /// `None` when nothing stands there.
    ///
    /// # Errors
    /// As [`Target::kind`], of the first that cannot be looked at.
    pub fn newest(&mut self, path: &[u8]) -> Result<Option<FileTime>> {
        let mut newest = None;
        let mut todo = vec![path.to_vec()];
        while let Some(path) = todo.pop() {
            let Some(found) = self.kind(&path)? else { continue };
            newest = newest.max(Some(found.mtime));
            if found.kind == FileKind::Directory {
                let names = self.names(&path)?;
                todo.extend(names.into_iter().map(|name| [&path, &b"/"[..], &name].concat()));
            }
        }
        Ok(newest)
    }

    /// Writes what is not on disk yet of the file system that holds the target, so that what is read afterwards comes from
    /// there.
    ///
    /// # Errors
    /// As the system has it; a write that failed long ago among them.
    pub fn sync(&mut self) -> Result<()> {
        let root = self.walker.open(b"", Missing::Fail)?;
        rustix::fs::syncfs(&root.directory).map_err(|e| Error::io("cannot write to disk", "the target", e))
    }
}

impl Files<'_> {
    /// The regular file that stands at a path; `None` when something else does, or nothing, or when it may not be read.
    ///
    /// # Errors
    /// `Invalid` when a link stands above it; otherwise as the system has it.
    pub fn there(&mut self, path: &[u8]) -> Result<Option<There>> {
        let (parent, name) = self.base.split(path)?;
        Ok(open(&mut self.walker, parent, name, path)?.and_then(Result::ok))
    }

    /// The regular file that stands at a path, to be read from the disk and not from memory, as far as that can be asked for;
    /// `None` when there is no such file.
    ///
    /// # Errors
    /// As [`Files::there`], and when it cannot be opened.
    pub fn reread(&mut self, path: &[u8]) -> Result<Option<There>> {
        let (parent, name) = self.base.split(path)?;
        let Some(there) = open(&mut self.walker, parent, name, path)?.transpose()? else { return Ok(None) };
        // A file system that cannot forget what it has read gives that.
        rustix::fs::fadvise(&there.file, 0, None, Advice::DontNeed).unwrap_or(());
        Ok(Some(there))
    }

    /// Whether a file has these attributes already.
    pub fn has_attributes(&self, there: &There, attributes: &Attributes) -> bool {
        self.settings.has_attributes(&there.found, attributes)
            && self.settings.has_xattrs(&there.file, &attributes.xattrs)
    }

    /// Gives a file that was compared, and stays, what it lacks of its attributes, as [`Files::put_right`] does; but only if it still
    /// is what stands at its path, as it was `found`.
    ///
    /// # Errors
    /// `Changed` when it is not; as [`Files::there`].
    pub fn put_right_compared(
        &mut self,
        found: &Metadata,
        path: &[u8],
        attributes: &Attributes,
    ) -> Result<()> {
        match self.there(path)?.filter(|there| found.same_version(&there.found)) {
            Some(there) => {
                self.put_right(&there, path, attributes);
                Ok(())
            }
            None => Err(Error::new(Kind::Changed, "was changed while it was compared:").on(lossy(path))),
        }
    }

    /// Gives a file that stays what it lacks of its attributes. Not for one with further names: those would change with it.
    pub fn put_right(&self, there: &There, path: &[u8], attributes: &Attributes) {
        if !self.has_attributes(there, attributes) {
            give(&self.settings, there, path, attributes);
        }
    }
}

fn give(settings: &Settings<'_>, there: &There, path: &[u8], attributes: &Attributes) {
    let found = &there.found;
    let state = State { uid: found.uid, gid: found.gid, mode: Some(found.mode), inherits: false };
    settings.clear_xattrs(there.file.as_fd(), path, &attributes.xattrs);
    settings.apply(&Place::Open(there.file.as_fd()), FileKind::File, state, path, attributes);
}

/// Looks at a name, and opens it when it is a regular file. The inner error is that of opening it.
fn open(walker: &mut Walker, parent: &[u8], name: &[u8], path: &[u8]) -> Result<Option<Result<There>>> {
    let Some(folder) = walker.find(parent)? else { return Ok(None) };
    let looked_at = match folder.directory.stat(name) {
        Ok(found) => found,
        Err(e) if e.kind() == Kind::NotFound => return Ok(None),
        Err(e) => return Err(e.while_doing("cannot stat", lossy(path))),
    };
    if looked_at.kind != FileKind::File {
        return Ok(None);
    }
    let opened = folder.directory.open_file(name).and_then(|file| {
        let found = metadata_of(&file).map_err(|e| Error::io("cannot stat", lossy(path), e))?;
        Ok(There { file, found })
    });
    Ok(Some(opened).filter(|opened| match opened {
        // Swapped in since it was looked at.
        Ok(there) => looked_at.same_version(&there.found),
        Err(_) => true,
    }))
}
