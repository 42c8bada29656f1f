//! The workers: a bundle of small files is read, hashed, compressed and sealed by one worker while it is in the cache; a block
//! of a large file is hashed, compressed and sealed chunk by chunk.
//!
//! Invariant: what is stored of a file is what it was at one moment, between two looks that agree. A file that changed in
//! between is read once more; one that changed again is stored as it was read last, reported, and marked not whole.

use super::Common;
use super::ahead::Cold;
use super::row::{Done, Row, SmallFile, Source, Work, entry_of, join};
use crate::engine::dedup::tree::{Content, Kept};
use crate::error::{Error, Kind, Result};
use crate::limits::{BUNDLE_MAX_BYTES, BUNDLED_FILE_BYTES, RACY_SECONDS, TREE_PATH_BYTES};
use crate::monitor::{Event, Monitor};
use crate::repository::vault::{ChunkKind, CompressionLevel, Encoder};
use crate::time::FileTime;
use crate::tree::attributes::{FileKind, Metadata};
use crate::tree::directory::{lossy, metadata_of};
use crate::tree::xattr;
use std::fs::File;
use std::sync::Arc;

/// How often a file that changes is read.
const READS: u32 = 2;

/// Bytes that are read of a file that outgrows its bundle.
const GROWN_BYTES: usize = BUNDLE_MAX_BYTES as usize;

/// Bytes at which a bundle ends whose files have grown since the walk looked at them, or are longer than the system says.
const GROWN_BUNDLE_BYTES: usize = 2 * GROWN_BYTES;

pub(super) struct Worker<'c> {
    common: &'c Common<'c>,
    effort: CompressionLevel,
    encoder: Encoder,
}

/// What the reading of one file came to.
struct Read {
    metadata: Metadata,
    length_bytes: usize,
    whole: bool,
    began: FileTime,
}

impl<'c> Worker<'c> {
    /// A worker that compresses bundles of small files and pieces of large ones each in its own way, with one encoder: its
    /// buffers are as long as a chunk.
    ///
    /// # Errors
    /// As [`Encoder::new`].
    pub fn new(common: &'c Common<'c>, effort: CompressionLevel, verify: bool) -> Result<Self> {
        Ok(Worker { common, effort, encoder: Encoder::new(effort, verify)? })
    }

    pub fn run(&mut self, work: Work) -> Result<Done> {
        self.common.monitor.check()?;
        match work {
            Work::Rows { rows, files } => self.bundle(rows, files).map(Done::Rows),
            Work::Block { file, block, ends } => self.block(file, block, &ends),
            Work::Again { file } => Ok(Done::Again { file }),
        }
    }

    fn block(&mut self, file: u64, block: Vec<u8>, ends: &[usize]) -> Result<Done> {
        let mut chunks = Vec::with_capacity(ends.len());
        self.encoder.set_level(self.effort)?;
        let mut start = 0;
        for &end in ends {
            let id = self.common.packs.put(ChunkKind::Content, &block[start..end], &mut self.encoder)?;
            chunks.push((id, (end - start) as u64));
            start = end;
        }
        self.common.blocks.give(block);
        Ok(Done::Chunks { file, chunks })
    }

    fn bundle(&mut self, mut rows: Vec<Row>, files: Vec<SmallFile>) -> Result<Vec<Row>> {
        if files.is_empty() {
            return Ok(rows);
        }
        let mut buffer = self.common.blocks.take();
        let mut used = 0;
        let mut slices = Vec::with_capacity(files.len());
        for file in &files {
            let row = &mut rows[file.row];
            let length = match self.file(row, file, &mut buffer, used) {
                Ok(length) => length,
                Err(error) => {
                    let is_lost = lost(self.common.monitor, &join(&row.directory, &row.name), &error);
                    row.content = if is_lost { Source::Entry } else { Source::Gone };
                    row.entry = row.entry.clone().unread();
                    continue;
                }
            };
            if length == 0 {
                continue;
            }
            if used + length > GROWN_BUNDLE_BYTES {
                self.store(&buffer[..used], &mut slices, &mut rows)?;
                buffer.copy_within(used..used + length, 0);
                used = 0;
            }
            slices.push((file.row, used as u64));
            used += length;
        }
        self.store(&buffer[..used], &mut slices, &mut rows)?;
        self.common.blocks.give(buffer);
        Ok(rows)
    }

    /// Stores a bundle, and tells the rows whose content it is.
    fn store(&mut self, bundle: &[u8], slices: &mut Vec<(usize, u64)>, rows: &mut [Row]) -> Result<()> {
        if bundle.is_empty() {
            return Ok(());
        }
        self.encoder.set_level(self.effort.for_bundles())?;
        let chunk = self.common.packs.put(ChunkKind::Content, bundle, &mut self.encoder)?;
        for (row, offset) in slices.drain(..) {
            rows[row].entry.content = Content::Slice { chunk, offset };
        }
        Ok(())
    }

    /// Reads one file to `buffer[at..]`, and what there is to know of it into its row; gives its length.
    fn file(&self, row: &mut Row, file: &SmallFile, buffer: &mut Vec<u8>, at: usize) -> Result<usize> {
        let handle = file.directory.open_file(&row.name)?;
        let read = read_steadily(&handle, &file.metadata, self.common, buffer, at)?;
        let names = row.entry.names.take();
        let owner = Arc::clone(&row.entry.owner);
        row.entry = entry_of(&read.metadata, owner);
        let entry = &mut row.entry;
        // The other names are those of what the walk saw.
        entry.names = names.filter(|_| read.metadata.inode == file.metadata.inode);
        entry.size_bytes = read.length_bytes as u64;
        entry.whole = read.whole;
        entry.racy = is_racy(&read.metadata, read.began);
        row.content = Source::Entry;
        let path = || join(&row.directory, &row.name);
        match xattr::read_file(&handle) {
            Ok(xattrs) if xattrs.is_empty() => {}
            Ok(xattrs) => entry.xattrs = Kept::Here(xattrs),
            Err(error) => {
                entry.racy = true;
                problem(self.common.monitor, &path(), &error.while_doing("without its attributes:", ""));
            }
        }
        if !read.whole {
            problem(self.common.monitor, &path(), &restless());
        }
        self.common.monitor.event(Event::Entry { path: &path(), bytes: read.length_bytes as u64 });
        Ok(read.length_bytes)
    }
}

/// Reads a file until it was the same before and after.
fn read_steadily(
    file: &File,
    seen: &Metadata,
    common: &Common<'_>,
    buffer: &mut Vec<u8>,
    at: usize,
) -> Result<Read> {
    let mut before = seen.clone();
    let mut read = 0;
    loop {
        let began = (common.clock)();
        let length_bytes = read_whole(file, before.size_bytes, &common.cold, buffer, at)?;
        let after = metadata_of(file).map_err(|e| Error::io("cannot stat", "", e))?;
        if after.kind != FileKind::File {
            return Err(Error::new(Kind::Changed, "replaced by something else while it was read"));
        }
        let steady = after.same_version(&before) && length_bytes <= GROWN_BYTES;
        read += 1;
        if steady || read == READS {
            let length_bytes = length_bytes.min(GROWN_BYTES);
            return Ok(Read { metadata: after, length_bytes, whole: steady, began });
        }
        before = after;
    }
}

/// Reads all of a file, of which `expected_bytes` are expected, to `buffer[at..]`; at most one byte more than [`GROWN_BYTES`].
fn read_whole(
    file: &File,
    expected_bytes: u64,
    cold: &Cold,
    buffer: &mut Vec<u8>,
    at: usize,
) -> Result<usize> {
    let expected = usize::try_from(expected_bytes).unwrap_or(usize::MAX).min(BUNDLED_FILE_BYTES as usize);
    // One more, so that the end of the file is seen by the same call.
    let mut room = expected + 1;
    let mut length = 0;
    loop {
        if buffer.len() < at + room {
            buffer.resize(at + room, 0);
        }
        let count = match cold.read_at(file, &mut buffer[at + length..at + room], length as u64) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("cannot read", "", error)),
        };
        length += count;
        // Less than asked for is the end of a regular file; files that the kernel makes up may have more.
        if count == 0 || (length == expected && length < room) || length > GROWN_BYTES {
            return Ok(length);
        }
        if length == room {
            room = (room * 2).min(GROWN_BYTES + 1);
        }
    }
}

/// Whether a file may have changed after it was read without its times telling: it was changed less than [`RACY_SECONDS`] before
/// the reading began, or later.
pub(super) fn is_racy(metadata: &Metadata, began: FileTime) -> bool {
    metadata.ctime.seconds >= began.seconds.saturating_sub(RACY_SECONDS)
}

pub(super) fn restless() -> Error {
    Error::new(
        Kind::Changed,
        "changed while it was read, twice; stored as it was read last, perhaps not as it was at one moment",
    )
}

/// Tells of an entry that could not be read, and says whether it is lost: what vanished is not.
pub(super) fn lost(monitor: &dyn Monitor, path: &[u8], error: &Error) -> bool {
    let lost = error.kind() != Kind::NotFound;
    monitor.event(Event::Problem { path: &lossy(path), error, lost });
    lost
}

pub(super) fn problem(monitor: &dyn Monitor, path: &[u8], error: &Error) {
    monitor.event(Event::Problem { path: &lossy(path), error, lost: true });
}

/// Whether a tree cannot hold this path. It is told then; what is in such a directory is lost with it.
pub(super) fn is_too_long(monitor: &dyn Monitor, directory: &[u8], name: &[u8]) -> bool {
    let is_too_long = directory.len() + name.len() > TREE_PATH_BYTES;
    if is_too_long {
        problem(monitor, &join(directory, name), &Error::new(Kind::Limit, "too long a path"));
    }
    is_too_long
}

/// Tells that an entry is of a kind that no backup holds.
pub(super) fn left_out(monitor: &dyn Monitor, path: &[u8]) {
    let error = Error::new(Kind::Unsupported, "a socket, left out: only its owner can make it anew");
    monitor.event(Event::Problem { path: &lossy(path), error: &error, lost: false });
}
