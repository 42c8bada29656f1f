//! zstd (RFC 8878): frames with content size and checksum, so that they can be told apart and decoded by themselves.

use super::member::{MemberDecoder, Step};
use super::{BlockEncoder, Compression, damaged};
use crate::error::{Error, Kind, Result};
use crate::limits::ZSTD_WINDOW_LOG;
use zstd::zstd_safe::zstd_sys::{ZSTD_EndDirective, ZSTD_ErrorCode};
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

pub(super) struct Encoder(CCtx<'static>);

impl Encoder {
    /// `level` is one of [`Compression::levels`].
    pub fn new(level: i32) -> Result<Self> {
        let mut context = CCtx::try_create().ok_or_else(no_memory)?;
        for parameter in [
            CParameter::CompressionLevel(level),
            CParameter::ChecksumFlag(true),
            CParameter::ContentSizeFlag(true),
        ] {
            context.set_parameter(parameter).map_err(cannot_compress)?;
        }
        Ok(Encoder(context))
    }
}

fn no_memory() -> Error {
    Error::new(Kind::Io, "no memory for").on("zstd")
}

fn cannot_compress(code: usize) -> Error {
    Error::new(Kind::Io, "cannot compress:").on(zstd_safe::get_error_name(code))
}

impl BlockEncoder for Encoder {
    fn encode(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<()> {
        // With all the input and room for all the output there is one pass, without buffers in between.
        out.reserve(zstd_safe::compress_bound(block.len()));
        let start = out.len();
        let mut input = InBuffer::around(block);
        let mut output = OutBuffer::around_pos(out, start);
        let left = self.0.compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_end);
        match left {
            Ok(0) => Ok(()),
            Ok(_) => {
                Err(Error::new(Kind::Io, "cannot compress:").on("zstd wants more room than it asked for"))
            }
            Err(code) => Err(cannot_compress(code)),
        }
    }
}

pub(super) struct Decoder(DCtx<'static>);

impl Decoder {
    pub fn new() -> Result<Self> {
        let mut context = DCtx::try_create().ok_or_else(no_memory)?;
        context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(cannot_decode)?;
        Ok(Decoder(context))
    }

    /// Decodes a whole frame of exactly `content_bytes`, in place of what `out` holds.
    pub fn decode_frame(&mut self, frame: &[u8], content_bytes: usize, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        out.reserve(content_bytes);
        let decoded = self.0.decompress(out, frame).map_err(cannot_decode)?;
        if decoded == content_bytes {
            Ok(())
        } else {
            Err(damaged(Compression::Zstd, "a frame has another length than it says"))
        }
    }
}

fn cannot_decode(code: usize) -> Error {
    let name = zstd_safe::get_error_name(code);
    let is = |kind| zstd_safe::is_error_kind(code, kind);
    if is(ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge) {
        Error::new(Kind::Limit, "a zstd stream needs more memory to decode than")
            .on(format!("{} MiB", 1u64 << ZSTD_WINDOW_LOG >> 20))
    } else if is(ZSTD_ErrorCode::ZSTD_error_memory_allocation) {
        no_memory()
    } else {
        damaged(Compression::Zstd, name)
    }
}

impl MemberDecoder for Decoder {
    const COMPRESSION: Compression = Compression::Zstd;

    fn restart(&mut self) -> Result<()> {
        self.0.reset(ResetDirective::SessionOnly).map_err(cannot_decode)?;
        Ok(())
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step> {
        let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(output));
        let hint = self.0.decompress_stream(&mut output, &mut input).map_err(cannot_decode)?;
        Ok(Step { read: input.pos(), written: output.pos(), ended: hint == 0 })
    }
}
