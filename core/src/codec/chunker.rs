//! Content cut into chunks where the content itself says so: what is inserted or removed moves the borders near it and no
//! others, so the rest is found again.
//!
//! The rule is normative (`docs/format/dedup.md`): a gear hash (W. Xia et al., "Ddelta", 2014) over a table that comes from a
//! key, with sizes normalised by two thresholds (W. Xia et al., "FastCDC", USENIX ATC 2016). Without the key, the lengths of
//! chunks tell nothing about what they hold.
//!
//! Invariants: a border depends on the key, on the length of the chunk up to there and on the last 64 bytes of
//! it, on nothing else; so every way to scan gives the same chunks. The way that is used here looks at four places at once,
//! since one hash alone would wait for its own result at every byte.

use crate::limits::{CHUNK_AVERAGE_BYTES, CHUNK_MAX_BYTES, CHUNK_MIN_BYTES};
use std::fmt;

#[cfg(test)]
mod tests;

/// Bytes a hash depends on: each step shifts by one bit, so a byte has left the 64 bits after as many steps.
const WINDOW_BYTES: usize = 64;

/// Bytes that are scanned by each of the four lanes in one go. A lane has to take in a window before it can begin, which
/// costs 1.5 % with this length; a border costs a second look, byte by byte, at up to four lanes.
const LANE_BYTES: usize = 4096;

const _: () = assert!(CHUNK_MIN_BYTES >= WINDOW_BYTES && LANE_BYTES >= WINDOW_BYTES);
const _: () = assert!(LANE_BYTES.is_multiple_of(2));

/// What the table is made from, under the key.
const GEAR_CONTEXT: &[u8] = b"icecore dedup 1 gear";

/// Finds where chunks end. Made once per key and shared by reference among any number of threads.
pub struct Chunker {
    gear: Box<[u64; 256]>,
    /// Twice each entry of `gear`, for two bytes in one step.
    gear_doubled: Box<[u64; 256]>,
    min_bytes: usize,
    average_bytes: usize,
    max_bytes: usize,
}

impl Chunker {
    /// Chunks of [`CHUNK_MIN_BYTES`] to [`CHUNK_MAX_BYTES`], with the borders that belong to `key`.
    pub fn new(key: &[u8; 32]) -> Self {
        Chunker::with_sizes(key, CHUNK_MIN_BYTES, CHUNK_AVERAGE_BYTES, CHUNK_MAX_BYTES)
    }

    /// Chunks of other sizes, so that a test needs little data. The average must be a power of two.
    pub(crate) fn with_sizes(
        key: &[u8; 32],
        min_bytes: usize,
        average_bytes: usize,
        max_bytes: usize,
    ) -> Self {
        assert!(
            WINDOW_BYTES <= min_bytes && min_bytes <= average_bytes && average_bytes <= max_bytes,
            "sizes of chunks out of order"
        );
        assert!(average_bytes.is_power_of_two(), "an average chunk that is no power of two");
        let gear = Box::new(gear(key));
        let gear_doubled = Box::new(gear.map(|entry| entry << 1));
        Chunker { gear, gear_doubled, min_bytes, average_bytes, max_bytes }
    }

    /// Length of the first chunk of `data`, which is everything that follows, or at least [`CHUNK_MAX_BYTES`] of it.
    ///
    /// From 1 to [`CHUNK_MAX_BYTES`]; 0 only where there is no data. The last chunk ends with the data, however short it is.
    pub fn cut(&self, data: &[u8]) -> usize {
        let data = &data[..data.len().min(self.max_bytes)];
        let bits = self.average_bytes.ilog2();
        // A chunk of length n has its last byte at n - 1.
        let first = self.min_bytes - 1;
        let turn = (self.average_bytes - 1).min(data.len());
        let strict = self.first_border(data, first, turn, limit(bits + 1));
        let border = strict.or_else(|| self.first_border(data, turn.max(first), data.len(), limit(bits - 1)));
        border.map_or(data.len(), |last| last + 1)
    }

    /// The first position from `start` until before `end` whose hash is below `limit`.
    ///
    /// `start` has at least `WINDOW_BYTES - 1` bytes before it.
    fn first_border(&self, data: &[u8], start: usize, end: usize, limit: u64) -> Option<usize> {
        let mut position = start;
        while position < end {
            let stop = end.min(position + 4 * LANE_BYTES);
            let (before, rest) = data.split_at(position);
            let before = &before[position + 1 - WINDOW_BYTES..];
            let may_end = match rest[..stop - position].as_chunks::<LANE_BYTES>() {
                ([a, b, c, d], []) => self.may_hold_border(before, [a, b, c, d], limit),
                // Too little for four lanes.
                _ => true,
            };
            if may_end && let Some(found) = self.next_border(before, &rest[..stop - position], limit) {
                return Some(position + found);
            }
            position = stop;
        }
        None
    }

    /// The definition: one hash, byte by byte. The first position in `data` whose hash is below `limit`.
    fn next_border(&self, before: &[u8], data: &[u8], limit: u64) -> Option<usize> {
        let mut hash = before.iter().fold(0, |hash, byte| self.step(hash, *byte));
        data.iter().position(|byte| {
            hash = self.step(hash, *byte);
            hash < limit
        })
    }

    fn step(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.gear[usize::from(byte)])
    }

    /// Whether a hash in one of four neighbouring lanes may be below `limit`: never false where one is.
    ///
    /// Two bytes make one step, h'' = 4h + 2 G[first] + G[second]. Between them stands not the first byte's hash but twice
    /// it, without its highest bit; where the hash is below the limit, that is below twice the limit. The reverse does not
    /// hold, hence "may".
    fn may_hold_border(&self, before: &[u8], lanes: [&[u8; LANE_BYTES]; 4], limit: u64) -> bool {
        let (gear, doubled) = (&*self.gear, &*self.gear_doubled);
        let [a, b, c, d] = lanes;
        let [mut hash_a, mut hash_b, mut hash_c, mut hash_d] = self.lane_starts(before, lanes);
        let any_below =
            |limit: u64, a: u64, b: u64, c: u64, d: u64| a < limit || b < limit || c < limit || d < limit;
        for j in (0..LANE_BYTES - 1).step_by(2) {
            hash_a = (hash_a << 2).wrapping_add(doubled[usize::from(a[j])]);
            hash_b = (hash_b << 2).wrapping_add(doubled[usize::from(b[j])]);
            hash_c = (hash_c << 2).wrapping_add(doubled[usize::from(c[j])]);
            hash_d = (hash_d << 2).wrapping_add(doubled[usize::from(d[j])]);
            if any_below(limit << 1, hash_a, hash_b, hash_c, hash_d) {
                return true;
            }
            hash_a = hash_a.wrapping_add(gear[usize::from(a[j + 1])]);
            hash_b = hash_b.wrapping_add(gear[usize::from(b[j + 1])]);
            hash_c = hash_c.wrapping_add(gear[usize::from(c[j + 1])]);
            hash_d = hash_d.wrapping_add(gear[usize::from(d[j + 1])]);
            if any_below(limit, hash_a, hash_b, hash_c, hash_d) {
                return true;
            }
        }
        false
    }

    /// The hashes with which the four lanes begin: of the window before each, all but the byte that leaves at the first step.
    fn lane_starts(&self, before: &[u8], lanes: [&[u8; LANE_BYTES]; 4]) -> [u64; 4] {
        let [a, b, c, _] = lanes.map(|lane| &lane[LANE_BYTES + 1 - WINDOW_BYTES..]);
        let mut hashes = [0; 4];
        for (((first, second), third), fourth) in before.iter().zip(a).zip(b).zip(c) {
            for (hash, byte) in hashes.iter_mut().zip([first, second, third, fourth]) {
                *hash = self.step(*hash, *byte);
            }
        }
        hashes
    }
}

impl fmt::Debug for Chunker {
    /// The sizes only: the table is as secret as the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunker")
            .field("min_bytes", &self.min_bytes)
            .field("average_bytes", &self.average_bytes)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// The table of `key`.
fn gear(key: &[u8; 32]) -> [u64; 256] {
    let mut bytes = [0; 256 * 8];
    blake3::Hasher::new_keyed(key).update(GEAR_CONTEXT).finalize_xof().fill(&mut bytes);
    let mut gear = [0; 256];
    for (entry, word) in gear.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *entry = u64::from_le_bytes(*word);
    }
    gear
}

/// What a hash is below exactly where its `bits` highest bits are zero.
fn limit(bits: u32) -> u64 {
    1 << (u64::BITS - bits)
}
