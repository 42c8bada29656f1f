//! Where a file with holes holds data, as the file system tells it: `SEEK_DATA` and `SEEK_HOLE` of lseek(2); and where bytes
//! that are to be written could be holes.
//!
//! Invariant: regions are in order, not empty, do not touch each other, and end at or before the given size; `None` means
//! that the file is to be read as if it had no holes, which is always right and only costs space.

use crate::error::{Error, Result};
use crate::limits::{SPARSE_BLOCK_BYTES, SPARSE_REGIONS, SPARSE_RUN_BYTES};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The data regions (offset, length; bytes) of a file of `size_bytes`; an empty list when it is one hole.
///
/// `None` when it has no holes, more than [`SPARSE_REGIONS`] regions, or the file system cannot tell. The file's position is
/// at its start afterwards. A file cut short meanwhile gives the regions it still has: who reads them notices the change.
///
/// # Errors
/// As the system has it.
pub fn regions(file: &File, size_bytes: u64) -> Result<Option<Vec<(u64, u64)>>> {
    if size_bytes == 0 {
        return Ok(None);
    }
    let found = scan(size_bytes, SPARSE_REGIONS, |from| next_region(file, from));
    let found = found.map_err(|e| Error::io("cannot find the holes of", "a file", e))?;
    seek(file, SeekFrom::Start(0)).map_err(|e| Error::io("cannot seek in", "a file", e))?;
    Ok(found)
}

/// The next data at or after `from`, as start and end; `None` when only a hole is left.
fn next_region(file: &File, from: u64) -> Result<Option<(u64, u64)>, Errno> {
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(e) => return Err(e),
    };
    match seek(file, SeekFrom::Hole(start)) {
        Ok(end) => Ok(Some((start, end))),
        // The file was cut short between the two calls.
        Err(Errno::NXIO) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The first stretch of data inside of a stretch of a file; `None` when all of it is a hole. Where the file system cannot tell,
/// everything is data.
fn data_in(file: &File, stretch: Range<u64>) -> Option<Range<u64>> {
    if stretch.is_empty() {
        return None;
    }
    let (start, end) = match next_region(file, stretch.start) {
        Ok(Some(region)) => region,
        Ok(None) => {
            // Behind the end of the file is no hole: whoever reads there notices that it is shorter than it was.
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            return (length < stretch.end).then(|| length.max(stretch.start)..stretch.end);
        }
        Err(_) => return Some(stretch),
    };
    // An answer that makes no progress is not believed.
    if start < stretch.start || end <= start {
        return Some(stretch);
    }
    (start < stretch.end).then(|| start..end.min(stretch.end))
}

/// Whether a stretch of a file reads as zeros.
///
/// # Errors
/// As the system has it; a stretch behind the end among them.
pub fn is_zeros(file: &File, stretch: Range<u64>) -> std::io::Result<bool> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = stretch.start;
    while let Some(data) = data_in(file, at..stretch.end) {
        let mut from = data.start;
        while from < data.end {
            let step = usize::try_from(data.end - from).unwrap_or(usize::MAX).min(buffer.len());
            file.read_exact_at(&mut buffer[..step], from)?;
            if !all_zeros(&buffer[..step]) {
                return Ok(false);
            }
            from += step as u64;
        }
        at = data.end;
    }
    Ok(true)
}

/// Bytes that are compared with zeros at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// What of `bytes`, which are to stand at `offset` of a file, has to be written when long runs of zeros become holes: pieces
/// with their places, in order. A hole is made of whole blocks.
pub fn data(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            let (zeros, length) = next_zeros(offset, bytes, start);
            at = zeros + length;
            if zeros > start {
                return Some((offset + start as u64, &bytes[start..zeros]));
            }
        }
        None
    })
}

/// The next run of blocks of zeros from `from` on that is long enough: where it starts and how long it is; none at the end.
fn next_zeros(offset: u64, bytes: &[u8], from: usize) -> (usize, usize) {
    let block = SPARSE_BLOCK_BYTES;
    // The first block that begins here or behind.
    let to_border = |at: usize| (block - (offset + at as u64) as usize % block) % block;
    let mut start = from + to_border(from);
    while start < bytes.len() {
        let blocks = bytes[start..].chunks(block);
        // The last block of a file may be short: if it is of zeros it ends the hole.
        let run: usize = blocks.take_while(|block| all_zeros(block)).map(<[u8]>::len).sum();
        if run >= SPARSE_RUN_BYTES {
            return (start, run);
        }
        start += run + block;
    }
    (bytes.len(), 0)
}

fn all_zeros(bytes: &[u8]) -> bool {
    // Without a branch in it the compiler makes wide comparisons of the inner loop.
    bytes.chunks(64).all(|piece| piece.iter().fold(0, |any, byte| any | byte) == 0)
}

/// Collects what `next` finds, merged and cut to the size.
fn scan(
    size_bytes: u64,
    most: usize,
    mut next: impl FnMut(u64) -> Result<Option<(u64, u64)>, Errno>,
) -> Result<Option<Vec<(u64, u64)>>, Errno> {
    let mut regions: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < size_bytes {
        let (start, end) = match next(at) {
            Ok(Some(region)) => region,
            Ok(None) => break,
            // A file system that knows no holes.
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => return Ok(None),
            Err(e) => return Err(e),
        };
        let end = end.min(size_bytes);
        // Data beyond the size (the file grew) or an answer that makes no progress: a file system is not trusted to end.
        if start < at || start >= end {
            break;
        }
        let full = regions.len() == most;
        match regions.last_mut() {
            Some((offset, length)) if *offset + *length == start => *length += end - start,
            _ if full => return Ok(None),
            _ => regions.push((start, end - start)),
        }
        at = end;
    }
    Ok((regions != [(0, size_bytes)]).then_some(regions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Seek, Write};

    const HOLE: u64 = 1 << 20;

    /// A file with data where `data` says so, in steps of [`HOLE`] bytes.
    fn file_of(data: &[bool]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(data.len() as u64 * HOLE).unwrap();
        for (step, _) in data.iter().enumerate().filter(|(_, full)| **full) {
            file.write_all_at(&vec![1; HOLE as usize], step as u64 * HOLE).unwrap();
        }
        file
    }

    #[test]
    fn holes_at_the_start_in_the_middle_and_at_the_end() {
        let file = file_of(&[false, true, false, true, true, false]);
        let found = regions(&file, 6 * HOLE).unwrap();
        assert_eq!(found, Some(vec![(HOLE, HOLE), (3 * HOLE, 2 * HOLE)]));
        assert_eq!(regions(&file_of(&[false, false]), 2 * HOLE).unwrap(), Some(Vec::new()));
    }

    #[test]
    fn a_full_file_has_no_holes_and_the_position_is_its_start() {
        let mut file = file_of(&[true]);
        file.seek(std::io::SeekFrom::End(0)).unwrap();
        assert_eq!(regions(&file, HOLE).unwrap(), None);
        assert_eq!(file.read(&mut [0]).unwrap(), 1);
        assert_eq!(regions(&file, 0).unwrap(), None);
    }

    #[test]
    fn a_file_shorter_or_longer_than_said_gives_only_what_lies_inside() {
        let mut file = file_of(&[true, false]);
        assert_eq!(regions(&file, 10 * HOLE).unwrap(), Some(vec![(0, HOLE)]));
        file.seek(std::io::SeekFrom::End(0)).unwrap();
        file.write_all(b"grown").unwrap();
        assert_eq!(regions(&file, 2 * HOLE).unwrap(), Some(vec![(0, HOLE)]));
    }

    #[test]
    fn too_many_regions_and_unknown_file_systems_mean_no_holes() {
        assert_eq!(scan(100, 3, |at| Ok(Some((at + 1, at + 2)))), Ok(None));
        assert_eq!(scan(100, 3, |_| Err(Errno::INVAL)), Ok(None));
        assert_eq!(scan(100, 3, |_| Err(Errno::IO)), Err(Errno::IO));
    }

    #[test]
    fn only_whole_blocks_of_long_runs_of_zeros_become_holes() {
        let (block, run) = (SPARSE_BLOCK_BYTES, SPARSE_RUN_BYTES);
        let pieces = |offset: usize, bytes: &[u8]| -> Vec<(u64, usize)> {
            data(offset as u64, bytes).map(|(at, piece)| (at, piece.len())).collect()
        };
        assert_eq!(pieces(0, &vec![0; run]), []);
        assert_eq!(pieces(0, &vec![0; run - 1]), [(0, run - 1)]);
        assert_eq!(pieces(1, &vec![0; run]), [(1, run)]);
        assert_eq!(pieces(1, &vec![0; run + block]), [(1, block - 1)]);
        let mut bytes = vec![0; 4 * run];
        bytes[2 * run + 5] = 1;
        assert_eq!(pieces(block, &bytes), [((block + 2 * run) as u64, block)]);
        bytes[0] = 1;
        assert_eq!(pieces(0, &bytes), [(0, block), (2 * run as u64, block)]);
        assert_eq!(pieces(7, &[]), []);
    }

    #[test]
    fn what_reads_as_zeros_is_a_hole_or_full_of_zeros() {
        let file = file_of(&[false, true, false]);
        file.write_all_at(&vec![0; HOLE as usize], 0).unwrap();
        assert!(is_zeros(&file, 0..HOLE).unwrap() && is_zeros(&file, 2 * HOLE..3 * HOLE).unwrap());
        assert!(!is_zeros(&file, 0..HOLE + 1).unwrap() && is_zeros(&file, 5..5).unwrap());
        assert!(is_zeros(&file, 2 * HOLE..3 * HOLE + 1).is_err(), "it ends before that");
    }

    proptest! {
        #[test]
        fn what_is_written_with_holes_reads_as_it_should(
            offset in 0_usize..3 * SPARSE_BLOCK_BYTES,
            runs in proptest::collection::vec((any::<bool>(), 1_usize..3 * SPARSE_RUN_BYTES), 0..6),
        ) {
            let bytes: Vec<u8> =
                runs.iter().flat_map(|(full, length)| std::iter::repeat_n(u8::from(*full), *length)).collect();
            let (mut found, mut end) = (vec![0; bytes.len()], 0);
            for (at, piece) in data(offset as u64, &bytes) {
                let at = at as usize - offset;
                prop_assert!(at >= end && !piece.is_empty());
                end = at + piece.len();
                found[at..end].copy_from_slice(piece);
            }
            prop_assert!(found == bytes);
        }
    }

    proptest! {
        #[test]
        fn whatever_a_file_system_says_the_regions_are_in_order(
            size_bytes in 1_u64..1000, answers in proptest::collection::vec((0_u64..1200, 0_u64..1200), 0..40)
        ) {
            let mut answers = answers.into_iter();
            let found = scan(size_bytes, 10, |_| Ok(answers.next())).unwrap().unwrap_or_default();
            let mut free_from = 0;
            for (index, (offset, length)) in found.iter().copied().enumerate() {
                prop_assert!(length > 0 && (index == 0 || offset > free_from));
                free_from = offset + length;
            }
            prop_assert!(free_from <= size_bytes && found.len() <= 10);
        }
    }
}
