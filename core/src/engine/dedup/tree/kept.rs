//! Attributes and holes: in the entry when they are short, else in a chunk of their own. The bytes are the same in both places.

use super::entry::{are_xattrs, hole_bytes};
use super::varint::{self, Fields, damaged};
use super::{Chunks, Hole, Kept, Store};
use crate::error::{Error, Kind, Result};
use crate::limits::{TREE_CHUNK_BYTES, TREE_HOLES_BYTES, TREE_XATTR_BYTES};
use crate::repository::vault::{ChunkId, ChunkKind};
use crate::tree::attributes::Xattrs;

/// Puts attributes where they belong. They are sorted by name.
///
/// # Errors
/// `Invalid` when they are not; `Limit` when they are too long for a chunk; as the store has it.
pub fn keep_xattrs(store: &mut dyn Store, xattrs: Xattrs) -> Result<Kept<Xattrs>> {
    if !xattrs.is_empty() && !are_xattrs(&xattrs) {
        return Err(Error::invalid("attributes out of order in", "an entry"));
    }
    let mut bytes = Vec::new();
    write_xattrs(&mut bytes, &xattrs);
    keep(store, xattrs, &bytes, TREE_XATTR_BYTES)
}

/// Puts holes where they belong. None of them is empty, and there is data between them.
///
/// # Errors
/// As [`keep_xattrs`].
pub fn keep_holes(store: &mut dyn Store, holes: Vec<Hole>) -> Result<Kept<Vec<Hole>>> {
    if !holes.is_empty() && hole_bytes(&holes, u64::MAX).is_none() {
        return Err(Error::invalid("holes that cannot be in", "an entry"));
    }
    let mut bytes = Vec::new();
    write_holes(&mut bytes, &holes);
    keep(store, holes, &bytes, TREE_HOLES_BYTES)
}

fn keep<T>(store: &mut dyn Store, kept: Vec<T>, bytes: &[u8], most_here: usize) -> Result<Kept<Vec<T>>> {
    if kept.is_empty() {
        return Ok(Kept::None);
    }
    if bytes.len() <= most_here {
        return Ok(Kept::Here(kept));
    }
    if bytes.len() as u64 > TREE_CHUNK_BYTES {
        return Err(Error::new(Kind::Limit, "too many attributes or holes").on("an entry"));
    }
    store.put(ChunkKind::Attributes, bytes).map(Kept::Elsewhere)
}

/// The attributes of an entry, from wherever they are.
///
/// # Errors
/// `Damaged`, `Unsupported`, or as the storage has it.
pub fn xattrs(chunks: &dyn Chunks, kept: &Kept<Xattrs>) -> Result<Xattrs> {
    match kept {
        Kept::None => Ok(Xattrs::new()),
        Kept::Here(xattrs) => Ok(xattrs.clone()),
        Kept::Elsewhere(id) => elsewhere(chunks, id, |fields| {
            let xattrs = read_xattrs(fields)?;
            if are_xattrs(&xattrs) { Ok(xattrs) } else { Err(damaged("attributes out of order in")) }
        }),
    }
}

/// The holes of a file of `size_bytes`, from wherever they are.
///
/// # Errors
/// As [`xattrs`].
pub fn holes(chunks: &dyn Chunks, kept: &Kept<Vec<Hole>>, size_bytes: u64) -> Result<Vec<Hole>> {
    match kept {
        Kept::None => Ok(Vec::new()),
        Kept::Here(holes) => Ok(holes.clone()),
        Kept::Elsewhere(id) => elsewhere(chunks, id, |fields| {
            let holes = read_holes(fields)?;
            let fit = hole_bytes(&holes, size_bytes).is_some();
            if fit { Ok(holes) } else { Err(damaged("holes that cannot be in")) }
        }),
    }
}

fn elsewhere<T>(
    chunks: &dyn Chunks,
    id: &ChunkId,
    read: impl FnOnce(&mut Fields<'_>) -> Result<T>,
) -> Result<T> {
    let bytes = chunks.read(ChunkKind::Attributes, id)?;
    if bytes.len() as u64 > TREE_CHUNK_BYTES {
        return Err(Error::damaged("too long a chunk:", id.to_string()));
    }
    let mut fields = Fields::new(&bytes, 0);
    let found = read(&mut fields).and_then(|found| fields.end().map(|()| found));
    found.map_err(|error| error.while_doing("cannot read the chunk", id.to_string()))
}

/// Appends attributes in the form of the format.
pub(super) fn write_xattrs(out: &mut Vec<u8>, xattrs: &Xattrs) {
    varint::put(out, xattrs.len() as u64);
    for (name, value) in xattrs {
        varint::put_bytes(out, name);
        varint::put_bytes(out, value);
    }
}

/// Bytes that attributes take.
pub(super) fn xattrs_len(xattrs: &Xattrs) -> usize {
    let len = |bytes: &Vec<u8>| varint::len(bytes.len() as u64) + bytes.len();
    varint::len(xattrs.len() as u64)
        + xattrs.iter().map(|(name, value)| len(name) + len(value)).sum::<usize>()
}

/// Attributes, in whatever order they are.
pub(super) fn read_xattrs(fields: &mut Fields<'_>) -> Result<Xattrs> {
    let count = fields.count(2)?;
    let mut xattrs = Xattrs::new();
    for _ in 0..count {
        let name = fields.bytes(usize::MAX)?.to_vec();
        xattrs.push((name, fields.bytes(usize::MAX)?.to_vec()));
    }
    Ok(xattrs)
}

/// Appends holes in the form of the format.
pub(super) fn write_holes(out: &mut Vec<u8>, holes: &[Hole]) {
    varint::put(out, holes.len() as u64);
    for hole in holes {
        varint::put(out, hole.data_before);
        varint::put(out, hole.length);
    }
}

/// Bytes that holes take.
pub(super) fn holes_len(holes: &[Hole]) -> usize {
    let len = |hole: &Hole| varint::len(hole.data_before) + varint::len(hole.length);
    varint::len(holes.len() as u64) + holes.iter().map(len).sum::<usize>()
}

/// Holes, whatever they are.
pub(super) fn read_holes(fields: &mut Fields<'_>) -> Result<Vec<Hole>> {
    let count = fields.count(2)?;
    let mut holes = Vec::new();
    for _ in 0..count {
        holes.push(Hole { data_before: fields.number()?, length: fields.number()? });
    }
    Ok(holes)
}
