//! Removes a tree by handles: links are removed and not followed, and other file systems are left alone.
//!
//! Invariant: a directory is entered only by `O_NOFOLLOW` from its parent, and left by `..` only into the very inode it was
//! entered from. Depth costs neither stack nor more than [`OPEN_DIRECTORIES`] handles.

use super::apply::Settings;
use super::walker::{PRIVATE, Walker, names, open_to_change};
use crate::error::{Error, Kind, Result};
use crate::limits::OPEN_DIRECTORIES;
use crate::tree::attributes::FileKind;
use crate::tree::directory::{Directory, lossy};
use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

/// Removes the entry `name` and all below it; absent is fine. What cannot go is left, and the rest goes nevertheless.
///
/// # Errors
/// The first failure, by path; `Interrupted`. A mounted file system is only told to the monitor.
pub(super) fn remove(
    settings: &Settings<'_>,
    parent: &Directory,
    name: &[u8],
    path: &[u8],
    spared: Spared<'_>,
) -> Result<()> {
    let cannot = |e: Errno| Error::io("cannot remove", lossy(path), e);
    if spared(path, false) {
        return Ok(());
    }
    match unlink(parent, name).map_err(cannot)? {
        Unlinked::Gone | Unlinked::Spared => return Ok(()),
        Unlinked::IsDirectory if spared(path, true) => return Ok(()),
        Unlinked::IsDirectory => {}
    }
    let base = parent.metadata()?;
    let mut removal = Removal {
        settings,
        spared,
        base: parent,
        device: base.device,
        levels: Vec::new(),
        path: path.to_vec(),
        failure: None,
        kept: false,
    };
    removal.enter(name);
    while !removal.levels.is_empty() {
        settings.monitor.check()?;
        removal.advance();
    }
    removal.failure.map_or(Ok(()), Err)
}

/// Removes a directory in whose place something else is to be; but nothing of it when something in it is spared.
///
/// # Errors
/// `AlreadyExists` for one with something in it that is spared; when it cannot be told; as [`remove`].
pub(super) fn make_room(settings: &Settings<'_>, parent: &Directory, name: &[u8], path: &[u8]) -> Result<()> {
    let Some(spare) = settings.spare.get() else {
        return remove(settings, parent, name, path, &|_, _| false);
    };
    if holds(settings, parent, name, path, spare)? {
        return Err(in_the_way(path));
    }
    // What came since then is spared all the same.
    remove(settings, parent, name, path, spare)
}

/// What is said of an entry in whose place another cannot be made, for the sake of what is spared.
pub(super) fn in_the_way(path: &[u8]) -> Error {
    let error = Error::new(Kind::AlreadyExists, "what stands in the way is, or holds, what is excluded:");
    error.on(lossy(path)).hint("move it away, or restore without that --exclude")
}

/// Whether a directory, or something in it, is spared. Nothing is changed to find out.
///
/// # Errors
/// When a directory cannot be looked into; `Interrupted`.
pub(super) fn holds(
    settings: &Settings<'_>,
    parent: &Directory,
    name: &[u8],
    path: &[u8],
    spared: Spared<'_>,
) -> Result<bool> {
    if spared(path, true) {
        return Ok(true);
    }
    let mut walker = Walker::new(parent.duplicate()?);
    // Below `parent`; `path` is where that is.
    let above = path.len().saturating_sub(name.len());
    let mut todo = vec![name.to_vec()];
    while let Some(below) = todo.pop() {
        settings.monitor.check()?;
        let Some(folder) = walker.find(&below)? else { continue };
        let directory = &folder.directory;
        let cannot = |e: Errno| Error::io("cannot list", lossy(path), e);
        for name in names(directory).map_err(cannot)? {
            let entry = [&below, &b"/"[..], &name].concat();
            let place = [&path[..above], &entry].concat();
            if spared(&place, false) {
                return Ok(true);
            }
            match directory.stat(&name) {
                Ok(found) if found.kind == FileKind::Directory => {
                    if spared(&place, true) {
                        return Ok(true);
                    }
                    todo.push(entry);
                }
                Ok(_) => {}
                Err(e) if e.kind() == Kind::NotFound => {}
                Err(e) => return Err(e.while_doing("cannot stat", lossy(&place))),
            }
        }
    }
    Ok(false)
}

/// Says of a path, and whether it is a directory, that it is to stay, with all below it. A name that need not be a directory to
/// stay stays as one too.
pub type Spared<'a> = &'a dyn Fn(&[u8], bool) -> bool;

enum Unlinked {
    Gone,
    IsDirectory,
    Spared,
}

fn unlink(parent: &Directory, name: &[u8]) -> Result<Unlinked, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(Unlinked::Gone),
        Err(Errno::ISDIR) => Ok(Unlinked::IsDirectory),
        Err(e) => Err(e),
    }
}

/// What tells a directory from every other.
type Identity = (u64, u64);

struct Level {
    /// Open in the deepest [`OPEN_DIRECTORIES`] levels.
    directory: Option<Directory>,
    identity: Identity,
    name: Vec<u8>,
    /// Names that are still to go.
    names: Vec<Vec<u8>>,
}

struct Removal<'a> {
    settings: &'a Settings<'a>,
    spared: Spared<'a>,
    /// Where the top of the removed tree stands.
    base: &'a Directory,
    device: u64,
    levels: Vec<Level>,
    /// The path of the deepest level, for messages.
    path: Vec<u8>,
    failure: Option<Error>,
    /// Whether something was left, so that directories above it stay without a further word.
    kept: bool,
}

impl Removal<'_> {
    /// Removes one name of the deepest level, or that level when it has none left.
    fn advance(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        let Some(name) = level.names.pop() else { return self.leave() };
        let Some(directory) = &level.directory else { return };
        self.path.push(b'/');
        self.path.extend_from_slice(&name);
        let unlinked =
            if (self.spared)(&self.path, false) { Ok(Unlinked::Spared) } else { unlink(directory, &name) };
        match unlinked {
            Ok(Unlinked::IsDirectory) if !(self.spared)(&self.path, true) => return self.enter(&name),
            Ok(Unlinked::Gone) => {}
            Ok(Unlinked::IsDirectory | Unlinked::Spared) => self.kept = true,
            Err(e) => self.fail(Error::io("cannot remove", lossy(&self.path), e)),
        }
        self.pop_name(&name);
    }

    /// Goes down into the directory `name`, whose path is `self.path` already.
    fn enter(&mut self, name: &[u8]) {
        match self.open(name) {
            Ok(Some(level)) => {
                self.levels.push(level);
                let closed = self.levels.len().checked_sub(OPEN_DIRECTORIES + 1);
                if let Some(level) = closed.and_then(|index| self.levels.get_mut(index)) {
                    level.directory = None;
                }
            }
            Ok(None) => {
                let error =
                    Error::new(Kind::Denied, "not removed, since another file system is mounted there:");
                self.settings.problem(&self.path, &error.on(lossy(&self.path)));
                self.kept = true;
                self.pop_name(name);
            }
            Err(e) => {
                self.fail(Error::io("cannot remove", lossy(&self.path), e));
                self.pop_name(name);
            }
        }
    }

    /// The directory `name`, ready to be emptied; `None` when it belongs to another file system.
    fn open(&self, name: &[u8]) -> Result<Option<Level>, Errno> {
        let parent = self.levels.last().and_then(|level| level.directory.as_ref()).unwrap_or(self.base);
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let found = rustix::fs::statx(parent, name, flags, StatxFlags::BASIC_STATS)?;
        let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
        if device != self.device || found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(None);
        }
        let directory = open_to_change(parent, name)?;
        let identity = identity_of(&directory)?;
        // A directory swapped in since then is not the one that was looked at.
        if identity != (device, found.stx_ino) {
            return Err(Errno::STALE);
        }
        if !self.settings.is_root && found.stx_mode & 0o700 != 0o700 {
            rustix::fs::fchmod(&directory, PRIVATE)?;
        }
        let names = names(&directory)?;
        Ok(Some(Level { directory: Some(directory), identity, name: name.to_vec(), names }))
    }

    /// Goes up, and removes the directory that was left, now empty.
    fn leave(&mut self) {
        let Some(left) = self.levels.pop() else { return };
        let reached = self.reopen_parent(&left);
        let parent = self.levels.last().and_then(|level| level.directory.as_ref()).unwrap_or(self.base);
        let removed =
            reached.and_then(|()| rustix::fs::unlinkat(parent, left.name.as_slice(), AtFlags::REMOVEDIR));
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) if self.kept => {}
            Err(e) => self.fail(Error::io("cannot remove", lossy(&self.path), e)),
        }
        self.pop_name(&left.name);
        // A parent that was moved away cannot be reached any more, nor what is left in it.
        if self.levels.last().is_some_and(|level| level.directory.is_none()) {
            self.levels.clear();
        }
    }

    /// Opens the level above `left` again, if its handle was closed on the way down.
    fn reopen_parent(&mut self, left: &Level) -> Result<(), Errno> {
        let (Some(parent), Some(below)) = (self.levels.last_mut(), &left.directory) else { return Ok(()) };
        if parent.directory.is_some() {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = Directory::from(rustix::fs::openat(below, "..", flags, Mode::empty())?);
        if identity_of(&directory)? != parent.identity {
            return Err(Errno::STALE);
        }
        parent.directory = Some(directory);
        Ok(())
    }

    fn fail(&mut self, error: Error) {
        self.kept = true;
        self.failure.get_or_insert(error);
    }

    fn pop_name(&mut self, name: &[u8]) {
        self.path.truncate(self.path.len().saturating_sub(name.len() + 1));
    }
}

fn identity_of(directory: &Directory) -> Result<Identity, Errno> {
    let found = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok((rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
}
