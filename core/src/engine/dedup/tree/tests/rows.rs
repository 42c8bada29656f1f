//! Chunks of large files: few, many, and lists that are not what they should be.

use super::super::rows as read_rows;
use super::*;
use crate::error::Kind;

/// Chunks whose ids are hashes, as those of content are.
fn chunks_of(count: u64) -> Vec<(ChunkId, u64)> {
    (0..count).map(|number| (ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes()), number + 1)).collect()
}

fn bytes_of(rows: &[(ChunkId, u64)]) -> u64 {
    rows.iter().map(|(_, bytes)| bytes).sum()
}

#[test]
fn few_chunks_stand_in_the_entry_and_many_in_lists() {
    for (count, expected_depth) in [(1, 0), (512, 0), (513, 1), (2000, 1), (100_000, 1), (400_000, 2)] {
        let mut memory = Memory::default();
        let all = chunks_of(count);
        let content = keep_rows(&mut memory, all.clone()).unwrap();
        let Content::Rows { depth, rows } = &content else { panic!("{content:?}") };
        assert_eq!(*depth, expected_depth, "{count}");
        assert!(rows.len() <= 512);
        let back: Vec<_> =
            read_rows(&memory, &content, bytes_of(&all)).unwrap().map(Result::unwrap).collect();
        assert!(back == all, "{count}");
    }
    assert_eq!(keep_rows(&mut Memory::default(), Vec::new()).unwrap(), Content::None);
}

#[test]
fn versions_of_a_file_share_lists() {
    let mut memory = Memory::default();
    let mut all = chunks_of(20_000);
    keep_rows(&mut memory, all.clone()).unwrap();
    let lists = memory.chunks.len();
    all.insert(7_000, (ChunkId([3; 32]), 5));
    all[15_000].1 += 1;
    keep_rows(&mut memory, all).unwrap();
    assert!(memory.chunks.len() - lists <= 4, "{} of {lists}", memory.chunks.len() - lists);
}

#[test]
fn lists_that_are_not_what_the_entry_says_are_damaged() {
    let mut memory = Memory::default();
    let all = chunks_of(3000);
    let content = keep_rows(&mut memory, all.clone()).unwrap();
    let right = bytes_of(&all);
    for wrong in [0, 1, right - 1, right + 1] {
        let last = read_rows(&memory, &content, wrong).unwrap().last().unwrap();
        assert_eq!(last.unwrap_err().kind(), Kind::Damaged);
    }
    let Content::Rows { rows, .. } = &content else { panic!("{content:?}") };
    let (list, good) = (rows[1].0, memory.chunks[&rows[1].0].1.clone());
    let mut broken =
        vec![Vec::new(), good[..good.len() - 1].to_vec(), [&good[..], &[0]].concat(), good[..4].to_vec()];
    for position in [1, 4, 37, 44] {
        let mut changed = good.clone();
        changed[position] ^= 1;
        broken.push(changed);
    }
    for bytes in broken {
        memory.chunks.insert(list, (ChunkKind::List, bytes));
        let mut iter = read_rows(&memory, &content, right).unwrap();
        let error = iter.find_map(Result::err).unwrap();
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(iter.next().is_none());
    }
    let mut newer = good;
    newer[0] = 2;
    memory.chunks.insert(list, (ChunkKind::List, newer));
    let error = read_rows(&memory, &content, right).unwrap().find_map(Result::err).unwrap();
    assert_eq!(error.kind(), Kind::Unsupported);
    let slice = Content::Slice { chunk: list, offset: 0 };
    assert_eq!(read_rows(&memory, &slice, 1).err().unwrap().kind(), Kind::Invalid);
}
