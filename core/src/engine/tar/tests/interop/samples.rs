//! Archives and snapshot files that Freezer's call of GNU tar has made.

use super::*;
use crate::engine::tar::dumpdir::{self, Code};
use crate::engine::tar::snapshot::{Record, SnapshotReader};
use std::io::Read;

const ARCHIVES: [&[u8]; 2] = [
    include_bytes!("../../../../../tests-data/tar/l0.tgz"),
    include_bytes!("../../../../../tests-data/tar/l1.tgz"),
];
const SNAPSHOTS: [&[u8]; 2] = [
    include_bytes!("../../../../../tests-data/tar/snar0"),
    include_bytes!("../../../../../tests-data/tar/snar1"),
];

fn members(compressed: &[u8]) -> Vec<Stored> {
    let mut archive = Vec::new();
    flate2::read::GzDecoder::new(compressed).read_to_end(&mut archive).unwrap();
    read_all(&archive).unwrap()
}

fn records(bytes: &[u8]) -> Vec<Record> {
    let mut reader = SnapshotReader::new(bytes).unwrap();
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

#[test]
fn every_directory_comes_first_with_its_listing() {
    for compressed in ARCHIVES {
        let members = members(compressed);
        let listed =
            |(member, _): &&Stored| matches!(member.kind, MemberKind::Directory { listing: Some(_) });
        assert_eq!(members.iter().take_while(listed).count(), 3);
        assert_eq!(members.iter().filter(listed).count(), 3);
        assert!(members.iter().all(|(member, _)| member.attributes.atime.is_some()));
    }
}

#[test]
fn the_increment_has_the_new_file_and_no_other() {
    let members = members(ARCHIVES[1]);
    let paths: Vec<String> =
        members.iter().map(|(member, _)| crate::tree::directory::lossy(&member.path)).collect();
    assert_eq!(paths, [".", "./d1", "./d1/d2", "./d1/f3"]);
    assert_eq!(members[3].1.len(), 4);
    let MemberKind::Directory { listing: Some(listing) } = &members[1].0.kind else { panic!() };
    let found: Vec<_> =
        dumpdir::parse(listing).unwrap().iter().map(|record| (record.code, record.name)).collect();
    let expected: [(Code, &[u8]); 4] =
        [(Code::Directory, b"d2"), (Code::Stored, b"f3"), (Code::Kept, b"ff"), (Code::Kept, b"l1")];
    assert_eq!(found, expected);
}

#[test]
fn snapshots_name_the_same_directories() {
    for bytes in SNAPSHOTS {
        let names: Vec<Vec<u8>> = records(bytes).into_iter().map(|record| record.directory.name).collect();
        assert_eq!(names, [&b"."[..], b"./d1/d2", b"./d1"]);
    }
    assert_eq!(records(SNAPSHOTS[0])[2].listing, b"Dd2\0Yf1\0Yff\0Yl1\0");
    assert_eq!(SnapshotReader::new(SNAPSHOTS[0]).unwrap().start(), FileTime::new(1_795_485_881, 666_394_873));
}
