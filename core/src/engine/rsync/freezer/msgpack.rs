//! MessagePack, decoded from a stream: heads of values, one at a time, so that nothing that is announced takes memory before
//! it has come. Old releases packed text as `raw`, which is what is `str` now but for its shortest long form; `bin` is taken for text as well.
//!
//! Source: the specification at msgpack.org, and its revision before `str8`.

use crate::error::{Error, Kind, Result};
use std::io::Read;

/// What a value begins with; of the long ones, how long they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head {
    Nil,
    Bool(bool),
    /// All integers of MessagePack fit.
    Integer(i128),
    Float(f64),
    /// Bytes that follow: text, or not.
    Bytes(u32),
    /// Values that follow.
    Array(u32),
    /// Pairs of values that follow.
    Map(u32),
    /// Bytes that follow, of a type of somebody's own.
    Extension(u32),
}

/// Decodes values from a stream.
pub(super) struct Unpacker<R> {
    input: R,
}

impl<R: Read> Unpacker<R> {
    pub fn new(input: R) -> Self {
        Unpacker { input }
    }

    /// What is behind the values that were read.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// The head of the next value. Of a long one what follows is to be read next.
    ///
    /// # Errors
    /// `Damaged` at the end of the input and for a byte that begins no value.
    pub fn head(&mut self) -> Result<Head> {
        let [first] = self.array()?;
        Ok(match first {
            0x00..=0x7f => Head::Integer(first.into()),
            0x80..=0x8f => Head::Map((first & 0x0f).into()),
            0x90..=0x9f => Head::Array((first & 0x0f).into()),
            0xa0..=0xbf => Head::Bytes((first & 0x1f).into()),
            0xc0 => Head::Nil,
            0xc1 => return Err(Error::damaged("this begins no value:", "the byte c1")),
            0xc2 | 0xc3 => Head::Bool(first == 0xc3),
            0xc4 | 0xd9 => Head::Bytes(u8::from_be_bytes(self.array()?).into()),
            0xc5 | 0xda => Head::Bytes(u16::from_be_bytes(self.array()?).into()),
            0xc6 | 0xdb => Head::Bytes(u32::from_be_bytes(self.array()?)),
            0xc7 => Head::Extension(u32::from(u8::from_be_bytes(self.array()?)) + 1),
            0xc8 => Head::Extension(u32::from(u16::from_be_bytes(self.array()?)) + 1),
            // The type is one byte more, which has to fit.
            0xc9 => Head::Extension(u32::from_be_bytes(self.array()?).saturating_add(1)),
            0xca => Head::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Head::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Head::Integer(u8::from_be_bytes(self.array()?).into()),
            0xcd => Head::Integer(u16::from_be_bytes(self.array()?).into()),
            0xce => Head::Integer(u32::from_be_bytes(self.array()?).into()),
            0xcf => Head::Integer(u64::from_be_bytes(self.array()?).into()),
            0xd0 => Head::Integer(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Head::Integer(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Head::Integer(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Head::Integer(i64::from_be_bytes(self.array()?).into()),
            0xd4..=0xd8 => Head::Extension((1 << (first - 0xd4)) + 1),
            0xdc => Head::Array(u16::from_be_bytes(self.array()?).into()),
            0xdd => Head::Array(u32::from_be_bytes(self.array()?)),
            0xde => Head::Map(u16::from_be_bytes(self.array()?).into()),
            0xdf => Head::Map(u32::from_be_bytes(self.array()?)),
            0xe0..=0xff => Head::Integer(i8::from_be_bytes([first]).into()),
        })
    }

    /// Text, or bytes.
    ///
    /// # Errors
    /// `Damaged` for anything else, `Limit` when it is longer than `most` bytes.
    pub fn bytes(&mut self, most: usize) -> Result<Vec<u8>> {
        let Head::Bytes(length) = self.head()? else { return Err(strange("no text")) };
        let length = usize::try_from(length).ok().filter(|length| *length <= most);
        let length = length
            .ok_or_else(|| Error::new(Kind::Limit, "a text is longer than").on(format!("{most} bytes")))?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// How many pairs a map has.
    ///
    /// # Errors
    /// `Damaged` for anything else.
    pub fn map(&mut self) -> Result<u32> {
        let Head::Map(count) = self.head()? else { return Err(strange("no map")) };
        Ok(count)
    }

    /// How many values an array has.
    ///
    /// # Errors
    /// `Damaged` for anything else.
    pub fn list(&mut self) -> Result<u32> {
        let Head::Array(count) = self.head()? else { return Err(strange("no array")) };
        Ok(count)
    }

    /// A number that is not negative.
    ///
    /// # Errors
    /// `Damaged` for anything else.
    pub fn number(&mut self) -> Result<u64> {
        let Head::Integer(number) = self.head()? else { return Err(strange("no number")) };
        u64::try_from(number).map_err(|_| strange("a number below 0"))
    }

    /// Passes over a value and all that is in it.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn skip(&mut self) -> Result<()> {
        let mut left: u64 = 1;
        while left > 0 {
            left -= 1;
            match self.head()? {
                Head::Bytes(length) | Head::Extension(length) => {
                    let copied =
                        std::io::copy(&mut (&mut self.input).take(length.into()), &mut std::io::sink());
                    let copied = copied.map_err(|e| Error::io("cannot read", "a value", e))?;
                    if copied < u64::from(length) {
                        return Err(Error::damaged("ends within", "a value"));
                    }
                }
                Head::Array(count) => left = left.saturating_add(count.into()),
                Head::Map(count) => left = left.saturating_add(2 * u64::from(count)),
                Head::Nil | Head::Bool(_) | Head::Integer(_) | Head::Float(_) => {}
            }
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.input.read_exact(bytes).map_err(|e| Error::io("cannot read", "a value", e))
    }
}

/// A value of another type than the format has there.
pub(super) fn strange(what: &str) -> Error {
    Error::damaged(format!("{what}, where the format has"), "another value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &[u8]) -> Head {
        Unpacker::new(bytes).head().unwrap()
    }

    #[test]
    fn every_form_of_a_value_is_read() {
        for (bytes, expected) in [
            (&[0x7f][..], Head::Integer(127)),
            (&[0xff], Head::Integer(-1)),
            (&[0xcc, 0x80], Head::Integer(128)),
            (&[0xcd, 1, 0], Head::Integer(256)),
            (&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], Head::Integer(u64::MAX.into())),
            (&[0xd0, 0x80], Head::Integer(-128)),
            (&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], Head::Integer(i64::MIN.into())),
            (&[0xc0], Head::Nil),
            (&[0xc3], Head::Bool(true)),
            (&[0xca, 0x3f, 0x80, 0, 0], Head::Float(1.0)),
            (&[0xa3], Head::Bytes(3)),
            (&[0xd9, 32], Head::Bytes(32)),
            (&[0xda, 1, 0], Head::Bytes(256)),
            (&[0xdb, 0, 0, 0, 1], Head::Bytes(1)),
            (&[0xc4, 5], Head::Bytes(5)),
            (&[0x91], Head::Array(1)),
            (&[0xdc, 0, 16], Head::Array(16)),
            (&[0x82], Head::Map(2)),
            (&[0xdf, 0, 0, 0, 3], Head::Map(3)),
            (&[0xd4], Head::Extension(2)),
            (&[0xc7, 3], Head::Extension(4)),
        ] {
            assert_eq!(head(bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn values_are_passed_over_with_all_that_is_in_them() {
        // {"a": [1, {"b": "xyz"}], "c": ext} and then 7.
        let bytes = [
            0x82, 0xa1, b'a', 0x92, 0x01, 0x81, 0xa1, b'b', 0xda, 0, 3, b'x', b'y', b'z', 0xa1, b'c', 0xd5,
            9, 1, 2, 7,
        ];
        let mut values = Unpacker::new(&bytes[..]);
        values.skip().unwrap();
        assert_eq!(values.number().unwrap(), 7);
        for cut in 1..bytes.len() - 1 {
            assert_eq!(Unpacker::new(&bytes[..cut]).skip().unwrap_err().kind(), Kind::Damaged, "{cut}");
        }
    }

    #[test]
    fn what_is_of_another_type_or_too_long_is_an_error() {
        assert_eq!(Unpacker::new(&[0xa2, b'a', b'b'][..]).bytes(2).unwrap(), b"ab");
        assert_eq!(Unpacker::new(&[0xa3, b'a'][..]).bytes(2).unwrap_err().kind(), Kind::Limit);
        assert_eq!(Unpacker::new(&[0xdb, 255, 255, 255, 255][..]).bytes(9).unwrap_err().kind(), Kind::Limit);
        assert_eq!(Unpacker::new(&[0xc0][..]).bytes(2).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(Unpacker::new(&[0xff][..]).number().unwrap_err().kind(), Kind::Damaged);
        assert_eq!(Unpacker::new(&[0xc1][..]).head().unwrap_err().kind(), Kind::Damaged);
        assert_eq!(Unpacker::new(&[][..]).head().unwrap_err().kind(), Kind::Damaged);
        assert!(Unpacker::new(&[0x80][..]).list().is_err() && Unpacker::new(&[0x90][..]).map().is_err());
    }
}
