//! Snapshot files: records or an error; what is read can be written, and is found by name.
#![no_main]

use icecore::engine::tar::dumpdir;
use icecore::engine::tar::snapshot::{Record, Snapshot, SnapshotReader, SnapshotWriter};
use icecore::spool::Scratch;
use icecore::time::FileTime;
use libfuzzer_sys::fuzz_target;
use std::io::Write;

fuzz_target!(|bytes: &[u8]| {
    let Some((start, records)) = read(bytes) else { return };
    for record in &records {
        dumpdir::parse(&record.listing).expect("the reader has checked every entry");
    }
    let mut spool = Scratch::new("/nonexistent").spool();
    spool.write_all(bytes).expect("a small spool is in memory");
    let mut snapshot = Snapshot::load(spool).expect("the reader has accepted it");
    for record in &records {
        let found =
            snapshot.by_name(&record.directory.name).expect("it was loaded").expect("it is in the file");
        assert_eq!(found.directory.name, record.directory.name);
        let same = snapshot.by_inode(record.directory.device, record.directory.inode).expect("it was loaded");
        assert!(same.contains(record));
    }
    if let Some(written) = write(start, &records) {
        assert_eq!(read(&written), Some((start, records)));
    }
});

fn read(bytes: &[u8]) -> Option<(FileTime, Vec<Record>)> {
    let mut reader = SnapshotReader::new(bytes).ok()?;
    let mut records = Vec::new();
    while let Some(record) = reader.next().ok()? {
        records.push(record);
    }
    Some((reader.start(), records))
}

/// `None` when entries are not in order.
fn write(start: FileTime, records: &[Record]) -> Option<Vec<u8>> {
    let mut writer = SnapshotWriter::new(Vec::new(), start).ok()?;
    for record in records {
        writer.begin_directory(&record.directory).expect("the reader has checked the name");
        for entry in dumpdir::records(&record.listing) {
            let entry = entry.ok()?;
            writer.entry(entry.code, entry.name).ok()?;
        }
        writer.end_directory().ok()?;
    }
    writer.finish().ok()
}
