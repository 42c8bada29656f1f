//! What could not be restored.

use super::super::tree::Entry;
use super::Run;
use crate::engine::paths::Paths;
use crate::error::{Error, Kind, Result, Retry};
use crate::monitor::Event;
use crate::time::FileTime;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the names of one file have in common. More than the number of its inode, which may be given to another file while a
/// backup is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    kind: FileKind,
    size_bytes: u64,
    mtime: FileTime,
    ctime: FileTime,
}

impl Identity {
    /// Of an entry with several names.
    pub fn of(entry: &Entry) -> Option<Identity> {
        let Entry { inode, kind, size_bytes, mtime, ctime, .. } = *entry;
        entry.names.map(|names| Identity { device: names.device, inode, kind, size_bytes, mtime, ctime })
    }
}

/// Counts what is lost. Every loss was told to the monitor.
#[derive(Default)]
pub(super) struct Losses {
    /// Because of what is stored.
    stored: AtomicU64,
    /// Because of the target.
    other: AtomicU64,
    /// Files with several names that are not there to be linked to.
    linked: Mutex<HashSet<Identity>>,
    /// What was restored, and is not in the target as it was restored.
    differing: AtomicU64,
    /// What is not to be verified: it was left as it stood there, or is lost and was told.
    passed_over: Mutex<Paths>,
}

/// Which side a failure is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Stored,
    Target,
}

impl Losses {
    /// Whether the file that other names are to be links to is not there.
    pub fn has(&self, file: &Identity) -> bool {
        self.linked.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).contains(file)
    }

    /// How the run ends.
    pub fn into_result(self) -> Result<()> {
        let (stored, other) = (self.stored.into_inner(), self.other.into_inner());
        let differing = self.differing.into_inner();
        if stored > 0 {
            let what = format!("{} entries could not be restored, {stored} of them since", stored + other);
            return Err(Error::damaged(what, "the repository is damaged").hint("they are named above"));
        }
        if other > 0 {
            let what = format!("{other} entries could not be restored; they are named above");
            return Err(Error::new(Kind::Io, what));
        }
        if differing > 0 {
            let what = format!(
                "{differing} restored files are not in the target as they were written; they are named above"
            );
            return Err(
                Error::new(Kind::Io, what).hint("is something else writing there, or is the disk failing?")
            );
        }
        Ok(())
    }

    fn pass_over(&self, path: &[u8]) -> Result<()> {
        self.passed_over.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(path)
    }
}

impl Run<'_> {
    /// Tells of an entry that stays as it stands in the target.
    ///
    /// # Errors
    /// `Limit` when too many have to be remembered.
    pub fn keep(&self, path: &[u8]) -> Result<()> {
        self.monitor.event(Event::Kept { entries: 1 });
        if self.plan.verify { self.losses.pass_over(path) } else { Ok(()) }
    }

    /// Tells of a file that counts as unchanged.
    ///
    /// # Errors
    /// As [`Run::keep`].
    pub fn unchanged(&self, path: &[u8], entry: &Entry) -> Result<()> {
        self.monitor.event(Event::Unchanged { path });
        self.monitor.event(Event::Entry { path, bytes: entry.size_bytes });
        if self.plan.verify { self.losses.pass_over(path) } else { Ok(()) }
    }

    /// Whether an entry is not to be verified.
    pub fn is_passed_over(&self, path: &[u8]) -> bool {
        self.losses.passed_over.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).contains(path)
    }

    /// Tells of a file that was read again and is not what was restored.
    pub fn differs(&self, path: &[u8]) {
        self.losses.differing.fetch_add(1, Ordering::Relaxed);
        let error = Error::damaged("what is read back is not what the backup has:", lossy(path));
        self.monitor.event(Event::Problem { path: &lossy(path), error: &error, lost: true });
    }

    /// Tells of a file that cannot be read again; whether it is right nobody knows.
    ///
    /// # Errors
    /// What ends the run.
    pub fn cannot_verify(&self, path: &[u8], error: &Error) -> Result<()> {
        self.monitor.check()?;
        self.monitor.event(Event::Problem { path: &lossy(path), error, lost: false });
        Ok(())
    }

    /// Tells of an entry that is lost.
    pub fn lose(&self, path: &[u8], entry: &Entry, error: &Error, side: Side) {
        if let Some(file) = Identity::of(entry) {
            self.losses.linked.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(file);
        }
        self.lose_part(path, error, side);
    }

    /// Tells of an entry that is there, but lacks something it had.
    pub fn lose_part(&self, path: &[u8], error: &Error, side: Side) {
        let count = match side {
            Side::Stored => &self.losses.stored,
            Side::Target => &self.losses.other,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if self.plan.verify {
            // Too many of them: then some are told twice.
            self.losses.pass_over(path).unwrap_or(());
        }
        self.monitor.event(Event::Problem { path: &lossy(path), error, lost: true });
    }

    /// Tells of trouble on one side that concerns one entry only; any other is handed on.
    ///
    /// # Errors
    /// That other trouble.
    pub fn settle(&self, path: &[u8], entry: &Entry, done: Result<()>, side: Side) -> Result<()> {
        match done {
            Err(error) if concerns_one(&error, side) => {
                self.lose(path, entry, &error, side);
                Ok(())
            }
            other => other.map_err(|error| error.while_doing("cannot restore", lossy(path))),
        }
    }
}

/// Whether a failure concerns one chunk or one entry, so that the rest can go on.
pub(super) fn concerns_one(error: &Error, side: Side) -> bool {
    let kind = error.kind();
    match side {
        // A sector that cannot be read is damage; a storage that may be back later is not, nor one that refuses.
        Side::Stored => {
            matches!(kind, Kind::Damaged | Kind::NotFound | Kind::Unsupported | Kind::Limit)
                || (kind == Kind::Io && error.retry() == Retry::Never)
        }
        Side::Target => !matches!(kind, Kind::NoSpace | Kind::Interrupted | Kind::Stopped),
    }
}
