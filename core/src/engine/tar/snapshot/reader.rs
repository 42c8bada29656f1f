//! Reads a snapshot file record by record.

use super::{Directory, Record, damaged};
use crate::engine::tar::dumpdir::{self, Code, check_entry};
use crate::error::{Error, Kind, Result};
use crate::limits::{DUMPDIR_BYTES, PATH_BYTES};
use crate::time::FileTime;
use std::io::{BufRead, Read};

/// Longest first line.
const FIRST_LINE_BYTES: usize = 128;
/// Longest number, with its sign.
const NUMBER_BYTES: usize = 21;

/// A snapshot file being read.
pub struct SnapshotReader<R> {
    source: R,
    start: FileTime,
}

impl<R: BufRead> SnapshotReader<R> {
    /// Reads the head of the file.
    ///
    /// # Errors
    /// `Unsupported` for formats 0 and 1; `Damaged` when it is no snapshot file; I/O.
    pub fn new(mut source: R) -> Result<Self> {
        let start = read_head(&mut source)?;
        Ok(SnapshotReader { source, start })
    }

    /// When the backup was started.
    pub fn start(&self) -> FileTime {
        self.start
    }

    /// The next record; `None` at the end of the file. After an error there is nothing more to be had.
    ///
    /// # Errors
    /// `Damaged`, `Limit`, I/O.
    #[expect(clippy::should_implement_trait, reason = "of the same shape as the archive's reader")]
    pub fn next(&mut self) -> Result<Option<Record>> {
        read_record(&mut self.source)
    }
}

/// Reads the first line and the start of the backup.
///
/// # Errors
/// As [`SnapshotReader::new`].
pub(super) fn read_head(source: &mut impl BufRead) -> Result<FileTime> {
    let mut line = Vec::new();
    read_until(source, b'\n', &mut line, FIRST_LINE_BYTES)?;
    if line.pop() != Some(b'\n') {
        return Err(damaged("no first line"));
    }
    check_format(&line)?;
    read_time(source)
}

/// `GNU tar-<version>-<format>`; format 0 has a time in the place of this line.
fn check_format(line: &[u8]) -> Result<()> {
    let old = |format: &str| Error::new(Kind::Unsupported, "snapshot file of format").on(format);
    if !line.is_empty() && line.iter().all(u8::is_ascii_digit) {
        return Err(old("0"));
    }
    let versions = line.strip_prefix(b"GNU tar-").ok_or_else(|| damaged("an unknown first line"))?;
    match versions.iter().position(|&b| b == b'-').map(|dash| &versions[dash + 1..]) {
        Some(b"2") => Ok(()),
        Some(format) if !format.is_empty() => Err(old(&format.escape_ascii().to_string())),
        _ => Err(damaged("an unknown first line")),
    }
}

/// Reads a record; `None` where the source ends before it.
///
/// # Errors
/// As [`SnapshotReader::next`].
pub(super) fn read_record(source: &mut impl BufRead) -> Result<Option<Record>> {
    let Some(directory) = read_directory(source)? else { return Ok(None) };
    let mut listing = Vec::new();
    read_entries(source, &mut |entry| {
        listing.push(entry.code.letter());
        listing.extend_from_slice(entry.name);
        listing.push(0);
        Ok(())
    })?;
    Ok(Some(Record { directory, listing }))
}

/// Reads the head of a record, behind which [`read_entries`] goes on; `None` where the source ends before it.
///
/// # Errors
/// As [`SnapshotReader::next`].
pub(super) fn read_directory(source: &mut impl BufRead) -> Result<Option<Directory>> {
    let Some(nfs) = read_field(source, NUMBER_BYTES)? else { return Ok(None) };
    let nfs = match nfs.as_slice() {
        b"0" => false,
        b"1" => true,
        _ => return Err(damaged("an unusable flag")),
    };
    let mtime = read_time(source)?;
    let (device, inode) = (read_id(source)?, read_id(source)?);
    let name = need(read_field(source, PATH_BYTES)?)?;
    if name.is_empty() {
        return Err(damaged("a directory without a name"));
    }
    Ok(Some(Directory { nfs, mtime, device, inode, name }))
}

/// Reads entries up to the empty string, and the NUL behind it; hands each on and keeps none.
///
/// # Errors
/// As [`SnapshotReader::next`], and those of `entry`.
pub(super) fn read_entries(
    source: &mut impl BufRead,
    entry: &mut dyn FnMut(dumpdir::Record<'_>) -> Result<()>,
) -> Result<()> {
    let mut left = usize::try_from(DUMPDIR_BYTES).unwrap_or(usize::MAX);
    let mut record = Vec::new();
    loop {
        record.clear();
        read_until(source, 0, &mut record, left)?;
        left = left.saturating_sub(record.len());
        match record.as_slice() {
            b"\0" => break,
            [letter, name @ .., 0] => {
                let code = Code::of_letter(*letter).filter(|code| code.is_entry());
                let code = code.ok_or_else(|| damaged("an unusable entry"))?;
                check_entry(name)?;
                entry(dumpdir::Record { code, name })?;
            }
            _ => return Err(damaged("an unusable entry")),
        }
    }
    if need(read_field(source, 0)?)?.is_empty() { Ok(()) } else { Err(damaged("a record without an end")) }
}

fn read_time(source: &mut impl BufRead) -> Result<FileTime> {
    let seconds = i64::try_from(read_number(source)?).map_err(|_| damaged("an unusable time"))?;
    let nanoseconds = u32::try_from(read_number(source)?).ok().filter(|&n| n < 1_000_000_000);
    Ok(FileTime::new(seconds, nanoseconds.ok_or_else(|| damaged("an unusable time"))?))
}

/// A number of 64 bits that some systems write with a sign.
fn read_id(source: &mut impl BufRead) -> Result<u64> {
    let number = read_number(source)?;
    let negative = i64::try_from(number).map(i64::cast_unsigned);
    u64::try_from(number).or(negative).map_err(|_| damaged("an unusable device or inode"))
}

fn read_number(source: &mut impl BufRead) -> Result<i128> {
    let text = need(read_field(source, NUMBER_BYTES)?)?;
    let digits = text.strip_prefix(b"-").unwrap_or(&text);
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(&text).ok().filter(|_| plain).and_then(|text| text.parse().ok());
    number.ok_or_else(|| damaged("an unusable number"))
}

fn need<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| damaged("a record without an end"))
}

/// The string that ends with the next NUL, without it; `None` where the source ends before it begins.
fn read_field(source: &mut impl BufRead, limit_bytes: usize) -> Result<Option<Vec<u8>>> {
    let mut field = Vec::new();
    read_until(source, 0, &mut field, limit_bytes)?;
    match field.pop() {
        None => Ok(None),
        Some(0) => Ok(Some(field)),
        Some(_) => Err(damaged("a record without an end")),
    }
}

/// Appends what comes up to and with `end`, which is missing only where the source ends.
fn read_until(source: &mut impl BufRead, end: u8, into: &mut Vec<u8>, limit_bytes: usize) -> Result<()> {
    let limit = limit_bytes as u64 + 1;
    let taken = source.take(limit).read_until(end, into);
    let taken = taken.map_err(|e| Error::io("cannot read", "the snapshot file", e))?;
    if taken as u64 == limit && into.last() != Some(&end) {
        return Err(
            Error::new(Kind::Limit, "a field of the snapshot file longer than").on(limit_bytes.to_string())
        );
    }
    Ok(())
}
