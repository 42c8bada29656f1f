//! The names of one directory, as compact as they can be kept: one arena of bytes and eight bytes an entry, so that a
//! directory of a million files costs some thirty megabytes.
//!
//! Invariant: names are strictly ascending by their raw bytes. A listing is whole or it is an error; one that broke off half
//! way would pass for deletions.

use super::attributes::FileKind;
use super::directory::Directory;
use crate::error::{Error, Kind, Result};
use crate::limits::{LISTING_BYTES, LISTING_READ_BYTES};
use rustix::fs::{FileType, RawDir, SeekFrom};
use std::mem::MaybeUninit;

/// One name of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The raw name: any bytes but NUL and `/`.
    pub name: &'a [u8],
    /// What the entry is; `None` where the file system did not say (a `stat` does).
    pub kind: Option<FileKind>,
}

impl Entry<'_> {
    /// Whether this is known to be a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Some(FileKind::Directory)
    }
}

/// Where an entry's name lies in the arena, and its kind.
#[derive(Debug, Clone, Copy)]
struct Row {
    offset: u32,
    length: u16,
    kind: Option<FileKind>,
}

const _: () = assert!(size_of::<Row>() == 8);

/// The names of one directory, sorted by raw bytes.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    names: Vec<u8>,
    rows: Vec<Row>,
}

impl Listing {
    /// A listing without names.
    pub fn empty() -> Self {
        Listing::default()
    }

    /// Reads all names of a directory but `.` and `..`, from its start, whatever was read from the handle before.
    ///
    /// # Errors
    /// As the system has it, also half way; `Limit` beyond [`LISTING_BYTES`] of names. The subject is `.`: callers put the path.
    pub fn read(directory: &Directory) -> Result<Self> {
        let failed = |e| Error::io("cannot list", ".", e);
        rustix::fs::seek(directory, SeekFrom::Start(0)).map_err(failed)?;
        let mut buffer = [MaybeUninit::uninit(); LISTING_READ_BYTES];
        let mut source = RawDir::new(directory, &mut buffer);
        let mut listing = Listing::empty();
        while let Some(entry) = source.next() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                listing.push(name, kind_of(entry.file_type()))?;
            }
        }
        listing.settle();
        Ok(listing)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The entry at `index`, counted from 0 in the order of names.
    pub fn get(&self, index: usize) -> Option<Entry<'_>> {
        self.rows.get(index).map(|row| self.entry(row))
    }

    /// The entry called `name`.
    pub fn find(&self, name: &[u8]) -> Option<Entry<'_>> {
        let index = self.rows.binary_search_by(|row| self.entry(row).name.cmp(name)).ok()?;
        self.get(index)
    }

    /// All entries in the order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.rows.iter().map(|row| self.entry(row))
    }

    /// Takes out every entry for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(Entry<'_>) -> bool) {
        let names = &self.names;
        self.rows.retain(|row| keep(entry_of(names, row)));
    }

    /// Asks `kind` for the kind of every entry of which the file system did not tell it.
    pub fn resolve(&mut self, mut kind: impl FnMut(&[u8]) -> FileKind) {
        let names = &self.names;
        for row in self.rows.iter_mut().filter(|row| row.kind.is_none()) {
            row.kind = Some(kind(entry_of(names, row).name));
        }
    }

    /// Asks `kind` what every symbolic link counts as; `None` for what it is.
    pub fn follow(&mut self, mut kind: impl FnMut(&[u8]) -> Option<FileKind>) {
        let names = &self.names;
        for row in self.rows.iter_mut().filter(|row| row.kind == Some(FileKind::Symlink)) {
            row.kind = kind(entry_of(names, row).name).or(row.kind);
        }
    }

    /// A listing of the sub-directories alone, no larger than they need.
    pub fn directories(&self) -> Listing {
        let mut directories = Listing::empty();
        for row in self.rows.iter().filter(|row| row.kind == Some(FileKind::Directory)) {
            // A part of the arena: its offsets cannot pass what the whole has room for.
            let offset = directories.names.len() as u32;
            directories.names.extend_from_slice(self.entry(row).name);
            directories.rows.push(Row { offset, ..*row });
        }
        directories
    }

    fn entry(&self, row: &Row) -> Entry<'_> {
        entry_of(&self.names, row)
    }

    fn push(&mut self, name: &[u8], kind: Option<FileKind>) -> Result<()> {
        let room = LISTING_BYTES - self.names.len();
        let length = u16::try_from(name.len()).ok().filter(|_| name.len() <= room);
        let (Some(length), Ok(offset)) = (length, u32::try_from(self.names.len())) else {
            return Err(Error::new(Kind::Limit, "too many names in").on("."));
        };
        self.names.extend_from_slice(name);
        self.rows.push(Row { offset, length, kind });
        Ok(())
    }

    /// Sorts, and drops repetitions: a directory that changes while it is read may give a name twice.
    fn settle(&mut self) {
        let names = &self.names;
        let name = |row: &Row| entry_of(names, row).name;
        self.rows.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        self.rows.dedup_by(|a, b| name(a) == name(b));
        self.rows.shrink_to_fit();
        self.names.shrink_to_fit();
    }
}

fn entry_of<'a>(names: &'a [u8], row: &Row) -> Entry<'a> {
    let start = row.offset as usize;
    Entry { name: &names[start..start + usize::from(row.length)], kind: row.kind }
}

fn kind_of(file_type: FileType) -> Option<FileKind> {
    match file_type {
        FileType::RegularFile => Some(FileKind::File),
        FileType::Directory => Some(FileKind::Directory),
        FileType::Symlink => Some(FileKind::Symlink),
        FileType::Fifo => Some(FileKind::Fifo),
        FileType::CharacterDevice => Some(FileKind::CharDevice),
        FileType::BlockDevice => Some(FileKind::BlockDevice),
        FileType::Socket => Some(FileKind::Socket),
        FileType::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn listing_of(names: &[&[u8]]) -> Listing {
        let mut listing = Listing::empty();
        for name in names {
            let kind = name.ends_with(b"/").then_some(FileKind::Directory);
            listing.push(name.strip_suffix(b"/").unwrap_or(name), kind).unwrap();
        }
        listing.settle();
        listing
    }

    fn names(listing: &Listing) -> Vec<&[u8]> {
        listing.iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn names_are_sorted_by_bytes_and_never_twice() {
        let listing = listing_of(&[b"b", b"a", b"\xff", b"B", b"a", b"aa", b"a.b"]);
        assert_eq!(names(&listing), [&b"B"[..], b"a", b"a.b", b"aa", b"b", b"\xff"]);
        assert_eq!(listing.find(b"aa").unwrap().name, b"aa");
        assert_eq!(listing.find(b"ab"), None);
    }

    #[test]
    fn entries_can_be_taken_out_resolved_and_narrowed_to_directories() {
        let mut listing = listing_of(&[b"one/", b"two", b"three/", b"four", b"five"]);
        listing.retain(|entry| entry.name != b"one");
        let mut asked = Vec::new();
        listing.resolve(|name| {
            asked.push(name.to_vec());
            if name == b"two" { FileKind::Directory } else { FileKind::Fifo }
        });
        assert_eq!(asked, [b"five".to_vec(), b"four".to_vec(), b"two".to_vec()]);
        assert_eq!(names(&listing.directories()), [&b"three"[..], b"two"]);
        assert!(listing.iter().all(|entry| entry.kind.is_some()));
    }

    #[test]
    fn a_million_names_take_far_less_than_a_hundred_megabytes() {
        let mut listing = Listing::empty();
        for number in 0..1_000_000 {
            listing.push(format!("photograph-{number:09}").as_bytes(), Some(FileKind::File)).unwrap();
        }
        listing.settle();
        let bytes = listing.names.capacity() + listing.rows.capacity() * size_of::<Row>();
        assert!(bytes < 32 << 20, "{bytes}");
    }

    #[test]
    fn a_name_that_no_length_can_hold_is_refused() {
        let error = Listing::empty().push(&vec![b'a'; 70_000], None).unwrap_err();
        assert_eq!(error.kind(), Kind::Limit);
    }

    #[test]
    fn every_kind_is_told_and_a_second_reading_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), b"x").unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        std::os::unix::fs::symlink("directory", at("link")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let fifo = rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        );
        fifo.unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let first = Listing::read(&directory).unwrap();
        let second = Listing::read(&directory).unwrap();
        let expected = [
            Entry { name: b"directory", kind: Some(FileKind::Directory) },
            Entry { name: b"file", kind: Some(FileKind::File) },
            Entry { name: b"link", kind: Some(FileKind::Symlink) },
            Entry { name: b"pipe", kind: Some(FileKind::Fifo) },
            Entry { name: b"socket", kind: Some(FileKind::Socket) },
        ];
        assert_eq!(first.iter().collect::<Vec<_>>(), expected);
        assert_eq!(second.iter().collect::<Vec<_>>(), expected);
        drop(socket);
    }

    #[test]
    fn a_directory_that_is_gone_is_an_error_and_not_an_empty_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone");
        std::fs::create_dir(&path).unwrap();
        let directory = Directory::open(&path).unwrap();
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(Listing::read(&directory).unwrap_err().kind(), Kind::NotFound);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_on_disk_is_what_is_listed(
            names in proptest::collection::btree_set("[^/\0]{1,20}", 0..40)
        ) {
            let folder = tempfile::tempdir().unwrap();
            let names: BTreeSet<Vec<u8>> =
                names.into_iter().map(String::into_bytes).filter(|n| n != b"." && n != b"..").collect();
            for name in &names {
                std::fs::write(folder.path().join(OsStr::from_bytes(name)), b"").unwrap();
            }
            let listing = Listing::read(&Directory::open(folder.path()).unwrap()).unwrap();
            let listed: Vec<Vec<u8>> = listing.iter().map(|entry| entry.name.to_vec()).collect();
            prop_assert_eq!(listed, names.into_iter().collect::<Vec<_>>());
        }
    }
}
