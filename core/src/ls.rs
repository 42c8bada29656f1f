//! The verb `ls`: what is in a directory of a backup, or everything below it.

use crate::engine::dedup::tree::{self, Entry};
use crate::error::{Error, Kind, Result};
use crate::limits::CHAIN_TREE_ENTRIES;
use crate::monitor::Monitor;
use crate::repository::Repository;
use crate::select::place::Place;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;
use crate::view::levels::{Level, Means};
use crate::view::{self, Either, Named, View, Which};

/// What to list.
pub struct Options<'a> {
    /// Which backups count.
    pub which: Which,
    /// Which one, and where in it.
    pub place: Place,
    /// Whether what is in its sub-directories is listed too.
    pub recursive: bool,
    /// What levels of chains are read with.
    pub means: Means<'a>,
}

/// What was listed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The backup.
    pub backup: Named,
    /// Entries that were handed out.
    pub entries: u64,
}

/// Hands out entries with their paths from the root of the backup: of a directory what is in it, in the order of names; with
/// all sub-directories in the order of the tree; of anything else the entry itself.
///
/// # Errors
/// `NotFound`, `Invalid` (which backup?), what `found` fails with; of a level as its engine has it; `Damaged`, or as the storage
/// has it.
pub fn run(
    repository: &Repository,
    options: &Options<'_>,
    monitor: &dyn Monitor,
    found: &mut dyn FnMut(&[u8], &Entry) -> Result<()>,
) -> Result<Report> {
    let (backup, index) = match view::choose_either_at(repository, &options.which, &options.place, monitor)? {
        Either::Snapshot(backup, index) => (*backup, index),
        Either::Level { chain, entry } => {
            let mut level = Level::open(repository, &chain, entry, options.means, monitor)?;
            return of_level(&mut level, options, found);
        }
    };
    let view = View::open(repository, index, monitor)?;
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
    Ok(Report { backup: backup.named(), entries })
}

/// The same of a level. What is directly in a directory comes in another order there, and is sorted.
fn of_level(
    level: &mut Level<'_>,
    options: &Options<'_>,
    found: &mut dyn FnMut(&[u8], &Entry) -> Result<()>,
) -> Result<Report> {
    let top = options.place.path.as_slice();
    let mut entries = 0;
    let mut within: Vec<(Vec<u8>, Entry)> = Vec::new();
    level.walk(top, &mut |path, entry| {
        let is_directory = path == top && entry.kind == FileKind::Directory;
        let name = path.strip_prefix(top).unwrap_or(path);
        let is_deep = name.strip_prefix(b"/").unwrap_or(name).contains(&b'/');
        if is_directory || (is_deep && !options.recursive) {
            return Ok(());
        }
        if options.recursive {
            entries += 1;
            return found(path, entry);
        }
        if within.len() == CHAIN_TREE_ENTRIES {
            let hint = "list it with --recursive";
            return Err(Error::new(Kind::Limit, "too many entries in").on(lossy(top)).hint(hint));
        }
        within.push((path.to_vec(), entry.clone()));
        Ok(())
    })?;
    within.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for (path, entry) in &within {
        entries += 1;
        found(path, entry)?;
    }
    Ok(Report { backup: level.named().clone(), entries })
}
