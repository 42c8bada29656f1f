//! Names of chunks and objects: 32 bytes, written as 64 hexadecimal digits.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Bytes of an id.
pub const ID_BYTES: usize = 32;

/// What a chunk is called: the keyed hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub [u8; ID_BYTES]);

/// What an object is called: random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub [u8; ID_BYTES]);

/// What a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChunkKind {
    /// A piece of a large file, or a bundle of small ones.
    Content,
    /// A node of a tree.
    Node,
    /// A list of chunks of one file.
    List,
    /// Attributes or holes that are too long for an entry.
    Attributes,
}

impl ChunkKind {
    /// Every kind.
    pub const ALL: [ChunkKind; 4] =
        [ChunkKind::Content, ChunkKind::Node, ChunkKind::List, ChunkKind::Attributes];

    /// The number that stands for it in the format.
    pub fn number(self) -> u8 {
        match self {
            ChunkKind::Content => 0,
            ChunkKind::Node => 1,
            ChunkKind::List => 2,
            ChunkKind::Attributes => 3,
        }
    }

    /// The kind that a number stands for.
    pub fn from_number(number: u8) -> Option<Self> {
        ChunkKind::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Whether it describes files rather than being their content.
    pub fn is_metadata(self) -> bool {
        self != ChunkKind::Content
    }
}

macro_rules! id {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                from_hex(text).map($name).ok_or_else(|| Error::invalid(concat!("not ", $what, ":"), text))
            }
        }
    };
}

id!(ChunkId, "the id of a chunk");
id!(ObjectId, "the id of an object");

/// 64 lower-case hexadecimal digits as bytes.
fn from_hex(text: &str) -> Option<[u8; ID_BYTES]> {
    let digits = text.as_bytes();
    let mut id = [0; ID_BYTES];
    if digits.len() != 2 * ID_BYTES {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(id)
}

fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_digits_and_nothing_else_is() {
        let id = ChunkId(std::array::from_fn(|index| (index * 37) as u8));
        let text = id.to_string();
        assert_eq!(text.parse::<ChunkId>().unwrap(), id);
        for wrong in [&text[1..], &format!("{text}0"), &text.to_uppercase(), &"é".repeat(32)] {
            assert!(wrong.parse::<ChunkId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_and_kinds_belong_together() {
        for number in 0..=255 {
            assert!(ChunkKind::from_number(number).is_none_or(|kind| kind.number() == number));
        }
        assert!(ChunkKind::ALL.into_iter().all(|kind| ChunkKind::from_number(kind.number()) == Some(kind)));
    }
}
