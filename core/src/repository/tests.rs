//! The repository: written, listed, read, removed, and interrupted at every change.

use super::document::{Report, Stored};
use super::pending::{Claimant, Contents};
use super::reading::Step;
use super::removal::Remains;
use super::select::{BackupId, find, newest};
pub(super) mod shelf;

use super::*;
use crate::level::{Decision, Policy, Reason, decide};
use crate::limits::BLOCK_BYTES;
use crate::name::{BackupName, Level};
use crate::spool::{Scratch, Spool};
use crate::time::Timestamp;
use shelf::Shelf;
use std::io::{Read, Write};

mod ahead;
mod copied;
mod corpus;
mod old;
mod reencrypted;
mod removal;

const ENGINE: &str = "tar";
const FULL: Decision = Decision::Full(Reason::FirstBackup);

fn series() -> BackupName {
    BackupName::new("h", "n").unwrap()
}

fn repository(shelf: &Shelf) -> Repository {
    Repository::create(shelf.handle(), &[7; 32]).unwrap()
}

fn entry(level: u32, timestamp: i64) -> BackupEntry {
    BackupEntry { level: Level::new(level).unwrap(), timestamp: Timestamp(timestamp) }
}

fn claimant() -> Claimant {
    Claimant { host: "h".to_owned(), pid: 42 }
}

fn contents() -> Contents {
    let report = Report {
        started: Timestamp(1),
        finished: Timestamp(2),
        host: "h".to_owned(),
        name: "n".to_owned(),
        paths: vec![b"/srv".to_vec()],
        files: 1,
        bytes: 2,
        errors: 0,
        unread: Vec::new(),
        tags: vec!["t".to_owned()],
        program: "icecore 0.1.0".to_owned(),
    };
    Contents { compression: "gzip".to_owned(), scheme: document::Scheme::None, report }
}

fn spool(bytes: &[u8]) -> Spool {
    let mut spool = Scratch::new(std::env::temp_dir()).spool();
    spool.write_all(bytes).unwrap();
    spool
}

fn begin(repository: &Repository, decision: &Decision, now: i64) -> Pending {
    repository.begin(ENGINE, &series(), decision, Timestamp(now), &claimant()).unwrap()
}

fn fill(pending: &mut Pending, data: &[u8]) -> Result<(Stored, Stored)> {
    let mut writer = pending.data_writer()?;
    for piece in data.chunks(1 << 20) {
        writer.write(piece)?;
    }
    Ok((writer.finish()?, pending.engine_metadata(&mut spool(b"state"))?))
}

fn back_up(repository: &Repository, decision: &Decision, now: i64, data: &[u8]) -> Result<BackupEntry> {
    let mut pending = repository.begin(ENGINE, &series(), decision, Timestamp(now), &claimant())?;
    let (data, state) = fill(&mut pending, data)?;
    pending.commit(data, state, contents())
}

fn chains(repository: &Repository) -> Vec<Chain> {
    repository.chains(ENGINE, &series()).unwrap().chains
}

/// As a user would: the newest chain, one level more.
fn increment(repository: &Repository, now: i64) -> Decision {
    let chains = chains(repository);
    let policy = Policy { incremental: true, ..Policy::default() };
    decide(&policy, chains.last().map(Chain::view), Timestamp(now)).unwrap()
}

fn three_levels(shelf: &Shelf) -> Repository {
    let repository = repository(shelf);
    for now in [1000, 2000, 3000] {
        back_up(&repository, &increment(&repository, now), now, &now.to_string().into_bytes()).unwrap();
    }
    repository
}

fn path_of(repository: &Repository, level: u32, timestamp: i64) -> Vec<Step> {
    repository.path(&chains(repository)[0], entry(level, timestamp)).unwrap()
}

fn read_all(repository: &Repository, step: &Step) -> Result<Vec<u8>> {
    let mut reader = repository.data_reader(step)?;
    let mut bytes = Vec::new();
    while let Some(block) = reader.next_block()? {
        assert!(block.len() <= BLOCK_BYTES);
        bytes.extend(block);
    }
    Ok(bytes)
}

#[test]
fn a_repository_is_made_once_and_opened() {
    let shelf = Shelf::default();
    assert_eq!(Repository::open(shelf.handle()).unwrap_err().kind(), Kind::NoRepository);
    let made = repository(&shelf);
    assert_eq!(Repository::create(shelf.handle(), &[8; 32]).unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(Repository::open(shelf.handle()).unwrap().id(), made.id());
    let marker = String::from_utf8(shelf.take("icecore")).unwrap();
    assert_eq!(marker, format!("{{\"icecore\": 1, \"id\": \"{}\"}}", made.id().unwrap()));
    assert_eq!(Repository::create(shelf.handle(), &[8; 15]).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn what_freezer_left_is_a_repository_without_an_id() {
    for tree in ["metadata", "data"] {
        let shelf = Shelf::default();
        shelf.add_folder(&format!("{tree}/tar"));
        assert_eq!(Repository::open(shelf.handle()).unwrap().id(), None);
        shelf.fail_lists(true);
        assert_eq!(Repository::open(shelf.handle()).unwrap_err().kind(), Kind::Io);
    }
}

#[test]
fn markers_that_cannot_be_understood_are_refused() {
    let shelf = Shelf::default();
    let cases = [
        ("{\"icecore\": 2}", Kind::Unsupported),
        ("{\"icecore\": 1}", Kind::Damaged),
        ("{\"icecore\": 1, \"id\": \"../../../../../../../../../../etc\"}", Kind::Damaged),
        ("", Kind::Damaged),
    ];
    for (marker, kind) in cases {
        shelf.set("icecore", marker.as_bytes());
        assert_eq!(Repository::open(shelf.handle()).unwrap_err().kind(), kind, "{marker}");
    }
}

#[test]
fn what_is_backed_up_comes_back() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    let data: Vec<u8> = (0..2 * BLOCK_BYTES + 7).map(|index| (index % 251) as u8).collect();
    let made = back_up(&repository, &FULL, 1000, &data).unwrap();
    assert_eq!(made, entry(0, 1000));
    let folder = "tar/h_n/1000/0_1000";
    let expected = [
        format!("data/{folder}/data"),
        format!("data/{folder}/engine_metadata"),
        "icecore".to_owned(),
        format!("metadata/{folder}/metadata"),
    ];
    assert_eq!(shelf.names(), expected);

    let path = path_of(&repository, 0, 1000);
    repository.verify_sizes(&path).unwrap();
    assert!(read_all(&repository, &path[0]).unwrap() == data);
    let mut state = Vec::new();
    let scratch = Scratch::new(std::env::temp_dir());
    repository.read_engine_metadata(&path[0], &scratch).unwrap().read_to_end(&mut state).unwrap();
    assert_eq!(state, b"state");
    assert_eq!(path[0].document.details.as_ref().unwrap().report, contents().report);
}

#[test]
fn an_empty_stream_of_ours_is_a_stream() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    back_up(&repository, &FULL, 1000, b"").unwrap();
    let path = path_of(&repository, 0, 1000);
    repository.verify_sizes(&path).unwrap();
    assert_eq!(read_all(&repository, &path[0]).unwrap(), b"");
}

#[test]
fn every_changed_byte_of_the_stream_is_noticed() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    let name = "data/tar/h_n/1000/1_2000/data";
    let good = shelf.take(name);
    for (bytes, sizes_are_right) in [(&b"2001"[..], true), (b"200", false), (b"20000", false), (b"", false)] {
        shelf.set(name, bytes);
        let path = path_of(&repository, 2, 3000);
        assert_eq!(repository.verify_sizes(&path).is_ok(), sizes_are_right);
        let error = read_all(&repository, &path[1]).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Damaged, name));
    }
    shelf.set(name, &good);
    let path = path_of(&repository, 2, 3000);
    shelf.take(name);
    let error = repository.verify_sizes(&path).unwrap_err();
    assert_eq!((error.kind(), error.subject()), (Kind::NotFound, name));
    shelf.set(name, &good);
    shelf.set("data/tar/h_n/1000/1_2000/engine_metadata", b"stage");
    let scratch = Scratch::new(std::env::temp_dir());
    assert_eq!(
        repository.read_engine_metadata(&path[1], &scratch).err().map(|e| e.kind()),
        Some(Kind::Damaged)
    );
}

#[test]
fn an_object_that_shrinks_while_it_is_read_is_no_short_stream() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    let name = "data/tar/h_n/1000/0_1000/data";
    back_up(&repository, &FULL, 1000, &vec![1; BLOCK_BYTES + 9]).unwrap();
    let mut reader = repository.data_reader(&path_of(&repository, 0, 1000)[0]).unwrap();
    assert_eq!(reader.next_block().unwrap().map(|block| block.len()), Some(BLOCK_BYTES));
    shelf.set(name, &vec![1; BLOCK_BYTES]);
    assert_eq!(reader.next_block().unwrap_err().kind(), Kind::Damaged);
    shelf.take(name);
    assert_eq!(reader.next_block().unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn blocks_from_far_away_come_in_order_and_are_checked() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    let name = "data/tar/h_n/1000/0_1000/data";
    let bytes: Vec<u8> = (0..6 * BLOCK_BYTES + 5).map(|at| (at / 1000) as u8).collect();
    back_up(&repository, &FULL, 1000, &bytes).unwrap();
    shelf.go_far();
    let far = repository;
    let step = &path_of(&far, 0, 1000)[0];
    assert!(read_all(&far, step).unwrap() == bytes);
    // One that stops in the middle leaves nothing under way.
    drop(far.data_reader(step).unwrap().next_block().unwrap());
    let mut spoilt = bytes.clone();
    spoilt[5 * BLOCK_BYTES] ^= 1;
    shelf.set(name, &spoilt);
    assert_eq!(read_all(&far, step).unwrap_err().kind(), Kind::Damaged);
    let mut reader = far.data_reader(step).unwrap();
    reader.next_block().unwrap();
    shelf.take(name);
    let rest = (0..7).find_map(|_| reader.next_block().err());
    assert_eq!(rest.map(|error| error.kind()), Some(Kind::Damaged));
}

#[test]
fn a_path_follows_the_parents_that_documents_name() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    back_up(&repository, &FULL, 1000, b"0").unwrap();
    let first = increment(&repository, 2000);
    back_up(&repository, &first, 2000, b"1a").unwrap();
    let second = increment(&repository, 4000);
    // A slower run that was decided on before the first level 1 was there.
    back_up(&repository, &first, 3000, b"1b").unwrap();
    back_up(&repository, &second, 4000, b"2").unwrap();
    let times: Vec<_> = path_of(&repository, 2, 4000).iter().map(|step| step.location.entry).collect();
    assert_eq!(times, [entry(0, 1000), entry(1, 2000), entry(2, 4000)]);
}

#[test]
fn a_gap_is_named_before_anything_is_read() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    shelf.take("metadata/tar/h_n/1000/1_2000/metadata");
    let chain = &chains(&repository)[0];
    let by_names = chain.path_to(entry(2, 3000), &Parents::new()).unwrap_err();
    let by_documents = repository.path(chain, entry(2, 3000)).unwrap_err();
    for error in [by_names, by_documents] {
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(error.to_string().contains("level 1"), "{error}");
    }
    assert_eq!(chain.path_to(entry(0, 1000), &Parents::new()).unwrap(), [entry(0, 1000)]);
}

#[test]
fn a_document_that_is_damaged_or_too_long_is_named() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    let name = "metadata/tar/h_n/1000/1_2000/metadata";
    for bytes in [b"{}".to_vec(), vec![b' '; crate::limits::SMALL_OBJECT_BYTES as usize + 1]] {
        shelf.set(name, &bytes);
        let error = repository.path(&chains(&repository)[0], entry(2, 3000)).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Damaged, name));
    }
}

#[test]
fn names_are_later_than_the_clock_and_than_every_other_name() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    assert_eq!(back_up(&repository, &FULL, 1000, b"a").unwrap(), entry(0, 1000));
    assert_eq!(back_up(&repository, &FULL, 1000, b"b").unwrap(), entry(0, 1001));
    assert_eq!(back_up(&repository, &FULL, 500, b"c").unwrap(), entry(0, 1002));
    shelf.set("data/tar/h_n/5000/3_6000/segments/00000000", b"of a run that was killed");
    assert_eq!(back_up(&repository, &FULL, 2000, b"d").unwrap(), entry(0, 6001));
    shelf.set("data/tar/h_n/1/0_999999999999999999/data", b"");
    assert_eq!(back_up(&repository, &FULL, 2000, b"e").unwrap_err().kind(), Kind::Limit);
}

#[test]
fn runs_at_the_same_time_get_different_names() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    let mut running: Vec<_> = (0..3).map(|_| begin(&repository, &FULL, 1000)).collect();
    let names: Vec<_> = running.iter().map(|pending| pending.location().entry.timestamp.0).collect();
    assert_eq!(names, [1000, 1001, 1002]);
    for pending in &mut running {
        fill(pending, b"x").unwrap();
    }
    drop(running);
    assert_eq!(shelf.names(), ["icecore"], "what was not committed is gone");
}

#[test]
fn a_name_whose_claim_was_given_up_to_commit_is_not_taken_again() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    let names: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| (0..10).map(|_| back_up(&repository, &FULL, 1000, b"x")).collect::<Vec<_>>())
            })
            .collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    let mut made: Vec<_> = names.iter().flatten().copied().collect();
    let refused = names.iter().filter_map(|name| name.as_ref().err());
    assert!(refused.into_iter().all(|error| error.kind() == Kind::Busy));
    made.sort_unstable();
    let listed: Vec<_> = chains(&repository).into_iter().flat_map(|chain| chain.backups).collect();
    assert_eq!(listed, made);
    for chain in chains(&repository) {
        let path = repository.path(&chain, chain.backups[0]).unwrap();
        assert_eq!(read_all(&repository, &path[0]).unwrap(), b"x");
    }
    assert_eq!(repository.orphans(None).unwrap(), []);
}

#[test]
fn whatever_call_fails_there_is_a_whole_backup_or_none() {
    for changes in 0.. {
        let shelf = Shelf::default();
        let repository = repository(&shelf);
        shelf.fail_after(Some(changes));
        let result = back_up(&repository, &FULL, 1000, b"data");
        shelf.fail_after(None);
        assert_eq!(result.is_ok(), chains(&repository).len() == 1, "after {changes} changes");
        if result.is_ok() {
            assert_eq!(changes, 4, "claim, data, engine_metadata, metadata");
            let left = shelf.names().into_iter().filter(|name| name.ends_with("claim"));
            assert_eq!(
                (left.count(), repository.orphans(None).unwrap().len()),
                (1, 0),
                "a claim that means nothing"
            );
            return;
        }
        for orphan in repository.orphans(None).unwrap() {
            repository.remove_orphan(&orphan).unwrap();
        }
        assert_eq!(shelf.names(), ["icecore"], "after {changes} changes");
        back_up(&repository, &FULL, 1000, b"data").unwrap();
    }
}

#[test]
fn a_commit_whose_answer_was_lost_stands() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    shelf.lose_answers(true);
    back_up(&repository, &FULL, 1000, b"data").unwrap();
    let path = path_of(&repository, 0, 1000);
    assert_eq!(read_all(&repository, &path[0]).unwrap(), b"data");
}

#[test]
fn nothing_is_taken_away_while_the_document_may_be_there() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    shelf.lose_answers(true);
    shelf.fail_reads(true);
    assert_eq!(back_up(&repository, &FULL, 1000, b"data").unwrap_err().kind(), Kind::Io);
    shelf.fail_reads(false);
    let path = path_of(&repository, 0, 1000);
    assert_eq!(read_all(&repository, &path[0]).unwrap(), b"data");
}

#[test]
fn a_document_of_somebody_else_is_left_alone() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    let mut pending = begin(&repository, &FULL, 1000);
    let (data, state) = fill(&mut pending, b"data").unwrap();
    shelf.set("metadata/tar/h_n/1000/0_1000/metadata", b"{}");
    assert_eq!(pending.commit(data, state, contents()).unwrap_err().kind(), Kind::AlreadyExists);
    assert!(shelf.names().contains(&"data/tar/h_n/1000/0_1000/data".to_owned()));
}

#[test]
fn a_name_beside_which_something_appeared_is_given_up() {
    for other in ["data/tar/h_n/1000/0_1000/data", "metadata/tar/h_n/1000/0_1000/metadata"] {
        let shelf = Shelf::default();
        let repository = repository(&shelf);
        shelf.put_before_claim(other);
        let pending = begin(&repository, &FULL, 1000);
        assert_eq!(pending.location().entry, entry(0, 1001));
        drop(pending);
        assert!(shelf.names() == ["icecore", other] || shelf.names() == [other, "icecore"]);
    }
}

#[test]
fn what_is_not_in_storage_as_it_was_written_is_not_committed() {
    let shelf = Shelf::default();
    let repository = repository(&shelf);
    let mut pending = begin(&repository, &FULL, 1000);
    let (data, state) = fill(&mut pending, b"data").unwrap();
    shelf.set("data/tar/h_n/1000/0_1000/data", b"dat");
    assert_eq!(pending.commit(data, state, contents()).unwrap_err().kind(), Kind::Damaged);
    assert_eq!(shelf.names(), ["icecore"]);
}

#[test]
fn backups_are_found_by_id_by_latest_and_by_time() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    back_up(&repository, &FULL, 4000, b"new chain").unwrap();
    let (backups, strays) = repository.backups(&repository.series(None).unwrap().series).unwrap();
    assert_eq!((backups.len(), strays.len()), (4, 0));
    for backup in &backups {
        let id = BackupId::of(backup);
        assert_eq!(id.as_str().len(), 16);
        assert_eq!(find(&backups, id.as_str()).unwrap(), backup);
        assert_eq!(find(&backups, &id.as_str()[..8].to_uppercase()).unwrap(), backup);
    }
    assert_eq!(find(&backups, "latest").unwrap().entry, entry(0, 4000));
    assert_eq!(find(&backups, "latest~2").unwrap().entry, entry(1, 2000));
    let kind = |text: &str| find(&backups, text).unwrap_err().kind();
    assert_eq!((kind("latest~4"), kind("0123456789abcdef")), (Kind::NotFound, Kind::NotFound));
    let too_far = find(&backups, "latest~4").unwrap_err();
    assert_eq!(too_far.advice(), Some("there are 4: latest to latest~3"));
    for bad in ["", "abc", "latest~", "latest~-1", "latest2", "zzzz", "0123456789abcdef0"] {
        assert_eq!(kind(bad), Kind::NotFound, "{bad:?}");
    }

    let chains = chains(&repository);
    let at = |time| newest(&chains, Some(Timestamp(time))).map(|(chain, entry)| (chain.start.0, entry));
    assert_eq!(at(999), None);
    assert_eq!(at(2999), Some((1000, entry(1, 2000))));
    assert_eq!(newest(&chains, None).map(|(_, newest)| newest), Some(entry(0, 4000)));
}

#[test]
fn an_ambiguous_id_lists_what_it_could_be() {
    let location = |n: i64| BackupLocation {
        engine: ENGINE.to_owned(),
        name: series(),
        chain: Timestamp(n),
        entry: entry(0, n),
    };
    let mut seen = std::collections::HashMap::new();
    let (one, other) = (0..)
        .find_map(|n| seen.insert(BackupId::of(&location(n)).as_str()[..4].to_owned(), n).map(|m| (m, n)))
        .unwrap();
    let backups = [location(one), location(other)];
    let error = find(&backups, &BackupId::of(&backups[0]).as_str()[..4]).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(backups.iter().all(|backup| error.advice().unwrap().contains(BackupId::of(backup).as_str())));
}

#[test]
fn a_listing_that_fails_is_never_an_empty_one() {
    let shelf = Shelf::default();
    let repository = three_levels(&shelf);
    shelf.fail_lists(true);
    assert_eq!(repository.series(None).unwrap_err().kind(), Kind::Io);
    assert_eq!(repository.chains(ENGINE, &series()).unwrap_err().kind(), Kind::Io);
    assert_eq!(repository.orphans(None).unwrap_err().kind(), Kind::Io);
    let begun = repository.begin(ENGINE, &series(), &FULL, Timestamp(9000), &claimant());
    assert_eq!(begun.err().map(|error| error.kind()), Some(Kind::Io));
}
