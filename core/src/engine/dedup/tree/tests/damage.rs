//! Foreign bytes: never a panic, never an endless tree, never entries out of order; what is lost is told.

use super::*;
use crate::error::Kind;

/// Goes through all of a tree in every way, and past what is broken.
fn use_up(memory: &Memory, root: &ChunkId) -> Vec<Path> {
    let mut paths = Vec::new();
    if let Ok(mut cursor) = Cursor::new(memory, root) {
        for _ in 0..10_000 {
            match cursor.peek() {
                Ok(Some((key, entry))) => {
                    assert_eq!(entry.fault(), None);
                    paths.push(Path::of(key));
                    cursor.advance();
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(matches!(error.kind(), Kind::Damaged | Kind::Unsupported), "{error:?}");
                    assert!(cursor.peek().is_err(), "an error stays until it is passed over");
                    assert!(cursor.skip().is_some());
                }
            }
        }
    }
    let _found = find(memory, root, b"dir-00/sub-0001/file1.rs").is_ok();
    let _listed = list(memory, root, b"dir-00", &mut |_, _| Ok(())).is_ok();
    let _counted = totals(memory, root).is_ok();
    paths
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn changed_nodes_are_noticed_or_harmless(
        map in any_tree(), which: prop::sample::Index, changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut: bool
    ) {
        let mut memory = Memory::default();
        let root = build(&mut memory, &map);
        let mut ids: Vec<ChunkId> = memory.chunks.keys().copied().collect();
        ids.sort();
        let (_, bytes) = memory.chunks.get_mut(which.get(&ids)).unwrap();
        for (at, byte) in &changes {
            *at.get_mut(bytes) = *byte;
        }
        if cut {
            bytes.truncate(changes[0].0.index(bytes.len()));
        }
        let paths = use_up(&memory, &root.id);
        prop_assert!(paths.is_sorted_by(|a, b| a < b));
        let other = build(&mut memory, &regular(3, 3));
        let _differ = diff(&memory, &root.id, &other.id, &mut |_| Ok(())).is_ok();
    }

    #[test]
    fn any_bytes_are_a_tree_or_an_error(bytes in vec(any::<u8>(), 0..200), height in 0_u8..3) {
        let mut memory = Memory::default();
        let id = ChunkId([1; 32]);
        let bytes = [&[1, height][..], &bytes].concat();
        memory.chunks.insert(id, (ChunkKind::Node, bytes));
        use_up(&memory, &id);
    }
}

#[test]
fn a_node_that_is_missing_is_told_and_the_rest_is_read() {
    let map = regular(200, 50);
    let mut memory = Memory::default();
    let root = build(&mut memory, &map);
    let whole = read(&memory, &root.id).unwrap();
    let mut ids: Vec<ChunkId> = memory.chunks.keys().copied().filter(|id| *id != root.id).collect();
    ids.sort();
    for id in ids.iter().step_by(7) {
        let gone = memory.chunks.remove(id).unwrap();
        let mut cursor = Cursor::new(&memory, &root.id).unwrap();
        let (mut seen, mut lost) = (0, 0);
        loop {
            match cursor.peek() {
                Ok(Some((key, _))) => {
                    assert!(whole.iter().any(|(path, _)| path.key() == key));
                    seen += 1;
                    cursor.advance();
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Damaged);
                    lost += cursor.skip().unwrap().totals.entries;
                    assert!(cursor.skip().is_none());
                }
            }
        }
        assert_eq!((seen + lost) as usize, map.len());
        assert!(lost > 0);
        memory.chunks.insert(*id, gone);
    }
}

#[test]
fn newer_versions_kinds_forms_and_odd_fields_are_refused_as_such() {
    let id = ChunkId([1; 32]);
    let kind_of = |bytes: &[u8]| {
        let mut memory = Memory::default();
        memory.chunks.insert(id, (ChunkKind::Node, bytes.to_vec()));
        read(&memory, &id).map(|all| all.len()).map_err(|error| error.kind())
    };
    // The root directory, and a file without content.
    let head = [1, 0, 2, 0, 1, 0, 0, 0, 0, 0];
    let root = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let node = |file: &[u8]| [&head[..], &root, file].concat();
    let plain = [1, 0, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let with = |changes: &[(usize, u8)], tail: &[u8]| {
        let mut file = plain;
        changes.iter().for_each(|(at, byte)| file[*at] = *byte);
        node(&[&file[..], tail].concat())
    };
    assert_eq!(kind_of(&node(&plain)), Ok(2));
    assert_eq!(kind_of(&with(&[(1, 128)], &[2, 2, 0])), Ok(2));
    // One that could not be read, of which its name or its attributes are known; and a field behind that.
    for unread in [&[3, 1, 1, 1][..], &[3, 1, 1, 2], &[5, 1, 1, 2, 2, 0]] {
        assert_eq!(kind_of(&with(&[(1, 192)], unread)), Ok(2), "{unread:?}");
    }
    let mut newer = node(&plain);
    newer[0] = 2;
    let fields = [with(&[(1, 128)], &[2, 3, 0]), with(&[(1, 192)], &[3, 1, 1, 3])];
    for bytes in [&[newer, with(&[(0, 6)], &[]), with(&[(13, 7)], &[])][..], &fields].concat() {
        assert_eq!(kind_of(&bytes), Err(Kind::Unsupported), "{bytes:?}");
    }
    let broken = [
        with(&[], &[0]),
        with(&[(1, 6)], &[1, 1, b'a', 0]),
        with(&[(4, b'/')], &[]),
        with(&[(2, 1)], &[]),
        with(&[(5, 0x80)], &[]),
        with(&[(6, 1)], &[]),
        with(&[(1, 128)], &[1, 2]),
        with(&[(1, 128)], &[3, 1, 1, 1]),
        with(&[(1, 192)], &[2, 1, 0]),
        with(&[(1, 192)], &[4, 1, 2, 1, 1]),
        with(&[(1, 192)], &[5, 2, 0, 1, 1, 1]),
        with(&[(1, 192)], &[6, 1, 1, 1, 1, 1, 1]),
        with(&[(1, 192), (5, 1)], &[3, 1, 1, 2]),
        with(&[(0, 3), (1, 192), (12, 3), (13, 1)], &[1, 1]),
        with(&[(12, 1)], &[]),
        vec![],
        vec![1],
        vec![1, 33, 0],
        vec![1, 0, 0, 0, 0, 0],
        vec![1, 1, 0],
    ];
    for bytes in broken {
        assert_eq!(kind_of(&bytes), Err(Kind::Damaged), "{bytes:?}");
    }
}
