//! Compression of single chunks: how hard to try, and the two ends of it, each with contexts that are used again.
//!
//! Invariants: what is stored compressed is one zstd frame that is smaller than the chunk and says its length; whoever decodes
//! it gets exactly that length or an error.

use super::id::ChunkKind;
use crate::error::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;

/// How hard chunks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionLevel {
    /// Not at all.
    Off,
    /// As fast as reading allows.
    Fast,
    /// What most data is best served by.
    #[default]
    Default,
    /// Smaller, at a fraction of the speed.
    Better,
    /// As small as it gets.
    Max,
    /// A level of zstd's own.
    Number(i32),
}

impl fmt::Display for CompressionLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompressionLevel::Off => f.write_str("off"),
            CompressionLevel::Fast => f.write_str("fast"),
            CompressionLevel::Default => f.write_str("default"),
            CompressionLevel::Better => f.write_str("better"),
            CompressionLevel::Max => f.write_str("max"),
            CompressionLevel::Number(level) => write!(f, "{level}"),
        }
    }
}

impl FromStr for CompressionLevel {
    type Err = Error;

    fn from_str(_name: &str) -> Result<Self> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}

/// Compresses chunks. One for each worker.
pub struct Encoder {}

impl Encoder {
    /// An encoder; with `verify` everything compressed is decoded again and compared before it counts.
    ///
    /// # Errors
    /// `Invalid` for a level there is not, `Io` without memory.
    pub fn new(_level: CompressionLevel, _verify: bool) -> Result<Encoder> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}

/// Decodes chunks. One for each worker.
pub struct Decoder {}

impl Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// `Io` without memory.
    pub fn new() -> Result<Decoder> {
        Err(Error::new(Kind::Unsupported, "not built yet"))
    }
}

/// Most bytes of a chunk of this kind.
pub fn chunk_limit(_kind: ChunkKind) -> usize {
    0
}
