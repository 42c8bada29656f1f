//! The n-th call of the storage fails, for every n: nothing that counts is ever wrong, and the next run needs nobody.
//!
//! Each call fails before it did anything, half way, and after it did everything (a lost answer); alone, or with everything
//! after it, as when the process or the server dies.

mod dedup;

use crate::in_memory::{
    INCREMENTS, World, check, check_is_clean, copy_of, forget_all_but_the_newest, ids, listing, objects,
};
use icecore::check::FindingKind;
use icecore::codec::Compression;
use icecore::level::Policy;
use icecore::storage::Storage;
use icecore::storage::memory::Memory;
use icecore::storage::retry::{self, Retry};
use icecore_testkit::fault::{Fault, Moment, Plan};
use icecore_testkit::lie::{Liar, Lie};
use icecore_testkit::manifest::Manifest;
use std::sync::Arc;

/// Most calls that one run may need: these trees are small, and the storage may be far away.
const CALLS_MAX: u64 = 200;

/// Every way in which one of the calls that `run` makes can fail.
fn plans(storage: &Memory, run: impl FnOnce(Arc<dyn Storage>)) -> Vec<Plan> {
    let counting = Arc::new(Fault::none(Arc::new(copy_of(storage))));
    run(Arc::clone(&counting) as _);
    let calls = counting.calls();
    assert!((3..CALLS_MAX).contains(&calls), "{calls} calls");
    let moments = |nth| Moment::ALL.map(|moment| [Plan::once(nth, moment), Plan::death(nth, moment)]);
    (1..=calls).flat_map(moments).flatten().collect()
}

/// Runs `run` on a copy of `storage` that fails as planned; gives the copy and what `run` returned.
fn failing<A>(storage: &Memory, plan: Plan, run: impl FnOnce(Arc<dyn Storage>) -> A) -> (Memory, A) {
    let copy = copy_of(storage);
    let fault = Arc::new(Fault::new(Arc::new(copy.clone()), plan));
    let outcome = run(Arc::clone(&fault) as _);
    assert!(fault.struck(), "{plan:?} never came");
    (copy, outcome)
}

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
fn back_up_with_faults(levels: u32) {
    let world = World::with_backups(levels, INCREMENTS, Compression::Zstd);
    let expected = Manifest::of(&world.source()).unwrap();
    for plan in plans(&world.memory, |storage| drop(world.backup(storage).unwrap())) {
        let what = format!("level {levels}, {plan:?}");
        let (memory, outcome) = failing(&world.memory, plan, |storage| world.backup(storage));
        let listed = world.all_restore(&memory, &expected, &what);
        let more = listed.len() - world.made.len();
        match &outcome {
            Ok(report) => {
                assert_eq!(listed.last().cloned(), report.id.clone().map(|id| id.to_string()), "{what}")
            }
            // Of a commit whose answer was lost nobody can know; if it is there, it was restored above.
            Err(_) => {
                assert!(more == 0 || (more == 1 && plan.moment == Moment::After || plan.dies), "{what}")
            }
        }
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
    back_up_with_faults(0);
}

#[test]
fn an_increment_fails_at_any_call() {
    back_up_with_faults(2);
}

#[test]
fn failures_that_pass_are_tried_again_and_the_backup_is_right() {
    let world = World::with_backups(1, INCREMENTS, Compression::Zstd);
    let expected = Manifest::of(&world.source()).unwrap();
    let mut ended_well = 0;
    for plan in plans(&world.memory, |storage| drop(world.backup(storage).unwrap())) {
        if plan.dies {
            continue;
        }
        let what = format!("{plan:?}");
        let (memory, outcome) = failing(&world.memory, plan.passing(), |storage| {
            let sleeper = Box::new(|_| ());
            world.backup(Arc::new(Retry::new(storage, retry::Policy::default(), sleeper)))
        });
        let listed = world.all_restore(&memory, &expected, &what);
        assert_eq!(listed.len(), world.made.len() + usize::from(outcome.is_ok()), "{what}: {outcome:?}");
        check_is_clean(&memory, &what);
        ended_well += usize::from(outcome.is_ok());
    }
    // All but those in the middle of a stream, whose bytes are gone.
    assert!(ended_well > 30, "{ended_well}");
}

#[test]
fn a_rehearsal_writes_nothing_whatever_fails() {
    let world = World::with_backups(1, INCREMENTS, Compression::Zstd);
    let before = objects(&world.memory);
    for plan in plans(&world.memory, |storage| drop(world.rehearse(storage).unwrap())) {
        let (memory, outcome) = failing(&world.memory, plan, |storage| world.rehearse(storage));
        assert!(outcome.is_err(), "{plan:?}");
        assert!(objects(&memory) == before, "{plan:?}");
    }
}

#[test]
fn forget_fails_at_any_call() {
    let chains_of_two = Policy { max_level: Some(1), ..INCREMENTS };
    let world = World::with_backups(5, chains_of_two, Compression::Zstd);
    let unused = Manifest::default();
    for plan in
        plans(&world.memory, |storage| assert_eq!(forget_all_but_the_newest(storage).unwrap().removed, 2))
    {
        let what = format!("{plan:?}");
        let (memory, outcome) = failing(&world.memory, plan, forget_all_but_the_newest);
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
    let world = World::with_backups(3, INCREMENTS, Compression::Zstd);
    let (id, _) = world.made.last().unwrap();
    for include in [&[][..], &["letters/old", "linked"]] {
        let restore = |storage| world.restore_part(storage, id, include).outcome;
        for plan in plans(&world.memory, |storage| drop(restore(storage).unwrap())) {
            let (_, outcome) = failing(&world.memory, plan, restore);
            assert!(outcome.is_err(), "{include:?}, {plan:?}");
        }
    }
}

#[test]
fn a_restore_never_believes_a_read_that_lies() {
    for compression in Compression::ALL {
        let world = World::with_backups(3, INCREMENTS, compression);
        let (id, expected) = world.made.last().unwrap();
        let counting = Arc::new(Liar::none(Arc::new(world.memory.clone())));
        world.restore(Arc::clone(&counting) as _, id).equals(expected, "without lies");
        for nth in 1..=counting.reads() {
            for lie in Lie::ALL {
                let what = format!("{compression}: read {nth}, {lie:?}");
                let liar = Arc::new(Liar::new(Arc::new(world.memory.clone()), nth, lie));
                let restored = world.restore(Arc::clone(&liar) as _, id);
                assert!(liar.lied(), "{what} never came");
                restored.is_right_or_refused(expected, &what);
            }
        }
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
    for plan in plans(&world.memory, |storage| drop(listing(storage).unwrap())) {
        let (_, outcome) = failing(&world.memory, plan, listing);
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
    let world = World::with_backups(2, INCREMENTS, Compression::Zstd);
    for read_data in [false, true] {
        let run = |storage| check(storage, read_data, false);
        let (mut ended, mut told) = (0, 0);
        for plan in plans(&world.memory, |storage| drop(run(storage).unwrap())) {
            let (_, outcome) = failing(&world.memory, plan, run);
            let Ok((report, found)) = outcome else {
                ended += 1;
                continue;
            };
            told += 1;
            assert!(!plan.dies, "{plan:?}: the last thing is a list");
            assert_eq!((report.backups, report.problems, found.len()), (2, 1, 1), "{plan:?}: {found:#?}");
            assert_eq!(found[0].kind, FindingKind::Unreadable, "{plan:?}: {found:#?}");
            assert!(says_what_failed(&found[0].error), "{plan:?}: {found:#?}");
            assert!(found[0].object.contains("tar/"), "{plan:?}: {found:#?}");
        }
        assert!(ended > 10 && told > 10, "{ended} ended, {told} told");
    }
}
