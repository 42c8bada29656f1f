//! gzip (RFC 1952): members by zlib, which checks CRC-32 and length at the end of each.
//!
//! What Freezer's rsync engines call gzip is a bare zlib stream (RFC 1950) with its Adler-32. The first byte tells one from the
//! other, so that both are read; written is gzip alone.

use super::member::{MemberDecoder, Padding, Step};
use super::{BlockEncoder, Compression, damaged};
use crate::error::{Error, Kind, Result};
use crate::limits::READ_BYTES;
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

/// The largest window of deflate, 32 KiB.
const WINDOW_BITS: u8 = 15;

pub(super) struct Encoder(Compress);

impl Encoder {
    /// `level` is one of [`Compression::levels`].
    pub fn new(level: i32) -> Self {
        Encoder(Compress::new_gzip(flate2::Compression::new(level.unsigned_abs()), WINDOW_BITS))
    }
}

impl BlockEncoder for Encoder {
    fn encode(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.0.reset();
        loop {
            let left = &block[counted(self.0.total_in(), block)..];
            // What deflate makes of bytes that do not compress, and the header and trailer.
            out.reserve(left.len() + left.len() / 1000 + 64);
            match self.0.compress_vec(left, out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => return Ok(()),
                Ok(Status::Ok | Status::BufError) => {}
                Err(error) => return Err(Error::new(Kind::Io, "cannot compress").because(error)),
            }
        }
    }
}

/// The library counts what it took of the block in 64 bits; it never takes more than there is.
fn counted(total_in: u64, block: &[u8]) -> usize {
    usize::try_from(total_in).map_or(block.len(), |count| count.min(block.len()))
}

/// Whether the beginning of a bare zlib stream is one: most bytes that are none show it soon.
pub(super) fn inflates(head: &[u8]) -> bool {
    let mut plain = Vec::with_capacity(READ_BYTES);
    Decompress::new(true).decompress_vec(head, &mut plain, FlushDecompress::None).is_ok()
}

/// The first byte of a gzip member.
const MAGIC: u8 = 0x1f;

pub(super) struct Decoder {
    inflate: Decompress,
    /// Whether nothing of the member was seen yet.
    fresh: bool,
}

impl Decoder {
    pub fn new() -> Self {
        Decoder { inflate: Decompress::new_gzip(WINDOW_BITS), fresh: true }
    }
}

impl MemberDecoder for Decoder {
    const COMPRESSION: Compression = Compression::Gzip;
    const PADDING: Padding = Padding::ToTheEnd;

    fn restart(&mut self) -> Result<()> {
        // Not `reset`, which would go on without the gzip header.
        *self = Decoder::new();
        Ok(())
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step> {
        if self.fresh && input.first().is_some_and(|first| *first != MAGIC) {
            // What is no zlib stream either is told by zlib.
            self.inflate = Decompress::new(true);
        }
        self.fresh &= input.is_empty();
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, output, FlushDecompress::None);
        let status = status.map_err(|error| damaged(Compression::Gzip, error))?;
        Ok(Step {
            read: (self.inflate.total_in() - read) as usize,
            written: (self.inflate.total_out() - written) as usize,
            ended: status == Status::StreamEnd,
        })
    }
}
