//! Numbers and byte strings as nodes hold them: varints in their shortest form, zigzags, bytes behind their number.
//!
//! Invariant: reading foreign bytes never goes beyond their end and never allocates; what is not as the format says is `Damaged`.

use crate::error::{Error, Result};
use crate::repository::vault::ChunkId;
use crate::repository::vault::id::ID_BYTES;

/// Appends a varint.
#[inline]
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a number with a sign.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Appends bytes behind their number.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// How many bytes a varint takes.
pub fn len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Reads fields one after the other.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The error for bytes that are no node. Apart, since it is rare.
#[cold]
pub fn damaged(what: &str) -> Error {
    Error::damaged(what, "a part of a tree")
}

impl<'a> Fields<'a> {
    /// At position `at` of `bytes`.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Fields { bytes, at }
    }

    /// The same bytes, read from another position.
    pub fn elsewhere(&self, at: usize) -> Fields<'a> {
        Fields { bytes: self.bytes, at }
    }

    /// How many bytes were read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// One byte.
    ///
    /// # Errors
    /// `Damaged` at the end.
    #[inline]
    pub fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| damaged("cut short:"))?;
        self.at += 1;
        Ok(byte)
    }

    /// A varint.
    ///
    /// # Errors
    /// `Damaged` when it is cut short, too long, or not in its shortest form.
    #[inline]
    pub fn number(&mut self) -> Result<u64> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64> {
        let mut number = 0;
        for (index, byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            number |= bits << (7 * index);
            if *byte < 0x80 {
                if *byte == 0 || (index == 9 && *byte > 1) {
                    return Err(damaged("a number out of form in"));
                }
                self.at += index + 1;
                return Ok(number);
            }
        }
        Err(damaged("a number out of form in"))
    }

    /// A varint that is at most `most`.
    ///
    /// # Errors
    /// `Damaged` when it is more; as [`Fields::number`].
    #[inline]
    pub fn number_up_to(&mut self, most: u64) -> Result<u64> {
        let number = self.number()?;
        if number > most { Err(damaged("a number out of range in")) } else { Ok(number) }
    }

    /// A number of things that take at least `least_bytes` each: no more than can be there.
    ///
    /// # Errors
    /// As [`Fields::number_up_to`].
    pub fn count(&mut self, least_bytes: usize) -> Result<usize> {
        let number = self.number()?;
        if number > (self.left() / least_bytes) as u64 {
            return Err(damaged("more items than bytes in"));
        }
        Ok(number as usize)
    }

    /// A number with a sign.
    ///
    /// # Errors
    /// As [`Fields::number`].
    #[inline]
    pub fn signed(&mut self) -> Result<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// `Damaged` when there are fewer.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let taken = self.bytes[self.at..].get(..length).ok_or_else(|| damaged("cut short:"))?;
        self.at += length;
        Ok(taken)
    }

    /// Bytes behind their number, at most `most`.
    ///
    /// # Errors
    /// `Damaged` when there are fewer, or more than that.
    #[inline]
    pub fn bytes(&mut self, most: usize) -> Result<&'a [u8]> {
        let length = self.number_up_to(most as u64)?;
        self.take(length as usize)
    }

    /// The id of a chunk.
    ///
    /// # Errors
    /// `Damaged` when the bytes end.
    pub fn id(&mut self) -> Result<ChunkId> {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(self.take(ID_BYTES)?);
        Ok(ChunkId(id))
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `Damaged` when something is.
    pub fn end(&self) -> Result<()> {
        if self.left() == 0 { Ok(()) } else { Err(damaged("bytes behind the end of")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back_and_take_what_is_said(number: u64, signed: i64, shift in 0_u32..64) {
            let (number, signed) = (number >> shift, signed >> shift);
            let mut out = Vec::new();
            put(&mut out, number);
            prop_assert_eq!(out.len(), len(number));
            put_signed(&mut out, signed);
            put_bytes(&mut out, b"xyz");
            let mut fields = Fields::new(&out, 0);
            prop_assert_eq!(fields.number().unwrap(), number);
            prop_assert_eq!(fields.signed().unwrap(), signed);
            prop_assert_eq!(fields.bytes(3).unwrap(), b"xyz");
            fields.end().unwrap();
        }

        #[test]
        fn there_is_one_form_of_a_number(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut fields = Fields::new(&bytes, 0);
            if let Ok(number) = fields.number() {
                let mut out = Vec::new();
                put(&mut out, number);
                prop_assert_eq!(&out[..], &bytes[..fields.position()]);
            }
        }
    }

    #[test]
    fn what_is_cut_short_too_long_or_out_of_form_is_damaged() {
        for bytes in [
            &[0x80][..],
            &[0x80, 0],
            &[0xff; 10],
            &[0xff; 11],
            &[],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
        ] {
            assert!(Fields::new(bytes, 0).number().is_err(), "{bytes:?}");
        }
        assert!(Fields::new(&[4, 1, 2, 3], 0).bytes(9).is_err());
        assert!(Fields::new(&[3, 1, 2, 3], 0).bytes(2).is_err());
        assert!(Fields::new(&[3, 1, 2, 3], 0).count(2).is_err());
    }
}
