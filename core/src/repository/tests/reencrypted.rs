//! Levels that are encrypted anew on their way: two copies of one have different bytes, and never mix them.

use super::*;
use crate::repository::document::{Reencrypted, Scheme};
use crate::repository::pending::{Presence, Reencrypting};
use crate::storage::PutMode;

const CLAIM: &str = "data/tar/h_n/1000/0_1000/claim";
const DATA: &str = "data/tar/h_n/1000/0_1000/data";
const STATE: &str = "data/tar/h_n/1000/0_1000/engine_metadata";
const DOCUMENT: &str = "metadata/tar/h_n/1000/0_1000/metadata";

fn level_0() -> BackupLocation {
    BackupLocation {
        engine: ENGINE.to_owned(),
        name: series(),
        chain: Timestamp(1000),
        entry: entry(0, 1000),
    }
}

/// A document of a level that is to be copied.
fn document() -> Vec<u8> {
    let shelf = Shelf::default();
    three_levels(&shelf);
    shelf.take(DOCUMENT)
}

fn begin_at(repository: &Repository, document: &[u8]) -> Result<Reencrypting> {
    repository.begin_reencrypting(&level_0(), None, document, &claimant())
}

fn write(begun: &Reencrypting, data: &[u8]) -> Result<(Stored, Stored)> {
    let mut writer = begun.data_writer()?;
    writer.write(data)?;
    Ok((writer.finish()?, begun.engine_metadata(&mut spool(b"state"))?))
}

fn commit(begun: Reencrypting, document: &[u8], stored: (Stored, Stored)) -> Result<Vec<u8>> {
    let scheme = Scheme::Age { locked_key: None };
    let made = Reencrypted { data: stored.0, engine_metadata: stored.1, scheme, recipients: None };
    let line = super::document::parse(document)?.reencrypted(document, made)?.encode()?;
    begun.commit(&line, stored.0, stored.1)?;
    Ok(line)
}

fn has(shelf: &Shelf, name: &str) -> bool {
    shelf.names().iter().any(|there| there == name)
}

fn kind_of<T>(outcome: Result<T>) -> Option<Kind> {
    outcome.err().map(|error| error.kind())
}

#[test]
fn a_level_is_known_again_whatever_keys_it_has() {
    let (shelf, document) = (Shelf::default(), document());
    let repository = repository(&shelf);
    let presence = |document: &[u8]| repository.presence(&level_0(), document);
    assert_eq!(presence(&document).unwrap(), Presence::Absent);
    let begun = begin_at(&repository, &document).unwrap();
    assert!(has(&shelf, CLAIM));
    let claimed = repository.remains(None).unwrap().orphans.remove(0);
    assert_eq!(claimed.claimed_by, Some(claimant()));
    let stored = write(&begun, b"other bytes").unwrap();
    let copy = commit(begun, &document, stored).unwrap();
    assert!(has(&shelf, DOCUMENT) && !has(&shelf, CLAIM));
    assert_eq!(presence(&document).unwrap(), Presence::Otherwise);
    assert_eq!(presence(&copy).unwrap(), Presence::Same);
    // The way back: the copy is copied to where the level was made.
    shelf.set(DOCUMENT, &document);
    assert_eq!(presence(&copy).unwrap(), Presence::Otherwise);
    assert_eq!(kind_of(presence(b"another")), Some(Kind::AlreadyExists));
    assert_eq!(kind_of(begin_at(&repository, &document)), Some(Kind::Busy));
    assert!(!has(&shelf, CLAIM), "the claim of who came too late is left");
}

#[test]
fn what_a_killed_copy_left_is_taken_over_and_away() {
    let (shelf, document) = (Shelf::default(), document());
    let repository = repository(&shelf);
    let killed = begin_at(&repository, &document).unwrap();
    let old = write(&killed, b"the bytes of one").unwrap();
    let begun = begin_at(&repository, &document).unwrap();
    assert!(!has(&shelf, DATA) && !has(&shelf, STATE));
    let stored = write(&begun, b"those of another").unwrap();
    // The first one ran still, and both are of one length: it puts nothing, and takes nothing away.
    assert_eq!(kind_of(commit(killed, &document, old)), Some(Kind::Busy));
    assert!(has(&shelf, CLAIM) && has(&shelf, DATA) && !has(&shelf, DOCUMENT));
    commit(begun, &document, stored).unwrap();
    assert_eq!(shelf.take(DATA), b"those of another");
    assert!(!has(&shelf, CLAIM));
}

#[test]
fn of_two_copies_at_once_none_writes_over_the_other() {
    let (shelf, document) = (Shelf::default(), document());
    let repository = repository(&shelf);
    let first = begin_at(&repository, &document).unwrap();
    let second = begin_at(&repository, &document).unwrap();
    write(&second, b"second").unwrap();
    assert_eq!(kind_of(write(&first, b"first")), Some(Kind::AlreadyExists));
    drop(first);
    assert_eq!(shelf.take(DATA), b"second");
    assert!(has(&shelf, CLAIM), "that of the second");
}

#[test]
fn neither_sort_of_copy_takes_over_the_claim_of_the_other() {
    let (shelf, document) = (Shelf::default(), document());
    let repository = repository(&shelf);
    let plain = repository.begin_copy(&level_0(), None, &document, &claimant()).unwrap();
    assert_eq!(kind_of(begin_at(&repository, &document)), Some(Kind::Busy));
    drop(plain);
    let begun = begin_at(&repository, &document).unwrap();
    let plain = repository.begin_copy(&level_0(), None, &document, &claimant());
    assert_eq!(kind_of(plain), Some(Kind::Busy));
    drop(begun);
    assert!(!has(&shelf, CLAIM));
    let mut pending = super::begin(&repository, &FULL, 4000);
    fill(&mut pending, b"data").unwrap();
    let location = pending.location().clone();
    let taken = repository.begin_reencrypting(&location, None, &document, &claimant());
    assert_eq!(kind_of(taken), Some(Kind::Busy));
}

#[test]
fn a_claim_or_data_that_goes_at_the_last_moment_takes_the_document_along() {
    for (lost, kind) in [(CLAIM, Kind::Busy), (DATA, Kind::Damaged), (STATE, Kind::Damaged)] {
        let (shelf, document) = (Shelf::default(), document());
        let repository = repository(&shelf);
        let begun = begin_at(&repository, &document).unwrap();
        let stored = write(&begun, b"bytes").unwrap();
        shelf.take_on_commit(lost);
        assert_eq!(kind_of(commit(begun, &document, stored)), Some(kind), "{lost}");
        assert!(!has(&shelf, DOCUMENT), "{lost}");
    }
    // An answer that was lost is none that was given.
    let (shelf, document) = (Shelf::default(), document());
    let repository = repository(&shelf);
    let begun = begin_at(&repository, &document).unwrap();
    let stored = write(&begun, b"bytes").unwrap();
    shelf.lose_answers(true);
    commit(begun, &document, stored).unwrap();
    assert!(has(&shelf, DOCUMENT) && !has(&shelf, CLAIM));
    // Without what it builds on, a level is none.
    let above = BackupLocation { entry: entry(1, 2000), ..level_0() };
    shelf.lose_answers(false);
    let begun = repository.begin_reencrypting(&above, Some(entry(0, 1000)), &document, &claimant()).unwrap();
    let stored = write(&begun, b"bytes").unwrap();
    repository.storage().delete(&level_0().metadata().unwrap()).unwrap();
    let error = commit(begun, &document, stored).unwrap_err();
    assert!(error.to_string().contains("removed meanwhile"), "{error}");
}

#[test]
fn what_is_nobodys_is_taken_away_before_the_copy_is_written() {
    let (shelf, document) = (Shelf::default(), document());
    let repository = repository(&shelf);
    repository.storage().put(&level_0().data().unwrap(), b"nobody's", PutMode::CreateNew).unwrap();
    let begun = begin_at(&repository, &document).unwrap();
    let stored = write(&begun, b"bytes").unwrap();
    commit(begun, &document, stored).unwrap();
    assert_eq!(shelf.take(DATA), b"bytes");
}
