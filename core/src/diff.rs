//! The verb `diff`: what differs between two backups, or between a backup and what is on disk now.
//!
//! Two backups are compared by their trees, in time proportional to what differs. What is on disk is read only where the times or
//! the size say that it may have changed. What a user cannot see (inode numbers, where content is stored) is no difference.

mod aspects;
mod live;
mod trees;

pub use aspects::Aspect;

use crate::engine::dedup::tree::Entry;
use crate::error::Result;
use crate::monitor::Monitor;
use crate::repository::Repository;
use crate::select::place::Place;
use crate::tree::attributes::FileKind;
use crate::tree::filter::Filter;
use crate::view::{self, Backup, Beside, View, Which};
use std::path::Path;

/// What to compare.
pub struct Options<'a> {
    /// Which backups count.
    pub which: Which,
    /// The old one, and where in it.
    pub old: Place,
    /// The new one.
    pub new: New<'a>,
}

/// What a backup is compared with.
pub enum New<'a> {
    /// Another backup, and where in it.
    Backup(Place),
    /// What is on disk now.
    Live {
        /// What the place in the old backup was made from: absolute.
        path: &'a Path,
        /// What is passed over on both sides.
        filter: &'a Filter,
        /// Whether to stay on the file system of the path.
        one_file_system: bool,
    },
}

/// One entry that differs.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Where: from the root of the old backup, or from both places where they are not the same.
    pub path: &'a [u8],
    /// What it was; `None` when it is new.
    pub old: Option<&'a Entry>,
    /// What it is; `None` when it is gone.
    pub new: Option<&'a Entry>,
    /// In what it differs, where it was and is.
    pub aspects: &'a [Aspect],
}

/// How much differs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries that are new.
    pub added: u64,
    /// Entries that are gone.
    pub removed: u64,
    /// Entries that are not the same.
    pub changed: u64,
    /// Bytes of files that are new.
    pub added_bytes: u64,
    /// Bytes of files that are gone.
    pub removed_bytes: u64,
    /// Bytes, now, of files whose content is not the same.
    pub changed_bytes: u64,
    /// Entries on disk that could not be read, so that nobody knows; each was told to the monitor.
    pub unread: u64,
}

/// What was compared.
#[derive(Debug, Clone)]
pub struct Report {
    /// The old backup.
    pub old: Backup,
    /// The new one; `None` where that is on disk.
    pub new: Option<Backup>,
    /// How much differs.
    pub counts: Counts,
}

/// Takes changes and counts them.
struct Changes<'f> {
    found: &'f mut dyn FnMut(Change<'_>) -> Result<()>,
    counts: Counts,
}

impl Changes<'_> {
    fn tell(&mut self, change: Change<'_>) -> Result<()> {
        let bytes = |entry: Option<&Entry>| {
            entry
                .filter(|entry| entry.kind == FileKind::File && !entry.is_unread())
                .map_or(0, |entry| entry.size_bytes)
        };
        let counts = &mut self.counts;
        match (change.old, change.new) {
            (None, new) => {
                counts.added += 1;
                counts.added_bytes = counts.added_bytes.saturating_add(bytes(new));
            }
            (old, None) => {
                counts.removed += 1;
                counts.removed_bytes = counts.removed_bytes.saturating_add(bytes(old));
            }
            (_, new) => {
                counts.changed += 1;
                if change.aspects.contains(&Aspect::Content) {
                    counts.changed_bytes = counts.changed_bytes.saturating_add(bytes(new));
                }
            }
        }
        (self.found)(change)
    }

    /// Tells of an entry that is on both sides, unless it is the same.
    fn compared(&mut self, path: &[u8], old: &Entry, new: &Entry, aspects: &[Aspect]) -> Result<()> {
        if aspects.is_empty() {
            return Ok(());
        }
        self.tell(Change { path, old: Some(old), new: Some(new), aspects })
    }
}

/// Hands out what differs, in the order of the tree.
///
/// # Errors
/// `NotFound`, `Invalid` (which backup?), `Unsupported` for one that is not deduplicated, what `found` fails with; `Damaged`, or as
/// the storage or the file system has it.
pub fn run(
    repository: &Repository,
    options: &Options<'_>,
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(Change<'_>) -> Result<()>,
) -> Result<Report> {
    let beside = match options.new {
        New::Backup(_) => Beside::Nothing,
        New::Live { .. } => Beside::Index,
    };
    let (old, index) = view::choose_at(repository, &options.which, &options.old, beside, monitor)?;
    let mut changes = Changes { found, counts: Counts::default() };
    let new = match &options.new {
        New::Backup(place) => {
            let (new, index) = view::choose_at(repository, &options.which, place, Beside::Index, monitor)?;
            let view = View::open(repository, index, monitor)?;
            let sides = [(&old, options.old.path.as_slice()), (&new, place.path.as_slice())];
            trees::compare(&view, sides, monitor, &mut changes)?;
            Some(new)
        }
        New::Live { path, filter, one_file_system } => {
            let view = View::open(repository, index, monitor)?;
            let disk = live::Disk { path, filter, one_file_system: *one_file_system };
            live::compare(&view, &old, &options.old.path, &disk, monitor, &mut changes)?;
            None
        }
    };
    Ok(Report { old, new, counts: changes.counts })
}
