//! What killed runs left behind, indexes that take the place of others, and lists that change while they are read.

use super::*;
use crate::limits::INDEX_SMALL_COUNT;
use crate::name::ObjectName;
use crate::repository::vault::index::{document, inventory, orphans};
use crate::repository::vault::tests::meddled::Meddled;
use crate::storage::{PutMode, Storage};

#[test]
fn what_a_killed_run_stored_is_found_again_and_adopted() {
    let vault = vault(Cipher::Aes256Gcm);
    let mut encoder = encoder();
    let chunks: Vec<_> = (0..6000).map(|seed| noise(seed, 60)).collect();
    let ids: Vec<_> = {
        let killed = Writer::new(&vault, index(&vault));
        let ids = chunks.iter().map(|raw| put(&killed, ChunkKind::Node, raw, &mut encoder).id).collect();
        put(&killed, ChunkKind::Content, b"some content", &mut encoder);
        for pack in killed.remaining().unwrap() {
            killed.store(pack).unwrap();
        }
        ids
    };
    let mut loaded = Index::load(&vault, &Quiet).unwrap();
    assert!(loaded.is_empty());
    let found = orphans(&vault, &loaded).unwrap();
    assert!(found.damaged.is_empty());
    assert_eq!(found.packs.iter().map(|pack| pack.chunks()).sum::<usize>(), 6001);
    loaded.adopt(found.packs).unwrap();
    assert_eq!(loaded.find(&ids[5999]).unwrap().kind, ChunkKind::Node);

    let writer = Writer::new(&vault, Arc::new(loaded));
    assert!(!put(&writer, ChunkKind::Node, &chunks[77], &mut encoder).is_new);
    finish(&writer);
    let reader = Reader::new(&vault, index(&vault));
    for (id, raw) in ids.iter().zip(&chunks).step_by(13) {
        assert_eq!(&reader.read(ChunkKind::Node, id).unwrap(), raw);
    }
    assert!(orphans(&vault, reader.index()).unwrap().packs.is_empty());
    assert_eq!(objects(&vault, Folder::Packs).len(), 2);
}

#[test]
fn an_orphan_that_is_damaged_is_told_and_not_adopted() {
    let storage = Memory::new();
    let vault = vault_over(&storage, Cipher::Aes256Gcm);
    let killed = Writer::new(&vault, index(&vault));
    put(&killed, ChunkKind::Content, &noise(0, 3000), &mut encoder());
    killed.remaining().unwrap().into_iter().for_each(|pack| killed.store(pack).unwrap());
    let (id, size) = objects(&vault, Folder::Packs)[0];
    let name = Folder::Packs.object(id).unwrap();
    let sound = storage.read(&name, 0, size as usize).unwrap();
    let empty = Index::empty();
    for position in (0..128).chain(sound.len() - 200..sound.len()) {
        let mut changed = sound.clone();
        changed[position] ^= 1;
        storage.put(&name, &changed, PutMode::Replace).unwrap();
        let found = orphans(&vault, &empty).unwrap();
        assert_eq!((found.packs.len(), found.damaged.len()), (0, 1), "{position}");
    }
    for length in [0, 8, 4096, size as usize - 1] {
        storage.put(&name, &sound[..length.min(sound.len() - 1)], PutMode::Replace).unwrap();
        assert_eq!(orphans(&vault, &empty).unwrap().damaged.len(), 1);
    }
}

#[test]
fn packs_that_are_gone_or_have_another_length_are_told() {
    let storage = Memory::new();
    let vault = vault_over(&storage, Cipher::None);
    run(&vault, &[(ChunkKind::Content, noise(0, 100)), (ChunkKind::Node, noise(0, 100))]);
    let loaded = index(&vault);
    let whole = inventory(&vault, &loaded).unwrap();
    assert!(whole.missing.is_empty() && whole.resized.is_empty() && whole.unknown.is_empty());
    let [(first, _), (second, _)] = objects(&vault, Folder::Packs)[..] else { panic!("two packs") };
    storage.delete(&Folder::Packs.object(first).unwrap()).unwrap();
    storage.put(&Folder::Packs.object(second).unwrap(), b"short", PutMode::Replace).unwrap();
    storage.put(&ObjectName::new("dedup/packs/x").unwrap(), b"", PutMode::CreateNew).unwrap();
    let found = inventory(&vault, &loaded).unwrap();
    assert_eq!((found.missing.len(), found.resized[0].1, found.strays.len()), (1, 5, 1));
    assert_eq!(loaded.pack(found.missing[0]).unwrap().id, first);
}

#[test]
fn many_small_indexes_become_one_and_what_it_supersedes_is_passed_over() {
    let vault = vault(Cipher::Aes256Gcm);
    let chunk = |number: usize| vec![(ChunkKind::Content, noise(number as u64, 50))];
    let mut ids = Vec::new();
    for number in 0..=INDEX_SMALL_COUNT {
        ids.extend(run(&vault, &chunk(number)));
    }
    assert_eq!(objects(&vault, Folder::Index).len(), INDEX_SMALL_COUNT + 1);
    // Nothing new: and still there are too many.
    Writer::new(&vault, index(&vault)).finish().unwrap();
    assert_eq!(objects(&vault, Folder::Index).len(), INDEX_SMALL_COUNT + 2);
    let merged = index(&vault);
    assert_eq!((merged.small().len(), merged.len()), (1, ids.len()));

    // The superseded ones are not needed, nor even looked at.
    let all = objects(&vault, Folder::Index);
    for (id, _) in all.iter().filter(|(id, _)| *id != merged.small()[0].id) {
        let name = Folder::Index.object(*id).unwrap();
        vault.storage().put(&name, b"damaged", PutMode::Replace).unwrap();
    }
    let again = index(&vault);
    assert!(ids.iter().all(|id| again.find(id).is_some()));
    // The next merge remembers the ones that this one has superseded.
    for number in 100..100 + INDEX_SMALL_COUNT {
        run(&vault, &chunk(number));
    }
    run(&vault, &chunk(999));
    let last = index(&vault);
    assert_eq!(last.small().len(), 1);
    assert_eq!(last.small()[0].supersedes.len(), objects(&vault, Folder::Index).len() - 1);
    assert_eq!(last.len(), ids.len() + INDEX_SMALL_COUNT + 1);
}

#[test]
fn packs_that_only_a_superseded_index_has_are_not_there() {
    let storage = Memory::new();
    let vault = vault_over(&storage, Cipher::Aes256Gcm);
    let chunks: Vec<_> = (0..100).map(|seed| (ChunkKind::Content, noise(seed, 50))).collect();
    let ids = run(&vault, &chunks);
    let (old, _) = objects(&vault, Folder::Index)[0];
    // Smaller than what it supersedes, and so read after it.
    let kept = run(&vault, &[(ChunkKind::Content, noise(1000, 50))]);
    vault.write_object(ObjectKind::Index, &document::write(&[old], &[]).unwrap()).unwrap();
    let loaded = index(&vault);
    assert_eq!((loaded.len(), loaded.packs().count()), (1, 1));
    assert!(loaded.find(&ids[0]).is_none());
    assert_eq!(Reader::new(&vault, loaded).read(ChunkKind::Content, &kept[0]).unwrap(), noise(1000, 50));
}

#[test]
fn two_runs_at_once_may_store_a_chunk_twice_and_either_copy_will_do() {
    let vault = vault(Cipher::Aes256Gcm);
    let empty = index(&vault);
    let mut encoder = encoder();
    let runs = [Writer::new(&vault, Arc::clone(&empty)), Writer::new(&vault, empty)];
    for writer in &runs {
        put(writer, ChunkKind::Content, b"the same", &mut encoder);
    }
    runs.iter().for_each(finish);
    let reader = Reader::new(&vault, index(&vault));
    assert_eq!((reader.index().len(), reader.index().packs().count()), (1, 2));
    for (pack, _) in reader.index().packs() {
        let report = reader.read_pack(pack, &mut Decoder::new().unwrap()).unwrap();
        assert_eq!((report.chunks, report.findings.len()), (1, 0));
    }
}

#[test]
fn an_index_that_is_merged_and_deleted_while_indexes_are_read_is_not_missed() {
    let storage = Memory::new();
    let vault = vault_over(&storage, Cipher::Aes256Gcm);
    let ids = run(&vault, &[(ChunkKind::Content, noise(0, 50))]);
    let (old, _) = objects(&vault, Folder::Index)[0];
    let mut packs = Vec::new();
    let document = vault.read_object(ObjectKind::Index, old, None).unwrap();
    document::read(vault.keys(), &document, &mut |pack| {
        packs.push(pack);
        Ok(())
    })
    .unwrap();
    let merged = vault.write_object(ObjectKind::Index, &document::write(&[old], &packs).unwrap()).unwrap();
    let (merged, old) = (Folder::Index.object(merged).unwrap(), Folder::Index.object(old).unwrap());
    let bytes = storage.read(&merged, 0, 1 << 20).unwrap();
    storage.delete(&merged).unwrap();
    let storage = Meddled::storage(&storage, "listed", "dedup/index", move |memory| {
        memory.put(&merged, &bytes, PutMode::CreateNew).unwrap();
        memory.delete(&old).unwrap();
    });
    let vault = Vault { storage, ..vault };
    assert!(index(&vault).find(&ids[0]).is_some());
}
