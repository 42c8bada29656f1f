//! bzip2: streams of blocks of up to 900 kB, each with a CRC-32, and one over all of them at the end.

use super::member::{MemberDecoder, Step};
use super::{BlockEncoder, Compression, damaged};
use crate::error::{Error, Kind, Result};
use bzip2::{Action, Compress, Decompress, Status};

/// Makes a new library context for every block: the library cannot start one over. It takes some 8 MB.
pub(super) struct Encoder(bzip2::Compression);

impl Encoder {
    /// `level` is one of [`Compression::levels`]: hundreds of kB that are sorted together.
    pub fn new(level: i32) -> Self {
        Encoder(bzip2::Compression::new(level.unsigned_abs()))
    }
}

impl BlockEncoder for Encoder {
    fn encode(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut stream = Compress::new(self.0, 0);
        let mut left = block;
        loop {
            // The manual promises room enough in one percent and 600 bytes.
            out.reserve(left.len() + left.len() / 100 + 600);
            let before = stream.total_in();
            let status = stream.compress_vec(left, out, Action::Finish);
            let taken = (stream.total_in() - before) as usize;
            left = left.get(taken..).unwrap_or_default();
            match status {
                Ok(Status::StreamEnd) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(Error::new(Kind::Io, "cannot compress").because(error)),
            }
        }
    }
}

pub(super) struct Decoder(Decompress);

impl Decoder {
    pub fn new() -> Self {
        Decoder(Decompress::new(false))
    }
}

impl MemberDecoder for Decoder {
    const COMPRESSION: Compression = Compression::Bzip2;

    fn restart(&mut self) -> Result<()> {
        self.0 = Decompress::new(false);
        Ok(())
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step> {
        let (read, written) = (self.0.total_in(), self.0.total_out());
        let status = self.0.decompress(input, output).map_err(|error| damaged(Compression::Bzip2, error))?;
        Ok(Step {
            read: (self.0.total_in() - read) as usize,
            written: (self.0.total_out() - written) as usize,
            ended: status == Status::StreamEnd,
        })
    }
}
