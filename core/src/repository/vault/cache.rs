//! A copy close by of what is small and read often of a vault far away: indexes, snapshots, removals, and packs with metadata.
//!
//! Invariants: what is here is as sealed as it is there, and is opened and compared like everything else, so that whoever
//! writes here can hide nothing and learns nothing; what does not open here is taken away and fetched again. No failure of the cache
//! is one of the vault: everything can be had without it. Files appear whole, by renaming; any of them, or all, may
//! vanish at any time, so that several processes share one folder and a person may remove it. Together they hold no more than the
//! limit, and for each process a part of it that the others have not counted yet.

use super::id::ObjectId;
use super::names::Folder;
use crate::error::{Error, Result};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// A part of what a cache may hold: what makes room frees it at least, no object is longer, and whoever has added more counts what is
/// there anew, since others add too.
const PART: u64 = 8;

/// A folder with copies of objects of one vault.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    limit_bytes: u64,
    used: Mutex<Used>,
}

/// What is known to be here.
#[derive(Debug, Default)]
struct Used {
    /// By the last count, and what was added here since.
    bytes: u64,
    /// What was added here since.
    uncounted_bytes: u64,
}

/// A file of the cache: when it was used last, and how long it is.
struct Kept {
    used: (i64, i64),
    size_bytes: u64,
    path: PathBuf,
}

impl Cache {
    /// Opens the cache in a folder, which is made if it is missing, and removes what was not used for the longest time when it
    /// holds more than `limit_bytes`.
    ///
    /// # Errors
    /// As the system has it.
    pub fn open(root: &Path, limit_bytes: u64) -> Result<Cache> {
        let cannot = |error| Error::io("cannot make the cache", root.display().to_string(), error);
        for folder in Folder::ALL.into_iter().filter(|folder| is_kept(*folder)) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder_of(root, folder)).map_err(cannot)?;
        }
        let cache = Cache { root: root.to_owned(), limit_bytes, used: Mutex::default() };
        cache.make_room();
        Ok(cache)
    }

    /// Bytes of an object, if they are here.
    pub fn read(&self, folder: Folder, id: ObjectId, offset: u64, length: usize) -> Option<Vec<u8>> {
        let file = File::open(self.path(folder, id)).ok()?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).ok()?;
        // So that what is used stays.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        futimens(&file, &Timestamps { last_access: now, last_modification: now }).unwrap_or(());
        Some(bytes)
    }

    /// A whole object, if it is here and as long as it should be.
    pub fn read_whole(&self, folder: Folder, id: ObjectId, size_bytes: Option<u64>) -> Option<Vec<u8>> {
        let there = fs::metadata(self.path(folder, id)).ok()?.len();
        // What is longer than anything that is ever kept is somebody else's.
        if there > self.limit_bytes / PART || size_bytes.is_some_and(|size_bytes| size_bytes != there) {
            return None;
        }
        self.read(folder, id, 0, usize::try_from(there).ok()?)
    }

    /// Keeps a copy of an object, if it can.
    pub fn keep(&self, folder: Folder, id: ObjectId, bytes: &[u8]) {
        if bytes.len() as u64 > self.limit_bytes / PART {
            return;
        }
        // A cache that cannot be written to is a slow one.
        if self.try_to_keep(folder, id, bytes).is_ok() {
            let mut used = self.used();
            used.bytes += bytes.len() as u64;
            used.uncounted_bytes += bytes.len() as u64;
            // What others have added is seen only by counting.
            let is_due = used.bytes > self.limit_bytes || used.uncounted_bytes > self.limit_bytes / PART;
            drop(used);
            if is_due {
                self.make_room();
            }
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // Every change is a few assignments: a panic elsewhere leaves it sound.
        self.used.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn try_to_keep(&self, folder: Folder, id: ObjectId, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder_of(&self.root, folder))?;
        file.write_all(bytes)?;
        file.persist(self.path(folder, id))?;
        Ok(())
    }

    /// Takes an object away: it did not open, or is gone there.
    pub fn forget(&self, folder: Folder, id: ObjectId) {
        fs::remove_file(self.path(folder, id)).unwrap_or(());
    }

    /// Counts what is here, and when it is too much, removes what was not used for the longest time.
    fn make_room(&self) {
        let mut kept: Vec<Kept> = Folder::ALL
            .into_iter()
            .filter(|folder| is_kept(*folder))
            .flat_map(|folder| self.kept(folder))
            .collect();
        let mut used_bytes: u64 = kept.iter().map(|kept| kept.size_bytes).sum();
        if used_bytes > self.limit_bytes {
            kept.sort_unstable_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
            let enough = self.limit_bytes - self.limit_bytes / PART;
            for file in kept {
                if used_bytes <= enough {
                    break;
                }
                if fs::remove_file(&file.path).is_ok() {
                    used_bytes -= file.size_bytes;
                }
            }
        }
        *self.used() = Used { bytes: used_bytes, uncounted_bytes: 0 };
    }

    /// The files of a folder, temporary ones that a killed process left among them.
    fn kept(&self, folder: Folder) -> Vec<Kept> {
        let Ok(entries) = fs::read_dir(folder_of(&self.root, folder)) else { return Vec::new() };
        let file = |entry: fs::DirEntry| {
            let metadata = entry.metadata().ok()?;
            let used = (metadata.mtime(), metadata.mtime_nsec());
            Some(Kept { used, size_bytes: metadata.len(), path: entry.path() })
        };
        entries.flatten().filter_map(file).collect()
    }

    fn path(&self, folder: Folder, id: ObjectId) -> PathBuf {
        folder_of(&self.root, folder).join(id.to_string())
    }
}

/// Whether objects of this folder are kept: those that never change.
pub fn is_kept(folder: Folder) -> bool {
    matches!(folder, Folder::Index | Folder::Snapshots | Folder::Removals | Folder::Packs)
}

fn folder_of(root: &Path, folder: Folder) -> PathBuf {
    root.join(folder.spelled())
}

#[cfg(test)]
mod tests {
    use super::super::id::ID_BYTES;
    use super::*;

    fn id(number: u8) -> ObjectId {
        ObjectId([number; ID_BYTES])
    }

    #[test]
    fn what_is_kept_is_read_back_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("a/b"), 1 << 20).unwrap();
        assert_eq!(cache.read(Folder::Packs, id(1), 0, 1), None);
        cache.keep(Folder::Packs, id(1), b"0123456789");
        assert_eq!(cache.read(Folder::Packs, id(1), 2, 3).unwrap(), b"234");
        assert_eq!(cache.read(Folder::Packs, id(1), 8, 3), None, "beyond its end");
        assert_eq!(cache.read_whole(Folder::Packs, id(1), Some(10)).unwrap(), b"0123456789");
        assert_eq!(cache.read_whole(Folder::Packs, id(1), Some(11)), None, "of another length");
        assert_eq!(cache.read_whole(Folder::Index, id(1), None), None, "in another folder");
        let long = File::create(cache.path(Folder::Index, id(2))).unwrap();
        long.set_len(1 << 40).unwrap();
        assert_eq!(cache.read_whole(Folder::Index, id(2), None), None, "longer than what is kept");
        cache.forget(Folder::Packs, id(1));
        assert_eq!(cache.read_whole(Folder::Packs, id(1), None), None);
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 8_000).unwrap();
        for number in 0..8 {
            cache.keep(Folder::Packs, id(number), &[number; 1_000]);
            let path = cache.path(Folder::Packs, id(number));
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000 + u64::from(number));
            File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }
        assert!(cache.read(Folder::Packs, id(0), 0, 1).is_some(), "and is the newest now");
        cache.keep(Folder::Index, id(9), &[9; 1_000]);
        let there: Vec<u8> =
            (0..8).filter(|number| cache.read(Folder::Packs, id(*number), 0, 1).is_some()).collect();
        assert_eq!(there, [0, 3, 4, 5, 6, 7]);
        assert!(cache.read(Folder::Index, id(9), 0, 1).is_some());
        // Nor is anything kept that would push out all the rest.
        cache.keep(Folder::Index, id(10), &[9; 1_001]);
        assert!(cache.read(Folder::Index, id(10), 0, 1).is_none());
    }

    /// Each of those that share a folder has seen the others' files only when it counted last.
    #[test]
    fn those_that_share_a_cache_hold_little_more_than_one_of_them_may() {
        const LIMIT: u64 = 16_000;
        let folder = tempfile::tempdir().unwrap();
        let caches: Vec<Cache> = (0..3).map(|_| Cache::open(folder.path(), LIMIT).unwrap()).collect();
        for number in 0..240u8 {
            // One adds much more than the others.
            let cache = &caches[if number % 8 == 0 { usize::from(number % 3) } else { 0 }];
            cache.keep(Folder::Packs, id(number), &[number; 500]);
            let held: u64 = caches[0].kept(Folder::Packs).iter().map(|kept| kept.size_bytes).sum();
            assert!(held <= LIMIT + caches.len() as u64 * (LIMIT / PART), "{held} behind {number}");
            assert!(held >= LIMIT / 2 || u64::from(number) < LIMIT / 500, "{held} behind {number}");
        }
    }

    #[test]
    fn a_cache_that_vanishes_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache"), 1 << 20).unwrap();
        cache.keep(Folder::Packs, id(1), b"0123");
        fs::remove_dir_all(folder.path().join("cache")).unwrap();
        assert_eq!(cache.read(Folder::Packs, id(1), 0, 1), None);
        cache.keep(Folder::Packs, id(1), b"0123");
        cache.make_room();
    }
}
