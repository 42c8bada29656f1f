//! The stream of a level: the contents that are new in it, whole or as differences from what the level below has.
//! `docs/format/rsync.md` is normative.
//!
//! Records are numbered from 0 in their order. A record is a beginning, operations and an end that has the length and the hash
//! of the content; or it was given up, since the file could not be read to its end, and counts for nothing.

mod reader;
mod writer;

pub use reader::{Operation, Record, StreamReader, check_magic, verify};
pub use writer::StreamWriter;

/// The first bytes of a stream.
pub const MAGIC: &[u8; 16] = b"icecore-rsync-1\n";

/// What a byte of the stream says about those behind it.
mod tag {
    pub const END: u8 = 0x00;
    pub const WHOLE: u8 = 0x01;
    pub const DELTA: u8 = 0x02;
    pub const DATA: u8 = 0x10;
    pub const COPY: u8 = 0x11;
    pub const HOLE: u8 = 0x12;
    pub const DONE: u8 = 0x18;
    pub const GIVEN_UP: u8 = 0x19;
}

/// A content, as records refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Its length.
    pub size_bytes: u64,
    /// BLAKE3 of all of it, holes being zeros.
    pub hash: blake3::Hash,
}

#[cfg(test)]
mod tests;
