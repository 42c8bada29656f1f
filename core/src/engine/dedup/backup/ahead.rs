//! Reading ahead where the tree is not in the system's cache: while two workers wait for two files, a disk could fetch many.
//!
//! The walk hints at what is needed soon: directories, entries, and files that a worker will read. Threads beside the work follow the
//! hints, and have the system fetch what it has not got. On a tree that is in the cache this costs next to nothing: hints are
//! given only for a while after something was found that was not, by these threads, by the walk or by the workers.
//!
//! Invariant: nothing that is found here counts for the backup; whoever needs it looks for itself, and reports what is wrong.

use crate::limits::{
    AHEAD_BATCH, AHEAD_DIRECTORIES, AHEAD_ENTRIES, AHEAD_FILES, AHEAD_HINT_FILES, AHEAD_PROBED, AHEAD_PROBES,
};
use crate::pipe::Hints;
use crate::tree::cache::{Cached, fetch, read_cached};
use crate::tree::directory::Directory;
use crate::tree::listing::Listing;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What will be needed soon.
pub(super) enum Hint {
    /// The content of these files.
    Files(Vec<Wanted>),
    /// What the system knows of these entries.
    Entries { directory: Arc<Directory>, names: Vec<Vec<u8>> },
    /// The names of a sub-directory, and what the system knows of them.
    Directory { directory: Arc<Directory>, name: Vec<u8> },
}

/// A file that will be read.
pub(super) struct Wanted {
    directory: Arc<Directory>,
    name: Vec<u8>,
    size_bytes: u64,
}

/// How much is to be looked at ahead, unless more is found that is not in the cache.
struct Credit {
    left: AtomicUsize,
    most: usize,
}

impl Credit {
    fn new(left: usize, most: usize) -> Self {
        Credit { left: AtomicUsize::new(left), most }
    }

    fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Notes whether something was in the cache.
    fn note(&self, was_cached: bool) {
        if was_cached {
            // Nothing to take from nothing.
            self.left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .unwrap_or(0);
        } else {
            self.left.store(self.most, Ordering::Relaxed);
        }
    }
}

/// What is known of how much of the tree is in the cache.
pub(super) struct Cold {
    files: Credit,
    directories: Credit,
    /// Directories that were met while all seemed to be in the cache: one of [`AHEAD_PROBED`] is asked for.
    seen: AtomicUsize,
    /// Whether the file system of the last file can tell what is in the cache.
    tells: AtomicBool,
}

impl Cold {
    /// Nothing is known yet: the first few files are looked at.
    pub fn new() -> Self {
        Cold {
            files: Credit::new(AHEAD_PROBES, AHEAD_FILES),
            directories: Credit::new(0, AHEAD_DIRECTORIES),
            seen: AtomicUsize::new(0),
            tells: AtomicBool::new(true),
        }
    }

    /// Follows a hint.
    pub fn follow(&self, hint: Hint) {
        match hint {
            Hint::Files(files) => files.iter().for_each(|file| self.file(file)),
            Hint::Entries { directory, names } => {
                if names.first().is_some_and(|first| self.is_missing(&directory, first)) {
                    names.iter().for_each(|name| drop(directory.stat(name)));
                }
            }
            Hint::Directory { directory, name } => {
                if self.is_missing(&directory, &name) {
                    look_into(&directory, &name);
                }
            }
        }
    }

    /// Gives hints about what is in a directory, if the tree seems not to be in the cache.
    pub fn look_ahead(&self, directory: &Arc<Directory>, listing: &Listing, hints: &Hints<Hint>) {
        if !self.directories.is_left() {
            let Some(first) = listing.get(0) else { return };
            let is_probed = self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(AHEAD_PROBED);
            if !is_probed || directory.has_cached(first.name) {
                return;
            }
            self.directories.note(false);
        }
        let mut names = Vec::new();
        for entry in listing.iter() {
            let (directory, name) = (Arc::clone(directory), entry.name.to_vec());
            let hint = if entry.is_directory() {
                Hint::Directory { directory, name }
            } else {
                names.push(name);
                if names.len() < AHEAD_BATCH {
                    continue;
                }
                Hint::Entries { directory, names: std::mem::take(&mut names) }
            };
            if !hints.offer(hint) {
                return;
            }
        }
    }

    /// Reads as `read_at` does, and learns whether it had to wait.
    ///
    /// # Errors
    /// As the system has it.
    pub fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        if self.tells.load(Ordering::Relaxed) {
            match read_cached(file, buffer, offset) {
                // The end of a file is what a reading says that may wait.
                Cached::Read(0) => {}
                Cached::Read(count) => return Ok(count),
                Cached::Missing => self.files.note(false),
                Cached::Unknown => self.tells.store(false, Ordering::Relaxed),
            }
        }
        file.read_at(buffer, offset)
    }

    fn file(&self, file: &Wanted) {
        let Ok(handle) = file.directory.open_file(&file.name) else { return };
        // Who cannot tell is, as far as we know, on another machine.
        let was_cached = matches!(read_cached(&handle, &mut [0], 0), Cached::Read(_));
        self.files.note(was_cached);
        if !was_cached {
            fetch(&handle, file.size_bytes);
        }
    }

    fn is_missing(&self, directory: &Directory, name: &[u8]) -> bool {
        let was_cached = directory.has_cached(name);
        self.directories.note(was_cached);
        !was_cached
    }
}

/// Lists a sub-directory and looks at its entries. Those that are directories themselves are left alone, and so is another file
/// system: what is mounted there may be excluded, and never answer.
fn look_into(directory: &Directory, name: &[u8]) {
    let device = |directory: &Directory| directory.metadata().map(|metadata| metadata.device).ok();
    let Ok(below) = directory.open_child(name) else { return };
    if device(&below) != device(directory) {
        return;
    }
    let Ok(listing) = Listing::read(&below) else { return };
    let entries = listing.iter().filter(|entry| entry.kind.is_some() && !entry.is_directory());
    entries.take(AHEAD_ENTRIES).for_each(|entry| drop(below.stat(entry.name)));
}

/// Gathers hints until there are enough for one thread.
pub(super) struct Ahead<'h> {
    cold: &'h Cold,
    hints: &'h Hints<Hint>,
    wanted: Vec<Wanted>,
}

impl<'h> Ahead<'h> {
    pub fn new(cold: &'h Cold, hints: &'h Hints<Hint>) -> Self {
        Ahead { cold, hints, wanted: Vec::new() }
    }

    /// Where hints are given.
    pub fn hints(&self) -> &'h Hints<Hint> {
        self.hints
    }

    /// Hints at a file.
    pub fn want(&mut self, directory: &Arc<Directory>, name: &[u8], size_bytes: u64) {
        if size_bytes == 0 || !self.cold.files.is_left() {
            return;
        }
        self.wanted.push(Wanted { directory: Arc::clone(directory), name: name.to_vec(), size_bytes });
        if self.wanted.len() == AHEAD_HINT_FILES {
            self.send();
        }
    }

    /// Gives what was gathered. A hint that finds no room would come too late.
    pub fn send(&mut self) {
        if !self.wanted.is_empty() {
            self.hints.offer(Hint::Files(std::mem::take(&mut self.wanted)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe;
    use rustix::fs::Advice;

    /// A folder with a file that was just written out and dropped from the cache; as far as the file system does that.
    fn a_cold_file() -> (tempfile::TempDir, Arc<Directory>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let directory = Arc::new(Directory::open(folder.path()).unwrap());
        (folder, directory)
    }

    #[test]
    fn a_file_is_read_the_same_whether_it_is_in_the_cache_or_not() {
        let (_folder, directory) = a_cold_file();
        let cold = Cold::new();
        let file = directory.open_file(b"file").unwrap();
        for _ in 0..2 {
            let mut buffer = vec![0; 100_001];
            let mut length = 0;
            loop {
                match cold.read_at(&file, &mut buffer[length..], length as u64).unwrap() {
                    0 => break,
                    count => length += count,
                }
            }
            assert_eq!(length, 100_000);
            assert!(buffer[..length].iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn what_is_in_the_cache_is_looked_at_ahead_only_for_a_while() {
        let (_folder, directory) = a_cold_file();
        let cold = Cold::new();
        let wanted =
            || Wanted { directory: Arc::clone(&directory), name: b"file".to_vec(), size_bytes: 100_000 };
        let file = directory.open_file(b"file").unwrap();
        if read_cached(&file, &mut [0], 0) == Cached::Unknown {
            return;
        }
        file.read_at(&mut [0; 100_000], 0).unwrap();
        for _ in 0..AHEAD_PROBES {
            assert!(cold.files.is_left());
            cold.follow(Hint::Files(vec![wanted()]));
        }
        assert!(!cold.files.is_left());
        cold.files.note(false);
        assert!(cold.files.is_left());
    }

    #[test]
    fn hints_at_what_is_gone_do_no_harm() {
        let (_folder, directory) = a_cold_file();
        let cold = Cold::new();
        let names = vec![b"gone".to_vec()];
        cold.follow(Hint::Entries { directory: Arc::clone(&directory), names });
        cold.follow(Hint::Directory { directory: Arc::clone(&directory), name: b"gone".to_vec() });
        cold.follow(Hint::Directory { directory: Arc::clone(&directory), name: b"file".to_vec() });
        cold.follow(Hint::Files(vec![Wanted { directory, name: b"gone".to_vec(), size_bytes: 1 }]));
        assert!(cold.files.is_left());
    }

    #[test]
    fn only_a_tree_that_is_not_in_the_cache_is_hinted_at() {
        let (folder, directory) = a_cold_file();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        let listing = Listing::read(&directory).unwrap();
        let cold = Cold::new();
        let count = std::sync::atomic::AtomicUsize::new(0);
        let follow = |_| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        // Both entries were just made, and are in the cache.
        pipe::beside(1, 8, follow, |hints| {
            cold.look_ahead(&directory, &listing, hints);
            Ok(())
        })
        .unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 0);
        cold.directories.note(false);
        let (given, followed) = std::sync::mpsc::sync_channel(8);
        pipe::beside(
            1,
            8,
            |hint| given.send(hint).unwrap(),
            |hints| {
                cold.look_ahead(&directory, &listing, hints);
                assert!(matches!(followed.recv().unwrap(), Hint::Directory { name, .. } if name == b"below"));
                Ok(())
            },
        )
        .unwrap();
    }
}
