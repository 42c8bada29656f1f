//! The vectors of `docs/format/vectors/keys.json`: computed again from their inputs, and opened.

use super::*;
use crate::repository::vault::config::Config;
use crate::repository::vault::header::Header;
use serde_json::{Value, json};

const KEPT: &str = include_str!("../../../../../docs/format/vectors/keys.json");

const REPOSITORY: ObjectId = ObjectId([0x11; 32]);
const SLOT: ObjectId = ObjectId([0x22; 32]);
const OBJECT: ObjectId = ObjectId([0x33; 32]);
const MASTER: [u8; 32] = [0x44; 32];
const OBJECT_KEY: [u8; 32] = [0x55; 32];
const SALT: [u8; 32] = [0x66; 32];
const PASSWORD: &str = "correct horse";
const CREATED: i64 = 1_795_485_914;
const CHUNK: &[u8] = b"a chunk";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn keys(cipher: Cipher) -> Keys {
    Keys::new(Zeroizing::new(MASTER), REPOSITORY, cipher)
}

fn of_cipher(cipher: Cipher) -> Value {
    let keys = keys(cipher);
    let parameters = Parameters { memory_kib: 8192, passes: 1, lanes: 1 };
    let derivation = Derivation { parameters, salt: SALT };
    let (guard, key) = match cipher {
        Cipher::None => (Guard::Open, open_key()),
        Cipher::Aes256Gcm => (Guard::Password(derivation), derivation.key(&password(PASSWORD)).unwrap()),
    };
    let about = About::new("laptop", Timestamp(CREATED)).unwrap();
    let slot = KeySlot::seal(SLOT, &keys, guard, &key, &about).unwrap();
    let object_key = Zeroizing::new(OBJECT_KEY);
    let (header, _) = Header::with_key(&keys, ObjectKind::ContentPack, OBJECT, &object_key).unwrap();
    let document = snapshot(CREATED).encode().unwrap();
    let sealed = object::seal_with_key(&keys, ObjectKind::Snapshot, OBJECT, &object_key, &document).unwrap();
    json!({
        "cipher": cipher.number(),
        "kek": hex(&key[..]),
        "slot": hex(slot.bytes()),
        "config": hex(Config::create(&keys).bytes()),
        "pack_header": hex(header.bytes()),
        "snapshot": hex(&sealed),
    })
}

fn computed() -> Value {
    let keys = keys(Cipher::Aes256Gcm);
    let names = ["config", "content id", "metadata id", "chunker", "bundles", "nodes", "slot"]
        .map(str::to_owned)
        .into_iter()
        .chain((2..8).map(|kind| format!("wrap {kind}")));
    let subkeys: serde_json::Map<String, Value> =
        names.map(|name| (name.clone(), hex(&keys.subkey(&name)[..]).into())).collect();
    let chunk_ids: Vec<String> =
        ChunkKind::ALL.iter().map(|kind| keys.chunk_id(*kind, CHUNK).to_string()).collect();
    json!({
        "inputs": {
            "master": hex(&MASTER),
            "repository": REPOSITORY.to_string(),
            "slot_id": SLOT.to_string(),
            "object_id": OBJECT.to_string(),
            "object_key": hex(&OBJECT_KEY),
            "password": PASSWORD,
            "salt": hex(&SALT),
            "argon2id": { "memory_kib": 8192, "passes": 1, "lanes": 1 },
            "label": "laptop",
            "created": CREATED,
            "chunk": hex(CHUNK),
            "snapshot_document": String::from_utf8(snapshot(CREATED).encode().unwrap()).unwrap(),
        },
        "subkeys": subkeys,
        "chunk_ids_by_kind": chunk_ids,
        "objects": [of_cipher(Cipher::None), of_cipher(Cipher::Aes256Gcm)],
    })
}

#[test]
fn the_vectors_are_what_this_program_computes() {
    let kept: Value = serde_json::from_str(KEPT).unwrap();
    let computed = computed();
    for (part, value) in computed.as_object().unwrap() {
        assert_eq!(kept[part], *value, "{part}");
    }
    assert_eq!(kept, computed);
}

#[test]
fn the_objects_of_the_vectors_are_opened_by_this_program() {
    let kept: Value = serde_json::from_str(KEPT).unwrap();
    for (objects, text) in kept["objects"].as_array().unwrap().iter().zip(["none", PASSWORD]) {
        let shelf = Shelf::default();
        shelf.set("dedup/config", &bytes(&objects["config"]));
        shelf.set(&name(Folder::Keys, SLOT), &bytes(&objects["slot"]));
        shelf.set(&name(Folder::Snapshots, OBJECT), &bytes(&objects["snapshot"]));
        let vault = open(&shelf, text).unwrap();
        assert_eq!((vault.id(), vault.keys().master()), (REPOSITORY, &Zeroizing::new(MASTER)));
        assert_eq!(vault.slots().unwrap()[0].label, "laptop");
        assert_eq!(vault.snapshot(OBJECT).unwrap(), snapshot(CREATED));
        let header = bytes(&objects["pack_header"]);
        Header::read(vault.keys(), ObjectKind::ContentPack, OBJECT, &header)
            .unwrap()
            .key(vault.keys())
            .unwrap();
    }
}

/// Run by hand when the format changes, which is to say: before it is published.
#[test]
#[ignore = "writes the vectors anew"]
fn the_vectors_are_written_anew() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format/vectors/keys.json");
    let text = serde_json::to_string_pretty(&computed()).unwrap();
    std::fs::write(path, text + "\n").unwrap();
}
