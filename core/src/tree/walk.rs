//! Reads a tree: depth first, a directory before what is in it, siblings in the order of their raw names.
//!
//! The visitor gets each directory exactly once, as an open handle with its sorted names, and reads the other entries
//! itself. No file is asked for anything here: one `open`, `fstat` and listing per directory is all that a walk costs.
//!
//! Invariants: a child is opened by name from its parent's handle, never through a symbolic link, and judged by its own
//! handle, so nothing can be swapped in between and nothing leads out of the root; unless links are to be followed, and then no
//! directory is entered within itself. Neither depth nor length of a path is
//! limited by PATH_MAX, the stack or the number of handles (see `ancestors`). What cannot be read is reported, and the
//! rest is walked.

mod ancestors;
#[cfg(test)]
mod tests;

use super::attributes::{FileKind, Metadata};
use super::directory::{Directory, lossy};
use super::filter::Filter;
use super::listing::Listing;
use crate::error::{Error, Kind, Result};
use crate::limits::{DEPTH_MAX, FOLLOWED_DIRECTORIES, PATH_BYTES};
use crate::monitor::{Event, Monitor};
use ancestors::{Ancestor, Ancestors};
use rustix::io::Errno;

/// What a walk leaves out.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Entries that are neither listed nor descended into.
    pub filter: &'a Filter,
    /// Whether directories on another file system than the root's are handed out empty and not descended into.
    pub one_file_system: bool,
    /// Whether symbolic links to directories count as what they point to, on whatever file system that is.
    pub follow: bool,
}

/// What the walk has found of one directory when it is handed out.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The open directory.
    pub directory: &'a Directory,
    /// Its path from the root: raw, `b""` for the root itself, without `./` before it or a slash behind it.
    pub path: &'a [u8],
    /// What the system says of it.
    pub metadata: &'a Metadata,
    /// What is in it and not left out, every kind resolved. An entry of which the file system tells no kind and that cannot
    /// be asked counts as a file: whoever reads it meets the error and reports it.
    pub listing: &'a Listing,
    /// Whether it is on another file system and therefore handed out empty.
    pub mount_point: bool,
    /// Whether what is in it is no part of the tree, for that reason or another, so that nothing follows from its being empty.
    pub closed: bool,
}

/// Receives the directories of a tree. An error it returns ends the walk.
pub trait Visitor {
    /// Takes a directory. Those below it follow.
    ///
    /// # Errors
    /// As the visitor has it.
    fn directory(&mut self, visit: &Visit<'_>, monitor: &dyn Monitor) -> Result<()>;

    /// Learns that the directory at `path`, which is in the listing of the one above it, cannot be read (or was not found
    /// again), so that neither it nor anything below it follows. The monitor has been told. `metadata` is what could still
    /// be learned of it.
    ///
    /// # Errors
    /// As the visitor has it.
    fn unreadable(&mut self, path: &[u8], metadata: Option<&Metadata>, error: &Error) -> Result<()>;
}

/// Walks the tree below `root`. Directories that cannot be read are reported to `monitor` as lost and to `visitor` as
/// unreadable; the walk goes on.
///
/// # Errors
/// What the visitor returns; `Interrupted`; and as the system has it when the root itself cannot be read.
pub fn walk(
    root: Directory,
    options: &Options<'_>,
    monitor: &dyn Monitor,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    monitor.check()?;
    let metadata = root.metadata()?;
    let ancestors = Ancestors::new(options.follow);
    let file_system = metadata.device;
    let mut walk = Walk { options, monitor, visitor, path: Vec::new(), ancestors, followed: 0 };
    let found = walk.look_into(root, metadata, file_system)?;
    walk.visit(found)?;
    while let Some(directory) = walk.ancestors.innermost() {
        if directory.next_child(&mut walk.path) { walk.descend()? } else { walk.ascend()? }
    }
    Ok(())
}

/// A directory that was opened and listed, on its way to the visitor.
struct Found {
    directory: Directory,
    metadata: Metadata,
    listing: Listing,
    mount_point: bool,
    closed: bool,
    /// That of the tree it is in, or begins where a link led to it.
    file_system: u64,
}

struct Walk<'a> {
    options: &'a Options<'a>,
    monitor: &'a dyn Monitor,
    visitor: &'a mut dyn Visitor,
    /// How many directories links have led to.
    followed: u64,
    /// Where the walk is: the directory that is looked at.
    path: Vec<u8>,
    ancestors: Ancestors,
}

impl Walk<'_> {
    /// Goes into the directory at `path`, a child of the innermost one.
    fn descend(&mut self) -> Result<()> {
        self.monitor.check()?;
        let (directory, metadata, file_system) = match self.open() {
            Ok(opened) => opened,
            Err((metadata, error)) => return self.unreadable(metadata.as_ref(), error),
        };
        match self.look_into(directory, metadata.clone(), file_system) {
            Ok(found) => self.visit(found),
            Err(error) => self.unreadable(Some(&metadata), error),
        }
    }

    /// Opens the directory at `path` and asks its handle what it is, and which file system what is in it has to be on; or says what its
    /// parent knows of it, and why it failed.
    fn open(&self) -> Result<(Directory, Metadata, u64), (Option<Metadata>, Error)> {
        let (parent, name) = self.ancestors.parent_of(&self.path);
        let opened = self.within_limits().and_then(|()| match parent.open_child(name) {
            Err(error) if self.options.follow && is_no_directory(&error) => {
                let directory = parent.open_child_followed(name)?;
                let metadata = directory.metadata()?;
                if self.ancestors.hold(&metadata) {
                    return Err(within_itself());
                }
                let file_system = metadata.device;
                Ok((directory, metadata, file_system))
            }
            opened => {
                let directory = opened?;
                let metadata = directory.metadata()?;
                let file_system = self.ancestors.file_system().unwrap_or(metadata.device);
                Ok((directory, metadata, file_system))
            }
        });
        opened.map_err(|error| {
            let known = parent.stat(name).ok().filter(|metadata| metadata.kind == FileKind::Directory);
            (known, if is_no_directory(&error) { replaced(error) } else { error })
        })
    }

    fn within_limits(&self) -> Result<()> {
        if self.ancestors.depth() > DEPTH_MAX || self.path.len() > PATH_BYTES {
            return Err(Error::new(Kind::Limit, "too deep in the tree:"));
        }
        Ok(())
    }

    /// Lists the directory at `path`, unless it is on a file system that is left out.
    fn look_into(&mut self, directory: Directory, metadata: Metadata, file_system: u64) -> Result<Found> {
        let mount_point = self.options.one_file_system && metadata.device != file_system;
        let listing = Listing::empty();
        if mount_point {
            return Ok(Found { directory, metadata, listing, mount_point, closed: true, file_system });
        }
        if self.options.filter.is_repository(&metadata) {
            let error = Error::new(Kind::Unsupported, "the repository itself, left out");
            let path = lossy(&self.path);
            self.monitor.event(Event::Problem { path: &path, error: &error, lost: false });
            return Ok(Found { directory, metadata, listing, mount_point, closed: true, file_system });
        }
        let mut listing = Listing::read(&directory)?;
        listing.resolve(|name| directory.stat(name).map_or(FileKind::File, |metadata| metadata.kind));
        let mut refused = Vec::new();
        if self.options.follow {
            listing.follow(|name| self.follow(&directory, &metadata, name, &mut refused));
        }
        self.options.filter.apply(&directory, &self.path, &mut listing);
        for (name, error, lost) in refused.iter().filter(|(name, ..)| listing.find(name).is_some()) {
            let path = if self.path.is_empty() {
                lossy(name)
            } else {
                lossy(&[&self.path, &b"/"[..], name].concat())
            };
            self.monitor.event(Event::Problem { path: &path, error, lost: *lost });
        }
        Ok(Found { directory, metadata, listing, mount_point, closed: false, file_system })
    }

    /// What a link in the directory that is looked into counts as. One that leads to a directory that the walk is in stays a link: what
    /// it points to is in the tree already.
    fn follow(
        &mut self,
        directory: &Directory,
        metadata: &Metadata,
        name: &[u8],
        refused: &mut Vec<(Vec<u8>, Error, bool)>,
    ) -> Option<FileKind> {
        let target =
            directory.stat_followed(name).ok().filter(|target| target.kind == FileKind::Directory)?;
        let is_here = (target.device, target.inode) == (metadata.device, metadata.inode);
        if is_here || self.ancestors.hold(&target) {
            refused.push((name.to_vec(), within_itself(), false));
            return None;
        }
        if self.followed >= FOLLOWED_DIRECTORIES {
            let what = format!("{FOLLOWED_DIRECTORIES} links to directories; stored is the link itself");
            refused.push((name.to_vec(), Error::new(Kind::Limit, "there are more than").on(what), true));
            return None;
        }
        self.followed += 1;
        Some(FileKind::Directory)
    }

    /// Hands out the directory at `path`, and makes it the innermost one.
    fn visit(&mut self, found: Found) -> Result<()> {
        let Found { directory, metadata, listing, mount_point, closed, file_system } = found;
        let visit = Visit {
            directory: &directory,
            path: &self.path,
            metadata: &metadata,
            listing: &listing,
            mount_point,
            closed,
        };
        self.visitor.directory(&visit, self.monitor)?;
        let children = listing.directories();
        let ancestor = Ancestor::new(directory, &metadata, self.path.len(), children, file_system);
        self.ancestors.push(ancestor);
        Ok(())
    }

    /// Leaves the innermost directory, of which nothing is left. Directories above it that are not found again are left as
    /// well, with what was still to be read of them reported.
    fn ascend(&mut self) -> Result<()> {
        let lost = self.ancestors.pop(&self.path);
        for mut directory in lost {
            while directory.next_child(&mut self.path) {
                self.unreadable(None, not_found_again())?;
            }
        }
        Ok(())
    }

    fn unreadable(&mut self, metadata: Option<&Metadata>, error: Error) -> Result<()> {
        let path = lossy(&self.path);
        let error = error.on(path.as_str());
        // One that vanished since it was listed lost nothing.
        let lost = error.kind() != Kind::NotFound;
        self.monitor.event(Event::Problem { path: &path, error: &error, lost });
        self.visitor.unreadable(&self.path, metadata, &error)
    }
}

/// Whether something else than a directory was in a directory's place.
fn is_no_directory(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    let code = source.and_then(std::io::Error::raw_os_error);
    [Errno::NOTDIR, Errno::LOOP].iter().any(|errno| code == Some(errno.raw_os_error()))
}

fn within_itself() -> Error {
    Error::new(Kind::Unsupported, "a link to a directory that it is in; stored is the link itself")
}

fn replaced(cause: Error) -> Error {
    Error::new(Kind::Changed, "no longer a directory:").because(cause)
}

fn not_found_again() -> Error {
    Error::new(Kind::Changed, "cannot go back to read").because("a directory above it was moved or removed")
}
