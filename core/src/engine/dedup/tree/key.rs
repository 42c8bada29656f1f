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
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        let differing = word(x) ^ word(y);
        if differing != 0 {
            return same + (differing.trailing_zeros() / 8) as usize;
        }
        same += 8;
    }
    same + a[same..].iter().zip(&b[same..]).take_while(|(x, y)| x == y).count()
}
