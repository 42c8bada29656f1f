//! A file while it is written, and the ways a new name comes into being.
//!
//! Invariant: what is written is always a new inode, so another name of an old one never changes; and a file that is not
//! finished leaves nothing behind, neither a temporary name nor half a file.

use super::apply::{Place, Settings, State};
use super::removal;
use super::walker::Folder;
use crate::error::{Error, Kind, Result};
use crate::tree::attributes::{Attributes, FileKind};
use crate::tree::directory::{Directory, lossy, metadata_of};
use crate::tree::sparse;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Temporary names that are tried before something must be wrong.
const ATTEMPTS: u32 = 10_000;

/// A regular file being written. It does not borrow its [`super::Target`] and may be finished on another thread.
pub struct FileTarget<'m> {
    settings: Arc<Settings<'m>>,
    folder: Arc<Folder>,
    path: Vec<u8>,
    name: NewName,
    file: File,
    state: State,
    /// Bytes so far, holes among them.
    length_bytes: u64,
    /// Whether the last thing was a hole, so that neither position nor length of the file are where they should be.
    behind: bool,
    finished: bool,
}

impl<'m> FileTarget<'m> {
    /// Makes the file `name` in `folder`; its owner and mode are `expected` to become those, which saves calls at the end.
    pub(super) fn create(
        settings: Arc<Settings<'m>>,
        folder: Arc<Folder>,
        path: &[u8],
        name: &[u8],
        expected: &Attributes,
    ) -> Result<Self> {
        let cannot = |e: Errno| Error::io("cannot create", lossy(path), e);
        // Group and others see nothing of a file that has yet to be given to its owner.
        let stays = folder
            .known_birth()
            .is_some_and(|born| !born.inherits && settings.keeps_owner(born.uid, born.gid, expected));
        let asked = expected.mode & if stays { 0o777 } else { 0o700 };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = if settings.options.whole_names { NewName::make_beside } else { NewName::make };
        let (handle, name) = make(name, &mut |name| {
            rustix::fs::openat(&folder.directory, name, flags, Mode::from_raw_mode(asked))
        })
        .map_err(cannot)?;
        let file = File::from(handle);
        let mut new = FileTarget {
            state: State { uid: 0, gid: 0, mode: None, inherits: true },
            settings,
            folder,
            path: path.to_vec(),
            name,
            file,
            length_bytes: 0,
            behind: false,
            finished: false,
        };
        let stat = || metadata_of(&new.file).map_err(|e| Error::io("cannot stat", lossy(path), e));
        let born = new.folder.birth(stat)?;
        let mode = new.settings.mode_given(asked, born.inherits);
        new.state = State { uid: born.uid, gid: born.gid, mode, inherits: born.inherits };
        Ok(new)
    }

    /// Appends content.
    ///
    /// # Errors
    /// `NoSpace`, `Limit` for a file larger than any can be, otherwise as the system has it; the subject is the path.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let start = self.length_bytes;
        self.grow(bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if self.settings.options.sparse {
            // Written by offset; the length is set in the end, should it end in a hole.
            self.behind = true;
            return self.write_data_at(start, bytes);
        }
        if std::mem::take(&mut self.behind) {
            self.file.seek(SeekFrom::Start(start)).map_err(|e| self.cannot_write(e))?;
        }
        self.file.write_all(bytes).map_err(|e| self.cannot_write(e))
    }

    /// Appends zeros that take no room on disk.
    ///
    /// # Errors
    /// `Limit` for a file larger than any can be.
    pub fn hole(&mut self, length_bytes: u64) -> Result<()> {
        self.grow(length_bytes)?;
        self.behind |= length_bytes > 0;
        Ok(())
    }

    /// Writes content at its place, from any thread and in any order; [`FileTarget::set_length`] says how long the file is in
    /// the end. What nobody writes is a hole.
    ///
    /// # Errors
    /// As [`FileTarget::write`].
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| i64::try_from(*end).is_ok());
        if end.is_none() {
            return Err(self.too_long());
        }
        if self.settings.options.sparse {
            return self.write_data_at(offset, bytes);
        }
        self.file.write_all_at(bytes, offset).map_err(|e| self.cannot_write(e))
    }

    /// Writes what is no long run of zeros, into a file that has nothing there yet.
    fn write_data_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        sparse::data(offset, bytes)
            .try_for_each(|(at, piece)| self.file.write_all_at(piece, at).map_err(|e| self.cannot_write(e)))
    }

    /// What the file is known by: device and inode.
    ///
    /// # Errors
    /// As the system has it.
    pub fn inode(&self) -> Result<(u64, u64)> {
        let found = metadata_of(&self.file).map_err(|e| Error::io("cannot stat", lossy(&self.path), e))?;
        Ok((found.device, found.inode))
    }

    /// Says how long the file is, whatever was written so far.
    ///
    /// # Errors
    /// `Limit` for a file larger than any can be.
    pub fn set_length(&mut self, length_bytes: u64) -> Result<()> {
        self.length_bytes = 0;
        self.behind = true;
        self.grow(length_bytes)
    }

    /// Gives the file its attributes and, where another entry stood in its place, its name.
    ///
    /// # Errors
    /// When the file cannot get its length or name. Attributes that cannot be set are told to the monitor.
    pub fn finish(mut self, attributes: &Attributes) -> Result<()> {
        if self.behind {
            self.file.set_len(self.length_bytes).map_err(|e| self.cannot_write(e))?;
        }
        let place = Place::Open(self.file.as_fd());
        self.settings.apply(&place, FileKind::File, self.state, &self.path, attributes);
        self.name.publish(&self.settings, &self.folder.directory, &self.path)?;
        self.finished = true;
        Ok(())
    }

    fn grow(&mut self, more: u64) -> Result<()> {
        // Lengths of files are signed in the kernel.
        let length = self.length_bytes.checked_add(more).filter(|length| i64::try_from(*length).is_ok());
        self.length_bytes = length.ok_or_else(|| self.too_long())?;
        Ok(())
    }

    fn too_long(&self) -> Error {
        Error::new(Kind::Limit, "no file can be as long as").on(lossy(&self.path))
    }

    fn cannot_write(&self, source: std::io::Error) -> Error {
        Error::io("cannot write", lossy(&self.path), source)
    }

    /// Removes the name, if it still is this file's.
    fn discard(&self) -> Result<()> {
        let directory = &self.folder.directory;
        let ours = metadata_of(&self.file).map_err(|e| Error::io("cannot stat", lossy(&self.path), e))?;
        let there = directory.stat(self.name.current())?;
        if (ours.device, ours.inode) == (there.device, there.inode) {
            self.name.discard(directory, &self.path)?;
        }
        Ok(())
    }
}

impl Drop for FileTarget<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        match self.discard() {
            Err(e) if e.kind() != Kind::NotFound => self.settings.problem(&self.path, &e),
            Ok(()) | Err(_) => {}
        }
    }
}

/// The name of a new entry: the wanted one where it was free and may be taken at once, a temporary one beside it otherwise.
pub(super) struct NewName {
    wanted: Vec<u8>,
    temporary: Option<Vec<u8>>,
}

impl NewName {
    /// Makes an entry with `make`, which fails with `EEXIST` for a name that is taken.
    pub fn make<T>(
        wanted: &[u8],
        make: &mut dyn FnMut(&[u8]) -> Result<T, Errno>,
    ) -> Result<(T, NewName), Errno> {
        match make(wanted) {
            Err(Errno::EXIST) => {}
            other => return other.map(|made| (made, NewName { wanted: wanted.to_vec(), temporary: None })),
        }
        NewName::make_beside(wanted, make)
    }

    /// As [`NewName::make`], under a temporary name in any case.
    pub fn make_beside<T>(
        wanted: &[u8],
        make: &mut dyn FnMut(&[u8]) -> Result<T, Errno>,
    ) -> Result<(T, NewName), Errno> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        for _ in 0..ATTEMPTS {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name =
                format!(".icecore-{}-{number}.tmp", rustix::process::getpid().as_raw_pid()).into_bytes();
            match make(&name) {
                Err(Errno::EXIST) => {}
                other => {
                    return other
                        .map(|made| (made, NewName { wanted: wanted.to_vec(), temporary: Some(name) }));
                }
            }
        }
        Err(Errno::EXIST)
    }

    /// The name the entry has now.
    pub fn current(&self) -> &[u8] {
        self.temporary.as_deref().unwrap_or(&self.wanted)
    }

    /// Gives the entry its wanted name, in place of whatever stands there.
    ///
    /// # Errors
    /// `AlreadyExists` when that is a directory with something in it that is spared, of which nothing is removed then; otherwise
    /// as the system has it. The entry keeps the name it has.
    pub fn publish(&self, settings: &Settings<'_>, directory: &Directory, path: &[u8]) -> Result<()> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let rename =
            || rustix::fs::renameat(directory, temporary.as_slice(), directory, self.wanted.as_slice());
        let renamed = match rename() {
            Err(Errno::ISDIR) => {
                removal::make_room(settings, directory, &self.wanted, path)?;
                rename()
            }
            other => other,
        };
        renamed.map_err(|e| Error::io("cannot replace", lossy(path), e))
    }

    /// Takes the entry away again.
    ///
    /// # Errors
    /// As the system has it.
    pub fn discard(&self, directory: &Directory, path: &[u8]) -> Result<()> {
        rustix::fs::unlinkat(directory, self.current(), AtFlags::empty())
            .map_err(|e| Error::io("cannot remove the unfinished", lossy(path), e))
    }
}
