//! What is written is read back; places are found; what cannot be is refused.

use super::*;
use crate::error::Kind;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_tree_is_read_back_as_it_was(map in any_tree()) {
        let mut memory = Memory::default();
        let root = build(&mut memory, &map);
        let back: Map = read(&memory, &root.id).unwrap().into_iter().collect();
        prop_assert_eq!(&back, &map);
        // What is read makes the same nodes.
        prop_assert_eq!(build(&mut Memory::default(), &back), root);
        let files: Vec<_> = map.values().filter(|entry| entry.kind == FileKind::File && !entry.is_unread()).collect();
        let bytes = files.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size_bytes));
        let expected = Totals { entries: map.len() as u64, files: files.len() as u64, bytes };
        prop_assert_eq!(totals(&memory, &root.id).unwrap(), expected);
        prop_assert_eq!((root.entries, root.files, root.bytes), (expected.entries, expected.files, bytes));
    }

    #[test]
    fn seeking_finds_what_going_through_finds(map in any_tree(), targets in vec((name(), name(), any::<bool>()), 1..20)) {
        let mut memory = Memory::default();
        let root = build(&mut memory, &map);
        let known: Vec<&Path> = map.keys().collect();
        let mut keys: Vec<Path> = targets.into_iter().enumerate().map(|(index, (directory, name, near))| {
            let Path(there, own) = known[index * 7 % known.len()].clone();
            if near { Path(there, own) } else if index % 2 == 0 { Path(there, name) } else { Path(directory, name) }
        }).collect();
        keys.sort();
        let mut cursor = Cursor::new(&memory, &root.id).unwrap();
        for key in &keys {
            cursor.seek(key.key()).unwrap();
            let expected = map.range(key..).next();
            let found = cursor.peek().unwrap().map(|(key, entry)| (Path::of(key), entry.clone()));
            prop_assert_eq!(found, expected.map(|(key, entry)| (key.clone(), entry.clone())));
        }
    }

    #[test]
    fn a_directory_lists_what_is_directly_in_it_by_name(map in any_tree()) {
        let mut memory = Memory::default();
        let root = build(&mut memory, &map);
        for Path(directory, name) in map.keys().filter(|path| path.1.is_empty()) {
            prop_assert!(name.is_empty());
            let mut found = Vec::new();
            list(&memory, &root.id, directory, &mut |name, entry| {
                found.push((name.to_vec(), entry.clone()));
                Ok(())
            }).unwrap();
            let mut expected: Vec<(Vec<u8>, Entry)> = Vec::new();
            for (path, entry) in &map {
                if path.0 == *directory && !path.1.is_empty() {
                    expected.push((path.1.clone(), entry.clone()));
                } else if path.1.is_empty() && key::parent(&path.0) == Some(directory) {
                    let name = path.0.rsplit(|byte| *byte == b'/').next().unwrap();
                    expected.push((name.to_vec(), entry.clone()));
                }
            }
            // Other entries come before a directory of the same name, as found by going through.
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn every_path_is_found_and_no_other(map in any_tree()) {
        let mut memory = Memory::default();
        let root = build(&mut memory, &map);
        for (Path(directory, name), entry) in map.iter().step_by(5) {
            let path = if name.is_empty() || directory.is_empty() {
                [&directory[..], name].concat()
            } else {
                [&directory[..], b"/", name].concat()
            };
            let found = find(&memory, &root.id, &path).unwrap().unwrap();
            // A file and a directory may not have one name, but these trees do not care.
            let both = map.get(&Path(path.clone(), Vec::new()));
            prop_assert!(found == *entry || Some(entry) == both);
            prop_assert_eq!(find(&memory, &root.id, &[&path[..], b"\x01\x01"].concat()).unwrap(), None);
        }
    }
}

#[test]
fn large_trees_are_read_back_and_parts_of_them_without_the_rest() {
    let map = regular(500, 60);
    let mut memory = Memory::default();
    let root = build(&mut memory, &map);
    let nodes = memory.chunks.len();
    assert!((80..300).contains(&nodes), "{nodes}");
    assert!(read(&memory, &root.id).unwrap().into_iter().eq(map.clone()));
    let reads = |memory: &Memory| memory.reads.swap(0, Ordering::Relaxed);
    reads(&memory);
    let found = find(&memory, &root.id, b"dir-07/sub-0370/file33.rs").unwrap().unwrap();
    assert_eq!(found, map[&Path(b"dir-07/sub-0370".to_vec(), b"file33.rs".to_vec())]);
    assert!(reads(&memory) <= 4);
    let mut names = Vec::new();
    list(&memory, &root.id, b"", &mut |name, _| {
        names.push(String::from_utf8_lossy(name).into_owned());
        Ok(())
    })
    .unwrap();
    assert_eq!(names, (0..10).map(|number| format!("dir-{number:02}")).collect::<Vec<_>>());
    assert!(reads(&memory) < 40);
    let error = list(&memory, &root.id, b"dir-99", &mut |_, _| Ok(())).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(find(&memory, &root.id, b"dir-07/").unwrap(), None);
}

/// Pushes what is right, then what is not; says what the latter fails with.
fn refusal(right: &[(&str, &str)], wrong: (&str, &str), entry: &Entry) -> Kind {
    let mut memory = Memory::default();
    let mut builder = Builder::new(&KEY, &mut memory);
    for (path, name) in right {
        let entry = if name.is_empty() { directory() } else { file(1, 0, 1) };
        builder.push(Key { directory: path.as_bytes(), name: name.as_bytes() }, &entry).unwrap();
    }
    builder.push(Key { directory: wrong.0.as_bytes(), name: wrong.1.as_bytes() }, entry).unwrap_err().kind()
}

#[test]
fn what_is_out_of_place_is_refused() {
    let plain = file(1, 0, 1);
    let start = [("", ""), ("", "b"), ("d", ""), ("d", "x")];
    let places =
        [("", "b"), ("", "z"), ("d", "x"), ("d", "a"), ("e", "x"), ("d/e", "x"), ("d", "a/b"), ("d", "..")];
    for wrong in places {
        assert_eq!(refusal(&start, wrong, &plain), Kind::Invalid, "{wrong:?}");
    }
    for wrong in
        [("", ""), ("d", ""), ("c", ""), ("e/f", ""), ("d/e/f", ""), ("d//e", ""), ("e/", ""), ("d/..", "")]
    {
        assert_eq!(refusal(&start, wrong, &directory()), Kind::Invalid, "{wrong:?}");
    }
    assert_eq!(refusal(&[], ("", "a"), &plain), Kind::Invalid);
    assert_eq!(refusal(&[], ("a", ""), &directory()), Kind::Invalid);
    assert_eq!(refusal(&start, ("d", "y"), &directory()), Kind::Invalid);
    assert_eq!(refusal(&start, ("f", ""), &plain), Kind::Invalid);
    let long = "n".repeat(crate::limits::TREE_PATH_BYTES);
    assert_eq!(refusal(&start, ("d", &long), &plain), Kind::Limit);
    assert_eq!(Builder::new(&KEY, &mut Memory::default()).finish().unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn an_entry_that_cannot_be_is_refused() {
    let slice = |offset| Content::Slice { chunk: ChunkId([1; 32]), offset };
    let rows = |rows: Vec<u64>| Content::Rows {
        depth: 0,
        rows: rows.into_iter().map(|n| (ChunkId([1; 32]), n)).collect(),
    };
    let hole = |data_before, length| Hole { data_before, length };
    let plain = file(1, 0, 10);
    let holed = |holes, content| Entry { holes: Kept::Here(holes), content, ..plain.clone() };
    let wrong = [
        Entry { kind: FileKind::Socket, ..directory() },
        Entry { mode: 0o10000, ..plain.clone() },
        Entry { mtime: FileTime { seconds: 0, nanoseconds: 1_000_000_000 }, ..plain.clone() },
        Entry { target: b"x".to_vec(), ..plain.clone() },
        Entry { rdev: (1, 0), ..plain.clone() },
        Entry { kind: FileKind::Fifo, ..plain.clone() },
        Entry { content: Content::None, ..plain.clone() },
        Entry { size_bytes: 0, ..plain.clone() },
        Entry { content: slice(u64::MAX), ..plain.clone() },
        Entry { content: slice(crate::limits::TREE_CHUNK_BYTES - 9), ..plain.clone() },
        Entry { content: rows(vec![]), size_bytes: 0, ..plain.clone() },
        Entry { content: rows(vec![9]), ..plain.clone() },
        Entry { content: rows(vec![10, 0]), ..plain.clone() },
        Entry { content: rows(vec![u64::MAX, 11]), ..plain.clone() },
        Entry { content: rows(vec![1; 513]), size_bytes: 513, ..plain.clone() },
        Entry { content: Content::Rows { depth: 5, rows: vec![(ChunkId([1; 32]), 10)] }, ..plain.clone() },
        Entry { xattrs: Kept::Here(Vec::new()), ..plain.clone() },
        Entry { xattrs: Kept::Here(vec![(b"b".to_vec(), vec![]), (b"a".to_vec(), vec![])]), ..plain.clone() },
        holed(vec![], rows(vec![10])),
        holed(vec![hole(0, 5)], rows(vec![6])),
        holed(vec![hole(6, 5)], rows(vec![5])),
        holed(vec![hole(1, 1), hole(0, 1)], rows(vec![8])),
        holed(vec![hole(0, 5)], slice(0)),
        Entry { holes: Kept::Elsewhere(ChunkId([2; 32])), content: rows(vec![10]), ..plain.clone() },
        Entry { known: Known::Attributes, whole: false, ..plain.clone() },
        Entry { known: Known::Name, whole: false, ..plain.clone() },
        Entry { whole: true, ..plain.clone().unread() },
        Entry { mode: 1, ..Entry::known_by_name(FileKind::File) },
        Entry { size_bytes: 1, ..Entry::known_by_name(FileKind::File) },
        Entry { kind: FileKind::Fifo, size_bytes: 0, ..plain.clone().unread() },
    ];
    for entry in &wrong {
        assert_eq!(refusal(&[("", "")], ("", "x"), entry), Kind::Invalid, "{entry:?}");
    }
    let long = Kept::Here(vec![(b"user.long".to_vec(), vec![0; 4096])]);
    assert_eq!(refusal(&[("", "")], ("", "x"), &Entry { xattrs: long, ..plain.clone() }), Kind::Invalid);
    for right in
        [plain.clone(), holed(vec![hole(0, 10)], Content::None), holed(vec![hole(3, 2)], rows(vec![8]))]
    {
        assert_eq!(right.fault(), None, "{right:?}");
    }
}

#[test]
fn what_could_not_be_read_counts_as_an_entry_and_as_no_file() {
    let at = |name: &str| Path(Vec::new(), name.as_bytes().to_vec());
    let entries = [
        (at(""), directory()),
        (at("dark"), Entry::known_by_name(FileKind::File)),
        (at("f"), file(1, 0, 10)),
        (at("lost"), file(1, 0, 70).unread()),
    ];
    let mut memory = Memory::default();
    let root = build(&mut memory, &entries.iter().cloned().collect());
    assert_eq!((root.entries, root.files, root.bytes), (4, 1, 10));
    assert_eq!(read(&memory, &root.id).unwrap(), entries);
    assert_eq!(entries[3].1.size_bytes, 70);
}

#[test]
fn what_is_too_long_for_an_entry_is_kept_elsewhere_and_found() {
    let mut memory = Memory::default();
    let attributes: Xattrs = (0..100_u8).map(|number| (vec![b'u', number], vec![number; 50])).collect();
    let kept = keep_xattrs(&mut memory, attributes.clone()).unwrap();
    assert!(matches!(kept, Kept::Elsewhere(_)));
    assert_eq!(xattrs(&memory, &kept).unwrap(), attributes);
    let short: Xattrs = attributes[..3].to_vec();
    assert_eq!(keep_xattrs(&mut memory, short.clone()).unwrap(), Kept::Here(short));
    assert_eq!(keep_xattrs(&mut memory, Xattrs::new()).unwrap(), Kept::None);
    let many = vec![Hole { data_before: 4096, length: 1 << 20 }; 500];
    let kept = keep_holes(&mut memory, many.clone()).unwrap();
    assert!(matches!(kept, Kept::Elsewhere(_)));
    assert_eq!(holes(&memory, &kept, 500 * (4096 + (1 << 20))).unwrap(), many);
    assert_eq!(holes(&memory, &kept, 4096).unwrap_err().kind(), Kind::Damaged);
}

/// Fails at one call, once.
struct Failing(Memory, usize);

impl Store for Failing {
    fn put(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId> {
        self.1 = self.1.wrapping_sub(1);
        if self.1 == 0 { Err(Error::new(Kind::NoSpace, "full")) } else { self.0.put(kind, bytes) }
    }
}

#[test]
fn a_node_that_was_not_stored_is_the_end_of_the_tree() {
    let map = regular(30, 60);
    for at in 1..5 {
        let mut store = Failing(Memory::default(), at);
        let mut builder = Builder::new(&KEY, &mut store);
        let failures = map.iter().map(|(path, entry)| builder.push(path.key(), entry));
        let failures: Vec<Kind> =
            failures.filter_map(|pushed| pushed.err().map(|error| error.kind())).collect();
        assert_eq!(failures.first(), Some(&Kind::NoSpace));
        assert!(failures[1..].iter().all(|kind| *kind == Kind::Invalid));
        assert_eq!(builder.finish().unwrap_err().kind(), Kind::Invalid);
    }
}
