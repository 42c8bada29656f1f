//! Keys of a tree: the directory, and the name in it. The record of a directory itself has its own path and no name.
//!
//! Order: by the path of the directory, component by component, a directory before what is below it; then by name. So the record
//! of a directory comes first, then its other entries, then its sub-directories one after the other.

use std::cmp::Ordering;

/// The key of an entry. Paths are relative to the root (`a/b`), and empty for the root itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// The path of the directory: its own, when the entry is a directory.
    pub directory: &'a [u8],
    /// The name in that directory; empty when the entry is the directory.
    pub name: &'a [u8],
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_paths(self.directory, other.directory).then_with(|| self.name.cmp(other.name))
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares paths component by component: as bytes, but that the slash is less than every other (no name has a zero byte).
pub fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
    let same = shared(a, b);
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
    a.get(same).map(rank).cmp(&b.get(same).map(rank))
}

/// How many bytes both begin with alike.
pub fn shared(a: &[u8], b: &[u8]) -> usize {
    let mut same = 0;
    for (x, y) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
        let differing = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differing != 0 {
            return same + (differing.trailing_zeros() / 8) as usize;
        }
        same += 8;
    }
    same + a[same..].iter().zip(&b[same..]).take_while(|(x, y)| x == y).count()
}

/// The directory that holds `directory`; `None` for the root.
pub fn parent(directory: &[u8]) -> Option<&[u8]> {
    if directory.is_empty() {
        return None;
    }
    Some(directory.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |slash| &directory[..slash]))
}

/// Whether `path` is `ancestor` or lies below it.
pub fn is_in(path: &[u8], ancestor: &[u8]) -> bool {
    ancestor.is_empty() || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Whether a directory may follow `before` in a tree that is complete: what it is in has been there.
pub fn may_follow(directory: &[u8], before: &[u8]) -> bool {
    parent(directory).is_some_and(|parent| is_in(before, parent))
}

/// Whether this can be the name of something in a directory.
pub fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Whether this can be the path of a directory, of which the part before `checked` is known to be one.
pub fn is_path(path: &[u8], checked: usize) -> bool {
    let start = path[..checked].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    path.is_empty() || path[start..].split(|byte| *byte == b'/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop_oneof![Just(1_u8), Just(b'-'), Just(b'0'), Just(b'a'), Just(255)];
        proptest::collection::vec(proptest::collection::vec(byte, 1..4), 0..5)
    }

    proptest! {
        #[test]
        fn paths_are_ordered_by_their_components(a in path(), b in path()) {
            let (joined_a, joined_b) = (a.join(&b'/'), b.join(&b'/'));
            prop_assert_eq!(compare_paths(&joined_a, &joined_b), a.cmp(&b));
            prop_assert_eq!(is_in(&joined_a, &joined_b), a.starts_with(&b));
            prop_assert!(is_path(&joined_a, 0));
        }

        #[test]
        fn what_both_begin_with_is_counted(head in proptest::collection::vec(any::<u8>(), 0..40), a: [u8; 9], b: [u8; 3]) {
            let (a, b) = ([&head[..], &a].concat(), [&head[..], &b].concat());
            let naive = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
            prop_assert_eq!(shared(&a, &b), naive);
        }
    }

    #[test]
    fn a_directory_comes_before_what_is_below_it_and_that_before_its_siblings() {
        let sorted: [(&str, &str); 8] =
            [("", ""), ("", "z"), ("a", ""), ("a", "b"), ("a/b", ""), ("a/b", "x"), ("a-b", ""), ("b", "")];
        let keys =
            sorted.map(|(directory, name)| Key { directory: directory.as_bytes(), name: name.as_bytes() });
        assert!(keys.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn what_cannot_be_a_path_is_known() {
        for wrong in ["/", "a/", "/a", "a//b", ".", "..", "a/..", "a/./b", "a\0"] {
            assert!(!is_path(wrong.as_bytes(), 0), "{wrong}");
        }
        assert_eq!(parent(b"a/b"), Some(&b"a"[..]));
        assert_eq!((parent(b"a"), parent(b"")), (Some(&b""[..]), None));
        assert!(may_follow(b"a/c", b"a/b/x") && may_follow(b"b", b"a/b") && !may_follow(b"b/c", b"a/b"));
    }
}
