//! Snapshots, sessions and removals: what is written is read back, and foreign bytes are understood or refused.

use super::super::documents::Document;
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn time() -> impl Strategy<Value = FileTime> {
    (any::<i64>(), 0..1_000_000_000u32).prop_map(|(seconds, nanoseconds)| FileTime { seconds, nanoseconds })
}

prop_compose! {
    fn any_snapshot()(
        texts in vec(".{0,20}", 3),
        paths in vec(vec(any::<u8>(), 0..12), 0..4),
        lists in (vec(".{0,8}", 0..3), vec(".{0,8}", 0..3)),
        times in (time(), time()),
        numbers in any::<[u64; 5]>(),
        ids in (any::<[u8; 32]>(), any::<Option<[u8; 32]>>(), any::<[u8; 32]>()),
    ) -> Snapshot {
        Snapshot {
            host: texts[0].clone(),
            name: texts[1].clone(),
            paths,
            tags: lists.0,
            time: times.0,
            finished: times.1,
            root: ChunkId(ids.0),
            entries: numbers[0],
            files: numbers[1],
            bytes: numbers[2],
            added_bytes: numbers[3],
            errors: numbers[4],
            unread: lists.1,
            parent: ids.1.map(ObjectId),
            session: ObjectId(ids.2),
            program: texts[2].clone(),
        }
    }
}

proptest! {
    #[test]
    fn a_snapshot_is_read_back_as_it_was(snapshot in any_snapshot()) {
        prop_assert_eq!(Snapshot::parse(&snapshot.encode().unwrap()).unwrap(), snapshot);
    }

    #[test]
    fn any_document_is_read_back_from_its_object(document in vec(any::<u8>(), 0..3000), cipher in 0..2u8) {
        let cipher = Cipher::from_number(cipher).unwrap();
        let keys = Keys::new(Zeroizing::new([1; KEY_BYTES]), ObjectId([2; 32]), cipher);
        let id = ObjectId([3; 32]);
        let sealed = object::seal(&keys, ObjectKind::Index, id, &document).unwrap();
        prop_assert!(sealed.len().is_multiple_of(1024));
        prop_assert_eq!(object::open(&keys, ObjectKind::Index, id, sealed).unwrap(), document);
    }

    #[test]
    fn any_bytes_are_understood_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let keys = Keys::new(Zeroizing::new([1; KEY_BYTES]), ObjectId([2; 32]), Cipher::None);
        prop_assert!(config::Config::parse(&bytes).is_err());
        prop_assert!(KeySlot::parse(ObjectId([3; 32]), bytes.clone()).is_err());
        prop_assert!(Snapshot::parse(&bytes).is_err());
        prop_assert!(object::open(&keys, ObjectKind::Removal, ObjectId([3; 32]), bytes).is_err());
    }
}

#[test]
fn a_key_that_is_missing_is_damage_and_one_that_is_not_known_is_not() {
    let whole = snapshot(1).encode().unwrap();
    let keys: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&whole).unwrap();
    assert_eq!(keys.len(), 17);
    for key in keys.keys() {
        let mut fewer = keys.clone();
        fewer.remove(key);
        let parsed = Snapshot::parse(&serde_json::to_vec(&fewer).unwrap());
        assert_eq!(kind(parsed), Kind::Damaged, "{key}");
    }
    let mut more = keys.clone();
    more.insert("later".to_owned(), "x".into());
    assert_eq!(Snapshot::parse(&serde_json::to_vec(&more).unwrap()).unwrap(), snapshot(1));
    let changed = |key: &str, value: serde_json::Value| {
        let mut keys = keys.clone();
        keys.insert(key.to_owned(), value);
        kind(Snapshot::parse(&serde_json::to_vec(&keys).unwrap()))
    };
    assert_eq!(changed("version", 2.into()), Kind::Unsupported);
    assert_eq!(changed("version", 0.into()), Kind::Damaged);
    assert_eq!(changed("time", vec![1, 1_000_000_000].into()), Kind::Damaged);
    assert_eq!(changed("paths", serde_json::json!([{"hex": "0"}])), Kind::Damaged);
    assert_eq!(changed("paths", serde_json::json!([{"hex": "+1"}])), Kind::Damaged);
    assert_eq!(changed("root", "00".into()), Kind::Damaged);
    assert_eq!(changed("bytes", (-1).into()), Kind::Damaged);
    assert_eq!(changed("host", "x".repeat(201).into()), Kind::Damaged);
    assert_eq!(changed("tags", vec!["x"; 1001].into()), Kind::Damaged);
    assert_eq!(changed("unread", vec!["x"; 1001].into()), Kind::Damaged);
}

#[test]
fn what_the_format_has_no_room_for_is_refused_or_cut_when_it_is_written() {
    let mut long = snapshot(1);
    long.unread = vec!["x".to_owned(); 5000];
    let read = Snapshot::parse(&long.encode().unwrap()).unwrap();
    assert_eq!((read.unread.len(), read.errors), (1000, long.errors));
    long.host = "x".repeat(201);
    assert_eq!(kind(long.encode()), Kind::Invalid);
}

#[test]
fn paths_are_text_only_where_they_are_harmless_text() {
    let mut given = snapshot(1);
    given.paths = [&b"/a b"[..], "/\u{e9}".as_bytes(), b"/\xff", b"/\n", "/\u{85}".as_bytes(), b""]
        .map(<[u8]>::to_vec)
        .to_vec();
    let json: serde_json::Value = serde_json::from_slice(&given.encode().unwrap()).unwrap();
    let expected = serde_json::json!(
        ["/a b", "/\u{e9}", {"hex": "2fff"}, {"hex": "2f0a"}, {"hex": "2fc285"}, ""]
    );
    assert_eq!(json["paths"], expected);
}

#[test]
fn snapshots_are_listed_oldest_first_and_found_by_name() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let ids: Vec<ObjectId> = [30, -5, 10].map(|seconds| vault.commit(&snapshot(seconds)).unwrap()).into();
    let listed = open(&shelf, "secret").unwrap().snapshots().unwrap();
    let found: Vec<ObjectId> = listed.found.iter().map(|(id, _)| *id).collect();
    assert_eq!(found, [ids[1], ids[2], ids[0]]);
    assert!(listed.damaged.is_empty() && listed.strays.is_empty());
    assert_eq!(vault.snapshot(ids[0]).unwrap(), snapshot(30));
    assert_eq!(kind(vault.snapshot(ObjectId([0; 32]))), Kind::NotFound);
}

#[test]
fn a_snapshot_of_a_newer_version_is_a_row_that_says_so() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let id = vault.write_object(ObjectKind::Snapshot, br#"{"version": 2}"#).unwrap();
    vault.commit(&snapshot(1)).unwrap();
    let listed = vault.snapshots().unwrap();
    assert_eq!(listed.found.len(), 1);
    assert_eq!((listed.damaged[0].0, listed.damaged[0].1.kind()), (id, Kind::Unsupported));
}

#[test]
fn a_session_is_there_from_its_beginning_to_its_end() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let session = vault.begin_session("host", Process::of_number(4711), NOW).unwrap();
    let announced = Announcement { host: "host".to_owned(), process: Process::of_number(4711), started: NOW };
    assert_eq!(vault.sessions().unwrap().found, [(session.id(), announced)]);
    let killed = vault.begin_session("host", Process::of_number(4712), NOW).unwrap().id();
    session.end().unwrap();
    let left: Vec<ObjectId> = vault.sessions().unwrap().found.into_iter().map(|(id, _)| id).collect();
    assert_eq!(left, [killed]);
    let fails = vault.begin_session("host", Process::of_number(4713), NOW).unwrap();
    shelf.fail_after(Some(0));
    assert_eq!(kind(fails.end()), Kind::Io);
}

#[test]
fn a_removal_is_written_before_anything_goes() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let ids: Vec<ObjectId> = (1..4).map(|seconds| vault.commit(&snapshot(seconds)).unwrap()).collect();
    vault.remove_snapshots(&[], "host", NOW).unwrap();
    assert!(vault.removals().unwrap().found.is_empty());
    // What a removal names is no backup any more, deleted or not.
    for (changes, left, removals) in [(0, 3, 0), (1, 1, 1), (2, 1, 2)] {
        shelf.fail_after(Some(changes));
        assert_eq!(kind(vault.remove_snapshots(&ids[..2], "host", NOW)), Kind::Io);
        shelf.fail_after(None);
        assert_eq!(vault.snapshots().unwrap().found.len(), left);
        assert_eq!(vault.removals().unwrap().found.len(), removals);
    }
    // What is gone is no error: the removal is finished by doing it again.
    vault.remove_snapshots(&ids[..2], "host", NOW).unwrap();
    let snapshots = vault.snapshots().unwrap();
    assert_eq!(snapshots.found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[2..]);
    let removal = Removal { snapshots: ids[..2].to_vec(), host: "host".to_owned(), time: NOW };
    assert!(vault.removals().unwrap().found.iter().all(|(_, found)| *found == removal));
    assert_eq!(Removal::parse(&Document::encode(&removal).unwrap()).unwrap(), removal);
}

#[test]
fn a_removed_snapshot_that_is_put_back_is_no_backup_and_goes_with_the_next_removal() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let ids: Vec<ObjectId> = (1..4).map(|seconds| vault.commit(&snapshot(seconds)).unwrap()).collect();
    let place = name(Folder::Snapshots, ids[2]);
    let kept = shelf.take(&place);
    vault.remove_snapshots(&ids[2..], "host", NOW).unwrap();
    for bytes in [&kept[..], b"damaged"] {
        shelf.set(&place, bytes);
        let listed = vault.snapshots().unwrap();
        assert_eq!(listed.found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[..2]);
        assert!(listed.damaged.is_empty() && listed.strays[0].starts_with(&place), "{:?}", listed.strays);
    }
    vault.remove_snapshots(&ids[..1], "host", NOW).unwrap();
    assert!(!shelf.names().contains(&place));
    assert_eq!(vault.snapshots().unwrap().found[0].0, ids[1]);
}
