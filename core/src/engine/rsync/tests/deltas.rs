//! For any two versions of a content, the delta applied to the older one gives the newer one.

use crate::engine::rsync::blocks::BlockIndex;
use crate::engine::rsync::delta::{Operations, Search};
use crate::engine::rsync::signature::{Known, Signature, SignatureBuilder};
use crate::error::Result;
use crate::limits::RSYNC_DATA_BYTES;
use proptest::prelude::*;

/// What operations make of an older content, and how much of it is data.
struct Applied<'o> {
    older: &'o [u8],
    made: Vec<u8>,
    data_bytes: usize,
    operations: usize,
}

impl Operations for Applied<'_> {
    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        assert!(!bytes.is_empty() && bytes.len() <= RSYNC_DATA_BYTES);
        self.made.extend(bytes);
        self.data_bytes += bytes.len();
        self.operations += 1;
        Ok(())
    }

    fn copy(&mut self, offset: u64, length_bytes: u64) -> Result<()> {
        self.made.extend(&self.older[offset as usize..(offset + length_bytes) as usize]);
        self.operations += 1;
        Ok(())
    }

    fn hole(&mut self, length_bytes: u64) -> Result<()> {
        self.made.resize(self.made.len() + length_bytes as usize, 0);
        self.operations += 1;
        Ok(())
    }
}

fn index(bytes: &[u8], block_bytes: u32) -> BlockIndex {
    let mut builder = SignatureBuilder::new(block_bytes);
    builder.data(bytes);
    BlockIndex::new(Signature::new(bytes.len() as u64, block_bytes, builder.finish()).unwrap())
}

/// The newer content in pieces of these lengths, again and again; the same is found when the sums of its own blocks are known.
fn applied<'o>(older: &'o [u8], newer: &[u8], block_bytes: u32, pieces: &[usize]) -> Applied<'o> {
    let index = index(older, block_bytes);
    let [out, known] = [None, Some(SignatureBuilder::new(block_bytes))].map(|mut builder| {
        let mut out = Applied { older, made: Vec::new(), data_bytes: 0, operations: 0 };
        let mut search = Search::new(&index);
        let (mut rest, mut lengths) = (newer, pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(*lengths.next().unwrap()).max(1));
            let known = builder.as_mut().map_or_else(Known::default, |builder| {
                let before = builder.full_blocks();
                builder.data(piece);
                builder.known_from(before)
            });
            search.push(piece, &known, &mut out).unwrap();
            rest = behind;
        }
        search.finish(&mut out).unwrap();
        assert!(out.made == newer, "what was made is not what there was");
        out
    });
    assert_eq!((out.data_bytes, out.operations), (known.data_bytes, known.operations));
    out
}

/// Bytes that look like nothing else.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[derive(Debug, Clone)]
enum Edit {
    Insert(prop::sample::Index, usize),
    Delete(prop::sample::Index, usize),
    Move(prop::sample::Index, usize, prop::sample::Index),
    Overwrite(prop::sample::Index, usize),
    Truncate(prop::sample::Index),
    Append(usize),
    Repeat(prop::sample::Index, usize),
    Zeros(prop::sample::Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 1_usize..500).prop_map(|(at, length)| Edit::Insert(at, length)),
        (at(), 1_usize..500).prop_map(|(at, length)| Edit::Delete(at, length)),
        (at(), 1_usize..900, at()).prop_map(|(at, length, to)| Edit::Move(at, length, to)),
        (at(), 1_usize..100).prop_map(|(at, length)| Edit::Overwrite(at, length)),
        at().prop_map(Edit::Truncate),
        (1_usize..300).prop_map(Edit::Append),
        (at(), 1_usize..300).prop_map(|(at, length)| Edit::Repeat(at, length)),
        (at(), 1_usize..400).prop_map(|(at, length)| Edit::Zeros(at, length)),
    ]
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for (number, edit) in edits.iter().enumerate() {
        let place = |at: &prop::sample::Index, length: usize| at.index(length + 1);
        let stretch = |bytes: &Vec<u8>, at: &prop::sample::Index, length: &usize| {
            let start = place(at, bytes.len());
            start..bytes.len().min(start + length)
        };
        match edit {
            Edit::Insert(at, length) => {
                let at = place(at, bytes.len());
                bytes.splice(at..at, noise(number as u64 + 100, *length));
            }
            Edit::Delete(at, length) => {
                let stretch = stretch(&bytes, at, length);
                bytes.drain(stretch);
            }
            Edit::Move(at, length, to) => {
                let stretch = stretch(&bytes, at, length);
                let moved: Vec<u8> = bytes.drain(stretch).collect();
                let to = place(to, bytes.len());
                bytes.splice(to..to, moved);
            }
            Edit::Overwrite(at, length) => {
                let stretch = stretch(&bytes, at, length);
                bytes[stretch].iter_mut().for_each(|byte| *byte ^= 0x55);
            }
            Edit::Truncate(at) => bytes.truncate(place(at, bytes.len())),
            Edit::Append(length) => bytes.extend(noise(number as u64 + 200, *length)),
            Edit::Repeat(at, length) => {
                let stretch = stretch(&bytes, at, length);
                let again = bytes[stretch.clone()].to_vec();
                bytes.splice(stretch.start..stretch.start, again);
            }
            Edit::Zeros(at, length) => {
                let at = place(at, bytes.len());
                bytes.splice(at..at, vec![0; *length]);
            }
        }
    }
    bytes
}

proptest! {
    #[test]
    fn a_delta_applied_gives_the_newer_content(
        length in 0_usize..6000, few in any::<bool>(), edits in proptest::collection::vec(edit(), 0..8),
        block_bytes in 1_u32..200, pieces in proptest::collection::vec(1_usize..700, 1..5)
    ) {
        let mut older = noise(1, length);
        if few {
            older.iter_mut().for_each(|byte| *byte &= 1);
        }
        let newer = edited(older.clone(), &edits);
        let out = applied(&older, &newer, block_bytes, &pieces);
        // Each edit spoils no more than the blocks at its ends, and brings what it brings.
        if !few && block_bytes >= 8 {
            prop_assert!(out.data_bytes <= edits.len() * (500 + 4 * block_bytes as usize) + block_bytes as usize);
        }
    }

    #[test]
    fn any_two_contents_have_a_delta(
        older in proptest::collection::vec(0_u8..3, 0..300), newer in proptest::collection::vec(0_u8..3, 0..300),
        block_bytes in 1_u32..20, pieces in proptest::collection::vec(1_usize..50, 1..5)
    ) {
        applied(&older, &newer, block_bytes, &pieces);
    }
}

#[test]
fn what_is_the_same_is_one_copy() {
    for length in [1, 999, 1000, 1001, 100_000] {
        let bytes = noise(3, length);
        let out = applied(&bytes, &bytes, 1000, &[7777]);
        assert_eq!((out.data_bytes, out.operations), (0, 1), "{length}");
    }
    // Blocks that are all alike are in their order all the same.
    let zeros = vec![0; 100_000];
    assert_eq!(applied(&zeros, &zeros, 1000, &[5000]).operations, 1);
}

#[test]
fn what_was_moved_by_any_distance_is_found_again() {
    let older = noise(5, 200_000);
    for inserted in [1, 2, 511, 512, 513, 70_001] {
        let newer = [noise(6, inserted), older.clone()].concat();
        let out = applied(&older, &newer, 512, &[4096]);
        assert_eq!((out.data_bytes, out.operations), (inserted, 2), "{inserted}");
    }
    let swapped = [&older[100_100..], &older[..100_100]].concat();
    let out = applied(&older, &swapped, 512, &[4096]);
    assert!(out.data_bytes < 2 * 512, "{}", out.data_bytes);
}

#[test]
fn data_is_handed_on_in_bounded_pieces() {
    let older = noise(7, 10_000);
    let newer = noise(8, 3 * RSYNC_DATA_BYTES + 5);
    for piece in [1 << 20, 1000, RSYNC_DATA_BYTES] {
        let out = applied(&older, &newer, 512, &[piece]);
        assert_eq!(out.data_bytes, newer.len());
        assert!(out.operations <= 5, "{}", out.operations);
    }
}

#[test]
fn holes_are_holes_and_what_is_around_them_is_found() {
    let older = [noise(9, 10_240), vec![0; 20_480], noise(10, 10_240)].concat();
    let index = index(&older, 1024);
    let mut out = Applied { older: &older, made: Vec::new(), data_bytes: 0, operations: 0 };
    let mut search = Search::new(&index);
    search.push(&older[..10_240], &Known::default(), &mut out).unwrap();
    search.hole(20_480, &mut out).unwrap();
    search.push(&older[30_720..], &Known::default(), &mut out).unwrap();
    search.finish(&mut out).unwrap();
    assert!(out.made == older);
    assert_eq!((out.data_bytes, out.operations), (0, 3));
}
