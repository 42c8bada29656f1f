//! The .xz format: streams of LZMA2 blocks with a CRC-64 each, an index and a footer.

use super::member::{MemberDecoder, Padding, Step};
use super::{BlockEncoder, Compression, damaged};
use crate::error::{Error, Kind, Result};
use crate::limits::{XZ_DICTIONARY_BYTES, XZ_MEMORY_BYTES};
use liblzma::stream::{self, Action, Check, Filters, LzmaOptions, Status, Stream};

/// Makes a new library context for every block: the library cannot start one over.
pub(super) struct Encoder {
    preset: u32,
}

impl Encoder {
    /// `level` is one of [`Compression::levels`], xz's presets.
    pub fn new(level: i32) -> Self {
        Encoder { preset: level.unsigned_abs() }
    }

    /// The preset, with its dictionary (up to 64 MiB) cut down to what is affordable in every worker.
    fn filters(&self) -> Result<Filters> {
        let mut options = LzmaOptions::new_preset(self.preset).map_err(cannot_compress)?;
        options.dict_size(match self.preset {
            0 => 256 << 10,
            1 => 1 << 20,
            _ => XZ_DICTIONARY_BYTES,
        });
        let mut filters = Filters::new();
        filters.lzma2(&options);
        Ok(filters)
    }
}

fn cannot_compress(error: stream::Error) -> Error {
    Error::new(Kind::Io, "cannot compress").because(error)
}

impl BlockEncoder for Encoder {
    fn encode(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut stream =
            Stream::new_stream_encoder(&self.filters()?, Check::Crc64).map_err(cannot_compress)?;
        let mut left = block;
        loop {
            // LZMA2 stores what does not compress: three bytes per 64 KiB; headers, index and footer take some hundred.
            out.reserve(left.len() + left.len() / 10_000 + 512);
            let before = stream.total_in();
            let status = stream.process_vec(left, out, Action::Finish).map_err(cannot_compress)?;
            let taken = (stream.total_in() - before) as usize;
            left = left.get(taken..).unwrap_or_default();
            if status == Status::StreamEnd {
                return Ok(());
            }
        }
    }
}

pub(super) struct Decoder(Stream);

impl Decoder {
    pub fn new() -> Result<Self> {
        // A check this library does not know must not pass for one that was made.
        let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES, stream::TELL_UNSUPPORTED_CHECK);
        Ok(Decoder(stream.map_err(cannot_decode)?))
    }
}

fn cannot_decode(error: stream::Error) -> Error {
    match error {
        stream::Error::MemLimit => Error::new(Kind::Limit, "an xz stream needs more memory to decode than")
            .on(format!("{} MiB", XZ_MEMORY_BYTES >> 20)),
        stream::Error::Mem | stream::Error::Program => {
            Error::new(Kind::Io, "cannot decode").on("an xz stream").because(error)
        }
        stream::Error::UnsupportedCheck | stream::Error::Options => {
            Error::new(Kind::Unsupported, "cannot decode").on("an xz stream").because(error)
        }
        _ => damaged(Compression::Xz, error),
    }
}

impl MemberDecoder for Decoder {
    const COMPRESSION: Compression = Compression::Xz;
    const PADDING: Padding = Padding::Words;

    fn restart(&mut self) -> Result<()> {
        *self = Decoder::new()?;
        Ok(())
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step> {
        let (read, written) = (self.0.total_in(), self.0.total_out());
        let status = self.0.process(input, output, Action::Run).map_err(cannot_decode)?;
        Ok(Step {
            read: (self.0.total_in() - read) as usize,
            written: (self.0.total_out() - written) as usize,
            ended: status == Status::StreamEnd,
        })
    }
}
