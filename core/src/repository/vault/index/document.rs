//! The document of an index object (section 5 of the format): which indexes it takes the place of, and packs with their tables.

use super::super::header::{Header, ObjectKind, WRAPPED_BYTES};
use super::super::id::{ID_BYTES, ObjectId};
use super::super::keys::Keys;
use super::super::pack::{DescribedPack, PACK_ALIGNMENT, ROW_BYTES, blobs_end, pack_kind, read_rows};
use super::super::seal::{KEY_BYTES, TAG_BYTES};
use crate::error::{Error, Kind, Result};
use crate::limits::{INDEX_DOCUMENT_BYTES, PACK_BYTES};

const VERSION: u32 = 1;
const SCHEME: u8 = 1;
const PACK_ENTRY_BYTES: usize = ID_BYTES + 1 + 8 + 1 + WRAPPED_BYTES + 4;

/// Bytes of a document without packs.
pub fn base_bytes(superseded: usize) -> usize {
    12 + superseded * ID_BYTES
}

/// Bytes that a pack takes in a document.
pub fn pack_bytes(pack: &DescribedPack) -> usize {
    PACK_ENTRY_BYTES + pack.rows.len() * ROW_BYTES
}

/// The document that says this.
///
/// # Errors
/// `Limit` when it would be too long.
pub fn write(superseded: &[ObjectId], packs: &[DescribedPack]) -> Result<Vec<u8>> {
    let length = base_bytes(superseded.len()) + packs.iter().map(pack_bytes).sum::<usize>();
    if length > INDEX_DOCUMENT_BYTES {
        return Err(Error::new(Kind::Limit, "too long an index:").on(format!("{length} bytes")));
    }
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(superseded.len() as u32).to_le_bytes());
    superseded.iter().for_each(|id| out.extend_from_slice(&id.0));
    out.extend_from_slice(&(packs.len() as u32).to_le_bytes());
    for pack in packs {
        out.extend_from_slice(&pack.id().0);
        out.push(pack_kind(pack.is_metadata).number());
        out.extend_from_slice(&u64::from(pack.size_bytes).to_le_bytes());
        out.push(SCHEME);
        out.extend_from_slice(&pack.header.wrapped());
        out.extend_from_slice(&(pack.rows.len() as u32).to_le_bytes());
        pack.rows.iter().for_each(|row| row.write(&mut out));
    }
    Ok(out)
}

/// Takes a document: hands out its packs one by one and gives the indexes it supersedes.
///
/// # Errors
/// `Damaged`, `Unsupported` for what a newer version wrote, and what `pack` fails with; packs handed out before must not count then.
pub fn read(
    keys: &Keys,
    document: &[u8],
    pack: &mut dyn FnMut(DescribedPack) -> Result<()>,
) -> Result<Vec<ObjectId>> {
    if document.len() > INDEX_DOCUMENT_BYTES {
        return Err(damaged("too long"));
    }
    let mut rest = document;
    let version = u32::from_le_bytes(take(&mut rest)?);
    if version != VERSION {
        return Err(Error::new(
            Kind::Unsupported,
            format!("an index of version {version}, which a newer version wrote"),
        ));
    }
    let count = u32::from_le_bytes(take(&mut rest)?) as usize;
    let ids = count.checked_mul(ID_BYTES).and_then(|bytes| rest.split_at_checked(bytes));
    let (ids, after) = ids.ok_or_else(|| damaged("too short"))?;
    let superseded = ids.as_chunks::<ID_BYTES>().0.iter().map(|id| ObjectId(*id)).collect();
    rest = after;
    for _ in 0..u32::from_le_bytes(take(&mut rest)?) {
        pack(read_pack(keys, &mut rest)?)?;
    }
    if rest.is_empty() { Ok(superseded) } else { Err(damaged("more bytes than it says")) }
}

fn read_pack(keys: &Keys, rest: &mut &[u8]) -> Result<DescribedPack> {
    let id = ObjectId(take(rest)?);
    let in_pack = |error: Error| error.while_doing("cannot read what an index says of pack", id.to_string());
    let [number] = take(rest)?;
    let is_metadata = match ObjectKind::from_number(number) {
        Some(ObjectKind::ContentPack) => false,
        Some(ObjectKind::MetadataPack) => true,
        _ => {
            let what = format!("a pack of kind {number}, which a newer version wrote");
            return Err(in_pack(Error::new(Kind::Unsupported, what)));
        }
    };
    let size_bytes = u64::from_le_bytes(take(rest)?);
    let [scheme] = take(rest)?;
    if scheme != SCHEME {
        let what = format!("key scheme {scheme}, which a newer version wrote");
        return Err(in_pack(Error::new(Kind::Unsupported, what)));
    }
    let wrapped: [u8; WRAPPED_BYTES] = take(rest)?;
    if wrapped[KEY_BYTES + TAG_BYTES..].iter().any(|byte| *byte != 0) {
        return Err(in_pack(damaged("a wrong key")));
    }
    let (rows, after) = read_rows(rest, is_metadata).map_err(in_pack)?;
    *rest = after;
    // Behind the blobs there are table and trailer at least.
    let fits = blobs_end(&rows).is_some_and(|end| (end as u64) < size_bytes);
    if !fits || size_bytes > PACK_BYTES as u64 || !size_bytes.is_multiple_of(PACK_ALIGNMENT as u64) {
        return Err(in_pack(damaged("wrong lengths")));
    }
    let header = Header::from_wrapped(keys, pack_kind(is_metadata), id, &wrapped);
    Ok(DescribedPack { header, is_metadata, size_bytes: size_bytes as u32, rows: rows.into() })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or_else(|| damaged("too short"))?;
    *rest = after;
    Ok(*taken)
}

fn damaged(why: &str) -> Error {
    Error::damaged("not a sound index:", why)
}
