//! The decoded stream of a level: which engine wrote it, and its records with their content.

use super::msgpack::Unpacker;
use super::stored::Record;
use super::{first, second};
use crate::error::{Error, Kind, Result};
use crate::limits::READ_BYTES;
use crate::monitor::Monitor;
use crate::spool::{Scratch, Spool};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

/// Bytes that are read ahead of a record.
const AHEAD_BYTES: usize = 64 << 10;

/// Which of the two engines wrote a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `rsync`, whose records begin with digits. A level without any record is taken for one of it.
    First,
    /// `rsyncv2`, whose stream is an array of MessagePack.
    Second,
}

/// What is known of a level besides its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Level {
    /// The block size that the metadata names. Without one, how long the content of the second engine's files is is taken from
    /// what it says.
    pub block_bytes: Option<u64>,
    /// Whether the end of the first engine's stream may be missing without that being damage.
    pub may_lack_end: bool,
}

/// What reads one record and its content.
pub type Visit<'v> = dyn FnMut(Dialect, Record, &mut dyn Read) -> Result<()> + 'v;

fn dialect(input: &mut impl BufRead) -> Result<Dialect> {
    match input.fill_buf().map_err(|e| Error::io("cannot read", "the stream", e))?.first() {
        None | Some(b'0'..=b'9') => Ok(Dialect::First),
        Some(0x90..=0x9f | 0xdc | 0xdd) => Ok(Dialect::Second),
        Some(_) => Err(Error::damaged("neither of Freezer's rsync engines wrote", "the stream")),
    }
}

/// Hands out the records of a level without their content, which is read all the same.
///
/// # Errors
/// `Damaged`, `Limit`, `Interrupted`; what `visit` fails with; as the input has it.
pub fn survey(
    input: &mut dyn Read,
    level: Level,
    monitor: &dyn Monitor,
    visit: &mut dyn FnMut(Dialect, Record) -> Result<()>,
) -> Result<Dialect> {
    let mut input = BufReader::with_capacity(AHEAD_BYTES, input);
    let dialect = dialect(&mut input)?;
    if dialect == Dialect::First {
        while let Some(mut record) = next_of_first(&mut input, level)? {
            monitor.check()?;
            let passed = pass_over(&mut input, record.payload_bytes(), monitor);
            record.is_cut = passed.is_err() && level.may_lack_end && at_end(&mut input)?;
            if !record.is_cut {
                passed?;
            }
            visit(dialect, record)?;
        }
        return Ok(dialect);
    }
    let mut content_bytes: u64 = 0;
    let mut values = Unpacker::new(input);
    second::headers(&mut values, level.block_bytes, &mut |record| {
        monitor.check()?;
        content_bytes = content_bytes.saturating_add(record.payload_bytes());
        visit(dialect, record)
    })?;
    let mut input = values.into_inner();
    pass_over(&mut input, content_bytes, monitor)?;
    ends(&mut input)?;
    Ok(dialect)
}

/// Hands out the records of a level with their content; what `visit` leaves of it is passed over. `scratch` keeps what the
/// second engine put in front of all content.
///
/// # Errors
/// As [`survey`]; I/O of the temporary file.
pub fn read(
    input: &mut dyn Read,
    level: Level,
    scratch: &Scratch,
    monitor: &dyn Monitor,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let mut input = BufReader::with_capacity(AHEAD_BYTES, input);
    let dialect = dialect(&mut input)?;
    if dialect == Dialect::First {
        while let Some(record) = next_of_first(&mut input, level)? {
            let done = one(dialect, record, &mut input, monitor, visit);
            if done.as_ref().is_err_and(ends_early) && level.may_lack_end && at_end(&mut input)? {
                break;
            }
            done?;
        }
        return Ok(());
    }
    let copy = BufWriter::new(scratch.spool());
    let mut values = Unpacker::new(Tee { input, copy });
    second::headers(&mut values, level.block_bytes, &mut |_| monitor.check())?;
    let (mut input, headers) = values.into_inner().finish()?;
    let mut headers = Unpacker::new(BufReader::with_capacity(AHEAD_BYTES, headers));
    for _ in 0..headers.list()? {
        one(dialect, second::next(&mut headers, level.block_bytes)?, &mut input, monitor, visit)?;
    }
    ends(&mut input)
}

/// The next record of the first engine; `None` at the end, or where the end is missing and may be.
fn next_of_first(input: &mut impl BufRead, level: Level) -> Result<Option<Record>> {
    match first::next(input) {
        Err(error) if ends_early(&error) && level.may_lack_end && at_end(input)? => Ok(None),
        other => other,
    }
}

fn ends_early(error: &Error) -> bool {
    error.kind() == Kind::Damaged
}

fn at_end(input: &mut impl BufRead) -> Result<bool> {
    Ok(input.fill_buf().map_err(|e| Error::io("cannot read", "the stream", e))?.is_empty())
}

/// One record: what is not read of its content is passed over.
fn one(
    dialect: Dialect,
    record: Record,
    input: &mut impl Read,
    monitor: &dyn Monitor,
    visit: &mut Visit<'_>,
) -> Result<()> {
    monitor.check()?;
    let mut content = input.take(record.payload_bytes());
    visit(dialect, record, &mut content)?;
    let left = content.limit();
    pass_over(content.into_inner(), left, monitor)
}

fn pass_over(input: &mut impl Read, bytes: u64, monitor: &dyn Monitor) -> Result<()> {
    let mut left = bytes;
    while left > 0 {
        monitor.check()?;
        let step = left.min(READ_BYTES as u64);
        let passed = io::copy(&mut input.by_ref().take(step), &mut io::sink());
        let passed = passed.map_err(|e| Error::io("cannot read", "the content of a file", e))?;
        if passed < step {
            return Err(Error::damaged("ends too early:", "the stream"));
        }
        left -= passed;
    }
    Ok(())
}

/// Behind the content of the last file nothing follows.
fn ends(input: &mut impl BufRead) -> Result<()> {
    if at_end(input)? {
        return Ok(());
    }
    let what = "more content than its headers say, so that nobody knows whose it is, in";
    let hint = "a file changed its length while Freezer read it, or the block size of the metadata is wrong";
    Err(Error::new(Kind::Damaged, what).on("the stream").hint(hint))
}

/// Copies what is read through it.
struct Tee<R> {
    input: R,
    copy: BufWriter<Spool>,
}

impl<R> Tee<R> {
    /// The input behind what was read, and that.
    fn finish(self) -> Result<(R, Spool)> {
        let copied = self.copy.into_inner();
        let mut copied = copied.map_err(|e| Error::io("cannot write", "a temporary file", e.into_error()))?;
        copied.rewind()?;
        Ok((self.input, copied))
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.copy.write_all(&buffer[..read])?;
        Ok(read)
    }
}
