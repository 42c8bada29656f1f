//! What others do between two steps of ours.

use super::meddled::Meddled;
use super::*;
use crate::name::ObjectName;
use crate::storage::memory::Memory;

fn names_below(storage: &Memory, folder: Folder) -> Vec<ObjectName> {
    let names = names::list(storage, folder).unwrap().objects;
    names.into_iter().map(|(id, _)| folder.object(id).unwrap()).collect()
}

fn made(storage: Arc<dyn Storage>) -> Result<Vault> {
    let protection = Protection::Password(password("secret"));
    Vault::create_with(storage, &protection, Parameters::LEAST, "first", NOW)
}

fn opened(storage: Arc<dyn Storage>, text: &str) -> Result<Vault> {
    Vault::open(storage, &mut || Ok(password(text)))
}

#[test]
fn of_two_that_create_at_once_one_wins_and_the_other_leaves_nothing() {
    let memory = Memory::new();
    let meddled = Meddled::storage(&memory, "put", "dedup/config", |memory| {
        made(Arc::new(memory.clone())).unwrap();
    });
    assert_eq!(kind(made(meddled)), Kind::AlreadyExists);
    let vault = opened(Arc::new(memory.clone()), "secret").unwrap();
    assert_eq!(names_below(&memory, Folder::Keys).len(), 1);
    assert!(vault.examine().unwrap().strays.is_empty());
}

#[test]
fn what_is_removed_between_list_and_read_is_gone_and_no_error() {
    let memory = Memory::new();
    let vault = made(Arc::new(memory.clone())).unwrap();
    vault.commit(&snapshot(1)).unwrap();
    vault.commit(&snapshot(2)).unwrap();
    let take_last = |memory: &Memory| {
        memory.delete(names_below(memory, Folder::Snapshots).last().unwrap()).unwrap();
    };
    let meddled = Meddled::storage(&memory, "read", "dedup/snapshots", take_last);
    let listed = opened(meddled, "secret").unwrap().snapshots().unwrap();
    assert_eq!((listed.found.len(), listed.damaged.len()), (1, 0));
}

#[test]
fn two_that_remove_the_last_two_slots_at_once_leave_one() {
    let memory = Memory::new();
    let vault = made(Arc::new(memory.clone())).unwrap();
    let second = vault.add_slot(&password("other"), "safe", NOW).unwrap();
    let meddled = Meddled::storage(&memory, "deleted", "dedup/keys", |memory| {
        for name in names_below(memory, Folder::Keys) {
            memory.delete(&name).unwrap();
        }
    });
    assert_eq!(kind(opened(meddled, "secret").unwrap().remove_slot(second)), Kind::Busy);
    assert_eq!(opened(Arc::new(memory), "other").unwrap().id(), vault.id());
}
