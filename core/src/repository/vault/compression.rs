//! Compression of single chunks: how hard to try, and the two ends of it, each with contexts that are used again.
//!
//! Invariants: what is stored compressed is one zstd frame that is smaller than the chunk and says its length; whoever decodes
//! it gets exactly that length or an error. What does not compress is stored as it is, and is found out on two small samples:
//! the samples cost a tenth of what the attempt would.

use crate::codec::Compression;
use crate::error::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

/// The number that stands for no compression.
pub const STORED: u8 = 0;
/// The number that stands for a zstd frame.
pub const ZSTD: u8 = 1;

/// Chunks at least this long are tried on samples first.
const SAMPLED_BYTES: usize = 128 << 10;
/// Bytes of each sample.
const SAMPLE_BYTES: usize = 16 << 10;
/// Samples of a chunk, spread evenly.
const SAMPLES: usize = 2;
/// A sample that becomes smaller by less than one part in this many says that the chunk does not compress.
const SAMPLE_GAIN: usize = 33;
/// A chunk that becomes smaller by less than one part in this many is stored as it is: reading it is faster so.
const GAIN: usize = 50;

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

impl CompressionLevel {
    /// Those that have a name.
    pub const NAMED: [CompressionLevel; 5] = [
        CompressionLevel::Off,
        CompressionLevel::Fast,
        CompressionLevel::Default,
        CompressionLevel::Better,
        CompressionLevel::Max,
    ];

    /// How hard bundles of small files are compressed. Neighbours in one frame compress so well that by default the fastest level
    /// is enough: 10 % larger than level 3 for a source tree, in three quarters of the time.
    #[must_use]
    pub fn for_bundles(self) -> CompressionLevel {
        if self == CompressionLevel::Default { CompressionLevel::Fast } else { self }
    }

    /// The level of zstd that it stands for; `None` for no compression.
    pub fn zstd_level(self) -> Option<i32> {
        match self {
            CompressionLevel::Off => None,
            CompressionLevel::Fast => Some(1),
            CompressionLevel::Default => Some(2),
            CompressionLevel::Better => Some(9),
            CompressionLevel::Max => Some(19),
            CompressionLevel::Number(level) => Some(level),
        }
    }
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

    fn from_str(text: &str) -> Result<Self> {
        if let Some(named) = CompressionLevel::NAMED.into_iter().find(|level| level.to_string() == text) {
            return Ok(named);
        }
        match text.parse() {
            Ok(level) if Compression::Zstd.levels().contains(&level) => Ok(CompressionLevel::Number(level)),
            _ => Err(no_level(text)),
        }
    }
}

fn no_level(text: impl Into<String>) -> Error {
    let names = CompressionLevel::NAMED.map(|level| level.to_string()).join(", ");
    let (least, most) = Compression::Zstd.levels().into_inner();
    Error::invalid("not a compression level:", text).hint(format!("one of {names}, or {least} to {most}"))
}

/// A chunk as it is stored.
pub struct Stored<'a> {
    /// Its bytes: those of the chunk, or a frame.
    pub bytes: &'a [u8],
    /// [`STORED`] or [`ZSTD`].
    pub compression: u8,
}

/// Compresses chunks. One for each worker: what it has allocated is used again.
pub struct Encoder {
    contexts: Option<Contexts>,
    frame: Vec<u8>,
    verify: Option<(Decoder, Vec<u8>)>,
    /// What a faulty machine does to what was compressed.
    #[cfg(test)]
    spoil: fn(&mut Vec<u8>),
}

struct Contexts {
    level: i32,
    whole: CCtx<'static>,
    sample: CCtx<'static>,
}

impl Encoder {
    /// An encoder; with `verify` everything compressed is decoded again and compared before it counts.
    ///
    /// # Errors
    /// `Invalid` for a level there is not, `Io` without memory.
    pub fn new(level: CompressionLevel, verify: bool) -> Result<Encoder> {
        let contexts = match zstd_level(level)? {
            None => None,
            Some(number) => Some(Contexts { level: number, whole: context(number)?, sample: context(1)? }),
        };
        let verify = if verify { Some((Decoder::new()?, Vec::new())) } else { None };
        Ok(Encoder {
            contexts,
            frame: Vec::new(),
            verify,
            #[cfg(test)]
            spoil: |_| (),
        })
    }

    /// Changes how hard it tries from here on.
    ///
    /// # Errors
    /// As [`Encoder::new`].
    pub fn set_level(&mut self, level: CompressionLevel) -> Result<()> {
        match (zstd_level(level)?, &mut self.contexts) {
            (None, contexts) => *contexts = None,
            (Some(number), Some(contexts)) if number == contexts.level => {}
            (Some(number), Some(contexts)) => {
                let set = contexts.whole.set_parameter(CParameter::CompressionLevel(number));
                set.map_err(cannot_compress)?;
                contexts.level = number;
            }
            (Some(number), contexts) => {
                *contexts = Some(Contexts { level: number, whole: context(number)?, sample: context(1)? });
            }
        }
        Ok(())
    }

    /// The form in which a chunk is stored.
    ///
    /// # Errors
    /// `Io` when the library fails or, with `verify`, when what it made does not decode to the chunk.
    pub fn encode<'a>(&'a mut self, raw: &'a [u8]) -> Result<Stored<'a>> {
        let plain = Stored { bytes: raw, compression: STORED };
        let Some(contexts) = &mut self.contexts else { return Ok(plain) };
        if raw.len() >= SAMPLED_BYTES && !contexts.is_worth_trying(raw, &mut self.frame)? {
            return Ok(plain);
        }
        compress(&mut contexts.whole, raw, &mut self.frame)?;
        #[cfg(test)]
        (self.spoil)(&mut self.frame);
        if self.frame.len() + raw.len() / GAIN >= raw.len() {
            return Ok(plain);
        }
        if let Some((decoder, decoded)) = &mut self.verify {
            let same = decoder.decode(&self.frame, raw.len(), decoded).is_ok() && decoded == raw;
            if !same {
                return Err(Error::new(Kind::Io, "compressed bytes do not decode to what they were")
                    .hint("the memory or the processor of this machine may be faulty"));
            }
        }
        Ok(Stored { bytes: &self.frame, compression: ZSTD })
    }
}

impl Contexts {
    fn is_worth_trying(&mut self, raw: &[u8], frame: &mut Vec<u8>) -> Result<bool> {
        // In the middle of each of as many equal parts: headers at the beginning say little about the rest.
        let part = raw.len() / SAMPLES;
        for number in 0..SAMPLES {
            let sample = &raw[number * part + (part - SAMPLE_BYTES) / 2..][..SAMPLE_BYTES];
            compress(&mut self.sample, sample, frame)?;
            if frame.len() + SAMPLE_BYTES / SAMPLE_GAIN < SAMPLE_BYTES {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The level of zstd, where there is one of this number.
fn zstd_level(level: CompressionLevel) -> Result<Option<i32>> {
    match level.zstd_level() {
        Some(number) if !Compression::Zstd.levels().contains(&number) => Err(no_level(number.to_string())),
        known => Ok(known),
    }
}

fn context(level: i32) -> Result<CCtx<'static>> {
    let mut context = CCtx::try_create().ok_or_else(no_memory)?;
    // No checksum: a chunk's name is one.
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
    ] {
        context.set_parameter(parameter).map_err(cannot_compress)?;
    }
    Ok(context)
}

fn compress(context: &mut CCtx<'static>, raw: &[u8], frame: &mut Vec<u8>) -> Result<()> {
    frame.clear();
    frame.reserve(zstd_safe::compress_bound(raw.len()));
    context.compress2(frame, raw).map(|_| ()).map_err(cannot_compress)
}

fn no_memory() -> Error {
    Error::new(Kind::Io, "no memory for").on("zstd")
}

fn cannot_compress(code: usize) -> Error {
    Error::new(Kind::Io, "cannot compress:").on(zstd_safe::get_error_name(code))
}

/// Decodes chunks. One for each worker.
pub struct Decoder(DCtx<'static>);

impl Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// `Io` without memory.
    pub fn new() -> Result<Decoder> {
        DCtx::try_create().map(Decoder).ok_or_else(no_memory)
    }

    /// Decodes one frame of exactly `raw_bytes` in place of what `out` holds. The caller has checked `raw_bytes` against the
    /// limits.
    ///
    /// # Errors
    /// `Damaged` when it is no such frame.
    pub fn decode(&mut self, frame: &[u8], raw_bytes: usize, out: &mut Vec<u8>) -> Result<()> {
        let damaged = |why: &str| Error::damaged("not a sound zstd frame:", why);
        out.clear();
        // Memory is taken only for what the frame itself says, too, and nothing may stand behind it.
        if !matches!(zstd_safe::get_frame_content_size(frame), Ok(Some(said)) if said == raw_bytes as u64) {
            return Err(damaged("it says another length"));
        }
        if zstd_safe::find_frame_compressed_size(frame) != Ok(frame.len()) {
            return Err(damaged("it ends elsewhere"));
        }
        out.reserve_exact(raw_bytes);
        match self.0.decompress(out, frame) {
            Ok(decoded) if decoded == raw_bytes => Ok(()),
            Ok(_) => Err(damaged("it has another length")),
            Err(code) => Err(damaged(zstd_safe::get_error_name(code))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at / 7 % 64 + at % 7) as u8).collect()
    }

    #[test]
    fn levels_have_names_and_numbers() {
        for level in CompressionLevel::NAMED {
            assert_eq!(level.to_string().parse::<CompressionLevel>().unwrap(), level);
        }
        assert_eq!("7".parse::<CompressionLevel>().unwrap(), CompressionLevel::Number(7));
        for wrong in ["", "20", "-8", "Fast", "3 ", "none"] {
            assert_eq!(wrong.parse::<CompressionLevel>().unwrap_err().kind(), Kind::Invalid, "{wrong}");
        }
        assert!(Encoder::new(CompressionLevel::Number(23), false).is_err());
    }

    #[test]
    fn what_shrinks_is_compressed_and_comes_back_and_what_does_not_is_left_alone() {
        let mut decoder = Decoder::new().unwrap();
        let mut out = Vec::new();
        for verify in [false, true] {
            let mut encoder = Encoder::new(CompressionLevel::Default, verify).unwrap();
            for raw in [text(1000), text(1 << 20), text(0)] {
                let stored = encoder.encode(&raw).unwrap();
                assert_eq!(stored.compression == ZSTD, !raw.is_empty());
                if stored.compression == ZSTD {
                    assert!(stored.bytes.len() < raw.len());
                    decoder.decode(stored.bytes, raw.len(), &mut out).unwrap();
                    assert_eq!(out, raw);
                }
            }
            for raw in [noise(1000), noise(1 << 20)] {
                assert_eq!(encoder.encode(&raw).unwrap().compression, STORED);
            }
        }
        let mut off = Encoder::new(CompressionLevel::Off, true).unwrap();
        assert_eq!(off.encode(&text(1000)).unwrap().compression, STORED);
    }

    #[test]
    fn what_does_not_decode_to_what_it_was_is_refused_where_that_is_looked_at() {
        let spoils: [fn(&mut Vec<u8>); 3] = [
            |frame| frame.truncate(frame.len() - 1),
            |frame| frame.push(0),
            // Another frame of the same length when decoded.
            |frame| {
                let mut other = Encoder::new(CompressionLevel::Default, false).unwrap();
                let mut raw = text(5000);
                raw[77] ^= 1;
                *frame = other.encode(&raw).unwrap().bytes.to_vec();
            },
        ];
        for spoil in spoils {
            let with = |verify| Encoder { spoil, ..Encoder::new(CompressionLevel::Default, verify).unwrap() };
            let error = with(true).encode(&text(5000)).map(drop).unwrap_err();
            assert_eq!(error.kind(), Kind::Io);
            assert!(error.advice().is_some_and(|advice| advice.contains("faulty")), "{error}");
            assert_eq!(with(false).encode(&text(5000)).unwrap().compression, ZSTD);
        }
    }

    #[test]
    fn one_sample_that_compresses_is_enough() {
        let mut encoder = Encoder::new(CompressionLevel::Default, false).unwrap();
        for half in [0, 1] {
            let mut raw = noise(1 << 20);
            raw[half << 19..][..1 << 19].copy_from_slice(&text(1 << 19));
            assert_eq!(encoder.encode(&raw).unwrap().compression, ZSTD);
        }
    }

    #[test]
    fn a_frame_of_another_length_or_with_more_behind_it_is_refused() {
        let raw = text(5000);
        let mut encoder = Encoder::new(CompressionLevel::Default, false).unwrap();
        let frame = encoder.encode(&raw).unwrap().bytes.to_vec();
        let mut decoder = Decoder::new().unwrap();
        let mut out = Vec::new();
        assert!(decoder.decode(&frame, 4999, &mut out).is_err());
        assert!(decoder.decode(&frame, 5001, &mut out).is_err());
        assert!(decoder.decode(&[&frame[..], &frame[..]].concat(), 5000, &mut out).is_err());
        assert!(decoder.decode(&[&frame[..], b"x"].concat(), 5000, &mut out).is_err());
        for length in 0..frame.len() {
            assert!(decoder.decode(&frame[..length], 5000, &mut out).is_err());
        }
        decoder.decode(&frame, 5000, &mut out).unwrap();
        assert_eq!(out, raw);
    }
}
