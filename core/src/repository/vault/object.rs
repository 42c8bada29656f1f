//! Objects that are one sealed document behind a header: indexes, snapshots, sessions, removals.
//!
//! Invariant: an object opens under its own name, kind and repository, whole and unchanged, or is `Damaged`.

use super::header::{HEADER_BYTES, Header, ObjectKind, bound};
use super::id::ObjectId;
use super::keys::Keys;
use super::seal::{KEY_BYTES, Key, SealKey, TAG_BYTES, random};
use crate::error::{Error, Kind, Result};
use crate::limits::VAULT_OBJECT_BYTES;
use zeroize::Zeroizing;

/// What objects are padded to, so that their lengths tell little.
const PADDING: usize = 1024;
const LENGTH_BYTES: usize = 4;
/// What there is besides the document.
const FRAME_BYTES: usize = HEADER_BYTES + LENGTH_BYTES + TAG_BYTES;

/// The object `id` with this document, under a new key.
///
/// # Errors
/// `Limit` when the document is too long, `Invalid` for a kind that is no document.
pub fn seal(keys: &Keys, kind: ObjectKind, id: ObjectId, document: &[u8]) -> Result<Vec<u8>> {
    seal_with_key(keys, kind, id, &Zeroizing::new(random::<KEY_BYTES>()?), document)
}

/// As [`seal`], with a key that is given: test vectors need one.
pub(super) fn seal_with_key(
    keys: &Keys,
    kind: ObjectKind,
    id: ObjectId,
    key: &Key,
    document: &[u8],
) -> Result<Vec<u8>> {
    if matches!(kind, ObjectKind::ContentPack | ObjectKind::MetadataPack) {
        return Err(Error::invalid("a pack is not one document:", id.to_string()));
    }
    let size = document.len().saturating_add(FRAME_BYTES).checked_next_multiple_of(PADDING);
    let size = size.filter(|size| *size as u64 <= VAULT_OBJECT_BYTES).ok_or_else(|| {
        Error::new(
            Kind::Limit,
            format!("{} bytes are too many for an object, which is at most", document.len()),
        )
        .on(VAULT_OBJECT_BYTES.to_string())
    })?;
    let length = u32::try_from(document.len())
        .map_err(|_| Error::new(Kind::Limit, "too long a document for").on(id.to_string()))?;
    let (header, key) = Header::with_key(keys, kind, id, key)?;
    let mut object = Vec::with_capacity(size);
    object.extend_from_slice(header.bytes());
    object.extend_from_slice(&length.to_le_bytes());
    object.extend_from_slice(document);
    object.resize(size - TAG_BYTES, 0);
    seal_payload(keys, &header, &key, &mut object)?;
    Ok(object)
}

fn seal_payload(keys: &Keys, header: &Header, key: &SealKey, object: &mut Vec<u8>) -> Result<()> {
    key.seal(0, &bound(keys, header.bytes()), object, HEADER_BYTES)
}

/// The document of what should be the object `id` of this kind.
///
/// # Errors
/// `Damaged` when anything is not as it was written, `Unsupported` when a newer version wrote it.
pub fn open(keys: &Keys, kind: ObjectKind, id: ObjectId, mut object: Vec<u8>) -> Result<Vec<u8>> {
    let damaged = |what: &str| Error::damaged(what, id.to_string());
    if object.len() as u64 > VAULT_OBJECT_BYTES {
        return Err(damaged("too long an object:"));
    }
    let header = Header::read(keys, kind, id, &object)?;
    let key = header.key(keys)?;
    let data = bound(keys, header.bytes());
    let plain =
        key.open(0, &data, &mut object[HEADER_BYTES..]).ok_or_else(|| damaged("not as it was written:"))?;
    let (length, rest) =
        plain.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| damaged("no document in the object"))?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let padding = rest.get(length..).ok_or_else(|| damaged("the document is longer than its object:"))?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(damaged("something stands behind the document of"));
    }
    // In place: an index is tens of megabytes.
    object.truncate(HEADER_BYTES + LENGTH_BYTES + length);
    object.drain(..HEADER_BYTES + LENGTH_BYTES);
    Ok(object)
}
