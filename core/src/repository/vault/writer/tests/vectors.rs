//! The test vectors of the format: a pack and an index, byte for byte.

use super::*;
use crate::repository::vault::compression::Stored;
use crate::repository::vault::header::Header;
use crate::repository::vault::index::document;
use crate::repository::vault::object;
use crate::repository::vault::pack::{DescribedPack, Pack};
use crate::repository::vault::seal::Key;
use crate::storage::{PutMode, Storage};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

const VECTORS: &str = include_str!("../../../../../../docs/format/vectors/pack.json");

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Vectors {
    what: String,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Case {
    cipher: u8,
    master: String,
    repository: String,
    pack_id: String,
    pack_kind: u8,
    pack_key: String,
    chunks: Vec<Chunk>,
    pack: String,
    index_id: String,
    index_key: String,
    supersedes: Vec<String>,
    index: String,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Chunk {
    kind: u8,
    compression: u8,
    raw: String,
    stored: String,
    id: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn key(text: &str) -> Key {
    Zeroizing::new(bytes(text).try_into().unwrap())
}

/// Fills in what follows from the keys, the names and the chunks.
fn made(case: &Case) -> Case {
    let mut made = case.clone();
    let keys = keys(case);
    let id: ObjectId = case.pack_id.parse().unwrap();
    let kind = ObjectKind::from_number(case.pack_kind).unwrap();
    let (header, seal) = Header::with_key(&keys, kind, id, &key(&case.pack_key)).unwrap();
    let mut pack = Pack::with(&keys, header, seal, kind == ObjectKind::MetadataPack, Vec::new());
    for chunk in &mut made.chunks {
        let (raw, kind) = (bytes(&chunk.raw), ChunkKind::from_number(chunk.kind).unwrap());
        let id = keys.chunk_id(kind, &raw);
        chunk.id = id.to_string();
        let stored = bytes(&chunk.stored);
        pack.push(id, kind, raw.len(), &Stored { bytes: &stored, compression: chunk.compression }).unwrap();
    }
    let (bytes, described) = pack.close(&keys).unwrap();
    made.pack = hex(&bytes);
    made.index = hex(&index_object(case, &keys, &described));
    made
}

fn index_object(case: &Case, keys: &Keys, described: &DescribedPack) -> Vec<u8> {
    let superseded: Vec<ObjectId> = case.supersedes.iter().map(|id| id.parse().unwrap()).collect();
    let document = document::write(&superseded, std::slice::from_ref(described)).unwrap();
    let id = case.index_id.parse().unwrap();
    object::seal_with_key(keys, ObjectKind::Index, id, &key(&case.index_key), &document).unwrap()
}

fn keys(case: &Case) -> Keys {
    let cipher = Cipher::from_number(case.cipher).unwrap();
    Keys::new(key(&case.master), case.repository.parse().unwrap(), cipher)
}

#[test]
fn the_vectors_are_what_is_written_and_can_be_read() {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.cases.len() >= 2);
    for case in &vectors.cases {
        assert_eq!(&made(case), case);
        let storage = Memory::new();
        let mut vault = vault_over(&storage, Cipher::None);
        vault.keys = keys(case);
        let put = |name: ObjectId, folder: Folder, object: &str| {
            storage.put(&folder.object(name).unwrap(), &bytes(object), PutMode::CreateNew).unwrap();
        };
        put(case.pack_id.parse().unwrap(), Folder::Packs, &case.pack);
        put(case.index_id.parse().unwrap(), Folder::Index, &case.index);
        let reader = Reader::new(&vault, index(&vault));
        for chunk in &case.chunks {
            let kind = ChunkKind::from_number(chunk.kind).unwrap();
            assert_eq!(reader.read(kind, &chunk.id.parse().unwrap()).unwrap(), bytes(&chunk.raw));
        }
        let (pack, _) = reader.index().packs().next().unwrap();
        let report = reader.read_pack(pack, &mut Decoder::new().unwrap()).unwrap();
        assert!(report.findings.is_empty() && report.chunks as usize == case.chunks.len());
    }
}

/// Run by hand when the format changes, which it must not: writes the vectors anew.
#[test]
#[ignore = "writes the vectors"]
fn vectors_are_written() {
    let chunk = |kind: u8, raw: Vec<u8>, encoder: &mut Encoder| {
        let stored = encoder.encode(&raw).unwrap();
        let (stored, compression) = (hex(stored.bytes), stored.compression);
        Chunk { kind, compression, raw: hex(&raw), stored, id: String::new() }
    };
    let mut encoder = encoder();
    let contents = [vec![b'a'; 300], b"short".to_vec(), Vec::new()].map(|raw| chunk(0, raw, &mut encoder));
    let metadata = [(1, vec![1; 200]), (2, vec![2; 100]), (3, b"attributes".to_vec())]
        .map(|(kind, raw)| chunk(kind, raw, &mut encoder));
    let case = |cipher: u8, pack_kind: u8, chunks: Vec<Chunk>| {
        let id = |seed: u8| hex(&[seed ^ cipher << 4 ^ pack_kind; 32]);
        made(&Case {
            cipher,
            master: hex(&std::array::from_fn::<u8, 32, _>(|at| at as u8)),
            repository: id(0x40),
            pack_id: id(0x50),
            pack_kind,
            pack_key: id(0x60),
            chunks,
            pack: String::new(),
            index_id: id(0x70),
            index_key: id(0x80),
            supersedes: vec![id(0x90)],
            index: String::new(),
        })
    };
    let vectors = Vectors {
        what: "Packs and the indexes of them; all byte strings in hexadecimal".to_owned(),
        cases: vec![case(1, 2, contents.to_vec()), case(0, 3, metadata.to_vec())],
    };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format/vectors/pack.json");
    std::fs::write(path, serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
}
