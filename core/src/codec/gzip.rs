//! gzip (RFC 1952): members by zlib, which checks CRC-32 and length at the end of each.

use super::member::{MemberDecoder, Padding, Step};
use super::{BlockEncoder, Compression, damaged};
use crate::error::{Error, Kind, Result};
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

pub(super) struct Decoder(Decompress);

impl Decoder {
    pub fn new() -> Self {
        Decoder(Decompress::new_gzip(WINDOW_BITS))
    }
}

impl MemberDecoder for Decoder {
    const COMPRESSION: Compression = Compression::Gzip;
    const PADDING: Padding = Padding::ToTheEnd;

    fn restart(&mut self) -> Result<()> {
        // Not `reset`, which would go on without the gzip header.
        self.0 = Decompress::new_gzip(WINDOW_BITS);
        Ok(())
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step> {
        let (read, written) = (self.0.total_in(), self.0.total_out());
        let status = self.0.decompress(input, output, FlushDecompress::None);
        let status = status.map_err(|error| damaged(Compression::Gzip, error))?;
        Ok(Step {
            read: (self.0.total_in() - read) as usize,
            written: (self.0.total_out() - written) as usize,
            ended: status == Status::StreamEnd,
        })
    }
}
