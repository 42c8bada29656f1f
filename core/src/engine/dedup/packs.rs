//! Where new chunks go: into the open pack, and full packs to the storage while the next is filled.
//!
//! Invariant: while a full pack waits to be taken, nobody fills another: no more memory than that of a few packs is in use,
//! however slow the storage is.

use super::tree::Store;
use crate::error::{Error, Result};
use crate::limits::{PACKS_SENT, PACKS_UNDERWAY, PACKS_WAITING};
use crate::monitor::{Event, Monitor};
use crate::pipe::{self, Sender};
use crate::repository::vault::compression::Stored;
use crate::repository::vault::{ChunkId, ChunkKind, Encoder, Pack, Put, StoredPack, Vault, Writer};
use std::sync::{Mutex, PoisonError};

/// Where chunks go.
pub(super) struct Packs<'p> {
    writer: &'p Writer<'p>,
    send: &'p (dyn Fn(Pack) -> Result<()> + Sync),
    /// Waits until nobody sends.
    wait: &'p (dyn Fn() + Sync),
}

/// Runs `produce`, which puts chunks, and stores the packs that become full meanwhile, and those that are not full at the end; with
/// `dry_run` none. What was put is found by others when the writer has been finished.
///
/// # Errors
/// The first failure of either side.
pub(super) fn storing<T: Send>(
    writer: &Writer<'_>,
    vault: &Vault,
    dry_run: bool,
    monitor: &dyn Monitor,
    produce: impl FnOnce(&Packs<'_>) -> Result<T> + Send,
) -> Result<T> {
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
        let packs = Packs { writer, send: &send, wait: &wait };
        let produced = produce(&packs)?;
        // When a pack was not stored, whoever stores them says why.
        let because = |error| if writer.has_failed() { Error::stopped() } else { error };
        writer.remaining().map_err(because)?.into_iter().try_for_each(send)?;
        Ok(produced)
    };
    Ok(pipe::run(PACKS_WAITING, produce, store)?.0)
}

impl Packs<'_> {
    /// Stores a chunk that is not there yet; gives its id.
    pub fn put(&self, kind: ChunkKind, bytes: &[u8], encoder: &mut Encoder) -> Result<ChunkId> {
        (self.wait)();
        self.pass_on(self.writer.put(kind, bytes, encoder)?)
    }

    /// Whether a chunk is stored, or about to be.
    pub fn has(&self, id: &ChunkId) -> bool {
        self.writer.has(id)
    }

    /// As [`Packs::put`], for a chunk of which `stored` is what was stored elsewhere.
    pub fn put_stored(&self, kind: ChunkKind, bytes: &[u8], stored: Stored<'_>) -> Result<ChunkId> {
        (self.wait)();
        self.pass_on(self.writer.put_stored(kind, bytes, stored)?)
    }

    fn pass_on(&self, put: Put) -> Result<ChunkId> {
        if let Some(pack) = put.full {
            (self.send)(pack)?;
        }
        Ok(put.id)
    }
}

/// Stores the tree's own chunks with an encoder of its own.
pub(super) struct TreeStore<'t> {
    packs: &'t Packs<'t>,
    encoder: Encoder,
}

impl<'t> TreeStore<'t> {
    pub fn new(packs: &'t Packs<'t>, encoder: Encoder) -> Self {
        TreeStore { packs, encoder }
    }
}

impl Store for TreeStore<'_> {
    fn put(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId> {
        self.packs.put(kind, bytes, &mut self.encoder)
    }
}
