//! Where a file with holes holds data, as the file system tells it: `SEEK_DATA` and `SEEK_HOLE` of lseek(2).
//!
//! Invariant: regions are in order, not empty, do not touch each other, and end at or before the given size; `None` means
//! that the file is to be read as if it had no holes, which is always right and only costs space.

use crate::error::{Error, Result};
use crate::limits::SPARSE_REGIONS;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;

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
    use std::os::unix::fs::FileExt;

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
