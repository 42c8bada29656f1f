//! Large files: read in blocks by the walk, cut where chunks end, stored by the workers.
//!
//! A block is handed on when it is full, with all chunks in it that are sure to end where they do; what is left of it begins
//! the next one. Holes are not read: the data between them is one stream.

use super::row::Work;
use super::walk::Feed;
use crate::engine::dedup::tree::Hole;
use crate::error::{Error, Result};
use crate::limits::{CHUNK_MAX_BYTES, HOLES_KEPT, READ_BLOCK_BYTES};
use crate::tree::sparse;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

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
}

impl<'f> FileData<'f> {
    pub fn new(file: &'f File, data: Vec<(u64, u64)>) -> Self {
        FileData { file, data: data.into_iter(), at: (0, 0) }
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
            match self.file.read_at(&mut buffer[filled..filled + wanted], offset) {
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
        let mut rest_range = 0..0;
        loop {
            self.common.monitor.check()?;
            let mut block = self.common.blocks.take();
            if block.len() != READ_BLOCK_BYTES {
                block.resize(READ_BLOCK_BYTES, 0);
            }
            let carried = rest_range.len();
            block[..carried].copy_from_slice(&rest[rest_range.clone()]);
            self.common.blocks.give(std::mem::take(&mut rest));
            let filled = match data.fill(&mut block[carried..]) {
                Ok(filled) => filled,
                Err(error) => return Ok(Outcome::Failed(error)),
            };
            total += filled as u64;
            let length = carried + filled;
            let is_last = length < block.len();
            let mut ends = Vec::new();
            let mut at = 0;
            while at < length && (is_last || length - at >= CHUNK_MAX_BYTES) {
                at += self.common.chunker.cut(&block[at..length]);
                ends.push(at);
            }
            if is_last {
                if !ends.is_empty() {
                    self.work.send(Work::Block { file: number, block, ends })?;
                }
                return Ok(Outcome::Read(total));
            }
            // The rest is copied into the next block before this one is handed on.
            rest = self.common.blocks.take();
            rest.clear();
            rest.extend_from_slice(&block[at..length]);
            rest_range = 0..rest.len();
            self.work.send(Work::Block { file: number, block, ends })?;
        }
    }
}

/// How far a reading came.
pub(super) enum Outcome {
    /// To the end, after so many bytes.
    Read(u64),
    /// Not: the file failed.
    Failed(Error),
}
