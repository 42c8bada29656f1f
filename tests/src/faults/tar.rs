//! Chains of the engines `tar` and `rsync`: whatever call fails, every backup that is listed comes back, and the next run builds on it.

use super::{
    Ended, a_rehearsal_writes_nothing, backed_up_at_another_try, in_every_way, is_whole_or_not_there,
    no_restore_believes_a_lie, no_restore_ends_well, told_every_lie,
};
use crate::in_memory::{
    CHAINS, INCREMENTS, World, check, check_is_clean, copy_of, forget_all_but_the_newest, ids, listing,
    looked_into, objects,
};
use icecore::check::FindingKind;
use icecore::codec::Compression;
use icecore::level::Policy;
use icecore::storage::memory::Memory;
use icecore_testkit::manifest::Manifest;
use std::sync::Arc;

/// Nothing is left but the objects of backups, and the marker.
#[track_caller]
fn only_backups_are_left(storage: &Memory, what: &str) {
    let (_, found) = check(Arc::new(storage.clone()), false, true).unwrap();
    assert!(found.iter().all(|finding| finding.error.ends_with(", removed")), "{what}: {found:#?}");
    let names: Vec<String> = objects(storage).into_iter().map(|(name, _)| name.to_string()).collect();
    for name in names.iter().filter(|name| *name != "icecore") {
        let (folder, object) = name.rsplit_once('/').unwrap();
        let place = folder.trim_start_matches("metadata/").trim_start_matches("data/");
        let document = format!("metadata/{place}/metadata");
        assert!(names.contains(&document), "{what}: {name} was left, of no backup");
        assert!(["data", "engine_metadata", "metadata"].contains(&object), "{what}: {name} was left");
    }
}

/// A backup on top of `levels` others, in every way to fail.
fn back_up_with_faults(engine: &'static str, levels: u32) {
    let world = World::chains(engine).after(levels);
    let expected = Manifest::of(&world.source()).unwrap();
    for ended in in_every_way(&world, |storage| world.backup(storage)) {
        let listed = is_whole_or_not_there(&world, &expected, &ended);
        let Ended { what, memory, .. } = ended;
        if !listed.is_empty() {
            check_is_clean(&memory, &what);
        }
        let next = world.backup(Arc::new(memory.clone())).unwrap();
        assert_eq!(next.level as usize, listed.len(), "{what}: the run after begins anew");
        world.restore(Arc::new(memory.clone()), "latest").equals(&expected, &what);
        check_is_clean(&memory, &what);
        only_backups_are_left(&memory, &what);
        assert_eq!(ids(&memory).len(), listed.len() + 1, "{what}: the clean-up took a backup");
    }
}

#[test]
fn a_first_backup_fails_at_any_call() {
    CHAINS.into_iter().for_each(|engine| back_up_with_faults(engine, 0));
}

#[test]
fn an_increment_fails_at_any_call() {
    CHAINS.into_iter().for_each(|engine| back_up_with_faults(engine, 2));
}

#[test]
fn failures_that_pass_are_tried_again_and_the_backup_is_right() {
    for engine in CHAINS {
        let world = World::chains(engine).after(1);
        let expected = Manifest::of(&world.source()).unwrap();
        let mut ended_well = 0;
        for Ended { what, memory, outcome, .. } in backed_up_at_another_try(&world) {
            let listed = world.all_restore(&memory, &expected, &what);
            assert_eq!(listed.len(), world.made.len() + usize::from(outcome.is_ok()), "{what}: {outcome:?}");
            check_is_clean(&memory, &what);
            ended_well += usize::from(outcome.is_ok());
        }
        // All but those in the middle of a stream, whose bytes are gone.
        assert!(ended_well > 30, "{engine}: {ended_well}");
    }
}

#[test]
fn a_rehearsal_writes_nothing_whatever_fails() {
    CHAINS.into_iter().for_each(|engine| a_rehearsal_writes_nothing(&World::chains(engine).after(1)));
}

#[test]
fn forget_fails_at_any_call() {
    let chains_of_two = Policy { max_level: Some(1), ..INCREMENTS };
    let world = World::with_backups(5, chains_of_two, Compression::Zstd);
    let unused = Manifest::default();
    assert_eq!(forget_all_but_the_newest(Arc::new(copy_of(&world.memory))).unwrap().removed, 2);
    for Ended { what, memory, outcome, .. } in in_every_way(&world, forget_all_but_the_newest) {
        assert!(outcome.is_err(), "{what}: a failure was passed over");
        let listed = world.all_restore(&memory, &unused, &what);
        assert_eq!(listed.last(), world.made.last().map(|(id, _)| id), "{what}: the newest is gone");
        check_is_clean(&memory, &what);
        forget_all_but_the_newest(Arc::new(memory.clone())).unwrap();
        assert_eq!(world.all_restore(&memory, &unused, &what).len(), 1, "{what}");
        check_is_clean(&memory, &what);
        only_backups_are_left(&memory, &what);
    }
}

#[test]
fn a_restore_never_ends_well_after_a_failure() {
    for engine in CHAINS {
        no_restore_ends_well(&World::chains(engine).after(3));
    }
}

#[test]
fn a_restore_never_believes_a_read_that_lies() {
    for compression in Compression::ALL {
        let world = World::with_backups(3, INCREMENTS, compression);
        no_restore_believes_a_lie(&world, &compression.to_string());
    }
    no_restore_believes_a_lie(&World::chains("rsync").after(3), "rsync");
}

/// Whoever looks into a backup of a chain sees all of it, or learns that he does not.
#[test]
fn a_look_into_a_chain_fails_or_sees_the_whole() {
    for engine in CHAINS {
        let world = World::chains(engine).after(2);
        let look = |storage| looked_into(storage, "linked");
        let whole = look(Arc::new(world.memory.clone())).unwrap();
        assert_eq!(whole.1, "kept since the first".repeat(50).into_bytes(), "{engine}");
        for Ended { what, outcome, .. } in in_every_way(&world, look) {
            assert!(outcome.is_err(), "{engine}, {what}: a failure was passed over");
        }
        told_every_lie(&world, look, |what, _, outcome| {
            assert!(outcome.is_err() || outcome.unwrap() == whole, "{engine}, {what}");
        });
    }
}

/// What is said of an object that could not be looked at. A list that fails is never one.
fn says_what_failed(error: &str) -> bool {
    ["read", "stat"].iter().any(|call| error.contains(&format!("planned failure of {call}")))
}

#[test]
fn a_list_fails_or_is_whole() {
    let world = World::with_backups(3, Policy { max_level: Some(1), ..INCREMENTS }, Compression::Zstd);
    let whole = listing(Arc::new(world.memory.clone())).unwrap();
    assert_eq!(whole.rows.len(), 3);
    let (mut ended, mut told) = (0, 0);
    for Ended { plan, outcome, .. } in in_every_way(&world, listing) {
        let Ok(listing) = outcome else {
            ended += 1;
            continue;
        };
        told += 1;
        assert_eq!((listing.rows.len(), &listing.strays), (3, &whole.strays), "{plan:?}");
        let failed: Vec<_> = listing.rows.iter().filter(|row| row.problem.is_some()).collect();
        assert!(!failed.is_empty(), "{plan:?}: a failure was passed over");
        for row in &failed {
            assert!(says_what_failed(row.problem.as_ref().unwrap()), "{plan:?}: {row:?}");
            assert_ne!(row.by_icecore, Some(false), "{plan:?}: taken for one of Freezer's");
        }
        for (row, expected) in listing.rows.iter().zip(&whole.rows) {
            assert_eq!(row.id, expected.id, "{plan:?}");
            assert!(row.problem.is_some() || row == expected, "{plan:?}: {row:?} instead of {expected:?}");
        }
    }
    assert!(ended > 10 && told > 10, "{ended} ended, {told} told");
}

#[test]
fn a_check_fails_or_names_what_it_could_not_read() {
    CHAINS.into_iter().for_each(|engine| check_with_faults(&World::chains(engine).after(2)));
}

fn check_with_faults(world: &World) {
    for read_data in [false, true] {
        let (mut ended, mut told) = (0, 0);
        for Ended { plan, outcome, .. } in in_every_way(world, |storage| check(storage, read_data, false)) {
            let Ok((report, found)) = outcome else {
                ended += 1;
                continue;
            };
            told += 1;
            assert!(!plan.dies, "{plan:?}: the last thing is a list");
            assert_eq!((report.backups, report.problems, found.len()), (2, 1, 1), "{plan:?}: {found:#?}");
            assert_eq!(found[0].kind, FindingKind::Unreadable, "{plan:?}: {found:#?}");
            assert!(says_what_failed(&found[0].error), "{plan:?}: {found:#?}");
            assert!(found[0].object.contains(&format!("{}/", world.engine)), "{plan:?}: {found:#?}");
        }
        assert!(ended > 10 && told > 10, "{ended} ended, {told} told");
    }
}
