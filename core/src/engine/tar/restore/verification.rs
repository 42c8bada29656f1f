//! Reading what was written again. A stream goes by once, so the hash of each file is taken while it is written and kept in a
//! temporary file; when a level ends, all of its files are read from the target and compared.
//!
//! Invariant: a record is passed over in silence only when a later member of the level put something else there, which has a record
//! of its own. Another file that somebody else put there is not compared, but told.

use super::Replay;
use crate::error::{Error, Kind, Result};
use crate::limits::{PATH_BYTES, READ_BYTES, SPARSE_REGIONS, VERIFY_OPEN_PATHS};
use crate::monitor::{Event, Monitor};
use crate::spool::{Scratch, Spool};
use crate::tree::directory::lossy;
use crate::tree::sparse;
use crate::tree::target::{Files, There};
use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::FileExt;

/// What was written, and how the reading of it went so far.
pub(in crate::engine) struct Written {
    scratch: Scratch,
    spool: Spool,
    differing: u64,
    passed_over: u64,
    /// The first of those.
    passed_over_first: Option<Vec<u8>>,
}

/// What a record without a file of its own is about, as long as no later member explains it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Another file is there.
    Other,
    /// No file is there.
    Gone,
}

/// What a member without content that is compared put at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Put {
    Directory,
    /// A link of either sort, a pipe, a device.
    Special,
}

/// In the place of the number of regions: a record of [`Put`].
const DIRECTORY: u64 = u64::MAX;
const SPECIAL: u64 = u64::MAX - 1;

/// A file that was written.
pub(in crate::engine) struct Record<'a> {
    pub path: &'a [u8],
    pub size_bytes: u64,
    /// Where it has data: offset and length.
    pub regions: &'a [(u64, u64)],
    /// Device and inode.
    pub inode: (u64, u64),
    /// Of its data.
    pub hash: blake3::Hash,
}

impl Written {
    pub fn new(scratch: &Scratch) -> Written {
        Written {
            spool: scratch.spool(),
            scratch: scratch.clone(),
            differing: 0,
            passed_over: 0,
            passed_over_first: None,
        }
    }

    /// Keeps that something without content that is compared was put at a path.
    ///
    /// # Errors
    /// I/O of the temporary file.
    pub fn put(&mut self, path: &[u8], what: Put) -> Result<()> {
        let what = if what == Put::Directory { DIRECTORY } else { SPECIAL };
        let mut bytes = Vec::with_capacity(72 + path.len());
        [path.len() as u64, what, 0, 0, 0].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend([0; 32]);
        bytes.extend(path);
        self.spool.write_all(&bytes).map_err(|e| Error::io("cannot write", "a temporary file", e))
    }

    /// Keeps a record.
    ///
    /// # Errors
    /// I/O of the temporary file.
    pub fn push(&mut self, record: &Record<'_>) -> Result<()> {
        let mut bytes = Vec::with_capacity(96 + record.path.len() + 16 * record.regions.len());
        let numbers = [
            record.path.len() as u64,
            record.regions.len() as u64,
            record.size_bytes,
            record.inode.0,
            record.inode.1,
        ];
        numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend(record.hash.as_bytes());
        bytes.extend(record.path);
        for (offset, length) in record.regions {
            bytes.extend(offset.to_le_bytes());
            bytes.extend(length.to_le_bytes());
        }
        self.spool.write_all(&bytes).map_err(|e| Error::io("cannot write", "a temporary file", e))
    }

    /// Reads everything again of which there is a record. What differs is told.
    ///
    /// # Errors
    /// I/O of the temporary file or of the target; `Interrupted`.
    pub fn check(&mut self, files: &mut Files<'_>, monitor: &dyn Monitor) -> Result<()> {
        let mut spool = std::mem::replace(&mut self.spool, self.scratch.spool());
        spool.rewind()?;
        let mut records = BufReader::new(spool);
        let mut buffer = vec![0; READ_BYTES];
        let mut open: BTreeMap<Vec<u8>, Open> = BTreeMap::new();
        while let Some(kept) = Kept::read(&mut records)? {
            monitor.check()?;
            // Whatever was here before, and below what is no directory, had to go.
            open.remove(&kept.path);
            if kept.put != Some(Put::Directory) && !open.is_empty() {
                let below = [&kept.path[..], b"/"].concat();
                let inside = open.range(below.clone()..).map(|(path, _)| path);
                let inside: Vec<_> = inside.take_while(|path| path.starts_with(&below)).cloned().collect();
                for path in inside {
                    open.remove(&path);
                }
            }
            if kept.put.is_some() {
                continue;
            }
            let there = match files.reread(&kept.path) {
                Ok(there) => there,
                Err(error) if error.kind() == Kind::Denied => {
                    monitor.event(Event::Problem { path: &lossy(&kept.path), error: &error, lost: false });
                    continue;
                }
                // A link stands above it.
                Err(error) if error.kind() == Kind::Invalid => None,
                Err(error) => return Err(error),
            };
            let is_other = |there: &There| (there.found.device, there.found.inode) != kept.inode;
            let found = match &there {
                None => Some(Open::Gone),
                Some(there) if is_other(there) => Some(Open::Other),
                Some(_) => None,
            };
            match found {
                Some(found) if open.len() < VERIFY_OPEN_PATHS => {
                    open.insert(kept.path, found);
                }
                // Too many to wait for what explains them.
                Some(found) => self.settle(&kept.path, found, monitor),
                None if there.is_some_and(|there| kept.is(&there, &mut buffer)) => {
                    monitor.event(Event::Verified { path: &kept.path });
                }
                None => self.settle(&kept.path, Open::Gone, monitor),
            }
        }
        open.iter().for_each(|(path, found)| self.settle(path, *found, monitor));
        Ok(())
    }

    /// What nothing explains.
    fn settle(&mut self, path: &[u8], found: Open, monitor: &dyn Monitor) {
        match found {
            Open::Other => {
                self.passed_over += 1;
                self.passed_over_first.get_or_insert_with(|| path.to_vec());
            }
            Open::Gone => {
                let path = lossy(path);
                let error = Error::damaged("what is read back is not what the backup has:", path.clone());
                monitor.event(Event::Problem { path: &path, error: &error, lost: true });
                self.differing += 1;
            }
        }
    }

    /// Tells how much was not compared since somebody else put other files there.
    pub fn tell_what_was_passed_over(&self, monitor: &dyn Monitor) {
        let Some(first) = &self.passed_over_first else { return };
        let (count, first) = (self.passed_over, lossy(first));
        let text = format!(
            "not compared, since another file has taken the place of what was restored: {count} files, the first is {first}"
        );
        monitor.event(Event::Warning(&text));
    }

    /// How it went.
    ///
    /// # Errors
    /// `Io` when something differed; each was told.
    pub fn into_result(self) -> Result<()> {
        if self.differing == 0 {
            return Ok(());
        }
        let files = self.differing;
        let what = format!(
            "{files} restored files are not in the target as they were written; they are named above"
        );
        Err(Error::new(Kind::Io, what).hint("is something else writing there, or is the disk failing?"))
    }
}

/// A record that was kept.
struct Kept {
    path: Vec<u8>,
    size_bytes: u64,
    regions: Vec<(u64, u64)>,
    inode: (u64, u64),
    hash: blake3::Hash,
    /// Nothing else is known then but the path.
    put: Option<Put>,
}

impl Kept {
    /// The next one; `None` at the end.
    fn read(input: &mut impl Read) -> Result<Option<Kept>> {
        let broken = || Error::damaged("broken record in", "a temporary file");
        let mut head = [0; 5 * 8 + 32];
        let mut had = 0;
        while had < head.len() {
            match input.read(&mut head[had..]).map_err(|e| Error::io("cannot read", "a temporary file", e))? {
                0 if had == 0 => return Ok(None),
                0 => return Err(broken()),
                more => had += more,
            }
        }
        let (numbers, hash) = head.split_at(5 * 8);
        let mut numbers = numbers.chunks_exact(8).map(number);
        let mut next = || numbers.next().ok_or_else(broken);
        let (path, regions, size_bytes) = (next()?, next()?, next()?);
        let inode = (next()?, next()?);
        let (put, regions) = match regions {
            DIRECTORY => (Some(Put::Directory), 0),
            SPECIAL => (Some(Put::Special), 0),
            regions => (None, regions),
        };
        if path > PATH_BYTES as u64 || regions > SPARSE_REGIONS as u64 {
            return Err(broken());
        }
        let mut bytes = vec![0; path as usize + 16 * regions as usize];
        input.read_exact(&mut bytes).map_err(|e| Error::io("cannot read", "a temporary file", e))?;
        let (path, regions) = bytes.split_at(path as usize);
        let regions = regions.chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect();
        let hash = blake3::Hash::from_slice(hash).map_err(|_| broken())?;
        Ok(Some(Kept { path: path.to_vec(), size_bytes, regions, inode, hash, put }))
    }

    /// Whether a file is what was written.
    fn is(&self, there: &There, buffer: &mut [u8]) -> bool {
        if there.found.size_bytes != self.size_bytes {
            return false;
        }
        let mut hasher = blake3::Hasher::new();
        let mut end = 0;
        for &(offset, length) in &self.regions {
            if !sparse::is_zeros(&there.file, end..offset).unwrap_or(false) {
                return false;
            }
            let mut at = offset;
            end = offset.saturating_add(length);
            while at < end {
                let step = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
                if there.file.read_exact_at(&mut buffer[..step], at).is_err() {
                    return false;
                }
                hasher.update(&buffer[..step]);
                at += step as u64;
            }
        }
        sparse::is_zeros(&there.file, end..self.size_bytes).unwrap_or(false) && hasher.finalize() == self.hash
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Replay<'_, '_, '_> {
    /// Compares what was written of the level that was just read.
    pub(super) fn verify(&mut self) -> Result<()> {
        let (Some(written), Some(target)) = (&mut self.written, self.target.as_deref_mut()) else {
            return Ok(());
        };
        if written.spool.is_empty() {
            return Ok(());
        }
        target.sync()?;
        written.check(&mut target.files(), self.job.monitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Counting;
    use crate::monitor::Quiet;
    use crate::tree::attributes::Attributes;
    use crate::tree::target::{Options, Target};
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;

    /// Keeps the warnings.
    #[derive(Default)]
    struct Warned(std::sync::Mutex<Vec<String>>);

    impl Monitor for Warned {
        fn event(&self, event: Event<'_>) {
            if let Event::Warning(text) = event {
                self.0.lock().unwrap().push(text.to_owned());
            }
        }
    }

    #[test]
    fn what_a_later_member_replaced_is_no_problem_and_what_somebody_else_did_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(std::env::temp_dir());
        let warned = Warned::default();
        let monitor = Counting::new(&warned);
        let mut target = Target::open(folder.path(), &scratch, Options::numeric(false), &monitor).unwrap();
        let mut written = Written::new(&scratch);
        let none = Attributes::default();
        let file = |target: &mut Target<'_>, written: &mut Written, path: &[u8]| {
            let mut file = target.file(path, &none).unwrap();
            file.write(b"content").unwrap();
            let inode = file.inode().unwrap();
            file.finish(&none).unwrap();
            let (regions, hash) = (&[(0, 7)][..], blake3::hash(b"content"));
            written.push(&Record { path, size_bytes: 7, regions, inode, hash }).unwrap();
        };
        for path in [&b"twice"[..], b"link", b"folder", b"above/below", b"theirs", b"theirs too", b"same"] {
            file(&mut target, &mut written, path);
        }
        file(&mut target, &mut written, b"twice");
        target.remove(b"link").unwrap();
        target.symlink(b"link", b"same", &none).unwrap();
        written.put(b"link", Put::Special).unwrap();
        target.remove(b"folder").unwrap();
        target.directory(b"folder").unwrap();
        written.put(b"folder", Put::Directory).unwrap();
        target.remove(b"above").unwrap();
        target.symlink(b"above", b"folder", &none).unwrap();
        written.put(b"above", Put::Special).unwrap();
        for name in ["theirs", "theirs too"] {
            fs::write(folder.path().join("new"), "x").unwrap();
            fs::rename(folder.path().join("new"), folder.path().join(name)).unwrap();
        }
        written.check(&mut target.files(), &monitor).unwrap();
        assert_eq!((monitor.verified(), monitor.lost()), (2, 0));
        written.tell_what_was_passed_over(&monitor);
        let warnings = warned.0.lock().unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("2 files, the first is theirs"), "{warnings:?}");
        written.into_result().unwrap();
    }

    #[test]
    fn a_byte_that_changed_since_is_found_and_another_file_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(std::env::temp_dir());
        let monitor = Counting::new(&Quiet);
        let mut target = Target::open(folder.path(), &scratch, Options::numeric(false), &monitor).unwrap();
        let mut written = Written::new(&scratch);
        let content = vec![7; 10_000];
        for name in ["same", "changed", "longer", "gone", "other", "sparse", "filled"] {
            let mut file = target.file(name.as_bytes(), &Attributes::default()).unwrap();
            file.write(&content[..6000]).unwrap();
            let is_sparse = name == "sparse" || name == "filled";
            if is_sparse {
                file.hole(50_000).unwrap();
            }
            file.write(&content[6000..]).unwrap();
            file.finish(&Attributes { mode: 0o600, ..Attributes::default() }).unwrap();
            let metadata = fs::metadata(folder.path().join(name)).unwrap();
            let regions = if is_sparse { vec![(0, 6000), (56_000, 4000)] } else { vec![(0, 10_000)] };
            written
                .push(&Record {
                    path: name.as_bytes(),
                    size_bytes: metadata.len(),
                    regions: &regions,
                    inode: (metadata.dev(), metadata.ino()),
                    hash: blake3::hash(&content),
                })
                .unwrap();
        }
        let at = |name: &str| File::options().write(true).open(folder.path().join(name)).unwrap();
        at("changed").write_all_at(b"x", 5000).unwrap();
        at("longer").set_len(10_001).unwrap();
        at("filled").write_all_at(b"x", 30_000).unwrap();
        fs::remove_file(folder.path().join("gone")).unwrap();
        fs::write(folder.path().join("new"), "x").unwrap();
        fs::rename(folder.path().join("new"), folder.path().join("other")).unwrap();
        written.check(&mut target.files(), &monitor).unwrap();
        assert_eq!((monitor.verified(), monitor.lost()), (2, 4));
        assert_eq!(written.into_result().unwrap_err().kind(), Kind::Io);
    }
}
