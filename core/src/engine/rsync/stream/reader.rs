//! Reading the stream of a level: foreign bytes.
//!
//! Invariants: memory is [`RSYNC_DATA_BYTES`] and a small buffer, whatever the stream says; what is not as the format says is
//! `Damaged`; a stream without its end, and operations that reach beyond what they copy from, are.

use super::{Content, MAGIC, tag};
use crate::error::{Error, Kind, Result};
use crate::limits::{READ_BYTES, RSYNC_DATA_BYTES};
use crate::monitor::Monitor;
use std::io::{BufReader, Read};

/// A record that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub number: u64,
    /// What its operations copy from.
    pub base: Option<Content>,
}

/// One step of making a content.
#[derive(Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// These bytes.
    Data(&'a [u8]),
    /// A stretch of what is copied from; it is there, if that is as long as the record says.
    Copy {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        length_bytes: u64,
    },
    /// So many zeros.
    Hole(u64),
    /// The content is whole, and is this one.
    Done(Content),
    /// The record counts for nothing.
    GivenUp,
}

/// Reads records.
pub struct StreamReader<R: Read> {
    input: BufReader<R>,
    buffer: Vec<u8>,
    records: u64,
    /// The record that was begun: what it copies from, and how much of its content came so far.
    record: Option<(Option<Content>, u64)>,
    ended: bool,
}

/// Bytes that are read ahead.
const AHEAD_BYTES: usize = 64 << 10;

impl<R: Read> StreamReader<R> {
    /// Begins to read a stream.
    ///
    /// # Errors
    /// `Damaged` when it is none, `Unsupported` when it is of a later version; of `input`.
    pub fn new(input: R) -> Result<StreamReader<R>> {
        let input = BufReader::with_capacity(AHEAD_BYTES.min(READ_BYTES), input);
        let mut reader = StreamReader { input, buffer: Vec::new(), records: 0, record: None, ended: false };
        let mut magic = [0; MAGIC.len()];
        reader.fill(&mut magic)?;
        check_magic(&magic, MAGIC, "the stream")?;
        Ok(reader)
    }

    /// The next record; what is left of the one before is passed over. `None` at the end of the stream.
    ///
    /// # Errors
    /// `Damaged`; of the input.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Record>> {
        while self.record.is_some() {
            self.operation()?;
        }
        if self.ended {
            return Ok(None);
        }
        let base = match self.byte()? {
            tag::WHOLE => None,
            tag::DELTA => Some(self.content()?),
            tag::END => {
                if self.number()? != self.records {
                    return Err(damaged("not as many records as it says:"));
                }
                self.ended = true;
                return Ok(None);
            }
            _ => return Err(damaged("no record where one should be:")),
        };
        self.record = Some((base, 0));
        self.records += 1;
        Ok(Some(Record { number: self.records - 1, base }))
    }

    /// The next step of the record that was begun. The last one is [`Operation::Done`] or [`Operation::GivenUp`].
    ///
    /// # Errors
    /// `Damaged`, `Invalid` outside of a record; of the input.
    pub fn operation(&mut self) -> Result<Operation<'_>> {
        let Some((base, size_bytes)) = self.record else {
            return Err(Error::invalid("no record was begun in", "the stream"));
        };
        let grown = |length_bytes: u64| {
            let grown = size_bytes.checked_add(length_bytes).filter(|_| length_bytes > 0);
            grown
                .filter(|grown| i64::try_from(*grown).is_ok())
                .ok_or_else(|| damaged("a length out of range in"))
        };
        match self.byte()? {
            tag::DATA => {
                let length_bytes = self.number()?;
                self.record = Some((base, grown(length_bytes)?));
                if length_bytes > RSYNC_DATA_BYTES as u64 {
                    return Err(damaged("too long a piece of data in"));
                }
                let mut buffer = std::mem::take(&mut self.buffer);
                buffer.resize(length_bytes as usize, 0);
                self.fill(&mut buffer)?;
                self.buffer = buffer;
                Ok(Operation::Data(&self.buffer))
            }
            tag::COPY => {
                let (offset, length_bytes) = (self.number()?, self.number()?);
                self.record = Some((base, grown(length_bytes)?));
                let end = offset.checked_add(length_bytes);
                if base.is_none_or(|base| end.is_none_or(|end| end > base.size_bytes)) {
                    return Err(damaged("a copy of what is not there in"));
                }
                Ok(Operation::Copy { offset, length_bytes })
            }
            tag::HOLE => {
                let length_bytes = self.number()?;
                self.record = Some((base, grown(length_bytes)?));
                Ok(Operation::Hole(length_bytes))
            }
            tag::DONE => {
                let content = self.content()?;
                self.record = None;
                if content.size_bytes != size_bytes {
                    return Err(damaged("a content is not as long as it says in"));
                }
                Ok(Operation::Done(content))
            }
            tag::GIVEN_UP => {
                self.record = None;
                Ok(Operation::GivenUp)
            }
            _ => Err(damaged("an operation that is none in")),
        }
    }

    /// Makes sure that nothing is behind the end.
    fn nothing_behind(mut self) -> Result<()> {
        match self.input.read(&mut [0]).map_err(cannot_read)? {
            0 => Ok(()),
            _ => Err(damaged("bytes behind the end of")),
        }
    }

    fn content(&mut self) -> Result<Content> {
        let size_bytes = self.number()?;
        let mut hash = [0; 32];
        self.fill(&mut hash)?;
        Ok(Content { size_bytes, hash: blake3::Hash::from_bytes(hash) })
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.fill(&mut byte)?;
        Ok(byte[0])
    }

    /// A number in its shortest form.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for index in 0..10 {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if (byte == 0 && index > 0) || (index == 9 && byte > 1) {
                    break;
                }
                return Ok(number);
            }
        }
        Err(damaged("a number out of form in"))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof if error.get_ref().is_none() => damaged("cut short:"),
            _ => cannot_read(error),
        })
    }
}

/// Whether bytes are the beginning that is expected; a later version of it is not understood.
///
/// # Errors
/// `Damaged`, `Unsupported`.
pub fn check_magic(found: &[u8], expected: &[u8; 16], what: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let same = found.len() == expected.len() && found[..14] == expected[..14] && found[15] == expected[15];
    if same && found[14].is_ascii_digit() {
        let newer = Error::new(Kind::Unsupported, "written by a newer program:").on(what);
        return Err(newer.hint("use a newer version of icecore"));
    }
    Err(Error::damaged("not of the rsync engine:", what))
}

/// Reads a stream to its end and checks its form.
///
/// # Errors
/// `Damaged`, `Unsupported`; `Interrupted`; of `input`.
pub fn verify(input: &mut dyn Read, monitor: &dyn Monitor) -> Result<()> {
    let mut stream = StreamReader::new(input)?;
    while stream.next()?.is_some() {
        monitor.check()?;
        while !matches!(stream.operation()?, Operation::Done(_) | Operation::GivenUp) {
            monitor.check()?;
        }
    }
    stream.nothing_behind()
}

#[cold]
fn damaged(what: &str) -> Error {
    Error::damaged(what, "the stream")
}

fn cannot_read(error: std::io::Error) -> Error {
    Error::io("cannot read", "the stream", error)
}
