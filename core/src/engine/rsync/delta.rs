//! Finding the blocks of an older content in a newer one, at whatever place: what is found is copied from there, and the rest is
//! data.
//!
//! Invariant: the operations, carried out on the older content, give the newer one, as far as equal strong sums mean equal
//! bytes (and whoever carries them out compares the hash of the whole). Memory is a block and [`RSYNC_DATA_BYTES`], twice.

use super::blocks::BlockIndex;
use super::rolling::{self, Roller};
use super::signature::{Known, strong};
use crate::error::Result;
use crate::limits::RSYNC_DATA_BYTES;

/// Takes operations, in the order of the newer content.
pub trait Operations {
    /// Bytes that are nowhere in the older content: at least one, at most [`RSYNC_DATA_BYTES`].
    ///
    /// # Errors
    /// As whoever takes it has it.
    fn data(&mut self, bytes: &[u8]) -> Result<()>;

    /// A stretch of the older content.
    ///
    /// # Errors
    /// As whoever takes it has it.
    fn copy(&mut self, offset: u64, length_bytes: u64) -> Result<()>;

    /// Zeros that take no room.
    ///
    /// # Errors
    /// As whoever takes it has it.
    fn hole(&mut self, length_bytes: u64) -> Result<()>;
}

/// Searches a newer content that goes by.
pub struct Search<'i> {
    index: &'i BlockIndex,
    roller: Roller,
    /// What was not handed on yet.
    buffer: Vec<u8>,
    /// From here on nothing was found in the buffer; everything before was handed on.
    data: usize,
    /// Where the window begins.
    at: usize,
    /// The sum of the window, which is no block.
    sum: Option<u64>,
    /// A stretch that may go on.
    copy: Option<(u64, u64)>,
    /// The block that comes next if things are in their order.
    expected: usize,
    /// Where in the content the buffer begins.
    offset: u64,
}

impl<'i> Search<'i> {
    /// A search for the blocks of an index.
    pub fn new(index: &'i BlockIndex) -> Search<'i> {
        let roller = Roller::new(index.signature().block_bytes());
        Search {
            index,
            roller,
            buffer: Vec::new(),
            data: 0,
            at: 0,
            sum: None,
            copy: None,
            expected: 0,
            offset: 0,
        }
    }

    /// The next bytes; of blocks that end in them, `known` may say the sums.
    ///
    /// # Errors
    /// Of `out`.
    pub fn push(&mut self, bytes: &[u8], known: &Known, out: &mut dyn Operations) -> Result<()> {
        self.buffer.drain(..self.data);
        self.offset += self.data as u64;
        self.at -= self.data;
        self.data = 0;
        self.buffer.extend_from_slice(bytes);
        let block_bytes = self.index.signature().block_bytes();
        loop {
            // Where a block of the newer content begins, all of it may be known.
            if self.sum.is_none()
                && self.buffer.len() - self.at >= block_bytes
                && let Some((weak, strong)) = known.of(self.offset + self.at as u64, block_bytes)
                && let Some(block) = self.index.find_known(weak, strong, self.expected)
            {
                self.hand_on_data(self.at, out)?;
                self.found(block, block_bytes, out)?;
                continue;
            }
            let sum = match self.sum.take() {
                Some(sum) => match self.roll(sum, block_bytes) {
                    Some(sum) => sum,
                    None => return Ok(()),
                },
                None => match self.buffer.get(self.at..self.at + block_bytes) {
                    Some(window) => rolling::sum(window),
                    None => return Ok(()),
                },
            };
            let window = &self.buffer[self.at..self.at + block_bytes];
            if let Some(block) = self.index.find(sum, window, self.expected) {
                self.hand_on_data(self.at, out)?;
                self.found(block, block_bytes, out)?;
            } else {
                self.sum = Some(sum);
                if self.at - self.data >= RSYNC_DATA_BYTES {
                    self.hand_on_data(self.at, out)?;
                }
            }
        }
    }

    /// Moves the window to the next place where there may be a block, or where it is time to hand data on. `None` at the end of
    /// the buffer.
    fn roll(&mut self, mut sum: u64, block_bytes: usize) -> Option<u64> {
        let room = self.buffer.len() - block_bytes - self.at;
        // Data was handed on before it became more than that.
        let steps = room.min((self.data + RSYNC_DATA_BYTES).saturating_sub(self.at));
        let leaving = &self.buffer[self.at..self.at + steps];
        let entering = &self.buffer[self.at + block_bytes..self.at + block_bytes + steps];
        for (step, (leaving, entering)) in leaving.iter().zip(entering).enumerate() {
            sum = self.roller.roll(sum, *leaving, *entering);
            if self.index.may_hold(sum) {
                self.at += step + 1;
                return Some(sum);
            }
        }
        self.at += steps;
        if steps > 0 {
            return Some(sum);
        }
        self.sum = Some(sum);
        None
    }

    /// Zeros without room: what was pushed and what will be do not touch each other.
    ///
    /// # Errors
    /// Of `out`.
    pub fn hole(&mut self, length_bytes: u64, out: &mut dyn Operations) -> Result<()> {
        self.settle(out)?;
        self.hand_on_copy(out)?;
        // The blocks of zeros that the older content has here.
        self.expected += (length_bytes / self.index.signature().block_bytes() as u64) as usize;
        self.offset += length_bytes;
        out.hole(length_bytes)
    }

    /// The end of the content.
    ///
    /// # Errors
    /// Of `out`.
    pub fn finish(mut self, out: &mut dyn Operations) -> Result<()> {
        self.settle(out)?;
        self.hand_on_copy(out)
    }

    /// The end of a stretch of data: its last bytes may be the last, shorter block.
    fn settle(&mut self, out: &mut dyn Operations) -> Result<()> {
        let signature = self.index.signature();
        let end = self.buffer.len();
        if let Some((block, length)) = signature.short_block()
            && end - self.at >= length
        {
            let window = &self.buffer[end - length..];
            if rolling::weak(rolling::sum(window)) == signature.weak(block)
                && strong(window) == *signature.strong(block)
            {
                self.hand_on_data(end - length, out)?;
                self.found(block, length, out)?;
            }
        }
        self.hand_on_data(end, out)?;
        self.offset += end as u64;
        self.buffer.clear();
        (self.data, self.at, self.sum) = (0, 0, None);
        Ok(())
    }

    fn found(&mut self, block: usize, length: usize, out: &mut dyn Operations) -> Result<()> {
        let offset = block as u64 * self.index.signature().block_bytes() as u64;
        match &mut self.copy {
            Some((start, length_bytes)) if *start + *length_bytes == offset => *length_bytes += length as u64,
            _ => {
                self.hand_on_copy(out)?;
                self.copy = Some((offset, length as u64));
            }
        }
        self.data += length;
        (self.at, self.sum, self.expected) = (self.data, None, block + 1);
        Ok(())
    }

    /// Hands on everything before `end`.
    fn hand_on_data(&mut self, end: usize, out: &mut dyn Operations) -> Result<()> {
        if end > self.data {
            self.hand_on_copy(out)?;
            for piece in self.buffer[self.data..end].chunks(RSYNC_DATA_BYTES) {
                out.data(piece)?;
            }
            self.data = end;
        }
        Ok(())
    }

    fn hand_on_copy(&mut self, out: &mut dyn Operations) -> Result<()> {
        match self.copy.take() {
            Some((offset, length_bytes)) => out.copy(offset, length_bytes),
            None => Ok(()),
        }
    }
}
