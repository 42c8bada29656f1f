//! A zip archive as a stream: what is written is never gone back to.
//!
//! Files are deflated, and their sizes follow their data (a data descriptor), since they are not known before. Where a file or the
//! archive has more than the 32 bits of the old format, the 64 bits of Zip64 are used, and only there. Names are written as they
//! are, those that are UTF-8 with the flag that says so. Owners go by number, and times by the second since 1970, in the fields of
//! Info-ZIP. The directory at the end of the archive waits in a spool, so that memory does not grow with the number of members.

use crate::error::{Error, Kind, Result};
use crate::limits::ZIP_COMPRESSED_AT_ONCE_BYTES;
use crate::spool::{Scratch, Spool};
use crate::time::FileTime;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use std::io::{self, Write};

const LOCAL_HEADER: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;

const EXTRA_ZIP64: u16 = 0x0001;
const EXTRA_TIMES: u16 = 0x5455;
const EXTRA_OWNER: u16 = 0x7875;

/// Sizes and checksum follow the data.
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_UTF_8: u16 = 1 << 11;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// Made on Unix, so that the upper half of the external attributes is a mode; by the version of the format that has Zip64.
const MADE_BY: u16 = 3 << 8 | VERSION_ZIP64;
const VERSION: u16 = 20;
const VERSION_ZIP64: u16 = 45;

/// Of the old attributes: a directory.
const DOS_DIRECTORY: u32 = 0x10;

/// A member, but for its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// What it is called; that of a directory ends with a slash. At most [`NAME_BYTES`].
    pub name: &'a [u8],
    /// Type and permissions, as `stat` has them.
    pub mode: u32,
    /// Last change of content.
    pub mtime: FileTime,
    /// The user, by number.
    pub uid: u32,
    /// The group, by number.
    pub gid: u32,
}

/// Longest name of a member.
pub(super) const NAME_BYTES: usize = u16::MAX as usize;

/// Whether a member can have this time.
pub(super) fn has_time(time: FileTime) -> bool {
    i32::try_from(time.seconds).is_ok()
}

/// Writes an archive.
pub(super) struct Writer<'o> {
    out: Out<'o>,
    encoder: DeflateEncoder<Vec<u8>>,
    open: Option<Open>,
    directory: Spool,
    members: u64,
}

/// The member whose content comes now.
struct Open {
    /// What its header in the directory has.
    record: Record,
    crc: Crc,
    /// Whether the sizes behind the data have 64 bits, which the header before it has promised.
    wide: bool,
}

/// What the directory says of a member.
struct Record {
    name: Vec<u8>,
    mode: u32,
    flags: u16,
    method: u16,
    time: [u8; 4],
    extra: Vec<u8>,
    crc: u32,
    compressed_bytes: u64,
    size_bytes: u64,
    offset: u64,
}

impl<'o> Writer<'o> {
    /// An archive without members.
    pub(super) fn new(out: &'o mut dyn Write, scratch: &Scratch) -> Self {
        Writer {
            out: Out { out, written: 0 },
            encoder: DeflateEncoder::new(Vec::new(), Compression::default()),
            open: None,
            directory: scratch.spool(),
            members: 0,
        }
    }

    /// Writes a member with this content, as it is: a directory, the target of a link, an empty file.
    pub(super) fn put(&mut self, member: &Member<'_>, content: &[u8]) -> Result<()> {
        let mut record = Record::new(member, self.out.written)?;
        let mut crc = Crc::new();
        crc.update(content);
        record.crc = crc.sum();
        (record.size_bytes, record.compressed_bytes) = (content.len() as u64, content.len() as u64);
        self.out.put(&record.local_header(false))?;
        self.out.put(content)?;
        self.enter(&record)
    }

    /// Begins a file of `size_bytes`, which [`Writer::write`] and [`Writer::end`] then must be called for.
    pub(super) fn begin(&mut self, member: &Member<'_>, size_bytes: u64) -> Result<()> {
        let mut record = Record::new(member, self.out.written)?;
        record.flags |= FLAG_DESCRIPTOR;
        record.method = DEFLATED;
        let wide = most_deflated_bytes(size_bytes) >= u64::from(u32::MAX);
        self.out.put(&record.local_header(wide))?;
        self.open = Some(Open { record, crc: Crc::new(), wide });
        Ok(())
    }

    /// Writes content of the file that was begun.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Writer { out, encoder, open, .. } = self;
        let open = open.as_mut().ok_or_else(not_begun)?;
        for part in bytes.chunks(ZIP_COMPRESSED_AT_ONCE_BYTES) {
            open.crc.update(part);
            encoder.write_all(part).map_err(cannot_compress)?;
            open.record.size_bytes = open.record.size_bytes.saturating_add(part.len() as u64);
            open.record.compressed_bytes += out.put(encoder.get_ref())?;
            encoder.get_mut().clear();
        }
        Ok(())
    }

    /// Ends the file that was begun.
    pub(super) fn end(&mut self) -> Result<()> {
        let mut open = self.open.take().ok_or_else(not_begun)?;
        let rest = self.encoder.reset(Vec::new()).map_err(cannot_compress)?;
        open.record.compressed_bytes += self.out.put(&rest)?;
        open.record.crc = open.crc.sum();
        let sizes = [open.record.compressed_bytes, open.record.size_bytes];
        let mut descriptor = Fields::default().u32(DESCRIPTOR).u32(open.record.crc);
        for size in sizes {
            descriptor = match (open.wide, u32::try_from(size)) {
                (true, _) => descriptor.u64(size),
                (false, Ok(size)) => descriptor.u32(size),
                (false, Err(_)) => return Err(Error::invalid("longer than it was said to be:", "a file")),
            };
        }
        self.out.put(&descriptor.0)?;
        self.enter(&open.record)
    }

    /// Writes the directory; the archive is whole.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.open.is_some() {
            return Err(Error::invalid("not ended:", "a file in a zip archive"));
        }
        let (offset, size_bytes) = (self.out.written, self.directory.len());
        self.directory.rewind()?;
        io::copy(&mut self.directory, &mut self.out).map_err(cannot_write)?;
        self.out.put(&end(self.members, size_bytes, offset))?;
        self.out.flush().map_err(cannot_write)
    }

    /// Puts a member into the directory.
    fn enter(&mut self, record: &Record) -> Result<()> {
        self.members += 1;
        let header = record.central_header();
        self.directory.write_all(&header).map_err(|e| Error::io("cannot write", "a temporary file", e))
    }
}

/// The most that deflate makes of so many bytes: five bytes more for every block that does not compress.
fn most_deflated_bytes(size_bytes: u64) -> u64 {
    size_bytes.saturating_add(size_bytes / 1000).saturating_add(1024)
}

impl Record {
    fn new(member: &Member<'_>, offset: u64) -> Result<Record> {
        if member.name.len() > NAME_BYTES {
            return Err(Error::new(Kind::Limit, "too long a name for a zip archive"));
        }
        let is_utf_8 = !member.name.is_ascii() && std::str::from_utf8(member.name).is_ok();
        let mut extra = Fields::default();
        if let Ok(seconds) = i32::try_from(member.mtime.seconds) {
            // The one time that follows is that of the last change.
            extra = extra.u16(EXTRA_TIMES).u16(5).u8(1).u32(seconds.cast_unsigned());
        }
        extra = extra.u16(EXTRA_OWNER).u16(11).u8(1).u8(4).u32(member.uid).u8(4).u32(member.gid);
        Ok(Record {
            name: member.name.to_vec(),
            mode: member.mode,
            flags: if is_utf_8 { FLAG_UTF_8 } else { 0 },
            method: STORED,
            time: dos_time(member.mtime),
            extra: extra.0,
            crc: 0,
            compressed_bytes: 0,
            size_bytes: 0,
            offset,
        })
    }

    /// The header before the data; with `wide` one that promises 64 bits behind it.
    fn local_header(&self, wide: bool) -> Vec<u8> {
        // What follows the data is zero here, but in 64 bits it is told by a size that stands for them.
        let small = |size: u64| if wide { u32::MAX } else { size as u32 };
        let zip64 =
            if wide { Fields::default().u16(EXTRA_ZIP64).u16(16).u64(0).u64(0) } else { Fields::default() };
        let header = Fields::default()
            .u32(LOCAL_HEADER)
            .u16(if wide { VERSION_ZIP64 } else { VERSION })
            .u16(self.flags)
            .u16(self.method)
            .bytes(&self.time)
            .u32(self.crc)
            .u32(small(self.compressed_bytes))
            .u32(small(self.size_bytes))
            .u16(self.name.len() as u16)
            .u16((zip64.0.len() + self.extra.len()) as u16);
        header.bytes(&self.name).bytes(&zip64.0).bytes(&self.extra).0
    }

    fn central_header(&self) -> Vec<u8> {
        let mut zip64 = Fields::default();
        // In this order; each only where 32 bits are not enough.
        let small =
            [self.size_bytes, self.compressed_bytes, self.offset].map(|number| match u32::try_from(number) {
                Ok(number) if number < u32::MAX => number,
                _ => {
                    zip64.0.extend_from_slice(&number.to_le_bytes());
                    u32::MAX
                }
            });
        let [size_bytes, compressed_bytes, offset] = small;
        let is_wide = !zip64.0.is_empty();
        let zip64 = match zip64.0 {
            fields if fields.is_empty() => fields,
            fields => Fields::default().u16(EXTRA_ZIP64).u16(fields.len() as u16).bytes(&fields).0,
        };
        let is_directory = self.name.ends_with(b"/");
        let header = Fields::default()
            .u32(CENTRAL_HEADER)
            .u16(MADE_BY)
            .u16(if is_wide { VERSION_ZIP64 } else { VERSION })
            .u16(self.flags)
            .u16(self.method)
            .bytes(&self.time)
            .u32(self.crc)
            .u32(compressed_bytes)
            .u32(size_bytes)
            .u16(self.name.len() as u16)
            .u16((zip64.len() + self.extra.len()) as u16)
            // No comment, the first disk, no text that is known as such.
            .u16(0)
            .u16(0)
            .u16(0)
            .u32(self.mode << 16 | if is_directory { DOS_DIRECTORY } else { 0 })
            .u32(offset);
        header.bytes(&self.name).bytes(&zip64).bytes(&self.extra).0
    }
}

/// What stands behind the directory, which has so many bytes and begins at `offset`.
fn end(members: u64, size_bytes: u64, offset: u64) -> Vec<u8> {
    let short = u16::try_from(members).unwrap_or(u16::MAX);
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let mut fields = Fields::default();
    if short == u16::MAX || small(size_bytes) == u32::MAX || small(offset) == u32::MAX {
        fields = fields
            .u32(END_64)
            // The bytes of it from here on.
            .u64(44)
            .u16(MADE_BY)
            .u16(VERSION_ZIP64)
            .u32(0)
            .u32(0)
            .u64(members)
            .u64(members)
            .u64(size_bytes)
            .u64(offset)
            .u32(END_64_LOCATOR)
            .u32(0)
            .u64(offset.saturating_add(size_bytes))
            .u32(1);
    }
    let fields = fields.u32(END).u16(0).u16(0).u16(short).u16(short);
    fields.u32(small(size_bytes)).u32(small(offset)).u16(0).0
}

/// The time of the old format, in steps of two seconds: that of UTC, since no zone is known here. Whoever reads the field with the
/// seconds since 1970 never looks at it.
fn dos_time(time: FileTime) -> [u8; 4] {
    const FIRST: [u8; 4] = [0, 0, 0x21, 0];
    let Ok(time) = jiff::Timestamp::from_second(time.seconds) else { return FIRST };
    let time = jiff::tz::TimeZone::UTC.to_datetime(time);
    let Ok(year) = u16::try_from(i32::from(time.year()) - 1980) else { return FIRST };
    let number = |number: i8| u16::from(number.unsigned_abs());
    let date = year.min(127) << 9 | number(time.month()) << 5 | number(time.day());
    let clock = number(time.hour()) << 11 | number(time.minute()) << 5 | (number(time.second()) / 2);
    let ([a, b], [c, d]) = (clock.to_le_bytes(), date.to_le_bytes());
    [a, b, c, d]
}

/// Numbers and bytes, one after the other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u8(self, number: u8) -> Self {
        self.bytes(&[number])
    }

    fn u16(self, number: u16) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn u32(self, number: u32) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn u64(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }
}

/// Where the archive goes, and how much of it has gone there.
struct Out<'o> {
    out: &'o mut dyn Write,
    written: u64,
}

impl Out<'_> {
    /// Writes all of it, and says how much that is.
    fn put(&mut self, bytes: &[u8]) -> Result<u64> {
        self.write_all(bytes).map_err(cannot_write)?;
        Ok(bytes.len() as u64)
    }
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written = self.written.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn not_begun() -> Error {
    Error::invalid("not begun:", "a file in a zip archive")
}

fn cannot_write(error: io::Error) -> Error {
    Error::io("cannot write", "the archive", error)
}

fn cannot_compress(error: io::Error) -> Error {
    Error::io("cannot compress", "a file in a zip archive", error)
}

#[cfg(test)]
mod tests;
