//! Snapshot files come back whole, are found by name and inode, and are never half read.

use super::*;
use crate::engine::tar::dumpdir::{self, Code};
use crate::error::{Kind, Result};
use crate::spool::{Scratch, Spool};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Write;

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(b'\n'), 1u8..], 1..30)
        .prop_filter("a name", |name| !name.contains(&b'/') && name != b"." && name != b"..")
}

fn record() -> impl Strategy<Value = Record> {
    let time = (any::<i64>(), 0u32..1_000_000_000).prop_map(|(s, n)| FileTime::new(s, n));
    let code = prop_oneof![Just(Code::Stored), Just(Code::Kept), Just(Code::Directory)];
    let entries = prop::collection::btree_map(name(), code, 0..10);
    let id = || prop_oneof![0u64..4, any::<u64>()];
    (any::<bool>(), time, id(), id(), name(), entries).prop_map(
        |(nfs, mtime, device, inode, name, entries)| {
            let entries: BTreeMap<Vec<u8>, Code> = entries;
            let listing = entries
                .iter()
                .flat_map(|(name, code)| [&[code.letter()][..], name, b"\0"].concat())
                .collect();
            let name = [b"./", &name[..]].concat();
            Record { directory: Directory { nfs, mtime, device, inode, name }, listing }
        },
    )
}

fn write(records: &[Record]) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), FileTime::new(-5, 999_999_999)).unwrap();
    for record in records {
        writer.begin_directory(&record.directory).unwrap();
        for entry in dumpdir::records(&record.listing) {
            let entry = entry.unwrap();
            writer.entry(entry.code, entry.name).unwrap();
        }
        writer.end_directory().unwrap();
    }
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<Record>> {
    let mut reader = SnapshotReader::new(bytes)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(record);
    }
    Ok(records)
}

fn spool(bytes: &[u8]) -> Spool {
    let mut spool = Scratch::new(std::env::temp_dir()).spool();
    spool.write_all(bytes).unwrap();
    spool
}

proptest! {
    #[test]
    fn records_come_back(records in prop::collection::vec(record(), 0..8)) {
        let bytes = write(&records);
        prop_assert_eq!(SnapshotReader::new(&bytes[..]).unwrap().start(), FileTime::new(-5, 999_999_999));
        prop_assert_eq!(read(&bytes).unwrap(), records);
    }

    #[test]
    fn records_are_found(records in prop::collection::vec(record(), 0..30)) {
        let mut snapshot = Snapshot::load(spool(&write(&records))).unwrap();
        prop_assert_eq!(snapshot.len(), records.len());
        for record in records.iter().rev() {
            let Directory { name, device, inode, .. } = &record.directory;
            let named = records.iter().find(|other| other.directory.name == *name).cloned();
            prop_assert_eq!(snapshot.by_name(name).unwrap(), named);
            let same = |other: &&Record| (other.directory.device, other.directory.inode) == (*device, *inode);
            let equal: Vec<Record> = records.iter().filter(same).cloned().collect();
            prop_assert_eq!(snapshot.by_inode(*device, *inode).unwrap(), equal);
        }
        prop_assert_eq!(snapshot.by_name(b"./absent/one").unwrap(), None);
        let all: Vec<Record> = snapshot.records().map(|record| record.unwrap()).collect();
        prop_assert_eq!(all, records);
    }

    #[test]
    fn a_cut_file_is_damaged_or_ends_between_records(records in prop::collection::vec(record(), 1..3), at: prop::sample::Index) {
        let bytes = write(&records);
        match read(&bytes[..at.index(bytes.len())]) {
            Ok(some) => prop_assert_eq!(&some[..], &records[..some.len()]),
            Err(e) => prop_assert_eq!(e.kind(), Kind::Damaged),
        }
    }

    #[test]
    fn changed_bytes_never_panic(records in prop::collection::vec(record(), 1..3), at: prop::sample::Index, byte: u8) {
        let mut bytes = write(&records);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Err(e) = read(&bytes) {
            prop_assert!(matches!(e.kind(), Kind::Damaged | Kind::Limit | Kind::Unsupported), "{e:?}");
        }
    }
}

#[test]
fn a_file_larger_than_the_buffer_is_searched_in_any_order() {
    let directory =
        |n: u64| Directory { inode: n, name: format!("./{n:06}").into_bytes(), ..Directory::default() };
    let listing = b"Yname-of-a-file\0".to_vec();
    let records: Vec<Record> =
        (0..30_000).map(|n| Record { directory: directory(n), listing: listing.clone() }).collect();
    let bytes = write(&records);
    assert!(bytes.len() > 4 * (256 << 10));
    let mut snapshot = Snapshot::load(spool(&bytes)).unwrap();
    let scattered = (0..30_000).map(|n| n * 7919 % 30_000);
    for n in (0..30_000u64).chain(scattered) {
        let name = format!("./{n:06}");
        assert_eq!(snapshot.by_name(name.as_bytes()).unwrap().as_ref(), Some(&records[n as usize]));
    }
    assert_eq!(snapshot.records().count(), 30_000);
}

#[test]
fn negative_numbers_are_those_of_64_bits() {
    let bytes = b"GNU tar-1.26-2\n0\x000\x000\0-1\x005\0-2\0-9223372036854775808\0.\0\0\0";
    let record = read(bytes).unwrap().remove(0);
    assert_eq!(record.directory.device, u64::MAX - 1);
    assert_eq!(record.directory.inode, 1 << 63);
    assert_eq!(record.directory.mtime, FileTime::new(-1, 5));
}

#[test]
fn other_formats_and_other_files_are_refused() {
    let kind = |bytes: &[u8]| read(bytes).unwrap_err().kind();
    assert_eq!(kind(b"1700000000\n12 5 ./a\n"), Kind::Unsupported);
    assert_eq!(kind(b"GNU tar-1.15-1\n1700000000 5\n"), Kind::Unsupported);
    assert_eq!(kind(b"GNU tar-1.40-3\n0\x000\0"), Kind::Unsupported);
    for bad in [&b""[..], b"x", b"GNU tar-1.34-2", b"GNU tar-1.34-2\n", b"GNU tar-2\n0\x000\0", b"\x1f\x8b\n"]
    {
        assert_eq!(kind(bad), Kind::Damaged, "{bad:?}");
    }
    let record = |fields: &[u8]| kind(&[b"GNU tar-1.34-2\n0\x000\0", fields].concat());
    for bad in [
        &b"2\x000\x000\x001\x001\0.\0\0\0"[..],
        b"0\x000\x001000000000\x001\x001\0.\0\0\0",
        b"0\x00+1\x000\x001\x001\0.\0\0\0",
        b"0\x000\x000\x0018446744073709551616\x001\0.\0\0\0",
        b"0\x000\x000\x001\x001\0\0\0\0",
        b"0\x000\x000\x001\x001\0.\0Ra\0\0\0",
        b"0\x000\x000\x001\x001\0.\0Y\0\0\0",
        b"0\x000\x000\x001\x001\0.\0Ya\0\0",
    ] {
        assert_eq!(record(bad), Kind::Damaged, "{bad:?}");
    }
}

#[test]
fn entries_that_gnu_tar_would_not_find_are_refused() {
    let mut writer = SnapshotWriter::new(Vec::new(), FileTime::default()).unwrap();
    assert!(writer.entry(Code::Stored, b"a").is_err());
    writer.begin_directory(&Directory { name: b".".to_vec(), ..Directory::default() }).unwrap();
    writer.entry(Code::Stored, b"b").unwrap();
    for (code, bad) in
        [(Code::Stored, &b"a"[..]), (Code::Kept, b"b"), (Code::RenameTo, b"c"), (Code::Stored, b"c/d")]
    {
        assert_eq!(writer.entry(code, bad).unwrap_err().kind(), Kind::Invalid);
    }
    assert!(writer.finish().is_err());
}
