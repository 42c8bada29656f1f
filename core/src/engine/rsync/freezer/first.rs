//! Records of the first engine (`--engine rsync` of releases 4 to 7): a header of 20 fields between NULs, then content.
//!
//! Of what the writer says of the length of a delta nothing is relied on: which blocks there are, and the length of the file, say how
//! many bytes follow. Invariant: a stream ends between two records, or is damaged.

use super::stored::{Blocks, Content, Entry, Record, What, of_record};
use crate::error::{Error, Kind, Result};
use crate::limits::FREEZER_HEADER_BYTES;
use crate::time::FileTime;
use crate::tree::attributes::{Attributes, FileKind};
use std::io::BufRead;

/// How many fields a header has.
const FIELDS: usize = 20;
/// Digits of a number in a stream: those of the largest of 64 bits.
const DIGITS: usize = 20;
/// The type bits of a mode.
const TYPE_BITS: u32 = 0o170_000;
/// Those of a regular file.
const REGULAR: u32 = 0o100_000;

/// The next record; `None` at the end. Its content is what the input has next.
///
/// # Errors
/// `Damaged`, `Limit`; as the input has it.
pub(super) fn next(input: &mut impl BufRead) -> Result<Option<Record>> {
    if input.fill_buf().map_err(of_input)?.is_empty() {
        return Ok(None);
    }
    let (length, digits) = number_to_nul(input)?;
    let rest = usize::try_from(length).ok().and_then(|length| length.checked_sub(digits + 1));
    let rest = rest.ok_or_else(|| Error::damaged("no header has the length", length.to_string()))?;
    if rest > FREEZER_HEADER_BYTES {
        return Err(
            Error::new(Kind::Limit, "a header is longer than").on(format!("{FREEZER_HEADER_BYTES} bytes"))
        );
    }
    let mut header = vec![0; rest];
    input.read_exact(&mut header).map_err(of_input)?;
    let fields: Vec<&[u8]> = header.split(|&byte| byte == 0).collect();
    // The length itself is the first one.
    let fields: &[&[u8]; FIELDS - 1] = fields.as_slice().try_into().map_err(|_| {
        Error::damaged(format!("a header has {FIELDS} fields, and not"), (fields.len() + 1).to_string())
    })?;
    let what = parse(fields, input).map_err(|error| of_record(error, fields[0]))?;
    Ok(Some(Record::new(fields[0].to_vec(), what)))
}

fn parse(fields: &[&[u8]; FIELDS - 1], input: &mut impl BufRead) -> Result<What> {
    let [
        _,
        version,
        mode,
        uid,
        gid,
        size,
        mtime,
        ctime,
        user,
        group,
        kind,
        points_to,
        _,
        _,
        _,
        _,
        block,
        level,
        deleted,
    ] = fields;
    if *version != b"1" {
        let text = String::from_utf8_lossy(version).into_owned();
        return Err(Error::new(Kind::Unsupported, "a header of the version").on(text));
    }
    // No content follows, whatever else is said.
    if flag(deleted)? {
        return Ok(What::Deleted);
    }
    let mode: u32 = decimal(mode)?;
    let (kind, has_content) = match *kind {
        b"r" => (FileKind::File, true),
        b"u" if mode & TYPE_BITS == REGULAR => (FileKind::File, true),
        // Of a type that the writer did not know, and stored like a file.
        b"u" => (FileKind::Socket, true),
        b"d" => (FileKind::Directory, false),
        b"l" => (FileKind::Symlink, false),
        b"c" => (FileKind::CharDevice, false),
        b"b" => (FileKind::BlockDevice, false),
        b"p" => (FileKind::Fifo, false),
        other => return Err(Error::damaged("no type of entries is", String::from_utf8_lossy(other))),
    };
    let size_bytes: u64 = decimal(size)?;
    let is_delta = flag(level)?;
    let content = match (has_content, is_delta) {
        (false, _) => Content::None,
        (true, false) => Content::Whole,
        (true, true) => Content::Blocks(delta(input, decimal(block)?, size_bytes)?),
    };
    let attributes = Attributes {
        mode: mode & 0o7777,
        uid: decimal(uid)?,
        gid: decimal(gid)?,
        user: user.to_vec(),
        group: group.to_vec(),
        mtime: FileTime::new(decimal(mtime)?, 0),
        ctime: Some(FileTime::new(decimal(ctime)?, 0)),
        ..Attributes::default()
    };
    Ok(What::Entry(Box::new(Entry { kind, attributes, size_bytes, points_to: points_to.to_vec(), content })))
}

/// What stands in front of changed blocks: a length that is not reliable, and the numbers of the blocks.
fn delta(input: &mut impl BufRead, block_bytes: u64, size_bytes: u64) -> Result<Blocks> {
    nul(input)?;
    number_to_nul(input)?;
    let (length, _) = number_to_nul(input)?;
    // It counts one byte more than there is.
    let mut left = length.checked_sub(1).ok_or_else(|| Error::damaged("too short:", "the list of blocks"))?;
    let mut blocks = Blocks::new(Some(block_bytes))?;
    let spend = |left: &mut u64, bytes: u64| {
        *left = left.checked_sub(bytes).ok_or_else(|| Error::damaged("too long:", "the list of blocks"))?;
        Ok::<(), Error>(())
    };
    spend(&mut left, 1)?;
    nul(input)?;
    while left > 0 {
        let (number, digits) = number_to_nul(input)?;
        spend(&mut left, digits as u64 + 1)?;
        blocks.push(number)?;
    }
    blocks.close(size_bytes, None)
}

/// `1111` or `0000`.
fn flag(field: &[u8]) -> Result<bool> {
    match field {
        b"1111" => Ok(true),
        b"0000" => Ok(false),
        other => Err(Error::damaged("neither 0000 nor 1111:", String::from_utf8_lossy(other))),
    }
}

fn decimal<T: std::str::FromStr>(field: &[u8]) -> Result<T> {
    let number = std::str::from_utf8(field)
        .ok()
        .filter(|text| !text.starts_with('+'))
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::damaged("not a number that may stand here:", String::from_utf8_lossy(field)))
}

/// A number, the NUL behind it, and how many digits it had.
fn number_to_nul(input: &mut impl BufRead) -> Result<(u64, usize)> {
    let mut digits = Vec::with_capacity(DIGITS);
    loop {
        match byte(input)? {
            0 => break,
            digit if digit.is_ascii_digit() && digits.len() < DIGITS => digits.push(digit),
            _ => return Err(Error::damaged("there is no number where one", "has to be")),
        }
    }
    Ok((decimal(&digits)?, digits.len()))
}

fn nul(input: &mut impl BufRead) -> Result<()> {
    if byte(input)? != 0 {
        return Err(Error::damaged("there is no NUL where one", "has to be"));
    }
    Ok(())
}

fn byte(input: &mut impl BufRead) -> Result<u8> {
    let mut byte = [0];
    input.read_exact(&mut byte).map_err(of_input)?;
    Ok(byte[0])
}

fn of_input(error: std::io::Error) -> Error {
    Error::io("cannot read", "a record", error)
}
