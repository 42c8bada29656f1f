//! Trees of the vault: entries in order or an error, in every way of going through them; what was read whole makes a tree again.
#![no_main]

use icecore::engine::dedup::tree::{Builder, Chunks, Cursor, Entry, Key, Store, diff, find, list, totals};
use icecore::repository::vault::{ChunkId, ChunkKind};
use icecore::{Error, Result};
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;

/// Nodes that a chunk is one of: which, says the first byte of its id.
struct Nodes<'a>(Vec<&'a [u8]>);

impl Chunks for Nodes<'_> {
    fn read(&self, _kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        let found = self.0.get(usize::from(id.0[0])).map(|node| node.to_vec());
        found.ok_or_else(|| Error::damaged("chunk is missing:", id.to_string()))
    }
}

/// Chunks that were written.
#[derive(Default)]
struct Written(HashMap<ChunkId, Vec<u8>>);

impl Chunks for Written {
    fn read(&self, _kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        Ok(self.0[id].clone())
    }
}

impl Store for Written {
    fn put(&mut self, _kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId> {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(self.0.len() as u64).to_le_bytes());
        self.0.insert(ChunkId(id), bytes.to_vec());
        Ok(ChunkId(id))
    }
}

type Found = (Vec<u8>, Vec<u8>, Entry);

// Nodes are separated by four bytes that stand for nothing in them.
fuzz_target!(|bytes: &[u8]| {
    let mut nodes = vec![];
    let mut rest = bytes;
    while let Some(end) = rest.windows(4).position(|window| window == b"\xff\xfe\xff\xfe") {
        nodes.push(&rest[..end]);
        rest = &rest[end + 4..];
    }
    nodes.push(rest);
    let (root, nodes) = (ChunkId([0; 32]), Nodes(nodes));
    let whole = read(&nodes, &root);
    for path in [&b""[..], b"a", b"a/b"] {
        let _ = (find(&nodes, &root, path), list(&nodes, &root, path, &mut |_, _| Ok(())));
    }
    let _ = (totals(&nodes, &root), diff(&nodes, &root, &ChunkId([1; 32]), &mut |_| Ok(())));
    let Ok(entries) = whole else { return };
    let mut written = Written::default();
    let mut builder = Builder::new(&[7; 32], &mut written);
    for (directory, name, entry) in &entries {
        builder.push(Key { directory, name }, entry).expect("the reader has checked it");
    }
    let again = builder.finish().expect("there is a root").id;
    assert!(read(&written, &again).expect("it was written here") == entries);
});

fn read(chunks: &dyn Chunks, root: &ChunkId) -> Result<Vec<Found>> {
    let mut cursor = Cursor::new(chunks, root)?;
    let mut entries: Vec<Found> = Vec::new();
    while let Some((key, entry)) = cursor.peek()? {
        if let Some((directory, name, _)) = entries.last() {
            assert!(Key { directory, name } < key);
        }
        entries.push((key.directory.to_vec(), key.name.to_vec(), entry.clone()));
        cursor.advance();
    }
    Ok(entries)
}
