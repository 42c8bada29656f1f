//! Where a bundle of small files ends: by the files themselves, so that two hosts with the same directory make the same
//! bundles, and a file that comes or goes changes only the bundles near it.
//!
//! The rule is normative (`docs/format/dedup.md`). A file ends its bundle with a probability in proportion to its size, so
//! that what counts is content, not the number of files; which files those are depends on a key. Invariant: whether a file
//! ends a bundle depends on the key, its name, its size and how full the bundle is, on nothing else.

use crate::limits::{
    BUNDLE_FILE_MIN_BYTES, BUNDLE_FILES_MAX, BUNDLE_FILES_MIN, BUNDLE_MAX_BYTES, BUNDLE_MIN_BYTES,
    BUNDLE_SPAN_BYTES,
};
use std::fmt;

/// The rule that ends bundles. Made once per key and shared by reference.
pub struct Borders {
    /// Keyed, with nothing put in yet: a copy saves setting it up for every file.
    keyed: blake3::Hasher,
}

impl fmt::Debug for Borders {
    /// Nothing but the name: the rest is the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borders").finish_non_exhaustive()
    }
}

impl Borders {
    /// The rule that belongs to `key`, which serves nothing else.
    pub fn new(key: &[u8; 32]) -> Self {
        Borders { keyed: blake3::Hasher::new_keyed(key) }
    }

    /// Whether the file `name` of `size_bytes` is the last of its bundle, which with it holds `files_with_it` files of
    /// `bundle_bytes_with_it` bytes in all.
    pub fn ends_bundle(
        &self,
        name: &[u8],
        size_bytes: u64,
        bundle_bytes_with_it: u64,
        files_with_it: usize,
    ) -> bool {
        if bundle_bytes_with_it >= BUNDLE_MAX_BYTES || files_with_it >= BUNDLE_FILES_MAX {
            return true;
        }
        let may_end = bundle_bytes_with_it >= BUNDLE_MIN_BYTES || files_with_it >= BUNDLE_FILES_MIN;
        may_end && self.hash(name, size_bytes) < limit(size_bytes)
    }

    fn hash(&self, name: &[u8], size_bytes: u64) -> u64 {
        let mut bytes = [0; 8];
        let mut hasher = self.keyed.clone();
        hasher.update(&size_bytes.to_le_bytes()).update(name).finalize_xof().fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// What the hash of a file of that size has to be below: on average once in [`BUNDLE_SPAN_BYTES`] of content.
fn limit(size_bytes: u64) -> u64 {
    size_bytes.max(BUNDLE_FILE_MIN_BYTES).saturating_mul(u64::MAX / BUNDLE_SPAN_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn the_vectors_of_the_format_hold() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../docs/format/vectors/borders.json")).unwrap();
        let hex = vectors["key"].as_str().unwrap();
        let key = std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap());
        let borders = Borders::new(&key);
        let files = vectors["files"].as_array().unwrap();
        assert!(files.len() >= 30);
        for file in files {
            let name = file["name"].as_str().unwrap().as_bytes();
            let size = file["size"].as_u64().unwrap();
            let bundle_bytes = file["bundle_bytes"].as_u64().unwrap();
            let count = file["files"].as_u64().unwrap() as usize;
            assert_eq!(
                format!("{:016x}", borders.hash(name, size)),
                file["hash"].as_str().unwrap(),
                "{file}"
            );
            let ends = borders.ends_bundle(name, size, bundle_bytes, count);
            assert_eq!(ends, file["ends"].as_bool().unwrap(), "{file}");
        }
    }

    /// The bundles of files that are called by their numbers, as numbers of the last ones.
    fn ends(borders: &Borders, files: impl Iterator<Item = (u64, u64)>) -> Vec<u64> {
        let (mut bytes, mut count, mut ends) = (0, 0, Vec::new());
        for (number, size) in files {
            (bytes, count) = (bytes + size, count + 1);
            if borders.ends_bundle(&number.to_le_bytes(), size, bytes, count) {
                (bytes, count) = (0, 0);
                ends.push(number);
            }
        }
        ends
    }

    #[test]
    fn a_bundle_goes_on_for_a_span_behind_its_minimum_whatever_the_size_of_files() {
        let borders = Borders::new(&KEY);
        for size in [4 << 10, 10_000, 64 << 10, 200_000] {
            let count = (1 << 30) / size;
            let bundles = ends(&borders, (0..count).map(|number| (number, size))).len() as f64;
            let mean = (count * size) as f64 / bundles;
            // A span, less the few that would be longer than the maximum allows.
            let span = BUNDLE_SPAN_BYTES as f64 * (1.0 - f64::exp(-3.0));
            let ratio = mean / (BUNDLE_MIN_BYTES as f64 + span);
            assert!((0.85..1.15).contains(&ratio), "{ratio} of the expected mean with files of {size} bytes");
        }
    }

    #[test]
    fn tiny_and_empty_files_end_bundles_by_their_names() {
        let borders = Borders::new(&KEY);
        let tiny = ends(&borders, (0..40_000).map(|number| (number, 512)));
        assert!(
            tiny.len() > 12 && tiny.windows(2).all(|two| two[1] - two[0] < BUNDLE_FILES_MAX as u64),
            "{tiny:?}"
        );
        let empty = ends(&borders, (0..40_000).map(|number| (number, 0)));
        let shifted = ends(&borders, (39_999..40_000).chain(0..40_000).map(|number| (number, 0)));
        let shared = empty.iter().filter(|end| shifted.contains(end)).count();
        assert!(empty.len() > 20 && shared > empty.len() - 6, "{shared} of {}", empty.len());
    }

    #[test]
    fn a_file_more_moves_only_the_borders_near_it() {
        let borders = Borders::new(&KEY);
        let size = |number: u64| 1000 + number * 7919 % 30_000;
        let before = ends(&borders, (0..20_000).map(|number| (number, size(number))));
        let after = ends(&borders, [(99_999, 1 << 20)].into_iter().chain((0..20_000).map(|n| (n, size(n)))));
        let moved = after.iter().filter(|end| !before.contains(end)).count();
        assert!(before.len() > 100 && moved < 10, "{moved} of {} borders moved", before.len());
    }

    #[test]
    fn another_key_gives_other_borders() {
        let files = || (0..20_000).map(|number| (number, 10_000));
        let (one, other) = (ends(&Borders::new(&KEY), files()), ends(&Borders::new(&[8; 32]), files()));
        let shared = one.iter().filter(|end| other.contains(end)).count();
        assert!(one.len() > 80 && shared * 10 < one.len(), "{shared} of {}", one.len());
    }

    proptest! {
        #[test]
        fn bounds_hold_for_every_file(name: Vec<u8>, size: u64, bytes: u64, files: usize) {
            let ends = Borders::new(&KEY).ends_bundle(&name, size, bytes, files);
            if bytes >= BUNDLE_MAX_BYTES || files >= BUNDLE_FILES_MAX {
                prop_assert!(ends);
            } else if bytes < BUNDLE_MIN_BYTES && files < BUNDLE_FILES_MIN {
                prop_assert!(!ends);
            }
        }
    }
}
