//! Packs against the index: one listing of all packs, and the tables of those that no index knows.

use super::super::Vault;
use super::super::header::{HEADER_BYTES, Header};
use super::super::id::ObjectId;
use super::super::names::{self, Folder, Names};
use super::super::pack::{
    DescribedPack, PACK_ALIGNMENT, PackKey, PackRef, TRAILER_BYTES, pack_kind, read_trailer,
};
use super::Index;
use crate::error::{Error, Kind, Result};
use crate::limits::PACK_BYTES;
use std::collections::HashMap;

/// Bytes at the end of a pack that are read at once: most tables are shorter.
const TAIL_BYTES: usize = 64 << 10;

/// What a listing of all packs says that the index does not.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Packs that no index knows, with their lengths: of a run that was killed, or of one that still runs.
    pub unknown: Vec<(ObjectId, u64)>,
    /// Packs that the index knows and that are not there.
    pub missing: Vec<PackRef>,
    /// Packs that have another length than the index says, and the length they have.
    pub resized: Vec<(PackRef, u64)>,
    /// What does not belong there.
    pub strays: Vec<String>,
}

/// Compares the packs that are there with those that the index knows. One listing.
///
/// # Errors
/// As the storage has it.
pub fn inventory(vault: &Vault, index: &Index) -> Result<Inventory> {
    Ok(compare(names::list(vault.storage().as_ref(), Folder::Packs)?, index))
}

/// The same by a list that was made already.
pub(super) fn compare(listed: Names, index: &Index) -> Inventory {
    let mut known: HashMap<ObjectId, (PackRef, u32)> =
        index.packs().map(|(pack, info)| (info.id, (pack, info.size_bytes))).collect();
    let mut inventory = Inventory { strays: listed.strays, ..Inventory::default() };
    for (id, size_bytes) in listed.objects {
        match known.remove(&id) {
            None => inventory.unknown.push((id, size_bytes)),
            Some((pack, indexed)) if u64::from(indexed) != size_bytes => {
                inventory.resized.push((pack, size_bytes));
            }
            Some(_) => (),
        }
    }
    inventory.missing = known.into_values().map(|(pack, _)| pack).collect();
    inventory.missing.sort_unstable();
    inventory
}

/// A pack that no index knows, as its own table has it.
pub struct OrphanPack(pub(super) DescribedPack);

impl OrphanPack {
    /// Its name.
    pub fn id(&self) -> ObjectId {
        self.0.id()
    }

    /// Chunks in it.
    pub fn chunks(&self) -> usize {
        self.0.rows.len()
    }

    /// Bytes of the object.
    pub fn size_bytes(&self) -> u32 {
        self.0.size_bytes
    }
}

/// What killed runs left behind.
#[derive(Default)]
pub struct Orphans {
    /// Packs that can be used.
    pub packs: Vec<OrphanPack>,
    /// Packs whose table cannot be read, and why.
    pub damaged: Vec<(ObjectId, Error)>,
}

/// The packs that no index knows, by one listing of all packs and by their own tables.
///
/// # Errors
/// As the storage has it; a pack that is damaged is a row of the answer.
pub fn orphans(vault: &Vault, index: &Index) -> Result<Orphans> {
    let mut orphans = Orphans::default();
    for (id, size_bytes) in inventory(vault, index)?.unknown {
        match read_described(vault, id, size_bytes) {
            Ok(pack) => orphans.packs.push(OrphanPack(pack)),
            // Nobody needs it; so one of a newer version is no reason to stop either.
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Unsupported) => {
                orphans.damaged.push((id, error));
            }
            // Collected since it was listed.
            Err(error) if error.kind() == Kind::NotFound => (),
            Err(error) => return Err(error),
        }
    }
    Ok(orphans)
}

/// Reads header and table of a pack.
fn read_described(vault: &Vault, id: ObjectId, size_bytes: u64) -> Result<DescribedPack> {
    let damaged = |what: &str| Error::damaged(what, id.to_string());
    let size = usize::try_from(size_bytes).ok().filter(|size| *size <= PACK_BYTES);
    let size =
        size.filter(|size| *size >= PACK_ALIGNMENT).ok_or_else(|| damaged("a wrong length of pack"))?;
    let name = Folder::Packs.object(id)?;
    let read = |from: usize, to: usize| -> Result<Vec<u8>> {
        let bytes = vault.storage().read(&name, from as u64, to - from)?;
        if bytes.len() == to - from { Ok(bytes) } else { Err(damaged("shorter than it was listed: pack")) }
    };
    let mut tail = read(size.saturating_sub(TAIL_BYTES), size)?;
    let table_bytes = read_trailer(&tail[tail.len() - TRAILER_BYTES..], size)
        .map_err(|error| error.while_doing("cannot read pack", id.to_string()))?;
    let table_end = size - TRAILER_BYTES;
    let table_offset = table_end - table_bytes;
    if table_bytes + TRAILER_BYTES > tail.len() {
        tail = read(table_offset, size)?;
    }
    let (header, is_metadata) = read_header(vault, id, &read(0, HEADER_BYTES)?)?;
    let from = tail.len() - TRAILER_BYTES - table_bytes;
    let table = &mut tail[from..][..table_bytes];
    let key = PackKey::new(vault.keys(), &header)?;
    let rows = key.open_table(vault.keys(), &header, table, is_metadata, table_offset)?;
    Ok(DescribedPack { header, is_metadata, size_bytes: size as u32, rows: rows.into() })
}

/// The header of a pack of either kind.
fn read_header(vault: &Vault, id: ObjectId, bytes: &[u8]) -> Result<(Header, bool)> {
    // The byte that says the kind picks what is asked for; asking checks it.
    let is_metadata = bytes.get(9) == Some(&pack_kind(true).number());
    Ok((Header::read(vault.keys(), pack_kind(is_metadata), id, bytes)?, is_metadata))
}
