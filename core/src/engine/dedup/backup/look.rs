//! The end of the walk that looks: one thread lists directories, others ask the system about every entry, ahead of the end that
//! decides what to do with them ([`super::walk`]), so that a backup without changes has several cores to run on. Where the tree is
//! not in the system's cache the first hints at what comes next ([`super::ahead`]).

use super::Common;
use super::ahead::{Cold, Hint};
use crate::error::{Error, Kind, Result};
use crate::limits::{LOOKED_ENTRIES, LOOKED_WAITING, LOOKERS};
use crate::monitor::Monitor;
use crate::pipe::{self, Hints, Receiver, Sender};
use crate::time::FileTime;
use crate::tree::attributes::{FileKind, Metadata};
use crate::tree::directory::Directory;
use crate::tree::walk::{self, Visit, Visitor};
use std::sync::Arc;

/// What was seen, in the order of the walk.
pub(super) enum Seen {
    /// A directory.
    Directory {
        /// Its path below the root that is walked.
        path: Vec<u8>,
        directory: Arc<Directory>,
        metadata: Metadata,
        /// Before it was looked at.
        began: FileTime,
        /// Whether what is in it is left out.
        closed: bool,
    },
    /// Entries of the directory before, all but its sub-directories.
    Entries(Vec<Looked>),
    /// A directory that is there and cannot be read, which the monitor was told.
    Unreadable { path: Vec<u8>, metadata: Option<Metadata> },
}

/// An entry that was looked at.
pub(super) struct Looked {
    pub name: Vec<u8>,
    /// What the directory says that it is.
    pub kind: FileKind,
    /// What the system said, or why it did not.
    pub metadata: Result<Metadata>,
    /// Before it was asked.
    pub began: FileTime,
}

/// What is to be looked at, in the order of the walk.
enum Look {
    /// What the walk itself has seen.
    At(Seen),
    /// Entries of a directory, with what it says that they are.
    Into(Arc<Directory>, Vec<(Vec<u8>, FileKind)>),
}

/// Walks the tree below `root` in threads of its own, while `take` gets what is seen.
///
/// # Errors
/// Of the walk, and of `take`.
pub(super) fn look(
    root: Directory,
    options: &walk::Options<'_>,
    common: &Common<'_>,
    hints: &Hints<Hint>,
    take: &mut dyn FnMut(Seen) -> Result<()>,
) -> Result<()> {
    let Common { clock, cold, monitor, .. } = common;
    let (clock, monitor) = (*clock, *monitor);
    let produce = |looks: &mut Sender<Look>| {
        let mut walker = Walker { looks, clock, before: clock(), cold, hints };
        walk::walk(root, options, monitor, &mut walker)
    };
    let look = || {
        Ok(|look| match look {
            Look::At(seen) => Ok(seen),
            Look::Into(directory, names) => {
                monitor.check()?;
                let looked = names.into_iter().map(|(name, kind)| {
                    let began = clock();
                    let metadata = directory.stat(&name);
                    Looked { name, kind, metadata, began }
                });
                Ok(Seen::Entries(looked.collect()))
            }
        })
    };
    let consume = |seen: &mut Receiver<Seen>| {
        while let Some(seen) = seen.receive()? {
            take(seen)?;
        }
        Ok(())
    };
    pipe::run_mapped(LOOKED_WAITING, LOOKERS, produce, look, consume).map(|_| ())
}

struct Walker<'l> {
    looks: &'l mut Sender<Look>,
    clock: &'l (dyn Fn() -> FileTime + Sync),
    /// Before the walk asked about the directory that it hands out next.
    before: FileTime,
    cold: &'l Cold,
    hints: &'l Hints<Hint>,
}

impl Visitor for Walker<'_> {
    fn directory(&mut self, visit: &Visit<'_>, monitor: &dyn Monitor) -> Result<()> {
        let directory = Arc::new(visit.directory.duplicate()?);
        self.cold.look_ahead(&directory, visit.listing, self.hints);
        self.looks.send(Look::At(Seen::Directory {
            path: visit.path.to_vec(),
            directory: Arc::clone(&directory),
            metadata: visit.metadata.clone(),
            began: self.before,
            closed: visit.closed,
        }))?;
        let mut names = Vec::new();
        for entry in visit.listing.iter().filter(|entry| entry.kind != Some(FileKind::Directory)) {
            // Every kind in a visit is resolved.
            names.push((entry.name.to_vec(), entry.kind.unwrap_or(FileKind::File)));
            if names.len() == LOOKED_ENTRIES {
                monitor.check()?;
                self.looks.send(Look::Into(Arc::clone(&directory), std::mem::take(&mut names)))?;
            }
        }
        if !names.is_empty() {
            self.looks.send(Look::Into(directory, names))?;
        }
        self.before = (self.clock)();
        Ok(())
    }

    fn unreadable(&mut self, path: &[u8], metadata: Option<&Metadata>, error: &Error) -> Result<()> {
        if error.kind() == Kind::NotFound {
            return Ok(());
        }
        self.looks.send(Look::At(Seen::Unreadable { path: path.to_vec(), metadata: metadata.cloned() }))
    }
}
