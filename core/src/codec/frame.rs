//! Finds where zstd frames end without decoding them, so that several can be decoded at once.
//!
//! A frame is a header, blocks that each say their length, and a checksum (RFC 8878, section 3.1.1). Only frames that say the
//! size of their content are cut out, up to [`PARALLEL_FRAME_BYTES`]; any other is decoded here, on the spot, as a stream, in
//! its place in the order. Nothing is believed: the decoder checks every frame again, with its checksum.

use super::member::Members;
use super::zstd::Decoder;
use super::{Compression, damaged};
use crate::error::{Error, Result};
use crate::limits::PARALLEL_FRAME_BYTES;
use crate::pipe::{BlockWriter, Pool};
use std::io::{BufRead, BufReader, Cursor, Read};
use zstd::zstd_safe::compress_bound;

/// Bytes that are asked of a source at once.
pub(super) const READ_BYTES: usize = 256 << 10;

const MAGIC: u32 = 0xFD2F_B528;
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
const MAGIC_BYTES: usize = 4;

/// A part of the stream.
pub(super) enum Piece {
    /// A complete frame, not decoded.
    Frame {
        /// All of it.
        bytes: Vec<u8>,
        /// What it says it holds.
        content_bytes: usize,
    },
    /// Content that had to be decoded on the way.
    Decoded(Vec<u8>),
}

/// What the frame's header says.
struct Header {
    content_bytes: Option<u64>,
    checksum: bool,
}

/// Reads a stream frame by frame.
pub(super) struct Splitter<R> {
    source: BufReader<R>,
    frames: Pool,
    blocks: Pool,
}

type Sink<'a> = &'a mut dyn FnMut(Piece) -> Result<()>;

impl<R: Read> Splitter<R> {
    /// Takes buffers for frames and for decoded content from pools.
    pub fn new(source: R, frames: Pool, blocks: Pool) -> Self {
        Splitter { source: BufReader::with_capacity(READ_BYTES, source), frames, blocks }
    }

    /// Hands every piece of the stream to `sink`, in order.
    ///
    /// # Errors
    /// `Damaged` when the stream is not a sequence of complete frames; of the source and the sink.
    pub fn split(&mut self, sink: Sink<'_>) -> Result<()> {
        if self.at_end()? {
            return Err(damaged(Compression::Zstd, "there is nothing at all"));
        }
        while !self.at_end()? {
            self.next_frame(sink)?;
        }
        Ok(())
    }

    fn at_end(&mut self) -> Result<bool> {
        let next = self.source.fill_buf().map_err(cannot_read)?;
        Ok(next.is_empty())
    }

    fn next_frame(&mut self, sink: Sink<'_>) -> Result<()> {
        let mut bytes = self.frames.take();
        bytes.clear();
        let magic = number(self.read(&mut bytes, MAGIC_BYTES)?);
        if magic == u64::from(MAGIC) {
            let header = self.read_header(&mut bytes)?;
            match header.content_bytes.map(usize::try_from) {
                Some(Ok(content_bytes)) if content_bytes <= PARALLEL_FRAME_BYTES => {
                    self.cut_out(bytes, content_bytes, header.checksum, sink)
                }
                _ => self.decode_here(bytes, sink),
            }
        } else if magic & !0xF == u64::from(SKIPPABLE_MAGIC) {
            let length_bytes = number(self.read(&mut bytes, 4)?);
            self.skip(length_bytes)
        } else {
            Err(damaged(Compression::Zstd, "a frame begins with strange bytes"))
        }
    }

    fn read_header(&mut self, bytes: &mut Vec<u8>) -> Result<Header> {
        let descriptor = self.read(bytes, 1)?[0];
        let single_segment = descriptor & 0x20 != 0;
        let window_bytes = usize::from(!single_segment);
        let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size_bytes = match descriptor >> 6 {
            0 => usize::from(single_segment),
            power => 1 << power,
        };
        self.read(bytes, window_bytes + dictionary_bytes)?;
        let size = number(self.read(bytes, size_bytes)?);
        let content_bytes = match size_bytes {
            0 => None,
            2 => Some(size + 256),
            _ => Some(size),
        };
        Ok(Header { content_bytes, checksum: descriptor & 4 != 0 })
    }

    /// Reads the rest of a frame, block by block.
    fn cut_out(
        &mut self,
        mut bytes: Vec<u8>,
        content_bytes: usize,
        checksum: bool,
        sink: Sink<'_>,
    ) -> Result<()> {
        let limit = compress_bound(PARALLEL_FRAME_BYTES);
        loop {
            if bytes.len() > limit {
                // Lawful, but nothing an encoder makes of content that small. Memory stays bounded all the same.
                return self.decode_here(bytes, sink);
            }
            let header = number(self.read(&mut bytes, 3)?);
            let (last, kind, size) = (header & 1 == 1, header >> 1 & 3, header >> 3);
            let length = match kind {
                // A byte that is repeated `size` times.
                1 => 1,
                // At most 2^21 by the width of the field.
                _ => usize::try_from(size).unwrap_or(usize::MAX),
            };
            self.read(&mut bytes, length)?;
            if last {
                break;
            }
        }
        self.read(&mut bytes, if checksum { 4 } else { 0 })?;
        sink(Piece::Frame { bytes, content_bytes })
    }

    /// Decodes a frame of which `bytes` were read already.
    fn decode_here(&mut self, bytes: Vec<u8>, sink: Sink<'_>) -> Result<()> {
        let mut begun = Cursor::new(bytes);
        let mut frame = Members::only_one((&mut begun).chain(&mut self.source), Decoder::new()?);
        let mut writer = BlockWriter::new(self.blocks.clone(), |block| sink(Piece::Decoded(block)));
        writer.append(&mut frame)?;
        writer.finish()?;
        self.frames.give(begun.into_inner());
        Ok(())
    }

    fn skip(&mut self, length_bytes: u64) -> Result<()> {
        let mut part = (&mut self.source).take(length_bytes);
        let skipped = std::io::copy(&mut part, &mut std::io::sink()).map_err(cannot_read)?;
        if skipped == length_bytes { Ok(()) } else { Err(too_short()) }
    }

    /// Appends the next `count` bytes to `bytes`, and gives them.
    fn read<'b>(&mut self, bytes: &'b mut Vec<u8>, count: usize) -> Result<&'b [u8]> {
        let start = bytes.len();
        let mut part = (&mut self.source).take(count as u64);
        let read = part.read_to_end(bytes).map_err(cannot_read)?;
        if read == count { Ok(&bytes[start..]) } else { Err(too_short()) }
    }
}

fn too_short() -> Error {
    damaged(Compression::Zstd, "it ends too early")
}

fn cannot_read(error: std::io::Error) -> Error {
    Error::io("cannot read", "a zstd stream", error)
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
