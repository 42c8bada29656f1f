//! Looking a block up by its weak sum: a filter of bits that says no nine times out of ten, and behind it a hash table.
//!
//! Invariant: a block that is found has the weak and the strong sum of the window; the work for one window is bounded,
//! whatever the signature.

use super::rolling::weak;
use super::signature::{STRONG_BYTES, Signature, strong};
use crate::limits::{RSYNC_BUCKET, RSYNC_CANDIDATES, RSYNC_FILTER_BITS_MAX};

/// In the place of a block: none.
const NONE: u32 = u32::MAX;

/// The blocks of full length of a signature.
pub struct BlockIndex {
    signature: Signature,
    /// A bit for the upper part of each weak sum that occurs.
    filter: Vec<u64>,
    filter_shift: u32,
    /// The first block of each bucket.
    heads: Vec<u32>,
    head_shift: u32,
    /// The next block of the same bucket.
    next: Vec<u32>,
}

impl BlockIndex {
    /// An index of a signature.
    pub fn new(signature: Signature) -> BlockIndex {
        let whole = signature.len() - usize::from(signature.short_block().is_some());
        let head_bits = whole.next_power_of_two().ilog2().clamp(1, 31);
        let filter_bits = (head_bits + 4).clamp(6, RSYNC_FILTER_BITS_MAX);
        let mut index = BlockIndex {
            filter: vec![0; 1 << (filter_bits - 6)],
            filter_shift: 32 - filter_bits,
            heads: vec![NONE; 1 << head_bits],
            head_shift: 32 - head_bits,
            next: vec![NONE; whole],
            signature,
        };
        // From the last one up, so that of equal blocks the first is found first.
        for block in (0..whole).rev() {
            index.insert(block);
        }
        index
    }

    /// What is indexed.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// A block that is there already is left out, and so is one whose bucket is full: it is only not found.
    fn insert(&mut self, block: usize) {
        let weak = self.signature.weak(block);
        let head = (weak >> self.head_shift) as usize;
        let mut before = NONE;
        let mut found = self.heads[head];
        let mut length = 0;
        while found != NONE {
            let other = found as usize;
            length += 1;
            if self.signature.weak(other) == weak
                && self.signature.strong(other) == self.signature.strong(block)
            {
                // The earlier one takes its place.
                self.next[block] = self.next[other];
                match before {
                    NONE => self.heads[head] = block as u32,
                    before => self.next[before as usize] = block as u32,
                }
                return;
            }
            if length >= RSYNC_BUCKET {
                return;
            }
            (before, found) = (found, self.next[other]);
        }
        self.next[block] = self.heads[head];
        self.heads[head] = block as u32;
        let bit = weak >> self.filter_shift;
        self.filter[(bit / 64) as usize] |= 1 << (bit % 64);
    }

    /// Whether a window with this sum may be a block.
    #[inline]
    pub fn may_hold(&self, sum: u64) -> bool {
        self.may_hold_weak(weak(sum))
    }

    #[inline]
    fn may_hold_weak(&self, weak: u32) -> bool {
        let bit = weak >> self.filter_shift;
        self.filter[(bit / 64) as usize] & 1 << (bit % 64) != 0
    }

    /// The block that a window with this sum is; `expected` rather than any other.
    #[inline]
    pub fn find(&self, sum: u64, window: &[u8], expected: usize) -> Option<usize> {
        let mut known = None;
        let mut strong = || *known.get_or_insert_with(|| strong(window));
        if !self.may_hold(sum) { None } else { self.look_up(weak(sum), &mut strong, expected) }
    }

    /// The block that has these sums; `expected` rather than any other.
    pub fn find_known(&self, weak: u32, strong: [u8; STRONG_BYTES], expected: usize) -> Option<usize> {
        if !self.may_hold_weak(weak) { None } else { self.look_up(weak, &mut || strong, expected) }
    }

    fn look_up(
        &self,
        weak: u32,
        strong: &mut dyn FnMut() -> [u8; STRONG_BYTES],
        expected: usize,
    ) -> Option<usize> {
        let mut is = |block: usize| strong() == *self.signature.strong(block);
        if expected < self.next.len() && self.signature.weak(expected) == weak && is(expected) {
            return Some(expected);
        }
        let mut block = self.heads[(weak >> self.head_shift) as usize];
        let mut candidates = 0;
        while block != NONE && candidates < RSYNC_CANDIDATES {
            let number = block as usize;
            if self.signature.weak(number) == weak {
                candidates += 1;
                if is(number) {
                    return Some(number);
                }
            }
            block = self.next[number];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::rolling::sum;
    use super::super::signature::SignatureBuilder;
    use super::*;

    fn index(bytes: &[u8], block_bytes: u32) -> BlockIndex {
        let mut builder = SignatureBuilder::new(block_bytes);
        builder.data(bytes);
        BlockIndex::new(Signature::new(bytes.len() as u64, block_bytes, builder.finish()).unwrap())
    }

    #[test]
    fn blocks_are_found_by_what_they_hold_and_the_expected_one_first() {
        let index = index(b"aaaabbbbaaaaccccaaaadd", 4);
        let find = |window: &[u8], expected| index.find(sum(window), window, expected);
        assert_eq!(find(b"bbbb", 0), Some(1));
        assert_eq!(find(b"aaaa", 7), Some(0));
        assert_eq!(find(b"aaaa", 4), Some(4));
        assert_eq!(find(b"aaaa", 1), Some(0));
        assert_eq!(find(b"abbb", 1), None);
        // The short one is not looked for in here.
        assert_eq!(find(b"dd", 5), None);
    }

    #[test]
    fn a_signature_whose_blocks_all_have_one_weak_sum_takes_no_longer() {
        let mut entries = Vec::new();
        for block in 0..100_000_u64 {
            entries.extend([7; 4]);
            entries.extend(block.to_le_bytes());
            entries.extend([0; 8]);
        }
        let index = BlockIndex::new(Signature::new(100_000 * 4, 4, entries).unwrap());
        assert_eq!(index.find(u64::from(u32::from_le_bytes([7; 4])) << 32, b"aaaa", 0), None);
    }

    #[test]
    fn an_index_of_nothing_finds_nothing() {
        assert_eq!(index(b"", 4).find(sum(b"aaaa"), b"aaaa", 0), None);
        assert_eq!(index(b"abc", 4).find(sum(b"abca"), b"abca", 0), None);
    }
}
