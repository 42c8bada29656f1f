//! Reading a file into the stream of a level, so that what is stored is what the file was at one moment.
//!
//! Invariant: a record is ended only when the file did not change while it was read, or changed under every read, which is told;
//! all others are given up. Nothing is stored of a content that the level below has.

use super::blocks::BlockIndex;
use super::delta::{Operations, Search};
use super::signature::{self, Known, Signature, SignatureBuilder};
use super::state::Step;
use super::stream::{Content, StreamWriter};
use crate::error::{Error, Kind, Result};
use crate::limits::{PIPE_ITEMS, READ_BYTES, RSYNC_BESIDE_BYTES};
use crate::monitor::Monitor;
use crate::pipe::{self, BlockWriter, Pool};
use crate::tree::attributes::Metadata;
use crate::tree::directory::metadata_of;
use crate::tree::sparse;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How often a file that changes is read.
const READS: u32 = 2;

/// The stream of a level.
pub type Stream<'o, 'b> = StreamWriter<&'o mut BlockWriter<'b>>;

/// A content that the level below has.
pub struct Older {
    /// Which.
    pub content: Content,
    /// What makes it.
    pub recipe: Vec<Step>,
    /// What is known of its blocks.
    pub signature: Option<Signature>,
}

/// A file that was read.
pub struct Read {
    /// What it was when it was read.
    pub metadata: Metadata,
    /// Its content.
    pub content: Content,
    /// What makes it.
    pub recipe: Vec<Step>,
    /// The length of the blocks, and the entries, of its signature.
    pub signature: Option<(u32, Vec<u8>)>,
    /// Whether it is as it was at one moment.
    pub is_whole: bool,
    /// What there is to say of it.
    pub problem: Option<Error>,
}

/// Reads files.
pub struct ContentReader {
    pool: Pool,
    /// The level that is made.
    level: u32,
    /// The length of a block that the user wants.
    block_bytes: Option<u32>,
}

/// A piece of a file.
enum Piece {
    /// Bytes, and what is known of the blocks that end in them.
    Data(Vec<u8>, Known),
    Hole(u64),
}

/// What is known when a file has gone by.
struct Summary {
    content: Content,
    entries: Vec<u8>,
}

impl ContentReader {
    /// A reader for a level.
    pub fn new(level: u32, block_bytes: Option<u32>) -> ContentReader {
        ContentReader { pool: Pool::new(PIPE_ITEMS + 2), level, block_bytes }
    }

    /// Stores a file that is open, and was `metadata` when it was opened, as a difference from what there was of it. The inner
    /// error is that of a file that cannot be read.
    ///
    /// # Errors
    /// Of the stream and the run.
    pub fn store(
        &self,
        file: &File,
        mut metadata: Metadata,
        mut older: Option<Older>,
        stream: &mut Stream<'_, '_>,
        monitor: &dyn Monitor,
    ) -> Result<Result<Read>> {
        let index = older.as_mut().and_then(|older| older.signature.take()).map(BlockIndex::new);
        for read in 1..=READS {
            let block_bytes = signature::block_bytes(metadata.size_bytes, self.block_bytes);
            let base = older.as_ref().filter(|_| index.is_some()).map(|older| &older.content);
            let mut record = Lazy { stream: &mut *stream, base, number: None, held_bytes: 0, copies: false };
            let search = index.as_ref().map(Search::new);
            let summary = self.go_by(file, &metadata, block_bytes, search, &mut record, monitor)?;
            let now = metadata_of(file).map_err(|error| Error::io("cannot stat", "", error));
            let (summary, now) = match (summary, now) {
                (Ok(summary), Ok(now)) => (summary, now),
                (Err(error), _) | (_, Err(error)) => {
                    record.give_up()?;
                    return Ok(Err(error));
                }
            };
            let same = now.same_version(&metadata);
            metadata = now;
            if !same && read < READS {
                record.give_up()?;
                continue;
            }
            let recipe = self.end(record, older.as_ref(), &summary.content)?;
            let problem = match (same, read) {
                (true, 1) => None,
                (true, _) => Some("changed while it was read; stored as it was when it was read once more"),
                (false, _) => Some(
                    "changed while it was read, twice; stored as it was read last, perhaps not as it was at one moment",
                ),
            };
            return Ok(Ok(Read {
                metadata,
                content: summary.content,
                recipe,
                signature: block_bytes.map(|block_bytes| (block_bytes, summary.entries)),
                is_whole: same,
                problem: problem.map(|what| Error::new(Kind::Changed, what)),
            }));
        }
        Err(Error::invalid("a file was read too often", ""))
    }

    /// Ends a record; gives what makes the content.
    fn end(
        &self,
        mut record: Lazy<'_, '_, '_>,
        older: Option<&Older>,
        content: &Content,
    ) -> Result<Vec<Step>> {
        if content.size_bytes == 0 {
            record.give_up()?;
            return Ok(Vec::new());
        }
        if let Some(older) = older.filter(|older| older.content == *content) {
            record.give_up()?;
            return Ok(older.recipe.clone());
        }
        record.begin()?;
        record.stream.end(&content.hash)?;
        let step = Step { level: self.level, record: record.number.unwrap_or_default() };
        // What copies nothing needs nothing below it.
        let below = older.filter(|_| record.copies).map(|older| older.recipe.as_slice()).unwrap_or_default();
        Ok([below, &[step]].concat())
    }

    /// Has a file go by: everything that is asked of its content is found out at once. Long ones are read and hashed beside the
    /// search. The inner error is that of the file.
    fn go_by(
        &self,
        file: &File,
        metadata: &Metadata,
        block_bytes: Option<u32>,
        search: Option<Search<'_>>,
        record: &mut Lazy<'_, '_, '_>,
        monitor: &dyn Monitor,
    ) -> Result<Result<Summary>> {
        let mut search = search;
        let mut take = |piece: Piece| {
            match (&piece, &mut search) {
                (Piece::Data(bytes, known), Some(search)) => search.push(bytes, known, record)?,
                (Piece::Hole(length_bytes), Some(search)) => search.hole(*length_bytes, record)?,
                (Piece::Data(bytes, _), None) => record.data(bytes)?,
                (Piece::Hole(length_bytes), None) => record.hole(*length_bytes)?,
            }
            if let Piece::Data(bytes, _) = piece {
                self.pool.give(bytes);
            }
            Ok(())
        };
        let summary = if metadata.size_bytes < RSYNC_BESIDE_BYTES {
            self.read(file, metadata, block_bytes, monitor, &mut take)?
        } else {
            let (summary, ()) = pipe::run(
                PIPE_ITEMS,
                |sender| self.read(file, metadata, block_bytes, monitor, &mut |piece| sender.send(piece)),
                |receiver| {
                    while let Some(piece) = receiver.receive()? {
                        take(piece)?;
                    }
                    Ok(())
                },
            )?;
            summary
        };
        if let Some(search) = search {
            search.finish(record)?;
        }
        Ok(summary)
    }

    /// Reads a file as long as it was when it was looked at, and hashes it. The inner error is that of the file.
    fn read(
        &self,
        file: &File,
        metadata: &Metadata,
        block_bytes: Option<u32>,
        monitor: &dyn Monitor,
        each: &mut dyn FnMut(Piece) -> Result<()>,
    ) -> Result<Result<Summary>> {
        let size_bytes = metadata.size_bytes;
        let has_holes = metadata.allocated_bytes < size_bytes;
        let regions = if has_holes { sparse::regions(file, size_bytes).unwrap_or(None) } else { None };
        let mut hasher = blake3::Hasher::new();
        let mut builder = block_bytes.map(SignatureBuilder::new);
        let mut at = 0;
        for (offset, length_bytes) in regions.unwrap_or_else(|| vec![(0, size_bytes)]) {
            hole(offset - at, &mut hasher, builder.as_mut(), monitor, each)?;
            at = offset;
            let end = offset + length_bytes;
            while at < end {
                monitor.check()?;
                let step = usize::try_from(end - at).unwrap_or(usize::MAX).min(READ_BYTES);
                let mut buffer = self.pool.take();
                buffer.resize(step, 0);
                let count = match read_at(file, &mut buffer, at) {
                    Ok(count) => count,
                    Err(error) => return Ok(Err(error)),
                };
                if count == 0 {
                    // Shorter than it was: it has changed, and is seen to have.
                    let content = Content { size_bytes: at, hash: hasher.finalize() };
                    let entries = builder.map(SignatureBuilder::finish).unwrap_or_default();
                    return Ok(Ok(Summary { content, entries }));
                }
                buffer.truncate(count);
                hasher.update(&buffer);
                let known = match &mut builder {
                    Some(builder) => {
                        let before = builder.full_blocks();
                        builder.data(&buffer);
                        builder.known_from(before)
                    }
                    None => Known::default(),
                };
                at += count as u64;
                each(Piece::Data(buffer, known))?;
            }
        }
        hole(size_bytes - at, &mut hasher, builder.as_mut(), monitor, each)?;
        let content = Content { size_bytes, hash: hasher.finalize() };
        Ok(Ok(Summary { content, entries: builder.map(SignatureBuilder::finish).unwrap_or_default() }))
    }
}

/// Zeros that nobody reads.
fn hole(
    length_bytes: u64,
    hasher: &mut blake3::Hasher,
    builder: Option<&mut SignatureBuilder>,
    monitor: &dyn Monitor,
    each: &mut dyn FnMut(Piece) -> Result<()>,
) -> Result<()> {
    if length_bytes == 0 {
        return Ok(());
    }
    hash_zeros(hasher, length_bytes, monitor)?;
    if let Some(builder) = builder {
        builder.zeros(length_bytes);
    }
    each(Piece::Hole(length_bytes))
}

/// Adds zeros to a hash.
///
/// # Errors
/// `Interrupted`.
pub fn hash_zeros(hasher: &mut blake3::Hasher, mut length_bytes: u64, monitor: &dyn Monitor) -> Result<()> {
    static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
    while length_bytes > 0 {
        monitor.check()?;
        let step = length_bytes.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..step as usize]);
        length_bytes -= step;
    }
    Ok(())
}

/// Reads once, as much as there is at a time.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("cannot read", "", error)),
            Ok(count) => return Ok(count),
        }
    }
}

/// A record that is begun when it turns out that there is something to store.
struct Lazy<'r, 'o, 'b> {
    stream: &'r mut Stream<'o, 'b>,
    base: Option<&'r Content>,
    number: Option<u64>,
    /// What the content has in common with the older one so far, from its beginning.
    held_bytes: u64,
    /// Whether it copies anything.
    copies: bool,
}

impl Lazy<'_, '_, '_> {
    fn begin(&mut self) -> Result<()> {
        if self.number.is_none() {
            self.number = Some(self.stream.begin(self.base)?);
            if self.held_bytes > 0 {
                self.stream.copy(0, self.held_bytes)?;
            }
        }
        Ok(())
    }

    fn give_up(&mut self) -> Result<()> {
        if self.number.is_some() { self.stream.give_up() } else { Ok(()) }
    }
}

impl Operations for Lazy<'_, '_, '_> {
    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.begin()?;
        self.stream.data(bytes)
    }

    fn copy(&mut self, offset: u64, length_bytes: u64) -> Result<()> {
        self.copies = true;
        if self.number.is_none() && offset == self.held_bytes {
            self.held_bytes += length_bytes;
            return Ok(());
        }
        self.begin()?;
        self.stream.copy(offset, length_bytes)
    }

    fn hole(&mut self, length_bytes: u64) -> Result<()> {
        self.begin()?;
        self.stream.hole(length_bytes)
    }
}
