//! PAX records, `<length> <key>=<value>\n`: what a header of fixed fields cannot hold.
//!
//! Records are taken from the archive one by one, so that only the values that matter are in memory, each within its own
//! limit; unknown keys are passed over, as POSIX asks. Values are raw bytes: no character set is ever converted. Sources:
//! POSIX.1-2017 `pax` ("pax Extended Header"), GNU tar manual ("Sparse Formats", "Extended File Attributes"), star(5).

use super::input::{Body, Input, decimal};
use super::member::Region;
use super::sparse::Map;
use crate::error::{Error, Kind, Result};
use crate::limits::{DUMPDIR_BYTES, PATH_BYTES, PAX_BYTES, SPARSE_REGIONS, XATTR_BYTES};
use crate::time::FileTime;
use crate::tree::attributes::Xattrs;
use std::io::Read;

/// Longest key; the longest the kernel allows for an attribute is 255, each byte of which may be escaped.
const KEY_BYTES: usize = 1024;
/// The text of a sparse map: two numbers of at most twenty digits, and their commas, for each region.
const MAP_BYTES: u64 = (SPARSE_REGIONS as u64 + 1) * 2 * 21;

/// The key of an extended attribute is this and its name.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// The key of an access list, as text.
pub const ACL_ACCESS: &[u8] = b"SCHILY.acl.access";
/// The key of the access list that new entries of a directory get, as text.
pub const ACL_DEFAULT: &[u8] = b"SCHILY.acl.default";

/// The values that matter of one or more sets of records; `None` where the header's own value holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// The name.
    pub path: Option<Vec<u8>>,
    /// The target of a link.
    pub link: Option<Vec<u8>>,
    /// Bytes stored behind the header.
    pub size_bytes: Option<u64>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Owner by name.
    pub user: Option<Vec<u8>>,
    /// Group by name.
    pub group: Option<Vec<u8>>,
    /// Last change of content.
    pub mtime: Option<FileTime>,
    /// Last access.
    pub atime: Option<FileTime>,
    /// Last change of attributes.
    pub ctime: Option<FileTime>,
    /// Extended attributes, in the order they came; a later one replaces an earlier one of the same name.
    pub xattrs: Xattrs,
    /// Access list, as text.
    pub acl_access: Option<Vec<u8>>,
    /// Access list for new entries, as text.
    pub acl_default: Option<Vec<u8>>,
    /// The body of a directory's listing, with its final NUL.
    pub listing: Option<Vec<u8>>,
    /// Whether the member is the rest of one that began on another volume.
    pub continued: bool,
    /// Where the holes of a file are.
    pub sparse: Sparse,
    kept_bytes: usize,
}

/// What the three PAX forms of sparse files (0.0, 0.1 and 1.0) say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sparse {
    /// Form 1.x, whose map stands before the data.
    pub major: Option<u64>,
    /// With `major`: 0.
    pub minor: Option<u64>,
    /// The name of the file; the member's own is made up.
    pub name: Option<Vec<u8>>,
    /// The length of the file.
    pub size_bytes: Option<u64>,
    /// The map of forms 0.0 and 0.1.
    pub map: Option<Map>,
    /// An offset whose length has not come yet (0.0).
    offset: Option<u64>,
}

impl Records {
    /// Adds all records of a body; a key that was there already is replaced.
    ///
    /// # Errors
    /// `Damaged` when the syntax or the value of a known key is broken, `Limit` when there is too much, I/O.
    pub fn read<R: Read>(&mut self, body: &mut Body<'_, R>) -> Result<()> {
        while body.left_bytes() > 0 {
            self.record(body)?;
        }
        Ok(())
    }

    /// As [`Records::read`], of bytes in memory.
    ///
    /// # Errors
    /// As [`Records::read`].
    pub fn parse(bytes: &[u8]) -> Result<Records> {
        let mut records = Records::default();
        records.read(&mut Input::new(bytes).body(bytes.len() as u64))?;
        Ok(records)
    }

    /// What of these records may hold for many members: nothing that belongs to one.
    #[must_use]
    pub fn for_all_members(self) -> Records {
        Records { path: None, link: None, size_bytes: None, listing: None, sparse: Sparse::default(), ..self }
    }

    fn record<R: Read>(&mut self, body: &mut Body<'_, R>) -> Result<()> {
        let left = body.left_bytes();
        let length = body.number(b' ')?;
        let key = body.until(b'=', KEY_BYTES)?;
        let before = left - body.left_bytes();
        let value_bytes =
            length.checked_sub(before + 1).ok_or_else(|| body.damaged("a PAX record too short"))?;
        if is_known(&key) {
            let value = body.take(value_bytes, value_limit(&key))?;
            self.set(&key, value)
                .map_err(|e| e.while_doing("in the record", key.escape_ascii().to_string()))?;
        } else {
            body.skip(value_bytes)?;
        }
        if body.take(1, 1)? != b"\n" {
            return Err(body.damaged("a PAX record of the wrong length"));
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: Vec<u8>) -> Result<()> {
        if key != b"GNU.dumpdir" && !key.starts_with(b"GNU.sparse.") {
            self.kept_bytes = self.kept_bytes.saturating_add(key.len()).saturating_add(value.len());
            if self.kept_bytes > PAX_BYTES {
                return Err(Error::new(Kind::Limit, "more PAX records than").on(format!("{PAX_BYTES} bytes")));
            }
        }
        if let Some(name) = key.strip_prefix(XATTR) {
            self.xattrs.push((decode_name(name), value));
            return Ok(());
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.set(key, value);
        }
        match key {
            b"path" => self.path = unless_empty(value),
            b"linkpath" => self.link = unless_empty(value),
            b"size" => self.size_bytes = optional(&value, decimal)?,
            b"uid" => self.uid = optional(&value, owner)?,
            b"gid" => self.gid = optional(&value, owner)?,
            b"uname" => self.user = unless_empty(value),
            b"gname" => self.group = unless_empty(value),
            b"mtime" => self.mtime = optional(&value, parse_time)?,
            b"atime" => self.atime = optional(&value, parse_time)?,
            b"ctime" => self.ctime = optional(&value, parse_time)?,
            ACL_ACCESS => self.acl_access = unless_empty(value),
            ACL_DEFAULT => self.acl_default = unless_empty(value),
            b"GNU.dumpdir" => self.listing = unless_empty(value),
            b"GNU.volume.offset" => self.continued = true,
            _ => {}
        }
        Ok(())
    }
}

impl Sparse {
    /// Whether the member is a sparse file at all.
    pub fn is_some(&self) -> bool {
        self.major.is_some() || self.map.is_some() || self.size_bytes.is_some()
    }

    fn set(&mut self, key: &[u8], value: Vec<u8>) -> Result<()> {
        match key {
            b"major" => self.major = optional(&value, decimal)?,
            b"minor" => self.minor = optional(&value, decimal)?,
            b"name" => self.name = unless_empty(value),
            b"size" | b"realsize" => self.size_bytes = optional(&value, decimal)?,
            // The number of regions: those that come are counted, and their bytes compared with what is stored.
            b"numblocks" => self.map = Some(Map::default()),
            b"offset" => self.offset = optional(&value, decimal)?,
            b"numbytes" => {
                let offset = self.offset.take().ok_or_else(unusable)?;
                self.region(offset, decimal(&value).ok_or_else(unusable)?)?;
            }
            b"map" => self.map_text(&value)?,
            _ => {}
        }
        Ok(())
    }

    fn map_text(&mut self, text: &[u8]) -> Result<()> {
        self.map = Some(Map::default());
        let mut numbers = text.split(|&b| b == b',').map(decimal);
        // An empty map is an empty value.
        while let Some(offset) = numbers.next().filter(|_| !text.is_empty()) {
            let length = numbers.next().flatten();
            self.region(offset.ok_or_else(unusable)?, length.ok_or_else(unusable)?)?;
        }
        Ok(())
    }

    fn region(&mut self, offset: u64, length: u64) -> Result<()> {
        self.map.get_or_insert_default().push(offset, length)
    }
}

fn is_known(key: &[u8]) -> bool {
    const KEYS: [&[u8]; 14] = [
        b"path",
        b"linkpath",
        b"size",
        b"uid",
        b"gid",
        b"uname",
        b"gname",
        b"mtime",
        b"atime",
        b"ctime",
        ACL_ACCESS,
        ACL_DEFAULT,
        b"GNU.dumpdir",
        b"GNU.volume.offset",
    ];
    KEYS.contains(&key) || key.starts_with(XATTR) || key.starts_with(b"GNU.sparse.")
}

fn value_limit(key: &[u8]) -> u64 {
    match key {
        b"path" | b"linkpath" | b"GNU.sparse.name" => PATH_BYTES as u64,
        b"GNU.dumpdir" => DUMPDIR_BYTES,
        b"GNU.sparse.map" => MAP_BYTES,
        key if key.starts_with(XATTR) => XATTR_BYTES as u64,
        ACL_ACCESS | ACL_DEFAULT => XATTR_BYTES as u64,
        _ => KEY_BYTES as u64,
    }
}

fn unusable() -> Error {
    Error::new(Kind::Damaged, "unusable value")
}

/// An empty value takes back what an earlier record said.
fn unless_empty(value: Vec<u8>) -> Option<Vec<u8>> {
    (!value.is_empty()).then_some(value)
}

fn optional<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some).ok_or_else(unusable) }
}

fn owner(text: &[u8]) -> Option<u32> {
    decimal(text)?.try_into().ok()
}

/// A time as seconds with an optional fraction: `-0.5` is half a second before the epoch. What is finer than a nanosecond
/// is rounded towards the past.
pub fn parse_time(text: &[u8]) -> Option<FileTime> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&b| b == b'.');
    let whole = i128::from(decimal(parts.next()?)?);
    let fraction = parts.next().unwrap_or(b"");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| u32::from(fraction.get(at).map_or(0, |b| b - b'0'));
    let mut nanoseconds = (0..9).fold(0, |value, at| value * 10 + digit(at));
    let finer = fraction.iter().skip(9).any(|&b| b != b'0');
    if !negative {
        return Some(FileTime::new(whole.try_into().ok()?, nanoseconds));
    }
    nanoseconds += u32::from(finer);
    // Time counts forward: -1.25 is 0.75 after -2.
    let (seconds, nanoseconds) = match nanoseconds {
        0 => (-whole, 0),
        1_000_000_000 => (-whole - 1, 0),
        _ => (-whole - 1, 1_000_000_000 - nanoseconds),
    };
    Some(FileTime::new(seconds.try_into().ok()?, nanoseconds))
}

/// The text [`parse_time`] reads.
pub fn time_text(time: FileTime) -> String {
    let FileTime { seconds, nanoseconds } = time;
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, whole, nanoseconds) = match seconds < 0 {
        true => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds),
        false => ("", seconds.unsigned_abs(), nanoseconds),
    };
    let text = format!("{sign}{whole}.{nanoseconds:09}");
    text.trim_end_matches('0').to_owned()
}

/// A set of records being written.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// Appends a record. A key must not hold `=`.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(!key.contains(&b'='));
        let without = key.len() + value.len() + 3;
        // The length counts its own digits, and one more digit may make it need one more.
        let mut length = without + digits(without);
        if digits(length) > digits(without) {
            length = without + digits(length);
        }
        self.bytes.extend_from_slice(format!("{length} ").as_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }

    /// Appends a record with a number.
    pub fn push_number(&mut self, key: &[u8], value: u64) {
        self.push(key, value.to_string().as_bytes());
    }

    /// Appends a record with a time.
    pub fn push_time(&mut self, key: &[u8], time: FileTime) {
        self.push(key, time_text(time).as_bytes());
    }

    /// Appends a record with an extended attribute.
    pub fn push_xattr(&mut self, name: &[u8], value: &[u8]) {
        self.push(&[XATTR, &encode_name(name)].concat(), value);
    }

    /// The records; empty when there are none.
    ///
    /// # Errors
    /// `Limit` beyond [`PAX_BYTES`].
    pub fn finish(self) -> Result<Vec<u8>> {
        if self.bytes.len() > PAX_BYTES {
            let error = Error::new(Kind::Limit, "more attributes than").on(format!("{PAX_BYTES} bytes"));
            return Err(error);
        }
        Ok(self.bytes)
    }
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// The name of an attribute as part of a key, which ends at the first `=`.
fn encode_name(name: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'%' => encoded.extend_from_slice(b"%25"),
            b'=' => encoded.extend_from_slice(b"%3D"),
            _ => encoded.push(byte),
        }
    }
    encoded
}

/// Takes back [`encode_name`], and nothing else that looks like it.
fn decode_name(mut encoded: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(encoded.len());
    while let Some((&byte, rest)) = encoded.split_first() {
        let (byte, rest) = match (byte, rest) {
            (b'%', [b'2', b'5', rest @ ..]) => (b'%', rest),
            (b'%', [b'3', b'D', rest @ ..]) => (b'=', rest),
            (byte, rest) => (byte, rest),
        };
        name.push(byte);
        encoded = rest;
    }
    name
}

/// The text of a sparse map in form 1.0, without padding: the number of regions, then offset and length of each. A hole at
/// the end of the file (or a file of nothing else) is a region of no length there: GNU tar sets the length of the file by it.
pub fn sparse_map_text(regions: &[Region], size_bytes: u64) -> String {
    use std::fmt::Write;
    let data_ends = regions.last().map_or(0, |(offset, length)| offset.saturating_add(*length));
    let hole = (regions.is_empty() || data_ends < size_bytes).then_some((size_bytes, 0));
    let mut text = format!("{}\n", regions.len() + usize::from(hole.is_some()));
    for (offset, length) in regions.iter().chain(&hole) {
        write!(text, "{offset}\n{length}\n").expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times() -> impl Strategy<Value = FileTime> {
        (any::<i64>(), 0u32..1_000_000_000)
            .prop_map(|(seconds, nanoseconds)| FileTime::new(seconds, nanoseconds))
    }

    proptest! {
        #[test]
        fn a_time_comes_back(time in times()) {
            prop_assert_eq!(parse_time(time_text(time).as_bytes()), Some(time));
        }

        #[test]
        fn a_record_comes_back(
            name in prop::collection::vec(1u8.., 1..200),
            value in prop::collection::vec(any::<u8>(), 0..2000),
            path in prop::collection::vec(any::<u8>(), 1..300),
        ) {
            let mut builder = Builder::default();
            builder.push_xattr(&name, &value);
            builder.push(b"comment", &value);
            builder.push(b"path", &path);
            let records = Records::parse(&builder.finish().unwrap()).unwrap();
            prop_assert_eq!(records.xattrs, vec![(name, value)]);
            prop_assert_eq!(records.path, Some(path));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop_oneof![Just(b' '), Just(b'='), Just(b'\n'), b'0'..=b'9', any::<u8>()], 0..60)) {
            if let Err(e) = Records::parse(&bytes) {
                prop_assert!(matches!(e.kind(), Kind::Damaged | Kind::Limit));
            }
        }
    }

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for value_len in [0, 1, 85, 86, 87, 88, 89, 90, 91, 985, 986, 987, 988, 989, 990, 9_990] {
            let mut builder = Builder::default();
            builder.push(b"comment", &vec![b'v'; value_len]);
            let bytes = builder.finish().unwrap();
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert_eq!(text.split(' ').next().unwrap().parse::<usize>().unwrap(), bytes.len());
            assert!(Records::parse(&bytes).is_ok());
        }
    }

    #[test]
    fn times_before_the_epoch_and_finer_than_a_nanosecond() {
        let cases: [(&str, Option<(i64, u32)>); 13] = [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.", Some((1, 0))),
            ("-1", Some((-1, 0))),
            ("-0.5", Some((-1, 500_000_000))),
            ("-1.25", Some((-2, 750_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("-1.0000000001", Some((-2, 999_999_999))),
            ("-0.9999999999", Some((-1, 0))),
            ("", None),
            ("1.-5", None),
            ("--1", None),
            ("9223372036854775808", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(seconds, nanoseconds)| FileTime::new(seconds, nanoseconds));
            assert_eq!(parse_time(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn broken_records_are_damaged() {
        for bad in [
            &b"5 a=b\n"[..],
            b"7 a=b\n",
            b"6 a=b",
            b"x a=b\n",
            b"6 ab\n\n",
            b" a=b\n",
            b"99999999999999999999 a=b\n",
        ] {
            assert_eq!(Records::parse(bad).unwrap_err().kind(), Kind::Damaged, "{bad:?}");
        }
        for bad in [&b"11 size=-1\n"[..], b"18 uid=9999999999\n", b"11 mtime=x\n", b"22 GNU.sparse.size=x\n"]
        {
            assert_eq!(Records::parse(bad).unwrap_err().kind(), Kind::Damaged, "{bad:?}");
        }
    }

    #[test]
    fn an_empty_value_takes_an_earlier_one_back() {
        let records = Records::parse(b"10 path=a\n8 path=\n9 uname=\n").unwrap();
        assert_eq!((records.path, records.user), (None, None));
    }

    #[test]
    fn an_announced_gigabyte_takes_no_memory() {
        let error = Records::parse(b"999999999 GNU.dumpdir=Ya\0\n").unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged);
        assert_eq!(Records::parse(b"999999999999 path=a\n").unwrap_err().kind(), Kind::Limit);
    }
}
