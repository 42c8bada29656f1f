//! Makes a backup: one walk in the order of the tree, merged with the parent; content read, cut, compressed and sealed by
//! workers; packs stored while the next are filled; the tree built in order from what comes back.
//!
//! ```text
//! look ─► walk ─► work, in order ─► workers (read, cut, hash, look up, compress, seal) ─► tree, in order
//!                                    └──── full packs ────► storage ◄──── full packs ────┘
//! ```
//!
//! Small files are read by the workers, a bundle each: the walk decides by names and sizes alone which files share one, so it
//! waits for no file. Large files are read by the walk, in blocks that end where a chunk does, and cut and stored by
//! the workers. Threads beside all this read ahead what is not in the system's cache ([`ahead`]). What the parent has unchanged travels as it is, and touches neither index nor content.
//!
//! Invariant: rows leave the workers in the order in which the walk found them, and every row has its content when it does.

mod ahead;
mod assemble;
mod large;
mod look;
mod parent;
mod roots;
mod row;
mod small;
#[cfg(test)]
mod tests;
mod walk;

use super::packs::{self, Packs, TreeStore};
use super::tree::Builder;
use crate::codec::borders::Borders;
use crate::codec::chunker::Chunker;
use crate::engine::{Input, Made, ObjectBackup};
use crate::error::Result;
use crate::limits::{AHEAD_HINTS, WORK_WAITING, WORKERS_MAX};
use crate::monitor::Monitor;
use crate::pipe::{self, Hints, Pool, Sender};
use crate::repository::vault::{Encoder, Reader, Vault, Writer};
use ahead::{Ahead, Cold, Hint};
use assemble::Assembler;
use parent::Parent;
use std::sync::Arc;

/// Backs up what `job` says into `vault`, and gives the root of the tree. Nothing refers to it yet.
///
/// # Errors
/// A source that cannot be opened at all; trouble with the storage; `Interrupted`. What concerns one path is told to the monitor.
pub(super) fn run(job: ObjectBackup<'_>, vault: &Vault) -> Result<Made> {
    let writer = Writer::new(vault, Arc::clone(&job.index));
    let reader = Reader::new(vault, Arc::clone(&job.index));
    let dry_run = job.dry_run;
    let root = packs::storing(&writer, vault, dry_run, job.monitor, |packs| {
        read_and_assemble(job, vault, &reader, packs)
    })?;
    if !dry_run {
        writer.finish()?;
    }
    Ok(Made {
        root: root.id,
        entries: root.entries,
        files: root.files,
        bytes: root.bytes,
        added_bytes: writer.added_bytes(),
    })
}

/// What the walk and the workers share.
struct Common<'c> {
    packs: &'c Packs<'c>,
    reader: &'c Reader<'c>,
    chunker: Chunker,
    blocks: Pool,
    cold: Cold,
    monitor: &'c dyn Monitor,
    clock: &'c (dyn Fn() -> crate::time::FileTime + Sync),
}

fn read_and_assemble(
    job: ObjectBackup<'_>,
    vault: &Vault,
    reader: &Reader<'_>,
    packs: &Packs<'_>,
) -> Result<super::tree::Root> {
    let keys = vault.keys();
    let effort = job.effort;
    let verify = job.verify_compression;
    let workers = job.jobs.max(1);
    let readers = job.readers.min(WORKERS_MAX);
    let common = Common {
        packs,
        reader,
        chunker: Chunker::new(&keys.subkey("chunker")),
        blocks: Pool::new(WORK_WAITING + workers + 2),
        cold: Cold::new(),
        monitor: job.monitor,
        clock: job.clock,
    };
    let borders = Borders::new(&keys.subkey("bundles"));
    let nodes_key = keys.subkey("nodes");
    let common = &common;
    let produce = |work: &mut Sender<row::Work>, hints: &Hints<Hint>| {
        let ahead = Ahead::new(&common.cold, hints);
        let mut feed = walk::Feed::new(common, work, &borders, ahead);
        match job.input {
            Input::Trees(roots) => {
                let mut parent = Parent::open(reader, job.parent, common.monitor)?;
                roots::trees(&mut feed, &roots, &mut parent, job.filter, job.one_file_system)?;
            }
            Input::Stream { name, content } => roots::stream(&mut feed, &name, content)?,
        }
        feed.finish()
    };
    let make_worker = || {
        let mut worker = small::Worker::new(common, effort, verify)?;
        Ok(move |work: row::Work| worker.run(work))
    };
    let assemble = |done: &mut pipe::Receiver<row::Done>| {
        let mut store = TreeStore::new(packs, Encoder::new(effort, verify)?);
        let mut assembler = Assembler::new(Builder::new(&nodes_key, &mut store), common);
        while let Some(done) = done.receive()? {
            assembler.take(done)?;
        }
        assembler.finish()
    };
    let read = |work: &mut Sender<row::Work>| {
        pipe::beside(readers, AHEAD_HINTS, |hint| common.cold.follow(hint), |hints| produce(work, hints))
    };
    let (_, root) = pipe::run_mapped(WORK_WAITING, workers, read, make_worker, assemble)?;
    Ok(root)
}
