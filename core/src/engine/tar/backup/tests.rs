//! Making a level: what a snapshot file that no longer fits the disk does to it.

use super::*;
use crate::engine::tar::snapshot::Directory as Recorded;
use crate::monitor::Quiet;
use crate::pipe::Pool;
use crate::spool::Scratch;
use crate::tree::filter::Filter;
use std::fs;

/// Stores a level of `source` into nowhere, and gives back its snapshot file.
fn level(source: &Path, base: Option<Spool>, now: FileTime) -> Snapshot {
    let (filter, scratch) = (Filter::none(), Scratch::new(std::env::temp_dir()));
    let mut out = BlockWriter::new(Pool::new(1), |_| Ok(()));
    let source =
        Source { path: source, filter: &filter, one_file_system: false, dereference: Dereference::default() };
    let job = BackupJob { source, base, now, block_bytes: None, scratch: &scratch, monitor: &Quiet };
    Snapshot::load(run(job, &mut out).unwrap()).unwrap()
}

/// The snapshot file again, each directory changed by `change`.
fn rewritten(snapshot: &mut Snapshot, change: impl Fn(&mut Recorded)) -> Spool {
    let scratch = Scratch::new(std::env::temp_dir());
    let mut copy = SnapshotWriter::new(scratch.spool(), snapshot.start()).unwrap();
    for record in snapshot.records() {
        let mut record = record.unwrap();
        change(&mut record.directory);
        copy.begin_directory(&record.directory).unwrap();
        for entry in dumpdir::parse(&record.listing).unwrap() {
            copy.entry(entry.code, entry.name).unwrap();
        }
        copy.end_directory().unwrap();
    }
    copy.finish().unwrap()
}

fn code_of_a(snapshot: &mut Snapshot) -> Option<Code> {
    let record = snapshot.by_name(b"./folder").unwrap().unwrap();
    dumpdir::lookup(&record.listing, b"a").unwrap()
}

#[test]
fn another_disk_in_the_same_place_is_not_taken_for_the_one_that_was_there() {
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("folder")).unwrap();
    fs::write(source.path().join("folder/a"), "1").unwrap();
    // Later than every change here, so that only the directory decides.
    let now = FileTime::new(i64::from(u32::MAX), 0);
    let mut full = level(source.path(), None, now);
    assert_eq!(code_of_a(&mut full), Some(Code::Stored));
    type Change<'a> = &'a dyn Fn(&mut Recorded);
    let cases: [(&str, Change<'_>, Code); 4] = [
        ("the same", &|_| {}, Code::Kept),
        ("another device number", &|found| found.device += 1, Code::Kept),
        ("another inode", &|found| found.inode += 1, Code::Stored),
        (
            "another disk",
            &|found| {
                found.device += 1;
                found.mtime.nanoseconds ^= 1;
            },
            Code::Stored,
        ),
    ];
    for (what, change, expected) in cases {
        let base = rewritten(&mut full, change);
        assert_eq!(code_of_a(&mut level(source.path(), Some(base), now)), Some(expected), "{what}");
    }
}

#[test]
fn with_a_clock_that_was_set_back_everything_is_stored() {
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("folder")).unwrap();
    fs::write(source.path().join("folder/a"), "1").unwrap();
    let late = FileTime::new(i64::from(u32::MAX), 0);
    let mut full = level(source.path(), None, late);
    let base = rewritten(&mut full, |_| {});
    let mut next = level(source.path(), Some(base), FileTime::new(late.seconds - 1, 0));
    assert_eq!(code_of_a(&mut next), Some(Code::Stored));
}
