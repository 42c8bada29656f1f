//! What is listed and fetched before anybody asks for it.

use super::super::ahead::{Ahead, Needs};
use super::super::slots;
use super::*;

fn ahead(shelf: &Shelf, needs: Needs) -> Ahead {
    Ahead::look(shelf.handle().as_ref(), needs, || Ok(())).unwrap().0
}

fn far() -> (Shelf, Vault) {
    let shelf = Shelf::default();
    let vault = encrypted(&shelf);
    vault.commit(&snapshot(1)).unwrap();
    shelf.go_far();
    (shelf, vault)
}

#[test]
fn a_list_made_ahead_is_given_once() {
    let (shelf, mut vault) = far();
    vault.go_by(ahead(&shelf, Needs::Content));
    shelf.fail_lists(true);
    assert_eq!(vault.snapshots().unwrap().found.len(), 1, "with the removals");
    assert_eq!(vault.list(Folder::Index).unwrap().objects, []);
    assert_eq!(kind(vault.list(Folder::Index)), Kind::Io);
    assert_eq!(vault.list(Folder::Packs).unwrap().objects, []);
    assert_eq!(kind(vault.list(Folder::Packs)), Kind::Io);
    assert_eq!(kind(vault.snapshots()), Kind::Io);
    shelf.fail_lists(false);
    vault.commit(&snapshot(2)).unwrap();
    assert_eq!(vault.snapshots().unwrap().found.len(), 2);
}

#[test]
fn no_index_is_older_than_the_snapshots_that_need_it() {
    let (shelf, mut vault) = far();
    vault.go_by(ahead(&shelf, Needs::Content));
    vault.snapshots().unwrap();
    // These are newer than what was listed ahead.
    vault.commit(&snapshot(2)).unwrap();
    assert_eq!(vault.snapshots().unwrap().found.len(), 2);
    shelf.fail_lists(true);
    assert_eq!(kind(vault.list(Folder::Index)), Kind::Io);
    assert_eq!(kind(vault.list(Folder::Packs)), Kind::Io);
}

#[test]
fn only_what_is_needed_is_listed_and_what_cannot_be_is_asked_for_again() {
    let (shelf, mut vault) = far();
    vault.go_by(ahead(&shelf, Needs::Backups));
    shelf.fail_lists(true);
    assert_eq!(vault.snapshots().unwrap().found.len(), 1);
    assert_eq!(kind(vault.list(Folder::Index)), Kind::Io);
    vault.go_by(ahead(&shelf, Needs::Content));
    assert_eq!(kind(vault.snapshots()), Kind::Io, "a list that failed is none");
    shelf.fail_lists(false);
    assert_eq!(vault.snapshots().unwrap().found.len(), 1);
}

#[test]
fn a_key_that_was_known_counts_only_when_it_is_listed() {
    let (shelf, vault) = far();
    let (gone, second) = (ObjectId([7; 32]), vault.add_slot(&password("other"), "safe", NOW).unwrap());
    let known = [vault.key_id(), gone];
    let ids = |shelf: &Shelf| {
        let mut ids = slots::read(shelf.handle().as_ref(), &known).unwrap().ids();
        ids.sort_unstable();
        ids
    };
    let mut both = [vault.key_id(), second];
    both.sort_unstable();
    assert_eq!(ids(&shelf), both);
    shelf.hide(&name(Folder::Keys, vault.key_id()));
    assert_eq!(ids(&shelf), [second], "though it can be read");
    // One that came back while the list was made.
    shelf.take(&name(Folder::Keys, second));
    assert_eq!(ids(&shelf), []);
}
