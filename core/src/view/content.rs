//! The bytes of files, as pieces of data and holes in their order. Every chunk is verified before a byte of it is handed out.
//!
//! Neighbours in a tree lie in one bundle, or in a few, so the chunks read last are kept: [`VIEW_CACHE_BYTES`] of them. The
//! chunks of a large file are read and decoded by several threads.

use super::View;
use crate::engine::dedup::tree::{self, Content, Entry, Hole};
use crate::error::{Error, Kind, Result};
use crate::limits::{PIPE_ITEMS, VIEW_CACHE_BYTES, VIEW_CACHE_CHUNKS};
use crate::monitor::Monitor;
use crate::pipe;
use crate::repository::vault::{ChunkId, ChunkKind};
use std::sync::Arc;

/// Zeros, to be written where a hole has to be spelled out.
pub static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Fewest chunks of a file for which threads are started.
const ROWS_IN_PARALLEL: usize = 3;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes.
    Data(&'a [u8]),
    /// So many bytes that are zero and take no room.
    Hole(u64),
}

/// Reads the contents of files.
pub struct Contents<'v> {
    view: &'v View<'v>,
    workers: usize,
    monitor: &'v dyn Monitor,
    recent: Recent,
}

impl<'v> Contents<'v> {
    /// Reads with up to `workers` threads.
    pub fn new(view: &'v View<'v>, workers: usize, monitor: &'v dyn Monitor) -> Self {
        Contents { view, workers, monitor, recent: Recent::default() }
    }

    /// Hands out the content of a file, all of it or an error.
    ///
    /// # Errors
    /// `Damaged` when a chunk is missing or not what it should be; what `piece` fails with; as the storage has it.
    pub fn read(&mut self, entry: &Entry, piece: &mut dyn FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        if entry.is_unread() {
            return Err(unread());
        }
        let holes = tree::holes(self.view.chunks(), &entry.holes, entry.size_bytes)?;
        let mut layout = Layout::new(&holes, entry.size_bytes)?;
        self.read_data(entry, layout.data_bytes, &mut |bytes| layout.data(bytes, piece))?;
        layout.finish(piece)
    }

    /// Hands out the data of a file without its holes.
    fn read_data(
        &mut self,
        entry: &Entry,
        data_bytes: u64,
        data: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        match &entry.content {
            Content::None => Ok(()),
            Content::Slice { chunk, offset } => {
                let chunk = self.chunk(chunk)?;
                data(slice(&chunk, *offset, data_bytes)?)
            }
            Content::Rows { depth, rows }
                if self.workers > 1 && (*depth > 0 || rows.len() >= ROWS_IN_PARALLEL) =>
            {
                self.read_in_parallel(entry, data_bytes, data)
            }
            content => {
                for row in tree::rows(self.view.chunks(), content, data_bytes)? {
                    self.monitor.check()?;
                    data(&read_row(self.view, row?)?)?;
                }
                Ok(())
            }
        }
    }

    fn read_in_parallel(
        &self,
        entry: &Entry,
        data_bytes: u64,
        data: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let view = self.view;
        let monitor = self.monitor;
        pipe::run_mapped(
            PIPE_ITEMS,
            self.workers,
            |rows| {
                for row in tree::rows(view.chunks(), &entry.content, data_bytes)? {
                    monitor.check()?;
                    rows.send(row?)?;
                }
                Ok(())
            },
            || Ok(|row| read_row(view, row)),
            |chunks| {
                while let Some(chunk) = chunks.receive()? {
                    data(&chunk)?;
                }
                Ok(())
            },
        )?;
        Ok(())
    }

    /// A chunk of content, from among the last ones where it is there.
    fn chunk(&mut self, id: &ChunkId) -> Result<Arc<Vec<u8>>> {
        if let Some(chunk) = self.recent.find(id) {
            return Ok(chunk);
        }
        self.monitor.check()?;
        let chunk = Arc::new(self.view.reader().read(ChunkKind::Content, id)?);
        self.recent.keep(*id, &chunk);
        Ok(chunk)
    }

    /// The part of a chunk that is a small file.
    ///
    /// # Errors
    /// As [`Contents::read`].
    pub fn slice_is(&mut self, chunk: &ChunkId, offset: u64, bytes: &[u8]) -> Result<bool> {
        let chunk = self.chunk(chunk)?;
        Ok(slice(&chunk, offset, bytes.len() as u64)? == bytes)
    }
}

/// What a backup says of what it does not have.
pub fn unread() -> Error {
    let text = "this backup does not have it, since it could not be read when it was made:";
    Error::new(Kind::NotFound, text).hint("icecore find --all shows which backups have a version of it")
}

fn read_row(view: &View<'_>, (id, bytes): (ChunkId, u64)) -> Result<Vec<u8>> {
    let chunk = view.reader().read(ChunkKind::Content, &id)?;
    if chunk.len() as u64 != bytes {
        return Err(Error::damaged("not as long as its file says: chunk", id.to_string()));
    }
    Ok(chunk)
}

fn slice(chunk: &[u8], offset: u64, length: u64) -> Result<&[u8]> {
    let range = || {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        chunk.get(start..end)
    };
    range().ok_or_else(|| {
        Error::damaged("a file ends behind the end of its chunk,", format!("at byte {offset}"))
    })
}

/// Where data and holes of a file lie.
struct Layout<'h> {
    holes: std::slice::Iter<'h, Hole>,
    /// Data before the next hole, or before the end.
    before_hole: u64,
    hole: u64,
    data_bytes: u64,
    left: u64,
}

impl<'h> Layout<'h> {
    fn new(holes: &'h [Hole], size_bytes: u64) -> Result<Self> {
        let hole_bytes = holes.iter().try_fold(0u64, |sum, hole| sum.checked_add(hole.length));
        let data_bytes = hole_bytes
            .and_then(|holes| size_bytes.checked_sub(holes))
            .ok_or_else(|| Error::damaged("holes are longer than", "their file"))?;
        let mut layout =
            Layout { holes: holes.iter(), before_hole: 0, hole: 0, data_bytes, left: data_bytes };
        layout.next();
        Ok(layout)
    }

    fn next(&mut self) {
        match self.holes.next() {
            Some(hole) => (self.before_hole, self.hole) = (hole.data_before, hole.length),
            None => (self.before_hole, self.hole) = (self.left, 0),
        }
    }

    fn data(&mut self, mut bytes: &[u8], piece: &mut dyn FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        while !bytes.is_empty() {
            if self.before_hole == 0 {
                self.pass_hole(piece)?;
                continue;
            }
            let now = usize::try_from(self.before_hole).unwrap_or(usize::MAX).min(bytes.len());
            let (head, rest) = bytes.split_at(now);
            self.left = self.left.checked_sub(now as u64).ok_or_else(wrong_length)?;
            self.before_hole -= now as u64;
            piece(Piece::Data(head))?;
            bytes = rest;
        }
        Ok(())
    }

    fn pass_hole(&mut self, piece: &mut dyn FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        if self.hole == 0 {
            return Err(wrong_length());
        }
        piece(Piece::Hole(self.hole))?;
        self.next();
        Ok(())
    }

    /// The holes behind the last data; by now all of it must have come.
    fn finish(mut self, piece: &mut dyn FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        if self.left != 0 {
            return Err(wrong_length());
        }
        while self.hole > 0 {
            if self.before_hole > 0 {
                return Err(wrong_length());
            }
            self.pass_hole(piece)?;
        }
        Ok(())
    }
}

fn wrong_length() -> Error {
    Error::damaged("data and holes do not come to the size of", "a file")
}

/// The chunks that were read last, the newest at the end.
#[derive(Default)]
struct Recent {
    chunks: Vec<(ChunkId, Arc<Vec<u8>>)>,
    bytes: usize,
}

impl Recent {
    fn find(&mut self, id: &ChunkId) -> Option<Arc<Vec<u8>>> {
        let found = self.chunks.iter().rposition(|(known, _)| known == id)?;
        self.chunks[found..].rotate_left(1);
        self.chunks.last().map(|(_, chunk)| Arc::clone(chunk))
    }

    fn keep(&mut self, id: ChunkId, chunk: &Arc<Vec<u8>>) {
        self.bytes += chunk.len();
        self.chunks.push((id, Arc::clone(chunk)));
        while self.chunks.len() > 1
            && (self.bytes > VIEW_CACHE_BYTES || self.chunks.len() > VIEW_CACHE_CHUNKS)
        {
            let (_, oldest) = self.chunks.remove(0);
            self.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn laid_out(holes: &[Hole], size: u64, chunks: &[&[u8]]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut piece = |piece: Piece<'_>| {
            match piece {
                Piece::Data(bytes) => out.extend_from_slice(bytes),
                Piece::Hole(bytes) => out.resize(out.len() + bytes as usize, 0),
            }
            Ok(())
        };
        let mut layout = Layout::new(holes, size)?;
        for chunk in chunks {
            layout.data(chunk, &mut piece)?;
        }
        layout.finish(&mut piece)?;
        Ok(out)
    }

    proptest! {
        #[test]
        fn holes_and_data_come_in_their_order(
            parts in prop::collection::vec((0u64..20, 1u64..20), 0..6),
            tail in 0u64..20,
            cut in 1usize..7,
        ) {
            let holes: Vec<Hole> =
                parts.iter().map(|&(data_before, length)| Hole { data_before, length }).collect();
            let mut expected = Vec::new();
            let mut data = Vec::new();
            for &(before, length) in parts.iter().chain(&[(tail, 0)]) {
                let bytes: Vec<u8> = (0..before).map(|n| n as u8 + 1).collect();
                expected.extend_from_slice(&bytes);
                data.extend_from_slice(&bytes);
                expected.resize(expected.len() + length as usize, 0);
            }
            let size = expected.len() as u64;
            let chunks: Vec<&[u8]> = data.chunks(cut).collect();
            prop_assert_eq!(laid_out(&holes, size, &chunks).unwrap(), expected);
        }
    }

    #[test]
    fn data_that_is_too_short_or_too_long_is_damage() {
        let hole = [Hole { data_before: 2, length: 3 }];
        assert!(laid_out(&hole, 6, &[b"abc"]).is_ok());
        for chunks in [&[&b"ab"[..]][..], &[b"abcd"], &[]] {
            assert!(laid_out(&hole, 6, chunks).is_err());
        }
        assert!(laid_out(&hole, 2, &[]).is_err());
        assert!(laid_out(&[Hole { data_before: 9, length: 1 }], 4, &[b"abc"]).is_err());
    }

    #[test]
    fn only_the_last_chunks_are_kept() {
        let mut recent = Recent::default();
        let chunk = Arc::new(vec![0; VIEW_CACHE_BYTES / 2]);
        let id = |number: u8| ChunkId([number; 32]);
        recent.keep(id(1), &chunk);
        recent.keep(id(2), &chunk);
        assert!(recent.find(&id(1)).is_some());
        recent.keep(id(3), &chunk);
        assert!(
            recent.find(&id(2)).is_none() && recent.find(&id(1)).is_some() && recent.find(&id(3)).is_some()
        );
    }
}
