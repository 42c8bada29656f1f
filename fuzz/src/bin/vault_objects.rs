//! What stands below `dedup/` but packs and indexes: understood or an error; what is understood is what was written.
//! The first byte says which reader gets the rest.
#![no_main]

use icecore::repository::vault::config::Config;
use icecore::repository::vault::keys::Keys;
use icecore::repository::vault::seal::Cipher;
use icecore::repository::vault::slot::{KeySlot, open_key};
use icecore::repository::vault::{ObjectId, ObjectKind, Seen, Snapshot, object};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const ID: ObjectId = ObjectId([3; 32]);

/// Without encryption: what a checksum lets through reaches the readers behind it.
static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::new([1; 32].into(), ObjectId([2; 32]), Cipher::None));

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 5 {
        0 => config(bytes),
        1 => slot(bytes),
        2 => sealed(bytes),
        3 => snapshot(bytes),
        _ => seen(bytes),
    }
});

fn config(bytes: &[u8]) {
    let Ok(config) = Config::parse(bytes) else { return };
    assert_eq!(config.bytes(), bytes);
    assert!(!config.is_sealed_by(&KEYS) || config == Config::create(&KEYS));
}

/// The slot's name is taken from it, so that the fuzzer gets behind the comparison. Its key is not derived: that is slow.
fn slot(bytes: &[u8]) {
    let id = bytes.get(16..48).and_then(|id| id.try_into().ok()).map_or(ID, ObjectId);
    let Ok(slot) = KeySlot::parse(id, bytes.to_vec()) else { return };
    assert_eq!(slot.bytes(), bytes);
    slot.master(&open_key()).expect("keys have the right length");
    // Refused or understood; both are answers.
    drop(slot.about(&KEYS));
}

/// Any bytes as an object; and as the document of one, behind a seal that is right.
fn sealed(bytes: &[u8]) {
    if let Ok(document) = object::open(&KEYS, ObjectKind::Snapshot, ID, bytes.to_vec()) {
        drop(Snapshot::parse(&document));
    }
    let object = object::seal(&KEYS, ObjectKind::Removal, ID, bytes).expect("it is far below the limit");
    assert_eq!(
        object::open(&KEYS, ObjectKind::Removal, ID, object.clone()).expect("it was just sealed"),
        bytes
    );
    assert!(object::open(&KEYS, ObjectKind::Session, ID, object).is_err());
}

fn snapshot(bytes: &[u8]) {
    let Ok(snapshot) = Snapshot::parse(bytes) else { return };
    let again = snapshot.encode().expect("what can be read can be written");
    assert_eq!(Snapshot::parse(&again).expect("what was written can be read"), snapshot);
}

fn seen(bytes: &[u8]) {
    let Ok(seen) = Seen::parse(bytes) else { return };
    let again = seen.encode().expect("ids can be spelled");
    assert_eq!(Seen::parse(&again).expect("what was written can be read"), seen);
}
