//! Large files: read in blocks by the walk, cut where chunks end, stored by the workers.
//!
//! A block is handed on when it is full, with all chunks in it that are sure to end where they do; what is left of it begins
//! the next one. Holes are not read: the data between them is one stream.

use super::row::{Row, Source, Work, entry_of, join};
use super::small::{is_racy, problem, restless};
use super::walk::{Feed, Here};
use crate::engine::dedup::tree::{Hole, Kept};
use crate::error::{Error, Kind, Result};
use crate::limits::{CHUNK_MAX_BYTES, HOLES_KEPT, READ_BLOCK_BYTES};
use crate::monitor::Event;
use crate::tree::attributes::{FileKind, Metadata};
use crate::tree::cache::read_once;
use crate::tree::directory::{Directory, metadata_of};
use crate::tree::{sparse, xattr};
use std::fs::File;
use std::io::Read;

/// How often a file that changes is read.
const READS: u32 = 2;

/// The data of a file: what is read of it, and the holes that are left out.
pub(super) struct Layout {
    /// Offset and length of each stretch of data.
    pub data: Vec<(u64, u64)>,
    pub holes: Vec<Hole>,
}

impl Layout {
    /// All of it is data.
    pub fn plain(size_bytes: u64) -> Layout {
        Layout { data: vec![(0, size_bytes)], holes: Vec::new() }
    }

    /// As the file system tells it; a file with very many holes is read as if it had none.
    pub fn of(file: &File, size_bytes: u64, allocated_bytes: u64) -> Result<Layout> {
        if allocated_bytes >= size_bytes {
            return Ok(Layout::plain(size_bytes));
        }
        match sparse::regions(file, size_bytes)? {
            Some(data) if data.len() < HOLES_KEPT => {
                let holes = holes_between(&data, size_bytes);
                Ok(Layout { data, holes })
            }
            _ => Ok(Layout::plain(size_bytes)),
        }
    }

    /// Bytes of holes.
    pub fn hole_bytes(&self) -> u64 {
        self.holes.iter().map(|hole| hole.length).sum()
    }
}

fn holes_between(data: &[(u64, u64)], size_bytes: u64) -> Vec<Hole> {
    let mut holes = Vec::new();
    let mut at = 0;
    let mut since_hole = 0;
    for &(offset, length) in data {
        if offset > at {
            holes.push(Hole { data_before: since_hole, length: offset - at });
            since_hole = 0;
        }
        since_hole += length;
        at = offset + length;
    }
    if size_bytes > at {
        holes.push(Hole { data_before: since_hole, length: size_bytes - at });
    }
    holes
}

/// Something that fills buffers until it ends.
pub(super) trait Stretch {
    /// Fills `buffer` from its start as far as there is data; less than all of it only at the end.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize>;
}

/// The data of a file.
pub(super) struct FileData<'f> {
    file: &'f File,
    data: std::vec::IntoIter<(u64, u64)>,
    /// Where the present stretch goes on, and what is left of it.
    at: (u64, u64),
    /// Whether the file system knows readings that leave the cache as it is.
    is_careful: bool,
}

impl<'f> FileData<'f> {
    pub fn new(file: &'f File, data: Vec<(u64, u64)>) -> Self {
        FileData { file, data: data.into_iter(), at: (0, 0), is_careful: true }
    }
}

impl Stretch for FileData<'_> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let (offset, left) = self.at;
            if left == 0 {
                match self.data.next() {
                    Some(next) => self.at = next,
                    None => break,
                }
                continue;
            }
            let wanted = (buffer.len() - filled).min(usize::try_from(left).unwrap_or(usize::MAX));
            let room = &mut buffer[filled..filled + wanted];
            match read_once(self.file, room, offset, &mut self.is_careful) {
                // Shorter than it was: the look afterwards sees that it changed.
                Ok(0) => self.at = (offset, 0),
                Ok(count) => {
                    filled += count;
                    self.at = (offset + count as u64, left - count as u64);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("cannot read", "", error)),
            }
        }
        Ok(filled)
    }
}

/// A stream that is read once.
pub(super) struct StreamData<'s>(pub &'s mut (dyn Read + Send));

impl Stretch for StreamData<'_> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("cannot read", "the stream", error)),
            }
        }
        Ok(filled)
    }
}

impl Feed<'_> {
    /// Sends all of `data` as blocks of the large file `number`; gives its length.
    pub(super) fn send_blocks(&mut self, number: u64, data: &mut dyn Stretch) -> Result<Outcome> {
        let mut total = 0;
        // What is left of the block before.
        let mut rest: Vec<u8> = Vec::new();
        loop {
            self.common.monitor.check()?;
            let mut block = self.common.blocks.take();
            if block.len() != READ_BLOCK_BYTES {
                block.resize(READ_BLOCK_BYTES, 0);
            }
            let carried = rest.len();
            block[..carried].copy_from_slice(&rest);
            let filled = match data.fill(&mut block[carried..]) {
                Ok(filled) => filled,
                Err(error) => return Ok(Outcome::Failed(error)),
            };
            total += filled as u64;
            let length = carried + filled;
            let is_last = length < block.len();
            let mut ends = Vec::new();
            let mut at = 0;
            while at < length {
                let chunk = self.common.chunker.cut(&block[at..length]);
                // A border at the end of what is there may be none: only what follows can tell.
                if at + chunk == length && chunk < CHUNK_MAX_BYTES && !is_last {
                    break;
                }
                at += chunk;
                ends.push(at);
            }
            if is_last {
                if !ends.is_empty() {
                    self.work.send(Work::Block { file: number, block, ends })?;
                }
                return Ok(Outcome::Read(total));
            }
            // The rest is copied into the next block before this one is handed on.
            rest.clear();
            rest.extend_from_slice(&block[at..length]);
            self.work.send(Work::Block { file: number, block, ends })?;
        }
    }

    /// Reads a large file, or one with holes, and sends its blocks.
    pub(super) fn large(&mut self, here: &Here, mut row: Row, real: &[u8]) -> Result<()> {
        let path = join(&here.path, &row.name);
        match self.read_large(&here.directory, real, &mut row)? {
            Ok(()) => {
                if !row.entry.whole {
                    problem(self.common.monitor, &path, &restless());
                }
                self.common.monitor.event(Event::Entry { path: &path, bytes: row.entry.size_bytes });
                self.push(row)
            }
            Err(error) => self.unread(&here.path, &row.name, row.entry.unread(), &error),
        }
    }

    /// Reads it, or says why that cannot be done.
    fn read_large(&mut self, directory: &Directory, real: &[u8], row: &mut Row) -> Result<Result<(), Error>> {
        let path = join(&row.directory, &row.name);
        let opened = directory.open_file(real).and_then(|file| {
            let metadata = metadata_of(&file).map_err(|e| Error::io("cannot stat", "", e))?;
            Ok((file, metadata))
        });
        let (file, mut before) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        // The other names are those of what the walk saw.
        let names = row.entry.names.filter(|_| before.inode == row.entry.inode);
        let mut whole = false;
        let number = self.new_large();
        let mut taken = None;
        for read in 0..READS {
            if before.kind != FileKind::File {
                return Ok(Err(Error::new(Kind::Changed, "replaced while it was read")));
            }
            if read > 0 {
                self.work.send(Work::Again { file: number })?;
            }
            let began = (self.common.clock)();
            let looked = Layout::of(&file, before.size_bytes, before.allocated_bytes);
            let layout = looked.unwrap_or_else(|_| Layout::plain(before.size_bytes));
            let hole_bytes = layout.hole_bytes();
            let mut data = FileData::new(&file, layout.data);
            let after = match self.send_and_look(number, &mut data, &file)? {
                Ok((length, after)) => {
                    whole = after.same_version(&before) && length + hole_bytes == before.size_bytes;
                    taken = Some((length, layout.holes, began, after.clone()));
                    after
                }
                Err(error) => {
                    self.work.send(Work::Again { file: number })?;
                    return Ok(Err(error));
                }
            };
            if whole {
                break;
            }
            before = after;
        }
        let Some((length, mut holes, began, metadata)) = taken else { return Ok(Err(restless())) };
        keep_reached(&mut holes, length);
        let owner = self.owner(metadata.uid, metadata.gid);
        row.entry = entry_of(&metadata, owner);
        row.entry.names = names;
        row.entry.whole = whole;
        row.entry.racy = is_racy(&metadata, began);
        let hole_bytes: u64 = holes.iter().map(|hole| hole.length).sum();
        row.entry.size_bytes = length + hole_bytes;
        if !holes.is_empty() {
            row.entry.holes = Kept::Here(holes);
        }
        self.attributes(&mut row.entry, &path, || xattr::read_file(&file));
        row.content = Source::Large(number);
        Ok(Ok(()))
    }

    /// Sends the data, and looks what the file is then.
    fn send_and_look(
        &mut self,
        number: u64,
        data: &mut dyn Stretch,
        file: &File,
    ) -> Result<Result<(u64, Metadata)>> {
        Ok(match self.send_blocks(number, data)? {
            Outcome::Failed(error) => Err(error),
            Outcome::Read(length) => {
                metadata_of(file).map(|after| (length, after)).map_err(|e| Error::io("cannot stat", "", e))
            }
        })
    }
}

/// Drops the holes of a file behind the place where its data ended too early.
fn keep_reached(holes: &mut Vec<Hole>, length_bytes: u64) {
    let mut data = 0_u64;
    holes.retain(|hole| {
        data = data.saturating_add(hole.data_before);
        data <= length_bytes
    });
}

/// How far a reading came.
pub(super) enum Outcome {
    /// To the end, after so many bytes.
    Read(u64),
    /// Not: the file failed.
    Failed(Error),
}
