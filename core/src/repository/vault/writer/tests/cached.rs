//! Copies close by: what is there is found here too, and a copy that is no good is made anew.

use super::super::super::cache::Cache;
use super::*;
use crate::storage::{PutMode, Storage};
use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path, of: &str) -> Vec<PathBuf> {
    fs::read_dir(folder.join(of)).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn objects_are_copied_and_copies_that_are_no_good_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Memory::new();
    let mut vault = vault_over(&storage, Cipher::Aes256Gcm);
    let chunks = [
        (ChunkKind::Node, noise(1, 5_000)),
        (ChunkKind::Node, noise(2, 9_000)),
        (ChunkKind::Content, noise(3, 7_000)),
    ];
    let ids = run(&vault, &chunks);
    vault.set_cache(Some(Cache::open(folder.path(), 1 << 30).unwrap()));
    let read = |vault: &Vault| {
        let reader = Reader::new(vault, index(vault));
        for (id, (kind, raw)) in ids.iter().zip(&chunks) {
            assert_eq!(&reader.read(*kind, id).unwrap(), raw);
        }
    };
    read(&vault);
    // Of content there is no copy.
    assert_eq!((files(folder.path(), "index").len(), files(folder.path(), "packs").len()), (1, 1));
    // Whoever changes copies gains nothing by it.
    for of in ["index", "packs"] {
        for path in files(folder.path(), of) {
            let sound = fs::read(&path).unwrap();
            for damaged in [vec![0; sound.len()], sound[..sound.len() / 2].to_vec(), Vec::new()] {
                fs::write(&path, damaged).unwrap();
                read(&vault);
                assert_eq!(fs::read(&path).unwrap(), sound, "made anew");
            }
        }
    }
    // What is copied needs nobody any more; what is listed is what counts.
    let pack = names::list(&storage, Folder::Packs).unwrap().objects;
    for (id, _) in &pack {
        let name = Folder::Packs.object(*id).unwrap();
        let bytes = storage.read(&name, 0, 1 << 20).unwrap();
        storage.put(&name, &vec![0; bytes.len()], PutMode::Replace).unwrap();
    }
    let reader = Reader::new(&vault, index(&vault));
    assert_eq!(reader.read(ChunkKind::Node, &ids[0]).unwrap(), chunks[0].1);
    assert!(reader.read(ChunkKind::Content, &ids[2]).is_err());
    vault.set_cache(None);
    assert!(Reader::new(&vault, index(&vault)).read(ChunkKind::Node, &ids[0]).is_err());
}
