//! Whatever happens to stored bytes is noticed, and wrong bytes never come out.

use super::*;
use crate::name::ObjectName;
use crate::repository::vault::index::{document, orphans};
use crate::repository::vault::pack::{Location, PackRef};
use crate::storage::{PutMode, Storage};

struct Small {
    storage: Memory,
    vault: Vault,
    chunks: Vec<(ChunkKind, Vec<u8>)>,
    ids: Vec<ChunkId>,
    name: ObjectName,
    bytes: Vec<u8>,
}

/// A pack of content with a few chunks, compressed and not.
fn small(cipher: Cipher) -> Small {
    let storage = Memory::new();
    let vault = vault_over(&storage, cipher);
    let chunks: Vec<_> = [text(0, 700), noise(1, 40), text(2, 700), noise(3, 40), Vec::new()]
        .into_iter()
        .map(|raw| (ChunkKind::Content, raw))
        .collect();
    let ids = run(&vault, &chunks);
    let name = Folder::Packs.object(objects(&vault, Folder::Packs)[0].0).unwrap();
    let bytes = storage.read(&name, 0, 1 << 20).unwrap();
    Small { storage, vault, chunks, ids, name, bytes }
}

impl Small {
    fn replace(&self, bytes: &[u8]) {
        self.storage.put(&self.name, bytes, PutMode::Replace).unwrap();
    }

    fn pack(&self, reader: &Reader<'_>) -> PackRef {
        reader.index().packs().next().unwrap().0
    }

    /// What reading the whole pack finds; and every chunk is right or an error.
    fn findings(&self) -> usize {
        let reader = Reader::new(&self.vault, index(&self.vault));
        let mut wrong = 0;
        for (id, (kind, raw)) in self.ids.iter().zip(&self.chunks) {
            match reader.read(*kind, id) {
                Ok(bytes) => assert_eq!(&bytes, raw),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Damaged);
                    wrong += 1;
                }
            }
        }
        let report = reader.read_pack(self.pack(&reader), &mut Decoder::new().unwrap()).unwrap();
        assert_eq!(report.findings.iter().filter(|finding| finding.chunk.is_some()).count(), wrong);
        report.findings.len()
    }
}

#[test]
fn every_changed_byte_of_a_pack_is_found() {
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        let small = small(cipher);
        assert_eq!(small.findings(), 0);
        for position in 0..small.bytes.len() {
            let mut changed = small.bytes.clone();
            changed[position] ^= 1 << (position % 8);
            small.replace(&changed);
            assert!(small.findings() > 0, "{cipher:?} {position}");
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_found() {
    let small = small(Cipher::Aes256Gcm);
    for length in (0..small.bytes.len()).step_by(17) {
        small.replace(&small.bytes[..length]);
        assert!(small.findings() > 0, "{length}");
    }
    small.replace(&[&small.bytes[..], &[0; 4096]].concat());
    assert!(small.findings() > 0);
    small.storage.delete(&small.name).unwrap();
    let reader = Reader::new(&small.vault, index(&small.vault));
    let report = reader.read_pack(small.pack(&reader), &mut Decoder::new().unwrap()).unwrap();
    assert_eq!((report.chunks, report.findings.len()), (0, 1));
    assert_eq!(fails(reader.read(ChunkKind::Content, &small.ids[0])).kind(), Kind::Damaged);
}

#[test]
fn blobs_that_changed_places_do_not_open() {
    for cipher in [Cipher::None, Cipher::Aes256Gcm] {
        let small = small(cipher);
        let loaded = index(&small.vault);
        let place = |number: usize| loaded.find(&small.ids[number]).unwrap();
        // Of the same length, and so the only thing that keeps them apart is the seal.
        let (first, second) = (place(1), place(3));
        assert_eq!(first.sealed_bytes, second.sealed_bytes);
        let of = |at: &Location| at.offset as usize..at.end() as usize;
        let mut swapped = small.bytes.clone();
        swapped[of(&first)].copy_from_slice(&small.bytes[of(&second)]);
        swapped[of(&second)].copy_from_slice(&small.bytes[of(&first)]);
        small.replace(&swapped);
        assert_eq!(small.findings(), 2, "{cipher:?}");
    }
}

#[test]
fn a_pack_under_the_name_of_another_does_not_open() {
    let small = small(Cipher::Aes256Gcm);
    run(&small.vault, &[(ChunkKind::Content, noise(9, 1500))]);
    let packs = objects(&small.vault, Folder::Packs);
    let other =
        packs.iter().map(|(id, _)| Folder::Packs.object(*id).unwrap()).find(|name| *name != small.name);
    let other = small.storage.read(&other.unwrap(), 0, 1 << 20).unwrap();
    assert_eq!(other.len(), small.bytes.len());
    small.replace(&other);
    assert_eq!(
        fails(Reader::new(&small.vault, index(&small.vault)).read(ChunkKind::Content, &small.ids[0])).kind(),
        Kind::Damaged
    );
}

#[test]
fn a_chunk_that_claims_another_name_is_refused() {
    let storage = Memory::new();
    let vault = vault_over(&storage, Cipher::Aes256Gcm);
    let claimed = vault.keys().chunk_id(ChunkKind::Content, b"what it should be");
    let mut pack = super::super::Pack::begin(vault.keys(), false, Vec::new()).unwrap();
    let stored =
        crate::repository::vault::compression::Stored { bytes: b"and what it is...", compression: 0 };
    pack.push(claimed, ChunkKind::Content, stored.bytes.len(), &stored).unwrap();
    let (bytes, described) = pack.close(vault.keys()).unwrap();
    storage.put(&Folder::Packs.object(described.id()).unwrap(), &bytes, PutMode::CreateNew).unwrap();
    vault.write_object(ObjectKind::Index, &document::write(&[], &[described]).unwrap()).unwrap();
    let reader = Reader::new(&vault, index(&vault));
    assert_eq!(fails(reader.read(ChunkKind::Content, &claimed)).kind(), Kind::Damaged);
    let (pack, _) = reader.index().packs().next().unwrap();
    let report = reader.read_pack(pack, &mut Decoder::new().unwrap()).unwrap();
    assert_eq!((report.chunks, report.findings[0].chunk), (0, Some(claimed)));
}

#[test]
fn every_changed_byte_and_every_cut_of_an_index_is_found_and_the_packs_say_it_all_again() {
    [Cipher::Aes256Gcm, Cipher::None].into_iter().for_each(a_damaged_index_is_found);
}

fn a_damaged_index_is_found(cipher: Cipher) {
    let small = small(cipher);
    let (id, _) = objects(&small.vault, Folder::Index)[0];
    let name = Folder::Index.object(id).unwrap();
    let bytes = small.storage.read(&name, 0, 1 << 20).unwrap();
    let put = |bytes: &[u8]| small.storage.put(&name, bytes, PutMode::Replace).unwrap();
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 0x10;
        put(&changed);
        let loaded = Index::load(&small.vault, &Quiet);
        assert!(matches!(fails(loaded).kind(), Kind::Damaged | Kind::Unsupported), "{position}");
    }
    for length in (0..bytes.len()).step_by(7) {
        put(&bytes[..length]);
        assert_eq!(fails(Index::load(&small.vault, &Quiet)).kind(), Kind::Damaged);
    }
    let mut repaired = Index::load_what_is_sound(&small.vault, &Quiet).unwrap();
    assert_eq!((repaired.len(), repaired.damaged().len()), (0, 1));
    let found = orphans(&small.vault, &repaired).unwrap();
    repaired.adopt(found.packs).unwrap();
    Writer::new(&small.vault, Arc::new(repaired)).finish().unwrap();
    assert_eq!(index(&small.vault).len(), small.ids.len());
    assert_eq!(small.findings(), 0);
}

#[test]
fn an_index_that_breaks_a_limit_is_refused() {
    let vault = vault(Cipher::Aes256Gcm);
    let mut pack = super::super::Pack::begin(vault.keys(), true, Vec::new()).unwrap();
    let stored = crate::repository::vault::compression::Stored { bytes: &[7; 100], compression: 0 };
    pack.push(ChunkId([1; 32]), ChunkKind::Node, 100, &stored).unwrap();
    let (_, described) = pack.close(vault.keys()).unwrap();
    let sound = document::write(&[ObjectId([4; 32])], &[described]).unwrap();
    let read = |document: &[u8]| document::read(vault.keys(), document, &mut |_| Ok(()));
    assert_eq!(read(&sound).unwrap(), [ObjectId([4; 32])]);
    let row = sound.len() - 42;
    let changed = |at: usize, bytes: &[u8]| {
        let mut document = sound.clone();
        document[at..at + bytes.len()].copy_from_slice(bytes);
        fails(read(&document)).kind()
    };
    let pack = 4 + 4 + 32 + 4;
    for (at, bytes, kind) in [
        (0, &2u32.to_le_bytes()[..], Kind::Unsupported),
        (4, &u32::MAX.to_le_bytes(), Kind::Damaged),
        (40, &u32::MAX.to_le_bytes(), Kind::Damaged),
        (pack + 32, &[10], Kind::Unsupported),
        (pack + 32, &[4], Kind::Unsupported),
        (pack + 33, &[0; 8], Kind::Damaged),
        (pack + 33, &(65u64 << 20).to_le_bytes(), Kind::Damaged),
        (pack + 33, &4097u64.to_le_bytes(), Kind::Damaged),
        (pack + 41, &[2], Kind::Unsupported),
        (pack + 42 + 79, &[1], Kind::Damaged),
        (row - 4, &65_537u32.to_le_bytes(), Kind::Damaged),
        (row + 32, &[117], Kind::Damaged),
        (row + 32, &[0; 4], Kind::Damaged),
        (row + 36, &[99], Kind::Damaged),
        (row + 40, &[1], Kind::Damaged),
        (row + 40, &[2], Kind::Unsupported),
        (row + 41, &[0], Kind::Damaged),
        (row + 41, &[4], Kind::Unsupported),
    ] {
        assert_eq!(changed(at, bytes), kind, "{at} {bytes:?}");
    }
    // Compressed, sealed in a few bytes, and longer than a node may be.
    let mut long = sound.clone();
    long[row + 36..row + 41].copy_from_slice(&[1, 0, 0x20, 0, 1]);
    assert_eq!(fails(read(&long)).kind(), Kind::Damaged);
    long[row + 36..row + 41].copy_from_slice(&[0, 0, 0x20, 0, 1]);
    read(&long).unwrap();
    for length in 0..sound.len() {
        assert_eq!(fails(read(&sound[..length])).kind(), Kind::Damaged);
    }
    assert_eq!(fails(read(&[&sound[..], b"x"].concat())).kind(), Kind::Damaged);
}
