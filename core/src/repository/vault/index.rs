//! The index: every chunk that packs hold, and where (section 5 of the format).
//!
//! Invariants: it never changes while it is shared; a chunk it has is in a pack that was durable before its index was written.
//! Memory: 49 bytes for a chunk and 96 for a pack (some 55 for a chunk in all), see [`crate::limits::CHUNKS_IN_MEMORY`].

pub mod document;
mod load;
mod orphans;
mod table;

pub use orphans::{Inventory, OrphanPack, Orphans, inventory, orphans};

use super::Vault;
use super::header::{HEADER_BYTES, Header, WRAPPED_BYTES};
use super::id::{ChunkId, ObjectId};
use super::names::Folder;
use super::pack::{DescribedPack, Location, PackRef, pack_kind};
use super::seal::{KEY_BYTES, TAG_BYTES};
use crate::error::{Error, Kind, Result};
use crate::limits::{CHUNKS_IN_MEMORY, PACKS_IN_MEMORY};
use crate::monitor::{Event, Monitor};
use std::collections::HashSet;
use table::Table;

/// Bytes of a wrapped key that are used.
const KEPT_BYTES: usize = KEY_BYTES + TAG_BYTES;

/// Every chunk of a repository as it was when this was loaded.
pub struct Index {
    table: Table,
    packs: Vec<PackEntry>,
    small: Vec<Small>,
    damaged: Vec<(ObjectId, Error)>,
    unindexed: Vec<DescribedPack>,
    adopted: bool,
}

/// A pack as it is kept in memory.
#[derive(Clone, PartialEq, Eq)]
struct PackEntry {
    id: ObjectId,
    wrapped: [u8; KEPT_BYTES],
    size_bytes: u32,
    chunks: u32,
    is_metadata: bool,
}

/// A pack as an index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackInfo {
    /// Its name.
    pub id: ObjectId,
    /// Bytes of the object.
    pub size_bytes: u32,
    /// Whether it holds metadata rather than content.
    pub is_metadata: bool,
    /// Chunks in it, those that are found in another pack among them.
    pub chunks: u32,
}

/// An index object that is small enough to be merged, and those it took the place of that are still there.
pub(super) struct Small {
    pub id: ObjectId,
    pub supersedes: Vec<ObjectId>,
}

impl Index {
    /// Loads all indexes of a repository.
    ///
    /// # Errors
    /// `Damaged` when one of them is, `Limit` when there are more chunks than fit into memory, `Busy` when they change faster
    /// than they are read, and as the storage has it.
    pub fn load(vault: &Vault, monitor: &dyn Monitor) -> Result<Index> {
        let mut index = load::load(vault, monitor, &HashSet::new())?;
        match index.damaged.pop() {
            None => Ok(index),
            Some((id, error)) => Err(error
                .while_doing("cannot read index", id.to_string())
                .hint("what it said is read back from the packs by the next backup")),
        }
    }

    /// Loads what is sound; [`Index::damaged`] tells the rest. With [`orphans`] and [`Index::adopt`] nothing is missing again,
    /// and the next [`super::writer::Writer::finish`] writes an index that takes the place of the damaged ones.
    ///
    /// # Errors
    /// As [`Index::load`], but for `Damaged` of a single index.
    pub fn load_what_is_sound(vault: &Vault, monitor: &dyn Monitor) -> Result<Index> {
        load::load(vault, monitor, &HashSet::new())
    }

    /// Loads what is sound, reads back from the packs what damaged indexes said (each is told, and so are packs that are of no use:
    /// one index that is damaged, or that somebody put there, so costs no backup), and goes by the packs that are there, by one
    /// listing of them: what a pack held that is gone is not found, so that it is stored anew, and taken from another pack where
    /// there is one; and what packs hold that no index knows (of runs that were killed or still run, or whose index is lost) is
    /// found. A pack of another length than it should have counts as gone unless `with_cut`: who only reads may find something in
    /// it, a backup relies on nothing of it.
    ///
    /// # Errors
    /// As [`Index::load`], but for `Damaged` of a single index.
    pub fn load_present(vault: &Vault, monitor: &dyn Monitor, with_cut: bool) -> Result<Index> {
        // Asked before: of several places the far one may be gone afterwards.
        let is_at_once = vault.storage().capabilities().parallel;
        let list = || vault.list(Folder::Packs);
        let (listed, mut index) = vault.beside(list, || load::load(vault, monitor, &HashSet::new()))?;
        index.tell_damaged(monitor);
        let mut inventory = orphans::compare(listed, &index);
        if is_at_once && !(inventory.missing.is_empty() && inventory.resized.is_empty()) {
            // A pack may have come after the list was made, and its index before the indexes were read.
            inventory = orphans::inventory(vault, &index)?;
        }
        let resized = inventory.resized.iter().filter(|_| !with_cut).map(|(pack, _)| *pack);
        let mut gone = HashSet::new();
        for pack in inventory.missing.iter().copied().chain(resized) {
            gone.insert(index.pack(pack)?.id);
        }
        if !gone.is_empty() {
            let text = format!(
                "{} of the packs that indexes know are gone or cut: what they held does not count as stored; \
                 `icecore check` names what needs it",
                gone.len()
            );
            monitor.event(Event::Warning(&text));
            index = load::load(vault, monitor, &gone)?;
        }
        if !inventory.unknown.is_empty() || !index.damaged.is_empty() {
            index.adopt_orphans(vault, monitor)?;
        }
        Ok(index)
    }

    fn tell_damaged(&self, monitor: &dyn Monitor) {
        for (id, error) in &self.damaged {
            let text = format!("the index {id} is damaged, and what it said is read from packs: {error}");
            monitor.event(Event::Warning(&text));
        }
    }

    /// Takes in the packs that no index knows, and tells of those that are of no use, and of lost indexes.
    fn adopt_orphans(&mut self, vault: &Vault, monitor: &dyn Monitor) -> Result<()> {
        let orphans = orphans(vault, self)?;
        for (pack, error) in &orphans.damaged {
            let text = format!("the pack {pack}, which no index knows, is of no use: {error}");
            monitor.event(Event::Warning(&text));
        }
        // While a run is announced, packs that no index knows yet are its own.
        if self.damaged.is_empty() && !orphans.packs.is_empty() && vault.sessions()?.is_empty() {
            let text = format!(
                "packs that no index knows: {} (an index is lost, or a run has ended just now); what they hold is read back from them",
                orphans.packs.len()
            );
            monitor.event(Event::Warning(&text));
        }
        self.adopt(orphans.packs)
    }

    /// An index of nothing: for a repository that has just been made.
    pub fn empty() -> Index {
        let mut table = Table::new();
        table.settle();
        Index {
            table,
            packs: Vec::new(),
            small: Vec::new(),
            damaged: Vec::new(),
            unindexed: Vec::new(),
            adopted: false,
        }
    }

    /// Where a chunk is.
    pub fn find(&self, id: &ChunkId) -> Option<Location> {
        self.table.find(id)
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no chunks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every chunk, in the order of names.
    pub fn chunks(&self) -> impl Iterator<Item = (ChunkId, Location)> + '_ {
        self.table.iter()
    }

    /// The chunks that are found in one pack, in the order in which they stand there. Looks at every chunk there is.
    pub fn chunks_of(&self, pack: PackRef) -> Vec<(ChunkId, Location)> {
        let mut chunks: Vec<_> = self.chunks().filter(|(_, at)| at.pack == pack).collect();
        chunks.sort_unstable_by_key(|(_, at)| at.number);
        chunks
    }

    /// All packs.
    pub fn packs(&self) -> impl Iterator<Item = (PackRef, PackInfo)> + '_ {
        self.packs.iter().enumerate().map(|(number, pack)| (PackRef(number as u32), pack.info()))
    }

    /// What is known of a pack of this index.
    ///
    /// # Errors
    /// `Invalid` for a pack of another index.
    pub fn pack(&self, pack: PackRef) -> Result<PackInfo> {
        self.entry(pack).map(PackEntry::info)
    }

    /// Indexes that could not be read, after [`Index::load_what_is_sound`].
    pub fn damaged(&self) -> &[(ObjectId, Error)] {
        &self.damaged
    }

    /// Takes packs in that no index knew; the next [`super::writer::Writer::finish`] writes an index of them.
    ///
    /// # Errors
    /// `Limit` when there are more chunks than fit into memory.
    pub fn adopt(&mut self, packs: Vec<OrphanPack>) -> Result<()> {
        self.adopted = true;
        let mut known: HashSet<ObjectId> = self.packs.iter().map(|pack| pack.id).collect();
        for OrphanPack(pack) in packs {
            if known.insert(pack.id()) {
                take_pack(&mut self.table, &mut self.packs, &pack)?;
                self.unindexed.push(pack);
            }
        }
        self.table.settle();
        Ok(())
    }

    /// The header of a pack.
    pub(super) fn header(&self, keys: &super::Keys, pack: PackRef) -> Result<Header> {
        let entry = self.entry(pack)?;
        let mut wrapped = [0; WRAPPED_BYTES];
        wrapped[..KEPT_BYTES].copy_from_slice(&entry.wrapped);
        Ok(Header::from_wrapped(keys, pack_kind(entry.is_metadata), entry.id, &wrapped))
    }

    /// Small index objects.
    pub(super) fn small(&self) -> &[Small] {
        &self.small
    }

    /// Packs that were adopted and are in no index object.
    pub(super) fn unindexed(&self) -> &[DescribedPack] {
        &self.unindexed
    }

    /// Damaged index objects whose packs have been looked for: their place can be taken.
    pub(super) fn replaceable(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.damaged.iter().filter(|_| self.adopted).map(|(id, _)| *id)
    }

    fn entry(&self, pack: PackRef) -> Result<&PackEntry> {
        self.packs
            .get(pack.0 as usize)
            .ok_or_else(|| Error::invalid("not a pack of this index:", pack.0.to_string()))
    }
}

impl PackEntry {
    fn info(&self) -> PackInfo {
        let PackEntry { id, size_bytes, chunks, is_metadata, .. } = *self;
        PackInfo { id, size_bytes, is_metadata, chunks }
    }
}

/// Adds a pack and its chunks.
fn take_pack(table: &mut Table, packs: &mut Vec<PackEntry>, pack: &DescribedPack) -> Result<()> {
    if packs.len() >= PACKS_IN_MEMORY {
        return Err(too_many("packs", PACKS_IN_MEMORY));
    }
    let mut wrapped = [0; KEPT_BYTES];
    wrapped.copy_from_slice(&pack.header.wrapped()[..KEPT_BYTES]);
    let (size_bytes, is_metadata) = (pack.size_bytes, pack.is_metadata);
    let chunks = pack.rows.len() as u32;
    let name = PackRef(packs.len() as u32);
    packs.push(PackEntry { id: pack.id(), wrapped, size_bytes, chunks, is_metadata });
    if table.pushed() + pack.rows.len() > CHUNKS_IN_MEMORY {
        return Err(too_many("chunks", CHUNKS_IN_MEMORY));
    }
    let mut offset = HEADER_BYTES as u32;
    for (number, row) in pack.rows.iter().enumerate() {
        let at = Location {
            pack: name,
            offset,
            sealed_bytes: row.sealed_bytes,
            raw_bytes: row.raw_bytes,
            compression: row.compression,
            number: number as u32,
            kind: row.kind,
        };
        table.push(row.id, &at);
        offset += row.sealed_bytes;
    }
    Ok(())
}

/// There is more than one run keeps in memory.
pub(super) fn too_many(what: &str, limit: usize) -> Error {
    Error::new(Kind::Limit, format!("the repository has too many {what}:"))
        .on(format!("more than {limit}"))
        .hint("divide what is backed up among several repositories")
}
