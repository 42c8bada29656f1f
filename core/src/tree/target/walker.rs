//! Finds the directory of a path by handles alone, and keeps the handles of the path it found last.
//!
//! Invariant: every handle was opened from the one above it with `O_NOFOLLOW | O_DIRECTORY`, the first one being the root,
//! so no link is ever followed. At most [`OPEN_DIRECTORIES`] are open: the shallowest are closed first, which leaves the
//! open ones a contiguous tail of the path; those closed are found again from the root. Walking to a directory forgets what
//! was known below it, so whoever changes an entry by way of its directory never meets a stale handle of it.

use super::path::components;
use crate::error::{Error, Result};
use crate::limits::OPEN_DIRECTORIES;
use crate::tree::acl;
use crate::tree::attributes::Metadata;
use crate::tree::directory::{Directory, lossy};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, OnceLock};

/// The mode of a directory until its own is set: nobody else sees what is not finished.
pub(super) const PRIVATE: Mode = Mode::RWXU;

/// What the kernel gives to whatever is made in a directory, learnt from the first entry made there: set-group-id
/// directories, mount options and access control lists all have a say in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Birth {
    pub uid: u32,
    pub gid: u32,
    /// Whether the directory has a default access control list (or may have one), which new entries inherit.
    pub inherits: bool,
}

/// An open directory, and what is known of entries made there.
#[derive(Debug)]
pub(super) struct Folder {
    pub directory: Directory,
    birth: OnceLock<Birth>,
}

impl Folder {
    pub fn new(directory: Directory) -> Self {
        Folder { directory, birth: OnceLock::new() }
    }

    /// What is known so far.
    pub fn known_birth(&self) -> Option<Birth> {
        self.birth.get().copied()
    }

    /// What entries get that are made here; `new` describes one that was just made.
    ///
    /// # Errors
    /// Those of `new`.
    pub fn birth(&self, new: impl FnOnce() -> Result<Metadata>) -> Result<Birth> {
        if let Some(birth) = self.birth.get() {
            return Ok(*birth);
        }
        let metadata = new()?;
        let mut none: [u8; 1] = [0];
        let inherits = match rustix::fs::fgetxattr(&self.directory, acl::DEFAULT, &mut none) {
            Err(Errno::NODATA | Errno::NOTSUP) => false,
            // There is one, or nobody can tell.
            Ok(_) | Err(_) => true,
        };
        Ok(*self.birth.get_or_init(|| Birth { uid: metadata.uid, gid: metadata.gid, inherits }))
    }
}

/// Whether a walk makes the directories that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Fail,
}

/// Why a walk could not go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    pub errno: Errno,
    /// Whether a symbolic link stands there.
    pub symlink: bool,
    /// Where: the length of the path up to and with the component.
    end: usize,
}

impl Stop {
    /// Whether something that is not a directory stands in the way.
    pub fn is_blocked(self) -> bool {
        matches!(self.errno, Errno::NOTDIR | Errno::LOOP)
    }

    pub fn into_error(self, path: &[u8]) -> Error {
        let place = lossy(path.get(..self.end).unwrap_or(path));
        match (self.is_blocked(), self.symlink) {
            (true, true) => Error::invalid("a symbolic link stands in the way at", place),
            (true, false) => Error::invalid("something that is no directory stands in the way at", place),
            (false, _) => Error::io("cannot open", place, self.errno),
        }
    }
}

/// Walks paths below one root.
#[derive(Debug)]
pub(super) struct Walker {
    root: Arc<Folder>,
    /// The path walked last, one step for each of its components.
    path: Vec<u8>,
    steps: Vec<Step>,
    /// The first step whose handle is open; all after it are open too.
    first_open: usize,
}

#[derive(Debug)]
struct Step {
    /// The length of the path up to and with this component.
    end: usize,
    folder: Option<Arc<Folder>>,
}

impl Walker {
    pub fn new(root: Directory) -> Self {
        Walker { root: Arc::new(Folder::new(root)), path: Vec::new(), steps: Vec::new(), first_open: 0 }
    }

    /// Another walker below the same root. It knows nothing of what this one finds or changes from here on.
    pub fn beside(&self) -> Self {
        Walker { root: Arc::clone(&self.root), path: Vec::new(), steps: Vec::new(), first_open: 0 }
    }

    /// The directory at a checked path.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when a link or anything else that is no directory stands in the way; otherwise as the system has it.
    pub fn open(&mut self, path: &[u8], missing: Missing) -> Result<Arc<Folder>> {
        self.walk(path, missing).map_err(|stop| stop.into_error(path))
    }

    /// The directory at a checked path; `None` when there is none, or a file stands there or above it.
    ///
    /// # Errors
    /// As [`Walker::open`], for links among other things.
    pub fn find(&mut self, path: &[u8]) -> Result<Option<Arc<Folder>>> {
        match self.walk(path, Missing::Fail) {
            Ok(folder) => Ok(Some(folder)),
            Err(stop) if stop.errno == Errno::NOENT || (stop.is_blocked() && !stop.symlink) => Ok(None),
            Err(stop) => Err(stop.into_error(path)),
        }
    }

    /// As [`Walker::open`], with the raw reason.
    pub fn walk(&mut self, path: &[u8], missing: Missing) -> Result<Arc<Folder>, Stop> {
        if path != self.path {
            let shared = self.shared_steps(path);
            self.truncate(shared);
        }
        self.reopen()?;
        // The steps there are spell the start of `path`; what is left begins behind the slash.
        let walked = self.path.len();
        for name in components(&path[walked..]) {
            let parent = self.deepest();
            let start = if self.path.is_empty() { 0 } else { self.path.len() + 1 };
            let folder = step(&parent, name, missing, start + name.len())?;
            self.push(name, folder);
        }
        Ok(self.deepest())
    }

    fn deepest(&self) -> Arc<Folder> {
        let folder = self.steps.last().and_then(|step| step.folder.as_ref());
        Arc::clone(folder.unwrap_or(&self.root))
    }

    fn shared_steps(&self, path: &[u8]) -> usize {
        let common = path.iter().zip(&self.path).take_while(|(a, b)| a == b).count();
        let whole_name = |end: usize| path.get(end).is_none_or(|&byte| byte == b'/');
        self.steps.iter().take_while(|step| step.end <= common && whole_name(step.end)).count()
    }

    fn truncate(&mut self, steps: usize) {
        self.steps.truncate(steps);
        self.path.truncate(self.steps.last().map_or(0, |step| step.end));
        self.first_open = self.first_open.min(steps);
    }

    /// Opens again, from the root, the handles of a path that lost all of them.
    fn reopen(&mut self) -> Result<(), Stop> {
        if self.first_open < self.steps.len() || self.steps.is_empty() {
            return Ok(());
        }
        let path = std::mem::take(&mut self.path);
        self.truncate(0);
        for name in components(&path) {
            let parent = self.deepest();
            let end = self.path.len() + usize::from(!self.path.is_empty()) + name.len();
            let folder = step(&parent, name, Missing::Fail, end)?;
            self.push(name, folder);
        }
        Ok(())
    }

    fn push(&mut self, name: &[u8], folder: Folder) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        self.steps.push(Step { end: self.path.len(), folder: Some(Arc::new(folder)) });
        if self.steps.len() - self.first_open > OPEN_DIRECTORIES {
            self.steps[self.first_open].folder = None;
            self.first_open += 1;
        }
    }
}

/// One step down.
fn step(parent: &Folder, name: &[u8], missing: Missing, end: usize) -> Result<Folder, Stop> {
    let directory = &parent.directory;
    let opened = match open_to_pass(directory, name) {
        Err(Errno::NOENT) if missing == Missing::Create => {
            make_directory(directory, name).and_then(|()| open_to_pass(directory, name))
        }
        other => other,
    };
    opened.map(Folder::new).map_err(|errno| Stop { errno, symlink: is_symlink(directory, name), end })
}

fn make_directory(parent: &Directory, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::mkdirat(parent, name, PRIVATE) {
        // Somebody else made it meanwhile; what it is shows when it is opened.
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn is_symlink(parent: &Directory, name: &[u8]) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A handle that serves to reach what is below; a directory that may not be read can still be passed through.
fn open_to_pass(parent: &Directory, name: &[u8]) -> Result<Directory, Errno> {
    match rustix::fs::openat(parent, name, OPEN, Mode::empty()) {
        Err(Errno::ACCESS) => rustix::fs::openat(parent, name, OPEN | OFlags::PATH, Mode::empty()),
        other => other,
    }
    .map(Directory::from)
}

/// A handle that serves to list the directory and to set its attributes. One that its owner may not read is opened up: call
/// this only where its mode is set afterwards, or where it is removed.
pub(super) fn open_to_change(parent: &Directory, name: &[u8]) -> Result<Directory, Errno> {
    match rustix::fs::openat(parent, name, OPEN, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let passage = rustix::fs::openat(parent, name, OPEN | OFlags::PATH, Mode::empty())?;
            set_mode(&passage, PRIVATE)?;
            rustix::fs::openat(&passage, ".", OPEN, Mode::empty())
        }
        other => other,
    }
    .map(Directory::from)
}

/// Sets the mode of what a handle of any sort refers to, `O_PATH` ones among them, which fchmod(2) refuses.
pub(super) fn set_mode(handle: impl AsFd, mode: Mode) -> Result<(), Errno> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd()), mode)
}

/// The names in a directory, in no order.
pub(super) fn names(directory: &Directory) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}
