//! Where a backup begins: its trees, each below its name, single files, or a stream.
//!
//! Invariant: of several paths, one that cannot be read is told, and stands in the tree as known by its name; the others are backed
//! up. A path that stands alone, or the last that could be read, is the backup: without it there is none.

use super::large::{Outcome, StreamData};
use super::look::{Looked, look};
use super::parent::Parent;
use super::row::{Row, Source, entry_of};
use super::small::problem;
use super::walk::{Feed, Here, Tree};
use crate::engine::Root;
use crate::engine::dedup::tree::Entry;
use crate::error::{Error, Kind, Result};
use crate::monitor::Event;
use crate::tree::attributes::{FileKind, Metadata};
use crate::tree::directory::{Directory, path_bytes};
use crate::tree::filter::Filter;
use crate::tree::walk;
use std::io::Read;
use std::path::{Component, Path};
use std::sync::Arc;

/// A root that was looked at.
struct Found<'r> {
    root: &'r Root<'r>,
    is_directory: bool,
    /// Why it cannot be read.
    error: Option<Error>,
}

impl<'r> Found<'r> {
    fn new(root: &'r Root<'r>, parent: &Parent<'_>) -> Result<Self> {
        let failed = |e| Error::io("cannot read", root.path.display().to_string(), e);
        let metadata = std::fs::metadata(root.path).map_err(failed);
        let is_directory = match &metadata {
            Ok(metadata) => metadata.is_dir(),
            Err(_) => parent.was_directory(&root.name)?,
        };
        let readable = metadata.and_then(|metadata| match metadata.is_file() {
            true => std::fs::File::open(root.path).map(drop).map_err(failed),
            false if metadata.is_dir() => Directory::open(root.path).map(drop),
            false => Ok(()),
        });
        Ok(Found { root, is_directory, error: readable.err() })
    }
}

/// Backs up trees, each below its name.
pub(super) fn trees(
    feed: &mut Feed<'_>,
    roots: &[Root<'_>],
    parent: &mut Parent<'_>,
    filter: &Filter,
    one_file_system: bool,
) -> Result<()> {
    let mut found = roots.iter().map(|root| Found::new(root, parent)).collect::<Result<Vec<_>>>()?;
    if found.iter().all(|root| root.error.is_some()) {
        let error = found.into_iter().next().and_then(|root| root.error);
        return error.map_or(Ok(()), Err);
    }
    // Single files are entries of the top directory, which come before all sub-directories.
    found.sort_by(|a, b| (a.is_directory, &a.root.name).cmp(&(b.is_directory, &b.root.name)));
    if !found.iter().any(|found| found.root.name.is_empty() && found.is_directory) {
        feed.made_up_root()?;
    }
    let is_alone = found.len() == 1;
    for Found { root, is_directory, error } in found {
        let error = match error {
            Some(error) => Some(error),
            None if is_directory => {
                directory(feed, root, parent, &walk::Options { filter, one_file_system, follow: false })?
            }
            None => single(feed, root, parent)?,
        };
        match error {
            None => {}
            Some(error) if is_alone => return Err(error),
            Some(error) => lost(feed, root, is_directory, &error)?,
        }
    }
    Ok(())
}

/// A root that could not be read. The user has named it: also when it is not there, that is a loss.
fn lost(feed: &mut Feed<'_>, root: &Root<'_>, is_directory: bool, error: &Error) -> Result<()> {
    problem(feed.common.monitor, &root.name, error);
    let row = match is_directory {
        true => (root.name.as_slice(), Vec::new(), FileKind::Directory),
        false => (&b""[..], root.name.clone(), FileKind::File),
    };
    let (directory, name, kind) = row;
    let entry = Entry::known_by_name(kind);
    feed.push(Row { directory: Arc::from(directory), name, entry, content: Source::Entry })
}

/// A tree; or why its root cannot be read.
fn directory(
    feed: &mut Feed<'_>,
    root: &Root<'_>,
    parent: &mut Parent<'_>,
    options: &walk::Options<'_>,
) -> Result<Option<Error>> {
    let directory = match Directory::open(root.path) {
        Ok(directory) => directory,
        Err(error) => return Ok(Some(error)),
    };
    let (common, hints) = (feed.common, feed.ahead.hints());
    let mut tree = Tree::new(feed, parent, &root.name);
    let mut has_begun = false;
    let looked = look(directory, options, common, hints, &mut |seen| {
        has_begun = true;
        tree.take(seen)
    });
    match looked {
        // Before anything of it was seen, only the root itself, or the user, can have ended the walk.
        Err(error) if !has_begun && error.kind() != Kind::Interrupted => {
            Ok(Some(error.while_doing("cannot read", root.path.display().to_string())))
        }
        looked => looked.map(|()| None),
    }
}

/// A source that is not a directory: one entry at the top, under its own name; or why it cannot be read.
fn single(feed: &mut Feed<'_>, root: &Root<'_>, parent: &mut Parent<'_>) -> Result<Option<Error>> {
    let none = || Error::invalid("no file name in", root.path.display().to_string());
    let name = match root.path.components().next_back() {
        _ if !root.name.is_empty() => root.name.clone(),
        Some(Component::Normal(name)) => path_bytes(Path::new(name)).to_vec(),
        _ => return Err(none()),
    };
    // A link named by the user is what it points to, as the directory it may be would have been.
    let real = std::fs::canonicalize(root.path)
        .map_err(|e| Error::io("cannot read", root.path.display().to_string(), e))
        .and_then(|path| Ok((Directory::open(path.parent().unwrap_or(Path::new("/")))?, path)));
    let (directory, path) = match real {
        Ok(real) => real,
        Err(error) => return Ok(Some(error)),
    };
    let real = path.file_name().map(|name| path_bytes(Path::new(name)).to_vec()).ok_or_else(none)?;
    let began = (feed.common.clock)();
    let metadata = match directory.stat(&real) {
        Ok(metadata) => metadata,
        Err(error) => return Ok(Some(error)),
    };
    if metadata.kind == FileKind::Socket {
        let error = Error::new(Kind::Unsupported, "a socket, of which there is nothing to back up:");
        return Ok(Some(error.on(root.path.display().to_string())));
    }
    let mut here = Here::new(Arc::from(&b""[..]), Arc::new(directory));
    let looked = Looked { name, kind: metadata.kind, metadata: Ok(metadata), began };
    feed.entry(&mut here, parent, looked, Some(&real))?;
    feed.flush().map(|()| None)
}

/// Backs up a stream as one file at the top.
pub(super) fn stream(feed: &mut Feed<'_>, name: &[u8], content: &mut (dyn Read + Send)) -> Result<()> {
    feed.made_up_root()?;
    let began = (feed.common.clock)();
    let number = feed.new_large();
    let length = match feed.send_blocks(number, &mut StreamData(content))? {
        Outcome::Read(length) => length,
        Outcome::Failed(error) => return Err(error),
    };
    let owner = feed.owner(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let metadata = Metadata {
        kind: FileKind::File,
        mode: 0o600,
        uid: owner.uid,
        gid: owner.gid,
        size_bytes: length,
        allocated_bytes: length,
        mtime: began,
        ctime: began,
        atime: began,
        device: 0,
        inode: 0,
        links: 1,
        rdev: (0, 0),
    };
    let mut entry = entry_of(&metadata, owner);
    entry.size_bytes = length;
    entry.racy = true;
    feed.common.monitor.event(Event::Entry { path: name, bytes: length });
    feed.push(Row {
        directory: Arc::from(&b""[..]),
        name: name.to_vec(),
        entry,
        content: Source::Large(number),
    })
}
