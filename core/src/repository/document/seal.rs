//! The last key of a document of Icecore's: a hash of all that stands before it, so that the document vouches for itself.

use crate::error::{Error, Kind, Result};

/// The key as it is spelled. Inside a text its quotes would be escaped: where these bytes stand, there is such a key.
const KEY: &[u8] = b"\"document_blake3\": \"";
/// What stands behind the hash: the ends of the text, of `icecore`, and of the document.
const END: &[u8] = b"\"}}";
const DIGITS: usize = 2 * blake3::OUT_LEN;

/// Adds the key to a line whose last key is the object `icecore`.
pub(super) fn close(mut line: Vec<u8>) -> Vec<u8> {
    debug_assert!(line.ends_with(b"}}"));
    line.truncate(line.len().saturating_sub(2));
    line.extend_from_slice(b", ");
    let hash = blake3::hash(&line).to_hex();
    [&line, KEY, hash.as_bytes(), END].concat()
}

/// Whether the line is as it was written; `None` when it does not end with the key.
fn is_whole(line: &[u8]) -> Option<bool> {
    let start = line.len().checked_sub(KEY.len() + DIGITS + END.len())?;
    let (content, tail) = line.split_at(start);
    let digits = tail.strip_prefix(KEY)?.strip_suffix(END)?;
    Some(blake3::hash(content).to_hex().as_bytes() == digits)
}

/// Compares the hash. A line that must have none may have none, if there is no trace of the key either: whatever else has
/// become of it, a document of Icecore's is not taken for one of Freezer's.
///
/// # Errors
/// `Damaged` when the line is not what was written.
pub(super) fn check(line: &[u8], is_ours: bool) -> Result<()> {
    let has_key = || line.windows(KEY.len()).any(|window| window == KEY);
    match is_whole(line) {
        Some(true) => Ok(()),
        None if !is_ours && !has_key() => Ok(()),
        _ => Err(Error::new(Kind::Damaged, "wrong checksum of")
            .hint("the storage has changed these bytes; restore another backup")),
    }
}
