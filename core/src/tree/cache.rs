//! The system's cache of files: reading what is in it, asking for what is not, and leaving it as it was.
//!
//! Nothing here changes what is read. Where the system or the file system knows no such thing, files are read as ever.

use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

/// What came of a reading that was not allowed to wait for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cached {
    /// So many bytes were read: less than asked for where the file ends, or where the rest is not in the cache.
    Read(usize),
    /// The first byte is not in the cache; the system may have begun to fetch it.
    Missing,
    /// The file system cannot tell.
    Unknown,
}

/// Reads from `offset` what can be had without waiting.
pub fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> Cached {
    match rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
        Ok(count) => Cached::Read(count),
        Err(Errno::AGAIN) => Cached::Missing,
        // Other errors are met, and told, by whoever reads without this.
        Err(_) => Cached::Unknown,
    }
}

/// Asks the system to fetch the first `length_bytes` of a file, and does not wait for them.
pub fn fetch(file: &File, length_bytes: u64) {
    // A hint: where it is not taken, reading takes longer.
    rustix::fs::fadvise(file, 0, NonZeroU64::new(length_bytes), Advice::WillNeed).unwrap_or(());
}

/// `RWF_DONTCACHE`, since Linux 6.14.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// Reads as `read_at` does, and leaves nothing in the cache that was not in it. `is_known` is whether this may be asked of the file
/// system; it becomes false where kernel or file system know no such reading.
///
/// # Errors
/// As the system has it.
pub fn read_once(file: &File, buffer: &mut [u8], offset: u64, is_known: &mut bool) -> std::io::Result<usize> {
    if *is_known {
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, DONTCACHE) {
            Ok(count) => return Ok(count),
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => *is_known = false,
            Err(error) => return Err(error.into()),
        }
    }
    file.read_at(buffer, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn every_way_of_reading_gives_the_same() {
        let content: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        file.sync_all().unwrap();
        fetch(&file, content.len() as u64);
        fetch(&file, 0);
        let mut is_known = true;
        for offset in [0, 1, 4095, 299_999, 300_000, 400_000] {
            let rest = &content[content.len().min(offset)..];
            let mut buffer = vec![0; 500_000];
            let count = read_once(&file, &mut buffer, offset as u64, &mut is_known).unwrap();
            assert_eq!(&buffer[..count], rest);
            if let Cached::Read(count) = read_cached(&file, &mut buffer, offset as u64) {
                assert_eq!(&buffer[..count], &rest[..count]);
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_in_every_way() {
        let folder = File::open("/").unwrap();
        assert_eq!(read_cached(&folder, &mut [0], 0), Cached::Unknown);
        let error = read_once(&folder, &mut [0], 0, &mut true).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ISDIR.raw_os_error()));
    }
}
