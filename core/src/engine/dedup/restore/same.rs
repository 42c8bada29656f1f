//! Whether a file in the target is already what a restore would make of it: so that a restore that was broken off goes on where
//! it was when it is run again.
//!
//! Invariant: a file counts as the same only when it is one name of a regular file, has the attributes it would get, and every
//! byte of it was compared.

use super::super::tree;
use super::Run;
use super::window::Small;
use crate::error::Result;
use crate::repository::vault::ChunkKind;
use crate::repository::vault::keys::Keys;
use crate::repository::vault::pack::chunk_limit;
use crate::tree::attributes::Attributes;
use crate::tree::target::Files;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Compares a file with its content. Trouble with it shows again when it is written.
pub(super) fn is_small(
    files: &mut Files<'_>,
    file: &Small,
    attributes: &Attributes,
    content: &[u8],
    buffer: &mut Vec<u8>,
) -> bool {
    match files.same(&file.path, content.len() as u64, attributes) {
        Ok(Some(there)) => read_at(&there, 0, content.len(), buffer) && buffer == content,
        Ok(None) | Err(_) => false,
    }
}

/// Compares a file without holes with its chunks, of which none is fetched.
///
/// # Errors
/// Those of the lists of its chunks.
pub(super) fn is_large(
    run: &Run<'_>,
    keys: &Keys,
    file: &Small,
    there: &File,
    buffer: &mut Vec<u8>,
) -> Result<bool> {
    let mut offset = 0_u64;
    for row in tree::rows(run.reader, &file.entry.content, file.entry.size_bytes)? {
        run.monitor.check()?;
        let (id, bytes) = row?;
        // What no chunk is as long as will be found out when it is fetched.
        let Some(length) = usize::try_from(bytes).ok().filter(|length| *length <= longest()) else {
            return Ok(false);
        };
        if !read_at(there, offset, length, buffer) || keys.chunk_id(ChunkKind::Content, buffer) != id {
            return Ok(false);
        }
        offset = offset.saturating_add(bytes);
    }
    Ok(offset == file.entry.size_bytes)
}

fn longest() -> usize {
    chunk_limit(ChunkKind::Content)
}

/// Reads exactly so many bytes, if that can be done.
fn read_at(file: &File, offset: u64, length: usize, buffer: &mut Vec<u8>) -> bool {
    buffer.resize(length, 0);
    file.read_exact_at(buffer, offset).is_ok()
}
