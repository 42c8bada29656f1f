//! Getting chunks back: fetched, opened, decoded, and compared with their names.
//!
//! Invariants: no byte leaves here that was not opened under the key of its pack and whose hash is not its name. Memory is
//! bounded: prepared keys of a few packs, a few windows of metadata, a few decoders.

mod keep;
mod pack;

pub use pack::{Finding, PackReport};

use super::Vault;
use super::compression::{Decoder, STORED};
use super::id::{ChunkId, ChunkKind, ObjectId};
use super::index::Index;
use super::keys::Keys;
use super::names::Folder;
use super::pack::{Location, PackKey, PackRef, Row};
use crate::error::{Error, Kind, Result};
use crate::limits::{
    CACHED_WHOLE_BYTES, METADATA_WINDOW_BYTES, METADATA_WINDOWS, PACK_KEYS_KEPT, WORKERS_MAX,
};
use keep::Keep;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

/// What is fetched first of a pack with metadata, when nothing says that it will be gone through.
const FIRST_WINDOW_BYTES: usize = 128 << 10;

/// Reads chunks; shared by worker threads.
pub struct Reader<'v> {
    vault: &'v Vault,
    index: Arc<Index>,
    keys: Mutex<Keep<PackRef, Arc<PackKey>>>,
    windows: Mutex<Keep<(PackRef, u32), Arc<Window>>>,
    decoders: Mutex<Vec<Decoder>>,
}

/// A piece of a pack with metadata.
struct Window {
    pack: PackRef,
    from: u32,
    bytes: Vec<u8>,
}

impl Window {
    fn end(&self) -> u32 {
        self.from + self.bytes.len() as u32
    }

    fn holds(&self, at: &Location) -> bool {
        self.pack == at.pack && self.from <= at.offset && at.end() <= self.end()
    }

    fn blob(&self, at: &Location) -> Vec<u8> {
        self.bytes[(at.offset - self.from) as usize..][..at.sealed_bytes as usize].to_vec()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is replaced whole: a panic elsewhere leaves it sound.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Decodes what was stored of a chunk, and compares it with its name.
pub(super) fn decode(
    keys: &Keys,
    row: &Row,
    stored: &[u8],
    decoder: &mut Decoder,
    out: &mut Vec<u8>,
) -> Result<()> {
    if row.compression == STORED {
        out.clear();
        out.extend_from_slice(stored);
    } else {
        decoder
            .decode(stored, row.raw_bytes as usize, out)
            .map_err(|error| error.while_doing("cannot decode chunk", row.id.to_string()))?;
    }
    if keys.chunk_id(row.kind, out) != row.id {
        return Err(Error::damaged("wrong content of chunk", row.id.to_string()));
    }
    Ok(())
}

impl<'v> Reader<'v> {
    /// A reader of what `index` knows.
    pub fn new(vault: &'v Vault, index: Arc<Index>) -> Self {
        Reader {
            vault,
            index,
            keys: Mutex::new(Keep::new(PACK_KEYS_KEPT)),
            windows: Mutex::new(Keep::new(METADATA_WINDOWS)),
            decoders: Mutex::default(),
        }
    }

    /// What it reads by.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Whether each request waits for an answer from far away.
    pub fn is_far(&self) -> bool {
        self.vault.storage().capabilities().parallel
    }

    /// Reads one chunk.
    ///
    /// # Errors
    /// `Damaged` when it is missing or not what it should be, and as the storage has it.
    pub fn read(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        let at = self.index.find(id).ok_or_else(|| {
            Error::damaged("a chunk is missing:", id.to_string())
                .hint("its pack is gone, or cannot be read: icecore check names what needs it")
        })?;
        let mut sealed = if kind.is_metadata() {
            self.metadata_blob(&at)?
        } else {
            self.fetch(at.pack, at.offset..at.end())?
        };
        let mut out = Vec::new();
        let decoder = lock(&self.decoders).pop();
        let mut decoder = decoder.map_or_else(Decoder::new, Ok)?;
        let mut opened = self.open(id, kind, &at, &mut sealed, &mut decoder, &mut out);
        if let (true, true, Some(cache)) = (opened.is_err(), kind.is_metadata(), self.vault.cache()) {
            // Perhaps only the copy is no good.
            cache.forget(Folder::Packs, self.index.pack(at.pack)?.id);
            lock(&self.windows).clear();
            sealed = self.fetch(at.pack, at.offset..at.end())?;
            opened = self.open(id, kind, &at, &mut sealed, &mut decoder, &mut out);
        }
        let mut decoders = lock(&self.decoders);
        if decoders.len() < WORKERS_MAX {
            decoders.push(decoder);
        }
        opened.map(|()| out)
    }

    /// Reads a run of neighbouring blobs as they are stored.
    ///
    /// # Errors
    /// `Damaged` when the pack is missing or too short, and as the storage has it.
    pub fn fetch(&self, pack: PackRef, range: Range<u32>) -> Result<Vec<u8>> {
        let mut buffer = Vec::new();
        self.fetch_into(pack, range, &mut buffer)?;
        Ok(buffer)
    }

    /// As [`Reader::fetch`], into a buffer whose memory is used again.
    ///
    /// # Errors
    /// As [`Reader::fetch`].
    pub fn fetch_into(&self, pack: PackRef, range: Range<u32>, buffer: &mut Vec<u8>) -> Result<()> {
        let id = self.index.pack(pack)?.id;
        let length = range.end.saturating_sub(range.start) as usize;
        let name = Folder::Packs.object(id)?;
        let read = self.vault.storage().read_into(&name, u64::from(range.start), length, buffer);
        read.map_err(|error| match error.kind() {
            Kind::NotFound => Error::damaged("a pack is missing:", id.to_string()).because(error),
            _ => error.while_doing("cannot read pack", id.to_string()),
        })?;
        if buffer.len() == length {
            return Ok(());
        }
        let whole = |bytes: &Vec<u8>| bytes.len() == length;
        *buffer = self
            .copies(id, range.start, length)
            .find(whole)
            .ok_or_else(|| Error::damaged("too short a pack:", id.to_string()))?;
        Ok(())
    }

    /// What other copies of a pack have there, where the storage keeps several. One that cannot be read is none.
    fn copies(&self, pack: ObjectId, offset: u32, length: usize) -> impl Iterator<Item = Vec<u8>> {
        let name = Folder::Packs.object(pack).ok();
        let copy = move |copy: usize| {
            self.vault.storage().read_copy(name.as_ref()?, u64::from(offset), length, copy)
        };
        (0..).map_while(copy).filter_map(Result::ok)
    }

    /// Opens a blob in place and puts the chunk into `out` in place of what that holds.
    ///
    /// # Errors
    /// `Damaged` when it is not what it should be; `out` then holds nothing.
    pub fn open(
        &self,
        id: &ChunkId,
        kind: ChunkKind,
        at: &Location,
        sealed: &mut [u8],
        decoder: &mut Decoder,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.clear();
        if at.kind != kind {
            return Err(Error::damaged("a chunk of another kind is called", id.to_string()));
        }
        let key = self.key(at.pack)?;
        let pack = self.index.pack(at.pack)?.id;
        let row = at.row(*id);
        let opened = self.open_with(&key, at.number, &row, sealed, decoder, out);
        opened.or_else(|error| {
            for mut copy in self.copies(pack, at.offset, at.sealed_bytes as usize) {
                if self.open_with(&key, at.number, &row, &mut copy, decoder, out).is_ok() {
                    return Ok(());
                }
            }
            out.clear();
            Err(error.while_doing("cannot use what is stored in pack", pack.to_string()))
        })
    }

    fn open_with(
        &self,
        key: &PackKey,
        number: u32,
        row: &Row,
        sealed: &mut [u8],
        decoder: &mut Decoder,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        if sealed.len() != row.sealed_bytes as usize {
            return Err(Error::damaged("a wrong length of chunk", row.id.to_string()));
        }
        decode(self.vault.keys(), row, key.open(number, row, sealed)?, decoder, out)
    }

    /// The key of a pack, ready for use.
    fn key(&self, pack: PackRef) -> Result<Arc<PackKey>> {
        if let Some(key) = lock(&self.keys).get(&pack) {
            return Ok(key);
        }
        // Outside of the lock: two threads may prepare one key, and both are right.
        let header = self.index.header(self.vault.keys(), pack)?;
        let key = Arc::new(PackKey::new(self.vault.keys(), &header)?);
        lock(&self.keys).insert(pack, Arc::clone(&key));
        Ok(key)
    }

    /// As [`Reader::fetch`], by way of the copies close by. A pack that is small, or gone through, is copied whole.
    fn fetch_metadata(&self, pack: PackRef, range: Range<u32>, is_gone_through: bool) -> Result<Vec<u8>> {
        let Some(cache) = self.vault.cache() else { return self.fetch(pack, range) };
        let info = self.index.pack(pack)?;
        let (from, length) = (range.start as usize, range.len());
        if let Some(bytes) = cache.read(Folder::Packs, info.id, u64::from(range.start), length) {
            return Ok(bytes);
        }
        if info.size_bytes > CACHED_WHOLE_BYTES && !is_gone_through {
            return self.fetch(pack, range);
        }
        let whole = self.fetch(pack, 0..info.size_bytes)?;
        cache.keep(Folder::Packs, info.id, &whole);
        Ok(whole[from..from + length].to_vec())
    }

    /// A blob of metadata, by way of a window: its neighbours are wanted next.
    fn metadata_blob(&self, at: &Location) -> Result<Vec<u8>> {
        let (found, before) = {
            let mut windows = lock(&self.windows);
            let found = windows.find(|window| window.holds(at));
            // Whoever wants what stands behind a window goes through the pack.
            let is_next = |window: &Arc<Window>| {
                window.pack == at.pack && window.from <= at.offset && at.offset <= window.end()
            };
            let before = if found.is_none() { windows.find(is_next) } else { None };
            (found, before)
        };
        if let Some(window) = found {
            return Ok(window.blob(at));
        }
        let length = match before {
            Some(ref window) => (4 * window.bytes.len()).min(METADATA_WINDOW_BYTES),
            None => FIRST_WINDOW_BYTES,
        };
        if at.sealed_bytes as usize >= length {
            return self.fetch(at.pack, at.offset..at.end());
        }
        let size_bytes = self.index.pack(at.pack)?.size_bytes;
        let to = size_bytes.min(at.offset.saturating_add(length as u32));
        let bytes = match self.fetch_metadata(at.pack, at.offset..to, before.is_some()) {
            Ok(bytes) => bytes,
            // A pack that has lost its end still has this, perhaps.
            Err(error) if error.kind() == Kind::Damaged => return self.fetch(at.pack, at.offset..at.end()),
            Err(error) => return Err(error),
        };
        let window = Arc::new(Window { pack: at.pack, from: at.offset, bytes });
        let blob = window.blob(at);
        lock(&self.windows).insert((at.pack, at.offset), window);
        Ok(blob)
    }
}
