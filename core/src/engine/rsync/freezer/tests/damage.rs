//! Bytes that nobody wrote: an error or records, never a panic; and nothing outside the target.

use super::super::{Level, Record, survey};
use super::writer::{Packer, record};
use super::{How, Levels, Node, restore_to, tree_of};
use crate::error::Kind;
use crate::monitor::Quiet;
use proptest::prelude::*;
use std::fs;

proptest! {
    #[test]
    fn any_bytes_are_records_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400), block in proptest::option::of(0_u64..9000), lacks in any::<bool>()) {
        let mut records: Vec<Record> = Vec::new();
        let read = survey(&mut bytes.as_slice(), Level { block_bytes: block, may_lack_end: lacks }, &Quiet, &mut |_, record| {
            records.push(record);
            Ok(())
        });
        if let Err(error) = read {
            prop_assert!(matches!(error.kind(), Kind::Damaged | Kind::Limit | Kind::Unsupported), "{:?}", error);
        }
    }

    #[test]
    fn a_changed_byte_is_an_error_or_another_record(at in 0_usize..200, byte in any::<u8>()) {
        let mut second = Packer::default();
        second.list(2).map(2).text(b"path").text(b"a").inode(0o100644, 3, 1.0);
        second.map(2).text(b"path").text(b"b").text(b"deleted").truth().0.extend(b"abc");
        let mut first = record("a", "r", 0o100644, 3, 1, b"", ["0000", "0000"]);
        first.extend(b"abc");
        first.extend(record("b", "l", 0o120777, 3, 1, b"abc", ["0000", "0000"]));
        for mut stream in [first, second.0] {
            let at = at % stream.len();
            stream[at] = byte;
            let read = survey(&mut stream.as_slice(), Level::default(), &Quiet, &mut |_, _| Ok(()));
            let _error_or_not = read.is_ok();
        }
    }
}

#[test]
fn nothing_is_written_outside_the_target_and_no_link_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    let target = folder.path().join("target");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&target).unwrap();
    let link_to = outside.to_str().unwrap().as_bytes();
    let absolute = outside.join("absolute");
    let mut first = Vec::new();
    for path in ["../outside/up", absolute.to_str().unwrap(), "a/../../outside/x", "good"] {
        first.extend(record(path, "r", 0o100644, 1, 1, b"", ["0000", "0000"]));
        first.extend(b"1");
    }
    first.extend(record("link", "l", 0o120777, 1, 1, link_to, ["0000", "0000"]));
    first.extend(record("link/in", "r", 0o100644, 1, 1, b"", ["0000", "0000"]));
    first.extend(b"1");
    let levels = Levels { streams: vec![first], ..Levels::default() };
    let outcome = restore_to(&target, &levels, &How::default());
    outcome.result.unwrap();
    assert_eq!(outcome.lost.len(), 3, "{:?}", outcome.lost);
    assert!(tree_of(&outside).is_empty());
    let tree = tree_of(&target);
    assert_eq!(tree.len(), 2, "{tree:?}");
    assert_eq!(tree["good"], Node::File(b"1".to_vec()));
    assert_eq!(tree["link"], Node::Link(link_to.to_vec()));
}

#[test]
fn a_stream_that_is_not_whole_is_found_before_the_target_is_touched() {
    let mut stream = record("a", "r", 0o100644, 1, 1, b"", ["0000", "0000"]);
    stream.extend(b"1");
    stream.extend(record("b", "r", 0o100644, 9, 1, b"", ["0000", "0000"]));
    let folder = tempfile::tempdir().unwrap();
    let outcome =
        restore_to(folder.path(), &Levels { streams: vec![stream], ..Levels::default() }, &How::default());
    assert_eq!(outcome.result.unwrap_err().kind(), Kind::Damaged);
    assert!(tree_of(folder.path()).is_empty());
}

#[test]
fn two_engines_in_one_chain_are_refused() {
    let mut second = Packer::default();
    second.list(1).map(2).text(b"path").text(b"b").text(b"deleted").truth();
    let first = record("a", "p", 0o010644, 0, 1, b"", ["0000", "0000"]);
    let folder = tempfile::tempdir().unwrap();
    let outcome = restore_to(
        folder.path(),
        &Levels { streams: vec![first, second.0], ..Levels::default() },
        &How::default(),
    );
    assert_eq!(outcome.result.unwrap_err().kind(), Kind::Unsupported);
}
