//! The signature of a content: for each of its blocks a weak sum, by which it is looked for, and a strong one, by which it is
//! known. All blocks are of one length, but for the last, which may be shorter.
//!
//! Invariant: a signature of foreign bytes has an entry for each block of its content, no more and no less, and no more than
//! [`RSYNC_BLOCKS`] of them.

use super::rolling;
use crate::error::{Error, Result};
use crate::limits::{
    RSYNC_BLOCK_BYTES, RSYNC_BLOCK_MAX_BYTES, RSYNC_BLOCK_MIN_BYTES, RSYNC_BLOCKS, RSYNC_SIGNED_MIN_BYTES,
    RSYNC_SMALL_BLOCK_BYTES, RSYNC_SMALL_FILE_BYTES,
};

/// Bytes of a strong sum: the first of BLAKE3.
pub const STRONG_BYTES: usize = 16;

/// Bytes of an entry: the weak sum, the strong sum.
pub const ENTRY_BYTES: usize = 4 + STRONG_BYTES;

/// The strong sum of a block.
pub fn strong(block: &[u8]) -> [u8; STRONG_BYTES] {
    let mut sum = [0; STRONG_BYTES];
    sum.copy_from_slice(&blake3::hash(block).as_bytes()[..STRONG_BYTES]);
    sum
}

fn entry(block: &[u8]) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..4].copy_from_slice(&rolling::weak(rolling::sum(block)).to_le_bytes());
    entry[4..].copy_from_slice(&strong(block));
    entry
}

/// How long the blocks of a content are; `None` for one that has no signature. `asked` is the user's wish, which a content
/// with too many such blocks does not get.
pub fn block_bytes(size_bytes: u64, asked: Option<u32>) -> Option<u32> {
    let wanted = match asked {
        Some(asked) => asked.clamp(RSYNC_BLOCK_MIN_BYTES, RSYNC_BLOCK_MAX_BYTES),
        None if size_bytes < RSYNC_SMALL_FILE_BYTES => RSYNC_SMALL_BLOCK_BYTES,
        None => RSYNC_BLOCK_BYTES,
    };
    if size_bytes < RSYNC_SIGNED_MIN_BYTES.max(u64::from(wanted)) {
        return None;
    }
    let mut block = u64::from(wanted);
    while size_bytes.div_ceil(block) > RSYNC_BLOCKS {
        block *= 2;
    }
    // Beyond that nothing is found again; no file system has files of that length.
    u32::try_from(block).ok().filter(|block| *block <= RSYNC_BLOCK_MAX_BYTES)
}

/// How many blocks a content has.
pub fn blocks(size_bytes: u64, block_bytes: u32) -> u64 {
    size_bytes.div_ceil(u64::from(block_bytes.max(1)))
}

/// The signature of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    block_bytes: usize,
    size_bytes: u64,
    entries: Vec<u8>,
}

impl Signature {
    /// The signature whose entries these are.
    ///
    /// # Errors
    /// `Damaged` when there are more or fewer than blocks, or blocks out of range.
    pub fn new(size_bytes: u64, block_bytes: u32, entries: Vec<u8>) -> Result<Signature> {
        let blocks = blocks(size_bytes, block_bytes);
        let in_range = (1..=RSYNC_BLOCK_MAX_BYTES).contains(&block_bytes) && blocks <= RSYNC_BLOCKS;
        if !in_range || entries.len() as u64 != blocks * ENTRY_BYTES as u64 {
            return Err(Error::damaged("is not one of its content:", "a signature"));
        }
        Ok(Signature { block_bytes: block_bytes as usize, size_bytes, entries })
    }

    /// The length of a block.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// How long the content is.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.entries.len() / ENTRY_BYTES
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The weak sum of a block.
    #[inline]
    pub fn weak(&self, block: usize) -> u32 {
        let at = block * ENTRY_BYTES;
        let mut weak = [0; 4];
        weak.copy_from_slice(&self.entries[at..at + 4]);
        u32::from_le_bytes(weak)
    }

    /// The strong sum of a block.
    #[inline]
    pub fn strong(&self, block: usize) -> &[u8] {
        let at = block * ENTRY_BYTES;
        &self.entries[at + 4..at + ENTRY_BYTES]
    }

    /// The last block, if it is shorter than the others: its number and length.
    pub fn short_block(&self) -> Option<(usize, usize)> {
        let length = (self.size_bytes % self.block_bytes as u64) as usize;
        (length > 0).then(|| (self.len() - 1, length))
    }
}

/// The sums of blocks that follow each other in a content that goes by: who looks at such a block need not sum it up again.
#[derive(Debug, Default)]
pub struct Known {
    block_bytes: usize,
    /// The number of the first.
    first: usize,
    entries: Vec<u8>,
}

impl Known {
    /// The sums, weak and strong, of the so many bytes from `offset` on, when they are one of the blocks.
    pub fn of(&self, offset: u64, length_bytes: usize) -> Option<(u32, [u8; STRONG_BYTES])> {
        let block_bytes = self.block_bytes as u64;
        if block_bytes == 0 || length_bytes != self.block_bytes || !offset.is_multiple_of(block_bytes) {
            return None;
        }
        let block = usize::try_from(offset / block_bytes).ok()?.checked_sub(self.first)?;
        let entry = self.entries.as_chunks::<ENTRY_BYTES>().0.get(block)?;
        let (weak, strong) = entry.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*weak), *strong.first_chunk()?))
    }
}

/// Makes the entries of a signature while the content goes by.
pub struct SignatureBuilder {
    block_bytes: usize,
    /// The block that is not full yet.
    partial: Vec<u8>,
    entries: Vec<u8>,
    /// The entry of a block of zeros.
    zeros: Option<[u8; ENTRY_BYTES]>,
}

impl SignatureBuilder {
    /// A builder of blocks of so many bytes, at least one.
    pub fn new(block_bytes: u32) -> SignatureBuilder {
        let block_bytes = block_bytes.max(1) as usize;
        SignatureBuilder { block_bytes, partial: Vec::new(), entries: Vec::new(), zeros: None }
    }

    /// The next bytes.
    pub fn data(&mut self, mut bytes: &[u8]) {
        if !self.partial.is_empty() {
            let count = bytes.len().min(self.block_bytes - self.partial.len());
            self.partial.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.partial.len() < self.block_bytes {
                return;
            }
            self.entries.extend_from_slice(&entry(&self.partial));
            self.partial.clear();
        }
        let blocks = bytes.chunks_exact(self.block_bytes);
        self.partial.extend_from_slice(blocks.remainder());
        for block in blocks {
            self.entries.extend_from_slice(&entry(block));
        }
    }

    /// How many blocks are full.
    pub fn full_blocks(&self) -> usize {
        self.entries.len() / ENTRY_BYTES
    }

    /// What is known of the full blocks from one on.
    pub fn known_from(&self, first: usize) -> Known {
        let entries = self.entries[(first * ENTRY_BYTES).min(self.entries.len())..].to_vec();
        Known { block_bytes: self.block_bytes, first, entries }
    }

    /// So many zeros. Whole blocks of them cost next to nothing.
    pub fn zeros(&mut self, mut length_bytes: u64) {
        if !self.partial.is_empty() {
            let room = self.block_bytes - self.partial.len();
            let count = usize::try_from(length_bytes).unwrap_or(usize::MAX).min(room);
            self.data(&vec![0; count]);
            length_bytes -= count as u64;
        }
        let block_bytes = self.block_bytes;
        let zeros = *self.zeros.get_or_insert_with(|| entry(&vec![0; block_bytes]));
        for _ in 0..length_bytes / block_bytes as u64 {
            self.entries.extend_from_slice(&zeros);
        }
        let rest = (length_bytes % block_bytes as u64) as usize;
        self.partial.resize(self.partial.len() + rest, 0);
    }

    /// The entries of everything that went by.
    pub fn finish(mut self) -> Vec<u8> {
        if !self.partial.is_empty() {
            self.entries.extend_from_slice(&entry(&self.partial));
        }
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(bytes: &[u8], block_bytes: u32) -> Signature {
        let mut builder = SignatureBuilder::new(block_bytes);
        builder.data(bytes);
        Signature::new(bytes.len() as u64, block_bytes, builder.finish()).unwrap()
    }

    #[test]
    fn blocks_are_as_long_as_the_content_wants() {
        for (size_bytes, asked, expected) in [
            (0, None, None),
            (RSYNC_SIGNED_MIN_BYTES - 1, None, None),
            (RSYNC_SIGNED_MIN_BYTES, None, Some(RSYNC_SMALL_BLOCK_BYTES)),
            (RSYNC_SMALL_FILE_BYTES, None, Some(RSYNC_BLOCK_BYTES)),
            (RSYNC_BLOCKS * 4096, None, Some(4096)),
            (RSYNC_BLOCKS * 4096 + 1, None, Some(8192)),
            (1 << 30, Some(5000), Some(5000)),
            (1 << 20, Some(1), Some(RSYNC_BLOCK_MIN_BYTES)),
            (1 << 20, Some(2 << 20), None),
            (u64::MAX, None, None),
        ] {
            assert_eq!(block_bytes(size_bytes, asked), expected, "{size_bytes} {asked:?}");
        }
    }

    #[test]
    fn what_is_known_is_said_of_whole_blocks_alone() {
        let mut builder = SignatureBuilder::new(4);
        builder.data(b"aaaabbbbcc");
        let known = builder.known_from(1);
        assert_eq!(builder.full_blocks(), 2);
        assert_eq!(known.of(4, 4), Some((rolling::weak(rolling::sum(b"bbbb")), strong(b"bbbb"))));
        for (offset, length) in [(0, 4), (3, 4), (4, 3), (8, 4), (u64::MAX - 3, 4)] {
            assert_eq!(known.of(offset, length), None, "{offset} {length}");
        }
        assert_eq!(builder.known_from(9).of(36, 4), None);
        assert_eq!(Known::default().of(0, 4), None);
        assert_eq!(Known::default().of(0, 0), None);
    }

    #[test]
    fn a_signature_has_an_entry_for_each_block() {
        let signature = of(b"aaaabbbbcc", 4);
        assert_eq!((signature.len(), signature.short_block()), (3, Some((2, 2))));
        assert_eq!(signature.strong(1), strong(b"bbbb"));
        assert_eq!(signature.weak(2), rolling::weak(rolling::sum(b"cc")));
        assert_eq!(of(b"aaaabbbb", 4).short_block(), None);
        for (size_bytes, block_bytes, entries) in
            [(10, 4, 2), (10, 4, 4), (10, 0, 0), (8, 4, 3), (1 << 50, 4, 0), (10, u32::MAX, 1)]
        {
            assert!(Signature::new(size_bytes, block_bytes, vec![0; entries * ENTRY_BYTES]).is_err());
        }
    }

    proptest! {
        #[test]
        fn how_a_content_comes_makes_no_difference(
            pieces in proptest::collection::vec((any::<u8>(), 0_usize..50, any::<bool>()), 0..20),
            block_bytes in 1_u32..40
        ) {
            let mut builder = SignatureBuilder::new(block_bytes);
            let mut whole = Vec::new();
            for (byte, length, hole) in pieces {
                let piece = vec![if hole { 0 } else { byte }; length];
                if hole { builder.zeros(length as u64) } else { builder.data(&piece) }
                whole.extend(piece);
            }
            let signature = Signature::new(whole.len() as u64, block_bytes, builder.finish()).unwrap();
            prop_assert_eq!(signature, of(&whole, block_bytes));
        }
    }
}
