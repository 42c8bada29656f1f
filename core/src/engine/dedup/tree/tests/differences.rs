//! Differences: those that comparing every entry finds, at the price of what differs.

use super::*;

/// In the first tree, in the second.
type Found = (Option<Entry>, Option<Entry>);

fn difference(memory: &Memory, a: &ChunkId, b: &ChunkId) -> Vec<(Path, Found)> {
    let mut all = Vec::new();
    diff(memory, a, b, &mut |difference| {
        let found = match difference.change {
            Change::Added(new) => (None, Some(new.clone())),
            Change::Removed(old) => (Some(old.clone()), None),
            Change::Changed(old, new) => (Some(old.clone()), Some(new.clone())),
        };
        all.push((Path::of(difference.key), found));
        Ok(())
    })
    .unwrap();
    all
}

fn naive(a: &Map, b: &Map) -> Vec<(Path, Found)> {
    let mut all = Vec::new();
    for (path, old) in a {
        match b.get(path) {
            None => all.push((path.clone(), (Some(old.clone()), None))),
            Some(new) if new != old => all.push((path.clone(), (Some(old.clone()), Some(new.clone())))),
            Some(_) => (),
        }
    }
    all.extend(
        b.iter()
            .filter(|(path, _)| !a.contains_key(path))
            .map(|(path, new)| (path.clone(), (None, Some(new.clone())))),
    );
    all.sort_by(|x, y| x.0.cmp(&y.0));
    all
}

/// A change: of one entry, of many, of a whole directory.
fn change(map: &mut Map, at: usize, how: u8, entry: Entry) {
    let path = map.keys().nth(at % map.len()).unwrap().clone();
    let is_file = map[&path].kind != FileKind::Directory;
    match how {
        0 if is_file => drop(map.remove(&path)),
        1 => drop(map.insert(Path(path.0, [&path.1[..], b"new"].concat()), entry)),
        2 if is_file => drop(map.insert(path, entry)),
        3 if !path.0.is_empty() => map.retain(|other, _| !key::is_in(&other.0, &path.0)),
        4 => map
            .values_mut()
            .skip(at % 50)
            .step_by(13)
            .filter(|entry| entry.known != Known::Name)
            .for_each(|entry| entry.inode = entry.inode.wrapping_add(1)),
        _ if map[&path].known == Known::Name => (),
        _ => map.get_mut(&path).unwrap().mode ^= 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn differences_are_those_of_comparing_all(
        small in any_tree(), regular_size in (0_u64..60, 0_u64..60), use_small: bool,
        changes in vec((any::<usize>(), 0_u8..6, other()), 0..8)
    ) {
        let before = if use_small { small } else { regular(regular_size.0, regular_size.1) };
        let mut after = before.clone();
        for (at, how, entry) in changes {
            change(&mut after, at, how, entry);
        }
        let mut memory = Memory::default();
        let (a, b) = (build(&mut memory, &before).id, build(&mut memory, &after).id);
        prop_assert_eq!(difference(&memory, &a, &b), naive(&before, &after));
        prop_assert_eq!(difference(&memory, &b, &a), naive(&after, &before));
    }

    #[test]
    fn trees_that_have_nothing_in_common_differ_in_all(a in any_tree(), b in any_tree()) {
        let mut memory = Memory::default();
        let (root_a, root_b) = (build(&mut memory, &a).id, build(&mut memory, &b).id);
        prop_assert_eq!(difference(&memory, &root_a, &root_b), naive(&a, &b));
    }
}

#[test]
fn a_moved_file_is_removed_and_added_and_little_is_read_for_it() {
    let before = regular(1000, 30);
    let mut after = before.clone();
    let from = Path(b"dir-03/sub-0170".to_vec(), b"file3.rs".to_vec());
    let to = Path(b"dir-15/sub-0777".to_vec(), b"moved.rs".to_vec());
    let entry = after.remove(&from).unwrap();
    after.insert(to.clone(), entry.clone());
    let mut memory = Memory::default();
    let (a, b) = (build(&mut memory, &before).id, build(&mut memory, &after).id);
    memory.reads.store(0, Ordering::Relaxed);
    let found = difference(&memory, &a, &b);
    assert_eq!(found, [(from, (Some(entry.clone()), None)), (to, (None, Some(entry)))]);
    let reads = memory.reads.load(Ordering::Relaxed);
    assert!(reads <= 20, "{reads} of {}", memory.chunks.len());
    assert!(difference(&memory, &a, &a).is_empty());
}
