//! What is missing, or is not what a file takes it for, is found wherever a file names it.

use super::*;
use crate::engine::dedup::tree::{Builder, Store, keep_rows};
use crate::limits::TREE_LIST_ROWS_MAX;
use crate::monitor::Quiet;
use crate::repository::vault::{CompressionLevel, Encoder, Protection, Writer};
use crate::storage::memory::Memory;
use crate::time::{FileTime, Timestamp};
use crate::tree::attributes::FileKind;

struct Stored<'w>(&'w Writer<'w>, Encoder);

impl Store for Stored<'_> {
    fn put(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId> {
        Ok(self.0.put(kind, bytes, &mut self.1)?.id)
    }
}

fn large(content: Content, size_bytes: u64) -> Entry {
    let (kind, mtime) = (FileKind::File, FileTime::new(1, 0));
    Entry { kind, mtime, size_bytes, content, ..Entry::made_up_root() }
}

#[test]
fn versions_of_a_file_that_share_their_first_list_are_each_looked_at() {
    let vault = Vault::create(Arc::new(Memory::new()), &Protection::None, "test", Timestamp(1)).unwrap();
    let writer = Writer::new(&vault, Arc::new(Index::empty()));
    let mut store = Stored(&writer, Encoder::new(CompressionLevel::Default, false).unwrap());
    let (a, b) = (store.put(ChunkKind::Content, b"a").unwrap(), store.put(ChunkKind::Content, b"b").unwrap());
    let missing = vault.keys().chunk_id(ChunkKind::Content, b"c");
    let length = TREE_LIST_ROWS_MAX as u64 + 1;
    let mut version = |last| {
        let mut rows = vec![(a, 1); TREE_LIST_ROWS_MAX];
        rows.push((last, 1));
        keep_rows(&mut store, rows).unwrap()
    };
    let contents = [version(b), version(missing)];
    let first = |content: &Content| match content {
        Content::Rows { depth: 1, rows } => rows[0],
        _ => panic!("no lists"),
    };
    assert_eq!(first(&contents[0]), first(&contents[1]));
    let roots = contents.map(|content| {
        let mut builder = Builder::new(&[0; 32], &mut store);
        builder.push(Key { directory: b"", name: b"" }, &Entry::made_up_root()).unwrap();
        builder.push(Key { directory: b"", name: b"f" }, &large(content, length)).unwrap();
        builder.finish().unwrap().id
    });
    writer.remaining().unwrap().into_iter().try_for_each(|pack| writer.store(pack)).unwrap();
    writer.finish().unwrap();
    let index = Arc::new(Index::load(&vault, &Quiet).unwrap());
    let suspects = HashSet::new();
    let flaws =
        run(Examination { roots: &roots, index, suspects: &suspects, monitor: &Quiet }, &vault).unwrap();
    assert_eq!(flaws.len(), 1);
    assert_eq!(flaws[0].chunk, missing);
    let needs: Vec<(usize, &[String])> =
        flaws[0].needs.iter().map(|need| (need.root, &need.paths[..])).collect();
    assert_eq!(needs, [(1, &["f".to_owned()][..])]);
}

/// No byte of content is read for this: the index knows how long chunks are.
#[test]
fn slices_beyond_their_chunk_and_rows_of_another_length_than_theirs_are_found() {
    let vault = Vault::create(Arc::new(Memory::new()), &Protection::None, "test", Timestamp(1)).unwrap();
    let writer = Writer::new(&vault, Arc::new(Index::empty()));
    let mut store = Stored(&writer, Encoder::new(CompressionLevel::Default, false).unwrap());
    let [slices, rows, listed] = [b"ten bytes.", b"ten others", b"ten listed"]
        .map(|bytes| store.put(ChunkKind::Content, bytes).unwrap());
    let attributes = store.put(ChunkKind::Attributes, b"none").unwrap();
    let mut long = vec![(rows, 10); TREE_LIST_ROWS_MAX];
    long.push((listed, 11));
    let in_lists = keep_rows(&mut store, long).unwrap();
    assert!(matches!(in_lists, Content::Rows { depth: 1, .. }));
    let slice = |chunk, offset, bytes| large(Content::Slice { chunk, offset }, bytes);
    let row = |bytes| large(Content::Rows { depth: 0, rows: vec![(rows, 10), (rows, bytes)] }, 10 + bytes);
    let entries: [(&[u8], Entry); 7] = [
        (b"in-lists", large(in_lists, 10 * TREE_LIST_ROWS_MAX as u64 + 11)),
        (b"kind", slice(attributes, 0, 4)),
        (b"rows-long", row(11)),
        (b"rows-right", row(10)),
        (b"rows-short", row(9)),
        (b"slice-long", slice(slices, 4, 7)),
        (b"slice-right", slice(slices, 4, 6)),
    ];
    let mut builder = Builder::new(&[0; 32], &mut store);
    builder.push(Key { directory: b"", name: b"" }, &Entry::made_up_root()).unwrap();
    for (name, entry) in &entries {
        builder.push(Key { directory: b"", name }, entry).unwrap();
    }
    let roots = [builder.finish().unwrap().id];
    writer.remaining().unwrap().into_iter().try_for_each(|pack| writer.store(pack)).unwrap();
    writer.finish().unwrap();
    let index = Arc::new(Index::load(&vault, &Quiet).unwrap());
    let suspects = HashSet::new();
    let job = Examination { roots: &roots, index, suspects: &suspects, monitor: &Quiet };
    let mut found: Vec<(ChunkId, Vec<String>)> = Vec::new();
    for flaw in run(job, &vault).unwrap() {
        assert_eq!(flaw.error.kind(), Kind::Damaged, "{}", flaw.error);
        found.push((flaw.chunk, flaw.needs.into_iter().flat_map(|need| need.paths).collect()));
    }
    let mut expected = vec![
        (slices, vec!["slice-long".to_owned()]),
        (rows, vec!["rows-long".to_owned(), "rows-short".to_owned()]),
        (listed, vec!["in-lists".to_owned()]),
        (attributes, vec!["kind".to_owned()]),
    ];
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}
