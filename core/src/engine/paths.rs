//! A set of paths that are known again, kept as hashes so that each takes little memory.
//!
//! Invariant: what was inserted is always found. That something else is found takes two paths with one hash of 128 bits.

use crate::error::{Error, Kind, Result};
use crate::limits::RESTORE_PATHS;
use std::collections::HashSet;

/// A set of paths.
#[derive(Debug, Default)]
pub(super) struct Paths {
    hashes: HashSet<u128>,
}

impl Paths {
    /// Adds one.
    ///
    /// # Errors
    /// `Limit` when there are too many.
    pub fn insert(&mut self, path: &[u8]) -> Result<()> {
        if self.hashes.len() >= RESTORE_PATHS {
            let most = format!("{RESTORE_PATHS} paths that have to be remembered");
            return Err(Error::new(Kind::Limit, "more than").on(most));
        }
        self.hashes.insert(hash(path));
        Ok(())
    }

    /// Takes one out again.
    pub fn remove(&mut self, path: &[u8]) {
        if !self.hashes.is_empty() {
            self.hashes.remove(&hash(path));
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Whether one was added.
    pub fn contains(&self, path: &[u8]) -> bool {
        !self.hashes.is_empty() && self.hashes.contains(&hash(path))
    }
}

fn hash(path: &[u8]) -> u128 {
    let hash = blake3::hash(path);
    let (head, _) = hash.as_bytes().split_at(16);
    head.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_known_again() {
        let mut paths = Paths::default();
        assert!(!paths.contains(b"a"));
        for path in [&b""[..], b"a", b"a/b", b"\xff"] {
            paths.insert(path).unwrap();
        }
        assert!(paths.contains(b"") && paths.contains(b"a/b") && paths.contains(b"\xff"));
        paths.insert(b"a").unwrap();
        assert_eq!(paths.len(), 4);
        paths.remove(b"a");
        assert!(paths.len() == 3 && !paths.contains(b"a"));
        assert!(!paths.contains(b"b") && !paths.contains(b"a/") && !paths.contains(b"ab"));
    }
}
