//! Compression of streams, in the formats everybody has a program for.
//!
//! What is written is a plain stream that `zstd -d`, `gzip -d`, `bzip2 -d` and `xz -d` read, and what they and Freezer write is
//! read here. All four formats allow complete streams one behind the other, so every block is compressed by itself into one of
//! them (frame, member or stream), on as many workers as there are, and a damaged block leaves its neighbours whole.
//!
//! * [`Compressor`] and [`decoder`]: blocks and streams, on the caller's thread.
//! * [`encode`] and [`decode`]: the same over a [`crate::pipe`], with workers.
//!
//! Invariant: decoding ends well only at the end of a complete stream whose checksums hold. Truncation, a wrong checksum and
//! bytes behind the end are [`Kind::Damaged`], apart from the padding that `gzip` and the xz format allow.
//!
//! What no decoder can see is a stream that was cut exactly between two of its members, or one without compression that was
//! cut anywhere: it is a sound, shorter stream. Whoever stores a stream must keep its length or hash, or an end mark inside.
//!
//! Encryption is the outermost layer of a stored stream, around its compression: [`mod@age`], and Freezer's [`openssl`].
//!
//! Beside them stand the two rules that cut content by its own bytes: [`chunker`] a long file into chunks, [`borders`] many
//! small ones into bundles.

pub mod age;
pub mod borders;
mod bzip2;
pub mod chunker;
mod frame;
mod gzip;
mod member;
pub mod openssl;
mod stream;
#[cfg(test)]
mod tests;
mod xz;
mod zstd;

pub use stream::{Encoding, Rest, decode, decode_blocks, encode};

use crate::error::{Error, Kind, Result};
use member::{Members, ReadInBlocks};
use std::fmt;
use std::io::{BufRead, Read};
use std::ops::RangeInclusive;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952; Freezer's default.
    Gzip,
    /// bzip2.
    Bzip2,
    /// The .xz format with LZMA2.
    Xz,
    /// RFC 8878; Icecore's default.
    Zstd,
}

impl Compression {
    /// All of them, for help texts and tests.
    pub const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd];

    /// The name Freezer has for it, or would have.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        }
    }

    /// The compression of that name.
    ///
    /// # Errors
    /// `Unsupported` for any other text.
    pub fn parse(name: &str) -> Result<Self> {
        let found = Compression::ALL.into_iter().find(|compression| compression.name() == name);
        found.ok_or_else(|| {
            let names = Compression::ALL.map(Compression::name).join(", ");
            Error::new(Kind::Unsupported, "not a compression:")
                .on(format!("{name:?}"))
                .hint(format!("one of {names}"))
        })
    }

    /// Whether a stream of this compression may begin with these bytes; they are all of it, or 512 of them. Without compression it
    /// is a tar archive.
    pub fn begins(self, head: &[u8]) -> bool {
        match self {
            Compression::None => head.get(257..262) == Some(b"ustar"),
            // Deflate, and no flag that has no meaning; or a bare zlib stream of the highest level, as Freezer's rsync engines make.
            Compression::Gzip => {
                head.starts_with(&[0x1f, 0x8b, 8]) && head.get(3).is_some_and(|flags| flags & 0xe0 == 0)
                    || head.starts_with(&[0x78, 0xda]) && gzip::inflates(head)
            }
            // A block, or the end of a stream of none.
            Compression::Bzip2 => match head {
                [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] => {
                    [*b"\x31\x41\x59\x26\x53\x59", *b"\x17\x72\x45\x38\x50\x90"]
                        .iter()
                        .any(|mark| rest.starts_with(mark))
                }
                _ => false,
            },
            Compression::Xz => head.starts_with(b"\xfd7zXZ\0"),
            Compression::Zstd => {
                let is_passed_over = matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
                is_passed_over || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
            }
        }
    }

    /// The levels that can be asked for, from fast to small.
    pub fn levels(self) -> RangeInclusive<i32> {
        match self {
            Compression::None => 0..=0,
            Compression::Gzip | Compression::Bzip2 => 1..=9,
            Compression::Xz => 0..=9,
            Compression::Zstd => -7..=19,
        }
    }

    /// The level that is used when none is asked for.
    pub fn default_level(self) -> i32 {
        match self {
            Compression::None => 0,
            Compression::Gzip | Compression::Xz => 6,
            Compression::Bzip2 => 9,
            Compression::Zstd => 3,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Compression {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Compression::parse(name)
    }
}

/// Compresses blocks, each into a complete stream of its format. One per worker: what it has allocated is used again.
///
/// Memory of each, measured with blocks of [`crate::limits::BLOCK_BYTES`]: gzip 0.6 MB, bzip2 7 MB, xz 25 MB (its dictionary is
/// kept at [`crate::limits::XZ_DICTIONARY_BYTES`] whatever the level), zstd 1.5 MB (level 6: 3 MB, 9: 11 MB, 12: 42 MB, 15:
/// 66 MB, 19: 50 MB). With the buffers of [`encode`] (some 30 MB) two workers stay below 100 MB, but for zstd above level 9.
pub struct Compressor(Box<dyn BlockEncoder>);

/// One format's way to compress a block.
trait BlockEncoder: Send {
    /// Appends one complete stream that holds `block`.
    fn encode(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<()>;
}

impl Compressor {
    /// A compressor at `level`, or at the format's default.
    ///
    /// # Errors
    /// `Invalid` when `level` is not one of [`Compression::levels`].
    pub fn new(compression: Compression, level: Option<i32>) -> Result<Self> {
        let level = level.unwrap_or(compression.default_level());
        let levels = compression.levels();
        if !levels.contains(&level) {
            let (least, most) = levels.into_inner();
            return Err(Error::invalid("not a compression level:", level.to_string())
                .hint(format!("{compression} has levels {least} to {most}")));
        }
        Ok(Compressor(match compression {
            Compression::None => Box::new(Plain),
            Compression::Gzip => Box::new(gzip::Encoder::new(level)),
            Compression::Bzip2 => Box::new(bzip2::Encoder::new(level)),
            Compression::Xz => Box::new(xz::Encoder::new(level)),
            Compression::Zstd => Box::new(zstd::Encoder::new(level)?),
        }))
    }

    /// Appends to `out` one complete stream that holds `block` (of an empty block too: a stream that holds nothing).
    ///
    /// # Errors
    /// `Io` when the library runs out of memory; the compressor is then only good for dropping.
    pub fn compress(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.0.encode(block, out)
    }
}

struct Plain;

impl BlockEncoder for Plain {
    fn encode(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(block);
        Ok(())
    }
}

/// Decodes any stream of the format: one long stream, several one behind the other, of any program.
///
/// Its memory is bounded whatever the stream says: 8 MB and the window or dictionary, at most
/// 2^[`crate::limits::ZSTD_WINDOW_LOG`] and [`crate::limits::XZ_MEMORY_BYTES`] bytes.
///
/// # Errors
/// Reads fail with an `io::Error` that holds one of ours: `Damaged` when the stream is not whole (see the module's page),
/// `Limit` when it asks for too much memory. Errors of `input` are passed on as they are.
pub fn decoder<'a>(
    compression: Compression,
    input: impl BufRead + Send + 'a,
) -> Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(Members::new(input, gzip::Decoder::new())),
        Compression::Bzip2 => Box::new(Members::new(input, bzip2::Decoder::new())),
        Compression::Xz => Box::new(Members::new(input, xz::Decoder::new()?)),
        Compression::Zstd => Box::new(Members::new(input, zstd::Decoder::new()?)),
    })
}

/// As [`decoder`], of a stream that was encrypted block by block without care for its end: see [`decode_blocks`].
fn block_decoder<'a>(
    compression: Compression,
    input: impl BufRead + Send + 'a,
) -> Result<Box<dyn ReadInBlocks + 'a>> {
    Ok(match compression {
        Compression::Gzip => Box::new(Members::in_blocks(input, gzip::Decoder::new())),
        Compression::Bzip2 => Box::new(Members::in_blocks(input, bzip2::Decoder::new())),
        Compression::None | Compression::Xz | Compression::Zstd => {
            let what = "Freezer's rsync engines know no compression of the name";
            return Err(Error::new(Kind::Unsupported, what).on(compression.name()));
        }
    })
}

/// A stream that is not what it should be.
fn damaged(compression: Compression, why: impl fmt::Display) -> Error {
    Error::damaged(format!("not a sound {compression} stream:"), why.to_string())
}
