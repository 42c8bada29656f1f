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

#[cfg(test)]
mod tests {
    use super::super::{block_decoder, decoder};
    use super::*;
    use std::io::{Read, Write};

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn read(stream: &[u8], in_blocks: bool) -> Result<Vec<u8>> {
        if in_blocks {
            return Ok(read_in_blocks(stream)?.0);
        }
        let mut plain = Vec::new();
        let read = decoder(Compression::Gzip, stream)?.read_to_end(&mut plain);
        read.map_err(|e| Error::io("cannot read", "it", e))?;
        Ok(plain)
    }

    fn read_in_blocks(stream: &[u8]) -> Result<(Vec<u8>, bool)> {
        let mut plain = Vec::new();
        let mut reader = block_decoder(Compression::Gzip, stream)?;
        reader.read_to_end(&mut plain).map_err(|e| Error::io("cannot read", "it", e))?;
        Ok((plain, reader.lacks_end()))
    }

    #[test]
    fn a_bare_zlib_stream_is_read_and_damage_of_it_is_noticed() {
        let plain: Vec<u8> = (0..5000_u32).map(|at| ((at * at) >> 5) as u8).collect();
        let stream = zlib(&plain);
        assert!(Compression::Gzip.begins(&stream) && inflates(&stream));
        assert_eq!(read(&stream, false).unwrap(), plain);
        assert_eq!(read(&[&stream[..], &[0; 100]].concat(), false).unwrap(), plain);
        for cut in (0..stream.len()).step_by(7) {
            assert_eq!(read(&stream[..cut], false).unwrap_err().kind(), Kind::Damaged, "{cut}");
        }
        for at in (0..stream.len()).step_by(3) {
            let mut flipped = stream.clone();
            flipped[at] ^= 4;
            assert_ne!(read(&flipped, false).ok(), Some(plain.clone()), "{at}");
        }
        assert_eq!(read(&[&stream[..], &[5; 5]].concat(), false).unwrap_err().kind(), Kind::Damaged);
    }

    #[test]
    fn a_stream_in_blocks_may_lack_its_end_or_be_filled_up() {
        let plain: Vec<u8> = (0..5000_u32).map(|at| ((at * at) >> 5) as u8).collect();
        let stream = zlib(&plain);
        assert_eq!(read(&stream, true).unwrap(), plain);
        for filling in 1..=16_u8 {
            let filled = [&stream[..], &vec![filling; filling.into()]].concat();
            assert_eq!(read(&filled, true).unwrap(), plain);
            let strange = [&stream[..], &vec![filling + 1; filling.into()]].concat();
            assert_eq!(read(&strange, true).unwrap_err().kind(), Kind::Damaged);
        }
        assert_eq!(read(&[&stream[..], &[17; 17]].concat(), true).unwrap_err().kind(), Kind::Damaged);
        assert!(!read_in_blocks(&stream).unwrap().1);
        for cut in 1..40 {
            let cut = &stream[..stream.len() - cut];
            // Whole blocks were written; what ends inside one was cut off later.
            if !cut.len().is_multiple_of(16) {
                assert_eq!(read_in_blocks(cut).unwrap_err().kind(), Kind::Damaged);
                continue;
            }
            let (found, lacks_end) = read_in_blocks(cut).unwrap();
            assert!(lacks_end && plain.starts_with(&found) && !found.is_empty(), "{}", cut.len());
        }
        // What is there of the checksum is not compared, but a whole one that is wrong is damage.
        let mut wrong = stream.clone();
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        assert_eq!(read(&wrong, true).unwrap_err().kind(), Kind::Damaged);
    }
}
