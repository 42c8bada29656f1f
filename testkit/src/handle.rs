//! An open directory whose entries have short paths however deep it lies.
//!
//! `/proc/self/fd/<handle>/<name>` reaches an entry from the handle, so everything `std::fs` offers works beyond PATH_MAX.

use rustix::fs::{Mode, OFlags};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// An open directory.
#[derive(Debug)]
pub struct Handle {
    descriptor: OwnedFd,
}

impl Handle {
    /// Opens the directory at `path`; a symbolic link is refused.
    ///
    /// # Errors
    /// As the system has it.
    pub fn open(path: &Path) -> io::Result<Handle> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Handle { descriptor: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Opens the directory `name` in this one.
    ///
    /// # Errors
    /// As the system has it.
    pub fn child(&self, name: &[u8]) -> io::Result<Handle> {
        Handle::open(&self.path(name))
    }

    /// Makes the directory `name` in this one and opens it.
    ///
    /// # Errors
    /// As the system has it.
    pub fn make_child(&self, name: &[u8]) -> io::Result<Handle> {
        fs::create_dir(self.path(name))?;
        self.child(name)
    }

    /// A path to the entry `name` that is valid in this process as long as the handle lives.
    pub fn path(&self, name: &[u8]) -> PathBuf {
        self.own_path().join(OsStr::from_bytes(name))
    }

    /// The names in this directory, sorted by bytes.
    ///
    /// # Errors
    /// As the system has it.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let entries = fs::read_dir(self.own_path())?;
        let names: io::Result<Vec<OsString>> = entries.map(|entry| Ok(entry?.file_name())).collect();
        let mut names: Vec<Vec<u8>> = names?.into_iter().map(OsString::into_vec).collect();
        names.sort();
        Ok(names)
    }

    fn own_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()))
    }
}
