//! The vault as a whole: made, opened, its slots, what is noticed when bytes of it change, and what a killed run leaves.

mod ahead;
mod damage;
mod documents;
mod meanwhile;
pub(super) mod meddled;
mod seen;
mod vectors;

use super::kdf::{Derivation, Parameters};
use super::seal::KEY_BYTES;
use super::slot::{About, KeySlot, open_key};
use super::*;
use crate::repository::tests::shelf::Shelf;
use crate::time::{FileTime, Timestamp};
use zeroize::Zeroizing;

const NOW: Timestamp = Timestamp(1_795_485_914);

fn password(text: &str) -> Password {
    Password::new(text.as_bytes().to_vec())
}

fn create(shelf: &Shelf, protection: &Protection) -> Result<Vault> {
    Vault::create_with(shelf.handle(), protection, Parameters::LEAST, "first", NOW)
}

fn encrypted(shelf: &Shelf) -> Vault {
    create(shelf, &Protection::Password(password("secret"))).unwrap()
}

fn open(shelf: &Shelf, text: &str) -> Result<Vault> {
    Vault::open(shelf.handle(), &mut || Ok(password(text)))
}

fn kind<T>(result: Result<T>) -> Kind {
    result.map(drop).unwrap_err().kind()
}

fn name(folder: Folder, id: ObjectId) -> String {
    folder.object(id).unwrap().to_string()
}

fn snapshot(seconds: i64) -> Snapshot {
    Snapshot {
        host: "host".to_owned(),
        name: "home".to_owned(),
        paths: vec![b"/home".to_vec(), b"/\xff\n".to_vec()],
        tags: vec!["weekly".to_owned()],
        time: FileTime::new(seconds, 5),
        finished: FileTime::new(seconds + 60, 999_999_999),
        root: ChunkId([9; 32]),
        entries: 12,
        files: 10,
        bytes: u64::MAX,
        added_bytes: 4096,
        errors: 1,
        unread: vec!["/home/x: permission denied".to_owned()],
        parent: None,
        session: ObjectId([3; 32]),
        program: "icecore 0.1.0".to_owned(),
    }
}

#[test]
fn what_was_made_is_opened_with_its_password_and_no_other() {
    let shelf = Shelf::default();
    assert!(!Vault::exists(shelf.handle().as_ref()).unwrap());
    assert_eq!(kind(open(&shelf, "secret")), Kind::NoRepository);
    let made = encrypted(&shelf);
    assert!(made.is_encrypted() && Vault::exists(shelf.handle().as_ref()).unwrap());
    let opened = open(&shelf, "secret").unwrap();
    assert_eq!(opened.id(), made.id());
    assert_eq!(opened.keys().master(), made.keys().master());
    for wrong in ["", "Secret", "secret\n"] {
        assert_eq!(kind(open(&shelf, wrong)), Kind::WrongPassword);
    }
    assert_eq!(kind(create(&shelf, &Protection::None)), Kind::AlreadyExists);
    let failing = Vault::open(shelf.handle(), &mut || Err(Error::interrupted()));
    assert_eq!(kind(failing), Kind::Interrupted);
}

#[test]
fn an_empty_password_and_an_unusable_label_are_refused_before_anything_is_written() {
    let shelf = Shelf::default();
    assert_eq!(kind(create(&shelf, &Protection::Password(password("")))), Kind::Invalid);
    for label in ["x".repeat(201), "a\nb".to_owned()] {
        assert_eq!(kind(Vault::create(shelf.handle(), &Protection::None, &label, NOW)), Kind::Invalid);
    }
    assert!(shelf.names().is_empty());
}

#[test]
fn without_encryption_no_password_is_asked_for() {
    let shelf = Shelf::default();
    let made = create(&shelf, &Protection::None).unwrap();
    let opened = Vault::open(shelf.handle(), &mut || panic!("a password is asked for")).unwrap();
    assert!(!opened.is_encrypted());
    assert_eq!(opened.id(), made.id());
    let id = opened.commit(&snapshot(1)).unwrap();
    assert_eq!(made.snapshot(id).unwrap(), snapshot(1));
    assert_eq!(kind(opened.add_slot(&password("x"), "", NOW)), Kind::Invalid);
    let slots = opened.slots().unwrap();
    assert_eq!((slots.len(), slots[0].is_current), (1, true));
    assert_eq!(kind(opened.remove_slot(slots[0].id)), Kind::Invalid);
}

#[test]
fn slots_are_added_listed_by_whoever_is_in_and_removed_but_for_the_last() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let first = vault.slots().unwrap()[0].id;
    let second = vault.add_slot(&password("other"), "safe", Timestamp(NOW.0 + 1)).unwrap();
    assert_eq!(kind(vault.add_slot(&password(""), "empty", NOW)), Kind::Invalid);
    let by_second = open(&shelf, "other").unwrap();
    let slots = by_second.slots().unwrap();
    let rows: Vec<_> = slots.iter().map(|slot| (slot.id, slot.label.as_str(), slot.is_current)).collect();
    assert_eq!(rows, [(first, "first", false), (second, "safe", true)]);
    assert_eq!(kind(by_second.remove_slot(ObjectId([0; 32]))), Kind::NotFound);
    by_second.remove_slot(first).unwrap();
    assert_eq!(kind(open(&shelf, "secret")), Kind::WrongPassword);
    assert_eq!(kind(by_second.remove_slot(second)), Kind::Invalid);
    assert_eq!(open(&shelf, "other").unwrap().id(), vault.id());
}

#[test]
fn a_damaged_slot_does_not_count_as_one_that_is_left() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let second = vault.add_slot(&password("other"), "safe", NOW).unwrap();
    let mut bytes = shelf.take(&name(Folder::Keys, second));
    bytes[130] ^= 1;
    shelf.set(&name(Folder::Keys, second), &bytes);
    let first = vault.slots().unwrap()[0].id;
    assert_eq!(kind(vault.remove_slot(first)), Kind::Invalid);
    assert_eq!(vault.examine().unwrap().damaged.len(), 1);
    vault.remove_slot(second).unwrap();
    assert!(vault.examine().unwrap().damaged.is_empty());
}

#[test]
fn all_slots_share_one_derivation() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    vault.add_slot(&password("other"), "safe", NOW).unwrap();
    let guards: Vec<Guard> =
        slots::read(shelf.handle().as_ref(), &[]).unwrap().slots.iter().map(KeySlot::guard).collect();
    assert_eq!(guards, [vault.guard; 2]);
}

/// Puts a slot there as whoever has no key can: one that was copied, with another name, salt and cost.
fn plant(vault: &Vault, number: u8, parameters: Parameters) {
    let found = slots::read(vault.storage().as_ref(), &[]).unwrap().slots;
    let mut bytes = found[0].bytes().to_vec();
    bytes[16..48].copy_from_slice(&[number; 32]);
    bytes[48..52].copy_from_slice(&parameters.memory_kib.to_le_bytes());
    bytes[52..56].copy_from_slice(&parameters.passes.to_le_bytes());
    bytes[56..60].copy_from_slice(&parameters.lanes.to_le_bytes());
    bytes[64] = number;
    let slot = KeySlot::parse(ObjectId([number; 32]), bytes).unwrap();
    slots::write(vault.storage().as_ref(), &slot).unwrap();
}

/// Where every planted slot is tried, this takes minutes.
#[test]
fn slots_that_somebody_puts_there_cost_no_more_than_a_bound() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let dearest = [(1 << 20, 1), (1 << 14, 64), (1 << 16, 16)];
    for number in 0..20 {
        let (memory_kib, passes) = dearest[usize::from(number) % dearest.len()];
        plant(&vault, number, Parameters { memory_kib, passes, lanes: 1 });
    }
    let error = open(&shelf, "wrong").unwrap_err();
    assert_eq!(error.kind(), Kind::WrongPassword);
    assert!(error.to_string().contains("20 key slots were not tried"), "{error}");
    open(&shelf, "secret").unwrap();
    // Cheap ones are tried as well, and the right one is among those.
    for number in 20..30 {
        plant(&vault, number, Parameters::LEAST);
    }
    open(&shelf, "secret").unwrap();
    let error = open(&shelf, "wrong").unwrap_err();
    assert!(error.to_string().contains("20 key slots were not tried"), "{error}");
}

#[test]
fn there_are_no_more_slots_than_the_format_allows() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    for number in 1..crate::limits::KEY_SLOTS {
        shelf.set(&name(Folder::Keys, ObjectId([number as u8; 32])), b"left behind");
    }
    assert_eq!(kind(vault.add_slot(&password("x"), "", NOW)), Kind::Limit);
    assert!(open(&shelf, "secret").is_ok());
    assert_eq!(vault.examine().unwrap().damaged.len(), crate::limits::KEY_SLOTS - 1);
}

#[test]
fn a_creation_that_is_killed_leaves_no_repository_and_the_next_one_works() {
    for protection in [Protection::None, Protection::Password(password("secret"))] {
        let shelf = Shelf::default();
        for changes in 0..2 {
            shelf.fail_after(Some(changes));
            assert_eq!(kind(create(&shelf, &protection)), Kind::Io);
            shelf.fail_after(None);
            assert!(!Vault::exists(shelf.handle().as_ref()).unwrap());
            assert_eq!(kind(open(&shelf, "secret")), Kind::NoRepository);
        }
        let left = shelf.names();
        assert_eq!(left.len(), 1);
        let vault = create(&shelf, &protection).unwrap();
        let opened = open(&shelf, "secret").unwrap();
        assert_eq!(opened.id(), vault.id());
        assert_eq!(opened.slots().unwrap().len(), 1);
        let examination = opened.examine().unwrap();
        assert!(examination.damaged.is_empty());
        assert_eq!(examination.strays, [format!("{} (of another repository)", left[0])]);
        // The one that is left is no way in: it may go, the other may not.
        let stray: ObjectId = left[0].rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(kind(opened.remove_slot(opened.slots().unwrap()[0].id)), Kind::Invalid);
        opened.remove_slot(stray).unwrap();
        assert!(opened.examine().unwrap().strays.is_empty());
    }
}

#[test]
fn a_place_with_backups_and_no_config_is_damaged_and_not_made_anew() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    vault.commit(&snapshot(1)).unwrap();
    shelf.take("dedup/config");
    assert_eq!(kind(create(&shelf, &Protection::None)), Kind::Damaged);
    assert_eq!(kind(open(&shelf, "secret")), Kind::Damaged);
    assert_eq!(vault.examine().unwrap().damaged[0].0, "dedup/config");
}

#[test]
fn cipher_and_slots_that_contradict_each_other_are_damage() {
    let (secret, plain) = (Shelf::default(), Shelf::default());
    let (encrypted, unencrypted) = (encrypted(&secret), create(&plain, &Protection::None).unwrap());
    let never = |shelf: &Shelf| Vault::open(shelf.handle(), &mut || panic!("a password is asked for"));
    // A slot without a password, which somebody put in the place of the one with it.
    let slot = &secret.names()[1];
    let kept = secret.take(slot);
    let open_keys = Keys::new(Zeroizing::new([1; KEY_BYTES]), encrypted.id(), Cipher::None);
    let about = About::new("", NOW).unwrap();
    let id = ObjectId([1; 32]);
    let forged = KeySlot::seal(id, &open_keys, Guard::Open, &open_key(), &about).unwrap();
    secret.set(&name(Folder::Keys, id), forged.bytes());
    assert_eq!(kind(never(&secret)), Kind::Damaged);
    // Beside the right one it is never used, and told.
    secret.set(slot, &kept);
    assert_eq!(open(&secret, "secret").unwrap().slots().unwrap().len(), 1);
    assert_eq!(encrypted.examine().unwrap().damaged.len(), 1);

    // The other way round.
    let slot = plain.names()[1].clone();
    plain.take(&slot);
    let derivation = Derivation { parameters: Parameters::LEAST, salt: [0; 32] };
    let secret_keys = Keys::new(Zeroizing::new([1; KEY_BYTES]), unencrypted.id(), Cipher::Aes256Gcm);
    let key = Zeroizing::new([2; KEY_BYTES]);
    let forged = KeySlot::seal(id, &secret_keys, Guard::Password(derivation), &key, &about).unwrap();
    plain.set(&name(Folder::Keys, id), forged.bytes());
    assert_eq!(kind(never(&plain)), Kind::Damaged);
    assert!(KeySlot::seal(id, &secret_keys, Guard::Open, &open_key(), &about).is_err());
}

#[test]
fn a_slot_with_another_master_key_does_not_open_a_repository() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    let Guard::Password(derivation) = vault.guard else { panic!("it is encrypted") };
    let keys = Keys::new(Zeroizing::new([1; KEY_BYTES]), vault.id(), Cipher::Aes256Gcm);
    let key = derivation.key(&password("forged")).unwrap();
    let about = About::new("", NOW).unwrap();
    let id = ObjectId([1; 32]);
    let forged = KeySlot::seal(id, &keys, vault.guard, &key, &about).unwrap();
    shelf.set(&name(Folder::Keys, id), forged.bytes());
    assert_eq!(kind(open(&shelf, "forged")), Kind::Damaged);
    assert_eq!(open(&shelf, "secret").unwrap().id(), vault.id());
    assert_eq!(vault.examine().unwrap().damaged[0].0, name(Folder::Keys, id));
}

#[test]
fn a_list_that_fails_is_never_an_empty_one() {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    vault.commit(&snapshot(1)).unwrap();
    shelf.fail_lists(true);
    assert_eq!(kind(vault.snapshots()), Kind::Io);
    assert_eq!(kind(vault.removals()), Kind::Io);
    assert_eq!(kind(vault.sessions()), Kind::Io);
    assert_eq!(kind(vault.slots()), Kind::Io);
    assert_eq!(kind(vault.examine()), Kind::Io);
    assert_eq!(kind(open(&shelf, "secret")), Kind::Io);
    shelf.take("dedup/config");
    assert_eq!(kind(create(&shelf, &Protection::None)), Kind::Io);
}
