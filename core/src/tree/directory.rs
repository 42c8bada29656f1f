//! A handle of an open directory: everything below it is reached by name from the handle, never by a path that could be
//! swapped between two look-ups, and symbolic links are never followed, but where a name says so (`dereference`).

use super::attributes::{FileKind, Metadata};
use crate::error::{Error, Result};
use crate::time::FileTime;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    handle: OwnedFd,
}

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Directory {
    /// Opens the directory at `path`; the one place where links of the user's own path are followed.
    ///
    /// # Errors
    /// As the system has it; `NotFound` and `Denied` among them.
    pub fn open(path: &Path) -> Result<Directory> {
        let handle = rustix::fs::open(path, OPEN, Mode::empty())
            .map_err(|e| Error::io("cannot open", path.display().to_string(), e))?;
        Ok(Directory { handle })
    }

    /// A second handle of the same directory, with a reading position of its own.
    ///
    /// # Errors
    /// As the system has it.
    pub fn open_again(&self) -> Result<Directory> {
        let handle = rustix::fs::openat(&self.handle, ".", OPEN, Mode::empty())
            .map_err(|e| Error::io("cannot open", ".", e))?;
        Ok(Directory { handle })
    }

    /// The same handle a second time, for another thread to find entries from: both share one reading position, and only
    /// one of them may list the directory.
    ///
    /// # Errors
    /// As the system has it.
    pub fn duplicate(&self) -> Result<Directory> {
        let handle = rustix::io::fcntl_dupfd_cloexec(&self.handle, 0)
            .map_err(|e| Error::io("cannot duplicate the handle of", ".", e))?;
        Ok(Directory { handle })
    }

    /// Opens the sub-directory `name`; a symbolic link is refused, and the access time stays where that is allowed.
    ///
    /// # Errors
    /// As the system has it. The subject is only the last name: callers add the path.
    pub fn open_child(&self, name: &[u8]) -> Result<Directory> {
        let handle = self.open_quietly(name, OPEN | OFlags::NOFOLLOW)?;
        Ok(Directory { handle })
    }

    /// Opens a file for reading: no link is followed, no FIFO blocks, and the access time stays where that is allowed.
    ///
    /// # Errors
    /// As the system has it.
    pub fn open_file(&self, name: &[u8]) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(File::from(self.open_quietly(name, flags)?))
    }

    /// Opens the directory that `name` is, or that it points to as a symbolic link.
    ///
    /// # Errors
    /// As [`Directory::open_child`].
    pub fn open_child_followed(&self, name: &[u8]) -> Result<Directory> {
        let handle = self.open_quietly(name, OPEN)?;
        Ok(Directory { handle })
    }

    /// Opens the file that `name` is, or that it points to as a symbolic link.
    ///
    /// # Errors
    /// As [`Directory::open_file`].
    pub fn open_file_followed(&self, name: &[u8]) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(File::from(self.open_quietly(name, flags)?))
    }

    /// Opens without a mark in the access time, which only the owner may ask for.
    fn open_quietly(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let handle = match rustix::fs::openat(&self.handle, name, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => rustix::fs::openat(&self.handle, name, flags, Mode::empty()),
            other => other,
        };
        handle.map_err(|e| Error::io("cannot open", lossy(name), e))
    }

    /// What the system says of the directory itself.
    ///
    /// # Errors
    /// As the system has it.
    pub fn metadata(&self) -> Result<Metadata> {
        metadata_of(&self.handle).map_err(|e| Error::io("cannot stat", ".", e))
    }

    /// What the system says of the entry `name`; links are not followed.
    ///
    /// # Errors
    /// As the system has it.
    pub fn stat(&self, name: &[u8]) -> Result<Metadata> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let statx = rustix::fs::statx(&self.handle, name, flags, StatxFlags::BASIC_STATS)
            .map_err(|e| Error::io("cannot stat", lossy(name), e))?;
        Ok(from_statx(&statx))
    }

    /// What the system says of the entry `name`, or of what it points to as a symbolic link.
    ///
    /// # Errors
    /// As the system has it; `NotFound` also for a link that leads nowhere.
    pub fn stat_followed(&self, name: &[u8]) -> Result<Metadata> {
        let statx = rustix::fs::statx(&self.handle, name, AtFlags::empty(), StatxFlags::BASIC_STATS)
            .map_err(|e| Error::io("cannot stat", lossy(name), e))?;
        Ok(from_statx(&statx))
    }

    /// Whether the system finds the entry `name` without asking a disk or another machine; also where it cannot tell.
    pub fn has_cached(&self, name: &[u8]) -> bool {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = rustix::fs::openat2(&self.handle, name, flags, Mode::empty(), ResolveFlags::CACHED);
        !matches!(found, Err(Errno::AGAIN))
    }

    /// The target of the symbolic link `name`.
    ///
    /// # Errors
    /// As the system has it.
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>> {
        let target = rustix::fs::readlinkat(&self.handle, name, Vec::new())
            .map_err(|e| Error::io("cannot read the link", lossy(name), e))?;
        Ok(target.into_bytes())
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl From<OwnedFd> for Directory {
    fn from(handle: OwnedFd) -> Self {
        Directory { handle }
    }
}

/// What the system says of an open file.
///
/// # Errors
/// As the system has it.
pub fn metadata_of(handle: impl AsFd) -> std::io::Result<Metadata> {
    let statx = rustix::fs::statx(handle, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(from_statx(&statx))
}

/// Bytes of a name or path, for people.
pub fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Bytes of a path given by the user.
pub fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn from_statx(x: &Statx) -> Metadata {
    let raw_mode = u32::from(x.stx_mode);
    Metadata {
        kind: kind_of_mode(raw_mode),
        mode: raw_mode & 0o7777,
        uid: x.stx_uid,
        gid: x.stx_gid,
        size_bytes: x.stx_size,
        allocated_bytes: x.stx_blocks.saturating_mul(512),
        mtime: FileTime::new(x.stx_mtime.tv_sec, x.stx_mtime.tv_nsec),
        ctime: FileTime::new(x.stx_ctime.tv_sec, x.stx_ctime.tv_nsec),
        atime: FileTime::new(x.stx_atime.tv_sec, x.stx_atime.tv_nsec),
        device: rustix::fs::makedev(x.stx_dev_major, x.stx_dev_minor),
        inode: x.stx_ino,
        links: u64::from(x.stx_nlink),
        rdev: (x.stx_rdev_major, x.stx_rdev_minor),
    }
}

fn kind_of_mode(mode: u32) -> FileKind {
    match rustix::fs::FileType::from_raw_mode(mode) {
        rustix::fs::FileType::Directory => FileKind::Directory,
        rustix::fs::FileType::Symlink => FileKind::Symlink,
        rustix::fs::FileType::Fifo => FileKind::Fifo,
        rustix::fs::FileType::CharacterDevice => FileKind::CharDevice,
        rustix::fs::FileType::BlockDevice => FileKind::BlockDevice,
        rustix::fs::FileType::Socket => FileKind::Socket,
        _ => FileKind::File,
    }
}
