//! Chunks that go in and come back: by any number of threads, in any mixture, under both ciphers.

mod cached;
mod damage;
mod recovery;
mod vectors;

use super::super::compression::{CompressionLevel, Decoder, Encoder};
use super::super::id::{ChunkId, ChunkKind, ID_BYTES, ObjectId};
use super::super::index::Index;
use super::super::keys::Keys;
use super::super::names::{self, Folder};
use super::super::reader::Reader;
use super::super::seal::{Cipher, KEY_BYTES};
use super::super::slot::Guard;
use super::super::{ObjectKind, Vault};
use super::{Put, Writer};
use crate::error::{Error, Kind, Result};
use crate::limits::{CHUNK_BYTES, NODE_BYTES, PACK_CLOSE_BYTES};
use crate::monitor::Quiet;
use crate::storage::memory::Memory;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

pub(super) fn vault_over(storage: &Memory, cipher: Cipher) -> Vault {
    let keys = Keys::new(Zeroizing::new([1; KEY_BYTES]), ObjectId([2; ID_BYTES]), cipher);
    let slot = ObjectId([3; ID_BYTES]);
    Vault {
        storage: Arc::new(storage.clone()),
        keys,
        slot,
        guard: Guard::Open,
        cache: None,
        recent: Mutex::default(),
        recent_keys: Mutex::default(),
        ahead: Mutex::default(),
    }
}

fn vault(cipher: Cipher) -> Vault {
    vault_over(&Memory::new(), cipher)
}

fn encoder() -> Encoder {
    Encoder::new(CompressionLevel::Default, true).unwrap()
}

fn index(vault: &Vault) -> Arc<Index> {
    Arc::new(Index::load(vault, &Quiet).unwrap())
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn text(seed: u64, length: usize) -> Vec<u8> {
    let words = format!("line {seed} of a text that compresses\n");
    words.bytes().cycle().take(length).collect()
}

/// Puts and stores what is full.
fn put(writer: &Writer<'_>, kind: ChunkKind, raw: &[u8], encoder: &mut Encoder) -> Put {
    let mut put = writer.put(kind, raw, encoder).unwrap();
    if let Some(pack) = put.full.take() {
        writer.store(pack).unwrap();
    }
    put
}

fn finish(writer: &Writer<'_>) {
    for pack in writer.remaining().unwrap() {
        writer.store(pack).unwrap();
    }
    writer.finish().unwrap();
}

/// One run that stores these chunks.
fn run(vault: &Vault, chunks: &[(ChunkKind, Vec<u8>)]) -> Vec<ChunkId> {
    let writer = Writer::new(vault, index(vault));
    let mut encoder = encoder();
    let ids = chunks.iter().map(|(kind, raw)| put(&writer, *kind, raw, &mut encoder).id).collect();
    finish(&writer);
    ids
}

fn objects(vault: &Vault, folder: Folder) -> Vec<(ObjectId, u64)> {
    names::list(vault.storage().as_ref(), folder).unwrap().objects
}

fn chunk() -> impl Strategy<Value = (ChunkKind, Vec<u8>)> {
    let kind = prop::sample::select(&ChunkKind::ALL[..]);
    let raw = (any::<bool>(), 0u64..20, 0usize..50_000).prop_map(|(compresses, seed, length)| {
        if compresses { text(seed, length) } else { noise(seed, length) }
    });
    (kind, raw)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_several_runs_put_comes_back(
        encrypted in any::<bool>(),
        runs in prop::collection::vec(prop::collection::vec(chunk(), 0..12), 1..4),
    ) {
        let vault = vault(if encrypted { Cipher::Aes256Gcm } else { Cipher::None });
        let mut all = BTreeMap::new();
        for chunks in &runs {
            let ids = run(&vault, chunks);
            all.extend(ids.into_iter().zip(chunks));
        }
        let reader = Reader::new(&vault, index(&vault));
        prop_assert_eq!(reader.index().len(), all.len());
        for (id, (kind, raw)) in &all {
            prop_assert_eq!(&reader.read(*kind, id).unwrap(), raw);
        }
        let mut decoder = Decoder::new().unwrap();
        let mut sound = 0;
        for (pack, info) in reader.index().packs() {
            let report = reader.read_pack(pack, &mut decoder).unwrap();
            prop_assert!(report.findings.is_empty(), "{:?}", report.findings);
            prop_assert_eq!(report.chunks, info.chunks);
            prop_assert_eq!(report.read_bytes % 4096, 0);
            sound += report.chunks as usize;
        }
        prop_assert_eq!(sound, all.len());
    }
}

#[test]
fn a_chunk_is_stored_once_and_the_same_bytes_of_another_kind_are_another_chunk() {
    let vault = vault(Cipher::Aes256Gcm);
    let raw = text(1, 5000);
    let writer = Writer::new(&vault, index(&vault));
    let mut encoder = encoder();
    let first = put(&writer, ChunkKind::Content, &raw, &mut encoder);
    assert!(first.is_new && first.stored_bytes > 0 && writer.has(&first.id));
    let again = put(&writer, ChunkKind::Content, &raw, &mut encoder);
    assert!(!again.is_new && again.stored_bytes == 0 && again.id == first.id);
    let node = put(&writer, ChunkKind::Node, &raw, &mut encoder);
    assert!(node.is_new && node.id != first.id);
    finish(&writer);
    assert_eq!(writer.added_chunks(), 2);
    assert_eq!(objects(&vault, Folder::Packs).len(), 2);

    let later = Writer::new(&vault, index(&vault));
    assert!(later.has(&first.id));
    assert!(!put(&later, ChunkKind::Content, &raw, &mut encoder).is_new);
    finish(&later);
    assert_eq!(later.added_bytes(), 0);
    assert_eq!((objects(&vault, Folder::Packs).len(), objects(&vault, Folder::Index).len()), (2, 1));

    let reader = Reader::new(&vault, index(&vault));
    assert_eq!(reader.read(ChunkKind::Node, &first.id).unwrap_err().kind(), Kind::Damaged);
    assert_eq!(reader.read(ChunkKind::Content, &ChunkId([0; 32])).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn chunks_up_to_the_limit_of_their_kind_are_taken_and_longer_ones_refused() {
    let vault = vault(Cipher::Aes256Gcm);
    let writer = Writer::new(&vault, index(&vault));
    let mut encoder = encoder();
    let mut longest = Vec::new();
    for kind in ChunkKind::ALL {
        let limit = if matches!(kind, ChunkKind::Node | ChunkKind::List) { NODE_BYTES } else { CHUNK_BYTES };
        let raw = noise(kind.number().into(), limit + 1);
        assert_eq!(writer.put(kind, &raw, &mut encoder).err().unwrap().kind(), Kind::Limit);
        longest.push((kind, put(&writer, kind, &raw[1..], &mut encoder).id));
    }
    finish(&writer);
    let reader = Reader::new(&vault, index(&vault));
    for (kind, id) in longest {
        let raw = noise(kind.number().into(), reader.index().find(&id).unwrap().raw_bytes as usize + 1);
        assert_eq!(reader.read(kind, &id).unwrap(), raw[1..]);
    }
}

#[test]
fn what_compresses_is_compressed_and_what_does_not_is_stored_as_it_is() {
    let vault = vault(Cipher::None);
    let ids = run(&vault, &[(ChunkKind::Content, text(0, 1 << 20)), (ChunkKind::Content, noise(0, 1 << 20))]);
    let index = index(&vault);
    let found = ids.iter().map(|id| index.find(id).unwrap());
    assert_eq!(found.map(|at| at.compression).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn four_threads_with_overlapping_chunks_store_each_once() {
    let vault = vault(Cipher::Aes256Gcm);
    let chunks: Vec<Vec<u8>> = (0..300)
        .map(|seed| if seed % 2 == 0 { noise(seed, 100_000) } else { text(seed, 100_000 + seed as usize) })
        .collect();
    let kind = |at: usize| if at.is_multiple_of(5) { ChunkKind::Node } else { ChunkKind::Content };
    let writer = Writer::new(&vault, index(&vault));
    let new: usize = std::thread::scope(|scope| {
        let worker = |number: usize| {
            let (writer, chunks) = (&writer, &chunks);
            move || {
                let mut encoder = encoder();
                // All begin with the same few, then go their own ways.
                let order = (0..20).chain((0..chunks.len()).map(|at| (at * 7 + number * 75) % chunks.len()));
                order.filter(|at| put(writer, kind(*at), &chunks[*at], &mut encoder).is_new).count()
            }
        };
        let workers: Vec<_> = (0..4).map(|number| scope.spawn(worker(number))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    finish(&writer);
    assert_eq!((new, writer.added_chunks()), (300, 300));
    let reader = Reader::new(&vault, index(&vault));
    assert_eq!(reader.index().packs().map(|(_, info)| info.chunks).sum::<u32>(), 300);
    for (at, raw) in chunks.iter().enumerate() {
        let id = vault.keys().chunk_id(kind(at), raw);
        assert_eq!(&reader.read(kind(at), &id).unwrap(), raw);
    }
}

#[test]
fn a_run_of_neighbours_is_fetched_at_once_and_opened_one_by_one() {
    let vault = vault(Cipher::Aes256Gcm);
    let chunks: Vec<_> = (0..20).map(|seed| (ChunkKind::Content, text(seed, 3000))).collect();
    let ids = run(&vault, &chunks);
    let reader = Reader::new(&vault, index(&vault));
    let places: Vec<_> = ids.iter().map(|id| reader.index().find(id).unwrap()).collect();
    assert!(places.windows(2).all(|pair| pair[0].pack == pair[1].pack && pair[0].end() == pair[1].offset));
    let from = places[5].offset;
    let mut bytes = reader.fetch(places[5].pack, from..places[14].end()).unwrap();
    let (mut decoder, mut out) = (Decoder::new().unwrap(), Vec::new());
    for number in 5..15 {
        let at = &places[number];
        let sealed = &mut bytes[(at.offset - from) as usize..(at.end() - from) as usize];
        reader.open(&ids[number], ChunkKind::Content, at, sealed, &mut decoder, &mut out).unwrap();
        assert_eq!(out, chunks[number].1);
    }
}

#[test]
fn packs_are_closed_when_they_are_full_and_a_lost_one_is_noticed_at_the_end() {
    let vault = vault(Cipher::Aes256Gcm);
    let writer = Writer::new(&vault, index(&vault));
    let mut encoder = encoder();
    let mut full = Vec::new();
    for seed in 0..20 {
        full.extend(writer.put(ChunkKind::Content, &noise(seed, 1 << 20), &mut encoder).unwrap().full);
    }
    assert_eq!(full.len(), 1);
    assert_eq!(writer.finish().unwrap_err().kind(), Kind::Invalid);
    let rest = writer.remaining().unwrap();
    assert_eq!(rest.len(), 1);
    for pack in rest {
        writer.store(pack).unwrap();
    }
    // One was handed out and never stored.
    assert_eq!(writer.finish().unwrap_err().kind(), Kind::Invalid);
    full.into_iter().for_each(|pack| writer.store(pack).unwrap());
    writer.finish().unwrap();
    writer.finish().unwrap();
    assert_eq!(objects(&vault, Folder::Index).len(), 1);
    let sizes = objects(&vault, Folder::Packs);
    let added: u64 = sizes.iter().map(|(_, size)| size).sum();
    assert!(sizes.iter().any(|(_, size)| *size > PACK_CLOSE_BYTES as u64) && writer.added_bytes() > added);
}

#[test]
fn after_a_failure_a_run_does_not_end_well() {
    let storage = Memory::new();
    let vault = vault_over(&storage, Cipher::Aes256Gcm);
    let writer = Writer::new(&vault, index(&vault));
    put(&writer, ChunkKind::Content, b"content", &mut encoder());
    let packs = writer.remaining().unwrap();
    // Where the pack should go, there is something else.
    let name = Folder::Packs.object(packs[0].id()).unwrap();
    crate::storage::Storage::put(&storage, &name, b"x", crate::storage::PutMode::CreateNew).unwrap();
    for pack in packs {
        assert_eq!(writer.store(pack).unwrap_err().kind(), Kind::AlreadyExists);
    }
    assert!(writer.remaining().is_err() && writer.finish().is_err());
    assert!(objects(&vault, Folder::Index).is_empty());
}

fn fails<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it should not have worked"),
        Err(error) => error,
    }
}
