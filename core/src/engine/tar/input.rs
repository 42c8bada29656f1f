//! The bytes an archive is read from: counted, by blocks, and bodies that never give more than their length.
//!
//! Invariant: memory is taken for bytes that have come, never for bytes that were only announced.

use super::header::{BLOCK, Block};
use crate::error::{Error, Kind, Result};
use std::io::{self, BufRead, BufReader, Read};

const BUFFER_BYTES: usize = 64 << 10;
/// Longest decimal number: 2⁶⁴ has as many digits.
const NUMBER_BYTES: usize = 20;

/// A stream of blocks that knows where it is.
pub struct Input<R> {
    inner: BufReader<R>,
    position: u64,
}

impl<R: Read> Input<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Input { inner: BufReader::with_capacity(BUFFER_BYTES, inner), position: 0 }
    }

    /// Bytes taken so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// A `Damaged` error at this place.
    pub fn damaged(&self, what: &str) -> Error {
        Error::damaged(what, format!("in the archive, byte {}", self.position))
    }

    /// The next block; `None` where the input ends between two blocks.
    ///
    /// # Errors
    /// I/O, and `Damaged` where it ends inside one.
    pub fn block(&mut self) -> Result<Option<Block>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(self.damaged("ends inside a block")),
                count => filled += count,
            }
        }
        Ok(Some(block))
    }

    /// Some bytes; 0 only at the end of the input.
    ///
    /// # Errors
    /// I/O.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Ok(count) => {
                    self.position = self.position.saturating_add(count as u64);
                    return Ok(count);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(cannot_read(e)),
            }
        }
    }

    /// Passes over `count` bytes.
    ///
    /// # Errors
    /// I/O, and `Damaged` where the input ends before.
    pub fn skip(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let ready = self.ready()?.len() as u64;
            let step = ready.min(count);
            if step == 0 {
                return Err(self.damaged("ends too early"));
            }
            self.consume(step as usize);
            count -= step;
        }
        Ok(())
    }

    /// The part of the input that is `size_bytes` long and begins here.
    pub fn body(&mut self, size_bytes: u64) -> Body<'_, R> {
        Body { input: self, left_bytes: size_bytes }
    }

    fn ready(&mut self) -> Result<&[u8]> {
        // Asked twice because a slice cannot be returned out of a loop that may go round again.
        while let Err(e) = self.inner.fill_buf() {
            if e.kind() != io::ErrorKind::Interrupted {
                return Err(cannot_read(e));
            }
        }
        self.inner.fill_buf().map_err(cannot_read)
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.position = self.position.saturating_add(count as u64);
    }
}

fn cannot_read(error: io::Error) -> Error {
    Error::io("cannot read", "the archive", error)
}

/// A part of an [`Input`] of known length.
pub struct Body<'a, R> {
    input: &'a mut Input<R>,
    left_bytes: u64,
}

impl<R: Read> Body<'_, R> {
    /// Bytes not yet taken.
    pub fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    /// A `Damaged` error at this place.
    pub fn damaged(&self, what: &str) -> Error {
        self.input.damaged(what)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// `Limit` beyond `limit_bytes`; `Damaged` when the body or the input is shorter; I/O.
    pub fn take(&mut self, count: u64, limit_bytes: u64) -> Result<Vec<u8>> {
        if count > limit_bytes {
            return Err(self.beyond(limit_bytes));
        }
        self.left_bytes = self
            .left_bytes
            .checked_sub(count)
            .ok_or_else(|| self.input.damaged("a field that is too long"))?;
        let mut bytes = Vec::new();
        let taken = (&mut self.input.inner).take(count).read_to_end(&mut bytes).map_err(cannot_read)? as u64;
        self.input.position = self.input.position.saturating_add(taken);
        if taken < count { Err(self.damaged("ends too early")) } else { Ok(bytes) }
    }

    /// The bytes before the next `end`, which is taken too.
    ///
    /// # Errors
    /// `Limit` when there are more than `limit_bytes`; `Damaged` when body or input end before; I/O.
    pub fn until(&mut self, end: u8, limit_bytes: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let left = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
            let ready = self.input.ready()?;
            let ready = &ready[..ready.len().min(left)];
            if ready.is_empty() {
                return Err(self.damaged("a field without an end"));
            }
            let found = ready.iter().position(|&b| b == end);
            let count = found.unwrap_or(ready.len());
            bytes.extend_from_slice(&ready[..count.min(limit_bytes + 1)]);
            let used = count + usize::from(found.is_some());
            self.input.consume(used);
            self.left_bytes -= used as u64;
            if bytes.len() > limit_bytes {
                return Err(self.beyond(limit_bytes as u64));
            }
            if found.is_some() {
                return Ok(bytes);
            }
        }
    }

    /// The decimal number before the next `end`, which is taken too.
    ///
    /// # Errors
    /// `Damaged` for anything else; I/O.
    pub fn number(&mut self, end: u8) -> Result<u64> {
        let text = match self.until(end, NUMBER_BYTES) {
            Err(e) if e.kind() == Kind::Limit => Vec::new(),
            text => text?,
        };
        decimal(&text).ok_or_else(|| self.damaged("an unusable number"))
    }

    /// Passes over `count` bytes.
    ///
    /// # Errors
    /// As [`Body::take`].
    pub fn skip(&mut self, count: u64) -> Result<()> {
        self.left_bytes = self
            .left_bytes
            .checked_sub(count)
            .ok_or_else(|| self.input.damaged("a field that is too long"))?;
        self.input.skip(count)
    }

    fn beyond(&self, limit_bytes: u64) -> Error {
        let place = format!("{limit_bytes} bytes in the archive, byte {}", self.input.position);
        Error::new(Kind::Limit, "a field longer than").on(place)
    }
}

/// Digits only; `None` for anything else and beyond 64 bits.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}
