//! How a run tells what it is doing, and learns that it should stop. Core never prints: whoever calls it listens here.

use crate::error::{Error, Result};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something a run has to tell.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A source could not be read, or changed while it was read, or was passed over (a socket); or a target could not be
    /// given an attribute. The run goes on.
    Problem {
        /// The path in the tree, as bytes for people (lossy UTF-8).
        path: &'a str,
        /// What went wrong.
        error: &'a Error,
        /// Whether the data of the path is missing from the backup (or the restored tree): it turns the exit status to 3.
        lost: bool,
    },
    /// Something worth a person's attention that lost nothing.
    Warning(&'a str),
    /// One more directory is done.
    Directory {
        /// The path in the tree, raw.
        path: &'a [u8],
    },
    /// One more entry that is not a directory is done; `bytes` of content were read or written for it.
    Entry {
        /// The path in the tree, raw.
        path: &'a [u8],
        /// Bytes of content.
        bytes: u64,
    },
    /// Entries of the backup were not restored, since what stands in their places is to stay.
    Kept {
        /// How many more.
        entries: u64,
    },
    /// A file that stands in the target counts as what the backup has, and was not read: told beside [`Event::Entry`].
    Unchanged {
        /// The path in the tree, raw.
        path: &'a [u8],
    },
    /// A restored file was read again, and is what the backup has.
    Verified {
        /// The path in the tree, raw.
        path: &'a [u8],
    },
    /// `bytes` went to storage or came from it.
    Stored {
        /// Bytes moved since the last such event.
        bytes: u64,
    },
}

/// Receives the events of a run. Called from several threads.
pub trait Monitor: Send + Sync {
    /// Takes an event. Must not block for long.
    fn event(&self, event: Event<'_>);

    /// Whether the user asked to stop; looked at between files and between blocks.
    fn cancelled(&self) -> bool {
        false
    }

    /// [`crate::error::Kind::Interrupted`] when the user asked to stop.
    ///
    /// # Errors
    /// See above.
    fn check(&self) -> Result<()> {
        if self.cancelled() { Err(Error::interrupted()) } else { Ok(()) }
    }
}

/// Listens to nothing.
pub struct Quiet;

impl Monitor for Quiet {
    fn event(&self, _event: Event<'_>) {}
}

/// Passes everything on to another monitor and keeps count, so that the end of a run can say what happened.
pub struct Counting<'a> {
    inner: &'a dyn Monitor,
    directories: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    problems: AtomicU64,
    kept: AtomicU64,
    unchanged: AtomicU64,
    verified: AtomicU64,
    lost_paths: Mutex<Vec<String>>,
}

impl<'a> Counting<'a> {
    /// Counts what goes to `inner`.
    pub fn new(inner: &'a dyn Monitor) -> Self {
        Counting {
            inner,
            directories: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            problems: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            lost_paths: Mutex::new(Vec::new()),
        }
    }

    /// Directories done.
    pub fn directories(&self) -> u64 {
        self.directories.load(Ordering::Relaxed)
    }

    /// Entries done that are not directories.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Bytes of content.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Problems that lost data.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Problems of every sort.
    pub fn problems(&self) -> u64 {
        self.problems.load(Ordering::Relaxed)
    }

    /// Entries that were not restored, for the sake of what stands there.
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Files that were there and count as unchanged.
    pub fn unchanged(&self) -> u64 {
        self.unchanged.load(Ordering::Relaxed)
    }

    /// Files that were read again after they were restored, and are right.
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    /// The first [`crate::limits::REPORTED_PATHS`] paths that lost data, each with its reason.
    pub fn lost_paths(&self) -> Vec<String> {
        self.lost_paths.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn count_problem(&self, path: &str, error: &Error, lost: bool) {
        self.problems.fetch_add(1, Ordering::Relaxed);
        if !lost {
            return;
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        let mut paths = self.lost_paths.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if paths.len() < crate::limits::REPORTED_PATHS {
            paths.push(format!("{path}: {error}"));
        }
    }
}

impl Monitor for Counting<'_> {
    fn event(&self, event: Event<'_>) {
        match &event {
            Event::Entry { bytes, .. } => {
                self.entries.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(*bytes, Ordering::Relaxed);
            }
            Event::Directory { .. } => {
                self.directories.fetch_add(1, Ordering::Relaxed);
            }
            Event::Problem { path, error, lost } => self.count_problem(path, error, *lost),
            Event::Kept { entries } => drop(self.kept.fetch_add(*entries, Ordering::Relaxed)),
            Event::Unchanged { .. } => drop(self.unchanged.fetch_add(1, Ordering::Relaxed)),
            Event::Verified { .. } => drop(self.verified.fetch_add(1, Ordering::Relaxed)),
            Event::Warning(_) | Event::Stored { .. } => {}
        }
        self.inner.event(event);
    }

    fn cancelled(&self) -> bool {
        self.inner.cancelled()
    }
}
