//! A storage in a folder of a file system: an object is a file, a component of its name is a folder.
//!
//! Everything goes through a handle of the folder, taken when it is opened: a folder that is moved is followed, one that is
//! removed is noticed, and what is mounted over its path later is never written to by mistake. Symbolic links are not
//! followed; a name that leads through one is refused rather than taken for missing.
//!
//! The invariant: a file under an object's name is whole and durable. It is written without a name (`O_TMPFILE`), synced,
//! linked to its name, and its folder synced; where a file system cannot do that, it is written under a temporary name and
//! renamed (`staging`). A temporary file that a killed process left is never an object: listings show it as a stray, and
//! [`Storage::clean_temporaries`] removes it.
//!
//! Files are made with mode 0600 and folders with 0700: a repository is its owner's alone.

mod folders;
mod listing;
mod staging;
#[cfg(test)]
mod tests;

use super::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage, Underway};
use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::time::Timestamp;
use crate::tree::attributes::{FileKind, Metadata};
use crate::tree::directory::{Directory, metadata_of};
use folders::{Place, Root};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// Objects as files below one folder.
#[derive(Debug, Clone)]
pub struct Local {
    root: Arc<Root>,
}

impl Local {
    /// Opens a storage in an existing folder. The path must be absolute: what the current folder is, is the caller's to know.
    ///
    /// # Errors
    /// `Invalid` for a relative path, `NotFound` when there is no such folder, `Denied`, or as the system has it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Local> {
        Ok(Local { root: Arc::new(Root::open(path.into())?) })
    }

    /// Opens a storage, making the folder (and those above it) when it is missing.
    ///
    /// # Errors
    /// As [`Local::open`], and `NoSpace`.
    pub fn create(path: impl Into<PathBuf>) -> Result<Local> {
        let path = path.into();
        folders::require_absolute(&path)?;
        folders::make_path(&path)?;
        Local::open(path)
    }

    /// Writes through named temporary files from now on, as it does by itself on file systems without nameless ones.
    #[must_use]
    pub fn with_named_temporaries(self) -> Local {
        Local { root: Arc::new(self.root.without_nameless_files()) }
    }

    /// The folder and what is known of the object in it.
    fn find(&self, place: &Place<'_>) -> Result<(Directory, Metadata)> {
        let Some(folder) = self.root.folder(place.folder)? else {
            return Err(self.missing(place.name));
        };
        let metadata = match folder.stat(place.file.as_bytes()) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == Kind::NotFound => return Err(self.missing(place.name)),
            Err(e) => return Err(e.while_doing("cannot look up", self.root.path_of(place.name.as_str()))),
        };
        self.require_object(&metadata, place)?;
        Ok((folder, metadata))
    }

    fn require_object(&self, metadata: &Metadata, place: &Place<'_>) -> Result<()> {
        match metadata.kind {
            FileKind::File => Ok(()),
            FileKind::Directory => Err(self.missing(place.name)),
            _ => Err(Error::new(Kind::Unsupported, "neither a file nor a folder:")
                .on(self.root.path_of(place.name.as_str()))
                .hint("links are not followed inside a storage; put the file itself there")),
        }
    }

    fn missing(&self, name: &ObjectName) -> Error {
        Error::new(Kind::NotFound, "no such object:").on(self.root.path_of(name.as_str()))
    }

    /// Opens an object; what was opened is what was looked at.
    fn open_object(&self, place: &Place<'_>) -> Result<(File, Metadata)> {
        let (folder, _) = self.find(place)?;
        let file = match folder.open_file(place.file.as_bytes()) {
            Ok(file) => file,
            Err(e) if e.kind() == Kind::NotFound => return Err(self.missing(place.name)),
            Err(e) => return Err(e.while_doing("cannot read", self.root.path_of(place.name.as_str()))),
        };
        let metadata = metadata_of(&file)
            .map_err(|e| Error::io("cannot stat", self.root.path_of(place.name.as_str()), e))?;
        self.require_object(&metadata, place)?;
        Ok((file, metadata))
    }
}

impl Storage for Local {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        let mut writer = self.writer(name, mode)?;
        writer.write(bytes)?;
        writer.finish()
    }

    fn begin_put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<Box<dyn Underway>> {
        let mut writer = staging::Writer::begin(&self.root, name, mode)?;
        writer.write(bytes)?;
        Ok(Box::new(writer))
    }

    fn put_fleeting(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        let mut writer = staging::Writer::begin(&self.root, name, PutMode::CreateNew)?;
        writer.write(bytes)?;
        writer.finish_fleeting()
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(staging::Writer::begin(&self.root, name, mode)?))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let (file, metadata) = self.open_object(&Place::of(name)?)?;
        let left = usize::try_from(metadata.size_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        read_at(&file, offset, left.min(length_bytes))
            .map_err(|e| Error::io("cannot read", self.root.path_of(name.as_str()), e))
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        let (_, metadata) = self.find(&Place::of(name)?)?;
        Ok(Stat { size_bytes: metadata.size_bytes })
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        listing::visit(&self.root, prefix, depth, &mut |found| match found.listed(depth) {
            Some(listed) => row(listed),
            None => Ok(()),
        })
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        let place = Place::of(name)?;
        let (folder, _) = self.find(&place)?;
        match rustix::fs::unlinkat(&folder, place.file, AtFlags::empty()) {
            Ok(()) => {}
            // Somebody else was faster (or put a folder there in between).
            Err(Errno::NOENT | Errno::ISDIR) => return Err(self.missing(name)),
            Err(e) => return Err(Error::io("cannot delete", self.root.path_of(name.as_str()), e)),
        }
        self.root.remove_empty_folders(place.folder);
        Ok(())
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        let mut removed = 0;
        listing::visit(&self.root, None, Depth::All, &mut |found| {
            if found.is_temporary() && found.metadata.mtime.seconds < before.0 {
                match rustix::fs::unlinkat(found.folder, found.raw_name, AtFlags::empty()) {
                    Ok(()) => removed += 1,
                    Err(Errno::NOENT) => {}
                    Err(e) => return Err(Error::io("cannot remove", found.label(), e)),
                }
            }
            Ok(())
        })?;
        Ok(removed)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new_is_atomic: true, parallel: false }
    }

    fn label(&self) -> String {
        self.root.label()
    }
}

/// Up to `length_bytes` from `offset`; fewer only where the file ends.
fn read_at(file: &File, offset: u64, length_bytes: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::with_capacity(length_bytes);
    while bytes.len() < length_bytes {
        let position = offset.saturating_add(bytes.len() as u64);
        // The vector may have more room than was asked for; what comes in beyond is cut off below.
        let room = rustix::buffer::spare_capacity(&mut bytes);
        match rustix::io::pread(file, room, position) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(length_bytes);
    Ok(bytes)
}
