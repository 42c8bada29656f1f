//! Snapshot files go both ways between GNU tar and this program, and so do the incremental archives they lead to.

use super::*;
use crate::engine::tar::dumpdir::{self, Code};
use crate::engine::tar::snapshot::{Record, SnapshotReader, SnapshotWriter};
use std::fs;
use std::path::PathBuf;

struct Source {
    folder: TempDir,
    outside: TempDir,
}

impl Source {
    fn new() -> Source {
        let source = Source { folder: folder(), outside: folder() };
        for name in ["a", "b/inner", "line\nbreak/x"] {
            fs::create_dir_all(source.at(name)).unwrap();
        }
        for name in ["top", "a/one", "b/two", "b/inner/three", "line\nbreak/four\n"] {
            fs::write(source.at(name), name).unwrap();
        }
        source
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn snapshot(&self) -> PathBuf {
        self.outside.path().join("snapshot")
    }

    /// What Freezer runs.
    fn dump(&self, format: &str) -> Vec<Stored> {
        let snapshot = format!("--listed-incremental={}", self.snapshot().display());
        let format = format!("--format={format}");
        let archive = tar(
            self.folder.path(),
            &["-c", "-f", "-", "--no-check-device", "--one-file-system", &format, &snapshot, "."],
        );
        read_all(&archive).unwrap()
    }

    fn read_snapshot(&self) -> (FileTime, Vec<Record>) {
        let bytes = fs::read(self.snapshot()).unwrap();
        let mut reader = SnapshotReader::new(&bytes[..]).unwrap();
        let records = std::iter::from_fn(|| reader.next().unwrap()).collect();
        (reader.start(), records)
    }

    /// Reads the snapshot and writes it anew.
    fn rewrite_snapshot(&self) {
        let (start, records) = self.read_snapshot();
        let mut writer = SnapshotWriter::new(Vec::new(), start).unwrap();
        for record in &records {
            writer.begin_directory(&record.directory).unwrap();
            for entry in dumpdir::records(&record.listing) {
                let entry = entry.unwrap();
                writer.entry(entry.code, entry.name).unwrap();
            }
            writer.end_directory().unwrap();
        }
        let bytes = writer.finish().unwrap();
        let first_line = |bytes: &[u8]| bytes.iter().position(|&b| b == b'\n').unwrap();
        let original = fs::read(self.snapshot()).unwrap();
        assert_eq!(bytes[first_line(&bytes)..], original[first_line(&original)..]);
        fs::write(self.snapshot(), bytes).unwrap();
    }
}

fn files(members: &[Stored]) -> Vec<String> {
    let mut names: Vec<String> = members
        .iter()
        .filter(|(member, _)| matches!(member.kind, MemberKind::File { .. }))
        .map(|(member, _)| crate::tree::directory::lossy(&member.path))
        .collect();
    names.sort();
    names
}

fn listing<'a>(members: &'a [Stored], path: &str) -> &'a [u8] {
    let found = members.iter().find(|(member, _)| member.path == path.as_bytes());
    match found.map(|(member, _)| &member.kind) {
        Some(MemberKind::Directory { listing: Some(listing) }) => listing,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn an_increment_after_a_snapshot_written_here() {
    if !can_run("tar") {
        return;
    }
    for format in ["gnu", "pax"] {
        let source = Source::new();
        let full = source.dump(format);
        assert_eq!(files(&full), ["./a/one", "./b/inner/three", "./b/two", "./line\nbreak/four\n", "./top"]);
        assert_eq!(listing(&full, "./line\nbreak"), b"Yfour\n\0Dx\0");
        // Whatever changes now has a time after the start of the first dump, down to the nanosecond.
        source.rewrite_snapshot();
        fs::write(source.at("b/new"), "new").unwrap();
        fs::remove_file(source.at("b/two")).unwrap();
        fs::rename(source.at("a"), source.at("renamed")).unwrap();
        let increment = source.dump(format);
        assert!(files(&increment).contains(&"./b/new".to_owned()));
        assert!(!files(&increment).contains(&"./renamed/one".to_owned()), "{:?}", files(&increment));
        assert_eq!(listing(&increment, "./b"), b"Dinner\0Ynew\0", "{format}");
        let renames = [(Code::RenameFrom, &b"./a"[..]), (Code::RenameTo, &b"./renamed"[..])];
        let records = dumpdir::parse(listing(&increment, ".")).unwrap();
        for (code, name) in renames {
            assert!(records.iter().any(|record| record.code == code && record.name == name), "{records:?}");
        }
    }
}

#[test]
fn a_swap_of_directories_uses_a_temporary_place() {
    if !can_run("tar") {
        return;
    }
    let source = Source::new();
    source.dump("gnu");
    source.rewrite_snapshot();
    for (from, to) in [("a", "aside"), ("b", "a"), ("aside", "b")] {
        fs::rename(source.at(from), source.at(to)).unwrap();
    }
    let increment = source.dump("gnu");
    let records = dumpdir::parse(listing(&increment, ".")).unwrap();
    let temporary =
        |code| records.iter().filter(|record| record.code == code && record.name.is_empty()).count();
    assert_eq!((temporary(Code::RenameFrom), temporary(Code::RenameTo)), (1, 1), "{records:?}");
    assert_eq!(records.iter().filter(|record| record.code == Code::Temporary).count(), 1);
}

#[test]
fn unchanged_trees_have_empty_increments() {
    if !can_run("tar") {
        return;
    }
    let source = Source::new();
    source.dump("gnu");
    let (mut start, records) = source.read_snapshot();
    // A start in the future: nothing can be newer.
    start.seconds += 1_000_000;
    let mut writer = SnapshotWriter::new(fs::File::create(source.snapshot()).unwrap(), start).unwrap();
    for record in &records {
        writer.begin_directory(&record.directory).unwrap();
        for entry in dumpdir::parse(&record.listing).unwrap() {
            writer.entry(entry.code, entry.name).unwrap();
        }
        writer.end_directory().unwrap();
    }
    writer.finish().unwrap();
    let increment = source.dump("gnu");
    assert_eq!(files(&increment), [] as [&str; 0]);
    assert_eq!(listing(&increment, "./b"), b"Dinner\0Ntwo\0");
    assert_eq!(source.read_snapshot().1.len(), records.len());
}
