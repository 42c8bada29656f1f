//! Whether small files in the target are what a restore would make of them, or has made.
//!
//! A small file is a part of a chunk, whose hash says nothing of the parts. But when all files of a chunk stand in the target
//! they are hashed one behind the other, and when that is the hash of the chunk none of it has to be fetched.
//!
//! Invariant: what counts as the same is a regular file of which every byte was compared.

use super::super::tree::Content;
use super::Run;
use super::window::{Needed, Small, Want};
use crate::repository::vault::ChunkKind;
use crate::tree::attributes::Metadata;
use crate::tree::target::{Files, There};
use std::os::unix::fs::FileExt;

/// Compares a file with its content. Trouble with it shows again when it is written.
pub(super) fn is_small(there: &There, content: &[u8], buffer: &mut Vec<u8>) -> bool {
    buffer.clear();
    there.found.size_bytes == content.len() as u64
        && append(there, content.len(), buffer)
        && buffer == content
        && there.is_unchanged()
}

/// Whether everybody who wants some of a chunk stands in the target as it should be, going by the hash of the chunk: what was
/// found there, in the order of `wants`. `open` opens what stands at a path.
pub(super) fn are_all(
    run: &Run<'_>,
    files: &mut Files<'_>,
    needed: &Needed<'_>,
    buffer: &mut Vec<u8>,
    open: impl Fn(&mut Files<'_>, &Small) -> Option<There>,
) -> Option<Vec<Metadata>> {
    let mut slices = Vec::new();
    for (number, want) in needed.wants.iter().enumerate() {
        let Want::Slice(file) = want else { return None };
        let Content::Slice { offset, .. } = file.entry.content else { return None };
        slices.push((offset, number, file));
    }
    slices.sort_by_key(|(offset, ..)| *offset);
    // One behind the other, with nothing between them and nothing left.
    let end = slices.iter().try_fold(0_u64, |end, (offset, _, file)| {
        if *offset == end { end.checked_add(file.entry.size_bytes) } else { None }
    });
    if end != Some(u64::from(needed.at.raw_bytes)) {
        return None;
    }
    buffer.clear();
    let mut found = vec![None; slices.len()];
    for (_, number, file) in slices {
        let there = open(files, file)?;
        let length = usize::try_from(file.entry.size_bytes).ok()?;
        if there.found.size_bytes != file.entry.size_bytes
            || !append(&there, length, buffer)
            || !there.is_unchanged()
        {
            return None;
        }
        found[number] = Some(there.found);
    }
    let is_same = run.plan.keys.chunk_id(ChunkKind::Content, buffer) == needed.id;
    is_same.then(|| found.into_iter().flatten().collect())
}

/// Reads the first bytes of a file, if there are so many.
fn append(there: &There, length: usize, buffer: &mut Vec<u8>) -> bool {
    let start = buffer.len();
    buffer.resize(start + length, 0);
    there.file.read_exact_at(&mut buffer[start..], 0).is_ok()
}
