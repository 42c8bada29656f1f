//! The verb `ls`: what is in a directory of a backup, or everything below it.

use crate::engine::dedup::tree::{self, Entry};
use crate::error::Result;
use crate::monitor::Monitor;
use crate::repository::Repository;
use crate::select::place::Place;
use crate::tree::attributes::FileKind;
use crate::view::{self, Backup, View, Which};

/// What to list.
pub struct Options {
    /// Which backups count.
    pub which: Which,
    /// Which one, and where in it.
    pub place: Place,
    /// Whether what is in its sub-directories is listed too.
    pub recursive: bool,
}

/// What was listed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The backup.
    pub backup: Backup,
    /// Entries that were handed out.
    pub entries: u64,
}

/// Hands out entries with their paths from the root of the backup: of a directory what is in it, in the order of names; with
/// all sub-directories in the order of the tree; of anything else the entry itself.
///
/// # Errors
/// `NotFound`, `Invalid` (which backup?), `Unsupported` for one that is not deduplicated, what `found` fails with; `Damaged`, or
/// as the storage has it.
pub fn run(
    repository: &Repository,
    options: &Options,
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(&[u8], &Entry) -> Result<()>,
) -> Result<Report> {
    let backup = view::choose_at(repository, &options.which, &options.place, monitor)?;
    let view = View::open(repository, monitor)?;
    let path = options.place.path.as_slice();
    let top = view.entry(&backup, path)?;
    let mut entries = 0;
    let mut hand_out = |path: &[u8], entry: &Entry| {
        entries += 1;
        found(path, entry)
    };
    if top.kind != FileKind::Directory {
        hand_out(path, &top)?;
    } else if options.recursive {
        view::walk(view.chunks(), &backup.snapshot, path, monitor, &mut |key, entry| {
            let is_top = key.name.is_empty() && key.directory == path;
            if is_top { Ok(()) } else { hand_out(&view::path_of(key), entry) }
        })?;
    } else {
        tree::list(view.chunks(), &backup.snapshot.root, path, &mut |name, entry| {
            monitor.check()?;
            hand_out(&view::join(path, name), entry)
        })?;
    }
    Ok(Report { backup, entries })
}
