//! Reading the state of a level: foreign bytes.
//!
//! Invariants: memory is that of an item and a buffer; lengths are those of the head, or it is `Damaged`; what was decompressed
//! is in a temporary file, no longer than the head says and [`RSYNC_TREE_BYTES`] allows.

use super::super::signature::{self, ENTRY_BYTES, Signature};
use super::super::stream::check_magic;
use super::row::{FileRow, Item};
use super::{HEAD_BYTES, MAGIC};
use crate::codec::{self, Compression, Rest};
use crate::error::{Error, Kind, Result};
use crate::limits::{LEVEL_MAX, RSYNC_BLOCKS, RSYNC_ITEM_BYTES, RSYNC_TREE_BYTES};
use crate::spool::{Scratch, Spool};
use crate::time::FileTime;
use std::io::Read;

/// The state of a level.
pub struct State {
    level: u32,
    start: FileTime,
    tree: Spool,
    /// As it is stored, for the signatures in it.
    stored: Spool,
    signatures_at: u64,
    signature_bytes: u64,
}

impl State {
    /// Reads a state as far as its tree goes; signatures are read when they are asked for.
    ///
    /// # Errors
    /// `Damaged`, `Unsupported` when it is of a later version; I/O of temporary files.
    pub fn load(mut stored: Spool, scratch: &Scratch) -> Result<State> {
        let mut head = [0; HEAD_BYTES];
        if stored.len() < HEAD_BYTES as u64 {
            return Err(damaged("cut short:"));
        }
        stored.read_at(0, &mut head)?;
        let (magic, rest) = head.split_at(MAGIC.len());
        check_magic(magic, MAGIC, SUBJECT)?;
        let (level, rest) = rest.split_at(4);
        let (seconds, rest) = rest.split_at(8);
        let (nanoseconds, rest) = rest.split_at(4);
        let (level, nanoseconds) = (number(level) as u32, number(nanoseconds) as u32);
        let mut lengths = rest.chunks_exact(8).map(number);
        let mut next = || lengths.next().unwrap_or_default();
        let (tree_bytes, packed_bytes, signature_bytes) = (next(), next(), next());
        let expected =
            (HEAD_BYTES as u64).checked_add(packed_bytes).and_then(|all| all.checked_add(signature_bytes));
        if level > LEVEL_MAX || nanoseconds >= 1_000_000_000 || expected != Some(stored.len()) {
            return Err(damaged("out of form:"));
        }
        if tree_bytes > RSYNC_TREE_BYTES {
            return Err(Error::new(Kind::Limit, "too long:").on(SUBJECT));
        }
        let mut tree = scratch.spool();
        // The head is behind us: it was read from the start.
        let packed = Read::take(&mut stored, packed_bytes);
        let decoded =
            codec::decode(Compression::Zstd, 1, packed, Rest::Check, |input| tree.fill(input, tree_bytes));
        let decoded = decoded.map_err(|error| match error.kind() {
            Kind::Limit => damaged("longer than it says:").because(error),
            _ => error.while_doing("cannot read", SUBJECT),
        })?;
        if decoded != tree_bytes {
            return Err(damaged("shorter than it says:"));
        }
        let start = FileTime::new(number(seconds) as i64, nanoseconds);
        let signatures_at = HEAD_BYTES as u64 + packed_bytes;
        Ok(State { level, start, tree, stored, signatures_at, signature_bytes })
    }

    /// The level.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// When it was begun.
    pub fn start(&self) -> FileTime {
        self.start
    }

    /// The item at a place that a [`Cursor`] gave.
    ///
    /// # Errors
    /// As [`Cursor::next`].
    pub fn item_at(&mut self, offset: u64) -> Result<Item> {
        let left = self.tree.len().saturating_sub(offset);
        let mut length = [0; 4];
        if left < 4 {
            return Err(damaged("cut short:"));
        }
        self.tree.read_at(offset, &mut length)?;
        let length = length_of(length, left - 4)?;
        let mut bytes = vec![0; length];
        self.tree.read_at(offset + 4, &mut bytes)?;
        Item::decode(&bytes)
    }

    /// The entries of the signature of a file; `None` for one that has none.
    ///
    /// # Errors
    /// `Damaged` when they are not where they should be; I/O.
    pub fn entries(&mut self, file: &FileRow) -> Result<Option<Vec<u8>>> {
        let Some(place) = file.signature else { return Ok(None) };
        let blocks = signature::blocks(file.content.size_bytes, place.block_bytes);
        let length = blocks.min(RSYNC_BLOCKS + 1) * ENTRY_BYTES as u64;
        let end = place.offset.checked_add(length);
        if blocks > RSYNC_BLOCKS || end.is_none_or(|end| end > self.signature_bytes) {
            return Err(damaged("a signature is not there in"));
        }
        let mut entries = vec![0; length as usize];
        self.stored.read_at(self.signatures_at + place.offset, &mut entries)?;
        Ok(Some(entries))
    }

    /// The signature of a file; `None` for one that has none.
    ///
    /// # Errors
    /// As [`State::entries`].
    pub fn signature(&mut self, file: &FileRow) -> Result<Option<Signature>> {
        let (Some(place), Some(entries)) = (file.signature, self.entries(file)?) else { return Ok(None) };
        Signature::new(file.content.size_bytes, place.block_bytes, entries).map(Some)
    }
}

/// Goes through the tree of a state.
#[derive(Default)]
pub struct Cursor {
    /// Where the buffer begins in the tree.
    offset: u64,
    buffer: Vec<u8>,
    /// How much of the buffer was read.
    at: usize,
}

/// Bytes that are read at a time.
const STEP_BYTES: usize = 256 << 10;

impl Cursor {
    /// The next item, and where it is. Behind the end there is nothing.
    ///
    /// # Errors
    /// `Damaged`; I/O of temporary files.
    pub fn next(&mut self, state: &mut State) -> Result<(u64, Item)> {
        self.have(state, 4)?;
        let left = state.tree.len() - self.place() - 4;
        let mut length = [0; 4];
        length.copy_from_slice(&self.buffer[self.at..self.at + 4]);
        let length = length_of(length, left)?;
        self.have(state, 4 + length)?;
        let place = self.place();
        let item = Item::decode(&self.buffer[self.at + 4..self.at + 4 + length])?;
        self.at += 4 + length;
        if item == Item::End {
            if left != length as u64 {
                return Err(damaged("bytes behind the end of"));
            }
            // It is met again by whoever asks again.
            self.at -= 4 + length;
        }
        Ok((place, item))
    }

    fn place(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// Sees to it that so many bytes are in the buffer.
    fn have(&mut self, state: &mut State, wanted: usize) -> Result<()> {
        if self.buffer.len() - self.at >= wanted {
            return Ok(());
        }
        let place = self.place();
        let left = state.tree.len().saturating_sub(place);
        if left < wanted as u64 {
            return Err(damaged("cut short:"));
        }
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(wanted.max(STEP_BYTES));
        self.buffer.resize(step, 0);
        state.tree.read_at(place, &mut self.buffer)?;
        (self.offset, self.at) = (place, 0);
        Ok(())
    }
}

fn length_of(bytes: [u8; 4], left: u64) -> Result<usize> {
    let length = u32::from_le_bytes(bytes);
    if length > RSYNC_ITEM_BYTES || u64::from(length) > left {
        return Err(damaged("an item out of range in"));
    }
    Ok(length as usize)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What an error is about.
const SUBJECT: &str = "the state of a level";

#[cold]
fn damaged(what: &str) -> Error {
    Error::damaged(what, SUBJECT)
}
