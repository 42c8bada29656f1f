//! The chunker beside its definition, written down a second time in the plainest way; vectors; and what chunks are for: that
//! an edit changes those near it and no others.

use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::HashSet;

const KEY: [u8; 32] = [7; 32];
const FOUR_LANES: usize = 4 * LANE_BYTES;

fn pseudo_random(key: &[u8; 32], length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    blake3::Hasher::new_keyed(key).finalize_xof().fill(&mut data);
    data
}

fn seeded(seed: u64, length: usize) -> Vec<u8> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    pseudo_random(&key, length)
}

fn lengths(chunker: &Chunker, data: &[u8]) -> Vec<usize> {
    cut_all(data, |rest| chunker.cut(rest))
}

fn cut_all(data: &[u8], cut: impl Fn(&[u8]) -> usize) -> Vec<usize> {
    let (mut rest, mut lengths) = (data, Vec::new());
    while !rest.is_empty() {
        let length = cut(rest);
        assert!((1..=rest.len()).contains(&length));
        lengths.push(length);
        rest = &rest[length..];
    }
    lengths
}

/// The definition: one hash from the start of the chunk, the highest bits counted one length at a time.
fn reference(chunker: &Chunker, data: &[u8]) -> usize {
    let mut hash = 0u64;
    for (i, byte) in data.iter().enumerate() {
        let length = i + 1;
        hash = hash.wrapping_mul(2).wrapping_add(chunker.gear[*byte as usize]);
        let average_bits = chunker.average_bytes.ilog2();
        let bits = if length < chunker.average_bytes { average_bits + 1 } else { average_bits - 1 };
        let border = length >= chunker.min_bytes && hash.leading_zeros() >= bits;
        if border || length == chunker.max_bytes {
            return length;
        }
    }
    data.len()
}

fn bytes(hex: &Value) -> [u8; 32] {
    let hex = hex.as_str().unwrap();
    assert_eq!(hex.len(), 64);
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

fn described(data: &Value) -> Vec<u8> {
    let length = data["length"].as_u64().unwrap() as usize;
    match data["byte"].as_u64() {
        Some(byte) => vec![byte as u8; length],
        None => pseudo_random(&bytes(&data["blake3_key"]), length),
    }
}

#[test]
fn the_vectors_of_the_format_hold() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../docs/format/vectors/chunker.json")).unwrap();
    let table = gear(&bytes(&vectors["gear"]["key"]));
    let entries = vectors["gear"]["entries"].as_object().unwrap();
    assert!(entries.len() >= 4);
    for (index, entry) in entries {
        let found = format!("{:016x}", table[index.parse::<usize>().unwrap()]);
        assert_eq!(found, entry.as_str().unwrap(), "entry {index}");
    }
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 10);
    for case in cases {
        let expected: Vec<u64> =
            case["lengths"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        let found = lengths(&Chunker::new(&bytes(&case["key"])), &described(&case["data"]));
        assert_eq!(found, expected.iter().map(|n| *n as usize).collect::<Vec<_>>(), "{}", case["name"]);
    }
}

#[test]
fn a_hash_is_the_sum_over_its_window() {
    let (chunker, data) = (Chunker::new(&KEY), seeded(1, 300));
    for position in WINDOW_BYTES - 1..data.len() {
        let window = &data[position + 1 - WINDOW_BYTES..=position];
        let sum = window
            .iter()
            .rev()
            .enumerate()
            .fold(0u64, |sum, (age, byte)| sum.wrapping_add(chunker.gear[*byte as usize] << age));
        let found = |limit| chunker.first_border(&data, position, position + 1, limit);
        assert_eq!(found(sum), None);
        assert_eq!(found(sum + 1), Some(position));
    }
}

fn any_data() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![0..5000usize, 0..160_000usize];
    // All values of a byte, few of them, or long runs of one.
    (
        any::<u64>(),
        length,
        prop_oneof![Just(255u8), Just(3), Just(1)],
        prop_oneof![Just(1usize), 1..5000usize],
    )
        .prop_map(|(seed, length, mask, run)| {
            let drawn = seeded(seed, length.div_ceil(run));
            drawn.iter().flat_map(|byte| std::iter::repeat_n(byte & mask, run)).take(length).collect()
        })
}

/// A key, and the three sizes.
fn any_rule() -> impl Strategy<Value = ([u8; 32], usize, usize, usize)> {
    (any::<[u8; 32]>(), 7..=17u32, any::<u64>(), 0..200_000usize).prop_map(|(key, bits, min, over)| {
        let average = 1usize << bits;
        let min = WINDOW_BYTES + (min % (average - WINDOW_BYTES + 1) as u64) as usize;
        (key, min, average, average + over)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunks_are_those_of_the_definition((key, min, average, max) in any_rule(), data in any_data()) {
        let chunker = Chunker::with_sizes(&key, min, average, max);
        let expected = cut_all(&data, |rest| reference(&chunker, rest));
        prop_assert_eq!(lengths(&chunker, &data), expected);
    }

    #[test]
    fn more_data_than_the_maximum_changes_nothing((key, min, average, max) in any_rule(), data in any_data()) {
        let chunker = Chunker::with_sizes(&key, min, average, max);
        let enough = &data[..data.len().min(chunker.max_bytes)];
        prop_assert_eq!(chunker.cut(&data), chunker.cut(enough));
    }

    /// With a limit just above the lowest hash of a range there is one border in it, in any lane and at any place.
    #[test]
    fn the_first_lowest_hash_is_found_wherever_it_stands(
        seed in any::<u64>(),
        start in WINDOW_BYTES - 1..300,
        length in prop_oneof![1..200usize, FOUR_LANES - 2..FOUR_LANES + 3, 1..5 * FOUR_LANES / 2],
    ) {
        let (chunker, data) = (Chunker::new(&KEY), seeded(seed, start + length));
        let mut hash = 0u64;
        let hashes = data.iter().map(|byte| {
            hash = chunker.step(hash, *byte);
            hash
        });
        let (lowest, position) = hashes.zip(0..).skip(start).min().unwrap();
        prop_assert_eq!(chunker.first_border(&data, start, data.len(), lowest + 1), Some(position));
        prop_assert_eq!(chunker.first_border(&data, start, data.len(), lowest), None);
    }
}

#[test]
fn every_place_of_four_lanes_can_be_a_border() {
    let chunker = Chunker::new(&KEY);
    let start = WINDOW_BYTES;
    // Where lanes and steps meet.
    for lane in 0..4 {
        for offset in [0, 1, 2, 62, 63, 64, LANE_BYTES - 2, LANE_BYTES - 1] {
            let position = start + lane * LANE_BYTES + offset;
            let found = (0u64..).find_map(|seed| {
                // A window with a low hash, to be put into zeros.
                let window = seeded(seed, WINDOW_BYTES);
                let hash = window.iter().fold(0, |hash, byte| chunker.step(hash, *byte));
                (hash < 1 << 54).then_some((window, hash))
            });
            let (window, hash) = found.unwrap();
            let mut data = vec![0; start + FOUR_LANES + 10];
            data[position + 1 - WINDOW_BYTES..=position].copy_from_slice(&window);
            let expected =
                chunker.next_border(&data[1..start], &data[start..], hash + 1).map(|at| start + at);
            assert_eq!(chunker.first_border(&data, start, data.len(), hash + 1), expected);
            assert_eq!(expected, Some(position), "lane {lane}, offset {offset}");
        }
    }
}

#[test]
fn no_data_has_no_chunk_and_little_data_one() {
    let chunker = Chunker::new(&KEY);
    for length in [0, 1, 63, 64, 65, CHUNK_MIN_BYTES - 1, CHUNK_MIN_BYTES] {
        assert_eq!(chunker.cut(&seeded(1, length)), length);
    }
}

#[test]
fn zeros_make_chunks_of_the_greatest_length() {
    let zeros = vec![0; 2 * CHUNK_MAX_BYTES + 5];
    assert_eq!(lengths(&Chunker::new(&KEY), &zeros), [CHUNK_MAX_BYTES, CHUNK_MAX_BYTES, 5]);
}

#[test]
fn another_key_gives_other_borders() {
    let data = seeded(2, 16 << 20);
    let ends = |key: &[u8; 32]| {
        let lengths = lengths(&Chunker::new(key), &data);
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        ends.filter(|end| *end < data.len()).collect::<HashSet<_>>()
    };
    let (one, other) = (ends(&KEY), ends(&[8; 32]));
    assert!(one.len() > 5 && other.len() > 5);
    assert!(one.is_disjoint(&other));
}

#[test]
fn lengths_keep_to_their_bounds_and_to_their_mean() {
    // The same rule at a 256th of the size, for as many chunks as a mean needs.
    let chunker =
        Chunker::with_sizes(&KEY, CHUNK_MIN_BYTES / 256, CHUNK_AVERAGE_BYTES / 256, CHUNK_MAX_BYTES / 256);
    for (chunker, data) in [(chunker, seeded(3, 16 << 20)), (Chunker::new(&KEY), seeded(4, 64 << 20))] {
        let mut lengths = lengths(&chunker, &data);
        lengths.pop();
        assert!(lengths.iter().all(|length| (chunker.min_bytes..=chunker.max_bytes).contains(length)));
        // In averages: the minimum, what the strict limit leaves up to the average, what the other leaves from there on.
        let reaches_average = f64::exp(-0.75 / 2.0);
        let expected =
            0.25 + 2.0 * (1.0 - reaches_average) + reaches_average * 0.5 * (1.0 - f64::exp(-3.0 / 0.5));
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        let ratio = mean / (expected * chunker.average_bytes as f64);
        assert!((0.85..1.15).contains(&ratio), "{ratio} of the expected mean, {} chunks", lengths.len());
    }
}

#[test]
fn an_edit_changes_only_the_chunks_near_it() {
    let chunker = Chunker::new(&KEY);
    let chunks = |data: &[u8]| {
        let mut rest = data;
        let lengths = lengths(&chunker, data);
        let mut hash = |length: &usize| {
            let (chunk, after) = rest.split_at(*length);
            rest = after;
            blake3::hash(chunk)
        };
        lengths.iter().map(&mut hash).collect::<HashSet<_>>()
    };
    let data = seeded(5, 64 << 20);
    let before = chunks(&data);
    assert!(before.len() > 40);
    for (at, removed, inserted) in [(0, 0, 1), (20_000_001, 0, 1000), (33 << 20, 7, 0)] {
        let mut edited = data[..at].to_vec();
        edited.extend(seeded(6, inserted));
        edited.extend(&data[at + removed..]);
        let after = chunks(&edited);
        let new = after.difference(&before).count();
        assert!((1..=6).contains(&new), "{new} of {} chunks are new after an edit at {at}", after.len());
    }
}

#[test]
fn nothing_of_the_table_is_printed() {
    let chunker = Chunker::with_sizes(&KEY, 64, 128, 256);
    assert_eq!(format!("{chunker:?}"), "Chunker { min_bytes: 64, average_bytes: 128, max_bytes: 256, .. }");
}
