//! The one place that writes into a restored tree. Whatever an archive says, nothing ever leaves the root.
//!
//! Invariant: every directory is reached by `openat(O_NOFOLLOW | O_DIRECTORY)` from the handle above it, starting at the
//! root's, and every change is made by name from such a handle; a symbolic link on the way is an error, never followed. New
//! content is always a new inode. What is replaced stays until the new entry is whole, except where a directory goes.
//!
//! Directories get their attributes last ([`Target::finish`]), deepest first, so that read-only ones do not hinder and their
//! times stay as they were stored.

mod apply;
mod file;
mod files;
mod path;
mod pending;
mod removal;
mod there;
mod walker;

pub use apply::{Lookup, Options, Spare};
pub use file::FileTarget;
pub use files::Files;
pub use removal::Spared;
pub use there::{Standing, There};

use crate::error::{Error, Kind, Result};
use crate::monitor::Monitor;
use crate::spool::Scratch;
use crate::tree::attributes::{Attributes, FileKind, Metadata};
use crate::tree::directory::{Directory, lossy};
use apply::{Place, Settings, State};
use file::NewName;
use path::Base;
use pending::Pending;
use rustix::fs::{AtFlags, FileType, Mode, RenameFlags};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use walker::{Missing, PRIVATE, Walker, open_to_change};

/// A tree that is written. Paths are bytes below its root, `a/b`, and `` for the root itself; missing directories on the way
/// to a new entry are made, and are their owner's alone (0700) unless they are given attributes.
pub struct Target<'m> {
    settings: Arc<Settings<'m>>,
    walker: Walker,
    pending: Pending,
    base: Base,
}

impl<'m> Target<'m> {
    /// Opens an existing directory as the root of what is written.
    ///
    /// The file mode creation mask must not change while the target is in use.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, otherwise as the system has it.
    pub fn open(root: &Path, scratch: &Scratch, options: Options, monitor: &'m dyn Monitor) -> Result<Self> {
        Ok(Target {
            settings: Arc::new(Settings::new(options, monitor)),
            walker: Walker::new(Directory::open(root)?),
            pending: Pending::new(scratch),
            base: Base::default(),
        })
    }

    /// From here on paths are those of a backup, of which the target gets what is in the directory `base`: that is the target
    /// itself. Nothing outside of it can be named.
    ///
    /// # Errors
    /// `Invalid` for a path that is none.
    pub fn set_base(&mut self, base: &[u8]) -> Result<()> {
        self.base = Base::new(base)?;
        Ok(())
    }

    /// From here on nothing of which `spare` says so, by its path in the backup, is removed to make room for an entry of another
    /// type: that entry fails. To be said once, before anything is made; what is said later is not heeded.
    pub fn spare(&self, spare: Spare) {
        self.settings.spare.get_or_init(|| spare);
    }

    /// Makes a directory, or takes the one that is there; anything else that stands there is replaced, links among them.
    ///
    /// Until it is given its attributes it is its owner's alone; one that was there and bars its owner is opened up.
    ///
    /// # Errors
    /// `Invalid` for a path that is none, or when something stands in the way above; `AlreadyExists` when what would have to give
    /// way is, or holds, something that is spared ([`Target::spare`]); otherwise as the system has it.
    pub fn directory(&mut self, path: &[u8]) -> Result<()> {
        let place = self.base.place(path)?;
        if place.is_empty() {
            return Ok(());
        }
        let (parent, name) = self.base.split(path)?;
        let folder = self.walker.open(parent, Missing::Create)?;
        let make = || rustix::fs::mkdirat(&folder.directory, name, PRIVATE);
        let cannot = |e: Errno| Error::io("cannot create the directory", lossy(path), e);
        match make() {
            Err(Errno::EXIST) => {}
            other => return other.map_err(cannot),
        }
        match self.walker.walk(place, Missing::Fail) {
            Ok(there) => self.open_up(&there.directory).map_err(cannot),
            Err(stop) if stop.is_blocked() => {
                if self.settings.spare.get().is_some_and(|spare| spare(path, false)) {
                    return Err(removal::in_the_way(path));
                }
                rustix::fs::unlinkat(&folder.directory, name, AtFlags::empty()).map_err(cannot)?;
                make().map_err(cannot)
            }
            Err(stop) => Err(stop.into_error(place)),
        }
    }

    /// Starts a regular file. Under its final name where that is free (and [`Options::whole_names`] is off), otherwise beside it until
    /// it is finished.
    ///
    /// `expected` is what [`FileTarget::finish`] will most likely be given: the right owner and mode from the start save
    /// system calls, wrong ones do no harm.
    ///
    /// # Errors
    /// As [`Target::directory`].
    pub fn file(&mut self, path: &[u8], expected: &Attributes) -> Result<FileTarget<'m>> {
        let (parent, name) = self.base.split(path)?;
        let folder = self.walker.open(parent, Missing::Create)?;
        FileTarget::create(Arc::clone(&self.settings), folder, path, name, expected)
    }

    /// Makes files in the same tree from another thread, with handles of its own. See [`Files`] for what must be kept to.
    pub fn files(&self) -> Files<'m> {
        Files::new(Arc::clone(&self.settings), self.walker.beside(), self.base.clone())
    }

    /// Makes a symbolic link, in place of whatever stands there. Where it points to is not looked at.
    ///
    /// # Errors
    /// As [`Target::directory`].
    pub fn symlink(&mut self, path: &[u8], points_to: &[u8], attributes: &Attributes) -> Result<()> {
        self.entry(path, FileKind::Symlink, attributes, |directory, name| {
            rustix::fs::symlinkat(points_to, directory, name)
        })
    }

    /// Makes a named pipe, in place of whatever stands there.
    ///
    /// # Errors
    /// As [`Target::directory`].
    pub fn fifo(&mut self, path: &[u8], attributes: &Attributes) -> Result<()> {
        self.entry(path, FileKind::Fifo, attributes, |directory, name| {
            rustix::fs::mknodat(directory, name, FileType::Fifo, mode_at_birth(attributes), 0)
        })
    }

    /// Makes a device, in place of whatever stands there.
    ///
    /// # Errors
    /// As [`Target::directory`]; `Denied` for all but root, and `Invalid` when `kind` is no kind of device.
    pub fn device(
        &mut self,
        path: &[u8],
        kind: FileKind,
        major: u32,
        minor: u32,
        attributes: &Attributes,
    ) -> Result<()> {
        let file_type = match kind {
            FileKind::CharDevice => FileType::CharacterDevice,
            FileKind::BlockDevice => FileType::BlockDevice,
            _ => return Err(Error::invalid("not a kind of device, for", lossy(path))),
        };
        let number = rustix::fs::makedev(major, minor);
        self.entry(path, kind, attributes, |directory, name| {
            rustix::fs::mknodat(directory, name, file_type, mode_at_birth(attributes), number)
        })
    }

    /// Gives `existing`, another path below the root, a further name, in place of whatever stands there.
    ///
    /// # Errors
    /// `NotFound` when there is no `existing`, `Invalid` when it is a directory; otherwise as [`Target::directory`].
    pub fn hard_link(&mut self, path: &[u8], existing: &[u8]) -> Result<()> {
        let (parent, name) = self.base.split(path)?;
        let (existing_parent, existing_name) = self.base.split(existing)?;
        let cannot = || format!("cannot link to {} from", lossy(existing));
        let source = self.walker.open(existing_parent, Missing::Fail)?;
        let inode = source.directory.stat(existing_name).map_err(|e| e.while_doing(cannot(), lossy(path)))?;
        if inode.kind == FileKind::Directory {
            return Err(Error::invalid("a directory cannot have a further name:", lossy(existing)));
        }
        let folder = self.walker.open(parent, Missing::Create)?;
        let link = |name: &[u8]| {
            rustix::fs::linkat(&source.directory, existing_name, &folder.directory, name, AtFlags::empty())
        };
        let (is_same, new) = NewName::make(name, &mut |name| match link(name) {
            Err(Errno::EXIST) if is_inode(&folder.directory, name, &inode) => Ok(true),
            other => other.map(|()| false),
        })
        .map_err(|e| Error::io(cannot(), lossy(path), e))?;
        if is_same { Ok(()) } else { self.publish(&new, &folder.directory, path) }
    }

    /// Keeps the attributes of a directory until [`Target::finish`]; the last word for a path counts. Paths are those that
    /// hold then: a directory that is renamed, removed or replaced meanwhile gets none.
    ///
    /// # Errors
    /// `Invalid` for a path that is none; I/O of the temporary file.
    pub fn directory_attributes(&mut self, path: &[u8], attributes: Attributes) -> Result<()> {
        let place = self.base.place(path)?;
        path::check(place)?;
        self.pending.push(place, attributes)
    }

    /// Removes an entry and all below it, links themselves and never what they point to. Absent is fine. A file system
    /// mounted below stays, and is told to the monitor.
    ///
    /// # Errors
    /// The first failure; the rest is removed nevertheless. `Interrupted`.
    pub fn remove(&mut self, path: &[u8]) -> Result<()> {
        self.remove_sparing(path, &|_, _| false)
    }

    /// As [`Target::remove`]; but what is `spared` stays, with the directories above it.
    ///
    /// # Errors
    /// As [`Target::remove`].
    pub fn remove_sparing(&mut self, path: &[u8], spared: Spared<'_>) -> Result<()> {
        let (parent, name) = self.base.split(path)?;
        let Some(folder) = self.walker.find(parent)? else { return Ok(()) };
        removal::remove(&self.settings, &folder.directory, name, path, spared)
    }

    /// Whether a directory, or something in it, is spared ([`Target::spare`]).
    ///
    /// # Errors
    /// When it cannot be looked into; `Interrupted`.
    pub fn holds_spared(&mut self, path: &[u8]) -> Result<bool> {
        let (parent, name) = self.base.split(path)?;
        let Some(spare) = self.settings.spare.get() else { return Ok(false) };
        let Some(folder) = self.walker.find(parent)? else { return Ok(false) };
        removal::holds(&self.settings, &folder.directory, name, path, spare)
    }

    /// Moves an entry within the root; missing directories above its new place are made.
    ///
    /// # Errors
    /// `NotFound` when there is nothing at `from`, `AlreadyExists` when there is something at `to`: remove that first.
    /// `Invalid` when `to` lies below `from`.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let (from_parent, from_name) = self.base.split(from)?;
        let (to_parent, to_name) = self.base.split(to)?;
        if path::is_within(to, from) && from != to {
            return Err(Error::invalid(format!("cannot move {} into itself, to", lossy(from)), lossy(to)));
        }
        let cannot = || format!("cannot move {} to", lossy(from));
        let source = self.walker.open(from_parent, Missing::Fail)?;
        source.directory.stat(from_name).map_err(|e| e.while_doing(cannot(), lossy(to)))?;
        if from == to {
            return Ok(());
        }
        let folder = self.walker.open(to_parent, Missing::Create)?;
        rename_to_free(&source.directory, from_name, &folder.directory, to_name)
            .map_err(|e| Error::io(cannot(), lossy(to), e))
    }

    /// What stands at a path; links are not followed. `None` when nothing does, or when a file stands above it.
    ///
    /// # Errors
    /// `Invalid` when a link stands above it; otherwise as the system has it.
    pub fn kind(&mut self, path: &[u8]) -> Result<Option<Metadata>> {
        if self.base.place(path)?.is_empty() {
            return self.walker.open(b"", Missing::Fail)?.directory.metadata().map(Some);
        }
        let (parent, name) = self.base.split(path)?;
        let Some(folder) = self.walker.find(parent)? else { return Ok(None) };
        match folder.directory.stat(name) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(e) if e.kind() == Kind::NotFound => Ok(None),
            Err(e) => Err(e.while_doing("cannot stat", lossy(path))),
        }
    }

    /// The names in a directory, sorted; none when there is no directory at this path.
    ///
    /// # Errors
    /// As [`Target::kind`]; also for a link at the path itself.
    pub fn names(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>> {
        let place = self.base.place(path)?;
        path::check(place)?;
        let Some(folder) = self.walker.find(place)? else { return Ok(Vec::new()) };
        let mut names =
            walker::names(&folder.directory).map_err(|e| Error::io("cannot list", lossy(path), e))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Gives the directories their attributes, deepest first. Every [`FileTarget`] must be finished before. To be called
    /// after a failure too, so that what was restored is as it should be; what cannot be set is told to the monitor.
    ///
    /// # Errors
    /// I/O of the temporary file in which attributes were kept.
    pub fn finish(self) -> Result<()> {
        let Target { settings, mut walker, pending, .. } = self;
        pending.drain(|path, attributes| {
            if let Err(e) = give_directory(&settings, &mut walker, path, attributes) {
                settings.problem(path, &e.while_doing("cannot set the attributes of", lossy(path)));
            }
        })
    }

    /// Makes an entry that has no content of its own, complete before it replaces what stands there.
    fn entry(
        &mut self,
        path: &[u8],
        kind: FileKind,
        attributes: &Attributes,
        make: impl Fn(&Directory, &[u8]) -> Result<(), Errno>,
    ) -> Result<()> {
        let (parent, name) = self.base.split(path)?;
        let folder = self.walker.open(parent, Missing::Create)?;
        let directory = &folder.directory;
        let beside = self.settings.options.whole_names;
        let new_name = if beside { NewName::make_beside } else { NewName::make };
        let ((), new) = new_name(name, &mut |name| make(directory, name))
            .map_err(|e| Error::io("cannot create", lossy(path), e))?;
        let born = match folder.birth(|| directory.stat(new.current())) {
            Ok(born) => born,
            Err(e) => return Err(self.give_up(&new, directory, path, e)),
        };
        let mode = self.settings.mode_given(mode_at_birth(attributes).as_raw_mode(), born.inherits);
        let state = State { uid: born.uid, gid: born.gid, mode, inherits: born.inherits };
        self.settings.apply(&Place::Entry(directory, new.current()), kind, state, path, attributes);
        self.publish(&new, directory, path)
    }

    /// Gives a new entry its name, or takes it away again when that fails.
    fn publish(&mut self, new: &NewName, directory: &Directory, path: &[u8]) -> Result<()> {
        new.publish(&self.settings, directory, path).map_err(|e| self.give_up(new, directory, path, e))
    }

    /// Takes an unfinished entry away, because of `cause`, which is handed back.
    fn give_up(&self, new: &NewName, directory: &Directory, path: &[u8], cause: Error) -> Error {
        if let Err(e) = new.discard(directory, path) {
            self.settings.problem(path, &e);
        }
        cause
    }

    /// Lets the owner of a directory write below it, where the mode it had does not.
    fn open_up(&self, directory: &Directory) -> Result<(), Errno> {
        if self.settings.is_root {
            return Ok(());
        }
        let stat = rustix::fs::fstat(directory)?;
        let is_owner = stat.st_uid == rustix::process::geteuid().as_raw();
        if is_owner && stat.st_mode & 0o700 != 0o700 {
            walker::set_mode(directory, Mode::from_raw_mode(stat.st_mode | 0o700))?;
        }
        Ok(())
    }
}

/// The mode a FIFO or device is made with: nothing for others until it has its owner.
fn mode_at_birth(attributes: &Attributes) -> Mode {
    Mode::from_raw_mode(attributes.mode & 0o700)
}

fn is_inode(directory: &Directory, name: &[u8], inode: &Metadata) -> bool {
    directory.stat(name).is_ok_and(|there| (there.device, there.inode) == (inode.device, inode.inode))
}

/// A rename that replaces nothing, also on file systems that do not offer one (`EINVAL`).
fn rename_to_free(source: &Directory, from: &[u8], target: &Directory, to: &[u8]) -> Result<(), Errno> {
    match rustix::fs::renameat_with(source, from, target, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        other => return other,
    }
    match rustix::fs::statat(target, to, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => rustix::fs::renameat(source, from, target, to),
        Err(e) => Err(e),
    }
}

/// Gives one directory its attributes, if it still is one.
fn give_directory(
    settings: &Settings<'_>,
    walker: &mut Walker,
    path: &[u8],
    attributes: &Attributes,
) -> Result<()> {
    let opened;
    let folder;
    let directory = if path.is_empty() {
        folder = walker.open(path, Missing::Fail)?;
        &folder.directory
    } else {
        let (parent, name) = path::split(path)?;
        let Some(parent) = walker.find(parent)? else { return Ok(()) };
        opened = match open_to_change(&parent.directory, name) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(e) => return Err(Error::io("cannot open", lossy(path), e)),
        };
        &opened
    };
    let now = directory.metadata()?;
    let state = State { uid: now.uid, gid: now.gid, mode: Some(now.mode), inherits: false };
    settings.clear_xattrs(directory.as_fd(), path, &attributes.xattrs);
    settings.apply(&Place::Open(directory.as_fd()), FileKind::Directory, state, path, attributes);
    Ok(())
}

#[cfg(test)]
mod tests;
