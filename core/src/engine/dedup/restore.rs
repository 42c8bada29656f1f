//! Restoring a tree of a deduplicated backup.
//!
//! One thread walks the tree (`planner`): it makes directories and whatever has no content, and gathers files in windows. The
//! chunks that the files of a window need are put in the order of the packs, neighbours are joined into one fetch, and each
//! fetch goes to one of several workers (`worker`), which opens every chunk once and writes all files that want some of it.
//! Where something stands in the target already, the planner decides what becomes of it, and the workers fetch only what is not
//! there. To verify what was written, the same walk is made once more, with workers that compare.
//!
//! Invariants: what is written was compared with its name before. A file whose chunk is missing or damaged is told by path and
//! leaves nothing under its name; all others are restored, and the run ends as failed. Memory is that of a window and of one
//! fetch per worker; what grows is a row for each name of a file with several names.

mod large;
mod links;
mod losses;
mod planner;
mod same;
mod selection;
#[cfg(test)]
mod tests;
mod window;
mod worker;

use crate::engine::wanted::Chosen;
use crate::engine::{Overwrite, Wanted};
use crate::error::Result;
use crate::limits;
use crate::limits::WORKERS_MAX;
use crate::monitor::Monitor;
use crate::pipe;
use crate::repository::vault::ChunkId;
use crate::repository::vault::keys::Keys;
use crate::repository::vault::reader::Reader;
use crate::tree::target::{Files, Target};
use links::Links;
use losses::Losses;
use planner::Planner;
use selection::Selection;
use std::sync::Mutex;
use worker::Worker;

/// What to restore, and how.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// What is wanted of the tree.
    pub wanted: &'a Wanted,
    /// What becomes of what stands in the target already; `None` for a target that was empty.
    pub overwrite: Option<Overwrite>,
    /// Remove whatever stands in a restored directory and is not in the backup.
    pub delete: bool,
    /// Without a target: whether content is read and verified, or only looked up in the index.
    pub read_data: bool,
    /// Read what was restored again, and compare it.
    pub verify: bool,
    /// The keys of the repository, by which content in the target is compared.
    pub keys: &'a Keys,
}

/// What a walk through the tree is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To write.
    Write,
    /// To compare what was written.
    Verify,
}

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    window_entries: usize,
    window_chunks: usize,
    window_large_files: usize,
    window_bytes: usize,
    fetch_bytes: u32,
    fetch_gap_bytes: u32,
    fetch_files: usize,
}

const BOUNDS: Bounds = Bounds {
    window_entries: limits::RESTORE_WINDOW_ENTRIES,
    window_chunks: limits::RESTORE_WINDOW_CHUNKS,
    window_large_files: limits::RESTORE_WINDOW_LARGE_FILES,
    window_bytes: limits::RESTORE_WINDOW_BYTES,
    fetch_bytes: limits::RESTORE_FETCH_BYTES,
    fetch_gap_bytes: limits::RESTORE_FETCH_GAP_BYTES,
    fetch_files: limits::RESTORE_FETCH_FILES,
};

/// The same where each request waits for an answer from far away: fewer and longer ones.
const FAR_BOUNDS: Bounds = Bounds {
    fetch_bytes: limits::FAR_FETCH_BYTES,
    fetch_gap_bytes: limits::FAR_FETCH_GAP_BYTES,
    fetch_files: limits::FAR_FETCH_FILES,
    ..BOUNDS
};

/// What the planner and the workers share.
struct Run<'a> {
    purpose: Purpose,
    plan: Plan<'a>,
    chosen: Chosen,
    reader: &'a Reader<'a>,
    monitor: &'a dyn Monitor,
    bounds: Bounds,
    /// Whether nothing is written.
    dry: bool,
    losses: Losses,
}

impl Run<'_> {
    /// Whether chunks are fetched at all.
    fn reads_data(&self) -> bool {
        !self.dry || self.plan.read_data
    }
}

/// Restores the tree below `root` into `target`; `None` only reads (or, without `read_data`, looks up) what would be written.
/// `target` is to be finished by the caller, after a failure too.
///
/// # Errors
/// `NotFound` for wanted paths that the backup does not have, before anything is written. `Damaged` when the tree cannot be
/// read, or, at the end, when content was missing or damaged; `Io` when something could not be written (each was told to the
/// monitor as lost). `NoSpace`, `Interrupted`, or as the storage has it.
pub fn run(
    plan: Plan<'_>,
    reader: &Reader<'_>,
    root: &ChunkId,
    target: Option<&mut Target<'_>>,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<()> {
    let bounds = if reader.is_far() { FAR_BOUNDS } else { BOUNDS };
    run_bounded(plan, reader, root, target, workers, monitor, bounds)
}

fn run_bounded(
    plan: Plan<'_>,
    reader: &Reader<'_>,
    root: &ChunkId,
    target: Option<&mut Target<'_>>,
    workers: usize,
    monitor: &dyn Monitor,
    bounds: Bounds,
) -> Result<()> {
    let chosen = selection::choose(reader, root, plan.wanted)?;
    let selection = Selection::find(reader, root, &chosen)?;
    let mut target = target;
    if let Some(target) = target.as_deref_mut() {
        target.set_base(chosen.root())?;
        if let Some(excluded) = chosen.exclusion() {
            target.spare(excluded);
        }
    }
    let (losses, dry) = (Losses::default(), target.is_none());
    let mut run = Run { purpose: Purpose::Write, plan, chosen, reader, monitor, bounds, dry, losses };
    let links = run.walk(root, &selection, target.as_deref_mut(), workers)?;
    links.make(&run, target.as_deref_mut())?;
    if let Some(target) = target.filter(|_| plan.verify) {
        target.sync()?;
        run.purpose = Purpose::Verify;
        run.walk(root, &selection, Some(target), workers)?;
    }
    run.losses.into_result()
}

impl Run<'_> {
    /// Goes through what is wanted once, with all workers.
    fn walk(
        &self,
        root: &ChunkId,
        selection: &Selection,
        target: Option<&mut Target<'_>>,
        workers: usize,
    ) -> Result<Links> {
        let workers = workers.clamp(1, WORKERS_MAX);
        let files: Vec<Option<Files<'_>>> =
            (0..workers).map(|_| target.as_deref().map(|target| target.files())).collect();
        let files = Mutex::new(files);
        let own_files = target.as_deref().map(|target| target.files());
        let (links, ()) = pipe::run_mapped(
            workers,
            workers,
            |sender| {
                let planner = Planner::new(self, root, target, own_files, sender);
                planner.everything(selection)
            },
            || {
                let files = files.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop().flatten();
                let mut worker = Worker::new(self, files)?;
                Ok(move |job| worker.job(job))
            },
            |receiver| {
                while receiver.receive()?.is_some() {}
                Ok(())
            },
        )?;
        Ok(links)
    }
}
