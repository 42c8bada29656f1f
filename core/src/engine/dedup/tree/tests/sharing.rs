//! Borders: a change makes few new nodes, and what went before it none; entries are short.

use super::*;

/// How many nodes of `after` are not in `before`.
fn new_nodes(before: &Map, after: &Map) -> usize {
    let mut memory = Memory::default();
    build(&mut memory, before);
    let known = memory.chunks.len();
    build(&mut memory, after);
    memory.chunks.len() - known
}

#[test]
fn one_change_makes_about_as_many_nodes_as_the_tree_is_high() {
    let before = regular(600, 50);
    let paths: Vec<&Path> = before.keys().filter(|path| !path.1.is_empty()).step_by(601).collect();
    let mut most = 0;
    for (index, path) in paths.iter().enumerate() {
        let mut after = before.clone();
        match index % 3 {
            0 => drop(after.remove(*path)),
            1 => drop(after.insert(Path(path.0.clone(), [&path.1[..], b"~"].concat()), file(1, 2, 3))),
            _ => after.get_mut(*path).unwrap().mode = 0o600,
        }
        let new = new_nodes(&before, &after);
        most = most.max(new);
        assert!(new >= 2);
    }
    // Height 2; a border that goes takes one more node of its height, seldom two.
    assert!(most <= 8, "{most}");
}

#[test]
fn a_directory_that_comes_leaves_the_others_as_they_are() {
    let mut all = regular(400, 40);
    let one = all.clone();
    let path = b"dir-03/sub-0160x".to_vec();
    all.insert(Path(path.clone(), Vec::new()), directory());
    all.extend(
        (0..40_u64).map(|number| (Path(path.clone(), number.to_string().into_bytes()), file(1, number, 1))),
    );
    let new = new_nodes(&one, &all);
    assert!(new <= 8, "{new}");
}

#[test]
fn nodes_end_by_number_and_by_size_where_no_key_ends_them() {
    let mut map = Map::from([(Path(Vec::new(), Vec::new()), directory())]);
    for number in 0..400_u32 {
        // Each takes 20 KiB of ids.
        let ids = (0..512_u32)
            .map(|row| (ChunkId(*blake3::hash(&(number * 512 + row).to_le_bytes()).as_bytes()), 1));
        let content = Content::Rows { depth: 0, rows: ids.collect() };
        let entry = Entry { size_bytes: 512, content, ..file(0, 0, 1) };
        map.insert(Path(Vec::new(), number.to_string().into_bytes()), entry);
    }
    let mut memory = Memory::default();
    let root = build(&mut memory, &map);
    let largest = memory.chunks.values().map(|(_, bytes)| bytes.len()).max().unwrap();
    assert!((512 << 10..600 << 10).contains(&largest), "{largest}");
    assert!(read(&memory, &root.id).unwrap().into_iter().eq(map));
}

#[test]
fn the_longest_paths_make_a_tree_that_can_be_read() {
    let mut map = Map::from([(Path(Vec::new(), Vec::new()), directory())]);
    for letter in b'a'..=b'd' {
        let mut path = vec![letter];
        while path.len() < crate::limits::TREE_PATH_BYTES - 200 {
            map.insert(Path(path.clone(), Vec::new()), directory());
            path.extend([&b"/"[..], &[letter; 5000]].concat());
            path.truncate(crate::limits::TREE_PATH_BYTES - 100);
        }
        map.insert(Path(path.clone(), Vec::new()), directory());
        map.insert(Path(path, vec![letter; 100]), file(1, 1, 1));
    }
    let mut memory = Memory::default();
    let root = build(&mut memory, &map);
    assert!(read(&memory, &root.id).unwrap().into_iter().eq(map));
    assert!(memory.chunks.values().all(|(_, bytes)| bytes.len() <= crate::limits::TREE_NODE_BYTES));
}

#[test]
fn an_entry_of_a_source_tree_takes_some_thirty_bytes() {
    let map = regular(300, 40);
    let mut memory = Memory::default();
    build(&mut memory, &map);
    let bytes: usize = memory.chunks.values().map(|(_, bytes)| bytes.len()).sum();
    // Times without nanoseconds to speak of.
    assert!(bytes / map.len() < 30, "{}", bytes / map.len());
}
