//! Streams of bytes over pipes: a writer that cuts blocks, a reader that joins them, and the pool their buffers come from.
//!
//! A block of 4 MiB that is allocated anew costs a thousand page faults and a pass of zeroing, about as much as reading the
//! file it is for. Both ends therefore hold one [`Pool`]: who is done with a block gives it back, and a run uses a few buffers
//! for its whole length.

use super::Receiver;
use crate::error::{Error, Result};
use crate::limits::BLOCK_BYTES;
use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

/// Buffers to be used again, shared by all its clones. Buffers keep their contents and length: whoever takes one overwrites or
/// clears it.
#[derive(Clone)]
pub struct Pool {
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
    limit_buffers: usize,
}

impl Pool {
    /// A pool that keeps at most `limit_buffers`; what is given beyond that is freed.
    pub fn new(limit_buffers: usize) -> Self {
        Pool { buffers: Arc::default(), limit_buffers }
    }

    /// A buffer that was used before, or a new one without memory.
    pub fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub fn give(&self, buffer: Vec<u8>) {
        let mut buffers = self.lock();
        if buffers.len() < self.limit_buffers && buffer.capacity() > 0 {
            buffers.push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.buffers.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Takes a block that is full (the last one: that is left).
type Sink<'a> = Box<dyn FnMut(Vec<u8>) -> Result<()> + 'a>;

/// Collects bytes into blocks of exactly [`BLOCK_BYTES`] (the last one shorter) and hands each to a sink, usually the sender of
/// a pipe.
///
/// After an error of the sink the writer is only good for dropping. Bytes that were not followed by [`BlockWriter::finish`]
/// may never reach the sink.
pub struct BlockWriter<'a> {
    sink: Sink<'a>,
    pool: Pool,
    block_bytes: usize,
    /// Empty, or `block_bytes` long with `filled` of them in use.
    block: Vec<u8>,
    filled: usize,
    handed_on: u64,
}

impl<'a> BlockWriter<'a> {
    /// A writer that takes its blocks from `pool`; whoever gets them gives them back there.
    pub fn new(pool: Pool, sink: impl FnMut(Vec<u8>) -> Result<()> + 'a) -> Self {
        BlockWriter::with_block_bytes(BLOCK_BYTES, pool, sink)
    }

    /// As [`BlockWriter::new`] with blocks of another size, at least one byte.
    pub(crate) fn with_block_bytes(
        block_bytes: usize,
        pool: Pool,
        sink: impl FnMut(Vec<u8>) -> Result<()> + 'a,
    ) -> Self {
        let block_bytes = block_bytes.max(1);
        BlockWriter { sink: Box::new(sink), pool, block_bytes, block: Vec::new(), filled: 0, handed_on: 0 }
    }

    /// Bytes written so far.
    pub fn position(&self) -> u64 {
        self.handed_on + self.filled as u64
    }

    /// Appends up to `length_bytes` of `file` from `offset`, read straight into the blocks, and returns how many there were:
    /// fewer only where the file ends.
    ///
    /// # Errors
    /// Of the sink (`Stopped`, for a pipe); or of the file, in which case the writer is whole: [`BlockWriter::position`] says
    /// how far it came, and more may be written.
    pub fn fill_from(&mut self, file: &File, offset: u64, length_bytes: u64) -> Result<u64> {
        let mut copied = 0;
        while copied < length_bytes {
            let room = self.room()?;
            let wanted = room.len().min(usize::try_from(length_bytes - copied).unwrap_or(usize::MAX));
            let count = read_at(file, &mut room[..wanted], offset.saturating_add(copied))?;
            if count == 0 {
                break;
            }
            self.filled += count;
            copied += count as u64;
        }
        Ok(copied)
    }

    /// Appends everything that `source` has left, read straight into the blocks, and returns how many bytes that was.
    ///
    /// # Errors
    /// Of the sink or of `source`; those of `source` leave the writer whole, as with [`BlockWriter::fill_from`].
    pub fn append(&mut self, source: &mut dyn Read) -> Result<u64> {
        let before = self.position();
        loop {
            match source.read(self.room()?) {
                Ok(0) => return Ok(self.position() - before),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("cannot read", "a stream", error)),
            }
        }
    }

    /// Hands on what is left. A stream without any bytes becomes one empty block, so that whatever codes blocks has one to
    /// make a valid stream of.
    ///
    /// # Errors
    /// Of the sink.
    pub fn finish(mut self) -> Result<()> {
        if self.filled > 0 || self.handed_on == 0 {
            self.hand_on()?;
        }
        Ok(())
    }

    /// The free part of the current block, never empty.
    fn room(&mut self) -> Result<&mut [u8]> {
        if self.filled == self.block_bytes {
            self.hand_on()?;
        }
        if self.block.is_empty() {
            self.block = self.pool.take();
            if self.block.capacity() < self.block_bytes {
                // Zero pages of the kernel, touched only as far as bytes come.
                self.block = vec![0; self.block_bytes];
            }
            self.block.resize(self.block_bytes, 0);
        }
        Ok(&mut self.block[self.filled..])
    }

    fn hand_on(&mut self) -> Result<()> {
        let mut block = std::mem::take(&mut self.block);
        block.truncate(self.filled);
        self.handed_on += self.filled as u64;
        self.filled = 0;
        (self.sink)(block)
    }
}

impl Write for BlockWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room()?;
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        Ok(count)
    }

    /// Does nothing: blocks are handed on when they are full, and the last by [`BlockWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("cannot read", "a file", error)),
        }
    }
}

/// Reads the blocks of a pipe as one stream. The end of the stream is the clean end of the pipe; a pipe that stopped is an
/// error of every further read, which [`Error::io`] gives back as [`crate::error::Kind::Stopped`].
pub struct BlockReader<'a> {
    receiver: &'a mut Receiver<Vec<u8>>,
    pool: Pool,
    block: Vec<u8>,
    used: usize,
}

impl<'a> BlockReader<'a> {
    /// A reader of what `receiver` gives; blocks go to `pool` once they are read.
    pub fn new(receiver: &'a mut Receiver<Vec<u8>>, pool: Pool) -> Self {
        BlockReader { receiver, pool, block: Vec::new(), used: 0 }
    }
}

impl BufRead for BlockReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.used == self.block.len() {
            self.pool.give(std::mem::take(&mut self.block));
            self.used = 0;
            match self.receiver.receive()? {
                Some(block) => self.block = block,
                None => break,
            }
        }
        Ok(&self.block[self.used..])
    }

    fn consume(&mut self, count: usize) {
        self.used = self.block.len().min(self.used.saturating_add(count));
    }
}

impl Read for BlockReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
