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

use super::tree::Builder;
use crate::codec::borders::Borders;
use crate::codec::chunker::Chunker;
use crate::engine::{Input, Made, ObjectBackup};
use crate::error::Result;
use crate::limits::{AHEAD_HINTS, PACKS_SENT, PACKS_UNDERWAY, PACKS_WAITING, WORK_WAITING, WORKERS_MAX};
use crate::monitor::{Event, Monitor};
use crate::pipe::{self, Hints, Pool, Sender};
use crate::repository::vault::{ChunkId, ChunkKind, Encoder, Pack, Put, Reader, StoredPack, Vault, Writer};
use ahead::{Ahead, Cold, Hint};
use assemble::Assembler;
use parent::Parent;
use std::sync::{Arc, Mutex, PoisonError};

/// Backs up what `job` says into `vault`, and gives the root of the tree. Nothing refers to it yet.
///
/// # Errors
/// A source that cannot be opened at all; trouble with the storage; `Interrupted`. What concerns one path is told to the monitor.
pub(super) fn run(job: ObjectBackup<'_>, vault: &Vault) -> Result<Made> {
    let writer = Writer::new(vault, Arc::clone(&job.index));
    let reader = Reader::new(vault, Arc::clone(&job.index));
    let monitor = job.monitor;
    let dry_run = job.dry_run;
    // Close by, one pack is written at a time, while others wait for the disk, without their bytes; far away, several are sent.
    let underway = match vault.storage().capabilities().parallel {
        true => PACKS_SENT,
        false => PACKS_UNDERWAY,
    };
    let store = |packs: &mut pipe::Receiver<Pack>| {
        let write = |underway: &mut Sender<StoredPack>| {
            while let Some(pack) = packs.receive()? {
                if !dry_run {
                    underway.send(writer.begin_store(pack)?)?;
                }
            }
            Ok(())
        };
        let make_settling = || Ok(|pack: StoredPack| writer.settle(pack));
        let tell = |stored: &mut pipe::Receiver<u64>| {
            while let Some(bytes) = stored.receive()? {
                monitor.event(Event::Stored { bytes });
            }
            Ok(())
        };
        pipe::run_mapped(PACKS_WAITING, underway, write, make_settling, tell)
    };
    let produce = |packs: &mut Sender<Pack>| {
        let sender = Mutex::new(packs);
        let sender = || sender.lock().unwrap_or_else(PoisonError::into_inner);
        let (send, wait) = (|pack| sender().send(pack), || drop(sender()));
        let packs = Packs { writer: &writer, send: &send, wait: &wait };
        let root = read_and_assemble(job, vault, &reader, &packs)?;
        packs.close()?;
        Ok(root)
    };
    let (root, _) = pipe::run(PACKS_WAITING, produce, store)?;
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

/// Where chunks go: into the open pack, and full packs to the storing end.
struct Packs<'p> {
    writer: &'p Writer<'p>,
    send: &'p (dyn Fn(Pack) -> Result<()> + Sync),
    /// Waits until nobody sends.
    wait: &'p (dyn Fn() + Sync),
}

impl Packs<'_> {
    /// Stores a chunk that is not there yet; gives its id.
    ///
    /// While a full pack waits to be taken, nobody fills another: no more memory than that of a few packs is in use, however
    /// slow the storage is.
    fn put(&self, kind: ChunkKind, bytes: &[u8], encoder: &mut Encoder) -> Result<ChunkId> {
        (self.wait)();
        let Put { id, full, .. } = self.writer.put(kind, bytes, encoder)?;
        if let Some(pack) = full {
            (self.send)(pack)?;
        }
        Ok(id)
    }

    /// Sends the packs that are not full.
    fn close(&self) -> Result<()> {
        self.writer.remaining()?.into_iter().try_for_each(self.send)
    }
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

/// Stores the tree's own chunks with an encoder of its own.
struct TreeStore<'t> {
    packs: &'t Packs<'t>,
    encoder: Encoder,
}

impl super::tree::Store for TreeStore<'_> {
    fn put(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId> {
        self.packs.put(kind, bytes, &mut self.encoder)
    }
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
        let mut store = TreeStore { packs, encoder: Encoder::new(effort, verify)? };
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
