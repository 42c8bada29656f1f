//! One object being written: a file that has no name, or a temporary one, until it is whole and on the disk.
//!
//! A file without a name (`O_TMPFILE`) leaves nothing behind whatever happens to the process. It is given its name by
//! `linkat`, which never replaces; to replace an object it is linked to a temporary name and renamed. Where the file system
//! has no nameless files (NFS, some FUSE), the file has a temporary name from the start.
//!
//! The order, which crash safety rests on: write, sync the file, sync what leads to the folder, give the file its name, sync
//! the folder.
//!
//! `delete` removes folders that become empty, and a nameless file does not keep its folder from being empty: publishing
//! makes the folder anew when it is gone.

use super::folders::{ATTEMPTS, Place, Root, TEMPORARY_PREFIX, split, sync_folder};
use crate::error::{Error, Kind, Result};
use crate::name::ObjectName;
use crate::storage::{ObjectWriter, PutMode, Underway};
use crate::tree::attributes::FileKind;
use crate::tree::directory::Directory;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// `RWF_DONTCACHE` (Linux 6.14 and later).
const UNCACHED: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A file on its way to its name.
pub(super) struct Writer {
    root: Arc<Root>,
    name: ObjectName,
    mode: PutMode,
    folder: Directory,
    file: File,
    /// The name of the file while it has one that must go with an unfinished writer.
    temporary: Option<String>,
    published: bool,
    /// Whether to ask for writing past the page cache; the first refusal ends it.
    uncached: bool,
}

impl Writer {
    pub fn begin(root: &Arc<Root>, name: &ObjectName, mode: PutMode) -> Result<Writer> {
        let place = Place::of(name)?;
        let begun = Writer::begin_at(root, &place, mode);
        if begun.is_err() {
            root.remove_empty_folders(place.folder);
        }
        begun
    }

    fn begin_at(root: &Arc<Root>, place: &Place<'_>, mode: PutMode) -> Result<Writer> {
        for _ in 0..ATTEMPTS {
            let folder = root.make_folder(place.folder)?;
            if mode != PutMode::Replace {
                refuse_taken(root, &folder, place)?;
            }
            match create(root, &folder) {
                Ok((file, temporary)) => {
                    let (root, name) = (Arc::clone(root), place.name.clone());
                    return Ok(Writer {
                        root,
                        name,
                        mode,
                        folder,
                        file,
                        temporary,
                        published: false,
                        uncached: true,
                    });
                }
                // The folder became empty and was removed since we found it.
                Err(Errno::NOENT) => {}
                Err(e) => return Err(Error::io("cannot create", root.path_of(place.name.as_str()), e)),
            }
        }
        Err(Error::io("cannot create", root.path_of(place.name.as_str()), Errno::NOENT))
    }

    /// Appends bytes, uncached where the kernel can: they are on their way to the disk at once, so that the sync at the end
    /// has little left to wait for, and what else the host has in its cache stays there.
    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.uncached && !bytes.is_empty() {
            match rustix::io::pwritev2(&self.file, &[IoSlice::new(bytes)], u64::MAX, UNCACHED) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => self.uncached = false,
                Err(e) => return Err(e.into()),
            }
        }
        self.file.write_all(bytes)
    }

    fn path(&self) -> String {
        self.root.path_of(self.name.as_str())
    }

    /// Gives the file its name without waiting for the disk.
    ///
    /// # Errors
    /// As [`ObjectWriter::finish`].
    pub fn finish_fleeting(mut self) -> Result<()> {
        self.publish()?;
        self.published = true;
        Ok(())
    }

    /// Makes the file durable and gives it its name.
    fn settle(mut self) -> Result<()> {
        rustix::io::retry_on_intr(|| rustix::fs::fsync(&self.file))
            .map_err(|e| Error::io("cannot write", self.path(), e))?;
        self.root.sync_new_folders(split(self.name.as_str()).0)?;
        self.publish()?;
        self.published = true;
        sync_folder(&self.folder).map_err(|e| Error::io("cannot sync the folder of", self.path(), e))
    }

    fn publish(&mut self) -> Result<()> {
        self.root.require_in_place()?;
        let name = self.name.clone();
        let place = Place::of(&name)?;
        for _ in 0..ATTEMPTS {
            let named = match &self.temporary {
                Some(temporary) => publish_named(&self.folder, temporary, place.file, self.mode),
                None => self.publish_nameless(place.file),
            };
            match named {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT) if self.temporary.is_none() => {
                    self.folder = self.root.make_folder(place.folder)?;
                }
                Err(e) => return Err(self.refusal(&place, e)),
            }
        }
        Err(Error::io("cannot create", self.path(), Errno::NOENT))
    }

    fn publish_nameless(&mut self, target: &str) -> Result<(), Errno> {
        match link_nameless(&self.file, &self.folder, target) {
            Err(Errno::EXIST) if self.mode == PutMode::Replace => {}
            other => return other,
        }
        let temporary = with_temporary_name(|name| link_nameless(&self.file, &self.folder, name))?.1;
        let renamed = rustix::fs::renameat(&self.folder, &temporary, &self.folder, target);
        if renamed.is_err() {
            self.temporary = Some(temporary);
        }
        renamed
    }

    /// Why the name could not be given.
    fn refusal(&self, place: &Place<'_>, errno: Errno) -> Error {
        let found = self.folder.stat(place.file.as_bytes());
        if found.is_ok_and(|found| found.kind == FileKind::Directory) {
            return Error::invalid("a folder is in the way of", self.path());
        }
        match errno {
            Errno::EXIST => taken(&self.root, place),
            Errno::OPNOTSUPP | Errno::PERM if self.mode != PutMode::Replace => {
                Error::new(Kind::Unsupported, "this file system cannot create a file whole, once:")
                    .on(self.path())
            }
            other => Error::io("cannot create", self.path(), other),
        }
    }
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.append(bytes).map_err(|e| Error::io("cannot write", self.path(), e))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.settle()
    }
}

impl Underway for Writer {
    fn finish(self: Box<Self>) -> Result<()> {
        self.settle()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Some(temporary) = &self.temporary {
            // There is nobody to tell; what stays is a stray that `clean_temporaries` removes.
            rustix::fs::unlinkat(&self.folder, temporary, AtFlags::empty()).ok();
        }
        self.root.remove_empty_folders(split(self.name.as_str()).0);
    }
}

/// Says early that a name is taken, before bytes are written for nothing; publishing decides.
fn refuse_taken(root: &Root, folder: &Directory, place: &Place<'_>) -> Result<()> {
    match folder.stat(place.file.as_bytes()) {
        Ok(found) if found.kind == FileKind::Directory => {
            Err(Error::invalid("a folder is in the way of", root.path_of(place.name.as_str())))
        }
        Ok(_) => Err(taken(root, place)),
        Err(_) => Ok(()),
    }
}

fn taken(root: &Root, place: &Place<'_>) -> Error {
    Error::new(Kind::AlreadyExists, "there is already").on(root.path_of(place.name.as_str()))
}

/// A new file in `folder`, and its temporary name if it has one.
fn create(root: &Root, folder: &Directory) -> Result<(File, Option<String>), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if root.nameless_files() {
        match rustix::fs::openat(folder, ".", flags | OFlags::TMPFILE, FILE_MODE) {
            Ok(handle) => return Ok((File::from(handle), None)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {}
            // ext4 says this, of all things, of a folder that was removed.
            Err(Errno::PERM) if is_removed(folder) => return Err(Errno::NOENT),
            Err(e) => return Err(e),
        }
    }
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let (handle, name) = with_temporary_name(|name| rustix::fs::openat(folder, name, flags, FILE_MODE))?;
    Ok((File::from(handle), Some(name)))
}

fn is_removed(folder: &Directory) -> bool {
    folder.metadata().is_ok_and(|found| found.links == 0)
}

/// Calls `make` with random names until one is free.
fn with_temporary_name<T>(mut make: impl FnMut(&str) -> Result<T, Errno>) -> Result<(T, String), Errno> {
    for attempt in 0..ATTEMPTS {
        // Each RandomState has keys of its own, from the system's randomness: names need to be distinct, not secret.
        let name = format!("{TEMPORARY_PREFIX}{:016x}", RandomState::new().hash_one(attempt));
        match make(&name) {
            Err(Errno::EXIST) => {}
            other => return other.map(|made| (made, name)),
        }
    }
    Err(Errno::EXIST)
}

/// Gives a file without a name its first one; fails when it is taken.
fn link_nameless(file: &File, folder: &Directory, target: &str) -> Result<(), Errno> {
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, source, folder, target, AtFlags::SYMLINK_FOLLOW)
}

fn publish_named(folder: &Directory, temporary: &str, target: &str, mode: PutMode) -> Result<(), Errno> {
    if mode == PutMode::Replace {
        return rustix::fs::renameat(folder, temporary, folder, target);
    }
    match rustix::fs::renameat_with(folder, temporary, folder, target, RenameFlags::NOREPLACE) {
        // NFS and older kernels rename only with replacing; they can link.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_then_unlink(folder, temporary, target),
        other => other,
    }
}

fn link_then_unlink(folder: &Directory, temporary: &str, target: &str) -> Result<(), Errno> {
    rustix::fs::linkat(folder, temporary, folder, target, AtFlags::empty())?;
    // The object is there; a second name that cannot be removed is a stray, not a failure.
    rustix::fs::unlinkat(folder, temporary, AtFlags::empty()).ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn linking_is_an_exclusive_publication_too() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("first"), "1").unwrap();
        std::fs::write(temp.path().join("second"), "2").unwrap();
        let folder = Directory::open(temp.path()).unwrap();
        link_then_unlink(&folder, "first", "object").unwrap();
        assert_eq!(link_then_unlink(&folder, "second", "object"), Err(Errno::EXIST));
        assert_eq!(std::fs::read(temp.path().join("object")).unwrap(), b"1");
        assert!(!Path::new(&temp.path().join("first")).exists());
    }
}
