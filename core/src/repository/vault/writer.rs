//! Storing chunks: each once, in packs, then the indexes that say where.
//!
//! Everything costly (hashing, compressing, checking what was compressed, the storage) happens outside of locks; in the lock of
//! the open pack a chunk is appended and sealed in place. Content and metadata fill packs of their own.
//!
//! Invariants: of several threads with one new chunk, one stores it and the others are told that it is not new; an index is
//! written after the packs it speaks of; [`Writer::finish`] ends well only when all that was put is durable and indexed. After
//! any failure it does not: somebody may have been told of a chunk that never came to be.

use super::Vault;
use super::compression::{Encoder, Stored};
use super::header::ObjectKind;
use super::id::{ChunkId, ChunkKind, ObjectId};
use super::index::{Index, document, too_many};
use super::names::Folder;
use super::pack::{DescribedPack, Pack, chunk_limit};
use crate::error::{Error, Kind, Result};
use crate::limits::{
    CHUNKS_IN_MEMORY, INDEX_DOCUMENT_BYTES, INDEX_DUE_BYTES, INDEX_SMALL_COUNT, PACK_BUFFERS_KEPT,
    PACK_CLOSE_BYTES,
};
use crate::monitor::Quiet;
use crate::storage::{PutMode, Underway};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Sets of new chunks; a power of two, so that workers seldom meet.
const SHARDS: usize = 64;
/// An index is due when this part of what the run has stored is not indexed.
const INDEX_DUE_PART: u64 = 8;

impl Vault {
    /// Tells others of the packs that a run has stored before it failed or was interrupted, so that the next one goes on from there.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn index_what_was_stored(&self) -> Result<()> {
        // Not the monitor of the run, which was told to stop: this is what stopping in good order means.
        let mut index = Index::load(self, &Quiet)?;
        let orphans = super::index::orphans(self, &index)?;
        if orphans.packs.is_empty() {
            return Ok(());
        }
        index.adopt(orphans.packs)?;
        Writer::new(self, Arc::new(index)).finish()
    }
}

/// Stores chunks; shared by worker threads.
pub struct Writer<'v> {
    vault: &'v Vault,
    index: Arc<Index>,
    /// Chunks that this run has stored or is about to.
    claimed: Vec<Mutex<HashSet<ChunkId, BuildHasherDefault<IdHasher>>>>,
    new_chunks: AtomicUsize,
    /// The pack of content and the pack of metadata that are being filled.
    open: [Mutex<Option<Pack>>; 2],
    /// Packs that were handed out and are not stored yet.
    handed_out: AtomicUsize,
    buffers: Mutex<Vec<Vec<u8>>>,
    durable: Mutex<Durable>,
    added_bytes: AtomicU64,
    has_failed: AtomicBool,
}

/// Packs that are stored and in no index yet.
#[derive(Default)]
struct Durable {
    packs: Vec<DescribedPack>,
    pack_bytes: u64,
    /// Bytes of all packs of this run.
    total_bytes: u64,
    is_finished: bool,
}

/// What became of a chunk.
pub struct Put {
    /// What it is called.
    pub id: ChunkId,
    /// Whether the repository had it not.
    pub is_new: bool,
    /// Bytes it takes in its pack; 0 when it is not new.
    pub stored_bytes: u32,
    /// A pack that is full now and must be stored.
    pub full: Option<Pack>,
}

/// A pack that the storage has not got for good yet.
pub struct StoredPack {
    described: DescribedPack,
    way: Way,
}

/// How far it is.
enum Way {
    /// The storage has its bytes, and may still lose them.
    Taken(Box<dyn Underway>),
    /// Sending takes long, and several are sent at once: its bytes go when it is settled.
    Waits(Vec<u8>),
}

fn cannot_store(pack: &DescribedPack, error: Error) -> Error {
    error.while_doing("cannot store pack", pack.id().to_string())
}

/// Names of chunks are hashes: eight of their bytes will do.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not the first bytes, which pick the shard.
        if let Some(taken) = bytes.get(8..).and_then(|rest| rest.first_chunk()) {
            self.0 = u64::from_le_bytes(*taken);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere travels on by itself; nobody reaches `finish` after it.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl<'v> Writer<'v> {
    /// A writer that stores what `index` does not know.
    pub fn new(vault: &'v Vault, index: Arc<Index>) -> Writer<'v> {
        Writer {
            vault,
            index,
            claimed: (0..SHARDS).map(|_| Mutex::default()).collect(),
            new_chunks: AtomicUsize::new(0),
            open: [Mutex::new(None), Mutex::new(None)],
            handed_out: AtomicUsize::new(0),
            buffers: Mutex::default(),
            durable: Mutex::default(),
            added_bytes: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Whether a chunk is stored, or about to be.
    pub fn has(&self, id: &ChunkId) -> bool {
        self.index.find(id).is_some() || lock(self.claims(id)).contains(id)
    }

    /// Takes a chunk; it is stored when its pack is.
    ///
    /// # Errors
    /// `Limit` for a chunk that is too long, or one too many; when it cannot be compressed or sealed. The writer is then only
    /// good for dropping.
    pub fn put<'a>(&self, kind: ChunkKind, raw: &'a [u8], encoder: &'a mut Encoder) -> Result<Put> {
        self.put_as(kind, raw, || encoder.encode(raw))
    }

    /// As [`Writer::put`], for a chunk that was stored before: it is stored as it was then.
    ///
    /// # Errors
    /// As [`Writer::put`].
    pub fn put_stored(&self, kind: ChunkKind, raw: &[u8], stored: Stored<'_>) -> Result<Put> {
        self.put_as(kind, raw, || Ok(stored))
    }

    fn put_as<'a>(
        &self,
        kind: ChunkKind,
        raw: &[u8],
        encode: impl FnOnce() -> Result<Stored<'a>>,
    ) -> Result<Put> {
        let limit = chunk_limit(kind);
        if raw.len() > limit {
            return Err(Error::new(Kind::Limit, format!("a chunk of more than {limit} bytes:"))
                .on(format!("{} bytes", raw.len())));
        }
        let id = self.vault.keys().chunk_id(kind, raw);
        if self.index.find(&id).is_some() || !lock(self.claims(&id)).insert(id) {
            return Ok(Put { id, is_new: false, stored_bytes: 0, full: None });
        }
        // From here on others count on this chunk.
        let added = self.add(id, kind, raw.len(), encode);
        let (stored_bytes, full) = added.inspect_err(|_| self.has_failed.store(true, Ordering::SeqCst))?;
        Ok(Put { id, is_new: true, stored_bytes, full })
    }

    fn claims(&self, id: &ChunkId) -> &Mutex<HashSet<ChunkId, BuildHasherDefault<IdHasher>>> {
        &self.claimed[usize::from(id.0[0]) % SHARDS]
    }

    fn add<'a>(
        &self,
        id: ChunkId,
        kind: ChunkKind,
        raw_bytes: usize,
        encode: impl FnOnce() -> Result<Stored<'a>>,
    ) -> Result<(u32, Option<Pack>)> {
        if self.index.len() + self.new_chunks.fetch_add(1, Ordering::Relaxed) >= CHUNKS_IN_MEMORY {
            return Err(too_many("chunks", CHUNKS_IN_MEMORY));
        }
        let stored = encode()?;
        let is_metadata = kind.is_metadata();
        let mut open = lock(&self.open[usize::from(is_metadata)]);
        let pack = match &mut *open {
            Some(pack) => pack,
            none => none.insert(Pack::begin(self.vault.keys(), is_metadata, self.buffer())?),
        };
        let stored_bytes = pack.push(id, kind, raw_bytes, &stored)?;
        let full = if pack.is_full() { open.take() } else { None };
        // In the lock: `remaining` must not count before this does.
        self.handed_out.fetch_add(usize::from(full.is_some()), Ordering::SeqCst);
        Ok((stored_bytes, full))
    }

    fn buffer(&self) -> Vec<u8> {
        lock(&self.buffers).pop().unwrap_or_default()
    }

    fn recycle(&self, buffer: Vec<u8>) {
        let mut buffers = lock(&self.buffers);
        if buffers.len() < PACK_BUFFERS_KEPT && buffer.capacity() <= 2 * PACK_CLOSE_BYTES {
            buffers.push(buffer);
        }
    }

    /// Stores a pack, and an index when one is due.
    ///
    /// # Errors
    /// As the storage has it. The writer is then only good for dropping.
    pub fn store(&self, pack: Pack) -> Result<()> {
        self.settle(self.begin_store(pack)?).map(drop)
    }

    /// Gives a pack to the storage, or gets it ready for that; it counts as stored when it has been given to [`Writer::settle`].
    ///
    /// # Errors
    /// As the storage has it. The writer is then only good for dropping.
    pub fn begin_store(&self, pack: Pack) -> Result<StoredPack> {
        self.give(pack).inspect_err(|_| self.has_failed.store(true, Ordering::SeqCst))
    }

    fn give(&self, pack: Pack) -> Result<StoredPack> {
        let (bytes, described) = pack.close(self.vault.keys())?;
        if self.vault.storage().capabilities().parallel {
            return Ok(StoredPack { described, way: Way::Waits(bytes) });
        }
        let name = Folder::Packs.object(described.id())?;
        let underway = self.vault.storage().begin_put(&name, &bytes, PutMode::Unique);
        let underway = underway.map_err(|error| cannot_store(&described, error))?;
        self.recycle(bytes);
        Ok(StoredPack { described, way: Way::Taken(underway) })
    }

    /// Stores a pack, or waits until it is durable, and writes an index when one is due; gives the bytes the pack takes. Several threads
    /// may do this at a time.
    ///
    /// # Errors
    /// As the storage has it. The writer is then only good for dropping.
    pub fn settle(&self, pack: StoredPack) -> Result<u64> {
        self.settle_pack(pack).inspect_err(|_| self.has_failed.store(true, Ordering::SeqCst))
    }

    fn settle_pack(&self, pack: StoredPack) -> Result<u64> {
        let StoredPack { described, way } = pack;
        let stored = match way {
            Way::Taken(underway) => underway.finish(),
            Way::Waits(bytes) => {
                let name = Folder::Packs.object(described.id())?;
                let bytes = Arc::new(bytes);
                let put = self.vault.storage().put_shared(&name, &bytes, PutMode::Unique);
                if let (Ok(()), true, Some(cache)) = (&put, described.is_metadata, self.vault.cache()) {
                    cache.keep(Folder::Packs, described.id(), &bytes);
                }
                Arc::try_unwrap(bytes).into_iter().for_each(|bytes| self.recycle(bytes));
                put
            }
        };
        stored.map_err(|error| cannot_store(&described, error))?;
        let size_bytes = u64::from(described.size_bytes);
        self.added_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        let due = lock(&self.durable).add(described);
        self.write_indexes(due)?;
        // Only now: what `finish` may count on is all done.
        self.handed_out.fetch_sub(1, Ordering::SeqCst);
        Ok(size_bytes)
    }

    /// Writes packs into as many index objects as they need.
    fn write_indexes(&self, packs: Vec<DescribedPack>) -> Result<()> {
        let mut rest = &packs[..];
        while !rest.is_empty() {
            let mut bytes = document::base_bytes(0);
            let fitting = rest.iter().take_while(|pack| {
                bytes += document::pack_bytes(pack);
                bytes <= INDEX_DOCUMENT_BYTES
            });
            // A pack with the most rows fits, so that there is always one.
            let (some, others) = rest.split_at(fitting.count().max(1));
            self.write_index(&[], some)?;
            rest = others;
        }
        Ok(())
    }

    fn write_index(&self, superseded: &[ObjectId], packs: &[DescribedPack]) -> Result<()> {
        let document = document::write(superseded, packs)?;
        let written = self.vault.write_object(ObjectKind::Index, &document);
        written
            .map_err(|error| error.while_doing("cannot write an index to", self.vault.storage().label()))?;
        self.added_bytes.fetch_add(document.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The packs that are still open, to be stored at the end.
    ///
    /// # Errors
    /// When a chunk could not be stored before.
    pub fn remaining(&self) -> Result<Vec<Pack>> {
        self.refuse_after_failure()?;
        let mut packs = Vec::new();
        for open in &self.open {
            let mut open = lock(open);
            if let Some(pack) = open.take() {
                self.handed_out.fetch_add(1, Ordering::SeqCst);
                packs.push(pack);
            }
        }
        Ok(packs)
    }

    /// Writes the last index: from here on everything put is durable and found by others.
    ///
    /// # Errors
    /// `Invalid` when a pack was not stored, or something failed before; and as the storage has it.
    pub fn finish(&self) -> Result<()> {
        self.refuse_after_failure()?;
        let is_open = self.open.iter().any(|open| lock(open).is_some());
        if is_open || self.handed_out.load(Ordering::SeqCst) > 0 {
            return Err(Error::new(Kind::Invalid, "packs were not stored before the end of a run"));
        }
        let mut packs = {
            let mut durable = lock(&self.durable);
            let is_first = !std::mem::replace(&mut durable.is_finished, true);
            let mut packs = durable.take();
            if is_first {
                packs.extend_from_slice(self.index.unindexed());
            } else if packs.is_empty() {
                return Ok(());
            }
            packs
        };
        let finished = self.write_last(&mut packs);
        finished.inspect_err(|_| self.has_failed.store(true, Ordering::SeqCst))
    }

    /// The last index takes the place of small ones, when there are many, and of damaged ones whose packs were looked for.
    ///
    /// What supersedes must be one object: of two, the second would hide what only the first one has.
    fn write_last(&self, packs: &mut Vec<DescribedPack>) -> Result<()> {
        let mut superseded: Vec<ObjectId> = self.index.replaceable().collect();
        let mut merged = Vec::new();
        if self.index.small().len() > INDEX_SMALL_COUNT {
            self.read_small(&mut merged, &mut superseded)?;
        }
        if superseded.is_empty() {
            return self.write_indexes(std::mem::take(packs));
        }
        let bytes = |packs: &[DescribedPack]| packs.iter().map(document::pack_bytes).sum::<usize>();
        let base = document::base_bytes(superseded.len());
        if base + bytes(packs) + bytes(&merged) > INDEX_DOCUMENT_BYTES {
            // What is new goes before, on its own; what is merged fits.
            self.write_indexes(std::mem::take(packs))?;
        }
        merged.append(packs);
        self.write_index(&superseded, &merged)
    }

    /// Reads small indexes again, as many as fit into one.
    fn read_small(&self, packs: &mut Vec<DescribedPack>, superseded: &mut Vec<ObjectId>) -> Result<()> {
        let mut known: HashSet<ObjectId> = self.index.unindexed().iter().map(DescribedPack::id).collect();
        let mut bytes = document::base_bytes(superseded.len());
        for small in self.index.small() {
            let document = match self.vault.read_object(ObjectKind::Index, small.id, None) {
                Ok(document) => document,
                // Somebody else has merged it.
                Err(error) if error.kind() == Kind::NotFound => continue,
                Err(error) => return Err(error),
            };
            bytes += document.len() + document::base_bytes(small.supersedes.len() + 1);
            if bytes > INDEX_DOCUMENT_BYTES / 2 {
                break;
            }
            superseded.push(small.id);
            superseded.extend_from_slice(&small.supersedes);
            document::read(self.vault.keys(), &document, &mut |pack| {
                if known.insert(pack.id()) {
                    packs.push(pack);
                }
                Ok(())
            })?;
        }
        superseded.sort_unstable();
        superseded.dedup();
        Ok(())
    }

    /// Whether a chunk or a pack was not stored: then the run cannot end well.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst)
    }

    fn refuse_after_failure(&self) -> Result<()> {
        if self.has_failed() {
            return Err(Error::new(Kind::Invalid, "a run cannot end well after a chunk was not stored"));
        }
        Ok(())
    }

    /// Bytes of the objects stored so far.
    pub fn added_bytes(&self) -> u64 {
        self.added_bytes.load(Ordering::Relaxed)
    }

    /// Chunks that were new.
    pub fn added_chunks(&self) -> usize {
        self.new_chunks.load(Ordering::Relaxed)
    }
}

impl Durable {
    /// Adds a pack; gives those that are to be indexed now.
    fn add(&mut self, pack: DescribedPack) -> Vec<DescribedPack> {
        self.pack_bytes += u64::from(pack.size_bytes);
        self.total_bytes += u64::from(pack.size_bytes);
        self.packs.push(pack);
        let is_due = self.pack_bytes >= INDEX_DUE_BYTES.max(self.total_bytes / INDEX_DUE_PART);
        if is_due { self.take() } else { Vec::new() }
    }

    fn take(&mut self) -> Vec<DescribedPack> {
        self.pack_bytes = 0;
        std::mem::take(&mut self.packs)
    }
}

#[cfg(test)]
mod tests;
