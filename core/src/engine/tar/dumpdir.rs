//! The listing of a directory in an incremental archive (GNU: dumpdir): what it held, and which directories were renamed.
//!
//! A listing is a run of records `<code><name>\0`. A restore deletes what a listing does not name, so a listing that is
//! broken in any way is `Damaged` and never half used. Source: GNU tar manual, "Dumpdir"; the order that renames must keep
//! is the one GNU tar itself insists on: an `R` is followed by its `T`, and an empty name means the place an `X` has made.

use crate::error::{Error, Kind, Result};
use crate::tree::directory::lossy;
use std::borrow::Cow;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// `Y`: a file that is in this archive.
    Stored,
    /// `N`: a file that exists, unchanged, and is not in this archive.
    Kept,
    /// `D`: a directory.
    Directory,
    /// `R`: the directory of this path is renamed; the next record says to what.
    RenameFrom,
    /// `T`: the path the directory of the record before gets.
    RenameTo,
    /// `X`: the path of a folder in which a temporary place is made; an empty name in `T` and then in `R` means that place.
    Temporary,
}

impl Code {
    /// The letter in a listing.
    pub fn letter(self) -> u8 {
        match self {
            Code::Stored => b'Y',
            Code::Kept => b'N',
            Code::Directory => b'D',
            Code::RenameFrom => b'R',
            Code::RenameTo => b'T',
            Code::Temporary => b'X',
        }
    }

    /// The code of a letter.
    pub fn of_letter(letter: u8) -> Option<Code> {
        match letter {
            b'Y' => Some(Code::Stored),
            b'N' => Some(Code::Kept),
            b'D' => Some(Code::Directory),
            b'R' => Some(Code::RenameFrom),
            b'T' => Some(Code::RenameTo),
            b'X' => Some(Code::Temporary),
            _ => None,
        }
    }

    /// Whether the record is about an entry of the directory, not about a rename somewhere.
    pub fn is_entry(self) -> bool {
        matches!(self, Code::Stored | Code::Kept | Code::Directory)
    }
}

/// One record: of an entry the bare name, of a rename a path as it is stored in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says.
    pub code: Code,
    /// Of which name.
    pub name: &'a [u8],
}

/// The records of a listing (without the NUL that ends it in the archive), one by one. Nothing follows an error.
pub fn records(listing: &[u8]) -> Records<'_> {
    Records { rest: listing, order: Order::default() }
}

/// All records of a listing.
///
/// # Errors
/// `Damaged` when the syntax or the order of renames is broken; `Unsupported` for a letter that is not known.
pub fn parse(listing: &[u8]) -> Result<Vec<Record<'_>>> {
    records(listing).collect()
}

/// What a listing says of the entry `name`; renames are not entries. Looks at every record: for many look-ups [`parse`] once.
///
/// # Errors
/// As [`parse`].
pub fn lookup(listing: &[u8], name: &[u8]) -> Result<Option<Code>> {
    let mut found = None;
    for record in records(listing) {
        let record = record?;
        if record.code.is_entry() && record.name == name {
            found = Some(record.code);
        }
    }
    Ok(found)
}

/// The entries of a listing, without renames, in the order of their names; a copy only where they are not in it already.
///
/// # Errors
/// As [`parse`]; `Damaged` for a name that is there twice.
pub fn sorted(listing: &[u8]) -> Result<Cow<'_, [u8]>> {
    let (mut in_order, mut last): (bool, Option<&[u8]>) = (true, None);
    for record in records(listing) {
        let record = record?;
        in_order = in_order && record.code.is_entry() && last.is_none_or(|last| last < record.name);
        last = Some(record.name);
    }
    if in_order {
        return Ok(Cow::Borrowed(listing));
    }
    let mut entries = parse(listing)?;
    entries.retain(|record| record.code.is_entry());
    entries.sort_unstable_by_key(|record| record.name);
    if entries.windows(2).any(|pair| pair[0].name == pair[1].name) {
        return Err(broken("a name twice"));
    }
    let mut copy = Builder::new();
    for entry in entries {
        copy.push(entry.code, entry.name)?;
    }
    Ok(Cow::Owned(copy.finish()?))
}

/// Looks names up in a sorted listing; they must be asked for in the order of their bytes. Holds nothing but its place.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    records: Records<'a>,
    next: Option<Record<'a>>,
}

impl<'a> Cursor<'a> {
    /// Begins at the head of a listing that is sorted, see [`sorted`].
    pub fn new(listing: &'a [u8]) -> Self {
        Cursor { records: records(listing), next: None }
    }

    /// What the listing says of the entry `name`; `None` when it has no such entry.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn code(&mut self, name: &[u8]) -> Result<Option<Code>> {
        while self.next.is_none_or(|record| record.name < name) {
            match self.records.next().transpose()? {
                Some(record) => self.next = Some(record),
                None => return Ok(None),
            }
        }
        Ok(self.next.filter(|record| record.name == name).map(|record| record.code))
    }
}

/// Iterator over the records of a listing.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    order: Order,
}

impl<'a> Records<'a> {
    fn take(&mut self) -> Result<Record<'a>> {
        let end = self.rest.iter().position(|&b| b == 0).ok_or_else(|| broken("a record without an end"))?;
        let (record, rest) = (&self.rest[..end], &self.rest[end + 1..]);
        let (&letter, name) = record.split_first().ok_or_else(|| broken("an empty record"))?;
        let code = Code::of_letter(letter).ok_or_else(|| {
            Error::new(Kind::Unsupported, "unknown code").on(format!("{:?} in a listing", char::from(letter)))
        })?;
        self.rest = rest;
        let record = Record { code, name };
        self.order.check(record)?;
        Ok(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = match self.rest.is_empty() {
            true => match self.order.finish() {
                Ok(()) => return None,
                Err(e) => Err(e),
            },
            false => self.take(),
        };
        if result.is_err() {
            *self = records(b"");
        }
        Some(result)
    }
}

/// Where a listing is in a rename.
#[derive(Debug, Clone, Copy, Default)]
struct Order {
    rename_open: bool,
    temporary: bool,
}

impl Order {
    fn check(&mut self, record: Record<'_>) -> Result<()> {
        if self.rename_open != (record.code == Code::RenameTo) {
            return Err(broken("half a rename"));
        }
        match record.code {
            Code::Temporary if self.temporary => return Err(broken("two temporary places")),
            Code::Temporary => self.temporary = true,
            Code::RenameFrom | Code::RenameTo => self.rename(record)?,
            Code::Stored | Code::Kept | Code::Directory => check_entry(record.name)?,
        }
        Ok(())
    }

    /// What was moved to the temporary place must leave it again, and there is one such move.
    fn rename(&mut self, record: Record<'_>) -> Result<()> {
        self.rename_open = record.code == Code::RenameFrom;
        if record.name.is_empty() && !self.temporary {
            return Err(broken("a rename without a name"));
        }
        if record.name.is_empty() && self.rename_open {
            self.temporary = false;
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        match self {
            Order { rename_open: true, .. } => Err(broken("half a rename")),
            Order { temporary: true, .. } => Err(broken("a temporary place without use")),
            Order { .. } => Ok(()),
        }
    }
}

/// Whether a name can be one of a directory's entries.
///
/// # Errors
/// `Damaged`.
pub(super) fn check_entry(name: &[u8]) -> Result<()> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
        return Err(broken("an entry that is not a name"));
    }
    Ok(())
}

fn broken(what: &str) -> Error {
    Error::damaged(what, "in the listing of a directory")
}

/// A listing being written.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    bytes: Vec<u8>,
    order: Order,
}

impl Builder {
    /// An empty listing.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Appends a record. Entries should come in the order of their bytes: GNU tar searches them by halves.
    ///
    /// # Errors
    /// `Invalid` when the name has a NUL, is not a plain name (entries), or the order of renames is broken.
    pub fn push(&mut self, code: Code, name: &[u8]) -> Result<()> {
        let unusable = |what: String| Error::invalid(what, lossy(name));
        if name.contains(&0) {
            return Err(unusable("a NUL in the name".to_owned()));
        }
        self.order.check(Record { code, name }).map_err(|e| unusable(e.to_string()))?;
        self.bytes.push(code.letter());
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        Ok(())
    }

    /// Bytes of a record of this name.
    pub fn record_bytes(name: &[u8]) -> u64 {
        name.len() as u64 + 2
    }

    /// Takes what has been appended so far, so that a large listing can be written in pieces.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Bytes that are not taken yet.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The listing, without the NUL that ends it in the archive.
    ///
    /// # Errors
    /// `Invalid` when a rename was begun and not ended.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.order.finish().map_err(|e| Error::invalid("unfinished listing:", e.to_string()))?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = (Code, Vec<u8>)> {
        let code = prop_oneof![Just(Code::Stored), Just(Code::Kept), Just(Code::Directory)];
        let name = prop::collection::vec(1u8.., 1..20)
            .prop_filter("a name", |name| !name.contains(&b'/') && name != b"." && name != b"..");
        (code, name)
    }

    proptest! {
        #[test]
        fn a_listing_comes_back(entries in prop::collection::vec(entry(), 0..30)) {
            let mut builder = Builder::new();
            for (code, name) in &entries {
                builder.push(*code, name).unwrap();
            }
            let listing = builder.finish().unwrap();
            let back: Vec<_> = parse(&listing).unwrap().iter().map(|r| (r.code, r.name.to_vec())).collect();
            prop_assert_eq!(&back, &entries);
            for (_, name) in &entries {
                let last = entries.iter().rev().find(|(_, other)| other == name).unwrap().0;
                prop_assert_eq!(lookup(&listing, name).unwrap(), Some(last));
            }
        }

        #[test]
        fn what_is_read_can_be_written(listing in prop::collection::vec(
            prop_oneof![Just(0u8), Just(b'Y'), Just(b'R'), Just(b'T'), Just(b'X'), Just(b'a'), any::<u8>()], 0..40)
        ) {
            if let Ok(records) = parse(&listing) {
                let mut builder = Builder::new();
                for record in records {
                    builder.push(record.code, record.name).unwrap();
                }
                prop_assert_eq!(builder.finish().unwrap(), listing);
            }
        }
    }

    #[test]
    fn renames_keep_their_order() {
        let swap = b"X./\0R./a\0T\0R./b\0T./a\0R\0T./b\0Yc\0";
        assert_eq!(parse(swap).unwrap().len(), 8);
        for bad in
            [&b"R./a\0"[..], b"T./a\0", b"R./a\0Yb\0", b"R\0T./a\0", b"X./\0X./\0", b"X./\0", b"R./a\0R./b\0"]
        {
            assert_eq!(parse(bad).unwrap_err().kind(), Kind::Damaged, "{bad:?}");
        }
    }

    #[test]
    fn a_broken_listing_is_never_a_short_one() {
        for bad in [&b"Ya"[..], b"Ya\0\0", b"\0", b"Y\0", b"D..\0", b"Ya/b\0"] {
            assert_eq!(parse(bad).unwrap_err().kind(), Kind::Damaged, "{bad:?}");
        }
        assert_eq!(parse(b"Za\0").unwrap_err().kind(), Kind::Unsupported);
        assert!(parse(b"").unwrap().is_empty());
    }
}
