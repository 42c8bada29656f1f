//! Writing the stream of a level.
//!
//! Invariant: what was not finished has no end, and no reader takes it for whole.

use super::super::delta::Operations;
use super::{Content, MAGIC, tag};
use crate::engine::dedup::tree::varint;
use crate::error::{Error, Result};
use crate::limits::RSYNC_DATA_BYTES;
use std::io::Write;

/// Writes records.
pub struct StreamWriter<W: Write> {
    out: W,
    records: u64,
    /// How much of the content of the record came so far; `None` between records.
    size_bytes: Option<u64>,
    /// What is small is gathered here.
    head: Vec<u8>,
}

impl<W: Write> StreamWriter<W> {
    /// Begins a stream.
    ///
    /// # Errors
    /// Of `out`.
    pub fn new(out: W) -> Result<StreamWriter<W>> {
        let mut writer = StreamWriter { out, records: 0, size_bytes: None, head: Vec::new() };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    /// Begins a record, whose operations may copy from `base`, and gives its number.
    ///
    /// # Errors
    /// Of `out`.
    pub fn begin(&mut self, base: Option<&Content>) -> Result<u64> {
        self.head.clear();
        match base {
            None => self.head.push(tag::WHOLE),
            Some(base) => {
                self.head.push(tag::DELTA);
                varint::put(&mut self.head, base.size_bytes);
                self.head.extend_from_slice(base.hash.as_bytes());
            }
        }
        self.put_head()?;
        self.size_bytes = Some(0);
        self.records += 1;
        Ok(self.records - 1)
    }

    /// Ends a record whose content has this hash; gives its length.
    ///
    /// # Errors
    /// `Invalid` outside of a record; of `out`.
    pub fn end(&mut self, hash: &blake3::Hash) -> Result<u64> {
        let size_bytes = self.size_bytes.take().ok_or_else(outside)?;
        self.head.clear();
        self.head.push(tag::DONE);
        varint::put(&mut self.head, size_bytes);
        self.head.extend_from_slice(hash.as_bytes());
        self.put_head()?;
        Ok(size_bytes)
    }

    /// Ends a record that counts for nothing.
    ///
    /// # Errors
    /// `Invalid` outside of a record; of `out`.
    pub fn give_up(&mut self) -> Result<()> {
        self.size_bytes.take().ok_or_else(outside)?;
        self.put(&[tag::GIVEN_UP])
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// `Invalid` within a record; of `out`.
    pub fn finish(mut self) -> Result<W> {
        if self.size_bytes.is_some() {
            return Err(Error::invalid("a record was not ended in", "a stream"));
        }
        self.head.clear();
        self.head.push(tag::END);
        varint::put(&mut self.head, self.records);
        self.put_head()?;
        Ok(self.out)
    }

    fn grow(&mut self, length_bytes: u64) -> Result<()> {
        let size_bytes = self.size_bytes.as_mut().ok_or_else(outside)?;
        *size_bytes = size_bytes.saturating_add(length_bytes);
        Ok(())
    }

    fn numbers(&mut self, tag: u8, numbers: &[u64]) -> Result<()> {
        self.head.clear();
        self.head.push(tag);
        numbers.iter().for_each(|number| varint::put(&mut self.head, *number));
        self.put_head()
    }

    fn put_head(&mut self) -> Result<()> {
        self.out.write_all(&self.head).map_err(cannot_write)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(cannot_write)
    }
}

impl<W: Write> Operations for StreamWriter<W> {
    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(RSYNC_DATA_BYTES) {
            self.grow(piece.len() as u64)?;
            self.numbers(tag::DATA, &[piece.len() as u64])?;
            self.put(piece)?;
        }
        Ok(())
    }

    fn copy(&mut self, offset: u64, length_bytes: u64) -> Result<()> {
        self.grow(length_bytes)?;
        self.numbers(tag::COPY, &[offset, length_bytes])
    }

    fn hole(&mut self, length_bytes: u64) -> Result<()> {
        if length_bytes == 0 {
            return Ok(());
        }
        self.grow(length_bytes)?;
        self.numbers(tag::HOLE, &[length_bytes])
    }
}

fn outside() -> Error {
    Error::invalid("no record was begun in", "a stream")
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::io("cannot write", "the stream", error)
}
