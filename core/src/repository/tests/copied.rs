//! Levels that are copied are claimed like those that are made, and a copy that was killed is gone on with.

use super::*;
use crate::repository::pending::Copied;
use crate::storage::PutMode;

const CLAIM: &str = "data/tar/h_n/1000/0_1000/claim";
const DOCUMENT: &str = "metadata/tar/h_n/1000/0_1000/metadata";

fn level_0() -> BackupLocation {
    BackupLocation {
        engine: ENGINE.to_owned(),
        name: series(),
        chain: Timestamp(1000),
        entry: entry(0, 1000),
    }
}

/// A document to copy.
fn document() -> Vec<u8> {
    let shelf = Shelf::default();
    three_levels(&shelf);
    shelf.take(DOCUMENT)
}

fn begin_copy(repository: &Repository, document: &[u8], pid: u32) -> Result<Option<Copied>> {
    let claimant = Claimant { host: "h".to_owned(), pid };
    repository.begin_copy(&level_0(), None, document, &claimant)
}

fn write(repository: &Repository) {
    for name in [level_0().data().unwrap(), level_0().engine_metadata().unwrap()] {
        repository.storage().put(&name, b"1000", PutMode::Replace).unwrap();
    }
}

fn has(shelf: &Shelf, name: &str) -> bool {
    shelf.names().iter().any(|there| there == name)
}

#[test]
fn a_level_is_claimed_before_its_data_and_exists_by_its_document() {
    let (shelf, document) = (Shelf::default(), document());
    let repository = repository(&shelf);
    let copied = begin_copy(&repository, &document, 1).unwrap().unwrap();
    assert!(has(&shelf, CLAIM));
    let claimed = repository.remains(None).unwrap().orphans.remove(0);
    assert_eq!(claimed.claimed_by, Some(Claimant { host: "h".to_owned(), pid: 1 }));
    write(&repository);
    copied.commit(4, 4).unwrap();
    assert!(has(&shelf, DOCUMENT) && !has(&shelf, CLAIM));
    assert!(begin_copy(&repository, &document, 2).unwrap().is_none(), "it is there");
    assert_eq!(begin_copy(&repository, b"another", 2).err().unwrap().kind(), Kind::AlreadyExists);
}

#[test]
fn a_copy_that_was_cleaned_up_cannot_commit() {
    let (shelf, document) = (Shelf::default(), document());
    let repository = repository(&shelf);
    // Before it looks.
    let copied = begin_copy(&repository, &document, 1).unwrap().unwrap();
    write(&repository);
    let orphan = repository.orphans(None).unwrap().remove(0);
    repository.remove_orphan(&orphan).unwrap();
    assert!(copied.commit(4, 4).is_err());
    // After the first look of a clean-up which saw no claim.
    write(&repository);
    let orphan = repository.orphans(None).unwrap().remove(0);
    let copied = begin_copy(&repository, &document, 1).unwrap().unwrap();
    assert_eq!(repository.remove_orphan(&orphan).unwrap_err().kind(), Kind::Busy);
    assert_eq!(copied.commit(4, 4).unwrap_err().kind(), Kind::Busy);
    // At the moment of its commit.
    let copied = begin_copy(&repository, &document, 1).unwrap().unwrap();
    shelf.take_on_commit(CLAIM);
    assert_eq!(copied.commit(4, 4).unwrap_err().kind(), Kind::Busy);
    assert!(!has(&shelf, DOCUMENT));
}

#[test]
fn the_claim_of_a_killed_copy_is_taken_over_and_no_other() {
    let (shelf, document) = (Shelf::default(), document());
    let repository = repository(&shelf);
    let killed = begin_copy(&repository, &document, 1).unwrap().unwrap();
    assert_eq!(begin_copy(&repository, b"another", 2).err().unwrap().kind(), Kind::Busy);
    let copied = begin_copy(&repository, &document, 2).unwrap().unwrap();
    write(&repository);
    // The first one ran still: it puts nothing, and takes nothing away.
    assert_eq!(killed.commit(4, 4).unwrap_err().kind(), Kind::Busy);
    assert!(has(&shelf, CLAIM) && !has(&shelf, DOCUMENT));
    copied.commit(4, 4).unwrap();
    assert!(has(&shelf, DOCUMENT) && !has(&shelf, CLAIM));
    // That of a backup is nobody else's.
    let mut pending = begin(&repository, &FULL, 4000);
    fill(&mut pending, b"data").unwrap();
    let location = pending.location().clone();
    let error = repository.begin_copy(&location, None, &document, &claimant()).err().unwrap();
    assert_eq!(error.kind(), Kind::Busy);
}

#[test]
fn a_level_whose_data_or_parent_went_is_not_committed() {
    let (shelf, document) = (Shelf::default(), document());
    let repository = repository(&shelf);
    let copied = begin_copy(&repository, &document, 1).unwrap().unwrap();
    write(&repository);
    shelf.take("data/tar/h_n/1000/0_1000/data");
    assert_eq!(copied.commit(4, 4).unwrap_err().kind(), Kind::Damaged);
    assert!(!has(&shelf, DOCUMENT) && !has(&shelf, CLAIM), "it gave up its claim");
    let above = BackupLocation { entry: entry(1, 2000), ..level_0() };
    let copied =
        repository.begin_copy(&above, Some(entry(0, 1000)), &document, &claimant()).unwrap().unwrap();
    for name in [above.data().unwrap(), above.engine_metadata().unwrap()] {
        repository.storage().put(&name, b"2000", PutMode::Replace).unwrap();
    }
    let error = copied.commit(4, 4).unwrap_err();
    assert!(error.to_string().contains("removed meanwhile"), "{error}");
}
