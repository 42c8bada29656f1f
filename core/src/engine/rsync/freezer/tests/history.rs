//! Random histories: what the second engine stored comes back, and of what the first one stored nothing comes back wrong.

use super::writer::{first, second, time_of, without_times};
use super::{How, Node, restore_to, tree_of};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Stamped = BTreeMap<String, (Node, u64)>;

/// A change of a tree.
#[derive(Debug, Clone)]
struct Change {
    path: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Directory,
    Link,
    /// A file of so many bytes, made from a seed.
    File(u64, usize),
    /// Bytes of a file replaced by others: where, how many, by how many.
    Splice(usize, usize, usize),
    Append(usize),
    Truncate(usize),
    Touch,
    Remove,
}

pub(super) fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn change() -> impl Strategy<Value = Change> {
    let what = prop_oneof![
        2 => Just(What::Directory),
        1 => Just(What::Link),
        4 => (0_u64..4, 0_usize..20_000).prop_map(|(seed, size)| What::File(seed, size)),
        4 => (0_usize..20_000, 0_usize..3000, prop_oneof![Just(0_usize), 1_usize..3000])
            .prop_map(|(at, out, into)| What::Splice(at, out, into)),
        2 => (1_usize..9000).prop_map(What::Append),
        2 => (0_usize..20_000).prop_map(What::Truncate),
        1 => Just(What::Touch),
        3 => Just(What::Remove),
    ];
    (prop::sample::select(vec!["a", "b", "d/a", "d/b", "d", "e/f/a", "e/f", "e"]), what)
        .prop_map(|(path, what)| Change { path: path.to_owned(), what })
}

fn apply(tree: &mut Stamped, change: &Change, level: usize) {
    let time = time_of(level);
    let remove = |tree: &mut Stamped, path: &str| {
        let inside = format!("{path}/");
        tree.retain(|other, _| other != path && !other.starts_with(&inside));
    };
    let old = match tree.get(&change.path) {
        Some((Node::File(content), _)) => Some(content.clone()),
        _ => None,
    };
    let new = match (&change.what, old) {
        (What::Remove, _) => return remove(tree, &change.path),
        (What::Directory, _) if matches!(tree.get(&change.path), Some((Node::Directory, _))) => return,
        (What::Directory, _) => Node::Directory,
        (What::Link, _) => Node::Link(format!("to-{level}").into_bytes()),
        (What::File(seed, size), _) => Node::File(bytes(*seed, *size)),
        (What::Splice(at, out, into), Some(mut content)) => {
            let start = content.len().min(*at);
            let end = content.len().min(start + out);
            content.splice(start..end, bytes(level as u64 + 9, *into));
            Node::File(content)
        }
        (What::Append(more), Some(mut content)) => {
            content.extend(bytes(level as u64 + 5, *more));
            Node::File(content)
        }
        (What::Truncate(size), Some(mut content)) => {
            content.truncate(*size);
            Node::File(content)
        }
        (What::Touch, Some(content)) => Node::File(content),
        _ => return,
    };
    let mut above = String::new();
    for name in change.path.split('/').collect::<Vec<_>>().split_last().map_or(&[][..], |(_, above)| above) {
        above = if above.is_empty() { (*name).to_owned() } else { format!("{above}/{name}") };
        if !matches!(tree.get(&above), Some((Node::Directory, _))) {
            remove(tree, &above);
            tree.insert(above.clone(), (Node::Directory, time));
        }
    }
    remove(tree, &change.path);
    tree.insert(change.path.clone(), (new, time));
}

fn history(changes: &[Vec<Change>]) -> Vec<Stamped> {
    let mut tree = Stamped::new();
    changes
        .iter()
        .enumerate()
        .map(|(level, changes)| {
            changes.iter().for_each(|change| apply(&mut tree, change, level));
            tree.clone()
        })
        .collect()
}

fn changes() -> impl Strategy<Value = Vec<Vec<Change>>> {
    proptest::collection::vec(proptest::collection::vec(change(), 0..7), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_the_second_engine_stored_comes_back(changes in changes(), block in prop::sample::select(vec![512_usize, 4096, 5000])) {
        let history = history(&changes);
        let levels = second(&history, block);
        for top in 1..=levels.streams.len() {
            let mut levels = levels.clone();
            levels.streams.truncate(top);
            let folder = tempfile::tempdir().unwrap();
            let outcome = restore_to(folder.path(), &levels, &How::default());
            outcome.result.unwrap();
            prop_assert_eq!(outcome.lost, Vec::<String>::new());
            prop_assert!(!outcome.warnings.contains("prove") && !outcome.warnings.contains("meanwhile"), "{}", outcome.warnings);
            prop_assert_eq!(tree_of(folder.path()), without_times(&history[top - 1]));
        }
    }

    #[test]
    fn of_what_the_first_engine_stored_nothing_comes_back_wrong(changes in changes()) {
        let history = history(&changes);
        let levels = first(&history);
        for top in 1..=levels.streams.len() {
            let mut levels = levels.clone();
            levels.streams.truncate(top);
            let folder = tempfile::tempdir().unwrap();
            let outcome = restore_to(folder.path(), &levels, &How::default());
            outcome.result.unwrap();
            let mut expected = without_times(&history[top - 1]);
            for lost in &outcome.lost {
                prop_assert!(matches!(expected.remove(lost), Some(Node::File(_))), "{} was no file", lost);
            }
            prop_assert!(top > 1 || outcome.lost.is_empty());
            prop_assert!(!outcome.warnings.contains("prove"), "{}", outcome.warnings);
            prop_assert_eq!(tree_of(folder.path()), expected);
        }
    }
}

/// Files that only grew, shrank or had bytes replaced are what the first engine got right.
#[test]
fn what_stays_in_its_place_comes_back_from_the_first_engine() {
    let at = |level: usize, content: &[u8]| {
        Stamped::from([("f".to_owned(), (Node::File(content.to_vec()), time_of(level)))])
    };
    let base = bytes(1, 30_000);
    let mut patched = base.clone();
    patched[9000..9100].copy_from_slice(&bytes(2, 100));
    let grown = [&patched[..], &bytes(3, 7000)].concat();
    let levels = first(&[
        at(0, &base),
        at(1, &patched),
        at(2, &grown),
        at(3, &grown[..12_000]),
        at(4, &grown[..12_000]),
    ]);
    for (top, content) in
        [(1, &base[..]), (2, &patched), (3, &grown), (4, &grown[..12_000]), (5, &grown[..12_000])]
    {
        let mut levels = levels.clone();
        levels.streams.truncate(top);
        let folder = tempfile::tempdir().unwrap();
        let outcome = restore_to(folder.path(), &levels, &How::default());
        outcome.result.unwrap();
        assert_eq!((outcome.lost, outcome.verified), (vec![], 1), "{top}");
        assert!(std::fs::read(folder.path().join("f")).unwrap() == content, "{top}");
    }
}

/// A byte in front of a file moves everything behind it: the first engine stored its first block, and not where the others are.
#[test]
fn what_was_moved_within_a_file_is_lost_in_words_and_does_not_stand_there() {
    let at = |level: usize, content: Vec<u8>| {
        let other = ("other".to_owned(), (Node::File(b"same".to_vec()), 1));
        Stamped::from([("f".to_owned(), (Node::File(content), time_of(level))), other])
    };
    let base = bytes(1, 12_000);
    let mut levels = first(&[at(0, base.clone()), at(1, [&b"x"[..], &base[..11_999]].concat())]);
    for with_manifest in [true, false] {
        if !with_manifest {
            levels.manifests.clear();
        }
        let folder = tempfile::tempdir().unwrap();
        let outcome = restore_to(folder.path(), &levels, &How::default());
        outcome.result.unwrap();
        assert_eq!(outcome.lost, if with_manifest { vec!["f".to_owned()] } else { vec![] });
        assert_eq!(outcome.warnings.contains("f was put together"), !with_manifest, "{}", outcome.warnings);
        assert_eq!(tree_of(folder.path()).contains_key("f"), !with_manifest);
        assert_eq!(tree_of(folder.path())["other"], Node::File(b"same".to_vec()));
    }
}

/// Where the file grew by that, the end of it was never stored: that is known without the digests.
#[test]
fn what_was_never_stored_is_lost_in_words_and_does_not_stand_there() {
    let at = |level: usize, content: Vec<u8>| {
        Stamped::from([("f".to_owned(), (Node::File(content), time_of(level)))])
    };
    let base = bytes(1, 12_000);
    let mut levels = first(&[at(0, base.clone()), at(1, [&b"x"[..], &base].concat())]);
    levels.manifests.clear();
    let folder = tempfile::tempdir().unwrap();
    let outcome = restore_to(folder.path(), &levels, &How::default());
    outcome.result.unwrap();
    assert_eq!((outcome.lost, outcome.entries), (vec!["f".to_owned()], 0));
    assert!(tree_of(folder.path()).is_empty());
}
