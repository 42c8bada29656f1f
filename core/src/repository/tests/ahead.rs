//! A repository that is opened for one who reads, far away.

use super::*;
use crate::repository::vault::ahead::Needs;

fn open(shelf: &Shelf, took: Took) -> Repository {
    let storage = shelf.handle();
    let below = Arc::clone(&storage);
    Repository::open_ahead(&storage, Needs::Content, || Ok((Repository::open(below)?, took))).unwrap()
}

#[test]
fn the_engines_are_listed_while_a_repository_is_opened() {
    let shelf = Shelf::default();
    three_levels(&shelf);
    let series = |repository: &Repository| repository.series(None).unwrap().series;
    let close = open(&shelf, Took::AMoment);
    shelf.go_far();
    let far = open(&shelf, Took::AMoment);
    let slow = open(&shelf, Took::AWhile);
    // What has come since, and what is listed anew, is not in a list that was made ahead.
    shelf.set("metadata/rsync/h_other/1/0_1/metadata", b"");
    assert_eq!(series(&close).len(), 2);
    assert_eq!(series(&far).len(), 1);
    assert_eq!(series(&far).len(), 2, "once");
    assert_eq!(series(&slow).len(), 2, "somebody was asked for a password meanwhile");
}

#[test]
fn what_fails_ahead_stops_nobody() {
    let shelf = Shelf::default();
    three_levels(&shelf);
    shelf.go_far();
    shelf.fail_lists(true);
    let repository = open(&shelf, Took::AMoment);
    assert_eq!(repository.series(None).err().unwrap().kind(), Kind::Io);
    shelf.fail_lists(false);
    assert_eq!(repository.series(None).unwrap().series.len(), 1);
}
