//! The end of the walk that looks: lists directories and asks the system about every entry, ahead of the end that decides what
//! to do with them ([`super::walk`]). Each of the two costs about as much, so that a backup without changes has two cores to run on. Where the
//! tree is not in the system's cache it hints at what comes next ([`super::ahead`]).

use super::Common;
use super::ahead::{Cold, Hint};
use crate::error::{Error, Kind, Result};
use crate::limits::{LOOKED_ENTRIES, LOOKED_WAITING};
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

/// Walks the tree below `root` in a thread of its own, while `take` gets what is seen.
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
    let clock = common.clock;
    let produce = |seen: &mut Sender<Seen>| {
        let mut looker = Looker { seen, clock, before: clock(), cold: &common.cold, hints };
        walk::walk(root, options, common.monitor, &mut looker)
    };
    let consume = |seen: &mut Receiver<Seen>| {
        while let Some(seen) = seen.receive()? {
            take(seen)?;
        }
        Ok(())
    };
    pipe::run(LOOKED_WAITING, produce, consume).map(|_| ())
}

struct Looker<'l> {
    seen: &'l mut Sender<Seen>,
    clock: &'l (dyn Fn() -> FileTime + Sync),
    /// Before the walk asked about the directory that it hands out next.
    before: FileTime,
    cold: &'l Cold,
    hints: &'l Hints<Hint>,
}

impl Visitor for Looker<'_> {
    fn directory(&mut self, visit: &Visit<'_>, monitor: &dyn Monitor) -> Result<()> {
        let directory = Arc::new(visit.directory.duplicate()?);
        self.cold.look_ahead(&directory, visit.listing, self.hints);
        self.seen.send(Seen::Directory {
            path: visit.path.to_vec(),
            directory,
            metadata: visit.metadata.clone(),
            began: self.before,
            closed: visit.closed,
        })?;
        let mut entries = Vec::new();
        for entry in visit.listing.iter().filter(|entry| entry.kind != Some(FileKind::Directory)) {
            monitor.check()?;
            let began = (self.clock)();
            let metadata = visit.directory.stat(entry.name);
            // Every kind in a visit is resolved.
            let kind = entry.kind.unwrap_or(FileKind::File);
            entries.push(Looked { name: entry.name.to_vec(), kind, metadata, began });
            if entries.len() == LOOKED_ENTRIES {
                self.seen.send(Seen::Entries(std::mem::take(&mut entries)))?;
            }
        }
        if !entries.is_empty() {
            self.seen.send(Seen::Entries(entries))?;
        }
        self.before = (self.clock)();
        Ok(())
    }

    fn unreadable(&mut self, path: &[u8], metadata: Option<&Metadata>, error: &Error) -> Result<()> {
        if error.kind() == Kind::NotFound {
            return Ok(());
        }
        self.seen.send(Seen::Unreadable { path: path.to_vec(), metadata: metadata.cloned() })
    }
}
